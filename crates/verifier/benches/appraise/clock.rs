//! Time, and what is left of several measurements of one thing.

use std::time::{Duration, Instant};

use serde::Serialize;

/// Median, least and most of several measurements.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { median: at(values.len() / 2), least: at(0), most: at(values.len().saturating_sub(1)) }
    }
}

/// How many times a second.
pub(crate) fn rate(time: Duration, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut count = 0.0;
    loop {
        for _ in 0..16 {
            work();
        }
        count += 16.0;
        let spent = start.elapsed();
        if spent >= time {
            return count / spent.as_secs_f64();
        }
    }
}

/// How long a slice lasts: short beside the drift of a machine, long beside a clock's resolution and cold caches.
const SLICE: Duration = Duration::from_millis(10);

/// Seconds that each of two kinds of work takes, done in turns for `time` each. What the first kind consumes is made
/// before its clock starts.
pub(crate) fn compare<T>(
    time: Duration,
    mut prepare: impl FnMut() -> T,
    mut first: impl FnMut(T),
    mut second: impl FnMut(),
) -> (f64, f64) {
    let mut spent = [Duration::ZERO; 2];
    let mut count = [0_u32; 2];
    // How many fit into a slice, from one of each.
    let probe = prepare();
    let start = Instant::now();
    first(probe);
    let fits = |each: Duration| {
        let count = SLICE.as_secs_f64() / each.as_secs_f64().max(1e-7);
        (1..=1_000_u32).take_while(|fit| f64::from(*fit) <= count).last().unwrap_or(1)
    };
    let firsts = fits(start.elapsed());
    let start = Instant::now();
    second();
    let seconds = fits(start.elapsed());
    while spent[0] < time || spent[1] < time {
        let batch: Vec<T> = (0..firsts).map(|_| prepare()).collect();
        let start = Instant::now();
        batch.into_iter().for_each(&mut first);
        spent[0] += start.elapsed();
        count[0] += firsts;
        let start = Instant::now();
        for _ in 0..seconds {
            second();
        }
        spent[1] += start.elapsed();
        count[1] += seconds;
    }
    let each = |index: usize| spent[index].as_secs_f64() / f64::from(count[index]);
    (each(0), each(1))
}
