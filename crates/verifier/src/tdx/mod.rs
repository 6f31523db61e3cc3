//! Intel TDX: what a TD's quote says, and whether that is acceptable.

use protocol::digest::{Hex, Measurement};
use protocol::reference::tdx::{Bits, Register, SEPT_VE_DISABLE};
use protocol::reference::{Machines, TdxReferenceValues};
use protocol::{Digest, Identity, ReportData, Tee};
use serde::Serialize;

use crate::VerifyError;
use crate::context::Context;
use crate::dcap::quote::{Body, Quote};
use crate::dcap::report::TdReport;
use crate::dcap::{self, Bounds, DcapError, Layers, Platform};
use crate::ear::TrustVector;
use crate::endorsements::Need;
use crate::explain::Section;
use crate::mismatch::{Comparison, Mismatch, Rule};
use crate::time::UnixTime;
use crate::value::Value;

/// What a TDX quote says. Plain values: only inside a proof type do they mean anything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Claims {
    /// The platform.
    pub platform: Platform,
    /// The TD.
    pub report: TdReport,
}

impl Claims {
    /// The identity of the pod: the first 32 bytes of MRCONFIGID. The appraisal refuses one whose other bytes are not zero.
    pub fn identity(&self) -> Identity {
        identity_of(&self.report)
    }
}

fn identity_of(report: &TdReport) -> Identity {
    let (head, _) = split(report.mr_config_id.as_bytes());
    Identity(Digest::from_bytes(head))
}

/// The identity and what must be zero.
fn split(config_id: &[u8; 48]) -> ([u8; 32], [u8; 16]) {
    let (mut head, mut tail) = ([0; 32], [0; 16]);
    for (to, from) in head.iter_mut().chain(&mut tail).zip(config_id) {
        *to = *from;
    }
    (head, tail)
}

/// A TDX quote with everything that could be told about it.
#[derive(Debug)]
pub(crate) struct Examination {
    /// What it says, if it is one.
    pub(crate) claims: Option<Claims>,
    /// What holds.
    pub(crate) layers: Layers,
}

/// Examines a quote: every layer, whatever comes of the others.
pub(crate) fn examine(body: &[u8], expected: Option<&ReportData>, context: &Context<'_>) -> Examination {
    let examined = dcap::examine(Tee::Tdx, body, expected, context);
    let claims = match examined.claims {
        Some((platform, Body::Tdx(report))) => Some(Claims { platform, report: *report }),
        _ => None,
    };
    Examination { claims, layers: examined.layers }
}

/// Which Endorsements a quote wants.
pub fn needs(body: &[u8]) -> Vec<Need> {
    dcap::needs(body)
}

const ZERO: Measurement = Measurement::from_bytes([0; 48]);

/// The identity that a quote claims, unverified.
pub(crate) fn claimed_identity(body: &[u8]) -> Result<Identity, VerifyError> {
    let quote = Quote::parse(body).map_err(DcapError::from)?;
    let got = quote.tee();
    match quote.body {
        Body::Tdx(report) => Ok(identity_of(&report)),
        Body::Sgx(_) => Err(DcapError::OtherTee { got, expected: Tee::Tdx }.into()),
    }
}

