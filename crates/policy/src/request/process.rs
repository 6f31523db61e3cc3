//! The process of a container: arguments, environment, user, capabilities.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DEFAULT_CAPABILITIES, MARK, PodInstance, RequestError, mounts, text};
use crate::images::{ImageConfig, UserError};

/// Kubernetes tells pods of the Services around them unless `enableServiceLinks` is false.
pub const SERVICE_LINKS_DEFAULT: bool = true;

/// The search path of a process whose image sets none (containerd's default).
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// LIMIT: user ids are 32 bits on Linux, and Kubernetes refuses beyond 2^31-1.
const MAX_ID: u64 = i32::MAX as u64;

pub(super) fn capability_sets<S: AsRef<str>>(capabilities: &[S]) -> Value {
    let set: Vec<_> = capabilities.iter().map(AsRef::as_ref).collect();
    json!({"Bounding": set, "Effective": set, "Inheritable": [], "Permitted": set, "Ambient": []})
}

pub(super) fn process(
    pod: &Value,
    container: &Value,
    image: &ImageConfig,
    instance: &PodInstance,
    path: &str,
) -> Result<Value, RequestError> {
    let env = Environment::new(pod, container, instance, path)?;
    let tty = container["tty"] == json!(true);
    let context = &container["securityContext"];
    for field in ["procMount", "seLinuxOptions", "windowsOptions"] {
        if !context[field].is_null() && context[field] != json!("Default") {
            return Err(RequestError::Unsupported {
                path: format!("{path}.securityContext"),
                what: format!("`{field}`"),
            });
        }
    }
    if context["privileged"] == json!(true) {
        let path = format!("{path}.securityContext.privileged");
        return Err(RequestError::Unsupported { path, what: "a privileged container".into() });
    }
    let cwd = [text(container, "workingDir"), Some(image.working_dir.as_str()).filter(|dir| !dir.is_empty())];
    let cwd = cwd.into_iter().flatten().next().unwrap_or("/");
    Ok(json!({
        "Terminal": tty,
        "ConsoleSize": null,
        "User": user(pod, container, image, path)?,
        "Args": arguments(container, image, &env, path)?,
        "Env": env.all(image, instance, tty),
        "Cwd": mounts::clean(cwd),
        "Capabilities": capability_sets(&capabilities(context, path)?),
        "Rlimits": [],
        "NoNewPrivileges": context["allowPrivilegeEscalation"] == json!(false),
        "ApparmorProfile": "",
        "OOMScoreAdj": 1000,
        "SelinuxLabel": "",
    }))
}

fn strings(container: &Value, field: &str, path: &str) -> Result<Vec<String>, RequestError> {
    let invalid = || RequestError::Invalid { path: format!("{path}.{field}"), reason: "not a list of strings".into() };
    match &container[field] {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(invalid)).collect(),
        _ => Err(invalid()),
    }
}

/// `command` and `args` against the image: a command of the pod drops both of the image, arguments of the pod drop
/// the image's arguments.
pub(crate) fn argv(
    container: &Value,
    image: &ImageConfig,
    path: &str,
) -> Result<(Vec<String>, Vec<String>), RequestError> {
    let (command, args) = (strings(container, "command", path)?, strings(container, "args", path)?);
    let (command, args) = match (command.is_empty(), args.is_empty()) {
        (false, _) => (command, args),
        (true, false) => (image.entrypoint.clone(), args),
        (true, true) => (image.entrypoint.clone(), image.cmd.clone()),
    };
    if command.is_empty() && args.is_empty() {
        return Err(RequestError::Missing {
            path: path.to_owned(),
            what: "`command` (the image has none either)".into(),
        });
    }
    Ok((command, args))
}

fn arguments(
    container: &Value,
    image: &ImageConfig,
    env: &Environment,
    path: &str,
) -> Result<Vec<String>, RequestError> {
    let (command, args) = argv(container, image, path)?;
    // References are resolved in what the pod says, not in what the image says.
    let own = |field: &str, values: Vec<String>| -> Vec<String> {
        let given = container[field].as_array().is_some_and(|items| !items.is_empty());
        if given { values.iter().map(|value| env.expand(value)).collect() } else { values }
    };
    let mut all = own("command", command);
    all.extend(own("args", args));
    if let Some(index) = all.iter().position(|argument| argument.contains(MARK)) {
        let path = format!("{path}.args[{index}]");
        return Err(RequestError::Unsupported {
            path,
            what: "a reference to a value that only the cluster knows".into(),
        });
    }
    Ok(all)
}

