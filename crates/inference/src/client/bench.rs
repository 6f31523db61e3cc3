//! Many requests at once, and what they took.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use serde::Serialize;
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::{ClientError, Target, classes, decode, infer_path, model_name, request_body};
use crate::image::Picture;
use crate::kserve::InferResponse;

/// LIMIT: every client holds a socket, and the usual limit of a process is 1024 of them.
pub const MAX_CLIENTS: u32 = 1000;
/// LIMIT: one latency takes eight bytes until the end.
pub const MAX_REQUESTS: u64 = 10_000_000;
/// LIMIT: different error messages that a report quotes.
const MAX_REASONS: usize = 8;
/// How often the caller hears of progress.
const TICK: Duration = Duration::from_millis(100);
/// After a failed connection a client waits this long, so that a dead service does not become a busy loop.
const BACKOFF: Duration = Duration::from_millis(10);

/// A picture to send, and what it shows.
#[derive(Debug, Clone)]
pub struct BenchImage {
    /// The picture.
    pub picture: Picture,
    /// The class that a right answer has.
    pub expected: Option<u64>,
}

impl BenchImage {
    /// A picture whose class stands at the beginning of its file name, as in `7.png` or `7b.png`; other names expect nothing.
    pub fn named(file_name: &str, picture: Picture) -> Self {
        let digits = file_name.find(|c: char| !c.is_ascii_digit()).unwrap_or(file_name.len());
        Self { picture, expected: file_name.get(..digits).and_then(|digits| digits.parse().ok()) }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Clients at once, each with its own connection.
    pub cnum: u32,
    /// Requests that each client sends, one after the other.
    pub loops: u32,
    /// Requests that each client sends before, not counted.
    pub warmup: u32,
    /// Pictures, sent in turn.
    pub images: Vec<BenchImage>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Requests done, failed ones included.
    pub done: u64,
    /// Requests to do.
    pub total: u64,
    /// Failed ones.
    pub errors: u64,
}

/// What came of it. Latencies are of successful requests, from the request to the whole answer, connecting not included.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// Seconds from the first connection (the first counted request, where there was a warm-up) to the last answer.
    pub end_to_end_s: f64,
    /// Requests tried.
    pub requests: u64,
    /// Requests that got no usable answer.
    pub errors: u64,
    /// Answers whose best class is not the expected one; they are answers all the same.
    pub wrong: u64,
    /// Mean latency.
    pub mean_ms: f64,
    /// Half were at least as fast.
    pub p50_ms: f64,
    /// Nine of ten were at least as fast.
    pub p90_ms: f64,
    /// 99 of 100 were at least as fast.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Successful requests per second, end to end.
    pub tps: f64,
    /// Connections made; more than clients means that some broke.
    pub connections: u64,
    /// Mean time of TCP and TLS handshake.
    pub connect_mean_ms: f64,
    /// Answers by the pod that gave them.
    pub pods: BTreeMap<String, u64>,
    /// Reasons of errors with their counts, the first few kinds.
    pub reasons: BTreeMap<String, u64>,
    /// Whether it was stopped before its end.
    pub cancelled: bool,
}

/// Wrong options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A number out of range.
    #[error("{what} is {got}, from 1 to {max} is accepted")]
    Range {
        /// Which.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The limit.
        max: u64,
    },
    /// No picture to send.
    #[error("there is no picture to send")]
    NoImages,
    /// No address to connect to.
    #[error("the service has no address")]
    NoAddress,
}

impl BenchOptions {
    fn check(&self) -> Result<u64, BenchError> {
        let range =
            |what, got, max| if (1..=max).contains(&got) { Ok(()) } else { Err(BenchError::Range { what, got, max }) };
        range("the number of clients", self.cnum.into(), MAX_CLIENTS.into())?;
        let total = u64::from(self.cnum) * u64::from(self.loops);
        range("the number of requests", total, MAX_REQUESTS)?;
        if self.images.is_empty() { Err(BenchError::NoImages) } else { Ok(total) }
    }
}

/// What all clients share.
struct Run {
    target: Target,
    bodies: Vec<(Bytes, Option<u64>)>,
    loops: u32,
    warmup: u32,
    start: Barrier,
    done: AtomicU64,
    errors: AtomicU64,
    cancel: watch::Receiver<bool>,
}

