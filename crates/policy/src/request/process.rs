//! The process of a container: arguments, user, capabilities.

use serde_json::{Value, json};

use super::environment::Environment;
use super::{DEFAULT_CAPABILITIES, PodInstance, Quantity, RequestError, control_character, text};
use crate::generate::LAUNCHER;
use crate::images::{ImageConfig, UserError};

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
            return Err(RequestError::Refused {
                path: format!("{path}.securityContext.{field}"),
                reason: "not supported: nothing in the guest would do it".into(),
                hint: "leave it out".into(),
            });
        }
    }
    if context["privileged"] == json!(true) {
        return Err(RequestError::Refused {
            path: format!("{path}.securityContext.privileged"),
            reason: "a privileged container is not supported: it could undo the pod's firewall and change the guest's \
                     kernel"
                .into(),
            hint: "leave it out, and list the capabilities that the program needs in `capabilities.add`".into(),
        });
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
        "NoNewPrivileges": no_new_privileges(container),
        "ApparmorProfile": "",
        "OOMScoreAdj": 1000,
        "SelinuxLabel": "",
    }))
}

/// Whether a container's processes may gain no privileges.
pub(crate) fn no_new_privileges(container: &Value) -> bool {
    container["securityContext"]["allowPrivilegeEscalation"] == json!(false)
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
        return Err(RequestError::Refused {
            path: path.to_owned(),
            reason: "neither the pod nor the image says what to run".into(),
            hint: "write `command`, or build the image with an ENTRYPOINT or CMD".into(),
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
        // The launcher and its own arguments are none of the user's.
        let launched = values.first().is_some_and(|first| first == LAUNCHER);
        let end = values.iter().position(|value| value == "--").filter(|_| launched && field == "command");
        let before = end.map_or(0, |end| end + 1);
        let expand = |(index, value): (usize, &String)| {
            env.expand(value, &format!("{path}.{field}[{}]", index.saturating_sub(before)))
        };
        values.iter().enumerate().map(expand).collect()
    };
    let mut all = own("command", command)?;
    all.extend(own("args", args)?);
    Ok(all)
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

/// The user of the pause container: the pod's, and 65535 of its image without one.
pub(super) fn pause_user(pod: &Value) -> Value {
    let shared = &pod["spec"]["securityContext"];
    let (user, group) = match shared["runAsUser"].as_u64() {
        Some(user) => (user, shared["runAsGroup"].as_u64().unwrap_or(0)),
        None => (65535, 65535),
    };
    let mut groups = vec![group];
    let more = shared["supplementalGroups"].as_array().into_iter().flatten().chain([&shared["fsGroup"]]);
    for more in more.filter_map(Value::as_u64) {
        if !groups.contains(&more) {
            groups.push(more);
        }
    }
    json!({"UID": user, "GID": group, "AdditionalGids": groups, "Username": ""})
}

/// The kubelet hands containerd the image's user without its group, or the pod's `runAsUser`; the rest is for
/// containerd to look up in the image's `/etc/passwd` and `/etc/group`, as [`crate::images::Users`] does.
fn user(pod: &Value, container: &Value, image: &ImageConfig, path: &str) -> Result<Value, RequestError> {
    let (own, shared) = (&container["securityContext"], &pod["spec"]["securityContext"]);
    let id = |field: &str| -> Result<Option<u64>, RequestError> {
        let value = if own[field].is_null() { &shared[field] } else { &own[field] };
        match value {
            Value::Null => Ok(None),
            value => value.as_u64().filter(|id| *id <= MAX_ID).map(Some).ok_or_else(|| RequestError::Refused {
                path: format!("{path}.securityContext.{field}"),
                reason: "not a user or group number".into(),
                hint: format!("numbers go from 0 to {MAX_ID}"),
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
        number.ok_or_else(|| RequestError::Refused {
            path: format!("securityContext.{field}"),
            reason: "not a group number".into(),
            hint: format!("numbers go from 0 to {MAX_ID}"),
        })
    });
    let more: Vec<u32> = more.collect::<Result<_, _>>()?;
    let group = id("runAsGroup")?.and_then(|group| u32::try_from(group).ok());
    let merge = match shared["supplementalGroupsPolicy"].as_str() {
        None | Some("Merge") => true,
        Some("Strict") => false,
        Some(other) => {
            return Err(RequestError::Refused {
                path: "securityContext.supplementalGroupsPolicy".into(),
                reason: format!("`{other}` is neither `Merge` nor `Strict`"),
                hint: "leave it out: `Merge` is the default".into(),
            });
        }
    };
    // containerd makes no sandbox of a group without a user.
    if !shared["runAsGroup"].is_null() && shared["runAsUser"].is_null() {
        return Err(RequestError::Refused {
            path: "securityContext.runAsGroup".into(),
            reason: "a group of the pod without a user, which containerd refuses".into(),
            hint: "set `runAsUser` beside it, or set the group in each container".into(),
        });
    }
    let found = image.users.process_user(wanted, group, &more, merge).map_err(|error| match error {
        UserError::NoUser { name } => RequestError::UserName { path: path.to_owned(), user: name },
        error => RequestError::Invalid { path: format!("{path}.securityContext"), reason: error.to_string() },
    })?;
    let not_root = if own["runAsNonRoot"].is_null() { &shared["runAsNonRoot"] } else { &own["runAsNonRoot"] };
    let by_name = wanted.parse::<i64>().is_err();
    if *not_root == json!(true) && (found.uid == 0 || by_name) {
        let path = format!("{path}.securityContext.runAsNonRoot");
        // The kubelet does not look into images, so it refuses whatever is no number.
        let (reason, hint) = if by_name {
            (
                "the image names its user, and the kubelet cannot tell that it is not root",
                format!("set `runAsUser: {}`, which is that user's number in the image", found.uid),
            )
        } else {
            ("the container would run as root", "set `runAsUser` to another user than 0".to_owned())
        };
        return Err(RequestError::Refused { path, reason: reason.into(), hint });
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
        return Err(RequestError::Refused {
            path,
            reason: "`ALL` is not supported: among them are those that undo the pod's firewall and change the guest's \
                     kernel"
                .into(),
            hint: "list the capabilities that the program needs".into(),
        });
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
