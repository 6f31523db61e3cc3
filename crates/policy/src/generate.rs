//! `casemate generate`: pins, injects, binds, and writes it all down.
//!
//! Everything is computed in memory first. The order matters once: the Coordinator's policy comes before all others,
//! because its identity is part of their initdata.

mod contrast;
mod coordinator;
mod device;
mod egress;
mod error;
mod files;
mod ingress;
mod inject;
mod input;
mod kinds;
mod manifest;
mod memory;
mod outputs;
mod parallel;
mod platform;
mod reference;
mod resolve;
mod schema;
mod settings;
mod source;
mod values;
mod workload;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use protocol::manifest::{PublicKey, Quorum, ReferenceValues, SoftwareReferenceValues};
use protocol::{DeploymentId, Identity, Manifest, Role};
use serde::Serialize;
use serde_json::Value;

pub use coordinator::{COORDINATOR_FILE, ROLE as ROLE_KEY, resources as coordinator_resources};
pub use egress::EGRESS_ANNOTATION;
pub use error::{GenerateError, Place};
pub use ingress::{INGRESS_ANNOTATION, OPEN_PORTS_ANNOTATION};
pub use inject::{ARGV_ANNOTATION, FILES_PREFIX, INITIALIZER, LAUNCHER, MESH, PODINFO_VOLUME, SHARED_VOLUME};
pub(crate) use inject::{INITDATA_FILE, NO_NEW_PRIVILEGES};
pub use kinds::RUNTIME_CLASS;
pub use manifest::{MANIFEST_FILE, stored_quorums};
pub use memory::{IMAGE_MEMORY_ANNOTATION, MEMORY_ANNOTATION, Resources, Share};
pub use platform::{CLASS_ANNOTATION, PLATFORMS, Platform, Tee, check_platforms};
pub use settings::{Commands, SETTINGS_FILE, Settings};
pub use source::STDIN;
pub use values::Missing;
pub use workload::{CAPABILITIES_ANNOTATION, NAMES_ANNOTATION, SECRETS_ANNOTATION, SKIP_ANNOTATION};

use crate::images::{Registry, ResolvedImage};
use crate::policy_data::Openings;
use input::{Inputs, Object};
use resolve::Images;
use settings::Stored;
use write::Output;

/// What to generate from, and for whom.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// YAML files, directories of them, or `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// What `-` among the paths stands for.
    pub stdin: Option<Vec<u8>>,
    /// The namespace of resources that name none; `default` without it.
    pub namespace: Option<String>,
    /// The work folder: `manifest.json` and `settings.json` lie in it.
    pub workspace: PathBuf,
    /// Platforms by name ([`PLATFORMS`]), and files with reference values: whatever holds a `/` or ends in `.json`.
    pub platforms: Vec<String>,
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
    /// Images are kept in the guests' memory: write how much that is.
    pub image_memory: bool,
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
    /// Reference values that are still missing, with how to get each. Until they are there, no Coordinator takes the
    /// manifest.
    pub missing: Vec<Missing>,
    /// Whether the manifest is for the software TEE: INSECURE.
    pub insecure: bool,
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
    /// The platforms that it is for; none for the local engine.
    pub platforms: Vec<String>,
    /// How many GPUs its guest has.
    pub gpus: u32,
    /// Memory and CPUs of its guest.
    pub resources: Resources,
    /// What the user should know.
    pub notices: Vec<String>,
}

/// What holds for all pods of one run.
struct Frame {
    deployment_id: DeploymentId,
    owners: Quorum,
    reference_values: ReferenceValues,
    /// The platforms that pods may be for.
    platforms: Vec<platform::Chosen>,
    pod_image: ResolvedImage,
    skip_initializer: bool,
    image_memory: bool,
    /// Names of the workloads whose callers the manifest lists.
    called: BTreeSet<String>,
    /// Identity and namespace of the Coordinator, once its policy is made.
    coordinator: Option<(Identity, String)>,
}

/// Makes the deployment under `options.paths` confidential, with the images that `registry` finds. All files are
/// written, or none.
pub async fn generate(options: &GenerateOptions, registry: &Registry) -> Result<Report, GenerateError> {
    gather(options, registry).await?.finish(&[])
}

/// All that the resources and their images say, before anything is made of it. What takes as long as images, such as
/// keys, can be made beside it.
pub struct Gathered<'a> {
    options: &'a GenerateOptions,
    registry: &'a Registry,
    old: Option<manifest::Stored>,
    reference: reference::Reference,
    stored: Stored,
    inputs: Inputs,
    /// The Coordinator first.
    pods: Vec<(Object, Role)>,
    openings: Vec<Openings>,
    images: Images<'a>,
    frame: Frame,
}

