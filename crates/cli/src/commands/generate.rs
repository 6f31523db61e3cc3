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
  casemate generate --reference-values metal-qemu-snp --reference-values node-7.json resources/
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
    /// A platform whose reference values the manifest gets (`casemate reference-values platforms` lists them; `local` is
    /// the local engine, INSECURE), or a file of them, with a `/` or `.json` in its name; may be repeated
    #[arg(long, value_name = "PLATFORM|FILE", required = true)]
    reference_values: Vec<String>,
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
    /// Images are kept in the guests' memory: write how much each guest needs with them
    #[arg(long)]
    image_memory: bool,
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
    policy::generate::check_platforms(&args.reference_values).map_err(failed)?;
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
        let stored = policy::generate::stored_quorums(&manifest_path).map_err(failed)?;
        let (owners, holders) = stored.map_or((1, 1), |(owners, holders)| (owners.threshold, holders.threshold));
        (
            keep_threshold("--owner-threshold", args.owner_threshold, owners)?,
            keep_threshold("--seedshare-threshold", args.seedshare_threshold, holders)?,
        )
    };
    let mut owner_keys = Vec::new();
    if is_new || !args.add_workload_owner_key.is_empty() {
        for path in &owner_paths {
            owner_keys.push(fresh.owner(path, args.check)?);
        }
    }
    let (mut holder_keys, mut to_make) = (Vec::new(), Vec::new());
    if is_new || !args.add_seedshare_owner_key.is_empty() {
        for path in holder_paths {
            match holder(&path, args.check)? {
                Some(key) => holder_keys.push(key),
                None => to_make.push(path),
            }
        }
    }
    // An RSA key takes as long as a large image, so that the one is made while the other arrives.
    let making = HolderKeys::start(to_make)?;
    let software = if is_local(args) { Some(software(dir, args.check)?) } else { None };
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
        platforms: args.reference_values.clone(),
        software,
        owner_keys,
        owner_threshold,
        holder_keys,
        holder_threshold,
        pod_image: args.pod_image.clone(),
        skip_initializer: args.skip_initializer,
        image_memory: args.image_memory,
        output: args.output.clone(),
        check: args.check,
    };
    let doing = match making.paths.len() {
        0 => "resolving images, writing policies",
        _ => "resolving images, making an RSA-4096 key for a seed-share holder, writing policies",
    };
    let bar = progress(context, doing);
    let registry = args.images.registry(dir, bar.as_ref())?;
    let report = match policy::gather(&options, &registry).await {
        Ok(gathered) => match making.finish(fresh).await {
            Ok(made) => gathered.finish(&made).map_err(failed),
            Err(failure) => Err(failure),
        },
        Err(error) => Err(failed(error)),
    };
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    report
}

fn failed(error: policy::GenerateError) -> Failure {
    let hint = error.hint();
    let failure = if error.could_not_tell() { Failure::could_not_tell(error) } else { Failure::no(error) };
    failure.maybe_hint(hint)
}

fn is_local(args: &GenerateArgs) -> bool {
    args.reference_values.iter().any(|name| name.eq_ignore_ascii_case("local"))
}

/// What the local engine starts. A check leaves no trace, not even the key that the engine makes on first use.
fn software(dir: &Path, check: bool) -> Outcome<SoftwareReferenceValues> {
    let identity = if check { engine::known_identity(dir) } else { engine::identity(dir).map(Some) };
    let identity = identity.map_err(|error| {
        let hint = error.hint();
        Failure::could_not_tell(error).maybe_hint(hint)
    })?;
    let Some(identity) = identity else {
        return Err(Failure::refuse("not up to date: the local engine has no key yet")
            .hint("run `casemate generate` without `--check`"));
    };
    Ok(SoftwareReferenceValues { root: identity.root, measurements: vec![identity.measurement] })
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

    fn remove(&self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The public key of a seed-share holder; `None` for one that is to be made.
fn holder(path: &Path, check: bool) -> Outcome<Option<PublicKey>> {
    if !path.exists() && !check {
        return Ok(None);
    }
    let pem = read_input(path, "`casemate generate` without `--check` makes it")?;
    if let Some(public) = public_key(&pem, pki::holder::is_holder_key) {
        return Ok(Some(public));
    }
    let key = HolderKey::from_pem(&pem)
        .map_err(|error| Failure::no(error).context(format!("`{}` is no holder key", path.display())))?;
    Ok(Some(key.public()))
}

/// Keys of seed-share holders in the making, on a thread of their own that nobody waits for when all else fails.
struct HolderKeys {
    paths: Vec<PathBuf>,
    keys: tokio::sync::oneshot::Receiver<Result<Vec<HolderKey>, pki::holder::HolderError>>,
}

impl HolderKeys {
    fn start(paths: Vec<PathBuf>) -> Outcome<Self> {
        let (sender, keys) = tokio::sync::oneshot::channel();
        let count = paths.len();
        let make = move || sender.send((0..count).map(|_| HolderKey::generate()).collect());
        std::thread::Builder::new().name("keys".into()).spawn(make).map_err(Failure::could_not_tell)?;
        Ok(Self { paths, keys })
    }

    /// Waits for the keys, writes each to its file and gives the public ones.
    async fn finish(self, fresh: &mut FreshKeys) -> Outcome<Vec<PublicKey>> {
        let keys = self.keys.await.map_err(Failure::could_not_tell)?.map_err(Failure::could_not_tell)?;
        let mut made = Vec::new();
        for (path, key) in self.paths.into_iter().zip(keys) {
            write(&path, key.to_pem().as_bytes(), Mode::Private)?;
            made.push(key.public());
            fresh.0.push(path);
        }
        Ok(made)
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
        output::json(&object);
        return;
    }
    let rows: Vec<Vec<String>> = report
        .workloads
        .iter()
        .map(|workload| {
            let mut row = vec![
                workload.resource.clone(),
                workload.identity.0.short(),
                workload.secrets.join(","),
                workload.file.display().to_string(),
            ];
            // On the local engine there is nothing to choose from.
            if !report.insecure {
                row.push(workload.platforms.join(","));
            }
            row
        })
        .collect();
    let header: &[&str] = &["RESOURCE", "IDENTITY", "SECRETS", "FILE", "PLATFORMS"];
    let table = output::table(header.get(..if report.insecure { 4 } else { 5 }).unwrap_or(header), &rows);
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
    missing(report);
    if report.insecure {
        output::say(output::INSECURE);
    }
}

/// What is still to be found out, each way with the values that it gives.
fn missing(report: &policy::Report) {
    if report.missing.is_empty() {
        return;
    }
    let mut ways: Vec<(&str, Vec<&str>)> = Vec::new();
    for missing in &report.missing {
        match ways.iter_mut().find(|(how, _)| *how == missing.how) {
            Some((_, paths)) => paths.push(&missing.path),
            None => ways.push((&missing.how, vec![&missing.path])),
        }
    }
    output::say(&format!(
        "manifest.json lacks {} reference values, where it says `null`; `casemate set` takes it once they are there:",
        report.missing.len()
    ));
    for (how, paths) in ways {
        for path in paths {
            output::say(&format!("  {path}"));
        }
        output::say(&format!("    {how}"));
    }
    output::say("write them there, or give the files with `--reference-values`, and run `casemate generate` again");
}
