//! `casemate deploy`: from a folder of YAML to a verified answer, step by step.
//!
//! What is to run is worked out by [`cloud::steps`]; here it is shown, run and noted. Steps that are done are in
//! `deploy.json` in the work folder, so that a run that failed goes on where it stopped.

mod children;
mod run;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use cloud::files::Registry;
use cloud::steps::{self, JOURNAL, Journal, Left, Start, Step, StepName, Target, Wish};
use policy::generate::Tee;
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Outcome};
use crate::workspace::{Mode, write};
use crate::{Context, output};

/// Take a folder of YAML to a verified answer: check, generate, apply, set, verify, ask
#[derive(clap::Args)]
#[command(
    after_help = "Each command is shown before it runs, and `--dry-run` shows all of them and runs none. Your files stay as they are: what
`generate` makes of them lies in `generated/` in the work folder. A run that failed is taken up where it stopped; if your files
changed since, from `generate` on. What stands after `--` is a command of casemate that asks your service something.

On Confidential GKE Nodes the last answer is \"could not tell\", since nothing there binds a pod.

Exit codes: 0 everything is done and verified, 1 no (not trusted, or wrong input), 2 could not tell.

Examples:
  casemate deploy --local resources/ -- infer --image 7.png
  casemate deploy --platform metal-qemu-snp --registry HOST/PATH --reference-values ./nodes.json --dry-run resources/
  casemate deploy --platform metal-qemu-snp --registry HOST/PATH --reference-values ./nodes.json --yes resources/
  casemate deploy --platform gke-snp --infra gke --registry HOST/PATH resources/
  casemate deploy --local --from set resources/"
)]
pub(crate) struct DeployArgs {
    /// Files and folders of Kubernetes resources
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Deploy to the local engine on this machine, INSECURE
    #[arg(long, conflicts_with_all = ["platform", "infra", "coordinator", "namespace"])]
    local: bool,
    /// Deploy to the cluster that kubectl reaches; `casemate reference-values platforms` lists platforms
    #[arg(long, value_name = "PLATFORM", required_unless_present = "local")]
    platform: Option<String>,
    /// What the names of our images begin with, on a cluster
    #[arg(long, value_name = "HOST/PATH", required_unless_present = "local")]
    registry: Option<String>,
    /// Make the cluster first, with the Terraform in this folder (`casemate infra init gke`)
    #[arg(long, value_name = "DIR")]
    infra: Option<PathBuf>,
    /// The namespace of resources that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// A file of reference values for `generate`; may be repeated
    #[arg(long, value_name = "FILE")]
    reference_values: Vec<PathBuf>,
    /// Build an image from a folder and push it; may be repeated
    #[arg(long, value_name = "NAME=DIR")]
    image: Vec<String>,
    /// Hand a secret to the Coordinator; may be repeated
    #[arg(long, value_name = "NAME=FILE")]
    secret: Vec<String>,
    /// Where the Coordinator is reached [default: forwarded by kubectl]
    #[arg(short, long, value_name = "HOST:PORT")]
    coordinator: Option<String>,
    /// Leave the workers as they are: the runtime is there
    #[arg(long)]
    skip_runtime: bool,
    /// Begin at this step
    #[arg(long, value_name = "STEP", value_parser = step)]
    from: Option<StepName>,
    /// Show every command and run none
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before the first command
    #[arg(short, long)]
    yes: bool,
    /// The program that casemate's own steps run
    #[arg(long, hide = true, value_name = "PROGRAM")]
    casemate: Option<PathBuf>,
    /// What to ask the service at the end: a command of casemate
    #[arg(last = true, value_name = "QUESTION")]
    question: Vec<String>,
}

fn step(text: &str) -> Result<StepName, String> {
    StepName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
        let all: Vec<&str> = StepName::ALL.iter().map(|name| name.as_str()).collect();
        format!("steps are {}", all.join(", "))
    })
}

