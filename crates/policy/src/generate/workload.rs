//! One pod: pinned, injected, bound.

mod annotations;
mod check;
mod names;
mod notices;

use std::collections::BTreeMap;

use protocol::initdata::{ANNOTATION, InitdataError, MAX_ANNOTATION, Settings};
use protocol::{Initdata, Role};
use serde_json::{Value, json};

use super::error::{Fault, GenerateError};
use super::ingress::{self, Ports};
use super::inject::{self, FILES_PREFIX, INITIALIZER, Injection, MESH};
use super::input::{Inputs, Object};
use super::kinds::RUNTIME_CLASS;
use super::memory::{self, Resources};
use super::{Frame, Images, WorkloadReport, contrast, coordinator, device, egress, files, manifest, platform};
use crate::images::ImageConfig;
use crate::policy_data::{Openings, PolicyContainer, PolicyInputs, policy};
use crate::request::{PodInstance, RequestError, completions, give_symbolic_index};
use annotations::check_annotations;
use check::{check_fields, check_naming, claim_templates, clean_paths, reserved_paths};
use names::{names, wanted_secrets};
pub use notices::CAPABILITIES_ANNOTATION;
use notices::{differences, host_words, powers};

/// Names of secrets that a pod may read, beside those that its arguments and variables name.
pub const SECRETS_ANNOTATION: &str = "casemate.dev/secrets";
/// Further DNS names of a pod's certificates.
pub const NAMES_ANNOTATION: &str = "casemate.dev/names";
/// `true` on a pod: inject nothing into it.
pub const SKIP_ANNOTATION: &str = "casemate.dev/skip-initializer";

/// LIMIT: names of volumes are DNS labels (RFC 1123).
const MAX_VOLUME_NAME: usize = 63;

/// A pod that is ready to be written.
pub(super) struct Made {
    pub(super) pod: Value,
    pub(super) report: WorkloadReport,
    pub(super) entry: manifest::Entry,
}

struct Context<'a> {
    inputs: &'a Inputs,
    object: &'a Object,
    prefix: String,
}

impl Context<'_> {
    /// `path` begins at the pod, and names a container or volume by name or number: users are told the whole.
    fn refuse(&self, path: &str, reason: impl Into<String>, hint: Option<String>) -> GenerateError {
        let (found, full) = self.whole(path);
        GenerateError::Resource {
            place: self.inputs.place(self.object, &format!("{}/{found}", self.prefix)),
            resource: self.object.title(),
            reason: format!("`{full}`: {}", reason.into()),
            hint,
        }
    }

    /// [`whole_path`] from the resource on.
    fn whole(&self, path: &str) -> (String, String) {
        let (found, full) = whole_path(self.pod(), path);
        let template = self.prefix.replace('/', ".");
        (found, if template.is_empty() { full } else { format!("{template}.{full}") })
    }

    /// What a Service says of the pod cannot be: the place is the Service's.
    fn port(&self, error: ingress::PortError) -> GenerateError {
        let ingress::PortError { path, reason, hint, service } = error;
        let of = |name: &String| {
            let mut all = self.inputs.objects.iter();
            all.find(|found| found.kind == "Service" && found.name == *name && found.namespace == self.object.namespace)
        };
        match service.as_ref().and_then(of) {
            Some(service) => GenerateError::Resource {
                place: self.inputs.place(service, &path),
                resource: service.title(),
                reason: format!("`{path}`: {reason}, which no container of {} has", self.object.title()),
                hint,
            },
            None => self.refuse(&path, reason, hint),
        }
    }

    /// Paths of a [`RequestError`] begin at `containers`, wherever the container is.
    fn request(&self, mut source: RequestError) -> GenerateError {
        let path = match &mut source {
            RequestError::Unsupported { path, .. }
            | RequestError::Missing { path, .. }
            | RequestError::Invalid { path, .. }
            | RequestError::Refused { path, .. }
            | RequestError::UserName { path, .. } => path,
        };
        let (found, full) = self.whole(path);
        *path = full;
        let place = self.inputs.place(self.object, &format!("{}/{found}", self.prefix));
        GenerateError::Request { place, resource: self.object.title(), source: Box::new(source) }
    }

    fn pod(&self) -> &Value {
        let place = self.object.template.unwrap_or_default();
        self.inputs.value(self.object).pointer(place).unwrap_or(&Value::Null)
    }
}

