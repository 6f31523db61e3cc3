//! Carrying Endorsements to a machine with no way out.

use std::path::PathBuf;

use endorsements::{BundleError, Need};
use protocol::text::printable;

use super::sources::cache;
use super::{NeededBy, needed_by, noun};
use crate::commands::explain::files::{is_stdin, read_at_most};
use crate::commands::explain::now;
use crate::commands::reference_values::refuse_existing;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// LIMIT: the largest bundle that is written (the cache's own bound, in base64).
const MAX_BUNDLE: usize = 96 * 1024 * 1024;

/// Write the cache, or what some Evidence needs of it, to one file
#[derive(clap::Args)]
#[command(after_help = "The bundle is not signed and need not be: each document in it is signed by its vendor, and \
verified where it is used.

Exit code 2: the bundle was written, and the cache lacks something that the Evidence needs.

Examples:
  casemate endorsements export --output site.json
  casemate endorsements export --output node-3.json node-3.bin
  casemate endorsements export --output - | ssh node casemate endorsements import -")]
pub(crate) struct ExportArgs {
    /// Evidence, with the files that go with it; without any the whole cache is written
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The bundle; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Take what a bundle has and the cache has not, or has older
#[derive(clap::Args)]
#[command(after_help = "A bundle with anything wrong in its form is refused as a whole.

Example:
  casemate endorsements import site.json")]
pub(crate) struct ImportArgs {
    /// A bundle of `casemate endorsements export`; `-` is standard input
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
}

fn failed(error: BundleError) -> Failure {
    let hint = error.hint();
    let failure = if error.could_not_tell() { Failure::could_not_tell(error) } else { Failure::no(error) };
    failure.maybe_hint(hint)
}

pub(super) fn export(context: &Context, args: &ExportArgs) -> Outcome {
    let to_stdout = is_stdin(&args.output);
    if !to_stdout {
        refuse_existing(&args.output, args.force)?;
    }
    if to_stdout && context.json {
        return Err(Failure::refuse("`--output -` and `--json`: standard output holds one document")
            .hint("name a file, or leave `--json` out"));
    }
    let needs: Option<Vec<Need>> = if args.files.is_empty() {
        None
    } else {
        Some(needed_by(&args.files)?.into_iter().flat_map(|NeededBy { needs, .. }| needs).collect())
    };
    let exported = cache(context)?.export(needs.as_deref()).map_err(failed)?;
    for damage in &exported.damaged {
        output::say(&format!("left out: {damage}"));
    }
    if exported.entries == 0 {
        return Err(Failure::could_not_tell(anyhow::anyhow!("the cache has nothing to export"))
            .hint("`casemate endorsements fetch FILE...` fills it"));
    }
    if to_stdout {
        output::result(String::from_utf8_lossy(&exported.bytes).trim_end());
    } else {
        crate::workspace::write(&args.output, &exported.bytes, crate::workspace::Mode::Public)?;
    }
    for need in &exported.missing {
        output::say(&format!("missing: {}", printable(&need.to_string())));
    }
    let said = format!("wrote {} to `{}`", noun(exported.entries, "answer"), args.output.display());
    if context.json {
        let missing: Vec<String> = exported.missing.iter().map(ToString::to_string).collect();
        let object = serde_json::json!({
            "bundle": args.output, "bytes": exported.bytes.len(), "answers": exported.entries,
            "missing": missing, "damaged": exported.damaged.len(),
        });
        output::json(&object);
    } else if to_stdout {
        output::say(&format!("wrote {} to standard output", noun(exported.entries, "answer")));
    } else {
        output::result(&said);
    }
    if exported.missing.is_empty() {
        return Ok(());
    }
    let missing = exported.missing.len();
    Err(Failure::could_not_tell(anyhow::anyhow!("the cache lacks {missing} of what the Evidence needs"))
        .hint("`casemate endorsements fetch FILE...` gets it")
        .told(context.json))
}

pub(super) fn import(context: &Context, args: &ImportArgs) -> Outcome {
    let bytes = read_at_most(&args.bundle, MAX_BUNDLE)?;
    let imported = cache(context)?
        .import(&bytes, now()?)
        .map_err(|error| failed(error).context(format!("`{}`", args.bundle.display())))?;
    let show = |need: &Need| printable(&need.to_string());
    if context.json {
        let names = |needs: &[Need]| needs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let refused: Vec<serde_json::Value> = imported
            .refused
            .iter()
            .map(
                |refusal| serde_json::json!({ "need": refusal.need.to_string(), "reason": refusal.reason.to_string() }),
            )
            .collect();
        let object = serde_json::json!({
            "added": names(&imported.added), "kept_newer": names(&imported.kept_newer), "refused": refused,
        });
        output::json(&object);
    } else {
        for need in &imported.added {
            output::say(&format!("added  {}", show(need)));
        }
        output::result(&format!(
            "{} added, {} kept because they are not older",
            noun(imported.added.len(), "answer"),
            imported.kept_newer.len()
        ));
    }
    if imported.refused.is_empty() {
        return Ok(());
    }
    if !context.json {
        for refusal in &imported.refused {
            output::say(&format!("refused  {}: {}", show(&refusal.need), printable(&refusal.reason.to_string())));
        }
    }
    Err(Failure::refuse(format!("{} of the bundle cannot be what they say", noun(imported.refused.len(), "answer")))
        .told(context.json))
}
