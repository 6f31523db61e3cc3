//! Says why the rules refuse a request. It decides nothing: it runs after a refusal, over the same values that the
//! rules compared, and names each field that differs.

mod copy;
mod devices;
mod differ;
mod exec;
mod mounts;
mod network;
mod other;

use serde_json::{Map, Value, json};

use differ::{Differ, matches};

/// The values that the rules compare with.
pub(crate) struct Rules {
    pub(crate) data: Value,
    pub(crate) expected: Expected,
    pub(crate) annotation_patterns: Value,
    pub(crate) shm_storage: Value,
    pub(crate) masked_paths: Value,
    pub(crate) masked_paths_of_newer_hosts: Value,
    pub(crate) readonly_paths: Value,
    pub(crate) namespaces: Value,
    pub(crate) sysctls_of_newer_hosts: Value,
    pub(crate) service_variables: Value,
    pub(crate) copy_dir_modes: Value,
    pub(crate) network: Value,
    pub(crate) ip: Value,
}

/// What the rules make of the record of one container, in their short forms.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) record: Value,
    pub(crate) mounts: Value,
    pub(crate) storages: Value,
    pub(crate) capabilities: Value,
    pub(crate) images: Value,
}

/// LIMIT: a log line for each request; whoever needs more fixes the first twenty.
const MAX_REASONS: usize = 20;

/// What is wrong with a request that was refused.
pub(crate) fn reasons(rules: &Rules, state: &Map<String, Value>, endpoint: &str, request: &Value) -> Vec<String> {
    let mut differ = Differ::default();
    match endpoint {
        "CreateContainerRequest" => create_container(&mut differ, rules, state, request),
        "CreateSandboxRequest" => create_sandbox(&mut differ, rules, state, request),
        _ => other::reasons(&mut differ, rules, state, endpoint, request),
    }
    let mut reasons = differ.reasons;
    if reasons.len() > MAX_REASONS {
        let more = reasons.len() - MAX_REASONS;
        reasons.truncate(MAX_REASONS);
        reasons.push(format!("and {more} more"));
    }
    reasons
}

fn create_sandbox(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, request: &Value) {
    if state.contains_key("sandbox") {
        differ.say("the sandbox is already there");
    }
    differ.id("sandbox_id", &request["sandbox_id"]);
    differ.pattern("hostname", &request["hostname"], &rules.data["hostname"]);
    differ.equal("sandbox_pidns", &request["sandbox_pidns"], &rules.data["pidns"]);
    storages(differ, &json!([rules.shm_storage]), &request["storages"], &Value::Null);
    differ.empty_besides("", request, &["sandbox_id", "hostname", "dns", "sandbox_pidns", "storages"]);
}

fn create_container(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, request: &Value) {
    let annotations = &request["OCI"]["Annotations"];
    if !annotations.is_object() {
        return differ.say("OCI.Annotations: missing");
    }
    let path = |key: &str| format!("OCI.Annotations.{key}");
    let (type_key, name_key) = ("io.kubernetes.cri.container-type", "io.kubernetes.cri.container-name");
    let cid = request["container_id"].as_str().unwrap_or_default();
    let sandbox = state.get("sandbox").and_then(Value::as_str).unwrap_or_default();
    match annotations[type_key].as_str() {
        Some("sandbox") => {
            if state.contains_key("pod") {
                differ.say("the pause container is already live");
            }
            if sandbox.is_empty() {
                differ.say("there is no sandbox yet");
            } else {
                differ.equal("container_id", &request["container_id"], &json!(sandbox));
            }
            let (name, uid) = ("io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-uid");
            differ.pattern(&path(name), &annotations[name], &rules.data["pod"]);
            differ.pattern(&path(uid), &annotations[uid], &json!("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"));
            let hostname = state.get("hostname").unwrap_or(&Value::Null);
            differ.equal("OCI.Hostname", &request["OCI"]["Hostname"], hostname);
            let short = annotations[name].as_str().map(|name| name.chars().take(63).collect::<String>());
            if rules.data["completions"].is_u64() {
                index(differ, &path(name), state, &annotations[name]);
            } else if rules.data["hostname_is_fixed"] != json!(true) && short.as_deref() != hostname.as_str() {
                differ.equal(&path(name), &annotations[name], hostname);
            }
            sysctls(differ, &rules.data["sysctl"], &rules.sysctls_of_newer_hosts, &request["OCI"]["Linux"]["Sysctl"]);
            container(differ, rules, state, request, "sandbox");
        }
        Some("container") => {
            let known = rules.data["containers"].as_object();
            let record = annotations[name_key].as_str().and_then(|name| known.and_then(|known| known.get(name)));
            if record.is_none() {
                let names: Vec<_> = known.into_iter().flatten().map(|(name, _)| format!("{name:?}")).collect();
                let got = differ::show(&annotations[name_key]);
                return differ.say(format!("{}: got {got}, policy has {}", path(name_key), names.join(", ")));
            }
            let name = annotations[name_key].as_str().unwrap_or_default();
            if state.contains_key(&format!("live:{name}")) {
                differ.say(format!("container {name} is already live"));
            }
            if cid == sandbox || state.contains_key(&format!("used:{cid}")) {
                differ.say("container_id: a container had this id before, and each gets one of its own");
            }
            for (key, kept) in [("io.kubernetes.cri.sandbox-name", "pod"), ("io.kubernetes.cri.sandbox-uid", "uid")] {
                match state.get(kept) {
                    Some(value) => differ.equal(&path(key), &annotations[key], value),
                    None => differ.say("there is no pause container yet"),
                }
            }
            differ.equal("OCI.Hostname", &request["OCI"]["Hostname"], &json!(""));
            differ.equal("OCI.Linux.Sysctl", &request["OCI"]["Linux"]["Sysctl"], &json!({}));
            container(differ, rules, state, request, "container");
        }
        _ => differ.say(format!(
            "{}: got {}, policy has \"sandbox\", \"container\"",
            path(type_key),
            differ::show(&annotations[type_key])
        )),
    }
}

