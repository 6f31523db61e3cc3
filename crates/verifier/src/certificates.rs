//! Certificates and revocation lists of vendors by themselves, explained.

use protocol::Digest;

use crate::context::Context;
use crate::explain::{Explanation, Section, Verdict};
use crate::layer::Outcome;
use crate::value::Value;
use crate::x509::{self, Certificate, MAX_CHAIN, PathError, build_path, standing, verify_path};

/// Extensions of NVIDIA's that its certificates may call critical; AMD's are in its own module.
const NVIDIA: [&str; 2] = ["2.23.133.5.4.1", "2.23.133.5.4.1.1"];

/// Explains certificates: what each says, and whether the first leads to a vendor's root through the others and through
/// what is compiled in.
pub(crate) fn explain_chain(ders: &[Vec<u8>], context: &Context<'_>) -> Explanation {
    let mut sections = Vec::new();
    let mut certificates = Vec::new();
    for (index, der) in ders.iter().enumerate() {
        let place = format!("certificate {}", index.saturating_add(1));
        match Certificate::parse(der) {
            Ok(certificate) => {
                if index < MAX_CHAIN {
                    sections.push(describe(place, &certificate));
                }
                certificates.push(certificate);
            }
            Err(error) => {
                let error = PathError::malformed(&place, error);
                sections.push(Section::layer(place, &Outcome::Fails(error.into())));
            }
        }
    }
    let subject = match certificates.as_slice() {
        [one] => format!("certificate of {}", Value::peer_text(one.subject())),
        several => format!("{} certificates", several.len()),
    };
    if let Some(leaf) = certificates.first() {
        sections.extend(path(leaf, &certificates, context));
    }
    Explanation::new(subject, sections)
}

fn describe(title: String, certificate: &Certificate) -> Section {
    let mut section = Section::note(title)
        .claim("subject", Value::peer_text(certificate.subject()))
        .claim("issuer", Value::peer_text(certificate.issuer()))
        .claim("serial", Value::Bytes(certificate.serial().to_vec()))
        .claim("valid from", certificate.not_before())
        .claim("valid until", certificate.not_after())
        .claim("key", certificate.key().name())
        .claim("fingerprint", certificate.fingerprint());
    for (name, value) in crate::snp::key_facts(certificate) {
        section = section.claim(name, value);
    }
    section
}

fn path(leaf: &Certificate, presented: &[Certificate], context: &Context<'_>) -> Vec<Section> {
    let given: Vec<Certificate> = context
        .endorsements
        .certificates()
        .iter()
        .filter_map(|document| Certificate::parse(document.bytes()).ok())
        .collect();
    let pool = presented.iter().chain(&given).chain(context.anchors.certificates());
    let roots = context.anchors.all_roots();
    if leaf.is_self_issued() {
        // A root is trusted for being one, and for nothing that it says.
        let mut section = Section::note("root");
        section.verdict = if roots.contains(&leaf.fingerprint()) { Verdict::Verified } else { Verdict::Refused };
        if section.verdict == Verdict::Refused {
            let fingerprint = leaf.fingerprint();
            let error = PathError::of(leaf, x509::PathProblem::UntrustedRoot { fingerprint });
            section = Section::layer("root", &Outcome::Fails(error.into()));
        }
        return vec![section];
    }
    let understood: Vec<&str> = NVIDIA.into_iter().chain(crate::snp::UNDERSTOOD).collect();
    let verified =
        build_path(leaf, pool).and_then(|path| verify_path(path, &roots, &understood, context.now, context.cache));
    let mut chain = Section::layer("chain", &verified.as_ref().map(|_| ()).map_err(Clone::clone).into());
    let Ok(verified) = verified else { return vec![chain] };
    let names: Value =
        verified.certificates().iter().map(|certificate| Value::peer_text(certificate.subject())).collect();
    chain = chain.claim("certificates", names);
    let mut revocation = Section::note("revocation");
    for (certificate, issuer) in verified.pairs() {
        let outcome = standing(certificate, issuer, context.endorsements.crl_set(), context.now, context.cache);
        // AMD revokes authorities and no chip keys, and NVIDIA answers by OCSP: only lists that are at hand are held
        // against a certificate here.
        match &outcome {
            Err(error) if matches!(error.problem, x509::CrlProblem::NotGiven { .. }) => {}
            _ => revocation.add(&outcome.into()),
        }
    }
    let revocation = (revocation.verdict != Verdict::Note).then_some(revocation);
    [chain].into_iter().chain(revocation).collect()
}

/// Explains a revocation list: whose it is, from when to when it holds, and whether its issuer signed it.
pub(crate) fn explain_crl(der: &[u8], context: &Context<'_>) -> Explanation {
    let given: Vec<Certificate> = context
        .endorsements
        .certificates()
        .iter()
        .filter_map(|document| Certificate::parse(document.bytes()).ok())
        .collect();
    let pool = given.iter().chain(context.anchors.certificates());
    let (facts, outcome) = x509::describe_crl(der, pool, context.now);
    let mut section = Section::layer("list", &outcome);
    for (name, value) in facts {
        section = section.claim(name, value);
    }
    Explanation::new("revocation list", vec![section.claim("fingerprint", Digest::of(der))])
}
