//! Reference Values for NVIDIA GPUs and NVSwitches.
//!
//! One entry describes the whole set of devices that a TEE brings: how many, of which kind, with which firmware. What the
//! measurements have to be is not written here: NVIDIA's signed manifests (RIMs) say that, for each version, and the
//! verifier always compares them. An entry says which of those versions are wanted.
//!
//! # What no entry can ask for
//!
//! **Developer tools mode.** No field of a Hopper, Blackwell or NVSwitch report states it; NVIDIA's tools read it from the
//! driver, outside the signed report. A GPU in that mode differs in its measurements, so the comparison with the RIMs is
//! what refuses it, which is why that comparison cannot be switched off. A Blackwell certificate with the debug flag of
//! DICE's TcbInfo set is refused as well.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Machines;
use super::tdx::invalid;
use crate::digest::{Digest, Hex};
use crate::evidence::Evidence;
use crate::manifest::ManifestError;

/// The identity that a device is born with: what NVIDIA calls its PDI. It is the serial number of the certificate of the
/// device's boot ROM without its first byte, and the number under which switches and GPUs know each other.
pub type DeviceId = Hex<8>;

/// What the devices of one TEE have to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceReferenceValues {
    /// What this entry is for, in people's words.
    pub platform: String,
    /// How many GPUs, exactly.
    pub gpus: u32,
    /// How many NVSwitches, exactly.
    #[serde(default)]
    pub switches: u32,
    /// Whether GPUs and switches must be one fabric.
    pub topology: Topology,
    /// Which devices: `"any"` or a list of PDIs.
    pub device_ids: Machines<DeviceId>,
    /// Which architectures.
    pub architectures: Vec<Architecture>,
    /// Which models, by the common name of the boot ROM's certificate, `GH100 A01 GSP BROM`.
    pub hwmodels: Vec<String>,
    /// Which GPU drivers.
    pub driver_versions: Versions,
    /// Which GPU VBIOSes.
    pub vbios_versions: Versions,
    /// Which firmware of switches. Absent: as no version is named, no switch is accepted.
    #[serde(default, skip_serializing_if = "Versions::is_empty")]
    pub switch_bios_versions: Versions,
    /// How the GPUs may run.
    pub modes: Vec<GpuMode>,
    /// Which RIM signers: `"any"` under NVIDIA's RIM root, or SHA-256 fingerprints of their certificates.
    pub rim_signers: Machines<Digest>,
    /// Whether NVIDIA's word on the standing of each certificate is needed. Absent: `required`.
    #[serde(default)]
    pub ocsp: OcspPolicy,
    /// Whether a GPU's report that does not name its firmware is acceptable. Absent: `required`. Switches never name it, and
    /// are not asked to; what any device names is always compared.
    #[serde(default)]
    pub fwid: FwidPolicy,
    /// What the state of the video decoder NVDEC0 has to be. Absent: not compared. That is safe, because the state is in
    /// the signed report and only decides whether measurement 35, which is that decoder's firmware, is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvdec0: Option<Nvdec0>,
}

