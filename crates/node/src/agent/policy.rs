//! The fields of the GPU Operator's `ClusterPolicy` (`nvidia.com/v1`) that concern confidential computing. They are
//! read, never written: whoever has the operator keeps one place for the default mode.
//!
//! Fields after `api/nvidia/v1/clusterpolicy_types.go` of the operator's v26.7.0. Everything else of the object, and
//! there is much, is not even kept.

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::Deserialize;

use super::crd::CcMode;

/// The name of the definition.
pub const DEFINITION: &str = "clusterpolicies.nvidia.com";

/// What of a `ClusterPolicy` is read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterPolicy {
    /// Workloads in virtual machines.
    pub sandbox_workloads: SandboxWorkloads,
    /// The operator's manager of modes.
    pub cc_manager: CcManager,
    /// The operator's installer of Kata, ignored since v26.7.0.
    pub kata_manager: Toggle,
}

/// Workloads in virtual machines.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SandboxWorkloads {
    /// Whether there are any.
    pub enabled: Option<bool>,
    /// What nodes without a label are for: `container`, `vm-passthrough` or `vm-vgpu`.
    pub default_workload: Option<String>,
    /// `kubevirt` or `kata`.
    pub mode: Option<String>,
}

/// The operator's manager of modes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CcManager {
    /// Whether it is deployed.
    pub enabled: Option<bool>,
    /// The mode of nodes without a label: `on`, `off` or `devtools`.
    pub default_mode: Option<String>,
}

/// A component that can be on or off.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toggle {
    /// Whether it is on.
    pub enabled: Option<bool>,
}

impl ClusterPolicy {
    /// Reads what concerns us; a field of another type than ours counts as absent, together with its neighbours.
    pub fn read(object: &DynamicObject) -> Self {
        let part = |name: &str| object.data.get("spec").and_then(|spec| spec.get(name)).cloned().unwrap_or_default();
        Self {
            sandbox_workloads: serde_json::from_value(part("sandboxWorkloads")).unwrap_or_default(),
            cc_manager: serde_json::from_value(part("ccManager")).unwrap_or_default(),
            kata_manager: serde_json::from_value(part("kataManager")).unwrap_or_default(),
        }
    }

    /// How the API server is asked for it.
    pub fn resource() -> ApiResource {
        ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("nvidia.com", "v1", "ClusterPolicy"),
            "clusterpolicies",
        )
    }

    /// Whether the operator prepares nodes for guests with GPUs in which modes matter: only then does its default mode
    /// mean anything. An operator of before v26.7.0 knows no `mode` and has its manager with every kind of guest; a
    /// later one's API server fills the field in.
    pub fn is_for_kata(&self) -> bool {
        let mode = self.sandbox_workloads.mode.as_deref();
        self.sandbox_workloads.enabled == Some(true) && mode.is_none_or(|mode| mode == "kata")
    }

    /// Whether the operator deploys its own manager of modes; it does unless told not to.
    pub fn has_manager(&self) -> bool {
        self.is_for_kata() && self.cc_manager.enabled != Some(false)
    }

    /// The mode of nodes without a label, or the word that names none. Without a word the operator's own default
    /// would be `on`; here nothing is changed because of what nobody wrote.
    pub fn default_mode(&self) -> Option<Result<CcMode, super::crd::UnknownMode>> {
        let word = self.cc_manager.default_mode.as_deref().filter(|word| !word.is_empty())?;
        self.is_for_kata().then(|| word.parse())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(spec: serde_json::Value) -> ClusterPolicy {
        let object =
            json!({"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": spec});
        ClusterPolicy::read(&serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn the_default_mode_counts_where_pods_run_in_kata() {
        let kata = json!({"enabled": true, "mode": "kata"});
        let policy = read(json!({"sandboxWorkloads": kata, "ccManager": {"enabled": false, "defaultMode": "on"}}));
        assert_eq!(policy.default_mode(), Some(Ok(CcMode::On)));
        assert!(!policy.has_manager());
        let unknown = read(json!({"sandboxWorkloads": kata, "ccManager": {"defaultMode": "maybe"}}));
        assert!(unknown.default_mode().is_some_and(|mode| mode.is_err()) && unknown.has_manager());
        for spec in [
            json!({}),
            json!({"sandboxWorkloads": kata}),
            json!({"sandboxWorkloads": kata, "ccManager": {"defaultMode": ""}}),
            json!({"sandboxWorkloads": {"enabled": false, "mode": "kata"}, "ccManager": {"defaultMode": "on"}}),
            json!({"sandboxWorkloads": {"enabled": true, "mode": "kubevirt"}, "ccManager": {"defaultMode": "on"}}),
            json!({"ccManager": {"defaultMode": "on"}}),
            json!({"sandboxWorkloads": "kata", "ccManager": {"defaultMode": "on"}}),
            json!({"sandboxWorkloads": kata, "ccManager": {"defaultMode": ["on"]}}),
        ] {
            assert_eq!(read(spec.clone()).default_mode(), None, "{spec}");
        }
    }

    #[test]
    fn an_operator_that_knows_no_mode_has_its_manager_all_the_same() {
        let old = read(json!({"sandboxWorkloads": {"enabled": true}, "ccManager": {"defaultMode": "on"}}));
        assert!(old.has_manager());
        assert_eq!(old.default_mode(), Some(Ok(CcMode::On)));
        let without = read(json!({"sandboxWorkloads": {"enabled": true}, "ccManager": {"enabled": false}}));
        assert!(!without.has_manager());
        let kubevirt = read(json!({"sandboxWorkloads": {"enabled": true, "mode": "kubevirt"}}));
        assert!(!kubevirt.has_manager());
    }
}
