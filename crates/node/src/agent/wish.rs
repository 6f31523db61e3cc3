//! What a machine is to be: the node's label, then the configurations, then the operator's policy.
//!
//! Nothing is guessed. A word that names no mode, two configurations that disagree, another manager on the same node:
//! each is a [`Refusal`], and with a refusal nothing moves.

use std::collections::{BTreeMap, BTreeSet};

use super::crd::{
    CLUSTER, CcMode, DevicePlugin, NodeConfiguration, NodeConfigurationSpec, Runtime, UnknownMode, Vfio, WhenInUse,
};
use super::labels;
use super::policy::ClusterPolicy;

/// Labels of a node, or of anything.
pub type Labels = BTreeMap<String, String>;

/// Who wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The node's label `nvidia.com/cc.mode`.
    Label,
    /// A `NodeConfiguration`, by name.
    Configuration(String),
    /// The GPU Operator's `ClusterPolicy`.
    ClusterPolicy,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Label => write!(f, "label `{}`", labels::MODE),
            Self::Configuration(name) => write!(f, "nodeconfiguration `{name}`"),
            Self::ClusterPolicy => f.write_str("the ClusterPolicy's `ccManager.defaultMode`"),
        }
    }
}

/// The mode that a node's devices are to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// This one.
    Mode {
        /// The mode.
        mode: CcMode,
        /// Who wants it.
        source: Source,
    },
    /// Nobody said anything: devices stay as they are.
    AsIs,
    /// What was said makes no sense: devices stay as they are, and somebody is to know.
    Refused(Refusal),
}

/// Why a wish is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A word that names no mode.
    #[error("{by_whom}: {unknown}")]
    UnknownMode {
        /// Who said it.
        by_whom: Source,
        /// The word.
        unknown: UnknownMode,
    },
    /// Two configurations select this node and disagree.
    #[error("nodeconfigurations {} select this node and disagree about `{field}`", quoted(.names))]
    Disagreement {
        /// The field.
        field: &'static str,
        /// The configurations that set it.
        names: Vec<String>,
    },
    /// The GPU Operator's manager changes modes on this node too.
    #[error("the GPU Operator's CC manager runs on this node (`{}=true`)", labels::OPERATORS_MANAGER)]
    AnotherManager,
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::UnknownMode { by_whom, .. } => {
                format!("set {by_whom} to `on`, `off`, `devtools` or `ppcie`, or remove it")
            }
            Self::Disagreement { .. } => "make their node selectors disjoint, or let them agree".to_owned(),
            Self::AnotherManager => {
                "set `ccManager.enabled: false` in the ClusterPolicy; its `defaultMode` is still read".to_owned()
            }
        }
    }

    /// A short name for events and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownMode { .. } => "UnknownMode",
            Self::Disagreement { .. } => "ConfigurationsDisagree",
            Self::AnotherManager => "AnotherManager",
        }
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" and ")
}

/// What a machine is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The mode of its devices.
    pub mode: Wish,
    /// What a change of it does while somebody has a device.
    pub when_in_use: WhenInUse,
    /// What is bound to VFIO.
    pub vfio: Vfio,
    /// How devices are announced.
    pub device_plugin: DevicePlugin,
    /// The runtime classes.
    pub runtimes: Vec<Runtime>,
    /// Where they come from.
    pub bundle: Option<String>,
}

/// Decides.
///
/// `host_is_confidential`: whether this machine can run confidential guests at all. Where it cannot, a default other
/// than `off` would make its GPUs useless to everybody, so it means `off`; an explicit label still holds.
///
/// A node that the GPU Operator's label keeps for containers is left alone by what holds for the whole cluster: its
/// GPUs have their own driver and their own pods. Its own label, or a configuration that selects it, still holds.
pub fn decide<'a>(
    node: &Labels,
    configurations: impl IntoIterator<Item = &'a NodeConfiguration>,
    policy: Option<&ClusterPolicy>,
    host_is_confidential: bool,
) -> Settings {
    let configurations = Selected::new(node, configurations);
    let mode = mode(node, &configurations, policy, host_is_confidential);
    // Only the mode can harm what runs; about the rest a disagreement means the cluster's own value.
    Settings {
        mode,
        when_in_use: configurations.get("whenInUse", |spec| spec.when_in_use).or_cluster().unwrap_or_default(),
        vfio: configurations.get("vfio", |spec| spec.vfio).or_cluster().unwrap_or_default(),
        device_plugin: configurations.get("devicePlugin", |spec| spec.device_plugin).or_cluster().unwrap_or_default(),
        runtimes: configurations.get("runtimes", |spec| spec.runtimes.clone()).or_cluster().unwrap_or_default(),
        bundle: configurations.get("bundle", |spec| spec.bundle.clone()).or_cluster(),
    }
}

