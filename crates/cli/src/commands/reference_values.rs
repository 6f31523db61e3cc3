//! `casemate reference-values`: what a manifest accepts, written from a machine's own Evidence or computed from what a
//! guest is started with, so that nobody has to find it by trial and error.

mod launch;
mod platforms;

use std::path::{Path, PathBuf};

use protocol::manifest::ReferenceValues;
use protocol::reference::Machines;
use protocol::text::printable;
use verifier::explain::{Explanation, Verdict};
use verifier::{NoReferenceValues, Verifier};

use super::explain::files::is_stdin;
use super::explain::{Subject, SubjectArgs, text};
use crate::failure::{Failure, Outcome};
use crate::workspace::{Mode, write};
use crate::{Context, output};

/// Write the reference values that a manifest needs
#[derive(clap::Subcommand)]
pub(crate) enum ReferenceValuesCommand {
    From(FromArgs),
    Snp(launch::SnpArgs),
    Platforms(platforms::PlatformsArgs),
}

/// Write the reference values that would accept this Evidence and nothing else
#[derive(clap::Args)]
#[command(
    after_help = "The result is the `reference_values` member of a manifest. It says what this machine runs, not what is good: \
read it.

The Evidence is verified first. Evidence that is refused, or whose signature could not be traced to the vendor, gives no \
values without `--unverified`. Where only revocation, the vendor's word on TCB or firmware, or a nonce could not be told, \
the values are written with a warning: none of these changes what the Evidence claims.

Exit code 0: written. 1: refused, or wrong input. 2: could not tell, nothing was written.

Examples:
  casemate reference-values from report.bin vcek.der --output values.json
  casemate reference-values from quote.dat --fetch --platform metal-tdx
  casemate reference-values from gpu.txt gpu-chain.txt rim.xml --chip any"
)]
pub(crate) struct FromArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// The name of the entry, for people [default: the file's name without its ending]
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// Which machines are accepted: the one that made the Evidence, or any genuine one
    #[arg(long, value_name = "WHICH", default_value = "this")]
    chip: Chip,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Write values also from Evidence that is refused or could not be verified: anybody could have made it
    #[arg(long)]
    unverified: bool,
}

/// Which machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Chip {
    /// The one that made the Evidence.
    This,
    /// Any genuine one.
    Any,
}

pub(crate) async fn run(context: &Context, command: ReferenceValuesCommand) -> Outcome {
    match command {
        ReferenceValuesCommand::From(args) => from(context, &args).await,
        ReferenceValuesCommand::Snp(args) => launch::run(context, &args),
        ReferenceValuesCommand::Platforms(_) => {
            platforms::run(context);
            Ok(())
        }
    }
}

async fn from(context: &Context, args: &FromArgs) -> Outcome {
    if let Some(path) = &args.output {
        refuse_existing(path, args.force)?;
    }
    let subject = Subject::read(context, &args.subject).await?;
    let platform = match &args.platform {
        Some(name) if name.trim().is_empty() => return Err(Failure::refuse("`--platform` is empty")),
        Some(name) => name.clone(),
        None => default_platform(&subject),
    };
    let verifier = Verifier::new();
    let question = subject.question(None);
    let mut values = verifier.reference_values(&question, &platform).map_err(|error| {
        let not_evidence = matches!(error, NoReferenceValues::NotEvidence { .. });
        let failure = Failure::no(error).context(format!("`{}`", subject.path.display()));
        if not_evidence { failure } else { failure.hint("`casemate explain` says what is wrong with it") }
    })?;
    let explanation = verifier.explain(&question);
    if !args.unverified {
        judge(&explanation, &subject.path)?;
    }
    if args.chip == Chip::Any {
        any_chip(&mut values);
    }
    let mut json = serde_json::to_string_pretty(&values).map_err(Failure::could_not_tell)?;
    json.push('\n');
    match &args.output {
        Some(path) => {
            write(path, json.as_bytes(), Mode::Public)?;
            if context.json {
                output::json(&serde_json::json!({ "wrote": path, "platform": platform }));
            } else {
                output::result(&format!("wrote `{}`", path.display()));
            }
        }
        None => output::json(&json.trim_end()),
    }
    say(&explanation, &values, args.chip);
    contradictions(&verifier, &subject, &values);
    if subject.is_insecure() {
        output::say(output::INSECURE);
    }
    Ok(())
}

