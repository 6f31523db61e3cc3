//! `casemate generate`: ordinary Kubernetes YAML becomes a policy that binds everything, and a manifest.

mod images;

use std::path::{Path, PathBuf};

use pki::holder::HolderKey;
use pki::owner::OwnerKey;
use policy::GenerateOptions;
use protocol::manifest::{PublicKey, SoftwareReferenceValues};

use images::ImageArgs;

use super::local::progress;
use crate::failure::{Failure, Outcome};
use crate::workspace::{Mode, read_input, write};
use crate::{Context, output};

/// Make Kubernetes resources confidential: policy, initdata, injected sidecars, manifest.json
#[derive(clap::Args)]
#[command(
    after_help = "Files are edited in place, all or none; comments and layout stay. Run it again after each change.

Examples:
  casemate generate --reference-values local resources/
  casemate generate --reference-values local --check resources/          exit 1 if not up to date
  casemate generate --reference-values local --output generated/ resources/
  casemate generate --reference-values local --image-layout ghcr.io/me/app:1=oci:build/app.tar resources/
  helm template ./chart | casemate generate --reference-values local - | kubectl apply -f -"
)]
pub(crate) struct GenerateArgs {
    /// YAML files, folders of them, or `-` for standard input, whose result goes to standard output
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The namespace of resources that name none [default: default]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The platform whose reference values the manifest gets; `local` is the local engine, INSECURE
    #[arg(long, value_name = "PLATFORM")]
    reference_values: String,
    /// Public or private key of a workload owner; may be repeated. The default is made when it is not there
    /// [default: workload-owner.pem in the work folder]
    #[arg(short = 'w', long, value_name = "FILE")]
    add_workload_owner_key: Vec<PathBuf>,
    /// How many owners must sign a manifest [default: 1 for a new one]
    #[arg(long, value_name = "N")]
    owner_threshold: Option<u32>,
    /// Key of a seed-share holder; may be repeated. Keys that are not there are made
    /// [default: seedshare-owner.pem in the work folder]
    #[arg(long, value_name = "FILE")]
    add_seedshare_owner_key: Vec<PathBuf>,
    /// How many holders can rebuild the seed [default: 1 for a new manifest]
    #[arg(long, value_name = "N")]
    seedshare_threshold: Option<u32>,
    /// Our image for Coordinator, initializer and mesh, instead of the one in settings.json
    #[arg(long, value_name = "REFERENCE")]
    pod_image: Option<String>,
    /// Inject no initializer, launcher or mesh
    #[arg(long)]
    skip_initializer: bool,
    /// Write the resources there and leave the originals alone
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write nothing; exit 1 if a file is not up to date
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    images: ImageArgs,
}

pub(crate) async fn run(context: &Context, args: GenerateArgs) -> Outcome {
    if args.reference_values != "local" {
        return Err(Failure::refuse(format!("reference values for `{}` are not there yet", args.reference_values))
            .hint("this release knows `local`, the local engine"));
    }
    let piped = args.paths.iter().any(|path| path.as_os_str() == policy::generate::STDIN);
    if piped && args.output.is_some() {
        return Err(Failure::refuse("`-` writes to standard output, and `--output` to a folder")
            .hint("leave `--output` out, or name the files"));
    }
    if piped && context.json {
        return Err(Failure::refuse("`-` and `--json` both write to standard output").hint("name the files"));
    }
    let dir = context.workspace.dir();
    let mut fresh = FreshKeys::default();
    let result = generate(context, &args, dir, &mut fresh).await;
    match result {
        Ok(report) => {
            show(context, &args, &report, &fresh);
            if args.check && !report.up_to_date {
                let mut names: Vec<String> =
                    report.changed.iter().map(|path| format!("`{}`", path.display())).collect();
                if report.stdout.is_some() {
                    names.push("standard input".into());
                }
                return Err(Failure::refuse(format!("not up to date: {}", names.join(", ")))
                    .hint("run `casemate generate` without `--check`")
                    .told(context.json));
            }
            Ok(())
        }
        // Keys made for a manifest that was not written would only confuse the next run.
        Err(failure) => {
            fresh.remove();
            Err(failure)
        }
    }
}