impl DeviceReferenceValues {
    /// Whether the entry makes sense; `path` is where it stands in the manifest.
    pub fn validate(&self, path: &str) -> Result<(), ManifestError> {
        let Self { gpus, switches, .. } = self;
        if self.platform.is_empty() {
            return invalid(path, "platform", "empty");
        }
        let devices = gpus.saturating_add(*switches);
        if devices == 0 {
            return invalid(path, "gpus", "no GPU and no switch: leave the entry out");
        }
        if usize::try_from(devices).is_ok_and(|devices| devices > Evidence::MAX_DEVICES) {
            return invalid(path, "gpus", "more devices than a machine holds");
        }
        match &self.device_ids {
            Machines::Listed(ids) if ids.len() < usize::try_from(devices).unwrap_or(usize::MAX) => {
                return invalid(path, "device_ids", "fewer than there are devices: nothing could ever be accepted");
            }
            Machines::Listed(_) | Machines::Any => {}
        }
        if self.topology == Topology::Switched && (*gpus == 0 || *switches == 0) {
            return invalid(path, "topology", "`switched` needs GPUs and switches");
        }
        if self.topology == Topology::Switched && !self.modes.iter().any(|mode| mode.may_protect_pcie()) {
            return invalid(path, "modes", "`switched` needs `ppcie`, or `unstated` for older drivers");
        }
        // NVLink is in clear there: only the comparison of the whole fabric says who is at the other end.
        if self.topology != Topology::Switched && self.modes.contains(&GpuMode::Ppcie) {
            return invalid(path, "modes", "`ppcie` leaves NVLink in clear: it needs the topology `switched`");
        }
        let architecture = |wanted: fn(&Architecture) -> bool| self.architectures.iter().any(wanted);
        if *gpus > 0 && !architecture(|architecture| *architecture != Architecture::Ls10) {
            return invalid(path, "architectures", "there are GPUs, and no architecture of a GPU");
        }
        if *switches > 0 && !architecture(|architecture| *architecture == Architecture::Ls10) {
            return invalid(path, "architectures", "there are switches, and no architecture of a switch");
        }
        let nothing = "empty: nothing could ever be accepted";
        for (field, is_empty) in [
            ("hwmodels", self.hwmodels.is_empty()),
            ("driver_versions", *gpus > 0 && self.driver_versions.is_empty()),
            ("vbios_versions", *gpus > 0 && self.vbios_versions.is_empty()),
            ("switch_bios_versions", *switches > 0 && self.switch_bios_versions.is_empty()),
            ("modes", *gpus > 0 && self.modes.is_empty()),
            ("rim_signers", matches!(&self.rim_signers, Machines::Listed(signers) if signers.is_empty())),
        ] {
            if is_empty {
                return invalid(path, field, nothing);
            }
        }
        Ok(())
    }
}

/// Architectures of devices.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Architecture {
    /// GH100: H100, H200, H800, H20.
    Hopper,
    /// GB10x and GB20x: B200, B300, RTX PRO 6000.
    Blackwell,
    /// The NVSwitch of Hopper systems.
    Ls10,
}

impl Architecture {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hopper => "hopper",
            Self::Blackwell => "blackwell",
            Self::Ls10 => "ls10",
        }
    }
}

/// How a GPU runs, as its report says (opaque field 36).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GpuMode {
    /// One GPU for one guest.
    Spt,
    /// Several GPUs for one guest, NVLink encrypted.
    Mpt,
    /// Several GPUs and switches for one guest: PCIe is protected and NVLink is in clear, inside the board.
    Ppcie,
    /// The report does not say: drivers before the 590 series.
    Unstated,
}

impl GpuMode {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spt => "spt",
            Self::Mpt => "mpt",
            Self::Ppcie => "ppcie",
            Self::Unstated => "unstated",
        }
    }

    /// Whether a GPU in this mode can be one of a fabric.
    const fn may_protect_pcie(self) -> bool {
        matches!(self, Self::Ppcie | Self::Unstated)
    }
}

/// Whether GPUs and switches must be one fabric.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// Every GPU stands alone, and the reports' words about neighbours are not compared. A GPU whose NVLink is in clear
    /// (mode `ppcie`, or PCIe protected) is never accepted: nobody would know who is at the other end.
    Independent,
    /// Every GPU names exactly the switches of the set, every switch names exactly the GPUs of the set, every switch is
    /// locked and every GPU protects PCIe.
    Switched,
}

impl Topology {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Switched => "switched",
        }
    }
}

/// Whether NVIDIA's word (OCSP) on the standing of each certificate is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OcspPolicy {
    /// Every certificate that names a responder must be in good standing now.
    #[default]
    Required,
    /// Where there is a response it counts, and where there is none the chain is enough. A response by NVIDIA that does not
    /// know a certificate, or that has run out, is a response: it does not clear the certificate, and that cannot be told.
    IfGiven,
}