fn container(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, request: &Value, kind: &str) {
    let oci = &request["OCI"];
    let expected = &rules.expected;
    let cid = request["container_id"].as_str().unwrap_or_default();
    differ.id("container_id", &request["container_id"]);
    differ.equal("exec_id", &request["exec_id"], &request["container_id"]);
    differ.equal("sandbox_pidns", &request["sandbox_pidns"], &rules.data["pidns"]);
    let mut known = vec!["container_id", "exec_id", "storages", "OCI", "sandbox_pidns", "stdout_port", "stderr_port"];
    if !expected.record["gpus"].is_null() {
        devices::reasons(differ, rules, state, request);
        known.push("devices");
    }
    differ.empty_besides("", request, &known);
    let root = format!("/run/kata-containers/{cid}/rootfs");
    let root = json!({"Path": root, "Readonly": expected.record["readonly_root"]});
    differ.equal("OCI.Root", &oci["Root"], &root);
    differ.pattern("OCI.Version", &oci["Version"], &json!("^1\\.[0-9]+\\.[0-9]+(-rc\\.[0-9]+)?$"));
    let known = ["Version", "Process", "Root", "Hostname", "Mounts", "Annotations", "Linux"];
    differ.empty_besides("OCI", oci, &known);
    annotations(differ, rules, state, kind, &oci["Annotations"]);
    process(differ, state, rules, &oci["Process"]);
    mounts::mounts(differ, &mounts::wanted(&expected.mounts, cid), &oci["Mounts"]);
    storages(differ, &expected.storages, &request["storages"], &oci["Annotations"]);
    linux(differ, rules, &oci["Linux"], cid);
}

fn annotations(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, kind: &str, given: &Value) {
    let mut required = rules.data["annotations"].as_object().cloned().unwrap_or_default();
    required.insert("io.katacontainers.pkg.oci.container_type".into(), json!(format!("pod_{kind}")));
    let sandbox = state.get("sandbox").cloned().unwrap_or_default();
    required.insert("io.kubernetes.cri.sandbox-id".into(), sandbox);
    required.insert("io.kubernetes.cri.sandbox-namespace".into(), rules.data["namespace"].clone());
    for (key, value) in &required {
        differ.equal(&format!("OCI.Annotations.{key}"), &given[key.as_str()], value);
    }
    // Compared with the state and with the names of containers already.
    let mut known =
        vec!["io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-uid"];
    if let Some(images) = rules.expected.images.as_array() {
        differ.one_of(&format!("OCI.Annotations.{IMAGE_NAME}"), &given[IMAGE_NAME], images);
        known.extend([IMAGE_NAME, "io.kubernetes.cri.container-name"]);
    }
    for (key, value) in given.as_object().into_iter().flatten() {
        let path = format!("OCI.Annotations.{key}");
        if required.contains_key(key) || known.contains(&key.as_str()) {
            continue;
        }
        if devices::is_annotation(&rules.expected.record, key) {
            continue;
        }
        match &rules.annotation_patterns[key] {
            Value::Null => differ.unexpected(&path, value),
            pattern => differ.pattern(&path, value, pattern),
        }
    }
}

