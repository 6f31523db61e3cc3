//! `casemate verify`: attest the Coordinator, check manifest, log and history, write `verify/`.

use std::path::PathBuf;

use protocol::api::{CoordinatorState, StateReply, transition};
use protocol::log::LogEntry;
use protocol::{Digest, Manifest, Purpose};

use crate::failure::{Failure, Outcome};
use crate::log_check::{Trail, check_entry};
use crate::session::{Session, coordinator_address};
use crate::workspace::{Mode, read_manifest, write};
use crate::{Context, output};

/// Check that a Coordinator is genuine and serves exactly this manifest, with an unbroken history
#[derive(clap::Args)]
#[command(after_help = "Exit code 0: trusted. 1: not trusted, with the reason. 2: could not be checked.

Examples:
  casemate verify
  casemate verify -c coordinator.example.org:1313 -m manifest.json")]
pub(crate) struct VerifyArgs {
    /// The Coordinator's user API; without it, that of the local engine in this work folder
    #[arg(short, long, value_name = "HOST[:1313]")]
    coordinator: Option<String>,
    /// The manifest that must be active [default: manifest.json in the work folder]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, args: VerifyArgs) -> Outcome {
    let workspace = &context.workspace;
    let manifest_path = workspace.or_default(args.manifest.as_ref(), "manifest.json");
    let (text, manifest) = read_manifest(&manifest_path)?;
    let address = coordinator_address(workspace, args.coordinator.as_deref()).await?;
    let before = Trail::read(workspace)?;
    let mut session = Session::open(context, &address, &manifest, Purpose::Verify).await?;
    let state = session.state(Trail::known(before.as_ref())).await?;

    match state.state {
        CoordinatorState::Active => {}
        CoordinatorState::Uninitialised if before.is_none() => {
            return Err(Failure::refuse(format!("the Coordinator at {address} has no manifest yet"))
                .hint("hand one over with `casemate set resources/`"));
        }
        // Its store is empty or older, which is worth saying before "it waits for shares".
        CoordinatorState::Uninitialised | CoordinatorState::Recovering => {
            if let Some(trail) = &before {
                trail.extend(&state)?;
            }
            return Err(Failure::could_not_tell(anyhow::anyhow!(
                "the Coordinator at {address} lost its seed and waits for share holders"
            ))
            .hint("share holders bring it back with `casemate recover`"));
        }
    }
    let (trail, extended) = Trail::follow(workspace, &state)?;
    let history = check_history(&state, &manifest)?;
    compare_manifest(&text, &manifest, &state)?;

    let dir = workspace.verify_dir();
    for (index, signed) in state.history.iter().enumerate() {
        write(&dir.join(format!("manifest.{}.json", index + 1)), signed.manifest.as_bytes(), Mode::Public)?;
    }
    let mesh_ca = state.roots.as_ref().map(|roots| roots.mesh_ca.as_str()).unwrap_or_default();
    write(&dir.join("mesh-ca.pem"), mesh_ca.as_bytes(), Mode::Public)?;
    let last = state
        .history
        .last()
        .map_or(Digest::ZERO, |last| transition(manifest.deployment_id, last.previous, &last.manifest));
    write(&dir.join("transition"), format!("{last}\n").as_bytes(), Mode::Public)?;
    trail.keep(workspace, &extended)?;
    let checkpoint = &extended.checkpoint;

    if context.json {
        let object = serde_json::json!({
            "trusted": true, "coordinator": address, "identity": session.identity, "insecure": session.insecure,
            "generation": state.generation, "manifests": history, "log_size": checkpoint.size,
            "log_root": checkpoint.root, "earlier_checkpoint": trail.seen.as_ref().map(|seen| seen.size),
        });
        output::json(&object);
    } else {
        output::result(&format!("the Coordinator at {address} is trusted"));
        output::say(&format!("  evidence  verified, identity {}, reference values met", session.identity.0.short()));
        output::say(&format!(
            "  manifest  generation {} of {history}, equal to `{}`",
            state.generation,
            manifest_path.display()
        ));
        let since = trail.seen.as_ref().map_or_else(
            || "no earlier checkpoint to compare with".to_owned(),
            |seen| format!("extends the {} entries seen before", seen.size),
        );
        output::say(&format!("  log       {} entries, root {}, {since}", checkpoint.size, checkpoint.root.short()));
        output::say(&format!("  wrote     {}", dir.display()));
        if session.insecure {
            output::say(output::INSECURE);
        }
    }
    Ok(())
}

