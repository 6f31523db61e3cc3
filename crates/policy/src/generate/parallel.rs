//! The same work on many items, on as many processors as there are.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// LIMIT: more threads than this wait for memory and not for processors.
const MAX_THREADS: usize = 16;
/// Fewer items are done before another thread has started.
const FEW: usize = 4;

/// Does the work on each item and gives the results in the items' order, whichever was done first. Of several errors it
/// is the first item's that counts, so that a run says the same each time.
pub(super) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS).min(items.len());
    if threads < 2 || items.len() < FEW {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        for count in [0, 1, 3, 4, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = map(&items, |item| Ok::<_, ()>(item * 2)).unwrap();
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_counts() {
        let items: Vec<usize> = (0..1000).collect();
        let failed = map(&items, |item| if item % 7 == 3 { Err(*item) } else { Ok(()) });
        assert_eq!(failed.unwrap_err(), 3);
    }
}
