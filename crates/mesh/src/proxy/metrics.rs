//! Counters of the proxy, in the text format of Prometheus, and log lines about refusals, of which a stranger can cause
//! only so many.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lease::BootInstant;

mod egress;

pub(super) use self::egress::{Denial, Egress};

/// LIMIT: log lines about refused or cut connections in one second; the counters count them all.
const LINES_PER_SECOND: u64 = 5;

/// Why a connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// More connections than allowed.
    TooMany,
    /// A port that is not listed, or listed for the other listener.
    Port,
    /// There is no valid lease.
    Lease,
    /// TLS did not come about: no TLS, no certificate, or one that does not verify.
    Handshake,
    /// The certificate verifies, and its workload may not call.
    Caller,
    /// The workload does not answer.
    Workload,
}

const REFUSALS: [(Refusal, &str); 6] = [
    (Refusal::TooMany, "too_many"),
    (Refusal::Port, "port"),
    (Refusal::Lease, "lease"),
    (Refusal::Handshake, "handshake"),
    (Refusal::Caller, "caller"),
    (Refusal::Workload, "workload"),
];

/// Why an open connection was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    /// The lease ended.
    Lease,
    /// The caller is no longer allowed.
    Caller,
}

const CUTS: [(Cut, &str); 2] = [(Cut::Lease, "lease"), (Cut::Caller, "caller")];

/// Bytes that were forwarded.
#[derive(Default, Debug)]
pub(super) struct Bytes {
    /// From TLS to the workload.
    pub(super) inbound: AtomicU64,
    /// From the workload to TLS.
    pub(super) outbound: AtomicU64,
}

impl Bytes {
    fn rows(&self) -> [(String, u64); 2] {
        [("{direction=\"in\"}".to_owned(), get(&self.inbound)), ("{direction=\"out\"}".to_owned(), get(&self.outbound))]
    }
}

/// Lets so many lines through in each second.
#[derive(Default, Debug)]
struct Lines {
    second: AtomicU64,
    lines: AtomicU64,
}

impl Lines {
    fn may_log(&self) -> bool {
        let second = BootInstant::now().as_millis() / 1000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES_PER_SECOND
    }
}

/// What the proxy counts. All counters only grow; what is open is the difference of two.
#[derive(Default, Debug)]
pub struct Metrics {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    cut: [AtomicU64; CUTS.len()],
    renewals: AtomicU64,
    pub(super) bytes: Bytes,
    pub(super) egress: Egress,
    lines: Lines,
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// One row for each of `names`, in the order of its counters.
fn labelled(names: &[&str], label: &str, counters: &[AtomicU64]) -> Vec<(String, u64)> {
    let label = |name: &&str| format!("{{{label}=\"{name}\"}}");
    names.iter().map(label).zip(counters.iter().map(get)).collect()
}

fn plain(value: u64) -> [(String, u64); 1] {
    [(String::new(), value)]
}

/// One metric with its rows.
fn family(text: &mut String, name: &str, kind: &str, help: &str, rows: &[(String, u64)]) {
    let _ = writeln!(text, "# HELP casemate_mesh_{name} {help}\n# TYPE casemate_mesh_{name} {kind}");
    for (labels, value) in rows {
        let _ = writeln!(text, "casemate_mesh_{name}{labels} {value}");
    }
}

impl Metrics {
    /// Connections from the network that are open now.
    pub fn open(&self) -> u64 {
        get(&self.opened).saturating_sub(get(&self.closed))
    }

    /// Connections of the pod's programs to others that are open now.
    pub fn egress_open(&self) -> u64 {
        self.egress.open()
    }

    /// The counters in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut add = |name, kind, help, rows: &[_]| family(&mut text, name, kind, help, rows);
        add("connections_total", "counter", "Connections taken from the network.", &plain(get(&self.opened)));
        add("connections_open", "gauge", "Connections open now.", &plain(self.open()));
        let rows = labelled(&REFUSALS.map(|(_, name)| name), "reason", &self.refused);
        add("refused_total", "counter", "Connections refused.", &rows);
        let rows = labelled(&CUTS.map(|(_, name)| name), "reason", &self.cut);
        add("cut_total", "counter", "Open connections that were cut.", &rows);
        add("renewals_total", "counter", "Leases renewed.", &plain(get(&self.renewals)));
        add("bytes_total", "counter", "Bytes forwarded to and from the workload.", &self.bytes.rows());
        self.egress.render(&mut text);
        text
    }

    pub(super) fn opened(&self) {
        increment(&self.opened);
    }

    pub(super) fn closed(&self) {
        increment(&self.closed);
    }

