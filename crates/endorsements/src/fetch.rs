//! One answer, with all the patience it deserves: attempts with growing pauses, and none at all for a while when a service
//! keeps failing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::error::FetchError;
use crate::http::{Answer, Transport};
use crate::sources::Request;

/// How long and how often services are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// For one attempt from beginning to end.
    pub request: Duration,
    /// For all attempts and pauses together.
    pub total: Duration,
    /// Attempts at most.
    pub attempts: u32,
    /// The pause after the first attempt, before jitter. It doubles with each.
    pub first_pause: Duration,
    /// It grows to no more than this.
    pub longest_pause: Duration,
    /// A service that asks for a longer pause than this is not asked again.
    pub longest_retry_after: Duration,
    /// Failed fetches in a row after which a service is left alone.
    pub failures: u32,
    /// For how long. Then one fetch may try.
    pub cool_down: Duration,
}

impl Default for Limits {
    /// A person waits: whatever happens, there is an answer after a minute. AMD's service limits the rate of callers to
    /// one in some seconds and says so in `Retry-After`, so pauses of that size are worth their while.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(20),
            total: Duration::from_secs(60),
            attempts: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(8),
            longest_retry_after: Duration::from_secs(20),
            failures: 3,
            cool_down: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The pause after attempt `number`, counted from 0: between half of it and all of it, by `dice` in 0..=255, so that
    /// many clients which failed together do not come back together.
    pub(crate) fn pause(&self, number: u32, dice: u8) -> Duration {
        let full = self.first_pause.saturating_mul(1 << number.min(16)).min(self.longest_pause);
        full / 2 + full / 2 * u32::from(dice) / 255
    }
}

/// Fetches from one service at the same time: services count connections, and one that hangs must not keep the others'
/// answers waiting.
const AT_ONCE: usize = 4;

/// What is remembered of a service.
#[derive(Debug)]
struct Service {
    slots: Arc<Semaphore>,
    /// Failed fetches in a row.
    failures: u32,
    /// Until when it is left alone.
    closed_until: Option<Instant>,
    /// Until when it asked to be left alone; fetches wait for that, if it is not too long.
    not_before: Option<Instant>,
}

impl Default for Service {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), failures: 0, closed_until: None, not_before: None }
    }
}

/// LIMIT: services that are remembered; there are five, unless somebody uses addresses as names.
const MAX_SERVICES: usize = 64;

/// Asks services, and remembers how they are.
pub(crate) struct Fetcher {
    transport: Box<dyn Transport>,
    limits: Limits,
    services: Mutex<HashMap<String, Service>>,
}

impl Fetcher {
    pub(crate) fn new(transport: Box<dyn Transport>, limits: Limits) -> Self {
        Self { transport, limits, services: Mutex::default() }
    }

    /// The answer to a request, of status 200.
    pub(crate) async fn fetch(&self, request: &Request) -> Result<Answer, FetchError> {
        let slots = self.with(request, |service| Arc::clone(&service.slots));
        let _slot = slots.acquire_owned().await.map_err(|_| FetchError::GivenUp)?;
        self.admit(request)?;
        let attempts = tokio::time::timeout(self.limits.total, self.attempts(request));
        let result = attempts.await.unwrap_or_else(|_| {
            Err(FetchError::TimedOut { host: request.host(), path: request.path(), limit: self.limits.total })
        });
        self.remember(request, result.as_ref().err());
        result
    }

    async fn attempts(&self, request: &Request) -> Result<Answer, FetchError> {
        let mut number = 0;
        loop {
            self.wait_as_asked(request).await;
            let error = match self.transport.send(request).await {
                Ok(answer) if answer.status == 200 => return Ok(answer),
                Ok(answer) => refused(request, &answer),
                Err(error) => error,
            };
            number += 1;
            if !error.is_transient() || number >= self.limits.attempts.max(1) {
                return Err(error);
            }
            let mut pause = self.limits.pause(number - 1, dice());
            if let FetchError::PutOff { retry_after: Some(asked), .. } = error {
                if asked > self.limits.longest_retry_after {
                    return Err(error);
                }
                self.with(request, |service| service.not_before = Some(Instant::now() + asked));
                pause = pause.max(asked);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for as long as the service asked another fetch to wait.
    async fn wait_as_asked(&self, request: &Request) {
        if let Some(time) = self.with(request, |service| service.not_before) {
            tokio::time::sleep_until(time).await;
        }
    }

    /// Whether the service may be asked. The one that is let through after a cool-down closes the door behind itself.
    fn admit(&self, request: &Request) -> Result<(), FetchError> {
        let now = Instant::now();
        let cool_down = self.limits.cool_down;
        self.with(request, |service| match service.closed_until {
            Some(until) if until > now => Err(FetchError::CoolingDown { host: request.host(), left: until - now }),
            Some(_) => {
                service.closed_until = Some(now + cool_down);
                Ok(())
            }
            None => Ok(()),
        })
    }

    fn remember(&self, request: &Request, error: Option<&FetchError>) {
        let limits = self.limits;
        self.with(request, |service| {
            if error.is_some_and(FetchError::is_transient) {
                service.failures = service.failures.saturating_add(1);
                if service.failures >= limits.failures {
                    service.closed_until = Some(Instant::now() + limits.cool_down);
                }
            } else {
                // Also a refusal is an answer: the service is there.
                (service.failures, service.closed_until) = (0, None);
            }
        });
    }

    fn with<T>(&self, request: &Request, act: impl FnOnce(&mut Service) -> T) -> T {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.len() >= MAX_SERVICES && !services.contains_key(&request.service) {
            services.clear();
        }
        act(services.entry(request.service.clone()).or_default())
    }
}

/// The error that a status is.
fn refused(request: &Request, answer: &Answer) -> FetchError {
    let (host, path, status) = (request.host(), request.path(), answer.status);
    match status {
        404 | 410 => FetchError::NotFound { host, path, status },
        429 | 503 => FetchError::PutOff { host, path, status, retry_after: answer.retry_after },
        500..=599 => FetchError::Failed { host, path, status },
        _ => FetchError::Unexpected { host, path, status },
    }
}

/// A random byte. Where there is none, the pause is the shortest: jitter is a courtesy, not a protection.
fn dice() -> u8 {
    let mut byte = [0];
    aws_lc_rs::rand::fill(&mut byte).map_or(0, |()| byte[0])
}

#[cfg(test)]
mod tests;
