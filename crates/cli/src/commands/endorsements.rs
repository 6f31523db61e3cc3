//! `casemate endorsements`: what vendors say about their hardware, fetched ahead, looked at, carried to where no network is.

mod bundle;
mod sources;

use std::path::PathBuf;

use endorsements::{Entry, Freshness, Need, Origin, Status};
use protocol::text::printable;
use verifier::{UnixTime, further_needs, needs_of};

use super::explain::files::{Files, sort};
use super::explain::now;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};

pub(crate) use sources::{SourceArgs, folder, gather_for};
use sources::{cache, gather, line};

/// Keep what vendors say about their hardware at hand, also where no network is
#[derive(clap::Subcommand)]
#[command(
    after_help = "They are kept in `.casemate/endorsements` of the work folder. Nothing in there is believed for being there: \
each document is verified where it is used.

A machine with no way out:
  casemate endorsements fetch report.bin             on a machine that has one
  casemate endorsements export --output site.json    there
  casemate endorsements import site.json             here
  casemate explain report.bin                        asks nobody"
)]
pub(crate) enum EndorsementsCommand {
    Fetch(FetchArgs),
    List(ListArgs),
    Refresh(RefreshArgs),
    Export(bundle::ExportArgs),
    Import(bundle::ImportArgs),
    Remove(RemoveArgs),
}

/// Fetch what some Evidence cannot be judged without
#[derive(clap::Args)]
#[command(after_help = "What is in the cache and fresh is not fetched again. Exit code 2: something could not be had.

Examples:
  casemate endorsements fetch report.bin quote.dat
  casemate endorsements fetch gpu.txt gpu-chain.txt
  casemate endorsements fetch quote.dat --source intel=https://pccs.example.org")]
pub(crate) struct FetchArgs {
    /// Evidence, with the certificate chains that go with it; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fetch also what is fresh
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    sources: SourceArgs,
}

/// List what the cache has, how old it is and until when it is good
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Read every document, and name those that have changed on disk
    #[arg(long)]
    check: bool,
}

/// Fetch again what is no longer fresh
#[derive(clap::Args)]
#[command(after_help = "Exit code 2: something could not be renewed; the cache keeps what it has.")]
pub(crate) struct RefreshArgs {
    /// Fetch everything again
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    sources: SourceArgs,
}

/// Remove documents from the cache
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate endorsements remove 3f2a91     an id of `list`, or its beginning
  casemate endorsements remove --stale")]
pub(crate) struct RemoveArgs {
    /// Ids of `casemate endorsements list`
    #[arg(value_name = "ID", required_unless_present_any = ["stale", "all"])]
    ids: Vec<String>,
    /// Everything that is past its time
    #[arg(long, conflicts_with = "ids")]
    stale: bool,
    /// Everything
    #[arg(long, conflicts_with_all = ["ids", "stale"])]
    all: bool,
}

pub(crate) async fn run(context: &Context, command: EndorsementsCommand) -> Outcome {
    match command {
        EndorsementsCommand::Fetch(args) => fetch(context, &args).await,
        EndorsementsCommand::List(args) => list(context, &args),
        EndorsementsCommand::Refresh(args) => refresh(context, &args).await,
        EndorsementsCommand::Export(args) => bundle::export(context, &args),
        EndorsementsCommand::Import(args) => bundle::import(context, &args),
        EndorsementsCommand::Remove(args) => remove(context, &args),
    }
}

/// What one file's Evidence needs.
struct NeededBy {
    path: PathBuf,
    kind: &'static str,
    needs: Vec<Need>,
}

/// The needs of every Evidence among files.
fn needed_by(files: &[PathBuf]) -> Outcome<Vec<NeededBy>> {
    let Files { subjects, endorsements, .. } = sort(files, &[], None)?;
    // A manifest that the user names has signers, and whoever judges wants to know their standing.
    let mut further = further_needs(&endorsements);
    let needed = |(path, input): (PathBuf, verifier::input::Input)| {
        let mut needs = needs_of(&input);
        needs.append(&mut further);
        NeededBy { path, kind: input.kind(), needs }
    };
    Ok(subjects.into_iter().map(needed).collect())
}

