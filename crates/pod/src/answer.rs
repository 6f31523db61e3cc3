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
