//! What a guest of a configuration measures: as digests, and as the reference values that a manifest takes.

use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use serde::Serialize;
use verifier::snp::launch::{Firmware, KernelHashes, Launch, LaunchError, Machine};

use crate::cmdline::command_line;
use crate::config::{Config, ConfigError, Tee};
use crate::tdx::{self, NOT_COMPUTED, NotComputed, TdxError};

/// What cannot be measured.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValuesError {
    /// The command line.
    #[error("the kernel's command line")]
    Config(#[from] ConfigError),
    /// The launch of an SEV-SNP guest.
    #[error("launch digests")]
    Launch(#[from] LaunchError),
    /// The firmware of a TD.
    #[error("MRTD")]
    Tdx(#[from] TdxError),
    /// The machine's values are of another kind.
    #[error("the values of the machine have no entry for {}", tee.name())]
    OtherTee {
        /// What was wanted.
        tee: Tee,
    },
    /// The machine ran another firmware.
    #[error("the machine's values have the MRTD {machine}, and this firmware has {computed}")]
    Mrtd {
        /// What was seen there.
        machine: String,
        /// What was computed.
        computed: Measurement,
    },
}

/// One launch digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LaunchDigest {
    /// With how many vCPUs.
    pub vcpus: u32,
    /// The digest.
    pub measurement: Measurement,
}

/// What a guest measures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measured {
    /// SEV-SNP: for every number of vCPUs.
    Snp {
        /// In ascending order.
        launch_digests: Vec<LaunchDigest>,
    },
    /// TDX: what can be computed, and what cannot.
    Tdx {
        /// The firmware.
        mrtd: Measurement,
        /// The command line.
        rtmr2: Measurement,
        /// The rest.
        not_computed: [NotComputed; 2],
    },
}

/// Measures a guest of this configuration with these files. `vcpus` and `machine` are for SEV-SNP.
pub fn measure(
    config: &Config,
    kernel: &[u8],
    firmware: &[u8],
    vcpus: std::ops::RangeInclusive<u32>,
    machine: &Machine,
) -> Result<(String, Measured), ValuesError> {
    let line = command_line(config)?;
    let measured = match config.tee {
        Tee::Snp => {
            let firmware = Firmware::parse(firmware)?;
            let hashes = KernelHashes::of(kernel, &[], line.as_bytes());
            let launch = Launch::measure(&firmware, Some(&hashes), machine)?;
            let digests = launch.digests(vcpus)?;
            let launch_digests = digests.map(|(vcpus, measurement)| LaunchDigest { vcpus, measurement }).collect();
            Measured::Snp { launch_digests }
        }
        Tee::Tdx => Measured::Tdx { mrtd: tdx::mrtd(firmware)?, rtmr2: tdx::rtmr2(&line), not_computed: NOT_COMPUTED },
    };
    Ok((line, measured))
}

/// The machine's own values with what this guest measures in the place of what ran there. Only a machine knows its TCB,
/// its chip and, on TDX, what its host puts into RTMR0 and RTMR1.
pub fn complete(
    machine: &ReferenceValues,
    platform: &str,
    measured: &Measured,
) -> Result<ReferenceValues, ValuesError> {
    let mut values = ReferenceValues::default();
    match measured {
        Measured::Snp { launch_digests } => {
            for entry in &machine.snp {
                let mut entry = entry.clone();
                platform.clone_into(&mut entry.platform);
                entry.measurements = launch_digests.iter().map(|digest| digest.measurement).collect();
                values.snp.push(entry);
            }
            if values.snp.is_empty() {
                return Err(ValuesError::OtherTee { tee: Tee::Snp });
            }
        }
        Measured::Tdx { mrtd, rtmr2, .. } => {
            for entry in &machine.tdx {
                if !entry.mrtd.contains(mrtd) {
                    let machine = entry.mrtd.first().map_or_else(|| "of nothing".to_owned(), ToString::to_string);
                    return Err(ValuesError::Mrtd { machine, computed: *mrtd });
                }
                let mut entry = entry.clone();
                platform.clone_into(&mut entry.platform);
                entry.mrtd = vec![*mrtd];
                entry.rtmr2 = vec![*rtmr2];
                values.tdx.push(entry);
            }
            if values.tdx.is_empty() {
                return Err(ValuesError::OtherTee { tee: Tee::Tdx });
            }
        }
    }
    // Devices go with the platform's entries and are the same ones.
    for devices in &machine.devices {
        let mut devices = devices.clone();
        platform.clone_into(&mut devices.platform);
        values.devices.push(devices);
    }
    Ok(values)
}
