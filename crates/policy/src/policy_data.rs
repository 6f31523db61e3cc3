//! The values of one pod that the rules compare a request with, derived from the requests that the pod leads to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::images::ImageConfig;
use crate::request::{
    self, COPIED_PREFIX, DEFAULT_CAPABILITIES, MARK, PodInstance, RequestError, SERVICE_ACCOUNT, VolumeKind, commands,
    container_request, gpus_of, is_passed_on, mount_volume, mounted_file, pause_request, pod_pattern,
    symbolic_container_id, volume_kind,
};

mod rules;

#[cfg(test)]
pub(crate) use rules::embedded_rules;
pub(crate) use rules::{VALUES, all_rules, is_refused_without_rule, read_values, readable_rules, render};

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
    #[cfg(any(test, fuzzing))]
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
    /// How many pods with an index each the resource makes, if it makes such pods.
    pub(crate) completions: Option<u32>,
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
    let pause = pause_request(pod, &sandboxed);
    copies.add(pod, &Value::Null, &pause, &inputs.openings)?;
    let mut containers = Map::new();
    let mut signals = Vec::new();
    let mut volumes = Volumes::default();
    for PolicyContainer { container, image, signals: signalled } in &inputs.containers {
        let request = container_request(pod, container, image, &instance, &cid)?;
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        if *signalled {
            signals.push(name.clone());
        }
        copies.add(pod, container, &request, &inputs.openings)?;
        let mut record = record(&request);
        record["mounts"] = json!(volumes.rows(&name, &request, &instance, &cid)?);
        let gpus = gpus_of(container, pod)?;
        if gpus > 0 {
            record["gpus"] = json!(gpus);
        }
        // What the kubelet runs for probes and hooks, and what was opened besides.
        let mut exec = inputs.openings.exec.get(&name).cloned().unwrap_or_default();
        exec.extend(commands(container).into_iter().filter(|command| !exec.contains(command)).collect::<Vec<_>>());
        if *signalled && !exec.is_empty() {
            record["exec"] = json!(exec);
        }
        if containers.insert(name.clone(), record).is_some() {
            let reason = "two containers have this name".into();
            return Err(RequestError::Invalid { path: format!("containers.{name}"), reason });
        }
    }
    let (pattern, hostname) = match inputs.completions {
        Some(completions) => request::patterns(inputs.kind, inputs.name, completions),
        None => {
            let pattern = pod_pattern(inputs.kind, inputs.name);
            let fixed = fixed_hostname.map(|name| format!("^{}$", escape(name)));
            (pattern.clone(), fixed.unwrap_or(pattern))
        }
    };
    let mut services = vec!["KUBERNETES".to_owned()];
    if pod["spec"]["enableServiceLinks"].as_bool().unwrap_or(request::SERVICE_LINKS_DEFAULT) {
        services.extend(inputs.services.iter().map(|name| name.to_uppercase().replace('-', "_")));
        services.sort();
        services.dedup();
    }
    // What is passed on stands in the specification of every container of the pod. The initdata annotation cannot hold
    // itself; what it says is bound by the hardware's field.
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let annotations = annotations.filter(|(key, _)| is_passed_on(key) && *key != protocol::initdata::ANNOTATION);
    let annotations: Map<_, _> = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut data = json!({
        "namespace": inputs.namespace,
        "pod": pattern,
        "hostname": hostname,
        "hostname_is_fixed": fixed_hostname.is_some(),
        "pidns": pause["sandbox_pidns"],
        "services": services,
        "signals": signals,
        "logs": inputs.openings.logs,
        "copies": {"files": copies.files, "trees": copies.trees},
        "annotations": annotations,
        "sysctl": pause["OCI"]["Linux"]["Sysctl"],
        "volume_options": volumes.options,
        "containers": containers,
    });
    if let Some(completions) = inputs.completions {
        data["completions"] = json!(completions);
    }
    // The pause container runs as its image's user unless the pod has another, or further groups.
    let user = &pause["OCI"]["Process"]["User"];
    let user = json!([user["UID"], user["GID"], user["AdditionalGids"]]);
    if user != json!([65535, 65535, [65535]]) {
        data["pause_user"] = user;
    }
    Ok(data)
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

