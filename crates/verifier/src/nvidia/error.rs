//! Why a device's Evidence was not accepted, by whose fault.

use protocol::digest::Hex;
use protocol::evidence::DeviceKind;
use protocol::reference::device::Architecture;

use super::spdm::{MAX_REPORT, Part};
use crate::error::{Fault, VerifyError};

/// Why a device's Evidence was not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NvidiaError {
    /// Malformed: larger than any report.
    #[error("device report of {got} bytes, at most {MAX_REPORT} are read")]
    ReportTooLong {
        /// Its size.
        got: usize,
    },
    /// Malformed: it ends too early.
    #[error("the {part} wants {needed} bytes more, {left} are left")]
    TooShort {
        /// Where.
        part: Part,
        /// How many are wanted.
        needed: usize,
        /// How many there are.
        left: usize,
    },
    /// Malformed: a byte of a header that has one right value.
    #[error("{field} of the {part} is {got:#04x}, expected {expected:#04x}")]
    Header {
        /// Where.
        part: Part,
        /// Which byte.
        field: &'static str,
        /// What it is.
        got: u8,
        /// What it has to be; for a slot, at most.
        expected: u8,
    },
    /// Unsupported: another version of SPDM than 1.1.
    #[error("the {part} is SPDM {major}.{minor}, this release reads 1.1")]
    SpdmVersion {
        /// Where.
        part: Part,
        /// The major version.
        major: u8,
        /// The minor version.
        minor: u8,
    },
    /// Malformed: bytes that nothing asked for.
    #[error("{got} bytes follow the {part}")]
    Trailing {
        /// What they follow.
        part: Part,
        /// How many.
        got: usize,
    },
    /// Malformed: no measurements, or more than there are indices.
    #[error("{got} measurement blocks, from 1 to 254 are read")]
    BlockCount {
        /// How many.
        got: usize,
    },
    /// Malformed: a measurement that is no SHA-384 digest.
    #[error("measurement block {index} holds {got} bytes, expected {expected}")]
    BlockSize {
        /// Its SPDM index.
        index: u8,
        /// Its size.
        got: u16,
        /// The size of a block with a SHA-384 digest.
        expected: u16,
    },
    /// Malformed: an index that SPDM reserves.
    #[error("measurement index {index} is reserved")]
    BlockIndex {
        /// The index.
        index: u8,
    },
    /// Malformed: a measurement in the clear, where a digest has to be.
    #[error("measurement block {index} is no digest")]
    RawMeasurement {
        /// Its SPDM index.
        index: u8,
    },
    /// Malformed: one index, two measurements.
    #[error("measurement block {index} stands twice")]
    DuplicateMeasurement {
        /// The SPDM index.
        index: u8,
    },
    /// Malformed: more opaque fields than NVIDIA has kinds.
    #[error("more than 64 opaque fields")]
    TooManyFields,
    /// Malformed: one kind, two fields.
    #[error("opaque field {kind} stands twice")]
    DuplicateField {
        /// The kind.
        kind: u16,
    },
    /// Unsupported: a field that this release does not know.
    #[error("opaque field {kind} is not known to this release")]
    UnknownField {
        /// The kind.
        kind: u16,
    },
    /// Unsupported: a version of the opaque fields that this release does not know.
    #[error("opaque fields of version {got}, this release reads up to 1")]
    OpaqueVersion {
        /// The version.
        got: u64,
    },
    /// Malformed: a field that every such report has.
    #[error("the report has no {field}")]
    MissingField {
        /// Which.
        field: &'static str,
    },
    /// Malformed: a field of another size.
    #[error("{field} has {got} bytes, expected {expected}")]
    FieldSize {
        /// Which.
        field: &'static str,
        /// Its size.
        got: usize,
        /// The size that is read.
        expected: &'static str,
    },
    /// Malformed: a field that is not the text it has to be.
    #[error("{field} is not printable text without spaces")]
    FieldText {
        /// Which.
        field: &'static str,
    },
    /// Malformed: a field with a value that means nothing.
    #[error("{field} is {got:#x}, which means nothing")]
    FieldValue {
        /// Which.
        field: &'static str,
        /// Its value.
        got: u64,
    },
    /// Malformed: the report is of one kind of device and is presented as another.
    #[error("presented as a {}, and its report is a {}'s", presented.name(), reported.name())]
    OtherKind {
        /// As what it was presented.
        presented: DeviceKind,
        /// Whose fields the report has.
        reported: DeviceKind,
    },
    /// Malformed: a device's chain has five certificates.
    #[error("a device chain of {got} certificates, expected 5")]
    ChainLength {
        /// How many.
        got: usize,
    },
    /// Unsupported: a chip that this release does not know.
    #[error("chip `{chip}` is not known to this release")]
    UnknownChip {
        /// As the certificate names it.
        chip: String,
    },
    /// Not genuine: a certificate's name is not that of its place in a device's chain.
    #[error("certificate `{certificate}` is not named as a {expected}")]
    CertificateRole {
        /// The subject's common name.
        certificate: String,
        /// What stands in its place in a device's chain.
        expected: &'static str,
    },
    /// Not genuine: two certificates of one chain are of different chips.
    #[error("certificate `{certificate}` is of another chip than `{leaf}`")]
    ChipsDiffer {
        /// The one.
        certificate: String,
        /// The leaf's name.
        leaf: String,
    },
    /// Not genuine: certificates and report are of different architectures.
    #[error("the certificates are of architecture {}, and {field} is {reported}", certified.name())]
    OtherArchitecture {
        /// As the certificates have it.
        certified: Architecture,
        /// Which field of the report speaks of another one.
        field: &'static str,
        /// What it says.
        reported: String,
    },
    /// Malformed: a boot ROM's certificate without the device's identity in its serial number.
    #[error("certificate `{certificate}` has no device identity in its serial number")]
    NoDeviceId {
        /// The subject's common name.
        certificate: String,
    },
    /// Not genuine: a switch's own identity is not the one that it was certified with.
    #[error("the report's PDI is {reported}, the certified one is {certified}")]
    OtherDeviceId {
        /// As the report has it.
        reported: Hex<8>,
        /// As the certificate has it.
        certified: Hex<8>,
    },
    /// Malformed: the leaf does not say for which firmware it was issued.
    #[error("the device certificate names no firmware (extension {oid}): {reason}")]
    NoFwid {
        /// The extension that has it.
        oid: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not genuine: the key was issued to other firmware than the one that reports.
    #[error("firmware id is {reported}, the device certificate was issued to {certified}")]
    Fwid {
        /// As the report has it.
        reported: Hex<48>,
        /// As the certificate has it.
        certified: Hex<48>,
    },
    /// Contraindicated: the device's certificate was issued to a device that can be debugged.
    #[error("the device certificate says that the device is {state}")]
    UnsafeState {
        /// Which flag of DICE's TcbInfo is set.
        state: &'static str,
    },
    /// Not genuine: the leaf's key did not make the signature.
    #[error("the report's signature is not by `{leaf}`")]
    Signature {
        /// The leaf's name.
        leaf: String,
    },
    /// Unbound: genuine, and made for another channel or at another time.
    #[error("the report is for nonce {got}, expected {expected}")]
    Nonce {
        /// The report's.
        got: Hex<32>,
        /// This channel's.
        expected: Hex<32>,
    },
    /// Not genuine: two manifests claim one measurement, so that neither can be believed for it.
    #[error("driver and VBIOS manifest both claim measurement {}", list(indices))]
    RimConflict {
        /// The indices.
        indices: Vec<u32>,
    },
    /// Unsupported: a manifest without one measurement to compare.
    #[error("manifest `{id}` compares nothing")]
    RimEmpty {
        /// Its id.
        id: String,
    },
    /// Contraindicated: the firmware is not what NVIDIA's manifests say.
    #[error("{}", differences_text(differences))]
    Measurements {
        /// Every difference.
        differences: Vec<Difference>,
    },
    /// Malformed: one device stands twice in one set.
    #[error("device {second} is device {first} once more ({what})")]
    Repeated {
        /// Its first place, from 1.
        first: usize,
        /// Its second place, from 1.
        second: usize,
        /// What both have in common.
        what: &'static str,
    },
    /// A device of a set does not hold.
    #[error("device {position} ({device})")]
    Device {
        /// Its place, from 1.
        position: usize,
        /// What it is, as far as that is known.
        device: String,
        /// Why.
        #[source]
        error: Box<VerifyError>,
    },
}

