//! Nodes whose devices cannot go to guests. The node agent says so in an event when it binds drivers.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let nodes = bundle.list(Kind::Nodes)?;
    let events = bundle.list_with(Kind::Events, "default")?;
    for node in nodes {
        let about = events_about(events, "Node", "", name(node));
        // Only the agent's last word about drivers and modes counts.
        let last = about
            .iter()
            .rev()
            .find(|event| ["DriversFailed", "DriversChanged", "CcModeChanged"].contains(&text(event, "/reason")));
        let Some(event) = last else { continue };
        let message = text(event, "/message");
        let lower = message.to_lowercase();
        if text(event, "/reason") != "DriversFailed" || !lower.contains("iommu") && !lower.contains("vt-d") {
            continue;
        }
        out.push(
            Finding::problem(Subject::of(Kind::Nodes, node), "The node's IOMMU is off: no GPU can go to a guest.")
                .why(format!("the node agent says: {}", quote(message)))
                .mend(
                    "switch it on in the firmware's setup (AMD-Vi, VT-d); on Intel's machines add `intel_iommu=on iommu=pt` \
                     to the kernel's command line; then start the node again",
                )
                .run(format!("kubectl drain {} --ignore-daemonsets", shell(name(node))))
                .run("casemate doctor --local   # on the node, afterwards"),
        );
    }
    Ok(())
}
