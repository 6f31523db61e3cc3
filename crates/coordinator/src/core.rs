//! The Coordinator without its sockets: states, and what each request does in them. Everything in here is synchronous
//! and runs under one lock, so that requests have an order.
//!
//! A step of the log is stored before its result leaves this module. When storing fails, nobody knows whether the step
//! is in the store; a Coordinator that went on could sign two heads of one size, which is what its log promises never to
//! do. It therefore stops, and the process that starts next recovers from what is there.

mod pace;
mod recovery;

use std::sync::Arc;
use std::time::Instant;

use pki::ca::{LeafProfile, MeshCa, RootCa};
use pki::history::{Successor, Tip};
use pki::log::LogSigner;
use pki::seed::{KeySchedule, Seed, StoreKey, share_fingerprint};
use pki::{holder, owner};
use protocol::api::{
    CoordinatorState, Granted, PutSecret, RecoverReply, RecoverShare, ReleasedSecret, Roots, SeedShares, SetReply,
    SignedManifest, StateReply, secret_message,
};
use protocol::log::{LogEntry, LoggedEntry, SecretVersion};
use protocol::manifest::{Manifest, Quorum, ReferenceValues};
use protocol::{Evidence, Identity, ReportData, Role};
use verifier::{Endorsements, UnverifiedEvidence, VerifiedEvidence, Verifier, VerifyError};

use self::pace::Pace;
use self::recovery::Collected;
use crate::grant::{Asked, Attested, Grant, Standing, authorize};
use crate::record::{MAX_SHOWN, Record};
use crate::refusal::{Fault, Refusal};
use crate::store::{Founding, Store, StoredManifest};

/// LIMIT: the CLI stores keys and tokens; data is sealed and only its key is a secret.
pub const MAX_SECRET: usize = 64 * 1024;
/// LIMIT: an identity may be listed for every secret, and all of them with a manifest in JSON must fit into one frame:
/// 100 times 64 KiB in base64 is 8.5 MiB, a manifest at most 4 MiB, of [`protocol::wire::MAX_FRAME`].
pub const MAX_SECRETS: usize = 100;
/// LIMIT: initializers write a secret to a file of its name.
pub const MAX_SECRET_NAME: usize = 128;

/// Who this Coordinator is, by its own Evidence.
#[derive(Debug)]
pub(crate) struct Own {
    /// The digest of its initdata, as its TEE reports it.
    pub(crate) identity: Identity,
    /// Evidence made at the start.
    pub(crate) evidence: Evidence,
    /// What that Evidence was made over.
    pub(crate) report_data: ReportData,
    /// What vouches for its own TEE.
    pub(crate) endorsements: Endorsements,
}

impl Own {
    /// Verifies its own Evidence, as a peer would.
    fn verify(&self) -> Result<VerifiedEvidence, VerifyError> {
        let evidence = UnverifiedEvidence::new(self.evidence.clone())?;
        Verifier::new().verify(evidence, &self.report_data.into(), &self.endorsements, channel::now())
    }
}

/// Everything that comes from the seed.
struct Authority {
    keys: KeySchedule,
    signer: LogSigner,
    store_key: StoreKey,
    root: RootCa,
    mesh: MeshCa,
}

enum Phase {
    Uninitialised,
    Recovering(Collected),
    Active(Box<Authority>),
    Stopped(String),
}

/// What the rest of the process may know without taking the lock.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The state.
    pub(crate) state: CoordinatorState,
    /// The active generation, 0 when there is none.
    pub(crate) generation: u64,
    /// How many entries the log has.
    pub(crate) log_size: u64,
    /// The active manifest; `None` unless active.
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// Why this process must end, when it must.
    pub(crate) stopped: Option<String>,
}

impl View {
    /// The reference values that a workload's Evidence must meet.
    pub(crate) fn reference_values(&self) -> Result<&ReferenceValues, Refusal> {
        match (&self.stopped, self.state, &self.manifest) {
            (Some(reason), ..) => Err(Refusal::Stopped { reason: reason.clone() }),
            (None, CoordinatorState::Recovering, _) => Err(Refusal::Recovering),
            (None, _, Some(manifest)) => Ok(&manifest.reference_values),
            (None, _, None) => Err(Refusal::NoManifest),
        }
    }
}