pub(super) fn make(
    inputs: &Inputs,
    object: &Object,
    role: Role,
    frame: &Frame,
    services: &BTreeMap<&str, &Value>,
    openings: Openings,
    images: &Images<'_>,
) -> Result<Made, GenerateError> {
    let prefix = object.template.unwrap_or_default().trim_start_matches('/').to_owned();
    let context = Context { inputs, object, prefix };
    let mut pod = context.pod().clone();
    let mut notices = Vec::new();
    let before = pod["metadata"]["annotations"][ANNOTATION].as_str().map(str::to_owned);
    if role == Role::Workload
        && let Some((path, name)) = inject::reserved_name(&pod)
    {
        let hint = if name == INITIALIZER {
            "an initializer of your own has a volume of its own, of another name than ours, at `/casemate`"
        } else {
            "names that begin with `casemate` are for what `generate` adds; choose another"
        };
        return Err(context.refuse(&path, format!("the name `{name}` is reserved"), Some(hint.to_owned())));
    }
    platform::restore_class(&mut pod);
    memory::strip(&mut pod);
    if role == Role::Workload {
        inject::strip(&mut pod);
    } else if let Some(annotations) = pod["metadata"].get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(ANNOTATION);
    }
    let fault = |fault: Fault| context.refuse(&fault.path, fault.reason, fault.hint);
    let contrast = contrast::take(&mut pod).map_err(fault)?;
    notices.extend(contrast.notices);
    check_fields(&context, &pod)?;
    check_annotations(&context, &pod, &mut notices)?;
    let wish = device::wishes(&pod).map_err(fault)?;
    let class = string(&pod["spec"]["runtimeClassName"]);
    let assigned = platform::assign(&frame.platforms, &class, &wish).map_err(fault)?;
    if let Some(class) = assigned.class {
        notices.extend(platform::set_class(&mut pod, class));
    } else if assigned.local && class != RUNTIME_CLASS {
        notices.push(format!(
            "`runtimeClassName: {class}` stays, and the reference values are the local engine's: on a cluster nobody \
             would believe this pod"
        ));
    }
    let claims = claim_templates(&context, &pod)?;
    check_naming(&context, &pod)?;
    let secrets = wanted_secrets(&context, &pod)?;
    defaults(&mut pod, &mut notices);

    let own = if role == Role::Workload { inject::take_own(&mut pod).map_err(fault)? } else { None };
    let mut configs = pin(&context, &mut pod, role, frame, images)?;
    let annotations = &pod["metadata"]["annotations"];
    let skip = frame.skip_initializer
        || contrast.skip_initializer
        || assigned.enclave
        || annotations[SKIP_ANNOTATION] == json!("true");
    if assigned.enclave {
        notices.push(
            "an enclave is the TEE, and nobody enforces a policy around it: start it with its identity as CONFIGID"
                .into(),
        );
    }
    let inject = role == Role::Workload && !skip;
    if own.is_some() && skip {
        let hint = "take out one of the two".to_owned();
        let reason =
            "an initializer in a pod that is to have none (`--skip-initializer`, its annotation, or an enclave)";
        return Err(context.refuse("spec.initContainers[0]", reason, Some(hint)));
    }
    let mut ports = Ports::default();
    let mut egress = Vec::new();
    if role == Role::Workload {
        inject::image_volumes(&mut pod, &configs, &mut notices).map_err(|error| context.request(error))?;
    }
    if inject && pod["spec"]["shareProcessNamespace"] == json!(true) {
        let hint = format!(
            "every container could read the mesh's key from its memory; `{SKIP_ANNOTATION}` leaves the mesh out"
        );
        return Err(context.refuse("spec.shareProcessNamespace", "not supported beside the mesh", Some(hint)));
    }
    // Whatever is injected: the rules compare text.
    clean_paths(&mut pod, &mut notices);
    if inject {
        reserved_paths(&context, &pod, own.as_ref().map(|own| own.volume.as_str()))?;
        let port_error = |error: ingress::PortError| context.port(error);
        ports = ingress::find(&pod, services).map_err(port_error)?;
        ingress::rewrite_probes(&mut pod, &mut ports).map_err(port_error)?;
        egress = egress::find(&pod, &ports).map_err(fault)?;
        ports.notices.extend(egress::notices(&egress));
        let coordinator_host = match &frame.coordinator {
            Some((_, namespace)) if *namespace != object.namespace => Some(format!("coordinator.{namespace}")),
            _ => None,
        };
        let injection = Injection { pod_image: &frame.pod_image.reference_with_digest, coordinator_host };
        let of = |name: &str| configs.get(name).cloned().unwrap_or_default();
        inject::inject(&mut pod, &injection, &of).map_err(|error| context.request(error))?;
        egress::let_listen(&mut pod, &egress);
        for name in [INITIALIZER, MESH] {
            configs.entry(name.to_owned()).or_insert_with(|| frame.pod_image.config.clone());
        }
        if let Some(own) = own {
            notices.extend(own.notices);
            let image = string(&pod["spec"]["initContainers"][0]["image"]);
            let digest = |image: &str| image.split_once('@').map(|(_, digest)| digest.to_owned());
            if digest(&image) != digest(&frame.pod_image.reference_with_digest) {
                notices.push(format!(
                    "the initializer is `{image}`, and `pod_image`, which the mesh is from, is another: take both of one \
                     release"
                ));
            }
        }
    } else if role == Role::Workload {
        notices.push(
            "nothing is injected: no certificate, no secrets, no TLS; the files of its volumes are the host's word"
                .into(),
        );
    }
    if !inject {
        egress::refuse_any(&pod).map_err(fault)?;
    }
    if !inject && role == Role::Workload {
        notices::unheard_commands(&pod, &mut notices);
    }
    notices.append(&mut ports.notices);
    let mut resources = resources(inputs, &pod, frame, contrast.image_limit, images).map_err(fault)?;
    memory::settle(&mut pod, &mut resources).map_err(fault)?;
    notices.extend(resources.notice());
    opened(&openings, &mut notices);
    // What the pods of a StatefulSet will have beside what stands in the template.
    let mut bound = pod.clone();
    for claim in claims {
        inject::push(&mut bound["spec"], "volumes", claim);
    }
    let completions = completions(inputs.value(object));
    if completions.is_some() {
        give_symbolic_index(&mut bound);
        notices.push(
            "a pod has one index in its name, its host name and its variables; the host chooses which indexes run, and may \
             run one again or leave one out"
                .into(),
        );
    }
    host_words(&bound, inject, &mut notices);
    differences(&pod, &mut notices);

    let (config_maps, secret_objects) = referenced(inputs, &object.namespace, &pod, &mut notices);
    let checked = checked_volumes(&pod);
    if let Some(volume) = checked.iter().find(|volume| FILES_PREFIX.len() + volume.len() > MAX_VOLUME_NAME) {
        let path = format!("spec.volumes.{volume}");
        return Err(context.refuse(
            &path,
            format!("the name is longer than {} characters", MAX_VOLUME_NAME - FILES_PREFIX.len()),
            Some(format!(
                "shorten it: `{FILES_PREFIX}` comes before it in the name of the volume with the checked files"
            )),
        ));
    }
    let files = files::digests(&pod, &checked, &config_maps, &secret_objects).map_err(fault)?;
    files::check_single(&pod, &config_maps, &secret_objects).map_err(fault)?;
    let settings = Settings {
        version: 1,
        deployment_id: frame.deployment_id,
        role,
        mesh: inject,
        coordinator: frame.coordinator.as_ref().map(|(identity, _)| *identity),
        open_ports: if role == Role::Coordinator { coordinator::PORTS.to_vec() } else { ports.open },
        fs_group: files::fs_group(&pod).filter(|_| !files.is_empty()),
        owners: frame.owners.clone(),
        reference_values: frame.reference_values.clone(),
        files,
        ingress: ports.ingress,
        egress,
    };
    let config = PodInstance { config_maps, secrets: secret_objects, ..PodInstance::default() };
    if role == Role::Workload {
        if !inject {
            notices::order(&pod, &mut notices);
        }
        powers(&context, &bound, &configs, &config, &mut notices)?;
    }
    let rego = policy_of(object, &bound, completions, &configs, services, &config, openings)
        .map_err(|error| context.request(error))?;
    let initdata_error = |source| GenerateError::Initdata { resource: object.title(), source };
    let initdata = Initdata::build(&rego, &settings).map_err(initdata_error)?;
    let annotation = initdata.to_annotation();
    // What cannot be read back would leave the pod without a policy.
    if annotation.len() > MAX_ANNOTATION {
        return Err(initdata_error(InitdataError::TooLong { what: "annotation", limit: MAX_ANNOTATION }));
    }
    Initdata::parse(initdata.document()).map_err(initdata_error)?;
    if let Some(before) = before.filter(|before| *before != annotation)
        && is_of_another(&before)
    {
        let hint = "take it out: `generate` writes the initdata, and the guest takes one document".to_owned();
        let reason = "initdata of your own, which ours would replace";
        return Err(context.refuse(&format!("metadata.annotations.{ANNOTATION}"), reason, Some(hint)));
    }
    inject::annotate(&mut pod, ANNOTATION, &annotation);

    let names = names(&context, &pod, services)?;
    let all = containers(&pod);
    let images = all.iter().map(|container| (string(&container["name"]), string(&container["image"]))).collect();
    let report = WorkloadReport {
        resource: object.title(),
        file: inputs.files.get(object.file).map(|file| file.path.clone()).unwrap_or_default(),
        name: object.name.clone(),
        identity: initdata.identity(),
        images,
        secrets: secrets.iter().cloned().collect(),
        platforms: assigned.platforms.iter().cloned().collect(),
        gpus: wish.gpus,
        resources,
        notices,
    };
    let without_certificate = settings.ingress.iter().find(|ingress| !ingress.client_certificate);
    if let Some(ingress) = without_certificate.filter(|_| frame.called.contains(&object.name)) {
        let reason = format!(
            "`callers` of `{}` in {} binds nobody: port {} takes callers without a certificate",
            object.name,
            manifest::MANIFEST_FILE,
            ingress.port
        );
        let hint = format!(
            "annotate the pod with `{}: {}#{}#false`, or take `callers` out of the manifest",
            ingress::INGRESS_ANNOTATION,
            ingress.name,
            ingress.port
        );
        let place = inputs.place(object, "metadata");
        return Err(GenerateError::Resource { place, resource: object.title(), reason, hint: Some(hint) });
    }
    let platforms = assigned.platforms;
    let entry = manifest::Entry { identity: initdata.identity(), names, role, secrets, platforms };
    Ok(Made { pod, report, entry })
}

