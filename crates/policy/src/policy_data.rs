//! The values of one pod that the rules compare a request with, derived from the requests that the pod leads to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::images::ImageConfig;
use crate::request::{
    self, COPIED_PREFIX, MARK, PodInstance, RequestError, SERVICE_ACCOUNT, VolumeKind, container_request, is_passed_on,
    mount_volume, mounted_file, pause_request, pod_pattern, sandbox_request, symbolic_container_id, volume_kind,
};

/// The rules, equal for all pods, as they are meant to be read.
pub(crate) const RULES: &str = include_str!("rules.rego");

/// Whether the policies of platform `local` let the host read what containers write. Without it `casemate logs` shows
/// nothing.
pub(crate) const LOCAL_OPENS_LOGS: bool = true;

/// What a policy lets the host do beyond running the pod. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Openings {
    /// The host may read what the user's containers write.
    pub(crate) logs: bool,
    /// Argument lists of commands that the host may run, by container. Initializer and mesh run none, whatever is here.
    pub(crate) exec: BTreeMap<String, Vec<Vec<String>>>,
    /// Volumes of claims whose contents the host copies into the guest.
    pub(crate) copied_claims: BTreeSet<String>,
}

impl Openings {
    /// Those of platform `local`.
    #[cfg(test)]
    pub(crate) fn local() -> Self {
        Self { logs: LOCAL_OPENS_LOGS, ..Self::default() }
    }
}

/// A container with the configuration of its image.
pub(crate) struct PolicyContainer<'a> {
    /// The element of `spec.containers` or `spec.initContainers`.
    pub(crate) container: &'a Value,
    /// Its image.
    pub(crate) image: &'a ImageConfig,
    /// Whether the host may signal it.
    pub(crate) signals: bool,
}

/// What a policy is made from.
pub(crate) struct PolicyInputs<'a> {
    /// `Deployment`, `Pod`, …
    pub(crate) kind: &'a str,
    /// `metadata.name` of the resource.
    pub(crate) name: &'a str,
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// The pod or pod template.
    pub(crate) pod: &'a Value,
    /// Its containers, init containers first.
    pub(crate) containers: Vec<PolicyContainer<'a>>,
    /// Names of Services whose environment variables may be there.
    pub(crate) services: Vec<String>,
    /// ConfigMaps and Secrets of the namespace.
    pub(crate) config: &'a PodInstance,
    /// What the host may do beyond running the pod.
    pub(crate) openings: Openings,
}

/// The policy of a pod: the rules and the pod's values.
pub(crate) fn policy(inputs: &PolicyInputs<'_>) -> Result<String, RequestError> {
    Ok(render(&policy_data(inputs)?))
}

/// The rules as they travel with each pod: the readable ones without comments, blank lines and margins. A decision is
/// the same by either, and the hardware measures these.
pub(crate) fn embedded_rules() -> String {
    // No line of a text in quotes or backquotes ends in the rules, so that a line is code or comment as a whole.
    let lines = RULES.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The text of a policy. Objects have a line for each member, and lists of text stand on one line while they are short:
/// that is how people read them.
pub(crate) fn render(data: &Value) -> String {
    let mut out = embedded_rules() + "policy_data := ";
    write_value(&mut out, data, 0);
    out.push('\n');
    out
}

/// Short lines are good to read.
/// LIMIT: regorus refuses lines beyond 1024 columns by default.
const MAX_COLUMNS: usize = 180;

fn write_value(out: &mut String, value: &Value, depth: usize) {
    let (open, close, items): (_, _, Vec<(String, &Value)>) = match value {
        Value::Object(fields) => {
            ('{', '}', fields.iter().map(|(key, value)| (format!("{}: ", json!(key)), value)).collect())
        }
        Value::Array(items) => ('[', ']', items.iter().map(|item| (String::new(), item)).collect()),
        value => return out.push_str(&value.to_string()),
    };
    if is_flat(value) && value.to_string().len() + depth <= MAX_COLUMNS {
        return out.push_str(&value.to_string());
    }
    let margin = |depth: usize| " ".repeat(depth);
    out.push_str(&format!("{open}\n"));
    for (index, (key, item)) in items.iter().enumerate() {
        out.push_str(&format!("{}{key}", margin(depth + 1)));
        write_value(out, item, depth + 1);
        out.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
    }
    out.push_str(&format!("{}{close}", margin(depth)));
}

/// Whether a value is good to read on one line: it holds no objects, and no lists but of plain values.
fn is_flat(value: &Value) -> bool {
    let plain = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Object(fields) => {
            fields.values().all(|value| plain(value) || value.as_array().is_some_and(|l| l.iter().all(plain)))
        }
        Value::Array(items) => items.iter().all(plain),
        _ => true,
    }
}

