//! The manifest: which pods are trusted, on which hardware, with which secrets, and who may change that
//! (design, section 8).
//!
//! The manifest is signed as text, so parsing keeps nothing but the typed value; whoever needs the bytes keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::binding::Role;
use crate::digest::{DeploymentId, Digest, Identity, Measurement};
use crate::reference::{DeviceReferenceValues, SgxReferenceValues, SnpReferenceValues, TdxReferenceValues};

/// LIMIT: a manifest is stored whole in one log-entry blob; a thousand workloads make about 400 KiB.
pub const MAX_MANIFEST: usize = 2 * 1024 * 1024;

/// A manifest as its owners sign it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of this document, 1.
    pub version: u32,
    /// The deployment it is for.
    pub deployment_id: DeploymentId,
    /// The pods that may run, by identity. One that stands twice is an error: a reader would see the first entry, and the
    /// last would count.
    #[serde(deserialize_with = "unique")]
    pub policies: BTreeMap<Identity, PolicyEntry>,
    /// The Evidence that is acceptable.
    pub reference_values: ReferenceValues,
    /// Who may change this manifest.
    pub owners: Quorum,
    /// Who holds shares of the seed.
    pub seed_share_holders: Quorum,
    /// How long a certificate lasts without being renewed, in seconds.
    pub lease_seconds: u32,
}

/// What a manifest says of one identity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyEntry {
    /// DNS names that its certificates carry. The first is the workload's name.
    pub names: Vec<String>,
    /// What it is.
    pub role: Role,
    /// Names of secrets that it may read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Workload names that may call it with a mesh certificate; absent: every workload of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<BTreeSet<String>>,
    /// On which platforms it may run, by the names of the reference values' entries. Without it a host could move a pod from
    /// a platform that its owners meant, with a GPU or with a policy that the guest enforces, to any other that the manifest
    /// accepts. It may be left out where the reference values know one platform only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<BTreeSet<String>>,
}

impl PolicyEntry {
    /// Whether the pod may run on a platform; `None` is the software TEE, which has no entries.
    pub fn runs_on(&self, platform: Option<&str>) -> bool {
        match (&self.platforms, platform) {
            (None, _) => true,
            (Some(platforms), Some(platform)) => platforms.contains(platform),
            (Some(_), None) => false,
        }
    }
}

fn unique<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Identity, PolicyEntry>, D::Error> {
    struct Unique;
    impl<'de> serde::de::Visitor<'de> for Unique {
        type Value = BTreeMap<Identity, PolicyEntry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from identities to policies")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut policies = BTreeMap::new();
            while let Some((identity, entry)) = map.next_entry::<Identity, PolicyEntry>()? {
                if policies.insert(identity, entry).is_some() {
                    return Err(serde::de::Error::custom(format!("identity {identity} stands twice")));
                }
            }
            Ok(policies)
        }
    }
    deserializer.deserialize_map(Unique)
}

/// A public key as DER SubjectPublicKeyInfo, hex in JSON.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub Vec<u8>);

impl PublicKey {
    /// SHA-256 of the SubjectPublicKeyInfo, by which messages name a key.
    pub fn id(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id().short())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        hex::decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Any `threshold` of `keys`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quorum {
    /// How many must agree. 1 says in so many words that one person is enough.
    pub threshold: u32,
    /// The keys.
    pub keys: Vec<PublicKey>,
}

/// The Evidence that is acceptable, by TEE.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValues {
    /// INSECURE: the local engine's software TEE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<SoftwareReferenceValues>,
    /// AMD SEV-SNP: any one entry has to accept the Evidence whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snp: Vec<SnpReferenceValues>,
    /// Intel TDX, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tdx: Vec<TdxReferenceValues>,
    /// Intel SGX, likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sgx: Vec<SgxReferenceValues>,
    /// GPUs and switches that the CPU's Evidence vouches for. An entry goes with the TEE's entries of the same `platform`:
    /// that platform must have devices, and these; a platform without an entry here must have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceReferenceValues>,
}

