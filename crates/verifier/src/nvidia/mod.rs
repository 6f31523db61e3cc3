//! NVIDIA GPUs and NVSwitches: SPDM measurements, the keys that sign them, and NVIDIA's manifests of what they have to be.
//!
//! # What is checked
//!
//! | layer | holds when |
//! |---|---|
//! | format | request and response are SPDM 1.1 to the byte, and NVIDIA's fields are known and mean something |
//! | chain | five certificates, leaf first, lead to NVIDIA Device Identity CA |
//! | identity | their names are those of one chip, and the report is of that chip |
//! | ocsp | where NVIDIA's responses are given: they are current and call every certificate good |
//! | fwid | where the report has it: its firmware is the one that the key was issued to |
//! | signature | the leaf's key signed request and response |
//! | nonce | the request is this channel's |
//! | driver_rim, vbios_rim | NVIDIA's signed manifests for the reported versions are at hand |
//! | measurements | each measurement that is active in either is one of its alternatives, and none is active in both |
//!
//! The devices of a set are distinct in key and identity ([`SetExamination`]), and may have to be one fabric
//! ([`topology`]).
//!
//! # What no report says
//!
//! **Developer tools mode.** NVIDIA's tools read it from the driver; it is no field of the signed report. It shows in the
//! measurements only, which is why they are always compared, and why a missing manifest is "could not tell".
//!
//! **Whether a field was left out.** Drivers before the 550 series report no firmware id, and before the 590 series no mode.
//! What is missing is told to the reference values, which decide; it never counts as a match.

mod appraise;
mod claims;
mod error;
mod examine;
mod explain;
mod firmware;
mod identity;
mod read;
mod set;
pub mod spdm;
pub mod topology;

pub use appraise::COULD_NOT_TELL;
pub(crate) use appraise::{appraise, reference_values};
pub use claims::{Board, Claims, Established, FwidCheck, Identity, ManifestUsed, Measured, Report, RevocationCheck};
pub use error::{Difference, NvidiaError};
pub use examine::{Examination, Layers};
pub(crate) use explain::explain;
pub(crate) use read::looks_like;
pub use read::{MAX_LIST, ReadError, claimed_kind, device, read_json};
pub(crate) use set::examine_devices;
pub use set::{SetExamination, examine_alone, needs};

#[cfg(test)]
mod tests;
