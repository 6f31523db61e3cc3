//! Changes of mode: simulated GPUs on one side, the real API server on the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gpu::Mode;
use gpu::simulated::{Fault, Model};
use serde_json::json;

use crate::Test;
use crate::configuration::object;
use crate::manifests::install;
use crate::rig::{APPLY, Counted, JSON, Rig, Simulated};

pub(crate) const TESTS: &[Test] = &[
    (
        "modes::a_label_changes_all_devices_and_components_are_paused_meanwhile",
        a_label_changes_all_devices_and_components_are_paused_meanwhile,
    ),
    (
        "modes::a_configuration_changes_devices_and_the_label_overrides_it",
        a_configuration_changes_devices_and_the_label_overrides_it,
    ),
    (
        "modes::a_device_that_fails_is_named_and_the_node_is_not_ready",
        a_device_that_fails_is_named_and_the_node_is_not_ready,
    ),
    ("modes::a_word_that_is_no_mode_moves_nothing", a_word_that_is_no_mode_moves_nothing),
    ("modes::what_a_crash_left_paused_goes_on", what_a_crash_left_paused_goes_on),
    ("modes::a_change_that_one_agent_began_is_ended_by_the_next", a_change_that_one_agent_began_is_ended_by_the_next),
    ("modes::readiness_that_another_wrote_is_taken_from_it", readiness_that_another_wrote_is_taken_from_it),
    ("modes::a_pod_that_holds_a_gpu_keeps_the_node_as_it_is", a_pod_that_holds_a_gpu_keeps_the_node_as_it_is),
    (
        "modes::after_a_failure_the_node_comes_back_with_what_it_offers",
        after_a_failure_the_node_comes_back_with_what_it_offers,
    ),
    (
        "modes::a_pod_that_was_given_a_gpu_and_has_not_opened_it_counts",
        a_pod_that_was_given_a_gpu_and_has_not_opened_it_counts,
    ),
    ("modes::the_operators_policy_is_read", the_operators_policy_is_read),
];

const MODE: &str = "nvidia.com/cc.mode";
const STATE: &str = "nvidia.com/cc.mode.state";
const READY: &str = "nvidia.com/cc.ready.state";
const VFIO: &str = "nvidia.com/gpu.deploy.vfio-manager";
const KATA: &str = "nvidia.com/gpu.deploy.kata-sandbox-device-plugin";
const PAUSED: &str = "paused-for-cc-mode-change";

fn is(labels: &crate::rig::Labels, state: &str, ready: &str) -> bool {
    labels.get(STATE).is_some_and(|value| value == state) && labels.get(READY).is_some_and(|value| value == ready)
}

fn a_label_changes_all_devices_and_components_are_paused_meanwhile(rig: &mut Rig) {
    install(rig);
    rig.node("hgx", &[(VFIO, "true"), (KATA, "custom"), ("nvidia.com/gpu.deploy.driver", "true")]);
    // A pod of a paused component, which its DaemonSet would take away.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kata-plugin", "namespace": "default"},
        "spec": {"nodeName": "hgx", "nodeSelector": {KATA: "custom"}, "containers": [{"name": "c", "image": "i"}]},
    });
    rig.post("/api/v1/namespaces/default/pods", &pod);
    let machine = Simulated::new(rig, "hgx", gpu::simulated::Host::hgx);
    let agent = rig.agent(&rig.agent_of("hgx"), "hgx", machine.devices.clone());
    rig.wait_for_labels("hgx", "the mode is said", |labels| is(labels, "off", "false"));
    assert_eq!(rig.labels("hgx")["nvidia.com/cc.capable"], "true");

    rig.label("hgx", &json!({MODE: "ppcie"}));
    let paused = rig.wait_for_labels("hgx", "components are paused", |labels| labels[VFIO] == PAUSED);
    assert_eq!(paused[KATA], format!("custom_{PAUSED}"));
    assert_eq!((paused[READY].as_str(), paused["nvidia.com/gpu.deploy.driver"].as_str()), ("", "true"));
    assert_eq!(paused["casemate.dev/node-state"], "changing");
    assert!(machine.host.is_at(Mode::Off), "nothing moves while a pod of a component is there");
    rig.cluster.ask("DELETE", "/api/v1/namespaces/default/pods/kata-plugin?gracePeriodSeconds=0", None);

    let labels = rig.wait_for_labels("hgx", "the node is ready in the new mode", |labels| is(labels, "ppcie", "true"));
    assert!(machine.host.is_at(Mode::Ppcie));
    assert_eq!((labels[VFIO].as_str(), labels[KATA].as_str()), ("true", "custom"));
    let said = machine.said_at_resets.lock().expect("no panic").clone();
    assert!(said.len() >= 12, "{said:?}");
    assert!(said.iter().all(|said| said.as_deref() == Some("")), "a device was reset while the node said: {said:?}");
    assert!(rig.wait_for_event("hgx", "CcModeChanging").contains("label `nvidia.com/cc.mode` wants `ppcie`"));
    rig.wait_for_event("hgx", "CcModeChanged");
    assert!((agent.metrics.sum("casemate_node_cc_changes_total", &["ppcie", "changed"]) - 1.0).abs() < f64::EPSILON);

    // And back, by taking the label away and with nobody wanting anything: it stays.
    rig.label("hgx", &json!({MODE: "off"}));
    rig.wait_for_labels("hgx", "it is off again", |labels| is(labels, "off", "false"));
    assert!(machine.host.is_at(Mode::Off));
}

