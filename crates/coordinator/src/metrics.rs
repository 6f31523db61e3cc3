//! Counters, in the text format of Prometheus. Every label value is one of ours, so that no peer can grow them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use protocol::api::{CoordinatorState, ErrorCode};

use crate::core::View;

/// What is counted, with its labels in order.
type Key = (&'static str, [(&'static str, &'static str); 2]);

/// The counters of this process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    counters: Mutex<BTreeMap<Key, u64>>,
}

const REQUESTS: (&str, &str) = ("casemate_coordinator_requests_total", "Requests answered, by outcome.");
const CONNECTIONS: (&str, &str) = ("casemate_coordinator_connections_total", "Connections, by how they began.");
const EVIDENCE: (&str, &str) =
    ("casemate_coordinator_evidence_refused_total", "Peers whose evidence was missing, not genuine or not acceptable.");

impl Metrics {
    fn count(&self, key: Key) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let counter = counters.entry(key).or_insert(0);
        *counter = counter.saturating_add(1);
    }

    /// A request was answered; `None`: granted.
    pub(crate) fn request(&self, request: &'static str, refused: Option<ErrorCode>) {
        self.count((REQUESTS.0, [("request", request), ("outcome", refused.map_or("ok", code_name))]));
    }

    /// A connection began, or did not.
    pub(crate) fn connection(&self, api: &'static str, outcome: &'static str) {
        self.count((CONNECTIONS.0, [("api", api), ("outcome", outcome)]));
    }

    /// Evidence of a peer was refused.
    pub(crate) fn evidence_refused(&self, api: &'static str, code: ErrorCode) {
        self.count((EVIDENCE.0, [("api", api), ("reason", code_name(code))]));
    }

    /// All of it, as Prometheus reads it.
    pub(crate) fn render(&self, view: &View) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, lines: &[(&str, u64)]| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
            for (labels, value) in lines {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        let is = |state| u64::from(view.state == state);
        gauge(
            "casemate_coordinator_state",
            "1 for the state that holds.",
            &[
                ("{state=\"uninitialised\"}", is(CoordinatorState::Uninitialised)),
                ("{state=\"active\"}", is(CoordinatorState::Active)),
                ("{state=\"recovering\"}", is(CoordinatorState::Recovering)),
            ],
        );
        gauge("casemate_coordinator_manifest_generation", "The active generation.", &[("", view.generation)]);
        gauge("casemate_coordinator_log_entries", "Entries of the log.", &[("", view.log_size)]);
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, help) in [REQUESTS, CONNECTIONS, EVIDENCE] {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n"));
            for ((counter, [(a, x), (b, y)]), value) in counters.iter() {
                if *counter == name {
                    text.push_str(&format!("{name}{{{a}=\"{x}\",{b}=\"{y}\"}} {value}\n"));
                }
            }
        }
        text
    }
}

/// The stable name of a code, as in JSON.
pub(crate) fn code_name(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Malformed => "malformed",
        ErrorCode::Unsupported => "unsupported",
        ErrorCode::WrongDeployment => "wrong-deployment",
        ErrorCode::NotVerified => "not-verified",
        ErrorCode::Contraindicated => "contraindicated",
        ErrorCode::NotInManifest => "not-in-manifest",
        ErrorCode::NotSigned => "not-signed",
        ErrorCode::Conflict => "conflict",
        ErrorCode::NoManifest => "no-manifest",
        ErrorCode::Recovering => "recovering",
        ErrorCode::Rollback => "rollback",
        ErrorCode::SecretMissing => "secret-missing",
        ErrorCode::Busy => "busy",
        ErrorCode::Internal => "internal",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_and_their_form_are_golden() {
        let metrics = Metrics::default();
        metrics.request("enroll", None);
        metrics.request("enroll", None);
        metrics.request("renew", Some(ErrorCode::NotInManifest));
        metrics.connection("mesh", "opened");
        metrics.evidence_refused("mesh", ErrorCode::Contraindicated);
        let view = View { state: CoordinatorState::Active, generation: 2, log_size: 9, manifest: None, stopped: None };
        expect_test::expect![[r#"
            # HELP casemate_coordinator_state 1 for the state that holds.
            # TYPE casemate_coordinator_state gauge
            casemate_coordinator_state{state="uninitialised"} 0
            casemate_coordinator_state{state="active"} 1
            casemate_coordinator_state{state="recovering"} 0
            # HELP casemate_coordinator_manifest_generation The active generation.
            # TYPE casemate_coordinator_manifest_generation gauge
            casemate_coordinator_manifest_generation 2
            # HELP casemate_coordinator_log_entries Entries of the log.
            # TYPE casemate_coordinator_log_entries gauge
            casemate_coordinator_log_entries 9
            # HELP casemate_coordinator_requests_total Requests answered, by outcome.
            # TYPE casemate_coordinator_requests_total counter
            casemate_coordinator_requests_total{request="enroll",outcome="ok"} 2
            casemate_coordinator_requests_total{request="renew",outcome="not-in-manifest"} 1
            # HELP casemate_coordinator_connections_total Connections, by how they began.
            # TYPE casemate_coordinator_connections_total counter
            casemate_coordinator_connections_total{api="mesh",outcome="opened"} 1
            # HELP casemate_coordinator_evidence_refused_total Peers whose evidence was missing, not genuine or not acceptable.
            # TYPE casemate_coordinator_evidence_refused_total counter
            casemate_coordinator_evidence_refused_total{api="mesh",reason="contraindicated"} 1
        "#]].assert_eq(&metrics.render(&view));
    }

    #[test]
    fn code_names_are_those_of_the_wire() {
        use ErrorCode as C;
        let all = [
            C::Malformed,
            C::Unsupported,
            C::WrongDeployment,
            C::NotVerified,
            C::Contraindicated,
            C::NotInManifest,
            C::NotSigned,
            C::Conflict,
            C::NoManifest,
            C::Recovering,
            C::Rollback,
            C::SecretMissing,
            C::Busy,
            C::Internal,
        ];
        for code in all {
            assert_eq!(format!("\"{}\"", code_name(code)), serde_json::to_string(&code).unwrap());
        }
    }
}
