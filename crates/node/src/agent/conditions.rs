//! The status of a `NodeConfiguration`: counts of nodes by what their labels say, and conditions that follow from them.
//!
//! Every agent writes it after its own node changed, and only then, so that at rest nobody does. There is no leader
//! and no lease to renew. That the last one is right follows from the order: an agent labels its node, then reads the
//! object, then lists the nodes, and then writes on condition that nobody wrote since it read. If two change at once,
//! one of them fails that condition and counts again.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::backoff::Backoff;
use super::client::{CallError, call};
use super::crd::{CLUSTER, CcMode, NodeConfiguration, NodeConfigurationStatus, NodeCounts};
use super::events::COMPONENT;
use super::labels::{self, ModeState, Phase};
use super::wish::{Labels, selects};

/// LIMIT: how often writing a status is tried when others write it too; whoever is beaten this often in a row leaves it
/// to those who win, who counted later.
const TRIES: u32 = 8;
/// LIMIT: nodes are listed in pages of this many, as kubectl does.
const PAGE: u32 = 500;
/// LIMIT: how many nodes a condition's message names; a message has at most 32 KiB.
const NAMED: usize = 5;

/// Counts nodes by their labels.
pub fn count<'a>(nodes: impl IntoIterator<Item = &'a Labels>) -> NodeCounts {
    let mut counts = NodeCounts::default();
    for node in nodes {
        counts.selected += 1;
        let phase =
            Phase::ALL.into_iter().find(|phase| node.get(labels::NODE_STATE).is_some_and(|v| v == phase.name()));
        match phase {
            Some(Phase::Settled) => counts.settled += 1,
            Some(Phase::Changing) => counts.changing += 1,
            Some(Phase::Failed) => counts.failed += 1,
            Some(Phase::Refused) => counts.refused += 1,
            None => {}
        }
        match ModeState::of(node) {
            Some(ModeState::Mode(CcMode::On)) => counts.on += 1,
            Some(ModeState::Mode(CcMode::Off)) => counts.off += 1,
            Some(ModeState::Mode(CcMode::Devtools)) => counts.devtools += 1,
            Some(ModeState::Mode(CcMode::Ppcie)) => counts.ppcie += 1,
            Some(ModeState::Failed) | None => {}
        }
    }
    counts
}

/// The conditions that follow from counts. `troubled` names nodes that failed or refused; `before` keeps the time of
/// conditions that did not change.
pub fn conditions(
    counts: &NodeCounts,
    troubled: &[String],
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let NodeCounts { selected, settled, changing, failed, refused, .. } = *counts;
    let ready = match (selected, settled) {
        (0, _) => (false, "NoNodes", "no node with an agent is selected".to_owned()),
        (all, settled) if all == settled => (true, "AllSettled", format!("{all} of {all} nodes are settled")),
        (all, settled) => (false, "NotAllSettled", format!("{settled} of {all} nodes are settled")),
    };
    let progressing = match changing {
        0 => (false, "NothingChanges", String::new()),
        some => (true, "NodesChange", format!("{some} nodes change their mode")),
    };
    let degraded = match failed + refused {
        0 => (false, "NoFailure", String::new()),
        _ => {
            let named: Vec<&str> = troubled.iter().take(NAMED).map(String::as_str).collect();
            let more = troubled.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("{failed} failed, {refused} refused: {}{more}; see their events", named.join(", "));
            (true, "NodesFailed", message)
        }
    };
    let conditions = [("Ready", ready), ("Progressing", progressing), ("Degraded", degraded)];
    let condition = |(kind, (holds, reason, message)): (&str, (bool, &str, String))| {
        let status = if holds { "True" } else { "False" };
        let same = before.iter().find(|condition| condition.type_ == kind && condition.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        }
    };
    conditions.into_iter().map(condition).collect()
}

