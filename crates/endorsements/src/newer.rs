//! Which of two answers is the newer, and what of an earlier one is kept beside a later one.
//!
//! A service, or whoever stands in front of it, can repeat an old answer that is still within its dates. So the answer that
//! came last does not push out one that was issued later, nor one that revokes something: both are given out, and judging
//! decides. All of this rests on the unverified word of the documents: it can keep one too many, which judging passes over.

use verifier::UnixTime;
use verifier::endorsements::EndorsementKind;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::answer::Document;
use crate::cache::Stored;
use crate::dates::{Dates, dates, evaluation};
use crate::der;

/// LIMIT: answers kept beside the last one: one that was issued later, and a few that revoke, each by another issuer.
pub(crate) const MAX_KEPT: usize = 4;
/// How far a vendor's clock may be ahead of ours. A document from later than that would stay for ever if it counted.
const AHEAD: u64 = 24 * 3_600;

/// What makes one answer newer than another, the most important first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rank {
    /// It is not from the future.
    possible: bool,
    /// The number of Intel's evaluation, which goes before the date in judging too.
    evaluation: Option<u64>,
    issued_at: Option<UnixTime>,
    next_update: Option<UnixTime>,
}

/// The rank of one answer. A chain beside a document does not count: anybody can add a young certificate.
pub(crate) fn rank(documents: &[Document], now: UnixTime) -> Rank {
    let is_main = |document: &&Document| document.kind != EndorsementKind::Certificate;
    let only_certificates = !documents.iter().any(|document| is_main(&document));
    let main = || documents.iter().filter(|document| only_certificates || is_main(document));
    let Dates { issued_at, next_update } =
        Dates::together(main().map(|document| dates(document.kind, &document.bytes)));
    Rank {
        possible: issued_at.is_none_or(|time| time.0 <= now.0.saturating_add(AHEAD)),
        evaluation: main().filter_map(|document| evaluation(document.kind, &document.bytes)).max(),
        issued_at,
        next_update,
    }
}

/// What a document that revokes something revokes it in the name of: the issuer, as it writes itself.
fn revoker(document: &Document) -> Option<Vec<u8>> {
    let (issuer, revokes) = issuer(document)?;
    revokes.then_some(issuer)
}

/// Who issued a list or an OCSP response, by its own word, and whether it revokes anything.
fn issuer(document: &Document) -> Option<(Vec<u8>, bool)> {
    match document.kind {
        EndorsementKind::Crl => {
            let (_, list) = CertificateRevocationList::from_der(&document.bytes).ok()?;
            Some((list.issuer().as_raw().to_vec(), list.iter_revoked_certificates().next().is_some()))
        }
        EndorsementKind::OcspResponse => {
            der::ocsp_verdict(&document.bytes).map(|(responder, revoked)| (responder.to_vec(), revoked))
        }
        _ => None,
    }
}

/// Whether `later`, which ranks no lower, takes the place of `document` for whoever wants to know what is revoked. A list has
/// all that its issuer revoked. An OCSP response that says "good" takes no revocation back.
fn takes_the_place(later: &[Document], document: &Document) -> bool {
    let Some(revoker) = revoker(document) else { return true };
    later
        .iter()
        .filter(|later| later.kind == document.kind)
        .filter_map(issuer)
        .any(|(issuer, revokes)| issuer == revoker && (revokes || document.kind == EndorsementKind::Crl))
}

impl Stored {
    /// The last answer, and those that are kept beside it.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Vec<Document>> {
        std::iter::once(&self.documents).chain(&self.kept)
    }

    /// The rank of the newest of its answers.
    pub(crate) fn rank(&self, now: UnixTime) -> Option<Rank> {
        self.answers().map(|documents| rank(documents, now)).max()
    }

    /// The same, with what of `other` is to be kept beside it.
    #[must_use]
    pub(crate) fn beside(&self, other: Option<&Self>, now: UnixTime) -> Self {
        let own = rank(&self.documents, now);
        let others = other.into_iter().flat_map(Self::answers);
        let mut candidates: Vec<(Rank, &Vec<Document>)> =
            self.kept.iter().chain(others).map(|documents| (rank(documents, now), documents)).collect();
        candidates.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        let mut kept: Vec<(Rank, &Vec<Document>)> = Vec::new();
        for (rank, documents) in candidates {
            let same = *documents == self.documents || kept.iter().any(|(_, kept)| *kept == documents);
            if same || !rank.possible || kept.len() >= MAX_KEPT {
                continue;
            }
            // What has no date is not older than anything.
            let newest = kept.is_empty() && rank.issued_at.is_some() && rank > own;
            let replaced = |document: &Document| {
                (own >= rank && takes_the_place(&self.documents, document))
                    || kept.iter().any(|(_, later)| takes_the_place(later, document))
            };
            let revokes = documents.iter().any(|document| revoker(document).is_some() && !replaced(document));
            if newest || revokes {
                kept.push((rank, documents));
            }
        }
        Self { kept: kept.into_iter().map(|(_, documents)| documents.clone()).collect(), ..self.clone() }
    }

    /// When the newest answer was issued, if that is not the last one that came.
    pub(crate) fn newer(&self, now: UnixTime) -> Option<UnixTime> {
        let newest = self.kept.iter().map(|documents| rank(documents, now)).max()?;
        newest.issued_at.filter(|_| newest > rank(&self.documents, now))
    }

    /// Whether an answer from before the last one is kept for what it revokes.
    pub(crate) fn keeps_revocation(&self, now: UnixTime) -> bool {
        let own = rank(&self.documents, now);
        self.kept.iter().any(|documents| rank(documents, now) <= own)
    }
}
