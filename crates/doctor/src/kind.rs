//! The kinds of objects that are looked at. Secrets are not among them, and neither are ConfigMaps.

use serde::{Deserialize, Serialize};

/// A kind of object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The GPU Operator's configuration.
    ClusterPolicies,
    /// Jobs by the clock.
    CronJobs,
    /// One pod for each node.
    DaemonSets,
    /// Replicated pods.
    Deployments,
    /// Which pods are behind a service.
    EndpointSlices,
    /// What happened lately.
    Events,
    /// Pods that end.
    Jobs,
    /// Which traffic may reach pods.
    NetworkPolicies,
    /// What our node agent is told.
    NodeConfigurations,
    /// Machines.
    Nodes,
    /// Requests for storage.
    PersistentVolumeClaims,
    /// Pods.
    Pods,
    /// Which runtime a pod's class means.
    RuntimeClasses,
    /// What pods are.
    ServiceAccounts,
    /// Names and addresses for pods.
    Services,
    /// Pods with names of their own.
    StatefulSets,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::ClusterPolicies,
        Self::CronJobs,
        Self::DaemonSets,
        Self::Deployments,
        Self::EndpointSlices,
        Self::Events,
        Self::Jobs,
        Self::NetworkPolicies,
        Self::NodeConfigurations,
        Self::Nodes,
        Self::PersistentVolumeClaims,
        Self::Pods,
        Self::RuntimeClasses,
        Self::ServiceAccounts,
        Self::Services,
        Self::StatefulSets,
    ];

    /// The kinds that make pods, pods themselves left out.
    pub const WORKLOADS: [Self; 5] =
        [Self::Deployments, Self::StatefulSets, Self::DaemonSets, Self::Jobs, Self::CronJobs];

    /// As kubectl and RBAC name it.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ClusterPolicies => "clusterpolicies",
            Self::CronJobs => "cronjobs",
            Self::DaemonSets => "daemonsets",
            Self::Deployments => "deployments",
            Self::EndpointSlices => "endpointslices",
            Self::Events => "events",
            Self::Jobs => "jobs",
            Self::NetworkPolicies => "networkpolicies",
            Self::NodeConfigurations => "nodeconfigurations",
            Self::Nodes => "nodes",
            Self::PersistentVolumeClaims => "persistentvolumeclaims",
            Self::Pods => "pods",
            Self::RuntimeClasses => "runtimeclasses",
            Self::ServiceAccounts => "serviceaccounts",
            Self::Services => "services",
            Self::StatefulSets => "statefulsets",
        }
    }

    /// As `kind` in YAML.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterPolicies => "ClusterPolicy",
            Self::CronJobs => "CronJob",
            Self::DaemonSets => "DaemonSet",
            Self::Deployments => "Deployment",
            Self::EndpointSlices => "EndpointSlice",
            Self::Events => "Event",
            Self::Jobs => "Job",
            Self::NetworkPolicies => "NetworkPolicy",
            Self::NodeConfigurations => "NodeConfiguration",
            Self::Nodes => "Node",
            Self::PersistentVolumeClaims => "PersistentVolumeClaim",
            Self::Pods => "Pod",
            Self::RuntimeClasses => "RuntimeClass",
            Self::ServiceAccounts => "ServiceAccount",
            Self::Services => "Service",
            Self::StatefulSets => "StatefulSet",
        }
    }

    /// The kind with this name in YAML.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Group and version, as in the API's paths.
    pub const fn api(self) -> &'static str {
        match self {
            Self::ClusterPolicies => "apis/nvidia.com/v1",
            Self::CronJobs | Self::Jobs => "apis/batch/v1",
            Self::DaemonSets | Self::Deployments | Self::StatefulSets => "apis/apps/v1",
            Self::EndpointSlices => "apis/discovery.k8s.io/v1",
            Self::NetworkPolicies => "apis/networking.k8s.io/v1",
            Self::NodeConfigurations => "apis/casemate.dev/v1alpha1",
            Self::RuntimeClasses => "apis/node.k8s.io/v1",
            Self::Events
            | Self::Nodes
            | Self::PersistentVolumeClaims
            | Self::Pods
            | Self::ServiceAccounts
            | Self::Services => "api/v1",
        }
    }

    /// Whether its objects are in namespaces.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::ClusterPolicies | Self::NodeConfigurations | Self::Nodes | Self::RuntimeClasses)
    }

    /// Whether a cluster may lack the kind altogether, which then has no objects.
    pub const fn is_extension(self) -> bool {
        matches!(self, Self::ClusterPolicies | Self::NodeConfigurations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_found_by_its_name() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::ALL.iter().position(|other| other.plural() == kind.plural()), Some(number));
            assert_eq!(Kind::named(kind.name()), Some(kind));
            assert_eq!(serde_json::json!(kind), kind.plural());
        }
        assert_eq!(Kind::named("Secret"), None);
        assert_eq!(Kind::named("ConfigMap"), None);
    }
}
