//! `casemate-guest-check`: what a repacked guest image starts where Kata's image starts its agent. See the library; this
//! program knows the guest that it runs in and the one agent, and must never take either from anywhere else.

use std::path::Path;
use std::process::ExitCode;

/// Kept in the binary, so that a person and `casemate guest-image inspect` can tell what it is.
#[used]
static MARK: &str = guest_check::MARK;

fn main() -> ExitCode {
    guest_check::boot::main_with(guest_check::machine::Machine::this, Path::new(guest_check::AGENT))
}
