use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

const KEY: Digest = Digest::ZERO;

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_takes_nothing_from_the_others() {
    let flights = Flights::<usize>::default();
    let started = Arc::new(AtomicUsize::new(0));
    let fetch = || {
        let started = Arc::clone(&started);
        async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            started.fetch_add(1, Ordering::SeqCst) + 1
        }
    };
    let impatient = tokio::time::timeout(Duration::from_secs(1), flights.join(KEY, fetch)).await;
    assert!(impatient.is_err());
    assert_eq!(flights.join(KEY, fetch).await, Some(1));
    assert_eq!(started.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_panics_ends_for_all_and_the_next_can_start() {
    let flights = Flights::<usize>::default();
    let crash = || async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        panic!("as wanted");
    };
    let (first, second) = tokio::join!(flights.join(KEY, crash), flights.join(KEY, crash));
    assert_eq!((first, second), (None, None));
    assert_eq!(flights.join(KEY, || async { 7 }).await, Some(7));
}

#[tokio::test]
async fn different_things_are_fetched_at_the_same_time() {
    let flights = Flights::<usize>::default();
    let one = flights.join(KEY, || async { 1 });
    let two = flights.join(Digest::of(b"two"), || async { 2 });
    assert_eq!(tokio::join!(one, two), (Some(1), Some(2)));
}