/// Whether initdata is whole and not of `generate`, which always writes settings. A damaged one is ours for all that can
/// be told, and is written anew.
fn is_of_another(annotation: &str) -> bool {
    Initdata::from_annotation(annotation)
        .is_ok_and(|initdata| matches!(initdata.settings(), Err(InitdataError::Missing { .. })))
}

/// Whether a pod asks by itself for images in its guest's memory.
pub(super) fn weighs_images(pod: &Value) -> bool {
    contrast::take(&mut pod.clone()).is_ok_and(|taken| taken.image_limit.is_some())
}

/// What the guest of a pod needs, its images included where they are kept in memory.
fn resources(
    inputs: &Inputs,
    pod: &Value,
    frame: &Frame,
    limit: Option<u64>,
    images: &Images<'_>,
) -> Result<Resources, Fault> {
    let class = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
    let mut classes = inputs.objects.iter().filter(|object| object.kind == "RuntimeClass" && object.name == class);
    let overhead = classes.find_map(|object| memory::of_class(inputs.value(object)));
    let mut weight = None;
    if frame.image_memory || limit.is_some() {
        let path = || "spec.containers".to_owned();
        let all = containers(pod).into_iter().filter_map(|container| container["image"].as_str());
        let bytes = images.unpacked(all);
        let Some(bytes) = bytes else {
            let reason = "the unpacked size of an image is not known, and images are kept in memory".into();
            return Err(Fault { path: path(), reason, hint: Some("leave `--image-memory` out".into()) });
        };
        if let Some(limit) = limit.filter(|limit| bytes > *limit) {
            let reason = format!("the images need {bytes} bytes, and their store has {limit}");
            return Err(Fault {
                path: path(),
                reason,
                hint: Some("make the store larger, or the images smaller".into()),
            });
        }
        weight = Some(bytes);
    }
    memory::sum(pod, overhead, weight)
}