/// What the rules compare a variable with whose value the cluster knows: a kind of value, or a pattern where there is
/// text around it. `None` for text alone.
fn of_cluster(value: &str) -> Option<Value> {
    let kind = value.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(MARK));
    match kind.filter(|kind| !kind.contains(MARK)) {
        Some(kind) => Some(json!(kind)),
        None => pattern(value),
    }
}

/// Letters that mean something to a pattern. Older engines refuse a backslash before any other.
pub(crate) const PATTERN_LETTERS: &str = r"\.+*?()|[]{}^$#&-~";

/// The pattern of text with values of the cluster in it: `^--ip=$(ip)$`, in which the rules replace what is in brackets.
/// Letters that mean something to a pattern are escaped, so that no `$(` is left of what the user wrote.
fn pattern(text: &str) -> Option<Value> {
    if !text.contains(MARK) {
        return None;
    }
    let mut out = String::from("^");
    for (index, part) in text.split(MARK).enumerate() {
        if index % 2 == 1 {
            out.push_str(&format!("$({part})"));
            continue;
        }
        for letter in part.chars() {
            if PATTERN_LETTERS.contains(letter) {
                out.push('\\');
            }
            out.push(letter);
        }
    }
    out.push('$');
    Some(Value::String(out))
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

/// The spelling of an image without its tag, where it has one. Older hosts name images so.
pub(crate) fn without_tag(reference: &str) -> Option<String> {
    let (name, digest) = reference.split_once('@')?;
    let (path, last) = name.rsplit_once('/').map_or((None, name), |(path, last)| (Some(path), last));
    let (last, _) = last.split_once(':')?;
    let path = path.map(|path| format!("{path}/")).unwrap_or_default();
    Some(format!("{path}{last}@{digest}"))
}

/// The annotation that names a container's image, and that the shim pulls by.
const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";

/// What the rules compare of one request, mounts aside.
fn record(request: &Value) -> Value {
    let oci = &request["OCI"];
    let process = &oci["Process"];
    let (mut env, mut env_from) = (Vec::new(), Map::new());
    for variable in process["Env"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        match of_cluster(value) {
            Some(from) => drop(env_from.insert(name.to_owned(), from)),
            None => env.push(variable),
        }
    }
    let arguments = process["Args"].as_array().into_iter().flatten();
    let args: Vec<_> = arguments.clone().map(template).collect();
    let args_from: Map<_, _> = arguments
        .enumerate()
        .filter_map(|(index, argument)| Some((index.to_string(), pattern(argument.as_str()?)?)))
        .collect();
    let capabilities: Vec<_> =
        process["Capabilities"]["Bounding"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let capabilities = if capabilities == DEFAULT_CAPABILITIES {
        json!("default")
    } else {
        json!(capabilities.iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name)).collect::<Vec<_>>())
    };
    let user = &process["User"];
    let mut record = json!({
        "image": oci["Annotations"][IMAGE_NAME],
        "args": args,
        "env": env,
        "env_from": env_from,
        "cwd": process["Cwd"],
        "user": [user["UID"], user["GID"], user["AdditionalGids"]],
        "capabilities": capabilities,
        "no_new_privileges": process["NoNewPrivileges"],
        "terminal": process["Terminal"],
        "readonly_root": oci["Root"]["Readonly"],
        "mounts": [],
    });
    if !args_from.is_empty() {
        record["args_from"] = Value::Object(args_from);
    }
    record
}

/// A type of volume that the rules know by name: where it lies, and driver and source of the storage that the agent
/// makes there.
pub(crate) struct VolumeType {
    /// What the values call it.
    pub(crate) name: &'static str,
    /// What comes before the name of the volume in the source of a mount.
    pub(crate) at: &'static str,
    /// Nothing where there is no storage.
    pub(crate) storage: Option<(&'static str, &'static str)>,
}

