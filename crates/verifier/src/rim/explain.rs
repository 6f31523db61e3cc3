//! A RIM for people: what it says, who signed it, what OCSP says of the signer.

use super::error::RimError;
use super::signature::Envelope;
use super::swid::Contents;
use super::{Signer, signature, signer, swid, verify, xml};
use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::endorsements::Endorsements;
use crate::explain::{Explanation, Problem, Section, Verdict};
use crate::ocsp::Standing;
use crate::time::UnixTime;
use crate::value::Value;
use crate::x509::Certificate;

/// Explains a document that should be a RIM, as far as it can be read.
pub fn explain(document: &[u8], anchors: &TrustAnchors, endorsements: &Endorsements, now: UnixTime) -> Explanation {
    let cache = Cache::default();
    let context = Context { anchors, endorsements, now, cache: &cache };
    let mut sections = Vec::new();
    let subject = match read(document) {
        Ok((envelope, contents)) => {
            let subject = format!("RIM of {} {}", contents.product, contents.version);
            let path = signer::order(&envelope);
            sections.push(manifest(&contents, path.as_deref().unwrap_or_default()));
            sections.push(signature_section(&envelope, &path, &context));
            sections.extend(path.ok().map(|path| standing(&path, &context)));
            // The sections are made step by step; the verdict is that of the one function that verifies.
            if let Some(error) = super::alone(document).and_then(|document| verify(&document, &context)).err()
                && sections.iter().all(|section| section.problems.is_empty())
            {
                sections.push(refused(Section::note("rim"), &error));
            }
            subject
        }
        Err(error) => {
            sections.push(refused(Section::note("rim"), &error));
            "RIM".to_owned()
        }
    };
    Explanation::new(subject, sections)
}

fn read(document: &[u8]) -> Result<(Envelope, Contents), RimError> {
    let text = xml::text(document)?;
    let envelope = signature::open(&xml::parse(&text)?)?;
    let contents = swid::read(&envelope.content)?;
    Ok((envelope, contents))
}

fn manifest(contents: &Contents, path: &[Certificate]) -> Section {
    let active = contents.measurements.iter().filter(|golden| golden.active);
    let several = active.clone().filter(|golden| golden.digests.len() > 1).count();
    let count = |count: usize| Value::Number(u64::try_from(count).unwrap_or(u64::MAX));
    let mut section = Section::note("rim")
        .claim("device", Value::peer_text(&contents.edition))
        .claim("product", Value::peer_text(&contents.product))
        .claim("version", Value::peer_text(&contents.version))
        .claim("manufacturer", Value::peer_text(&contents.manufacturer))
        .claim("tag id", Value::peer_text(&contents.id))
        .claim("measurements", count(contents.measurements.len()))
        .claim("active", count(active.clone().count()))
        .claim("inactive", count(contents.measurements.len().saturating_sub(active.count())))
        .claim("active with several digests", count(several));
    // That the digest of the contents is the one in the signature was checked by whoever took them apart; that the
    // signature is good is the next section's matter.
    section.endorsed_by = path.first().map(|leaf| leaf.subject().to_owned());
    section
}

fn signature_section(envelope: &Envelope, path: &Result<Vec<Certificate>, RimError>, context: &Context<'_>) -> Section {
    let path = match path {
        Ok(path) => path,
        Err(error) => return refused(Section::note("signature"), error),
    };
    let mut section = Section::note("signature");
    if let Some(signer) = path.first().map(Signer::of) {
        section = section
            .claim("signer", Value::peer_text(&signer.subject))
            .claim("certificate", signer.certificate)
            .claim("key", signer.key)
            .claim("valid from", signer.not_before)
            .claim("valid until", signer.not_after);
    }
    section.endorsed_by = path.last().map(|root| root.subject().to_owned());
    let outcome = signer::genuine(envelope, path, context.anchors, context.now, context.cache)
        .and_then(|()| signer::timely(path.clone(), context));
    match outcome {
        Ok(path) => {
            section.verdict = Verdict::Verified;
            section.claim("all certificates valid until", path.until())
        }
        Err(error) => refused(section, &error),
    }
}

fn standing(path: &[Certificate], context: &Context<'_>) -> Section {
    let section = Section::note("revocation");
    match signer::standing(path, context) {
        Err(error) => refused(section, &error),
        Ok(found) => {
            let verified = found.iter().all(|(_, standing)| matches!(standing, Standing::Good { .. }));
            let mut section = found.iter().fold(section, |section, (certificate, standing)| {
                let value = match standing {
                    Standing::Good { until } => format!("good, said until {until}"),
                    Standing::NotGiven => "no OCSP response given".to_owned(),
                };
                section.claim(Value::peer_text(certificate).to_string(), value)
            });
            if verified {
                section.verdict = Verdict::Verified;
            }
            section
        }
    }
}

fn refused(mut section: Section, error: &RimError) -> Section {
    section.verdict = if error.fault().is_refusal() { Verdict::Refused } else { Verdict::Unknown };
    section.problems.push(Problem { code: error.code(), message: error.chain(), hint: error.hint() });
    section
}