fn default_platform(subject: &Subject) -> String {
    let stem = if is_stdin(&subject.path) { None } else { subject.path.file_stem() };
    let stem = stem.map(|stem| printable(&stem.to_string_lossy()));
    stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| subject.input.kind().to_owned())
}

/// Sections whose "could not tell" leaves the claims as good as they are: they say whether the vendor still stands by the
/// keys and the TCB, and for whom the Evidence was made. Those of a device have `device 2 ` before their name.
const APART: &[&str] =
    &["revocation", "tcb", "binding", "freshness", "quoting enclave", "firmware", "firmware id", "event log"];

/// The titles of an explanation's sections with this verdict.
fn titles(explanation: &Explanation, verdict: Verdict) -> Vec<String> {
    let chosen = explanation.sections.iter().filter(|section| section.verdict == verdict);
    chosen.map(|section| printable(&section.title)).collect()
}

/// Whether values may be written from this Evidence without the user's insisting.
fn judge(explanation: &Explanation, path: &Path) -> Outcome {
    let hint = format!("`casemate explain {}` says why; `--unverified` writes the values all the same", path.display());
    let refused = titles(explanation, Verdict::Refused);
    if !refused.is_empty() {
        return Err(Failure::refuse(format!("the Evidence is refused ({})", refused.join(", "))).hint(hint));
    }
    let mut grave = titles(explanation, Verdict::Unknown);
    grave.retain(|title| !is_apart(title));
    // An explanation in which nothing was verified says nothing of the claims either.
    if titles(explanation, Verdict::Verified).is_empty() && grave.is_empty() {
        grave.push("nothing in it was judged".to_owned());
    }
    if grave.is_empty() {
        return Ok(());
    }
    Err(Failure::could_not_tell(anyhow::anyhow!("the Evidence could not be verified ({})", grave.join(", ")))
        .hint(format!("{hint}; `--fetch` gets what is missing")))
}

fn is_apart(title: &str) -> bool {
    let of_device = title.strip_prefix("device ").and_then(|rest| rest.split_once(' ')).map(|(_, rest)| rest);
    APART.contains(&of_device.unwrap_or(title))
}

fn any_chip(values: &mut ReferenceValues) {
    values.snp.iter_mut().for_each(|entry| entry.chip_ids = Machines::Any);
    values.tdx.iter_mut().for_each(|entry| entry.chip_ids = Machines::Any);
    values.sgx.iter_mut().for_each(|entry| entry.chip_ids = Machines::Any);
    values.devices.iter_mut().for_each(|entry| entry.device_ids = Machines::Any);
}

/// What was verified, what was not, and what a person should look at before the values go into a manifest.
fn say(explanation: &Explanation, values: &ReferenceValues, chip: Chip) {
    for (verdict, words) in [
        (Verdict::Verified, "verified"),
        (Verdict::Unknown, "warning: could not tell"),
        (Verdict::Refused, "warning: REFUSED"),
    ] {
        let titles = titles(explanation, verdict);
        if !titles.is_empty() {
            output::say(&format!("{words}: {}", titles.join(", ")));
        }
    }
    let looks = worth_a_look(values, chip);
    if !looks.is_empty() {
        output::say("look at:");
        for (field, why) in looks {
            output::say(&format!("  {field}: {why}"));
        }
    }
}

/// Says where the values do not accept the Evidence they were written from: what no reference value accepts, as a guest
/// that may be debugged, and what could not be told.
fn contradictions(verifier: &Verifier, subject: &Subject, values: &ReferenceValues) {
    let explanation = verifier.explain(&subject.question(Some(values)));
    let compared = explanation.sections.iter().filter(|section| section.title.starts_with("reference values"));
    let problems: Vec<_> =
        compared.filter(|section| section.verdict != Verdict::Verified).flat_map(|section| &section.problems).collect();
    if !problems.is_empty() {
        output::say("warning: the values do not accept this Evidence:");
        for problem in problems {
            output::say(&format!("  {}", text::short(&printable(&problem.message))));
            if let Some(hint) = &problem.hint {
                output::say(&format!("    hint: {}", printable(hint)));
            }
        }
    }
}