fn a_configuration_changes_devices_and_the_label_overrides_it(rig: &mut Rig) {
    install(rig);
    rig.node("configured", &[("pool", "configured")]);
    let path = "/apis/casemate.dev/v1alpha1/nodeconfigurations";
    let machine =
        Simulated::new(rig, "configured", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::B200));
    let _agent = rig.agent(&rig.agent_of("configured"), "configured", machine.devices.clone());
    rig.wait_for_labels("configured", "the mode is said", |labels| is(labels, "off", "false"));
    rig.post(path, &object("configured", json!({"nodeSelector": {"pool": "configured"}, "ccMode": "on"})));
    rig.wait_for_labels("configured", "the configuration holds", |labels| is(labels, "on", "true"));
    assert!(machine.host.is_at(Mode::On));
    rig.label("configured", &json!({MODE: "devtools"}));
    rig.wait_for_labels("configured", "the label holds", |labels| is(labels, "devtools", ""));
    rig.label("configured", &json!({MODE: null}));
    rig.wait_for_labels("configured", "the configuration holds again", |labels| is(labels, "on", "true"));
    rig.cluster.ask("DELETE", &format!("{path}/configured"), None);
}

fn a_device_that_fails_is_named_and_the_node_is_not_ready(rig: &mut Rig) {
    rig.node("broken", &[(VFIO, "true")]);
    let machine = Simulated::new(rig, "broken", gpu::simulated::Host::hgx);
    let bad = machine.host.addresses()[2];
    // For as long as the first try takes; a later one succeeds.
    machine.host.fault(bad, Fault::KeepsMode, 1);
    let agent = rig.agent(&rig.agent_of("broken"), "broken", machine.devices.clone());
    rig.wait_for_labels("broken", "the mode is said", |labels| is(labels, "off", "false"));
    rig.label("broken", &json!({MODE: "on"}));
    let note = rig.wait_for_event("broken", "CcModeFailed");
    assert!(note.contains(&bad.to_string()) && note.contains("tried again"), "{note}");
    let labels = rig.wait_for_labels("broken", "the next try succeeds", |labels| is(labels, "on", "true"));
    assert_eq!(labels[VFIO], "true");
    assert!(agent.metrics.sum("casemate_node_cc_changes_total", &["on", "failed"]) >= 1.0);
    let said = machine.said_at_resets.lock().expect("no panic").clone();
    assert!(said.iter().all(|said| said.as_deref() == Some("")), "{said:?}");
}

fn a_word_that_is_no_mode_moves_nothing(rig: &mut Rig) {
    rig.node("misspelt", &[(MODE, "onn"), (VFIO, "true")]);
    let machine = Simulated::new(rig, "misspelt", gpu::simulated::Host::hgx);
    let _agent = rig.agent(&rig.agent_of("misspelt"), "misspelt", machine.devices.clone());
    let labels = rig.wait_for_labels("misspelt", "the refusal is said", |labels| {
        labels.get("casemate.dev/node-state").is_some_and(|state| state == "refused")
    });
    assert!(is(&labels, "off", "false"), "the devices are what they were: {labels:?}");
    assert_eq!(labels[VFIO], "true");
    assert!(machine.said_at_resets.lock().expect("no panic").is_empty());
    rig.wait_for_event("misspelt", "CcModeRefused");
    rig.label("misspelt", &json!({MODE: "on"}));
    rig.wait_for_labels("misspelt", "the right word holds", |labels| is(labels, "on", "true"));
}

