//! Explaining a file, and writing the reference values that would accept it: the questions of a person at a command
//! line. Whoever decides by Evidence asks [`Verifier::verify`] and nothing in here.

use protocol::manifest::{ReferenceValues, SoftwareReferenceValues};
use protocol::software::SoftwareReport;
use protocol::{DeviceEvidence, Evidence, Expected, Identity, Nonce, ReportData, Tee};

use crate::context::Context;
use crate::endorsements::{EndorsementKind, Endorsements, Need};
use crate::evidence::{Claims, Detail};
use crate::explain::{Explanation, Section};
use crate::input::Input;
use crate::layer::Outcome;
use crate::nvidia::SetExamination;
use crate::time::UnixTime;
use crate::verifier::{Compared, compare, sgx_claims, snp_claims, tdx_claims};
use crate::{AppraiseError, Verifier, ccel, certificates, dcap, nvidia, ocsp, rim, sgx, snp, software, tdx};

/// What is asked about a file.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The file.
    pub input: &'a Input,
    /// What vendors say.
    pub endorsements: &'a Endorsements,
    /// At what time.
    pub now: UnixTime,
    /// The report data that it should carry, where the user has it.
    pub report_data: Option<&'a ReportData>,
    /// The nonce that devices should carry, where the user has it.
    pub nonce: Option<&'a Nonce>,
    /// A TDX guest's event log, to be replayed against the quote.
    pub event_log: Option<&'a [u8]>,
    /// The reference values to compare with, where the user has some.
    pub values: Option<&'a ReferenceValues>,
}

/// Why no reference values can be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoReferenceValues {
    /// The file is no Evidence.
    #[error("this is a {kind}, which is no Evidence: reference values come from what a TEE or a device reports")]
    NotEvidence {
        /// What it is.
        kind: &'static str,
    },
    /// The Evidence cannot be read.
    #[error("the Evidence cannot be read: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
}

/// Evidence, examined as far as it goes.
struct Examined {
    subject: String,
    sections: Vec<Section>,
    /// The claims, verified or not.
    claims: Option<Claims>,
    /// Why there are none.
    format: Outcome,
    /// The devices beside the TEE.
    devices: Vec<nvidia::Examination>,
}

impl Verifier {
    /// Explains a file, layer by layer.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let context = self.context(question.endorsements, question.now);
        match question.input {
            Input::Evidence(evidence) => {
                let mut examined = examine(evidence, question, &context);
                examined.sections.extend(debug(&examined));
                examined.sections.extend(event_log(&examined, question));
                examined.sections.extend(comparison(&examined, question));
                Explanation::new(examined.subject, examined.sections)
            }
            Input::Devices(devices) => {
                let set = nvidia::examine_devices(devices, question.nonce, &context);
                let mut sections = nvidia::explain(&set);
                sections.extend(device_comparison(&set, question));
                Explanation::new(devices_subject(devices), sections)
            }
            Input::EventLog(log) => match ccel::replay(log) {
                Ok(replay) => Explanation::new("CCEL event log", ccel::explain(&replay, None)),
                Err(error) => Explanation::new("CCEL event log", vec![Section::failure("log", &error)]),
            },
            Input::Certificates(chain) => certificates::explain_chain(chain, &context),
            Input::Endorsement(EndorsementKind::Certificate, der) => {
                certificates::explain_chain(std::slice::from_ref(der), &context)
            }
            Input::Endorsement(EndorsementKind::Crl, der) => certificates::explain_crl(der, &context),
            Input::Endorsement(kind @ (EndorsementKind::TcbInfo | EndorsementKind::QeIdentity), json) => {
                let subject = if *kind == EndorsementKind::TcbInfo { "TCB info" } else { "QE identity" };
                Explanation::new(subject, dcap::explain_document(json, &context))
            }
            Input::Endorsement(EndorsementKind::Rim, xml) => {
                rim::explain(xml, context.anchors, context.endorsements, context.now)
            }
            Input::Endorsement(EndorsementKind::OcspResponse, der) => {
                Explanation::new("OCSP response", vec![ocsp::explain(der)])
            }
        }
    }

    /// The reference values that accept exactly what the Evidence claims. They are no judgement: that the claims are
    /// genuine, and what a user wants, is for [`Self::explain`] and for the user.
    pub fn reference_values(
        &self,
        question: &Question<'_>,
        platform: &str,
    ) -> Result<ReferenceValues, NoReferenceValues> {
        let context = self.context(question.endorsements, question.now);
        let mut values = ReferenceValues::default();
        match question.input {
            Input::Evidence(evidence) => {
                let examined = examine(evidence, question, &context);
                let claims = examined.claims.ok_or_else(|| NoReferenceValues::Malformed {
                    reason: examined.format.error().map_or_else(String::new, crate::VerifyError::chain),
                })?;
                match &claims.detail {
                    Detail::Software => {
                        let measurements = vec![claims.measurement];
                        values.software = Some(SoftwareReferenceValues { root: claims.chip_id, measurements });
                    }
                    Detail::Snp(snp) => {
                        let entry = snp::reference_values(snp).ok_or_else(|| NoReferenceValues::Malformed {
                            reason: "its product line is not known: give the chip's certificate with --endorsement"
                                .to_owned(),
                        })?;
                        values
                            .snp
                            .push(protocol::reference::SnpReferenceValues { platform: platform.to_owned(), ..entry });
                    }
                    Detail::Tdx(tdx) => {
                        let entry = tdx::reference_values(tdx);
                        values
                            .tdx
                            .push(protocol::reference::TdxReferenceValues { platform: platform.to_owned(), ..entry });
                    }
                    Detail::Sgx(sgx) => {
                        let entry = sgx::reference_values(sgx);
                        values
                            .sgx
                            .push(protocol::reference::SgxReferenceValues { platform: platform.to_owned(), ..entry });
                    }
                }
                if !examined.devices.is_empty() {
                    let devices = device_claims(&examined.devices)?;
                    values.devices.push(nvidia::reference_values(&devices, platform));
                }
            }
            Input::Devices(devices) => {
                let set = nvidia::examine_devices(devices, question.nonce, &context);
                values.devices.push(nvidia::reference_values(&device_claims(&set.devices)?, platform));
            }
            other => return Err(NoReferenceValues::NotEvidence { kind: other.kind() }),
        }
        Ok(values)
    }
}

