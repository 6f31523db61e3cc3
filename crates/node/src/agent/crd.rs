//! `NodeConfiguration`: what an administrator wants the machines of a cluster to be.
//!
//! The object named `cluster` holds for every node. Any other one has a `nodeSelector` and replaces, on the nodes that
//! it selects, the fields that it sets. The definition in `crd/nodeconfigurations.yaml` is generated from these types.
#![expect(unreachable_pub, reason = "KubeSchema repeats the types where nobody reaches them")]

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The name of the object that holds for every node.
pub const CLUSTER: &str = "cluster";

/// A confidential-computing mode of GPUs and switches. In YAML `"on"` and `"off"` need quotes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CcMode {
    /// Confidential computing.
    On,
    /// None.
    Off,
    /// Confidential computing with debugging open: protects nothing.
    Devtools,
    /// Protected PCIe: a whole HGX board for one guest, NVLink in clear.
    Ppcie,
}

impl CcMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::On, Self::Off, Self::Devtools, Self::Ppcie];

    /// As labels have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Devtools => "devtools",
            Self::Ppcie => "ppcie",
        }
    }
}

impl From<gpu::Mode> for CcMode {
    fn from(mode: gpu::Mode) -> Self {
        match mode {
            gpu::Mode::On => Self::On,
            gpu::Mode::Off => Self::Off,
            gpu::Mode::Devtools => Self::Devtools,
            gpu::Mode::Ppcie => Self::Ppcie,
        }
    }
}

impl From<CcMode> for gpu::Mode {
    fn from(mode: CcMode) -> Self {
        match mode {
            CcMode::On => Self::On,
            CcMode::Off => Self::Off,
            CcMode::Devtools => Self::Devtools,
            CcMode::Ppcie => Self::Ppcie,
        }
    }
}

impl fmt::Display for CcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no mode.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no mode; the modes are `on`, `off`, `devtools` and `ppcie`")]
pub struct UnknownMode(pub String);

impl FromStr for CcMode {
    type Err = UnknownMode;

    /// Exactly as written: a mode that is misspelt moves nothing.
    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == word).ok_or_else(|| UnknownMode(word.to_owned()))
    }
}

/// What the machines are to be.
#[derive(CustomResource, KubeSchema, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[kube(
    group = "casemate.dev",
    version = "v1alpha1",
    kind = "NodeConfiguration",
    plural = "nodeconfigurations",
    shortname = "nodeconf",
    category = "casemate",
    status = "NodeConfigurationStatus",
    derive = "PartialEq",
    doc = "What the machines of a cluster are to be for confidential pods and GPUs. The object named `cluster` holds for every node; others need a nodeSelector and replace the fields that they set.",
    validation = Rule::new("self.metadata.name == 'cluster' ? !has(self.spec.nodeSelector) : has(self.spec.nodeSelector) && size(self.spec.nodeSelector) > 0").message("the object named `cluster` has no nodeSelector, and every other one needs one"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.ccMode"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.selected"),
    printcolumn(name = "Settled", type_ = "integer", json_path = ".status.nodes.settled"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.nodes.failed"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfigurationSpec {
    /// Labels that a node must have, all of them, for this object to hold there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("size(self) <= 16").message("at most 16 labels"))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// The mode of GPUs and switches on nodes whose label `nvidia.com/cc.mode` does not say otherwise. Where the
    /// machine itself cannot run confidential guests, `on`, `devtools` and `ppcie` mean `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cc_mode: Option<CcMode>,
    /// What a change of mode does while somebody has a device: `GiveUp`, the node stays in service as it is and the
    /// change is tried again later; or `Wait`, the node takes no new pods with GPUs until those that are there have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_in_use: Option<WhenInUse>,
    /// Which devices are kept ready to be handed to guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vfio: Option<Vfio>,
    /// How devices are announced to the kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_plugin: Option<DevicePlugin>,
    /// The runtime classes to install, and no others of the bundle; none if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub runtimes: Option<Vec<Runtime>>,
    /// The description of the Kata bundle to install them from: the path of a TOML file on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^/[^\x00]+\.toml$"))]
    pub bundle: Option<String>,
}

/// What a change of mode does while somebody has a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub enum WhenInUse {
    /// The node stays in service as it is, and the change is tried again later.
    #[default]
    GiveUp,
    /// The node is out of service for new pods until nobody has a device.
    Wait,
}

/// Which devices are bound to VFIO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vfio {
    /// Whether GPUs are.
    #[serde(default)]
    pub enabled: bool,
    /// Whether NVSwitches are too.
    #[serde(default)]
    pub switches: bool,
}

/// How devices are announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DevicePlugin {
    /// By which names.
    #[serde(default)]
    pub resource_names: ResourceNames,
}

/// The names of GPUs as resources.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResourceNames {
    /// `nvidia.com/pgpu` for all of them.
    #[default]
    Pgpu,
    /// The model, such as `nvidia.com/GH100_H100_SXM5_80GB`.
    Model,
}

