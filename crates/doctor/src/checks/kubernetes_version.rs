//! Our mesh is a sidecar: an init container with `restartPolicy: Always`, which Kubernetes runs by default since 1.29.

use super::prelude::*;

/// The first release with the feature gate `SidecarContainers` on.
const SIDECARS: (u32, u32) = (1, 29);

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let cluster = bundle.cluster()?;
    let no_answer = |why: &str| Unknown::NoAnswer { what: "the API server's version".to_owned(), why: why.to_owned() };
    match &cluster.version {
        Some(Answer::Known(answer)) => {
            let said = text(answer, "/gitVersion");
            match version(said) {
                Some(found) if found < SIDECARS => {
                    out.push(old(Subject::named("Cluster", None, &cluster.context), said));
                }
                Some(_) => {}
                None => out.unknown(no_answer("it is no version")),
            }
        }
        Some(Answer::Unknown(why)) => out.unknown(no_answer(why)),
        None => out.unknown(no_answer("the bundle has none")),
    }
    for node in bundle.list(Kind::Nodes)? {
        let said = text(node, "/status/nodeInfo/kubeletVersion");
        if version(said).is_some_and(|found| found < SIDECARS) {
            out.push(old(Subject::of(Kind::Nodes, node), said));
        }
    }
    Ok(())
}

fn old(subject: Subject, said: &str) -> Finding {
    Finding::problem(subject, "Kubernetes is too old for sidecars, so pods would wait for the mesh to end.")
        .why(format!("it is {}; `restartPolicy: Always` of init containers works since 1.29", quote(said)))
        .mend("upgrade control plane and nodes to a release that is still maintained")
        .run("gcloud container clusters upgrade CLUSTER --region REGION --master   # GKE, then the node pools")
        .run("kubeadm upgrade plan                                               # kubeadm")
}
