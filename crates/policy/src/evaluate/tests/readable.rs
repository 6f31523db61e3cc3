//! The rules that people read and the rules that travel with a pod decide alike.

use super::*;
use crate::policy_data::{VALUES, all_rules, embedded_rules, read_values, readable_rules};

/// The policy of the rig with the rules as they are read.
fn readable(rig: &Rig) -> String {
    let values = values(rig);
    let data = rig.policy.strip_prefix(&embedded_rules(&values)).unwrap();
    format!("{}\n{data}", readable_rules(&values))
}

/// The values of the rig.
fn values(rig: &Rig) -> Value {
    let (_, text) = rig.policy.split_once(&format!("\n{VALUES}")).unwrap();
    read_values(text).unwrap()
}

/// As the agent of Kata asks: by a query, over the state as data.
fn queried(policy: &str, state: &Map<String, Value>, endpoint: &str, request: &Value) -> bool {
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(false);
    engine.add_data_json(&json!({"pstate": state}).to_string()).unwrap();
    engine.add_policy("agent_policy".into(), policy.into()).unwrap();
    engine.set_input_json(&request.to_string()).unwrap();
    let results = engine.eval_query(format!("data.agent_policy.{endpoint}"), false).unwrap();
    // Of a rule that is not there, or that has no value for this request, nothing comes back: an agent refuses.
    let Some(answer) = results.result.first() else { return false };
    match &answer.expressions[0].value {
        regorus::Value::Bool(allowed) => *allowed,
        answer => serde_json::to_value(answer).unwrap()["allowed"] == json!(true),
    }
}

/// Pods that use few and many of the fragments.
fn rigs() -> [Rig; 2] {
    let exec = [("inference".to_owned(), vec![vec!["/bin/check".to_owned()]])].into();
    let mut gpus = resource();
    gpus["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/pgpu"] = json!(1);
    [Rig::with(Openings::default()), Rig::of(&gpus, Openings { exec, ..Openings::local() })]
}

#[test]
fn every_request_is_decided_alike_with_and_without_comments() {
    for rig in rigs() {
        decided_alike(&rig);
    }
}

fn decided_alike(rig: &Rig) {
    let both = || [rig.policy.clone(), readable(rig)].map(|policy| PolicyEngine::new(&policy).unwrap());
    let mut decided = 0;
    let mut life = rig.life();
    if values(rig)["containers"]["inference"]["gpus"] == json!(1) {
        devices::give_gpus(&mut life[3].1, 1);
    }
    let id = "c".repeat(64);
    let path = format!("/run/kata-containers/shared/containers/{id}-0123456789abcdef-podinfo/x");
    life.extend([
        ("StartContainerRequest", json!({"container_id": id})),
        ("ReadStreamRequest", json!({"container_id": id, "exec_id": "", "len": 1})),
        ("ExecProcessRequest", exec::request(rig)),
        ("CopyFileRequest", copy_file_request(&path, 0o120_777, 0, "y")),
        ("CopyFileRequest", copy_file_request(&path.replace("podinfo/x", "hosts"), 0o100_644, 0, "")),
    ]);
    let [mut embedded, mut read] = both();
    for (endpoint, request) in life {
        let requests = mutate::with_an_extra_field(&request).into_iter().chain([json!({}), request.clone()]);
        for request in requests {
            let queried = queried(&rig.policy, &embedded.state, endpoint, &request);
            let decision = embedded.decide(endpoint, &request).unwrap();
            assert_eq!(decision.allowed, queried, "{endpoint} {request}");
            assert_eq!(decision, read.decide(endpoint, &request).unwrap(), "{endpoint} {request}");
            assert_eq!(embedded.state, read.state);
            decided += 1;
        }
    }
    assert!(decided > 80, "{decided}");
    for name in endpoints::messages() {
        let [mut embedded, mut read] = both();
        assert_eq!(embedded.decide(name, &json!({})), read.decide(name, &json!({})), "{name}");
        let allowed = embedded.decide(name, &json!({})).unwrap().allowed;
        assert_eq!(allowed, queried(&rig.policy, &Map::new(), name, &json!({})), "{name}");
    }
}

/// The other tests run the embedded rules; nothing of the readable ones but comments and white space is lost, and a
/// fragment is there whole or not at all.
#[test]
fn what_is_left_out_says_nothing() {
    let lines = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.flat_map(|line| [line, "\n"]).collect::<String>()
    };
    // Within brackets a new line separates nothing, nor does a comma before the one that closes.
    let letters = |text: &str| {
        let text = text.replace([' ', '\n'], "");
        text.replace(",}", "}").replace(",]", "]").replace(",)", ")")
    };
    let [few, mut all] = rigs().map(|rig| values(&rig));
    all["completions"] = json!(1);
    for values in [&few, &all] {
        let (readable, rules) = (letters(&lines(&readable_rules(values))), embedded_rules(values));
        let stays = readable.strip_prefix(&letters(&rules)).unwrap();
        let mut refusals = stays.split("default");
        assert_eq!(refusals.next(), Some(""));
        let refusals: Vec<_> = refusals.collect();
        assert!(
            refusals.len() > 30
                && refusals.iter().all(|rule| rule.ends_with("Request:=false")
                    || rule.ends_with("Config:=false")
                    || rule.ends_with("Probe:=false")),
            "{stays}"
        );
        assert!(!rules.contains("# ") && !rules.contains('\t'), "a comment at the end of a line travels along");
        // A text over several lines would lose its margins.
        assert!(rules.lines().all(|line| line.matches('`').count() % 2 == 0), "{rules}");
        // Text keeps its spaces.
        assert!(rules.contains("\"0 2147483647\""), "{rules}");
    }
    assert_eq!(lines(&readable_rules(&all)), lines(&all_rules()), "every fragment is used by a pod of these tests");
    for rule in ["\nReadStreamRequest if", "\nExecProcessRequest if"] {
        assert!(!embedded_rules(&few).contains(rule) && embedded_rules(&all).contains(rule), "{rule}");
    }
}
