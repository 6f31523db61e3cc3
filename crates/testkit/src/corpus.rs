//! The corpus of Evidence that real hardware signed. It is not part of this repository: `cargo xtask evidence` fetches it,
//! and `CASEMATE_EVIDENCE` says where it is.

use std::path::PathBuf;

/// Where the corpus is, if anywhere.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("CASEMATE_EVIDENCE").map(PathBuf::from).filter(|path| path.is_dir())
}

/// A file of the corpus.
///
/// # Panics
/// When there is no corpus: the tests that call this are ignored where `CASEMATE_EVIDENCE` is not set, and whoever runs
/// them regardless is to be told.
pub fn file(name: &str) -> Vec<u8> {
    let folder = folder().expect("CASEMATE_EVIDENCE names the folder of the evidence corpus (`cargo xtask evidence`)");
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}
