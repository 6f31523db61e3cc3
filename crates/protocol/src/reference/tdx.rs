//! Reference Values for Intel TDX, and what SGX shares with it: the rule for Intel's TCB status, and bits that must or may be
//! set.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Machines;
use crate::digest::{Hex, Measurement};
use crate::manifest::ManifestError;

/// What Intel's signed TCB info says of a platform (Intel SGX and TDX PCS API, version 4, "TCB status"). The last two are
/// not in any document: a TD 1.5 gets them when it was launched under an older TCB than the platform has by now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TcbStatus {
    /// Nothing is known against it.
    UpToDate,
    /// Software in the TEE must be built with mitigations.
    SWHardeningNeeded,
    /// The platform needs other settings.
    ConfigurationNeeded,
    /// Both.
    ConfigurationAndSWHardeningNeeded,
    /// Updates are missing.
    OutOfDate,
    /// Updates are missing, and the platform needs other settings.
    OutOfDateConfigurationNeeded,
    /// Its keys are worth nothing any more. No policy can accept this.
    Revoked,
    /// Launched out of date; a TDX module loaded since is not.
    TDRelaunchAdvised,
    /// The same, and the platform needs other settings.
    TDRelaunchAdvisedConfigurationNeeded,
}

impl TcbStatus {
    /// Every status.
    pub const ALL: [Self; 9] = [
        Self::UpToDate,
        Self::SWHardeningNeeded,
        Self::ConfigurationNeeded,
        Self::ConfigurationAndSWHardeningNeeded,
        Self::OutOfDate,
        Self::OutOfDateConfigurationNeeded,
        Self::Revoked,
        Self::TDRelaunchAdvised,
        Self::TDRelaunchAdvisedConfigurationNeeded,
    ];

    /// The name in Intel's documents and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SWHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSWHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::Revoked => "Revoked",
            Self::TDRelaunchAdvised => "TDRelaunchAdvised",
            Self::TDRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
        }
    }
}

/// LIMIT: ten years. A longer grace is the acceptance of `OutOfDate`, and is to be written as that.
pub const MAX_GRACE_DAYS: u32 = 3_650;

/// Which TCB of a platform is acceptable. TDX and SGX share it.
///
/// The default accepts `UpToDate` alone, without open advisories, whatever the number of the TCB evaluation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntelTcbPolicy {
    /// Accepted statuses, after the platform's, the TDX module's and the quoting enclave's have been put together.
    #[serde(default = "up_to_date")]
    pub statuses: BTreeSet<TcbStatus>,
    /// Advisories (`INTEL-SA-00000`) that may stand open. Every advisory that Intel names for the platform's TCB must be
    /// among them; while the grace period runs, every one that an update would leave open.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub advisories: BTreeSet<String>,
    /// For so many days a platform may be out of date.
    ///
    /// The clock starts at the `tcbDate` of the *first* TCB level that the platform misses, not of the newest one, and
    /// the earliest counts where platform, TDX module and quoting enclave each miss one. `tcbDate` is the day up to which
    /// Intel's advisories are dealt with in a level: from then on the hole is public and the update exists. It is in the
    /// signed TCB info, so that no host can move it. Every later TCB recovery leaves the clock running, so a platform that
    /// is never updated runs out of grace; were the newest level counted, each recovery would start it anew.
    ///
    /// Within the grace `OutOfDate` and `TDRelaunchAdvised` count as accepted, and their `…ConfigurationNeeded` forms
    /// where `ConfigurationNeeded` is. `Revoked` never is.
    #[serde(default)]
    pub grace_days: u32,
    /// The least `tcbEvaluationDataNumber` of TCB info and QE identity. Intel serves old and new evaluations side by side,
    /// all signed and none expired; with 0 a host may pick the oldest one that is still valid.
    pub min_evaluation_data_number: u32,
}

fn up_to_date() -> BTreeSet<TcbStatus> {
    BTreeSet::from([TcbStatus::UpToDate])
}

impl Default for IntelTcbPolicy {
    fn default() -> Self {
        Self { statuses: up_to_date(), advisories: BTreeSet::new(), grace_days: 0, min_evaluation_data_number: 0 }
    }
}

impl IntelTcbPolicy {
    /// Checks what types cannot.
    pub fn validate(&self, path: &str) -> Result<(), ManifestError> {
        if self.statuses.is_empty() {
            return invalid(path, "statuses", "empty: no platform could ever be accepted");
        }
        if self.statuses.contains(&TcbStatus::Revoked) {
            return invalid(path, "statuses", "`Revoked` cannot be accepted");
        }
        if self.grace_days > MAX_GRACE_DAYS {
            return invalid(path, "grace_days", "more than 3650");
        }
        for advisory in &self.advisories {
            if !is_advisory(advisory) {
                return invalid(path, "advisories", "not of the form `INTEL-SA-00000`");
            }
        }
        Ok(())
    }
}

