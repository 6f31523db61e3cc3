//! `casemate secret`: hand secrets and model keys to the Coordinator, for identities that the manifest names.

use std::path::PathBuf;

use anyhow::Context as _;
use protocol::api::{CoordinatorState, PutSecret, UserReply, UserRequest, secret_message, transition};
use protocol::log::LogEntry;
use protocol::{Digest, Purpose, Secret};

use super::set::owner_keys;
use super::verify::compare_manifest;
use crate::failure::{Failure, Outcome};
use crate::log_check::{Trail, check_entry};
use crate::session::{Session, coordinator_address, unexpected};
use crate::workspace::read_manifest;
use crate::{Context, output};

/// Store, rotate and list secrets
#[derive(clap::Subcommand)]
pub(crate) enum SecretCommand {
    Put(PutArgs),
    List(ListArgs),
}

/// Store the next version of a secret, signed by the workload owners
#[derive(clap::Args)]
#[command(after_help = "The manifest says which identities may read a secret (`policies.….secrets`).

Examples:
  casemate secret put digits-model-key --file model.key
  casemate secret put api-token --file - < token.txt")]
pub(crate) struct PutArgs {
    /// The secret's name
    name: String,
    /// The file that holds it; `-` reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Refuse unless exactly this workload may read it
    #[arg(long, value_name = "WORKLOAD")]
    to: Option<String>,
    /// Owner key to sign with; may be repeated [default: workload-owner.pem in the work folder]
    #[arg(long, value_name = "FILE")]
    workload_owner_key: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// List secrets and their versions; values never leave the Coordinator but to attested workloads
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Args)]
struct Target {
    /// The Coordinator's user API; without it, that of the local engine in this work folder
    #[arg(short, long, value_name = "HOST[:1313]")]
    coordinator: Option<String>,
    /// The manifest [default: manifest.json in the work folder]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// LIMIT: what the Coordinator stores; larger things are sealed and only their key is a secret.
const MAX_SECRET: usize = 64 * 1024;

pub(crate) async fn run(context: &Context, command: SecretCommand) -> Outcome {
    match command {
        SecretCommand::Put(args) => put(context, args).await,
        SecretCommand::List(args) => list(context, args).await,
    }
}

async fn put(context: &Context, args: PutArgs) -> Outcome {
    let workspace = &context.workspace;
    let (text, manifest) = read_manifest(&workspace.or_default(args.target.manifest.as_ref(), "manifest.json"))?;
    let mut readers: Vec<&str> = manifest
        .policies
        .values()
        .filter(|entry| entry.secrets.contains(&args.name))
        .filter_map(|entry| entry.names.first().map(String::as_str))
        .collect();
    readers.sort_unstable();
    readers.dedup();
    if readers.is_empty() {
        return Err(Failure::refuse(format!("the manifest lets no identity read `{}`", args.name))
            .hint("add it to `secrets` of a policy in the manifest, then `casemate set`"));
    }
    if let Some(only) = &args.to
        && readers != [only.as_str()]
    {
        return Err(Failure::refuse(format!(
            "`{}` may be read by {}, not by `{only}` alone",
            args.name,
            readers.join(", ")
        )));
    }
    let value = read_secret(&args.file)?;
    let keys = owner_keys(workspace, &args.workload_owner_key, true)?;
    let address = coordinator_address(workspace, args.target.coordinator.as_deref()).await?;
    let mut session = Session::open(context, &address, &manifest, Purpose::Secret).await?;
    // Before the value leaves: a genuine Coordinator with an older manifest would give it to whoever was removed since.
    let before = Trail::read(workspace)?;
    let state = session.state(Trail::known(before.as_ref())).await?;
    if state.state != CoordinatorState::Active {
        return Err(Failure::refuse(format!("the Coordinator at {address} has no active manifest"))
            .hint("`casemate set` hands one over; `casemate recover` brings back one that lost its seed"));
    }
    Trail::follow(workspace, &state)?;
    compare_manifest(&text, &manifest, &state)?;
    let previous = state.history.last().map_or(Digest::ZERO, |last| last.previous);
    let active = transition(manifest.deployment_id, previous, &text);
    let version = match session.request(&UserRequest::ListSecrets).await? {
        UserReply::Secrets(secrets) => {
            secrets.iter().find(|secret| secret.name == args.name).map_or(1, |secret| secret.version.saturating_add(1))
        }
        other => return Err(unexpected(&other)),
    };
    let message = secret_message(manifest.deployment_id, active, &args.name, version, value.expose());
    let signatures = keys
        .iter()
        .map(|key| key.sign(&message).context("sign the secret").map_err(Failure::could_not_tell))
        .collect::<Outcome<Vec<_>>>()?;
    let request = UserRequest::PutSecret(PutSecret { name: args.name.clone(), version, value, signatures });
    let logged = match session.request(&request).await? {
        UserReply::SecretStored(logged) => logged,
        other => return Err(unexpected(&other)),
    };
    let state = session.state(Trail::known(before.as_ref())).await?;
    let (trail, extended) = Trail::follow(workspace, &state)?;
    let log_key = state.roots.as_ref().map(|roots| roots.log_key.as_str()).unwrap_or_default();
    let (entry, _) = check_entry(&logged, log_key)?;
    if !matches!(&entry, LogEntry::SecretStored { secret, .. } if secret.name == args.name && secret.version == version)
    {
        return Err(Failure::refuse("the Coordinator logged another secret than the one handed over"));
    }
    trail.keep(workspace, &extended)?;
    if context.json {
        let object = serde_json::json!({
            "secret": args.name, "version": version, "readers": readers, "log_index": logged.proof.index,
            "insecure": session.insecure,
        });
        output::json(&object);
    } else {
        output::result(&format!("stored `{}` version {version} for {}", args.name, readers.join(", ")));
        output::say(&format!(
            "log entry {}; the value leaves the Coordinator only to attested pods",
            logged.proof.index
        ));
        if version > 1 {
            output::say(
                "pods that run keep the version they got; each gets this one when it starts anew (locally: `casemate kill POD`)",
            );
        }
        if session.insecure {
            output::say(output::INSECURE);
        }
    }
    Ok(())
}

async fn list(context: &Context, args: ListArgs) -> Outcome {
    let workspace = &context.workspace;
    let (_, manifest) = read_manifest(&workspace.or_default(args.target.manifest.as_ref(), "manifest.json"))?;
    let address = coordinator_address(workspace, args.target.coordinator.as_deref()).await?;
    let mut session = Session::open(context, &address, &manifest, Purpose::Secret).await?;
    let secrets = match session.request(&UserRequest::ListSecrets).await? {
        UserReply::Secrets(secrets) => secrets,
        other => return Err(unexpected(&other)),
    };
    if context.json {
        output::json(&serde_json::json!({ "secrets": secrets, "insecure": session.insecure }));
    } else {
        let rows: Vec<Vec<String>> =
            secrets.iter().map(|secret| vec![secret.name.clone(), secret.version.to_string()]).collect();
        output::result(&output::table(&["NAME", "VERSION"], &rows));
        if session.insecure {
            output::say(output::INSECURE);
        }
    }
    Ok(())
}

fn read_secret(path: &std::path::Path) -> Outcome<Secret> {
    use std::io::Read as _;
    let named =
        |error: std::io::Error| Failure::no(anyhow::Error::new(error).context(format!("read `{}`", path.display())));
    let mut bytes = Vec::new();
    let limit = MAX_SECRET as u64 + 1;
    if path.as_os_str() == "-" {
        std::io::stdin().take(limit).read_to_end(&mut bytes).map_err(named)?;
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(named)?;
    }
    if bytes.is_empty() {
        return Err(Failure::refuse(format!("`{}` is empty", path.display())));
    }
    if bytes.len() > MAX_SECRET {
        return Err(Failure::refuse(format!("`{}` holds more than {MAX_SECRET} bytes", path.display()))
            .hint("seal large data (`casemate model seal`) and store its key"));
    }
    Ok(Secret::new(bytes))
}
