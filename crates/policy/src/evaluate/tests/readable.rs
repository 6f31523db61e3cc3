//! The rules that people read and the rules that travel with a pod decide alike.

use super::*;
use crate::policy_data::{RULES, embedded_rules};

/// The policy of the rig with the rules as they are read.
fn readable(rig: &Rig) -> String {
    let data = rig.policy.strip_prefix(&embedded_rules()).unwrap();
    format!("{RULES}\n{data}")
}

/// As the agent of Kata asks: by a query, over the state as data.
fn queried(policy: &str, state: &Map<String, Value>, endpoint: &str, request: &Value) -> bool {
    let mut engine = regorus::Engine::new();
    engine.set_strict_builtin_errors(false);
    engine.add_data_json(&json!({"pstate": state}).to_string()).unwrap();
    engine.add_policy("agent_policy".into(), policy.into()).unwrap();
    engine.set_input_json(&request.to_string()).unwrap();
    let results = engine.eval_query(format!("data.agent_policy.{endpoint}"), false).unwrap();
    match &results.result[0].expressions[0].value {
        regorus::Value::Bool(allowed) => *allowed,
        answer => serde_json::to_value(answer).unwrap()["allowed"] == json!(true),
    }
}

#[test]
fn every_request_is_decided_alike_with_and_without_comments() {
    let rig = Rig::new();
    let both = || [rig.policy.clone(), readable(&rig)].map(|policy| PolicyEngine::new(&policy).unwrap());
    let mut decided = 0;
    for (step, (endpoint, request)) in rig.life().iter().enumerate() {
        let [mut embedded, mut read] = both();
        for (endpoint, request) in rig.life().iter().take(step) {
            assert!(embedded.decide(endpoint, request).unwrap().allowed);
            assert!(read.decide(endpoint, request).unwrap().allowed);
        }
        let requests = mutate::with_an_extra_field(request).into_iter().chain([json!({}), request.clone()]);
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
    let [mut embedded, mut read] = both();
    for name in endpoints::messages() {
        assert_eq!(embedded.decide(name, &json!({})), read.decide(name, &json!({})), "{name}");
    }
}

/// The other tests run the embedded rules; nothing of the readable ones but comments and white space is lost.
#[test]
fn what_is_left_out_says_nothing() {
    let squeeze = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut embedded = embedded_rules();
    for line in squeeze(RULES).lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        embedded = embedded.strip_prefix(&format!("{line}\n")).unwrap().to_owned();
    }
    assert!(embedded.is_empty());
    let rules = embedded_rules();
    assert!(!rules.contains("# ") && !rules.contains('\t'), "a comment at the end of a line travels along");
    // A text over several lines would lose its margins.
    assert!(rules.lines().all(|line| line.matches('`').count() % 2 == 0 || line.contains("^_`abc")), "{rules}");
}
