//! Counters and gauges, in the text format of Prometheus. Every label value is one of ours, so that nothing outside
//! can make them grow.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::crd::CcMode;
use super::labels::Phase;

type Key = (&'static str, Vec<(&'static str, &'static str)>);

/// What each metric is: its name, its type, its help.
const FAMILIES: [(&str, &str, &str); 11] = [
    (API, "counter", "Requests to the API server, by verb, kind and outcome."),
    (WATCHES, "counter", "Watches that had to begin again, by kind and reason."),
    (CHANGES, "counter", "Changes of mode, by the mode wanted and outcome."),
    (CHANGE_SECONDS, "counter", "Seconds spent in changes of mode, by the mode wanted."),
    (DELAY_SECONDS, "gauge", "Seconds from the last wish seen to its first action."),
    (PHASE, "gauge", "1 for what the agent is at."),
    (MODE, "gauge", "1 for the mode that the devices have."),
    (CONFLICTS, "counter", "Labels that another field manager holds, by what was done."),
    (EVENTS, "counter", "Kubernetes events, by outcome."),
    (SYNCED, "gauge", "1 once everything watched has been read."),
    (PAUSED, "gauge", "Components of the GPU Operator that are paused on this node."),
];
const API: &str = "casemate_node_api_requests_total";
const WATCHES: &str = "casemate_node_watch_restarts_total";
const CHANGES: &str = "casemate_node_cc_changes_total";
const CHANGE_SECONDS: &str = "casemate_node_cc_change_seconds_total";
const DELAY_SECONDS: &str = "casemate_node_wish_delay_seconds";
const PHASE: &str = "casemate_node_phase";
const MODE: &str = "casemate_node_cc_mode";
const CONFLICTS: &str = "casemate_node_label_conflicts_total";
const EVENTS: &str = "casemate_node_events_total";
const SYNCED: &str = "casemate_node_synced";
const PAUSED: &str = "casemate_node_paused_components";

/// The metrics of this process.
#[derive(Debug, Default)]
pub struct Metrics {
    values: Mutex<BTreeMap<Key, f64>>,
}

impl Metrics {
    fn add(&self, key: Key, value: f64) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        *values.entry(key).or_insert(0.0) += value;
    }

    fn set(&self, key: Key, value: f64) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
    }

    /// A request to the API server was answered, or was not.
    pub fn request(&self, verb: &'static str, kind: &'static str, outcome: &'static str) {
        self.add((API, vec![("verb", verb), ("kind", kind), ("outcome", outcome)]), 1.0);
    }

    /// A watch had to begin again.
    pub fn watch_restart(&self, kind: &'static str, reason: &'static str) {
        self.add((WATCHES, vec![("kind", kind), ("reason", reason)]), 1.0);
    }

    /// A change of mode ended.
    pub fn change(&self, to: CcMode, outcome: &'static str, took: Duration) {
        self.add((CHANGES, vec![("mode", to.name()), ("outcome", outcome)]), 1.0);
        self.add((CHANGE_SECONDS, vec![("mode", to.name())]), took.as_secs_f64());
    }

    /// How long the last wish waited.
    pub fn wish_delay(&self, delay: Duration) {
        self.set((DELAY_SECONDS, vec![]), delay.as_secs_f64());
    }

    /// What the agent is at.
    pub fn phase(&self, now: Phase) {
        for phase in Phase::ALL {
            self.set((PHASE, vec![("phase", phase.name())]), f64::from(u8::from(phase == now)));
        }
    }

    /// The mode of the devices, if they have one.
    pub fn mode(&self, now: Option<CcMode>) {
        for mode in CcMode::ALL {
            self.set((MODE, vec![("mode", mode.name())]), f64::from(u8::from(Some(mode) == now)));
        }
    }

    /// Another field manager holds a label.
    pub fn conflict(&self, what: &'static str) {
        self.add((CONFLICTS, vec![("done", what)]), 1.0);
    }

    /// An event was written, or could not be.
    pub fn event(&self, outcome: &'static str) {
        self.add((EVENTS, vec![("outcome", outcome)]), 1.0);
    }

    /// Whether everything watched has been read.
    pub fn synced(&self, synced: bool) {
        self.set((SYNCED, vec![]), f64::from(u8::from(synced)));
    }

    /// How many components are paused.
    pub fn paused(&self, count: usize) {
        self.set((PAUSED, vec![]), u32::try_from(count).map_or(f64::MAX, f64::from));
    }

    /// All of it, as Prometheus reads it.
    pub fn render(&self) -> String {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, kind, help) in FAMILIES {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for ((_, labels), value) in values.range((name, vec![])..).take_while(|((family, _), _)| *family == name) {
                let labels: Vec<String> = labels.iter().map(|(label, word)| format!("{label}=\"{word}\"")).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        }
        text
    }

    /// The sum of a metric over all its labels that contain these words; tests and `status` ask.
    pub fn sum(&self, name: &str, words: &[&str]) -> f64 {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = values.iter().filter(|((family, labels), _)| {
            *family == name && words.iter().all(|word| labels.iter().any(|(_, value)| value == word))
        });
        matching.map(|(_, value)| value).sum()
    }
}

/// Serves `/metrics` and `/healthz` until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> std::io::Result<()> {
    use axum::{Router, routing::get};
    let text = [("content-type", "text/plain; version=0.0.4")];
    let router = Router::new()
        .route("/metrics", get(move || std::future::ready((text, metrics.render()))))
        .route("/healthz", get(|| std::future::ready("ok")));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_as_prometheus_reads_it() {
        let metrics = Metrics::default();
        metrics.request("watch", "nodes", "200");
        metrics.request("watch", "nodes", "200");
        metrics.request("patch", "nodes", "409");
        metrics.watch_restart("nodes", "expired");
        metrics.change(CcMode::On, "changed", Duration::from_millis(1500));
        metrics.phase(Phase::Settled);
        metrics.mode(Some(CcMode::On));
        metrics.conflict("forced");
        metrics.event("written");
        metrics.synced(true);
        metrics.paused(0);
        metrics.wish_delay(Duration::from_millis(250));
        expect_test::expect_file!["metrics.golden.txt"].assert_eq(&metrics.render());
        assert!((metrics.sum(API, &["nodes"]) - 3.0).abs() < f64::EPSILON);
        assert!((metrics.sum(API, &["nodes", "409"]) - 1.0).abs() < f64::EPSILON);
    }
}