/// Says what the settings open, but for logs, which all pods share.
fn opened(openings: &Openings, notices: &mut Vec<String>) {
    for (container, commands) in &openings.exec {
        let commands: Vec<String> = commands.iter().map(|command| format!("`{}`", command.join(" "))).collect();
        notices.push(format!("the host may run {} in container `{container}`", commands.join(", ")));
    }
    for volume in &openings.copied_claims {
        notices.push(format!("volume `{volume}`: the host may copy anything into it"));
    }
}

/// A path in a pod, as places are found by it, and as people read it, with number and name of container or volume
/// (`spec.containers[1](app).env[0].value`).
fn whole_path(pod: &Value, path: &str) -> (String, String) {
    let named = |list: &str, rest: &str| -> Option<(usize, String, String)> {
        let all = pod["spec"][list].as_array()?.iter().enumerate();
        let mut named = all.filter_map(|(index, item)| Some((index, item["name"].as_str()?)));
        named.find_map(|(index, name)| {
            let inner = rest.strip_prefix(name).filter(|inner| inner.is_empty() || inner.starts_with(['.', '[']))?;
            Some((index, name.to_owned(), inner.to_owned()))
        })
    };
    if let Some(rest) = path.strip_prefix("containers.") {
        for list in ["initContainers", "containers"] {
            if let Some((index, name, inner)) = named(list, rest) {
                return (format!("spec/{list}.{name}{inner}"), format!("spec.{list}[{index}]({name}){inner}"));
            }
        }
        return (format!("spec/{path}"), format!("spec.{path}"));
    }
    let of_pod = ["spec", "metadata"].iter().any(|part| path.split('.').next() == Some(*part));
    let path = if of_pod { path.to_owned() } else { format!("spec.{path}") };
    for list in ["initContainers", "containers", "volumes"] {
        let Some(rest) = path.strip_prefix(&format!("spec.{list}")) else { continue };
        if let Some((index, name, inner)) = rest.strip_prefix('.').and_then(|rest| named(list, rest)) {
            return (path.clone(), format!("spec.{list}[{index}]({name}){inner}"));
        }
        let numbered = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let item = numbered.and_then(|(index, inner)| Some((index.parse::<usize>().ok()?, inner)));
        if let Some((index, inner)) = item
            && let Some(name) = pod["spec"][list][index]["name"].as_str()
        {
            return (path.clone(), format!("spec.{list}[{index}]({name}){inner}"));
        }
    }
    (path.clone(), path)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn containers(pod: &Value) -> Vec<&Value> {
    let lists = ["initContainers", "containers"];
    lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten()).collect()
}