/// The claims of every device. One that cannot be read is not left out: the values would be for fewer devices.
fn device_claims(devices: &[nvidia::Examination]) -> Result<Vec<nvidia::Claims>, NoReferenceValues> {
    let claims = devices.iter().zip(1_usize..).map(|(device, position)| {
        device.claims.clone().ok_or_else(|| {
            let reason = device.layers.format.error().map_or_else(String::new, crate::VerifyError::chain);
            NoReferenceValues::Malformed { reason: format!("device {position}: {reason}") }
        })
    });
    claims.collect()
}

/// Which Endorsements the file cannot be judged without.
pub fn needs_of(input: &Input) -> Vec<Need> {
    match input {
        Input::Evidence(evidence) => crate::needs(evidence),
        Input::Devices(devices) => nvidia::needs(devices),
        _ => Vec::new(),
    }
}

fn examine(evidence: &Evidence, question: &Question<'_>, context: &Context<'_>) -> Examined {
    let body = &evidence.body;
    let mut examined = match evidence.tee {
        Tee::Snp => {
            let examination = snp::examine(body, question.report_data, context);
            let version = examination.claims.as_ref().map(|claims| claims.version);
            Examined {
                subject: version
                    .map_or("SEV-SNP report".to_owned(), |version| format!("SEV-SNP report, version {version}")),
                sections: snp::explain(&examination),
                format: examination.layers.format,
                claims: examination.claims.map(snp_claims),
                devices: Vec::new(),
            }
        }
        Tee::Tdx => {
            let examination = tdx::examine(body, question.report_data, context);
            Examined {
                subject: tdx::subject(&examination),
                sections: tdx::explain(&examination),
                format: examination.layers.format,
                claims: examination.claims.map(tdx_claims),
                devices: Vec::new(),
            }
        }
        Tee::Sgx => {
            let examination = sgx::examine(body, question.report_data, context);
            Examined {
                subject: sgx::subject(&examination),
                sections: sgx::explain(&examination),
                format: examination.layers.format,
                claims: examination.claims.map(sgx_claims),
                devices: Vec::new(),
            }
        }
        _ => examine_software(body, question),
    };
    if !evidence.devices.is_empty() {
        let set = nvidia::examine_devices(&evidence.devices, question.nonce, context);
        examined.sections.extend(nvidia::explain(&set));
        if let Some(claims) = &mut examined.claims {
            claims.devices = set.devices.iter().filter_map(|device| device.claims.clone()).collect();
        }
        examined.devices = set.devices;
    }
    examined
}

