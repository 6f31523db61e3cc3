//! Whole machines: what a host could do to the set of devices.

use protocol::evidence::DeviceEvidence;
use testkit::nvidia::{Chip, TestDevice, TestReport, evidence_of, field};

use super::super::topology::{self, TopologyError};
use super::super::{Claims, NvidiaError};
use super::{FWID, NONCE, Rig, nvidia};
use crate::{Fault, VerifyError};
use protocol::digest::Hex;
use protocol::evidence::DeviceKind;
use protocol::reference::device::GpuMode;

type Machine = Vec<(TestDevice, TestReport)>;

fn claims(rig: &Rig, devices: &[DeviceEvidence]) -> Vec<Claims> {
    rig.examine_all(devices).verdict().unwrap()
}

/// The errors of the fabric of a machine, in words.
fn fabric(rig: &Rig, machine: &[(TestDevice, TestReport)]) -> Vec<String> {
    topology::check(&claims(rig, &evidence_of(machine))).iter().map(ToString::to_string).collect()
}

#[test]
fn a_whole_machine_is_one_fabric_of_any_size() {
    let rig = Rig::new();
    for (gpus, switches) in [(8, 4), (2, 1), (4, 2)] {
        let machine = rig.nvidia.machine(1, gpus, switches, NONCE);
        assert_eq!(fabric(&rig, &machine), Vec::<String>::new());
    }
}

#[test]
fn the_order_of_devices_does_not_matter() {
    let rig = Rig::new();
    let mut machine = rig.nvidia.machine(1, 4, 2, NONCE);
    machine.reverse();
    assert_eq!(fabric(&rig, &machine), Vec::<String>::new());
}

#[test]
fn a_repeated_report_is_named_with_both_places() {
    let rig = Rig::new();
    let machine = rig.nvidia.machine(1, 3, 1, NONCE);
    let mut devices = evidence_of(&machine);
    // One genuine GPU eight times passes for eight GPUs elsewhere.
    devices[2] = devices[0].clone();
    let error = nvidia(rig.examine_all(&devices).verdict().unwrap_err());
    assert_eq!(error, NvidiaError::Repeated { first: 1, second: 3, what: "the same key" });
    assert_eq!(error.to_string(), "device 3 is device 1 once more (the same key)");
    assert!(error.fault().is_refusal() && error.hint().is_some());
}

#[test]
fn one_device_with_two_reports_or_two_keys_is_one_device() {
    let rig = Rig::new();
    let device = rig.device(Chip::Gh100);
    let mut other = super::report(Chip::Gh100);
    other.responder_nonce = [1; 32];
    let devices = [device.evidence(&super::report(Chip::Gh100)), device.evidence(&other)];
    let error = nvidia(rig.examine_all(&devices).verdict().unwrap_err());
    assert_eq!(error, NvidiaError::Repeated { first: 1, second: 2, what: "the same key" });
    // A firmware update gives a device another key; it stays one device.
    let updated = rig.nvidia.device(Chip::Gh100, super::PDI, [0xf2; 48]);
    other.set(field::FWID, vec![0xf2; 48]);
    let devices = [device.evidence(&super::report(Chip::Gh100)), updated.evidence(&other)];
    let error = nvidia(rig.examine_all(&devices).verdict().unwrap_err());
    assert_eq!(error, NvidiaError::Repeated { first: 1, second: 2, what: "the same PDI" });
}

#[test]
fn a_stale_device_among_fresh_ones_is_named() {
    let rig = Rig::new();
    let mut machine = rig.nvidia.machine(1, 3, 1, NONCE);
    machine[1].1.request[4] ^= 1;
    let error = nvidia(rig.examine_all(&evidence_of(&machine)).verdict().unwrap_err());
    let NvidiaError::Device { position, device, error } = error else { panic!("{error:?}") };
    assert_eq!((position, device.as_str()), (2, "gpu a001010405060708"));
    assert_eq!((error.code(), error.fault()), ("device-nonce", Fault::Unbound));
}

#[test]
fn a_chain_swapped_between_devices_is_named() {
    let rig = Rig::new();
    let machine = rig.nvidia.machine(1, 2, 0, NONCE);
    let mut devices = evidence_of(&machine);
    let chain = devices[0].chain.clone();
    devices[0].chain = std::mem::replace(&mut devices[1].chain, chain);
    let error = rig.examine_all(&devices).verdict().unwrap_err();
    assert_eq!(error.code(), "device-signature");
    assert!(error.chain().starts_with("device evidence: device 1 (gpu "), "{}", error.chain());
}

#[test]
fn a_no_goes_before_a_could_not_tell_of_another_device() {
    let mut rig = Rig::bare();
    for manifest in TestReport::new(Chip::Gh100, NONCE).manifests() {
        rig.add(&manifest);
    }
    // The switch's manifest is missing, and the last GPU is stale.
    let mut machine = rig.nvidia.machine(1, 2, 1, NONCE);
    machine.rotate_right(1);
    let error = rig.examine_all(&evidence_of(&machine)).verdict().unwrap_err();
    assert_eq!(error.code(), "endorsement-missing");
    machine[2].1.request[4] ^= 1;
    let error = rig.examine_all(&evidence_of(&machine)).verdict().unwrap_err();
    assert_eq!(error.code(), "device-nonce");
}

