//! What is counted of connections that the pod's programs make through the proxy.

use std::fmt::Display;
use std::sync::atomic::AtomicU64;

use super::{Bytes, Lines, family, get, increment, labelled, plain};

/// Why a connection of a program came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::proxy) enum Denial {
    /// More connections than allowed.
    TooMany,
    /// There is no valid lease.
    Lease,
    /// The remote's name has no address.
    Name,
    /// Nobody answers at its addresses.
    Connect,
    /// TLS did not come about: no TLS, another authority's certificate, or one of another name.
    Handshake,
    /// The remote ended the connection before it answered anything.
    Remote,
}

const DENIALS: [(Denial, &str); 6] = [
    (Denial::TooMany, "too_many"),
    (Denial::Lease, "lease"),
    (Denial::Name, "name"),
    (Denial::Connect, "connect"),
    (Denial::Handshake, "handshake"),
    (Denial::Remote, "remote"),
];

/// Counters of connections to others.
#[derive(Default, Debug)]
pub(in crate::proxy) struct Egress {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: [AtomicU64; DENIALS.len()],
    cut: AtomicU64,
    pub(in crate::proxy) bytes: Bytes,
    lines: Lines,
}

impl Egress {
    pub(super) fn open(&self) -> u64 {
        get(&self.opened).saturating_sub(get(&self.closed))
    }

    pub(super) fn render(&self, text: &mut String) {
        let mut add = |name, kind, help, rows: &[_]| family(text, name, kind, help, rows);
        add("egress_connections_total", "counter", "Connections taken from programs.", &plain(get(&self.opened)));
        add("egress_connections_open", "gauge", "Connections of programs open now.", &plain(self.open()));
        let rows = labelled(&DENIALS.map(|(_, name)| name), "reason", &self.failed);
        add("egress_failed_total", "counter", "Connections of programs that came to nothing.", &rows);
        add(
            "egress_cut_total",
            "counter",
            "Connections of programs cut at the end of a lease.",
            &plain(get(&self.cut)),
        );
        add("egress_bytes_total", "counter", "Bytes forwarded for programs.", &self.bytes.rows());
    }

    pub(in crate::proxy) fn opened(&self) {
        increment(&self.opened);
    }

    pub(in crate::proxy) fn closed(&self) {
        increment(&self.closed);
    }

    pub(in crate::proxy) fn failed(&self, denial: Denial, to: &str, reason: &dyn Display) {
        for ((known, name), counter) in DENIALS.iter().zip(&self.failed) {
            if *known == denial {
                increment(counter);
                if self.lines.may_log() {
                    tracing::warn!(egress = to, kind = name, "connection came to nothing: {reason}");
                }
            }
        }
    }

    pub(in crate::proxy) fn cut(&self, to: &str) {
        increment(&self.cut);
        if self.lines.may_log() {
            tracing::warn!(egress = to, kind = "lease", "open connection cut");
        }
    }
}
