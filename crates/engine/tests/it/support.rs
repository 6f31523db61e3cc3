//! Work folders, resources and what a machine looks like before and after.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use engine::{EngineError, UpOptions, UpReport};
use protocol::initdata::{Initdata, Settings};
use protocol::manifest::{Quorum, ReferenceValues};
use protocol::{DeploymentId, Role};
use serde_json::{Value, json};

use crate::registry::Registry;

/// Why these tests cannot run here.
pub(crate) fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    let missing = |program: &&&str| {
        !["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
    };
    ["runc", "nft", "ip"].iter().find(missing).map(|program| format!("`{program}` is not installed"))
}

/// A policy that allows what a shim does, but no container with the variable `FORBIDDEN`.
pub(crate) const POLICY: &str = r#"
package agent_policy

import rego.v1

default UpdateInterfaceRequest := true
default UpdateRoutesRequest := true
default CreateSandboxRequest := true
default GuestDetailsRequest := true
default CopyFileRequest := true
default OnlineCPUMemRequest := true
default UpdateEphemeralMountsRequest := true
default StartContainerRequest := true
default WaitProcessRequest := true
default ReadStreamRequest := true
default RemoveContainerRequest := true
default SignalProcessRequest := true
default StatsContainerRequest := true
default GetOOMEventRequest := true
default DestroySandboxRequest := true
default CreateContainerRequest := false
default ExecProcessRequest := true
default ListRoutesRequest := true

CreateContainerRequest if {
	every variable in input.OCI.Process.Env {
		not startswith(variable, "FORBIDDEN=")
	}
}
"#;

/// Initdata around [`POLICY`]; `salt` makes it another identity.
pub(crate) fn initdata(salt: u8) -> Initdata {
    let settings = Settings {
        version: 1,
        deployment_id: DeploymentId::from_bytes([salt; 16]),
        role: Role::Workload,
        mesh: false,
        coordinator: None,
        open_ports: vec![],
        fs_group: None,
        owners: Quorum { threshold: 1, keys: vec![] },
        reference_values: ReferenceValues::default(),
        files: std::collections::BTreeMap::default(),
        ingress: vec![],
        egress: vec![],
    };
    Initdata::build(POLICY, &settings).unwrap()
}

/// A container of the test's image.
pub(crate) fn container(name: &str, args: &[&str]) -> Value {
    let args: Vec<_> = ["guest"].iter().chain(args).collect();
    json!({"name": name, "image": Registry::get().image(), "args": args})
}

/// A pod template.
pub(crate) fn template(app: &str, spec: Value) -> Value {
    json!({
        "metadata": {
            "labels": {"app": app},
            "annotations": {protocol::initdata::ANNOTATION: initdata(1).to_annotation()},
        },
        "spec": spec,
    })
}

/// A workload.
pub(crate) fn workload(kind: &str, name: &str, replicas: u32, spec: Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": template(name, spec)},
    })
}

/// A service in front of a workload.
pub(crate) fn service(name: &str, port: u16, target: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": target}]},
    })
}

/// A work folder with its engine, which is stopped when the test ends, however it ends.
pub(crate) struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("resources")).unwrap();
        Self { folder }
    }

    /// One with these objects as its resources.
    pub(crate) fn with(objects: &[Value]) -> Self {
        let work = Self::new();
        for (index, object) in objects.iter().enumerate() {
            std::fs::write(work.resources().join(format!("{index}.yaml")), object.to_string()).unwrap();
        }
        work
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The resources.
    pub(crate) fn resources(&self) -> PathBuf {
        self.folder.path().join("resources")
    }

    /// The engine's names.
    pub(crate) fn paths(&self) -> engine::Paths {
        engine::Paths::of(self.path()).unwrap()
    }

    /// `up`.
    pub(crate) fn up(&self) -> Result<UpReport, EngineError> {
        engine::up(UpOptions {
            workspace: self.path().to_owned(),
            resources: vec![self.resources()],
            timeout: Duration::from_secs(60),
            progress: &mut |_| (),
        })
    }

    /// `up` that must succeed.
    pub(crate) fn must_up(&self) -> UpReport {
        self.up().unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// The engine's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.paths().engine_log()).unwrap_or_default()
    }

    /// Waits until every pod is ready.
    pub(crate) fn must_be_ready(&self) {
        engine::wait_ready(self.path(), Duration::from_secs(30))
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let result = engine::down(self.path());
        if !std::thread::panicking() {
            result.unwrap();
        }
    }
}

/// `up WORKSPACE`: the caller of `up` as a process of its own, for a test that kills it.
pub(crate) fn up_main(args: &[OsString]) -> ExitCode {
    let workspace = PathBuf::from(args.first().unwrap());
    let result = engine::up(UpOptions {
        resources: vec![workspace.join("resources")],
        workspace,
        timeout: Duration::from_secs(60),
        progress: &mut |event| println!("{}", event.reason),
    });
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries until it is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the engine of a work folder has on this machine. Engines of other folders may be at work meanwhile; everything
/// of one carries its id.
pub(crate) fn machine(work: &Work) -> BTreeSet<String> {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let paths = work.paths();
    let mut all = BTreeSet::new();
    let mut add = |what: &str, mark: &str, lines: String| {
        all.extend(lines.lines().filter(|line| line.contains(mark)).map(|line| format!("{what}: {line}")));
    };
    add("netns", paths.id(), run("ip", &["netns", "list"]));
    add("link", paths.id(), run("ip", &["-o", "-br", "link"]));
    add("route", paths.id(), run("ip", &["route", "show", "table", "all"]));
    add("mount", paths.id(), std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    add("cgroup", paths.id(), run("find", &["/sys/fs/cgroup", "-maxdepth", "3", "-type", "d", "-path", "*casemate*"]));
    add("run", paths.id(), run("ls", &["/run/casemate"]));
    // The node's rules are in the node; the host has none of ours.
    add("nft", "casemate", run("nft", &["list", "ruleset"]));
    all.into_iter().chain(processes()).collect()
}

/// Nothing is left, not even what engines share, unless another one uses it.
pub(crate) fn assert_nothing_left(work: &Work) {
    assert_eq!(machine(work), BTreeSet::new());
    let empty = std::fs::read_dir("/run/casemate").is_ok_and(|mut entries| entries.next().is_none());
    assert!(!empty, "/run/casemate is left");
}

/// Processes of this executable besides this one.
fn processes() -> Vec<String> {
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let same = std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == own);
        if pid != std::process::id() && same {
            found.push(format!("process: {pid}"));
        }
    }
    found
}
