//! What a node offers: IOMMU groups of GPUs and of switches, under the names of resources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gpu::pci::{Device, DeviceKind};
use gpu::{Address, Machine, ReadError};
use serde::Serialize;

/// LIMIT: a device's id, as the kubelet takes it.
pub const MAX_ID: usize = 63;
/// LIMIT: the name of a resource behind the domain, as Kubernetes takes it.
pub const MAX_NAME: usize = 63;
const DOMAIN: &str = "nvidia.com";

/// What pods ask for, such as `nvidia.com/pgpu`. It is the kind of the CDI devices as well: Kata's shim joins the two
/// names that the kubelet tells it, `RESOURCE=ID`, and looks for a CDI device of that name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct ResourceName(String);

impl ResourceName {
    /// All GPUs.
    pub fn pgpu() -> Self {
        Self(format!("{DOMAIN}/pgpu"))
    }

    /// All switches.
    pub fn nvswitch() -> Self {
        Self(format!("{DOMAIN}/nvswitch"))
    }

    /// GPUs of one model; `None` when the model is no name for a resource.
    fn model(model: &str) -> Option<Self> {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let good = model.len() <= MAX_NAME && edge(model.bytes().next()) && edge(model.bytes().last());
        // Those that have a meaning of their own.
        (good && !matches!(model, "pgpu" | "nvswitch")).then(|| Self(format!("{DOMAIN}/{model}")))
    }

    /// With the domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the domain.
    pub fn short(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a unit: `group-` and the number of its IOMMU group.
///
/// Not the number alone, which others use for an index or for the number of a `vfioN`, so that `1` could be three devices.
/// Not `vfioN` either: it changes whenever a driver is bound, and the kubelet remembers ids longer than that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(u32);

impl UnitId {
    /// The id of a group.
    pub const fn new(group: u32) -> Self {
        Self(group)
    }

    /// Reads an id; `None` for one that we never gave.
    pub fn parse(text: &str) -> Option<Self> {
        let group = text.strip_prefix("group-")?.parse().ok()?;
        let id = Self(group);
        // One spelling each: no sign, no leading zero.
        (id.to_string() == text).then_some(id)
    }

    /// The IOMMU group.
    pub const fn group(self) -> u32 {
        self.0
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group-{}", self.0)
    }
}

impl Serialize for UnitId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why pods may not get a unit now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unfit {
    /// The agent says that the node's devices are not to be used.
    #[error("{0}")]
    NotReady(String),
    /// A device of the group has a driver that keeps it for the host.
    #[error("{address} is bound to {driver} and not to a driver of VFIO")]
    Driver {
        /// Which.
        address: Address,
        /// What it is bound to; `nothing`.
        driver: String,
    },
    /// Something else is in the group and has a driver of the host's: the kernel gives a group to a virtual machine as a
    /// whole or not at all.
    #[error("{device} is in the same IOMMU group and bound to {driver}: it must be bound to VFIO, or to nothing")]
    Neighbour {
        /// Which: its address on the PCI bus, or its name on another one.
        device: String,
        /// What it is bound to.
        driver: String,
    },
    /// It is powered and does not answer.
    #[error("{0} does not answer: it has fallen off the bus")]
    Lost(Address),
    /// The kernel shows no node for it.
    #[error("there is no {0}")]
    NoNode(String),
}

/// What is given to a pod as a whole: the devices of one IOMMU group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Unit {
    /// Its id.
    pub id: UnitId,
    /// Its devices.
    pub members: Vec<Address>,
    /// The nodes in `/dev` that stand for it, without those that all units share.
    pub nodes: Vec<String>,
    /// NUMA nodes that it is near to; none where the kernel does not say.
    pub numa: BTreeSet<u32>,
    /// Why pods may not get it; `None` when they may.
    pub unfit: Option<Unfit>,
}

/// How many units of a resource a container may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetRule {
    /// Any number: cards that know nothing of each other.
    #[default]
    Any,
    /// One or all: GPUs behind switches are isolated each by itself or all together, and a part of them is neither.
    OneOrAll,
    /// All: the switches, and GPUs in protected PCIe mode.
    All,
}

