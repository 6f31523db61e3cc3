//! Guests pull their images themselves, while the kubelet waits for the container to be created, and it waits two minutes.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, events) in troubled(bundle, out)? {
        if !is_guest(pod) {
            continue;
        }
        let waits = containers(pod).into_iter().find(|container| container.waits_for() == "CreateContainerError");
        let messages = events.iter().rev().map(|event| text(event, "/message"));
        let event = messages.into_iter().find(|message| !message.starts_with("Failed to pull") && is_deadline(message));
        let status =
            waits.map(|container| text(container.status, "/state/waiting/message")).filter(|it| is_deadline(it));
        let Some(said) = status.or(event) else { continue };
        out.push(
            Finding::problem(workload_of(pod), "The kubelet gives its containers up before the guest has pulled the image.")
                .why(format!("{}; the kubelet's `runtimeRequestTimeout` is 2 minutes by default", quote(said)))
                .mend("raise it on the nodes that run guests, and restart their kubelets; smaller images help as well")
                .run("sed -i 's/^runtimeRequestTimeout:.*/runtimeRequestTimeout: 10m/' /var/lib/kubelet/config.yaml   # on the node")
                .run("systemctl restart kubelet                                                                   # on the node"),
        );
    }
    Ok(())
}

fn is_deadline(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("deadline exceeded") || message.contains("deadlineexceeded")
}
