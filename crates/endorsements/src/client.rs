//! Gathering: from the cache where that will do, else from the service, and a report about each need.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use protocol::Digest;
use tokio::time::Instant;
use verifier::UnixTime;
use verifier::endorsements::{Endorsements, Need};

use crate::answer;
use crate::cache::{Cache, CacheError, Stored};
use crate::error::FetchError;
use crate::fetch::{Fetcher, Limits};
use crate::flight::Flights;
use crate::http::Http;
use crate::sources::{Request, Sources, parts};

/// LIMIT: needs in one question. An HGX board with its host has about 60.
pub(crate) const MAX_NEEDS: usize = 1_024;
/// For how long "not found" is believed. Needs come from unverified Evidence: a made-up chip must not cost AMD's service
/// a request, and us its patience, each time it is shown.
const NOT_FOUND: Duration = Duration::from_secs(60);
/// LIMIT: what is remembered between two questions.
const MAX_MEMORY: usize = 4_096;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// How new documents must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Freshness {
    /// Not past the time at which the document says there is a newer one, and, because some say that a year ahead, not
    /// fetched longer ago than is usual for the kind: an hour for OCSP, a day for what a vendor may publish any day
    /// (revocation lists, TCB info, QE identity, RIMs), for certificates as long as they are valid.
    #[default]
    Normal,
    /// As [`Freshness::Normal`], and fetched no longer ago than this.
    AtMost(Duration),
    /// Fetched now. What is in the cache only serves when that fails.
    Refresh,
}

/// Where a document came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The cache.
    Cache {
        /// How long ago it was fetched.
        age: Duration,
    },
    /// The service, now.
    Fetched,
    /// Nowhere.
    Missing(FetchError),
}

/// Something that did not prevent an answer, and should be known.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// A newer document was wanted and not to be had.
    #[error("not renewed: {0}")]
    NotRenewed(FetchError),
    /// What the cache had cannot be used.
    #[error("the cache's copy was passed over: {0}")]
    Damaged(CacheError),
    /// The service's answer was issued before one that the cache has. Both are given out.
    #[error("kept newer: an earlier answer was issued later, at {issued_at}")]
    KeptNewer {
        /// When the newest was issued, by its own unverified word.
        issued_at: UnixTime,
    },
    /// An older answer revokes what the last one does not. Both are given out.
    #[error("kept older: it revokes, and nothing by its issuer took its place")]
    KeptRevoking,
    /// The document could not be kept.
    #[error("not kept: {0}")]
    NotKept(CacheError),
}

/// What became of one need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The need.
    pub need: Need,
    /// Where the answer came from.
    pub origin: Origin,
    /// Which address it has, or would have.
    pub url: Option<String>,
    /// Until when it is good, by its own unverified word: next update or end of validity, of several documents the first.
    pub next_update: Option<UnixTime>,
    /// Whether it is past that time, or older than what was wanted. It is given out all the same: judging decides.
    pub stale: bool,
    /// What else there is to say.
    pub notes: Vec<Note>,
}

impl Status {
    /// Whether there is no document.
    pub fn is_missing(&self) -> bool {
        matches!(self.origin, Origin::Missing(_))
    }

    /// Why there is no document, or no newer one.
    pub fn error(&self) -> Option<&FetchError> {
        match &self.origin {
            Origin::Missing(error) => Some(error),
            _ => self.notes.iter().find_map(|note| match note {
                Note::NotRenewed(error) => Some(error),
                _ => None,
            }),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Cache { age } => write!(f, "from the cache, fetched {} ago", Span(*age))?,
            Origin::Fetched => f.write_str("fetched")?,
            Origin::Missing(error) => write!(f, "missing: {error}")?,
        }
        if let Some(next_update) = self.next_update {
            write!(f, ", good until {next_update}")?;
        }
        if self.stale {
            f.write_str(", stale")?;
        }
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}

/// A duration for people: one unit.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds @ 7_200..172_800 => write!(f, "{} h", seconds / HOUR),
            seconds => write!(f, "{} days", seconds / DAY),
        }
    }
}

/// Documents, and what became of each need, in the order of the needs.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// What there is.
    pub endorsements: Endorsements,
    /// One for each different need.
    pub report: Vec<Status>,
}

