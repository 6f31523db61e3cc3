//! Pods that never came to be, because the API server refused them. Their workload says so in events.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let events = bundle.list(Kind::Events)?;
    // Without them nobody knows whether the workload has its pods by now.
    let pods = bundle.list(Kind::Pods)?;
    for event in events.iter().filter(|event| text(event, "/reason") == "FailedCreate") {
        let message = text(event, "/message");
        let (kind, name) = (text(event, "/involvedObject/kind"), text(event, "/involvedObject/name"));
        let place = text(event, "/involvedObject/namespace");
        if is_over(pods, event) {
            continue;
        }
        let subject = Subject::named(kind, Some(place), name);
        let finding = Finding::problem(subject.clone(), "The API server refuses to make its pods.");
        let finding = finding.why(quote(message));
        let lower = message.to_lowercase();
        out.push(if lower.contains("violates podsecurity") {
            finding
                .mend("the initializer writes the pod's firewall, for which it needs capabilities inside the guest: let the \
                       namespace have level `privileged`, and hold pods to their policy instead")
                .run(format!(
                    "kubectl label namespace {} pod-security.kubernetes.io/enforce=privileged --overwrite",
                    shell(place)
                ))
        } else if lower.contains("exceeded quota") {
            finding
                .mend("a guest's overhead counts: raise the namespace's quota, or lower the limits")
                .run(format!("kubectl describe resourcequota -n {}", shell(place)))
        } else if lower.contains("webhook") {
            finding
                .mend("a webhook refuses them, or does not answer: mend it, or leave this namespace out of it")
                .run("kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations")
        } else if lower.contains("runtimeclass") {
            finding.mend("make the class").run("casemate-node runtime classes | kubectl apply -f -")
        } else if lower.contains("serviceaccount") {
            finding.mend("make the service account, or correct its name in the YAML")
        } else {
            finding.mend("see the whole message").run(format!("kubectl describe {}", subject.arguments()))
        });
    }
    Ok(())
}

/// Whether the workload has its pods by now, or is gone: events last an hour.
fn is_over(pods: &[Value], event: &Value) -> bool {
    let (kind, place) = (text(event, "/involvedObject/kind"), text(event, "/involvedObject/namespace"));
    let about = text(event, "/involvedObject/name");
    let made_later = |pod: &&Value| {
        let mine = items(pod, "/metadata/ownerReferences")
            .iter()
            .any(|owner| text(owner, "/kind") == kind && text(owner, "/name") == about);
        mine && namespace(pod) == place
            && seconds(text(pod, "/metadata/creationTimestamp")).is_some_and(|made| made >= when(event))
    };
    pods.iter().any(|pod| made_later(&pod))
}