/// Counts the nodes that a configuration selects and writes its status, unless that says the same already.
///
/// # Errors
/// When the API server does not answer, refuses, or others wrote [`TRIES`] times in between.
pub async fn publish(client: &Client, name: &str) -> Result<(), CallError> {
    let configurations: Api<NodeConfiguration> = Api::all(client.clone());
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let Some(configuration) = call(configurations.get_opt(name)).await? else { return Ok(()) };
        let nodes = nodes(client).await?;
        let selected: Vec<&(String, Labels)> =
            nodes.iter().filter(|(_, node)| name == CLUSTER || selects(&configuration.spec, node)).collect();
        let counts = count(selected.iter().map(|(_, labels)| labels));
        let bad = [Phase::Failed.name(), Phase::Refused.name()];
        let is_bad =
            |labels: &Labels| labels.get(labels::NODE_STATE).is_some_and(|state| bad.contains(&state.as_str()));
        let troubled: Vec<String> =
            selected.iter().filter(|(_, labels)| is_bad(labels)).map(|(name, _)| name.clone()).collect();
        let generation = configuration.metadata.generation;
        let before = configuration.status.clone().unwrap_or_default();
        let conditions = conditions(&counts, &troubled, generation, &before.conditions, Timestamp::now());
        let status = NodeConfigurationStatus { observed_generation: generation, nodes: counts, conditions };
        if configuration.status.as_ref() == Some(&status) {
            return Ok(());
        }
        // With the version that was read: whoever wrote since then makes this a conflict.
        let patch = json!({"metadata": {"resourceVersion": configuration.resource_version()}, "status": status});
        let params = PatchParams { field_manager: Some(COMPONENT.to_owned()), ..PatchParams::default() };
        match call(configurations.patch_status(name, &params, &Patch::Merge(&patch))).await {
            Ok(_) => return Ok(()),
            Err(error @ CallError::Never(_)) => return Err(error),
            Err(error) if backoff.failures() >= TRIES => return Err(error),
            Err(CallError::Later(_)) => tokio::time::sleep(backoff.wait()).await,
        }
    }
}

/// Names and labels of nodes with an agent. Always from etcd, never from a cache: the proof above needs it.
async fn nodes(client: &Client) -> Result<Vec<(String, Labels)>, CallError> {
    let api: Api<Node> = Api::all(client.clone());
    let mut params = ListParams::default().labels(labels::NODE_STATE).limit(PAGE);
    let mut nodes = Vec::new();
    loop {
        let page = call(api.list_metadata(&params)).await?;
        nodes.extend(page.items.into_iter().map(|node| (node.name_any(), node.metadata.labels.unwrap_or_default())));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(nodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(phase: &str, mode: &str) -> Labels {
        let pairs = [(labels::NODE_STATE, phase), (labels::MODE_STATE, mode), (labels::READY_STATE, "")];
        pairs.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn nodes_are_counted_by_what_they_say() {
        let nodes = [
            node("settled", "on"),
            node("settled", "ppcie"),
            node("changing", "off"),
            node("failed", "failed"),
            node("refused", "devtools"),
            node("", "nonsense"),
        ];
        let expected = NodeCounts {
            selected: 6,
            settled: 2,
            changing: 1,
            failed: 1,
            refused: 1,
            on: 1,
            off: 1,
            devtools: 1,
            ppcie: 1,
        };
        assert_eq!(count(&nodes), expected);
    }

    #[test]
    fn conditions_follow_from_counts_and_keep_their_time_while_they_hold() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let counts = NodeCounts { selected: 3, settled: 3, ..NodeCounts::default() };
        let first = conditions(&counts, &[], Some(1), &[], at(100));
        let status = |conditions: &[Condition]| {
            let word = |condition: &Condition| format!("{}={} {}", condition.type_, condition.status, condition.reason);
            conditions.iter().map(word).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(status(&first), "Ready=True AllSettled, Progressing=False NothingChanges, Degraded=False NoFailure");

        let counts =
            NodeCounts { selected: 9, settled: 1, changing: 1, failed: 6, refused: 1, ..NodeCounts::default() };
        let troubled: Vec<String> = (1..=7).map(|number| format!("node-{number}")).collect();
        let second = conditions(&counts, &troubled, Some(2), &first, at(200));
        assert_eq!(
            status(&second),
            "Ready=False NotAllSettled, Progressing=True NodesChange, Degraded=True NodesFailed"
        );
        let message = "6 failed, 1 refused: node-1, node-2, node-3, node-4, node-5 and 2 more; see their events";
        assert_eq!(second[2].message, message);

        let third = conditions(&counts, &troubled, Some(3), &second, at(300));
        assert!(third.iter().all(|condition| condition.last_transition_time == Time(at(200))));
        let none = conditions(&NodeCounts::default(), &[], None, &third, at(400));
        assert_eq!(status(&none), "Ready=False NoNodes, Progressing=False NothingChanges, Degraded=False NoFailure");
        assert_eq!(none[0].last_transition_time, Time(at(200)), "it was not ready before either");
    }
}