/// Every manifest is signed by its predecessor's owners and is in the log; returns how many there are.
fn check_history(state: &StateReply, local: &Manifest) -> Outcome<usize> {
    let log_key = state.roots.as_ref().map(|roots| roots.log_key.as_str()).unwrap_or_default();
    let first = state.history.first().ok_or_else(|| Failure::refuse("an active Coordinator shows no history"))?;
    let first = Manifest::parse(&first.manifest).map_err(|error| Failure::no(error).context("the first manifest"))?;
    let manifests = pki::history::verify(local.deployment_id, &first.owners, &state.history)
        .map_err(|error| Failure::no(error).context("the history of manifests does not hold together"))?;
    if state.logged.len() != state.history.len() {
        return Err(Failure::refuse(format!(
            "{} manifests are shown, {} of them are in the log",
            state.history.len(),
            state.logged.len()
        )));
    }
    if state.generation != state.history.len() as u64 {
        return Err(Failure::refuse(format!(
            "generation {} is active, and the history has {} manifests",
            state.generation,
            state.history.len()
        )));
    }
    for (index, (signed, logged)) in state.history.iter().zip(&state.logged).enumerate() {
        let number = index as u64 + 1;
        let (entry, _) = check_entry(logged, log_key)?;
        if state.checkpoint.as_ref() != Some(&logged.checkpoint) {
            return Err(Failure::refuse(format!(
                "manifest {number} is proven for another checkpoint than the one shown"
            )));
        }
        let expected = transition(local.deployment_id, signed.previous, &signed.manifest);
        match entry {
            LogEntry::Manifest { generation, manifest, transition, .. }
                if generation == number
                    && manifest == Digest::of(signed.manifest.as_bytes())
                    && transition == expected => {}
            _ => return Err(Failure::refuse(format!("the log entry of manifest {number} is for another manifest"))),
        }
    }
    Ok(manifests.len())
}

/// The active manifest must be the local one, byte for byte; otherwise the first differing fields are named.
pub(crate) fn compare_manifest(text: &str, local: &Manifest, state: &StateReply) -> Outcome {
    let active = state.history.last().map_or("", |last| last.manifest.as_str());
    if active == text {
        return Ok(());
    }
    let mut differences = Vec::new();
    let parsed: serde_json::Value = serde_json::from_str(active).unwrap_or_default();
    let local = serde_json::to_value(local).unwrap_or_default();
    difference("", &local, &parsed, &mut differences);
    let what = if differences.is_empty() { "layout only".to_owned() } else { differences.join("; ") };
    Err(Failure::refuse(format!("the active manifest is not the local one: {what}"))
        .hint("`casemate set` makes the local one active; without `verify/` of somebody you trust, compare by hand"))
}

/// LIMIT: an error message names this many differing fields.
const MAX_DIFFERENCES: usize = 5;

fn difference(path: &str, local: &serde_json::Value, active: &serde_json::Value, out: &mut Vec<String>) {
    use serde_json::Value;
    if local == active || out.len() >= MAX_DIFFERENCES {
        return;
    }
    match (local, active) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                difference(&format!("{path}.{key}"), value, b.get(key).unwrap_or(&Value::Null), out);
            }
            for key in b.keys().filter(|key| !a.contains_key(*key)) {
                out.push(format!("`{}` is only in the active one", format!("{path}.{key}").trim_start_matches('.')));
            }
        }
        _ => out.push(format!("`{}` is {active} there, {local} here", path.trim_start_matches('.'))),
    }
}