fn examine_software(body: &[u8], question: &Question<'_>) -> Examined {
    let subject = "software report, INSECURE".to_owned();
    let report = match SoftwareReport::parse(body) {
        Ok(report) => report,
        Err(error) => {
            let format = Outcome::Fails(crate::VerifyError::Malformed(error));
            let sections = vec![Section::layer("report", &format)];
            return Examined { subject, sections, claims: None, format, devices: Vec::new() };
        }
    };
    // Without something to compare with, the report data is what it is.
    let verified = software::verify(body, question.report_data.unwrap_or(&report.report_data));
    let outcome = verified.as_ref().map(|_| ()).map_err(Clone::clone).into();
    let section = Section::layer("report", &outcome)
        .by("a software root that lies in a file: nothing about hardware")
        .claim("root", protocol::Digest::of(&report.root))
        .claim("measurement", report.measurement)
        .claim("host data", report.host_data)
        .claim("report data", report.report_data.0)
        .claim("launched at", UnixTime(report.launched_at));
    let claims = Claims {
        tee: Tee::Software,
        measurement: report.measurement,
        identity: Identity(report.host_data),
        chip_id: protocol::Digest::of(&report.root),
        detail: Detail::Software,
        devices: Vec::new(),
    };
    Examined { subject, sections: vec![section], claims: Some(claims), format: Outcome::Holds, devices: Vec::new() }
}

/// A guest whose memory its host may read: genuine or not, no reference value accepts it, and a reader is told first.
fn debug(examined: &Examined) -> Option<Section> {
    let is_debug = match &examined.claims.as_ref()?.detail {
        Detail::Software => false,
        Detail::Snp(snp) => snp.policy.debug(),
        Detail::Tdx(tdx) => tdx.report.is_debug(),
        Detail::Sgx(sgx) => sgx.report.is_debug(),
    };
    let message = "its host may read and write its memory: no reference value accepts that";
    is_debug.then(|| Section::refusal_text("debug", "debug", message))
}

/// The event log beside a quote.
fn event_log(examined: &Examined, question: &Question<'_>) -> Vec<Section> {
    let Some(log) = question.event_log else { return Vec::new() };
    let rtmrs = match examined.claims.as_ref().map(|claims| &claims.detail) {
        Some(Detail::Tdx(tdx)) => Some(tdx.report.rtmrs.map(|register| *register.as_bytes())),
        _ => None,
    };
    match ccel::replay(log) {
        Ok(replay) => ccel::explain(&replay, rtmrs.as_ref()),
        Err(error) => vec![Section::failure("event log", &error)],
    }
}

/// What each entry of the user's reference values says.
fn comparison(examined: &Examined, question: &Question<'_>) -> Vec<Section> {
    let (Some(values), Some(claims)) = (question.values, &examined.claims) else { return Vec::new() };
    match compare(claims, values, question.now) {
        Compared::Software => match software::appraise(claims, values) {
            Ok(_) => vec![Section::comparison("reference values", &[])],
            Err(error) => vec![Section::refusal("reference values", &error)],
        },
        Compared::Entries(entries) if entries.is_empty() => {
            vec![Section::refusal("reference values", &AppraiseError::NotAccepted { tee: claims.tee })]
        }
        // Entries are alternatives: where one accepts, what the others lack is no problem of the reader's.
        Compared::Entries(entries) => match entries.iter().find(|(_, outcome)| outcome.is_ok()) {
            Some((platform, _)) => vec![Section::comparison(format!("reference values {platform}"), &[])],
            None => entries
                .iter()
                .filter_map(|(platform, outcome)| outcome.as_ref().err().map(|mismatches| (platform, mismatches)))
                .map(|(platform, mismatches)| Section::comparison(format!("reference values {platform}"), mismatches))
                .collect(),
        },
    }
}

fn device_comparison(set: &SetExamination, question: &Question<'_>) -> Vec<Section> {
    let Some(values) = question.values else { return Vec::new() };
    let claims: Vec<_> = set.devices.iter().filter_map(|device| device.claims.clone()).collect();
    let mut sections = Vec::new();
    for entry in &values.devices {
        let title = format!("reference values {}", entry.platform);
        match nvidia::appraise(&claims, entry) {
            Ok(_) => return vec![Section::comparison(title, &[])],
            Err(mismatches) => sections.push(Section::comparison(title, &mismatches)),
        }
    }
    if sections.is_empty() {
        sections.push(Section::refusal_text(
            "reference values",
            "devices-not-accepted",
            "they have no entry for devices",
        ));
    }
    sections
}

fn devices_subject(devices: &[DeviceEvidence]) -> String {
    match devices {
        [one] => format!("report of a {}", one.kind.name()),
        several => format!("reports of {} devices", several.len()),
    }
}

/// For the question's own expectations.
impl Question<'_> {
    /// What the Evidence should carry, as far as the user said.
    pub fn expected(&self) -> Option<Expected> {
        self.report_data.map(|report_data| Expected { report_data: *report_data, device_nonce: self.nonce.copied() })
    }
}
