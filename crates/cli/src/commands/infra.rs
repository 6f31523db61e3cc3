//! `casemate infra`: what a deployment stands on, written as files that are the user's from then on.

use std::path::PathBuf;

use cloud::files::{FilesError, Registry};
use cloud::gke::{Cluster, DEFAULT_NAME, InputError, NodeTee};
use cloud::place::PlaceError;

use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// Write what a deployment stands on: Terraform of a cluster, files to apply
#[derive(clap::Subcommand)]
pub(crate) enum InfraCommand {
    #[command(subcommand)]
    Init(InitCommand),
    Files(FilesArgs),
}

/// Write a folder that makes a cluster
#[derive(clap::Subcommand)]
pub(crate) enum InitCommand {
    Gke(GkeArgs),
}

/// Write Terraform for Confidential GKE Nodes, with your values filled in
#[derive(clap::Args)]
#[command(
    after_help = "The folder appears whole or not at all, and one that has something in it is left alone. Nothing is asked of Google;
`terraform plan` shows what would be made, and `terraform apply` makes it and costs money.

The nodes are the TEE there, with the kubelet inside: no policy binds a pod. For pods that are bound, take machines with
Kata guests.

Examples:
  casemate infra init gke --project my-project --region europe-west4 --tee snp
  casemate infra init gke --project my-project --region europe-west4 --tee tdx --gpu --gpu-zone europe-west4-c"
)]
pub(crate) struct GkeArgs {
    /// The id of the Google Cloud project
    #[arg(long, value_name = "ID")]
    project: String,
    /// The region of everything, such as `europe-west4`
    #[arg(long, value_name = "REGION")]
    region: String,
    /// What encrypts the nodes' memory; `sev` makes no report that anybody could check
    #[arg(long, value_name = "TEE")]
    tee: Tee,
    /// Limit the nodes to a zone of the region; may be repeated
    #[arg(long, value_name = "ZONE")]
    zone: Vec<String>,
    /// Add a pool with one confidential H100 a node (a3-highgpu-1g, always TDX)
    #[arg(long, requires = "gpu_zone")]
    gpu: bool,
    /// A zone of the region that has such machines; may be repeated
    #[arg(long, value_name = "ZONE", requires = "gpu")]
    gpu_zone: Vec<String>,
    /// The name of the cluster and of the registry
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    name: String,
    /// The folder to write [default: gke in the work folder]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// As the user writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Tee {
    /// AMD SEV
    Sev,
    /// AMD SEV-SNP
    Snp,
    /// Intel TDX
    Tdx,
}

/// Write the files to apply for a platform, for those who want no Helm: runtime, configuration, Coordinator
#[derive(clap::Args)]
#[command(
    after_help = "The runtime's file brings the node agent and changes no node; the configuration's says what nodes are to be, and changes them:
read it first. The Coordinator's holds everything but the keys of its
owners: `casemate generate` completes it, together with your resources.

Examples:
  casemate infra files --platform metal-qemu-snp --registry registry.example.com/casemate
  kubectl apply -f runtime-metal-qemu-snp.yml
  kubectl apply -f configuration-metal-qemu-snp.yml
  casemate generate --reference-values metal-qemu-snp coordinator-metal-qemu-snp.yml resources/"
)]
pub(crate) struct FilesArgs {
    /// The platform; `casemate reference-values platforms` lists them
    #[arg(long, value_name = "PLATFORM")]
    platform: String,
    /// What the names of our images begin with, such as `europe-west4-docker.pkg.dev/my-project/casemate`
    #[arg(long, value_name = "HOST/PATH")]
    registry: Option<String>,
    /// Where to write them [default: the work folder]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace files that are there and differ
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(context: &Context, command: InfraCommand) -> Outcome {
    match command {
        InfraCommand::Init(InitCommand::Gke(args)) => gke(context, &args),
        InfraCommand::Files(args) => files(context, &args),
    }
}

fn gke(context: &Context, args: &GkeArgs) -> Outcome {
    let tee = match args.tee {
        Tee::Sev => NodeTee::Sev,
        Tee::Snp => NodeTee::Snp,
        Tee::Tdx => NodeTee::Tdx,
    };
    let cluster = Cluster::new(&args.project, &args.region, &args.name, tee, &args.zone, &args.gpu_zone).map_err(
        |error: InputError| {
            let hint = error.hint();
            Failure::no(error).maybe_hint(hint)
        },
    )?;
    let folder = context.workspace.or_default(args.output.as_ref(), "gke");
    let files = cluster.files();
    cloud::place::new_folder(&folder, &files).map_err(|error| placed(error, "name another folder with `--output`"))?;
    let next = cluster.next(&cloud::steps::shell(&folder.display().to_string()));
    if context.json {
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        output::json(&serde_json::json!({
            "folder": folder, "files": names, "platform": tee.platform(), "registry": cluster.registry(), "next": next,
        }));
        return Ok(());
    }
    output::result(&format!("wrote `{}`: {} files", folder.display(), files.len()));
    output::say("next:");
    for command in next {
        output::say(&format!("  {command}"));
    }
    output::say("`terraform apply` costs money; `terraform plan` shows what it would make");
    if tee == NodeTee::Sev {
        output::say("SEV makes no report: `casemate verify` cannot check such nodes");
    }
    Ok(())
}

fn files(context: &Context, args: &FilesArgs) -> Outcome {
    let failed = |error: FilesError| {
        let hint = error.hint();
        Failure::no(error).hint(hint)
    };
    let platform = cloud::files::platform(&args.platform).map_err(failed)?;
    let registry = args.registry.as_deref().map(Registry::new).transpose().map_err(failed)?;
    let unsaid = registry.is_none();
    let rendered = cloud::files::render(platform, &registry.unwrap_or_default()).map_err(failed)?;
    let folder = args.output.clone().unwrap_or_else(|| context.workspace.dir().to_owned());
    let entries: Vec<_> = rendered.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
    cloud::place::into_folder(&folder, &entries, args.replace)
        .map_err(|error| placed(error, "`--replace` replaces it, and `--output` writes elsewhere"))?;
    let paths: Vec<PathBuf> = rendered.files.iter().map(|file| folder.join(&file.name)).collect();
    if context.json {
        output::json(&serde_json::json!({
            "platform": platform.name, "version": cloud::VERSION, "files": paths, "notes": rendered.notes,
        }));
        return Ok(());
    }
    for path in &paths {
        output::result(&format!("wrote `{}`", path.display()));
    }
    for note in &rendered.notes {
        output::say(note);
    }
    if unsaid {
        output::say(&format!(
            "images are at `{}`, which nobody has: `--registry` says where yours are",
            cloud::files::PLACEHOLDER
        ));
    }
    Ok(())
}

/// What is in the way is the user's to decide; what the file system refuses is not known to be anybody's fault.
pub(super) fn placed(error: PlaceError, hint: &str) -> Failure {
    match error {
        PlaceError::Taken { .. } => Failure::no(error).hint(hint),
        error => Failure::could_not_tell(error),
    }
}
