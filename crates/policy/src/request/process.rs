//! The process of a container: arguments, environment, user, capabilities.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::quantity::QuantityError;
use super::{DEFAULT_CAPABILITIES, MARK, PodInstance, Quantity, RequestError, control_character, text};
use crate::images::{ImageConfig, UserError};

/// Kubernetes tells pods of the Services around them unless `enableServiceLinks` is false.
pub const SERVICE_LINKS_DEFAULT: bool = true;

/// The search path of a process whose image sets none (containerd's default).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
        "Cwd": cwd,
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
    let own = |field: &str, values: Vec<String>| -> Result<Vec<String>, RequestError> {
        let given = container[field].as_array().is_some_and(|items| !items.is_empty());
        if !given {
            return Ok(values);
        }
        let expand = |(index, value): (usize, &String)| env.expand(value, &format!("{path}.{field}[{index}]"));
        values.iter().enumerate().map(expand).collect()
    };
    let mut all = own("command", command)?;
    all.extend(own("args", args)?);
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
    /// Whether the kubelet may know variables of Services that are not in `services`: of all, or of `KUBERNETES` alone.
    unknown_services: Option<Links>,
}

#[derive(Clone, Copy, PartialEq)]
enum Links {
    All,
    Kubernetes,
}

impl Environment {
    fn new(pod: &Value, container: &Value, instance: &PodInstance, path: &str) -> Result<Self, RequestError> {
        let links = pod["spec"]["enableServiceLinks"].as_bool().unwrap_or(SERVICE_LINKS_DEFAULT);
        let mut services = instance.service_env.clone();
        services.retain(|(name, _)| links || name.starts_with("KUBERNETES_"));
        let unknown_services = instance.is_symbolic().then_some(if links { Links::All } else { Links::Kubernetes });
        let mut env = Self { values: Vec::new(), services, unknown_services };
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
            if name.contains('=') || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
                return Err(RequestError::Invalid { path, reason: "a name must be printable and not hold `=`".into() });
            }
            let value = match (&variable["valueFrom"], &variable["value"]) {
                (Value::Object(from), _) => value_from(from, pod, container, instance, &path)?,
                (_, Value::String(value)) => Some(env.expand(value, &path)?),
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
    fn expand(&self, text: &str, path: &str) -> Result<String, RequestError> {
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
                    None if self.may_be_a_service(name) => {
                        return Err(RequestError::Refused {
                            path: path.to_owned(),
                            reason: format!("`$({name})` is what the kubelet says of a Service, which nothing binds"),
                            hint: "use the Service's DNS name; `$$(NAME)` is the text itself".into(),
                        });
                    }
                    None => out.push_str(&format!("$({name})")),
                }
                rest = tail;
            } else {
                out.push('$');
                rest = after;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Whether the kubelet could know a variable that the generator does not.
    fn may_be_a_service(&self, name: &str) -> bool {
        let of_service = || {
            let ends = |tail: &str| tail.is_empty() || tail.starts_with('_');
            let port = name.split_once("_PORT").is_some_and(|(service, tail)| !service.is_empty() && ends(tail));
            port || name.ends_with("_SERVICE_HOST")
        };
        match self.unknown_services {
            None => false,
            Some(Links::Kubernetes) => name.starts_with("KUBERNETES_") && of_service(),
            Some(Links::All) => of_service(),
        }
    }

    /// The search path, the terminal and the host name, then the image, then the pod, then Services; a later value takes
    /// an earlier one's place.
    fn all(&self, image: &ImageConfig, instance: &PodInstance, tty: bool) -> Vec<String> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => all.push((name.to_owned(), value.to_owned())),
        };
        set("PATH", DEFAULT_PATH);
        if tty {
            set("TERM", "xterm");
        }
        set("HOSTNAME", &instance.hostname);
        for variable in &image.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            set(name, value);
        }
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

/// The text of one key of a ConfigMap or Secret, as a variable can hold it.
fn plain_value(object: &Value, key: &str, path: &str) -> Result<Option<String>, RequestError> {
    let value = raw_value(object, key, path)?;
    if let Some(c) = value.as_deref().and_then(control_character) {
        let reason = format!("`{key}` holds the control character U+{:04X}", u32::from(c));
        return Err(RequestError::Refused {
            path: path.to_owned(),
            reason,
            hint: "mount it as a file: a variable cannot hold it".into(),
        });
    }
    Ok(value)
}

fn raw_value(object: &Value, key: &str, path: &str) -> Result<Option<String>, RequestError> {
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
        refuse_of_controllers(field, path)?;
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
        let invalid = |error: QuantityError| RequestError::Invalid { path: path.to_owned(), reason: error.to_string() };
        let divisor = match &reference["divisor"] {
            Value::Null => Quantity::default(),
            divisor => Quantity::parse(divisor).map_err(invalid)?,
        };
        // No divisor, or zero, means whole units.
        let divisor =
            if divisor == Quantity::default() { Quantity::parse(&json!(1)).map_err(invalid)? } else { divisor };
        let limit = resource
            .strip_prefix("limits.")
            .map(|name| &container["resources"]["limits"][name])
            .or_else(|| resource.strip_prefix("requests.").map(|name| &container["resources"]["requests"][name]))
            .filter(|amount| !amount.is_null() && !other);
        let Some(limit) = limit else {
            // Without a limit the kubelet puts in what the node has.
            return Err(RequestError::Unsupported { path: path.to_owned(), what: format!("resource `{resource}`") });
        };
        let amount = Quantity::parse(limit).map_err(invalid)?;
        return Ok(amount.divided_by(divisor).map(|amount| amount.to_string()));
    }
    Err(RequestError::Unsupported { path: path.to_owned(), what: "this `valueFrom`".into() })
}

