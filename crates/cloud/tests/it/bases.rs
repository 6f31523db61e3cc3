//! The kustomize bases: the source of everything else.

use expect_test::expect_file;
use serde_json::Value;

use crate::objects::{by_name, files, kustomize, objects};
use crate::{read, repository};

const NODE_AGENT: &str = "deploy/kustomize/node-agent/node-agent.yaml";
const COORDINATOR: &str = "deploy/kustomize/coordinator/coordinator.yaml";

#[test]
fn kustomize_builds_the_bases() {
    let Some(host) = kustomize("deploy/kustomize") else { return };
    expect_file!["../golden/kustomize-host.yaml"].assert_eq(&host);
    let Some(coordinator) = kustomize("deploy/kustomize/coordinator") else { return };
    expect_file!["../golden/kustomize-coordinator.yaml"].assert_eq(&coordinator);
}

#[test]
fn the_definition_is_the_one_that_the_agent_is_built_from() {
    let own = read(&repository().join("crates/node/crd/nodeconfigurations.yaml"));
    for copy in ["deploy/kustomize/crds/nodeconfigurations.yaml", "deploy/helm/casemate/crds/nodeconfigurations.yaml"] {
        assert_eq!(read(&repository().join(copy)), own, "{copy}: copy it from crates/node/crd");
    }
}

/// The Coordinator that somebody brings is the one that `generate` would have added, with what a cluster adds: an account
/// without rights, the ports that are open, and a word against being moved.
#[test]
fn the_coordinator_is_the_one_that_generate_adds() {
    let mut base = by_name(&read(&repository().join(COORDINATOR)));
    let image = format!("registry.example.com/casemate-pod:{}", cloud::VERSION);
    for expected in policy::generate::coordinator_resources("default", &image) {
        let name = crate::objects::name(&expected);
        let mut object = base.remove(&name).unwrap_or_else(|| panic!("{name} is missing"));
        if let Some(pod) = object.pointer_mut("/spec/template/spec").and_then(Value::as_object_mut) {
            assert_eq!(pod.remove("serviceAccountName"), Some("coordinator".into()));
        }
        assert_eq!(sorted(&object), sorted(&expected), "{name}");
    }
    let rest: Vec<&str> = base.keys().map(String::as_str).collect();
    assert_eq!(rest, ["NetworkPolicy/coordinator", "PodDisruptionBudget/coordinator", "ServiceAccount/coordinator"]);
    let ports = &base["NetworkPolicy/coordinator"]["spec"]["ingress"][0]["ports"];
    let open: Vec<&str> = ports.as_array().unwrap().iter().map(|port| port["port"].as_str().unwrap()).collect();
    assert_eq!(open, ["user", "mesh", "probes"]);
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: std::collections::BTreeMap<&String, Value> =
                fields.iter().map(|(key, value)| (key, sorted(value))).collect();
            sorted.into_iter().map(|(key, value)| (key.clone(), value)).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_object_is_in_a_base_and_every_version_is_this_one() {
    let folder = repository().join("deploy/kustomize");
    for path in files(&folder, &["yaml", "yml"]) {
        let text = read(&path);
        if path.ends_with("kustomization.yaml") {
            continue;
        }
        let kustomization = read(&path.with_file_name("kustomization.yaml"));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(kustomization.contains(&format!("  - {name}\n")), "{}: no kustomization has it", path.display());
        for line in text.lines().filter(|line| line.contains("image: ") || line.contains("/version: ")) {
            assert!(line.ends_with(cloud::VERSION), "{}: {line}", path.display());
        }
    }
    let release = format!("values: [\"{}\"]", cloud::VERSION);
    assert!(read(&repository().join(NODE_AGENT)).contains(&release));
}

#[test]
fn nothing_is_privileged_and_every_pod_says_what_it_takes() {
    let mut pods = 0;
    for path in [NODE_AGENT, COORDINATOR] {
        for (object, _) in objects(&read(&repository().join(path))) {
            let Some(pod) = object.pointer("/spec/template/spec") else { continue };
            pods += 1;
            assert!(pod["hostNetwork"].is_null() && pod["hostIPC"].is_null(), "{path}");
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_ne!(security["privileged"], true, "{path}");
                assert_eq!(security["allowPrivilegeEscalation"], false, "{path}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{path}");
                assert_eq!(security["capabilities"]["drop"][0], "ALL", "{path}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{path}");
            }
        }
    }
    assert_eq!(pods, 2);
}
