//! GPUs and switches that have to be one fabric: what they say of each other, compared.
//!
//! A GPU reports the PDIs of the switches that its links lead to, a switch its own PDI and those of the GPUs at its ports.
//! A GPU's report does not have its own PDI, but its certificate does: the serial number of the boot ROM's certificate ends
//! in it (so in all eight GPUs of the one published set, and in every switch). So both directions can be compared, and a
//! GPU that was put in from another machine is named even where all of that machine's switches look alike.
//!
//! How many GPUs and switches there have to be is for the reference values; nothing here knows of eight and four.

use protocol::evidence::DeviceKind;
use protocol::reference::device::{DeviceId, GpuMode};

use super::claims::Claims;

/// What is wrong between the devices of one fabric.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A device is not known by its certificates: nothing can be said of its place.
    #[error("device {position} has no identity")]
    NoIdentity {
        /// Its place, from 1.
        position: usize,
    },
    /// A device names a neighbour that is not in the set: that one was dropped, or this device is of another machine.
    #[error("{} {device} is linked with {} {peer}, which is not in the set", kind.name(), other(*kind).name())]
    Missing {
        /// The kind of the device that says so.
        kind: DeviceKind,
        /// Its identity.
        device: DeviceId,
        /// The missing one.
        peer: DeviceId,
    },
    /// A device of the set is not named by a neighbour: it was added, or swapped for another.
    #[error("{} {device} is not linked with {} {peer}, which is in the set", kind.name(), other(*kind).name())]
    Stranger {
        /// The kind of the device that does not name it.
        kind: DeviceKind,
        /// Its identity.
        device: DeviceId,
        /// The stranger.
        peer: DeviceId,
    },
    /// The routes of a switch can still be changed.
    #[error("switch {device} is not locked")]
    Unlocked {
        /// Its identity.
        device: DeviceId,
    },
    /// A GPU that trusts its NVLinks and its PCIe alike.
    #[error("gpu {device} does not protect PCIe, it runs in mode {}", mode.name())]
    Unprotected {
        /// Its identity.
        device: DeviceId,
        /// How it runs.
        mode: GpuMode,
    },
}

const fn other(kind: DeviceKind) -> DeviceKind {
    match kind {
        DeviceKind::Gpu => DeviceKind::Switch,
        DeviceKind::Switch => DeviceKind::Gpu,
    }
}

/// Everything that is wrong between these devices. It rests on claims alone, so it means something only for devices that
/// were verified.
pub fn check(devices: &[Claims]) -> Vec<TopologyError> {
    let mut errors = Vec::new();
    let mut known: Vec<(DeviceId, &Claims)> = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        match &device.identity {
            Some(identity) => known.push((identity.device_id, device)),
            None => errors.push(TopologyError::NoIdentity { position: index.saturating_add(1) }),
        }
    }
    for (device, claims) in &known {
        let (device, report) = (*device, &claims.report);
        let kind = report.kind;
        let peers: Vec<DeviceId> =
            known.iter().filter(|(_, peer)| peer.report.kind == other(kind)).map(|(id, _)| *id).collect();
        let missing = report.peers.iter().filter(|peer| !peers.contains(peer));
        errors.extend(missing.map(|peer| TopologyError::Missing { kind, device, peer: *peer }));
        let strangers = peers.iter().filter(|peer| !report.peers.contains(peer));
        errors.extend(strangers.map(|peer| TopologyError::Stranger { kind, device, peer: *peer }));
        match kind {
            DeviceKind::Switch if report.locked != Some(true) => errors.push(TopologyError::Unlocked { device }),
            DeviceKind::Gpu => {
                // Drivers before the 590 series do not report the mode, but the state of PCIe.
                let protected = match report.mode {
                    GpuMode::Ppcie => true,
                    GpuMode::Unstated => report.protected_pcie == Some(true),
                    _ => false,
                };
                if !protected {
                    errors.push(TopologyError::Unprotected { device, mode: report.mode });
                }
            }
            DeviceKind::Switch => {}
        }
    }
    errors
}
