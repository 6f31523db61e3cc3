//! Intel SGX: what an enclave's quote says, and whether that is acceptable.

use protocol::digest::{Hex, Measurement};
use protocol::reference::sgx::INIT_MODE64_KSS;
use protocol::reference::tdx::Bits;
use protocol::reference::{Machines, SgxReferenceValues};
use protocol::{Digest, Identity, ReportData, Tee};
use serde::Serialize;

use crate::VerifyError;
use crate::context::Context;
use crate::dcap::quote::{Body, Quote};
use crate::dcap::report::EnclaveReport;
use crate::dcap::{self, Bounds, DcapError, Layers, Platform};
use crate::ear::TrustVector;
use crate::endorsements::Need;
use crate::explain::Section;
use crate::mismatch::{Comparison, Mismatch, Rule};
use crate::time::UnixTime;
use crate::value::Value;

/// What an SGX quote says. Plain values: only inside a proof type do they mean anything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Claims {
    /// The platform.
    pub platform: Platform,
    /// The enclave.
    pub report: EnclaveReport,
}

impl Claims {
    /// The identity of the pod: the first 32 bytes of CONFIGID. The appraisal refuses one whose other bytes are not zero.
    pub fn identity(&self) -> Identity {
        identity_of(&self.report)
    }

    /// MRENCLAVE, with zeros on the right.
    pub fn measurement(&self) -> Measurement {
        let mut bytes = [0; 48];
        for (to, from) in bytes.iter_mut().zip(&self.report.mrenclave.0) {
            *to = *from;
        }
        Measurement::from_bytes(bytes)
    }
}

fn identity_of(report: &EnclaveReport) -> Identity {
    let (head, _) = split(&report.config_id.0);
    Identity(Digest::from_bytes(head))
}

/// The identity and what must be zero.
fn split(config_id: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut head, mut tail) = ([0; 32], [0; 32]);
    for (to, from) in head.iter_mut().chain(&mut tail).zip(config_id) {
        *to = *from;
    }
    (head, tail)
}

/// An SGX quote with everything that could be told about it.
#[derive(Debug)]
pub(crate) struct Examination {
    /// What it says, if it is one.
    pub(crate) claims: Option<Claims>,
    /// What holds.
    pub(crate) layers: Layers,
}

/// Examines a quote: every layer, whatever comes of the others.
pub(crate) fn examine(body: &[u8], expected: Option<&ReportData>, context: &Context<'_>) -> Examination {
    let examined = dcap::examine(Tee::Sgx, body, expected, context);
    let claims = match examined.claims {
        Some((platform, Body::Sgx(report))) => Some(Claims { platform, report: *report }),
        _ => None,
    };
    Examination { claims, layers: examined.layers }
}

/// Which Endorsements a quote wants.
pub fn needs(body: &[u8]) -> Vec<Need> {
    dcap::needs(body)
}

/// The identity that a quote claims, unverified.
pub(crate) fn claimed_identity(body: &[u8]) -> Result<Identity, VerifyError> {
    let quote = Quote::parse(body).map_err(DcapError::from)?;
    let got = quote.tee();
    match quote.body {
        Body::Sgx(report) => Ok(identity_of(&report)),
        Body::Tdx(_) => Err(DcapError::OtherTee { got, expected: Tee::Sgx }.into()),
    }
}

/// Compares claims with one entry: every mismatch, not the first.
pub(crate) fn appraise(
    claims: &Claims,
    values: &SgxReferenceValues,
    now: UnixTime,
) -> Result<TrustVector, Vec<Mismatch>> {
    let Claims { platform, report } = claims;
    let mut comparison = Comparison::default();
    comparison.one_of("mrenclave", &report.mrenclave, &values.mrenclave);
    comparison.equals("mrsigner", &report.mrsigner, &values.mrsigner);
    comparison.equals("product_id", &report.product_id, &values.product_id);
    comparison.at_least("min_svn", report.svn, values.min_svn);
    comparison.at_least("min_config_svn", report.config_svn, values.min_config_svn);
    if report.is_debug() {
        comparison.push(
            Mismatch::new("attributes", Rule::Equals, report.attributes, Value::from("no debug"))
                .hint("its host reads and writes the memory of a debug enclave: no reference value accepts one"),
        );
    } else {
        dcap::bits("attributes", report.attributes, &values.attributes, &mut comparison);
    }
    dcap::bits("xfrm", report.xfrm, &values.xfrm, &mut comparison);
    dcap::bits("misc_select", report.misc_select, &values.misc_select, &mut comparison);
    // Fixed: an identity is 32 bytes.
    let (_, rest) = split(&report.config_id.0);
    comparison.equals("config_id", &Hex(rest), &Hex([0; 32]));
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

/// The entry that accepts exactly these claims. A debug enclave gets one too, and no entry accepts it.
pub(crate) fn reference_values(claims: &Claims) -> SgxReferenceValues {
    let Claims { platform, report } = claims;
    let pck = platform.pck.as_ref();
    let machine = pck.and_then(|pck| pck.platform_instance_id);
    SgxReferenceValues {
        platform: "sgx".to_owned(),
        chip_ids: machine.map_or(Machines::Any, |id| Machines::Listed(vec![id])),
        mrenclave: vec![report.mrenclave],
        mrsigner: report.mrsigner,
        product_id: report.product_id,
        min_svn: report.svn,
        min_config_svn: report.config_svn,
        attributes: Bits::exactly(if report.is_debug() { INIT_MODE64_KSS } else { report.attributes.0 }),
        xfrm: Bits::exactly(report.xfrm.0),
        misc_select: Bits::exactly(report.misc_select.0),
        tcb: dcap::policy_for(platform),
        allow_smt: pck.and_then(|pck| pck.smt_enabled) != Some(false),
        allow_dynamic_platform: pck.and_then(|pck| pck.dynamic_platform) != Some(false),
        allow_cached_keys: pck.and_then(|pck| pck.cached_keys) != Some(false),
    }
}

/// The sections of an explanation.
pub(crate) fn explain(examination: &Examination) -> Vec<Section> {
    let Examination { claims, layers } = examination;
    let mut enclave = dcap::tee_section("enclave", layers);
    if let Some(Claims { report, .. }) = claims {
        enclave = enclave
            .claim("mrenclave", report.mrenclave)
            .claim("mrsigner", report.mrsigner)
            .claim("product_id", report.product_id)
            .claim("svn", report.svn)
            .claim("config_id", report.config_id)
            .claim("config_svn", report.config_svn)
            .claim("report_data", report.report_data)
            .claim("attributes", report.attributes)
            .claim("debug", report.is_debug())
            .claim("xfrm", report.xfrm)
            .claim("misc_select", report.misc_select);
    }
    let platform = claims.as_ref().map(|claims| &claims.platform);
    let mut sections = vec![enclave];
    sections.extend(dcap::platform_sections(platform, layers));
    sections
}

/// What the quote is, for people.
pub(crate) fn subject(examination: &Examination) -> String {
    examination.claims.as_ref().map_or_else(|| "SGX quote".to_owned(), |claims| dcap::subject("SGX", &claims.platform))
}
