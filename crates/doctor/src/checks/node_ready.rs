//! Nodes that are in trouble of their own.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for node in bundle.list(Kind::Nodes)? {
        let subject = Subject::of(Kind::Nodes, node);
        let describe = format!("kubectl describe node {}", shell(name(node)));
        match condition(node, "Ready") {
            Some(ready) if text(ready, "/status") == "True" => {}
            ready => {
                let words = ready.map_or("it has no condition `Ready`", |ready| text(ready, "/message"));
                out.push(
                    Finding::problem(subject.clone(), "The node is not ready, so its pods are lost or will be.")
                        .why(quote(words))
                        .mend("see what its kubelet says")
                        .run(&describe)
                        .run("journalctl -u kubelet --since -15min   # on the node"),
                );
            }
        }
        for (kind, what) in
            [("MemoryPressure", "memory"), ("DiskPressure", "disk space"), ("PIDPressure", "process numbers")]
        {
            let Some(pressure) = condition(node, kind).filter(|it| text(it, "/status") == "True") else { continue };
            out.push(
                Finding::problem(subject.clone(), format!("The node runs out of {what} and evicts pods."))
                    .why(quote(text(pressure, "/message")))
                    .mend("free some, or move pods; each confidential pod takes its guest's whole memory, and its image's \
                           layers where guests pull")
                    .run(&describe),
            );
        }
    }
    Ok(())
}