/// See the module's description.
pub(crate) struct Core {
    own: Own,
    store: Box<dyn Store>,
    record: Record,
    phase: Phase,
    pace: Pace,
}

impl Core {
    /// A Coordinator over what was found in its store.
    pub(crate) fn new(own: Own, store: Box<dyn Store>, record: Record) -> Self {
        let phase = if record.is_empty() { Phase::Uninitialised } else { Phase::Recovering(Collected::default()) };
        Self { own, store, record, phase, pace: Pace::default() }
    }

    /// What the rest of the process may know.
    pub(crate) fn view(&self) -> View {
        let active = matches!(self.phase, Phase::Active(_));
        View {
            state: self.coordinator_state(),
            generation: self.record.tip().generation,
            log_size: self.record.size(),
            manifest: self.record.manifest().filter(|_| active).map(Arc::clone),
            stopped: if let Phase::Stopped(reason) = &self.phase { Some(reason.clone()) } else { None },
        }
    }

    fn coordinator_state(&self) -> CoordinatorState {
        match self.phase {
            Phase::Uninitialised => CoordinatorState::Uninitialised,
            Phase::Active(_) => CoordinatorState::Active,
            // A stopped Coordinator will be recovering when it is started again.
            Phase::Recovering(_) | Phase::Stopped(_) => CoordinatorState::Recovering,
        }
    }

    /// Runs an operation that writes, and stops for good when the store failed under it.
    fn write<T>(&mut self, operation: impl FnOnce(&mut Self) -> Result<T, Refusal>) -> Result<T, Refusal> {
        if let Phase::Stopped(reason) = &self.phase {
            return Err(Refusal::Stopped { reason: reason.clone() });
        }
        let result = operation(self);
        if let Err(Refusal::Commit(error)) = &result {
            self.phase = Phase::Stopped(error.to_string());
        }
        result
    }

    /// Stops for good: the state is unknown after a panic.
    pub(crate) fn stop(&mut self, reason: &str) {
        self.phase = Phase::Stopped(reason.to_owned());
    }

    /// Answers what `verify` wants to know.
    pub(crate) fn state(&self, known: Option<u64>) -> Result<StateReply, Refusal> {
        let record = &self.record;
        let roots = if let Phase::Active(authority) = &self.phase { Some(roots(authority)) } else { None };
        let generations = record.generations();
        let logged = generations.iter().map(|generation| record.prove_generation(generation));
        Ok(StateReply {
            state: self.coordinator_state(),
            generation: record.tip().generation,
            roots,
            checkpoint: record.head().map(ToOwned::to_owned),
            consistency: if record.is_empty() { None } else { known.and_then(|from| record.consistency(from)) },
            history: generations.iter().map(|generation| generation.stored.signed.clone()).collect(),
            logged: logged.collect::<Result<_, Fault>>()?,
        })
    }

    /// Makes a manifest active: the first one, or the next one.
    pub(crate) fn set(&mut self, signed: &SignedManifest) -> Result<SetReply, Refusal> {
        self.write(|core| match core.phase {
            Phase::Uninitialised => core.found(signed),
            Phase::Active(_) => core.update(signed),
            Phase::Recovering(_) | Phase::Stopped(_) => Err(Refusal::Recovering),
        })
    }

    /// Checks what must hold of any manifest beyond the owners' signatures.
    fn check_manifest(&self, next: &Successor, signed: &SignedManifest) -> Result<(), Refusal> {
        let Successor { manifest, .. } = next;
        let identity = self.own.identity;
        if manifest.policies.get(&identity).is_none_or(|entry| entry.role != Role::Coordinator) {
            return Err(Refusal::OwnIdentityMissing { identity });
        }
        // A manifest whose owners cannot sign, or whose holders cannot decrypt, could never be changed or recovered.
        for key in &manifest.owners.keys {
            if !owner::is_owner_key(key) {
                let (path, expected) = ("owners.keys", "an ECDSA P-384 key");
                return Err(Refusal::UnusableKey { path, key: key.id(), expected });
            }
        }
        for key in &manifest.seed_share_holders.keys {
            if !holder::is_holder_key(key) {
                let (path, expected) = ("seed_share_holders.keys", "an RSA-4096 key");
                return Err(Refusal::UnusableKey { path, key: key.id(), expected });
            }
        }
        // For the first manifest these are the owners in our own initdata. Pods start from those in theirs, and a pod that
        // starts late sees the active manifest only.
        if !same_quorum(&self.record.tip().owners, &manifest.owners) {
            return Err(Refusal::OwnersChanged);
        }
        // The Coordinator would lock everybody out by serving reference values that it does not meet itself. It also
        // keeps software and hardware apart (P8): a Coordinator on one cannot serve a manifest for the other.
        let evidence = self.own.verify().map_err(Fault::OwnEvidence)?;
        verifier::appraise(evidence, &manifest.reference_values).map_err(Refusal::OwnEvidence)?;
        let size = self.record.shown_with(signed);
        if size > MAX_SHOWN {
            return Err(Refusal::HistoryFull { size, limit: MAX_SHOWN });
        }
        Ok(())
    }

