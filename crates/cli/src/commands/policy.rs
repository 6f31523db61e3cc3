//! `casemate policy`: what a policy lets a pod do, what it says to recorded requests, and what changed between two.
//!
//! Nothing here asks anybody or changes anything: it reads files, and the Rego of the policy decides.

mod compare;
mod decide;
mod page;
mod read;
mod show;

use std::path::PathBuf;

use crate::Context;
use crate::failure::Outcome;

/// Look at policies: what a pod may do, what a request would be answered, what changed
#[derive(clap::Subcommand)]
pub(crate) enum PolicyCommand {
    Show(ShowArgs),
    Test(TestArgs),
    Diff(DiffArgs),
}

/// Print in plain words what the pods of a deployment may do
#[derive(clap::Args)]
#[command(
    after_help = "A FILE is generated YAML, an initdata document or annotation, a policy in Rego, or a folder of YAML; `-` is \
standard input. With `--manifest` it also says which secrets a pod may read, who may call it, and which pods of the manifest \
have no file.

Exit code 0: it was shown. 1: something could not be read, or there is no policy in it.

Examples:
  casemate policy show resources/
  casemate policy show resources/ --manifest manifest.json
  casemate policy show --manifest manifest.json            identities alone
  casemate policy show deployment.yaml --all               every value, variables and mounts too
  casemate policy show deployment.yaml --rules             and the rules themselves
  casemate policy show deployment.yaml --json | jq '.pods[].description.policy.containers[].args'"
)]
pub(crate) struct ShowArgs {
    /// Generated YAML, initdata, a policy, or a folder of YAML
    #[arg(value_name = "FILE", required_unless_present = "manifest")]
    files: Vec<PathBuf>,
    /// The manifest that lists the pods
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Print the rules, too
    #[arg(long)]
    rules: bool,
    /// Show every value: variables, standard mounts, digests in full, names of requests
    #[arg(long)]
    all: bool,
}

/// Decide recorded requests of a pod's agent, in order
#[derive(clap::Args)]
#[command(
    after_help = "A POLICY is generated YAML, an initdata document or annotation, or a policy in Rego. REQUESTS are what an agent \
was asked: `{\"ep\": NAME, \"request\": {…}}` (or `kind` for `ep`), lists or lines of those, the log of Kata's agent \
(`/tmp/policy.jsonl`), or `[\"ep\":NAME,{…}],` as earlier agents wrote it. They are decided one after the other by one \
policy, which remembers what it allowed: a container can be started after it was created.

For a denial it prints what the pod's agent would log: the field, what was asked, what is allowed.

Exit code 0: all are allowed. 1: one is denied. 2: a file could not be read.

Examples:
  casemate policy test deployment.yaml requests.json
  casemate policy test resources/ --pod inference policy.jsonl
  casemate policy test policy.rego sandbox.json container.json --json | jq '.decisions[] | select(.allowed | not)'"
)]
pub(crate) struct TestArgs {
    /// Generated YAML, initdata, a policy, or a folder of YAML
    policy: PathBuf,
    /// Recorded requests; `-` is standard input
    #[arg(required = true, value_name = "REQUESTS")]
    requests: Vec<PathBuf>,
    /// The resource whose policy it is, where there are several: `inference` or `Deployment/inference`
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// Show values in full
    #[arg(long)]
    all: bool,
}

/// Say what changed between two deployments, most dangerous first
#[derive(clap::Args)]
#[command(
    after_help = "OLD and NEW are folders with `manifest.json` and generated YAML, manifests with the YAML in their folder, or \
single files as `policy show` takes them. A manifest holds identities, not policies: pods with the same identity in both \
are the same to the byte, and of others both resources are needed. What is not at hand is named.

`+` marks what allows more than before, `~` what allows something else, `-` what allows less.

Exit code 0: nothing changed. 1: something did. 2: something could not be told.

Examples:
  casemate policy diff signed/ .
  casemate policy diff old/manifest.json manifest.json
  git show HEAD:deployment.yaml | casemate policy diff - deployment.yaml"
)]
pub(crate) struct DiffArgs {
    /// The side that is known
    old: PathBuf,
    /// The side that is to be judged
    new: PathBuf,
}

pub(crate) fn run(context: &Context, command: &PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::Show(args) => show::run(context, args),
        PolicyCommand::Test(args) => decide::run(context, args),
        PolicyCommand::Diff(args) => compare::run(context, args),
    }
}
