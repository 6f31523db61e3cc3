//! `casemate generate`: pins, injects, binds, and writes it all down.
//!
//! Everything is computed in memory first. The order matters once: the Coordinator's policy comes before all others,
//! because its identity is part of their initdata.

mod coordinator;
mod error;
mod files;
mod ingress;
mod inject;
mod input;
mod kinds;
mod manifest;
mod schema;
mod settings;
mod source;
mod workload;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use protocol::manifest::{PublicKey, Quorum, ReferenceValues, SoftwareReferenceValues};
use protocol::{DeploymentId, Identity, Role};
use serde::Serialize;
use serde_json::Value;

pub use coordinator::{COORDINATOR_FILE, ROLE as ROLE_KEY};
pub use error::{GenerateError, Place};
pub use ingress::{INGRESS_ANNOTATION, OPEN_PORTS_ANNOTATION};
pub use inject::{ARGV_ANNOTATION, FILES_PREFIX, INITIALIZER, LAUNCHER, MESH, PODINFO_VOLUME, SHARED_VOLUME};
pub use kinds::RUNTIME_CLASS;
pub use manifest::MANIFEST_FILE;
pub use settings::{SETTINGS_FILE, Settings};
pub use source::STDIN;
pub use workload::{CAPABILITIES_ANNOTATION, NAMES_ANNOTATION, SECRETS_ANNOTATION, SKIP_ANNOTATION};

use crate::images::{Ask, Registry, RegistryError, ResolvedImage};
use crate::yaml;
use input::{Inputs, Object};
use write::Output;

/// What to generate from, and for whom.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// YAML files, directories of them, or `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// What `-` among the paths stands for.
    pub stdin: Option<Vec<u8>>,
    /// The namespace of resources that name none; `default` without it.
    pub namespace: Option<String>,
    /// The work folder: `manifest.json` and `settings.json` lie in it.
    pub workspace: PathBuf,
    /// `local`; further platforms follow.
    pub platform: String,
    /// Reference values of the local engine.
    pub software: Option<SoftwareReferenceValues>,
    /// Keys of the owners. None given: those of the manifest that is there; a new one needs at least one. Others than
    /// those of the manifest are an error, never ignored.
    pub owner_keys: Vec<PublicKey>,
    /// How many owners must agree; compared with the manifest's when keys are given.
    pub owner_threshold: u32,
    /// Keys of the seed-share holders, under the same rule.
    pub holder_keys: Vec<PublicKey>,
    /// How many holders rebuild the seed, under the same rule.
    pub holder_threshold: u32,
    /// Our own image, instead of the one in `settings.json`.
    pub pod_image: Option<String>,
    /// Inject nothing into any pod.
    pub skip_initializer: bool,
    /// Write the YAML here and leave the originals alone.
    pub output: Option<PathBuf>,
    /// Write nothing; say whether the files are up to date.
    pub check: bool,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The pods, Coordinator first.
    pub workloads: Vec<WorkloadReport>,
    /// Files that were written or, under `check`, would be.
    pub changed: Vec<PathBuf>,
    /// Whether nothing had to change.
    pub up_to_date: bool,
    /// What the user should know, one sentence each.
    pub notices: Vec<String>,
    /// What becomes of standard input, for standard output.
    #[serde(skip)]
    pub stdout: Option<String>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadReport {
    /// `Deployment/inference`.
    pub resource: String,
    /// The file it is in.
    pub file: PathBuf,
    /// The first name in the manifest.
    pub name: String,
    /// Its identity.
    pub identity: Identity,
    /// Container name and pinned image.
    pub images: Vec<(String, String)>,
    /// Secrets that it may read.
    pub secrets: Vec<String>,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// What holds for all pods of one run.
struct Frame {
    deployment_id: DeploymentId,
    owners: Quorum,
    reference_values: ReferenceValues,
    pod_image: ResolvedImage,
    skip_initializer: bool,
    /// Names of the workloads whose callers the manifest lists.
    called: BTreeSet<String>,
    /// Identity and namespace of the Coordinator, once its policy is made.
    coordinator: Option<(Identity, String)>,
}

/// Images that were resolved in this run.
struct Images<'a> {
    registry: &'a Registry,
    known: BTreeMap<String, Result<ResolvedImage, RegistryError>>,
}

impl<'a> Images<'a> {
    fn of(registry: &'a Registry) -> Self {
        Self { registry, known: BTreeMap::new() }
    }