/// The environment that a pod asks for, references resolved.
struct Environment {
    values: Vec<(String, String)>,
    services: Vec<(String, String)>,
}

impl Environment {
    fn new(pod: &Value, container: &Value, instance: &PodInstance, path: &str) -> Result<Self, RequestError> {
        let links = pod["spec"]["enableServiceLinks"].as_bool().unwrap_or(SERVICE_LINKS_DEFAULT);
        let mut services = instance.service_env.clone();
        services.retain(|(name, _)| links || name.starts_with("KUBERNETES_"));
        let mut env = Self { values: Vec::new(), services };
        for (index, source) in container["envFrom"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.envFrom[{index}]");
            let prefix = source["prefix"].as_str().unwrap_or_default();
            let (object, reference) = match (&source["configMapRef"], &source["secretRef"]) {
                (reference @ Value::Object(_), _) => (&instance.config_maps, reference),
                (_, reference @ Value::Object(_)) => (&instance.secrets, reference),
                _ => return Err(RequestError::Unsupported { path, what: "this source".into() }),
            };
            let Some(object) = referenced(object, reference, &path)? else { continue };
            for key in keys(object) {
                let value = plain_value(object, &key, &path)?;
                env.set(&format!("{prefix}{key}"), value.unwrap_or_default());
            }
        }
        for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.env[{index}]");
            let Some(name) = text(variable, "name") else {
                return Err(RequestError::Missing { path, what: "`name`".into() });
            };
            if name.contains('=') || name.contains(MARK) {
                return Err(RequestError::Invalid { path, reason: "a name must not hold `=`".into() });
            }
            let value = match (&variable["valueFrom"], &variable["value"]) {
                (Value::Object(from), _) => value_from(from, pod, container, instance, &path)?,
                (_, Value::String(value)) => Some(env.expand(value)),
                (_, Value::Null) => Some(String::new()),
                _ => return Err(RequestError::Invalid { path, reason: "`value` is not a string".into() }),
            };
            if let Some(value) = value {
                env.set(name, value);
            }
        }
        for (name, value) in &env.values {
            let marked = value.contains(MARK);
            let whole = value.len() > 2 && value.starts_with(MARK) && value.trim_matches(MARK).len() + 2 == value.len();
            if marked && (!whole || value.trim_matches(MARK).contains(MARK)) {
                let path = format!("{path}.env.{name}");
                let what = "text around a value that only the cluster knows";
                return Err(RequestError::Unsupported { path, what: what.into() });
            }
        }
        Ok(env)
    }

    fn set(&mut self, name: &str, value: String) {
        match self.values.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.values.push((name.to_owned(), value)),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let own = self.values.iter().find(|(known, _)| known == name);
        own.or_else(|| self.services.iter().find(|(known, _)| known == name)).map(|(_, value)| value.as_str())
    }

    /// Kubernetes' `$(NAME)`: `$$` is a dollar sign, and an unknown name stays as it is.
    fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                match self.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.push_str(&format!("$({name})")),
                }
                rest = tail;
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        out
    }

    /// Image first, then the host name, then the pod, then Services; a later value takes an earlier one's place.
    fn all(&self, image: &ImageConfig, instance: &PodInstance, tty: bool) -> Vec<String> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => all.push((name.to_owned(), value.to_owned())),
        };
        let has_path = image.env.iter().any(|variable| variable.starts_with("PATH="));
        for variable in (!has_path).then_some(DEFAULT_PATH).into_iter().chain(image.env.iter().map(String::as_str)) {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            set(name, value);
        }
        if tty {
            set("TERM", "xterm");
        }
        set("HOSTNAME", &instance.hostname);
        for (name, value) in &self.values {
            set(name, value);
        }
        for (name, value) in &self.services {
            if self.values.iter().all(|(own, _)| own != name) {
                set(name, value);
            }
        }
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// The object behind a reference; `None` when it is optional and absent.
fn referenced<'a>(
    objects: &'a BTreeMap<String, Value>,
    reference: &Value,
    path: &str,
) -> Result<Option<&'a Value>, RequestError> {
    let name = reference["name"].as_str().unwrap_or_default();
    match objects.get(name) {
        Some(object) => Ok(Some(object)),
        None if reference["optional"] == json!(true) => Ok(None),
        None => Err(RequestError::Missing { path: path.to_owned(), what: format!("`{name}` among the inputs") }),
    }
}