/// The annotation that names a container's image.
const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";

fn process(differ: &mut Differ, state: &Map<String, Value>, rules: &Rules, given: &Value) {
    if !given.is_object() {
        return differ.say("OCI.Process: missing");
    }
    let record = &rules.expected.record;
    let fields = [("Terminal", "terminal"), ("Cwd", "cwd"), ("NoNewPrivileges", "no_new_privileges")];
    for (field, name) in fields {
        differ.equal(&format!("OCI.Process.{field}"), &given[field], &record[name]);
    }
    arguments(differ, state, rules, record, &given["Args"]);
    user(differ, "OCI.Process.User", &record["user"], &given["User"]);
    let sets = ["Bounding", "Effective", "Permitted"];
    for set in sets {
        let path = format!("OCI.Process.Capabilities.{set}");
        differ.same(&path, &given["Capabilities"][set], &rules.expected.capabilities);
    }
    differ.empty_besides("OCI.Process.Capabilities", &given["Capabilities"], &sets);
    differ.pattern(
        "OCI.Process.ApparmorProfile",
        &given["ApparmorProfile"],
        &json!("^(cri-containerd\\.apparmor\\.d)?$"),
    );
    let known =
        ["Terminal", "User", "Args", "Env", "Cwd", "Capabilities", "NoNewPrivileges", "ApparmorProfile", "OOMScoreAdj"];
    differ.empty_besides("OCI.Process", given, &known);
    environment(differ, "OCI.Process.Env", state, rules, record, &given["Env"]);
}

/// Arguments that hold values of the cluster are compared with their patterns, all others with what is written.
fn arguments(differ: &mut Differ, state: &Map<String, Value>, rules: &Rules, record: &Value, given: &Value) {
    let mut wanted = record["args"].clone();
    for (index, pattern) in record["args_from"].as_object().into_iter().flatten() {
        let Some((index, pattern)) = index.parse::<usize>().ok().zip(pattern.as_str()) else { continue };
        let (Some(wanted), Some(given)) = (wanted.get_mut(index), given.get(index)) else { continue };
        let fits = given.as_str().is_some_and(|given| matches(&with_values(pattern, state, rules), given));
        *wanted = if fits { given.clone() } else { json!(pattern) };
    }
    differ.equal("OCI.Process.Args", given, &wanted);
}