impl ReferenceValues {
    /// Reference values for the software TEE and nothing else.
    pub fn software(values: SoftwareReferenceValues) -> Self {
        Self { software: Some(values), ..Self::default() }
    }

    /// The names of the platforms that there are entries for.
    pub fn platforms(&self) -> BTreeSet<&str> {
        let snp = self.snp.iter().map(|entry| entry.platform.as_str());
        let tdx = self.tdx.iter().map(|entry| entry.platform.as_str());
        let sgx = self.sgx.iter().map(|entry| entry.platform.as_str());
        snp.chain(tdx).chain(sgx).collect()
    }

    /// Whether software stands beside hardware, which promise P8 forbids.
    pub fn mixes_software_and_hardware(&self) -> bool {
        self.software.is_some() && self.hardware().is_some()
    }

    /// Checks that software does not stand beside hardware (promise P8), every entry for hardware, and that each entry for
    /// devices has a TEE's entry to go with.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let invalid = |path: String, reason: &str| Err(ManifestError::Invalid { path, reason: reason.to_owned() });
        match (self.hardware(), &self.software) {
            (Some("devices"), None) => {
                return invalid("reference_values.devices".into(), "devices need a TEE that vouches for them");
            }
            (Some(field), Some(_)) => {
                return invalid(
                    format!("reference_values.{field}"),
                    "what accepts the software TEE may hold no hardware reference values",
                );
            }
            (None, Some(software)) if software.measurements.is_empty() => {
                return invalid(
                    "reference_values.software.measurements".into(),
                    "empty: nothing could ever be accepted",
                );
            }
            _ => {}
        }
        for (index, entry) in self.snp.iter().enumerate() {
            entry.validate().map_err(|(path, reason)| ManifestError::Invalid {
                path: format!("reference_values.snp[{index}].{path}"),
                reason: reason.to_owned(),
            })?;
        }
        for (index, entry) in self.tdx.iter().enumerate() {
            entry.validate(&format!("reference_values.tdx[{index}]"))?;
        }
        for (index, entry) in self.sgx.iter().enumerate() {
            entry.validate(&format!("reference_values.sgx[{index}]"))?;
        }
        for (index, entry) in self.devices.iter().enumerate() {
            let path = format!("reference_values.devices[{index}]");
            entry.validate(&path)?;
            let snp = self.snp.iter().map(|tee| &tee.platform);
            // An SGX enclave has no devices of its own.
            if !snp.chain(self.tdx.iter().map(|tee| &tee.platform)).any(|platform| *platform == entry.platform) {
                return Err(ManifestError::Invalid {
                    path: format!("{path}.platform"),
                    reason: format!(
                        "no entry for a TEE has the platform `{}`: nobody would vouch for them",
                        entry.platform
                    ),
                });
            }
        }
        Ok(())
    }

    /// The name of the first field with reference values for hardware.
    fn hardware(&self) -> Option<&'static str> {
        let fields = [
            ("snp", self.snp.is_empty()),
            ("tdx", self.tdx.is_empty()),
            ("sgx", self.sgx.is_empty()),
            ("devices", self.devices.is_empty()),
        ];
        fields.into_iter().find(|(_, empty)| !empty).map(|(name, _)| name)
    }
}

/// The one software root that is accepted, and what it may have started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftwareReferenceValues {
    /// SHA-256 of the engine's Ed25519 root key.
    pub root: Digest,
    /// Accepted pod agents.
    pub measurements: Vec<Measurement>,
}

