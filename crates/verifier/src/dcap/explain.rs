//! Explanations of quotes: the sections that TDX and SGX share.

use super::report::EnclaveReport;
use super::{Layers, Level, Platform};
use crate::explain::Section;
use crate::value::Value;

/// What a quote is, for people.
pub(crate) fn subject(tee: &str, platform: &Platform) -> String {
    format!("{tee} quote, version {}", platform.header.version)
}

/// The section of the attested TEE: it holds as far as the attestation key vouches for it.
pub(crate) fn tee_section(title: &'static str, layers: &Layers) -> Section {
    let mut section = Section::layer(title, &layers.format);
    section.add(&layers.signature);
    section.by("the attestation key of the quoting enclave")
}

/// Everything about the platform.
pub(crate) fn platform_sections(platform: Option<&Platform>, layers: &Layers) -> Vec<Section> {
    let mut qe = Section::layer("quoting enclave", &layers.qe_report);
    qe.add(&layers.qe_identity);
    let mut pck = Section::layer("pck chain", &layers.pck_chain);
    let mut tcb = Section::layer("tcb", &layers.tcb);
    if let Some(platform) = platform {
        qe = enclave(qe, &platform.quoting_enclave).by("the PCK, and Intel's QE identity");
        pck = pck_claims(pck, platform);
        tcb = tcb_claims(tcb, platform).by("Intel SGX TCB Signing");
    }
    let revocation = Section::layer("revocation", &layers.revocation).by("Intel's revocation lists");
    vec![qe, pck, revocation, tcb, Section::layer("binding", &layers.binding)]
}

fn enclave(section: Section, report: &EnclaveReport) -> Section {
    section
        .claim("mrenclave", report.mrenclave)
        .claim("mrsigner", report.mrsigner)
        .claim("product_id", report.product_id)
        .claim("svn", report.svn)
        .claim("attributes", report.attributes)
}

fn pck_claims(section: Section, platform: &Platform) -> Section {
    let Some(pck) = &platform.pck else { return section };
    let authority = platform.authority.map_or("not Intel's", |authority| authority.name());
    let section = section
        .claim("platform_instance_id", pck.platform_instance_id)
        .claim("fmspc", pck.fmspc)
        .claim("pce_id", pck.pce_id)
        .claim("ppid", pck.ppid)
        .claim("components", Value::from(pck.components))
        .claim("pce_svn", pck.pce_svn)
        .claim("authority", authority);
    let flags = [
        ("dynamic_platform", pck.dynamic_platform),
        ("cached_keys", pck.cached_keys),
        ("smt_enabled", pck.smt_enabled),
    ];
    flags.into_iter().fold(section, |section, (name, flag)| section.claim(name, flag)).by("Intel SGX Root CA")
}

fn level(section: Section, prefix: &str, level: &Level) -> Section {
    let advisories: Value = level.advisories.iter().map(|advisory| Value::peer_text(advisory)).collect();
    section
        .claim(format!("{prefix}.status"), level.status.name())
        .claim(format!("{prefix}.date"), level.date)
        .claim(format!("{prefix}.advisories"), advisories)
}

fn tcb_claims(mut section: Section, platform: &Platform) -> Section {
    if let Some(tcb) = platform.combined_tcb() {
        section = section
            .claim("status", tcb.status.name())
            .claim("evaluation_data_number", tcb.evaluation_data_number)
            .claim("missed_since", tcb.missed_since);
    }
    if let Some(tcb) = &platform.tcb {
        section = level(section, "platform", &tcb.platform);
        if let Some(module) = &tcb.module {
            section = level(section, "module", module);
        }
        if let Some(current) = tcb.current {
            section = section.claim("current.status", current.name());
        }
        section = section.claim("tcb_info.next_update", tcb.next_update);
    }
    if let Some(qe) = &platform.qe_tcb {
        section = level(section, "quoting_enclave", &qe.level).claim("qe_identity.next_update", qe.next_update);
    }
    section
}
