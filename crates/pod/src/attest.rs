//! `casemate-pod attest`: what this machine shows of its TEE, and its Evidence, for whoever has the hardware.
//!
//! It makes Evidence exactly as the other commands do, and judges nothing: `casemate explain` does, wherever the file is taken.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use attester::{AgentInfo, AttestError, Attester as _, Automatic, Detection, GuestAgent, Kernel, Linux, Looked};
use protocol::text::printable;
use protocol::{DeviceKind, Evidence, Nonce, ReportData};
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::paths::replace_file;

/// What to ask for, and where the answer goes.
#[derive(clap::Args, Default)]
#[command(
    after_help = "The evidence is over bytes of your choice. `--report-data` gives all 64 of them; `--nonce` gives the 32 that \
devices sign, and the report data is then that nonce followed by the digest of what the devices said, or by zeros where there are \
none. Without either a nonce is drawn. Whatever was used is printed, as `casemate explain` takes it.

Exit code 0: there is evidence. 1: there is none to be had here. 2: it could not be told.

Examples:
  casemate-pod attest                                which TEE, and does it answer?
  casemate-pod attest --raw                          everything that was looked at
  casemate-pod attest --output evidence.json         for `casemate explain evidence.json`
  casemate-pod attest --json --nonce $(openssl rand -hex 32)
  casemate-pod attest --event-log CCEL --output quote.json"
)]
pub(crate) struct AttestArgs {
    /// Show every place that was looked at, and what was there
    #[arg(long)]
    raw: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The nonce that devices sign: 32 bytes in hex
    #[arg(long, value_name = "HEX", value_parser = bytes::<32>, conflicts_with = "report_data")]
    nonce: Option<[u8; 32]>,
    /// The report data: 64 bytes in hex; devices sign the first 32 of them
    #[arg(long, value_name = "HEX", value_parser = bytes::<64>)]
    report_data: Option<[u8; 64]>,
    /// Write the evidence to this file, as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the event log of the boot (CCEL) to this file
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(format!("not {N} bytes in hex, which are {} digits", 2 * N)),
    }
}

/// The machine that is asked.
struct Machine {
    kernel: Arc<dyn Kernel>,
    agent: GuestAgent,
}

/// What came of it.
struct Found {
    detection: Detection,
    evidence: Evidence,
    report_data: ReportData,
    nonce: Nonce,
}

/// Runs the command on this machine.
pub(crate) async fn run(args: AttestArgs) -> Outcome {
    let machine = Machine { kernel: Arc::new(Linux::default()), agent: GuestAgent::default() };
    let (text, outcome) = answer(&machine, &args).await;
    // A closed pipe is the reader's wish.
    let _ = writeln!(std::io::stdout(), "{text}");
    outcome
}

/// The text for standard output, and how the command ends.
async fn answer(machine: &Machine, args: &AttestArgs) -> (String, Outcome) {
    let outcome = collect(machine, args).await;
    let raw = if args.raw { Some(look_around(machine).await) } else { None };
    let text = if args.json { as_json(&outcome, raw.as_ref()).to_string() } else { as_text(&outcome, raw.as_ref()) };
    let ended = match outcome {
        Ok(found) => keep(machine, args, &found),
        Err(error) => Err(failure(error)),
    };
    (text, ended)
}

async fn collect(machine: &Machine, args: &AttestArgs) -> Result<Found, AttestError> {
    let attester = Automatic::new(Arc::clone(&machine.kernel), machine.agent.clone());
    let detection = attester.detection().await?;
    let nonce = match (args.nonce, args.report_data) {
        (Some(nonce), _) => Nonce(nonce),
        (None, Some(data)) => {
            let mut nonce = [0; 32];
            nonce.copy_from_slice(&data[..32]);
            Nonce(nonce)
        }
        (None, None) => {
            let mut nonce = [0; 32];
            let drawn = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty());
            let reason = || "no randomness for a nonce".to_owned();
            match drawn {
                Ok(32) => Nonce(nonce),
                _ => return Err(AttestError::Failed { attester: "this process", reason: reason() }),
            }
        }
    };
    let devices = attester.devices(&nonce).await?;
    let mut evidence = Evidence { tee: protocol::Tee::Software, body: Vec::new(), devices };
    let report_data = match args.report_data {
        Some(data) => ReportData(data),
        None => {
            let mut data = [0; 64];
            data[..32].copy_from_slice(&nonce.0);
            if let Some(digest) = evidence.devices_digest() {
                data[32..].copy_from_slice(digest.as_bytes());
            }
            ReportData(data)
        }
    };
    let of_tee = attester.attest(&report_data).await?;
    (evidence.tee, evidence.body) = (of_tee.tee, of_tee.body);
    Ok(Found { detection, evidence, report_data, nonce })
}