async fn generate(
    context: &Context,
    args: &GenerateArgs,
    dir: &Path,
    fresh: &mut FreshKeys,
) -> Outcome<policy::Report> {
    let owner_paths = or_default(&args.add_workload_owner_key, dir.join("workload-owner.pem"));
    let holder_paths = or_default(&args.add_seedshare_owner_key, dir.join("seedshare-owner.pem"));
    // Whoever names no keys keeps those of the manifest that is there.
    let manifest_path = dir.join("manifest.json");
    let is_new = !manifest_path.exists();
    let (owner_threshold, holder_threshold) = if is_new {
        (args.owner_threshold.unwrap_or(1), args.seedshare_threshold.unwrap_or(1))
    } else {
        let (_, manifest) = crate::workspace::read_manifest(&manifest_path)?;
        (
            keep_threshold("--owner-threshold", args.owner_threshold, manifest.owners.threshold)?,
            keep_threshold("--seedshare-threshold", args.seedshare_threshold, manifest.seed_share_holders.threshold)?,
        )
    };
    let mut owner_keys = Vec::new();
    if is_new || !args.add_workload_owner_key.is_empty() {
        for path in &owner_paths {
            owner_keys.push(fresh.owner(path, args.check)?);
        }
    }
    let mut holder_keys = Vec::new();
    if is_new || !args.add_seedshare_owner_key.is_empty() {
        for path in &holder_paths {
            holder_keys.push(fresh.holder(context, path, args.check)?);
        }
    }
    // A check leaves no trace, not even the key that the engine makes on first use.
    let identity = if args.check { engine::known_identity(dir) } else { engine::identity(dir).map(Some) };
    let identity = identity.map_err(|error| {
        let hint = error.hint();
        Failure::could_not_tell(error).maybe_hint(hint)
    })?;
    let Some(identity) = identity else {
        return Err(Failure::refuse("not up to date: the local engine has no key yet")
            .hint("run `casemate generate` without `--check`"));
    };
    let stdin = if args.paths.iter().any(|path| path.as_os_str() == policy::generate::STDIN) {
        Some(read_stdin()?)
    } else {
        None
    };
    let options = GenerateOptions {
        paths: args.paths.clone(),
        stdin,
        namespace: args.namespace.clone(),
        workspace: dir.to_owned(),
        platform: args.reference_values.clone(),
        software: Some(SoftwareReferenceValues { root: identity.root, measurements: vec![identity.measurement] }),
        owner_keys,
        owner_threshold,
        holder_keys,
        holder_threshold,
        pod_image: args.pod_image.clone(),
        skip_initializer: args.skip_initializer,
        output: args.output.clone(),
        check: args.check,
    };
    let bar = progress(context, "resolving images, writing policies");
    let registry = args.images.registry(dir, bar.as_ref())?;
    let report = policy::generate(&options, &registry).await;
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    report.map_err(|error| {
        let hint = error.hint();
        let failure = if error.could_not_tell() { Failure::could_not_tell(error) } else { Failure::no(error) };
        failure.maybe_hint(hint)
    })
}

/// LIMIT: more than `generate` takes of one file, so that its own limit is what the user reads about.
const MAX_STDIN: u64 = 64 * 1024 * 1024;

fn read_stdin() -> Outcome<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_STDIN).read_to_end(&mut bytes);
    read.map_err(|error| Failure::could_not_tell(error).context("read standard input"))?;
    Ok(bytes)
}

/// A threshold that differs from the manifest's is refused: changing it is the owners' decision, not a flag's.
fn keep_threshold(flag: &str, given: Option<u32>, manifest: u32) -> Outcome<u32> {
    match given {
        Some(given) if given != manifest => {
            Err(Failure::refuse(format!("`{flag} {given}`: the manifest says {manifest}"))
                .hint("remove manifest.json to start a new deployment, or leave the flag out"))
        }
        _ => Ok(manifest),
    }
}

