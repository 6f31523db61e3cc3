//! One pod: pinned, injected, bound.

use std::collections::{BTreeMap, BTreeSet};

use protocol::initdata::{ANNOTATION, Settings};
use protocol::{Initdata, Role};
use serde_json::{Value, json};

use super::error::{Fault, GenerateError};
use super::ingress::{self, Ports};
use super::inject::{self, FILES_PREFIX, INITIALIZER, Injection, MESH};
use super::input::{Inputs, Object};
use super::memory::{self, Resources};
use super::{Frame, Images, WorkloadReport, contrast, coordinator, device, files, manifest, platform, schema};
use crate::images::ImageConfig;
use crate::policy_data::{Openings, PolicyContainer, PolicyInputs, policy};
use crate::request::{
    MAX_CRON_JOB, MAX_HOSTNAME, PodInstance, RequestError, VolumeKind, clean, container_request, mount_volume,
    symbolic_container_id, volume_kind,
};

/// Names of secrets that a pod may read, beside those that its arguments and variables name.
pub const SECRETS_ANNOTATION: &str = "casemate.dev/secrets";
/// Further DNS names of a pod's certificates.
pub const NAMES_ANNOTATION: &str = "casemate.dev/names";
/// `true` on a pod: inject nothing into it.
pub const SKIP_ANNOTATION: &str = "casemate.dev/skip-initializer";

/// Capabilities that a pod's containers may have though they endanger it: `NET_ADMIN,SYS_ADMIN`.
pub const CAPABILITIES_ANNOTATION: &str = "casemate.dev/allow-capabilities";

/// What root can do with a capability to the containers beside it.
const POWERS: [(&str, &str); 3] = [
    ("CAP_SETUID", "become the mesh's user and ask for Evidence in its place"),
    ("CAP_NET_ADMIN", "change the pod's firewall"),
    ("CAP_SYS_ADMIN", "enter the namespaces of other containers"),
];

/// Where a program finds a secret.
const SECRETS_PATH: &str = "/casemate/secrets/";

/// Where initializer and launcher have their files: the host's word must not reach there.
const RESERVED_PATHS: [&str; 3] = ["/casemate", "/casemate-in", "/casemate-files"];

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
    fn refuse(&self, path: &str, reason: impl Into<String>, hint: Option<String>) -> GenerateError {
        GenerateError::Resource {
            place: self.inputs.place(self.object, &format!("{}/{path}", self.prefix)),
            resource: self.object.title(),
            reason: format!("`{path}`: {}", reason.into()),
            hint,
        }
    }

    /// Paths of a [`RequestError`] begin at `containers`, wherever the container is: users are told the whole.
    fn request(&self, mut source: RequestError) -> GenerateError {
        let path = match &mut source {
            RequestError::Unsupported { path, .. }
            | RequestError::Missing { path, .. }
            | RequestError::Invalid { path, .. }
            | RequestError::Refused { path, .. }
            | RequestError::UserName { path, .. } => path,
        };
        let (found, full) = whole_path(self.pod(), path);
        let template = self.prefix.replace('/', ".");
        *path = if template.is_empty() { full } else { format!("{template}.{full}") };
        let place = self.inputs.place(self.object, &format!("{}/{found}", self.prefix));
        GenerateError::Request { place, resource: self.object.title(), source: Box::new(source) }
    }

    fn pod(&self) -> &Value {
        let place = self.object.template.unwrap_or_default();
        self.inputs.value(self.object).pointer(place).unwrap_or(&Value::Null)
    }
}