impl SetRule {
    /// Whether it allows so many out of so many.
    pub const fn allows(self, wanted: usize, all: usize) -> bool {
        match self {
            Self::Any => true,
            Self::OneOrAll => wanted == 1 || wanted == all,
            Self::All => wanted == all,
        }
    }
}

/// One resource.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Offer {
    /// In the order of their ids.
    pub units: Vec<Unit>,
    /// How many a container may have.
    pub rule: SetRule,
}

impl Offer {
    /// A unit by its id.
    pub fn unit(&self, id: UnitId) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.id == id)
    }
}

/// Something that is on the bus and not offered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NotOffered {
    /// There is no IOMMU, or it is off.
    #[error("{0} is in no IOMMU group")]
    NoGroup(Address),
    /// GPUs and switches, or GPUs of several models where models are resources.
    #[error("IOMMU group {group} holds {} and so belongs to no one resource", resources.join(" and "))]
    Mixed {
        /// Which group.
        group: u32,
        /// What its devices would be.
        resources: Vec<String>,
    },
    /// The host keeps it.
    #[error("{address} is bound to {driver} and not to a driver of VFIO")]
    Kept {
        /// Which.
        address: Address,
        /// What it is bound to; `nothing`.
        driver: String,
    },
    /// The model is not in the list of PCI ids, or no name for a resource.
    #[error("{0} has no model name that could be a resource")]
    NoModel(Address),
}

/// Everything that a node offers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Inventory {
    /// By resource.
    pub offers: BTreeMap<ResourceName, Offer>,
    /// Nodes in `/dev` that every container with a unit needs as well.
    pub shared_nodes: Vec<String>,
    /// What is not offered, and why.
    pub not_offered: Vec<NotOffered>,
    /// The how-manieth word about readiness this takes into account.
    #[serde(skip)]
    pub generation: u64,
}

/// What resources are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Naming {
    /// All GPUs are `nvidia.com/pgpu`.
    #[default]
    Pgpu,
    /// Each model is a resource, such as `nvidia.com/GH100_H100_SXM5_80GB`.
    Model,
}

/// What the node agent says of the node's devices as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Readiness {
    /// They are at the wished mode.
    #[default]
    Ready,
    /// The same, and the mode is protected PCIe: only all of them together.
    ReadyAsOne,
    /// They are not, or are about to be changed, or that failed: why.
    NotReady(String),
}

/// What there is to know about how VFIO shows itself.
#[derive(Clone, Debug)]
pub struct Vfio {
    /// Whether there is `/dev/iommu`, and devices have nodes of their own.
    pub iommufd: bool,
    /// Nodes in `/dev` that exist, of those that devices or their groups would have.
    pub nodes: BTreeSet<String>,
    /// Devices that do not answer.
    pub lost: BTreeSet<Address>,
    /// By IOMMU group: a device that is none of ours, and the driver by which it keeps the group for the host.
    pub in_the_way: BTreeMap<u32, (String, String)>,
}

/// Whether a driver gives its devices to virtual machines: `vfio-pci`, and variants such as `nvgrace_gpu_vfio_pci`.
pub fn is_vfio(driver: &str) -> bool {
    driver.replace('_', "-").ends_with("vfio-pci")
}

/// Looks at a machine.
pub fn look(machine: &Machine, naming: Naming, readiness: &Readiness) -> Result<Inventory, ReadError> {
    of(machine, &gpu::pci::scan(machine)?.devices, naming, readiness)
}

/// What of these devices, which a scan of the machine has found, is offered.
pub(crate) fn of(
    machine: &Machine,
    devices: &[Device],
    naming: Naming,
    readiness: &Readiness,
) -> Result<Inventory, ReadError> {
    let iommufd = machine.exists("/dev/iommu");
    let (mut nodes, mut lost) = (BTreeSet::new(), BTreeSet::new());
    let mut in_the_way = BTreeMap::new();
    for device in devices {
        if let Some(group) = device.iommu_group.as_deref().and_then(|group| group.parse().ok())
            && let Some(found) = neighbour(machine, group, devices)?
        {
            in_the_way.insert(group, found);
        }
        nodes.extend(node_candidates(device, iommufd).filter(|node| machine.exists(node)));
        if !answers(machine, device.address)? {
            lost.insert(device.address);
        }
    }
    Ok(inventory(devices, naming, readiness, &Vfio { iommufd, nodes, lost, in_the_way }))
}

