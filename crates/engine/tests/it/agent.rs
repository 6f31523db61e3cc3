//! The agent and the TEE against a host that speaks to them directly.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::agent_api::{AgentClient, AgentErrorCode, Call, CallError};
use engine::tee_api::{self, Launch, TeeClient, TeeErrorCode};
use protocol::Digest;
use serde_json::{Value, json};

use crate::Test;
use crate::registry::Registry;
use crate::support::{Work, container, eventually, initdata, workload};

pub(crate) const TESTS: &[Test] = &[
    ("a_pod_with_wrong_initdata_does_not_start", a_pod_with_wrong_initdata_does_not_start),
    ("the_agent_does_what_the_policy_allows_and_nothing_else", the_agent_does_what_the_policy_allows_and_nothing_else),
    ("a_hostile_host_gains_nothing_by_paths", a_hostile_host_gains_nothing_by_paths),
    ("a_pod_is_gone_with_its_agent", a_pod_is_gone_with_its_agent),
    ("a_pod_does_not_outlive_the_tee", a_pod_does_not_outlive_the_tee),
    ("an_attached_namespace_reaches_the_pods", an_attached_namespace_reaches_the_pods),
];

/// An engine with one quiet pod; the tests launch their own beside it.
fn engine_of_one() -> Work {
    let work =
        Work::with(&[workload("Deployment", "web", 1, json!({"containers": [container("main", &["http", "8080"])]}))]);
    work.must_up();
    work
}

fn launch(work: &Work, launch: Launch) -> Result<PathBuf, tee_api::CallError> {
    let mut tee = TeeClient::connect(&work.paths().tee_socket()).unwrap();
    match tee.call(&tee_api::Request::Launch(launch))? {
        tee_api::Reply::Launched { agent, .. } => Ok(agent),
        other => panic!("{other:?}"),
    }
}

fn honest(pod: &str) -> Launch {
    let initdata = initdata(1);
    Launch {
        pod: pod.into(),
        host_data: initdata.identity().0,
        initdata: Some(initdata.to_annotation()),
        netns: None,
        volumes: std::collections::BTreeMap::default(),
    }
}

fn a_pod_with_wrong_initdata_does_not_start() {
    let work = engine_of_one();
    let refused = |launch_: Launch, reason: &str| {
        let error = launch(&work, launch_).unwrap_err();
        let tee_api::CallError::Refused(error) = error else { panic!("{error}") };
        assert_eq!(error.code, TeeErrorCode::Refused, "{error}");
        assert!(error.message.contains(reason), "{error}");
    };
    refused(Launch { initdata: None, ..honest("a") }, "start-up check: initdata is absent");
    refused(
        Launch { initdata: Some("aGVsbG8=".into()), ..honest("a") },
        "start-up check: initdata annotation is not gzip",
    );
    refused(Launch { initdata: Some(initdata(2).to_annotation()), ..honest("a") }, "and HOSTDATA is");
    refused(Launch { host_data: Digest::ZERO, ..honest("a") }, "and HOSTDATA is 0000");
    // Nothing of those is left, and the name is free.
    assert!(!work.paths().pod("a").exists());
    assert!(launch(&work, honest("a")).is_ok());
    let error = launch(&work, honest("a")).unwrap_err();
    assert!(matches!(error, tee_api::CallError::Refused(error) if error.code == TeeErrorCode::Exists));
    for name in ["../a", "", "A", "a/b"] {
        assert!(launch(&work, honest(name)).is_err(), "{name}");
    }
}

const CID: &str = "c0ffee";

fn create_request(id: &str) -> Value {
    let root = format!("/run/kata-containers/{id}/rootfs");
    json!({
        "container_id": id,
        "exec_id": id,
        "storages": [{
            "driver": "image_guest_pull", "source": Registry::get().image(), "fstype": "overlay",
            "mount_point": root, "options": [], "driver_options": []
        }],
        "OCI": {
            "Process": {
                "User": {"UID": 0, "GID": 0}, "Args": ["/it", "guest", "http", "9000"], "Env": ["PATH=/"], "Cwd": "/",
                "Capabilities": {"Bounding": ["CAP_SYS_RESOURCE"], "Effective": [], "Permitted": []}
            },
            "Root": {"Path": root, "Readonly": false},
            "Mounts": [
                {"destination": "/proc", "source": "proc", "type_": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "source": "tmpfs", "type_": "tmpfs", "options": ["nosuid", "mode=755"]}
            ],
            "Linux": {"Resources": {}}
        }
    })
}

struct Pod {
    client: AgentClient,
}

impl Pod {
    fn launch(work: &Work, name: &str) -> Self {
        Self::at(&launch(work, honest(name)).unwrap())
    }

    fn at(socket: &Path) -> Self {
        let client = AgentClient::connect(socket).unwrap();
        client.set_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { client }
    }

    fn call(&mut self, ep: &str, request: Value) -> Result<Value, CallError> {
        self.client.call(&Call::new(ep, request))
    }

