//! The manifests of this repository: the real API server takes them, and the rights in them are enough and not more.

use std::path::{Path, PathBuf};

use node::runtime::class::{self, Keys};
use serde_json::{Value, json};

use crate::Test;
use crate::rig::{APPLY, JSON, Rig};

pub(crate) const TESTS: &[Test] = &[
    (
        "manifests::the_definition_and_the_agents_manifest_are_accepted",
        the_definition_and_the_agents_manifest_are_accepted,
    ),
    ("manifests::an_agent_may_not_touch_what_is_not_its_own", an_agent_may_not_touch_what_is_not_its_own),
    ("manifests::every_example_is_accepted", every_example_is_accepted),
    ("manifests::runtime_classes_are_accepted_as_they_are_printed", runtime_classes_are_accepted_as_they_are_printed),
];

const AGENT: &str = "deploy/kustomize/node-agent/node-agent.yaml";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// Where the API server has objects of a kind.
fn collection(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let (plural, namespaced) = match text("kind") {
        "Namespace" => ("namespaces", false),
        "ServiceAccount" => ("serviceaccounts", true),
        "ClusterRole" => ("clusterroles", false),
        "ClusterRoleBinding" => ("clusterrolebindings", false),
        "Role" => ("roles", true),
        "RoleBinding" => ("rolebindings", true),
        "ValidatingAdmissionPolicy" => ("validatingadmissionpolicies", false),
        "ValidatingAdmissionPolicyBinding" => ("validatingadmissionpolicybindings", false),
        "CustomResourceDefinition" => ("customresourcedefinitions", false),
        "NetworkPolicy" => ("networkpolicies", true),
        "NodeConfiguration" => ("nodeconfigurations", false),
        "DaemonSet" => ("daemonsets", true),
        "Deployment" => ("deployments", true),
        "Pod" => ("pods", true),
        "RuntimeClass" => ("runtimeclasses", false),
        kind => panic!("no place for a {kind}"),
    };
    let version = text("apiVersion");
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    if namespaced { format!("{root}/namespaces/{namespace}/{plural}") } else { format!("{root}/{plural}") }
}

/// Applies every document of a file, as `kubectl apply --server-side --validate=strict` does.
fn apply(rig: &Rig, path: &Path) -> usize {
    let text = read(path);
    let documents: Vec<&str> = text.split("\n---\n").collect();
    for document in &documents {
        let object: Value = serde_saphyr::from_str(document).expect("YAML");
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let place = format!("{}/{name}?fieldManager=kubectl&fieldValidation=Strict&force=true", collection(&object));
        let answer = rig.cluster.ask("PATCH", &place, Some((APPLY, document)));
        let taken = matches!(answer.status, 200 | 201);
        assert!(taken, "{}: {} `{name}`: {}", path.display(), object["kind"], answer.text());
    }
    documents.len()
}

fn the_definition_and_the_agents_manifest_are_accepted(rig: &mut Rig) {
    install(rig);
    let accepted = rig.get("/apis/apps/v1/namespaces/casemate-system/daemonsets/casemate-node");
    assert_eq!(accepted["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"], false);
    // What is mounted, and what may be done, is what the comments justify and no more.
    let container = &accepted["spec"]["template"]["spec"]["containers"][0];
    let capabilities = &container["securityContext"]["capabilities"];
    let add = ["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_CHROOT", "SYS_MODULE"];
    assert_eq!(*capabilities, json!({"drop": ["ALL"], "add": add}));
    // Applying the agent changes no node. What it is to do is another file, which is not for the nodes of other tests.
    let text = read(&repository().join(AGENT));
    assert!(!text.contains("kind: NodeConfiguration"));
    assert_eq!(apply(rig, &repository().join("deploy/kustomize/configuration/configuration.yaml")), 1);
    rig.cluster.ask("DELETE", "/apis/casemate.dev/v1alpha1/nodeconfigurations/cluster", None);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (before, line) in lines.iter().zip(lines.iter().skip(1)) {
        if line.contains("mountPath:") {
            assert!(before.starts_with('#'), "a mount without a reason: {line}");
        }
    }
}

/// The definition and the manifest. Every test needs them, and any may be the first.
pub(crate) fn install(rig: &Rig) {
    apply(rig, &repository().join("crates/node/crd/nodeconfigurations.yaml"));
    rig.wait("the definition is served", || {
        rig.cluster.ask("GET", "/apis/casemate.dev/v1alpha1/nodeconfigurations", None).status == 200
    });
    assert!(apply(rig, &repository().join(AGENT)) > 8);
}