fn policy_of(
    object: &Object,
    pod: &Value,
    completions: Option<u32>,
    configs: &BTreeMap<String, ImageConfig>,
    services: &BTreeMap<&str, &Value>,
    config: &PodInstance,
    openings: Openings,
) -> Result<String, RequestError> {
    let none = ImageConfig::default();
    let containers = containers(pod)
        .into_iter()
        .map(|container| {
            let name = container["name"].as_str().unwrap_or_default();
            PolicyContainer {
                container,
                image: configs.get(name).unwrap_or(&none),
                signals: !inject::is_own(container),
            }
        })
        .collect();
    policy(&PolicyInputs {
        kind: &object.naming.0,
        name: &object.naming.1,
        namespace: &object.namespace,
        pod,
        completions,
        containers,
        services: services.keys().map(|name| (*name).to_owned()).collect(),
        config,
        openings,
    })
}

/// Replaces each image by its digest and gives the images' configurations by container.
fn pin(
    context: &Context<'_>,
    pod: &mut Value,
    role: Role,
    frame: &Frame,
    images: &Images<'_>,
) -> Result<BTreeMap<String, ImageConfig>, GenerateError> {
    let mut configs = BTreeMap::new();
    for list in ["initContainers", "containers"] {
        let items = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for (index, container) in items.into_iter().flatten().enumerate() {
            let path = format!("spec/{list}/{index}");
            let name = string(&container["name"]);
            if name.is_empty() {
                let hint = Some("write `name: …`: the policy knows containers by their names".to_owned());
                return Err(context.refuse(&format!("spec.{list}[{index}]"), "a container without a name", hint));
            }
            let image = if role == Role::Coordinator && name == coordinator::CONTAINER {
                frame.pod_image.clone()
            } else {
                let Some(reference) = container["image"].as_str() else {
                    return Err(context.refuse(
                        &format!("spec.{list}.{name}"),
                        "`image` is missing",
                        Some("write `image: REGISTRY/NAME:TAG`".into()),
                    ));
                };
                images.known(reference).map_err(|source| GenerateError::Image {
                    place: context.inputs.place(context.object, &format!("{}/{path}/image", context.prefix)),
                    resource: context.object.title(),
                    source: Box::new(source),
                })?
            };
            container["image"] = json!(image.reference_with_digest);
            configs.insert(name, image.config);
        }
    }
    Ok(configs)
}

