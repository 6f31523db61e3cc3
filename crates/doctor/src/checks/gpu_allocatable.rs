//! Devices that pods ask for and nodes must offer.

use super::prelude::*;

const PREFIX: &str = "nvidia.com/";

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let nodes = bundle.list(Kind::Nodes)?;
    let mut users = templates(bundle, out);
    users.extend(written(bundle).unwrap_or_default());
    for user in users {
        for container in containers(user.pod) {
            let limits = container.spec.pointer("/resources/limits").and_then(Value::as_object);
            for (resource, wish) in limits.into_iter().flatten().filter(|(key, _)| key.starts_with(PREFIX)) {
                let wish = quantity(wish);
                if wish == 0 {
                    continue;
                }
                let offers = |place: &str| {
                    nodes.iter().filter_map(|node| Some(quantity(node.pointer(place)?.get(resource)?))).max()
                };
                let resource = quote(resource);
                let finding = match (offers("/status/allocatable"), offers("/status/capacity")) {
                    (Some(most), _) if most >= wish => continue,
                    (Some(0) | None, Some(capacity)) if capacity > 0 => {
                        Finding::problem(user.subject.clone(), format!("No `{resource}` can be had now."))
                            .why(format!("a node has {capacity} of them and may give out none: they are being changed, or unhealthy"))
                    }
                    (Some(most), _) if most > 0 => {
                        Finding::problem(user.subject.clone(), format!("No node has {wish} of `{resource}`."))
                            .why(format!("the most that one node gives out is {most}"))
                    }
                    _ => Finding::problem(user.subject.clone(), format!("No node offers `{resource}`."))
                        .why("no device plugin announces it: `nvidia.com/pgpu` is for guests, `nvidia.com/gpu` for ordinary pods"),
                };
                out.push(
                    finding
                        .mend("see what the nodes offer, and why a device is left out")
                        .run("kubectl get nodes -o custom-columns=NAME:.metadata.name,OFFERS:.status.allocatable")
                        .run("casemate-node inventory   # on the node"),
                );
            }
        }
    }
    Ok(())
}

/// A whole number of devices, which Kubernetes writes as text.
fn quantity(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}
