//! The decision: who gets a certificate and which secrets.
//!
//! [`authorize`] is the only function that makes a [`Grant`], and it takes an [`AttestationResult`] by value, which only
//! the appraisal of verified Evidence makes. A `Grant` is not `Clone` and is used up by what it allows, so that one
//! Evidence gives at most one certificate.

use std::collections::{BTreeMap, BTreeSet};

use protocol::log::SecretVersion;
use protocol::manifest::Manifest;
use protocol::{Digest, Identity, Role};
use verifier::AttestationResult;

/// What a workload asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// A certificate and the secrets of its identity.
    Enroll,
    /// A certificate alone.
    Renew {
        /// Size of the log that the workload knows of, 0 when it knows of none.
        known: u64,
    },
}

impl Asked {
    /// The name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Renew { .. } => "renew",
        }
    }
}

/// How the peer attested.
#[derive(Debug)]
pub(crate) struct Attested {
    /// The outcome; `None` when it was used up by an earlier request of the channel.
    pub(crate) result: Option<AttestationResult>,
    /// The role that the Evidence is bound to.
    pub(crate) role: Option<Role>,
    /// The generation whose reference values the Evidence was appraised against.
    pub(crate) generation: u64,
}

/// What holds now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// The active generation.
    pub(crate) generation: u64,
    /// Its manifest.
    pub(crate) manifest: &'a Manifest,
    /// The latest version of every secret.
    pub(crate) secrets: &'a BTreeMap<String, u64>,
}

/// Why the answer is no.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// No Evidence, or it has been used up.
    #[error("no fresh evidence: one certificate is issued for each evidence")]
    NotAttested,
    /// The Evidence is bound to another role.
    #[error("the evidence was not given in the role of a workload")]
    WrongRole,
    /// The Evidence was appraised under a manifest that is no longer active.
    #[error("the manifest changed meanwhile; attest again")]
    ManifestMoved,
    /// The identity may not run here.
    #[error("identity {} is not in the manifest", identity.0.short())]
    NotListed { identity: Identity },
    /// The identity is listed as something else.
    #[error("identity {} is not a workload of the manifest", identity.0.short())]
    NotAWorkload { identity: Identity },
    /// The identity may not run on the platform that it runs on.
    #[error("identity {} may not run on platform `{}`", identity.0.short(), platform.as_deref().unwrap_or("software"))]
    OtherPlatform { identity: Identity, platform: Option<String> },
    /// A secret of the identity has no value yet.
    #[error("secret `{name}` has no value yet")]
    SecretMissing { name: String },
}

/// Permission to issue one certificate and release the named secrets, once.
#[derive(Debug)]
pub(crate) struct Grant {
    identity: Identity,
    evidence: Digest,
    insecure: bool,
    generation: u64,
    names: Vec<String>,
    callers: Option<BTreeSet<String>>,
    lease_seconds: u32,
    secrets: Vec<SecretVersion>,
}

impl Grant {
    /// Who may have the certificate.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// The Evidence that the decision rests on.
    pub(crate) fn evidence(&self) -> Digest {
        self.evidence
    }

    /// Whether that Evidence proves nothing about hardware.
    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The manifest under which it was decided.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The names that the certificate carries.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Who may call the workload.
    pub(crate) fn callers(&self) -> Option<&BTreeSet<String>> {
        self.callers.as_ref()
    }

    /// How long the certificate lasts.
    pub(crate) fn lease_seconds(&self) -> u32 {
        self.lease_seconds
    }

    /// The secrets that may be released.
    pub(crate) fn secrets(&self) -> &[SecretVersion] {
        &self.secrets
    }
}

