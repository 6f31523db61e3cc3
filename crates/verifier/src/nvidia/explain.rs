//! Examinations of devices in the form in which they are shown.

use protocol::evidence::DeviceKind;
use protocol::reference::device::Nvdec0;

use super::claims::{Claims, FwidCheck, Report, RevocationCheck};
use super::examine::Examination;
use super::set::SetExamination;
use crate::explain::{Problem, Section, Verdict};
use crate::layer::Outcome;
use crate::value::Value;

/// The sections of an explanation: those of each device, and one for the set where there are several.
pub(crate) fn explain(set: &SetExamination) -> Vec<Section> {
    let mut sections = Vec::new();
    for (index, device) in set.devices.iter().enumerate() {
        let prefix = if set.devices.len() > 1 { format!("device {} ", index.saturating_add(1)) } else { String::new() };
        sections.extend(explain_one(device, &prefix));
    }
    if set.devices.len() > 1 {
        let devices: Value = set.devices.iter().map(Examination::label).collect();
        sections.push(Section::layer("device set", &set.distinct).claim("devices", devices));
    }
    sections
}

fn explain_one(examination: &Examination, prefix: &str) -> Vec<Section> {
    let Examination { claims, layers, endorsers, revocation_problem } = examination;
    let title = |name: &str| format!("{prefix}{name}");
    let chain: Value = endorsers.iter().map(|name| Value::peer_text(name)).collect();
    let chain = Section::layer(title("chain"), &layers.chain).claim("certificates", chain);
    let report = Section::layer(title("report"), &layers.format);
    let Some(claims) = claims else { return vec![report, chain] };

    let mut key = Section::layer(title("device key"), &layers.identity);
    key.add(&layers.signature);
    if let Some(issuer) = endorsers.get(1) {
        key = key.by(Value::peer_text(issuer).to_string());
    }
    let mut firmware = Section::layer(title("firmware"), &layers.measurements);
    if let Some(driver) = &layers.driver_rim {
        firmware.add(driver);
    }
    firmware.add(&layers.vbios_rim);
    let nonce = match &layers.nonce {
        // Nothing was given to compare with: that is a person's choice and no finding.
        Outcome::Skipped { .. } => Section::note(title("freshness")),
        outcome => Section::layer(title("freshness"), outcome),
    };
    vec![
        report_claims(&claims.report, report),
        identity_claims(claims, key),
        chain,
        revocation(claims, layers.ocsp.as_ref(), revocation_problem.as_ref(), title("revocation")),
        fwid(claims, layers.fwid.as_ref(), title("firmware id")),
        nonce.claim("nonce", claims.report.nonce),
        firmware_claims(claims, firmware),
    ]
}

fn report_claims(report: &Report, section: Section) -> Section {
    let text = |text: &Option<String>| text.as_deref().map_or_else(Value::none, Value::peer_text);
    let mut section = section.claim("device", report.kind.name());
    section = match report.kind {
        DeviceKind::Gpu => {
            let board = &report.board;
            section
                .claim("driver version", text(&report.driver_version))
                .claim("vbios version", Value::peer_text(&report.vbios_version))
                .claim("board id", board.board_id)
                .claim("project", Value::peer_text(&board.project))
                .claim("project sku", Value::peer_text(&board.project_sku))
                .claim("chip sku", Value::peer_text(&board.chip_sku))
                .claim("chip", text(&board.chip))
                .claim("mode", report.mode.name())
                .claim("protects pcie", report.protected_pcie)
                .claim("nvdec0", report.nvdec0.map(Nvdec0::name))
                .claim("linked switches", report.peers.iter().copied().collect::<Value>())
        }
        DeviceKind::Switch => section
            .claim("firmware version", Value::peer_text(&report.vbios_version))
            .claim("pdi", report.pdi)
            .claim("locked", report.locked)
            .claim("position", report.position)
            .claim("linked gpus", report.peers.iter().copied().collect::<Value>()),
    };
    section.claim("measurements", u64::try_from(report.measurements.len()).unwrap_or(u64::MAX))
}

fn identity_claims(claims: &Claims, section: Section) -> Section {
    let Some(identity) = &claims.identity else { return section };
    section
        .claim("architecture", identity.architecture.name())
        .claim("model", Value::peer_text(&identity.hwmodel))
        .claim("pdi", identity.device_id)
        .claim("ueid", identity.ueid.as_str())
        .claim("key", identity.leaf_key)
}

fn revocation(
    claims: &Claims,
    outcome: Option<&Outcome>,
    problem: Option<&crate::ocsp::OcspError>,
    title: String,
) -> Section {
    let mut section = outcome.map_or_else(|| Section::note(title.clone()), |outcome| Section::layer(&title, outcome));
    match claims.established.revocation {
        RevocationCheck::Good { until } => section.claim("good until", until),
        RevocationCheck::NotGiven => {
            if section.verdict == Verdict::Verified {
                // The device's own certificates are in good standing, and a signer of its manifests is not spoken for.
                return section.claim("signers of manifests", "not known");
            }
            if section.verdict == Verdict::Note {
                let (code, message) = problem.map_or_else(
                    || ("ocsp-not-given", "NVIDIA's word on these certificates is not at hand".to_owned()),
                    |problem| (problem.code(), problem.to_string()),
                );
                let hint = "fetch it with `casemate endorsements fetch`; reference values say whether it is needed";
                section.problems.push(Problem { code, message, hint: Some(hint.to_owned()) });
            }
            section
        }
    }
}

fn fwid(claims: &Claims, outcome: Option<&Outcome>, title: String) -> Section {
    let section = outcome.map_or_else(|| Section::note(title.clone()), |outcome| Section::layer(&title, outcome));
    let certified = claims.identity.as_ref().map(|identity| identity.fwid);
    let mut section = section.claim("certified", certified).claim("reported", claims.report.fwid);
    if claims.established.fwid == FwidCheck::NotReported && outcome.is_none() {
        section.problems.push(Problem {
            code: "device-fwid-not-reported",
            message: "the report does not name its firmware, so it could not be compared with the certificate"
                .to_owned(),
            hint: Some(
                "GPU drivers from the 550 series on report it; reference values say whether it is needed".to_owned(),
            ),
        });
    }
    section
}

fn firmware_claims(claims: &Claims, mut section: Section) -> Section {
    for used in &claims.established.manifests {
        section = section
            .claim(format!("{} manifest", used.manifest), format!("{} ({})", used.id, used.version))
            .claim(format!("{} manifest signer", used.manifest), used.signer)
            .claim(format!("{} measurements compared", used.manifest), used.compared);
    }
    section
        .claim("measurements compared", claims.established.compared)
        .claim("measurements in no manifest", claims.established.uncovered.iter().copied().collect::<Value>())
}