/// A device beside ours in an IOMMU group whose driver keeps the group for the host. The kernel does not mind bridges,
/// devices without a driver, and drivers that touch no memory (`driver_managed_dma` in the kernel's source).
fn neighbour(machine: &Machine, group: u32, ours: &[Device]) -> Result<Option<(String, String)>, ReadError> {
    let folder = format!("/sys/kernel/iommu_groups/{group}/devices");
    for name in machine.names(&folder)? {
        let address = name.parse::<Address>().ok();
        if ours.iter().any(|device| Some(device.address) == address) {
            continue;
        }
        let device =
            if address.is_some() { format!("/sys/bus/pci/devices/{name}") } else { format!("{folder}/{name}") };
        let Some(driver) = machine.link_name(&format!("{device}/driver"))? else { continue };
        let bridge = machine.text(&format!("{device}/class"))?.is_some_and(|class| class.starts_with(BRIDGE));
        if !bridge && !is_vfio(&driver) && driver != "pci-stub" {
            return Ok(Some((name, driver)));
        }
    }
    Ok(None)
}

/// The class of bridges between PCI buses, and the beginning of what sysfs writes for it.
const BRIDGE: &str = "0x0604";

/// Whether a device answers on the bus: one that does not reads as ones (PCI Express Base Specification, completion
/// time-out). A sleeping one is not asked, since that would wake it.
fn answers(machine: &Machine, address: Address) -> Result<bool, ReadError> {
    let folder = format!("/sys/bus/pci/devices/{address}");
    if machine.text(&format!("{folder}/power_state"))?.as_deref() != Some("D0") {
        return Ok(true);
    }
    // Vendor and device id, of which neither can be all ones. A powered device that cannot be read does not answer.
    let head = machine.bytes(&format!("{folder}/config"), 4).unwrap_or(Some(vec![0xff; 4]));
    Ok(head.is_none_or(|bytes| bytes != [0xff; 4]))
}

/// The node of a device's group, or of the device itself.
fn node_candidates(device: &Device, iommufd: bool) -> impl Iterator<Item = String> {
    let node = if iommufd {
        device.vfio_device.as_ref().map(|name| format!("/dev/vfio/devices/{name}"))
    } else {
        device.iommu_group.as_ref().map(|group| format!("/dev/vfio/{group}"))
    };
    node.into_iter()
}

/// Works out what is offered.
///
/// A device that the host keeps for itself is not offered, unless it is being changed: then it is offered and unfit, so
/// that the kubelet sees it come back and not a smaller node. Where devices are given all or none, it is offered and unfit
/// as well: the rest is not all of them.
pub fn inventory(devices: &[Device], naming: Naming, readiness: &Readiness, vfio: &Vfio) -> Inventory {
    let mut groups: BTreeMap<u32, Vec<&Device>> = BTreeMap::new();
    let mut not_offered = Vec::new();
    for device in devices {
        match device.iommu_group.as_deref().and_then(|group| group.parse().ok()) {
            Some(group) => groups.entry(group).or_default().push(device),
            None => not_offered.push(NotOffered::NoGroup(device.address)),
        }
    }
    let has_switches = devices.iter().any(|device| device.kind == DeviceKind::NvSwitch);
    let mut offers: BTreeMap<ResourceName, Offer> = BTreeMap::new();
    let mut kept = Vec::new();
    for (group, members) in groups {
        let changing = matches!(readiness, Readiness::NotReady(_));
        let bound = members.iter().any(|device| device.driver.as_deref().is_some_and(is_vfio));
        if !bound && !changing {
            kept.push((group, members));
            continue;
        }
        match resource(group, &members, naming) {
            Ok(resource) => {
                let offer = offers.entry(resource).or_default();
                offer.rule = match (members.first().map(|device| device.kind), readiness) {
                    (Some(DeviceKind::NvSwitch), _) | (_, Readiness::ReadyAsOne) => SetRule::All,
                    _ if has_switches => SetRule::OneOrAll,
                    _ => SetRule::Any,
                };
                offer.units.push(unit(group, &members, readiness, vfio));
            }
            Err(problem) => not_offered.push(problem),
        }
    }
    for (group, members) in kept {
        let offer = resource(group, &members, naming).ok().and_then(|resource| offers.get_mut(&resource));
        match offer {
            Some(offer) if offer.rule != SetRule::Any => offer.units.push(unit(group, &members, readiness, vfio)),
            _ => not_offered.extend(
                members.iter().map(|device| NotOffered::Kept { address: device.address, driver: driver_of(device) }),
            ),
        }
    }
    for offer in offers.values_mut() {
        offer.units.sort_by_key(|unit| unit.id);
    }
    let shared_nodes = if vfio.iommufd || offers.is_empty() { Vec::new() } else { vec![VFIO_NODE.to_owned()] };
    Inventory { offers, shared_nodes, not_offered, generation: 0 }
}