pub(crate) fn run(context: &Context, args: DeployArgs) -> Outcome {
    let wish = wish(context, &args)?;
    let plan = steps::plan(&wish);
    // What an earlier run left does not make another deployment of this one.
    let bare = steps::plan(&Wish { left: Left::default(), ..wish });
    let digests = (plan_digest(&bare), resources_digest(&args.paths)?);
    if args.dry_run {
        show(context, &plan);
        return Ok(());
    }
    let path = context.workspace.dir().join(JOURNAL);
    // Two runs at once would each undo what the other notes.
    let _lock = lock(&context.workspace.dir().join(format!(".{JOURNAL}.lock")))?;
    let earlier = read_journal(&path)?;
    let start = steps::start(&plan, (&digests.0, &digests.1), earlier.as_ref(), args.from).map_err(|absent| {
        let names: Vec<&str> = plan.iter().map(|step| step.name.as_str()).collect();
        Failure::refuse(format!("`--from {absent}`: this deployment has no such step"))
            .hint(format!("it has {}", names.join(", ")))
    })?;
    say_start(start, &plan);
    if !args.yes {
        confirm(&plan, start.step())?;
    }
    let mut journal = match start {
        Start::Fresh | Start::OtherPlan | Start::Complete => Journal::new(digests.0.clone(), digests.1.clone()),
        Start::Resume(step) | Start::Changed(step) | Start::Asked(step) => {
            let mut kept = earlier.unwrap_or_else(|| Journal::new(digests.0.clone(), digests.1.clone()));
            kept.rewind(step);
            kept.of(digests.0.clone(), digests.1.clone())
        }
    };
    let casemate = match &args.casemate {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(|error| Failure::could_not_tell(error).context("find this program"))?,
    };
    let runner = run::Runner { casemate, json: context.json };
    let mut done: Vec<StepName> = Vec::new();
    for step in plan.iter().filter(|step| step.name >= start.step()) {
        output::say(&format!("\n{}: {}", step.name, step.about));
        if let Some(why) = step.could_not_tell {
            return Err(Failure::could_not_tell(anyhow::anyhow!("{why}")).context("the deployment could not be verified")
                .hint("the service runs; for pods that are bound, deploy to a platform of `casemate reference-values platforms` whose pods are guests of their own"));
        }
        runner.step(step).map_err(|failure| failed(failure, step.name, &args))?;
        journal.done(step.name);
        done.push(step.name);
        write(&path, journal.text().as_bytes(), Mode::Public).map_err(Failure::could_not_tell)?;
    }
    if context.json {
        output::json(&serde_json::json!({ "done": done, "verified": true, "insecure": args.local }));
    } else {
        output::say("");
        output::result("deployed, and verified");
        if args.local {
            output::say(output::INSECURE);
        }
    }
    Ok(())
}

/// What helps after a step failed. The causes of most failures in a cluster are what `doctor` looks for.
fn failed(failure: Failure, step: StepName, args: &DeployArgs) -> Failure {
    let again = format!("the same command goes on at `{step}`");
    let failure = failure.context(format!("step `{step}` failed"));
    if args.local {
        return failure.hint(format!("`casemate ps` and `casemate logs` show what pods wait for; {again}"));
    }
    failure.hint(format!("`casemate doctor` says what is wrong and what mends it; {again}"))
}

fn wish(context: &Context, args: &DeployArgs) -> Outcome<Wish> {
    let text = |path: &PathBuf, what: &str| {
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Failure::refuse(format!("{what} `{}` is not UTF-8", path.display())))
    };
    let mut resources = Vec::new();
    for path in &args.paths {
        apart(path, context.workspace.dir())?;
        resources.push(text(path, "the path")?);
    }
    let mut reference_values = Vec::new();
    for path in &args.reference_values {
        let path = text(path, "the path")?;
        // A name without a slash or an ending would be taken for a platform.
        let is_path = path.contains('/') || path.to_ascii_lowercase().ends_with(".json");
        reference_values.push(if is_path { path } else { format!("./{path}") });
    }
    let registry = args.registry.as_deref().map(Registry::new).transpose();
    let registry = registry.map_err(|error| {
        let hint = error.hint();
        Failure::no(error).hint(hint)
    })?;
    if !is_namespace(&args.namespace) {
        return Err(Failure::refuse(format!("`{}` is no namespace", args.namespace))
            .hint("at most 63 lower-case letters, digits and hyphens"));
    }
    Ok(Wish {
        target: target(args)?,
        resources,
        namespace: args.namespace.clone(),
        reference_values,
        registry,
        images: pairs("--image", &args.image)?,
        secrets: pairs("--secret", &args.secret)?,
        coordinator: args.coordinator.clone(),
        runtime: !args.skip_runtime,
        question: args.question.clone(),
        work: text(&context.workspace.dir().to_owned(), "the work folder")?,
        left: Left {
            engine: context.workspace.dir().join(ENGINE_STATE).exists(),
            seed: context.workspace.dir().join(SEED_SHARES).exists(),
        },
    })
}

