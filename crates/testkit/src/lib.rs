//! Test rigs. Not for release builds: everything in here forges what the rest of Casemate must not believe.

#![warn(missing_docs)]

pub mod software;

pub use software::{SoftwareAttester, SoftwareTee};