fn is_advisory(text: &str) -> bool {
    text.strip_prefix("INTEL-SA-").is_some_and(|digits| digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn invalid<T>(path: &str, field: &str, reason: &str) -> Result<T, ManifestError> {
    Err(ManifestError::Invalid { path: format!("{path}.{field}"), reason: reason.to_owned() })
}

/// Bits that must be set, and bits that may be. In JSON either one hex text, which is the exact value, or
/// `{"required": …, "allowed": …}`. The bytes stand in the order of the quote (little endian).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits<const N: usize> {
    /// All of these must be set.
    pub required: Hex<N>,
    /// None but these may be set.
    pub allowed: Hex<N>,
}

impl<const N: usize> Bits<N> {
    /// Exactly this value.
    pub const fn exactly(value: [u8; N]) -> Self {
        Self { required: Hex(value), allowed: Hex(value) }
    }

    /// Whether only one value is accepted.
    pub fn is_exact(&self) -> bool {
        self.required == self.allowed
    }

    /// Whether every required bit is set.
    pub fn has_required(&self, value: &[u8; N]) -> bool {
        value.iter().zip(&self.required.0).all(|(value, required)| value & required == *required)
    }

    /// Whether no bit is set beyond the allowed ones.
    pub fn within_allowed(&self, value: &[u8; N]) -> bool {
        value.iter().zip(&self.allowed.0).all(|(value, allowed)| value & !allowed == 0)
    }

    pub(super) fn validate(&self, path: &str, field: &str, never: [u8; N]) -> Result<(), ManifestError> {
        if !self.within_allowed(&self.required.0) {
            return invalid(path, field, "requires a bit that it does not allow");
        }
        if self.allowed.0.iter().zip(&never).any(|(allowed, never)| allowed & never != 0) {
            return invalid(path, field, "allows a debug bit, which cannot be accepted");
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BitsObject<const N: usize> {
    required: Hex<N>,
    allowed: Hex<N>,
}

impl<const N: usize> Serialize for Bits<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_exact() {
            self.required.serialize(serializer)
        } else {
            BitsObject { required: self.required, allowed: self.allowed }.serialize(serializer)
        }
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bits<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected hex of the exact value or {\"required\": …, \"allowed\": …}")]
        enum Form<const N: usize> {
            Exact(Hex<N>),
            Masks(BitsObject<N>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Exact(Hex(value)) => Self::exactly(value),
            Form::Masks(BitsObject { required, allowed }) => Self { required, allowed },
        })
    }
}

/// What a runtime measurement register may hold. There is no default: a register that is not compared is written `"free"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Register {
    /// Anything: `"free"`.
    Free,
    /// One of these.
    Listed(Vec<Measurement>),
}

/// The word for [`Register::Free`].
const FREE: &str = "free";

impl Serialize for Register {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Free => serializer.serialize_str(FREE),
            Self::Listed(values) => values.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Register {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected `\"free\"` or a list of register values in hex")]
        enum Form {
            Word(String),
            List(Vec<Measurement>),
        }
        match Form::deserialize(deserializer)? {
            Form::Word(word) if word == FREE => Ok(Self::Free),
            Form::Word(_) => Err(serde::de::Error::custom("a word other than `free`")),
            Form::List(values) => Ok(Self::Listed(values)),
        }
    }
}

/// SEPT_VE_DISABLE, bit 28 of the TD attributes (Intel TDX module ABI specification, 348551, "ATTRIBUTES"): without it the
/// host can take pages away and have the guest's #VE handler run at a moment of its choosing.
pub const SEPT_VE_DISABLE: [u8; 8] = [0, 0, 0, 0x10, 0, 0, 0, 0];

/// The TUD group, bits 7 to 0 of the TD attributes: DEBUG and profiling. "If any of the bits in this group are set to 1,
/// the TD is untrusted" (same table).
pub const TD_UNDER_DEBUG: [u8; 8] = [0xff, 0, 0, 0, 0, 0, 0, 0];

const ZERO: Measurement = Measurement::from_bytes([0; 48]);

fn is_zero(value: &Measurement) -> bool {
    *value == ZERO
}

fn zero() -> Measurement {
    ZERO
}

fn only_zero() -> Vec<Measurement> {
    vec![ZERO]
}

fn sept_ve_disable() -> Bits<8> {
    Bits::exactly(SEPT_VE_DISABLE)
}

