//! The confidential-computing mode of a node's GPUs, by the labels of the GPU Operator and of our agent.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let nodes = bundle.list(Kind::Nodes)?;
    let events = bundle.list_with(Kind::Events, "default");
    for node in nodes {
        let state = label(node, names::CC_MODE_STATE).unwrap_or_default();
        let wanted = label(node, names::CC_MODE).unwrap_or_default();
        let ready = label(node, names::CC_READY);
        let changing = label(node, names::NODE_STATE) == Some("changing");
        let subject = Subject::of(Kind::Nodes, node);
        if state == "failed" {
            let events = out.known(events.clone()).unwrap_or_default();
            let about = events_about(events, "Node", "", name(node));
            let said = about.iter().rev().find(|event| text(event, "/reason") == "CcModeFailed");
            let said = said.map_or_else(
                || "no event says more".to_owned(),
                |event| format!("the node agent says: {}", quote(text(event, "/message"))),
            );
            out.push(
                Finding::problem(subject, "Switching the GPUs' confidential-computing mode failed.")
                    .why(format!("`{}=failed`; {said}", names::CC_MODE_STATE))
                    .mend("see what holds a device or what it answered; the agent tries again by itself")
                    .run("casemate-node status   # on the node")
                    .run(format!("kubectl logs -n {} daemonset/{}", names::AGENT_NAMESPACE, names::AGENT)),
            );
        } else if !wanted.is_empty() && !state.is_empty() && state != "success" && state != wanted && !changing {
            out.push(
                Finding::problem(subject, "The GPUs are not in the mode that the node's label wants.")
                    .why(format!(
                        "`{}={}`, and `{}={}`",
                        names::CC_MODE,
                        quote(wanted),
                        names::CC_MODE_STATE,
                        quote(state)
                    ))
                    .mend("the node agent, or the GPU Operator's manager, does not act: see whether it runs")
                    .run(format!("kubectl get pods -n {} -o wide", names::AGENT_NAMESPACE)),
            );
        } else if state == "devtools" {
            out.push(
                Finding::warning(subject, "The GPUs are in mode `devtools`, which protects nothing.")
                    .why(format!("`{}=devtools`", names::CC_MODE_STATE))
                    .mend("switch it on before there is data worth protecting")
                    .run(format!("kubectl label node {} {}=on --overwrite", shell(name(node)), names::CC_MODE)),
            );
        } else if state == "on" && ready == Some("") && !changing {
            out.push(
                Finding::warning(subject, "The GPUs are in mode `on`, and the node says that no pod may come.")
                    .why(format!("`{}` is empty, and no change is under way", names::CC_READY))
                    .mend("a change was perhaps broken off: the agent's journal says at which step")
                    .run("casemate-node status   # on the node"),
            );
        }
    }
    Ok(())
}
