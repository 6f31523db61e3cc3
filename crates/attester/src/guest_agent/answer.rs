//! What an agent answers to the question for Evidence.
//!
//! The guest components answer in a shape for each kind of TEE, and do not name the kind; its fields tell it. The engine's
//! agent answers our own shape.
//!
//! | fields | kind |
//! |---|---|
//! | `tee`, `body` | our own |
//! | `attestation_report`, `cert_chain` | SEV-SNP: the report's fields, see [`super::snp`] |
//! | `quote`, `cc_eventlog` | TDX: the quote in base64 |
//! | `quote` | SGX, likewise |
//! | `svn`, `report_data` | the sample attester, which proves nothing |
//!
//! Whether a quote is one of TDX or SGX is read from the quote, since the log is there or not.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{Evidence, Tee};
use serde_json::{Map, Value};

use super::snp;
use crate::AttestError;

/// LIMIT: so many names of fields are quoted in a message.
const MAX_FIELDS: usize = 8;

/// TEE_TYPE of a quote's header (Intel, "TDX DCAP Quoting Library API", appendix 3.1).
const TEE_TYPE: std::ops::Range<usize> = 4..8;
const TEE_TYPE_SGX: u32 = 0;
const TEE_TYPE_TDX: u32 = 0x81;

pub(super) fn evidence(address: SocketAddr, body: &[u8]) -> Result<Evidence, AttestError> {
    let malformed = |reason: String| AttestError::Malformed { address, reason };
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let Value::Object(fields) = value else { return Err(malformed("not a JSON object".to_owned())) };
    let has = |name: &str| fields.contains_key(name);
    let evidence = if has("tee") {
        serde_json::from_value(Value::Object(fields)).map_err(|error| malformed(error.to_string()))?
    } else if has("attestation_report") {
        Evidence::new(Tee::Snp, snp::body(Value::Object(fields)).map_err(malformed)?)
    } else if let Some(Value::String(quote)) = fields.get("quote") {
        let quote = STANDARD.decode(quote).map_err(|error| malformed(format!("quote: {error}")))?;
        Evidence::new(tee_of(&quote).map_err(malformed)?, quote)
    } else if has("svn") && has("report_data") {
        return Err(AttestError::Sample { address });
    } else {
        return Err(AttestError::UnknownKind { address, fields: names(&fields) });
    };
    if evidence.body.len() > Evidence::MAX_BODY {
        let (got, limit) = (evidence.body.len(), Evidence::MAX_BODY);
        return Err(malformed(format!("evidence of {got} bytes, at most {limit}")));
    }
    Ok(evidence)
}

fn tee_of(quote: &[u8]) -> Result<Tee, String> {
    let kind = quote.get(TEE_TYPE).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    match kind {
        Some(TEE_TYPE_SGX) => Ok(Tee::Sgx),
        Some(TEE_TYPE_TDX) => Ok(Tee::Tdx),
        Some(kind) => Err(format!("quote: TEE type {kind:#x} is neither SGX nor TDX")),
        None => Err(format!("quote: {} bytes, which hold no header", quote.len())),
    }
}

/// The names of fields, for a message.
pub(super) fn names(fields: &Map<String, Value>) -> String {
    if fields.is_empty() {
        return "no fields".to_owned();
    }
    let mut text = String::from("fields ");
    for (index, name) in fields.keys().take(MAX_FIELDS).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Never more of a name than tells it, and nothing that moves a terminal's cursor.
        let name: String = name.chars().take(40).map(|char| if char.is_control() { ' ' } else { char }).collect();
        text.push_str(&format!("{comma}`{name}`"));
    }
    text
}