fn runtime_classes_are_accepted_as_they_are_printed(rig: &mut Rig) {
    let printed = class::yaml(&class::runtime_classes(Keys::NotCounted));
    expect_test::expect_file!["../../../../deploy/kustomize/runtime-classes/runtime-classes.yaml"].assert_eq(&printed);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("classes.yaml");
    for keys in [Keys::NotCounted, Keys::Counted] {
        std::fs::write(&path, class::yaml(&class::runtime_classes(keys))).expect("a file");
        assert_eq!(apply(rig, &path), 5);
    }
    let stored = rig.get("/apis/node.k8s.io/v1/runtimeclasses/kata-qemu-nvidia-gpu-snp");
    assert_eq!(stored["handler"], "kata-qemu-nvidia-gpu-snp");
    assert_eq!(stored["scheduling"]["nodeSelector"]["nvidia.com/cc.ready.state"], "true");
    assert_eq!(stored["overhead"]["podFixed"]["memory"], "10Gi");
}

fn an_agent_may_not_touch_what_is_not_its_own(rig: &mut Rig) {
    install(rig);
    for node in ["own", "other"] {
        rig.node(node, &[("kubernetes.io/hostname", node), ("nvidia.com/gpu.deploy.driver", "true")]);
    }
    let agent = {
        let config = rig.agent_of("own");
        let _inside = rig.runtime.enter();
        node::agent::client::client(&config, std::sync::Arc::default()).expect("a client")
    };
    let ask = |method: &str, path: &str, kind: &str, body: Value| {
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = request.body(kube::client::Body::from(body)).expect("a request");
        rig.runtime.block_on(agent.send(request)).expect("an answer").status().as_u16()
    };
    let label = |node: &str, patch: Value| {
        ask("PATCH", &format!("/api/v1/nodes/{node}"), crate::rig::MERGE, json!({"metadata": {"labels": patch}}))
    };
    // A policy holds a moment after it was accepted.
    rig.wait("the policy holds", || label("other", json!({"nvidia.com/cc.mode.state": "on"})) == 422);
    assert_eq!(label("own", json!({"nvidia.com/cc.mode.state": "on", "casemate.dev/node-state": "settled"})), 200);
    assert_eq!(label("own", json!({"nvidia.com/gpu.deploy.vfio-manager": "paused-for-cc-mode-change"})), 200);
    assert_eq!(label("own", json!({"nvidia.com/cc.mode.state": null})), 200, "its own labels go");
    for refused in [
        json!({"kubernetes.io/hostname": "another"}),
        json!({"node-role.kubernetes.io/control-plane": ""}),
        json!({"nvidia.com/gpu.deploy.driver": null}),
        json!({"kubernetes.io/hostname": null}),
    ] {
        assert_eq!(label("own", refused.clone()), 422, "{refused}");
    }
    let taint = json!({"spec": {"unschedulable": true}});
    assert_eq!(ask("PATCH", "/api/v1/nodes/own", crate::rig::MERGE, taint), 422);
    let made = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "new"}});
    let forbidden = [
        ("GET", "/api/v1/secrets", Value::Null),
        ("GET", "/api/v1/namespaces/kube-system/configmaps", Value::Null),
        ("DELETE", "/api/v1/nodes/own", Value::Null),
        ("POST", "/api/v1/nodes", made),
        ("DELETE", "/api/v1/namespaces/default/pods/any", Value::Null),
        ("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", Value::Null),
        ("PATCH", "/apis/casemate.dev/v1alpha1/nodeconfigurations/cluster", json!({"spec": {}})),
    ];
    for (method, path, body) in forbidden {
        let kind = if method == "PATCH" { crate::rig::MERGE } else { JSON };
        assert_eq!(ask(method, path, kind, body), 403, "{method} {path}");
    }
}

fn every_example_is_accepted(rig: &mut Rig) {
    let mut pods = 0;
    let classes: Vec<String> = yaml_files(&repository().join("examples/runtime-classes"))
        .iter()
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(classes.len(), 5, "{classes:?}");
    for class in &classes {
        let object = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": class}, "handler": class,
            "overhead": {"podFixed": {"memory": "2Gi"}},
        });
        rig.post("/apis/node.k8s.io/v1/runtimeclasses", &object);
    }
    for folder in ["examples/runtime-classes", "examples/gpu-vectoradd"] {
        for path in yaml_files(&repository().join(folder)) {
            pods += apply(rig, &path);
            let object: Value = serde_saphyr::from_str(&read(&path)).expect("YAML");
            let pod = if object["kind"] == "Pod" { &object["spec"] } else { &object["spec"]["template"]["spec"] };
            let class = pod["runtimeClassName"].as_str().unwrap_or_default();
            assert!(classes.iter().any(|known| known == class), "{}: {class}", path.display());
            let limits = &pod["containers"][0]["resources"]["limits"];
            assert_eq!(limits["nvidia.com/pgpu"].is_string(), class.contains("gpu"), "{}", path.display());
        }
    }
    assert_eq!(pods, 7);
    let pod = rig.get("/api/v1/namespaces/default/pods/kata-qemu-nvidia-gpu-snp");
    assert_eq!(pod["spec"]["overhead"]["memory"], "2Gi", "the class's overhead is the pod's");
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}