/// What the local engine keeps of itself while it runs, and what `casemate set` writes once a Coordinator has a seed.
const ENGINE_STATE: &str = ".casemate/engine.json";
const SEED_SHARES: &str = "seed-shares.json";

/// What is made of the resources lies in the work folder, and would be taken for resources of the user's the next time.
fn apart(resources: &Path, work: &Path) -> Outcome {
    let (Ok(inner), Ok(outer)) = (work.canonicalize(), resources.canonicalize()) else { return Ok(()) };
    if inner.starts_with(&outer) {
        return Err(Failure::refuse(format!("`{}` holds the work folder", resources.display()))
            .hint("put the resources into a folder of their own, or name another work folder with `--workspace-dir`"));
    }
    Ok(())
}

fn target(args: &DeployArgs) -> Outcome<Target> {
    let Some(name) = args.platform.as_deref().filter(|_| !args.local) else { return Ok(Target::Local) };
    let platform = cloud::files::platform(name).map_err(|error| {
        let hint = error.hint();
        Failure::no(error).hint(hint)
    })?;
    let infra = match &args.infra {
        None => None,
        Some(folder) if !folder.join("main.tf").is_file() && !folder.join("versions.tf").is_file() => {
            return Err(Failure::refuse(format!("`{}` holds no Terraform", folder.display()))
                .hint("`casemate infra init gke` writes such a folder"));
        }
        Some(folder) => Some(folder.display().to_string()),
    };
    match (platform.tee, infra) {
        (Tee::Software, _) => Err(Failure::refuse("`local` is this machine, and no cluster").hint("`--local`")),
        (Tee::Sgx, _) => {
            Err(Failure::refuse(format!("`{}` has no guests, and the Coordinator needs one", platform.name))
                .hint("deploy the Coordinator to a platform with guests, and generate for both"))
        }
        (Tee::Node, infra) => Ok(Target::Nodes { platform: platform.name, infra }),
        (_, Some(_)) => Err(Failure::refuse(format!("`--infra`: there is no Terraform for `{}`", platform.name))
            .hint("prepare the machines as deploy/README.md says, and leave `--infra` out")),
        (_, None) => {
            let plain = platform.name.strip_suffix("-gpu").filter(|_| platform.gpu);
            let references = plain.into_iter().chain([platform.name]).map(str::to_owned).collect();
            Ok(Target::Guests { platform: platform.name, references })
        }
    }
}