    fn refused(&mut self, ep: &str, request: Value) -> engine::agent_api::AgentError {
        match self.call(ep, request) {
            Err(CallError::Refused(error)) => error,
            other => panic!("{ep}: {other:?}"),
        }
    }

    fn of_container(&mut self, ep: &str, id: &str) -> Result<Value, CallError> {
        self.call(ep, json!({"container_id": id, "exec_id": id}))
    }
}

fn the_agent_does_what_the_policy_allows_and_nothing_else() {
    let work = engine_of_one();
    let mut pod = Pod::launch(&work, "p");
    // Denied: with the policy's reason, and nothing has happened.
    let mut forbidden = create_request(CID);
    forbidden["OCI"]["Process"]["Env"] = json!(["PATH=/", "FORBIDDEN=1"]);
    let error = pod.refused("CreateContainerRequest", forbidden);
    assert_eq!(error.code, AgentErrorCode::Denied);
    assert!(!error.reasons.is_empty());
    assert!(pod.of_container("StartContainerRequest", CID).is_err());
    // A request that the policy has no rule for, and one that it allows and nobody serves.
    assert_eq!(pod.refused("SetPolicyRequest", json!({"policy": ""})).code, AgentErrorCode::Denied);
    assert_eq!(pod.refused("Nonsense", json!({})).code, AgentErrorCode::Denied);
    assert_eq!(pod.refused("ListRoutesRequest", json!({})).code, AgentErrorCode::Failed);
    assert_eq!(pod.refused("ExecProcessRequest", json!({})).code, AgentErrorCode::Malformed);
    // Allowed.
    pod.call("CreateSandboxRequest", json!({"sandbox_id": "s", "hostname": "host"})).unwrap();
    pod.call("CreateContainerRequest", create_request(CID)).unwrap();
    assert!(pod.refused("CreateContainerRequest", create_request(CID)).message.contains("already"));
    pod.of_container("StartContainerRequest", CID).unwrap();
    assert!(pod.of_container("StartContainerRequest", CID).is_err());
    let output = pod.of_container("ReadStreamRequest", CID).unwrap();
    assert_eq!(output["data"], json!("bGlzdGVuaW5nIG9uIDkwMDAK"));
    assert!(pod.of_container("StatsContainerRequest", CID).unwrap()["pids"].as_u64().unwrap() >= 1);
    let error = pod.refused("RemoveContainerRequest", json!({"container_id": CID}));
    assert!(error.message.contains("still running"));
    pod.call("SignalProcessRequest", json!({"container_id": CID, "exec_id": CID, "signal": 9})).unwrap();
    assert_eq!(pod.of_container("WaitProcessRequest", CID).unwrap()["status"], json!(137));
    let rest = pod.of_container("ReadStreamRequest", CID).unwrap();
    assert_eq!(rest["eof"], json!(true));
    pod.of_container("RemoveContainerRequest", CID).unwrap();
    assert!(pod.of_container("WaitProcessRequest", CID).is_err());
    pod.call("CreateContainerRequest", create_request(CID)).unwrap();
    // A frame that is no call is answered, and the connection goes on.
    let mut raw = std::os::unix::net::UnixStream::connect(work.paths().agent_socket("p")).unwrap();
    engine::frame::write(&mut raw, &json!({"ep": "x"})).unwrap();
    let reply: Value = engine::frame::read(&mut raw).unwrap();
    assert_eq!(reply["error"]["code"], json!("malformed"));
}

fn a_hostile_host_gains_nothing_by_paths() {
    let work = engine_of_one();
    let mut pod = Pod::launch(&work, "p");
    let copied = "/run/kata-containers/shared/containers";
    let copy = |path: &str, mode: u32, link: &str| json!({"path": path, "file_size": 0, "file_mode": mode, "dir_mode": 0, "uid": 0, "gid": 0, "offset": 0, "symlink_src": link});
    for path in ["/etc/x", "/run/kata-containers/x", "/run/kata-containers/shared/containers/../../x", copied] {
        assert_eq!(pod.refused("CopyFileRequest", copy(path, 0o100_644, "")).code, AgentErrorCode::Failed, "{path}");
    }
    pod.call("CreateSandboxRequest", json!({
        "sandbox_id": "s",
        "storages": [{"driver": "ephemeral", "source": "tmpfs", "mount_point": "/run/kata-containers/sandbox/ephemeral/secret"}]
    }))
    .unwrap();
    // A link in place of a file that a container mounts would show it another container's secrets.
    let link = format!("{copied}/link");
    pod.call("CopyFileRequest", copy(&link, 0o120_777, "../../sandbox/ephemeral/secret")).unwrap();
    let mut request = create_request(CID);
    request["OCI"]["Mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/etc/hosts", "source": link, "type_": "bind", "options": ["rbind"]}));
    let error = pod.refused("CreateContainerRequest", request.clone());
    assert!(error.message.starts_with("OCI.Mounts[2].source") && error.message.contains("symbolic link"), "{error}");
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 7] = [
        ("OCI.Mounts[2].source", |r| r["OCI"]["Mounts"][2]["source"] = json!("/etc/passwd")),
        ("OCI.Mounts[2].source", |r| r["OCI"]["Mounts"][2]["source"] = json!("/run/kata-containers/../../etc")),
        ("OCI.Mounts[2].source", |r| r["OCI"]["Mounts"][2]["source"] = json!("/run/kata-containers/none")),
        ("OCI.Root.Path", |r| r["OCI"]["Root"]["Path"] = json!("/")),
        ("OCI.Root.Path", |r| {
            r["OCI"]["Root"]["Path"] = json!("/etc");
            r["storages"][0]["mount_point"] = json!("/etc");
        }),
        ("storages", |r| r["storages"] = json!([])),
        ("container_id", |r| r["container_id"] = json!("../x")),
    ];
    for (field, change) in cases {
        let mut changed = request.clone();
        change(&mut changed);
        let error = pod.refused("CreateContainerRequest", changed);
        assert!(error.message.starts_with(field), "{field}: {error}");
    }
    // An image by tag, and one whose content is another than its digest says.
    let image = Registry::get().image();
    let (tag, _) = image.split_once('@').unwrap();
    let mut by_tag = create_request(CID);
    by_tag["storages"][0]["source"] = json!(tag);
    assert!(pod.refused("CreateContainerRequest", by_tag).message.contains("does not name a digest"));
}

