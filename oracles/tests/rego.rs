//! Our policies in the engine of the oldest agents that read them: regorus 0.2.8 with the features of its agent.
//!
//! It is asked as an agent of Kata Containers asks: by a query for the name of the request, over its state as data, with
//! calls of built-in functions on values of the wrong type undefined. What the engine that we run decides, it must
//! decide. The requests are written by hand, so that they owe nothing to the code that made the policies.

use serde_json::{Value, json};

/// The policy of the example.
const EXAMPLE: &str = include_str!("../../crates/policy/tests/golden/policy_example.rego");
/// The same with every fragment of the rules: commands of the host, GPUs, values of the cluster, and long text.
const EVERYTHING: &str = include_str!("../../crates/policy/tests/golden/policy_everything.rego");

/// An agent with its state, of one version of the engine.
macro_rules! agent {
    ($name:ident, $regorus:ident) => {
        struct $name {
            engine: $regorus::Engine,
            state: Value,
        }

        impl $name {
            fn new(policy: &str) -> Self {
                let mut engine = $regorus::Engine::new();
                engine.set_strict_builtin_errors(false);
                engine.add_policy("agent_policy".into(), policy.into()).unwrap();
                let mut agent = Self { engine, state: json!({}) };
                agent.keep();
                agent
            }

            fn keep(&mut self) {
                self.engine.clear_data();
                let data = json!({"pstate": self.state}).to_string();
                self.engine.add_data($regorus::Value::from_json_str(&data).unwrap()).unwrap();
            }

            fn ask(&mut self, query: &str) -> Option<Value> {
                let results = self.engine.eval_query(query.into(), false).ok()?;
                let [result] = results.result.as_slice() else { return None };
                serde_json::from_str(&result.expressions[0].value.to_json_str().unwrap()).ok()
            }

            fn decide(&mut self, endpoint: &str, request: &Value) -> bool {
                self.engine.set_input($regorus::Value::from_json_str(&request.to_string()).unwrap());
                let answer = self.ask(&format!("data.agent_policy.{endpoint}")).unwrap_or_default();
                let allowed = answer == json!(true) || answer["allowed"] == json!(true);
                for operation in answer["ops"].as_array().into_iter().flatten().filter(|_| allowed) {
                    let key = operation["path"].as_str().unwrap().strip_prefix("/pstate/").unwrap();
                    let state = self.state.as_object_mut().unwrap();
                    match operation["op"].as_str().unwrap() {
                        "add" => drop(state.insert(key.to_owned(), operation["value"].clone())),
                        _ => drop(state.remove(key).unwrap()),
                    }
                }
                self.keep();
                allowed
            }
        }
    };
}

agent!(Now, regorus_now);
agent!(Oldest, regorus_oldest);

/// Decides a request by both engines, and demands one answer, which it gives.
struct Both {
    now: Now,
    oldest: Oldest,
}

impl Both {
    fn new(policy: &str) -> Self {
        assert!(policy.lines().all(|line| line.len() < 1000), "a line that old engines refuse");
        Self { now: Now::new(policy), oldest: Oldest::new(policy) }
    }

    fn decide(&mut self, endpoint: &str, request: &Value) -> bool {
        let (now, oldest) = (self.now.decide(endpoint, request), self.oldest.decide(endpoint, request));
        assert_eq!(now, oldest, "{endpoint}: {request:#}");
        assert_eq!(self.now.state, self.oldest.state);
        now
    }

    fn allow(&mut self, endpoint: &str, request: &Value) {
        assert!(self.decide(endpoint, request), "{endpoint}: {request:#}");
    }

    fn values(&mut self) -> Value {
        let query = "data.agent_policy.policy_data";
        let values = self.now.ask(query).unwrap();
        assert_eq!(self.oldest.ask(query), Some(values.clone()));
        values
    }
}

fn id(letter: char) -> String {
    letter.to_string().repeat(64)
}