pub(super) async fn make(
    inputs: &Inputs,
    object: &Object,
    role: Role,
    frame: &Frame,
    services: &BTreeMap<&str, &Value>,
    openings: Openings,
    images: &mut Images<'_>,
) -> Result<Made, GenerateError> {
    let prefix = object.template.unwrap_or_default().trim_start_matches('/').to_owned();
    let context = Context { inputs, object, prefix };
    let mut pod = context.pod().clone();
    let mut notices = Vec::new();
    if role == Role::Workload
        && let Some(name) = inject::reserved_name(&pod)
    {
        let hint = "names that begin with `casemate` are for what `generate` adds; choose another".to_owned();
        return Err(context.refuse("spec", format!("the name `{name}` is reserved"), Some(hint)));
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
    let wish = device::wishes(&pod).map_err(fault)?;
    let class = string(&pod["spec"]["runtimeClassName"]);
    let assigned = platform::assign(&frame.platforms, &class, &wish).map_err(fault)?;
    if let Some(class) = assigned.class {
        notices.extend(platform::set_class(&mut pod, class));
    }
    let claims = claim_templates(&context, &pod)?;
    check_naming(&context, &pod)?;
    let secrets = wanted_secrets(&context, &pod)?;
    defaults(&mut pod, &mut notices);

    let mut configs = pin(&context, &mut pod, role, frame, images).await?;
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
    let mut ports = Ports::default();
    if inject && pod["spec"]["shareProcessNamespace"] == json!(true) {
        let hint = format!(
            "every container could read the mesh's key from its memory; `{SKIP_ANNOTATION}` leaves the mesh out"
        );
        return Err(context.refuse("spec.shareProcessNamespace", "not supported beside the mesh", Some(hint)));
    }
    if inject {
        reserved_paths(&context, &pod)?;
        clean_paths(&mut pod, &mut notices);
        let port_error = |error: ingress::PortError| context.refuse(&error.path, error.reason, error.hint);
        ports = ingress::find(&pod, services).map_err(port_error)?;
        ingress::rewrite_probes(&mut pod, &mut ports).map_err(port_error)?;
        let coordinator_host = match &frame.coordinator {
            Some((_, namespace)) if *namespace != object.namespace => Some(format!("coordinator.{namespace}")),
            _ => None,
        };
        let injection = Injection { pod_image: &frame.pod_image.reference_with_digest, coordinator_host };
        let of = |name: &str| configs.get(name).cloned().unwrap_or_default();
        inject::inject(&mut pod, &injection, &of).map_err(|error| context.request(error))?;
        for name in [INITIALIZER, MESH] {
            configs.insert(name.to_owned(), frame.pod_image.config.clone());
        }
    } else if role == Role::Workload {
        notices.push(
            "nothing is injected: no certificate, no secrets, no TLS; the files of its volumes are the host's word"
                .into(),
        );
    }
    notices.append(&mut ports.notices);
    let resources = resources(inputs, &pod, frame, contrast.image_limit, images).map_err(fault)?;
    memory::settle(&mut pod, &resources).map_err(fault)?;
    notices.extend(resources.notice());
    opened(&openings, &mut notices);
    // What the pods of a StatefulSet will have beside what stands in the template.
    let mut bound = pod.clone();
    for claim in claims {
        inject::push(&mut bound["spec"], "volumes", claim);
    }
    host_words(&bound, inject, &mut notices);

    let (config_maps, secret_objects) = referenced(inputs, &object.namespace, &pod);
    let checked = checked_volumes(&pod);
    if let Some(volume) = checked.iter().find(|volume| FILES_PREFIX.len() + volume.len() > MAX_VOLUME_NAME) {
        let path = format!("spec.volumes.{volume}");
        return Err(context.refuse(
            &path,
            format!("the name is longer than {} characters", MAX_VOLUME_NAME - FILES_PREFIX.len()),
            None,
        ));
    }
    let files = files::digests(&pod, &checked, &config_maps, &secret_objects)
        .map_err(|error| context.refuse(&error.path, error.reason, None))?;
    let settings = Settings {
        version: 1,
        deployment_id: frame.deployment_id,
        role,
        mesh: inject,
        coordinator: frame.coordinator.as_ref().map(|(identity, _)| *identity),
        open_ports: if role == Role::Coordinator { coordinator::PORTS.to_vec() } else { ports.open },
        owners: frame.owners.clone(),
        reference_values: frame.reference_values.clone(),
        files,
        ingress: ports.ingress,
    };
    let config = PodInstance { config_maps, secrets: secret_objects, ..PodInstance::default() };
    if role == Role::Workload {
        powers(&context, &bound, &configs, &config, &mut notices)?;
    }
    let rego =
        policy_of(object, &bound, &configs, services, &config, openings).map_err(|error| context.request(error))?;
    let initdata_error = |source| GenerateError::Initdata { resource: object.title(), source };
    let initdata = Initdata::build(&rego, &settings).map_err(initdata_error)?;
    let annotation = initdata.to_annotation();
    // What cannot be read back would leave the pod without a policy.
    Initdata::from_annotation(&annotation).map_err(initdata_error)?;
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

/// A path of a [`RequestError`] from the pod on: as places are found by it, and as people read it, with number and name
/// of the container (`spec.containers[1](app).env[0].value`).
fn whole_path(pod: &Value, path: &str) -> (String, String) {
    let Some(rest) = path.strip_prefix("containers.") else {
        let of_pod = ["spec.", "metadata."].iter().any(|part| path.starts_with(part));
        let whole = if of_pod { path.to_owned() } else { format!("spec.{path}") };
        return (whole.clone(), whole);
    };
    let name = rest.split(['.', '[']).next().unwrap_or_default();
    let inner = rest.get(name.len()..).unwrap_or_default();
    for list in ["initContainers", "containers"] {
        let mut all = pod["spec"][list].as_array().into_iter().flatten();
        if let Some(index) = all.position(|container| container["name"].as_str() == Some(name)) {
            return (format!("spec/{list}.{name}{inner}"), format!("spec.{list}[{index}]({name}){inner}"));
        }
    }
    (format!("spec/{path}"), format!("spec.{path}"))
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
                signals: ![INITIALIZER, MESH].contains(&name),
            }
        })
        .collect();
    policy(&PolicyInputs {
        kind: &object.naming.0,
        name: &object.naming.1,
        namespace: &object.namespace,
        pod,
        containers,
        services: services.keys().map(|name| (*name).to_owned()).collect(),
        config,
        openings,
    })
}