/// Runs a benchmark. Failed requests are counted and do not end it; `cancel` becoming true ends it early, with what was
/// measured so far. `progress` is called some times a second.
pub async fn bench(
    target: &Target,
    options: &BenchOptions,
    cancel: watch::Receiver<bool>,
    mut progress: impl FnMut(Progress),
) -> Result<BenchReport, BenchError> {
    let total = options.check()?;
    if target.addresses.is_empty() {
        return Err(BenchError::NoAddress);
    }
    let bodies = options.images.iter().map(|i| (request_body(&i.picture, &target.output, 1), i.expected)).collect();
    let run = Arc::new(Run {
        target: target.clone(),
        bodies,
        loops: options.loops,
        warmup: options.warmup,
        start: Barrier::new(options.cnum as usize + 1),
        done: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        cancel,
    });
    let mut clients = JoinSet::new();
    for number in 0..options.cnum as usize {
        clients.spawn(client(run.clone(), number));
    }
    run.start.wait().await;
    let begin = Instant::now();
    let state = |run: &Run| Progress {
        done: run.done.load(Ordering::Relaxed),
        total,
        errors: run.errors.load(Ordering::Relaxed),
    };
    let mut all = Measured::default();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => progress(state(&run)),
            ended = clients.join_next() => match ended {
                Some(Ok(measured)) => all.add(measured),
                // PANIC-FREE: clients are neither aborted nor do they panic; were one to, its requests are missing in the sums.
                Some(Err(error)) => all.fail(&error.to_string()),
                None => break,
            },
        }
    }
    progress(state(&run));
    let cancelled = *run.cancel.borrow() && all.requests < total;
    Ok(all.report(begin.elapsed(), cancelled))
}

/// One client: its loop over one connection, renewed when it breaks.
async fn client(run: Arc<Run>, number: usize) -> Measured {
    let mut cancel = run.cancel.clone();
    let mut warmup = Measured::default();
    let mut state = ClientState { connection: None, model: run.target.model.clone(), next: number, address: number };
    for _ in 0..run.warmup {
        if !state.step(&run, &mut warmup, &mut cancel).await {
            break;
        }
    }
    run.start.wait().await;
    let mut measured = Measured::default();
    for _ in 0..run.loops {
        let errors = measured.errors;
        if !state.step(&run, &mut measured, &mut cancel).await {
            break;
        }
        run.done.fetch_add(1, Ordering::Relaxed);
        run.errors.fetch_add(measured.errors - errors, Ordering::Relaxed);
    }
    measured
}

struct ClientState {
    connection: Option<Connection>,
    model: Option<String>,
    /// The next picture.
    next: usize,
    /// The address in use.
    address: usize,
}

impl ClientState {
    /// One request; `false` when the run was cancelled.
    async fn step(&mut self, run: &Run, measured: &mut Measured, cancel: &mut watch::Receiver<bool>) -> bool {
        let result = tokio::select! {
            biased;
            // A dropped sender cannot cancel any more, and is no reason to stop.
            Ok(_) = cancel.wait_for(|cancelled| *cancelled) => return false,
            result = self.request(run, measured) => result,
        };
        measured.requests += 1;
        if let Err(error) = result {
            measured.fail(&chain(&error));
            // What a server says in words leaves the connection sound; everything else does not.
            if !matches!(error, ClientError::Refused { .. }) {
                self.connection = None;
                self.address += 1;
                tokio::time::sleep(BACKOFF).await;
            }
        }
        true
    }

    async fn request(&mut self, run: &Run, measured: &mut Measured) -> Result<(), ClientError> {
        let connection = if let Some(connection) = &mut self.connection {
            connection
        } else {
            let begin = Instant::now();
            let connection = Connection::open(&run.target, address(run, self.address)?).await?;
            measured.connections += 1;
            measured.connecting += begin.elapsed();
            self.connection.insert(connection)
        };
        let model = match &self.model {
            Some(model) => model,
            None => self.model.insert(model_name(&run.target, connection).await?),
        };
        let (body, expected) = run.bodies.get(self.next % run.bodies.len()).cloned().unwrap_or_default();
        self.next = self.next.wrapping_add(1);
        let begin = Instant::now();
        let reply = connection.send(Method::POST, &infer_path(model), body).await?;
        let latency = begin.elapsed();
        let answer: InferResponse = decode(&reply.body)?;
        let best = classes(&answer)?.first().map(|class| class.index);
        measured.latencies_ms.push(latency.as_secs_f64() * 1000.0);
        measured.wrong += u64::from(expected.is_some() && best != expected);
        *measured.pods.entry(reply.pod.unwrap_or_else(|| "(unnamed)".to_owned())).or_default() += 1;
        Ok(())
    }
}

