//! Counters of the proxy, in the text format of Prometheus, and log lines about refusals, of which a stranger can cause
//! only so many.

use std::fmt::{Display, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::lease::BootInstant;

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

/// What the proxy counts. All counters only grow; what is open is the difference of two.
#[derive(Default, Debug)]
pub struct Metrics {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: [AtomicU64; REFUSALS.len()],
    cut: [AtomicU64; CUTS.len()],
    renewals: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    line_second: AtomicU64,
    lines: AtomicU64,
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Metrics {
    /// Connections that are open now.
    pub fn open(&self) -> u64 {
        self.opened.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    /// The counters in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, u64)]| {
            let _ = writeln!(text, "# HELP casemate_mesh_{name} {help}\n# TYPE casemate_mesh_{name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "casemate_mesh_{name}{labels} {value}");
            }
        };
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let plain = |value: u64| [(String::new(), value)];
        let labelled = |names: &[&str], label: &str, counters: &[AtomicU64]| -> Vec<(String, u64)> {
            let label = |name: &&str| format!("{{{label}=\"{name}\"}}");
            names.iter().map(label).zip(counters.iter().map(get)).collect()
        };
        family("connections_total", "counter", "Connections taken from the network.", &plain(get(&self.opened)));
        family("connections_open", "gauge", "Connections open now.", &plain(self.open()));
        let rows = labelled(&REFUSALS.map(|(_, name)| name), "reason", &self.refused);
        family("refused_total", "counter", "Connections refused.", &rows);
        let rows = labelled(&CUTS.map(|(_, name)| name), "reason", &self.cut);
        family("cut_total", "counter", "Open connections that were cut.", &rows);
        family("renewals_total", "counter", "Leases renewed.", &plain(get(&self.renewals)));
        let rows = [
            ("{direction=\"in\"}".to_owned(), get(&self.bytes_in)),
            ("{direction=\"out\"}".to_owned(), get(&self.bytes_out)),
        ];
        family("bytes_total", "counter", "Bytes forwarded to and from the workload.", &rows);
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
                if self.may_log() {
                    tracing::warn!(%peer, kind = name, "connection refused: {reason}");
                }
            }
        }
    }

    pub(super) fn cut(&self, cut: Cut, peer: SocketAddr) {
        for ((known, name), counter) in CUTS.iter().zip(&self.cut) {
            if *known == cut {
                increment(counter);
                if self.may_log() {
                    tracing::warn!(%peer, kind = name, "open connection cut");
                }
            }
        }
    }

    fn may_log(&self) -> bool {
        let second = BootInstant::now().as_millis() / 1000;
        if self.line_second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES_PER_SECOND
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
        metrics.bytes_in.fetch_add(7, Ordering::Relaxed);
        expect_test::expect![[r#"
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
        "#]]
        .assert_eq(&metrics.render());
    }

    #[test]
    fn a_stranger_cannot_fill_the_log() {
        let metrics = Metrics::default();
        let lines = (0..1000).filter(|_| metrics.may_log()).count();
        assert!(lines <= 2 * usize::try_from(LINES_PER_SECOND).unwrap(), "{lines}");
    }
}
