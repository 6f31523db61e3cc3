//! Test rigs. Not for release builds: everything in here forges what the rest of Casemate must not believe.

#![warn(missing_docs)]

pub mod ccel;
pub mod cluster;
pub mod corpus;
pub mod dcap;
pub mod der;
pub mod go;
pub mod nvidia;
pub mod ocsp;
pub mod ovmf;
pub mod rim;
pub mod snp;
pub mod software;

pub use software::{SoftwareAttester, SoftwareTee};
