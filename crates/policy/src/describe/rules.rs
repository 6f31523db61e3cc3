//! Whether a policy's rules are those of this release, and what they say of each request.

use protocol::Digest;
use serde::Serialize;
use serde_json::Value;

use crate::policy_data::{VALUES, read_values, readable_rules, render};

/// The rules of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// Whether they are those of this release, to the byte, with the values and nothing else behind them.
    pub known: bool,
    /// SHA-256 of their text.
    pub digest: Digest,
}

/// Requests by what the rules say of them. Of rules that are not known, nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Whoever asks gets it.
    pub always: Vec<String>,
    /// Decided by the values of the pod and by what went before.
    pub decided: Vec<String>,
    /// Nobody gets it.
    pub never: Vec<String>,
}

/// The rules of a policy, and the text of its values.
pub(super) fn split(rego: &str) -> Option<(&str, &str)> {
    let (rules, values) = rego.split_once(&format!("\n{VALUES}"))?;
    Some((rules, values))
}

/// The text of the rules.
pub(super) fn text(rego: &str) -> &str {
    split(rego).map_or(rego, |(rules, _)| rules)
}

/// Compares the rules of a policy with ours. `values` is what the policy's own engine says that its values are.
pub(super) fn examine(rego: &str, values: &Value) -> (Rules, Endpoints) {
    let ours = render(values);
    // Behind the values another rule could stand: the text must be the values to its end.
    let nothing_else = split(rego).is_some_and(|(_, text)| read_values(text).is_some_and(|read| read == *values));
    let known = nothing_else && text(rego) == text(&ours);
    let rules = Rules { known, digest: Digest::of(text(rego).as_bytes()) };
    let requests = if known { endpoints(&readable_rules(values)) } else { Endpoints::default() };
    (rules, requests)
}

/// Our rules begin each rule at the start of a line, and have a default for each request.
fn endpoints(rules: &str) -> Endpoints {
    let mut all = Endpoints::default();
    let has_rule =
        |name: &str| rules.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '('])));
    for line in rules.lines() {
        let Some((name, value)) = line.strip_prefix("default ").and_then(|line| line.split_once(" := ")) else {
            continue;
        };
        // No request, but what the agent asks when it starts.
        if name == "AllowRequestsFailingPolicy" {
            continue;
        }
        let list = match (value.trim(), has_rule(name)) {
            ("true", _) => &mut all.always,
            (_, true) => &mut all.decided,
            _ => &mut all.never,
        };
        list.push(name.to_owned());
    }
    all
}
