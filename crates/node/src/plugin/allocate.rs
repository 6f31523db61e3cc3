//! Which units suit a request, and what a container with them is told.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{CdiDevice, ContainerAllocateResponse, DeviceSpec};
use super::inventory::{Inventory, Offer, ResourceName, SetRule, Unfit, Unit, UnitId};

/// How a container is told of its devices: in exactly one of these ways, since a runtime that hears of a device twice
/// attaches it twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tell {
    /// As nodes in `/dev`. Every runtime understands them, and Kata's shim finds the group by the node's name.
    #[default]
    Nodes,
    /// As CDI devices, which the runtime looks up in the files of [`cdi`](crate::cdi). Needs containerd 2.0, or 1.7 with
    /// `enable_cdi`; others pass over them in silence.
    Cdi,
    /// As an annotation of the container, for runtimes that read CDI devices there alone.
    Annotation,
}

/// The annotation of [`Tell::Annotation`]. What comes after `cdi.k8s.io/` is free.
const ANNOTATION: &str = "cdi.k8s.io/casemate";
/// Read, write, and make nodes.
const PERMISSIONS: &str = "mrw";

/// Why a container does not get what the kubelet chose for it. The kubelet shows this in the pod's events.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An id that is none of ours, or whose device is gone.
    #[error("{resource} has no device `{id}` on this node")]
    Unknown {
        /// Which resource.
        resource: ResourceName,
        /// As it was asked for.
        id: String,
    },
    /// One id twice.
    #[error("device `{0}` is asked for twice")]
    Twice(UnitId),
    /// A device that is not fit.
    #[error("device `{id}` of {resource} cannot be used now: {unfit}")]
    Unfit {
        /// Which resource.
        resource: ResourceName,
        /// Which device.
        id: UnitId,
        /// Why.
        unfit: Unfit,
    },
    /// A part of a set.
    #[error("{wanted} of {all} {resource} are asked for; {}", may(*rule, *all))]
    Part {
        /// Which resource.
        resource: ResourceName,
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        all: usize,
        /// How many may be.
        rule: SetRule,
    },
}

fn may(rule: SetRule, all: usize) -> String {
    match rule {
        SetRule::Any => "any number may be".to_owned(),
        SetRule::OneOrAll => format!("a pod gets one or all {all}, since only that is isolated behind the switches"),
        SetRule::All => format!("a pod gets all {all} or none, since they are one trusted whole"),
    }
}

/// What a container with these devices is told.
pub fn allocate(
    inventory: &Inventory,
    resource: &ResourceName,
    ids: &[String],
    tell: Tell,
) -> Result<ContainerAllocateResponse, Refusal> {
    let none = Offer::default();
    let offer = inventory.offers.get(resource).unwrap_or(&none);
    let mut units: BTreeMap<UnitId, &Unit> = BTreeMap::new();
    for text in ids {
        let unit = UnitId::parse(text).and_then(|id| offer.unit(id));
        let unit = unit.ok_or_else(|| Refusal::Unknown { resource: resource.clone(), id: text.clone() })?;
        if units.insert(unit.id, unit).is_some() {
            return Err(Refusal::Twice(unit.id));
        }
    }
    let (wanted, all) = (units.len(), offer.units.len());
    if !offer.rule.allows(wanted, all) {
        return Err(Refusal::Part { resource: resource.clone(), wanted, all, rule: offer.rule });
    }
    if let Some((id, unfit)) = units.values().find_map(|unit| Some((unit.id, unit.unfit.clone()?))) {
        return Err(Refusal::Unfit { resource: resource.clone(), id, unfit });
    }
    let mut response = ContainerAllocateResponse::default();
    let names: Vec<String> = units.keys().map(|id| format!("{resource}={id}")).collect();
    match tell {
        Tell::Nodes => {
            // A set, so that no node is there twice whatever units share.
            let nodes: BTreeSet<&String> =
                inventory.shared_nodes.iter().chain(units.values().flat_map(|unit| &unit.nodes)).collect();
            response.devices = nodes
                .into_iter()
                .map(|node| DeviceSpec {
                    container_path: node.clone(),
                    host_path: node.clone(),
                    permissions: PERMISSIONS.to_owned(),
                })
                .collect();
        }
        Tell::Cdi => response.cdi_devices = names.into_iter().map(|name| CdiDevice { name }).collect(),
        Tell::Annotation => {
            // One resource's name behind it, since a container may have GPUs and switches.
            response.annotations.insert(format!("{ANNOTATION}_{}", resource.short()), names.join(","));
        }
    }
    Ok(response)
}

