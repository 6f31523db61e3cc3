//! A class is only a name: containerd on the node must know its handler.

use super::prelude::*;

/// The words of containerd and of CRI-O.
const SAID: [&str; 3] = ["no runtime for", "failed to find runtime handler", "not supported"];

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, events) in troubled(bundle, out)? {
        let class = text(pod, "/spec/runtimeClassName");
        let sandbox = events.iter().rev().find(|event| text(event, "/reason") == "FailedCreatePodSandBox");
        let Some(message) = sandbox.map(|event| text(event, "/message")) else { continue };
        let lower = message.to_lowercase();
        if class.is_empty() || !SAID.iter().any(|words| lower.contains(words)) || !lower.contains("runtime") {
            continue;
        }
        let node = text(pod, "/spec/nodeName");
        let what = format!("The node {} does not know the handler of class `{}`.", quote(node), quote(class));
        out.push(
            Finding::problem(workload_of(pod), what)
                .why(format!("containerd says: {}", quote(message)))
                .mend("install the runtime there: list the class in a NodeConfiguration, and see what the agent says")
                .run("kubectl get nodeconfigurations")
                .run(format!("kubectl get events --field-selector involvedObject.name={}", shell(node)))
                .run("casemate-node runtime status   # on the node"),
        );
    }
    Ok(())
}