fn what_a_crash_left_paused_goes_on(rig: &mut Rig) {
    // As the operator's own manager leaves it when it is killed: paused, and the mode is the one that is wanted.
    let kata = format!("custom_{PAUSED}");
    rig.node("left", &[(MODE, "off"), (STATE, "success"), (READY, "false"), (VFIO, PAUSED), (KATA, &kata)]);
    let machine =
        Simulated::new(rig, "left", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100));
    let _agent = rig.agent(&rig.agent_of("left"), "left", machine.devices.clone());
    let labels = rig.wait_for_labels("left", "components go on", |labels| labels[VFIO] == "true");
    assert_eq!(labels[KATA], "custom");
    rig.wait_for_event("left", "ComponentsResumed");
    rig.wait_for_labels("left", "the old word for the state is replaced", |labels| is(labels, "off", "false"));
}

fn a_change_that_one_agent_began_is_ended_by_the_next(rig: &mut Rig) {
    install(rig);
    rig.node("handed", &[(VFIO, "true")]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "vfio-manager", "namespace": "default"},
        "spec": {"nodeName": "handed", "nodeSelector": {VFIO: "true"}, "containers": [{"name": "c", "image": "i"}]},
    });
    rig.post("/api/v1/namespaces/default/pods", &pod);
    let machine = Simulated::new(rig, "handed", gpu::simulated::Host::hgx);
    let devices = Arc::new(Counted { devices: machine.devices.clone(), at_work: AtomicUsize::new(0) });
    let config = rig.agent_of("handed");
    let first = rig.agent(&config, "handed", devices.clone());
    rig.wait_for_labels("handed", "the mode is said", |labels| is(labels, "off", "false"));
    rig.label("handed", &json!({MODE: "on"}));
    rig.wait_for_labels("handed", "components are paused", |labels| labels[VFIO] == PAUSED);
    // It waits for the pod, and is ended.
    drop(first);
    rig.wait("the first agent's thread has ended", || devices.at_work.load(Ordering::SeqCst) == 0);
    let labels = rig.labels("handed");
    assert_eq!((labels[READY].as_str(), labels[VFIO].as_str()), ("", PAUSED), "it is out of service until then");
    assert!(machine.host.is_at(Mode::Off));
    // Nobody wants it any more; the change that was begun is ended first, and then taken back.
    rig.label("handed", &json!({MODE: "off"}));
    let _second = rig.agent(&config, "handed", devices.clone());
    rig.wait("the second agent goes on", || devices.at_work.load(Ordering::SeqCst) == 1);
    rig.cluster.ask("DELETE", "/api/v1/namespaces/default/pods/vfio-manager?gracePeriodSeconds=0", None);
    let labels = rig.wait_for_labels("handed", "it is what is wanted", |labels| {
        is(labels, "off", "false") && labels[VFIO] == "true" && labels["casemate.dev/node-state"] == "settled"
    });
    assert!(machine.host.is_at(Mode::Off), "{labels:?}");
    let said = machine.said_at_resets.lock().expect("no panic").clone();
    assert!(said.iter().all(|said| said.as_deref() == Some("")), "{said:?}");
}

fn readiness_that_another_wrote_is_taken_from_it(rig: &mut Rig) {
    rig.node("claimed", &[]);
    let theirs = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "claimed", "labels": {READY: "true", STATE: "on"}}});
    let path = "/api/v1/nodes/claimed?fieldManager=cc-manager&force=true";
    assert_eq!(rig.cluster.ask("PATCH", path, Some((APPLY, &theirs.to_string()))).status, 200);
    let machine =
        Simulated::new(rig, "claimed", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100));
    let agent = rig.agent(&rig.agent_of("claimed"), "claimed", machine.devices.clone());
    rig.wait_for_labels("claimed", "the truth is said", |labels| is(labels, "off", "false"));
    let note = rig.wait_for_event("claimed", "LabelConflict");
    assert!(note.contains("`cc-manager`") && note.contains("taken"), "{note}");
    assert!(agent.metrics.sum("casemate_node_label_conflicts_total", &["taken"]) >= 2.0);
    // And again, by hand.
    rig.label("claimed", &json!({READY: "true"}));
    rig.wait_for_labels("claimed", "the truth is said again", |labels| is(labels, "off", "false"));
}

