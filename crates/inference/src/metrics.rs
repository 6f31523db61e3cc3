//! Counters of the server in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency histogram in seconds: from a tiny model on a warm cache to a large one under load.
const BUCKETS: [f64; 12] = [0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// The server's counters.
#[derive(Default)]
pub(crate) struct Metrics {
    /// Requests by HTTP status. LIMIT: statuses come from our own code, a dozen of them.
    requests: Mutex<BTreeMap<u16, u64>>,
    rows: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
    answers: AtomicU64,
    microseconds: AtomicU64,
    /// Open connections.
    pub(crate) connections: Gauge,
    /// Inferences that run or wait for a worker.
    pub(crate) pending: Gauge,
}

/// A number that goes up and down.
#[derive(Default)]
pub(crate) struct Gauge(AtomicI64);

/// Counts one in a gauge for as long as it lives.
pub(crate) struct InGauge {
    metrics: Arc<Metrics>,
    gauge: fn(&Metrics) -> &Gauge,
}

impl Gauge {
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl InGauge {
    pub(crate) fn new(metrics: &Arc<Metrics>, gauge: fn(&Metrics) -> &Gauge) -> Self {
        gauge(metrics).0.fetch_add(1, Ordering::Relaxed);
        Self { metrics: metrics.clone(), gauge }
    }
}

impl Drop for InGauge {
    fn drop(&mut self) {
        (self.gauge)(&self.metrics).0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn count_request(&self, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(status).or_default() += 1;
    }

    /// One answered inference.
    pub(crate) fn count_answer(&self, rows: usize, took: Duration) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let bucket = BUCKETS.iter().zip(&self.buckets).find(|(bound, _)| took.as_secs_f64() <= **bound);
        if let Some((_, count)) = bucket {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text that a scrape gets. `model` is name and version, once there is one.
    pub(crate) fn text(&self, model: Option<(&str, &str)>) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
            let _ = writeln!(text, "# HELP casemate_serve_{name} {help}\n# TYPE casemate_serve_{name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "casemate_serve_{name}{labels} {value}");
            }
        };
        let plain = |value: String| vec![(String::new(), value)];
        let requests: Vec<_> = {
            let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            requests.iter().map(|(status, count)| (format!("{{code=\"{status}\"}}"), count.to_string())).collect()
        };
        family("requests_total", "counter", "HTTP requests by status.", &requests);
        let rows = self.rows.load(Ordering::Relaxed);
        family("rows_total", "counter", "Rows of input answered.", &plain(rows.to_string()));

        let mut histogram = Vec::new();
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            histogram.push((format!("_bucket{{le=\"{bound}\"}}"), below.to_string()));
        }
        let answers = self.answers.load(Ordering::Relaxed);
        let seconds = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        histogram.push(("_bucket{le=\"+Inf\"}".into(), answers.to_string()));
        histogram.push(("_sum".into(), seconds.to_string()));
        histogram.push(("_count".into(), answers.to_string()));
        family(
            "inference_seconds",
            "histogram",
            "Time from a parsed request to its answer, waiting included.",
            &histogram,
        );

        family("connections", "gauge", "Open connections.", &plain(self.connections.get().to_string()));
        family("pending", "gauge", "Inferences that run or wait for a worker.", &plain(self.pending.get().to_string()));
        // PANIC-FREE: names and digests have no character that needs escaping; both are checked when the model is loaded.
        let info = model.map(|(name, version)| (format!("{{name=\"{name}\",version=\"{version}\"}}"), "1".to_owned()));
        family("model_info", "gauge", "The model that is served.", info.as_slice());
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_text_of_a_scrape_is_golden() {
        let metrics = Metrics::default();
        metrics.count_request(200);
        metrics.count_request(200);
        metrics.count_request(400);
        metrics.count_answer(1, Duration::from_micros(100));
        metrics.count_answer(3, Duration::from_millis(2));
        metrics.count_answer(1, Duration::from_mins(1));
        expect![[r#"
            # HELP casemate_serve_requests_total HTTP requests by status.
            # TYPE casemate_serve_requests_total counter
            casemate_serve_requests_total{code="200"} 2
            casemate_serve_requests_total{code="400"} 1
            # HELP casemate_serve_rows_total Rows of input answered.
            # TYPE casemate_serve_rows_total counter
            casemate_serve_rows_total 5
            # HELP casemate_serve_inference_seconds Time from a parsed request to its answer, waiting included.
            # TYPE casemate_serve_inference_seconds histogram
            casemate_serve_inference_seconds_bucket{le="0.0001"} 1
            casemate_serve_inference_seconds_bucket{le="0.00025"} 1
            casemate_serve_inference_seconds_bucket{le="0.0005"} 1
            casemate_serve_inference_seconds_bucket{le="0.001"} 1
            casemate_serve_inference_seconds_bucket{le="0.0025"} 2
            casemate_serve_inference_seconds_bucket{le="0.005"} 2
            casemate_serve_inference_seconds_bucket{le="0.01"} 2
            casemate_serve_inference_seconds_bucket{le="0.025"} 2
            casemate_serve_inference_seconds_bucket{le="0.1"} 2
            casemate_serve_inference_seconds_bucket{le="0.5"} 2
            casemate_serve_inference_seconds_bucket{le="2.5"} 2
            casemate_serve_inference_seconds_bucket{le="10"} 2
            casemate_serve_inference_seconds_bucket{le="+Inf"} 3
            casemate_serve_inference_seconds_sum 60.0021
            casemate_serve_inference_seconds_count 3
            # HELP casemate_serve_connections Open connections.
            # TYPE casemate_serve_connections gauge
            casemate_serve_connections 0
            # HELP casemate_serve_pending Inferences that run or wait for a worker.
            # TYPE casemate_serve_pending gauge
            casemate_serve_pending 0
            # HELP casemate_serve_model_info The model that is served.
            # TYPE casemate_serve_model_info gauge
            casemate_serve_model_info{name="digits",version="abc"} 1
        "#]]
        .assert_eq(&metrics.text(Some(("digits", "abc"))));
    }

    #[test]
    fn a_server_without_a_model_says_so_by_leaving_it_out() {
        assert!(!Metrics::default().text(None).contains("model_info{"));
    }

    #[test]
    fn a_gauge_goes_down_again() {
        let metrics = Arc::new(Metrics::default());
        let inside = InGauge::new(&metrics, |metrics| &metrics.pending);
        assert_eq!(metrics.pending.get(), 1);
        drop(inside);
        assert_eq!(metrics.pending.get(), 0);
    }
}
