//! Containers that a webhook adds on the way in. No policy has them, so the guest refuses to start.

use super::prelude::*;

/// Sidecars that people know, with what leaves a pod out.
const KNOWN: [(&str, &str); 4] = [
    ("istio-proxy", "sidecar.istio.io/inject: \"false\""),
    ("istio-init", "sidecar.istio.io/inject: \"false\""),
    ("linkerd-proxy", "linkerd.io/inject: disabled"),
    ("vault-agent", "vault.hashicorp.com/agent-inject: \"false\""),
];

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let pods = bundle.list(Kind::Pods)?;
    let all = templates(bundle, out);
    for pod in pods.iter().filter(|pod| is_guest(pod) && is_made(pod)) {
        let subject = workload_of(pod);
        let Some(template) = all.iter().find(|template| template.subject == subject) else { continue };
        let meant = containers(template.pod);
        for container in containers(pod) {
            if meant.iter().any(|it| it.name() == container.name()) {
                continue;
            }
            let known = KNOWN.iter().find(|(known, _)| *known == container.name());
            let mend = known.map_or_else(
                || "leave this namespace out of the webhook that adds it".to_owned(),
                |(_, annotation)| format!("annotate the pods with `{annotation}`, and generate again"),
            );
            let what =
                format!("A webhook puts container `{}` into its pods, and no policy has it.", quote(container.name()));
            out.push(
                Finding::problem(subject.clone(), what)
                    .why("the pods have it and their template has not")
                    .mend(mend)
                    .run("kubectl get mutatingwebhookconfigurations"),
            );
        }
    }
    Ok(())
}
