//! The checks: one module each, one function of a bundle each.

mod cc_mode;
mod certificates;
mod clock;
mod cluster;
mod collateral;
mod containerd;
mod coordinator_address;
mod coordinator_missing;
mod coordinator_service;
mod coordinator_state;
mod crash;
mod gpu_allocatable;
mod gpu_operator;
mod host_network;
mod identity_namespaces;
mod image_host;
mod image_name;
mod image_pull;
mod image_region;
mod image_tag;
mod initdata;
mod initializer;
mod injected;
mod iommu;
mod kernel;
mod kubernetes_version;
mod machine_iommu;
mod machine_kvm;
mod machine_tee;
mod manifest_missing;
mod manifest_unused;
mod network_policy;
mod node_agent;
mod node_confidential;
mod node_configuration;
mod node_ready;
mod pod_pending;
mod pod_placement;
mod pod_refused;
mod pod_unready;
mod policy_denied;
mod policy_stale;
mod pull_timeout;
mod runtime_class;
mod runtime_handler;
mod runtime_nodes;
mod service_account;
mod storage;

use crate::bundle::{Bundle, Unknown};
use crate::finding::Findings;

/// What checks need.
mod prelude {
    pub(super) use crate::bundle::{Answer, Bundle, Unknown};
    pub(super) use crate::finding::{Finding, Findings, Subject, quote, shell};
    pub(super) use crate::kind::Kind;
    pub(super) use crate::names;
    pub(super) use crate::view::*;
    pub(super) use serde_json::Value;
}

/// What a check is about, by which findings are grouped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// The API server, certificates, clocks.
    Cluster,
    /// Machines and what runs pods there.
    Nodes,
    /// Devices.
    Gpus,
    /// Where pods come from.
    Images,
    /// What becomes of pods.
    Pods,
    /// Policies, identities, the manifest.
    Identity,
    /// The Coordinator, and the way to it.
    Coordinator,
    /// This machine.
    Machine,
}

impl Area {
    /// In the order in which findings are shown: what others rest on comes first.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Machine,
        Self::Nodes,
        Self::Gpus,
        Self::Images,
        Self::Pods,
        Self::Identity,
        Self::Coordinator,
    ];

    /// As a title.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Nodes => "Nodes",
            Self::Gpus => "GPUs",
            Self::Images => "Images",
            Self::Pods => "Pods",
            Self::Identity => "Policies and identities",
            Self::Coordinator => "Coordinator",
            Self::Machine => "This machine",
        }
    }
}

/// The check whose findings count only where no other check found something about the same.
pub(crate) const CATCH_ALL: &str = "pod-unready";

/// One check.
#[derive(Debug)]
pub struct Check {
    /// Its name, for `--only`, `--skip` and whoever looks it up.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// What it finds, in a line.
    pub about: &'static str,
    /// Looks at a bundle. An error is something without which it cannot tell; what was found before it counts.
    pub run: fn(&Bundle, &mut Findings) -> Result<(), Unknown>,
}

macro_rules! checks {
    ($($area:ident { $($id:literal $module:ident $about:literal)* })*) => {
        /// Every check, by area.
        pub const CHECKS: &[Check] = &[$($(
            Check { id: $id, area: Area::$area, about: $about, run: $module::check },
        )*)*];
    };
}

