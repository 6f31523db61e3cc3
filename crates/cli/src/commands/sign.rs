//! `casemate sign`: sign a manifest apart from handing it over, here or in an HSM.

use std::path::PathBuf;

use anyhow::Context as _;
use protocol::Digest;
use protocol::api::transition;

use super::set::owner_keys;
use crate::failure::{Failure, Outcome};
use crate::workspace::{Mode, read_manifest, write};
use crate::{Context, output};

/// Sign the manifest for a later `casemate set --signature`
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate sign --out alice.sig
  casemate sign --prepare --out to-be-signed.bin     the 32 bytes that an HSM signs (ECDSA P-384, SHA-384)")]
pub(crate) struct SignArgs {
    /// The manifest [default: manifest.json in the work folder]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The owner's key [default: workload-owner.pem in the work folder]
    #[arg(long, value_name = "FILE")]
    workload_owner_key: Option<PathBuf>,
    /// The transition that the manifest follows [default: verify/transition, or all zero for a first manifest]
    #[arg(long, value_name = "HEX")]
    latest_transition: Option<Digest>,
    /// Write the bytes to sign instead of a signature
    #[arg(long)]
    prepare: bool,
    /// Where to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(context: &Context, args: SignArgs) -> Outcome {
    let workspace = &context.workspace;
    let (text, manifest) = read_manifest(&workspace.or_default(args.manifest.as_ref(), "manifest.json"))?;
    let previous = match args.latest_transition {
        Some(digest) => digest,
        None => match workspace.verified("transition")? {
            None => Digest::ZERO,
            Some(text) => text
                .trim()
                .parse()
                .map_err(|error| Failure::no(anyhow::Error::new(error).context("`verify/transition`")))?,
        },
    };
    let message = transition(manifest.deployment_id, previous, &text);
    if args.prepare {
        write(&args.out, message.as_bytes(), Mode::Public)?;
        if context.json {
            output::json(&serde_json::json!({ "transition": message, "out": args.out }));
        } else {
            output::result(&message.to_string());
        }
        return Ok(());
    }
    let given: Vec<PathBuf> = args.workload_owner_key.into_iter().collect();
    let keys = owner_keys(workspace, &given, true)?;
    let key = keys.first().context("no key")?;
    let signature = key.sign(&message).context("sign the manifest").map_err(Failure::could_not_tell)?;
    let json = serde_json::to_string_pretty(&signature).context("encode the signature")?;
    write(&args.out, json.as_bytes(), Mode::Public)?;
    if context.json {
        output::result(
            &serde_json::json!({ "transition": message, "key": signature.key, "out": args.out }).to_string(),
        );
    } else {
        output::result(&format!("signed transition {} with key {}", message.short(), signature.key.short()));
    }
    Ok(())
}