    /// Resolves the images of many pods at a time. What fails is said when its container is looked at.
    async fn fetch(&mut self, inputs: &Inputs, pods: &[(Object, Role)]) {
        let mut wanted: BTreeMap<String, Ask> = BTreeMap::new();
        for pod in pods.iter().filter_map(|(object, _)| pod_of(inputs, object)) {
            let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
            for container in lists.into_iter().flatten().flatten() {
                let Some(reference) = container["image"].as_str() else { continue };
                let ask = Ask::for_container(&pod["spec"], container);
                let known = wanted.entry(reference.to_owned()).or_insert(ask);
                known.users |= ask.users;
            }
        }
        let names: Vec<_> = wanted.keys().cloned().collect();
        for (name, image) in names.into_iter().zip(self.registry.resolve_all(wanted).await) {
            self.known.insert(name, image);
        }
    }

    async fn resolve(&mut self, reference: &str) -> Result<ResolvedImage, RegistryError> {
        if let Some(image) = self.known.get(reference) {
            return image.clone();
        }
        let image = self.registry.resolve(reference).await?;
        self.known.insert(reference.to_owned(), Ok(image.clone()));
        self.known.insert(image.reference_with_digest.clone(), Ok(image.clone()));
        Ok(image)
    }
}

/// Makes the deployment under `options.paths` confidential, with the images that `registry` finds. All files are
/// written, or none.
pub async fn generate(options: &GenerateOptions, registry: &Registry) -> Result<Report, GenerateError> {
    let settings_path = options.workspace.join(SETTINGS_FILE);
    let manifest_path = options.workspace.join(MANIFEST_FILE);
    let stored_settings = Settings::load(&settings_path)?;
    let settings = stored_settings.clone().unwrap_or_else(|| {
        let defaults = Settings::default();
        // The image of the first run is the image of the next.
        Settings { pod_image: options.pod_image.clone().unwrap_or(defaults.pod_image), ..defaults }
    });
    let old = manifest::load(&manifest_path)?;
    let given = manifest::Given { keys: &options.owner_keys, threshold: options.owner_threshold };
    let owners = manifest::quorum(&manifest_path, "owners", given, old.as_ref().map(|old| &old.owners))?;
    let given = manifest::Given { keys: &options.holder_keys, threshold: options.holder_threshold };
    let holders = old.as_ref().map(|old| &old.seed_share_holders);
    let seed_share_holders = manifest::quorum(&manifest_path, "seed_share_holders", given, holders)?;
    let namespace = options.namespace.as_deref().unwrap_or("default");
    if !input::is_object_name(namespace) {
        return Err(GenerateError::Namespace { name: namespace.to_owned() });
    }
    let sources = source::read(&options.paths, options.stdin.as_deref(), options.output.as_deref())?;
    let mut inputs = Inputs::of(sources, namespace)?;
    let mut pods = confidential(&inputs);
    if pods.is_empty() {
        return Err(GenerateError::NoWorkload);
    }

    let mut images = Images::of(registry);
    let pod_image = options.pod_image.as_ref().unwrap_or(&settings.pod_image);
    let pod_image = images.resolve(pod_image).await;
    let pod_image = pod_image
        .map_err(|source| GenerateError::PodImage { file: settings_path.clone(), source: Box::new(source) })?;
    let deployment_id = match &old {
        Some(old) => old.deployment_id,
        None => random_id()?,
    };
    let mut frame = Frame {
        deployment_id,
        owners,
        reference_values: reference_values(options, old.as_ref())?,
        pod_image,
        skip_initializer: options.skip_initializer,
        called: manifest::called(old.as_ref()),
        coordinator: None,
    };

    if !pods.iter().any(|(_, role)| *role == Role::Coordinator) {
        let namespace = pods.first().map_or("default", |(object, _)| object.namespace.as_str()).to_owned();
        let resources = coordinator::resources(&namespace, &frame.pod_image.reference_with_digest);
        inputs.add_new(coordinator_file(options), resources)?;
        pods = confidential(&inputs);
    }
    // The Coordinator first; the sort is stable, so all others stay in the order of their files.
    pods.sort_by_key(|(_, role)| *role != Role::Coordinator);
    if let Some((second, _)) = pods.iter().filter(|(_, role)| *role == Role::Coordinator).nth(1) {
        return Err(GenerateError::Resource {
            place: inputs.place(second, "metadata"),
            resource: second.title(),
            reason: "there is another Coordinator among the inputs".into(),
            hint: Some("a deployment has one Coordinator; generate another deployment in another work folder".into()),
        });
    }

    let mut named: BTreeMap<&str, &Object> = BTreeMap::new();
    for (object, _) in &pods {
        if let Some(twin) = named.insert(&object.name, object) {
            return Err(GenerateError::Resource {
                place: inputs.place(object, "metadata"),
                resource: object.title(),
                reason: format!("{} in {} has the same name", twin.title(), inputs.place(twin, "metadata")),
                hint: Some(
                    "the name is that of its certificate: one of a deployment, whatever kind and namespace".into(),
                ),
            });
        }
    }

    images.fetch(&inputs, &pods).await;
    let mut services: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
    for (object, _) in &pods {
        services.entry(&object.namespace).or_insert_with(|| inputs.of_kind("Service", &object.namespace));
    }
    let none = BTreeMap::new();
    let mut workloads = Vec::new();
    let mut entries = Vec::new();
    let mut made_pods = Vec::new();
    for (object, role) in &pods {
        let services = services.get(object.namespace.as_str()).unwrap_or(&none);
        let made = workload::make(&inputs, object, *role, &frame, services, &mut images).await?;
        if *role == Role::Coordinator {
            frame.coordinator = Some((made.report.identity, object.namespace.clone()));
        }
        made_pods.push(made.pod);
        workloads.push(made.report);
        entries.push(made.entry);
    }
    for ((object, _), pod) in pods.iter().zip(made_pods) {
        if let Some(pointer) = object.template() {
            inputs.set(object, &pointer, pod);
        }
    }

    let lease_seconds = old.as_ref().map_or(settings.lease_seconds, |old| old.lease_seconds);
    let Frame { owners, reference_values, .. } = frame;
    let manifest_frame = manifest::Frame { deployment_id, reference_values, owners, seed_share_holders, lease_seconds };
    let (manifest, mut notices) = manifest::merge(manifest_frame, old.as_ref(), entries);
    let invalid = |source| GenerateError::Manifest { path: manifest_path.clone(), source };
    manifest.validate().map_err(invalid)?;
    notices.extend(plain_pods(&inputs));
    if options.namespace.is_none() && pods.iter().any(|(object, _)| !object.namespace_given) {
        notices.push(
            "resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another"
                .into(),
        );
    }

    let mut outputs = vec![Output { path: manifest_path.clone(), content: manifest.to_text() }];
    if stored_settings.is_none() {
        outputs.push(Output { path: settings_path, content: settings.to_text() });
    }
    let mut resources = yaml_outputs(&inputs, options, &mut notices)?;
    let stdout = resources.iter().position(|output| output.path.as_os_str() == source::STDIN_NAME);
    let stdout = stdout.map(|index| resources.swap_remove(index).content);
    outputs.extend(resources);
    outputs.retain(|output| std::fs::read(&output.path).ok().as_deref() != Some(output.content.as_bytes()));
    let mut up_to_date = outputs.is_empty();
    if let (Some(text), Some(given)) = (&stdout, &options.stdin) {
        up_to_date &= text.as_bytes() == given.as_slice();
    }
    let changed: Vec<_> = outputs.iter().map(|output| output.path.clone()).collect();
    if !options.check {
        write::write_all(&outputs)?;
        // Nobody needs the cache: a run that cannot keep it is a run all the same.
        if let Err(error) = registry.save_cache() {
            notices.push(error.to_string());
        }
    }
    notices.extend(registry.notice());
    Ok(Report { deployment_id, workloads, changed, up_to_date, notices, stdout })
}