/// Compares claims with one entry: every mismatch, not the first.
pub(crate) fn appraise(
    claims: &Claims,
    values: &TdxReferenceValues,
    now: UnixTime,
) -> Result<TrustVector, Vec<Mismatch>> {
    let Claims { platform, report } = claims;
    let mut comparison = Comparison::default();
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &report.rtmrs;
    comparison.one_of("mrtd", &report.mrtd, &values.mrtd);
    comparison.one_of("rtmr0", rtmr0, &values.rtmr0);
    comparison.one_of("rtmr1", rtmr1, &values.rtmr1);
    comparison.one_of("rtmr2", rtmr2, &values.rtmr2);
    match &values.rtmr3 {
        Register::Free => {}
        Register::Listed(accepted) => comparison.one_of("rtmr3", rtmr3, accepted),
    }
    dcap::bits("xfam", report.xfam, &values.xfam, &mut comparison);
    if report.is_debug() {
        comparison.push(
            Mismatch::new("td_attributes", Rule::Equals, report.td_attributes, Value::from("no debug"))
                .hint("its host reads and writes the memory of a TD under debug: no reference value accepts one"),
        );
    } else {
        dcap::bits("td_attributes", report.td_attributes, &values.td_attributes, &mut comparison);
    }
    comparison.one_of("mrseam", &report.mrseam, &values.mrseam);
    // Fixed: Intel's own modules have neither.
    comparison.equals("mr_signer_seam", &report.mr_signer_seam, &ZERO);
    comparison.equals("seam_attributes", &report.seam_attributes, &Hex([0; 8]));
    comparison.equals("mr_owner", &report.mr_owner, &values.mr_owner);
    comparison.equals("mr_owner_config", &report.mr_owner_config, &values.mr_owner_config);
    let service = report.v15.as_ref().map_or(ZERO, |v15| v15.mr_service_td);
    comparison.one_of("mr_service_td", &service, &values.mr_service_td);
    if let Some(extended) = &report.extended
        && extended.current_service_td_hash != service
        && !values.mr_service_td.contains(&extended.current_service_td_hash)
    {
        let accepted: Value = values.mr_service_td.iter().copied().collect();
        let reported = extended.current_service_td_hash;
        comparison.push(Mismatch::new("mr_service_td", Rule::OneOf, reported, accepted).part("bound since the launch"));
    }
    extended(platform, report, values, &mut comparison);
    // Fixed: an identity is 32 bytes.
    let (_, rest) = split(report.mr_config_id.as_bytes());
    comparison.equals("mr_config_id", &Hex(rest), &Hex([0; 16]));
    let bounds = Bounds {
        chip_ids: &values.chip_ids,
        tcb: &values.tcb,
        allow_smt: values.allow_smt,
        allow_dynamic_platform: values.allow_dynamic_platform,
        allow_cached_keys: values.allow_cached_keys,
    };
    dcap::appraise_platform(platform, &bounds, now, &mut comparison);
    comparison.finish().map(|()| dcap::trust_vector(platform))
}

/// What an extended report adds. Fixed, but for the service TDs: the TD itself speaks, it has no devices that nobody has
/// appraised, and it has not come from a platform that nobody has seen.
fn extended(platform: &Platform, report: &TdReport, values: &TdxReferenceValues, comparison: &mut Comparison) {
    let Some(extended) = &report.extended else { return };
    if extended.vm_id != 0 {
        comparison.push(
            Mismatch::new("vm_id", Rule::Equals, u64::from(extended.vm_id), 0_u64)
                .hint("a VM that is nested in the TD asked for the quote: it is not the TD that speaks"),
        );
    }
    comparison.equals("device_info", &extended.device_info, &Hex([0; 48]));
    comparison.one_of("initial_service_td_hash", &extended.initial_service_td_hash, &values.mr_service_td);
    comparison.equals("initial_service_td_attributes", &extended.initial_service_td_attributes, &Hex([0; 8]));
    comparison.equals("current_service_td_attributes", &extended.current_service_td_attributes, &Hex([0; 8]));
    // TEE_TCB_SVN is that of the launch on this platform, and Intel's TCB info judges it; the quoting enclave's CPUSVN is
    // that of this platform. A TD that was launched under others has come from elsewhere. One that was never moved may
    // leave both at zero, as TDX modules in the field do: no platform has a TCB of zeros.
    let unmoved = Hex([0; 16]);
    if (extended.initial_tee_tcb_svn, extended.initial_cpu_svn) != (unmoved, unmoved) {
        comparison.equals("initial_tee_tcb_svn", &extended.initial_tee_tcb_svn, &report.tee_tcb_svn);
        comparison.equals("initial_cpu_svn", &extended.initial_cpu_svn, &platform.quoting_enclave.cpu_svn);
    }
}