/// Why there is no client.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A setting that is no address.
    #[error("`{url}` (`{setting}`) is no address that begins with https:// or http://")]
    Address {
        /// Which one.
        setting: &'static str,
        /// The text.
        url: String,
    },
    /// A certificate that cannot be read.
    #[error("a root certificate for services cannot be read")]
    Root,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {reason}")]
    Tls {
        /// The innermost cause.
        reason: String,
    },
}

type Outcome = Result<Arc<Fetched>, FetchError>;

/// A document that was just fetched.
struct Fetched {
    stored: Stored,
    not_kept: Option<CacheError>,
}

/// A clock.
pub type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

struct Inner {
    sources: Sources,
    cache: Cache,
    /// `None` offline.
    fetcher: Option<Fetcher>,
    flights: Flights<Outcome>,
    memory: Mutex<Memory>,
    clock: Clock,
}

/// What is remembered between questions.
#[derive(Default)]
struct Memory {
    not_found: HashMap<Digest, (Instant, FetchError)>,
    fetched: HashMap<Digest, Instant>,
}

/// Gathers Endorsements. Cheap to clone; clones share everything. Needs a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("sources", &self.inner.sources).field("cache", &self.inner.cache).finish()
    }
}

impl Client {
    /// A client of these services, with this cache. Asks nobody yet.
    pub fn new(sources: Sources, cache: Cache) -> Result<Self, ClientError> {
        Self::with(sources, cache, Limits::default(), Arc::new(system_clock))
    }