/// What Kubernetes would add on its own, and a confidential pod is better off without.
fn defaults(pod: &mut Value, notices: &mut Vec<String>) {
    let spec = &mut pod["spec"];
    let account = spec["serviceAccountName"].as_str().unwrap_or("default");
    if spec["automountServiceAccountToken"].is_null() {
        let wanted = account != "default";
        if !wanted {
            notices.push(
                "`automountServiceAccountToken` was set to false: a token of an untrusted API server is of no use; set it \
                 to true if the program calls Kubernetes"
                    .into(),
            );
        }
        spec["automountServiceAccountToken"] = json!(wanted);
    }
    if spec["enableServiceLinks"].is_null() {
        spec["enableServiceLinks"] = json!(false);
        notices.push(
            "`enableServiceLinks` was set to false: the host could otherwise choose variables of the program; set it to \
             true if the program finds Services by their variables"
                .into(),
        );
    }
}

/// Volumes whose files the initializer checks.
fn checked_volumes(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| Some(volume["name"].as_str()?.strip_prefix(FILES_PREFIX)?.to_owned())).collect()
}

fn list_annotation(pod: &Value, key: &str) -> Vec<String> {
    let text = pod["metadata"]["annotations"][key].as_str().unwrap_or_default();
    text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// The ConfigMaps and Secrets that a pod refers to, and no others: a namespace may hold thousands. Says which of them are
/// bound as absent.
fn referenced(
    inputs: &Inputs,
    namespace: &str,
    pod: &Value,
    notices: &mut Vec<String>,
) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let (mut maps, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    let mut take = |kind: &str, source: &Value, field: &str| {
        let Some(name) = source[field].as_str() else { return };
        let found = if kind == "ConfigMap" { &mut maps } else { &mut secrets };
        if found.contains_key(name) {
            return;
        }
        if let Some(object) = inputs.find(kind, namespace, name) {
            found.insert(name.to_owned(), object.clone());
        } else if source["optional"] == json!(true) {
            let notice = format!(
                "{kind} `{name}` is optional and not among the inputs: the pod is bound to do without it, also where the \
                 cluster has one"
            );
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
    };
    for container in containers(pod) {
        for variable in container["env"].as_array().into_iter().flatten() {
            take("ConfigMap", &variable["valueFrom"]["configMapKeyRef"], "name");
            take("Secret", &variable["valueFrom"]["secretKeyRef"], "name");
        }
        for source in container["envFrom"].as_array().into_iter().flatten() {
            take("ConfigMap", &source["configMapRef"], "name");
            take("Secret", &source["secretRef"], "name");
        }
    }
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        take("ConfigMap", &volume["configMap"], "name");
        take("Secret", &volume["secret"], "secretName");
        for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
            take("ConfigMap", &source["configMap"], "name");
            take("Secret", &source["secret"], "name");
        }
    }
    (maps, secrets)
}
