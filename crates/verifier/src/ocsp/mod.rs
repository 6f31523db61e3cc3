//! OCSP responses (RFC 6960), where an Endorser gives them: what an authority says of one certificate, for a while.
//!
//! Responses are documents that were fetched some time before and kept. So none of them answers a question of ours, and a
//! nonce (RFC 8954), which would prove that a response was made after the question, proves nothing here: it is not
//! looked at. Freshness is what the response says of itself, `thisUpdate` to `nextUpdate`; one that does not say until
//! when it holds is not used. Who withholds a response can keep a revocation secret for as long as the last good one
//! holds, and from a reader who does not insist on a response, for ever: so [`Standing`] tells "good" from "not given",
//! and the caller decides.
//!
//! A response is by the issuer of the certificate itself, or by somebody whom that very issuer certified for answering in
//! its name (`id-kp-OCSPSigning`). Whoever else signed it, it is passed over as a revocation list by a stranger would be.

mod response;
#[cfg(test)]
mod tests;

use std::fmt;

use protocol::Digest;

pub(crate) use response::looks_like;

use self::response::{Answer, Response, Status};
use crate::context::Cache;
use crate::endorsements::Documents;
use crate::error::Fault;
use crate::explain::Section;
use crate::time::UnixTime;
use crate::x509::{Certificate, OCSP_SIGNING};

/// The standing of a certificate that is not known to be bad.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its issuer says that it is good.
    Good {
        /// Until when that is said.
        until: UnixTime,
    },
    /// There is no response about it.
    NotGiven,
}

impl Standing {
    /// Until when the standing is known, if it is.
    pub fn until(&self) -> Option<UnixTime> {
        match self {
            Self::Good { until } => Some(*until),
            Self::NotGiven => None,
        }
    }
}

/// Why OCSP does not clear a certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("certificate `{certificate}`: {problem}")]
pub struct OcspError {
    /// The subject's common name of the certificate in question.
    pub certificate: String,
    /// What stands in the way.
    pub problem: OcspProblem,
}

/// What stands in the way of a certificate's good standing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OcspProblem {
    /// Responses are there, and none can be used.
    #[error("the OCSP response about it cannot be used: {0}")]
    Unusable(#[from] Unusable),
    /// The response is not of this time.
    #[error("the OCSP response about it is from {this_update} to {next_update}, it is {now}")]
    Expired {
        /// From when it holds.
        this_update: UnixTime,
        /// Until when it held.
        next_update: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// Who answered in the issuer's name was not certified for that at this time.
    #[error("its OCSP responder `{responder}` holds from {not_before} to {not_after}, it is {now}")]
    ResponderExpired {
        /// The responder's common name.
        responder: String,
        /// From when its certificate holds.
        not_before: UnixTime,
        /// Until when it held.
        not_after: UnixTime,
        /// The time of the appraisal.
        now: UnixTime,
    },
    /// The responder does not know the certificate.
    #[error("its issuer's OCSP responder does not know it")]
    Unknown,
    /// Revoked.
    #[error("revoked by its issuer since {since} ({reason})")]
    Revoked {
        /// Since when.
        since: UnixTime,
        /// Why.
        reason: Reason,
    },
}

/// Why a response is not used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Not the DER of an OCSP response.
    #[error("its {what} cannot be read")]
    Malformed {
        /// Where reading stopped.
        what: &'static str,
    },
    /// More of something than any response has.
    #[error("it has {got} {what}, at most {limit} are read")]
    TooMuch {
        /// What is counted.
        what: &'static str,
        /// How many.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The responder gave no answer.
    #[error("it is no answer but the error {status}")]
    NotSuccessful {
        /// `OCSPResponseStatus` (RFC 6960, 4.2.1).
        status: u8,
    },
    /// Of another type than `id-pkix-ocsp-basic`.
    #[error("it is not a basic response")]
    NotBasic,
    /// Of another version.
    #[error("it is of a version that is not read")]
    Version,
    /// A critical extension that nobody here understands.
    #[error("critical extension {oid} is not understood")]
    CriticalExtension {
        /// Which.
        oid: String,
    },
    /// It does not say until when it holds.
    #[error("it does not say until when it holds")]
    NoNextUpdate,
    /// It says two things of one certificate.
    #[error("it says {count} things of one certificate")]
    Ambiguous {
        /// How many.
        count: usize,
    },
    /// It names a responder that is neither the issuer nor among the certificates that came along.
    #[error("its responder is neither the issuer nor presented")]
    NoResponder,
    /// Its responder was certified by somebody else.
    #[error("its responder `{responder}` was not certified by the certificate's issuer")]
    OtherResponder {
        /// The responder's common name.
        responder: String,
    },
    /// Its responder was certified for something else.
    #[error("its responder `{responder}` was not certified for OCSP")]
    NoPurpose {
        /// The responder's common name.
        responder: String,
    },
    /// Its responder's key did not make its signature.
    #[error("it is not signed by `{responder}`")]
    Signature {
        /// The responder's common name.
        responder: String,
    },
    /// An algorithm that is not accepted.
    #[error(transparent)]
    Algorithm(#[from] crate::x509::UnsupportedAlgorithm),
}

/// Why a certificate was revoked (CRLReason, RFC 5280, 5.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason(pub Option<u8>);

impl Reason {
    /// On hold: the one reason that can be taken back.
    const HOLD: Self = Self(Some(6));
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None | Some(0) => "no reason given",
            Some(1) => "its key was compromised",
            Some(2) => "its issuer's key was compromised",
            Some(3) => "its holder changed",
            Some(4) => "it was superseded",
            Some(5) => "its holder ceased operation",
            Some(6) => "on hold",
            Some(9) => "a privilege was withdrawn",
            Some(10) => "an authority's key was compromised",
            Some(_) => "another reason",
        })
    }
}