    /// The same, with other patience and by another clock: for tests, and to see what is stale at another time.
    pub fn with(sources: Sources, cache: Cache, limits: Limits, clock: Clock) -> Result<Self, ClientError> {
        if let Some((setting, url)) = sources.bases().into_iter().find(|(_, url)| parts(url).is_none()) {
            return Err(ClientError::Address { setting, url: crate::error::quote(url) });
        }
        // Offline, nothing of this may fail: there may be no root certificates, and none are needed.
        let http = if sources.offline { None } else { Some(Http::new(&sources, limits)?) };
        let fetcher = http.map(|http| Fetcher::new(Box::new(http), limits));
        let (flights, memory) = (Flights::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { sources, cache, fetcher, flights, memory, clock }) })
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    /// Gathers what is needed, all at the same time, and then what the manifests among it need in turn: only a RIM says
    /// who signed it. Never fails as a whole: what could not be had is missing in the result, and the report says why.
    /// Whoever stops waiting loses nothing for others who wait for the same.
    pub async fn gather(&self, needs: &[Need], freshness: Freshness) -> Gathered {
        let mut gathered = Gathered::default();
        self.add(needs, freshness, &mut gathered).await;
        let further = verifier::further_needs(&gathered.endorsements);
        self.add(&further, freshness, &mut gathered).await;
        gathered
    }

    /// Gathers what is needed and not in the report yet.
    async fn add(&self, needs: &[Need], freshness: Freshness, gathered: &mut Gathered) {
        let mut seen: HashSet<&Need> = gathered.report.iter().map(|status| &status.need).collect();
        let unique: Vec<&Need> = needs.iter().filter(|need| seen.insert(*need)).collect();
        let (taken, over) = unique.split_at(unique.len().min(MAX_NEEDS));
        for (mut status, stored) in join_all(taken.iter().map(|need| self.meet(need, freshness))).await {
            for document in stored.iter().flat_map(Stored::answers).flatten() {
                if gathered.endorsements.add(document.kind, &document.bytes).is_err() {
                    status.origin =
                        Origin::Missing(FetchError::TooMany { limit: verifier::endorsements::MAX_DOCUMENTS });
                }
            }
            gathered.report.push(status);
        }
        for need in over {
            let error = FetchError::TooMany { limit: MAX_NEEDS };
            gathered.report.push(self.status((*need).clone(), Origin::Missing(error), None, false, Vec::new()));
        }
    }

    /// Fetches again what the cache has and would not give out as fresh. What it has of another channel stays as it is.
    pub async fn refresh_stale(&self) -> Result<Vec<Status>, CacheError> {
        let listing = self.blocking(Cache::list).await?;
        let now = (self.inner.clock)();
        let due = |entry: &&crate::cache::Entry| {
            !is_fresh(&entry.need, entry.fetched_at, entry.next_update, Freshness::Normal, now)
                && self.inner.sources.variant(&entry.need) == entry.variant
        };
        let needs: Vec<Need> = listing.entries.iter().filter(due).map(|entry| entry.need.clone()).collect();
        let mut report = Vec::new();
        for needs in needs.chunks(MAX_NEEDS) {
            let mut gathered = Gathered::default();
            self.add(needs, Freshness::Refresh, &mut gathered).await;
            report.append(&mut gathered.report);
        }
        Ok(report)
    }

    async fn meet(&self, need: &Need, freshness: Freshness) -> (Status, Option<Stored>) {
        let asked = Instant::now();
        let key = self.inner.sources.key(need);
        let mut notes = Vec::new();
        let cached = self.cached(key, &mut notes).await;
        let now = (self.inner.clock)();
        if let Some(stored) = &cached
            && is_fresh(need, stored.fetched_at, stored.next_update(), freshness, now)
        {
            return self.out_of_cache(need, stored.clone(), false, notes);
        }
        let error = match self.fetch(need, key, asked, freshness).await {
            Ok(fetched) => {
                notes.extend(fetched.not_kept.clone().map(Note::NotKept));
                let stored = fetched.stored.clone();
                notes.extend(kept(&stored, now));
                let stale = is_past(stored.next_update(), now);
                let status = self.status(need.clone(), Origin::Fetched, stored.next_update(), stale, notes);
                return (status, Some(stored));
            }
            Err(error) => error,
        };
        if let Some(stored) = cached {
            // Offline, nothing newer was to be had, and whoever set that knows.
            if error != FetchError::Offline {
                notes.push(Note::NotRenewed(error));
                return self.out_of_cache(need, stored, true, notes);
            }
            let stale = is_past(stored.next_update(), now);
            return self.out_of_cache(need, stored, stale, notes);
        }
        (self.status(need.clone(), Origin::Missing(error), None, false, notes), None)
    }

    fn out_of_cache(&self, need: &Need, stored: Stored, stale: bool, mut notes: Vec<Note>) -> (Status, Option<Stored>) {
        let now = (self.inner.clock)();
        notes.extend(kept(&stored, now));
        let age = Duration::from_secs(now.0.saturating_sub(stored.fetched_at.0));
        let status = self.status(need.clone(), Origin::Cache { age }, stored.next_update(), stale, notes);
        (status, Some(stored))
    }

    fn status(
        &self,
        need: Need,
        origin: Origin,
        next_update: Option<UnixTime>,
        stale: bool,
        notes: Vec<Note>,
    ) -> Status {
        let url = self.inner.sources.request(&need).ok().map(|request| request.url);
        Status { need, origin, url, next_update, stale, notes }
    }

    async fn cached(&self, key: Digest, notes: &mut Vec<Note>) -> Option<Stored> {
        match self.blocking(move |cache| cache.get(&key)).await {
            Ok(stored) => stored,
            Err(error) => {
                notes.push(Note::Damaged(error));
                None
            }
        }
    }

    /// Fetches, or joins whoever does already.
    async fn fetch(&self, need: &Need, key: Digest, asked: Instant, freshness: Freshness) -> Outcome {
        let inner = &self.inner;
        if inner.fetcher.is_none() {
            return Err(FetchError::Offline);
        }
        if freshness != Freshness::Refresh
            && let Some(error) = inner.recently_not_found(key)
        {
            return Err(error);
        }
        let request = inner.sources.request(need)?;
        let (client, need) = (self.clone(), need.clone());
        let flight = || async move {
            let outcome = client.fetch_now(&need, key, asked, &request).await;
            client.inner.remember(key, &outcome);
            outcome
        };
        inner.flights.join(key, flight).await.unwrap_or(Err(FetchError::GivenUp))
    }

    async fn fetch_now(&self, need: &Need, key: Digest, asked: Instant, request: &Request) -> Outcome {
        let inner = &self.inner;
        let fetcher = inner.fetcher.as_ref().ok_or(FetchError::Offline)?;
        // Another flight may have landed between the look into the cache and this one's start.
        if inner.fetched_since(key, asked)
            && let Some(stored) = self.cached(key, &mut Vec::new()).await
        {
            return Ok(Arc::new(Fetched { stored, not_kept: None }));
        }
        let answer = fetcher.fetch(request).await?;
        let documents = answer::read(need, request, &answer).map_err(|wrong| FetchError::Malformed {
            host: request.host(),
            path: request.path(),
            wrong,
        })?;
        let stored = Stored {
            need: need.clone(),
            variant: inner.sources.variant(need),
            url: request.url.clone(),
            fetched_at: (inner.clock)(),
            documents,
            kept: Vec::new(),
        };
        let fetched = stored.clone();
        match self.blocking(move |cache| Ok(cache.put(&fetched))).await {
            Ok((stored, kept)) => Ok(Arc::new(Fetched { stored, not_kept: kept.err() })),
            Err(error) => Ok(Arc::new(Fetched { stored, not_kept: Some(error) })),
        }
    }

    /// Does file work where it blocks nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, CacheError> + Send + 'static,
    ) -> Result<T, CacheError> {
        let cache = self.inner.cache.clone();
        match tokio::task::spawn_blocking(move || work(&cache)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(CacheError::GivenUp),
            },
        }
    }
}