/// The node of the VFIO driver itself, which is needed beside those of groups.
const VFIO_NODE: &str = "/dev/vfio/vfio";

fn driver_of(device: &Device) -> String {
    device.driver.clone().unwrap_or_else(|| "nothing".to_owned())
}

fn resource(group: u32, members: &[&Device], naming: Naming) -> Result<ResourceName, NotOffered> {
    let mut names = BTreeSet::new();
    for device in members {
        names.insert(match (device.kind, naming) {
            (DeviceKind::NvSwitch, _) => ResourceName::nvswitch(),
            (DeviceKind::Gpu, Naming::Pgpu) => ResourceName::pgpu(),
            (DeviceKind::Gpu, Naming::Model) => {
                let model = device.model_resource();
                model.as_deref().and_then(ResourceName::model).ok_or(NotOffered::NoModel(device.address))?
            }
        });
    }
    let mixed = |names: BTreeSet<ResourceName>| NotOffered::Mixed {
        group,
        resources: names.into_iter().map(|name| name.0).collect(),
    };
    if names.len() == 1 { names.pop_first().ok_or_else(|| mixed(names)) } else { Err(mixed(names)) }
}

fn unit(group: u32, members: &[&Device], readiness: &Readiness, vfio: &Vfio) -> Unit {
    let id = UnitId(group);
    let nodes: BTreeSet<String> = members.iter().flat_map(|device| node_candidates(device, vfio.iommufd)).collect();
    let kept = members.iter().find(|device| !device.driver.as_deref().is_some_and(is_vfio));
    let missing = if vfio.iommufd && nodes.len() < members.len() {
        Some(format!("node in /dev/vfio/devices for each device of {id}"))
    } else {
        nodes.iter().find(|node| !vfio.nodes.contains(*node)).cloned()
    };
    let lost = members.iter().find(|device| vfio.lost.contains(&device.address));
    let neighbour = vfio.in_the_way.get(&group).cloned();
    let unfit = match (readiness, lost, kept, neighbour, missing) {
        (Readiness::NotReady(why), ..) => Some(Unfit::NotReady(why.clone())),
        (_, Some(device), ..) => Some(Unfit::Lost(device.address)),
        (_, _, Some(device), ..) => Some(Unfit::Driver { address: device.address, driver: driver_of(device) }),
        (_, _, _, Some((device, driver)), _) => Some(Unfit::Neighbour { device, driver }),
        (.., Some(node)) => Some(Unfit::NoNode(node)),
        _ => None,
    };
    Unit {
        id,
        members: members.iter().map(|device| device.address).collect(),
        nodes: nodes.into_iter().collect(),
        numa: members.iter().filter_map(|device| device.numa_node).collect(),
        unfit,
    }
}

#[cfg(test)]
pub(crate) mod tests;