/// A runtime class that can be installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Runtime {
    /// SEV-SNP guests.
    #[serde(rename = "kata-qemu-snp")]
    Snp,
    /// TDX guests.
    #[serde(rename = "kata-qemu-tdx")]
    Tdx,
    /// Guests with GPUs, not confidential.
    #[serde(rename = "kata-qemu-nvidia-gpu")]
    NvidiaGpu,
    /// SEV-SNP guests with GPUs.
    #[serde(rename = "kata-qemu-nvidia-gpu-snp")]
    NvidiaGpuSnp,
    /// TDX guests with GPUs.
    #[serde(rename = "kata-qemu-nvidia-gpu-tdx")]
    NvidiaGpuTdx,
}

impl Runtime {
    /// The name of the class.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snp => "kata-qemu-snp",
            Self::Tdx => "kata-qemu-tdx",
            Self::NvidiaGpu => "kata-qemu-nvidia-gpu",
            Self::NvidiaGpuSnp => "kata-qemu-nvidia-gpu-snp",
            Self::NvidiaGpuTdx => "kata-qemu-nvidia-gpu-tdx",
        }
    }
}

/// What the machines are.
#[derive(KubeSchema, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfigurationStatus {
    /// The generation of the object that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many of the selected nodes are what.
    #[serde(default)]
    pub nodes: NodeCounts,
    /// `Ready`, `Progressing` and `Degraded`.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Nodes that an agent runs on, counted by what their labels say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// All that the object selects.
    #[serde(default)]
    pub selected: u32,
    /// At what they are to be.
    #[serde(default)]
    pub settled: u32,
    /// On the way there.
    #[serde(default)]
    pub changing: u32,
    /// Given up for now, to be tried again.
    #[serde(default)]
    pub failed: u32,
    /// Not even tried, because what they are to be makes no sense.
    #[serde(default)]
    pub refused: u32,
    /// In mode `on`.
    #[serde(default)]
    pub on: u32,
    /// In mode `off`.
    #[serde(default)]
    pub off: u32,
    /// In mode `devtools`.
    #[serde(default)]
    pub devtools: u32,
    /// In mode `ppcie`.
    #[serde(default)]
    pub ppcie: u32,
}

/// The definition for the API server, as YAML. Descriptions are kept: `kubectl explain` shows them.
pub fn definition() -> String {
    use kube::CustomResourceExt as _;
    let value = serde_json::to_value(NodeConfiguration::crd()).unwrap_or_default();
    let mut text = String::from("# Generated from crates/node/src/agent/crd.rs by `casemate-node crd`.\n");
    yaml(&mut text, &value, 0);
    text
}

/// Writes a JSON value as block YAML. Strings are quoted as JSON, which YAML takes as it is; keys are plain where they
/// are plain words.
fn yaml(text: &mut String, value: &serde_json::Value, indent: usize) {
    use serde_json::Value;
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
                let ambiguous = matches!(key.as_str(), "on" | "off" | "yes" | "no" | "y" | "n");
                let key = if plain && !ambiguous { key.clone() } else { Value::from(key.as_str()).to_string() };
                nested(text, &format!("{pad}{key}:"), value, indent + 2);
            }
        }
        Value::Array(items) => {
            for item in items {
                let mut inner = String::new();
                yaml(&mut inner, item, indent + 2);
                if is_nested(item) {
                    // The first line takes the dash in place of its indentation.
                    text.push_str(&format!("{pad}- {}", inner.trim_start()));
                } else {
                    text.push_str(&format!("{pad}- {item}\n"));
                }
            }
        }
        scalar => text.push_str(&format!("{pad}{scalar}\n")),
    }
}

fn nested(text: &mut String, key: &str, value: &serde_json::Value, indent: usize) {
    if is_nested(value) {
        text.push_str(&format!("{key}\n"));
        yaml(text, value, indent);
    } else {
        text.push_str(&format!("{key} {value}\n"));
    }
}

/// Whether a value takes lines of its own.
fn is_nested(value: &serde_json::Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty()) || value.as_array().is_some_and(|items| !items.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_written_and_nothing_else_is_one() {
        for mode in CcMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        for word in ["", "On", " on", "true", "success", "failed", "onn", "protected-pcie"] {
            assert_eq!(word.parse::<CcMode>(), Err(UnknownMode(word.to_owned())));
        }
    }

    #[test]
    fn runtimes_are_called_what_their_classes_are() {
        for runtime in [Runtime::Snp, Runtime::Tdx, Runtime::NvidiaGpu, Runtime::NvidiaGpuSnp, Runtime::NvidiaGpuTdx] {
            assert_eq!(serde_json::json!(runtime), runtime.name());
        }
    }

    #[test]
    fn the_definition_is_the_one_that_is_shipped() {
        expect_test::expect_file!["../../crd/nodeconfigurations.yaml"].assert_eq(&definition());
    }

    #[test]
    fn the_definition_as_yaml_says_what_it_says_as_json() {
        use kube::CustomResourceExt as _;
        let read: serde_json::Value = serde_saphyr::from_str(&definition()).expect("YAML");
        assert_eq!(read, serde_json::to_value(NodeConfiguration::crd()).expect("JSON"));
    }
}