fn address(run: &Run, number: usize) -> Result<SocketAddr, ClientError> {
    let addresses = &run.target.addresses;
    number.checked_rem(addresses.len()).and_then(|at| addresses.get(at)).copied().ok_or(ClientError::NoAddress)
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What one client, or all of them, measured.
#[derive(Default)]
struct Measured {
    requests: u64,
    errors: u64,
    wrong: u64,
    latencies_ms: Vec<f64>,
    connections: u64,
    connecting: Duration,
    pods: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
}

impl Measured {
    fn fail(&mut self, reason: &str) {
        self.errors += 1;
        self.count_reason(reason.to_owned(), 1);
    }

    fn count_reason(&mut self, reason: String, count: u64) {
        if self.reasons.len() < MAX_REASONS || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.wrong += other.wrong;
        self.latencies_ms.extend(other.latencies_ms);
        self.connections += other.connections;
        self.connecting += other.connecting;
        for (pod, count) in other.pods {
            *self.pods.entry(pod).or_default() += count;
        }
        for (reason, count) in other.reasons {
            self.count_reason(reason, count);
        }
    }

    fn report(mut self, took: Duration, cancelled: bool) -> BenchReport {
        self.latencies_ms.sort_by(f64::total_cmp);
        let end_to_end_s = took.as_secs_f64();
        let answers = self.latencies_ms.len() as f64;
        let ratio = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        BenchReport {
            end_to_end_s,
            requests: self.requests,
            errors: self.errors,
            wrong: self.wrong,
            mean_ms: ratio(self.latencies_ms.iter().sum(), answers),
            p50_ms: percentile(&self.latencies_ms, 50),
            p90_ms: percentile(&self.latencies_ms, 90),
            p99_ms: percentile(&self.latencies_ms, 99),
            max_ms: percentile(&self.latencies_ms, 100),
            tps: ratio(answers, end_to_end_s),
            connections: self.connections,
            connect_mean_ms: ratio(self.connecting.as_secs_f64() * 1000.0, self.connections as f64),
            pods: self.pods,
            reasons: self.reasons,
            cancelled,
        }
    }
}

/// The nearest-rank percentile: the smallest value that at least `percent` of all do not exceed; 0 when there is none.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for percent in [50, 90, 99, 100] {
            assert!((percentile(&hundred, percent) - percent as f64).abs() < 1e-9);
        }
        assert!((percentile(&[3.0], 50) - 3.0).abs() < 1e-9);
        assert!((percentile(&[1.0, 2.0], 50) - 1.0).abs() < 1e-9);
        assert!((percentile(&[1.0, 2.0], 99) - 2.0).abs() < 1e-9);
        assert!(percentile(&[], 99).abs() < 1e-9);
    }

    #[test]
    fn a_report_counts_only_answers_as_throughput() {
        let mut first = Measured { requests: 3, latencies_ms: vec![4.0, 2.0], ..Measured::default() };
        first.fail("broken");
        first.pods.insert("a".into(), 2);
        let mut second = Measured { requests: 1, latencies_ms: vec![6.0], ..Measured::default() };
        second.pods.insert("a".into(), 1);
        first.add(second);
        let report = first.report(Duration::from_secs(2), false);
        assert_eq!((report.requests, report.errors, report.pods.get("a")), (4, 1, Some(&3)));
        assert!((report.mean_ms - 4.0).abs() < 1e-9 && (report.tps - 1.5).abs() < 1e-9);
        assert!((report.p50_ms - 4.0).abs() < 1e-9 && (report.max_ms - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_report_of_nothing_has_no_nan() {
        let report = Measured::default().report(Duration::ZERO, true);
        assert!(report.tps.abs() < 1e-9 && report.mean_ms.abs() < 1e-9 && report.connect_mean_ms.abs() < 1e-9);
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut measured = Measured::default();
        for number in 0..100 {
            measured.fail(&format!("error {number}"));
        }
        assert_eq!((measured.errors, measured.reasons.len()), (100, MAX_REASONS));
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let image = BenchImage { picture: Picture { pixels: [0.0; 64], size: (8, 8) }, expected: None };
        let good = BenchOptions { cnum: 4, loops: 100, warmup: 0, images: vec![image] };
        assert_eq!(good.check(), Ok(400));
        for bad in [
            BenchOptions { cnum: 0, ..good.clone() },
            BenchOptions { cnum: MAX_CLIENTS + 1, ..good.clone() },
            BenchOptions { loops: 0, ..good.clone() },
            BenchOptions { loops: u32::MAX, ..good.clone() },
            BenchOptions { images: Vec::new(), ..good.clone() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_expected_class_comes_from_the_file_name() {
        let picture = Picture { pixels: [0.0; 64], size: (8, 8) };
        for (name, expected) in
            [("7.png", Some(7)), ("7b.png", Some(7)), ("12-x.png", Some(12)), ("seven.png", None), ("", None)]
        {
            assert_eq!(BenchImage::named(name, picture.clone()).expected, expected, "{name}");
        }
    }
}
