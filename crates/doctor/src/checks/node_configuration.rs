//! What the node agent is told, and what came of it.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for configuration in bundle.list(Kind::NodeConfigurations)? {
        let subject = Subject::of(Kind::NodeConfigurations, configuration);
        let bad = condition(configuration, "Degraded").filter(|it| text(it, "/status") == "True");
        let unready = condition(configuration, "Ready").filter(|it| text(it, "/status") == "False");
        let (what, condition) = match (bad, unready) {
            (Some(condition), _) => ("Nodes failed to become what it says, or refused.", condition),
            // Nodes that change get there.
            (None, Some(condition)) if text(condition, "/reason") != "NotAllSettled" => {
                ("It is not in force.", condition)
            }
            _ => continue,
        };
        out.push(
            Finding::problem(subject, what)
                .why(quote(text(condition, "/message")))
                .mend("see the events of those nodes: the agent says there what and why")
                .run(format!("kubectl describe nodeconfiguration {}", shell(name(configuration))))
                .run("kubectl get events -n default --field-selector involvedObject.kind=Node,type=Warning"),
        );
    }
    let events = bundle.list_with(Kind::Events, "default");
    for node in bundle.list(Kind::Nodes)? {
        let state = label(node, names::NODE_STATE).unwrap_or_default();
        if !["refused", "failed"].contains(&state) {
            continue;
        }
        let events = out.known(events.clone()).unwrap_or_default();
        let about = events_about(events, "Node", "", name(node));
        let ours = ["CcModeFailed", "CcModeRefused", "DriversFailed", "RuntimeFailed", "LabelConflict"];
        let said = about.iter().rev().find(|event| ours.contains(&text(event, "/reason")));
        let why = said.map_or_else(
            || format!("its label `{}` is `{state}`", names::NODE_STATE),
            |event| format!("the node agent says ({}): {}", text(event, "/reason"), quote(text(event, "/message"))),
        );
        let what = match state {
            "refused" => "The node agent refuses what this node is to be: it makes no sense.",
            _ => "The node agent failed to make this node what it is to be.",
        };
        out.push(
            Finding::problem(Subject::of(Kind::Nodes, node), what)
                .why(why)
                .mend("correct the wish; the agent takes it up at once")
                .run(format!("kubectl get node {} -L {}", shell(name(node)), names::CC_MODE))
                .run("kubectl get nodeconfigurations -o yaml"),
        );
    }
    Ok(())
}
