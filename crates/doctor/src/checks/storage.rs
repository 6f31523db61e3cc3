//! Volumes: claims that wait, and mounts that fail.

use super::prelude::*;

/// A claim that was made a moment ago may still be bound.
const PATIENCE: i64 = 120;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, events) in troubled(bundle, out)? {
        let mount =
            events.iter().rev().find(|event| ["FailedMount", "FailedAttachVolume"].contains(&text(event, "/reason")));
        let Some(event) = mount else { continue };
        let said = text(event, "/message");
        let lower = said.to_lowercase();
        let finding = Finding::problem(workload_of(pod), "A volume of its pods cannot be mounted.").why(quote(said));
        let place = shell(namespace(pod));
        out.push(if lower.contains("configmap") && lower.contains("not found") {
            finding
                .mend("apply the ConfigMap: give `generate` all resources, since the policy binds its content")
                .run(format!("kubectl get configmaps -n {place}"))
        } else if lower.contains("secret") && lower.contains("not found") {
            finding
                .mend("make the Secret; one that `generate` has not seen must be given to it, since the policy binds its content")
                .run(format!("kubectl get secrets -n {place}"))
        } else {
            finding.mend("see the pod's events").run(format!("kubectl describe pod {} -n {place}", shell(name(pod))))
        });
    }
    for claim in bundle.list(Kind::PersistentVolumeClaims)? {
        let age = bundle.taken.saturating_sub(seconds(text(claim, "/metadata/creationTimestamp")).unwrap_or_default());
        if text(claim, "/status/phase") != "Pending" || age < PATIENCE || waits_for_pod(bundle, claim) {
            continue;
        }
        let class = text(claim, "/spec/storageClassName");
        let class = if class.is_empty() { "the default class".to_owned() } else { format!("class {}", quote(class)) };
        out.push(
            Finding::problem(Subject::of(Kind::PersistentVolumeClaims, claim), "The claim is not bound.")
                .why(format!("it has been pending for {} minutes and wants {class}", age / 60))
                .mend("see whether the class exists and what its provisioner says; the Coordinator keeps its history there")
                .run(format!("kubectl describe pvc {} -n {}", shell(name(claim)), shell(namespace(claim))))
                .run("kubectl get storageclasses"),
        );
    }
    Ok(())
}

/// With `WaitForFirstConsumer` a claim waits for a pod, and that pod has faults of its own.
fn waits_for_pod(bundle: &Bundle, claim: &Value) -> bool {
    let events = bundle.list(Kind::Events).unwrap_or_default();
    let about = events_about(events, "PersistentVolumeClaim", namespace(claim), name(claim));
    about.last().is_some_and(|event| text(event, "/reason") == "WaitForFirstConsumer")
}
