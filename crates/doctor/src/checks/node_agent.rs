//! The node agent: one pod on each worker.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let sets = bundle.list_with(Kind::DaemonSets, names::AGENT_NAMESPACE)?;
    let agent = sets.iter().find(|set| name(set) == names::AGENT && namespace(set) == names::AGENT_NAMESPACE);
    let Some(agent) = agent else {
        let configurations = bundle.list(Kind::NodeConfigurations)?;
        // Whoever has neither a configuration nor a pod that needs the runtime, needs no agent.
        let users = templates(bundle, out);
        let user = users.iter().find(|user| text(user.pod, "/spec/runtimeClassName").starts_with("kata-qemu"));
        let installed = bundle.list(Kind::Nodes)?.iter().any(|node| has_label(node, names::KATA));
        let why = match (configurations.first(), user) {
            (Some(configuration), _) => {
                format!("there is NodeConfiguration {}, and nobody acts on it", quote(name(configuration)))
            }
            (None, Some(user)) if !installed => format!("{} wants a class that no node has", user.subject),
            _ => return Ok(()),
        };
        out.push(
            Finding::problem(
                Subject::named("DaemonSet", Some(names::AGENT_NAMESPACE), names::AGENT),
                "The node agent is not deployed.",
            )
            .why(why)
            .mend("deploy it")
            .run("kubectl apply -k deploy/kustomize"),
        );
        return Ok(());
    };
    let wanted = number(agent, "/status/desiredNumberScheduled").unwrap_or_default();
    let ready = number(agent, "/status/numberReady").unwrap_or_default();
    if ready < wanted {
        out.push(
            Finding::problem(Subject::of(Kind::DaemonSets, agent), "The node agent does not run on every node.")
                .why(format!("{ready} of {wanted} pods are ready"))
                .mend("see which, and what they say")
                .run(format!("kubectl get pods -n {} -o wide", names::AGENT_NAMESPACE))
                .run(format!("kubectl logs -n {} daemonset/{}", names::AGENT_NAMESPACE, names::AGENT)),
        );
    }
    if wanted == 0 && !bundle.list(Kind::Nodes)?.is_empty() {
        out.push(
            Finding::problem(Subject::of(Kind::DaemonSets, agent), "The node agent selects no node.")
                .why(
                    "its DaemonSet wants no pod, and the cluster has nodes; it selects `kubernetes.io/os=linux` and \
                      `kubernetes.io/arch=amd64`",
                )
                .mend("compare its node selector with the nodes' labels")
                .run("kubectl get nodes --show-labels"),
        );
    }
    Ok(())
}
