//! Labels, annotations and names that others chose, or another crate of ours. A test holds the latter to their source.

/// Where GKE says which kind of confidential machine a node is: `SEV`, `SEV_SNP` or `TDX`.
pub const GKE_CONFIDENTIAL_TYPE: &str = "cloud.google.com/gke-confidential-nodes-instance-type";
/// Where GKE says that a node is confidential at all.
pub const GKE_CONFIDENTIAL: &str = "cloud.google.com/gke-confidential-nodes";
/// The node pool of a node of GKE.
pub const GKE_POOL: &str = "cloud.google.com/gke-nodepool";
/// What AKS says of a node's machine; `ConfidentialVM` is confidential.
pub const AKS_SECURITY: &str = "kubernetes.azure.com/security-type";
/// The node pool of a node of AKS.
pub const AKS_POOL: &str = "kubernetes.azure.com/agentpool";
/// AKS's nodes that ran Kata guests in confidential children.
pub const AKS_KATA: &str = "kubernetes.azure.com/kata-cc-isolation";
/// The region of a node.
pub const REGION: &str = "topology.kubernetes.io/region";

/// Node Feature Discovery and our agent: KVM runs SEV-SNP guests.
pub const SNP: &str = "amd.feature.node.kubernetes.io/snp";
/// Likewise TDX guests.
pub const TDX: &str = "intel.feature.node.kubernetes.io/tdx";
/// The runtime is installed.
pub const KATA: &str = "katacontainers.io/kata-runtime";

/// The mode that devices are to have.
pub const CC_MODE: &str = "nvidia.com/cc.mode";
/// The mode that they have, or `failed`.
pub const CC_MODE_STATE: &str = "nvidia.com/cc.mode.state";
/// Whether pods with GPUs may come.
pub const CC_READY: &str = "nvidia.com/cc.ready.state";
/// Whether a GPU can do confidential computing.
pub const CC_CAPABLE: &str = "nvidia.com/cc.capable";
/// What our agent is at.
pub const NODE_STATE: &str = "casemate.dev/node-state";
/// Where the GPU Operator runs its own manager of modes.
pub const OPERATORS_MANAGER: &str = "nvidia.com/gpu.deploy.cc-manager";

/// Where our node agent runs.
pub const AGENT_NAMESPACE: &str = "casemate-system";
/// What its DaemonSet is called.
pub const AGENT: &str = "casemate-node";

/// The annotations and labels of ours begin with this.
pub const OURS: &str = "casemate.dev/";
/// The Coordinator's ports: for users, for pods, for probes.
pub use protocol::api::{MESH_PORT, PROBE_PORT, USER_PORT};

#[cfg(test)]
mod tests {
    use super::*;

    /// Read as text: to link the agent for this would cost a minute of every build.
    #[test]
    fn labels_are_those_of_the_node_agent() {
        let labels = include_str!("../../node/src/agent/labels.rs");
        for (name, value) in [
            ("MODE", CC_MODE),
            ("MODE_STATE", CC_MODE_STATE),
            ("READY_STATE", CC_READY),
            ("NODE_STATE", NODE_STATE),
            ("OPERATORS_MANAGER", OPERATORS_MANAGER),
        ] {
            assert!(labels.contains(&format!("pub const {name}: &str = \"{value}\";")), "{name}");
        }
        let features = include_str!("../../node/src/features.rs");
        assert!(features.contains(&format!("\"{CC_CAPABLE}\"")));
        let classes = include_str!("../../node/src/runtime/class.rs");
        for label in [SNP, TDX, KATA] {
            assert!(classes.contains(&format!("\"{label}\"")), "{label}");
        }
    }

    #[test]
    fn the_agent_is_called_as_in_its_manifest() {
        let manifest = include_str!("../../../deploy/kustomize/node-agent/node-agent.yaml");
        assert!(
            manifest.contains(&format!("kind: DaemonSet\nmetadata:\n  name: {AGENT}\n  namespace: {AGENT_NAMESPACE}"))
        );
    }
}
