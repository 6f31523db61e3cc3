//! What an agent answers to the question for the devices of its TEE: an object with a member for each kind of them, or
//! nothing at all. Of NVIDIA's devices it is `{"nvidia":{"device_evidence_list":[…]}}`, GPUs and switches in one list.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::{DeviceEvidence, DeviceKind, Evidence, Nonce};
use serde::Deserialize;
use serde_json::Value;

use super::answer::names;
use crate::AttestError;

#[derive(Deserialize)]
struct Nvidia {
    device_evidence_list: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    arch: String,
    /// Transcript of SPDM, as NVML gives it.
    evidence: String,
    /// Chain, PEM.
    certificate: String,
}

/// The requester's nonce in GET_MEASUREMENTS, with which a report begins (SPDM, DSP0274, table of that request).
const NONCE: std::ops::Range<usize> = 4..36;

pub(super) fn evidence(address: SocketAddr, body: &[u8], nonce: &Nonce) -> Result<Vec<DeviceEvidence>, AttestError> {
    let malformed = |reason: String| AttestError::Malformed { address, reason };
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let Value::Object(mut kinds) = value else { return Err(malformed("not a JSON object".to_owned())) };
    let nvidia = kinds.remove("nvidia");
    if kinds.keys().any(|kind| kind.starts_with("sample")) {
        return Err(AttestError::Sample { address });
    }
    if !kinds.is_empty() {
        return Err(AttestError::UnknownKind { address, fields: names(&kinds) });
    }
    let Some(nvidia) = nvidia else { return Ok(Vec::new()) };
    let list: Nvidia = serde_json::from_value(nvidia).map_err(|error| malformed(format!("nvidia: {error}")))?;
    let got = list.device_evidence_list.len();
    if got > Evidence::MAX_DEVICES {
        return Err(malformed(format!("nvidia: {got} devices, at most {}", Evidence::MAX_DEVICES)));
    }
    let mut devices = Vec::with_capacity(got);
    for (index, device) in list.device_evidence_list.into_iter().enumerate() {
        let device = decode(device).map_err(|reason| malformed(format!("nvidia[{index}]: {reason}")))?;
        answers(index, &device, nonce)?;
        devices.push(device);
    }
    Ok(devices)
}

fn decode(device: Device) -> Result<DeviceEvidence, String> {
    let kind = match device.arch.to_ascii_uppercase().as_str() {
        "HOPPER" | "BLACKWELL" => DeviceKind::Gpu,
        "LS10" => DeviceKind::Switch,
        _ => {
            let arch: String = device.arch.chars().take(40).collect();
            return Err(format!("arch: {arch:?} is not one of HOPPER, BLACKWELL, LS10"));
        }
    };
    let bytes = |name: &str, text: &str| {
        let bytes = STANDARD.decode(text).map_err(|error| format!("{name}: {error}"))?;
        match bytes.len() {
            got if got > Evidence::MAX_DEVICE => Err(format!("{name}: {got} bytes, at most {}", Evidence::MAX_DEVICE)),
            _ => Ok(bytes),
        }
    };
    Ok(DeviceEvidence {
        kind,
        report: bytes("evidence", &device.evidence)?,
        chain: bytes("certificate", &device.certificate)?,
    })
}

/// That a device was asked with our nonce. The peer checks it again, and would only say that it is stale.
pub(crate) fn answers(index: usize, device: &DeviceEvidence, nonce: &Nonce) -> Result<(), AttestError> {
    let got = device.report.get(NONCE).unwrap_or_default();
    if got == nonce.0 {
        return Ok(());
    }
    Err(AttestError::OtherNonce { index, got: hex::encode(got), asked: hex::encode(nonce.0) })
}
