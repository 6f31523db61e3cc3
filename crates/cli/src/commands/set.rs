//! `casemate set`: attest the Coordinator and hand it the manifest, signed by its owners.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pki::owner::OwnerKey;
use protocol::api::{CoordinatorState, OwnerSignature, SetReply, SignedManifest, UserReply, UserRequest, transition};
use protocol::log::LogEntry;
use protocol::{Digest, Identity, Manifest, Purpose};

use crate::failure::{Failure, Outcome};
use crate::log_check::{Trail, check_entry};
use crate::session::{Session, coordinator_address, unexpected};
use crate::workspace::{Mode, Workspace, read_input, read_manifest, write};
use crate::{Context, output};

/// Hand the manifest to the Coordinator, signed by the workload owners
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate set resources/
  casemate set -c 10.0.0.7:1313 --workload-owner-key alice.pem --workload-owner-key bob.pem resources/")]
pub(crate) struct SetArgs {
    /// Generated resources; each identity in them must be in the manifest, and each in the manifest among them
    paths: Vec<PathBuf>,
    /// The Coordinator's user API; without it, that of the local engine in this work folder
    #[arg(short, long, value_name = "HOST[:1313]")]
    coordinator: Option<String>,
    /// The manifest [default: manifest.json in the work folder]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Owner key to sign with; may be repeated [default: workload-owner.pem in the work folder]
    #[arg(long, value_name = "FILE")]
    workload_owner_key: Vec<PathBuf>,
    /// Signature made elsewhere (`casemate sign`, or an HSM), as JSON; may be repeated
    #[arg(short, long, value_name = "FILE")]
    signature: Vec<PathBuf>,
}

pub(crate) async fn run(context: &Context, args: SetArgs) -> Outcome {
    let workspace = &context.workspace;
    let manifest_path = workspace.or_default(args.manifest.as_ref(), "manifest.json");
    let (text, manifest) = read_manifest(&manifest_path)?;
    if !args.paths.is_empty() {
        compare_with_resources(&manifest, &args.paths)?;
    }
    let mut signatures = Vec::new();
    for path in &args.signature {
        let text = read_input(path, "`casemate sign` writes signatures")?;
        let signature: OwnerSignature = serde_json::from_str(&text)
            .map_err(|error| Failure::no(error).context(format!("`{}` is no signature", path.display())))?;
        signatures.push(signature);
    }
    let keys = owner_keys(workspace, &args.workload_owner_key, signatures.is_empty())?;

    let address = coordinator_address(workspace, args.coordinator.as_deref()).await?;
    let mut session = Session::open(context, &address, &manifest, Purpose::Set).await?;
    let before = Trail::read(workspace)?;
    let state = session.state(Trail::known(before.as_ref())).await?;
    match state.state {
        CoordinatorState::Active => drop(Trail::follow(workspace, &state)?),
        // A Coordinator that has forgotten everything, where somebody remembers.
        CoordinatorState::Uninitialised | CoordinatorState::Recovering => {
            if let Some(trail) = &before {
                trail.extend(&state)?;
            }
        }
    }
    // What the Coordinator says of its history decides only what is signed: a wrong answer makes a signature that no
    // Coordinator accepts.
    let previous = state
        .history
        .last()
        .map_or(Digest::ZERO, |last| transition(manifest.deployment_id, last.previous, &last.manifest));
    let active = state.history.last().filter(|last| last.manifest == text).cloned();
    let repeated = active.is_some();
    // Handing over what is active already changes nothing, and brings back certificates and seed shares whose answer was
    // lost the first time.
    let signed = if let Some(active) = active {
        active
    } else {
        let message = transition(manifest.deployment_id, previous, &text);
        for key in &keys {
            signatures.push(key.sign(&message).context("sign the manifest").map_err(Failure::could_not_tell)?);
        }
        SignedManifest { manifest: text, previous, signatures }
    };
    let message = transition(manifest.deployment_id, signed.previous, &signed.manifest);
    let reply = match session.request(&UserRequest::SetManifest(signed)).await? {
        UserReply::Set(reply) => reply,
        other => return Err(unexpected(&other)),
    };
    let (entry, _) = check_entry(&reply.logged, &reply.roots.log_key)?;
    if !matches!(&entry, LogEntry::Manifest { transition, .. } if *transition == message) {
        return Err(Failure::refuse("the Coordinator logged another manifest than the one handed over"));
    }
    let state = session.state(Trail::known(before.as_ref())).await?;
    let (trail, extended) = Trail::follow(workspace, &state)?;
    let shares = store(workspace, &reply)?;
    trail.keep(workspace, &extended)?;

    if context.json {
        let object = serde_json::json!({
            "coordinator": address, "generation": reply.generation, "already_active": repeated,
            "transition": message, "seed_shares": shares, "insecure": session.insecure,
        });
        output::json(&object);
    } else {
        output::result(&format!(
            "manifest {} active: generation {}, {} policies, transition {}",
            if repeated { "was already" } else { "is" },
            reply.generation,
            manifest.policies.len(),
            message.short()
        ));
        output::say(&format!("coordinator  {address}, identity {}", session.identity.0.short()));
        output::say("wrote        coordinator-root-ca.pem, mesh-ca.pem, verify/checkpoint");
        if let Some(path) = shares {
            output::say(&format!(
                "wrote        {} (encrypted seed shares: keep them, `casemate recover` needs them)",
                path.display()
            ));
        }
        if session.insecure {
            output::say(output::INSECURE);
        }
    }
    Ok(())
}