fn keys(object: &Value) -> Vec<String> {
    let fields = ["data", "stringData"].into_iter().filter_map(|field| object[field].as_object());
    let mut keys: Vec<_> = fields.flatten().map(|(key, _)| key.clone()).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The text of one key of a ConfigMap or Secret.
fn plain_value(object: &Value, key: &str, path: &str) -> Result<Option<String>, RequestError> {
    use base64::Engine as _;
    if let Some(value) = object["stringData"][key].as_str() {
        return Ok(Some(value.to_owned()));
    }
    let Some(value) = object["data"][key].as_str() else { return Ok(None) };
    if object["kind"] != json!("Secret") {
        return Ok(Some(value.to_owned()));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.trim()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(|| RequestError::Invalid {
        path: path.to_owned(),
        reason: format!("`{key}` is not base64 of text"),
    })
}

fn value_from(
    from: &serde_json::Map<String, Value>,
    pod: &Value,
    container: &Value,
    instance: &PodInstance,
    path: &str,
) -> Result<Option<String>, RequestError> {
    let reference = |kind: &str, objects: &BTreeMap<String, Value>| -> Option<Result<Option<String>, RequestError>> {
        let reference = from.get(kind)?;
        Some(referenced(objects, reference, path).and_then(|object| {
            let Some(object) = object else { return Ok(None) };
            let key = reference["key"].as_str().unwrap_or_default();
            match plain_value(object, key, path)? {
                None if reference["optional"] != json!(true) => {
                    Err(RequestError::Missing { path: path.to_owned(), what: format!("key `{key}`") })
                }
                value => Ok(value),
            }
        }))
    };
    if let Some(value) = reference("configMapKeyRef", &instance.config_maps) {
        return value;
    }
    if let Some(value) = reference("secretKeyRef", &instance.secrets) {
        return value;
    }
    if let Some(field) = from.get("fieldRef").and_then(|reference| reference["fieldPath"].as_str()) {
        let metadata = |kind: &str| -> Option<Option<String>> {
            let key = field.strip_prefix(&format!("metadata.{kind}['"))?.strip_suffix("']")?;
            Some(pod["metadata"][kind][key].as_str().map(str::to_owned))
        };
        let value = match field {
            "metadata.name" => Some(instance.name.clone()),
            "metadata.namespace" => Some(instance.namespace.clone()),
            "metadata.uid" => Some(instance.uid.clone()),
            "spec.nodeName" => Some(instance.node_name.clone()),
            "spec.serviceAccountName" => Some(text(&pod["spec"], "serviceAccountName").unwrap_or("default").to_owned()),
            "status.podIP" | "status.podIPs" => Some(instance.pod_ip.clone()),
            "status.hostIP" | "status.hostIPs" => Some(instance.host_ip.clone()),
            _ => match metadata("labels").or_else(|| metadata("annotations")) {
                Some(value) => Some(value.unwrap_or_default()),
                None => {
                    return Err(RequestError::Unsupported { path: path.to_owned(), what: format!("field `{field}`") });
                }
            },
        };
        return Ok(value);
    }
    if let Some(reference) = from.get("resourceFieldRef") {
        let resource = reference["resource"].as_str().unwrap_or_default();
        let other = reference["containerName"].as_str().is_some_and(|name| Some(name) != container["name"].as_str());
        let divisor = reference["divisor"].as_str().unwrap_or("0");
        let limit = resource
            .strip_prefix("limits.")
            .map(|name| &container["resources"]["limits"][name])
            .or_else(|| resource.strip_prefix("requests.").map(|name| &container["resources"]["requests"][name]));
        let amount = limit.and_then(quantity);
        if other || !["0", "1"].contains(&divisor) || amount.is_none() {
            return Err(RequestError::Unsupported { path: path.to_owned(), what: format!("resource `{resource}`") });
        }
        // The API rounds up to whole units.
        return Ok(amount.map(|milli| milli.div_ceil(1000).to_string()));
    }
    Err(RequestError::Unsupported { path: path.to_owned(), what: "this `valueFrom`".into() })
}

/// A Kubernetes quantity in thousandths.
fn quantity(value: &Value) -> Option<u128> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000 * 1000,
        "M" => 1000 * 1000_u128.pow(2),
        "G" => 1000 * 1000_u128.pow(3),
        "T" => 1000 * 1000_u128.pow(4),
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // LIMIT: nine decimals are more than any quantity of the API keeps.
    let fraction: String = fraction.chars().take(9).collect();
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    Some(digits.checked_mul(factor)?.div_ceil(scale))
}

/// Limits of the container's cgroup. Not bound: too little of either costs the service, never its security.
pub(super) fn resources(container: &Value) -> Value {
    let limit = |name: &str| quantity(&container["resources"]["limits"][name]);
    let request = quantity(&container["resources"]["requests"]["cpu"]).or_else(|| limit("cpu"));
    let memory = limit("memory").map_or(0, |milli| milli / 1000);
    let quota = limit("cpu").map_or(0, |milli| milli * 100);
    let shares = request.map_or(2, |milli| (milli * 1024 / 1000).max(2));
    let number = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
    json!({
        "Devices": [],
        "Memory": {"Limit": number(memory), "Reservation": 0, "Swap": 0, "Kernel": 0, "KernelTCP": 0,
            "Swappiness": 0, "DisableOOMKiller": false},
        "CPU": {"Shares": number(shares), "Quota": number(quota), "Period": 100_000, "RealtimeRuntime": 0,
            "RealtimePeriod": 0, "Cpus": "", "Mems": ""},
        "Pids": null,
        "BlockIO": null,
        "HugepageLimits": [],
        "Network": null,
    })
}

/// The kubelet hands containerd the image's user without its group, or the pod's `runAsUser`; the rest is for
/// containerd to look up in the image's `/etc/passwd` and `/etc/group`, as [`crate::images::Users`] does.
fn user(pod: &Value, container: &Value, image: &ImageConfig, path: &str) -> Result<Value, RequestError> {
    let (own, shared) = (&container["securityContext"], &pod["spec"]["securityContext"]);
    let id = |field: &str| -> Result<Option<u64>, RequestError> {
        let value = if own[field].is_null() { &shared[field] } else { &own[field] };
        match value {
            Value::Null => Ok(None),
            value => value.as_u64().filter(|id| *id <= MAX_ID).map(Some).ok_or_else(|| RequestError::Invalid {
                path: format!("{path}.securityContext.{field}"),
                reason: "not a user or group number".into(),
            }),
        }
    };
    let pod_user = id("runAsUser")?.map(|uid| uid.to_string());
    let named = image.user.split(':').next().unwrap_or_default();
    let wanted = pod_user.as_deref().unwrap_or(if named.is_empty() { "0" } else { named });
    let more = shared["supplementalGroups"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    let more = more.chain(shared["fsGroup"].as_u64()).filter_map(|group| u32::try_from(group).ok());
    let more: Vec<u32> = more.collect();
    let group = id("runAsGroup")?.and_then(|group| u32::try_from(group).ok());
    let merge = shared["supplementalGroupsPolicy"] != json!("Strict");
    let found = image.users.process_user(wanted, group, &more, merge).map_err(|error| match error {
        UserError::NoUser { name } => RequestError::UserName { path: path.to_owned(), user: name },
        error => RequestError::Invalid { path: format!("{path}.securityContext"), reason: error.to_string() },
    })?;
    let not_root = if own["runAsNonRoot"].is_null() { &shared["runAsNonRoot"] } else { &own["runAsNonRoot"] };
    let by_name = wanted.parse::<i64>().is_err();
    if *not_root == json!(true) && (found.uid == 0 || by_name) {
        let path = format!("{path}.securityContext.runAsNonRoot");
        // The kubelet does not look into images, so it refuses whatever is no number.
        let reason = if by_name {
            "the image names its user, and the kubelet cannot tell that it is not root; set \
             `runAsUser` to its number"
        } else {
            "the container would run as root"
        };
        return Err(RequestError::Invalid { path, reason: reason.into() });
    }
    Ok(json!({"UID": found.uid, "GID": found.gid, "AdditionalGids": found.groups, "Username": ""}))
}

fn capabilities(context: &Value, path: &str) -> Result<Vec<String>, RequestError> {
    let names = |field: &str| -> Vec<String> {
        let items = context["capabilities"][field].as_array().into_iter().flatten().filter_map(Value::as_str);
        items.map(|name| name.trim_start_matches("CAP_").to_owned()).collect()
    };
    let (add, drop) = (names("add"), names("drop"));
    if add.iter().any(|name| name == "ALL") {
        let path = format!("{path}.securityContext.capabilities.add");
        return Err(RequestError::Unsupported { path, what: "`ALL`".into() });
    }
    let mut set: Vec<String> = Vec::new();
    if !drop.iter().any(|name| name == "ALL") {
        set.extend(DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned()));
    }
    for name in add {
        let name = format!("CAP_{name}");
        if !set.contains(&name) {
            set.push(name);
        }
    }
    // What is both added and dropped is dropped.
    set.retain(|name| !drop.iter().any(|dropped| name.strip_prefix("CAP_") == Some(dropped)));
    Ok(set)
}