/// What is wrong with a manifest, with the JSON path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not JSON, or a field of another type, missing or unknown.
    #[error("manifest line {line} column {column}: {reason}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The parser's words.
        reason: String,
    },
    /// Longer than [`MAX_MANIFEST`].
    #[error("manifest of {got} bytes, at most {MAX_MANIFEST} are read")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Reference values that nobody has found out yet: `null` stands in their places.
    #[error("manifest: {} reference values are still missing (null): {}", paths.len(), first_few(paths))]
    MissingValues {
        /// Their JSON paths.
        paths: Vec<String>,
    },
    /// A field holds what it may not.
    #[error("manifest `{path}`: {reason}")]
    Invalid {
        /// The JSON path.
        path: String,
        /// Why.
        reason: String,
    },
}

/// LIMIT: a sentence that names more is not read to its end.
const FEW: usize = 3;

fn first_few(paths: &[String]) -> String {
    let shown: Vec<_> = paths.iter().take(FEW).map(|path| format!("`{path}`")).collect();
    let more = paths.len().saturating_sub(FEW);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", shown.join(", "))
}

/// The places below `path` where `null` stands.
fn nulls(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Null => found.push(path.to_owned()),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| nulls(item, &format!("{path}[{index}]"), found));
        }
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(key, item)| nulls(item, &format!("{path}.{key}"), found));
        }
        _ => {}
    }
}

/// What is wrong with a text that is no manifest: values that are missing are said by their names and not by the parser.
fn unreadable(text: &str, error: &serde_json::Error) -> ManifestError {
    let mut paths = Vec::new();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text)
        && let Some(values) = json.get("reference_values").filter(|values| values.is_object())
    {
        nulls(values, "reference_values", &mut paths);
    }
    if !paths.is_empty() {
        return ManifestError::MissingValues { paths };
    }
    ManifestError::Json {
        line: error.line(),
        column: error.column(),
        // serde_json repeats the position at the end of its message.
        reason: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
    }
}

/// LIMIT: leases shorter than this would have every sidecar renew more often than a quote can be made on a busy host.
pub const MIN_LEASE_SECONDS: u32 = 10;
/// LIMIT: promise P7 is worth nothing when a lease outlasts a day.
pub const MAX_LEASE_SECONDS: u32 = 86_400;

impl Manifest {
    /// Parses and validates a manifest.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_MANIFEST {
            return Err(ManifestError::TooLong { got: text.len() });
        }
        let manifest: Self = serde_json::from_str(text).map_err(|error| unreadable(text, &error))?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The text that `generate` writes: sorted, indented, with a newline at the end.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest has no map with keys that are not text");
        text.push('\n');
        text
    }

    /// Checks what types cannot.
    pub fn validate(&self) -> Result<(), ManifestError> {
        let invalid = |path: String, reason: &str| Err(ManifestError::Invalid { path, reason: reason.to_owned() });
        if self.version != 1 {
            return invalid("version".into(), "only version 1 is known");
        }
        if !self.policies.values().any(|entry| entry.role == Role::Coordinator) {
            return invalid("policies".into(), "no entry has the role `coordinator`");
        }
        for (identity, entry) in &self.policies {
            if entry.names.is_empty() {
                return invalid(format!("policies.{identity}.names"), "at least one name is needed");
            }
            for (index, name) in entry.names.iter().enumerate() {
                if !is_dns_name(name) {
                    return invalid(format!("policies.{identity}.names[{index}]"), "not a DNS name");
                }
            }
        }
        let values = &self.reference_values;
        if values.software.is_none() && values.hardware().is_none() {
            return invalid("reference_values".into(), "empty: no Evidence could ever be accepted");
        }
        values.validate()?;
        let platforms = values.platforms();
        for (identity, entry) in &self.policies {
            let path = || format!("policies.{identity}.platforms");
            match &entry.platforms {
                None if platforms.len() > 1 => {
                    let names: Vec<_> = platforms.iter().copied().collect();
                    let reason =
                        format!("missing: the reference values know {}, and it may not run on all", names.join(", "));
                    return Err(ManifestError::Invalid { path: path(), reason });
                }
                Some(named) if named.is_empty() => return invalid(path(), "empty: it could run nowhere"),
                Some(named) => {
                    if let Some(unknown) = named.iter().find(|name| !platforms.contains(name.as_str())) {
                        let reason = format!("the reference values know no platform `{unknown}`");
                        return Err(ManifestError::Invalid { path: path(), reason });
                    }
                }
                None => {}
            }
        }
        self.owners.validate("owners")?;
        self.seed_share_holders.validate("seed_share_holders")?;
        if !(MIN_LEASE_SECONDS..=MAX_LEASE_SECONDS).contains(&self.lease_seconds) {
            return invalid("lease_seconds".into(), "must be from 10 to 86400");
        }
        Ok(())
    }
}