fn a_pod_is_gone_with_its_agent() {
    let work = engine_of_one();
    let mut pod = Pod::launch(&work, "p");
    pod.call("CreateSandboxRequest", json!({"sandbox_id": "s", "hostname": "host"})).unwrap();
    pod.call("CreateContainerRequest", create_request(CID)).unwrap();
    pod.of_container("StartContainerRequest", CID).unwrap();
    let running = || {
        engine::memory_report(work.path())
            .unwrap()
            .iter()
            .any(|process| process.role == "container" && process.pod.as_deref() == Some("p"))
    };
    assert!(running());
    let mut tee = TeeClient::connect(&work.paths().tee_socket()).unwrap();
    assert!(
        tee.call(&tee_api::Request::List)
            .map(|reply| matches!(reply, tee_api::Reply::Pods(pods) if pods.len() == 2))
            .unwrap()
    );
    let reply = tee.call(&tee_api::Request::Stop { pod: "p".into() }).unwrap();
    assert!(matches!(reply, tee_api::Reply::Stopped { .. }));
    assert!(!running());
    assert!(!work.paths().pod("p").exists());
    assert!(pod.of_container("WaitProcessRequest", CID).is_err());
    let error = tee.call(&tee_api::Request::Stop { pod: "p".into() }).unwrap_err();
    assert!(matches!(error, tee_api::CallError::Refused(error) if error.code == TeeErrorCode::NotFound));
}

fn a_pod_does_not_outlive_the_tee() {
    let work = engine_of_one();
    let pid = |role: &str| {
        let memory = engine::memory_report(work.path()).unwrap();
        memory.iter().find(|process| process.role == role).map(|process| process.pid)
    };
    let gone = |pid: u32| !Path::new(&format!("/proc/{pid}")).exists();
    let (tee, agent, container) = (pid("tee").unwrap(), pid("agent").unwrap(), pid("container").unwrap());
    let tee = rustix::process::Pid::from_raw(i32::try_from(tee).unwrap()).unwrap();
    rustix::process::kill_process(tee, rustix::process::Signal::KILL).unwrap();
    eventually("agent and container are gone", || gone(agent) && gone(container));
    // It is said, and `down` cleans up all the same.
    eventually("the pod is not ready", || !engine::ps(work.path()).unwrap()[0].is_ready);
}

fn an_attached_namespace_reaches_the_pods() {
    let work = engine_of_one();
    work.must_be_ready();
    let attached = engine::attach_netns(work.path(), "rogue").unwrap();
    let socket = launch(&work, Launch { netns: Some(attached.netns.clone()), ..honest("rogue") }).unwrap();
    let mut pod = Pod::at(&socket);
    pod.call("CreateSandboxRequest", json!({"sandbox_id": "s", "hostname": "host"})).unwrap();
    pod.call("CreateContainerRequest", create_request(CID)).unwrap();
    pod.of_container("StartContainerRequest", CID).unwrap();
    let victim = engine::ps(work.path()).unwrap().remove(0);
    let target = format!("{}:9000/get?{}:8080/", attached.ip, victim.ip.unwrap());
    eventually("one pod reaches the other", || crate::guest::get(&target).trim() == victim.name);
    let mut tee = TeeClient::connect(&work.paths().tee_socket()).unwrap();
    tee.call(&tee_api::Request::Stop { pod: "rogue".into() }).unwrap();
    engine::detach_netns(work.path(), "rogue").unwrap();
    assert!(!attached.netns.exists());
}