async fn fetch(context: &Context, args: &FetchArgs) -> Outcome {
    let mut needs = Vec::new();
    for needed in needed_by(&args.files)? {
        if needed.needs.is_empty() {
            output::say(&format!("`{}` ({}) needs no Endorsements", needed.path.display(), needed.kind));
        }
        needs.extend(needed.needs);
    }
    let freshness = if args.again { Freshness::Refresh } else { Freshness::Normal };
    let report = if needs.is_empty() {
        Vec::new()
    } else {
        let client = args.sources.client(context, false)?;
        gather(context, &client, &needs, freshness).await.report
    };
    conclude(context, &report, "nothing to fetch")
}

async fn refresh(context: &Context, args: &RefreshArgs) -> Outcome {
    let client = args.sources.client(context, false)?;
    let report = if args.all {
        let listing = client.cache().list().map_err(Failure::could_not_tell)?;
        let needs: Vec<Need> = listing.entries.into_iter().map(|entry| entry.need).collect();
        gather(context, &client, &needs, Freshness::Refresh).await.report
    } else {
        let bar = super::local::progress(context, "renewing what is no longer fresh");
        let report = client.refresh_stale().await;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        report.map_err(Failure::could_not_tell)?
    };
    conclude(context, &report, "everything is fresh")
}

/// Prints what became of each need; what could not be had is "could not tell".
fn conclude(context: &Context, report: &[Status], nothing: &str) -> Outcome {
    let failed: Vec<&Status> =
        report.iter().filter(|status| status.error().is_some() && !is_answered_otherwise(status, report)).collect();
    if context.json {
        let report: Vec<serde_json::Value> = report.iter().map(status_json).collect();
        output::json(&serde_json::json!({ "endorsements": report }));
    } else if report.is_empty() {
        output::result(nothing);
    } else {
        for status in report {
            output::result(&line(status));
        }
    }
    let Some(first) = failed.first() else { return Ok(()) };
    let hint = failed.iter().find_map(|status| status.error().and_then(endorsements::FetchError::hint));
    let missing = failed.iter().filter(|status| status.is_missing()).count();
    let what = if missing == 0 {
        format!(
            "{} of {} could not be renewed, and the cache has older ones",
            failed.len(),
            noun(report.len(), "document")
        )
    } else {
        format!("{missing} of {} could not be had", noun(report.len(), "document"))
    };
    let mut failure = Failure::could_not_tell(anyhow::anyhow!("{what}"));
    if failed.len() == 1 {
        failure = Failure::could_not_tell(anyhow::anyhow!("{what}: {}", first.need));
    }
    Err(failure.maybe_hint(hint).told(context.json))
}

/// A report of version 2 does not say its product, so every product is asked for its chip, and one has it.
fn is_answered_otherwise(status: &Status, report: &[Status]) -> bool {
    let Need::Vcek { chip_id: wanted, .. } = &status.need else { return false };
    report
        .iter()
        .any(|other| matches!(&other.need, Need::Vcek { chip_id, .. } if chip_id == wanted && !other.is_missing()))
}

