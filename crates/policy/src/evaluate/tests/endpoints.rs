//! Every request that an agent may receive is decided by a rule of ours.

use std::collections::BTreeSet;

use super::*;
use crate::policy_data::all_rules;

/// The names of the messages, and which releases have them.
const MESSAGES: &str = include_str!("agent_messages.txt");

pub(super) fn messages() -> BTreeSet<&'static str> {
    let lines = MESSAGES.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

/// The names that the rules give a value whatever is asked.
fn defaults() -> BTreeSet<String> {
    let rules = all_rules();
    let names = rules.lines().filter_map(|line| line.strip_prefix("default ")?.split(" := ").next());
    names.filter(|name| *name != "AllowRequestsFailingPolicy").map(str::to_owned).collect()
}

#[test]
fn the_rules_decide_every_message_of_the_agents_and_nothing_else() {
    assert_eq!(messages().len(), 44);
    assert_eq!(defaults(), messages().into_iter().map(str::to_owned).collect());
}

#[test]
fn what_is_allowed_without_conditions_is_a_short_list() {
    let mut engine = Rig::new().engine(0);
    let allowed: Vec<_> =
        messages().into_iter().filter(|name| engine.decide(name, &json!({})).unwrap().allowed).collect();
    assert_eq!(
        allowed,
        [
            "DestroySandboxRequest",
            "GetOOMEventRequest",
            "GuestDetailsRequest",
            "OnlineCPUMemRequest",
            "RemoveStaleVirtiofsShareMountsRequest",
            "StatsContainerRequest",
            "WaitProcessRequest",
        ]
    );
}

#[test]
fn a_refused_message_has_a_reason_that_is_not_the_last_resort() {
    let rig = Rig::new();
    let mut engine = rig.engine(4);
    for name in messages() {
        for request in [json!({}), json!(null), json!([]), json!({"x": 1}), json!("x")] {
            let decision = engine.decide(name, &request).unwrap();
            let vague = decision.reasons.iter().any(|reason| reason.starts_with("no rule"));
            assert!(!vague && decision.allowed == decision.reasons.is_empty(), "{name} {request}: {decision:?}");
        }
    }
}
