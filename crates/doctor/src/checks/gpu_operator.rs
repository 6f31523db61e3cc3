//! Two managers of one device: the GPU Operator's parts for sandboxed workloads and our node agent.

use super::prelude::*;

/// The parts that do what our agent does, by their field in the ClusterPolicy. All but the first are on by default.
const PARTS: [(&str, bool, &str); 4] = [
    ("ccManager", false, "switches modes"),
    ("vfioManager", true, "binds devices to VFIO"),
    ("sandboxDevicePlugin", true, "offers devices to the kubelet"),
    ("kataManager", false, "installs Kata"),
];

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let policies = bundle.list(Kind::ClusterPolicies)?;
    let Some(policy) = policies.first() else { return Ok(()) };
    let sets = bundle.list_with(Kind::DaemonSets, names::AGENT_NAMESPACE)?;
    if !sets.iter().any(|set| name(set) == names::AGENT && namespace(set) == names::AGENT_NAMESPACE) {
        return Ok(());
    }
    let sandboxed = is_true(policy, "/spec/sandboxWorkloads/enabled");
    let is_on = |(field, default, _): &&(&str, bool, &str)| {
        let said = policy.pointer(&format!("/spec/{field}/enabled")).and_then(Value::as_bool);
        (sandboxed || *field == "ccManager") && said.unwrap_or(*default)
    };
    let on: Vec<&(&str, bool, &str)> = PARTS.iter().filter(is_on).collect();
    if on.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = on.iter().map(|(field, _, does)| format!("{field} {does}")).collect();
    let patch: Vec<String> = on.iter().map(|(field, ..)| format!("\"{field}\":{{\"enabled\":false}}")).collect();
    out.push(
        Finding::problem(
            Subject::of(Kind::ClusterPolicies, policy),
            "The GPU Operator does what the node agent does: they take devices from each other.",
        )
        .why(format!("both are deployed, and in the ClusterPolicy {}", fields.join(", ")))
        .mend("leave it to one: switch those parts of the Operator off; `ccManager.defaultMode` is still read")
        .run(format!(
            "kubectl patch clusterpolicy {} --type merge -p '{{\"spec\":{{{}}}}}'",
            shell(name(policy)),
            patch.join(",")
        )),
    );
    Ok(())
}