/// What the rules make of a pattern with `$(ip)` and its like in it.
fn with_values(pattern: &str, state: &Map<String, Value>, rules: &Rules) -> String {
    let ip = rules.ip.as_str().unwrap_or_default();
    let kept = |key: &str| state.get(key).and_then(Value::as_str).unwrap_or_default().replace('.', "\\.");
    pattern
        .replace("$(hostname)", &kept("hostname"))
        .replace("$(pod-name)", &kept("pod"))
        .replace("$(pod-uid)", &kept("uid"))
        .replace("$(node-name)", "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
        .replace("$(ips)", &format!("{ip}(,{ip})?"))
        .replace("$(ip)", ip)
        .replace("$(index)", &index_of(state))
}

/// The index of a pod of an Indexed Job: what its host name ends with.
fn index_of(state: &Map<String, Value>) -> String {
    let hostname = state.get("hostname").and_then(Value::as_str).unwrap_or_default();
    hostname.rsplit('-').next().unwrap_or_default().to_owned()
}

/// The pod of an Indexed Job has the index of its host name in its own name.
fn index(differ: &mut Differ, at: &str, state: &Map<String, Value>, name: &Value) {
    let (hostname, index) = (state.get("hostname").and_then(Value::as_str).unwrap_or_default(), index_of(state));
    let start = name.as_str().and_then(|name| name.rsplit_once('-')).and_then(|(start, _)| start.rsplit_once('-'));
    if start.is_none_or(|(job, given)| given != index || !hostname.starts_with(job)) {
        let got = differ::show(name);
        differ.say(format!("{at}: got {got}, policy has index {index} of the host name `{hostname}`"));
    }
}

/// `wanted` is user, group, and all groups.
fn user(differ: &mut Differ, at: &str, wanted: &Value, given: &Value) {
    differ.equal(&format!("{at}.UID"), &given["UID"], &wanted[0]);
    differ.equal(&format!("{at}.GID"), &given["GID"], &wanted[1]);
    differ.same(&format!("{at}.AdditionalGids"), &given["AdditionalGids"], &wanted[2]);
    differ.empty_besides(at, given, &["UID", "GID", "AdditionalGids"]);
}

fn environment(
    differ: &mut Differ,
    at: &str,
    state: &Map<String, Value>,
    rules: &Rules,
    record: &Value,
    given: &Value,
) {
    let Some(variables) = given.as_array() else { return differ.say(format!("{at}: missing")) };
    let split = |variable: &'_ Value| -> Option<(String, String)> {
        let text = variable.as_str()?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Some((name.to_owned(), value.to_owned()))
    };
    let fixed: Map<String, Value> =
        record["env"].as_array().into_iter().flatten().filter_map(split).map(|(n, v)| (n, json!(v))).collect();
    let patterns: Vec<_> = rules.service_variables.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_service_variable =
        |variable: &Value| patterns.iter().any(|pattern| matches(pattern, variable.as_str().unwrap_or_default()));
    let mut seen: Vec<String> = Vec::new();
    for (index, variable) in variables.iter().enumerate() {
        let Some((name, value)) = split(variable) else {
            differ.say(format!("{at}[{index}]: not text"));
            continue;
        };
        let path = format!("{at}.{name}");
        if seen.contains(&name) {
            differ.say(format!("{path}: there twice"));
            continue;
        }
        if let Some(wanted) = fixed.get(&name) {
            differ.equal(&path, &json!(value), wanted);
        } else if let Some(kind) = record["env_from"][&name].as_str() {
            let ip = rules.ip.as_str().unwrap_or_default();
            let mut kept = |key: &str| differ.equal(&path, &json!(value), state.get(key).unwrap_or(&Value::Null));
            match kind {
                "hostname" => kept("hostname"),
                "pod-name" => kept("pod"),
                "pod-uid" => kept("uid"),
                "index" => differ.equal(&path, &json!(value), &json!(index_of(state))),
                "ip" if matches(&format!("^{ip}$"), &value) => {}
                "ips" if matches(&format!("^{ip}(,{ip})?$"), &value) => {}
                pattern if pattern.starts_with('^') && matches(&with_values(pattern, state, rules), &value) => {}
                pattern if pattern.starts_with('^') => {
                    differ.say(format!("{path}: got {value:?}, policy has `{pattern}`"));
                }
                "node-name" if matches("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", &value) => {}
                kind => differ.say(format!("{path}: got {value:?}, policy has a value of kind `{kind}`")),
            }
        } else if !is_service_variable(&json!(format!("{name}={value}"))) {
            differ.unexpected(&path, &json!(value));
        }
        seen.push(name);
    }
    let wanted = fixed.keys().chain(record["env_from"].as_object().into_iter().flatten().map(|(name, _)| name));
    for name in wanted.filter(|name| !seen.contains(name)) {
        differ.say(format!("{at}.{name}: missing"));
    }
}

/// The storages of the rules, root file system first, as the agent gets them.
fn wanted_storages(rows: &Value) -> Vec<Value> {
    let fields = ["driver", "source", "fstype", "options", "mount_point"];
    let storage = |row: &Value| -> Value {
        fields.iter().enumerate().map(|(index, field)| ((*field).to_owned(), row[index].clone())).collect()
    };
    let mut storages: Vec<Value> = rows.as_array().into_iter().flatten().map(storage).collect();
    storages.sort_by_key(|storage| storage["driver"] != "image_guest_pull");
    storages
}

fn storages(differ: &mut Differ, wanted: &Value, given: &Value, annotations: &Value) {
    let Some(given) = given.as_array() else { return differ.say("storages: missing") };
    let wanted = wanted_storages(wanted);
    let mut taken = vec![false; wanted.len()];
    for (index, storage) in given.iter().enumerate() {
        let path = format!("storages[{index}]");
        if let Some(layer) = layer_of_host(storage) {
            differ.say(format!("{path}: {layer}, which no policy allows yet: the guest pulls images itself"));
            continue;
        }
        let point = &storage["mount_point"];
        // A storage at another place is compared with the one that would have stood there.
        let found = wanted.iter().position(|wanted| wanted["mount_point"] == *point);
        let found = found.or_else(|| (index < wanted.len()).then_some(index));
        let Some((policy, taken)) = found.and_then(|found| Some((wanted.get(found)?, taken.get_mut(found)?))) else {
            differ.unexpected(&path, storage);
            continue;
        };
        if *taken {
            differ.say(format!("{path}.mount_point: {point} is there twice"));
            continue;
        }
        *taken = true;
        for field in ["driver", "source", "fstype", "options", "mount_point"] {
            differ.equal(&format!("{path}.{field}"), &storage[field], &policy[field]);
        }
        let known = ["driver", "driver_options", "source", "fstype", "options", "mount_point"];
        differ.empty_besides(&path, storage, &known);
        driver_options(differ, &format!("{path}.driver_options"), storage, annotations);
    }
    for (storage, taken) in wanted.iter().zip(taken) {
        if !taken {
            differ.say(format!("storages: {} missing", storage["mount_point"].as_str().unwrap_or_default()));
        }
    }
}

