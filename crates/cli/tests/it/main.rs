//! The command line as its user meets it: exit code, standard output and standard error of the real binary, without an
//! engine, a registry or root. What needs those is in the demonstration (`cargo xtask demo`).

mod deploy;
mod doctor;
mod endorsements;
mod errors;
mod explain;
mod explain_corpus;
mod guest_image;
mod infra;
mod models;
mod policy;
mod reference_values;

use std::path::Path;
use std::process::Command;

/// Runs `casemate` in a folder; what it printed, and its exit code, as one text that is compared as a whole.
fn casemate(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_casemate"))
        .args(arguments)
        .current_dir(dir)
        .env_remove("CASEMATE_LOG")
        .env_remove("CASEMATE_WORKSPACE_DIR")
        .output()
        .expect("casemate runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&dir.display().to_string(), "DIR");
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

/// A manifest that parses, for a Coordinator that nobody runs.
const MANIFEST: &str = r#"{
  "version": 1,
  "deployment_id": "00112233445566778899aabbccddeeff",
  "policies": {
    "1111111111111111111111111111111111111111111111111111111111111111": {
      "names": ["coordinator"], "role": "coordinator"
    },
    "2222222222222222222222222222222222222222222222222222222222222222": {
      "names": ["inference"], "role": "workload", "secrets": ["model-key"]
    }
  },
  "reference_values": {
    "software": {
      "root": "3333333333333333333333333333333333333333333333333333333333333333",
      "measurements": [
        "444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444444"
      ]
    }
  },
  "owners": { "threshold": 1, "keys": ["00"] },
  "seed_share_holders": { "threshold": 1, "keys": ["01"] },
  "lease_seconds": 300
}
"#;
