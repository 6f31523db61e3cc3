//! Nodes that have the processor, or are wanted for it, and a kernel that does not know it as a host.

use super::prelude::*;

/// KVM runs SEV-SNP guests since Linux 6.11.
const SNP_HOST: (u32, u32) = (6, 11);
/// KVM runs TDX guests since Linux 6.16.
const TDX_HOST: (u32, u32) = (6, 16);

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for node in bundle.list(Kind::Nodes)? {
        // Confidential machines of a cloud are guests: their kernels need not be hosts.
        let is_cloud = label(node, names::GKE_POOL).is_some() || label(node, names::AKS_POOL).is_some();
        if is_cloud || has_label(node, names::SNP) || has_label(node, names::TDX) {
            continue;
        }
        let kernel = text(node, "/status/nodeInfo/kernelVersion");
        let Some(found) = version(kernel) else { continue };
        let has = |feature: &str| {
            ["enabled", "present"]
                .iter()
                .any(|word| has_label(node, &format!("feature.node.kubernetes.io/cpu-security.{feature}.{word}")))
                || has_label(node, &format!("feature.node.kubernetes.io/cpu-security.{feature}"))
        };
        let is_amd = label(node, "feature.node.kubernetes.io/cpu-model.vendor_id") == Some("AMD") || has("sev");
        let is_intel = label(node, "feature.node.kubernetes.io/cpu-model.vendor_id") == Some("Intel") || has("sgx");
        let (tee, needed) = match (is_amd, is_intel) {
            (true, false) => ("SEV-SNP", SNP_HOST),
            (false, true) => ("TDX", TDX_HOST),
            // A node that has Kata is meant to run guests; whose processor it has, nobody said.
            _ if has_label(node, names::KATA) => ("SEV-SNP (TDX: 6.16)", SNP_HOST),
            _ => continue,
        };
        if found >= needed || !has_label(node, names::KATA) {
            continue;
        }
        let (major, minor) = needed;
        out.push(
            Finding::problem(Subject::of(Kind::Nodes, node), "The node's kernel does not run confidential guests.")
                .why(format!(
                    "it has Kata and no label `{}` or `{}`; its kernel is {}, and KVM knows {tee} as a host since Linux \
                     {major}.{minor}",
                    names::SNP,
                    names::TDX,
                    quote(kernel)
                ))
                .mend("install a newer kernel, or the distribution's own that carries the support, and start again")
                .run("apt-get install linux-generic-hwe-24.04   # Ubuntu 24.04")
                .run("casemate-node features                    # on the node: what it can do then, and why not the rest"),
        );
    }
    Ok(())
}