impl OcspPolicy {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::IfGiven => "if-given",
        }
    }
}

/// Whether a report has to name the firmware that its certificate was issued to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FwidPolicy {
    /// It has to.
    #[default]
    Required,
    /// It need not: drivers before the 550 series leave it out.
    IfReported,
}

impl FwidPolicy {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::IfReported => "if-reported",
        }
    }
}

/// The state of a GPU's first video decoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nvdec0 {
    /// In use: its firmware is measured.
    Enabled,
    /// Not in use.
    Disabled,
}

impl Nvdec0 {
    /// The name in manifests and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// Which versions are accepted: a list, or everything from one on (`{"from": "550.90.07"}`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Versions {
    /// These.
    Listed(Vec<Version>),
    /// This and later ones.
    From(Version),
}

impl Default for Versions {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Versions {
    /// Whether no version is accepted.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Listed(versions) if versions.is_empty())
    }

    /// Whether a version is accepted. Text that is no version never is.
    pub fn contains(&self, version: &str) -> bool {
        let Ok(version) = version.parse::<Version>() else { return false };
        match self {
            Self::Listed(versions) => versions.contains(&version),
            Self::From(floor) => version >= *floor,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    from: Version,
}

impl Serialize for Versions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Listed(versions) => versions.serialize(serializer),
            Self::From(from) => Floor { from: from.clone() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a list of versions or `{\"from\": VERSION}`")]
        enum Form {
            List(Vec<Version>),
            From(Floor),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::List(versions) => Self::Listed(versions),
            Form::From(Floor { from }) => Self::From(from),
        })
    }
}

/// A version: up to eight parts of letters and digits between dots, `550.90.07`, `96.00.5E.00.01`. Parts compare as numbers in base
/// 36, so that `96.00.9F` comes before `96.00.A5` and `535.86.09` before `550.9`; a missing part is 0.
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    parts: Vec<u64>,
}

/// LIMIT: a part of this many base-36 digits fits in 64 bits with room to spare.
const PART_DIGITS: usize = 8;
/// LIMIT: NVIDIA's longest version has five parts.
const PARTS: usize = 8;

/// Text that is no version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not a version like 550.90.07")]
pub struct ParseVersionError {
    text: String,
}