/// Limits of the container's cgroup. Not bound: too little of either costs the service, never its security.
pub(super) fn resources(container: &Value, path: &str) -> Result<Value, RequestError> {
    let amount = |list: &str, name: &str| match &container["resources"][list][name] {
        Value::Null => Ok(None),
        value => Quantity::parse(value).map(Some).map_err(|error| RequestError::Invalid {
            path: format!("{path}.resources.{list}.{name}"),
            reason: error.to_string(),
        }),
    };
    let limit = amount("limits", "cpu")?;
    let memory = amount("limits", "memory")?.map_or(0, Quantity::units);
    // The kubelet's arithmetic: a period of 100 ms of which at least 1 ms, 1024 shares for a whole CPU within what the
    // kernel takes.
    let quota = limit.map_or(0, |limit| limit.milli().saturating_mul(100).max(1000));
    let request = amount("requests", "cpu")?.or(limit);
    let shares = request.map_or(2, |request| (request.milli().saturating_mul(1024) / 1000).clamp(2, 262_144));
    Ok(json!({
        "Devices": [],
        "Memory": {"Limit": memory, "Reservation": 0, "Swap": 0, "Kernel": 0, "KernelTCP": 0,
            "Swappiness": 0, "DisableOOMKiller": false},
        "CPU": {"Shares": shares, "Quota": quota, "Period": 100_000, "RealtimeRuntime": 0,
            "RealtimePeriod": 0, "Cpus": "", "Mems": ""},
        "Pids": null,
        "BlockIO": null,
        "HugepageLimits": [],
        "Network": null,
    }))
}

/// Labels and annotations that controllers and the scheduler write on a pod, whatever its template says.
const OF_CONTROLLERS: [&str; 7] = [
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

fn refuse_of_controllers(field: &str, path: &str) -> Result<(), RequestError> {
    let key = field.split_once("['").and_then(|(_, rest)| rest.strip_suffix("']")).unwrap_or_default();
    let of_controllers = OF_CONTROLLERS.contains(&key)
        || key.starts_with("batch.kubernetes.io/")
        || key.starts_with("topology.kubernetes.io/");
    if of_controllers {
        return Err(RequestError::Refused {
            path: path.to_owned(),
            reason: format!("`{key}` is written by the cluster when the pod is made, and nothing binds it"),
            hint: "`metadata.name` and `metadata.uid` are bound".into(),
        });
    }
    Ok(())
}

/// An image's configuration is written by whoever built it: no text of it may pass for anything else.
pub(super) fn check_image(image: &ImageConfig, path: &str) -> Result<(), RequestError> {
    let single = [("User", &image.user), ("WorkingDir", &image.working_dir)];
    let lists = [("Env", &image.env), ("Entrypoint", &image.entrypoint), ("Cmd", &image.cmd)];
    let lists = lists.into_iter().flat_map(|(field, values)| values.iter().map(move |value| (field, value)));
    for (field, value) in single.into_iter().chain(lists) {
        if let Some(c) = control_character(value) {
            return Err(RequestError::Refused {
                path: format!("{path}.image"),
                reason: format!("`{field}` of the image holds the control character U+{:04X}", u32::from(c)),
                hint: "build the image without it".into(),
            });
        }
    }
    Ok(())
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
    let supplemental = match &shared["supplementalGroups"] {
        Value::Null => &[][..],
        Value::Array(groups) => groups,
        other => std::slice::from_ref(other),
    };
    let more = supplemental.iter().map(|group| ("supplementalGroups", group));
    let more = more.chain(Some(("fsGroup", &shared["fsGroup"])).filter(|(_, group)| !group.is_null()));
    let more = more.map(|(field, group)| {
        let number = group.as_u64().filter(|id| *id <= MAX_ID).and_then(|id| u32::try_from(id).ok());
        number.ok_or_else(|| RequestError::Invalid {
            path: format!("securityContext.{field}"),
            reason: "not a group number".into(),
        })
    });
    let more: Vec<u32> = more.collect::<Result<_, _>>()?;
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

/// All capabilities of Linux, without `CAP_`.
pub(crate) const KNOWN_CAPABILITIES: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// The capabilities of a container as containerd makes them: names in any case, without `CAP_`, and `ALL`.
fn capabilities(context: &Value, path: &str) -> Result<Vec<String>, RequestError> {
    let names = |field: &str| -> Result<Vec<String>, RequestError> {
        let path = format!("{path}.securityContext.capabilities.{field}");
        let name = |item: &Value| {
            let name = item.as_str().unwrap_or_default().to_ascii_uppercase();
            if name == "ALL" || KNOWN_CAPABILITIES.contains(&name.as_str()) {
                return Ok(name);
            }
            let hint = match name.strip_prefix("CAP_") {
                // containerd would make CAP_CAP_… of it.
                Some(short) => format!("leave out `CAP_`: write `{short}`"),
                None => "the names are those of capabilities(7) without `CAP_`".into(),
            };
            let reason = format!("{item} is not a capability");
            Err(RequestError::Refused { path: path.clone(), reason, hint })
        };
        match &context["capabilities"][field] {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items.iter().map(name).collect(),
            _ => Err(RequestError::Invalid { path, reason: "not a list of strings".into() }),
        }
    };
    let (add, drop) = (names("add")?, names("drop")?);
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