    /// The first manifest: makes the seed, splits it, and derives everything from it.
    fn found(&mut self, signed: &SignedManifest) -> Result<SetReply, Refusal> {
        let deployment = self.record.deployment();
        let next = self.record.tip().next(deployment, signed)?;
        self.check_manifest(&next, signed)?;
        let seed = Seed::generate().map_err(Fault::from)?;
        let Quorum { threshold, keys } = &next.manifest.seed_share_holders;
        let shares = seed.split(*threshold, keys.len()).map_err(Fault::from)?;
        let mut seed_shares =
            SeedShares { version: 1, deployment_id: deployment, threshold: *threshold, shares: vec![] };
        let mut fingerprints = std::collections::BTreeMap::new();
        for (key, share) in keys.iter().zip(&shares) {
            seed_shares.shares.push(holder::encrypt_share(key, share).map_err(Fault::from)?);
            fingerprints.insert(key.id(), share_fingerprint(deployment, key.id(), share));
        }
        let keys = KeySchedule::new(&seed, deployment);
        let root = keys.root_ca(is_insecure(&next.manifest))?;
        let authority = Authority {
            signer: keys.log_signer().map_err(Fault::from)?,
            store_key: keys.store_key().map_err(Fault::from)?,
            mesh: keys.mesh_ca(&root, next.tip.generation)?,
            root,
            keys,
        };
        let founding = Founding {
            version: 1,
            deployment,
            root_ca: authority.root.certificate_pem().to_owned(),
            seed_shares: seed_shares.clone(),
            fingerprints,
        };
        let stored = StoredManifest { signed: signed.clone(), mesh_ca: authority.mesh.certificate_pem().to_owned() };
        let logged =
            self.record.append_manifest(self.store.as_mut(), &authority.signer, next, stored, Some(founding))?;
        let reply = SetReply {
            generation: self.record.tip().generation,
            roots: roots(&authority),
            logged,
            seed_shares: Some(seed_shares),
        };
        self.phase = Phase::Active(Box::new(authority));
        Ok(reply)
    }

    /// A further manifest.
    fn update(&mut self, signed: &SignedManifest) -> Result<SetReply, Refusal> {
        if let Some(reply) = self.repeated(signed)? {
            return Ok(reply);
        }
        let deployment = self.record.deployment();
        let next = self.record.tip().next(deployment, signed)?;
        self.check_manifest(&next, signed)?;
        let Phase::Active(authority) = &mut self.phase else { return Err(Refusal::Recovering) };
        let active = self.record.manifest().ok_or(Fault::Unreachable { what: "active without a manifest" })?;
        if !same_quorum(&active.seed_share_holders, &next.manifest.seed_share_holders) {
            return Err(Refusal::HoldersChanged);
        }
        let mesh = authority.keys.mesh_ca(&authority.root, next.tip.generation)?;
        let stored = StoredManifest { signed: signed.clone(), mesh_ca: mesh.certificate_pem().to_owned() };
        let logged = self.record.append_manifest(self.store.as_mut(), &authority.signer, next, stored, None)?;
        authority.mesh = mesh;
        Ok(SetReply { generation: self.record.tip().generation, roots: roots(authority), logged, seed_shares: None })
    }