/// One measurement that is not what a manifest says.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Difference {
    /// The manifest's index: one less than SPDM's.
    pub index: u32,
    /// What NVIDIA calls it.
    pub name: Option<String>,
    /// Which manifest.
    pub manifest: &'static str,
    /// What the manifest accepts.
    pub expected: Vec<Hex<48>>,
    /// What the device measured; `None` when it did not report it.
    pub got: Option<Hex<48>>,
}

/// LIMIT: differences that a line spells out; the others are numbered, and JSON has all.
const SPELLED: usize = 2;

fn short(digest: &Hex<48>) -> String {
    let mut text = digest.to_string();
    text.truncate(12);
    text
}

fn differences_text(differences: &[Difference]) -> String {
    let indices: Vec<u32> = differences.iter().map(|difference| difference.index).collect();
    let mut text = format!("measurement {} not as the manifest says", list(&indices));
    for Difference { index, name, manifest, expected, got } in differences.iter().take(SPELLED) {
        let expected: Vec<_> = expected.iter().take(SPELLED).map(short).collect();
        let got = got.as_ref().map_or_else(|| "none".to_owned(), short);
        let name = name.as_deref().unwrap_or("unnamed");
        text.push_str(&format!("; {index} ({name}): {got}, {manifest} manifest has {}", expected.join(" or ")));
    }
    text
}