const POD: &str = "inference-5d8f7c9b4-x2x9k";
const UID: &str = "a03a12a9-f2d5-4b92-952c-c47f68f7b795";

fn sandbox() -> Value {
    json!({"hostname": POD, "dns": [], "storages": [{"driver": "ephemeral", "driver_options": [], "source": "shm",
        "fstype": "tmpfs", "options": ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
        "mount_point": "/run/kata-containers/sandbox/shm", "fs_group": null}],
        "sandbox_pidns": false, "sandbox_id": id('a'), "guest_hook_path": "", "kernel_modules": []})
}

fn mount(row: &Value, cid: &str) -> Value {
    let text = |index: usize| row[index].as_str().unwrap();
    let copied = |name: &str| format!("/run/kata-containers/shared/containers/{cid}-0123456789abcdef-{name}");
    let (kind, source, options) = match text(1) {
        "memory" => (
            "bind",
            format!("/run/kata-containers/sandbox/ephemeral/{}", text(2)),
            json!(["rbind", "rprivate", text(3)]),
        ),
        "copied" => ("bind", copied(text(2)), json!(["rbind", "rprivate", text(3)])),
        other => (other, text(2).to_owned(), json!(text(3).split(',').collect::<Vec<_>>())),
    };
    json!({"destination": text(0), "source": source, "type_": kind, "options": options})
}