/// Replaces each image by its digest and gives the images' configurations by container.
async fn pin(
    context: &Context<'_>,
    pod: &mut Value,
    role: Role,
    frame: &Frame,
    images: &mut Images<'_>,
) -> Result<BTreeMap<String, ImageConfig>, GenerateError> {
    let mut configs = BTreeMap::new();
    for list in ["initContainers", "containers"] {
        let items = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for (index, container) in items.into_iter().flatten().enumerate() {
            let path = format!("spec/{list}/{index}");
            let name = string(&container["name"]);
            if name.is_empty() {
                return Err(context.refuse(&path.replace('/', "."), "a container without a name", None));
            }
            let image = if role == Role::Coordinator && name == coordinator::CONTAINER {
                frame.pod_image.clone()
            } else {
                let Some(reference) = container["image"].as_str() else {
                    return Err(context.refuse(&format!("spec.{list}.{name}"), "`image` is missing", None));
                };
                images.resolve(reference).await.map_err(|source| GenerateError::Image {
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

/// Refuses containers that could undo what initializer and mesh do, and says which could try.
fn powers(
    context: &Context<'_>,
    pod: &Value,
    configs: &BTreeMap<String, ImageConfig>,
    config: &PodInstance,
    notices: &mut Vec<String>,
) -> Result<(), GenerateError> {
    let allowed: Vec<String> = list_annotation(pod, CAPABILITIES_ANNOTATION)
        .iter()
        .map(|name| name.to_ascii_uppercase())
        .map(|name| format!("CAP_{}", name.strip_prefix("CAP_").unwrap_or(&name)))
        .collect();
    let none = ImageConfig::default();
    for container in containers(pod) {
        let name = string(&container["name"]);
        if [INITIALIZER, MESH].contains(&name.as_str()) {
            continue;
        }
        let image = configs.get(&name).unwrap_or(&none);
        let request = container_request(pod, container, image, config, &symbolic_container_id());
        let mut request = request.map_err(|error| context.request(error))?;
        below_the_hosts(context, pod, container, &request)?;
        let process = request["OCI"]["Process"].take();
        let user = &process["User"];
        let of_mesh = json!(inject::MESH_USER);
        let groups = user["AdditionalGids"].as_array().is_some_and(|groups| groups.contains(&of_mesh));
        if groups || user["UID"] == of_mesh || user["GID"] == of_mesh {
            let reason = format!("{} is the mesh's user and group", inject::MESH_USER);
            let hint = "it could ask for Evidence in the mesh's place; let the container run as another".to_owned();
            return Err(context.refuse(&format!("spec.containers.{name}"), reason, Some(hint)));
        }
        let sets = process["Capabilities"]["Effective"].as_array();
        let has = |capability: &str| sets.is_some_and(|set| set.contains(&json!(capability)));
        for capability in ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"] {
            if has(capability) && !allowed.iter().any(|allowed| allowed == capability) {
                let short = capability.trim_start_matches("CAP_");
                let path = format!("spec.containers.{name}.securityContext.capabilities.add");
                let hint = format!("if it must be, annotate the pod with `{CAPABILITIES_ANNOTATION}: \"{short}\"`");
                return Err(context.refuse(&path, format!("`{short}` lets it undo the pod's firewall"), Some(hint)));
            }
        }
        let can: Vec<_> = POWERS
            .iter()
            .filter(|(capability, _)| user["UID"] == json!(0) && has(capability))
            .map(|(capability, what)| format!("with {capability} it can {what}"))
            .collect();
        if !can.is_empty() {
            notices.push(format!("container `{name}` runs as root: {}", can.join(", ")));
        }
    }
    Ok(())
}

/// Contents that no digest binds.
fn host_words(pod: &Value, injected: bool, notices: &mut Vec<String>) {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = string(&volume["name"]);
        match volume_kind(volume) {
            Ok(VolumeKind::Claim) => notices.push(format!("volume `{name}`: what is in the claim is the host's word")),
            Ok(VolumeKind::Files(kind)) if name != inject::PODINFO_VOLUME => {
                let bound = injected && kind != crate::request::FileVolume::DownwardApi;
                if !bound {
                    notices.push(format!("volume `{name}`: its files are the host's word"));
                }
            }
            _ => {}
        }
    }
    let default = |context: &Value| {
        ["seccompProfile", "appArmorProfile"].iter().any(|field| context[*field]["type"] == json!("RuntimeDefault"))
    };
    let own = containers(pod).into_iter().any(|container| default(&container["securityContext"]));
    if own || default(&pod["spec"]["securityContext"]) {
        notices.push("seccomp and AppArmor profiles are not enforced inside the guest".into());
    }
    for container in containers(pod) {
        let from = |source: &Value| !source["secretRef"].is_null() || !source["valueFrom"]["secretKeyRef"].is_null();
        let lists = [&container["env"], &container["envFrom"]];
        if lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten()).any(from) {
            notices.push(format!(
                "container `{}`: a Secret in a variable stands in the policy, where the operator can read it; \
                 `casemate secret put` keeps one from the operator",
                string(&container["name"])
            ));
        }
    }
}

/// Volumes whose files the initializer checks.
fn checked_volumes(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| Some(volume["name"].as_str()?.strip_prefix(FILES_PREFIX)?.to_owned())).collect()
}

/// The resource, the Services that lead to it, and what the user adds.
fn names(context: &Context<'_>, pod: &Value, services: &BTreeMap<&str, &Value>) -> Result<Vec<String>, GenerateError> {
    let mut names = vec![context.object.name.clone()];
    let more = list_annotation(pod, NAMES_ANNOTATION);
    for name in ingress::selecting(pod, services).into_iter().map(|(name, _)| name.to_owned()).chain(more) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in &names {
        let label = |label: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
            edge(label.chars().next())
                && edge(label.chars().last())
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !name.split('.').all(label) {
            let path = format!("metadata.annotations.{NAMES_ANNOTATION}");
            return Err(context.refuse(&path, format!("`{name}` is no DNS name"), None));
        }
    }
    Ok(names)
}

fn list_annotation(pod: &Value, key: &str) -> Vec<String> {
    let text = pod["metadata"]["annotations"][key].as_str().unwrap_or_default();
    text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

/// Secrets that the pod's programs look for, and those of its annotation.
fn wanted_secrets(context: &Context<'_>, pod: &Value) -> Result<BTreeSet<String>, GenerateError> {
    let mut secrets = BTreeSet::new();
    for container in containers(pod) {
        let strings = |field: &str| container[field].as_array().cloned().unwrap_or_default();
        let values = strings("env").into_iter().map(|variable| variable["value"].clone());
        for text in strings("command").into_iter().chain(strings("args")).chain(values) {
            let text = text.as_str().unwrap_or_default();
            for after in text.split(SECRETS_PATH).skip(1) {
                let name: String = after.chars().take_while(|c| is_secret_char(*c)).collect();
                if !name.is_empty() {
                    secrets.insert(name);
                }
            }
        }
    }
    for name in list_annotation(pod, SECRETS_ANNOTATION) {
        if !name.chars().all(is_secret_char) {
            let path = format!("metadata.annotations.{SECRETS_ANNOTATION}");
            return Err(context.refuse(&path, format!("`{name}` is no name of a secret"), None));
        }
        secrets.insert(name);
    }
    Ok(secrets)
}

fn is_secret_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// The agent enforces neither seccomp nor AppArmor profiles: one of the user's own must not be dropped in silence.
fn profile(context: &Context<'_>, profile: &Value, path: &str) -> Result<(), GenerateError> {
    match profile["type"].as_str() {
        None if profile.is_null() => Ok(()),
        Some("RuntimeDefault" | "Unconfined") => Ok(()),
        _ => {
            let hint =
                "only `RuntimeDefault` and `Unconfined` may stand there, and neither is enforced inside the guest";
            Err(context.refuse(path, "a profile that the guest would not enforce", Some(hint.into())))
        }
    }
}

/// Refuses by name what the policy could not bind.
fn check_fields(context: &Context<'_>, pod: &Value) -> Result<(), GenerateError> {
    let spec = &pod["spec"];
    schema::check(pod).map_err(|error| context.refuse(&error.path, error.reason, error.hint))?;
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[field] == json!(true) {
            let hint = "a confidential pod has its own".to_owned();
            return Err(context.refuse(&format!("spec.{field}"), "not supported", Some(hint)));
        }
    }
    for path in ["seccompProfile", "appArmorProfile"] {
        profile(context, &spec["securityContext"][path], &format!("spec.securityContext.{path}"))?;
    }
    if spec["containers"].as_array().is_none_or(Vec::is_empty) {
        return Err(context.refuse("spec.containers", "a pod needs a container", None));
    }
    let label = "letters a to z, digits and `-`, at most 63, with a letter or digit at both ends";
    for list in ["initContainers", "containers", "volumes"] {
        let mut names = BTreeSet::new();
        for (index, item) in spec[list].as_array().into_iter().flatten().enumerate() {
            let name = string(&item["name"]);
            if !is_label(&name) {
                let reason =
                    if name.is_empty() { "`name` is missing".into() } else { format!("`{name}` is no valid name") };
                return Err(context.refuse(&format!("spec.{list}[{index}]"), reason, Some(label.into())));
            }
            if !names.insert(name.clone()) {
                return Err(context.refuse(
                    &format!("spec.{list}[{index}]"),
                    format!("the name `{name}` is there twice"),
                    None,
                ));
            }
        }
    }
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let path = format!("spec.{list}.{}", string(&container["name"]));
            let security = &container["securityContext"];
            for field in ["seccompProfile", "appArmorProfile"] {
                profile(context, &security[field], &format!("{path}.securityContext.{field}"))?;
            }
            // Also where nothing is injected: the host would run the command, and the policy lets it run none.
            if container["lifecycle"].as_object().is_some_and(|hooks| !hooks.is_empty()) {
                let hint = "the policy lets the host start nothing inside a container; do it in the program itself";
                return Err(context.refuse(&format!("{path}.lifecycle"), "hooks are not supported", Some(hint.into())));
            }
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                if !container[probe]["exec"].is_null() {
                    let hint = "the policy lets the host start nothing inside a container; use `httpGet`, `tcpSocket` or \
                                `grpc`";
                    let reason = "a probe that runs a command is not supported";
                    return Err(context.refuse(&format!("{path}.{probe}"), reason, Some(hint.into())));
                }
            }
        }
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    edge(name.chars().next())
        && edge(name.chars().last())
        && name.len() <= MAX_HOSTNAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// Refuses resources whose pods would have other names or host names than the policy can say.
fn check_naming(context: &Context<'_>, pod: &Value) -> Result<(), GenerateError> {
    let object = context.object;
    let value = context.inputs.value(object);
    let refuse = |path: &str, reason: String, hint: &str| {
        Err(GenerateError::Resource {
            place: context.inputs.place(object, &path.replace('.', "/")),
            resource: object.title(),
            reason: format!("`{path}`: {reason}"),
            hint: Some(hint.to_owned()),
        })
    };
    let job = match object.kind.as_str() {
        "Job" => Some("spec.completionMode"),
        "CronJob" => Some("spec.jobTemplate.spec.completionMode"),
        _ => None,
    };
    if let Some(path) = job {
        let mode = value.pointer(&format!("/{}", path.replace('.', "/"))).unwrap_or(&Value::Null);
        if !mode.is_null() && *mode != json!("NonIndexed") {
            let reason = "the host chooses the index of a pod, and nothing binds it".to_owned();
            return refuse(path, reason, "let the program take its work from a queue, or write a Job for each index");
        }
    }
    if object.kind == "CronJob" && object.name.len() > MAX_CRON_JOB {
        let reason = format!("longer than {MAX_CRON_JOB} characters, which Kubernetes refuses for a CronJob");
        return refuse("metadata.name", reason, "the minute is added to the name");
    }
    match &pod["spec"]["hostname"] {
        Value::String(name) if !is_label(name) => {
            let hint = "letters a to z, digits and `-`, at most 63".to_owned();
            return Err(context.refuse("spec.hostname", format!("`{name}` is no host name"), Some(hint)));
        }
        Value::String(_) => {}
        _ => {
            // The kubelet cuts a host name at 63 characters and then at the last letter or digit.
            let last = value["spec"]["replicas"].as_u64().unwrap_or(1).saturating_sub(1);
            let ordinal = if object.kind == "StatefulSet" { format!("-{last}").len() } else { 0 };
            let whole = ["Pod", "StatefulSet"].contains(&object.naming.0.as_str());
            if whole && object.name.len() + ordinal > MAX_HOSTNAME {
                let reason =
                    format!("the pod's name, which is its host name, is longer than {MAX_HOSTNAME} characters");
                return refuse("metadata.name", reason, "shorten it, or set `spec.hostname`");
            }
        }
    }
    Ok(())
}

/// The claims that a StatefulSet makes for each of its pods, as the volumes that the pods will have.
fn claim_templates(context: &Context<'_>, pod: &Value) -> Result<Vec<Value>, GenerateError> {
    if context.object.kind != "StatefulSet" {
        return Ok(Vec::new());
    }
    let refuse = |index: Option<usize>, reason: String, hint: Option<&str>| {
        let path = index.map_or(String::new(), |index| format!("/{index}"));
        Err(GenerateError::Resource {
            place: context.inputs.place(context.object, &format!("spec/volumeClaimTemplates{path}")),
            resource: context.object.title(),
            reason: format!(
                "`spec.volumeClaimTemplates{}`: {reason}",
                index.map_or(String::new(), |i| format!("[{i}]"))
            ),
            hint: hint.map(str::to_owned),
        })
    };
    let templates = match &context.inputs.value(context.object)["spec"]["volumeClaimTemplates"] {
        Value::Null => return Ok(Vec::new()),
        Value::Array(templates) => templates,
        _ => return refuse(None, "not a list".into(), None),
    };
    let mut volumes: Vec<Value> = Vec::new();
    for (index, template) in templates.iter().enumerate() {
        let name = string(&template["metadata"]["name"]);
        if !is_label(&name) {
            return refuse(Some(index), format!("`{name}` is no valid `metadata.name`"), None);
        }
        if inject::is_ours(&json!(name)) {
            return refuse(Some(index), format!("the name `{name}` is reserved"), Some("choose another"));
        }
        if template["spec"]["volumeMode"] == json!("Block") {
            return refuse(Some(index), "a block device is not supported".into(), Some("leave out `volumeMode`"));
        }
        let own = pod["spec"]["volumes"].as_array().into_iter().flatten().chain(&volumes);
        if own.into_iter().any(|volume| volume["name"] == json!(name)) {
            let hint = "the claim would take the place of the other volume";
            return refuse(Some(index), format!("another volume has the name `{name}`"), Some(hint));
        }
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    }
    Ok(volumes)
}

/// Refuses volumes of the user where initializer and launcher have their files. A claim at `/casemate/bin` would
/// otherwise put the host's program in the launcher's place.
fn reserved_paths(context: &Context<'_>, pod: &Value) -> Result<(), GenerateError> {
    let covers = |path: &str| {
        let path = clean(path);
        let at_or_below = |inner: &str, outer: &str| {
            inner == outer || outer == "/" || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
        };
        RESERVED_PATHS.iter().find(|own| at_or_below(&path, own) || at_or_below(own, &path))
    };
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let path = format!("spec.{list}.{}", string(&container["name"]));
            let mounts = container["volumeMounts"].as_array().into_iter().flatten().enumerate();
            let mounts = mounts.map(|(index, mount)| (format!("volumeMounts[{index}].mountPath"), &mount["mountPath"]));
            let log = ("terminationMessagePath".to_owned(), &container["terminationMessagePath"]);
            for (field, value) in mounts.chain([log]) {
                let Some(text) = value.as_str() else { continue };
                // The kubelet takes a relative path for one from the root.
                let absolute = format!("/{}", text.trim_start_matches('/'));
                if let Some(own) = covers(&absolute) {
                    let reason = format!("`{text}` reaches `{own}`, which belongs to the initializer and the launcher");
                    let hint = "choose another path; secrets are in `/casemate/secrets` without a volume".to_owned();
                    return Err(context.refuse(&format!("{path}.{field}"), reason, Some(hint)));
                }
            }
        }
    }
    Ok(())
}

