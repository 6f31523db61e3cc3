//! The client over TLS: whom it trusts, what it reports, and the benchmark.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inference::client::{BenchImage, BenchOptions, ClientError, bench, infer};
use inference::image::Picture;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::rig::{Pki, config, example, ready};

fn picture(name: &str) -> Picture {
    Picture::from_png(&std::fs::read(example("digits").join(name)).unwrap()).unwrap()
}

fn images() -> Vec<BenchImage> {
    ["0.png", "3b.png", "7.png"].iter().map(|name| BenchImage::named(name, picture(name))).collect()
}

fn options(cnum: u32, loops: u32) -> BenchOptions {
    BenchOptions { cnum, loops, warmup: 0, images: images() }
}

fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

/// A port that nobody listens on.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A plain server that answers every connection with the same bytes.
async fn canned(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
                tokio::time::sleep(Duration::from_secs(5)).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn an_answer_names_classes_pod_and_the_servers_certificate() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let target = pki.target(vec![pki.front(server.address, false).await]);
    let answer = infer(&target, &picture("7.png"), 3).await.unwrap();
    assert_eq!((answer.classes.len(), answer.classes[0].index, answer.model.as_str()), (3, 7, "digits"));
    assert!(answer.classes[0].probability > 0.9);
    assert_eq!(answer.pod.as_deref(), Some("inference-0"));
    assert_eq!(answer.peer, pki.server.0.as_ref());
    assert!(answer.milliseconds > 0.0);
}

#[tokio::test]
async fn a_server_under_another_root_is_not_trusted() {
    let server = ready(config()).await;
    let (theirs, ours) = (Pki::new("inference"), Pki::new("inference"));
    let target = ours.target(vec![theirs.front(server.address, false).await]);
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::NotTrusted { .. }), "{error:?}");
    assert!(error.is_refusal() && error.hint().is_some());
}

#[tokio::test]
async fn an_address_that_cannot_be_reached_is_passed_over_and_one_that_is_not_trusted_is_not() {
    let server = ready(config()).await;
    let (theirs, ours) = (Pki::new("inference"), Pki::new("inference"));
    let good = ours.front(server.address, false).await;
    let foreign = theirs.front(server.address, false).await;
    let dead = closed_port().await;
    let answer = infer(&ours.target(vec![dead, good]), &picture("7.png"), 1).await.unwrap();
    assert_eq!(answer.address, good);
    let error = infer(&ours.target(vec![dead, foreign, good]), &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::NotTrusted { address, .. } if address == foreign), "{error:?}");
}

#[tokio::test]
async fn a_server_of_another_name_is_not_trusted() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let mut target = pki.target(vec![pki.front(server.address, false).await]);
    target.server_name = ServerName::try_from("coordinator").unwrap();
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::NotTrusted { ref name, .. } if name == "coordinator"), "{error:?}");
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_it_or_refuses() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let mut target = pki.target(vec![pki.front(server.address, true).await]);
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::ClientRefused { .. }), "{error:?}");
    assert!(error.is_refusal());
    target.tls = pki.client_config(true);
    assert_eq!(infer(&target, &picture("7.png"), 1).await.unwrap().classes[0].index, 7);
}

#[tokio::test]
async fn failures_that_say_nothing_about_trust_are_no_refusals() {
    let pki = Pki::new("inference");
    let mut target = pki.target(vec![closed_port().await]);
    target.timeout = Duration::from_millis(300);
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }) && !error.is_refusal());

    target.addresses = vec![canned(b"HTTP/1.1 200 OK\r\n\r\n").await];
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }) && !error.is_refusal(), "plain text is not spoken: {error:?}");

    // Accepts and stays silent.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    target.addresses = vec![silent.local_addr().unwrap()];
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }) && !error.is_refusal());

    target.addresses = Vec::new();
    assert!(matches!(infer(&target, &picture("7.png"), 1).await, Err(ClientError::NoAddress)));
}

#[tokio::test]
async fn unusable_answers_are_errors_and_no_panic() {
    let pki = Pki::new("inference");
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 49\r\n\r\n{\"model_name\":\"\",\"model_version\":\"\",\"outputs\":[]}",
        b"HTTP/1.1 500 Oops\r\ncontent-length: 3\r\n\r\nboo",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"\0\0\0\0",
    ] {
        let mut target = pki.target(vec![pki.front(canned(answer).await, false).await]);
        target.timeout = Duration::from_millis(300);
        target.model = Some("digits".into());
        let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
        assert!(!error.is_refusal(), "{error:?}");
    }
}

