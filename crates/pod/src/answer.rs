//! Whether what the Coordinator granted is what it must be: the last check before anything is believed or written.
//!
//! The Coordinator has attested, so this catches its mistakes and those of who set it up: a manifest without its owners'
//! signatures, a certificate for another key or pod, a grant that is not in the log or rests on other Evidence than ours,
//! a deployment that is not the one of an earlier grant. [`Membership`] exists only after all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesh::lease::BootInstant;
use protocol::api::{Granted, ReleasedSecret, Roots, identity_uri, transition};
use protocol::initdata::Settings;
use protocol::log::LogEntry;
use protocol::manifest::{ManifestError, PolicyEntry};
use protocol::{DeploymentId, Digest, Identity, Manifest, Role};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::own::Own;
use crate::pins::{Extension, LogHead, PinError, Pins};

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
    /// What later grants are held to.
    pub(crate) pins: Pins,
    /// Whether the Coordinator's Evidence proves nothing about hardware.
    pub(crate) insecure: bool,
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
    /// The digest of the Evidence that we sent with the question.
    pub(crate) evidence: Digest,
    /// What earlier grants of this pod's life committed the deployment to.
    pub(crate) pins: Option<&'a Pins>,
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
    #[error("manifest names the callers of `{name}`, and initdata opens port {port} to everybody")]
    CallersUnchecked { name: String, port: u16 },
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
    #[error("grant contradicts an earlier one")]
    Pinned(#[from] PinError),
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
    check_callers(settings, entry)?;
    if granted.lease_seconds == 0 || granted.lease_seconds > manifest.lease_seconds {
        return Err(AnswerError::Lease { got: granted.lease_seconds, limit: manifest.lease_seconds });
    }
    let serial = check_chain(&granted.certificate_chain, &granted.roots, entry, asked)?;
    let (generation, log) = check_logged(&granted, asked, &serial)?;
    // Only the first manifest has no predecessor.
    if generation == 0 || (generation == 1) != (signed.previous == Digest::ZERO) {
        return Err(AnswerError::OtherEntry("is of a generation that the manifest cannot have"));
    }
    let pins = Pins {
        root_ca: granted.roots.root_ca.clone(),
        log_key: granted.roots.log_key.clone(),
        generation,
        transition: message,
        log,
    };
    if let Some(earlier) = asked.pins {
        let extension = if asked.enrolling { Extension::Compared } else { Extension::Proven };
        earlier.admit(&pins, signed.previous, granted.consistency.as_ref(), extension)?;
    }
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
        pins,
        insecure: asked.insecure,
    })
}