/// The types of volumes, as `volume_types` of the rules has them.
pub(crate) const VOLUME_TYPES: [VolumeType; 3] = [
    VolumeType { name: "memory", at: "/run/kata-containers/sandbox/ephemeral/", storage: Some(("ephemeral", "tmpfs")) },
    VolumeType {
        name: "local",
        at: "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/",
        storage: Some(("local", "local")),
    },
    VolumeType { name: "copied", at: "/run/kata-containers/shared/containers/$(cid)-$(rand)-", storage: None },
];

/// Mounts and storages in the short form of the rules.
#[derive(Default)]
struct Volumes {
    /// The options of the storages of a type, which are the same for all of a pod.
    options: BTreeMap<&'static str, Value>,
    /// What every container mounts whose root is read-only, and every one whose root is not.
    everyones: BTreeMap<bool, Vec<Value>>,
}

impl Volumes {
    /// What a container mounts besides what each has.
    fn rows(
        &mut self,
        name: &str,
        request: &Value,
        instance: &PodInstance,
        cid: &str,
    ) -> Result<Vec<Value>, RequestError> {
        let unsupported = |what: String| RequestError::Unsupported { path: format!("containers.{name}"), what };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let readonly = request["OCI"]["Root"]["Readonly"] == json!(true);
        let everyones = match self.everyones.entry(readonly) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(mounts_of_everyone(readonly, instance, cid)?),
        };
        let mut storages = list(&request["storages"]);
        storages.retain(|storage| storage["driver"] != json!("image_guest_pull"));
        let mut rows = Vec::new();
        for mount in list(&request["OCI"]["Mounts"]).iter().filter(|mount| !everyones.contains(mount)) {
            let row = row(mount).ok_or_else(|| unsupported(format!("mount {}", mount["destination"])))?;
            if let Some(index) = storages.iter().position(|storage| storage["mount_point"] == mount["source"]) {
                let storage = storages.remove(index);
                let of_type = VOLUME_TYPES.iter().find(|known| row[1] == *known.name && is_of(&storage, known));
                let known =
                    of_type.map(|of_type| self.options.entry(of_type.name).or_insert(storage["options"].clone()));
                if known.is_none_or(|options| *options != storage["options"]) {
                    return Err(unsupported(format!("the storage of mount {}", mount["destination"])));
                }
            }
            rows.push(row);
        }
        // One that is mounted twice is one storage, and was taken with the first mount.
        match storages.first() {
            Some(storage) => Err(unsupported(format!("storage {} without a mount", storage["mount_point"]))),
            None => Ok(rows),
        }
    }
}

fn is_of(storage: &Value, of_type: &VolumeType) -> bool {
    of_type.storage.is_some_and(|(driver, source)| {
        storage["driver"] == driver && storage["source"] == source && storage["fstype"] == source
    })
}

/// What the rules mount for every container: what one has that asks for nothing.
fn mounts_of_everyone(readonly: bool, instance: &PodInstance, cid: &str) -> Result<Vec<Value>, RequestError> {
    let plain = json!({
        "name": "plain", "image": "plain", "command": ["/plain"], "terminationMessagePath": PLAIN_LOG,
        "securityContext": {"readOnlyRootFilesystem": readonly},
    });
    let pod = json!({"spec": {"containers": [plain]}});
    let request = container_request(&pod, &plain, &ImageConfig::default(), instance, cid)?;
    let mut mounts = request["OCI"]["Mounts"].as_array().cloned().unwrap_or_default();
    mounts.retain(|mount| mount["destination"] != json!(PLAIN_LOG));
    Ok(mounts)
}

/// A path for last words at which nothing else is mounted: where a container writes them is its own.
const PLAIN_LOG: &str = "/\u{1}";