#[tokio::test]
async fn the_servers_own_no_is_a_refusal() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let mut target = pki.target(vec![pki.front(server.address, false).await]);
    target.output = "logits".into();
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 400, ref message } if message.contains("logits")));
    target.model = Some("../../secrets?x#y".into());
    let error = infer(&target, &picture("7.png"), 1).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { status: 404, .. }) && error.is_refusal(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_benchmark_counts_what_it_did() {
    let server = ready(config()).await;
    let mut second = config();
    second.pod = Some("inference-1".into());
    let other = ready(second).await;
    let pki = Pki::new("inference");
    let target = pki.target(vec![pki.front(server.address, false).await, pki.front(other.address, false).await]);
    let mut last = None;
    let options = BenchOptions { warmup: 2, ..options(4, 25) };
    let report = bench(&target, &options, never(), |progress| last = Some(progress)).await.unwrap();
    assert_eq!((report.requests, report.errors, report.wrong, report.connections), (100, 0, 0, 0));
    assert_eq!(report.pods.values().sum::<u64>(), 100);
    assert_eq!(report.pods.keys().collect::<Vec<_>>(), ["inference-0", "inference-1"]);
    assert!(report.p50_ms <= report.p90_ms && report.p90_ms <= report.p99_ms && report.p99_ms <= report.max_ms);
    assert!(report.mean_ms > 0.0 && report.tps > 0.0 && !report.cancelled);
    let last = last.unwrap();
    assert_eq!((last.done, last.total, last.errors), (100, 100, 0));
    // Without a warm-up the connections are part of it.
    let report = bench(&target, &self::options(3, 1), never(), |_| {}).await.unwrap();
    assert!(report.connections == 3 && report.connect_mean_ms > 0.0);
}

#[tokio::test]
async fn wrong_answers_are_counted_as_such() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let target = pki.target(vec![pki.front(server.address, false).await]);
    let images = vec![BenchImage { picture: picture("7.png"), expected: Some(3) }];
    let report = bench(&target, &BenchOptions { images, ..options(1, 5) }, never(), |_| {}).await.unwrap();
    assert_eq!((report.wrong, report.errors), (5, 0));
}

#[tokio::test]
async fn errors_are_counted_and_do_not_end_a_benchmark() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    // One of two addresses is dead: a client that meets it moves on to the other.
    let alive = pki.front(server.address, false).await;
    let target = pki.target(vec![closed_port().await, alive]);
    let report = bench(&target, &options(2, 10), never(), |_| {}).await.unwrap();
    assert_eq!((report.requests, report.errors, report.pods.get("inference-0")), (20, 1, Some(&19)));
    assert_eq!(report.reasons.len(), 1);
    // All are dead.
    let target = pki.target(vec![closed_port().await]);
    let report = bench(&target, &options(2, 3), never(), |_| {}).await.unwrap();
    assert_eq!((report.requests, report.errors), (6, 6));
    assert!(report.tps.abs() < f64::EPSILON && report.p99_ms.abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_server_that_goes_away_costs_errors_and_not_the_report() {
    let server = ready(config()).await;
    let pki = Pki::new("inference");
    let target = pki.target(vec![pki.front(server.address, false).await]);
    let stopper = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.stop.send(()).unwrap();
    };
    let options = options(2, 200);
    let (report, ()) = tokio::join!(bench(&target, &options, never(), |_| {}), stopper);
    let report = report.unwrap();
    assert_eq!(report.requests, 400);
    assert_eq!(report.errors + report.pods.values().sum::<u64>(), 400);
}

#[tokio::test]
async fn a_benchmark_ends_when_it_is_told_to() {
    let pki = Pki::new("inference");
    let silent = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let mut target = pki.target(vec![silent.local_addr().unwrap()]);
    target.timeout = Duration::from_mins(1);
    let (stop, stopped) = watch::channel(false);
    let begin = Instant::now();
    let stopper = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.send_replace(true);
    };
    let options = BenchOptions { warmup: 0, ..options(3, 10) };
    let (report, ()) = tokio::join!(bench(&target, &options, stopped, |_| {}), stopper);
    let report = report.unwrap();
    assert!(report.cancelled && report.requests == 0 && begin.elapsed() < Duration::from_secs(5));
}