/// Refuses a manifest that names callers of a pod which does not ask every caller who it is. The firewall does what
/// initdata says; a list that it goes round would only look like protection.
fn check_callers(settings: &Settings, entry: &PolicyEntry) -> Result<(), AnswerError> {
    if entry.callers.is_none() {
        return Ok(());
    }
    let unchecked = settings.ingress.iter().filter(|ingress| !ingress.client_certificate).map(|ingress| ingress.port);
    match unchecked.chain(settings.open_ports.iter().copied()).next() {
        Some(port) => {
            let name = entry.names.first().cloned().unwrap_or_default();
            Err(AnswerError::CallersUnchecked { name, port })
        }
        None => Ok(()),
    }
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

/// Checks the grant's log entry; gives the generation that it names, and the log that it is in.
fn check_logged(granted: &Granted, asked: Asked<'_>, serial: &str) -> Result<(u64, LogHead), AnswerError> {
    let wrong = |what| Err(AnswerError::OtherEntry(what));
    let (entry, checkpoint) =
        pki::log::verify_logged(&granted.logged, &granted.roots.log_key).map_err(AnswerError::NotLogged)?;
    let LogEntry::Grant { identity, evidence, generation, certificate, secrets, time: _ } = entry else {
        return wrong("is no grant");
    };
    if identity != asked.own.identity {
        return wrong("is of another identity");
    }
    // Otherwise somebody reading the log would look for a decision on Evidence that was never given.
    if evidence != asked.evidence {
        return wrong("rests on other evidence than was sent");
    }
    if certificate != serial {
        return wrong("is of another certificate");
    }
    let logged: BTreeSet<_> = secrets.iter().map(|secret| (secret.name.as_str(), secret.version)).collect();
    let released: BTreeSet<_> = granted.secrets.iter().map(|secret| (secret.name.as_str(), secret.version)).collect();
    if logged != released {
        return wrong("has other secrets");
    }
    Ok((generation, checkpoint.into()))
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
    use protocol::initdata::Ingress;
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
        public_key: Vec<u8>,
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
            platforms: None,
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
            reference_values: ReferenceValues::software(software),
            seed_share_holders: owners.clone(),
            owners,
            lease_seconds: 60,
        };
        let key = Key::generate().unwrap();
        World {
            public_key: key.public(),
            key,
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
                evidence: evidence(),
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
                consistency: None,
                manifest: self.sign(&self.manifest),
            }
        }

        fn check_with<'a>(
            &'a self,
            granted: Granted,
            change: impl FnOnce(&mut Asked<'a>),
        ) -> Result<Membership, AnswerError> {
            let mut asked = Asked {
                own: &self.own,
                public_key: &self.public_key,
                enrolling: true,
                since: BootInstant::from_millis(1000),
                evidence: evidence(),
                pins: None,
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

    /// The digest of the Evidence that came with the question.
    fn evidence() -> Digest {
        Digest::of(b"evidence")
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
    fn callers_are_named_only_for_a_pod_that_asks_every_caller() {
        let ingress = |port, client_certificate| Ingress { name: "http".into(), port, client_certificate };
        type Change = fn(&mut Settings);
        let open: [(u16, Change); 3] = [
            (8080, |settings| settings.ingress[1].client_certificate = false),
            (8443, |settings| settings.ingress[0].client_certificate = false),
            (9000, |settings| settings.open_ports.push(9000)),
        ];
        let outcome = |callers: Option<&str>, change: Change| {
            let mut world = world();
            world.own.settings.ingress = vec![ingress(8443, true), ingress(8080, true)];
            change(&mut world.own.settings);
            let identity = world.own.identity;
            world.manifest.policies.get_mut(&identity).unwrap().callers = callers.map(|name| [name.into()].into());
            world.check(world.grant())
        };
        assert!(outcome(Some("frontend"), |_| {}).is_ok());
        for (port, change) in open {
            assert!(outcome(None, change).is_ok(), "everybody may call, and is let in");
            let error = outcome(Some("frontend"), change).unwrap_err();
            let expected =
                format!("manifest names the callers of `inference`, and initdata opens port {port} to everybody");
            assert_eq!(error.to_string(), expected);
        }
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
            ("is no grant", |w, g| {
                let secret = SecretVersion { name: "model-key".into(), version: 3 };
                g.logged = w.log(&LogEntry::SecretStored { secret, signers: vec![] });
            }),
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
        let cases: [(&str, Change); 3] = [
            ("is for another key", |asked| asked.public_key = b"another"),
            ("secrets are", |asked| asked.enrolling = false),
            ("rests on other evidence than was sent", |asked| asked.evidence = Digest::ZERO),
        ];
        let world = world();
        for (message, change) in cases {
            let error = world.check_with(world.grant(), change).unwrap_err().to_string();
            assert!(error.contains(message), "`{message}` is not in `{error}`");
        }
    }

    /// What a changed Coordinator answers to a renewal, the `before` of the log given by its leaves.
    fn renew<'a>(
        world: &'a World,
        pins: &'a Pins,
        change: impl FnOnce(&World, &mut Granted),
    ) -> Result<Membership, AnswerError> {
        let (chain, serial) = world.issue(|_| {});
        let mut granted = Granted { certificate_chain: chain, secrets: vec![], ..world.grant() };
        let mut entry = world.entry(&serial);
        if let LogEntry::Grant { secrets, .. } = &mut entry {
            secrets.clear();
        }
        // The log of `World::log` with one more leaf than that of the enrolment.
        let text = serde_json::to_string(&entry).unwrap();
        let tree = Tree::from_leaves(&[leaf_hash(b"manifest"), leaf_hash(b"enrolled"), leaf_hash(text.as_bytes())]);
        let checkpoint = world.signer.sign_tree(3, tree.root());
        granted.logged = LoggedEntry { entry: text, proof: tree.inclusion_proof(2, 3).unwrap(), checkpoint };
        granted.consistency = tree.consistency_proof(2, 3);
        change(world, &mut granted);
        world.check_with(granted, |asked| (asked.enrolling, asked.pins) = (false, Some(pins)))
    }

    /// What an enrolment left, in the log that [`renew`] extends.
    fn enrolled(world: &World) -> Pins {
        let pins = world.check(world.grant()).unwrap().pins;
        let tree = Tree::from_leaves(&[leaf_hash(b"manifest"), leaf_hash(b"enrolled")]);
        Pins { log: LogHead { root: tree.root(), ..pins.log }, ..pins }
    }

    #[test]
    fn a_renewal_brings_no_secrets_and_moves_the_pins() {
        let world = world();
        let pins = enrolled(&world);
        let member = renew(&world, &pins, |_, _| {}).unwrap();
        assert!(member.secrets.is_empty());
        assert_eq!((member.pins.log.size, member.pins.generation), (3, 1));
        assert_eq!((&member.pins.root_ca, &member.pins.log_key), (&pins.root_ca, &pins.log_key));
    }

    #[test]
    fn a_renewal_that_contradicts_the_enrolment_is_none() {
        type Change = fn(&mut Pins);
        let cases: [(PinError, Change); 6] = [
            (PinError::OtherRootCa, |pins| pins.root_ca = world().root.certificate_pem().into()),
            (PinError::GenerationBack { got: 1, known: 2 }, |pins| pins.generation = 2),
            (PinError::ManifestForked { generation: 1 }, |pins| pins.transition = Digest::of(b"another")),
            (PinError::OtherPredecessor { generation: 1 }, |pins| pins.generation = 0),
            (PinError::LogShrank { got: 3, known: 4 }, |pins| pins.log.size = 4),
            (PinError::LogForked { size: 3 }, |pins| pins.log.size = 3),
        ];
        let refused = |world: &World, pins: &Pins| match renew(world, pins, |_, _| {}) {
            Err(AnswerError::Pinned(error)) => error,
            other => panic!("{other:?}"),
        };
        let world = world();
        let enrolled = enrolled(&world);
        for (expected, change) in cases {
            let mut pins = enrolled.clone();
            change(&mut pins);
            assert_eq!(refused(&world, &pins), expected);
        }
        let mut pins = enrolled.clone();
        pins.log_key = self::world().signer.vkey();
        assert!(matches!(refused(&world, &pins), PinError::OtherLogKey { .. }));
        let mut pins = enrolled.clone();
        pins.log.root = Digest::of(b"another");
        assert!(matches!(refused(&world, &pins), PinError::LogRewritten { got: 3, known: 2, .. }));
        let unproven = renew(&world, &enrolled, |_, granted| granted.consistency = None);
        assert!(matches!(unproven, Err(AnswerError::Pinned(PinError::NoProof { got: 3, known: 2 }))), "{unproven:?}");
    }

    #[test]
    fn a_generation_fits_its_manifest() {
        for (generation, previous) in [(0, Digest::ZERO), (2, Digest::ZERO), (1, Digest::of(b"first"))] {
            let world = world();
            let (chain, serial) = world.issue(|_| {});
            let mut granted = Granted { certificate_chain: chain, ..world.grant() };
            let mut entry = world.entry(&serial);
            if let LogEntry::Grant { generation: logged, .. } = &mut entry {
                *logged = generation;
            }
            granted.logged = world.log(&entry);
            granted.manifest.previous = previous;
            let message = transition(DEPLOYMENT, previous, &granted.manifest.manifest);
            granted.manifest.signatures = vec![world.owner.sign(&message).unwrap()];
            let error = world.check(granted).unwrap_err().to_string();
            assert!(error.contains("is of a generation that the manifest cannot have"), "{generation}: {error}");
        }
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
