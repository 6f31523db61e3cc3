//! What verification gets from outside, and what it remembers of signatures that it has checked before.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::Digest;

use crate::anchors::TrustAnchors;
use crate::endorsements::Endorsements;
use crate::time::UnixTime;

/// Everything that one verification rests on besides the Evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Whom to believe.
    pub anchors: &'a TrustAnchors,
    /// What vendors say, unverified.
    pub endorsements: &'a Endorsements,
    /// The time.
    pub now: UnixTime,
    /// Signatures checked before.
    pub cache: &'a Cache,
}

/// LIMIT: a chain, its revocation and a few documents for each of a thousand machines. At 100 bytes an entry this is
/// under a megabyte; what does not fit is verified again.
const ENTRIES: usize = 8_192;
/// LIMIT: parsed documents: a few RIMs and TCB infos of some 20 KiB, and for each machine its verified chain of some 6 KiB.
const DOCUMENTS: usize = 2_048;

/// A bounded memory of checks that held, each under a digest of **everything** that the check covered, so that a check
/// is found again only for the same bytes. Only positive results of expensive checks are kept, for as long as they hold.
#[derive(Default)]
pub(crate) struct Cache {
    checks: Mutex<HashMap<Digest, (UnixTime, UnixTime)>>,
    documents: Mutex<HashMap<Digest, Kept>>,
}

struct Kept {
    from: UnixTime,
    until: UnixTime,
    value: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// Whether a check held before and still holds at `now`.
    pub(crate) fn holds(&self, key: &Digest, now: UnixTime) -> bool {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.get(key).is_some_and(|(from, until)| (*from..=*until).contains(&now))
    }

    /// Remembers that a check held, for the time from `from` to `until`.
    pub(crate) fn remember(&self, key: Digest, from: UnixTime, until: UnixTime) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if checks.len() >= ENTRIES && !checks.contains_key(&key) {
            // Starting anew costs one verification for each entry in use, and needs no order to be kept.
            checks.clear();
        }
        checks.insert(key, (from, until));
    }

    /// A parsed and verified document that was kept under `key` and still holds at `now`.
    pub(crate) fn get<T: Any + Send + Sync>(&self, key: &Digest, now: UnixTime) -> Option<Arc<T>> {
        let documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = documents.get(key).filter(|kept| (kept.from..=kept.until).contains(&now))?;
        Arc::clone(&kept.value).downcast().ok()
    }

    /// Keeps a parsed and verified document for the time from `from` to `until`.
    pub(crate) fn keep<T: Any + Send + Sync>(&self, key: Digest, from: UnixTime, until: UnixTime, value: &Arc<T>) {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if documents.len() >= DOCUMENTS && !documents.contains_key(&key) {
            documents.clear();
        }
        let value: Arc<T> = Arc::clone(value);
        let value: Arc<dyn Any + Send + Sync> = value;
        documents.insert(key, Kept { from, until, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_holds_in_its_time_and_for_its_bytes_alone() {
        let cache = Cache::default();
        cache.remember(Digest::of(b"a"), UnixTime(10), UnixTime(20));
        assert!(cache.holds(&Digest::of(b"a"), UnixTime(10)) && cache.holds(&Digest::of(b"a"), UnixTime(20)));
        assert!(!cache.holds(&Digest::of(b"a"), UnixTime(9)) && !cache.holds(&Digest::of(b"a"), UnixTime(21)));
        assert!(!cache.holds(&Digest::of(b"b"), UnixTime(15)));
    }

    #[test]
    fn memory_is_bounded() {
        let cache = Cache::default();
        for number in 0..=ENTRIES * 2 {
            cache.remember(Digest::of(&number.to_be_bytes()), UnixTime(0), UnixTime(9));
            assert!(cache.checks.lock().unwrap().len() <= ENTRIES);
        }
        for number in 0..=DOCUMENTS * 2 {
            cache.keep(Digest::of(&number.to_be_bytes()), UnixTime(0), UnixTime(9), &Arc::new(number));
            assert!(cache.documents.lock().unwrap().len() <= DOCUMENTS);
        }
        assert_eq!(
            cache.get::<usize>(&Digest::of(&(DOCUMENTS * 2).to_be_bytes()), UnixTime(1)),
            Some(Arc::new(DOCUMENTS * 2))
        );
    }
}