/// The pods that are to be confidential, with their roles.
fn confidential(inputs: &Inputs) -> Vec<(Object, Role)> {
    let mut pods = Vec::new();
    for object in &inputs.objects {
        let Some(pod) = pod_of(inputs, object).filter(|pod| kinds::is_confidential(pod)) else {
            continue;
        };
        let is_coordinator = coordinator::is_coordinator(inputs.value(object), pod);
        pods.push((object.clone(), if is_coordinator { Role::Coordinator } else { Role::Workload }));
    }
    pods
}

fn pod_of<'a>(inputs: &'a Inputs, object: &Object) -> Option<&'a Value> {
    let tree = inputs.files.get(object.file)?.trees.get(object.document)?;
    tree.pointer(&object.template()?)
}

/// Pods that stay as they are, because they do not ask for anything else.
fn plain_pods(inputs: &Inputs) -> Vec<String> {
    let plain = |object: &&Object| pod_of(inputs, object).is_some_and(|pod| !kinds::is_confidential(pod));
    let notice = |object: &Object| {
        let class = pod_of(inputs, object).and_then(|pod| pod["spec"]["runtimeClassName"].as_str());
        match class {
            None => format!("{} is not confidential: it has no `runtimeClassName: {RUNTIME_CLASS}`", object.title()),
            Some(class) => {
                format!("{} is not confidential: `runtimeClassName: {class}` is not such a class", object.title())
            }
        }
    };
    inputs.objects.iter().filter(plain).map(notice).collect()
}