fn or_default(given: &[PathBuf], default: PathBuf) -> Vec<PathBuf> {
    if given.is_empty() { vec![default] } else { given.to_vec() }
}

/// The keys that this run made.
#[derive(Default)]
struct FreshKeys(Vec<PathBuf>);

impl FreshKeys {
    fn owner(&mut self, path: &Path, check: bool) -> Outcome<PublicKey> {
        if !path.exists() && !check {
            let key = OwnerKey::generate().map_err(Failure::could_not_tell)?;
            write(path, key.to_pem().as_bytes(), Mode::Private)?;
            self.0.push(path.to_owned());
            return Ok(key.public());
        }
        let pem = read_input(path, "`casemate generate` without `--check` makes it")?;
        if let Some(public) = public_key(&pem, pki::owner::is_owner_key) {
            return Ok(public);
        }
        let key = OwnerKey::from_pem(&pem)
            .map_err(|error| Failure::no(error).context(format!("`{}` is no owner key", path.display())))?;
        Ok(key.public())
    }

    fn holder(&mut self, context: &Context, path: &Path, check: bool) -> Outcome<PublicKey> {
        if !path.exists() && !check {
            let bar = progress(context, "making an RSA-4096 key for a seed-share holder");
            let key = HolderKey::generate();
            if let Some(bar) = &bar {
                bar.finish_and_clear();
            }
            let key = key.map_err(Failure::could_not_tell)?;
            write(path, key.to_pem().as_bytes(), Mode::Private)?;
            self.0.push(path.to_owned());
            return Ok(key.public());
        }
        let pem = read_input(path, "`casemate generate` without `--check` makes it")?;
        if let Some(public) = public_key(&pem, pki::holder::is_holder_key) {
            return Ok(public);
        }
        let key = HolderKey::from_pem(&pem)
            .map_err(|error| Failure::no(error).context(format!("`{}` is no holder key", path.display())))?;
        Ok(key.public())
    }

    fn remove(&self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A `PUBLIC KEY` PEM of the right kind: owners and holders need not give their private keys to whoever generates.
fn public_key(pem: &str, is_kind: impl Fn(&PublicKey) -> bool) -> Option<PublicKey> {
    use rustls::pki_types::SubjectPublicKeyInfoDer;
    use rustls::pki_types::pem::PemObject as _;
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let key = PublicKey(spki.as_ref().to_vec());
    is_kind(&key).then_some(key)
}

fn show(context: &Context, args: &GenerateArgs, report: &policy::Report, fresh: &FreshKeys) {
    if context.json {
        let mut object = serde_json::to_value(report).unwrap_or_default();
        object["keys_made"] = serde_json::json!(fresh.0);
        object["insecure"] = true.into();
        output::result(&object.to_string());
        return;
    }
    let rows: Vec<Vec<String>> = report
        .workloads
        .iter()
        .map(|workload| {
            vec![
                workload.resource.clone(),
                workload.identity.0.short(),
                workload.secrets.join(","),
                workload.file.display().to_string(),
            ]
        })
        .collect();
    let table = output::table(&["RESOURCE", "IDENTITY", "SECRETS", "FILE"], &rows);
    match &report.stdout {
        None => output::result(&table),
        // The resources are the result; what is said about them stands beside.
        Some(text) => {
            if !args.check {
                output::result(text.strip_suffix('\n').unwrap_or(text));
            }
            output::say(&table);
        }
    }
    for workload in &report.workloads {
        for (container, image) in &workload.images {
            output::say(&format!("{}: {container} runs {image}", workload.name));
        }
        for notice in &workload.notices {
            output::say(&format!("{}: {notice}", workload.name));
        }
    }
    for notice in &report.notices {
        output::say(notice);
    }
    for path in &fresh.0 {
        output::say(&format!("made `{}`: keep it safe", path.display()));
    }
    if !args.check {
        for path in &report.changed {
            output::say(&format!("wrote `{}`", path.display()));
        }
        if report.up_to_date {
            output::say("everything was up to date");
        }
    }
    output::say(output::INSECURE);
}
