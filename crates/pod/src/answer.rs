//! Whether what the Coordinator granted is what it must be: the last check before anything is believed or written.
//!
//! The Coordinator has attested, so this catches its mistakes and those of who set it up: a manifest without its owners'
//! signatures, a certificate for another key or pod, a grant that is not in the log. [`Membership`] exists only after all
//! of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesh::lease::BootInstant;
use pki::log::Checkpoint;
use protocol::api::{Granted, ReleasedSecret, Roots, identity_uri, transition};
use protocol::log::LogEntry;
use protocol::manifest::{ManifestError, PolicyEntry};
use protocol::{DeploymentId, Digest, Identity, Manifest, Role};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};

use crate::own::Own;

/// What makes this pod a member of the mesh, for the length of one lease.
#[derive(Debug)]
pub(crate) struct Membership {
    /// Leaf and mesh CA, PEM.
    pub(crate) certificate_chain: String,
    /// Certificates of the deployment.
    pub(crate) roots: Roots,
    /// How long a lease is.
    pub(crate) lease: Duration,
    /// When this one ends.
    pub(crate) valid_until: BootInstant,
    /// Who may call, by the manifest that the owners signed.
    pub(crate) callers: BTreeMap<Identity, String>,
    /// Our own name in that manifest.
    pub(crate) name: String,
    /// The secrets of our identity; none on renewal.
    pub(crate) secrets: Vec<ReleasedSecret>,
    /// How far the log had come.
    pub(crate) log: LogHead,
    /// Whether the Coordinator's Evidence proves nothing about hardware.
    pub(crate) insecure: bool,
}

/// Size and root of a log that we have seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogHead {
    size: u64,
    root: Option<Digest>,
}

/// What we asked for, and know of ourselves.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// This pod.
    pub(crate) own: &'a Own,
    /// SubjectPublicKeyInfo of our key.
    pub(crate) public_key: &'a [u8],
    /// Whether secrets come with the answer.
    pub(crate) enrolling: bool,
    /// When we began to ask: a lease counts from there.
    pub(crate) since: BootInstant,
    /// The log as we last saw it.
    pub(crate) log: LogHead,
    /// The wall clock, for the certificate's dates.
    pub(crate) now: UnixTime,
    /// Whether the Coordinator's Evidence proves nothing about hardware.
    pub(crate) insecure: bool,
}

