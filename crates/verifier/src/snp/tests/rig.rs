//! Anchors, Endorsements and a context for generated Evidence.

use protocol::reference::AmdProduct;
use protocol::reference::snp::SigningKey;
use protocol::{Digest, ReportData};
use testkit::snp::{Line, Report, ReportKey, lines};

use crate::anchors::{TrustAnchors, danger};
use crate::context::{Cache, Context};
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::layer::Outcome;
use crate::snp::examine::{Examination, examine};
use crate::time::UnixTime;

/// 2026-11-21T00:00:00Z.
pub(super) const NOW: UnixTime = UnixTime(1_795_219_200);
pub(super) const EXPECTED: ReportData = ReportData([0xd1; 64]);

pub(super) fn anchors() -> TrustAnchors {
    let lines = lines();
    let known: Vec<&[u8]> =
        lines.iter().flat_map(|line| [line.ark.as_slice(), line.ask.as_slice(), line.asvk.as_slice()]).collect();
    let other = Digest::of(b"nobody");
    danger::anchors(lines.map(|line| Digest::of(&line.ark)), other, other, other, &known)
}

/// The certificate and the list that a key needs.
pub(super) fn endorse(key: &ReportKey) -> Endorsements {
    with_crl(&key.certificate, &key.line.crl())
}

pub(super) fn with_crl(certificate: &[u8], crl: &[u8]) -> Endorsements {
    let mut endorsements = Endorsements::default();
    endorsements.add(EndorsementKind::Certificate, certificate).unwrap();
    endorsements.add(EndorsementKind::Crl, crl).unwrap();
    endorsements
}

pub(super) fn lists_only(line: &Line) -> Endorsements {
    let mut endorsements = Endorsements::default();
    endorsements.add(EndorsementKind::Crl, &line.crl()).unwrap();
    endorsements
}

/// Examines under the rig's anchors, at [`NOW`], with an empty memory.
pub(super) fn judge(body: &[u8], endorsements: &Endorsements) -> Examination {
    judge_at(body, endorsements, NOW)
}

pub(super) fn judge_at(body: &[u8], endorsements: &Endorsements, now: UnixTime) -> Examination {
    let (anchors, cache) = (anchors(), Cache::default());
    examine(body, Some(&EXPECTED), &Context { anchors: &anchors, endorsements, now, cache: &cache })
}

/// All layers in one line: `+` holds, a code where it fails, `needs …` where it was not judged.
pub(super) fn shown(examination: &Examination) -> String {
    let layers = examination.layers.list();
    let words = layers.map(|(name, outcome)| match outcome {
        Outcome::Holds => format!("{name} +"),
        Outcome::Fails(error) => format!("{name} {}{}", error.code(), if error.is_refusal() { "!" } else { "?" }),
        Outcome::Skipped { needs } => format!("{name} (needs {needs})"),
    });
    words.join(", ")
}

pub(super) const ALL_HOLD: &str = "format +, chain +, revocation +, chip_key +, signature +, binding +";

pub(super) fn milan() -> Report {
    Report::new(AmdProduct::Milan, 3, SigningKey::Vcek)
}
