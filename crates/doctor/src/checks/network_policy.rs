//! A NetworkPolicy that selects the Coordinator and opens none of its ports closes them.

use super::coordinator_missing::coordinators;
use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let policies = bundle.list(Kind::NetworkPolicies)?;
    for pod in coordinators(bundle.list(Kind::Pods)?) {
        let chosen: Vec<&Value> = policies.iter().filter(|policy| governs_ingress(policy, pod)).collect();
        if chosen.is_empty() {
            // Without a policy everything is open.
            continue;
        }
        let names_of: Vec<&str> = chosen.iter().map(|policy| name(policy)).collect();
        for (port, who) in [(names::USER_PORT, "owners and clients"), (names::MESH_PORT, "initializers and meshes")] {
            let open = |policy: &&Value| items(policy, "/spec/ingress").iter().any(|rule| opens(rule, port));
            if chosen.iter().any(open) {
                continue;
            }
            out.push(
                Finding::problem(workload_of(pod), format!("A NetworkPolicy blocks the Coordinator's port {port}."))
                    .why(format!(
                        "{} select its pods, and no rule opens the port, which {who} need",
                        quote(&names_of.join(", "))
                    ))
                    .mend(format!(
                        "add an ingress rule with `ports: [{{port: {port}}}]`; what connects there has to attest itself"
                    ))
                    .run(format!("kubectl get networkpolicies -n {} -o yaml", shell(namespace(pod)))),
            );
        }
    }
    Ok(())
}

/// Whether a policy has a say about what comes to a pod.
fn governs_ingress(policy: &Value, pod: &Value) -> bool {
    // Expressions are left to the cluster: what they select is not judged here.
    let selector = policy.pointer("/spec/podSelector").unwrap_or(&Value::Null);
    let expressions = !items(selector, "/matchExpressions").is_empty();
    let types = items(policy, "/spec/policyTypes");
    let ingress = types.is_empty() || types.iter().any(|it| it.as_str() == Some("Ingress"));
    let labels = selector.pointer("/matchLabels").unwrap_or(&Value::Null);
    namespace(policy) == namespace(pod) && ingress && !expressions && selects(labels, pod)
}

/// Whether a rule opens a port over TCP; a rule without ports opens all.
fn opens(rule: &Value, port: u16) -> bool {
    let ports = items(rule, "/ports");
    ports.is_empty()
        || ports.iter().any(|it| {
            let tcp = matches!(text(it, "/protocol"), "" | "TCP");
            let first = number(it, "/port");
            let last = number(it, "/endPort").or(first);
            // A named port is the container's word; it is taken for the right one.
            let named = it.get("port").is_none_or(Value::is_string);
            let within =
                first.is_some_and(|first| first <= i64::from(port)) && last.is_some_and(|last| i64::from(port) <= last);
            tcp && (named || within)
        })
}
