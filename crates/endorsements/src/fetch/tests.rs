//! With a clock that stands still until everybody waits for it, pauses are exact.

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::http::Sent;

/// Answers from a list, and remembers when it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Answer, FetchError>>>,
    asked: Mutex<Vec<Instant>>,
}

impl Transport for Arc<Script> {
    fn send<'a>(&'a self, _: &'a Request) -> Sent<'a> {
        self.asked.lock().unwrap().push(Instant::now());
        let next = self.answers.lock().unwrap().pop_front();
        Box::pin(async move { next.unwrap_or_else(|| status(500)) })
    }
}

type Outcome = Result<Answer, FetchError>;

#[expect(clippy::unnecessary_wraps, reason = "a line of the script")]
fn status(status: u16) -> Outcome {
    Ok(Answer { status, ..Answer::default() })
}

#[expect(clippy::unnecessary_wraps, reason = "a line of the script")]
fn put_off(seconds: u64) -> Outcome {
    Ok(Answer { status: 429, retry_after: Some(Duration::from_secs(seconds)), ..Answer::default() })
}

fn request() -> Request {
    Request::get("https://a.example/x".into(), 10)
}

fn fetcher(answers: impl IntoIterator<Item = Result<Answer, FetchError>>, limits: Limits) -> (Arc<Script>, Fetcher) {
    let script = Arc::new(Script { answers: Mutex::new(answers.into_iter().collect()), ..Script::default() });
    (Arc::clone(&script), Fetcher::new(Box::new(script), limits))
}

