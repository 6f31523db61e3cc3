//! Explanations of quotes: the sections that TDX and SGX share.

use super::collateral::{self, QeIdentity, Statement, TcbInfo};
use super::error::DcapError;
use super::report::EnclaveReport;
use super::{Layers, Level, Platform};
use crate::context::Context;
use crate::endorsements::{Document, EndorsementKind, Endorsements};
use crate::explain::Section;
use crate::layer::Outcome;
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
        if let Some(current) = &tcb.current {
            section = section.claim("current.status", current.status.name());
        }
        section = section.claim("tcb_info.next_update", tcb.next_update);
    }
    if let Some(qe) = &platform.qe_tcb {
        section = level(section, "quoting_enclave", &qe.level).claim("qe_identity.next_update", qe.next_update);
    }
    section
}

/// The sections of TCB info or a QE identity: what it says, and whether Intel signed it.
pub(crate) fn explain_document(bytes: &[u8], context: &Context<'_>) -> Vec<Section> {
    let mut set = Endorsements::default();
    // A document beyond the size that is read was refused where the file was read.
    let _ = set.add(EndorsementKind::TcbInfo, bytes);
    let Some(document) = set.tcb_infos().first() else { return Vec::new() };
    match collateral::read::<QeIdentity>(bytes) {
        Ok((identity, _)) => vec![judged::<QeIdentity>(document, context, |section| qe_identity(section, &identity))],
        Err(_) => vec![judged::<TcbInfo>(document, context, |section| match collateral::read::<TcbInfo>(bytes) {
            Ok((info, _)) => tcb_info(section, &info),
            Err(_) => section,
        })],
    }
}

fn judged<T: Statement>(
    document: &Document,
    context: &Context<'_>,
    claims: impl FnOnce(Section) -> Section,
) -> Section {
    let verified = collateral::verified::<T>(document, context);
    let outcome = verified.map(drop).map_err(|(_, problem)| DcapError::Collateral { document: T::NAME, problem });
    claims(Section::layer(T::NAME.to_lowercase(), &Outcome::from(outcome))).by("Intel SGX TCB Signing")
}

fn statement<T: Statement>(section: Section, statement: &T) -> Section {
    let (issue_date, next_update) = statement.validity();
    section
        .claim("tee", statement.tee().map_or("another", |tee| tee.name()))
        .claim("evaluation_data_number", statement.evaluation())
        .claim("issue_date", issue_date)
        .claim("next_update", next_update)
}

fn tcb_info(section: Section, info: &TcbInfo) -> Section {
    let mut section = statement(section, info).claim("fmspc", info.fmspc).claim("pce_id", info.pce_id);
    for (index, level) in info.tcb_levels.iter().enumerate() {
        let components: Vec<u8> = level.tcb.sgx.iter().map(|component| component.svn).collect();
        section = section
            .claim(format!("level[{index}].status"), level.tcb_status.name())
            .claim(format!("level[{index}].date"), level.tcb_date)
            .claim(format!("level[{index}].components"), Value::from(components.as_slice()))
            .claim(format!("level[{index}].pce_svn"), level.tcb.pce_svn);
    }
    info.tdx_module_identities.iter().fold(section, |section, module| {
        module.tcb_levels.iter().fold(section, |section, level| {
            let id = Value::peer_text(&module.id);
            section.claim(format!("module[{id}].svn[{}]", level.tcb.isvsvn), level.tcb_status.name())
        })
    })
}

fn qe_identity(section: Section, identity: &QeIdentity) -> Section {
    let section =
        statement(section, identity).claim("mrsigner", identity.mrsigner).claim("product_id", identity.isvprodid);
    identity
        .tcb_levels
        .iter()
        .fold(section, |section, level| section.claim(format!("svn[{}]", level.tcb.isvsvn), level.tcb_status.name()))
}