/// Refuses mounts below a volume whose content is the host's: a symbolic link in it, where the mount is to be, would
/// lead the mount anywhere, the launcher's directory included.
fn below_the_hosts(
    context: &Context<'_>,
    pod: &Value,
    container: &Value,
    request: &Value,
) -> Result<(), GenerateError> {
    let of_host = |mount: &&Value| {
        let volume = mount["mountPath"].as_str().and_then(|path| mount_volume(pod, container, path));
        volume.is_some_and(|volume| matches!(volume_kind(volume), Ok(VolumeKind::Claim | VolumeKind::Files(_))))
    };
    for mount in container["volumeMounts"].as_array().into_iter().flatten().filter(of_host) {
        let outer = clean(mount["mountPath"].as_str().unwrap_or_default());
        let all = request["OCI"]["Mounts"].as_array().into_iter().flatten();
        let below = |inner: &&str| clean(inner).strip_prefix(&outer).is_some_and(|rest| rest.starts_with('/'));
        if let Some(inner) = all.filter_map(|mount| mount["destination"].as_str()).find(below) {
            let path = format!("spec.containers.{}.volumeMounts", string(&container["name"]));
            let reason = format!(
                "`{inner}` is mounted inside `{outer}`, whose content is the host's: a link there would lead the mount elsewhere"
            );
            let hint = "mount it beside and not inside the claim".to_owned();
            return Err(context.refuse(&path, reason, Some(hint)));
        }
    }
    Ok(())
}