checks! {
    Cluster {
        "cluster" cluster "the API server cannot be reached, or does not let you in"
        "kubernetes-version" kubernetes_version "Kubernetes older than what sidecars and our objects need"
        "clock" clock "clocks of this machine, the API server and the nodes that differ"
        "certificates" certificates "certificates that have ended or soon will: kubeconfig, cluster, mesh"
        "collateral" collateral "services of AMD, Intel or NVIDIA that cannot be reached from here"
    }
    Machine {
        "machine-kvm" machine_kvm "this machine cannot run virtual machines"
        "machine-tee" machine_tee "this machine's kernel or firmware does not run confidential guests"
        "machine-iommu" machine_iommu "this machine's IOMMU is off, so devices cannot go to guests"
    }
    Nodes {
        "node-ready" node_ready "nodes that are not ready, or short of memory, disk or processes"
        "node-confidential" node_confidential "no node pool is confidential: nowhere for confidential pods to run"
        "pod-placement" pod_placement "pods of ours that run on nodes without a TEE"
        "kernel" kernel "nodes whose kernel does not know SEV-SNP or TDX as a host"
        "iommu" iommu "nodes whose IOMMU is off"
        "containerd" containerd "container runtimes that our node agent does not configure"
        "runtime-class" runtime_class "pods whose RuntimeClass does not exist"
        "runtime-handler" runtime_handler "nodes that do not know the handler of a RuntimeClass"
        "runtime-nodes" runtime_nodes "RuntimeClasses that no node satisfies"
        "node-agent" node_agent "the node agent is missing, or not running everywhere"
        "node-configuration" node_configuration "a NodeConfiguration that is refused, failed or not reached"
    }
    Gpus {
        "cc-mode" cc_mode "GPUs whose confidential-computing mode failed, or is not the one wanted"
        "gpu-allocatable" gpu_allocatable "pods that ask for a GPU which no node offers"
        "gpu-operator" gpu_operator "the GPU Operator doing what our node agent does"
    }
    Images {
        "image-name" image_name "InvalidImageName: brackets, double slash, upper case and the like"
        "image-host" image_host "names that lead to the wrong registry, such as gcr.io"
        "image-pull" image_pull "ErrImagePull, ImagePullBackOff: tag, rights, name or network"
        "image-region" image_region "images in another region than the nodes"
        "image-tag" image_tag "confidential pods with an image by tag"
    }
    Pods {
        "pod-refused" pod_refused "pods that the API server refuses to make: security level, quota, webhook"
        "service-account" service_account "pods whose service account does not exist"
        "pod-pending" pod_pending "pods that no node can take: processor, memory, taints, labels"
        "storage" storage "volumes that cannot be mounted, claims that stay pending"
        "pull-timeout" pull_timeout "containers that the kubelet gives up before the guest has pulled the image"
        "policy-denied" policy_denied "requests that a pod's policy denies"
        "initializer" initializer "initializers that end with an error"
        "crash" crash "containers that crash again and again"
        "pod-unready" pod_unready "pods of ours that are not ready, where no other check says why"
        "host-network" host_network "confidential pods with namespaces or privileges of the host"
        "injected" injected "containers that a webhook put into confidential pods"
    }
    Identity {
        "initdata" initdata "confidential pods without initdata, or with one that cannot be read or is too long"
        "policy-stale" policy_stale "policies in the cluster that are older than the YAML"
        "manifest-missing" manifest_missing "deployed pods whose identity the manifest does not list"
        "manifest-unused" manifest_unused "identities of the manifest that are deployed nowhere"
        "identity-namespaces" identity_namespaces "one identity in several namespaces"
    }
    Coordinator {
        "coordinator-missing" coordinator_missing "confidential pods without a Coordinator"
        "coordinator-state" coordinator_state "a Coordinator in recovery, without a manifest, or stopped"
        "coordinator-service" coordinator_service "a Coordinator without a service for its ports"
        "network-policy" network_policy "a NetworkPolicy that blocks the Coordinator's ports"
        "coordinator-address" coordinator_address "the address of `--coordinator` cannot be reached"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_words_and_every_area_is_shown() {
        for (number, check) in CHECKS.iter().enumerate() {
            assert!(check.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", check.id);
            assert_eq!(CHECKS.iter().position(|other| other.id == check.id), Some(number));
            assert!(Area::ALL.contains(&check.area), "{}", check.id);
        }
    }

    #[test]
    fn the_page_lists_every_check_as_the_command_does() {
        let page = include_str!("../../../../docs/doctor.md");
        let rows: Vec<String> = CHECKS.iter().map(|check| format!("| `{}` | {} |", check.id, check.about)).collect();
        for row in &rows {
            assert!(page.lines().any(|line| line == row), "docs/doctor.md lacks the line: {row}");
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), rows.len());
    }
}