/// The data alone.
pub(crate) fn policy_data(inputs: &PolicyInputs<'_>) -> Result<Value, RequestError> {
    let pod = inputs.pod;
    let fixed_hostname = pod["spec"]["hostname"].as_str();
    let mut instance = PodInstance::symbolic(inputs.namespace, fixed_hostname);
    instance.config_maps.clone_from(&inputs.config.config_maps);
    instance.secrets.clone_from(&inputs.config.secrets);
    let cid = symbolic_container_id();

    let mut copies = Copies::default();
    let mut sandboxed = instance.clone();
    sandboxed.sandbox_id.clone_from(&cid);
    let pause_request = pause_request(pod, &sandboxed);
    copies.add(pod, &Value::Null, &pause_request, &inputs.openings)?;
    let mut pause = record(&pause_request, "sandbox", pod);
    let mut containers = Map::new();
    let mut signals = Vec::new();
    for PolicyContainer { container, image, signals: signalled } in &inputs.containers {
        let request = container_request(pod, container, image, &instance, &cid)?;
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        if *signalled {
            signals.push(name.clone());
        }
        copies.add(pod, container, &request, &inputs.openings)?;
        let mut record = record(&request, "container", pod);
        if let Some(exec) = inputs.openings.exec.get(&name).filter(|exec| *signalled && !exec.is_empty()) {
            record["exec"] = json!(exec);
        }
        if containers.insert(name.clone(), record).is_some() {
            let reason = "two containers have this name".into();
            return Err(RequestError::Invalid { path: format!("containers.{name}"), reason });
        }
    }
    let mut of_containers = json!({"mounts": take_common_mounts(containers.values_mut().collect())});
    let mounts = take_common_mounts(vec![&mut of_containers, &mut pause]);
    let pattern = pod_pattern(inputs.kind, inputs.name);
    let hostname = fixed_hostname.map_or_else(|| pattern.clone(), |name| format!("^{}$", escape(name)));
    let mut services = vec!["KUBERNETES".to_owned()];
    if pod["spec"]["enableServiceLinks"].as_bool().unwrap_or(request::SERVICE_LINKS_DEFAULT) {
        services.extend(inputs.services.iter().map(|name| name.to_uppercase().replace('-', "_")));
        services.sort();
        services.dedup();
    }
    let sandbox = sandbox_request(pod, &instance);
    Ok(json!({
        "namespace": inputs.namespace,
        "pod": pattern,
        "hostname": hostname,
        "hostname_is_fixed": fixed_hostname.is_some(),
        "pidns": sandbox["sandbox_pidns"],
        "sandbox_storages": storages(&sandbox),
        "services": services,
        "signals": signals,
        "logs": inputs.openings.logs,
        "copies": {"files": copies.files, "trees": copies.trees},
        "mounts": mounts,
        "container_mounts": of_containers["mounts"],
        "pause": pause,
        "containers": containers,
    }))
}

/// The marks of a symbolic request as the rules write them: `$(cid)`.
fn template(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    let mut out = String::new();
    for (index, part) in text.split(MARK).enumerate() {
        if index % 2 == 1 {
            out.push_str(&format!("$({part})"));
        } else {
            out.push_str(part);
        }
    }
    Value::String(out)
}

