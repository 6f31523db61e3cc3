//! The start-up check with a stand-in for the hardware, for tests: a build of its own, which no image that ships can contain,
//! because its mark is another one. The stand-in's interfaces are under `/casemate-stand-in` or, with a variable, a whole
//! guest is a folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use guest_check::machine::Machine;

fn main() -> ExitCode {
    match std::env::var_os("CASEMATE_STAND_IN_GUEST").map(PathBuf::from) {
        Some(root) => guest_check::boot::main_with(|_| Machine::stand_in(&root), &root.join("agent")),
        None => {
            let machine = |agent| Machine { tee: "/casemate-stand-in".into(), ..Machine::this(agent) };
            guest_check::boot::main_with(machine, Path::new(guest_check::AGENT))
        }
    }
}
