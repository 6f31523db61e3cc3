use gpu::pci::DeviceId;

use super::*;

pub(crate) fn device(number: u8, kind: DeviceKind) -> Device {
    let name = match kind {
        DeviceKind::Gpu => "GH100 [H100 SXM5 80GB]",
        DeviceKind::NvSwitch => "GH100 [H100 NVSwitch]",
    };
    Device {
        address: Address::new(0, 0x10 + number, 0, 0).unwrap(),
        kind,
        device_id: DeviceId(0x2330),
        name: Some(name.to_owned()),
        driver: Some("vfio-pci".to_owned()),
        iommu_group: Some((10 + u32::from(number)).to_string()),
        vfio_device: Some(format!("vfio{number}")),
        numa_node: Some(u32::from(number % 2)),
        modalias: None,
        vga: false,
    }
}

/// VFIO with a node for everything.
fn whole(devices: &[Device], iommufd: bool) -> Vfio {
    let nodes = devices.iter().flat_map(|device| node_candidates(device, iommufd)).collect();
    Vfio { iommufd, nodes, lost: BTreeSet::new(), in_the_way: BTreeMap::new() }
}

fn machine(gpus: u8, switches: u8) -> Vec<Device> {
    let gpu = (0..gpus).map(|number| device(number, DeviceKind::Gpu));
    gpu.chain((gpus..gpus + switches).map(|number| device(number, DeviceKind::NvSwitch))).collect()
}

/// Cards that know nothing of each other, in groups from 10 on.
pub(crate) fn gpus(count: u8, iommufd: bool) -> Inventory {
    let devices = machine(count, 0);
    inventory(&devices, Naming::Pgpu, &Readiness::Ready, &whole(&devices, iommufd))
}

/// GPUs in groups from 10 on, then switches.
pub(crate) fn hgx(gpus: u8, switches: u8, naming: Naming, readiness: &Readiness) -> Inventory {
    let devices = machine(gpus, switches);
    inventory(&devices, naming, readiness, &whole(&devices, true))
}

fn offer(devices: &[Device], naming: Naming, readiness: &Readiness) -> Inventory {
    inventory(devices, naming, readiness, &whole(devices, true))
}

fn names(inventory: &Inventory) -> Vec<(&str, usize)> {
    inventory.offers.iter().map(|(name, offer)| (name.as_str(), offer.units.len())).collect()
}

#[test]
fn resources_are_named_by_kind_or_by_model() {
    let devices = machine(8, 4);
    let by_kind = offer(&devices, Naming::Pgpu, &Readiness::Ready);
    assert_eq!(names(&by_kind), [("nvidia.com/nvswitch", 4), ("nvidia.com/pgpu", 8)]);
    let by_model = offer(&devices, Naming::Model, &Readiness::Ready);
    assert_eq!(names(&by_model), [("nvidia.com/GH100_H100_SXM5_80GB", 8), ("nvidia.com/nvswitch", 4)]);
}

#[test]
fn several_device_ids_are_one_resource() {
    let mut devices = machine(2, 0);
    devices[1].device_id = DeviceId(0x2335);
    devices[1].name = Some("GH100 [H200 SXM 141GB]".to_owned());
    assert_eq!(names(&offer(&devices, Naming::Pgpu, &Readiness::Ready)), [("nvidia.com/pgpu", 2)]);
    let by_model = offer(&devices, Naming::Model, &Readiness::Ready);
    assert_eq!(names(&by_model), [("nvidia.com/GH100_H100_SXM5_80GB", 1), ("nvidia.com/GH100_H200_SXM_141GB", 1)]);
}

#[test]
fn ids_are_of_one_spelling_and_short() {
    for group in [0, 1, 17, u32::MAX] {
        let text = UnitId::new(group).to_string();
        assert_eq!(UnitId::parse(&text), Some(UnitId::new(group)));
        assert!(text.len() <= MAX_ID);
    }
    for bad in ["", "1", "group-", "group-01", "group- 1", "group--1", "Group-1", "vfio1", "group-4294967296"] {
        assert_eq!(UnitId::parse(bad), None, "{bad}");
    }
}

#[test]
fn an_iommu_group_is_given_as_a_whole() {
    let mut devices = machine(2, 0);
    devices[1].iommu_group = devices[0].iommu_group.clone();
    let inventory = offer(&devices, Naming::Pgpu, &Readiness::Ready);
    let unit = &inventory.offers[&ResourceName::pgpu()].units[0];
    assert_eq!(unit.members.len(), 2);
    assert_eq!(unit.nodes, ["/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1"]);
    assert_eq!(unit.numa, BTreeSet::from([0, 1]));
    let legacy = inventory_of(&devices, false);
    assert_eq!(legacy.offers[&ResourceName::pgpu()].units[0].nodes, ["/dev/vfio/10"]);
    assert_eq!(legacy.shared_nodes, ["/dev/vfio/vfio"]);
}