fn a_pod_that_holds_a_gpu_keeps_the_node_as_it_is(rig: &mut Rig) {
    rig.node("held", &[(VFIO, "true")]);
    let machine =
        Simulated::new(rig, "held", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100));
    // The kernel's files of a machine on which QEMU has the GPU.
    let device = machine.host.root().join("sys/bus/pci/devices/0000:41:00.0");
    let group =
        std::fs::read_link(device.join("iommu_group")).ok().and_then(|link| link.file_name().map(ToOwned::to_owned));
    let group = group.map_or_else(|| "0".to_owned(), |name| name.to_string_lossy().into_owned());
    machine.host.hold(4242, "qemu-system-x86", &format!("/dev/vfio/{group}"));
    let _agent = rig.agent(&rig.agent_of("held"), "held", machine.devices.clone());
    rig.wait_for_labels("held", "the mode is said", |labels| is(labels, "off", "false"));
    rig.label("held", &json!({MODE: "on"}));
    let note = rig.wait_for_event("held", "CcModeFailed");
    assert!(note.contains("qemu-system-x86") && note.contains("4242"), "{note}");
    assert!(machine.said_at_resets.lock().expect("no panic").is_empty(), "a device in use was reset");
    assert!(machine.host.is_at(Mode::Off));
    machine.host.end(4242);
    rig.wait_for_labels("held", "the change is made once the guest is gone", |labels| is(labels, "on", "true"));
}

fn after_a_failure_the_node_comes_back_with_what_it_offers(rig: &mut Rig) {
    rig.node("back", &[]);
    let machine = Simulated::new(rig, "back", gpu::simulated::Host::hgx);
    let _agent = rig.agent(&rig.agent_of("back"), "back", machine.devices.clone());
    rig.wait_for_labels("back", "the mode is said", |labels| is(labels, "off", "false"));
    let closed = || matches!(machine.devices.offer().readiness(), node::plugin::Readiness::NotReady(_));
    assert!(!closed());
    machine.host.fault(machine.host.addresses()[2], Fault::KeepsMode, 1000);
    rig.label("back", &json!({MODE: "on"}));
    rig.wait_for_event("back", "CcModeFailed");
    rig.wait_for_labels("back", "the failure is said", |labels| is(labels, "failed", ""));
    assert!(closed());
    // Nobody wants anything else than what they were brought back to; the node is to be of use again.
    machine.host.mend();
    rig.label("back", &json!({MODE: null}));
    rig.wait_for_labels("back", "it is in service again", |labels| {
        labels["casemate.dev/node-state"] == "settled" && labels[STATE] != "failed"
    });
    rig.wait("devices are offered again", || !closed());
}

fn a_pod_that_was_given_a_gpu_and_has_not_opened_it_counts(rig: &mut Rig) {
    rig.node("given", &[(VFIO, "true")]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "starting", "namespace": "default"},
        "spec": {"nodeName": "given", "containers": [{"name": "c", "image": "i",
            "resources": {"limits": {"nvidia.com/pgpu": "1"}}}]},
    });
    rig.post("/api/v1/namespaces/default/pods", &pod);
    let machine =
        Simulated::new(rig, "given", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100));
    let _agent = rig.agent(&rig.agent_of("given"), "given", machine.devices.clone());
    rig.wait_for_labels("given", "the mode is said", |labels| is(labels, "off", "false"));
    rig.label("given", &json!({MODE: "on"}));
    let note = rig.wait_for_event("given", "CcModeFailed");
    assert!(note.contains("pod default/starting (nvidia.com/pgpu)"), "{note}");
    assert!(machine.said_at_resets.lock().expect("no panic").is_empty(), "a device that was given away was reset");
    rig.cluster.ask("DELETE", "/api/v1/namespaces/default/pods/starting?gracePeriodSeconds=0", None);
    rig.wait_for_labels("given", "the change is made once the pod is gone", |labels| is(labels, "on", "true"));
}

fn the_operators_policy_is_read(rig: &mut Rig) {
    install(rig);
    rig.node("operated", &[("nvidia.com/gpu.workload.config", "vm-passthrough")]);
    let machine =
        Simulated::new(rig, "operated", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100));
    // The agent is there first, and the operator is installed under it.
    let _agent = rig.agent(&rig.agent_of("operated"), "operated", machine.devices.clone());
    rig.wait_for_labels("operated", "the mode is said", |labels| is(labels, "off", "false"));
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterpolicies.nvidia.com"},
        "spec": {
            "group": "nvidia.com", "scope": "Cluster",
            "names": {"kind": "ClusterPolicy", "plural": "clusterpolicies", "singular": "clusterpolicy"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    rig.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
    let policy = json!({
        "apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"name": "cluster-policy"},
        "spec": {
            "sandboxWorkloads": {"enabled": true, "mode": "kata", "defaultWorkload": "container"},
            "ccManager": {"enabled": false, "defaultMode": "on"},
        },
    })
    .to_string();
    rig.wait("the policy is taken", || {
        rig.cluster.ask("POST", "/apis/nvidia.com/v1/clusterpolicies", Some((JSON, &policy))).status == 201
    });
    rig.wait_for_labels("operated", "the operator's default holds", |labels| is(labels, "on", "true"));
    rig.cluster.ask(
        "DELETE",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/clusterpolicies.nvidia.com",
        None,
    );
}