/// The base names of what the host copies into the guest for a pod.
#[derive(Default)]
struct Copies {
    /// Of single files.
    files: BTreeSet<String>,
    /// Of directories with what is below them.
    trees: BTreeSet<String>,
}

impl Copies {
    /// Adds what one container mounts.
    fn add(
        &mut self,
        pod: &Value,
        container: &Value,
        request: &Value,
        openings: &Openings,
    ) -> Result<(), RequestError> {
        for mount in request["OCI"]["Mounts"].as_array().into_iter().flatten() {
            let source = template(&mount["source"]);
            let base = source.as_str().and_then(|source| source.strip_prefix(COPIED_PREFIX));
            let Some(base) = base.and_then(|rest| rest.strip_prefix("$(cid)-$(rand)-")) else { continue };
            let destination = mount["destination"].as_str().unwrap_or_default();
            let names = match mount_volume(pod, container, destination) {
                Some(_) if mounted_file(container, destination).is_some() => Some(&mut self.files),
                Some(volume) => match volume_kind(volume)? {
                    VolumeKind::Claim => {
                        let name = volume["name"].as_str().unwrap_or_default();
                        openings.copied_claims.contains(name).then_some(&mut self.trees)
                    }
                    _ => Some(&mut self.trees),
                },
                None if destination == SERVICE_ACCOUNT => Some(&mut self.trees),
                None => Some(&mut self.files),
            };
            if let Some(names) = names {
                names.insert(base.to_owned());
            }
        }
        Ok(())
    }
}

/// The spellings under which a host may name an image: that of the pod's YAML, and without the tag.
fn image_names(reference: &str) -> Vec<String> {
    let mut names = vec![reference.to_owned()];
    if let Some((name, digest)) = reference.split_once('@') {
        let (path, last) = name.rsplit_once('/').map_or((None, name), |(path, last)| (Some(path), last));
        if let Some((last, _)) = last.split_once(':') {
            let path = path.map(|path| format!("{path}/")).unwrap_or_default();
            names.push(format!("{path}{last}@{digest}"));
        }
    }
    names
}

/// The storages of a request but the image's, which the rules know for every container.
fn storages(request: &Value) -> Vec<Value> {
    let all = request["storages"].as_array().into_iter().flatten();
    all.filter(|storage| storage["driver"] != json!("image_guest_pull"))
        .map(|storage| {
            json!({
                "driver": storage["driver"],
                "source": storage["source"],
                "fstype": storage["fstype"],
                "options": storage["options"],
                "mount_point": template(&storage["mount_point"]),
            })
        })
        .collect()
}

/// The annotation that names a container's image, and that the shim pulls by.
const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";

/// What the rules compare of one request.
fn record(request: &Value, kind: &str, pod: &Value) -> Value {
    let oci = &request["OCI"];
    let process = &oci["Process"];
    let (mut env, mut env_from) = (Vec::new(), Map::new());
    for variable in process["Env"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if value.contains(MARK) {
            env_from.insert(name.to_owned(), json!(value.trim_matches(MARK)));
        } else {
            env.push(variable);
        }
    }
    let mut mounts = Vec::new();
    for mount in oci["Mounts"].as_array().into_iter().flatten() {
        let mut mount = mount.clone();
        mount["source"] = template(&mount["source"]);
        mounts.push(mount);
    }
    let mut annotations = Map::new();
    // What is passed on stands in the specification of every container of the pod. The initdata annotation cannot hold
    // itself; what it says is bound by the hardware's field.
    let own = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let own = own.filter(|(key, _)| is_passed_on(key) && *key != protocol::initdata::ANNOTATION);
    annotations.extend(own.map(|(key, value)| (key.clone(), value.clone())));
    if kind != "sandbox" {
        let key = "io.kubernetes.cri.container-name";
        annotations.insert(key.to_owned(), oci["Annotations"][key].clone());
    }
    let user = &process["User"];
    let mut record = json!({
        "type": kind,
        "annotations": annotations,
        "args": process["Args"],
        "env": env,
        "env_from": env_from,
        "cwd": process["Cwd"],
        "user": {"UID": user["UID"], "GID": user["GID"], "AdditionalGids": user["AdditionalGids"]},
        "capabilities": process["Capabilities"]["Bounding"],
        "no_new_privileges": process["NoNewPrivileges"],
        "terminal": process["Terminal"],
        "readonly_root": oci["Root"]["Readonly"],
        "mounts": mounts,
        "storages": storages(request),
    });
    if kind == "sandbox" {
        record["sysctl"] = oci["Linux"]["Sysctl"].clone();
    } else {
        record["images"] = json!(image_names(oci["Annotations"][IMAGE_NAME].as_str().unwrap_or_default()));
    }
    record
}

