//! `up`: starting the supervisor and hearing from it.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Control, UpOptions, UpReport};
use crate::error::EngineError;
use crate::paths::Paths;
use crate::process::{PATH, require_programs};
use crate::supervise::{self, DETACH, Progress, Wish};

/// Starts the engine and the resources in the background. Returns when every pod either runs or waits in an init
/// container for what only a manifest can give it; or, everything having been stopped again, with what went wrong.
/// When the caller dies before, everything is stopped too.
pub fn up(options: UpOptions<'_>) -> Result<UpReport, EngineError> {
    let begun = Instant::now();
    let paths = Paths::of(&options.workspace)?;
    // Before anything is touched: the input, then the machine.
    supervise::check(&options.resources)?;
    if !rustix::process::geteuid().is_root() {
        return Err(EngineError::NotRoot);
    }
    require_programs()?;
    match Control::connect(&paths) {
        Ok(_) => return Err(EngineError::AlreadyUp { workspace: paths.workspace().to_owned() }),
        Err(EngineError::NotUp { .. }) => {}
        Err(error) => return Err(error),
    }
    let log = paths.engine_log();
    let failed = |error: &dyn std::fmt::Display| EngineError::io("start the engine", error);
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&log).map_err(|error| failed(&error))?;
    let executable = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(executable);
    command.args(["engine", "supervise"]).arg(paths.workspace()).env_clear().env("PATH", PATH);
    if let Ok(filter) = std::env::var("RUST_LOG") {
        command.env("RUST_LOG", filter);
    }
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| failed(&error))?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(&"it has no pipes"));
    };
    let resources = options.resources.iter().map(std::fs::canonicalize).collect::<Result<_, _>>();
    let wish = Wish {
        resources: resources.map_err(|error| failed(&error))?,
        patience_ms: u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let mut line = serde_json::to_vec(&wish).map_err(|error| failed(&error))?;
    line.push(b'\n');
    input.write_all(&line).map_err(|error| failed(&error))?;
    let mut result = Err(EngineError::Io {
        what: "start the engine".into(),
        reason: format!("it ended without a word; see {}", paths.engine_log().display()),
    });
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Progress::Event(event)) => (options.progress)(&event),
            Ok(Progress::Up { pods, services }) => {
                input.write_all(DETACH.as_bytes()).map_err(|error| failed(&error))?;
                return Ok(UpReport { pods, services, elapsed: begun.elapsed() });
            }
            Ok(Progress::Failed(error)) => result = Err(error),
            Err(_) => {}
        }
    }
    // It has cleaned up by the time it ends.
    let _ = child.wait();
    result
}