/// The keys to sign with; the default key only when nothing else signs.
pub(crate) fn owner_keys(workspace: &Workspace, given: &[PathBuf], default: bool) -> Outcome<Vec<OwnerKey>> {
    let paths = match given {
        [] if default => vec![workspace.dir().join("workload-owner.pem")],
        given => given.to_vec(),
    };
    paths
        .iter()
        .map(|path| {
            let pem =
                read_input(path, "`casemate generate` makes an owner key; name another with `--workload-owner-key`")?;
            OwnerKey::from_pem(&pem)
                .map_err(|error| Failure::no(error).context(format!("`{}` is no owner key", path.display())))
        })
        .collect()
}

fn store(workspace: &Workspace, reply: &SetReply) -> Outcome<Option<PathBuf>> {
    write(&workspace.dir().join("coordinator-root-ca.pem"), reply.roots.root_ca.as_bytes(), Mode::Public)?;
    write(&workspace.dir().join("mesh-ca.pem"), reply.roots.mesh_ca.as_bytes(), Mode::Public)?;
    let Some(shares) = &reply.seed_shares else { return Ok(None) };
    let path = workspace.dir().join("seed-shares.json");
    let text = serde_json::to_string_pretty(shares).context("encode seed shares").map_err(Failure::could_not_tell)?;
    write(&path, text.as_bytes(), Mode::Private)?;
    Ok(Some(path))
}

/// The identities in generated resources must be those of the manifest, or one of the two is out of date.
fn compare_with_resources(manifest: &Manifest, paths: &[PathBuf]) -> Outcome {
    let mut found = std::collections::BTreeMap::new();
    for path in paths {
        collect_identities(path, &mut found)?;
    }
    for (identity, path) in &found {
        if !manifest.policies.contains_key(identity) {
            return Err(Failure::refuse(format!(
                "`{}` holds a pod with identity {}, which is not in the manifest",
                path.display(),
                identity.0.short()
            ))
            .hint("run `casemate generate` again"));
        }
    }
    for (identity, entry) in &manifest.policies {
        if !found.contains_key(identity) {
            let name = entry.names.first().map_or("?", String::as_str);
            return Err(Failure::refuse(format!(
                "the manifest lists `{name}` with identity {}, which is in none of the resources",
                identity.0.short()
            ))
            .hint("name every generated resource, or run `casemate generate` again"));
        }
    }
    Ok(())
}

fn collect_identities(path: &Path, found: &mut std::collections::BTreeMap<Identity, PathBuf>) -> Outcome {
    let read =
        |error: std::io::Error| Failure::no(anyhow::Error::new(error).context(format!("read `{}`", path.display())));
    if path.is_dir() {
        let mut entries: Vec<_> =
            std::fs::read_dir(path).map_err(read)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        entries.sort();
        for entry in entries {
            let yaml = entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
            if entry.is_dir() || yaml {
                collect_identities(&entry, found)?;
            }
        }
        return Ok(());
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    let prefix = format!("{}:", protocol::initdata::ANNOTATION);
    for (number, line) in text.lines().enumerate() {
        let Some((_, value)) = line.split_once(&prefix) else { continue };
        let initdata = protocol::Initdata::from_annotation(value.trim().trim_matches(['"', '\'']))
            .map_err(|error| Failure::no(error).context(format!("`{}` line {}", path.display(), number + 1)))?;
        found.insert(initdata.identity(), path.to_owned());
    }
    Ok(())
}