/// Takes the mounts that all of several records have out of them, so that they are written once.
fn take_common_mounts(records: Vec<&mut Value>) -> Vec<Value> {
    let mounts = |record: &Value| record["mounts"].as_array().cloned().unwrap_or_default();
    let mut common = records.first().map(|record| mounts(record)).unwrap_or_default();
    for record in &records {
        let own = mounts(record);
        common.retain(|mount| own.contains(mount));
    }
    for record in records {
        if let Some(mounts) = record["mounts"].as_array_mut() {
            mounts.retain(|mount| !common.contains(mount));
        }
    }
    common
}

/// Names of Kubernetes objects hold letters, digits, `-` and `.`; only the dot means something to a pattern.
fn escape(name: &str) -> String {
    name.replace('.', "\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_the_names_of_their_pods_and_no_others() {
        let mut engine = regorus::Engine::new();
        let mut fits = |pattern: &str, name: &str| {
            engine.set_input(regorus::Value::from(vec![pattern.into(), name.into()]));
            engine.eval_bool_query("regex.match(input[0], input[1])".into(), false).unwrap()
        };
        for kind in ["Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"] {
            for length in [1, 5, 40, 45, 46, 47, 50, 57, 58, 63] {
                let resource = json!({"kind": kind, "metadata": {"name": "x".repeat(length)}});
                let pattern = pod_pattern(kind, &"x".repeat(length));
                for index in 0..20 {
                    let name = request::pod_name(&resource, index);
                    assert!(fits(&pattern, &name), "{pattern}: {name}");
                }
                for other in ["y", "", "x/y", "xX", "other-7c9d8f6b5d-abcde"] {
                    assert!(!fits(&pattern, other), "{pattern}: {other}");
                }
            }
        }
        assert!(!fits(&pod_pattern("Pod", "a.b"), "axb"));
        assert!(!fits(&pod_pattern("StatefulSet", "web"), "web-0-evil"));
        assert!(!fits(&pod_pattern("Deployment", "web"), "web-admin-7c9d8f6b5d-abcde"));
    }

    #[test]
    fn no_line_is_too_long_for_the_engines_that_are_out_there() {
        // Kata's released agents hold revisions of regorus that refuse lines beyond 1024 columns.
        assert!(RULES.lines().all(|line| line.len() <= 120), "{:?}", RULES.lines().find(|line| line.len() > 120));
        let long: Vec<_> = (0..1000).map(|number| format!("argument {number}")).collect();
        let data =
            json!({ "args": long, "mounts": [{"options": long.clone()}, {"options": ["ro"], "x": {"y": [[]]}}] });
        assert!(render(&data).lines().all(|line| line.len() <= MAX_COLUMNS + 40));
        let json = render(&data).split_once("policy_data := ").map(|(_, json)| json.to_owned()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), data);
    }

    /// The data of a pod whose every volume is mounted at a place of the given name.
    fn data(pod: &Value, openings: Openings) -> Value {
        let config = PodInstance::default();
        let image = ImageConfig::default();
        let containers = pod["spec"]["containers"].as_array().unwrap();
        policy_data(&PolicyInputs {
            kind: "Pod",
            name: "p",
            namespace: "default",
            pod,
            containers: containers
                .iter()
                .map(|container| PolicyContainer { container, image: &image, signals: container["name"] != "mesh" })
                .collect(),
            services: vec![],
            config: &config,
            openings,
        })
        .unwrap()
    }

    fn pod() -> Value {
        let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
        json!({"metadata": {"name": "p"}, "spec": {
            "automountServiceAccountToken": true,
            "containers": [
                {"name": "app", "image": "r.example:5000/a/b:1@sha256:00", "command": ["/a"],
                 "terminationMessagePath": "/run/last-words",
                 "volumeMounts": [mount("map", "/etc/conf/hosts"), mount("secret", "/keys"), mount("info", "/info"),
                                  mount("claim", "/data/"), mount("memory", "/memory"), mount("empty", "/empty")]},
                {"name": "mesh", "image": "b@sha256:00", "command": ["/b"]},
            ],
            "volumes": [
                {"name": "map", "configMap": {"name": "m"}}, {"name": "secret", "secret": {"secretName": "s"}},
                {"name": "info", "downwardAPI": {}}, {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "memory", "emptyDir": {"medium": "Memory"}}, {"name": "empty", "emptyDir": {}},
            ],
        }})
    }

    #[test]
    fn copies_are_the_kubelets_files_and_the_trees_of_volumes() {
        let files = json!(["hostname", "hosts", "last-words", "resolv.conf", "termination-log"]);
        let data = |openings| data(&pod(), openings)["copies"].clone();
        let trees = json!(["hosts", "info", "keys", "serviceaccount"]);
        assert_eq!(data(Openings::default()), json!({"files": files, "trees": trees}));
        // A claim is in the guest where the user wants the host to fill it, and no other volume for that.
        let copied_claims = |names: &[&str]| Openings {
            copied_claims: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Openings::default()
        };
        let trees = json!(["data", "hosts", "info", "keys", "serviceaccount"]);
        assert_eq!(data(copied_claims(&["claim"])), json!({"files": files, "trees": trees}));
        assert_eq!(data(copied_claims(&["c", "memory", "empty", "other"])), data(Openings::default()));
    }

    #[test]
    fn nothing_is_open_that_was_not_opened() {
        let closed = data(&pod(), Openings::default());
        assert_eq!(closed["logs"], json!(false));
        assert_eq!(closed["signals"], json!(["app"]));
        assert!(closed["containers"].as_object().unwrap().values().all(|container| container.get("exec").is_none()));
        assert_eq!(data(&pod(), Openings::local())["logs"], json!(true));

        let commands = vec![vec!["/check".to_owned(), "--deep".to_owned()]];
        let exec = ["app", "mesh", "other"].map(|name| (name.to_owned(), commands.clone())).into();
        let open = data(&pod(), Openings { exec, ..Openings::default() });
        assert_eq!(open["containers"]["app"]["exec"], json!([["/check", "--deep"]]));
        assert_eq!(open["containers"]["mesh"].get("exec"), None);
        assert_eq!(open["logs"], json!(false));
    }

    #[test]
    fn an_image_is_known_with_and_without_its_tag() {
        for (reference, names) in [
            ("r.example:5000/a/b:1@sha256:00", vec!["r.example:5000/a/b:1@sha256:00", "r.example:5000/a/b@sha256:00"]),
            ("b:1.2@sha256:00", vec!["b:1.2@sha256:00", "b@sha256:00"]),
            ("r.example:5000/b@sha256:00", vec!["r.example:5000/b@sha256:00"]),
            ("b@sha256:00", vec!["b@sha256:00"]),
            ("b", vec!["b"]),
            ("", vec![""]),
        ] {
            assert_eq!(image_names(reference), names, "{reference}");
        }
        assert_eq!(
            data(&pod(), Openings::default())["containers"]["app"]["images"],
            json!(["r.example:5000/a/b:1@sha256:00", "r.example:5000/a/b@sha256:00"])
        );
    }
}
