//! From a Kata request to the OCI configuration that runc takes.
//!
//! What the request says is what runs, with these differences, none of which the policy could want otherwise:
//! rlimits and the OOM score are left out (raising them needs a capability that build machines lack), capabilities that
//! this machine does not have are not asked for, and pid and network namespaces are added, because the guest is not a
//! machine of its own here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::agent_api::AgentError;

use super::guest::NETNS;
use super::request::{Capabilities, Command, CreateContainer, Mount, Oci, Process, Resources};

/// Where the sources of a container's bind mounts are kept open, by their index: `<bundle>/mounts/<index>`.
pub(super) fn pinned(bundle: &str, index: usize) -> String {
    format!("{bundle}/mounts/{index}")
}

/// The configuration. `bundle` is the container's folder, whose bind mounts are pinned already.
pub(super) fn config(
    request: &CreateContainer,
    bundle: &str,
    hostname: &str,
    cgroup: &str,
    available: &BTreeSet<String>,
) -> Result<Value, AgentError> {
    refuse_unsupported(request)?;
    let oci = &request.oci;
    let mounts: Vec<_> =
        oci.mounts.iter().enumerate().map(|(index, mount)| mount_of(mount, index, bundle)).collect::<Result<_, _>>()?;
    let hostname = if oci.hostname.is_empty() { hostname } else { &oci.hostname };
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process(&oci.process, available)?,
        "root": {"path": oci.root.path, "readonly": oci.root.readonly},
        "hostname": hostname,
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("{cgroup}/{}", request.container_id),
            "resources": resources(&oci.linux.resources),
            "namespaces": [
                {"type": "pid"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
                {"type": "network", "path": NETNS},
            ],
            "maskedPaths": oci.linux.masked_paths,
            "readonlyPaths": oci.linux.readonly_paths,
        },
    }))
}

/// What cannot be done is refused by name, and never left out in silence.
fn refuse_unsupported(request: &CreateContainer) -> Result<(), AgentError> {
    let oci = &request.oci;
    let unsupported = [
        ("OCI.Process.Terminal", oci.process.command.terminal),
        ("OCI.Hooks", oci.hooks.as_ref().is_some_and(|hooks| !hooks.is_null())),
        ("OCI.Linux.Devices", !oci.linux.devices.is_empty()),
        ("devices", !request.devices.is_empty()),
        ("sandbox_pidns", request.sandbox_pidns),
        ("shared_mounts", !request.shared_mounts.is_empty()),
    ];
    match unsupported.iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(AgentError::failed(format!("{field}: not supported by the local engine"))),
        None => Ok(()),
    }
}

/// The process of a container.
pub(super) fn process(process: &Process, available: &BTreeSet<String>) -> Result<Value, AgentError> {
    command(&process.command, &capabilities(&process.capabilities, available), "OCI.Process")
}

/// The process of a container or of a command in one, as runc takes it. `at` is where it stands in the request.
pub(super) fn command(command: &Command, capabilities: &Value, at: &str) -> Result<Value, AgentError> {
    if command.args.first().is_none_or(String::is_empty) {
        return Err(AgentError::failed(format!("{at}.Args: empty")));
    }
    Ok(json!({
        "terminal": false,
        "user": {
            "uid": command.user.uid,
            "gid": command.user.gid,
            "additionalGids": command.user.additional_gids,
        },
        "args": command.args,
        "env": command.env,
        "cwd": command.cwd,
        "capabilities": capabilities,
        "noNewPrivileges": command.no_new_privileges,
    }))
}

fn capabilities(wanted: &Capabilities, available: &BTreeSet<String>) -> Value {
    let held = |set: &[String]| set.iter().filter(|name| available.contains(*name)).cloned().collect::<Vec<_>>();
    json!({
        "bounding": held(&wanted.bounding),
        "effective": held(&wanted.effective),
        "inheritable": held(&wanted.inheritable),
        "permitted": held(&wanted.permitted),
        "ambient": held(&wanted.ambient),
    })
}

fn mount_of(mount: &Mount, index: usize, bundle: &str) -> Result<Value, AgentError> {
    let source = match mount.kind.as_str() {
        "bind" => pinned(bundle, index),
        "proc" | "tmpfs" | "devpts" | "mqueue" | "sysfs" | "cgroup" => mount.source.clone(),
        other => {
            return Err(AgentError::failed(format!("OCI.Mounts[{index}].type_: `{other}` is not supported")));
        }
    };
    if !mount.destination.starts_with('/') || mount.destination.split('/').any(|part| part == "..") {
        return Err(AgentError::failed(format!("OCI.Mounts[{index}].destination: `{}`", mount.destination)));
    }
    Ok(json!({
        "destination": mount.destination,
        "type": mount.kind,
        "source": source,
        "options": mount.options,
    }))
}

/// Limits; a zero means none.
fn resources(wanted: &Resources) -> Value {
    let mut resources = serde_json::Map::new();
    // runc adds what every container needs (null, zero, random, tty, …) and, unless told so, forbids nothing: a
    // container that may make device nodes could then read the machine's disk.
    resources.insert("devices".into(), json!([{"allow": false, "access": "rwm"}]));
    if let Some(memory) = &wanted.memory
        && memory.limit > 0
    {
        resources.insert("memory".into(), json!({"limit": memory.limit}));
    }
    if let Some(cpu) = &wanted.cpu {
        let mut limits = serde_json::Map::new();
        if cpu.shares > 0 {
            limits.insert("shares".into(), json!(cpu.shares));
        }
        if cpu.quota > 0 && cpu.period > 0 {
            limits.insert("quota".into(), json!(cpu.quota));
            limits.insert("period".into(), json!(cpu.period));
        }
        resources.insert("cpu".into(), Value::Object(limits));
    }
    Value::Object(resources)
}