    pub(super) fn renewed(&self, valid_until: BootInstant) {
        increment(&self.renewals);
        tracing::debug!(seconds = valid_until.remaining().as_secs(), "lease renewed");
    }

    pub(super) fn refused(&self, refusal: Refusal, peer: SocketAddr, reason: &dyn Display) {
        for ((known, name), counter) in REFUSALS.iter().zip(&self.refused) {
            if *known == refusal {
                increment(counter);
                if self.lines.may_log() {
                    tracing::warn!(%peer, kind = name, "connection refused: {reason}");
                }
            }
        }
    }

    pub(super) fn cut(&self, cut: Cut, peer: SocketAddr) {
        for ((known, name), counter) in CUTS.iter().zip(&self.cut) {
            if *known == cut {
                increment(counter);
                if self.lines.may_log() {
                    tracing::warn!(%peer, kind = name, "open connection cut");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_are_stable() {
        let metrics = Metrics::default();
        let peer = SocketAddr::from(([192, 0, 2, 1], 1));
        metrics.opened();
        metrics.opened();
        metrics.closed();
        metrics.refused(Refusal::Caller, peer, &"x");
        metrics.cut(Cut::Lease, peer);
        metrics.bytes.inbound.fetch_add(7, Ordering::Relaxed);
        metrics.egress.opened();
        metrics.egress.failed(Denial::Handshake, "backend", &"x");
        metrics.egress.cut("backend");
        expect_test::expect![[r##"
            # HELP casemate_mesh_connections_total Connections taken from the network.
            # TYPE casemate_mesh_connections_total counter
            casemate_mesh_connections_total 2
            # HELP casemate_mesh_connections_open Connections open now.
            # TYPE casemate_mesh_connections_open gauge
            casemate_mesh_connections_open 1
            # HELP casemate_mesh_refused_total Connections refused.
            # TYPE casemate_mesh_refused_total counter
            casemate_mesh_refused_total{reason="too_many"} 0
            casemate_mesh_refused_total{reason="port"} 0
            casemate_mesh_refused_total{reason="lease"} 0
            casemate_mesh_refused_total{reason="handshake"} 0
            casemate_mesh_refused_total{reason="caller"} 1
            casemate_mesh_refused_total{reason="workload"} 0
            # HELP casemate_mesh_cut_total Open connections that were cut.
            # TYPE casemate_mesh_cut_total counter
            casemate_mesh_cut_total{reason="lease"} 1
            casemate_mesh_cut_total{reason="caller"} 0
            # HELP casemate_mesh_renewals_total Leases renewed.
            # TYPE casemate_mesh_renewals_total counter
            casemate_mesh_renewals_total 0
            # HELP casemate_mesh_bytes_total Bytes forwarded to and from the workload.
            # TYPE casemate_mesh_bytes_total counter
            casemate_mesh_bytes_total{direction="in"} 7
            casemate_mesh_bytes_total{direction="out"} 0
            # HELP casemate_mesh_egress_connections_total Connections taken from programs.
            # TYPE casemate_mesh_egress_connections_total counter
            casemate_mesh_egress_connections_total 1
            # HELP casemate_mesh_egress_connections_open Connections of programs open now.
            # TYPE casemate_mesh_egress_connections_open gauge
            casemate_mesh_egress_connections_open 1
            # HELP casemate_mesh_egress_failed_total Connections of programs that came to nothing.
            # TYPE casemate_mesh_egress_failed_total counter
            casemate_mesh_egress_failed_total{reason="too_many"} 0
            casemate_mesh_egress_failed_total{reason="lease"} 0
            casemate_mesh_egress_failed_total{reason="name"} 0
            casemate_mesh_egress_failed_total{reason="connect"} 0
            casemate_mesh_egress_failed_total{reason="handshake"} 1
            casemate_mesh_egress_failed_total{reason="remote"} 0
            # HELP casemate_mesh_egress_cut_total Connections of programs cut at the end of a lease.
            # TYPE casemate_mesh_egress_cut_total counter
            casemate_mesh_egress_cut_total 1
            # HELP casemate_mesh_egress_bytes_total Bytes forwarded for programs.
            # TYPE casemate_mesh_egress_bytes_total counter
            casemate_mesh_egress_bytes_total{direction="in"} 0
            casemate_mesh_egress_bytes_total{direction="out"} 0
        "##]]
        .assert_eq(&metrics.render());
    }

    #[test]
    fn a_stranger_cannot_fill_the_log() {
        let lines = Lines::default();
        let lines = (0..1000).filter(|_| lines.may_log()).count();
        assert!(lines <= 2 * usize::try_from(LINES_PER_SECOND).unwrap(), "{lines}");
    }
}