fn status_json(status: &Status) -> serde_json::Value {
    let (origin, age) = match &status.origin {
        Origin::Cache { age } => ("cache", Some(age.as_secs())),
        Origin::Fetched => ("fetched", Some(0)),
        Origin::Missing(_) => ("missing", None),
    };
    serde_json::json!({
        "need": status.need, "name": status.need.to_string(), "origin": origin, "age_seconds": age, "url": status.url,
        "good_until": status.next_update, "stale": status.stale,
        "error": status.error().map(|error| serde_json::json!({ "code": error.code(), "message": error.to_string() })),
        "notes": status.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// The name of an entry on the command line: the beginning of its first document's digest.
fn id(entry: &Entry) -> String {
    entry.documents.first().map(|item| item.sha256.short()).unwrap_or_default()
}

fn list(context: &Context, args: &ListArgs) -> Outcome {
    // Looking makes no folder.
    if !folder(context).is_dir() {
        if context.json {
            output::result(r#"{"endorsements":[],"damaged":[]}"#);
        } else {
            output::result("the cache is empty");
        }
        return Ok(());
    }
    let cache = cache(context)?;
    let listing = cache.list().map_err(Failure::could_not_tell)?;
    let damaged = if args.check { cache.verify().map_err(Failure::could_not_tell)? } else { listing.damaged };
    let now = now()?;
    if context.json {
        let entries: Vec<serde_json::Value> = listing.entries.iter().map(|entry| entry_json(entry, now)).collect();
        let damaged: Vec<String> = damaged.iter().map(ToString::to_string).collect();
        let object = serde_json::json!({ "endorsements": entries, "damaged": damaged });
        output::json(&object);
    } else if listing.entries.is_empty() {
        output::result("the cache is empty");
    } else {
        let rows: Vec<Vec<String>> = listing.entries.iter().map(|entry| row(entry, now)).collect();
        output::result(&output::table(&["ID", "AGE", "GOOD UNTIL", "STATE", "WHAT"], &rows));
        let bytes: u64 = listing.entries.iter().map(Entry::size).sum();
        let what = noun(listing.entries.len(), "answer");
        output::say(&format!("{what}, {} KiB in `{}`", bytes.div_ceil(1024), cache.folder().display()));
    }
    if damaged.is_empty() {
        return Ok(());
    }
    if !context.json {
        for damage in &damaged {
            output::say(&format!("damaged: {}", printable(&damage.to_string())));
        }
        output::say("hint: what is damaged is passed over, and fetched again when it is needed");
    }
    Ok(())
}

fn row(entry: &Entry, now: UnixTime) -> Vec<String> {
    let until = entry.next_update.map_or_else(|| "not said".to_owned(), |time| time.to_string());
    let state = if entry.is_stale(now) { "stale" } else { "good" };
    let what =
        if entry.variant.is_empty() { entry.need.to_string() } else { format!("{} ({})", entry.need, entry.variant) };
    vec![id(entry), age(entry.age(now)), until, state.to_owned(), printable(&what)]
}

fn entry_json(entry: &Entry, now: UnixTime) -> serde_json::Value {
    serde_json::json!({
        "id": id(entry), "need": entry.need, "name": entry.need.to_string(), "variant": entry.variant, "url": entry.url,
        "fetched_at": entry.fetched_at, "age_seconds": entry.age(now), "issued_at": entry.issued_at,
        "good_until": entry.next_update, "stale": entry.is_stale(now), "documents": entry.documents,
    })
}

/// LIMIT: an id is matched by at least so many digits, so that a typing error does not remove something else.
const MIN_ID: usize = 4;

fn remove(context: &Context, args: &RemoveArgs) -> Outcome {
    let cache = cache(context)?;
    let entries = cache.list().map_err(Failure::could_not_tell)?.entries;
    let now = now()?;
    let mut chosen: Vec<&Entry> = if args.all {
        entries.iter().collect()
    } else if args.stale {
        entries.iter().filter(|entry| entry.is_stale(now)).collect()
    } else {
        Vec::new()
    };
    for wanted in &args.ids {
        let wanted_digits = wanted.to_ascii_lowercase();
        if wanted_digits.len() < MIN_ID {
            return Err(Failure::refuse(format!("`{wanted}`: {MIN_ID} digits of an id at least")));
        }
        let full = |entry: &Entry| entry.documents.first().map(|item| item.sha256.to_string()).unwrap_or_default();
        let matching: Vec<&Entry> = entries.iter().filter(|entry| full(entry).starts_with(&wanted_digits)).collect();
        match matching.as_slice() {
            [] => {
                return Err(Failure::refuse(format!("the cache has no `{wanted}`"))
                    .hint("`casemate endorsements list` shows the ids"));
            }
            [one] => chosen.push(one),
            several => {
                return Err(Failure::refuse(format!("`{wanted}` is the beginning of {} ids", several.len()))
                    .hint("write more digits of it"));
            }
        }
    }
    let mut removed = Vec::new();
    for entry in chosen {
        if cache.remove(&entry.need).map_err(Failure::could_not_tell)? {
            removed.push(entry);
        }
    }
    if context.json {
        let removed: Vec<serde_json::Value> = removed.iter().map(|entry| entry_json(entry, now)).collect();
        output::json(&serde_json::json!({ "removed": removed }));
    } else {
        for entry in &removed {
            output::say(&format!("removed  {}", printable(&entry.need.to_string())));
        }
        output::result(&format!("{} removed", noun(removed.len(), "answer")));
    }
    Ok(())
}

fn noun(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A duration for people: one unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