/// What is wrong with a grant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("manifest is not signed by the owners that initdata names")]
    NotSigned(#[source] pki::owner::QuorumError),
    #[error("manifest cannot be read")]
    Manifest(#[from] ManifestError),
    #[error("manifest is for deployment {got}, this pod belongs to {expected}")]
    OtherDeployment { got: DeploymentId, expected: DeploymentId },
    #[error("manifest does not list this pod's identity {identity} as a workload")]
    NotListed { identity: Identity },
    #[error("certificate chain: {0}")]
    Certificate(&'static str),
    #[error("certificate chain does not verify under the root CA of the deployment")]
    Chain(#[source] webpki::Error),
    #[error("certificate does not carry the name `{name}`")]
    Name { name: String },
    #[error("grant is not in the log")]
    NotLogged(#[source] pki::log::LoggedError),
    #[error("log entry of the grant: {0}")]
    OtherEntry(&'static str),
    #[error("log of size {got} was shown, an earlier one had {known}")]
    LogShrank { got: u64, known: u64 },
    #[error("two logs of size {size} were shown")]
    LogForked { size: u64 },
    #[error("secrets are {got:?}, the manifest gives this pod {expected:?}")]
    Secrets { got: Vec<String>, expected: BTreeSet<String> },
    #[error("secret name `{name}` is no file name")]
    SecretName { name: String },
    #[error("lease of {got} s, the manifest allows from 1 to {limit} s")]
    Lease { got: u32, limit: u32 },
}

/// Checks a grant.
pub(crate) fn check(granted: Granted, asked: Asked<'_>) -> Result<Membership, AnswerError> {
    let settings = &asked.own.settings;
    let deployment = settings.deployment_id;
    let signed = &granted.manifest;
    let message = transition(deployment, signed.previous, &signed.manifest);
    pki::owner::verify_quorum(&settings.owners, &message, &signed.signatures).map_err(AnswerError::NotSigned)?;
    let manifest = Manifest::parse(&signed.manifest)?;
    if manifest.deployment_id != deployment {
        return Err(AnswerError::OtherDeployment { got: manifest.deployment_id, expected: deployment });
    }
    let identity = asked.own.identity;
    let entry = manifest
        .policies
        .get(&identity)
        .filter(|entry| entry.role == Role::Workload)
        .ok_or(AnswerError::NotListed { identity })?;
    if granted.lease_seconds == 0 || granted.lease_seconds > manifest.lease_seconds {
        return Err(AnswerError::Lease { got: granted.lease_seconds, limit: manifest.lease_seconds });
    }
    let serial = check_chain(&granted.certificate_chain, &granted.roots, entry, asked)?;
    let checkpoint = check_logged(&granted, identity, &serial)?;
    let log = LogHead { size: checkpoint.size, root: Some(checkpoint.root) }.after(asked.log)?;
    check_secrets(&granted.secrets, entry, asked.enrolling)?;
    let lease = Duration::from_secs(granted.lease_seconds.into());
    Ok(Membership {
        callers: callers(&manifest, entry),
        name: entry.names.first().cloned().unwrap_or_default(),
        certificate_chain: granted.certificate_chain,
        roots: granted.roots,
        lease,
        valid_until: asked.since + lease,
        secrets: granted.secrets,
        log,
        insecure: asked.insecure,
    })
}

/// The workloads that the manifest lets call this one. The Coordinator sends a list too; the signed one decides.
fn callers(manifest: &Manifest, entry: &PolicyEntry) -> BTreeMap<Identity, String> {
    let allowed = |name: &String| entry.callers.as_ref().is_none_or(|callers| callers.contains(name));
    let workloads = manifest.policies.iter().filter(|(_, other)| other.role == Role::Workload);
    workloads
        .filter_map(|(identity, other)| Some((*identity, other.names.first().filter(|name| allowed(name))?.clone())))
        .collect()
}

/// Checks the chain and gives the leaf's serial number.
fn check_chain(chain: &str, roots: &Roots, entry: &PolicyEntry, asked: Asked<'_>) -> Result<String, AnswerError> {
    let bad = AnswerError::Certificate;
    let certificates = certificates(chain).ok_or(bad("is no PEM"))?;
    let one = |pem: &str| match certificates_of_one(pem) {
        Some(certificate) => Ok(certificate),
        None => Err(bad("a root is not one certificate")),
    };
    let (root, mesh_ca) = (one(&roots.root_ca)?, one(&roots.mesh_ca)?);
    let [leaf, intermediates @ ..] = certificates.as_slice() else { return Err(bad("is empty")) };
    if intermediates != [mesh_ca] {
        return Err(bad("does not go through the mesh CA"));
    }
    let anchor = webpki::anchor_from_trusted_cert(&root).map_err(AnswerError::Chain)?;
    let parsed = webpki::EndEntityCert::try_from(leaf).map_err(AnswerError::Chain)?;
    let algorithms = [webpki::aws_lc_rs::ECDSA_P256_SHA256, webpki::aws_lc_rs::ECDSA_P384_SHA384];
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        parsed
            .verify_for_usage(&algorithms, std::slice::from_ref(&anchor), intermediates, asked.now, usage, None, None)
            .map_err(AnswerError::Chain)?;
    }
    if parsed.subject_public_key_info().as_ref() != asked.public_key {
        return Err(bad("is for another key"));
    }
    let own = identity_uri(asked.own.identity);
    let identities: Vec<_> = parsed.valid_uri_names().filter(|uri| uri.starts_with("casemate:identity:")).collect();
    if identities != [own.as_str()] {
        return Err(bad("is for another identity"));
    }
    for name in &entry.names {
        let carried = ServerName::try_from(name.as_str())
            .is_ok_and(|server| parsed.verify_is_valid_for_subject_name(&server).is_ok());
        if !carried {
            return Err(AnswerError::Name { name: name.clone() });
        }
    }
    Ok(serial(parsed.serial()))
}

/// The certificates of a PEM text; `None` when something in it is not one.
pub(crate) fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()
}

fn certificates_of_one(pem: &str) -> Option<CertificateDer<'static>> {
    <[_; 1]>::try_from(certificates(pem)?).ok().map(|[certificate]| certificate)
}

/// A serial number in hex without the zero byte that DER puts in front of a high bit.
fn serial(bytes: &[u8]) -> String {
    hex::encode(bytes.strip_prefix(&[0]).unwrap_or(bytes))
}

fn check_logged(granted: &Granted, identity: Identity, serial: &str) -> Result<Checkpoint, AnswerError> {
    let wrong = |what| Err(AnswerError::OtherEntry(what));
    let (entry, checkpoint) =
        pki::log::verify_logged(&granted.logged, &granted.roots.log_key).map_err(AnswerError::NotLogged)?;
    let LogEntry::Grant { identity: logged_identity, certificate, secrets, .. } = entry else {
        return wrong("is no grant");
    };
    if logged_identity != identity {
        return wrong("is of another identity");
    }
    if certificate != serial {
        return wrong("is of another certificate");
    }
    let logged: BTreeSet<_> = secrets.iter().map(|secret| (secret.name.as_str(), secret.version)).collect();
    let released: BTreeSet<_> = granted.secrets.iter().map(|secret| (secret.name.as_str(), secret.version)).collect();
    if logged != released {
        return wrong("has other secrets");
    }
    Ok(checkpoint)
}

impl LogHead {
    /// This head, if it can follow an earlier one. That it extends it is for `verify` to prove; that it does not shrink or
    /// differ at one size is all that can be told without a consistency proof.
    fn after(self, earlier: Self) -> Result<Self, AnswerError> {
        if self.size < earlier.size {
            return Err(AnswerError::LogShrank { got: self.size, known: earlier.size });
        }
        if self.size == earlier.size && earlier.root.is_some() && self.root != earlier.root {
            return Err(AnswerError::LogForked { size: self.size });
        }
        Ok(self)
    }
}

fn check_secrets(secrets: &[ReleasedSecret], entry: &PolicyEntry, enrolling: bool) -> Result<(), AnswerError> {
    let expected = if enrolling { entry.secrets.clone() } else { BTreeSet::new() };
    let names: BTreeSet<_> = secrets.iter().map(|secret| secret.name.clone()).collect();
    if names != expected || names.len() != secrets.len() {
        let got = secrets.iter().map(|secret| secret.name.clone()).collect();
        return Err(AnswerError::Secrets { got, expected });
    }
    match names.into_iter().find(|name| !is_file_name(name)) {
        Some(name) => Err(AnswerError::SecretName { name }),
        None => Ok(()),
    }
}

/// Whether a name can be a file in one folder, on any path and in any shell.
fn is_file_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // NAME_MAX of Linux.
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use pki::ca::{LeafProfile, MeshCa, RootCa};
    use pki::log::{LogSigner, Tree, leaf_hash};
    use pki::owner::OwnerKey;
    use pki::seed::{KeySchedule, Seed};
    use protocol::Secret;
    use protocol::api::SignedManifest;
    use protocol::log::{LoggedEntry, SecretVersion};
    use protocol::manifest::{Quorum, ReferenceValues, SoftwareReferenceValues};

    use super::*;
    use crate::key::Key;
    use crate::rig::{DEPLOYMENT, MEASUREMENT, initdata};

    const NOW: u64 = 1_800_000_000;

    /// A Coordinator's side, honest unless a test changes something.
    struct World {
        own: Own,
        key: Key,
        owner: OwnerKey,
        root: RootCa,
        mesh_ca: MeshCa,
        signer: LogSigner,
        manifest: Manifest,
    }

    fn world() -> World {
        let owner = OwnerKey::generate().unwrap();
        let owners = Quorum { threshold: 1, keys: vec![owner.public()] };
        let document = initdata(|settings| settings.owners = owners.clone());
        let own = Own { settings: document.settings().unwrap(), identity: document.identity(), initdata: document };
        let schedule = KeySchedule::new(&Seed::generate().unwrap(), DEPLOYMENT);
        let root = schedule.root_ca(true).unwrap();
        let entry = |name: &str, role| PolicyEntry {
            names: vec![name.into(), format!("{name}.default")],
            role,
            secrets: BTreeSet::new(),
            callers: None,
        };
        let software = SoftwareReferenceValues { root: Digest::ZERO, measurements: vec![MEASUREMENT] };
        let inference =
            PolicyEntry { secrets: BTreeSet::from(["model-key".into()]), ..entry("inference", Role::Workload) };
        let manifest = Manifest {
            version: 1,
            deployment_id: DEPLOYMENT,
            policies: BTreeMap::from([
                (Identity(Digest::of(b"coordinator")), entry("coordinator", Role::Coordinator)),
                (Identity(Digest::of(b"frontend")), entry("frontend", Role::Workload)),
                (own.identity, inference),
            ]),
            reference_values: ReferenceValues { software: Some(software) },
            seed_share_holders: owners.clone(),
            owners,
            lease_seconds: 60,
        };
        World {
            key: Key::generate().unwrap(),
            mesh_ca: schedule.mesh_ca(&root, 1).unwrap(),
            signer: schedule.log_signer().unwrap(),
            own,
            owner,
            root,
            manifest,
        }
    }

    impl World {
        fn sign(&self, manifest: &Manifest) -> SignedManifest {
            let manifest = manifest.to_text();
            let message = transition(DEPLOYMENT, Digest::ZERO, &manifest);
            SignedManifest { manifest, previous: Digest::ZERO, signatures: vec![self.owner.sign(&message).unwrap()] }
        }

        /// A leaf for our key with changed contents; chain and serial.
        fn issue(&self, change: impl FnOnce(&mut LeafProfile<'_>)) -> (String, String) {
            let names = &self.manifest.policies[&self.own.identity].names;
            let mut profile = LeafProfile {
                deployment: DEPLOYMENT,
                names,
                identity: self.own.identity,
                insecure: true,
                lifetime: Duration::from_mins(1),
                now: NOW,
            };
            change(&mut profile);
            let leaf = self.mesh_ca.issue(&self.key.request().unwrap(), &profile).unwrap();
            (leaf.chain_pem, leaf.serial_hex)
        }

        fn log(&self, entry: &LogEntry) -> LoggedEntry {
            let text = serde_json::to_string(entry).unwrap();
            let tree = Tree::from_leaves(&[leaf_hash(b"manifest"), leaf_hash(text.as_bytes())]);
            let proof = tree.inclusion_proof(1, 2).unwrap();
            LoggedEntry { entry: text, proof, checkpoint: self.signer.sign_tree(2, tree.root()) }
        }

        fn entry(&self, serial: &str) -> LogEntry {
            LogEntry::Grant {
                identity: self.own.identity,
                evidence: Digest::ZERO,
                generation: 1,
                certificate: serial.to_owned(),
                secrets: vec![SecretVersion { name: "model-key".into(), version: 3 }],
                time: NOW,
            }
        }

        fn grant(&self) -> Granted {
            let (certificate_chain, serial) = self.issue(|_| {});
            Granted {
                certificate_chain,
                roots: Roots {
                    root_ca: self.root.certificate_pem().into(),
                    mesh_ca: self.mesh_ca.certificate_pem().into(),
                    log_key: self.signer.vkey(),
                },
                lease_seconds: 60,
                callers: None,
                secrets: vec![secret("model-key", 3)],
                logged: self.log(&self.entry(&serial)),
                manifest: self.sign(&self.manifest),
            }
        }

        fn check_with(&self, granted: Granted, change: impl FnOnce(&mut Asked<'_>)) -> Result<Membership, AnswerError> {
            let public_key = self.key.public();
            let mut asked = Asked {
                own: &self.own,
                public_key: &public_key,
                enrolling: true,
                since: BootInstant::from_millis(1000),
                log: LogHead::default(),
                now: UnixTime::since_unix_epoch(Duration::from_secs(NOW)),
                insecure: true,
            };
            change(&mut asked);
            check(granted, asked)
        }

        fn check(&self, granted: Granted) -> Result<Membership, AnswerError> {
            self.check_with(granted, |_| {})
        }
    }

    fn secret(name: &str, version: u64) -> ReleasedSecret {
        ReleasedSecret { name: name.into(), version, value: Secret::new(vec![1]) }
    }

    #[test]
    fn an_honest_grant_makes_a_member() {
        let world = world();
        let member = world.check(world.grant()).unwrap();
        assert_eq!(member.name, "inference");
        assert_eq!(member.lease, Duration::from_mins(1));
        // From before the question was asked.
        assert_eq!(member.valid_until, BootInstant::from_millis(61_000));
        // Every workload of the manifest, ourselves included, and not the Coordinator.
        assert_eq!(member.callers.values().collect::<Vec<_>>(), {
            let mut names: Vec<_> =
                [(Identity(Digest::of(b"frontend")), "frontend"), (world.own.identity, "inference")].into();
            names.sort();
            names.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        });
        assert_eq!(member.secrets.len(), 1);
    }

    #[test]
    fn callers_are_those_of_the_signed_manifest() {
        let mut world = world();
        let identity = world.own.identity;
        world.manifest.policies.get_mut(&identity).unwrap().callers = Some(BTreeSet::from(["frontend".into()]));
        let granted = Granted { callers: Some(vec!["inference".into()]), ..world.grant() };
        let member = world.check(granted).unwrap();
        assert_eq!(member.callers.into_values().collect::<Vec<_>>(), ["frontend"]);
    }

    #[test]
    fn every_single_change_of_a_grant_is_refused_by_name() {
        type Change = fn(&World, &mut Granted);
        let cases: [(&str, Change); 26] = [
            ("manifest is not signed", |_, g| g.manifest.signatures.clear()),
            ("manifest is not signed", |_, g| g.manifest.manifest.push(' ')),
            ("manifest is not signed", |_, g| g.manifest.previous = Digest::of(b"other")),
            ("manifest is not signed", |_, g| {
                let other = OwnerKey::generate().unwrap();
                let message = transition(DEPLOYMENT, Digest::ZERO, &g.manifest.manifest);
                g.manifest.signatures = vec![other.sign(&message).unwrap()];
            }),
            ("manifest is for deployment", |w, g| {
                let deployment_id = DeploymentId::from_bytes([8; 16]);
                g.manifest = w.sign(&Manifest { deployment_id, ..w.manifest.clone() });
            }),
            ("manifest cannot be read", |w, g| {
                let text = "{}".to_owned();
                let message = transition(DEPLOYMENT, Digest::ZERO, &text);
                g.manifest = SignedManifest {
                    manifest: text,
                    previous: Digest::ZERO,
                    signatures: vec![w.owner.sign(&message).unwrap()],
                };
            }),
            ("manifest does not list this pod", |w, g| {
                let mut manifest = w.manifest.clone();
                manifest.policies.remove(&w.own.identity);
                g.manifest = w.sign(&manifest);
            }),
            ("manifest does not list this pod", |w, g| {
                let mut manifest = w.manifest.clone();
                manifest.policies.retain(|identity, _| *identity == w.own.identity);
                manifest.policies.values_mut().for_each(|entry| entry.role = Role::Coordinator);
                g.manifest = w.sign(&manifest);
            }),
            ("lease of 0 s", |_, g| g.lease_seconds = 0),
            ("lease of 61 s", |_, g| g.lease_seconds = 61),
            ("is no PEM", |_, g| g.certificate_chain = g.certificate_chain.replace("BEGIN CERT", "BEGIN CERT\n")),
            ("is empty", |_, g| g.certificate_chain.clear()),
            ("does not go through the mesh CA", |w, g| {
                let one = certificates(&g.certificate_chain).unwrap().len() - 1;
                assert_eq!(one, 1);
                g.roots.mesh_ca = w.root.certificate_pem().into();
            }),
            ("a root is not one certificate", |_, g| g.roots.root_ca = g.roots.root_ca.repeat(2)),
            ("a root is not one certificate", |_, g| g.roots.mesh_ca.clear()),
            ("does not verify under the root CA", |_, g| g.roots.root_ca = world().root.certificate_pem().into()),
            ("does not verify under the root CA", |w, g| {
                let late = |profile: &mut LeafProfile<'_>| profile.now = NOW + 86_400;
                g.certificate_chain = w.issue(late).0;
            }),
            ("is for another identity", |w, g| {
                g.certificate_chain = w.issue(|profile| profile.identity = Identity(Digest::of(b"frontend"))).0;
            }),
            ("does not carry the name `inference`", |w, g| {
                let names = ["frontend".to_owned()];
                let request = w.key.request().unwrap();
                let profile = LeafProfile {
                    deployment: DEPLOYMENT,
                    names: &names,
                    identity: w.own.identity,
                    insecure: true,
                    lifetime: Duration::from_mins(1),
                    now: NOW,
                };
                g.certificate_chain = w.mesh_ca.issue(&request, &profile).unwrap().chain_pem;
            }),
            ("is of another certificate", |w, g| g.certificate_chain = w.issue(|_| {}).0),
            ("grant is not in the log", |_, g| g.logged.entry.push(' ')),
            ("grant is not in the log", |_, g| g.roots.log_key = world().signer.vkey()),
            ("is no grant", |w, g| g.logged = w.log(&LogEntry::Recovered { holders: vec![] })),
            ("has other secrets", |_, g| g.secrets[0].version = 2),
            ("has other secrets", |_, g| g.secrets.clear()),
            ("secrets are [\"model-key\", \"other\"]", |w, g| {
                g.secrets.push(secret("other", 1));
                let serial = match serde_json::from_str(&g.logged.entry).unwrap() {
                    LogEntry::Grant { certificate, .. } => certificate,
                    other => panic!("{other:?}"),
                };
                let LogEntry::Grant { identity, evidence, generation, certificate, mut secrets, time } =
                    w.entry(&serial)
                else {
                    return;
                };
                secrets.push(SecretVersion { name: "other".into(), version: 1 });
                g.logged = w.log(&LogEntry::Grant { identity, evidence, generation, certificate, secrets, time });
            }),
        ];
        for (index, (message, change)) in cases.into_iter().enumerate() {
            let world = world();
            let mut granted = world.grant();
            change(&world, &mut granted);
            let error = world.check(granted).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(message), "case {index}: `{message}` is not in `{error}`");
        }
    }

    #[test]
    fn what_was_asked_decides_what_may_be_answered() {
        type Change = fn(&mut Asked<'_>);
        let cases: [(&str, Change); 4] = [
            ("is for another key", |asked| asked.public_key = b"another"),
            ("secrets are", |asked| asked.enrolling = false),
            ("log of size 2 was shown, an earlier one had 3", |asked| asked.log = LogHead { size: 3, root: None }),
            ("two logs of size 2", |asked| asked.log = LogHead { size: 2, root: Some(Digest::ZERO) }),
        ];
        let world = world();
        for (message, change) in cases {
            let error = world.check_with(world.grant(), change).unwrap_err().to_string();
            assert!(error.contains(message), "`{message}` is not in `{error}`");
        }
        let earlier = |asked: &mut Asked<'_>| asked.log = LogHead { size: 1, root: Some(Digest::ZERO) };
        assert!(world.check_with(world.grant(), earlier).is_ok());
    }

    #[test]
    fn a_renewal_brings_no_secrets() {
        let world = world();
        let mut granted = world.grant();
        granted.secrets.clear();
        let (chain, serial) = world.issue(|_| {});
        let LogEntry::Grant { identity, evidence, generation, certificate, time, .. } = world.entry(&serial) else {
            return;
        };
        granted.certificate_chain = chain;
        granted.logged =
            world.log(&LogEntry::Grant { identity, evidence, generation, certificate, secrets: vec![], time });
        let member = world.check_with(granted, |asked| asked.enrolling = false).unwrap();
        assert!(member.secrets.is_empty());
    }

    #[test]
    fn a_secret_s_name_never_leads_out_of_its_folder() {
        for name in ["model-key", "a", "A_b.c-1"] {
            assert!(is_file_name(name), "{name}");
        }
        let long = "x".repeat(256);
        for name in ["", ".", "..", ".hidden", "a/b", "/a", "../a", "a b", "a\0", "ä", "a\n", &long] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }
}
