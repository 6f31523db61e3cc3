//! Pods that no node can take, in the scheduler's words.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, events) in troubled(bundle, out)? {
        let scheduled = condition(pod, "PodScheduled");
        if scheduled.is_none_or(|it| text(it, "/status") != "False") || text(pod, "/status/phase") != "Pending" {
            continue;
        }
        let event = events.iter().rev().find(|event| text(event, "/reason") == "FailedScheduling");
        let said =
            event.map_or_else(|| scheduled.map_or("", |it| text(it, "/message")), |event| text(event, "/message"));
        let finding = Finding::problem(workload_of(pod), "No node can take its pods.").why(quote(said));
        out.push(advise(finding, said, pod));
    }
    Ok(())
}

fn advise(finding: Finding, said: &str, pod: &Value) -> Finding {
    let has = |words: &str| said.to_lowercase().contains(words);
    let class = text(pod, "/spec/runtimeClassName");
    if has("insufficient memory") || has("insufficient cpu") {
        finding
            .mend(
                "a guest has overhead beside its containers (`overhead.podFixed` of the class): lower the limits and \
                   generate again, or add nodes",
            )
            .run("kubectl describe nodes | grep -A8 'Allocated resources'")
    } else if has("insufficient nvidia.com") {
        finding.mend("every such device is taken, or none is offered").run("casemate-node inventory   # on the node")
    } else if has("insufficient sev-snp.amd.com") || has("insufficient tdx.intel.com") {
        finding
            .mend("the class counts keys, and no device plugin announces them: make the classes without")
            .run("casemate-node runtime classes | kubectl apply -f -")
    } else if has("untolerated taint") {
        finding
            .mend("give the pod a toleration for the taint that is named, and generate again; or remove the taint")
            .run("kubectl get nodes -o custom-columns=NAME:.metadata.name,TAINTS:.spec.taints")
    } else if has("node affinity") || has("node selector") || has("didn't match") {
        let selector = if class.is_empty() { String::new() } else { format!(", also by class {}", quote(class)) };
        finding
            .mend(format!("no node has the labels that the pod selects{selector}: compare them"))
            .run("kubectl get nodes --show-labels")
            .run(format!("kubectl get runtimeclass {} -o yaml", shell(if class.is_empty() { "CLASS" } else { class })))
    } else if has("persistentvolumeclaim") || has("volume node affinity") {
        finding
            .mend("its storage is not there, or elsewhere")
            .run(format!("kubectl get pvc -n {}", shell(namespace(pod))))
    } else {
        finding.mend("see the pod's events").run(format!(
            "kubectl describe pod {} -n {}",
            shell(name(pod)),
            shell(namespace(pod))
        ))
    }
}