fn inventory_of(devices: &[Device], iommufd: bool) -> Inventory {
    inventory(devices, Naming::Pgpu, &Readiness::Ready, &whole(devices, iommufd))
}

#[test]
fn a_group_of_several_kinds_belongs_to_nobody() {
    let mut devices = machine(1, 1);
    devices[1].iommu_group = devices[0].iommu_group.clone();
    let inventory = offer(&devices, Naming::Pgpu, &Readiness::Ready);
    assert!(inventory.offers.is_empty());
    assert_eq!(
        inventory.not_offered[0].to_string(),
        "IOMMU group 10 holds nvidia.com/nvswitch and nvidia.com/pgpu and so belongs to no one resource"
    );
}

#[test]
fn what_cannot_be_offered_is_named() {
    let mut devices = machine(3, 0);
    devices[0].iommu_group = None;
    devices[1].name = None;
    devices[2].name = Some("pgpu".to_owned());
    let inventory = offer(&devices, Naming::Model, &Readiness::Ready);
    // A model in capitals is not the resource of the same letters.
    assert_eq!(names(&inventory), [("nvidia.com/PGPU", 1)]);
    let problems: Vec<String> = inventory.not_offered.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        ["0000:10:00.0 is in no IOMMU group", "0000:11:00.0 has no model name that could be a resource"]
    );
}

#[test]
fn a_device_of_the_hosts_is_not_offered_unless_it_is_being_changed() {
    for driver in [Some("nvidia"), None] {
        let mut devices = machine(2, 0);
        devices[0].driver = driver.map(str::to_owned);
        let ready = offer(&devices, Naming::Pgpu, &Readiness::Ready);
        assert_eq!(names(&ready), [("nvidia.com/pgpu", 1)]);
        let why: Vec<String> = ready.not_offered.iter().map(ToString::to_string).collect();
        let bound = driver.unwrap_or("nothing");
        assert_eq!(why, [format!("0000:10:00.0 is bound to {bound} and not to a driver of VFIO")]);
        let changing = offer(&devices, Naming::Pgpu, &Readiness::NotReady("the mode is changed".to_owned()));
        assert_eq!(names(&changing), [("nvidia.com/pgpu", 2)]);
        let units = &changing.offers[&ResourceName::pgpu()].units;
        assert!(units.iter().all(|unit| unit.unfit == Some(Unfit::NotReady("the mode is changed".to_owned()))));
    }
}

#[test]
fn all_is_counted_with_those_that_the_host_keeps() {
    // Three GPUs behind a switch, of which the host has one: two are not all of them.
    let mut devices = machine(3, 1);
    devices[1].driver = Some("nvidia".to_owned());
    for (readiness, rule) in [(Readiness::Ready, SetRule::OneOrAll), (Readiness::ReadyAsOne, SetRule::All)] {
        let inventory = offer(&devices, Naming::Pgpu, &readiness);
        let offer = &inventory.offers[&ResourceName::pgpu()];
        let unfit: Vec<Option<String>> =
            offer.units.iter().map(|unit| unit.unfit.as_ref().map(ToString::to_string)).collect();
        let why = "0000:11:00.0 is bound to nvidia and not to a driver of VFIO".to_owned();
        assert_eq!((offer.rule, unfit), (rule, vec![None, Some(why), None]));
        assert!(!offer.rule.allows(2, offer.units.len()) && inventory.not_offered.is_empty());
    }
    // Switches that are all the host's are not offered, and that is said.
    devices[3].driver = Some("nvidia-nvswitch".to_owned());
    let inventory = offer(&devices, Naming::Pgpu, &Readiness::Ready);
    assert_eq!(names(&inventory), [("nvidia.com/pgpu", 3)]);
    assert_eq!(
        inventory.not_offered[0].to_string(),
        "0000:13:00.0 is bound to nvidia-nvswitch and not to a driver of VFIO"
    );
}

#[test]
fn a_group_that_is_bound_in_part_is_unfit() {
    let mut devices = machine(2, 0);
    devices[1].iommu_group = devices[0].iommu_group.clone();
    devices[1].driver = Some("nvidia".to_owned());
    let inventory = offer(&devices, Naming::Pgpu, &Readiness::Ready);
    let unfit = inventory.offers[&ResourceName::pgpu()].units[0].unfit.as_ref().unwrap();
    assert_eq!(unfit.to_string(), "0000:11:00.0 is bound to nvidia and not to a driver of VFIO");
}

