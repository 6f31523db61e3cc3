//! Labels of features: those that hold are set, those that no longer hold disappear, those of others are theirs.

use serde_json::json;

use crate::Test;
use crate::manifests::install;
use crate::rig::{APPLY, Rig, Told};

pub(crate) const TESTS: &[Test] = &[
    (
        "features::labels_are_set_and_those_that_no_longer_hold_are_removed",
        labels_are_set_and_those_that_no_longer_hold_are_removed,
    ),
    ("features::labels_of_an_earlier_agent_are_removed", labels_of_an_earlier_agent_are_removed),
    ("features::a_label_that_another_holds_is_left_to_it", a_label_that_another_holds_is_left_to_it),
    (
        "features::a_map_of_labels_that_another_holds_as_a_whole_is_no_obstacle",
        a_map_of_labels_that_another_holds_as_a_whole_is_no_obstacle,
    ),
    ("features::a_node_that_is_deleted_is_not_made_again", a_node_that_is_deleted_is_not_made_again),
];

const SNP: &str = "feature.node.kubernetes.io/cpu-security.sev.snp.enabled";
const AMD: &str = "amd.feature.node.kubernetes.io/snp";
const GPU: &str = "feature.node.kubernetes.io/pci-10de.present";

fn labels_are_set_and_those_that_no_longer_hold_are_removed(rig: &mut Rig) {
    install(rig);
    rig.node("featured", &[("mine", "kept")]);
    let machine = Told::features(&[(SNP, "true"), (AMD, "true")]);
    let _agent = rig.agent(&rig.agent_of("featured"), "featured", machine.clone());
    rig.wait_for_labels("featured", "features are labelled", |labels| {
        labels.contains_key(SNP) && labels.contains_key(AMD)
    });
    // A setting of the firmware was changed.
    machine.set(&[(GPU, "true")]);
    let labels = rig.wait_for_labels("featured", "the new feature is labelled", |labels| labels.contains_key(GPU));
    assert!(!labels.contains_key(SNP) && !labels.contains_key(AMD), "{labels:?}");
    assert_eq!(labels["mine"], "kept");
    // Somebody's hand.
    rig.label("featured", &json!({GPU: null}));
    rig.wait_for_labels("featured", "the feature is labelled again", |labels| labels.contains_key(GPU));
}

fn labels_of_an_earlier_agent_are_removed(rig: &mut Rig) {
    rig.node("restarted", &[]);
    let config = rig.agent_of("restarted");
    let agent = rig.agent(&config, "restarted", Told::features(&[(SNP, "true")]));
    rig.wait_for_labels("restarted", "the feature is labelled", |labels| labels.contains_key(SNP));
    drop(agent);
    assert!(rig.labels("restarted").contains_key(SNP), "an agent that ends takes nothing away");
    let _agent = rig.agent(&config, "restarted", Told::features(&[]));
    rig.wait_for_labels("restarted", "the old label is gone", |labels| !labels.contains_key(SNP));
}

fn a_label_that_another_holds_is_left_to_it(rig: &mut Rig) {
    rig.node("shared", &[]);
    let path = "/api/v1/nodes/shared?fieldManager=nfd-master&force=true";
    let theirs = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "shared", "labels": {SNP: "theirs", GPU: "true"}}});
    assert_eq!(rig.cluster.ask("PATCH", path, Some((APPLY, &theirs.to_string()))).status, 200);
    let machine = Told::features(&[(SNP, "true"), (AMD, "true"), (GPU, "true")]);
    let agent = rig.agent(&rig.agent_of("shared"), "shared", machine.clone());
    let labels = rig.wait_for_labels("shared", "the rest is labelled", |labels| labels.contains_key(AMD));
    assert_eq!(labels[SNP], "theirs");
    let note = rig.wait_for_event("shared", "LabelConflict");
    assert!(note.contains(SNP) && note.contains("`nfd-master`") && note.contains("left"), "{note}");
    // They let go of one, and it is ours then.
    let fewer = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "shared", "labels": {GPU: "true"}}});
    assert_eq!(rig.cluster.ask("PATCH", path, Some((APPLY, &fewer.to_string()))).status, 200);
    rig.wait_for_labels("shared", "the label is ours", |labels| labels.get(SNP).is_some_and(|value| value == "true"));
    let patches = agent.metrics.sum("casemate_node_api_requests_total", &["patch"]);
    // The one that both said stays when we no longer say it.
    machine.set(&[(AMD, "true")]);
    rig.wait("ours are applied again", || agent.metrics.sum("casemate_node_api_requests_total", &["patch"]) > patches);
    rig.wait_for_labels("shared", "what only we said is gone", |labels| !labels.contains_key(SNP));
    assert_eq!(rig.labels("shared")[GPU], "true");
}

/// As whoever applies an empty map of labels does it, by mistake.
fn a_map_of_labels_that_another_holds_as_a_whole_is_no_obstacle(rig: &mut Rig) {
    rig.node("mapped", &[]);
    let theirs = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "mapped", "labels": {}}});
    let path = "/api/v1/nodes/mapped?fieldManager=careless&force=true";
    assert_eq!(rig.cluster.ask("PATCH", path, Some((APPLY, &theirs.to_string()))).status, 200);
    let _agent = rig.agent(&rig.agent_of("mapped"), "mapped", Told::features(&[(SNP, "true")]));
    rig.wait_for_labels("mapped", "the feature and the state are labelled", |labels| {
        labels.contains_key(SNP) && labels.contains_key("casemate.dev/node-state")
    });
    assert!(rig.wait_for_event("mapped", "LabelConflict").contains("`careless`"));
}

fn a_node_that_is_deleted_is_not_made_again(rig: &mut Rig) {
    rig.node("deleted", &[]);
    let machine = Told::features(&[(SNP, "true")]);
    let agent = rig.agent(&rig.agent_of("deleted"), "deleted", machine.clone());
    rig.wait_for_labels("deleted", "the feature is labelled", |labels| labels.contains_key(SNP));
    assert_eq!(rig.cluster.ask("DELETE", "/api/v1/nodes/deleted", None).status, 200);
    machine.set(&[(SNP, "true"), (AMD, "true")]);
    // The kubelet makes it again; only then there is something to label.
    let looks = || agent.metrics.sum("casemate_node_api_requests_total", &["nodes"]);
    let before = looks();
    assert_eq!(rig.cluster.ask("GET", "/api/v1/nodes/deleted", None).status, 404);
    rig.node("deleted", &[]);
    rig.wait_for_labels("deleted", "the new node is labelled", |labels| labels.contains_key(AMD));
    assert!(looks() > before);
}