impl Quorum {
    /// Checks that the threshold can be met and that no key counts twice.
    pub fn validate(&self, path: &str) -> Result<(), ManifestError> {
        let invalid = |path: String, reason: &str| Err(ManifestError::Invalid { path, reason: reason.to_owned() });
        if self.threshold == 0 {
            return invalid(format!("{path}.threshold"), "must be at least 1");
        }
        if usize::try_from(self.threshold).map_or(true, |threshold| threshold > self.keys.len()) {
            return invalid(format!("{path}.threshold"), "is more than there are keys");
        }
        let distinct: BTreeSet<_> = self.keys.iter().collect();
        if distinct.len() != self.keys.len() {
            return invalid(format!("{path}.keys"), "one key is listed twice");
        }
        // LIMIT: Shamir shares over GF(2^8) number 255 at most.
        if self.keys.len() > 255 {
            return invalid(format!("{path}.keys"), "more than 255 keys");
        }
        Ok(())
    }
}

/// RFC 1123 labels, lower case, 253 characters in all.
pub fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = |name: &str, role| PolicyEntry {
            names: vec![name.into()],
            role,
            secrets: BTreeSet::new(),
            callers: None,
            platforms: None,
        };
        Manifest {
            version: 1,
            deployment_id: DeploymentId::from_bytes([1; 16]),
            policies: BTreeMap::from([
                (Identity(Digest::of(b"c")), entry("coordinator", Role::Coordinator)),
                (Identity(Digest::of(b"w")), entry("inference", Role::Workload)),
            ]),
            reference_values: ReferenceValues::software(SoftwareReferenceValues {
                root: Digest::of(b"root"),
                measurements: vec![Measurement::from_bytes([1; 48])],
            }),
            owners: Quorum { threshold: 1, keys: vec![PublicKey(vec![1])] },
            seed_share_holders: Quorum { threshold: 1, keys: vec![PublicKey(vec![2])] },
            lease_seconds: 60,
        }
    }

    #[test]
    fn a_manifest_survives_its_text() {
        assert_eq!(Manifest::parse(&manifest().to_text()), Ok(manifest()));
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_place() {
        let text = manifest().to_text().replace("\"lease_seconds\"", "\"leese_seconds\"");
        let error = Manifest::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("manifest line ") && error.contains("unknown field `leese_seconds`"), "{error}");
    }

    #[test]
    fn each_contradiction_names_its_path() {
        type Mutation = fn(&mut Manifest);
        let cases: [(Mutation, &str); 11] = [
            (|m| m.version = 2, "version"),
            (|m| m.policies.retain(|_, e| e.role == Role::Workload), "policies"),
            (|m| m.policies.values_mut().for_each(|e| e.names.clear()), "names"),
            (|m| m.policies.values_mut().for_each(|e| e.names[0] = "Bad_Name".into()), "names[0]"),
            (|m| m.reference_values.software = None, "reference_values"),
            (|m| m.reference_values.software.as_mut().unwrap().measurements.clear(), "measurements"),
            (|m| m.owners.threshold = 0, "owners.threshold"),
            (|m| m.owners.threshold = 2, "owners.threshold"),
            (|m| m.owners.keys = vec![PublicKey(vec![1]); 2], "owners.keys"),
            (|m| m.seed_share_holders.keys.clear(), "seed_share_holders.threshold"),
            (|m| m.lease_seconds = 9, "lease_seconds"),
        ];
        for (mutate, path) in cases {
            let mut changed = manifest();
            mutate(&mut changed);
            let error = Manifest::parse(&changed.to_text()).unwrap_err().to_string();
            assert!(error.contains(path), "{path}: {error}");
        }
    }

    fn on_hardware(platforms: &[&str]) -> Manifest {
        let entry = |platform: &&str| {
            let floor = crate::reference::TcbVersion::default();
            let chips = crate::reference::Machines::Any;
            let product = crate::reference::AmdProduct::Milan;
            SnpReferenceValues::new(*platform, product, vec![Measurement::from_bytes([1; 48])], chips, floor)
        };
        let snp = platforms.iter().map(entry).collect();
        Manifest { reference_values: ReferenceValues { snp, ..ReferenceValues::default() }, ..manifest() }
    }

    #[test]
    fn software_never_stands_beside_hardware() {
        let mut mixed = on_hardware(&["metal-qemu-snp"]);
        mixed.reference_values.software = manifest().reference_values.software;
        let error = Manifest::parse(&mixed.to_text()).unwrap_err().to_string();
        assert!(error.contains("reference_values.snp") && error.contains("software"), "{error}");
        assert!(on_hardware(&["metal-qemu-snp"]).validate().is_ok());
    }

    #[test]
    fn where_there_are_several_platforms_each_pod_says_where_it_may_run() {
        let error = on_hardware(&["a", "b"]).validate().unwrap_err().to_string();
        assert!(error.contains("platforms") && error.contains("a, b"), "{error}");
        let with = |platforms: &[&str]| {
            let mut manifest = on_hardware(&["a", "b"]);
            for entry in manifest.policies.values_mut() {
                entry.platforms = Some(platforms.iter().map(|name| (*name).to_owned()).collect());
            }
            manifest.validate()
        };
        assert_eq!(with(&["a"]), Ok(()));
        assert!(with(&[]).unwrap_err().to_string().contains("could run nowhere"));
        assert!(with(&["a", "c"]).unwrap_err().to_string().contains("no platform `c`"));
    }

    #[test]
    fn a_value_that_is_missing_is_named_and_not_accepted() {
        let text = on_hardware(&["metal-qemu-snp"]).to_text();
        for (from, to, path) in [
            ("\"chip_ids\": \"any\"", "\"chip_ids\": null", "`reference_values.snp[0].chip_ids`"),
            ("\"microcode\": 0", "\"microcode\": null", "`reference_values.snp[0].tcb.reported.microcode`"),
        ] {
            assert!(text.contains(from), "{text}");
            let error = Manifest::parse(&text.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains("still missing") && error.contains(path), "{error}");
        }
        let four = text.replace("\"microcode\": 0", "\"microcode\": null");
        assert!(Manifest::parse(&four).unwrap_err().to_string().contains("4 reference values"));
        // A null elsewhere is the parser's to refuse.
        let error = Manifest::parse(&text.replace("\"lease_seconds\": 60", "\"lease_seconds\": null")).unwrap_err();
        assert!(matches!(error, ManifestError::Json { .. }), "{error}");
    }

    #[test]
    fn an_identity_that_stands_twice_is_refused() {
        let text = manifest().to_text();
        let identity = Identity(Digest::of(b"w")).to_string();
        for again in [identity.clone(), identity.to_uppercase()] {
            let entry = r#"{"names": ["inference"], "role": "workload", "secrets": ["all"]}"#;
            let twice = text.replacen("\"policies\": {", &format!("\"policies\": {{ \"{again}\": {entry},"), 1);
            assert_ne!(twice, text);
            let error = Manifest::parse(&twice).unwrap_err().to_string();
            assert!(error.contains("stands twice"), "{error}");
        }
    }
}
