//! `manifest.json`: made once, then kept up to date without touching what is the owners'.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocol::manifest::{PolicyEntry, PublicKey, Quorum, ReferenceValues};
use protocol::{DeploymentId, Identity, Manifest, Role};

use super::error::GenerateError;

/// The file's name in the work folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// What a manifest says of one pod, before it is merged.
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) names: Vec<String>,
    pub(super) role: Role,
    pub(super) secrets: BTreeSet<String>,
}

/// Reads the manifest of the work folder; `None` when there is none.
pub(super) fn load(path: &Path) -> Result<Option<Manifest>, GenerateError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(GenerateError::Read { path: path.to_owned(), source });
        }
    };
    let parsed = Manifest::parse(&text);
    parsed.map(Some).map_err(|source| GenerateError::Manifest { path: path.to_owned(), source })
}

/// Keys and threshold as the caller gave them.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) keys: &'a [PublicKey],
    pub(super) threshold: u32,
}

/// The quorum of `field`. What a manifest says is its owners' to change, by editing it and having it signed: keys
/// given here that differ are refused, since a caller who gives them expects them to count.
pub(super) fn quorum(
    path: &Path,
    field: &'static str,
    given: Given<'_>,
    old: Option<&Quorum>,
) -> Result<Quorum, GenerateError> {
    let wanted = Quorum { threshold: given.threshold, keys: given.keys.to_vec() };
    let Some(old) = old else {
        return if wanted.keys.is_empty() { Err(GenerateError::NoKeys { field }) } else { Ok(wanted) };
    };
    let set = |quorum: &Quorum| -> BTreeSet<PublicKey> { quorum.keys.iter().cloned().collect() };
    let same = wanted.keys.is_empty() || (wanted.threshold == old.threshold && set(&wanted) == set(old));
    if same {
        return Ok(old.clone());
    }
    Err(GenerateError::Quorum { path: path.to_owned(), field, got: words(&wanted), manifest: words(old) })
}

/// `2 of 3 keys (0123456789ab, …)`: whoever compares wants to see which.
fn words(quorum: &Quorum) -> String {
    let ids: Vec<_> = quorum.keys.iter().map(|key| key.id().short()).collect();
    format!("{} of {} keys ({})", quorum.threshold, ids.len(), ids.join(", "))
}

/// The first names of the entries that list their callers.
pub(super) fn called(old: Option<&Manifest>) -> BTreeSet<String> {
    let entries = old.into_iter().flat_map(|old| old.policies.values());
    entries.filter(|entry| entry.callers.is_some()).filter_map(|entry| entry.names.first().cloned()).collect()
}

/// What does not come from the resources.
pub(super) struct Frame {
    pub(super) deployment_id: DeploymentId,
    pub(super) reference_values: ReferenceValues,
    pub(super) owners: Quorum,
    pub(super) seed_share_holders: Quorum,
    pub(super) lease_seconds: u32,
}

/// Merges: identity, names, role and secrets come from the resources; callers, platforms, and entries of pods that are not among
/// the inputs, stay as the owners have them. Gives notices beside the manifest.
pub(super) fn merge(frame: Frame, old: Option<&Manifest>, entries: Vec<Entry>) -> (Manifest, Vec<String>) {
    let mut notices = Vec::new();
    let mut policies = BTreeMap::new();
    let name_of = |entry: &PolicyEntry| entry.names.first().cloned().unwrap_or_default();
    let mut known = BTreeSet::new();
    for entry in entries {
        let name = entry.names.first().cloned().unwrap_or_default();
        let before = old.and_then(|old| old.policies.values().find(|before| name_of(before) == name));
        known.insert(name);
        let callers = before.and_then(|before| before.callers.clone());
        // Where a pod may run is the owners' word, like who may call it.
        let platforms = before.and_then(|before| before.platforms.clone());
        let fresh = PolicyEntry { names: entry.names, role: entry.role, secrets: entry.secrets, callers, platforms };
        policies.insert(entry.identity, fresh);
    }
    for (identity, entry) in old.into_iter().flat_map(|old| &old.policies) {
        let name = name_of(entry);
        // There is one Coordinator, and it is always among the inputs.
        if !known.contains(&name) && entry.role != Role::Coordinator {
            notices.push(format!(
                "`{name}` stays in {MANIFEST_FILE}, though it is not among the inputs; remove its entry to cut it off"
            ));
            policies.insert(*identity, entry.clone());
        }
    }
    let Frame { deployment_id, reference_values, owners, seed_share_holders, lease_seconds } = frame;
    let manifest =
        Manifest { version: 1, deployment_id, policies, reference_values, owners, seed_share_holders, lease_seconds };
    (manifest, notices)
}
