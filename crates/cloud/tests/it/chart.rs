//! The Helm chart: it says what the bases say, and refuses values that would end in a pod that never starts.

use std::collections::BTreeMap;

use expect_test::expect_file;
use serde_json::Value;
use testkit::go::HELM;

use crate::objects::{by_name, helm, name, objects, printed, tool};
use crate::{read, repository};

const CHART: &str = "deploy/helm/casemate";
/// Variants of values, each with the golden file of what comes out.
pub(crate) const VARIANTS: &[(&str, &[&str])] = &[
    ("default", &[]),
    (
        "coordinator",
        &[
            "--set=coordinator.enabled=true,nodeAgent.enabled=false",
            "--set=runtimeClasses.enabled=false",
            "--set=coordinator.service.type=LoadBalancer,coordinator.store.storageClassName=fast",
            "--set-string=coordinator.service.annotations.networking\\.gke\\.io/load-balancer-type=Internal",
        ],
    ),
    (
        "tdx-with-gpus",
        &[
            "--set=imageRegistry=europe-west4-docker.pkg.dev/my-project/casemate,imageTag=0.1.0-rc.1",
            "--set=nodeConfiguration.runtimes={kata-qemu-tdx,kata-qemu-nvidia-gpu-tdx}",
            "--set=nodeConfiguration.enabled=true,nodeConfiguration.whenInUse=Wait",
            "--set=nodeConfiguration.bundle=/opt/casemate/bundles/kata.toml,runtimeClasses.countKeys=true",
            "--set=imagePullSecrets[0].name=registry,nodeAgent.nodeSelector.pool=gpus",
        ],
    ),
    (
        "labels-alone",
        &[
            "--set=nodeConfiguration.enabled=true,nodeConfiguration.ccMode=,nodeConfiguration.vfio.enabled=false,networkPolicy.enabled=false",
            "--set-json=nodeConfiguration.runtimes=[]",
            "--set=runtimeClasses.enabled=false",
        ],
    ),
];

#[test]
fn the_chart_is_without_faults() {
    let Some(output) = tool(&HELM, &["lint", "--strict", CHART]) else { return };
    let said = printed(&output);
    assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
}

#[test]
fn what_the_chart_renders_is_reviewed() {
    for (variant, args) in VARIANTS {
        let Some(output) = helm(args) else { return };
        expect_file![format!("../golden/helm-{variant}.yaml")].assert_eq(&printed(&output));
    }
}

#[test]
fn the_chart_and_the_bases_say_the_same() {
    let Some(output) = helm(&["--include-crds", "--set=coordinator.enabled=true,nodeConfiguration.enabled=true"])
    else {
        return;
    };
    let chart = by_name(&printed(&output));
    let mut bases: BTreeMap<String, Value> = BTreeMap::new();
    for path in [
        "crds/nodeconfigurations.yaml",
        "runtime-classes/runtime-classes.yaml",
        "node-agent/node-agent.yaml",
        "configuration/configuration.yaml",
        "coordinator/coordinator.yaml",
    ] {
        for (object, _) in objects(&read(&repository().join("deploy/kustomize").join(path))) {
            bases.insert(name(&object), object);
        }
    }
    // Helm makes namespaces by a flag of its own.
    assert!(bases.remove("Namespace/casemate-system").is_some());
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&chart), names(&bases));
    for (name, object) in &chart {
        assert_eq!(comparable(object), comparable(&bases[name]), "{name}");
    }
}

/// An object without what Helm adds to it, and without a namespace where the base leaves that to whoever applies it.
fn comparable(object: &Value) -> String {
    let mut object = object.clone();
    let of_release = ["app.kubernetes.io/part-of", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance"];
    if let Some(labels) = object.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !of_release.contains(&key.as_str()) && key != "helm.sh/chart");
        if labels.is_empty() {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
    }
    if name(&object).contains("/coordinator") {
        object["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    // A map that sorts its keys.
    let mut text = String::new();
    write_sorted(&object, &mut text);
    text
}

fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            text.push('{');
            for (key, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                text.push_str(&format!("{key:?}:"));
                write_sorted(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_sorted(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let Some(_) = helm(&[]) else { return };
    for (args, says) in [
        ("imageRegistry=https://ghcr.io/me", "imageRegistry"),
        ("imageRegistry=ghcr.io//me", "imageRegistry"),
        ("imageRegistry=<region>-docker.pkg.dev/p/r", "imageRegistry"),
        ("imageRegistry=ghcr.io/me/", "imageRegistry"),
        ("imageRegistry=casemate", "imageRegistry"),
        ("imageTag=a b", "imageTag"),
        ("imageTag=1@sha256:00", "imageTag"),
        ("nodeConfiguration.ccMode=true", "ccMode"),
        ("nodeConfiguration.ccMode=On", "ccMode"),
        ("nodeConfiguration.devicePlugin.resourceNames=gpu", "resourceNames"),
        ("nodeConfiguration.runtimes={kata-qemu}", "runtimes"),
        ("nodeConfiguration.runtimes={kata-qemu-snp,kata-qemu-snp}", "runtimes"),
        ("nodeConfiguration.bundle=kata.toml", "bundle"),
        ("nodeConfiguration.vfio.enabled=yes", "vfio"),
        ("nodeConfiguration.whenInUse=Never", "whenInUse"),
        ("coordinator.runtimeClassName=runc", "runtimeClassName"),
        ("coordinator.runtimeClassName=kata-qemu-nvidia-gpu-snp", "runtimeClassName"),
        ("coordinator.store.size=big", "size"),
        ("coordinator.service.type=ExternalName", "service"),
        ("coordinator.replicas=3", "replicas"),
        ("nodeAgent.tolerations[0].operator=Sometimes", "tolerations"),
        ("nodeAgent.resources.limits.memory=96MB", "memory"),
        ("typo=1", "typo"),
    ] {
        let output = helm(&[&format!("--set={args}")]).expect("Helm was there a moment ago");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{args} was taken");
        assert!(said.contains("values don't meet the specifications") && said.contains(says), "{args}: {said}");
    }
}

/// Every value has a line of its own in the chart's README, with the default that stands in `values.yaml`.
#[test]
fn the_readme_lists_every_value() {
    let values: Value = serde_saphyr::from_str(&read(&repository().join(CHART).join("values.yaml"))).expect("YAML");
    let readme = read(&repository().join(CHART).join("README.md"));
    let mut rows = Vec::new();
    leaves(&values, "", &mut rows);
    assert!(rows.len() > 20);
    for (path, value) in rows {
        let row = format!("| `{path}` | `{value}` |");
        assert!(readme.contains(&row), "the README lacks a row that begins with {row}");
    }
}

/// Values by path; resources and lists are one value each.
fn leaves(value: &Value, path: &str, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() && !path.ends_with("resources") => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, rows);
            }
        }
        other => rows.push((path.to_owned(), other.to_string())),
    }
}

#[test]
fn the_chart_has_the_version_of_everything_else() {
    let chart: Value = serde_saphyr::from_str(&read(&repository().join(CHART).join("Chart.yaml"))).expect("YAML");
    assert_eq!(chart["version"], cloud::VERSION);
    assert_eq!(chart["appVersion"], cloud::VERSION);
}