impl Inner {
    fn recently_not_found(&self, key: Digest) -> Option<FetchError> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, error) = memory.not_found.get(&key)?;
        (since.elapsed() < NOT_FOUND).then(|| error.clone())
    }

    fn fetched_since(&self, key: Digest, asked: Instant) -> bool {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.fetched.get(&key).is_some_and(|fetched| *fetched >= asked)
    }

    fn remember(&self, key: Digest, outcome: &Outcome) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.not_found.len() >= MAX_MEMORY {
            memory.not_found.clear();
        }
        if memory.fetched.len() >= MAX_MEMORY {
            memory.fetched.clear();
        }
        memory.not_found.remove(&key);
        match outcome {
            Ok(_) => drop(memory.fetched.insert(key, Instant::now())),
            Err(error @ FetchError::NotFound { .. }) => {
                drop(memory.not_found.insert(key, (Instant::now(), error.clone())));
            }
            Err(_) => {}
        }
    }
}

fn system_clock() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// What there is to say about answers that are given out beside the last one.
fn kept(stored: &Stored, now: UnixTime) -> impl Iterator<Item = Note> {
    let newer = stored.newer(now).map(|issued_at| Note::KeptNewer { issued_at });
    newer.into_iter().chain(stored.keeps_revocation(now).then_some(Note::KeptRevoking))
}

fn is_past(next_update: Option<UnixTime>, now: UnixTime) -> bool {
    next_update.is_some_and(|time| time < now)
}

/// How old a document may be before it is asked for again, whatever it says itself.
fn longest_age(need: &Need) -> Option<u64> {
    match need {
        Need::Vcek { .. } | Need::Vlek { .. } | Need::AmdChain { .. } => None,
        Need::Ocsp { .. } => Some(HOUR),
        _ => Some(DAY),
    }
}

fn is_fresh(
    need: &Need,
    fetched_at: UnixTime,
    next_update: Option<UnixTime>,
    freshness: Freshness,
    now: UnixTime,
) -> bool {
    let wanted = match freshness {
        Freshness::Refresh => return false,
        Freshness::Normal => None,
        Freshness::AtMost(age) => Some(age.as_secs()),
    };
    // From the future: the clock was wrong then or is now, and either way the age is unknown.
    let Some(age) = now.0.checked_sub(fetched_at.0) else { return false };
    let young = |limit: Option<u64>| limit.is_none_or(|limit| age <= limit);
    !is_past(next_update, now) && young(longest_age(need)) && young(wanted)
}

/// One file from one address, with the patience of a client and without its cache: for tools around this project.
pub async fn download(url: &str, limit: usize, limits: Limits) -> Result<Vec<u8>, FetchError> {
    let unreachable = |reason: String| FetchError::Unreachable { host: url.to_owned(), path: String::new(), reason };
    if parts(url).is_none() {
        return Err(unreachable("it is no address".into()));
    }
    let http = Http::new(&Sources::vendors(), limits).map_err(|error| unreachable(error.to_string()))?;
    let answer = Fetcher::new(Box::new(http), limits).fetch(&Request::get(url.to_owned(), limit)).await?;
    Ok(answer.body)
}
