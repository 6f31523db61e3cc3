//! What lies under `deploy/`: its objects are what they should be, say the same wherever they are said, and are taken by
//! the real API server.

mod accepted;
mod bases;
mod chart;
mod ci;
mod complete;
mod objects;
mod single_files;
mod terraform;

use std::path::{Path, PathBuf};

/// The checkout.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// Tells whoever runs the tests what was not tested.
#[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
fn skipped(why: impl std::fmt::Display) {
    println!("SKIPPED: {why}");
}
