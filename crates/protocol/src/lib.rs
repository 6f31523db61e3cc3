//! What the parts of Casemate say to each other: Evidence, nonces, bindings, initdata, manifests and the messages
//! of the attested channel, with their versions and limits.
//!
//! This crate is a leaf. It hashes and encodes; it never reads a clock, a file or a socket, and it judges nothing:
//! a value of a type in here has the right shape, no more. Signatures are checked in `verifier` and `pki`.
//!
//! Words follow RFC 9334 (Remote ATtestation procedureS).

pub mod api;
pub mod binding;
pub mod digest;
pub mod evidence;
pub mod file;
pub mod initdata;
pub mod log;
pub mod manifest;
pub mod reference;
pub mod secret;
pub mod software;
pub mod text;
pub mod wire;

pub use binding::{Binding, Expected, Nonce, Purpose, ReportData, Role, TlsSide};
pub use digest::{DeploymentId, Digest, Identity};
pub use evidence::{DeviceEvidence, DeviceKind, Evidence, Tee};
pub use initdata::Initdata;
pub use manifest::Manifest;
pub use secret::Secret;