    /// The active manifest once more: its owner did not get our answer, and on the first set that answer holds the
    /// encrypted seed shares. Says the same again and changes nothing.
    fn repeated(&self, signed: &SignedManifest) -> Result<Option<SetReply>, Refusal> {
        let (Phase::Active(authority), Some(last)) = (&self.phase, self.record.generations().last()) else {
            return Ok(None);
        };
        let active = &last.stored.signed;
        if (&active.manifest, active.previous) != (&signed.manifest, signed.previous) {
            return Ok(None);
        }
        let before: &Tip = self.record.before();
        let next = before.next(self.record.deployment(), signed)?;
        let first = next.tip.generation == 1;
        let shares = self.record.founding().filter(|_| first).map(|founding| founding.seed_shares.clone());
        Ok(Some(SetReply {
            generation: next.tip.generation,
            roots: roots(authority),
            logged: self.record.prove_generation(last)?,
            seed_shares: shares,
        }))
    }

    /// The names and versions of all secrets.
    pub(crate) fn list_secrets(&self) -> Result<Vec<SecretVersion>, Refusal> {
        self.authority()?;
        let secrets = self.record.secrets().iter();
        Ok(secrets.map(|(name, version)| SecretVersion { name: name.clone(), version: *version }).collect())
    }

    /// Stores the next version of a secret.
    pub(crate) fn put_secret(&mut self, put: &PutSecret) -> Result<LoggedEntry, Refusal> {
        self.write(|core| {
            let PutSecret { name, version, value, signatures } = put;
            let Phase::Active(authority) = &core.phase else { return Err(core.inactive()) };
            if !is_secret_name(name) {
                return Err(Refusal::SecretName { limit: MAX_SECRET_NAME });
            }
            let got = value.expose().len();
            if got == 0 || got > MAX_SECRET {
                return Err(Refusal::SecretSize { got, limit: MAX_SECRET });
            }
            // The signature names the manifest that the owner had in mind. Another one may give the secret to others, and
            // a Coordinator with another history of this deployment (on an emptied store, say) must not get it at all.
            let tip = core.record.tip();
            let message = secret_message(core.record.deployment(), tip.transition, name, *version, value.expose());
            let approved = owner::verify_quorum(&tip.owners, &message, signatures)?;
            // Only an owner learns which version is the current one.
            let current = core.record.secrets().get(name).copied();
            if current.unwrap_or(0).checked_add(1) != Some(*version) {
                return Err(Refusal::SecretVersion { got: *version, current: current.unwrap_or(0) });
            }
            if current.is_none() && core.record.secrets().len() >= MAX_SECRETS {
                return Err(Refusal::SecretsFull { limit: MAX_SECRETS });
            }
            let sealed = authority.store_key.seal(name, *version, value).map_err(Fault::from)?;
            let entry = LogEntry::SecretStored {
                secret: SecretVersion { name: name.clone(), version: *version },
                signers: approved.signers().to_vec(),
            };
            core.record.append_secret(core.store.as_mut(), &authority.signer, &entry, (name, *version, &sealed))
        })
    }

    /// Decides on a workload's request and carries the decision out.
    pub(crate) fn enroll(
        &mut self,
        attested: Attested,
        asked: Asked,
        csr: &[u8],
        now: u64,
    ) -> Result<Granted, Refusal> {
        self.write(|core| {
            core.authority()?;
            let manifest = core.record.manifest().ok_or(Refusal::NoManifest)?;
            let generation = core.record.tip().generation;
            let standing = Standing { generation, manifest, secrets: core.record.secrets() };
            let grant = authorize(attested, asked, standing)?;
            // What the workload was shown must be a beginning of this log; a shorter one is older, or another branch.
            let size = core.record.size();
            let known = match asked {
                Asked::Renew { known } if known > size => return Err(Refusal::Behind { size, known }),
                Asked::Renew { known } if known > 0 => Some(known),
                Asked::Renew { .. } | Asked::Enroll => None,
            };
            core.pace.step(grant.identity(), grant.lease_seconds(), Instant::now())?;
            core.issue(grant, csr, known, now)
        })
    }