/// LIMIT: numbers that a line holds.
const NUMBERS: usize = 12;

fn list(numbers: &[u32]) -> String {
    let mut text = numbers.iter().take(NUMBERS).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if numbers.len() > NUMBERS {
        text.push_str(&format!(" and {} more", numbers.len().saturating_sub(NUMBERS)));
    }
    text
}

impl NvidiaError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::ReportTooLong { .. }
            | Self::TooShort { .. }
            | Self::Header { .. }
            | Self::Trailing { .. }
            | Self::BlockCount { .. }
            | Self::BlockSize { .. }
            | Self::BlockIndex { .. }
            | Self::RawMeasurement { .. }
            | Self::DuplicateMeasurement { .. }
            | Self::TooManyFields
            | Self::DuplicateField { .. }
            | Self::MissingField { .. }
            | Self::FieldSize { .. }
            | Self::FieldText { .. }
            | Self::FieldValue { .. }
            | Self::OtherKind { .. }
            | Self::ChainLength { .. }
            | Self::NoDeviceId { .. }
            | Self::NoFwid { .. }
            | Self::Repeated { .. } => Fault::Malformed,
            Self::SpdmVersion { .. }
            | Self::UnknownField { .. }
            | Self::OpaqueVersion { .. }
            | Self::UnknownChip { .. }
            | Self::RimEmpty { .. } => Fault::Unsupported,
            Self::CertificateRole { .. }
            | Self::ChipsDiffer { .. }
            | Self::OtherArchitecture { .. }
            | Self::OtherDeviceId { .. }
            | Self::Fwid { .. }
            | Self::Signature { .. }
            | Self::RimConflict { .. } => Fault::NotGenuine,
            Self::UnsafeState { .. } | Self::Measurements { .. } => Fault::Contraindicated,
            Self::Nonce { .. } => Fault::Unbound,
            Self::Device { error, .. } => error.fault(),
        }
    }

    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ReportTooLong { .. } => "device-report-too-long",
            Self::TooShort { .. } => "device-report-too-short",
            Self::Header { .. } => "device-report-header",
            Self::SpdmVersion { .. } => "device-spdm-version",
            Self::Trailing { .. } => "device-report-trailing",
            Self::BlockCount { .. } => "device-block-count",
            Self::BlockSize { .. } => "device-block-size",
            Self::BlockIndex { .. } => "device-block-index",
            Self::RawMeasurement { .. } => "device-block-raw",
            Self::DuplicateMeasurement { .. } => "device-block-twice",
            Self::TooManyFields => "device-field-count",
            Self::DuplicateField { .. } => "device-field-twice",
            Self::UnknownField { .. } => "device-field-unknown",
            Self::OpaqueVersion { .. } => "device-opaque-version",
            Self::MissingField { .. } => "device-field-missing",
            Self::FieldSize { .. } => "device-field-size",
            Self::FieldText { .. } => "device-field-text",
            Self::FieldValue { .. } => "device-field-value",
            Self::OtherKind { .. } => "device-other-kind",
            Self::ChainLength { .. } => "device-chain-length",
            Self::UnknownChip { .. } => "device-chip-unknown",
            Self::CertificateRole { .. } => "device-certificate-role",
            Self::ChipsDiffer { .. } => "device-chips-differ",
            Self::OtherArchitecture { .. } => "device-other-architecture",
            Self::NoDeviceId { .. } => "device-id-missing",
            Self::OtherDeviceId { .. } => "device-id-differs",
            Self::NoFwid { .. } => "device-fwid-missing",
            Self::Fwid { .. } => "device-fwid",
            Self::UnsafeState { .. } => "device-unsafe-state",
            Self::Signature { .. } => "device-signature",
            Self::Nonce { .. } => "device-nonce",
            Self::RimConflict { .. } => "device-rim-conflict",
            Self::RimEmpty { .. } => "device-rim-empty",
            Self::Measurements { .. } => "device-measurements",
            Self::Repeated { .. } => "device-repeated",
            Self::Device { error, .. } => error.code(),
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::SpdmVersion { .. }
            | Self::UnknownField { .. }
            | Self::OpaqueVersion { .. }
            | Self::UnknownChip { .. } => {
                "this is no statement about the device; a release that reads its reports is needed"
            }
            Self::Fwid { .. } => {
                "the device's firmware was changed after its certificate was made; fetch its chain again, or reset it"
            }
            Self::UnsafeState { .. } => "a device in this state can be looked into; do not give it anything secret",
            Self::Nonce { .. } => "the report was made for another question, or is an old one: ask the device again",
            Self::Measurements { .. } => {
                "the firmware is not what NVIDIA released for the version that it reports; GPUs in developer tools mode \
                 also look like this"
            }
            Self::Repeated { .. } => {
                "each device has to speak for itself; somebody repeats a report to hide a missing one"
            }
            Self::Device { error, .. } => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }
}