/// One acceptable kind of TD. A TD is accepted when it meets every field of one entry.
///
/// Never accepted, whatever stands here: a TD under debug, a TDX module that is not Intel's (MRSIGNERSEAM and
/// SEAMATTRIBUTES other than zero), and an MRCONFIGID that is no identity (32 bytes and 16 zeros).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxReferenceValues {
    /// What this entry is for, in people's words.
    pub platform: String,
    /// The machines, by platform instance id, as their PCK certificates name it.
    pub chip_ids: Machines<Hex<16>>,
    /// MRTD: the firmware that the TD was built from.
    pub mrtd: Vec<Measurement>,
    /// RTMR0: the virtual hardware and the firmware's settings. It differs by vCPU count and memory.
    pub rtmr0: Vec<Measurement>,
    /// RTMR1: what the firmware loaded: boot loader and kernel.
    pub rtmr1: Vec<Measurement>,
    /// RTMR2: kernel command line and initial RAM disk.
    pub rtmr2: Vec<Measurement>,
    /// RTMR3: for the guest's own use. `"free"` is safe only where nothing the guest must not do would be measured here and
    /// nowhere else.
    pub rtmr3: Register,
    /// XFAM: the processor features that the TD may use.
    pub xfam: Bits<8>,
    /// TD attributes. Left out: exactly SEPT_VE_DISABLE.
    #[serde(default = "sept_ve_disable")]
    pub td_attributes: Bits<8>,
    /// MRSEAM: the TDX module. Every module that is listed has been looked at by whoever lists it; whether Intel still
    /// thinks well of it is for the TCB status to say.
    pub mrseam: Vec<Measurement>,
    /// MROWNER. Left out: zero.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub mr_owner: Measurement,
    /// MROWNERCONFIG. Left out: zero.
    #[serde(default = "zero", skip_serializing_if = "is_zero")]
    pub mr_owner_config: Measurement,
    /// MRSERVICETD of a TD 1.5: the service TDs bound to it, a migration TD among them. Left out: zero, that is none. Zero
    /// is what a TD 1.0 counts as.
    #[serde(default = "only_zero")]
    pub mr_service_td: Vec<Measurement>,
    /// The TCB.
    pub tcb: IntelTcbPolicy,
    /// Whether hyperthreading may be on. Left out: it must be off, and the PCK certificate must say so.
    #[serde(default)]
    pub allow_smt: bool,
    /// Whether packages may be added to the platform after it was registered. Left out: no.
    #[serde(default)]
    pub allow_dynamic_platform: bool,
    /// Whether Intel's registration service may keep the platform's root keys. Left out: no.
    #[serde(default)]
    pub allow_cached_keys: bool,
}

