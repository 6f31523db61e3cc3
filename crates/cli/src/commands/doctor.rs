//! `casemate doctor`: what is wrong with a cluster, why, and the command that mends it.

use std::path::{Path, PathBuf};

use doctor::bundle::{Bundle, Certificate};
use doctor::collect::{self, Reach, Session};
use doctor::folder::{self, FolderError};
use doctor::{Exit, Report, Selection, examine};
use serde_json::json;

use super::endorsements::SourceArgs;
use super::local::progress;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// Say what is wrong with a cluster, a work folder or this machine, why, and what mends it
#[derive(clap::Args)]
#[command(
    after_help = "Nothing is changed, and no Secret is read. Exit codes: 0 nothing is wrong (there may be warnings), \
1 something is, 2 nothing was found and not everything could be looked at.

Examples:
  casemate doctor                                 the cluster of the kubeconfig, and the work folder
  casemate doctor -n shop resources/              one namespace, and the YAML it was deployed from
  casemate doctor --coordinator HOST:1313         is the Coordinator's address reachable, too?
  casemate doctor --local                         can this machine run confidential guests?
  casemate doctor --save support/                 write what was seen, without secrets, for somebody else
  casemate doctor --bundle support/               look at what somebody else has seen
  casemate doctor --only image-pull,pod-pending   two checks of those that `--list` names"
)]
pub(crate) struct DoctorArgs {
    /// The YAML that was deployed: a folder or a file; `resources/` of the work folder where it is there
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The kubeconfig; `KUBECONFIG` or `~/.kube/config` otherwise
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; the current one otherwise
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,
    /// Look at one namespace
    #[arg(long, short, value_name = "NAME", conflicts_with = "all_namespaces", help_heading = "Cluster")]
    namespace: Option<String>,
    /// Look at all namespaces, which is what happens anyway where you may
    #[arg(long, short = 'A', help_heading = "Cluster")]
    all_namespaces: bool,
    /// Try to connect to the Coordinator there
    #[arg(long, short, value_name = "HOST:PORT", help_heading = "Cluster")]
    coordinator: Option<String>,
    /// Look at this machine as one that is to run guests, and at no cluster
    #[arg(long, conflicts_with_all = ["kubeconfig", "context", "namespace", "all_namespaces", "bundle"])]
    local: bool,
    /// Do not ask the services of AMD, Intel and NVIDIA
    #[arg(long)]
    offline: bool,
    /// Write what was seen to a new folder, without secrets
    #[arg(long, value_name = "DIR", conflicts_with = "bundle")]
    save: Option<PathBuf>,
    /// Look at a folder that `--save` wrote, and at nothing else
    #[arg(long, value_name = "DIR", conflicts_with_all = ["path", "kubeconfig", "context", "namespace", "all_namespaces", "coordinator"])]
    bundle: Option<PathBuf>,
    /// Only these checks
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// All checks but these
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    skip: Vec<String>,
    /// List the checks, and look at nothing
    #[arg(long)]
    list: bool,
}

pub(crate) async fn run(context: &Context, args: DoctorArgs) -> Outcome {
    let selection = Selection::new(&args.only, &args.skip)
        .map_err(|error| Failure::no(error).hint("`casemate doctor --list` lists the checks"))?;
    if args.list {
        list(context);
        return Ok(());
    }
    let bundle = match &args.bundle {
        Some(path) => folder::load(path).map_err(folder_failure)?,
        None => gather(context, &args).await?,
    };
    if let Some(path) = &args.save {
        folder::save(&bundle, path).map_err(folder_failure)?;
        output::say(&format!("what was seen is in `{}`: look through it before you give it away", path.display()));
    }
    conclude(context, &bundle, &examine(&bundle, &selection))
}

fn folder_failure(error: FolderError) -> Failure {
    let hint = error.hint().map(str::to_owned);
    let failure = if error.is_refusal() { Failure::no(error) } else { Failure::could_not_tell(error) };
    failure.maybe_hint(hint)
}