/// What `--raw` adds.
struct Raw {
    looked: Vec<Looked>,
    agent: Result<Option<AgentInfo>, AttestError>,
}

async fn look_around(machine: &Machine) -> Raw {
    let kernel = Arc::clone(&machine.kernel);
    // Configfs may make us wait; nothing else runs in this process.
    let looked = tokio::task::spawn_blocking(move || {
        let mut looked = match attester::detect(&*kernel) {
            Ok(detection) => detection.looked,
            Err(AttestError::Contradictory { looked }) => looked.0,
            Err(_) => Vec::new(),
        };
        looked.extend(attester::survey(&*kernel));
        looked
    });
    Raw { looked: looked.await.unwrap_or_default(), agent: machine.agent.info().await }
}

fn agent_text(agent: &Result<Option<AgentInfo>, AttestError>) -> String {
    match agent {
        Ok(None) => "answers, and does not say what it is".to_owned(),
        Ok(Some(info)) => {
            let devices =
                if info.additional_tees.is_empty() { "none".to_owned() } else { info.additional_tees.join(", ") };
            let tee = info.tee.as_deref().unwrap_or("not told");
            format!("answers: TEE {tee}, devices {devices}, API `{}`, release `{}`", info.feature, info.version)
        }
        Err(error) => error.to_string(),
    }
}

fn as_text(outcome: &Result<Found, AttestError>, raw: Option<&Raw>) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: &str| lines.push(format!("{name:<12} {}", printable(text)));
    match outcome {
        Err(_) => line("evidence", "none"),
        Ok(Found { detection, evidence, report_data, nonce }) => {
            line("tee", evidence.tee.name());
            if evidence.tee.is_insecure() {
                line(
                    "",
                    "INSECURE: evidence of a software TEE proves nothing to anybody who does not trust this machine",
                );
            }
            line("interface", detection.interface.name());
            line("body", &format!("{} bytes", evidence.body.len()));
            for kind in [DeviceKind::Gpu, DeviceKind::Switch] {
                let count = evidence.devices.iter().filter(|device| device.kind == kind).count();
                if count > 0 {
                    line(kind.name(), &format!("{count}"));
                }
            }
            line("report data", &hex::encode(report_data.0));
            line("nonce", &hex::encode(nonce.0));
            line("digest", &evidence.digest().to_string());
        }
    }
    if let Some(raw) = raw {
        lines.push(String::new());
        for Looked { path, found, .. } in &raw.looked {
            lines.push(format!("{path} {}", printable(found)));
        }
        lines.push(format!("{} {}", attester::DEFAULT_ADDRESS, printable(&agent_text(&raw.agent))));
    }
    lines.join("\n")
}

fn as_json(outcome: &Result<Found, AttestError>, raw: Option<&Raw>) -> serde_json::Value {
    let mut value = match outcome {
        Ok(Found { detection, evidence, report_data, nonce }) => json!({
            "tee": evidence.tee.name(),
            "insecure": evidence.tee.is_insecure(),
            "interface": detection.interface.name(),
            "report_data": hex::encode(report_data.0),
            "nonce": hex::encode(nonce.0),
            "digest": evidence.digest().to_string(),
            "evidence": evidence,
        }),
        Err(error) => json!({
            "evidence": null,
            "refused": error.is_refusal(),
            "error": error.to_string(),
            "hint": error.hint(),
        }),
    };
    if let Some(raw) = raw {
        let looked: Vec<_> =
            raw.looked.iter().map(|Looked { path, found, .. }| json!({ "path": path, "found": found })).collect();
        value["looked"] = looked.into();
        value["agent"] = agent_text(&raw.agent).into();
    }
    value
}

/// Writes the files that were asked for.
fn keep(machine: &Machine, args: &AttestArgs, found: &Found) -> Outcome {
    let write = |path: &Path, content: &[u8]| {
        replace_file(path, content, 0o644)
            .with_context(|| format!("write `{}`", path.display()))
            .map_err(Failure::unknown)
    };
    if let Some(path) = &args.output {
        let mut text = serde_json::to_vec(&found.evidence).context("evidence as JSON").map_err(Failure::unknown)?;
        text.push(b'\n');
        write(path, &text)?;
    }
    if let Some(path) = &args.event_log {
        match attester::ccel::read(&*machine.kernel).map_err(failure)? {
            Some(log) => write(path, &log)?,
            None => {
                return Err(Failure::refused(anyhow!("this machine has no event log (`{}`)", attester::ccel::DATA)));
            }
        }
    }
    Ok(())
}

/// A "no" and "could not tell" are different exit codes; the hint goes to the log.
fn failure(error: AttestError) -> Failure {
    if let Some(hint) = error.hint() {
        tracing::error!("hint: {hint}");
    }
    if error.is_refusal() { Failure::refused(error) } else { Failure::unknown(error) }
}

#[cfg(test)]
mod tests;