fn reference_values(
    options: &GenerateOptions,
    old: Option<&protocol::Manifest>,
) -> Result<ReferenceValues, GenerateError> {
    if options.platform != "local" {
        return Err(GenerateError::Platform { name: options.platform.clone() });
    }
    match (&options.software, old) {
        (Some(software), _) => Ok(ReferenceValues::software(software.clone())),
        (None, Some(old)) => Ok(old.reference_values.clone()),
        (None, None) => Err(GenerateError::NoReferenceValues { name: options.platform.clone() }),
    }
}

fn random_id() -> Result<DeploymentId, GenerateError> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| GenerateError::Random { source })?;
    Ok(DeploymentId::from_bytes(bytes))
}

/// Where the Coordinator's resources go: the first directory among the paths, or that of the first file; with standard
/// input alone, to standard output.
fn coordinator_file(options: &GenerateOptions) -> PathBuf {
    if let Some(directory) = options.paths.iter().find(|path| path.is_dir()) {
        return directory.join(COORDINATOR_FILE);
    }
    let file = options.paths.iter().find(|path| path.as_os_str() != STDIN);
    match file {
        None => PathBuf::from(source::STDIN_NAME),
        Some(file) => file.parent().unwrap_or(Path::new(".")).join(COORDINATOR_FILE),
    }
}

/// The texts of all resource files, changed or not: under `--output` the unchanged ones are wanted, too.
fn yaml_outputs(
    inputs: &Inputs,
    options: &GenerateOptions,
    notices: &mut Vec<String>,
) -> Result<Vec<Output>, GenerateError> {
    let mut outputs: Vec<Output> = Vec::new();
    let mut places: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let originals: BTreeSet<_> = inputs.files.iter().filter_map(|file| file.path.canonicalize().ok()).collect();
    for file in &inputs.files {
        let content = match &file.text {
            Some(text) => {
                // Documents that were added to standard input have no place in its text.
                let (old, added) = file.trees.split_at(file.documents.len().min(file.trees.len()));
                let rewritten = yaml::rewrite(text, &file.documents, old);
                if !rewritten.in_place {
                    let file = file.path.display();
                    notices.push(format!(
                        "`{file}` was written anew, without its comments: it could not be edited in place"
                    ));
                }
                let mut text = rewritten.text;
                for tree in added {
                    if !text.is_empty() && !text.ends_with('\n') {
                        text.push('\n');
                    }
                    text.push_str("---\n");
                    text.push_str(&yaml::emit_document(tree));
                }
                file.form.join(&text)
            }
            None => {
                let documents: Vec<_> = file.trees.iter().map(yaml::emit_document).collect();
                documents.join("---\n")
            }
        };
        let path = match &options.output {
            Some(directory) if file.path.as_os_str() != source::STDIN_NAME => directory.join(&file.relative),
            _ => file.path.clone(),
        };
        if options.output.is_some() {
            let hint = "give one directory that holds both, or another `--output`".to_owned();
            if let Some(other) = places.insert(path.clone(), &file.path) {
                let reason = format!("`{}` and `{}` would both be written here", other.display(), file.path.display());
                return Err(GenerateError::File { path, reason, hint });
            }
            if path.canonicalize().is_ok_and(|path| originals.contains(&path)) {
                let reason = "`--output` leaves the originals alone, and this is one of them".to_owned();
                return Err(GenerateError::File { path, reason, hint: "choose another `--output`".into() });
            }
        }
        outputs.push(Output { path, content });
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests;
