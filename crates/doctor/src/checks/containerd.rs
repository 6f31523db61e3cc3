//! The runtime that our node agent configures is containerd, 1.7 or newer.

use super::prelude::*;

const OLDEST: (u32, u32) = (1, 7);

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for node in bundle.list(Kind::Nodes)?.iter().filter(|node| has_label(node, names::KATA)) {
        let said = text(node, "/status/nodeInfo/containerRuntimeVersion");
        let subject = Subject::of(Kind::Nodes, node);
        match said.split_once("://") {
            Some(("containerd", number)) => {
                if version(number).is_some_and(|found| found < OLDEST) {
                    out.push(
                        Finding::problem(subject, "containerd is too old for Kata's confidential classes.")
                            .why(format!("it is {}; the node agent writes drop-ins for 1.7 and 2.x", quote(number)))
                            .mend("upgrade containerd on the node")
                            .run("apt-get install containerd.io && systemctl restart containerd   # on the node")
                            .run("casemate-node runtime status                                    # on the node"),
                    );
                }
            }
            Some((other, _)) => out.push(
                Finding::problem(subject, "The node has Kata's label and another runtime than containerd.")
                    .why(format!("it runs {}, which the node agent does not configure", quote(other)))
                    .mend("use nodes with containerd for confidential pods, and take the label from this one")
                    .run(format!("kubectl label node {} {}-", shell(name(node)), names::KATA)),
            ),
            None => out.unknown(Unknown::NoAnswer {
                what: format!("the container runtime of node {}", quote(name(node))),
                why: "its status does not say".to_owned(),
            }),
        }
    }
    Ok(())
}
