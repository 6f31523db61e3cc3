//! For each container of a pod: the request that the shim makes is allowed, and every change of one leaf of it is
//! refused with a reason that names the leaf.

mod containers;
mod copies;
mod devices;
mod endpoints;
mod exec;
mod indexed;
mod network;
mod readable;

use serde_json::{Value, json};

use super::mutate;
use super::*;
use crate::images::ImageConfig;
use crate::policy_data::{Openings, PolicyContainer, PolicyInputs, policy};
use crate::request::{PodInstance, container_request, copy_file_request, pause_request, pod_name, sandbox_request};

const IMAGE: &str =
    "localhost:5000/casemate/digits:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn resource() -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {"name": "inference"},
        "spec": {"template": {
            "metadata": {"labels": {"app": "inference"}, "annotations": {"io.katacontainers.x": "y", "other": "z"}},
            "spec": {
                "enableServiceLinks": false,
                "securityContext": {"fsGroup": 2000, "sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]},
                "initContainers": [
                    {"name": "casemate-initializer", "image": IMAGE, "command": ["/casemate-pod", "initializer"],
                     "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
                     "volumeMounts": [{"name": "casemate", "mountPath": "/casemate"},
                                      {"name": "podinfo", "mountPath": "/casemate-in/podinfo"}]},
                ],
                "containers": [
                    {"name": "inference", "image": IMAGE, "args": ["--model", "$(MODEL)", "x"],
                     "env": [{"name": "MODEL", "value": "/m"},
                             {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                             {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                             {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                             {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                             {"name": "LABEL", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
                     "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
                     "volumeMounts": [{"name": "casemate", "mountPath": "/casemate", "readOnly": true},
                                      {"name": "scratch", "mountPath": "/scratch"},
                                      {"name": "store", "mountPath": "/var/lib/store"}]},
                ],
                "volumes": [{"name": "casemate", "emptyDir": {"medium": "Memory"}}, {"name": "scratch", "emptyDir": {}},
                            {"name": "podinfo", "downwardAPI": {}},
                            {"name": "store", "persistentVolumeClaim": {"claimName": "store"}}],
            },
        }},
    })
}

struct Rig {
    pod: Value,
    instance: PodInstance,
    image: ImageConfig,
    policy: String,
}

impl Rig {
    fn new() -> Self {
        Self::with(Openings::local())
    }

    fn with(openings: Openings) -> Self {
        Self::of(&resource(), openings)
    }

    fn of(resource: &Value, openings: Openings) -> Self {
        let pod = resource["spec"]["template"].clone();
        let image = ImageConfig {
            env: vec!["LANG=C".into()],
            entrypoint: vec!["/serve".into()],
            user: "1313:1313".into(),
            ..ImageConfig::default()
        };
        let instance = PodInstance {
            name: pod_name(resource, 0),
            namespace: "default".into(),
            uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
            sandbox_id: "a".repeat(64),
            node_name: "node-1".into(),
            host_ip: "192.168.0.1".into(),
            pod_ip: "10.0.0.7".into(),
            hostname: pod_name(resource, 0),
            service_env: vec![
                ("KUBERNETES_SERVICE_HOST".into(), "10.0.0.1".into()),
                ("KUBERNETES_PORT_443_TCP".into(), "tcp://10.0.0.1:443".into()),
                ("OTHER_SERVICE_HOST".into(), "10.0.0.1".into()),
            ],
            config_maps: [("c".to_owned(), json!({"kind": "ConfigMap", "data": {"k": "v"}}))].into(),
            ..PodInstance::default()
        };
        let container = |container, signals| PolicyContainer { container, image: &image, signals };
        let policy = policy(&PolicyInputs {
            kind: "Deployment",
            name: "inference",
            namespace: "default",
            pod: &pod,
            completions: None,
            containers: std::iter::once(container(&pod["spec"]["initContainers"][0], false))
                .chain(pod["spec"]["containers"].as_array().unwrap().iter().map(|own| container(own, true)))
                .collect(),
            services: vec![],
            config: &instance,
            openings,
        })
        .unwrap();
        Self { pod, instance, image, policy }
    }

    fn container(&self, list: &str, id: &str) -> Value {
        self.container_at(list, 0, id)
    }

    fn container_at(&self, list: &str, index: usize, id: &str) -> Value {
        let container = &self.pod["spec"][list][index];
        container_request(&self.pod, container, &self.image, &self.instance, id).unwrap()
    }

    fn workload(&self) -> Value {
        self.container("containers", &"c".repeat(64))
    }

    /// An engine that has seen the first `steps` requests of the pod's life.
    fn engine(&self, steps: usize) -> PolicyEngine {
        let mut engine = PolicyEngine::new(&self.policy).unwrap();
        for (endpoint, request) in self.life().into_iter().take(steps) {
            let decision = engine.decide(endpoint, &request).unwrap();
            assert!(decision.allowed, "{endpoint}: {:#?}\n{request:#}", decision.reasons);
        }
        engine
    }

    fn life(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("CreateSandboxRequest", sandbox_request(&self.pod, &self.instance)),
            ("CreateContainerRequest", pause_request(&self.pod, &self.instance)),
            ("CreateContainerRequest", self.container("initContainers", &"b".repeat(64))),
            ("CreateContainerRequest", self.workload()),
        ]
    }
}

#[test]
fn the_life_of_a_pod_is_allowed() {
    Rig::new().engine(4);
}

#[test]
fn every_changed_leaf_is_refused_and_named() {
    let rig = Rig::new();
    let tried = mutate::every_change_is_refused(&rig.policy, &rig.life());
    assert!(tried > 3000, "only {tried} changes were tried");
}

/// One change to a request, and a word of the reason.
type Change = (&'static str, fn(&mut Value), &'static str);

#[test]
fn the_attacks_of_a_host_are_refused_in_words() {
    let other =
        "localhost:5000/casemate/digits@sha256:1111111111111111111111111111111111111111111111111111111111111111";
    assert_ne!(other, IMAGE);
    let changes: Vec<Change> = vec![
        (
            "another image",
            |r| r["storages"][0]["source"] = json!("evil@sha256:1"),
            "storages[0].source: got \"evil@sha256:1\", policy has \"localhost:5000/casemate/digits:1@sha256:",
        ),
        (
            "a changed argument",
            |r| r["OCI"]["Process"]["Args"][2] = json!("evil"),
            "OCI.Process.Args[2]: got \"evil\", policy has \"/m\"",
        ),
        (
            "one more argument",
            |r| r["OCI"]["Process"]["Args"].as_array_mut().unwrap().push(json!("-v")),
            "OCI.Process.Args[4]: got \"-v\", policy has none",
        ),
        (
            "a changed variable",
            |r| set_env(r, "MODEL", Some("/evil")),
            "OCI.Process.Env.MODEL: got \"/evil\", policy has \"/m\"",
        ),
        ("a variable left out", |r| set_env(r, "MODEL", None), "OCI.Process.Env.MODEL: missing"),
        (
            "a variable added",
            |r| r["OCI"]["Process"]["Env"].as_array_mut().unwrap().push(json!("LD_PRELOAD=/x.so")),
            "OCI.Process.Env.LD_PRELOAD: got \"/x.so\", policy has none",
        ),
        (
            "a variable twice",
            |r| r["OCI"]["Process"]["Env"].as_array_mut().unwrap().push(json!("MODEL=/x")),
            "OCI.Process.Env.MODEL: there twice",
        ),
        (
            "another Service",
            |r| r["OCI"]["Process"]["Env"].as_array_mut().unwrap().push(json!("DB_SERVICE_HOST=10.0.0.9")),
            "OCI.Process.Env.DB_SERVICE_HOST: got",
        ),
        (
            "a mount left out",
            |r| r["OCI"]["Mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != json!("/casemate")),
            "OCI.Mounts./casemate: missing",
        ),
        (
            "a mount of the host",
            |r| set_mount(r, "/casemate", "source", json!("/run/kata-containers/shared/containers/x")),
            "OCI.Mounts./casemate.source: got",
        ),
        (
            "a writable mount",
            |r| set_mount(r, "/casemate", "options", json!(["rbind", "rprivate", "rw"])),
            "OCI.Mounts./casemate.options[2]: got \"rw\", policy has \"ro\"",
        ),
        ("a mount over another", |r| r["OCI"]["Mounts"].as_array_mut().unwrap().reverse(), "and hides it"),
        (
            "a second root",
            |r| {
                let s = r["storages"][0].clone();
                r["storages"].as_array_mut().unwrap().push(s);
            },
            "is there twice",
        ),
        (
            "a storage elsewhere",
            |r| r["storages"][0]["mount_point"] = json!("/run/kata-containers/x/rootfs"),
            "storages[0].mount_point: got",
        ),
        (
            "the agent's pause image",
            |r| {
                let o = r["storages"][0]["driver_options"][0].as_str().unwrap().replace("\"container\"", "\"sandbox\"");
                r["storages"][0]["driver_options"][0] = json!(o);
            },
            "driver_options.metadata.io.kubernetes.cri.container-type: got \"sandbox\", policy has \"container\"",
        ),
        ("a device", |r| r["devices"] = json!([{"type": "blk"}]), "devices: got"),
        ("a device node", |r| r["OCI"]["Linux"]["Devices"] = json!([{"Path": "/dev/sda"}]), "OCI.Linux.Devices: got"),
        (
            "a capability",
            |r| r["OCI"]["Process"]["Capabilities"]["Effective"].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN")),
            "Capabilities.Effective[14]: got \"CAP_SYS_ADMIN\", policy has none",
        ),
        (
            "an ambient capability",
            |r| r["OCI"]["Process"]["Capabilities"]["Ambient"] = json!(["CAP_SYS_ADMIN"]),
            "Capabilities.Ambient: got",
        ),
        ("a hook", |r| r["OCI"]["Hooks"] = json!({"Prestart": [{"Path": "/bin/sh"}]}), "OCI.Hooks: got"),
        (
            "an unmasked path",
            |r| {
                r["OCI"]["Linux"]["MaskedPaths"].as_array_mut().unwrap().retain(|p| p != &json!("/proc/kcore"));
            },
            "OCI.Linux.MaskedPaths: \"/proc/kcore\" missing",
        ),
        (
            "the host's network",
            |r| {
                r["OCI"]["Linux"]["Namespaces"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"Type": "network", "Path": "/proc/1/ns/net"}));
            },
            "OCI.Linux.Namespaces[3]: got",
        ),
        (
            "a sysctl",
            |r| r["OCI"]["Linux"]["Sysctl"] = json!({"kernel.core_pattern": "|/x"}),
            "OCI.Linux.Sysctl.kernel.core_pattern: got",
        ),
        (
            "another user",
            |r| r["OCI"]["Process"]["User"]["UID"] = json!(0),
            "OCI.Process.User.UID: got 0, policy has 1313",
        ),
        (
            "a fourth container",
            |r| r["OCI"]["Annotations"]["io.kubernetes.cri.container-name"] = json!("debug"),
            "container-name: got \"debug\", policy has \"casemate-initializer\", \"inference\"",
        ),
        (
            "a CDI device",
            |r| r["OCI"]["Annotations"]["cdi.k8s.io/gpu"] = json!("nvidia.com/gpu=0"),
            "OCI.Annotations.cdi.k8s.io/gpu: got",
        ),
        (
            "a field of the future",
            |r| r["OCI"]["Process"]["IOPriority"] = json!({"Class": 1}),
            "OCI.Process.IOPriority: got",
        ),
    ];
    let rig = Rig::new();
    for (what, change, word) in changes {
        let mut request = rig.workload();
        change(&mut request);
        let decision = rig.engine(3).decide("CreateContainerRequest", &request).unwrap();
        assert!(!decision.allowed, "{what}");
        assert!(decision.reasons.iter().any(|reason| reason.contains(word)), "{what}: {:#?}", decision.reasons);
    }
}

fn set_env(request: &mut Value, name: &str, value: Option<&str>) {
    let env = request["OCI"]["Process"]["Env"].as_array_mut().unwrap();
    env.retain(|variable| !variable.as_str().unwrap().starts_with(&format!("{name}=")));
    env.extend(value.map(|value| json!(format!("{name}={value}"))));
}

fn set_mount(request: &mut Value, destination: &str, field: &str, value: Value) {
    let mounts = request["OCI"]["Mounts"].as_array_mut().unwrap();
    mounts.iter_mut().find(|mount| mount["destination"] == json!(destination)).unwrap()[field] = value;
}

#[test]
fn a_container_is_live_at_most_once() {
    let rig = Rig::new();
    let mut engine = rig.engine(4);
    let refused = |engine: &mut PolicyEngine, request: &Value| {
        let decision = engine.decide("CreateContainerRequest", request).unwrap();
        assert!(!decision.allowed);
        decision.reasons.join("; ")
    };
    let second = rig.container("containers", &"d".repeat(64));
    assert!(refused(&mut engine, &second).contains("container inference is already live"));
    assert!(refused(&mut engine, &rig.workload()).contains("container_id: a container had this id before"));
    assert!(refused(&mut engine, &pause_request(&rig.pod, &rig.instance)).contains("already live"));
    let removed =
        engine.decide("RemoveContainerRequest", &json!({"container_id": "c".repeat(64), "timeout": 0})).unwrap();
    assert!(removed.allowed, "{removed:?}");
    // An agent may have kept something under the id of a container whose creation failed.
    assert_eq!(
        refused(&mut engine, &rig.workload()),
        "container_id: a container had this id before, and each gets one of its own"
    );
    assert!(engine.decide("CreateContainerRequest", &second).unwrap().allowed);
    assert!(refused(&mut engine, &rig.workload()).contains("container inference is already live"));
}

/// D1: what was pulled for one container must not be run as another, whatever became of the first.
#[test]
fn an_id_names_one_container_for_ever() {
    let rig = Rig::new();
    let mut engine = rig.engine(3);
    let initializer = json!({"container_id": "b".repeat(64), "timeout": 0});
    for _ in 0..3 {
        assert!(engine.decide("RemoveContainerRequest", &initializer).unwrap().allowed);
        let reused = rig.container("containers", &"b".repeat(64));
        let decision = engine.decide("CreateContainerRequest", &reused).unwrap();
        assert!(!decision.allowed && decision.reasons[0].contains("had this id before"), "{decision:?}");
        let same = rig.container("initContainers", &"b".repeat(64));
        assert!(!engine.decide("CreateContainerRequest", &same).unwrap().allowed);
    }
    let sandbox = rig.container("containers", &"a".repeat(64));
    assert!(!engine.decide("CreateContainerRequest", &sandbox).unwrap().allowed);
    // Another id, and the same container, is what containerd does.
    let anew = rig.container("initContainers", &"d".repeat(64));
    let decision = engine.decide("CreateContainerRequest", &anew).unwrap();
    assert!(decision.allowed, "{decision:?}");
}

#[test]
fn nothing_is_created_out_of_order() {
    let rig = Rig::new();
    for (skipped, (endpoint, request)) in [(0, &rig.life()[1]), (1, &rig.life()[2]), (0, &rig.life()[3])] {
        let decision = rig.engine(skipped).decide(endpoint, request).unwrap();
        assert!(!decision.allowed && !decision.reasons.is_empty(), "{decision:?}");
    }
    let again = rig.engine(1).decide("CreateSandboxRequest", &rig.life()[0].1).unwrap();
    assert_eq!(again.reasons, ["the sandbox is already there"]);
}

#[test]
fn a_refused_request_leaves_no_trace() {
    let rig = Rig::new();
    let mut engine = rig.engine(3);
    let before = engine.state.clone();
    let mut request = rig.workload();
    request["OCI"]["Process"]["Args"][0] = json!("evil");
    assert!(!engine.decide("CreateContainerRequest", &request).unwrap().allowed);
    assert_eq!(engine.state, before);
}

#[test]
fn other_requests_are_decided_with_reasons() {
    let rig = Rig::new();
    let container = |id: char| json!({"container_id": id.to_string().repeat(64), "exec_id": "", "signal": 15});
    let started = |id: char| json!({"container_id": id.to_string().repeat(64)});
    let output = |fields: Value| {
        let mut request = json!({"container_id": "c".repeat(64), "exec_id": "c".repeat(64), "len": 4096});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    let cases: Vec<(&str, Value, Option<&str>)> = vec![
        ("StartContainerRequest", started('c'), None),
        ("StartContainerRequest", started('a'), None),
        ("StartContainerRequest", started('e'), Some("no live container")),
        ("StartContainerRequest", json!({}), Some("no live container")),
        ("SignalProcessRequest", container('c'), None),
        ("SignalProcessRequest", container('b'), Some("container casemate-initializer takes no signals")),
        ("SignalProcessRequest", container('e'), Some("no live container")),
        ("SignalProcessRequest", json!({}), Some("no live container")),
        ("RemoveContainerRequest", started('e'), None),
        ("RemoveContainerRequest", json!({}), Some("container_id")),
        ("UpdateEphemeralMountsRequest", json!({"storages": []}), None),
        ("UpdateEphemeralMountsRequest", json!({"storages": [{"driver": "x"}]}), Some("storages[0]")),
        ("GuestDetailsRequest", json!({}), None),
        ("ReadStreamRequest", output(json!({})), None),
        ("ReadStreamRequest", output(json!({"exec_id": "", "len": 0})), None),
        ("ReadStreamRequest", output(json!({"container_id": "a".repeat(64)})), None),
        ("ReadStreamRequest", output(json!({"container_id": "e".repeat(64)})), Some("no live container")),
        ("ReadStreamRequest", output(json!({"exec_id": "../x"})), Some("exec_id: got")),
        ("ReadStreamRequest", output(json!({"exec_id": 7})), Some("exec_id: got")),
        ("ReadStreamRequest", output(json!({"len": -1})), Some("len: got -1")),
        ("ReadStreamRequest", output(json!({"len": "x"})), Some("len: got \"x\"")),
        ("ReadStreamRequest", output(json!({"stdin": true})), Some("stdin: got true")),
        ("ReadStreamRequest", json!({}), Some("no live container")),
        ("ReseedRandomDevRequest", json!({"data": []}), Some("ReseedRandomDevRequest is never allowed")),
        ("MemHotplugByProbeRequest", json!({}), Some("MemHotplugByProbeRequest is never allowed")),
        ("SetPolicyRequest", json!({}), Some("never allowed")),
        ("SetGuestDateTimeRequest", json!({}), Some("never allowed")),
        ("WriteStreamRequest", json!({}), Some("never allowed")),
        ("MemAgentMemcgConfig", json!({}), Some("MemAgentMemcgConfig is never allowed")),
        ("MemAgentCompactConfig", json!({}), Some("MemAgentCompactConfig is never allowed")),
        ("NoSuchRequest", json!({}), Some("the policy has no rule for `NoSuchRequest`")),
        ("policy_data", json!({}), Some("no request of an agent")),
        ("network", json!({}), Some("no request of an agent")),
        ("Remove\u{7f}\u{202e}Request", json!({}), Some("`Remove??Request` is no request of an agent")),
        ("RemoveContainerRequest", json!({"container_id": "\u{9b}2J\u{7f}"}), Some("?2J?")),
        ("data.agent_policy.CreateSandboxRequest", json!({}), Some("no request of an agent")),
    ];
    check(&rig, 4, cases);
}

/// Decides each request after the first `steps` of the pod's life, and looks for a word of the reason.
fn check(rig: &Rig, steps: usize, cases: Vec<(&str, Value, Option<&str>)>) {
    for (endpoint, request, reason) in cases {
        let decision = rig.engine(steps).decide(endpoint, &request).unwrap();
        assert_eq!(decision.allowed, reason.is_none(), "{endpoint} {request}: {decision:?}");
        if let Some(reason) = reason {
            assert!(decision.reasons.iter().any(|got| got.contains(reason)), "{endpoint} {request}: {decision:?}");
        }
    }
}

#[test]
fn output_stays_closed_unless_the_policy_opens_it() {
    let rig = Rig::with(Openings::default());
    let mut engine = rig.engine(4);
    for id in ["a", "b", "c"] {
        let request = json!({"container_id": id.repeat(64), "exec_id": id.repeat(64), "len": 4096});
        let decision = engine.decide("ReadStreamRequest", &request).unwrap();
        assert_eq!(decision.reasons, ["the policy keeps the output of containers closed: `logs` is false"]);
    }
}

/// The creation of pods and containers is gone through by `every_changed_leaf_is_refused_and_named`; a request that is
/// always allowed has no field that counts.
#[test]
fn no_request_takes_a_field_that_the_rules_do_not_know() {
    let rig = Rig::new();
    let container = json!({"container_id": "c".repeat(64)});
    let address = json!({"family": 0, "address": "10.0.0.7", "mask": "24"});
    let path = format!("/run/kata-containers/shared/containers/{}-0123456789abcdef-podinfo/x", "c".repeat(64));
    let requests = [
        ("CopyFileRequest", copy_file_request(&path, 0o120_777, 0, "y")),
        ("ReadStreamRequest", json!({"container_id": "c".repeat(64), "exec_id": "", "len": 1})),
        ("StartContainerRequest", container.clone()),
        ("StartContainerRequest", json!({"container_id": "a".repeat(64)})),
        ("SignalProcessRequest", container.clone()),
        ("SignalProcessRequest", json!({"container_id": "a".repeat(64)})),
        ("RemoveContainerRequest", container),
        (
            "UpdateInterfaceRequest",
            json!({"interface": {"device": "eth0", "name": "eth0", "hwAddr": "66:74:9f:6a:96:01",
            "IPAddresses": [address], "mtu": 1500, "raw_flags": 0}}),
        ),
        (
            "UpdateRoutesRequest",
            json!({"routes": {"Routes": [{"dest": "", "device": "eth0", "source": "", "scope": 0, "family": 0}]}}),
        ),
        (
            "AddARPNeighborsRequest",
            json!({"neighbors": {"ARPNeighbors": [{"toIPAddress": {"family": 0, "address": "10.0.0.1"},
                "device": "eth0", "lladdr": "66:74:9f:6a:96:01", "state": 128}]}}),
        ),
        ("UpdateEphemeralMountsRequest", json!({"storages": []})),
    ];
    let mut tried = 0;
    for (endpoint, request) in requests {
        let decision = rig.engine(4).decide(endpoint, &request).unwrap();
        assert!(decision.allowed, "{endpoint}: {decision:?}");
        let mut engine = rig.engine(4);
        for changed in mutate::with_an_extra_field(&request) {
            let decision = engine.decide(endpoint, &changed).unwrap();
            assert!(!decision.allowed, "{endpoint} {changed}");
            assert!(decision.reasons.iter().any(|got| got.contains("Extra")), "{endpoint} {changed}: {decision:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 18);
}

#[test]
fn a_policy_that_is_none_and_a_request_that_is_too_long_are_errors() {
    assert!(matches!(PolicyEngine::new("package agent_policy\nx := {"), Err(EvaluateError::Policy { .. })));
    assert!(matches!(PolicyEngine::new("package other\n"), Err(EvaluateError::Policy { .. })));
    let mut engine = PolicyEngine::new("package agent_policy\ndefault AllowRequestsFailingPolicy := true\n").unwrap();
    let long = json!({"x": "y".repeat(MAX_REQUEST)});
    assert!(matches!(engine.decide("CreateContainerRequest", &long), Err(EvaluateError::TooLong { .. })));
    // The switch that makes a Kata agent ignore its policy is not honoured.
    assert!(!engine.decide("CreateContainerRequest", &json!({})).unwrap().allowed);
}

#[test]
fn an_endless_policy_is_stopped() {
    let rego = "package agent_policy\nimport rego.v1\nReadStreamRequest if { \
        some a in numbers.range(1, 9000)\n some b in numbers.range(1, 9000)\n a * b == 0 }\n";
    let mut engine = PolicyEngine::new(rego).unwrap();
    assert!(matches!(engine.decide("ReadStreamRequest", &json!({})), Err(EvaluateError::Undecided { .. })));
}