#[test]
fn an_empty_set_holds_nothing() {
    assert_eq!(Rig::bare().examine_all(&[]).verdict(), Ok(vec![]));
}

#[test]
fn a_device_that_was_dropped_is_named() {
    let rig = Rig::new();
    let machine = rig.nvidia.machine(1, 3, 2, NONCE);
    let without = |place: usize| -> Machine {
        let mut machine = rig.nvidia.machine(1, 3, 2, NONCE);
        machine.remove(place);
        machine
    };
    let gpu = machine[1].0.id();
    let errors = fabric(&rig, &without(1));
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|error| error.ends_with(&format!("is linked with gpu {gpu}, which is not in the set"))));
    let switch = machine[4].0.id();
    let errors = fabric(&rig, &without(4));
    assert_eq!(errors.len(), 3);
    assert!(
        errors.iter().all(|error| error.ends_with(&format!("is linked with switch {switch}, which is not in the set")))
    );
}

#[test]
fn a_device_that_was_added_is_named() {
    let rig = Rig::new();
    let mut machine = rig.nvidia.machine(1, 2, 1, NONCE);
    let mut report = TestReport::new(Chip::Gh100, NONCE);
    report.set(field::FWID, FWID.to_vec()).links(&[machine[2].0.pdi]);
    machine.push((rig.nvidia.device(Chip::Gh100, [9; 8], FWID), report));
    let switch = machine[2].0.id();
    assert_eq!(
        fabric(&rig, &machine),
        [format!("switch {switch} is not linked with gpu 0909090909090909, which is in the set")]
    );
}

#[test]
fn a_gpu_that_was_swapped_for_one_of_another_machine_is_named_by_both() {
    let rig = Rig::new();
    let mut machine = rig.nvidia.machine(1, 2, 1, NONCE);
    let foreign = rig.nvidia.machine(2, 2, 1, NONCE).swap_remove(0);
    let (own, other) = (machine[0].0.id(), foreign.0.id());
    machine[0] = foreign;
    let devices = claims(&rig, &evidence_of(&machine));
    let switch = machine[2].0.id();
    let [gpu, sw] = [DeviceKind::Gpu, DeviceKind::Switch];
    let errors = topology::check(&devices);
    assert!(errors.contains(&TopologyError::Missing { kind: sw, device: switch, peer: own }));
    assert!(errors.contains(&TopologyError::Stranger { kind: sw, device: switch, peer: other }));
    assert!(errors.contains(&TopologyError::Stranger { kind: gpu, device: other, peer: switch }));
    assert_eq!(errors.len(), 4);
}

/// The hole that reports alone leave: a GPU that says it hangs on these switches, and that they do not know.
#[test]
fn a_gpu_that_lies_about_its_switches_is_a_stranger_to_them() {
    let rig = Rig::new();
    let mut machine = rig.nvidia.machine(1, 2, 1, NONCE);
    let liar = rig.nvidia.device(Chip::Gh100, [9; 8], [0x41; 48]);
    machine[0].0 = liar;
    let errors = fabric(&rig, &machine);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|error| error.starts_with("switch ")));
}

#[test]
fn a_switch_that_is_not_locked_and_a_gpu_that_does_not_protect_pcie_are_named() {
    let rig = Rig::new();
    let machine = |change: fn(&mut Machine)| {
        let mut machine = rig.nvidia.machine(1, 2, 1, NONCE);
        change(&mut machine);
        topology::check(&claims(&rig, &evidence_of(&machine)))
    };
    let gpu = Hex([0xa0, 1, 0, 4, 5, 6, 7, 8]);
    let switch = Hex([0xb0, 1, 0, 4, 5, 6, 7, 8]);
    let unprotected = |mode| vec![TopologyError::Unprotected { device: gpu, mode }];
    assert_eq!(
        machine(|machine| _ = machine[2].1.set(field::LOCK, vec![0, 0])),
        vec![TopologyError::Unlocked { device: switch }]
    );
    assert_eq!(
        machine(|machine| _ = machine[2].1.remove(field::LOCK)),
        vec![TopologyError::Unlocked { device: switch }]
    );
    assert_eq!(machine(|machine| _ = machine[0].1.set(field::FEATURE, vec![1])), unprotected(GpuMode::Spt));
    assert_eq!(machine(|machine| _ = machine[0].1.set(field::FEATURE, vec![0])), unprotected(GpuMode::Mpt));
    // Drivers before the 590 series say only whether PCIe is protected.
    assert_eq!(machine(|machine| _ = machine[0].1.remove(field::FEATURE)), vec![]);
    assert_eq!(
        machine(|machine| _ = machine[0].1.remove(field::FEATURE).set(field::PROTECTED_PCIE, vec![0x55])),
        unprotected(GpuMode::Unstated)
    );
}

#[test]
fn a_set_of_devices_costs_one_chain_check_each_and_remembers_it() {
    let rig = Rig::new();
    let devices = evidence_of(&rig.nvidia.machine(1, 4, 2, NONCE));
    let first = rig.examine_all(&devices);
    assert_eq!(rig.examine_all(&devices), first);
    let unread = DeviceEvidence { chain: vec![], ..devices[0].clone() };
    let error = rig.examine_all(&[unread]).verdict().unwrap_err();
    assert!(matches!(error, VerifyError::Nvidia(NvidiaError::Device { position: 1, .. })), "{error:?}");
}