/// Decides. Everything that a certificate says and every secret that goes with it follows from the identity in the
/// Evidence and from the active manifest; nothing follows from what the workload says of itself.
pub(crate) fn authorize(attested: Attested, asked: Asked, standing: Standing<'_>) -> Result<Grant, Denied> {
    let result = attested.result.ok_or(Denied::NotAttested)?;
    if attested.role != Some(Role::Workload) {
        return Err(Denied::WrongRole);
    }
    if attested.generation != standing.generation {
        return Err(Denied::ManifestMoved);
    }
    let identity = result.identity();
    let entry = standing.manifest.policies.get(&identity).ok_or(Denied::NotListed { identity })?;
    if entry.role != Role::Workload {
        return Err(Denied::NotAWorkload { identity });
    }
    if !entry.runs_on(result.platform()) {
        return Err(Denied::OtherPlatform { identity, platform: result.platform().map(str::to_owned) });
    }
    let mut secrets = Vec::new();
    if asked == Asked::Enroll {
        for name in &entry.secrets {
            let version = *standing.secrets.get(name).ok_or_else(|| Denied::SecretMissing { name: name.clone() })?;
            secrets.push(SecretVersion { name: name.clone(), version });
        }
    }
    Ok(Grant {
        identity,
        evidence: result.evidence_digest(),
        insecure: result.is_insecure(),
        generation: standing.generation,
        names: entry.names.clone(),
        callers: entry.callers.clone(),
        lease_seconds: standing.manifest.lease_seconds,
        secrets,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::digest::Measurement;
    use protocol::manifest::{PolicyEntry, PublicKey, Quorum};
    use protocol::{DeploymentId, ReportData};
    use testkit::SoftwareTee;

    use super::*;

    const MEASUREMENT: Measurement = Measurement::from_bytes([1; 48]);

    fn identity(name: &str) -> Identity {
        Identity(Digest::of(name.as_bytes()))
    }

    fn manifest(tee: &SoftwareTee) -> Manifest {
        let entry = |name: &str, role, secrets: &[&str]| PolicyEntry {
            names: vec![name.into()],
            role,
            secrets: secrets.iter().map(|&name| name.to_owned()).collect(),
            callers: Some(BTreeSet::from(["client".to_owned()])),
            platforms: None,
        };
        Manifest {
            version: 1,
            deployment_id: DeploymentId::from_bytes([1; 16]),
            policies: BTreeMap::from([
                (identity("coordinator"), entry("coordinator", Role::Coordinator, &[])),
                (identity("workload"), entry("workload", Role::Workload, &["model"])),
            ]),
            reference_values: tee.reference_values(&[MEASUREMENT]),
            owners: Quorum { threshold: 1, keys: vec![PublicKey(vec![1])] },
            seed_share_holders: Quorum { threshold: 1, keys: vec![PublicKey(vec![2])] },
            lease_seconds: 60,
        }
    }

    struct Rig {
        tee: Arc<SoftwareTee>,
        manifest: Manifest,
        secrets: BTreeMap<String, u64>,
    }

    impl Rig {
        fn new() -> Self {
            let tee = Arc::new(SoftwareTee::from_seed([1; 32]));
            let manifest = manifest(&tee);
            Self { tee, manifest, secrets: BTreeMap::from([("model".to_owned(), 3), ("other".to_owned(), 1)]) }
        }

        fn attested(&self, name: &str) -> Attested {
            let data = ReportData([7; 64]);
            let evidence = self.tee.evidence(MEASUREMENT, identity(name), &data);
            let evidence = verifier::UnverifiedEvidence::new(evidence).unwrap();
            let endorsements = verifier::Endorsements::default();
            let verified =
                verifier::Verifier::new().verify(evidence, &data.into(), &endorsements, channel::now()).unwrap();
            let result = verifier::appraise(verified, &self.manifest.reference_values).unwrap();
            Attested { result: Some(result), role: Some(Role::Workload), generation: 2 }
        }

        fn decide(&self, attested: Attested, asked: Asked) -> Result<Grant, Denied> {
            let standing = Standing { generation: 2, manifest: &self.manifest, secrets: &self.secrets };
            authorize(attested, asked, standing)
        }
    }

    #[test]
    fn a_listed_workload_gets_what_the_manifest_says() {
        let rig = Rig::new();
        let attested = rig.attested("workload");
        let evidence = attested.result.as_ref().unwrap().evidence_digest();
        let grant = rig.decide(attested, Asked::Enroll).unwrap();
        assert_eq!(grant.identity(), identity("workload"));
        assert_eq!(grant.evidence(), evidence);
        assert!(grant.is_insecure());
        assert_eq!((grant.generation(), grant.lease_seconds()), (2, 60));
        assert_eq!(grant.names(), ["workload"]);
        assert_eq!(grant.callers(), Some(&BTreeSet::from(["client".to_owned()])));
        assert_eq!(grant.secrets(), [SecretVersion { name: "model".into(), version: 3 }]);
    }

    #[test]
    fn a_renewal_releases_no_secret_and_needs_none() {
        let mut rig = Rig::new();
        rig.secrets.clear();
        assert_eq!(rig.decide(rig.attested("workload"), Asked::Renew { known: 0 }).unwrap().secrets(), []);
    }

    #[test]
    fn each_reason_to_say_no_has_its_name() {
        let rig = Rig::new();
        let no = |attested, expected| assert_eq!(rig.decide(attested, Asked::Enroll).unwrap_err(), expected);
        no(Attested { result: None, ..rig.attested("workload") }, Denied::NotAttested);
        no(Attested { role: None, ..rig.attested("workload") }, Denied::WrongRole);
        no(Attested { role: Some(Role::Coordinator), ..rig.attested("workload") }, Denied::WrongRole);
        no(Attested { generation: 1, ..rig.attested("workload") }, Denied::ManifestMoved);
        no(Attested { generation: 3, ..rig.attested("workload") }, Denied::ManifestMoved);
        no(rig.attested("stranger"), Denied::NotListed { identity: identity("stranger") });
        no(rig.attested("coordinator"), Denied::NotAWorkload { identity: identity("coordinator") });
        let mut rig = Rig::new();
        rig.secrets.remove("model");
        let missing = rig.decide(rig.attested("workload"), Asked::Enroll).unwrap_err();
        assert_eq!(missing, Denied::SecretMissing { name: "model".into() });
    }

    #[test]
    fn a_workload_taken_out_of_the_manifest_gets_no_renewal() {
        let mut rig = Rig::new();
        rig.manifest.policies.remove(&identity("workload"));
        assert_eq!(
            rig.decide(rig.attested("workload"), Asked::Renew { known: 0 }).unwrap_err(),
            Denied::NotListed { identity: identity("workload") }
        );
    }

    #[test]
    fn a_workload_on_a_platform_that_it_was_not_meant_for_gets_nothing() {
        let mut rig = Rig::new();
        let entry = rig.manifest.policies.get_mut(&identity("workload")).unwrap();
        entry.platforms = Some(BTreeSet::from(["metal-qemu-snp-gpu".to_owned()]));
        assert_eq!(
            rig.decide(rig.attested("workload"), Asked::Enroll).unwrap_err(),
            Denied::OtherPlatform { identity: identity("workload"), platform: None }
        );
    }
}
