//! Paths: from a leaf to a root that is pinned (RFC 5280, section 6, without names and policies).

use protocol::Digest;

use super::{Certificate, MAX_CHAIN, UNDERSTOOD};
use crate::context::Cache;
use crate::error::Fault;
use crate::time::UnixTime;

/// Why a path does not lead from its leaf to a pinned root.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("certificate `{certificate}`: {problem}")]
pub struct PathError {
    /// The subject's common name of the certificate that is at fault.
    pub certificate: String,
    /// What is wrong with it.
    pub problem: PathProblem,
}

/// What is wrong with a certificate of a path.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathProblem {
    /// Cannot be read.
    #[error(transparent)]
    Malformed(#[from] super::CertificateError),
    /// There is no certificate of its issuer.
    #[error("its issuer `{issuer}` is not among the certificates at hand")]
    NoIssuer {
        /// The issuer's common name.
        issuer: String,
    },
    /// The next certificate is not its issuer's.
    #[error("its issuer is `{issuer}`, the next certificate is of `{next}`")]
    OtherIssuer {
        /// The issuer that it names.
        issuer: String,
        /// The subject of the next certificate.
        next: String,
    },
    /// The issuer's key did not make its signature.
    #[error("its signature is not by `{issuer}`")]
    Signature {
        /// The issuer's common name.
        issuer: String,
    },
    /// Not valid yet.
    #[error("not valid before {not_before}, it is {now}")]
    NotYetValid {
        /// From when it holds.
        not_before: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// Not valid any more.
    #[error("expired at {not_after}, it is {now}")]
    Expired {
        /// Until when it held.
        not_after: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// Issues a certificate and is no CA.
    #[error("it issued a certificate and is no certificate authority")]
    NotCa,
    /// Issues a certificate, and its key usage does not allow that.
    #[error("its key may not sign certificates")]
    KeyUse,
    /// More CAs below it than it allows.
    #[error("{below} authorities below it, it allows {allowed}")]
    PathLength {
        /// How many there are.
        below: usize,
        /// How many there may be.
        allowed: u32,
    },
    /// A critical extension that nobody here understands.
    #[error("critical extension {oid} is not understood")]
    CriticalExtension {
        /// Which.
        oid: String,
    },
    /// The path ends at a root that is not pinned.
    #[error("the path ends at root {}, which is not the vendor's", fingerprint.short())]
    UntrustedRoot {
        /// SHA-256 of the root's certificate.
        fingerprint: Digest,
    },
    /// The path is empty or longer than any vendor's.
    #[error("a path of {got} certificates, from 2 to {MAX_CHAIN} are read")]
    Length {
        /// How many.
        got: usize,
    },
}

impl PathError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self.problem {
            PathProblem::Malformed(_) | PathProblem::Length { .. } => Fault::Malformed,
            PathProblem::NoIssuer { .. } => Fault::Missing,
            PathProblem::NotYetValid { .. } | PathProblem::Expired { .. } => Fault::Expired,
            PathProblem::OtherIssuer { .. }
            | PathProblem::Signature { .. }
            | PathProblem::NotCa
            | PathProblem::KeyUse
            | PathProblem::PathLength { .. }
            | PathProblem::CriticalExtension { .. }
            | PathProblem::UntrustedRoot { .. } => Fault::NotGenuine,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self.problem {
            PathProblem::Malformed(_) => "certificate-malformed",
            PathProblem::NoIssuer { .. } => "certificate-issuer-missing",
            PathProblem::OtherIssuer { .. } => "certificate-other-issuer",
            PathProblem::Signature { .. } => "certificate-signature",
            PathProblem::NotYetValid { .. } => "certificate-not-yet-valid",
            PathProblem::Expired { .. } => "certificate-expired",
            PathProblem::NotCa => "certificate-issuer-not-ca",
            PathProblem::KeyUse => "certificate-key-usage",
            PathProblem::PathLength { .. } => "certificate-path-length",
            PathProblem::CriticalExtension { .. } => "certificate-critical-extension",
            PathProblem::UntrustedRoot { .. } => "certificate-untrusted-root",
            PathProblem::Length { .. } => "certificate-path-size",
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match &self.problem {
            PathProblem::NotYetValid { .. } => {
                Some("check this machine's clock, or the time given with `--at`".to_owned())
            }
            PathProblem::Expired { .. } => Some(
                "fetch the current one with `casemate endorsements fetch`; if this machine's clock is wrong, set it"
                    .to_owned(),
            ),
            PathProblem::NoIssuer { issuer } => {
                Some(format!("fetch it with `casemate endorsements fetch`, or give the certificate of `{issuer}`"))
            }
            PathProblem::UntrustedRoot { .. } => Some(
                "only the vendors' own roots are trusted, and they are compiled in; somebody else signed this"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    pub(crate) fn of(certificate: &Certificate, problem: PathProblem) -> Self {
        Self { certificate: certificate.subject().to_owned(), problem }
    }

    /// A certificate that cannot be read has no subject: `which` names it by its place.
    pub(crate) fn malformed(which: &str, error: super::CertificateError) -> Self {
        Self { certificate: which.to_owned(), problem: PathProblem::Malformed(error) }
    }
}

/// A path that leads to a pinned root, leaf first. Proof that every check of [`verify_path`] held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct VerifiedPath {
    certificates: Vec<Certificate>,
    until: UnixTime,
}

impl VerifiedPath {
    /// The certificates, leaf first, root last.
    pub(crate) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The leaf.
    pub(crate) fn leaf(&self) -> Option<&Certificate> {
        self.certificates.first()
    }

    /// When the first of its certificates expires.
    pub(crate) fn until(&self) -> UnixTime {
        self.until
    }

    /// Each certificate but the root with its issuer.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Certificate, &Certificate)> {
        self.certificates.iter().zip(self.certificates.iter().skip(1))
    }
}

/// Finds a path from `leaf` to a self-issued certificate among `pool`. Only names and signatures are looked at: what
/// comes out still has to pass [`verify_path`].
///
/// `pool` may hold anything. Each step looks for an issuer whose key made the signature, so that a certificate with a
/// forged name in the pool cannot hide the true one.
pub(crate) fn build_path<'a>(
    leaf: &'a Certificate,
    pool: impl Iterator<Item = &'a Certificate> + Clone,
) -> Result<Vec<Certificate>, PathError> {
    let mut path = vec![leaf.clone()];
    let mut current = leaf;
    while !current.is_self_issued() {
        if path.len() == MAX_CHAIN {
            return Err(PathError::of(leaf, PathProblem::Length { got: path.len().saturating_add(1) }));
        }
        let mut named = false;
        let issuer = pool.clone().filter(|issuer| current.names_issuer(issuer)).find(|issuer| {
            named = true;
            current.is_signed_by(issuer)
        });
        let Some(issuer) = issuer else {
            let issuer = current.issuer().to_owned();
            let problem = if named { PathProblem::Signature { issuer } } else { PathProblem::NoIssuer { issuer } };
            return Err(PathError::of(current, problem));
        };
        path.push(issuer.clone());
        current = issuer;
    }
    Ok(path)
}

/// Verifies a path, leaf first and root last: names, key identifiers, validity at `now`, rights, critical extensions,
/// signatures, and that the root is one of `roots` (SHA-256 of its certificate).
///
/// `understood` are the vendor's own extensions, which its certificates may call critical because the caller reads them.
/// Revocation is not looked at here.
pub(crate) fn verify_path(
    path: Vec<Certificate>,
    roots: &[Digest],
    understood: &[&str],
    now: UnixTime,
    cache: &Cache,
) -> Result<VerifiedPath, PathError> {
    let (Some(leaf), Some(root)) = (path.first(), path.last()) else {
        return Err(PathError { certificate: "(none)".to_owned(), problem: PathProblem::Length { got: 0 } });
    };
    if path.len() < 2 || path.len() > MAX_CHAIN {
        return Err(PathError::of(leaf, PathProblem::Length { got: path.len() }));
    }
    for (below, (certificate, issuer)) in path.iter().zip(path.iter().skip(1)).enumerate() {
        if !certificate.names_issuer(issuer) {
            let problem =
                PathProblem::OtherIssuer { issuer: certificate.issuer().to_owned(), next: issuer.subject().to_owned() };
            return Err(PathError::of(certificate, problem));
        }
        check_authority(issuer, below)?;
    }
    let fingerprint = root.fingerprint();
    if !root.is_self_issued() {
        return Err(PathError::of(root, PathProblem::NoIssuer { issuer: root.issuer().to_owned() }));
    }
    for certificate in &path {
        check_alone(certificate, understood, now)?;
    }
    let mut fields: Vec<&[u8]> = vec![b"path"];
    fields.extend(path.iter().map(Certificate::der));
    let digest = Digest::of_fields(&fields);
    let until = path.iter().map(Certificate::not_after).min().unwrap_or_default();
    let known = cache.holds(&digest, now);
    if !known {
        for (certificate, issuer) in path.iter().zip(path.iter().skip(1)).chain([(root, root)]) {
            if !certificate.is_signed_by(issuer) {
                return Err(PathError::of(certificate, PathProblem::Signature { issuer: issuer.subject().to_owned() }));
            }
        }
    }
    if !roots.contains(&fingerprint) {
        return Err(PathError::of(root, PathProblem::UntrustedRoot { fingerprint }));
    }
    // Only a path to a believed root is worth a place in the memory: anybody can make others.
    if !known {
        cache.remember(digest, now, until);
    }
    Ok(VerifiedPath { certificates: path, until })
}

fn check_authority(issuer: &Certificate, below: usize) -> Result<(), PathError> {
    if !issuer.is_ca {
        return Err(PathError::of(issuer, PathProblem::NotCa));
    }
    if issuer.usage.is_some_and(|usage| !usage.certificates) {
        return Err(PathError::of(issuer, PathProblem::KeyUse));
    }
    match issuer.path_length {
        Some(allowed) if usize::try_from(allowed).is_ok_and(|allowed| below > allowed) => {
            Err(PathError::of(issuer, PathProblem::PathLength { below, allowed }))
        }
        _ => Ok(()),
    }
}

fn check_alone(certificate: &Certificate, understood: &[&str], now: UnixTime) -> Result<(), PathError> {
    if now < certificate.not_before {
        let problem = PathProblem::NotYetValid { not_before: certificate.not_before, now };
        return Err(PathError::of(certificate, problem));
    }
    if now > certificate.not_after {
        return Err(PathError::of(certificate, PathProblem::Expired { not_after: certificate.not_after, now }));
    }
    let unknown = certificate.critical_extensions().find(|oid| !UNDERSTOOD.contains(oid) && !understood.contains(oid));
    match unknown {
        Some(oid) => Err(PathError::of(certificate, PathProblem::CriticalExtension { oid: oid.to_owned() })),
        None => Ok(()),
    }
}
