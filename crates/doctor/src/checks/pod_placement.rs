//! Pods of ours that run where nothing protects them.

use super::node_confidential::has_tee;
use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let pods = bundle.list(Kind::Pods)?;
    let nodes = bundle.list(Kind::Nodes)?;
    for pod in pods.iter().filter(|pod| is_ours(pod) && !is_tool(pod)) {
        let placed = text(pod, "/spec/nodeName");
        let Some(node) = nodes.iter().find(|node| name(node) == placed).filter(|node| !has_tee(node)) else { continue };
        let selector = if label(node, names::GKE_POOL).is_some() {
            format!("{}: SEV_SNP", names::GKE_CONFIDENTIAL_TYPE)
        } else if label(node, names::AKS_POOL).is_some() {
            format!("{}: ConfidentialVM", names::AKS_SECURITY)
        } else {
            format!("{}: \"true\"", names::SNP)
        };
        let class = text(pod, "/spec/runtimeClassName");
        let why = if class.is_empty() {
            format!("it runs on node {}, which has no label of a TEE, and names no runtime class", quote(placed))
        } else {
            format!(
                "it runs on node {}, which has no label of a TEE; its runtime class is {}",
                quote(placed),
                quote(class)
            )
        };
        out.push(
            Finding::problem(workload_of(pod), "It runs on a node that is not confidential.")
                .why(why)
                .mend(format!(
                    "give the RuntimeClass a `scheduling.nodeSelector`, or the pod a `nodeSelector` of `{selector}`, and \
                     generate again"
                ))
                .run("casemate-node runtime classes | kubectl apply -f -"),
        );
    }
    Ok(())
}

/// The node agent carries our labels and belongs on every node.
fn is_tool(pod: &Value) -> bool {
    namespace(pod) == names::AGENT_NAMESPACE
}