/// Reads the resources under `options.paths` and fetches what `registry` has of their images. Nothing is written.
pub async fn gather<'a>(options: &'a GenerateOptions, registry: &'a Registry) -> Result<Gathered<'a>, GenerateError> {
    let settings_path = options.workspace.join(SETTINGS_FILE);
    let manifest_path = options.workspace.join(MANIFEST_FILE);
    let old = manifest::load(&manifest_path)?;
    let reference = reference::of(options, old.as_ref(), &manifest_path)?;
    let stored = Stored::load(&settings_path, options.pod_image.as_ref(), reference.local)?;
    let settings = &stored.settings;
    let of_old = old.as_ref().map(|old| &old.manifest);
    let given = manifest::Given { keys: &options.owner_keys, threshold: options.owner_threshold };
    let owners = manifest::quorum(&manifest_path, "owners", given, of_old.map(|old| &old.owners))?;
    if of_old.is_some() {
        // A new manifest may yet get keys that are being made.
        holders(options, of_old, &[])?;
    }
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
    let deployment_id = match of_old {
        Some(old) => old.deployment_id,
        None => random_id()?,
    };
    let frame = Frame {
        deployment_id,
        owners,
        reference_values: reference.complete.clone(),
        platforms: reference.chosen(),
        pod_image,
        skip_initializer: options.skip_initializer,
        image_memory: options.image_memory,
        called: manifest::called(of_old),
        coordinator: None,
    };

    let foreign = |(object, _): &&(Object, Role)| pod_of(&inputs, object).is_some_and(contrast::is_coordinator);
    if let Some((object, _)) = pods.iter().find(foreign) {
        let fault = contrast::foreign_coordinator();
        return Err(GenerateError::Resource {
            place: inputs.place(object, "metadata"),
            resource: object.title(),
            reason: fault.reason,
            hint: fault.hint,
        });
    }
    if !pods.iter().any(|(_, role)| *role == Role::Coordinator) {
        let namespace = pods.first().map_or("default", |(object, _)| object.namespace.as_str()).to_owned();
        let mut resources = coordinator::resources(&namespace, &frame.pod_image.reference_with_digest);
        let spec = resources.first_mut().and_then(|set| set.pointer_mut("/spec/template/spec/runtimeClassName"));
        if let Some((place, class)) = spec.zip(platform::class_of_coordinator(&frame.platforms)?) {
            *place = Value::from(class);
        }
        inputs.add_new(outputs::coordinator_file(options), resources)?;
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

    let openings = stored.openings(&settings_path, &inputs, &pods)?;
    let weighed = |pod: &Value| options.image_memory || workload::weighs_images(pod);
    images.fetch(&inputs, &pods, weighed).await;
    if pods.iter().filter_map(|(object, _)| pod_of(&inputs, object)).any(weighed) {
        let weighed = images.weigh(&frame.pod_image.reference_with_digest).await;
        weighed.map_err(|source| GenerateError::PodImage { file: settings_path.clone(), source: Box::new(source) })?;
    }
    Ok(Gathered { options, registry, old, reference, stored, inputs, pods, openings, images, frame })
}

/// The quorum of seed-share holders, with keys that were made beside those of `options`.
fn holders(options: &GenerateOptions, old: Option<&Manifest>, made: &[PublicKey]) -> Result<Quorum, GenerateError> {
    let keys = [options.holder_keys.as_slice(), made].concat();
    let given = manifest::Given { keys: &keys, threshold: options.holder_threshold };
    let path = options.workspace.join(MANIFEST_FILE);
    manifest::quorum(&path, "seed_share_holders", given, old.map(|old| &old.seed_share_holders))
}

impl Gathered<'_> {
    /// Binds everything and writes it. `made` are keys of seed-share holders beside those of the options.
    pub fn finish(self, made: &[PublicKey]) -> Result<Report, GenerateError> {
        let Self { options, registry, old, mut reference, stored, mut inputs, pods, openings, images, mut frame } =
            self;
        let settings_path = options.workspace.join(SETTINGS_FILE);
        let manifest_path = options.workspace.join(MANIFEST_FILE);
        let settings = &stored.settings;
        let of_old = old.as_ref().map(|old| &old.manifest);
        let seed_share_holders = holders(options, of_old, made)?;
        let mut services: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
        for (object, _) in &pods {
            services.entry(&object.namespace).or_insert_with(|| inputs.of_kind("Service", &object.namespace));
        }
        let none = BTreeMap::new();
        let make = |frame: &Frame, ((object, role), openings): &(&(Object, Role), Openings)| {
            let services = services.get(object.namespace.as_str()).unwrap_or(&none);
            workload::make(&inputs, object, *role, frame, services, openings.clone(), &images)
        };
        let pods_with_openings: Vec<_> =
            pods.iter().zip(openings.into_iter().chain(std::iter::repeat_with(Openings::default))).collect();
        let (coordinators, others) =
            pods_with_openings.split_at(pods.iter().filter(|(_, role)| *role == Role::Coordinator).count());
        let mut made_all = Vec::new();
        for one in coordinators {
            let made = make(&frame, one)?;
            let ((object, _), _) = one;
            frame.coordinator = Some((made.report.identity, object.namespace.clone()));
            made_all.push(made);
        }
        made_all.extend(parallel::map(others, |one| make(&frame, one))?);
        let mut workloads = Vec::new();
        let mut entries = Vec::new();
        let mut made_pods = Vec::new();
        for made in made_all {
            made_pods.push(made.pod);
            workloads.push(made.report);
            entries.push(made.entry);
        }
        for ((object, _), pod) in pods.iter().zip(made_pods) {
            if let Some(pointer) = object.template() {
                inputs.set(object, &pointer, pod);
            }
        }

        let cpus = workloads.iter().map(|workload: &WorkloadReport| workload.resources.cpus).collect();
        if let Some(values) = &mut reference.values {
            for ((object, _), workload) in pods.iter().zip(&workloads) {
                if let Some((reason, hint)) = values.contradicts(workload.gpus, &workload.platforms) {
                    let place = inputs.place(object, "metadata");
                    return Err(GenerateError::Resource { place, resource: object.title(), reason, hint: Some(hint) });
                }
            }
            values.add_templates(&reference.named, one_count(&workloads));
        }
        let missing = reference.values.as_ref().map_or_else(Vec::new, |values| values.missing(&cpus));
        let lease_seconds = of_old.map_or(settings.lease_seconds, |old| old.lease_seconds);
        let Frame { deployment_id, owners, reference_values, platforms, .. } = frame;
        let platforms = platforms.into_iter().filter(|_| !reference.local).map(|platform| platform.name).collect();
        let manifest_frame =
            manifest::Frame { deployment_id, reference_values, owners, seed_share_holders, lease_seconds, platforms };
        let (manifest, mut notices) = manifest::merge(manifest_frame, old.as_ref(), entries);
        let valid = if missing.is_empty() { manifest.validate() } else { manifest::validate_rest(&manifest) };
        valid.map_err(|source| GenerateError::Manifest { path: manifest_path.clone(), source })?;
        let gaps = reference.values.as_ref().filter(|_| !missing.is_empty());
        let manifest_text = manifest::to_text(&manifest, gaps);
        notices.extend(reference.values.iter().flat_map(|values| values.notices.clone()));
        if reference.local && settings.logs.is_none() {
            let file = settings_path.display();
            notices.push(format!(
                "logs are closed to the host: `\"logs\": true` in `{file}` opens them for `casemate logs`"
            ));
        }
        notices.extend(plain_pods(&inputs));
        notices.extend(passed_over(&inputs));
        if options.namespace.is_none() && pods.iter().any(|(object, _)| !object.namespace_given) {
            notices.push(
                "resources without `metadata.namespace` are bound to the namespace `default`; `--namespace` binds them to another"
                    .into(),
            );
        }

        let mut outputs = vec![Output { path: manifest_path, content: manifest_text }];
        if stored.is_new {
            outputs.push(Output { path: settings_path, content: stored.to_text() });
        }
        let mut resources = outputs::yaml_outputs(&inputs, options, &mut notices)?;
        for ((object, _), workload) in pods.iter().zip(&mut workloads) {
            if let Some(file) = inputs.files.get(object.file) {
                workload.file = outputs::target(file, options);
            }
        }
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
        let insecure = reference.local;
        Ok(Report { deployment_id, workloads, changed, up_to_date, notices, missing, insecure, stdout })
    }
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

/// Files that were left alone, but for our own.
fn passed_over(inputs: &Inputs) -> Vec<String> {
    let own = [MANIFEST_FILE, SETTINGS_FILE, crate::images::CACHE_FILE];
    let is_own = |path: &&PathBuf| path.file_name().is_some_and(|name| own.iter().any(|own| name == *own));
    let others = inputs.passed_over.iter().filter(|path| !is_own(path));
    others.map(|path| format!("`{}` is left alone: it holds no Kubernetes resource", path.display())).collect()
}

/// The number of GPUs that every pod with GPUs asks for, if it is one.
fn one_count(workloads: &[WorkloadReport]) -> Option<u32> {
    let counts: BTreeSet<u32> = workloads.iter().map(|workload| workload.gpus).filter(|gpus| *gpus > 0).collect();
    if counts.len() == 1 { counts.first().copied() } else { None }
}

fn random_id() -> Result<DeploymentId, GenerateError> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|source| GenerateError::Random { source })?;
    Ok(DeploymentId::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