/// The request for a container, of the values alone: written by hand, so that it owes nothing to the code that made the
/// values.
fn container(values: &Value, name: &str, cid: &str) -> Value {
    let pause = name == "pause";
    let record = if pause {
        json!({"args": ["/pause"], "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/", "user": [65535, 65535, [65535]], "capabilities": "default", "no_new_privileges": true,
            "terminal": false, "readonly_root": true, "mounts": []})
    } else {
        values["containers"][name].clone()
    };
    let kind = if pause { "sandbox" } else { "container" };
    let mut annotations = json!({
        "io.katacontainers.pkg.oci.bundle_path": format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{cid}"),
        "io.katacontainers.pkg.oci.container_type": format!("pod_{kind}"), "io.kubernetes.cri.container-type": kind,
        "io.kubernetes.cri.sandbox-id": id('a'), "io.kubernetes.cri.sandbox-name": POD,
        "io.kubernetes.cri.sandbox-namespace": "default", "io.kubernetes.cri.sandbox-uid": UID,
    });
    if !pause {
        annotations["io.kubernetes.cri.container-name"] = json!(name);
        annotations["io.kubernetes.cri.image-name"] = record["image"].clone();
    }
    let mut rows = vec![
        json!(["/proc", "proc", "proc", "nosuid,noexec,nodev"]),
        json!(["/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"]),
        json!(["/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"]),
        json!(["/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"]),
        json!(["/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"]),
        json!(["/dev/shm", "bind", "/run/kata-containers/sandbox/shm", "rbind"]),
    ];
    let copied = format!("/run/kata-containers/shared/containers/{cid}-0123456789abcdef-resolv.conf");
    if pause {
        rows.push(json!(["/etc/resolv.conf", "bind", copied, "rbind,ro,nosuid,nodev,noexec"]));
    } else {
        rows.push(json!(["/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"]));
        rows.push(json!(["/etc/hosts", "copied", "hosts", "rw"]));
        rows.push(json!(["/etc/hostname", "copied", "hostname", "ro"]));
        rows.push(json!(["/etc/resolv.conf", "copied", "resolv.conf", "ro"]));
        rows.extend(record["mounts"].as_array().unwrap().iter().cloned());
    }
    let metadata = json!({"metadata": {"io.kubernetes.cri.container-type": kind}});
    let image = if pause { json!("pause") } else { record["image"].clone() };
    let mut storages = vec![json!({"driver": "image_guest_pull", "source": image,
        "driver_options": [format!("image_guest_pull={metadata}")], "fstype": "overlay", "options": [],
        "mount_point": format!("/run/kata-containers/{cid}/rootfs"), "fs_group": null})];
    for row in rows.iter().filter(|row| row[1] == "memory") {
        let point = format!("/run/kata-containers/sandbox/ephemeral/{}", row[2].as_str().unwrap());
        storages.push(json!({"driver": "ephemeral", "driver_options": [], "source": "tmpfs", "fstype": "tmpfs",
            "options": [], "mount_point": point, "fs_group": null}));
    }
    let defaults = json!([
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE"
    ]);
    let names = if record["capabilities"] == "default" { &defaults } else { &record["capabilities"] };
    let capabilities: Vec<_> =
        names.as_array().unwrap().iter().map(|name| format!("CAP_{}", name.as_str().unwrap())).collect();
    let mut env = record["env"].as_array().unwrap().clone();
    if !pause {
        env.push(json!("KUBERNETES_SERVICE_HOST=10.0.0.1"));
        for (name, from) in record["env_from"].as_object().unwrap() {
            let value = match from.as_str().unwrap() {
                "hostname" | "pod-name" => POD,
                "pod-uid" => UID,
                "node-name" => "node-1",
                _ => "fd00::1",
            };
            env.push(json!(format!("{name}={value}")));
        }
    }
    json!({
        "container_id": cid, "exec_id": cid, "string_user": null, "devices": [], "storages": storages,
        "OCI": {
            "Version": "1.2.1",
            "Process": {"Terminal": record["terminal"], "ConsoleSize": null,
                "User": {"UID": record["user"][0], "GID": record["user"][1], "AdditionalGids": record["user"][2], "Username": ""},
                "Args": record["args"], "Env": env, "Cwd": record["cwd"],
                "Capabilities": {"Bounding": capabilities, "Effective": capabilities, "Inheritable": [],
                    "Permitted": capabilities, "Ambient": []},
                "Rlimits": [], "NoNewPrivileges": record["no_new_privileges"], "ApparmorProfile": "",
                "OOMScoreAdj": 1000, "SelinuxLabel": ""},
            "Root": {"Path": format!("/run/kata-containers/{cid}/rootfs"), "Readonly": record["readonly_root"]},
            "Hostname": if pause { POD } else { "" },
            "Mounts": rows.iter().map(|row| mount(row, cid)).collect::<Vec<_>>(),
            "Hooks": null, "Annotations": annotations,
            "Linux": {"UIDMappings": [], "GIDMappings": [], "Sysctl": {},
                "Resources": {"Devices": [], "Memory": null, "CPU": {"Shares": 2}, "Pids": null, "BlockIO": null,
                    "HugepageLimits": [], "Network": null},
                "CgroupsPath": format!("/kubepods/besteffort/pod{UID}/{cid}"),
                "Namespaces": [{"Type": "ipc", "Path": ""}, {"Type": "uts", "Path": ""}, {"Type": "mount", "Path": ""}],
                "Devices": [], "Seccomp": null, "RootfsPropagation": "",
                "MaskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
                "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                "MountLabel": "", "IntelRdt": null},
            "Solaris": null, "Windows": null,
        },
        "sandbox_pidns": false, "shared_mounts": [], "stdin_port": 0, "stdout_port": 0, "stderr_port": 0,
    })
}

/// The pod before its workload is created.
fn running(policy: &str) -> (Both, Value) {
    let mut both = Both::new(policy);
    let values = both.values();
    both.allow("CreateSandboxRequest", &sandbox());
    both.allow("CreateContainerRequest", &container(&values, "pause", &id('a')));
    both.allow("CreateContainerRequest", &container(&values, "casemate-initializer", &id('b')));
    (both, values)
}

/// Changes of a request, by pointer.
fn refuse(both: &mut Both, endpoint: &str, request: &Value, changes: &[(&str, Value)]) {
    for (pointer, value) in changes {
        let mut changed = request.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
        assert!(!both.decide(endpoint, &changed), "{pointer} = {value}");
    }
}

#[test]
fn the_example_lives_and_is_not_changed() {
    let (mut both, values) = running(EXAMPLE);
    let server = container(&values, "server", &id('c'));
    let changes = [
        ("/OCI/Process/Args/0", json!("/bin/sh")),
        ("/OCI/Process/Env/0", json!("PATH=/evil")),
        ("/OCI/Process/Env", json!([])),
        ("/OCI/Process/User/UID", json!(0)),
        ("/OCI/Process/Capabilities/Bounding", json!(["CAP_SYS_ADMIN"])),
        ("/OCI/Process/Terminal", json!(true)),
        ("/OCI/Mounts/0/options", json!(["rw"])),
        ("/OCI/Mounts/7/source", json!("/run/kata-containers/shared/containers/x")),
        ("/OCI/Linux/MaskedPaths", json!([])),
        ("/OCI/Linux/Namespaces", json!([])),
        ("/OCI/Linux/Devices", json!([{"Path": "/dev/sda"}])),
        ("/OCI/Annotations/io.kubernetes.cri.image-name", json!("evil@sha256:00")),
        ("/OCI/Annotations/io.kubernetes.cri.sandbox-uid", json!("x")),
        ("/storages/0/source", json!("evil@sha256:00")),
        ("/storages", json!([])),
        ("/devices", json!([{"id": "vfio1"}])),
        ("/container_id", json!(id('b'))),
    ];
    refuse(&mut both, "CreateContainerRequest", &server, &changes);
    both.allow("CreateContainerRequest", &server);
    both.allow("StartContainerRequest", &json!({"container_id": id('c')}));
    assert!(!both.decide("CreateContainerRequest", &container(&values, "server", &id('d'))), "twice");
    both.allow("ReadStreamRequest", &json!({"container_id": id('c'), "exec_id": "", "len": 4096}));
    both.allow("SignalProcessRequest", &json!({"container_id": id('c'), "exec_id": "", "signal": 15}));
    assert!(!both.decide("SignalProcessRequest", &json!({"container_id": id('b'), "exec_id": "", "signal": 15})));
    both.allow("RemoveContainerRequest", &json!({"container_id": id('c'), "timeout": 0}));
    assert!(!both.decide("CreateContainerRequest", &server), "an id again");
    both.allow("CreateContainerRequest", &container(&values, "server", &id('d')));
    both.allow("DestroySandboxRequest", &json!({}));
    for never in ["SetPolicyRequest", "ExecProcessRequest", "WriteStreamRequest", "SetGuestDateTimeRequest"] {
        assert!(!both.decide(never, &json!({"container_id": id('d')})), "{never}");
    }
}

#[test]
fn files_and_networks_are_decided_alike() {
    let (mut both, _) = running(EXAMPLE);
    let file = |name: &str, mode: u32, data: &str| {
        let path = format!("/run/kata-containers/shared/containers/{}-0123456789abcdef-{name}", id('b'));
        json!({"path": path, "file_size": 1, "file_mode": mode, "dir_mode": 2_147_484_136_u32, "uid": 0, "gid": 0,
            "offset": 0, "data": data.as_bytes()})
    };
    both.allow("CopyFileRequest", &file("hosts", 0o100_644, "127.0.0.1 localhost\n"));
    both.allow("CopyFileRequest", &file("digits", 0o041_777, ""));
    both.allow("CopyFileRequest", &file("digits/..data", 0o120_777, "..2026_01_01"));
    for (name, mode, data) in [
        ("hosts/x", 0o100_644, ""),
        ("evil", 0o100_644, ""),
        ("digits/../x", 0o100_644, ""),
        ("digits/x", 0o104_755, ""),
        ("digits/x", 0o120_777, "/etc/passwd"),
        ("digits/x", 0o120_777, "../x"),
        ("digits/x", 0o120_777, "\u{7f}"),
        ("digits/x", 0o060_644, ""),
    ] {
        assert!(!both.decide("CopyFileRequest", &file(name, mode, data)), "{name} {mode:o} {data:?}");
    }
    let interface = json!({"interface": {"device": "eth0", "name": "eth0", "hwAddr": "66:74:9f:6a:96:01", "mtu": 1500,
        "pciPath": "", "devicePath": "02/00", "type_": "", "raw_flags": 0,
        "IPAddresses": [{"family": 0, "address": "10.0.0.7", "mask": "24"}]}});
    both.allow("UpdateInterfaceRequest", &interface);
    let changes = [
        ("/interface/name", json!("lo")),
        ("/interface/mtu", json!(1)),
        ("/interface/hwAddr", json!("00:00:00:00:00:00")),
        ("/interface/IPAddresses/0/address", json!("127.0.0.1")),
        ("/interface/IPAddresses/0/family", json!(1)),
        ("/interface/IPAddresses", json!("x")),
    ];
    refuse(&mut both, "UpdateInterfaceRequest", &interface, &changes);
    let routes = json!({"routes": {"Routes": [{"dest": "", "gateway": "fe80::1", "device": "eth0", "source": "",
        "scope": 0, "family": 1, "flags": 0, "mtu": 0}]}});
    both.allow("UpdateRoutesRequest", &routes);
    refuse(
        &mut both,
        "UpdateRoutesRequest",
        &routes,
        &[("/routes/Routes/0/dest", json!("::1/128")), ("/routes", json!(null))],
    );
}

#[test]
fn commands_gpus_and_long_text_are_decided_alike() {
    let (mut both, values) = running(EVERYTHING);
    let long = "x".repeat(5000);
    let mut request = container(&values, "server", &id('c'));
    assert!(!both.decide("CreateContainerRequest", &request), "without its GPUs");
    for (index, number) in [4, 9].into_iter().enumerate() {
        request["OCI"]["Annotations"][format!("cdi.k8s.io/vfio{number}")] = json!(format!("nvidia.com/gpu={index}"));
        request["devices"].as_array_mut().unwrap().push(json!({"id": format!("vfio{number}"), "type_": "vfio-pci-gk",
            "vm_path": "", "container_path": format!("/dev/vfio/devices/vfio{number}"),
            "options": [format!("0000:0{number}:00.0=02/0{number}")]}));
    }
    let changes = [
        ("/devices/0/type_", json!("blk")),
        ("/devices/0/options", json!([])),
        ("/OCI/Annotations/cdi.k8s.io~1vfio9", json!("nvidia.com/gpu=0")),
        ("/OCI/Annotations/cdi.k8s.io~1vfio9", json!("nvidia.com/gpu=2")),
        ("/OCI/Process/Args/1", json!(format!("{}y", &long[1..]))),
        ("/OCI/Process/Args/1", json!(&long[1..])),
    ];
    refuse(&mut both, "CreateContainerRequest", &request, &changes);
    both.allow("CreateContainerRequest", &request);
    let mut process = request["OCI"]["Process"].clone();
    process["Args"] = values["containers"]["server"]["exec"][0].clone();
    process["Capabilities"] = Value::Null;
    process["OOMScoreAdj"] = json!(0);
    let exec = json!({"container_id": id('c'), "exec_id": "probe", "string_user": null, "process": process,
        "stdin_port": 0, "stdout_port": 0, "stderr_port": 0});
    assert!(!both.decide("ExecProcessRequest", &exec), "before it was started");
    both.allow("StartContainerRequest", &json!({"container_id": id('c')}));
    both.allow("ExecProcessRequest", &exec);
    let changes = [
        ("/process/Args", json!(["/bin/sh"])),
        ("/process/User/UID", json!(0)),
        ("/process/Terminal", json!(true)),
        ("/container_id", json!(id('b'))),
    ];
    refuse(&mut both, "ExecProcessRequest", &exec, &changes);
}