/// A mount in the short form of the rules. There is none for what the rules could not tell from something else.
fn row(mount: &Value) -> Option<Value> {
    let source = template(&mount["source"]);
    let source = source.as_str()?;
    let options: Vec<_> = mount["options"].as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let (destination, of_mount) = (&mount["destination"], &mount["type_"]);
    if let ("bind", ["rbind", "rprivate", access]) = (of_mount.as_str()?, options.as_slice()) {
        let named = |of_type: &VolumeType| Some((of_type.name, source.strip_prefix(of_type.at)?));
        if let Some((of_type, name)) = VOLUME_TYPES.iter().find_map(named).filter(|(_, name)| !name.contains('/')) {
            return Some(json!([destination, of_type, name, access]));
        }
    }
    let is_plain = !source.contains("$(") && !options.iter().any(|option| option.contains(','));
    is_plain.then(|| json!([destination, of_mount, source, options.join(",")]))
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
        let long = all_rules().lines().find(|line| line.len() > 120).map(str::to_owned);
        assert_eq!(long, None);
        let long: Vec<_> = (0..1000).map(|number| format!("argument {number}")).collect();
        let data =
            json!({ "args": long, "mounts": [{"options": long.clone()}, {"options": ["ro"], "x": {"y": [[]]}}] });
        assert!(render(&data).lines().all(|line| line.len() <= rules::MAX_COLUMNS + 40));
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
            completions: None,
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
    fn an_image_has_a_spelling_without_its_tag() {
        for (reference, other) in [
            ("r.example:5000/a/b:1@sha256:00", Some("r.example:5000/a/b@sha256:00")),
            ("b:1.2@sha256:00", Some("b@sha256:00")),
            ("r.example:5000/b@sha256:00", None),
            ("b@sha256:00", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(without_tag(reference).as_deref(), other, "{reference}");
            // The rules find the same.
            let policy = render(&data(&pod(), Openings::default()));
            let mut engine = regorus::Engine::new();
            engine.add_policy("policy".into(), policy).unwrap();
            let query = format!("data.agent_policy.images_of({})", json!({"image": reference}));
            let names = engine.eval_query(query, false).unwrap().result[0].expressions[0].value.clone();
            let mut wanted: Vec<_> = [Some(reference), other].into_iter().flatten().collect();
            wanted.sort_unstable();
            assert_eq!(serde_json::to_value(&names).unwrap(), json!(wanted), "{reference}");
        }
    }

    /// What this module and `describe` know of the types of volumes is what the rules know.
    #[test]
    fn the_rules_have_the_same_types_of_volumes() {
        let mut engine = regorus::Engine::new();
        engine.add_policy("policy".into(), render(&data(&pod(), Openings::default()))).unwrap();
        engine.add_data_json(r#"{"pstate": {"sandbox": "$(sandbox)"}}"#).unwrap();
        engine.set_input_json("{}").unwrap();
        let types = serde_json::to_value(engine.eval_rule("data.agent_policy.volume_types".into()).unwrap()).unwrap();
        assert_eq!(types.as_object().unwrap().len(), VOLUME_TYPES.len());
        for known in VOLUME_TYPES {
            let at = types[known.name]["at"].as_str().unwrap();
            if known.name == "copied" {
                assert_eq!(at, "copied:");
            } else {
                assert_eq!(at, known.at);
            }
            let storage = known.storage.map(|(driver, source)| json!([driver, source, source]));
            assert_eq!(types[known.name].get("storage"), storage.as_ref(), "{}", known.name);
        }
    }

    /// Old engines refuse lines of 1024 columns.
    #[test]
    fn long_text_stands_on_several_lines() {
        for long in ["x".repeat(5000), "\n\"\\ä".repeat(900), "concat(\"\", [\"a\"])".repeat(200)] {
            let mut pod = pod();
            pod["spec"]["containers"][0]["args"] = json!([long, "concat(\"\", ["]);
            pod["spec"]["containers"][0]["env"] = json!([{"name": "LONG", "value": long}]);
            let data = data(&pod, Openings::default());
            let policy = render(&data);
            assert!(policy.lines().all(|line| line.len() < 1000));
            let (_, text) = policy.split_once("\npolicy_data := ").unwrap();
            assert_eq!(read_values(text), Some(data.clone()));
            let mut engine = regorus::Engine::new();
            engine.add_policy("policy".into(), policy).unwrap();
            let read = engine.eval_rule("data.agent_policy.policy_data".into()).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), data);
        }
        for text in ["{\"a\": concat(\"\", [\"x\"]", "{\"a\": concat(\"\", [1])}", "concat(\"\", ", "\"", ""] {
            assert_eq!(read_values(text), None, "{text}");
        }
    }
}
