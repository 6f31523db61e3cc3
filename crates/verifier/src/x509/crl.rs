//! Certificate revocation lists (RFC 5280, section 5): complete lists by the issuer itself, and nothing fancier.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::Digest;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, ReasonCode};

use super::{Certificate, SignatureAlgorithm};
use crate::context::Cache;
use crate::endorsements::Documents;
use crate::error::{Fault, VerifyError};
use crate::layer::Outcome;
use crate::time::UnixTime;
use crate::value::Value;

/// Why a revocation list does not clear a certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("certificate `{certificate}`: {problem}")]
pub struct CrlError {
    /// The subject's common name of the certificate in question.
    pub certificate: String,
    /// What stands in the way.
    pub problem: CrlProblem,
}

/// What stands in the way of a certificate's good standing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlProblem {
    /// There is no list by its issuer.
    #[error("no revocation list by `{issuer}` is at hand")]
    NotGiven {
        /// Its issuer's common name.
        issuer: String,
    },
    /// A list in the issuer's name cannot be read or is of a kind that is not read here.
    #[error("the revocation list by `{issuer}` cannot be used: {reason}")]
    Unusable {
        /// The issuer's common name.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// A list in the issuer's name that the issuer did not sign.
    #[error("the revocation list by `{issuer}` is not signed by it")]
    Signature {
        /// The issuer's common name.
        issuer: String,
    },
    /// The list is not of this time.
    #[error("the revocation list by `{issuer}` is from {this_update} to {next_update}, it is {now}")]
    Expired {
        /// The issuer's common name.
        issuer: String,
        /// From when it holds.
        this_update: UnixTime,
        /// Until when it held.
        next_update: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// Revoked.
    #[error("revoked by `{issuer}` since {since}")]
    Revoked {
        /// The issuer's common name.
        issuer: String,
        /// Since when.
        since: UnixTime,
    },
}

impl CrlError {
    /// Whose fault it is. A list that cannot be used is as good as none: "could not tell".
    pub fn fault(&self) -> Fault {
        match self.problem {
            CrlProblem::NotGiven { .. } | CrlProblem::Unusable { .. } | CrlProblem::Signature { .. } => Fault::Missing,
            CrlProblem::Expired { .. } => Fault::Expired,
            CrlProblem::Revoked { .. } => Fault::Revoked,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self.problem {
            CrlProblem::NotGiven { .. } => "crl-missing",
            CrlProblem::Unusable { .. } => "crl-unusable",
            CrlProblem::Signature { .. } => "crl-signature",
            CrlProblem::Expired { .. } => "crl-expired",
            CrlProblem::Revoked { .. } => "certificate-revoked",
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self.problem {
            CrlProblem::Revoked { .. } => {
                Some("the vendor has withdrawn this key: do not trust the machine".to_owned())
            }
            _ => Some("fetch the current list with `casemate endorsements fetch`".to_owned()),
        }
    }
}

/// A list that its issuer signed, read once and then remembered.
struct List {
    this_update: UnixTime,
    /// A list that does not say until when it holds still revokes.
    next_update: Option<UnixTime>,
    /// By serial number without leading zero bytes.
    revoked: HashMap<Vec<u8>, Entry>,
}

/// What a list says of a number that stands in it.
#[derive(Clone, Copy)]
struct Entry {
    since: UnixTime,
    /// Reason certificateHold: the only one that a later list may take back (RFC 5280, section 5.3.1).
    hold: bool,
}

/// LIMIT: what stands before the issuer's name in a list (RFC 5280, section 5.1): two sequences, version and signature
/// algorithm. RSA-PSS with all its parameters makes that 85 bytes.
const BEFORE_ISSUER: usize = 512;

/// Checks the standing of `certificate` with the lists of its `issuer` among `lists`.
///
/// A number that stands in any list that the issuer signed is revoked, whatever other lists say and however old it is:
/// AMD serves two lists for each root, and revocation is for good. Only a hold is lifted, by a later list without it. That
/// the certificate is in good standing is for a list of this time to say. Lists in the issuer's name that it did not sign
/// or that cannot be used are passed over, so that nobody who adds a document can turn "revoked" into anything else, or
/// "good" into "could not tell".
pub(crate) fn standing(
    certificate: &Certificate,
    issuer: &Certificate,
    lists: &Documents,
    now: UnixTime,
    cache: &Cache,
) -> Result<(), CrlError> {
    let name = || issuer.subject().to_owned();
    let refuse = |problem| Err(CrlError { certificate: certificate.subject().to_owned(), problem });
    let (issuer_digest, certificate_digest) = (issuer.fingerprint(), certificate.fingerprint());
    // What the very same lists said of the very same certificate stays said while the list that cleared it holds.
    let cleared =
        Digest::of_fields(&[b"cleared", issuer_digest.as_bytes(), certificate_digest.as_bytes(), lists.digest_bytes()]);
    if cache.holds(&cleared, now) {
        return Ok(());
    }
    let mut genuine: Vec<Arc<List>> = Vec::new();
    let mut unusable: Option<CrlProblem> = None;
    for document in lists.iter().filter(|document| may_be_of(issuer, document.bytes())) {
        // Each list is remembered on its own: one more beside it does not make the others be read again.
        let key = Digest::of_fields(&[b"crl", issuer_digest.as_bytes(), document.digest_bytes()]);
        if let Some(list) = cache.get::<List>(&key, now) {
            genuine.push(list);
            continue;
        }
        match read(issuer, document.bytes()).map(|list| list.map(Arc::new)) {
            Ok(None) => {}
            Ok(Some(list)) => {
                // Who signed a list, and what it says, is no matter of time.
                cache.keep(key, UnixTime(0), UnixTime(u64::MAX), &list);
                genuine.push(list);
            }
            Err(problem) => unusable = Some(problem),
        }
    }
    let serial = number(certificate.serial());
    for list in &genuine {
        let Some(Entry { since, hold }) = list.revoked.get(serial).copied() else { continue };
        let is_lifted_by =
            |later: &Arc<List>| later.this_update > list.this_update && !later.revoked.contains_key(serial);
        if !(hold && genuine.iter().any(is_lifted_by)) {
            return refuse(CrlProblem::Revoked { issuer: name(), since });
        }
    }
    let mut expired: Option<(UnixTime, UnixTime)> = None;
    for list in &genuine {
        match list.next_update {
            Some(next_update) if (list.this_update..=next_update).contains(&now) => {
                cache.remember(cleared, list.this_update, next_update);
                return Ok(());
            }
            Some(next_update) => expired = expired.max(Some((list.this_update, next_update))),
            None => {
                let reason = "it does not say until when it holds".to_owned();
                unusable = Some(CrlProblem::Unusable { issuer: name(), reason });
            }
        }
    }
    refuse(match expired {
        Some((this_update, next_update)) => CrlProblem::Expired { issuer: name(), this_update, next_update, now },
        None => unusable.unwrap_or_else(|| CrlProblem::NotGiven { issuer: name() }),
    })
}

/// Whether the issuer's name stands where a list has it, so that other issuers' lists need not be read.
fn may_be_of(issuer: &Certificate, der: &[u8]) -> bool {
    let name = issuer.subject_der();
    let head = der.get(..BEFORE_ISSUER.saturating_add(name.len())).unwrap_or(der);
    !name.is_empty() && head.windows(name.len()).any(|window| window == name)
}

/// Reads one list: `None` when it is another issuer's.
fn read(issuer: &Certificate, der: &[u8]) -> Result<Option<List>, CrlProblem> {
    let name = || issuer.subject().to_owned();
    let unusable = |reason: &str| CrlProblem::Unusable { issuer: name(), reason: reason.to_owned() };
    // A document that is no list at all says nothing about this issuer.
    let Ok((rest, list)) = CertificateRevocationList::from_der(der) else { return Ok(None) };
    if list.issuer().as_raw() != issuer.subject_der() {
        return Ok(None);
    }
    if !rest.is_empty() {
        return Err(unusable("bytes follow it"));
    }
    if issuer.usage.is_some_and(|usage| !usage.crls) {
        return Err(unusable("its issuer's key may not sign lists"));
    }
    if list.tbs_cert_list.signature != list.signature_algorithm {
        return Err(unusable("it names two different signature algorithms"));
    }
    let algorithm =
        SignatureAlgorithm::parse(&list.signature_algorithm).map_err(|error| unusable(&error.to_string()))?;
    if !issuer.key().verify(algorithm, list.tbs_cert_list.as_ref(), &list.signature_value.data) {
        return Err(CrlProblem::Signature { issuer: name() });
    }
    // From here on the issuer is speaking. Partial and indirect lists call their scope critical, and are not read.
    if let Some(critical) = list.extensions().iter().find(|extension| extension.critical) {
        return Err(unusable(&format!("critical extension {} is not understood", critical.oid.to_id_string())));
    }
    let this_update = UnixTime::from_signed(list.last_update().timestamp());
    let next_update = list.next_update().map(|time| UnixTime::from_signed(time.timestamp()));
    let mut revoked = HashMap::new();
    for entry in list.iter_revoked_certificates() {
        if let Some(critical) = entry.extensions().iter().find(|extension| extension.critical) {
            return Err(unusable(&format!("critical extension {} is not understood", critical.oid.to_id_string())));
        }
        // RFC 5280 5.3.1: removeFromCRL is of delta lists only, and those are refused above.
        let hold = entry.reason_code().is_some_and(|(_, reason)| reason == ReasonCode::CertificateHold);
        let since = UnixTime::from_signed(entry.revocation_date.timestamp());
        let found = Entry { since, hold };
        // A number that stands twice is on hold only if both entries say so.
        let kept: &mut Entry = revoked.entry(number(entry.raw_serial()).to_vec()).or_insert(found);
        if !hold {
            *kept = found;
        }
    }
    Ok(Some(List { this_update, next_update, revoked }))
}

/// Serial numbers are integers: leading zero bytes do not make another one.
fn number(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    serial.get(zeros..).unwrap_or_default()
}

/// What a list says of itself, and whether the issuer that it names, if it is among `pool`, signed it and it is of this
/// time: for whoever looks at a file.
pub(crate) fn describe<'a>(
    der: &[u8],
    pool: impl Iterator<Item = &'a Certificate>,
    now: UnixTime,
) -> (Vec<(&'static str, Value)>, Outcome) {
    let fails = |issuer: &str, problem| {
        Outcome::Fails(VerifyError::Crl(CrlError { certificate: Value::peer_text(issuer).to_string(), problem }))
    };
    let Ok((rest, list)) = CertificateRevocationList::from_der(der) else {
        let reason = "it is no revocation list".to_owned();
        return (Vec::new(), fails("(none)", CrlProblem::Unusable { issuer: "(none)".to_owned(), reason }));
    };
    let issuer = super::common_name(list.issuer());
    let this_update = UnixTime::from_signed(list.last_update().timestamp());
    let next_update = list.next_update().map(|time| UnixTime::from_signed(time.timestamp()));
    let revoked = u64::try_from(list.iter_revoked_certificates().count()).unwrap_or(u64::MAX);
    let facts = vec![
        ("issuer", Value::peer_text(&issuer)),
        ("from", this_update.into()),
        ("next update", next_update.into()),
        ("revoked certificates", revoked.into()),
    ];
    let signed = |candidate: &&Certificate| {
        candidate.subject_der() == list.issuer().as_raw()
            && SignatureAlgorithm::parse(&list.signature_algorithm).is_ok_and(|algorithm| {
                candidate.key().verify(algorithm, list.tbs_cert_list.as_ref(), &list.signature_value.data)
            })
    };
    let outcome = match next_update {
        _ if !rest.is_empty() => {
            fails(&issuer, CrlProblem::Unusable { issuer: issuer.clone(), reason: "bytes follow it".to_owned() })
        }
        Some(next_update) if !(this_update..=next_update).contains(&now) => {
            fails(&issuer, CrlProblem::Expired { issuer: issuer.clone(), this_update, next_update, now })
        }
        _ if pool.into_iter().any(|candidate| signed(&candidate)) => Outcome::Holds,
        _ => fails(&issuer, CrlProblem::Signature { issuer: issuer.clone() }),
    };
    (facts, outcome)
}

#[cfg(test)]
mod tests;
