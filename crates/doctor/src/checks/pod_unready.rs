//! Pods of ours that are not ready, whatever the reason. What another check explains, the report takes out here.

use super::prelude::*;

/// A guest boots and pulls within this time, mostly; then somebody wants to know.
const PATIENCE: i64 = 5 * 60;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let now = bundle.cluster()?.clock.map_or(bundle.taken, |clock| clock.server);
    for (pod, events) in troubled(bundle, out)? {
        let since = condition(pod, "Ready").and_then(|ready| seconds(text(ready, "/lastTransitionTime")));
        let since = since.or_else(|| seconds(text(pod, "/metadata/creationTimestamp")));
        let waited = now.saturating_sub(since.unwrap_or_default());
        if waited < PATIENCE || !(is_ours(pod) || namespace(pod) == names::AGENT_NAMESPACE) {
            continue;
        }
        let event = events.iter().rev().find(|event| text(event, "/type") == "Warning");
        let waits: Vec<String> = containers(pod)
            .into_iter()
            .filter(|container| !container.waits_for().is_empty())
            .map(|container| format!("{} waits: {}", quote(container.name()), quote(container.waits_for())))
            .collect();
        let why = match event {
            Some(event) => format!("{}: {}", quote(text(event, "/reason")), quote(text(event, "/message"))),
            None if waits.is_empty() => {
                format!("its phase is {}, and no event says more", quote(text(pod, "/status/phase")))
            }
            None => waits.join(", "),
        };
        let phase = format!("A pod has not been ready for {} minutes.", waited / 60);
        out.push(
            Finding::problem(workload_of(pod), phase).why(why).mend("see its events and what it says").run(format!(
                "kubectl describe pod {} -n {}",
                shell(name(pod)),
                shell(namespace(pod))
            )),
        );
    }
    Ok(())
}