fn is_namespace(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Values of the form `NAME=PATH`.
fn pairs(flag: &str, values: &[String]) -> Outcome<Vec<(String, String)>> {
    let split = |value: &String| match value.split_once('=') {
        Some((name, path))
            if !name.is_empty() && !path.is_empty() && !name.starts_with('-') && !path.starts_with('-') =>
        {
            Ok((name.to_owned(), path.to_owned()))
        }
        _ => Err(Failure::refuse(format!("`{flag} {value}` has not the form NAME=PATH"))),
    };
    values.iter().map(split).collect()
}

fn show(context: &Context, plan: &[Step]) {
    if context.json {
        let steps: Vec<_> = plan
            .iter()
            .map(|step| {
                let commands: Vec<String> = step.commands.iter().map(ToString::to_string).collect();
                serde_json::json!({
                    "step": step.name, "about": step.about, "needs": step.needs,
                    "beside": step.beside.as_ref().map(ToString::to_string), "commands": commands,
                    "could_not_tell": step.could_not_tell,
                })
            })
            .collect();
        output::json(&serde_json::json!({ "steps": steps }));
        return;
    }
    for step in plan {
        output::result(&format!("# {}: {}", step.name, step.about));
        if let Some(beside) = &step.beside {
            output::result(&format!("{beside} &"));
        }
        for command in &step.commands {
            output::result(&command.to_string());
        }
        if step.beside.is_some() {
            output::result("kill %%");
        }
        if let Some(why) = step.could_not_tell {
            output::result(&format!("# could not tell: {why}"));
        }
    }
    output::say("nothing was run");
}

fn say_start(start: Start, plan: &[Step]) {
    match start {
        Start::OtherPlan => output::say("the last run was for another deployment: this one begins at the beginning"),
        Start::Complete => output::say("the last run did everything: it is done again"),
        Start::Resume(step) => output::say(&format!("the last run stopped at `{step}`: it goes on there")),
        Start::Changed(step) => output::say(&format!("your files changed since the last run: it goes on at `{step}`")),
        _ => {}
    }
    let left = plan.iter().filter(|step| step.name >= start.step()).count();
    output::say(&format!("{left} of {} steps", plan.len()));
}

/// Asks before the first command. Without a terminal nobody could answer.
fn confirm(plan: &[Step], from: StepName) -> Outcome {
    let hint = "`--dry-run` shows every command, and `--yes` runs them without asking";
    if !std::io::stdin().is_terminal() {
        return Err(Failure::refuse("nothing was run: there is nobody to ask").hint(hint));
    }
    for step in plan.iter().filter(|step| step.name >= from) {
        output::say(&format!("  {}: {}", step.name, step.about));
    }
    let _ = write!(std::io::stderr(), "go on? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) => Ok(()),
        _ => Err(Failure::refuse("nothing was run").hint(hint)),
    }
}

fn lock(path: &Path) -> Outcome<std::fs::File> {
    let failed = |error: std::io::Error| {
        Failure::could_not_tell(anyhow::Error::new(error).context(format!("lock `{}`", path.display())))
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::refuse("another `casemate deploy` is at work in this work folder").hint("wait for its end"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn read_journal(path: &Path) -> Outcome<Option<Journal>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::could_not_tell(
                anyhow::Error::new(error).context(format!("read `{}`", path.display())),
            ));
        }
    };
    Journal::parse(&text).map(Some).map_err(|error| {
        Failure::no(error).context(format!("`{}`", path.display())).hint("remove it to begin at the beginning")
    })
}

fn plan_digest(plan: &[Step]) -> String {
    let mut context = Sha256::new();
    for step in plan {
        context.update(step.name.as_str());
        for command in &step.commands {
            context.update([0_u8]);
            context.update(command.to_string());
        }
        context.update([1_u8]);
    }
    hex::encode(context.finalize())
}

/// LIMIT: what `generate` takes of one file, several times over; a folder with more is not one of resources.
const MAX_RESOURCES: u64 = 256 * 1024 * 1024;

/// A digest of everything that `generate` or `kubectl` would read.
fn resources_digest(paths: &[PathBuf]) -> Outcome<String> {
    let mut context = Sha256::new();
    let mut left = MAX_RESOURCES;
    for path in paths {
        for file in children::files(path)? {
            let failed = |error: std::io::Error| {
                Failure::no(anyhow::Error::new(error).context(format!("read `{}`", file.display())))
            };
            let length = std::fs::metadata(&file).map_err(failed)?.len();
            let Some(rest) = left.checked_sub(length) else {
                return Err(Failure::refuse(format!(
                    "`{}` and what is before it have more than 256 MiB",
                    file.display()
                ))
                .hint("name the folder of your resources alone"));
            };
            left = rest;
            let bytes = std::fs::read(&file).map_err(failed)?;
            context.update(file.to_string_lossy().as_bytes());
            context.update([0_u8]);
            context.update(Sha256::digest(&bytes));
        }
    }
    Ok(hex::encode(context.finalize()))
}
