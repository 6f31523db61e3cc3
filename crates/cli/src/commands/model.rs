//! `casemate model`: seal weights before they leave their owner, and look at what was sealed.

use std::path::{Path, PathBuf};

use inference::sealed::{ModelKey, SealFileError, SealOptions, inspect_file, open_file, seal_file};

use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// Seal model weights, and open them again
#[derive(clap::Subcommand)]
pub(crate) enum ModelCommand {
    Seal(SealArgs),
    Open(OpenArgs),
    Show(ShowArgs),
}

/// Encrypt a model; only the sealed file goes into an image or a volume
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate model seal digits.onnx                            digits.onnx.sealed and digits.key
  casemate model seal big.onnx --out /srv/big.sealed --key existing.key")]
pub(crate) struct SealArgs {
    /// The model
    model: PathBuf,
    /// The sealed file [default: MODEL.sealed]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where to write the new key, readable by you alone; never overwritten [default: MODEL's stem with `.key`]
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_out: Option<PathBuf>,
    /// Seal with this key instead of a new one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The name under which the server serves it [default: the file's stem]
    #[arg(long)]
    name: Option<String>,
}

/// Decrypt a sealed model
#[derive(clap::Args)]
pub(crate) struct OpenArgs {
    /// The sealed file
    sealed: PathBuf,
    /// Its key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write the model, readable by you alone
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Show what a sealed file says of itself, without its key and so without proof
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The sealed file
    sealed: PathBuf,
}

pub(crate) fn run(context: &Context, command: ModelCommand) -> Outcome {
    match command {
        ModelCommand::Seal(args) => seal(context, args),
        ModelCommand::Open(args) => open(context, &args),
        ModelCommand::Show(args) => show(context, &args),
    }
}

fn failed(error: SealFileError) -> Failure {
    let hint = error.hint().map(ToOwned::to_owned);
    let failure = if error.is_input() { Failure::no(error) } else { Failure::could_not_tell(error) };
    failure.maybe_hint(hint)
}

fn seal(context: &Context, args: SealArgs) -> Outcome {
    let mut name = args.model.clone().into_os_string();
    name.push(".sealed");
    let out = args.out.unwrap_or_else(|| PathBuf::from(name));
    let key_out = args.key_out.unwrap_or_else(|| args.model.with_extension("key"));
    let options = match args.name {
        Some(name) => SealOptions::new(name),
        None => SealOptions::named_after(&args.model),
    };
    let fresh = args.key.is_none();
    refuse_same(&out, args.key.as_ref().unwrap_or(&key_out))?;
    let (key, key_path) = match args.key {
        Some(path) => (ModelKey::from_file(&path).map_err(failed)?, path),
        None => {
            let key = ModelKey::generate().map_err(Failure::could_not_tell)?;
            // The key first: a sealed file without its key is lost, a key without a file is harmless.
            key.to_new_file(&key_out).map_err(failed)?;
            (key, key_out.clone())
        }
    };
    let info = seal_file(&args.model, &out, &key, &options).map_err(|error| {
        if fresh {
            let _ = std::fs::remove_file(&key_out);
        }
        failed(error)
    })?;
    if context.json {
        let object = serde_json::json!({
            "model": info.name, "digest": info.digest, "bytes": info.bytes, "sealed": out, "sealed_bytes": info.sealed_bytes,
            "chunks": info.chunks, "key": key_path,
        });
        output::json(&object);
    } else {
        output::result(&format!("sealed `{}` ({} bytes) into `{}`", info.name, info.bytes, out.display()));
        output::say(&format!("model digest  {}", info.digest));
        output::say(&format!(
            "key           `{}`: keep it; hand it over with `casemate secret put`",
            key_path.display()
        ));
    }
    Ok(())
}

/// A result must not take the place of the key it was made with.
fn refuse_same(out: &Path, key: &Path) -> Outcome {
    let same = match (out.canonicalize(), key.canonicalize()) {
        (Ok(out), Ok(key)) => out == key,
        _ => out == key,
    };
    if same {
        Err(Failure::refuse(format!("`{}` is the key: the result would replace it", out.display())))
    } else {
        Ok(())
    }
}

fn open(context: &Context, args: &OpenArgs) -> Outcome {
    refuse_same(&args.out, &args.key)?;
    let key = ModelKey::from_file(&args.key).map_err(failed)?;
    let info = open_file(&args.sealed, &args.out, &key).map_err(failed)?;
    if context.json {
        output::result(
            &serde_json::json!({ "model": info.name, "digest": info.digest, "bytes": info.bytes }).to_string(),
        );
    } else {
        output::result(&format!("opened `{}` ({} bytes) into `{}`", info.name, info.bytes, args.out.display()));
    }
    Ok(())
}

fn show(context: &Context, args: &ShowArgs) -> Outcome {
    let header = inspect_file(&args.sealed).map_err(failed)?;
    if context.json {
        let object = serde_json::json!({
            "model": header.name, "bytes": header.plaintext_len, "chunk_bytes": header.chunk_size,
            "chunks": header.chunks(), "sealed_bytes": header.sealed_len(), "proven": false,
        });
        output::json(&object);
    } else {
        output::result(&format!(
            "`{}` claims to hold the model `{}`: {} bytes in {} chunks; only its key can prove that",
            args.sealed.display(),
            header.name,
            header.plaintext_len,
            header.chunks()
        ));
    }
    Ok(())
}