/// Writes the paths of mounts as they are meant: the rules compare text, and `/data/` hides `/data/x` from them.
fn clean_paths(pod: &mut Value, notices: &mut Vec<String>) {
    for list in ["initContainers", "containers"] {
        let items = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in items.into_iter().flatten() {
            let name = string(&container["name"]);
            let mounts = container.get_mut("volumeMounts").and_then(Value::as_array_mut);
            for mount in mounts.into_iter().flatten() {
                let Some(path) = mount["mountPath"].as_str().filter(|path| path.starts_with('/')) else { continue };
                let cleaned = clean(path);
                if cleaned != path {
                    notices
                        .push(format!("container `{name}`: `mountPath: {path}` became `{cleaned}`, which is the same"));
                    mount["mountPath"] = json!(cleaned);
                }
            }
        }
    }
}

/// The ConfigMaps and Secrets that a pod refers to, and no others: a namespace may hold thousands.
fn referenced(inputs: &Inputs, namespace: &str, pod: &Value) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let (mut maps, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    let mut take = |kind: &str, name: &Value| {
        let Some(name) = name.as_str() else { return };
        let found = if kind == "ConfigMap" { &mut maps } else { &mut secrets };
        if !found.contains_key(name)
            && let Some(object) = inputs.find(kind, namespace, name)
        {
            found.insert(name.to_owned(), object.clone());
        }
    };
    for container in containers(pod) {
        for variable in container["env"].as_array().into_iter().flatten() {
            take("ConfigMap", &variable["valueFrom"]["configMapKeyRef"]["name"]);
            take("Secret", &variable["valueFrom"]["secretKeyRef"]["name"]);
        }
        for source in container["envFrom"].as_array().into_iter().flatten() {
            take("ConfigMap", &source["configMapRef"]["name"]);
            take("Secret", &source["secretRef"]["name"]);
        }
    }
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        take("ConfigMap", &volume["configMap"]["name"]);
        take("Secret", &volume["secret"]["secretName"]);
    }
    (maps, secrets)
}