impl Version {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParseVersionError { text: text.chars().take(40).filter(|c| !c.is_control()).collect() };
        let mut parts = Vec::new();
        for part in text.split('.') {
            if part.is_empty() || part.len() > PART_DIGITS || parts.len() == PARTS {
                return Err(bad());
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(bad());
            }
            parts.push(u64::from_str_radix(part, 36).map_err(|_| bad())?);
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.parts.len().max(other.parts.len());
        let part = |version: &Self, index: usize| version.parts.get(index).copied().unwrap_or(0);
        (0..longest)
            .map(|index| part(self, index).cmp(&part(other, index)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_compare_by_their_parts() {
        for (older, newer) in [
            ("535.86.09", "550.9"),
            ("550.54.15", "550.90.07"),
            ("96.00.9F.00.01", "96.00.A5.00.01"),
            ("96.00.a5.00.01", "96.00.A5.00.02"),
            ("9", "10"),
        ] {
            assert!(version(older) < version(newer), "{older} {newer}");
        }
        assert_eq!(version("590.12"), version("590.12.00"));
        assert_eq!(version("96.00.a5"), version("96.00.A5"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", ".", "1.", "1..2", "1.2-3", "1 2", "123456789", "1.2.3.4.5.6.7.8.9", "+1", "1.-2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_floor_or_a_list_is_said_in_so_many_words() {
        let read = serde_json::from_str::<Versions>;
        let floor = read(r#"{"from":"550.90.07"}"#).unwrap();
        assert!(floor.contains("550.90.07") && floor.contains("590.12") && !floor.contains("535.86.09"));
        assert_eq!(serde_json::to_string(&floor).unwrap(), r#"{"from":"550.90.07"}"#);
        let list = read(r#"["550.90.07"]"#).unwrap();
        assert!(list.contains("550.90.07") && !list.contains("550.90.08") && !list.contains("not a version"));
        assert!(read("[]").unwrap().is_empty());
        for wrong in ["null", r#""550""#, r#"{"from":"550","to":"560"}"#, "{}", r#"[""]"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn entries_that_accept_nothing_are_refused_by_field() {
        type Change = fn(&mut DeviceReferenceValues);
        let cases: [(&str, Change); 17] = [
            ("platform", |v| v.platform = String::new()),
            ("gpus", |v| (v.gpus, v.switches) = (0, 0)),
            ("gpus", |v| v.gpus = 16),
            ("gpus", |v| v.gpus = u32::MAX),
            ("device_ids", |v| v.device_ids = Machines::Listed(vec![Hex([1; 8]); 11])),
            ("topology", |v| v.switches = 0),
            ("topology", |v| v.gpus = 0),
            ("modes", |v| v.modes = vec![GpuMode::Spt, GpuMode::Mpt]),
            ("modes", |v| v.topology = Topology::Independent),
            ("modes", |v| (v.topology, v.modes) = (Topology::Independent, vec![GpuMode::Spt, GpuMode::Ppcie])),
            ("architectures", |v| v.architectures = vec![Architecture::Hopper]),
            ("architectures", |v| v.architectures = vec![Architecture::Ls10]),
            ("hwmodels", |v| v.hwmodels.clear()),
            ("driver_versions", |v| v.driver_versions = Versions::default()),
            ("vbios_versions", |v| v.vbios_versions = Versions::default()),
            ("switch_bios_versions", |v| v.switch_bios_versions = Versions::default()),
            ("rim_signers", |v| v.rim_signers = Machines::Listed(vec![])),
        ];
        let hgx: DeviceReferenceValues = serde_json::from_str(
            r#"{"platform":"HGX","gpus":8,"switches":4,"topology":"switched","device_ids":"any",
            "architectures":["hopper","ls10"],"hwmodels":["GH100 A01 GSP BROM","LS_10 A01 FSP BROM"],
            "driver_versions":{"from":"590.12"},"vbios_versions":["96.00.A5.00.01"],
            "switch_bios_versions":["96.10.73.00.01"],"modes":["ppcie"],"rim_signers":"any"}"#,
        )
        .unwrap();
        assert_eq!(hgx.validate("devices[0]"), Ok(()));
        for (field, change) in cases {
            let mut changed = hgx.clone();
            change(&mut changed);
            let error = changed.validate("devices[0]").unwrap_err().to_string();
            assert!(error.contains(&format!("devices[0].{field}`")), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_is_strict_and_what_is_unknown_is_refused() {
        let text = r#"{"platform":"H100","gpus":1,"topology":"independent","device_ids":"any","architectures":["hopper"],
            "hwmodels":["GH100 A01 GSP BROM"],"driver_versions":{"from":"550.90.07"},
            "vbios_versions":["96.00.9F.00.01"],"modes":["spt"],"rim_signers":"any"}"#;
        let values: DeviceReferenceValues = serde_json::from_str(text).unwrap();
        assert_eq!((values.switches, values.ocsp, values.fwid), (0, OcspPolicy::Required, FwidPolicy::Required));
        assert!(values.switch_bios_versions.is_empty());
        let again: DeviceReferenceValues = serde_json::from_str(&serde_json::to_string(&values).unwrap()).unwrap();
        assert_eq!(again, values);
        let more = text.replacen('{', r#"{"devtools":true,"#, 1);
        assert!(serde_json::from_str::<DeviceReferenceValues>(&more).is_err());
        for field in ["gpus", "topology", "device_ids", "architectures", "hwmodels", "modes", "rim_signers"] {
            let less = text.replace(&format!("\"{field}\""), "\"platform\"");
            assert!(serde_json::from_str::<DeviceReferenceValues>(&less).is_err(), "{field}");
        }
    }
}
