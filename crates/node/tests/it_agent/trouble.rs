//! An API server that is away, slow, or has forgotten; and the rest in between.

use std::time::Duration;

use gpu::simulated::Model;
use serde_json::json;

use crate::Test;
use crate::manifests::install;
use crate::proxy::Proxy;
use crate::rig::{Rig, Simulated, Told};

pub(crate) const TESTS: &[Test] = &[
    ("trouble::at_rest_there_are_only_watches", at_rest_there_are_only_watches),
    ("trouble::a_throttled_request_waits_as_long_as_it_was_told", a_throttled_request_waits_as_long_as_it_was_told),
    ("trouble::an_expired_watch_reads_everything_anew", an_expired_watch_reads_everything_anew),
    ("trouble::a_watch_that_cannot_go_on_reads_everything_anew", a_watch_that_cannot_go_on_reads_everything_anew),
    ("trouble::an_agent_lives_through_an_outage", an_agent_lives_through_an_outage),
];

const MODE: &str = "nvidia.com/cc.mode";
const STATE: &str = "nvidia.com/cc.mode.state";
const FEATURE: &str = "feature.node.kubernetes.io/cpu-security.sev.enabled";

fn at_rest_there_are_only_watches(rig: &mut Rig) {
    install(rig);
    rig.node("resting", &[(MODE, "off")]);
    let proxy = Proxy::start(rig);
    let machine = Simulated::new(rig, "resting", gpu::simulated::Host::hgx);
    let agent = rig.agent(&proxy.config(rig), "resting", machine.devices.clone());
    rig.wait_for_labels("resting", "it settles", |labels| {
        labels.get("casemate.dev/node-state").is_some_and(|state| state == "settled")
    });
    // Until what was asked for last has been answered: its own labels come back to it by the watch.
    rig.wait("it comes to rest", || {
        proxy.take();
        std::thread::sleep(Duration::from_secs(1));
        proxy.take().iter().all(crate::proxy::Asked::is_watch)
    });
    // Thirty looks at the machine, and what a kubelet does to its node now and then.
    for beat in 0..3 {
        rig.label("resting", &json!({"kubelet.example/beat": beat.to_string()}));
        std::thread::sleep(Duration::from_secs(1));
    }
    let asked = proxy.take();
    assert!(asked.iter().all(crate::proxy::Asked::is_watch), "{asked:#?}");
    assert!(agent.metrics.render().contains("casemate_node_phase{phase=\"settled\"} 1"));
}

fn a_throttled_request_waits_as_long_as_it_was_told(rig: &mut Rig) {
    rig.node("throttled", &[]);
    let proxy = Proxy::start(rig);
    let machine = Told::features(&[]);
    let agent = rig.agent(&proxy.config(rig), "throttled", machine.clone());
    rig.wait_for_labels("throttled", "it settles", |labels| labels.contains_key("casemate.dev/node-state"));
    rig.wait("it comes to rest", || {
        proxy.take();
        std::thread::sleep(Duration::from_millis(500));
        proxy.take().is_empty()
    });
    let told = Duration::from_secs(2);
    proxy.throttle(1, told);
    machine.set(&[(FEATURE, "true")]);
    rig.wait_for_labels("throttled", "it is taken in the end", |labels| labels.contains_key(FEATURE));
    // The label may be seen before the proxy has handed the answer on and written it down.
    let mut patches = Vec::new();
    rig.wait("the proxy has seen it being taken", || {
        patches.extend(proxy.take().into_iter().filter(|asked| asked.method == "PATCH"));
        patches.iter().any(|asked| asked.status == 200)
    });
    let refused = patches.iter().position(|asked| asked.status == 429).expect("one was throttled");
    let next = patches.get(refused + 1).expect("it was sent again");
    assert!(next.at.duration_since(patches[refused].at) >= told, "{patches:#?}");
    assert!(agent.metrics.sum("casemate_node_api_requests_total", &["throttled"]) >= 1.0);
}

fn an_expired_watch_reads_everything_anew(rig: &mut Rig) {
    // The server forgets what was changed, and what came after it is there.
    forgotten(rig, "expired", true, "expired");
}

/// The server remembers the change and not what the object was before it, which it needs to tell a watch. It then answers
/// `500`, again and again, and never `410`.
fn a_watch_that_cannot_go_on_reads_everything_anew(rig: &mut Rig) {
    forgotten(rig, "stuck", false, "server error");
}

fn forgotten(rig: &mut Rig, name: &str, something_after_it: bool, reason: &str) {
    // Without the server's cache a watch is as old as etcd remembers.
    rig.cluster.restart_api(&["--watch-cache=false"]);
    rig.node(name, &[(MODE, "off")]);
    let proxy = Proxy::start(rig);
    let h100 = |host: &gpu::simulated::Host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100);
    let machine = Simulated::new(rig, name, h100);
    let agent = rig.agent(&proxy.config(rig), name, machine.devices.clone());
    rig.wait_for_labels(name, "it settles", |labels| labels.get(STATE).is_some_and(|state| state == "off"));
    proxy.cut();
    let restarts = |reason: &str| agent.metrics.sum("casemate_node_watch_restarts_total", &["nodes", reason]);
    rig.wait("the watches are lost", || restarts("server error") >= 1.0);
    // What the agent does not see, and what the server then forgets.
    rig.label(name, &json!({MODE: "on"}));
    if something_after_it {
        rig.node(&format!("after-{name}"), &[]);
    }
    rig.cluster.compact();
    let before = restarts(reason);
    proxy.mend();
    rig.wait_for_labels(name, "it is read anew", |labels| labels.get(STATE).is_some_and(|state| state == "on"));
    assert!(restarts(reason) > before, "{}", agent.metrics.render());
    drop(agent);
    rig.cluster.restart_api(&[]);
}

fn an_agent_lives_through_an_outage(rig: &mut Rig) {
    rig.node("lonely", &[(MODE, "off")]);
    let machine =
        Simulated::new(rig, "lonely", |host| host.add("0000:41:00.0".parse().expect("an address"), Model::H100));
    let agent = rig.agent(&rig.agent_of("lonely"), "lonely", machine.devices.clone());
    rig.wait_for_labels("lonely", "it settles", |labels| labels.get(STATE).is_some_and(|state| state == "off"));
    rig.cluster.stop_api();
    rig.wait("the outage is noticed", || agent.metrics.sum("casemate_node_watch_restarts_total", &["nodes"]) >= 2.0);
    assert!(machine.said_at_resets.lock().expect("no panic").is_empty(), "an outage moves nothing");
    rig.cluster.start_api();
    rig.label("lonely", &json!({MODE: "on"}));
    rig.wait_for_labels("lonely", "it goes on", |labels| labels.get(STATE).is_some_and(|state| state == "on"));
    let said = machine.said_at_resets.lock().expect("no panic").clone();
    assert!(said.iter().all(|said| said.as_deref() == Some("")), "{said:?}");
}
