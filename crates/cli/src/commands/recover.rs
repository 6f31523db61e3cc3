//! `casemate recover`: a share holder gives its share of the seed to a Coordinator that lost it.

use std::path::PathBuf;

use anyhow::Context as _;
use pki::holder::HolderKey;
use protocol::Purpose;
use protocol::api::{CoordinatorState, RecoverShare, SeedShares, UserReply, UserRequest};

use crate::failure::{Failure, Outcome};
use crate::log_check::Trail;
use crate::session::{Session, coordinator_address, unexpected};
use crate::workspace::{read_input, read_manifest};
use crate::{Context, output};

/// Give seed shares to a Coordinator that restarted
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate recover
  casemate recover --seedshare-owner-key alice-share.pem --seedshare-owner-key bob-share.pem")]
pub(crate) struct RecoverArgs {
    /// The Coordinator's user API; without it, that of the local engine in this work folder
    #[arg(short, long, value_name = "HOST[:1313]")]
    coordinator: Option<String>,
    /// The manifest whose Coordinator is to be trusted [default: manifest.json in the work folder]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Holder key; may be repeated [default: seedshare-owner.pem in the work folder]
    #[arg(long, value_name = "FILE")]
    seedshare_owner_key: Vec<PathBuf>,
    /// The encrypted shares that `set` wrote [default: seed-shares.json in the work folder]
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Give the share although this folder has no earlier checkpoint, so that a store put back to an older copy goes
    /// unnoticed
    #[arg(long)]
    without_checkpoint: bool,
}

pub(crate) async fn run(context: &Context, args: RecoverArgs) -> Outcome {
    let workspace = &context.workspace;
    let (_, manifest) = read_manifest(&workspace.or_default(args.manifest.as_ref(), "manifest.json"))?;
    let shares_path = workspace.or_default(args.seed.as_ref(), "seed-shares.json");
    let shares: SeedShares = serde_json::from_str(&read_input(&shares_path, "the first `casemate set` writes it")?)
        .map_err(|error| Failure::no(error).context(format!("`{}`", shares_path.display())))?;
    if shares.deployment_id != manifest.deployment_id {
        return Err(Failure::refuse(format!(
            "`{}` is of deployment {}, the manifest of {}",
            shares_path.display(),
            shares.deployment_id,
            manifest.deployment_id
        )));
    }
    let key_paths = match args.seedshare_owner_key.as_slice() {
        [] => vec![workspace.dir().join("seedshare-owner.pem")],
        given => given.to_vec(),
    };
    let checkpoint = workspace.verified("checkpoint")?;
    let before = Trail::read(workspace)?;
    if before.as_ref().is_none_or(|trail| trail.seen.is_none()) && !args.without_checkpoint {
        return Err(Failure::refuse(
            "this folder has no `verify/checkpoint` to hold the Coordinator's history against",
        )
        .hint("run it where `set` or `verify` ran before; `--without-checkpoint` takes the history as it is"));
    }
    let mut decrypted = Vec::new();
    for path in &key_paths {
        let pem = read_input(path, "name the holder's key with `--seedshare-owner-key`")?;
        let key = HolderKey::from_pem(&pem)
            .map_err(|error| Failure::no(error).context(format!("`{}` is no holder key", path.display())))?;
        let holder = key.public().id();
        let encrypted = shares.shares.iter().find(|share| share.holder == holder).ok_or_else(|| {
            Failure::refuse(format!("`{}` holds no share for the key `{}`", shares_path.display(), path.display()))
        })?;
        let share = key
            .decrypt(encrypted)
            .map_err(|error| Failure::no(error).context(format!("decrypt the share of `{}`", path.display())))?;
        decrypted.push(RecoverShare { holder, share, checkpoint: checkpoint.clone() });
    }

    let address = coordinator_address(workspace, args.coordinator.as_deref()).await?;
    let mut session = Session::open(context, &address, &manifest, Purpose::Recover).await?;
    let state = session.state(Trail::known(before.as_ref())).await?;
    if let Some(trail) = &before {
        trail.extend(&state)?;
    }
    if state.state == CoordinatorState::Active {
        if context.json {
            output::json(&serde_json::json!({ "coordinator": address, "state": state.state }));
        } else {
            output::result(&format!("the Coordinator at {address} is active already; no share was given"));
        }
        return Ok(());
    }
    let mut last = None;
    for share in decrypted {
        match session.request(&UserRequest::Recover(share)).await? {
            UserReply::Recover(reply) => {
                output::say(&format!("share accepted: {} of {}", reply.have, reply.need));
                let done = reply.state == CoordinatorState::Active;
                last = Some(reply);
                if done {
                    break;
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
    let reply = last.context("no share was given")?;
    if reply.state == CoordinatorState::Active {
        let state = session.state(Trail::known(before.as_ref())).await?;
        let (trail, extended) = Trail::follow(workspace, &state)?;
        trail.keep(workspace, &extended)?;
    }
    if context.json {
        let object = serde_json::json!({
            "coordinator": address, "shares": reply.have, "needed": reply.need, "state": reply.state,
            "insecure": session.insecure,
        });
        output::json(&object);
    } else if reply.state == CoordinatorState::Active {
        output::result(&format!("the Coordinator at {address} is active again"));
    } else {
        output::result(&format!(
            "the Coordinator at {address} has {} of {} shares and waits for more holders",
            reply.have, reply.need
        ));
    }
    if session.insecure && !context.json {
        output::say(output::INSECURE);
    }
    Ok(())
}
