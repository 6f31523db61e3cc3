//! `manifest.json`: made once, then kept up to date without touching what is the owners'.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocol::digest::Measurement;
use protocol::manifest::{ManifestError, PolicyEntry, PublicKey, Quorum, ReferenceValues, SoftwareReferenceValues};
use protocol::{DeploymentId, Digest, Identity, Manifest, Role};
use serde_json::{Value, json};

use super::error::GenerateError;
use super::values::Values;

/// The file's name in the work folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The manifest of the work folder.
pub(super) struct Stored {
    /// What has no gaps.
    pub(super) manifest: Manifest,
    /// Its reference values, with their gaps.
    pub(super) values: Values,
}

/// What a manifest says of one pod, before it is merged.
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) names: Vec<String>,
    pub(super) role: Role,
    pub(super) secrets: BTreeSet<String>,
    /// Where it may run; empty for the local engine.
    pub(super) platforms: BTreeSet<String>,
}

/// Owners and seed-share holders of the manifest of a work folder, gaps or not; `None` when there is none.
pub fn stored_quorums(path: &Path) -> Result<Option<(Quorum, Quorum)>, GenerateError> {
    let stored = load(path)?;
    Ok(stored.map(|stored| (stored.manifest.owners, stored.manifest.seed_share_holders)))
}

/// Reads the manifest of the work folder; `None` when there is none.
pub(super) fn load(path: &Path) -> Result<Option<Stored>, GenerateError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(GenerateError::Read { path: path.to_owned(), source });
        }
    };
    let invalid = |source| GenerateError::Manifest { path: path.to_owned(), source };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    match Manifest::parse(&text) {
        Ok(manifest) => {
            let values = Values::stored(&json(&text)["reference_values"]);
            Ok(Some(Stored { manifest, values }))
        }
        // What `generate` has written for a platform whose values nobody has found out yet.
        Err(ManifestError::MissingValues { .. }) => {
            let mut json = json(&text);
            let values = Values::stored(&json["reference_values"].take());
            json["reference_values"] = json!({});
            let malformed = |error: serde_json::Error| {
                invalid(ManifestError::Invalid { path: "manifest".into(), reason: error.to_string() })
            };
            let mut manifest: Manifest = serde_json::from_value(json).map_err(malformed)?;
            manifest.reference_values = values.complete(path)?;
            Ok(Some(Stored { manifest, values }))
        }
        Err(source) => Err(invalid(source)),
    }
}

/// The text of a manifest whose reference values may have gaps.
pub(super) fn to_text(manifest: &Manifest, values: Option<&Values>) -> String {
    let Some(values) = values else { return manifest.to_text() };
    let mut json = serde_json::to_value(manifest).unwrap_or_default();
    json["reference_values"] = values.to_json();
    let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
    text.push('\n');
    text
}

/// Checks a manifest but for its reference values, which have gaps.
pub(super) fn validate_rest(manifest: &Manifest) -> Result<(), ManifestError> {
    let mut rest = manifest.clone();
    rest.policies.values_mut().for_each(|entry| entry.platforms = None);
    rest.reference_values = ReferenceValues::software(SoftwareReferenceValues {
        root: Digest::of(b""),
        measurements: vec![Measurement::from_bytes([0; 48])],
    });
    rest.validate()
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
    /// All platforms that there are reference values for, with gaps or not.
    pub(super) platforms: BTreeSet<String>,
}

/// Merges: identity, names, role and secrets come from the resources; callers, platforms, and entries of pods that are not among
/// the inputs, stay as the owners have them. Gives notices beside the manifest.
pub(super) fn merge(frame: Frame, old: Option<&Stored>, entries: Vec<Entry>) -> (Manifest, Vec<String>) {
    let mut notices = Vec::new();
    let mut policies = BTreeMap::new();
    let name_of = |entry: &PolicyEntry| entry.names.first().cloned().unwrap_or_default();
    let mut known = BTreeSet::new();
    // Where there is one platform, nobody need say where a pod may run.
    let several = frame.platforms.len() > 1;
    let only: Option<BTreeSet<String>> =
        old.filter(|_| several).map(|old| old.values.platforms().into_iter().map(|platform| platform.name).collect());
    let old = old.map(|old| &old.manifest);
    let mut by_name = BTreeMap::new();
    for before in old.into_iter().flat_map(|old| old.policies.values()) {
        by_name.entry(name_of(before)).or_insert(before);
    }
    for entry in entries {
        let name = entry.names.first().cloned().unwrap_or_default();
        let before = by_name.get(&name);
        known.insert(name.clone());
        let callers = before.and_then(|before| before.callers.clone());
        // Where a pod may run is the owners' word, like who may call it.
        let of_owners = before.and_then(|before| before.platforms.clone());
        if let Some(kept) = of_owners.as_ref().filter(|kept| several && kept.is_disjoint(&entry.platforms)) {
            let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
            notices.push(format!(
                "`{name}` may run on {} as {MANIFEST_FILE} says, and its pod is for {}: edit `platforms` of its entry",
                list(kept),
                list(&entry.platforms)
            ));
        }
        let platforms = of_owners.or_else(|| several.then(|| entry.platforms.clone()));
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
            let mut entry = entry.clone();
            // It ran where there was nothing else to run on.
            entry.platforms = entry.platforms.or_else(|| only.clone().filter(|only| !only.is_empty()));
            policies.insert(*identity, entry);
        }
    }
    let Frame { deployment_id, reference_values, owners, seed_share_holders, lease_seconds, .. } = frame;
    let manifest =
        Manifest { version: 1, deployment_id, policies, reference_values, owners, seed_share_holders, lease_seconds };
    (manifest, notices)
}
