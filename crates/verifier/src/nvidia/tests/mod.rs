//! Devices of the rig: one yes for each architecture, and a no with a name for everything that can be wrong.

mod layers;
mod policy;
mod report;
mod sets;

use protocol::Nonce;
use protocol::evidence::DeviceEvidence;
use testkit::nvidia::{Chip, TestDevice, TestNvidia, TestReport, field};
use testkit::rim::{RimAuthority, TestRim};

use super::{Claims, Examination, NvidiaError, SetExamination};
use crate::anchors::danger;
use crate::context::{Cache, Context};
use crate::endorsements::EndorsementKind;
use crate::{Endorsements, Outcome, TrustAnchors, UnixTime, VerifyError};
use protocol::Digest;

/// 2026-06-01, when the rig's certificates and its signer of manifests hold.
const NOW: UnixTime = UnixTime(1_780_272_000);
const NONCE: [u8; 32] = [0x5a; 32];
const PDI: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const FWID: [u8; 48] = [0xf1; 48];

/// An NVIDIA, a signer of manifests, and what a Verifier has of them.
struct Rig {
    nvidia: TestNvidia,
    rims: RimAuthority,
    anchors: TrustAnchors,
    endorsements: Endorsements,
    cache: Cache,
    now: UnixTime,
}

impl Rig {
    /// A rig with the manifests of every chip.
    fn new() -> Self {
        let mut rig = Self::bare();
        for chip in Chip::ALL {
            for manifest in TestReport::new(chip, NONCE).manifests() {
                rig.add(&manifest);
            }
        }
        rig
    }

    fn bare() -> Self {
        let (nvidia, rims) = (TestNvidia::new(), RimAuthority::new());
        let none = Digest::ZERO;
        let anchors = danger::anchors([none; 3], none, nvidia.root(), rims.root(), &[]);
        Self { nvidia, rims, anchors, endorsements: Endorsements::default(), cache: Cache::default(), now: NOW }
    }

    fn add(&mut self, manifest: &TestRim) {
        let document = self.rims.sign(manifest);
        self.endorsements.add(EndorsementKind::Rim, document.as_bytes()).unwrap();
    }

    fn context(&self) -> Context<'_> {
        Context { anchors: &self.anchors, endorsements: &self.endorsements, now: self.now, cache: &self.cache }
    }

    fn device(&self, chip: Chip) -> TestDevice {
        self.nvidia.device(chip, PDI, FWID)
    }

    fn examine(&self, evidence: &DeviceEvidence) -> Examination {
        super::examine::examine(evidence, Some(&Nonce(NONCE)), &self.context())
    }

    fn examine_all(&self, devices: &[DeviceEvidence]) -> SetExamination {
        super::examine_devices(devices, Some(&Nonce(NONCE)), &self.context())
    }

    /// The error that one device ends in.
    fn refuse(&self, evidence: &DeviceEvidence) -> VerifyError {
        self.examine(evidence).verdict().unwrap_err()
    }

    /// The claims of one device that holds.
    fn accept(&self, evidence: &DeviceEvidence) -> Claims {
        self.examine(evidence).verdict().unwrap().clone()
    }
}

/// A genuine report that names its firmware.
fn report(chip: Chip) -> TestReport {
    let mut report = TestReport::new(chip, NONCE);
    report.set(field::FWID, FWID.to_vec());
    if chip == Chip::Ls10 {
        report.set(field::PDI, PDI.to_vec());
    }
    report
}

/// The device's own error in a verdict.
fn nvidia(error: VerifyError) -> NvidiaError {
    match error {
        VerifyError::Nvidia(error) => error,
        other => panic!("not a device's error: {other:?}"),
    }
}

/// The names of the layers that hold, and of those that do not, with the stable name of the error.
fn summary(examination: &Examination) -> String {
    let lines: Vec<_> = examination
        .layers
        .list()
        .into_iter()
        .map(|(name, outcome)| match outcome {
            Outcome::Holds => format!("{name}: holds"),
            Outcome::Fails(error) => format!("{name}: {}", error.code()),
            Outcome::Skipped { needs } => format!("{name}: needs {needs}"),
        })
        .collect();
    lines.join("\n")
}