/// The capabilities that this process could hand on, by name.
pub(super) fn available_capabilities() -> BTreeSet<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default();
    let bits = u64::from_str_radix(bits.trim(), 16).unwrap_or(0);
    NAMES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| format!("CAP_{name}")).collect()
}

/// Capabilities by their bit (`include/uapi/linux/capability.h`, up to Linux 6.18).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A request whose OCI part says that it is the pause container.
pub(super) fn is_pause(oci: &Oci) -> bool {
    oci.annotations.get("io.katacontainers.pkg.oci.container_type").is_some_and(|kind| kind == "pod_sandbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Value)) -> CreateContainer {
        let mut request = json!({
            "container_id": "c1",
            "devices": [],
            "storages": [],
            "OCI": {
                "Process": {
                    "Terminal": false,
                    "User": {"UID": 1000, "GID": 100, "AdditionalGids": [100], "Username": ""},
                    "Args": ["/bin/a", "b"],
                    "Env": ["A=b"],
                    "Cwd": "/",
                    "Capabilities": {"Bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "Ambient": []},
                    "NoNewPrivileges": true
                },
                "Root": {"Path": "/run/kata-containers/c1/rootfs", "Readonly": true},
                "Hostname": "",
                "Mounts": [
                    {"destination": "/proc", "source": "proc", "type_": "proc", "options": ["nosuid"]},
                    {"destination": "/x", "source": "/run/kata-containers/x", "type_": "bind", "options": ["rbind", "ro"]}
                ],
                "Hooks": null,
                "Linux": {
                    "Resources": {"Memory": {"Limit": 1000}, "CPU": {"Shares": 2, "Quota": 0, "Period": 100_000}},
                    "Devices": [], "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"]
                }
            }
        });
        change(&mut request);
        serde_json::from_value(request).unwrap()
    }

    fn made(change: impl FnOnce(&mut Value)) -> Result<Value, AgentError> {
        config(&request(change), "/run/bundles/c1", "web", "/casemate/x/p", &BTreeSet::from(["CAP_CHOWN".to_owned()]))
    }

    #[test]
    fn what_is_asked_for_is_what_runs() {
        let config = made(|_| ()).unwrap();
        assert_eq!(config["process"]["args"], json!(["/bin/a", "b"]));
        assert_eq!(config["process"]["env"], json!(["A=b"]));
        assert_eq!(config["process"]["user"], json!({"uid": 1000, "gid": 100, "additionalGids": [100]}));
        assert_eq!(config["process"]["noNewPrivileges"], json!(true));
        assert_eq!(config["root"], json!({"path": "/run/kata-containers/c1/rootfs", "readonly": true}));
        assert_eq!(config["hostname"], json!("web"));
        let resources = &config["linux"]["resources"];
        assert_eq!((&resources["memory"], &resources["cpu"]), (&json!({"limit": 1000}), &json!({"shares": 2})));
        assert_eq!(resources["devices"], json!([{"allow": false, "access": "rwm"}]));
        assert_eq!(config["linux"]["cgroupsPath"], json!("/casemate/x/p/c1"));
    }

    #[test]
    fn bind_mounts_come_from_what_was_pinned() {
        let config = made(|_| ()).unwrap();
        assert_eq!(config["mounts"][0]["source"], json!("proc"));
        assert_eq!(config["mounts"][1]["source"], json!("/run/bundles/c1/mounts/1"));
    }

    #[test]
    fn capabilities_that_the_machine_lacks_are_left_out() {
        assert_eq!(made(|_| ()).unwrap()["process"]["capabilities"]["bounding"], json!(["CAP_CHOWN"]));
        assert!(available_capabilities().iter().all(|name| name.starts_with("CAP_")));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 9] = [
            ("OCI.Process.Terminal", |r| r["OCI"]["Process"]["Terminal"] = json!(true)),
            ("OCI.Hooks", |r| r["OCI"]["Hooks"] = json!({"Prestart": []})),
            ("OCI.Linux.Devices", |r| r["OCI"]["Linux"]["Devices"] = json!([{"Path": "/dev/kvm"}])),
            ("devices", |r| r["devices"] = json!([{}])),
            ("sandbox_pidns", |r| r["sandbox_pidns"] = json!(true)),
            ("shared_mounts", |r| r["shared_mounts"] = json!([{}])),
            ("OCI.Process.Args", |r| r["OCI"]["Process"]["Args"] = json!([])),
            ("OCI.Mounts[0].type_", |r| r["OCI"]["Mounts"][0]["type_"] = json!("ext4")),
            ("OCI.Mounts[1].destination", |r| r["OCI"]["Mounts"][1]["destination"] = json!("/a/../..")),
        ];
        for (field, change) in cases {
            let error = made(change).unwrap_err();
            assert!(error.message.starts_with(field), "{field}: {error}");
        }
    }
}
