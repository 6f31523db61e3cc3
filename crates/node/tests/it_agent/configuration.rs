//! The definition of `NodeConfiguration`: what the API server takes and what it refuses; and its status.

use serde_json::{Value, json};

use crate::Test;
use crate::manifests::install;
use crate::rig::{JSON, MERGE, Rig, Told};

pub(crate) const TESTS: &[Test] = &[
    ("configuration::good_objects_are_accepted_and_bad_ones_refused", good_objects_are_accepted_and_bad_ones_refused),
    ("configuration::its_status_counts_the_nodes_that_it_selects", its_status_counts_the_nodes_that_it_selects),
];

const PATH: &str = "/apis/casemate.dev/v1alpha1/nodeconfigurations";

pub(crate) fn object(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "casemate.dev/v1alpha1", "kind": "NodeConfiguration", "metadata": {"name": name}, "spec": spec})
}

fn good_objects_are_accepted_and_bad_ones_refused(rig: &mut Rig) {
    install(rig);
    let try_it = |name: &str, spec: &Value| {
        let body = object(name, spec.clone()).to_string();
        rig.cluster.ask("POST", &format!("{PATH}?dryRun=All&fieldValidation=Strict"), Some((JSON, &body)))
    };
    let selector = json!({"a": "b"});
    for (name, spec) in [
        ("cluster", json!({})),
        ("cluster", json!({"ccMode": "on"})),
        ("hgx", json!({"nodeSelector": selector, "ccMode": "ppcie"})),
        (
            "all",
            json!({
                "nodeSelector": selector,
                "ccMode": "devtools",
                "vfio": {"enabled": true, "switches": true},
                "devicePlugin": {"resourceNames": "model"},
                "runtimes": ["kata-qemu-snp", "kata-qemu-nvidia-gpu-tdx"],
                "bundle": "/opt/casemate/bundle.toml",
            }),
        ),
    ] {
        let answer = try_it(name, &spec);
        assert_eq!(answer.status, 201, "{spec}: {}", answer.text());
    }
    for (name, spec, why) in [
        ("cluster", json!({"ccMode": "On"}), "Unsupported value: \\\"On\\\""),
        (
            "cluster",
            json!({"ccMode": "maybe"}),
            "supported values: \\\"on\\\", \\\"off\\\", \\\"devtools\\\", \\\"ppcie\\\"",
        ),
        ("cluster", json!({"ccMode": ""}), "Unsupported value"),
        // What YAML makes of an `on` without quotes.
        ("cluster", json!({"ccMode": true}), "must be of type string"),
        ("cluster", json!({"nodeSelector": selector}), "the object named `cluster` has no nodeSelector"),
        ("other", json!({"ccMode": "on"}), "every other one needs one"),
        ("other", json!({"nodeSelector": {}}), "every other one needs one"),
        ("other", json!({"nodeSelector": {"a": 1}}), "must be of type string"),
        ("cluster", json!({"vfio": {"enabled": "yes"}}), "must be of type boolean"),
        ("cluster", json!({"devicePlugin": {"resourceNames": "gpu"}}), "Unsupported value"),
        ("cluster", json!({"runtimes": ["kata"]}), "Unsupported value"),
        ("cluster", json!({"runtimes": ["kata-qemu-snp", "kata-qemu-snp"]}), "Duplicate value"),
        ("cluster", json!({"bundle": "bundle.toml"}), "should match"),
        ("cluster", json!({"ccmode": "on"}), "unknown field"),
    ] {
        let answer = try_it(name, &spec);
        assert!(matches!(answer.status, 400 | 422), "{spec}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains(why), "{spec}: {}", answer.text());
    }
    let many: Value =
        (0..17).map(|number| (format!("l{number}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let answer = try_it("other", &json!({"nodeSelector": many}));
    assert!(answer.text().contains("at most 16 labels"), "{}", answer.text());
}

fn its_status_counts_the_nodes_that_it_selects(rig: &mut Rig) {
    install(rig);
    for node in ["counted-1", "counted-2"] {
        rig.node(node, &[("pool", "counted")]);
    }
    rig.post(PATH, &object("counted", json!({"nodeSelector": {"pool": "counted"}})));
    // Both at once: whoever writes last must have seen the other.
    let agents = ["counted-1", "counted-2"].map(|node| rig.agent(&rig.agent_of(node), node, Told::features(&[])));
    let status = || rig.get(&format!("{PATH}/counted"))["status"].clone();
    let condition = |status: &Value, kind: &str| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
    };
    rig.wait("both nodes are counted", || {
        let status = status();
        status["nodes"]["selected"] == 2 && status["nodes"]["settled"] == 2
    });
    let first = status();
    assert_eq!(condition(&first, "Ready")["status"], "True", "{first}");
    assert_eq!(first["observedGeneration"], 1);

    // A node with nonsense on it.
    rig.label("counted-2", &json!({"nvidia.com/cc.mode": "onn"}));
    rig.wait("the nonsense is counted", || status()["nodes"]["refused"] == 1);
    let second = status();
    assert_eq!(condition(&second, "Ready")["status"], "False", "{second}");
    let degraded = condition(&second, "Degraded");
    assert_eq!(degraded["status"], "True");
    assert!(degraded["message"].as_str().is_some_and(|message| message.contains("counted-2")), "{degraded}");
    let note = rig.wait_for_event("counted-2", "CcModeRefused");
    assert!(note.contains("`onn` is no mode") && note.contains("set label"), "{note}");

    // Another generation is observed too.
    let patch = json!({"spec": {"vfio": {"enabled": true}}}).to_string();
    assert_eq!(rig.cluster.ask("PATCH", &format!("{PATH}/counted"), Some((MERGE, &patch))).status, 200);
    rig.wait("the new generation is observed", || status()["observedGeneration"] == 2);
    drop(agents);
    rig.cluster.ask("DELETE", &format!("{PATH}/counted"), None);
}
