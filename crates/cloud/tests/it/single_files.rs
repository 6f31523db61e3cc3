//! `runtime-PLATFORM.yml` and `coordinator-PLATFORM.yml`.

use std::collections::BTreeSet;

use cloud::files::{Registry, platform, render};
use expect_test::expect_file;
use policy::generate::{PLATFORMS, Tee};
use serde_json::Value;

use crate::objects::{by_name, name, objects};

fn rendered(name: &str) -> cloud::files::Rendered {
    let registry = Registry::new("registry.example.com").unwrap();
    render(platform(name).unwrap(), &registry).unwrap()
}

#[test]
fn three_platforms_are_reviewed_to_the_byte() {
    for (name, count) in [("metal-qemu-snp", 3), ("metal-qemu-tdx-gpu", 3), ("gke-snp", 1)] {
        let files = rendered(name).files;
        assert_eq!(files.len(), count, "{name}");
        for file in files {
            expect_file![format!("../golden/{}", file.name)].assert_eq(&file.text);
        }
    }
}

#[test]
fn every_platform_in_outline() {
    let mut text = String::new();
    for platform in PLATFORMS.iter().filter(|platform| platform.tee != Tee::Software) {
        let rendered = rendered(platform.name);
        text.push_str(&format!("{}\n", platform.name));
        for file in &rendered.files {
            text.push_str(&format!("  {}\n", file.name));
            for (object, _) in objects(&file.text) {
                text.push_str(&format!("    {}", name(&object)));
                match object["kind"].as_str() {
                    Some("NodeConfiguration") => text.push_str(&format!(" {}", object["spec"])),
                    Some("StatefulSet") => {
                        let class = &object["spec"]["template"]["spec"]["runtimeClassName"];
                        text.push_str(&format!(" {class}"));
                    }
                    _ => {}
                }
                text.push('\n');
            }
        }
        for note in &rendered.notes {
            text.push_str(&format!("  {note}\n"));
        }
    }
    expect_file!["../golden/single-files.txt"].assert_eq(&text);
}

/// Two releases in one cluster: nothing of the node agent is called what it was called before, and whatever one of its
/// objects names is there under that name.
#[test]
fn names_of_the_agent_carry_the_version() {
    let files = rendered("k3s-qemu-snp-gpu").files;
    let all = by_name(&files[0].text);
    let own = format!("casemate-node-{}", cloud::VERSION.replace('.', "-"));
    let shared = ["CustomResourceDefinition", "Namespace", "RuntimeClass"];
    let mut versioned = BTreeSet::new();
    for (name, object) in &all {
        let kind = object["kind"].as_str().unwrap();
        if !shared.contains(&kind) {
            assert!(object["metadata"]["name"].as_str().unwrap().starts_with(&own), "{name}");
            versioned.insert(kind);
        }
    }
    assert_eq!(versioned.len(), 9, "{versioned:?}");
    let daemon = &all[&format!("DaemonSet/{own}")]["spec"];
    assert_eq!(daemon["selector"]["matchLabels"]["app.kubernetes.io/name"], own);
    assert_eq!(daemon["template"]["metadata"]["labels"]["app.kubernetes.io/name"], own);
    assert_eq!(daemon["template"]["spec"]["serviceAccountName"], own);
    let agents = "/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0";
    let rule = daemon.pointer(agents).expect("one agent a node");
    assert_eq!(rule["labelSelector"]["matchLabels"]["app.kubernetes.io/component"], "node-agent");
    let admission = all[&format!("ValidatingAdmissionPolicy/{own}")].to_string();
    assert!(admission.contains(&format!("system:serviceaccount:casemate-system:{own}'")), "{admission}");
    assert_eq!(all[&format!("ValidatingAdmissionPolicyBinding/{own}")]["spec"]["policyName"], own);
    for kind in ["ClusterRoleBinding", "RoleBinding"] {
        let bindings = all.values().filter(|object| object["kind"] == kind);
        for binding in bindings {
            assert_eq!(binding["subjects"][0]["name"], own);
            let role = format!(
                "{}/{}",
                binding["roleRef"]["kind"].as_str().unwrap(),
                binding["roleRef"]["name"].as_str().unwrap()
            );
            assert!(all.contains_key(&role), "{role}");
        }
    }
}

/// The Coordinator's file differs from the base by class, image, head and label of the version.
#[test]
fn the_coordinators_selector_does_not_change_with_the_release() {
    for platform in ["metal-qemu-snp", "metal-qemu-tdx-gpu", "aks-clh-snp"] {
        let files = rendered(platform).files;
        let file = files.iter().find(|file| file.name.starts_with("coordinator-")).unwrap();
        for (object, _) in objects(&file.text) {
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/version"], cloud::VERSION);
            let template = &object["spec"]["template"]["metadata"]["labels"];
            assert!(template.is_null() || template["app.kubernetes.io/version"] == Value::Null);
        }
    }
}