/// Which of the available devices a container should get: those that it must have, and others as near to them as there
/// are. Empty when there are not enough; the kubelet then chooses itself, and [`allocate`] judges.
///
/// Nearness is being on one NUMA node. Where one node has enough, the one with the fewest is used, so that large requests
/// find large nodes later.
pub fn preferred(offer: &Offer, available: &[String], must: &[String], size: usize) -> Vec<String> {
    let known = |text: &String| UnitId::parse(text).and_then(|id| offer.unit(id)).filter(|unit| unit.unfit.is_none());
    let Some(must) = must.iter().map(known).collect::<Option<Vec<&Unit>>>() else { return Vec::new() };
    let mut chosen: BTreeMap<UnitId, &Unit> = must.into_iter().map(|unit| (unit.id, unit)).collect();
    let mut free: BTreeMap<UnitId, &Unit> = available.iter().filter_map(known).map(|unit| (unit.id, unit)).collect();
    free.retain(|id, _| !chosen.contains_key(id));
    if chosen.len() > size || chosen.len() + free.len() < size {
        return Vec::new();
    }
    while chosen.len() < size {
        let missing = size - chosen.len();
        let near: BTreeSet<i64> = chosen.values().flat_map(|unit| unit.numa.iter().copied().map(i64::from)).collect();
        let Some(node) = best_node(&free, &near, missing) else { break };
        let on: Vec<UnitId> = free.iter().filter(|(_, unit)| node_of(unit) == node).map(|(id, _)| *id).collect();
        for id in on.into_iter().take(missing) {
            if let Some(unit) = free.remove(&id) {
                chosen.insert(id, unit);
            }
        }
    }
    chosen.into_keys().map(|id| id.to_string()).collect()
}

/// The NUMA node that a unit counts for; -1, as in sysfs, where the kernel knows none.
fn node_of(unit: &Unit) -> i64 {
    unit.numa.first().copied().map_or(-1, i64::from)
}