fn list(context: &Context) {
    let checks = doctor::checks::CHECKS;
    if context.json {
        let checks: Vec<_> = checks
            .iter()
            .map(|check| json!({ "id": check.id, "area": check.area.name(), "about": check.about }))
            .collect();
        output::json(&json!({ "checks": checks }));
        return;
    }
    let rows: Vec<Vec<String>> =
        checks.iter().map(|check| [check.id, check.area.name(), check.about].map(str::to_owned).to_vec()).collect();
    output::result(&output::table(&["CHECK", "ABOUT", "FINDS"], &rows));
}

/// Asks everything that was asked for, at once.
async fn gather(context: &Context, args: &DoctorArgs) -> Outcome<Bundle> {
    let session = if args.local { None } else { Some(connect(args).await?) };
    let bar = progress(context, "looking");
    let sources = if args.offline || args.local && args.path.is_none() {
        None
    } else {
        Some(SourceArgs::from_environment()?.sources(false)?)
    };
    let services = async {
        match &sources {
            Some(sources) => Some(collect::services(sources).await),
            None => None,
        }
    };
    let address = async {
        match &args.coordinator {
            Some(address) => Some(collect::address(address).await),
            None => None,
        }
    };
    let say = |what: &str| {
        if let Some(bar) = &bar {
            bar.set_message(what.to_owned());
        }
    };
    let cluster = async {
        match &session {
            Some(session) => Some(collect::cluster(session, &say).await),
            None => None,
        }
    };
    let (cluster, services, coordinator) = tokio::join!(cluster, services, address);
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let resources = args.path.clone().or_else(|| there(&context.workspace.dir().join("resources")));
    let manifest = there(&context.workspace.dir().join("manifest.json"))
        .or_else(|| there(&args.path.as_ref()?.join("manifest.json")));
    let wants_work = resources.is_some() || manifest.is_some();
    Ok(Bundle {
        taken: collect::now(),
        cluster,
        machine: args.local.then(|| collect::machine(Path::new("/"))),
        work: wants_work.then(|| collect::work(resources.as_deref(), manifest.as_deref())),
        services,
        coordinator,
        certificates: certificates(context, session.as_ref()),
    })
}

fn there(path: &Path) -> Option<PathBuf> {
    path.exists().then(|| path.to_owned())
}

fn certificates(context: &Context, session: Option<&Session>) -> Vec<Certificate> {
    let mesh = collect::mesh(&context.workspace.verify_dir().join("mesh-ca.pem"));
    session.map(Session::certificates).unwrap_or_default().into_iter().chain(mesh).collect()
}

async fn connect(args: &DoctorArgs) -> Outcome<Session> {
    let DoctorArgs { kubeconfig, context, namespace, .. } = args;
    let reach = Reach { kubeconfig: kubeconfig.clone(), context: context.clone(), namespace: namespace.clone() };
    collect::connect(&reach).await.map_err(|why| {
        let failure = Failure::could_not_tell(anyhow::anyhow!("{why}")).context("find the cluster");
        failure
            .hint("name a file with `--kubeconfig`; `--local` looks at this machine, `--bundle DIR` at a saved folder")
    })
}

fn conclude(context: &Context, bundle: &Bundle, report: &Report) -> Outcome {
    if context.json {
        let mut value = report.json();
        if let (Some(cluster), Some(map)) = (&bundle.cluster, value.as_object_mut()) {
            map.insert("cluster".to_owned(), json!({ "context": cluster.context, "server": cluster.server }));
            map.insert("namespaces".to_owned(), json!(cluster.namespaces));
        }
        output::json(&value);
    } else {
        if let Some(namespaces) = bundle.cluster.as_ref().and_then(|cluster| cluster.namespaces.as_ref()) {
            output::say(&format!("looked at namespaces: {}", namespaces.join(", ")));
        }
        output::result(&report.text());
    }
    // The report is the message; only the exit status is left to give.
    match report.exit() {
        Exit::Well => Ok(()),
        Exit::Problems => Err(Failure::refuse("something is wrong").told(true)),
        Exit::CouldNotTell => Err(Failure::could_not_tell(anyhow::anyhow!("not everything was seen")).told(true)),
    }
}