/// The pauses between attempts, in milliseconds.
fn pauses(script: &Script) -> Vec<u128> {
    let asked = script.asked.lock().unwrap();
    asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[test]
fn pauses_double_up_to_a_bound_and_jitter_takes_at_most_half() {
    let limits = Limits::default();
    let bounds = |number| (limits.pause(number, 0).as_millis(), limits.pause(number, 255).as_millis());
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 40].map(bounds),
        [(250, 500), (500, 1000), (1000, 2000), (2000, 4000), (4000, 8000), (4000, 8000), (4000, 8000)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_is_asked_again_with_growing_pauses_and_then_given_up() {
    let (script, fetcher) = fetcher([], Limits::default());
    let error = fetcher.fetch(&request()).await.unwrap_err();
    assert_eq!(error, FetchError::Failed { host: "a.example".into(), path: "/x".into(), status: 500 });
    let pauses = pauses(&script);
    assert_eq!(pauses.len(), 3);
    for (pause, bounds) in pauses.iter().zip([250..=501, 500..=1001, 1000..=2001]) {
        assert!(bounds.contains(pause), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_attempt_may_succeed() {
    let (script, fetcher) = fetcher([status(502), status(200)], Limits::default());
    assert_eq!(fetcher.fetch(&request()).await.unwrap().status, 200);
    assert_eq!(pauses(&script).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_also_by_fetches_that_start_meanwhile() {
    let (script, fetcher) = fetcher([put_off(7), status(200), status(200)], Limits::default());
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fetcher.fetch(&request()).await
    };
    let request = request();
    let (first, second) = tokio::join!(fetcher.fetch(&request), later);
    assert!(first.is_ok() && second.is_ok());
    let pauses = pauses(&script);
    assert!((7000..=7001).contains(&pauses[0]) && pauses[1] <= 1, "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_for_too_long_a_pause_is_not_waited_for() {
    let (script, fetcher) = fetcher([put_off(21)], Limits::default());
    let begun = Instant::now();
    let error = fetcher.fetch(&request()).await.unwrap_err();
    assert_eq!(error.hint().unwrap(), "repeat it in 21 s");
    assert_eq!((pauses(&script).len(), begun.elapsed()), (0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn answers_that_mean_no_are_not_asked_for_twice() {
    for (code, expected) in [
        (404, "not-found"),
        (410, "not-found"),
        (301, "unexpected-status"),
        (302, "unexpected-status"),
        (400, "unexpected-status"),
        (403, "unexpected-status"),
        (204, "unexpected-status"),
    ] {
        let (script, fetcher) = fetcher([status(code)], Limits::default());
        assert_eq!(fetcher.fetch(&request()).await.unwrap_err().code(), expected, "{code}");
        assert_eq!(script.asked.lock().unwrap().len(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_attempts_together_have_an_end() {
    let limits = Limits { attempts: 1_000, ..Limits::default() };
    let (_, fetcher) = fetcher([], limits);
    let begun = Instant::now();
    let error = fetcher.fetch(&request()).await.unwrap_err();
    assert_eq!((error.code(), begun.elapsed().as_secs()), ("timed-out", 60));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_keeps_failing_is_left_alone_and_then_tried_by_one() {
    let limits = Limits { attempts: 1, ..Limits::default() };
    let (script, fetcher) = fetcher([], limits);
    let count = || script.asked.lock().unwrap().len();
    for _ in 0..3 {
        assert_eq!(fetcher.fetch(&request()).await.unwrap_err().code(), "service-failed");
    }
    let left = Duration::from_secs(60);
    assert_eq!(fetcher.fetch(&request()).await, Err(FetchError::CoolingDown { host: "a.example".into(), left }));
    let other = Request::get("https://b.example/x".into(), 10);
    assert_eq!(fetcher.fetch(&other).await.unwrap_err().code(), "service-failed", "others are asked");
    assert_eq!(count(), 4);
    tokio::time::advance(Duration::from_secs(61)).await;
    let request = request();
    let (first, second) = tokio::join!(fetcher.fetch(&request), fetcher.fetch(&request));
    assert_eq!((first.unwrap_err().code(), second.unwrap_err().code()), ("service-failed", "cooling-down"));
    assert_eq!(count(), 5);
    tokio::time::advance(Duration::from_secs(61)).await;
    script.answers.lock().unwrap().push_back(status(404));
    assert_eq!(fetcher.fetch(&request).await.unwrap_err().code(), "not-found");
    assert_eq!(
        fetcher.fetch(&request).await.unwrap_err().code(),
        "service-failed",
        "it answered, so it is asked again"
    );
}

#[tokio::test(start_paused = true)]
async fn remembered_services_are_bounded() {
    let (_, fetcher) = fetcher([], Limits { attempts: 1, ..Limits::default() });
    for number in 0..MAX_SERVICES * 2 {
        let _ = fetcher.fetch(&Request::get(format!("https://{number}.example/"), 10)).await;
    }
    assert!(fetcher.services.lock().unwrap().len() <= MAX_SERVICES);
}

/// Counts how many are under way.
#[derive(Default)]
struct Slow {
    now: Mutex<usize>,
    most: Mutex<usize>,
}

impl Transport for Arc<Slow> {
    fn send<'a>(&'a self, _: &'a Request) -> Sent<'a> {
        Box::pin(async move {
            let now = {
                let mut now = self.now.lock().unwrap();
                *now += 1;
                *now
            };
            let most = now.max(*self.most.lock().unwrap());
            *self.most.lock().unwrap() = most;
            tokio::time::sleep(Duration::from_secs(1)).await;
            *self.now.lock().unwrap() -= 1;
            status(200)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn one_service_is_asked_four_things_at_once_and_keeps_nobody_elses_waiting() {
    let slow = Arc::new(Slow::default());
    let fetcher = Fetcher::new(Box::new(Arc::clone(&slow)), Limits::default());
    let (busy, other) = (request(), Request::get("https://b.example/x".into(), 10));
    let begun = Instant::now();
    let all = futures_util::future::join_all((0..10).map(|_| fetcher.fetch(&busy)));
    let free = async {
        let answer = fetcher.fetch(&other).await;
        (answer.is_ok(), begun.elapsed().as_secs())
    };
    let (all, free) = tokio::join!(all, free);
    assert!(all.iter().all(Result::is_ok));
    assert_eq!((free, begun.elapsed().as_secs(), *slow.most.lock().unwrap()), ((true, 1), 3, AT_ONCE + 1));
}
