//! What a document says of its own time. Unverified: it decides when to ask again, and what of two is the newer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use verifier::UnixTime;
use verifier::endorsements::EndorsementKind;
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer as _, X509Certificate};

use crate::der;

/// When a document was issued, and until when it is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dates {
    pub(crate) issued_at: Option<UnixTime>,
    pub(crate) next_update: Option<UnixTime>,
}

impl Dates {
    /// Of several documents that are only good together: good until the first is not.
    pub(crate) fn together(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            issued_at: sum.issued_at.max(one.issued_at),
            next_update: match (sum.next_update, one.next_update) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        })
    }
}

/// The dates in a document, where it has some that can be read.
pub(crate) fn dates(kind: EndorsementKind, bytes: &[u8]) -> Dates {
    match kind {
        EndorsementKind::Certificate => certificate(bytes),
        EndorsementKind::Crl => crl(bytes),
        EndorsementKind::TcbInfo => intel(bytes, "tcbInfo"),
        EndorsementKind::QeIdentity => intel(bytes, "enclaveIdentity"),
        EndorsementKind::Rim => rim(bytes),
        EndorsementKind::OcspResponse => ocsp(bytes),
    }
}

/// The number of Intel's evaluation in TCB info or a QE identity.
pub(crate) fn evaluation(kind: EndorsementKind, bytes: &[u8]) -> Option<u64> {
    let member = match kind {
        EndorsementKind::TcbInfo => "tcbInfo",
        EndorsementKind::QeIdentity => "enclaveIdentity",
        _ => return None,
    };
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    document.get(member)?.get("tcbEvaluationDataNumber")?.as_u64()
}

fn time(time: ASN1Time) -> Option<UnixTime> {
    u64::try_from(time.timestamp()).ok().map(UnixTime)
}

fn certificate(der: &[u8]) -> Dates {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Dates::default() };
    let validity = certificate.validity();
    Dates { issued_at: time(validity.not_before), next_update: time(validity.not_after) }
}

fn crl(der: &[u8]) -> Dates {
    let Ok((_, crl)) = CertificateRevocationList::from_der(der) else { return Dates::default() };
    Dates { issued_at: time(crl.last_update()), next_update: crl.next_update().and_then(time) }
}

fn intel(json: &[u8], member: &str) -> Dates {
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(json) else { return Dates::default() };
    let date = |field: &str| document.get(member)?.get(field)?.as_str()?.parse().ok();
    Dates { issued_at: date("issueDate"), next_update: date("nextUpdate") }
}

/// A RIM has no date of its own; it is good as long as the certificates of its signer, which are inside.
fn rim(xml: &[u8]) -> Dates {
    /// LIMIT: certificates in one RIM; NVIDIA's have four.
    const CERTIFICATES: usize = 8;
    let text = String::from_utf8_lossy(xml);
    let bodies = text.split("X509Certificate>").skip(1).step_by(2).take(CERTIFICATES);
    let mut all = Dates::together(bodies.filter_map(|body| {
        let base64: String = body.split('<').next()?.split_ascii_whitespace().collect();
        Some(certificate(&STANDARD.decode(base64).ok()?))
    }));
    // When the signer's certificate was issued is not when the RIM was.
    all.issued_at = None;
    all
}

fn ocsp(der: &[u8]) -> Dates {
    let Some((this_update, next_update)) = der::ocsp_dates(der) else { return Dates::default() };
    Dates { issued_at: generalized(this_update), next_update: next_update.and_then(generalized) }
}

/// GeneralizedTime as RFC 5280 has it: YYYYMMDDHHMMSSZ.
fn generalized(text: &[u8]) -> Option<UnixTime> {
    let text =
        std::str::from_utf8(text).ok().filter(|text| text.len() == 15 && text.is_ascii() && text.ends_with('Z'))?;
    let part = |from: usize, to: usize| &text[from..to];
    let (date, time) = ([part(0, 4), part(4, 6), part(6, 8)], [part(8, 10), part(10, 12), part(12, 14)]);
    format!("{}T{}Z", date.join("-"), time.join(":")).parse().ok()
}

#[cfg(test)]
mod tests;