/// The NUMA node to take from next: one that was taken from already, else the smallest that has enough, else the largest.
fn best_node(free: &BTreeMap<UnitId, &Unit>, near: &BTreeSet<i64>, missing: usize) -> Option<i64> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for unit in free.values() {
        *counts.entry(node_of(unit)).or_default() += 1;
    }
    let rank = |node: i64, count: usize| {
        let enough = count >= missing;
        // The lowest is the best.
        (!near.contains(&node), !enough, if enough { count } else { usize::MAX - count })
    };
    counts.into_iter().min_by_key(|(node, count)| (rank(*node, *count), *node)).map(|(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::super::inventory::tests::{gpus, hgx};
    use super::super::inventory::{Naming, Readiness};
    use super::*;

    fn ids(groups: &[u32]) -> Vec<String> {
        groups.iter().map(|group| UnitId::new(*group).to_string()).collect()
    }

    fn nodes(response: &ContainerAllocateResponse) -> Vec<&str> {
        response.devices.iter().map(|device| device.host_path.as_str()).collect()
    }

    #[test]
    fn a_container_hears_of_a_device_in_one_way_and_once() {
        for iommufd in [false, true] {
            let inventory = gpus(4, iommufd);
            let tell = |tell| allocate(&inventory, &ResourceName::pgpu(), &ids(&[11, 10]), tell).unwrap();
            let told = tell(Tell::Nodes);
            let expected = if iommufd {
                vec!["/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1"]
            } else {
                vec!["/dev/vfio/10", "/dev/vfio/11", "/dev/vfio/vfio"]
            };
            assert_eq!(nodes(&told), expected);
            assert!(told.devices.iter().all(|d| d.container_path == d.host_path && d.permissions == "mrw"));
            assert!(told.cdi_devices.is_empty() && told.annotations.is_empty());

            let told = tell(Tell::Cdi);
            let names: Vec<&str> = told.cdi_devices.iter().map(|device| device.name.as_str()).collect();
            assert_eq!(names, ["nvidia.com/pgpu=group-10", "nvidia.com/pgpu=group-11"]);
            assert!(told.devices.is_empty() && told.annotations.is_empty());

            let told = tell(Tell::Annotation);
            let value = "nvidia.com/pgpu=group-10,nvidia.com/pgpu=group-11".to_owned();
            assert_eq!(
                told.annotations.into_iter().collect::<Vec<_>>(),
                [("cdi.k8s.io/casemate_pgpu".to_owned(), value)]
            );
            assert!(told.devices.is_empty() && told.cdi_devices.is_empty());
        }
    }

    #[test]
    fn what_is_not_there_or_asked_for_twice_is_refused() {
        let inventory = gpus(2, true);
        let refuse = |resource: &ResourceName, ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            allocate(&inventory, resource, &ids, Tell::Nodes).unwrap_err().to_string()
        };
        for id in ["group-12", "10", "vfio0", "group-010", "group-+10", "group-", "", "group-99999999999"] {
            let expected = format!("nvidia.com/pgpu has no device `{id}` on this node");
            assert_eq!(refuse(&ResourceName::pgpu(), &[id]), expected);
        }
        let expected = "nvidia.com/nvswitch has no device `group-10` on this node";
        assert_eq!(refuse(&ResourceName::nvswitch(), &["group-10"]), expected);
        let twice = refuse(&ResourceName::pgpu(), &["group-10", "group-10"]);
        assert_eq!(twice, "device `group-10` is asked for twice");
    }

    #[test]
    fn a_device_that_is_not_fit_is_refused_with_the_reason() {
        let why = "the mode is being changed to on".to_owned();
        let inventory = hgx(8, 4, Naming::Pgpu, &Readiness::NotReady(why));
        let error = allocate(&inventory, &ResourceName::pgpu(), &ids(&[10]), Tell::Nodes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "device `group-10` of nvidia.com/pgpu cannot be used now: the mode is being changed to on"
        );
    }

    #[test]
    fn gpus_behind_switches_are_given_one_by_one_or_all_together() {
        let inventory = hgx(8, 4, Naming::Pgpu, &Readiness::Ready);
        let wanted = |count: u32| {
            let ids = ids(&(10..10 + count).collect::<Vec<_>>());
            allocate(&inventory, &ResourceName::pgpu(), &ids, Tell::Nodes).map(|_| ()).map_err(|e| e.to_string())
        };
        assert_eq!((wanted(1), wanted(8)), (Ok(()), Ok(())));
        for count in [2, 4, 7] {
            let expected = format!(
                "{count} of 8 nvidia.com/pgpu are asked for; a pod gets one or all 8, since only that is isolated behind the switches"
            );
            assert_eq!(wanted(count), Err(expected));
        }
    }

    #[test]
    fn switches_and_gpus_in_protected_pcie_mode_are_given_all_together() {
        let inventory = hgx(8, 4, Naming::Pgpu, &Readiness::ReadyAsOne);
        let wanted = |resource: &ResourceName, first: u32, count: u32| {
            let ids = ids(&(first..first + count).collect::<Vec<_>>());
            allocate(&inventory, resource, &ids, Tell::Nodes).map_err(|error| error.to_string())
        };
        assert!(wanted(&ResourceName::pgpu(), 10, 8).is_ok());
        assert!(wanted(&ResourceName::nvswitch(), 18, 4).is_ok());
        let error = wanted(&ResourceName::pgpu(), 10, 1).unwrap_err();
        assert!(error.ends_with("a pod gets all 8 or none, since they are one trusted whole"), "{error}");
        for count in [1, 3] {
            assert!(wanted(&ResourceName::nvswitch(), 18, count).is_err());
        }
    }

    #[test]
    fn a_missing_gpu_does_not_make_the_set_smaller() {
        // Seven fit ones of eight are not the whole.
        let mut inventory = hgx(8, 4, Naming::Pgpu, &Readiness::Ready);
        let offer = inventory.offers.get_mut(&ResourceName::pgpu()).unwrap();
        offer.units[7].unfit = Some(Unfit::NoNode("/dev/vfio/17".to_owned()));
        let seven = ids(&(10..17).collect::<Vec<_>>());
        assert!(allocate(&inventory, &ResourceName::pgpu(), &seven, Tell::Nodes).is_err());
        let eight = ids(&(10..18).collect::<Vec<_>>());
        assert!(allocate(&inventory, &ResourceName::pgpu(), &eight, Tell::Nodes).is_err());
    }

    /// Units on NUMA nodes: (group, node).
    fn spread(units: &[(u32, Option<u32>)]) -> Offer {
        let units = units.iter().map(|(group, node)| Unit {
            id: UnitId::new(*group),
            members: Vec::new(),
            nodes: Vec::new(),
            numa: node.iter().copied().collect(),
            unfit: None,
        });
        Offer { units: units.collect(), rule: SetRule::Any }
    }

    #[test]
    fn devices_of_one_numa_node_are_preferred() {
        let four = [(1, Some(0)), (2, Some(1)), (3, Some(0)), (4, Some(1)), (5, Some(1))];
        // Available, must have, how many, and what is preferred.
        type Case<'a> = (&'a [u32], &'a [u32], usize, &'a [u32]);
        let cases: [Case<'_>; 9] = [
            (&[1, 2, 3, 4, 5], &[], 2, &[1, 3]),
            (&[1, 2, 3, 4, 5], &[], 3, &[2, 4, 5]),
            (&[1, 2, 3, 4, 5], &[4], 2, &[2, 4]),
            (&[1, 2, 4, 5], &[], 1, &[1]),
            (&[1, 2, 3, 4, 5], &[1], 4, &[1, 2, 3, 4]),
            (&[1, 2, 3, 4, 5], &[], 5, &[1, 2, 3, 4, 5]),
            (&[1, 2], &[], 3, &[]),
            (&[1, 2], &[1, 2], 1, &[]),
            (&[1, 2], &[9], 1, &[]),
        ];
        let offer = spread(&four);
        for (available, must, size, expected) in cases {
            let chosen = preferred(&offer, &ids(available), &ids(must), size);
            assert_eq!(chosen, ids(expected), "{available:?} {must:?} {size}");
        }
    }

    #[test]
    fn machines_without_numa_nodes_are_served_in_order() {
        let offer = spread(&[(1, None), (2, None), (3, None)]);
        assert_eq!(preferred(&offer, &ids(&[3, 2, 1]), &[], 2), ids(&[1, 2]));
    }

    #[test]
    fn what_is_not_fit_or_not_ours_is_not_preferred() {
        let mut offer = spread(&[(1, Some(0)), (2, Some(0)), (3, Some(1))]);
        offer.units[0].unfit = Some(Unfit::NoNode("/dev/vfio/1".to_owned()));
        let available = [ids(&[1, 2, 3]), vec!["7".to_owned(), "vfio3".to_owned()]].concat();
        assert_eq!(preferred(&offer, &available, &[], 2), ids(&[2, 3]));
        assert_eq!(preferred(&offer, &available, &[], 3), [""; 0]);
    }

    #[test]
    fn a_preference_is_what_allocate_takes() {
        let inventory = hgx(8, 4, Naming::Model, &Readiness::Ready);
        for (resource, offer) in &inventory.offers {
            let all: Vec<String> = offer.units.iter().map(|unit| unit.id.to_string()).collect();
            let chosen = preferred(offer, &all, &[], all.len());
            assert_eq!(chosen.len(), all.len());
            assert!(allocate(&inventory, resource, &chosen, Tell::Nodes).is_ok(), "{resource}");
        }
    }
}