/// The entry that accepts exactly these claims. A TD under debug gets one too, and no entry accepts it.
pub(crate) fn reference_values(claims: &Claims) -> TdxReferenceValues {
    let Claims { platform, report } = claims;
    let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmrs;
    let pck = platform.pck.as_ref();
    let machine = pck.and_then(|pck| pck.platform_instance_id);
    TdxReferenceValues {
        platform: "tdx".to_owned(),
        chip_ids: machine.map_or(Machines::Any, |id| Machines::Listed(vec![id])),
        mrtd: vec![report.mrtd],
        rtmr0: vec![rtmr0],
        rtmr1: vec![rtmr1],
        rtmr2: vec![rtmr2],
        rtmr3: Register::Listed(vec![rtmr3]),
        xfam: Bits::exactly(report.xfam.0),
        td_attributes: Bits::exactly(if report.is_debug() { SEPT_VE_DISABLE } else { report.td_attributes.0 }),
        mrseam: vec![report.mrseam],
        mr_owner: report.mr_owner,
        mr_owner_config: report.mr_owner_config,
        mr_service_td: service_tds(report),
        tcb: dcap::policy_for(platform),
        allow_smt: pck.and_then(|pck| pck.smt_enabled) != Some(false),
        allow_dynamic_platform: pck.and_then(|pck| pck.dynamic_platform) != Some(false),
        allow_cached_keys: pck.and_then(|pck| pck.cached_keys) != Some(false),
    }
}

fn service_tds(report: &TdReport) -> Vec<Measurement> {
    let mut accepted = vec![report.v15.as_ref().map_or(ZERO, |v15| v15.mr_service_td)];
    let others = report.extended.iter().flat_map(|td| [td.initial_service_td_hash, td.current_service_td_hash]);
    for other in others {
        if !accepted.contains(&other) {
            accepted.push(other);
        }
    }
    accepted
}

/// The sections of an explanation.
pub(crate) fn explain(examination: &Examination) -> Vec<Section> {
    let Examination { claims, layers } = examination;
    let mut td = dcap::tee_section("td", layers);
    if let Some(Claims { report, .. }) = claims {
        let [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmrs;
        td = td
            .claim("mrtd", report.mrtd)
            .claim("rtmr0", rtmr0)
            .claim("rtmr1", rtmr1)
            .claim("rtmr2", rtmr2)
            .claim("rtmr3", rtmr3)
            .claim("mr_config_id", report.mr_config_id)
            .claim("report_data", report.report_data)
            .claim("td_attributes", report.td_attributes)
            .claim("debug", report.is_debug())
            .claim("xfam", report.xfam)
            .claim("mr_owner", report.mr_owner)
            .claim("mr_owner_config", report.mr_owner_config);
        if let Some(v15) = &report.v15 {
            td = td.claim("mr_service_td", v15.mr_service_td);
        }
        td = td
            .claim("mrseam", report.mrseam)
            .claim("mr_signer_seam", report.mr_signer_seam)
            .claim("seam_attributes", report.seam_attributes)
            .claim("tee_tcb_svn", report.tee_tcb_svn);
        if let Some(v15) = &report.v15 {
            td = td.claim("tee_tcb_svn_2", v15.tee_tcb_svn_2);
        }
        if let Some(extended) = &report.extended {
            td = td
                .claim("vm_id", u64::from(extended.vm_id))
                .claim("device_info", extended.device_info)
                .claim("initial_service_td_hash", extended.initial_service_td_hash)
                .claim("initial_service_td_attributes", extended.initial_service_td_attributes)
                .claim("initial_tee_tcb_svn", extended.initial_tee_tcb_svn)
                .claim("initial_cpu_svn", extended.initial_cpu_svn)
                .claim("current_service_td_hash", extended.current_service_td_hash)
                .claim("current_service_td_attributes", extended.current_service_td_attributes);
        }
    }
    let platform = claims.as_ref().map(|claims| &claims.platform);
    let mut sections = vec![td];
    sections.extend(dcap::platform_sections(platform, layers));
    sections
}

/// What the quote is, for people.
pub(crate) fn subject(examination: &Examination) -> String {
    examination.claims.as_ref().map_or_else(|| "TDX quote".to_owned(), |claims| dcap::subject("TDX", &claims.platform))
}