    /// Uses a grant up: issues the certificate, releases the secrets, and writes both into the log before either leaves.
    /// `known` is a size of the log that the workload has seen.
    fn issue(&mut self, grant: Grant, csr: &[u8], known: Option<u64>, now: u64) -> Result<Granted, Refusal> {
        let secrets = self.release(&grant)?;
        let Phase::Active(authority) = &self.phase else { return Err(self.inactive()) };
        let profile = LeafProfile {
            deployment: self.record.deployment(),
            names: grant.names(),
            identity: grant.identity(),
            insecure: grant.is_insecure(),
            lifetime: std::time::Duration::from_secs(grant.lease_seconds().into()),
            now,
        };
        let leaf = authority.mesh.issue(csr, &profile)?;
        let entry = LogEntry::Grant {
            identity: grant.identity(),
            evidence: grant.evidence(),
            generation: grant.generation(),
            certificate: leaf.serial_hex,
            secrets: grant.secrets().to_vec(),
            time: now,
        };
        let logged = self.record.append_entry(self.store.as_mut(), &authority.signer, &entry)?;
        let beyond = Fault::Unreachable { what: "the log became shorter" };
        let consistency = known.map(|known| self.record.consistency(known).ok_or(beyond)).transpose()?;
        let last = self.record.generations().last().ok_or(Refusal::NoManifest)?;
        Ok(Granted {
            certificate_chain: leaf.chain_pem,
            roots: roots(authority),
            lease_seconds: grant.lease_seconds(),
            callers: grant.callers().map(|callers| callers.iter().cloned().collect()),
            secrets,
            logged,
            consistency,
            manifest: last.stored.signed.clone(),
        })
    }

    /// Opens the secrets of a grant. Their versions come from the log: a store that brings an older value back has one
    /// that was sealed for another version.
    fn release(&self, grant: &Grant) -> Result<Vec<ReleasedSecret>, Refusal> {
        let authority = self.authority()?;
        let open = |SecretVersion { name, version }: &SecretVersion| {
            let missing = || crate::store::StoreError::damaged(format!("secret `{name}` is gone"));
            let sealed = self.store.secret(name)?.ok_or_else(missing)?;
            let value = authority
                .store_key
                .open(name, *version, &sealed)
                .map_err(|source| Fault::Sealed { name: name.clone(), source })?;
            Ok(ReleasedSecret { name: name.clone(), version: *version, value })
        };
        grant.secrets().iter().map(open).collect()
    }

    /// Takes a seed share. See [`recovery`].
    pub(crate) fn recover(&mut self, share: &RecoverShare) -> Result<RecoverReply, Refusal> {
        self.write(|core| core.take_share(share))
    }

    fn authority(&self) -> Result<&Authority, Refusal> {
        match &self.phase {
            Phase::Active(authority) => Ok(authority),
            _ => Err(self.inactive()),
        }
    }

    fn inactive(&self) -> Refusal {
        match &self.phase {
            Phase::Uninitialised => Refusal::NoManifest,
            Phase::Stopped(reason) => Refusal::Stopped { reason: reason.clone() },
            Phase::Recovering(_) | Phase::Active(_) => Refusal::Recovering,
        }
    }
}

fn roots(authority: &Authority) -> Roots {
    Roots {
        root_ca: authority.root.certificate_pem().to_owned(),
        mesh_ca: authority.mesh.certificate_pem().to_owned(),
        log_key: authority.signer.vkey(),
    }
}

/// Whether the manifest accepts Evidence that proves nothing about hardware. A manifest with software reference values
/// has no others (P8).
fn is_insecure(manifest: &Manifest) -> bool {
    manifest.reference_values.software.is_some()
}

/// Whether two quorums are the same people with the same threshold, in whatever order.
fn same_quorum(a: &Quorum, b: &Quorum) -> bool {
    let sorted = |quorum: &Quorum| {
        let mut keys = quorum.keys.clone();
        keys.sort();
        keys
    };
    a.threshold == b.threshold && sorted(a) == sorted(b)
}