impl Unusable {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "ocsp-malformed",
            Self::TooMuch { .. } => "ocsp-too-much",
            Self::NotSuccessful { .. } => "ocsp-not-successful",
            Self::NotBasic => "ocsp-not-basic",
            Self::Version => "ocsp-version",
            Self::CriticalExtension { .. } => "ocsp-critical-extension",
            Self::NoNextUpdate => "ocsp-no-next-update",
            Self::Ambiguous { .. } => "ocsp-ambiguous",
            Self::NoResponder => "ocsp-no-responder",
            Self::OtherResponder { .. } => "ocsp-other-responder",
            Self::NoPurpose { .. } => "ocsp-responder-purpose",
            Self::Signature { .. } => "ocsp-signature",
            Self::Algorithm(_) => "ocsp-algorithm",
        }
    }
}

impl OcspError {
    /// Whose fault it is. A response that cannot be used is as good as none: "could not tell".
    pub fn fault(&self) -> Fault {
        match self.problem {
            OcspProblem::Unusable(_) | OcspProblem::Unknown => Fault::Missing,
            OcspProblem::Expired { .. } | OcspProblem::ResponderExpired { .. } => Fault::Expired,
            OcspProblem::Revoked { .. } => Fault::Revoked,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match &self.problem {
            OcspProblem::Unusable(unusable) => unusable.code(),
            OcspProblem::Expired { .. } => "ocsp-expired",
            OcspProblem::ResponderExpired { .. } => "ocsp-responder-expired",
            OcspProblem::Unknown => "ocsp-unknown",
            OcspProblem::Revoked { .. } => "certificate-revoked",
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self.problem {
            OcspProblem::Revoked { .. } => {
                Some("the vendor has withdrawn this key: do not trust what it signed".to_owned())
            }
            _ => Some("fetch the current response with `casemate endorsements fetch`".to_owned()),
        }
    }
}

/// Checks the standing of `certificate`, which `issuer` issued, with the responses about it among `responses`.
///
/// A response that is broken or about other certificates is passed over. One about this certificate by somebody whom the
/// issuer did not authorize is named, and only where there is no other, so that adding it turns no "revoked" and no
/// "good" into anything else. Among those that the issuer authorized the newest decides, but a revocation for good stays
/// one, also in a response that has run out.
pub(crate) fn check(
    responses: &Documents,
    certificate: &Certificate,
    issuer: &Certificate,
    now: UnixTime,
    cache: &Cache,
) -> Result<Standing, OcspError> {
    let error = |problem| Err(OcspError { certificate: certificate.subject().to_owned(), problem });
    let [about, by] = [certificate.fingerprint(), issuer.fingerprint()];
    let key =
        |said: &[u8]| Digest::of_fields(&[b"ocsp", said, about.as_bytes(), by.as_bytes(), responses.digest_bytes()]);
    let (good, nothing) = (key(b"good"), key(b"nothing"));
    if let Some(until) = cache.until(&good, now) {
        return Ok(Standing::Good { until });
    }
    if cache.holds(&nothing, now) {
        return Ok(Standing::NotGiven);
    }

    let mut newest: Option<Spoken> = None;
    let mut unusable: Option<Unusable> = None;
    for document in responses.iter() {
        match read(document.bytes(), certificate, issuer) {
            Ok(None) => {}
            Ok(Some(spoken)) => {
                if let Status::Revoked { since, reason } = spoken.status
                    && reason != Reason::HOLD
                {
                    return error(OcspProblem::Revoked { since, reason });
                }
                if newest.as_ref().is_none_or(|newest| spoken.this_update > newest.this_update) {
                    newest = Some(spoken);
                }
            }
            Err(problem) => unusable = unusable.or(Some(problem)),
        }
    }
    let Some(spoken) = newest else {
        if let Some(problem) = unusable {
            return error(problem.into());
        }
        // Whether any of these responses is about the certificate is no matter of time.
        cache.remember(nothing, UnixTime(0), UnixTime(u64::MAX));
        return Ok(Standing::NotGiven);
    };
    if let Status::Revoked { since, reason } = spoken.status {
        return error(OcspProblem::Revoked { since, reason });
    }
    let Spoken { this_update, next_update, .. } = spoken;
    if !(this_update..=next_update).contains(&now) {
        return error(OcspProblem::Expired { this_update, next_update, now });
    }
    let (mut from, mut until) = (this_update, next_update);
    if let Some(Delegate { responder, not_before, not_after }) = spoken.delegate {
        if !(not_before..=not_after).contains(&now) {
            return error(OcspProblem::ResponderExpired { responder, not_before, not_after, now });
        }
        (from, until) = (from.max(not_before), until.min(not_after));
    }
    match spoken.status {
        Status::Good => {
            cache.remember(good, from, until);
            Ok(Standing::Good { until })
        }
        Status::Unknown | Status::Revoked { .. } => error(OcspProblem::Unknown),
    }
}

/// What the issuer, or somebody in its name, says of the certificate.
struct Spoken {
    status: Status,
    this_update: UnixTime,
    next_update: UnixTime,
    delegate: Option<Delegate>,
}

/// Who speaks in the issuer's name, and when they may.
struct Delegate {
    responder: String,
    not_before: UnixTime,
    not_after: UnixTime,
}

/// Reads one response: `None` when it is not about the certificate, or about nothing that can be read.
fn read(der: &[u8], certificate: &Certificate, issuer: &Certificate) -> Result<Option<Spoken>, Unusable> {
    let Ok(response) = Response::parse(der) else { return Ok(None) };
    let mut answers = response.answers.iter().filter(|answer| answer.is_about(certificate, issuer));
    let Some(answer) = answers.next() else { return Ok(None) };
    // RFC 6960 knows one answer for one question; with two, the first one and the last one would be two truths.
    match answers.count() {
        0 => {}
        more => return Err(Unusable::Ambiguous { count: more.saturating_add(1) }),
    }
    let delegate = authorize(&response, issuer)?;
    // From here on the issuer is speaking.
    if let Some(oid) = response.critical.as_ref().or(answer.critical.as_ref()) {
        return Err(Unusable::CriticalExtension { oid: oid.clone() });
    }
    let Answer { status, this_update, .. } = *answer;
    let next_update = match (answer.next_update, status) {
        (Some(next_update), _) => next_update,
        // A revocation holds without an end.
        (None, Status::Revoked { .. }) => this_update,
        (None, Status::Good | Status::Unknown) => return Err(Unusable::NoNextUpdate),
    };
    Ok(Some(Spoken { status, this_update, next_update, delegate }))
}

/// Verifies that a response is by `issuer` or by somebody whom it certified for that; says whom.
///
/// Whether a delegate's own certificate was revoked is not asked: nobody could answer but another delegate. That is what
/// its short life is for.
fn authorize(response: &Response<'_>, issuer: &Certificate) -> Result<Option<Delegate>, Unusable> {
    let signed_by =
        |responder: &Certificate| responder.key().verify(response.algorithm, response.signed, response.signature);
    let name = |responder: &Certificate| responder.subject().to_owned();
    if response.is_by(issuer) {
        return if signed_by(issuer) { Ok(None) } else { Err(Unusable::Signature { responder: name(issuer) }) };
    }
    let mut problem = Unusable::NoResponder;
    let presented = response.certificates.iter().filter_map(|der| Certificate::parse(der).ok());
    for responder in presented.filter(|responder| response.is_by(responder)) {
        let is_issued = responder.issuer_der() == issuer.subject_der() && responder.is_signed_by(issuer);
        problem = if !is_issued {
            Unusable::OtherResponder { responder: name(&responder) }
        } else if !responder.has_purpose(OCSP_SIGNING) {
            Unusable::NoPurpose { responder: name(&responder) }
        } else if let Some(oid) = response::critical_of(&responder) {
            Unusable::CriticalExtension { oid }
        } else if !signed_by(&responder) {
            Unusable::Signature { responder: name(&responder) }
        } else {
            let (not_before, not_after) = (responder.not_before(), responder.not_after());
            return Ok(Some(Delegate { responder: name(&responder), not_before, not_after }));
        };
    }
    Err(problem)
}

/// An OCSP response by itself: what it says, unverified. It is judged only together with the certificate that it is about.
pub(crate) fn explain(document: &[u8]) -> Section {
    let response = match Response::parse(document) {
        Ok(response) => response,
        Err(problem) => return Section::refusal_text("response", problem.code(), &problem.to_string()),
    };
    let section = Section::note("response").claim("responder", response.responder_shown());
    response.answers.iter().fold(section, |section, answer| {
        let until = answer.next_update.map_or_else(|| "without an end".to_owned(), |until| format!("to {until}"));
        let says = match answer.status {
            Status::Good => "good".to_owned(),
            Status::Unknown => "not known".to_owned(),
            Status::Revoked { since, reason } => format!("revoked since {since} ({reason})"),
        };
        let name = format!("serial number {}", answer.serial_shown());
        section.claim(name, format!("{says}; said from {} {until}", answer.this_update))
    })
}
