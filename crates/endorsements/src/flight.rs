//! One fetch for all who want the same: the first starts it, the others wait for its result.
//!
//! The fetch is a task of its own, so whoever gives up waiting takes nothing from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::Digest;
use tokio::sync::watch;

/// Fetches under way, by what they fetch.
pub(crate) struct Flights<T>(Arc<Mutex<HashMap<Digest, watch::Receiver<Option<T>>>>>);

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Takes a flight off the list, also when it panics.
struct Landing<T> {
    flights: Arc<Mutex<HashMap<Digest, watch::Receiver<Option<T>>>>>,
    key: Digest,
}

impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// The result of the flight `key`, which `start` begins if nobody has. `None` when it ended without one.
    pub(crate) async fn join<F>(&self, key: Digest, start: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut result = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = flights.get(&key) {
                running.clone()
            } else {
                let (done, result) = watch::channel(None);
                flights.insert(key, result.clone());
                let landing = Landing { flights: Arc::clone(&self.0), key };
                let flight = start();
                tokio::spawn(async move {
                    let outcome = flight.await;
                    drop(landing);
                    done.send_replace(Some(outcome));
                });
                result
            }
        };
        result.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}

#[cfg(test)]
mod tests;