/// What a host calls an image layer that it attaches to the guest itself.
fn layer_of_host(storage: &Value) -> Option<&'static str> {
    let options: Vec<_> = storage["options"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let any = |start: &str| options.iter().any(|option| option.starts_with(start));
    let is = |field: &str, start: &str| storage[field].as_str().is_some_and(|text| text.starts_with(start));
    if is("driver", "erofs") || is("fstype", "erofs") || any("X-kata.") {
        return Some("an EROFS layer with a dm-verity root hash of the host");
    }
    any("io.katacontainers.fs-opt.").then_some("a layer with a dm-verity root hash of the host")
}

fn driver_options(differ: &mut Differ, path: &str, storage: &Value, annotations: &Value) {
    let options = &storage["driver_options"];
    if storage["driver"] != json!("image_guest_pull") {
        return differ.equal(path, options, &json!([]));
    }
    let one = options.as_array().filter(|options| options.len() == 1).and_then(|options| options.first());
    let text = one.and_then(Value::as_str).and_then(|text| text.strip_prefix("image_guest_pull="));
    let pull: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    let Some(metadata) = pull.as_ref().and_then(|pull| pull["metadata"].as_object()) else {
        return differ.say(format!("{path}: not one `image_guest_pull={{\"metadata\":…}}`"));
    };
    if let Some(pull) = &pull {
        differ.empty_besides(path, pull, &["metadata"]);
    }
    if !metadata.contains_key("io.kubernetes.cri.container-type") {
        differ.say(format!("{path}.metadata.io.kubernetes.cri.container-type: missing"));
    }
    for (key, value) in metadata {
        let path = format!("{path}.metadata.{key}");
        match annotations.get(key) {
            Some(annotation) => differ.equal(&path, value, annotation),
            None if key.starts_with("containerd.io/") => {}
            None => differ.unexpected(&path, value),
        }
    }
}

fn linux(differ: &mut Differ, rules: &Rules, given: &Value, cid: &str) {
    if !given.is_object() {
        return differ.say("OCI.Linux: missing");
    }
    differ.same("OCI.Linux.Namespaces", &given["Namespaces"], &rules.namespaces);
    let paths = [
        ("MaskedPaths", &rules.masked_paths, &rules.masked_paths_of_newer_hosts),
        ("ReadonlyPaths", &rules.readonly_paths, &Value::Null),
    ];
    for (field, wanted, optional) in paths {
        let optional = optional.as_array().map(Vec::as_slice).unwrap_or_default();
        let path = format!("OCI.Linux.{field}");
        let mut trimmed = given[field].clone();
        if let Some(items) = trimmed.as_array_mut() {
            for known in optional {
                if let Some(index) = items.iter().position(|item| item == known) {
                    items.remove(index);
                }
            }
        }
        differ.same(&path, &trimmed, wanted);
    }
    let cgroups = json!(format!("^/?kubepods[a-z0-9_.:/-]*[/:]{cid}$"));
    differ.pattern("OCI.Linux.CgroupsPath", &given["CgroupsPath"], &cgroups);
    if given["CgroupsPath"].as_str().is_some_and(|path| path.contains("..")) {
        differ.say("OCI.Linux.CgroupsPath: must not hold `..`");
    }
    if given["Resources"].is_object() {
        differ.empty_besides("OCI.Linux.Resources", &given["Resources"], &["Memory", "CPU"]);
    } else {
        differ.say("OCI.Linux.Resources: missing");
    }
    let known = ["Namespaces", "MaskedPaths", "ReadonlyPaths", "CgroupsPath", "Resources", "Sysctl"];
    differ.empty_besides("OCI.Linux", given, &known);
}

fn sysctls(differ: &mut Differ, wanted: &Value, optional: &Value, given: &Value) {
    let Some(given) = given.as_object() else { return differ.say("OCI.Linux.Sysctl: missing") };
    for (key, value) in wanted.as_object().into_iter().flatten() {
        differ.equal(&format!("OCI.Linux.Sysctl.{key}"), given.get(key).unwrap_or(&Value::Null), value);
    }
    for (key, value) in given {
        if wanted.get(key).is_none() && optional.get(key) != Some(value) {
            differ.unexpected(&format!("OCI.Linux.Sysctl.{key}"), value);
        }
    }
}