impl TdxReferenceValues {
    /// Checks what types cannot. `path` is the JSON path of this entry.
    pub fn validate(&self, path: &str) -> Result<(), ManifestError> {
        if self.platform.is_empty() {
            return invalid(path, "platform", "empty");
        }
        if matches!(&self.chip_ids, Machines::Listed(ids) if ids.is_empty()) {
            return invalid(path, "chip_ids", "empty: no machine could ever be accepted");
        }
        let lists = [
            ("mrtd", &self.mrtd),
            ("rtmr0", &self.rtmr0),
            ("rtmr1", &self.rtmr1),
            ("rtmr2", &self.rtmr2),
            ("mrseam", &self.mrseam),
            ("mr_service_td", &self.mr_service_td),
        ];
        for (field, list) in lists {
            if list.is_empty() {
                return invalid(path, field, "empty: nothing could ever be accepted");
            }
        }
        if matches!(&self.rtmr3, Register::Listed(values) if values.is_empty()) {
            return invalid(path, "rtmr3", "empty: nothing could ever be accepted");
        }
        self.xfam.validate(path, "xfam", [0; 8])?;
        self.td_attributes.validate(path, "td_attributes", TD_UNDER_DEBUG)?;
        self.tcb.validate(&format!("{path}.tcb"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> TdxReferenceValues {
        let one = || vec![Measurement::from_bytes([1; 48])];
        TdxReferenceValues {
            platform: "metal-qemu-tdx".into(),
            chip_ids: Machines::Listed(vec![Hex([7; 16])]),
            mrtd: one(),
            rtmr0: one(),
            rtmr1: one(),
            rtmr2: one(),
            rtmr3: Register::Free,
            xfam: Bits { required: Hex([3, 0, 0, 0, 0, 0, 0, 0]), allowed: Hex([0xe7, 2, 6, 0, 0, 0, 0, 0]) },
            td_attributes: sept_ve_disable(),
            mrseam: one(),
            mr_owner: ZERO,
            mr_owner_config: ZERO,
            mr_service_td: only_zero(),
            tcb: IntelTcbPolicy { min_evaluation_data_number: 17, ..IntelTcbPolicy::default() },
            allow_smt: true,
            allow_dynamic_platform: false,
            allow_cached_keys: false,
        }
    }

    #[test]
    fn an_entry_survives_its_text() {
        let text = serde_json::to_string(&values()).unwrap();
        assert_eq!(serde_json::from_str::<TdxReferenceValues>(&text).unwrap(), values());
        assert!(values().validate("tdx[0]").is_ok());
    }

    #[test]
    fn what_is_left_out_is_the_strict_value() {
        let mut json = serde_json::to_value(values()).unwrap();
        let object = json.as_object_mut().unwrap();
        for field in ["td_attributes", "mr_service_td", "allow_smt", "allow_dynamic_platform", "allow_cached_keys"] {
            object.remove(field);
        }
        let read: TdxReferenceValues = serde_json::from_value(json).unwrap();
        assert_eq!(read.td_attributes, Bits::exactly(SEPT_VE_DISABLE));
        assert_eq!(read.mr_service_td, vec![ZERO]);
        assert!(!read.allow_smt && !read.allow_dynamic_platform && !read.allow_cached_keys);
    }

    #[test]
    fn what_must_be_said_cannot_be_left_out() {
        for field in ["platform", "chip_ids", "mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "xfam", "mrseam", "tcb"] {
            let mut json = serde_json::to_value(values()).unwrap();
            json.as_object_mut().unwrap().remove(field);
            let error = serde_json::from_value::<TdxReferenceValues>(json).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
        assert!(serde_json::from_str::<IntelTcbPolicy>("{}").is_err());
        let tcb: IntelTcbPolicy = serde_json::from_str(r#"{"min_evaluation_data_number": 0}"#).unwrap();
        assert_eq!(tcb, IntelTcbPolicy::default());
    }

    #[test]
    fn each_contradiction_names_its_path() {
        type Mutation = fn(&mut TdxReferenceValues);
        let cases: [(Mutation, &str); 17] = [
            (|v| v.platform.clear(), "tdx[0].platform"),
            (|v| v.chip_ids = Machines::Listed(vec![]), "tdx[0].chip_ids"),
            (|v| v.mrtd.clear(), "tdx[0].mrtd"),
            (|v| v.rtmr0.clear(), "tdx[0].rtmr0"),
            (|v| v.rtmr1.clear(), "tdx[0].rtmr1"),
            (|v| v.rtmr2.clear(), "tdx[0].rtmr2"),
            (|v| v.rtmr3 = Register::Listed(vec![]), "tdx[0].rtmr3"),
            (|v| v.mrseam.clear(), "tdx[0].mrseam"),
            (|v| v.mr_service_td.clear(), "tdx[0].mr_service_td"),
            (|v| v.xfam.required = Hex([0xff; 8]), "tdx[0].xfam"),
            (|v| v.td_attributes.allowed.0[0] = 1, "tdx[0].td_attributes"),
            (|v| v.td_attributes.allowed.0[0] = 0x40, "tdx[0].td_attributes"),
            (|v| v.tcb.statuses.clear(), "tdx[0].tcb.statuses"),
            (|v| assert!(v.tcb.statuses.insert(TcbStatus::Revoked)), "tdx[0].tcb.statuses"),
            (|v| v.tcb.grace_days = 3_651, "tdx[0].tcb.grace_days"),
            (|v| assert!(v.tcb.advisories.insert("SA-1".into())), "tdx[0].tcb.advisories"),
            (|v| assert!(v.tcb.advisories.insert("INTEL-SA-0061x".into())), "tdx[0].tcb.advisories"),
        ];
        for (mutate, path) in cases {
            let mut changed = values();
            mutate(&mut changed);
            let error = changed.validate("tdx[0]").unwrap_err().to_string();
            assert!(error.contains(&format!("`{path}`")), "{path}: {error}");
        }
    }

    #[test]
    fn bits_have_two_forms_and_no_third() {
        let read = serde_json::from_str::<Bits<2>>;
        assert_eq!(read(r#""0102""#).unwrap(), Bits::exactly([1, 2]));
        let masks = Bits { required: Hex([1, 0]), allowed: Hex([3, 0]) };
        assert_eq!(read(r#"{"required": "0100", "allowed": "0300"}"#).unwrap(), masks);
        assert!(masks.has_required(&[3, 0]) && masks.within_allowed(&[3, 0]));
        assert!(!masks.has_required(&[2, 0]) && !masks.within_allowed(&[1, 1]));
        for wrong in [r#""01""#, r#"{"required": "0100"}"#, r#"{"required": "0100", "allowed": "0300", "x": 1}"#, "7"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_free_register_is_said_in_so_many_words() {
        let read = serde_json::from_str::<Register>;
        assert_eq!(read(r#""free""#).unwrap(), Register::Free);
        for wrong in [r#""any""#, "null", r#"["00"]"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_status_has_its_name() {
        for status in TcbStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.name()));
        }
    }
}
