//! An examination in the form in which it is shown.

use protocol::reference::TcbVersion;

use super::examine::Examination;
use super::report::{Claims, MASKED, Signer};
use super::tcb::show;
use crate::explain::Section;
use crate::value::Value;

/// The sections of an explanation, layer by layer.
pub(crate) fn explain(examination: &Examination) -> Vec<Section> {
    let Examination { claims, layers, endorsers } = examination;
    let Some(claims) = claims else {
        return vec![Section::layer("report", &layers.format)];
    };
    let mut sections = vec![report(claims, Section::layer("report", &layers.format))];
    let mut key = Section::layer("signing key", &layers.chip_key);
    key.add(&layers.signature);
    if let Some((_, authorities)) = endorsers.split_first()
        && !authorities.is_empty()
    {
        key = key.by(authorities.iter().map(|name| Value::peer_text(name).to_string()).collect::<Vec<_>>().join(" < "));
    }
    sections.push(signing_key(claims, key));
    let chain: Value = endorsers.iter().map(|name| Value::peer_text(name)).collect();
    sections.push(Section::layer("chain", &layers.chain).claim("certificates", chain));
    sections.push(Section::layer("revocation", &layers.revocation));
    sections.push(tcb(claims));
    sections.push(guest(claims));
    sections.push(platform(claims));
    sections.push(Section::layer("binding", &layers.binding).claim("report data", claims.report_data));
    sections
}

fn report(claims: &Claims, section: Section) -> Section {
    let vmpl: Value = if claims.vmpl == u32::MAX { "asked for by the host".into() } else { claims.vmpl.into() };
    section
        .claim("version", claims.version)
        .claim("measurement", claims.measurement)
        .claim("host data", claims.host_data)
        .claim("vmpl", vmpl)
        .claim("guest svn", claims.guest_svn)
        .claim("family id", claims.family_id)
        .claim("image id", claims.image_id)
        .claim("id key", given(claims.id_key_digest.0))
        .claim("author key", if claims.author_key_enabled { claims.author_key_digest.into() } else { Value::none() })
        .claim("report id", claims.report_id)
        .claim(
            "migration agent",
            if claims.report_id_ma.0 == [0xff; 32] { Value::none() } else { claims.report_id_ma.into() },
        )
}

/// A digest that is zero where there is none.
fn given<const N: usize>(digest: [u8; N]) -> Value {
    if digest == [0; N] { Value::none() } else { digest.into() }
}

fn signing_key(claims: &Claims, section: Section) -> Section {
    let kind = match claims.signer {
        Signer::Vcek => "VCEK, the chip's own",
        Signer::Vlek => "VLEK, the cloud provider's",
        Signer::None => "none",
    };
    let product: Value =
        claims.product.map_or_else(|| "not said by a report of this version".into(), |p| p.name().into());
    let mut section = section.claim("key", kind).claim("product", product);
    if let Some(processor) = claims.processor {
        let text =
            format!("family {:#x}, model {:#x}, stepping {}", processor.family, processor.model, processor.stepping);
        section = section.claim("processor", text);
    }
    let chip: Value = if claims.chip_id == MASKED { "masked".into() } else { claims.chip_id.into() };
    section = section.claim("chip id", chip);
    if let Some(endorsed) = &claims.endorsed {
        section = section.claim("product in the certificate", Value::peer_text(&endorsed.product_name));
        if let (true, Some(chip)) = (claims.chip_id == MASKED, endorsed.chip_id) {
            section = section.claim("chip id in the certificate", chip);
        }
        if let Some(csp) = &endorsed.csp_id {
            section = section.claim("provider", Value::peer_text(csp));
        }
    }
    section
}

fn tcb(claims: &Claims) -> Section {
    let text = |tcb: TcbVersion| Value::from(show(tcb));
    Section::note("tcb")
        .claim("reported", text(claims.reported_tcb))
        .claim("committed", text(claims.committed_tcb))
        .claim("launch", text(claims.launch_tcb))
        .claim("current", text(claims.current_tcb))
        .claim("current firmware", claims.current_version.to_string())
        .claim("committed firmware", claims.committed_version.to_string())
        .claim("mitigations at launch", vector(claims.launch_mitigations))
        .claim("mitigations now", vector(claims.current_mitigations))
}

fn vector(bits: Option<u64>) -> Value {
    bits.map_or_else(|| "not said by a report of this version".into(), |bits| format!("{bits:#x}").into())
}

fn guest(claims: &Claims) -> Section {
    let policy = claims.policy;
    Section::note("guest policy")
        .claim("abi", format!("{}.{}", policy.abi().major, policy.abi().minor))
        .claim("debug", policy.debug())
        .claim("smt", policy.smt())
        .claim("migration agent", policy.migration_agent())
        .claim("single socket", policy.single_socket())
        .claim("cxl", policy.cxl())
        .claim("aes-256-xts", policy.aes_256_xts())
        .claim("rapl disabled", policy.rapl_disabled())
        .claim("ciphertext hiding", policy.ciphertext_hiding())
        .claim("page swap disabled", policy.page_swap_disabled())
}

fn platform(claims: &Claims) -> Section {
    let info = claims.platform_info;
    Section::note("platform")
        .claim("smt", info.smt())
        .claim("tsme", info.tsme())
        .claim("ecc", info.ecc())
        .claim("rapl disabled", info.rapl_disabled())
        .claim("ciphertext hiding", info.ciphertext_hiding())
        .claim("alias check complete", info.alias_check_complete())
        .claim("tio", info.tio())
}