/// A name that initializers can write to a file without a second thought.
fn is_secret_name(name: &str) -> bool {
    (1..=MAX_SECRET_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{LazyLock, Mutex};

    use pki::holder::HolderKey;
    use pki::owner::OwnerKey;
    use protocol::api::transition;
    use protocol::digest::Measurement;
    use protocol::manifest::PolicyEntry;
    use protocol::{DeploymentId, Digest};
    use testkit::SoftwareTee;

    use super::*;
    use crate::store::{Step, StoreError, Stored};

    const DEPLOYMENT: DeploymentId = DeploymentId::from_bytes([3; 16]);
    const MEASUREMENT: Measurement = Measurement::from_bytes([1; 48]);
    static HOLDER: LazyLock<HolderKey> = LazyLock::new(|| HolderKey::generate().unwrap());

    /// A store that remembers the heads it was asked to store, and fails when told to.
    #[derive(Default, Clone)]
    struct Frail {
        heads: Arc<Mutex<Vec<String>>>,
        fails: Arc<Mutex<bool>>,
    }

    impl Store for Frail {
        fn load(&self) -> Result<Option<Stored>, StoreError> {
            Ok(None)
        }

        fn entries(&self, _: &mut dyn FnMut(u64, &str) -> Result<(), StoreError>) -> Result<(), StoreError> {
            Ok(())
        }

        fn secret(&self, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
            Ok(None)
        }

        fn commit(&mut self, _: Option<&str>, step: Step<'_>) -> Result<(), StoreError> {
            self.heads.lock().unwrap().push(step.head.to_owned());
            if *self.fails.lock().unwrap() {
                return Err(StoreError::Failed { operation: "commit", reason: "disk full".into() });
            }
            Ok(())
        }
    }

    struct Rig {
        tee: SoftwareTee,
        owner: OwnerKey,
        store: Frail,
        core: Core,
        manifest: Manifest,
    }

    fn rig() -> Rig {
        let tee = SoftwareTee::from_seed([1; 32]);
        let owner = OwnerKey::generate().unwrap();
        let owners = Quorum { threshold: 1, keys: vec![owner.public()] };
        let identity = Identity(Digest::of(b"coordinator"));
        let workload = Identity(Digest::of(b"workload"));
        let entry = |name: &str, role| PolicyEntry {
            names: vec![name.to_owned()],
            role,
            secrets: BTreeSet::from(["model".to_owned()]),
            callers: None,
            platforms: None,
        };
        let manifest = Manifest {
            version: 1,
            deployment_id: DEPLOYMENT,
            policies: [(identity, entry("coordinator", Role::Coordinator)), (workload, entry("web", Role::Workload))]
                .into(),
            reference_values: tee.reference_values(&[MEASUREMENT]),
            owners: owners.clone(),
            seed_share_holders: Quorum { threshold: 1, keys: vec![HOLDER.public()] },
            lease_seconds: 60,
        };
        let report_data = ReportData([5; 64]);
        let own = Own {
            identity,
            evidence: tee.evidence(MEASUREMENT, identity, &report_data),
            report_data,
            endorsements: Endorsements::default(),
        };
        let store = Frail::default();
        let core = Core::new(own, Box::new(store.clone()), Record::empty(DEPLOYMENT, &owners));
        Rig { tee, owner, store, core, manifest }
    }

    impl Rig {
        fn signed(&self, previous: Digest) -> SignedManifest {
            let manifest = self.manifest.to_text();
            let signature = self.owner.sign(&transition(DEPLOYMENT, previous, &manifest)).unwrap();
            SignedManifest { manifest, previous, signatures: vec![signature] }
        }

        fn put(&self, version: u64) -> PutSecret {
            let active = self.core.record.tip().transition;
            let signature = self.owner.sign(&secret_message(DEPLOYMENT, active, "model", version, b"v")).unwrap();
            let value = protocol::Secret::new(b"v".to_vec());
            PutSecret { name: "model".into(), version, value, signatures: vec![signature] }
        }

        fn enroll(&mut self) -> Result<Granted, Refusal> {
            let data = ReportData([7; 64]);
            let evidence = self.tee.evidence(MEASUREMENT, Identity(Digest::of(b"workload")), &data);
            let evidence = UnverifiedEvidence::new(evidence).unwrap();
            let verified =
                Verifier::new().verify(evidence, &data.into(), &Endorsements::default(), channel::now()).unwrap();
            let result = verifier::appraise(verified, &self.manifest.reference_values).unwrap();
            let attested = Attested { result: Some(result), role: Some(Role::Workload), generation: 1 };
            let key = rcgen::KeyPair::generate().unwrap();
            let csr = rcgen::CertificateParams::new(vec![]).unwrap().serialize_request(&key).unwrap();
            self.core.enroll(attested, Asked::Enroll, csr.der(), 1_800_000_000)
        }
    }

    #[test]
    fn after_a_failed_write_nothing_is_signed_and_nothing_is_granted() {
        for step in 0..3 {
            let mut rig = rig();
            let first = rig.signed(Digest::ZERO);
            let fail = |rig: &Rig| *rig.store.fails.lock().unwrap() = true;
            if step == 0 {
                fail(&rig);
                assert!(matches!(rig.core.set(&first), Err(Refusal::Commit(_))));
            } else {
                rig.core.set(&first).unwrap();
                fail(&rig);
                if step == 1 {
                    assert!(matches!(rig.core.put_secret(&rig.put(1)), Err(Refusal::Commit(_))));
                } else {
                    let next = rig.signed(transition(DEPLOYMENT, Digest::ZERO, &first.manifest));
                    assert!(matches!(rig.core.set(&next), Err(Refusal::Commit(_))));
                }
            }
            assert!(rig.core.view().stopped.is_some());
            let signed = rig.store.heads.lock().unwrap().len();
            // Even when the disk is well again: the head that was signed may be out there.
            *rig.store.fails.lock().unwrap() = false;
            assert!(matches!(rig.core.set(&first), Err(Refusal::Stopped { .. })));
            assert!(matches!(rig.core.put_secret(&rig.put(1)), Err(Refusal::Stopped { .. })));
            assert!(matches!(rig.enroll(), Err(Refusal::Stopped { .. })));
            assert!(matches!(rig.core.view().reference_values(), Err(Refusal::Stopped { .. })));
            assert_eq!(rig.store.heads.lock().unwrap().len(), signed, "step {step}");
        }
    }

    #[test]
    fn a_secret_that_vanished_from_the_store_stops_nobody_else() {
        let mut rig = rig();
        rig.core.set(&rig.signed(Digest::ZERO)).unwrap();
        rig.core.put_secret(&rig.put(1)).unwrap();
        assert!(matches!(rig.enroll(), Err(Refusal::Store(StoreError::Damaged { .. }))));
        assert_eq!(rig.core.view().stopped, None);
        assert_eq!(rig.core.put_secret(&rig.put(2)).unwrap().proof.index, 2, "the failed grant is not in the log");
    }

    #[test]
    fn what_others_may_know_follows_the_state() {
        let mut rig = rig();
        assert!(matches!(rig.core.view().reference_values(), Err(Refusal::NoManifest)));
        rig.core.set(&rig.signed(Digest::ZERO)).unwrap();
        let view = rig.core.view();
        assert_eq!(view.reference_values().unwrap(), &rig.manifest.reference_values);
        assert_eq!((view.state, view.generation, view.log_size), (CoordinatorState::Active, 1, 1));
        let recovering = View { state: CoordinatorState::Recovering, ..view };
        assert!(matches!(recovering.reference_values(), Err(Refusal::Recovering)));
    }

    #[test]
    fn a_history_that_no_answer_could_hold_is_not_made() {
        let mut rig = rig();
        let mut tip = Digest::ZERO;
        let full = loop {
            // The largest manifest there can be, for the most part spaces.
            let mut text = rig.manifest.to_text();
            text.push_str(&" ".repeat(protocol::manifest::MAX_MANIFEST - text.len()));
            let message = transition(DEPLOYMENT, tip, &text);
            let signatures = vec![rig.owner.sign(&message).unwrap()];
            match rig.core.set(&SignedManifest { manifest: text, previous: tip, signatures }) {
                Ok(_) => tip = message,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Refusal::HistoryFull { limit: MAX_SHOWN, .. }), "{full}");
        let answer = protocol::api::UserReply::State(rig.core.state(Some(1)).unwrap());
        assert!(serde_json::to_vec(&answer).unwrap().len() < protocol::wire::MAX_FRAME);
    }

    #[test]
    fn the_largest_grant_fits_into_a_frame() {
        let secrets = MAX_SECRETS * (MAX_SECRET.div_ceil(3) * 4 + MAX_SECRET_NAME + 64);
        let manifest = 2 * protocol::manifest::MAX_MANIFEST;
        assert!(secrets + manifest + 1024 * 1024 < protocol::wire::MAX_FRAME);
    }

    #[test]
    fn secret_names_are_file_names_and_nothing_more() {
        for name in ["a", "digits-model-key", "tls.crt", "UPPER_lower.9", &"x".repeat(MAX_SECRET_NAME)] {
            assert!(is_secret_name(name), "{name}");
        }
        let long = "x".repeat(MAX_SECRET_NAME + 1);
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "a b", "a\0", "a\n", "ä", &long] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