/// Fields that say what this machine is and not what its owner wants.
fn worth_a_look(values: &ReferenceValues, chip: Chip) -> Vec<(String, String)> {
    let mut looks = Vec::new();
    let mut look = |field: String, why: &str| looks.push((field, why.to_owned()));
    let chips = |listed: bool| match (listed, chip) {
        (true, _) => "this machine alone; `--chip any`, or add the others",
        (false, Chip::Any) => "any genuine machine; one whose keys were extracted could answer for all",
        (false, Chip::This) => "ANY genuine machine, because the Evidence does not say which one made it",
    };
    for (index, entry) in values.snp.iter().enumerate() {
        let at = |field: &str| format!("snp[{index}].{field}");
        look(at("chip_ids"), chips(matches!(entry.chip_ids, Machines::Listed(_))));
        look(at("measurements"), "it differs with the number of vCPUs; `casemate reference-values snp` computes all");
        look(at("tcb"), "what this machine has today; a machine with older firmware is refused");
        if entry.provisional_firmware {
            look(at("provisional_firmware"), "this host runs firmware that it can still go back behind");
        }
    }
    for (index, entry) in values.tdx.iter().enumerate() {
        let at = |field: &str| format!("tdx[{index}].{field}");
        look(at("chip_ids"), chips(matches!(entry.chip_ids, Machines::Listed(_))));
        look(at("rtmr0"), "it differs with the guest's size and devices");
        look(at("tcb"), "which of Intel's statuses and advisories you accept, and for how long");
    }
    for (index, entry) in values.sgx.iter().enumerate() {
        let at = |field: &str| format!("sgx[{index}].{field}");
        look(at("chip_ids"), chips(matches!(entry.chip_ids, Machines::Listed(_))));
        look(at("mrenclave"), "this build alone");
        look(at("tcb"), "which of Intel's statuses and advisories you accept, and for how long");
    }
    let intel = |allowed: bool| allowed.then_some("as this platform has it; leave out what yours need not have");
    let kept = "allow_smt, allow_dynamic_platform, allow_cached_keys";
    for (index, entry) in values.tdx.iter().enumerate() {
        if let Some(why) = intel(entry.allow_smt || entry.allow_dynamic_platform || entry.allow_cached_keys) {
            look(format!("tdx[{index}].{kept}"), why);
        }
    }
    for (index, entry) in values.sgx.iter().enumerate() {
        if let Some(why) = intel(entry.allow_smt || entry.allow_dynamic_platform || entry.allow_cached_keys) {
            look(format!("sgx[{index}].{kept}"), why);
        }
    }
    for (index, entry) in values.devices.iter().enumerate() {
        let at = |field: &str| format!("devices[{index}].{field}");
        look(at("device_ids"), chips(matches!(entry.device_ids, Machines::Listed(_))));
        let versions = match (entry.gpus, entry.switches) {
            (0, _) => "switch_bios_versions",
            (_, 0) => "driver_versions, vbios_versions",
            _ => "driver_versions, vbios_versions, switch_bios_versions",
        };
        look(at(versions), "these versions alone");
        if values.snp.is_empty() && values.tdx.is_empty() && values.sgx.is_empty() {
            look(
                at("platform"),
                "a manifest needs an entry for a CPU with the same name: devices are vouched for by one",
            );
        }
        look(at("rim_signers"), "who signed the manifests that it was compared with");
    }
    looks
}

/// A file that is there is somebody's.
pub(super) fn refuse_existing(path: &Path, force: bool) -> Outcome {
    if path.is_dir() {
        return Err(Failure::refuse(format!("`{}` is a folder", path.display())).hint("name a file in it"));
    }
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::refuse(format!("`{}` is there already", path.display())).hint("`--force` replaces it"));
    }
    Ok(())
}
