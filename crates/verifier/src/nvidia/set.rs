//! The devices of one TEE: each holds by itself, and no two are one.

use protocol::Nonce;
use protocol::evidence::DeviceEvidence;

use super::claims::Claims;
use super::error::NvidiaError;
use super::examine::{Examination, examine, needs as needs_of_one};
use crate::anchors::TrustAnchors;
use crate::context::{Cache, Context};
use crate::endorsements::{Endorsements, Need};
use crate::layer::Outcome;
use crate::time::UnixTime;
use crate::{VerifyError, layer};

/// The Evidence of a TEE's devices, examined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetExamination {
    /// Each device, in the order in which it came.
    pub devices: Vec<Examination>,
    /// No device stands twice.
    pub distinct: Outcome,
}

impl SetExamination {
    /// The claims of all devices, if every layer of every one holds and no two are one. An error names the device by its
    /// place and identity. A "no" of one device goes before a "could not tell" of another.
    pub(crate) fn verdict(&self) -> Result<Vec<Claims>, VerifyError> {
        layer::demand_all(&[("distinct", &self.distinct)])?;
        let mut claims = Vec::new();
        let mut could_not_tell = None;
        for (index, device) in self.devices.iter().enumerate() {
            match device.verdict() {
                Ok(found) => claims.push(found.clone()),
                Err(error) => {
                    let position = index.saturating_add(1);
                    let error = NvidiaError::Device { position, device: device.label(), error: Box::new(error) };
                    if error.fault().is_refusal() {
                        return Err(error.into());
                    }
                    could_not_tell = could_not_tell.or(Some(error));
                }
            }
        }
        could_not_tell.map_or(Ok(claims), |error| Err(error.into()))
    }
}

/// Examines every device of a set. All have to answer the same nonce, which the CPU's TEE derived from its channel; that
/// the CPU vouches for exactly this set is in its report data.
pub(crate) fn examine_devices(
    devices: &[DeviceEvidence],
    expected: Option<&Nonce>,
    context: &Context<'_>,
) -> SetExamination {
    let devices: Vec<Examination> = devices.iter().map(|device| examine(device, expected, context)).collect();
    let distinct = distinct(&devices).into();
    SetExamination { devices, distinct }
}

/// Refuses a set in which one device stands twice: by the key that signs, by the device's own identity, or by the serial
/// number of its certificate. One genuine report repeated eight times would otherwise pass for eight GPUs.
fn distinct(devices: &[Examination]) -> Result<(), NvidiaError> {
    let identity = |examination: &Examination| examination.claims.as_ref().and_then(|claims| claims.identity.clone());
    let mut seen: Vec<(usize, super::Identity)> = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let second = index.saturating_add(1);
        let Some(identity) = identity(device) else { continue };
        for (first, other) in &seen {
            let what = if identity.leaf_key == other.leaf_key {
                "the same key"
            } else if identity.device_id == other.device_id {
                "the same PDI"
            } else if identity.ueid == other.ueid {
                "the same serial number"
            } else {
                continue;
            };
            return Err(NvidiaError::Repeated { first: *first, second, what });
        }
        seen.push((second, identity));
    }
    Ok(())
}

/// Which Endorsements the devices cannot be judged without, each once. Nothing is verified.
pub fn needs(devices: &[DeviceEvidence]) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in devices.iter().flat_map(needs_of_one) {
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs
}

/// Examines devices by themselves, with nothing remembered and no CPU to vouch for them: for whoever looks at a file.
pub fn examine_alone(
    devices: &[DeviceEvidence],
    expected: Option<&Nonce>,
    anchors: &TrustAnchors,
    endorsements: &Endorsements,
    now: UnixTime,
) -> SetExamination {
    examine_devices(devices, expected, &Context { anchors, endorsements, now, cache: &Cache::default() })
}