#[test]
fn what_shares_a_group_must_be_let_go_by_the_host_as_well() {
    use std::os::unix::fs::symlink;
    // What is beside the GPU in its group: class, driver, and whether it is in the way.
    for (class, driver, in_the_way) in [
        ("0x020000", Some("ice"), true),
        ("0x040300", Some("snd_hda_intel"), true),
        ("0x020000", Some("vfio-pci"), false),
        ("0x020000", Some("pci-stub"), false),
        ("0x020000", None, false),
        ("0x060400", Some("pcieport"), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let place = "sys/bus/pci/devices/0000:42:00.0";
        std::fs::create_dir_all(dir.path().join(place)).unwrap();
        std::fs::write(dir.path().join(place).join("class"), class).unwrap();
        if let Some(driver) = driver {
            symlink(format!("../../../bus/pci/drivers/{driver}"), dir.path().join(place).join("driver")).unwrap();
        }
        for number in ["0000:10:00.0", "0000:42:00.0"] {
            std::fs::create_dir_all(dir.path().join("sys/kernel/iommu_groups/10/devices").join(number)).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("dev/vfio")).unwrap();
        std::fs::write(dir.path().join("dev/vfio/10"), "").unwrap();
        let found = of(&Machine::new(dir.path()), &machine_of_one(), Naming::Pgpu, &Readiness::Ready).unwrap();
        let unfit = found.offers[&ResourceName::pgpu()].units[0].unfit.as_ref().map(ToString::to_string);
        let text = |driver| {
            format!(
                "0000:42:00.0 is in the same IOMMU group and bound to {driver}: it must be bound to VFIO, or to nothing"
            )
        };
        assert_eq!(unfit, driver.filter(|_| in_the_way).map(text), "{class} {driver:?}");
    }
}

#[test]
fn a_device_without_its_node_is_unfit() {
    let mut devices = machine(2, 0);
    let mut vfio = whole(&devices, true);
    vfio.nodes.remove("/dev/vfio/devices/vfio1");
    let with = inventory(&devices, Naming::Pgpu, &Readiness::Ready, &vfio);
    let unfit: Vec<Option<String>> = with.offers[&ResourceName::pgpu()]
        .units
        .iter()
        .map(|unit| unit.unfit.as_ref().map(ToString::to_string))
        .collect();
    assert_eq!(unfit, [None, Some("there is no /dev/vfio/devices/vfio1".to_owned())]);
    devices[0].vfio_device = None;
    let with = inventory(&devices, Naming::Pgpu, &Readiness::Ready, &whole(&devices, true));
    assert!(with.offers[&ResourceName::pgpu()].units[0].unfit.is_some());
}

#[test]
fn variants_of_the_vfio_driver_are_known() {
    for driver in ["vfio-pci", "nvgrace_gpu_vfio_pci", "nvgrace-gpu-vfio-pci"] {
        assert!(is_vfio(driver), "{driver}");
    }
    for driver in ["nvidia", "vfio", "pci-stub", "vfio-pci-core2", ""] {
        assert!(!is_vfio(driver), "{driver}");
    }
}

#[test]
fn cards_without_switches_are_given_in_any_number() {
    let rule = |inventory: &Inventory| inventory.offers[&ResourceName::pgpu()].rule;
    assert_eq!(rule(&gpus(4, true)), SetRule::Any);
    assert_eq!(rule(&hgx(8, 4, Naming::Pgpu, &Readiness::Ready)), SetRule::OneOrAll);
    assert_eq!(rule(&hgx(8, 4, Naming::Pgpu, &Readiness::ReadyAsOne)), SetRule::All);
}

#[test]
fn a_device_that_does_not_answer_is_unfit_and_a_sleeping_one_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(dir.path());
    let address: Address = "0000:41:00.0".parse().unwrap();
    let folder = dir.path().join("sys/bus/pci/devices/0000:41:00.0");
    std::fs::create_dir_all(&folder).unwrap();
    let cases: [(&str, &[u8], bool); 4] = [
        ("D0", &[0xff; 64], false),
        ("D3hot", &[0xff; 64], true),
        ("D0", &[0xde, 0x10, 0x30, 0x23], true),
        ("D0", &[0xff, 0xff], true),
    ];
    for (state, config, expected) in cases {
        std::fs::write(folder.join("power_state"), state).unwrap();
        std::fs::write(folder.join("config"), config).unwrap();
        assert_eq!(answers(&machine, address).unwrap(), expected, "{state} {config:?}");
    }
    let devices = machine_of_one();
    let vfio = Vfio { lost: BTreeSet::from([devices[0].address]), ..whole(&devices, true) };
    let inventory = inventory(&devices, Naming::Pgpu, &Readiness::Ready, &vfio);
    let unfit = inventory.offers[&ResourceName::pgpu()].units[0].unfit.as_ref().unwrap();
    assert_eq!(unfit.to_string(), "0000:10:00.0 does not answer: it has fallen off the bus");
}

fn machine_of_one() -> Vec<Device> {
    vec![device(0, DeviceKind::Gpu)]
}