fn mode(node: &Labels, configurations: &Selected<'_>, policy: Option<&ClusterPolicy>, confidential: bool) -> Wish {
    let managed = node.get(labels::OPERATORS_MANAGER).is_some_and(|value| value == "true");
    if managed && policy.is_some_and(ClusterPolicy::has_manager) {
        return Wish::Refused(Refusal::AnotherManager);
    }
    let refused = |by_whom, unknown| Wish::Refused(Refusal::UnknownMode { by_whom, unknown });
    // As with the operator's manager, an empty label says nothing.
    if let Some(word) = node.get(labels::MODE).filter(|word| !word.is_empty()) {
        return match word.parse() {
            Ok(mode) => Wish::Mode { mode, source: Source::Label },
            Err(unknown) => refused(Source::Label, unknown),
        };
    }
    let default = |mode, source| Wish::Mode { mode: if confidential { mode } else { CcMode::Off }, source };
    match configurations.get("ccMode", |spec| spec.cc_mode) {
        Choice::One(mode, name) => return default(mode, Source::Configuration(name)),
        Choice::Disagreement { field, names, .. } => return Wish::Refused(Refusal::Disagreement { field, names }),
        Choice::None => {}
    }
    // The operator's default is for nodes that it prepares for guests.
    let for_guests = |policy: &&ClusterPolicy| {
        let workload = node.get(labels::WORKLOAD).or(policy.sandbox_workloads.default_workload.as_ref());
        workload.is_some_and(|workload| workload.starts_with("vm-"))
    };
    match policy.filter(for_guests).and_then(ClusterPolicy::default_mode) {
        Some(Ok(mode)) => default(mode, Source::ClusterPolicy),
        Some(Err(unknown)) => refused(Source::ClusterPolicy, unknown),
        None => Wish::AsIs,
    }
}

/// The configurations that hold for a node.
struct Selected<'a> {
    cluster: Option<&'a NodeConfigurationSpec>,
    /// Whether the node is kept for containers.
    for_containers: bool,
    /// By name.
    others: BTreeMap<String, &'a NodeConfigurationSpec>,
}

/// What the configurations say about a field.
enum Choice<T> {
    None,
    One(T, String),
    Disagreement { field: &'static str, names: Vec<String>, cluster: Option<T> },
}

impl<T> Choice<T> {
    fn or_cluster(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::One(value, _) => Some(value),
            Self::Disagreement { cluster, .. } => cluster,
        }
    }
}

impl<'a> Selected<'a> {
    fn new(node: &Labels, configurations: impl IntoIterator<Item = &'a NodeConfiguration>) -> Self {
        let mut selected = Self { cluster: None, for_containers: for_containers(node), others: BTreeMap::new() };
        for configuration in configurations {
            let name = configuration.metadata.name.clone().unwrap_or_default();
            if name == CLUSTER {
                selected.cluster = Some(&configuration.spec);
            } else if selects(&configuration.spec, node) {
                selected.others.insert(name, &configuration.spec);
            }
        }
        selected
    }

    fn get<T: PartialEq>(&self, field: &'static str, get: impl Fn(&NodeConfigurationSpec) -> Option<T>) -> Choice<T> {
        let about_devices = matches!(field, "ccMode" | "vfio");
        let cluster = self.cluster.filter(|_| !(about_devices && self.for_containers)).and_then(&get);
        let mut set = self.others.iter().filter_map(|(name, spec)| Some((name.clone(), get(spec)?)));
        let Some((first, value)) = set.next() else {
            return cluster.map_or(Choice::None, |value| Choice::One(value, CLUSTER.to_owned()));
        };
        let mut names = vec![first.clone()];
        let mut agree = true;
        for (name, other) in set {
            agree &= other == value;
            names.push(name);
        }
        if agree { Choice::One(value, first) } else { Choice::Disagreement { field, names, cluster } }
    }
}

/// Whether the GPU Operator's label keeps a node for ordinary containers.
fn for_containers(node: &Labels) -> bool {
    node.get(labels::WORKLOAD).is_some_and(|workload| workload == "container")
}

/// Whether a configuration selects a node with these labels. One without a selector, other than the cluster's, selects
/// none: the API server refuses such an object, but one could be older than the rule.
pub fn selects(spec: &NodeConfigurationSpec, node: &Labels) -> bool {
    let selector = spec.node_selector.as_ref();
    selector.is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(label, value)| node.get(label) == Some(value))
    })
}

/// The names of configurations that hold for a node, the cluster's included.
pub fn holding<'a>(node: &Labels, configurations: impl IntoIterator<Item = &'a NodeConfiguration>) -> BTreeSet<String> {
    let holds = |configuration: &&NodeConfiguration| {
        configuration.metadata.name.as_deref() == Some(CLUSTER) || selects(&configuration.spec, node)
    };
    configurations.into_iter().filter(holds).filter_map(|configuration| configuration.metadata.name.clone()).collect()
}

#[cfg(test)]
mod tests;
