//! On a cloud, confidential machines are a property of the node pool.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let nodes = bundle.list(Kind::Nodes)?;
    if nodes.iter().any(has_tee) {
        return Ok(());
    }
    let pool = |label_of: &str| nodes.iter().find_map(|node| label(node, label_of));
    let subject = |pool: &str| Subject::named("Node pool", None, pool);
    let what = "No node of this cluster is confidential: the operator of the machines can read what runs there.";
    if let Some(name) = pool(names::GKE_POOL) {
        out.push(
            Finding::problem(subject(name), what)
                .why(format!("no node has the label `{}`", names::GKE_CONFIDENTIAL_TYPE))
                .mend("add a node pool of a machine type that can: n2d for SEV-SNP, c3 for TDX; `casemate infra init gke` \
                       writes one for Terraform")
                .run(
                    "gcloud container node-pools create confidential --cluster CLUSTER --region REGION \
                     --machine-type n2d-standard-4 --confidential-node-type sev_snp",
                ),
        );
    } else if let Some(name) = pool(names::AKS_POOL) {
        out.push(
            Finding::problem(subject(name), what)
                .why(format!("no node has the label `{}=ConfidentialVM`", names::AKS_SECURITY))
                .mend("add a node pool of a size of the DCasv5 or ECasv5 series")
                .run(
                    "az aks nodepool add --resource-group GROUP --cluster-name CLUSTER --name confidential \
                     --node-vm-size Standard_DC4as_v5",
                ),
        );
    } else if !nodes.is_empty() {
        out.push(
            Finding::problem(Subject::named("Cluster", None, &bundle.cluster()?.context), what)
                .why(format!("no node has `{}=true` or `{}=true`", names::SNP, names::TDX))
                .mend("run the node agent, which labels what a machine can do; on a node it says why not")
                .run("kubectl apply -k deploy/kustomize")
                .run("casemate-node features   # on a node"),
        );
    }
    Ok(())
}

/// Whether a node is a TEE or runs guests that are.
pub(super) fn has_tee(node: &Value) -> bool {
    has_label(node, names::SNP)
        || has_label(node, names::TDX)
        || has_label(node, names::GKE_CONFIDENTIAL)
        || label(node, names::GKE_CONFIDENTIAL_TYPE).is_some()
        || label(node, names::AKS_SECURITY) == Some("ConfidentialVM")
        || has_label(node, names::AKS_KATA)
}
