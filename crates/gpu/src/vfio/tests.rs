use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::pci::scan;
use crate::simulated::{Count, Death, Fault, Host as Fake, Life, Model, VirtualClock, at};
use crate::users::Processes;

const ALIASES: &str = "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n\
    alias vfio_pci:v000010DEd00002901sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n";

#[derive(Clone, Copy)]
enum What {
    Bind,
    Restore,
}

struct Rig {
    host: Fake,
    dir: tempfile::TempDir,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let host = Fake::new(dir.path(), Arc::new(VirtualClock::default()));
    host.add(at(0x10), Model::H100);
    host.add(at(0x11), Model::B200);
    host.add(at(0x41), Model::RtxPro6000);
    host.add(at(0x80), Model::NvSwitch);
    host.aliases(ALIASES);
    host.attach(at(0x10), "nvidia");
    host.sound(at(0x41), sound(), "snd_hda_intel");
    host.attach(at(0x80), "nvidia-nvswitch");
    Rig { host, dir }
}

fn sound() -> Address {
    Address::new(0, 0x41, 0, 1).unwrap()
}

impl Rig {
    fn memory(&self) -> PathBuf {
        self.dir.path().join("drivers.json")
    }

    fn act(&self, life: &Arc<Life>, what: What) -> Result<Vec<Bound>, Vec<BindFailure>> {
        let machine = self.host.machine();
        let (kernel, look) = (self.host.kernel(life), Processes::new(machine.clone()));
        let devices = scan(&machine).unwrap().devices;
        let binder = Binder::new(machine, &*kernel, &look, Memory::new(self.memory()));
        match what {
            What::Bind => binder.bind(&devices),
            What::Restore => binder.restore(&devices),
        }
    }

    fn bind(&self) -> Result<Vec<Bound>, Vec<BindFailure>> {
        self.act(&Arc::new(Life::long()), What::Bind)
    }

    fn restore(&self) -> Result<Vec<Bound>, Vec<BindFailure>> {
        self.act(&Arc::new(Life::long()), What::Restore)
    }

    fn drivers(&self) -> Vec<Option<String>> {
        let drivers = [at(0x10), at(0x11), at(0x41), sound(), at(0x80)]
            .map(|address| self.host.machine().link_name(&format!("{}/driver", pci::folder(address))).unwrap());
        drivers.to_vec()
    }
}

fn names(drivers: [&str; 5]) -> Vec<Option<String>> {
    drivers.iter().map(|name| (!name.is_empty()).then(|| (*name).to_owned())).collect()
}

const BEFORE: [&str; 5] = ["nvidia", "", "", "snd_hda_intel", "nvidia-nvswitch"];
const TAKEN: [&str; 5] = ["vfio-pci", "nvgrace-gpu-vfio-pci", "vfio-pci", "vfio-pci", "vfio-pci"];

#[test]
fn devices_switches_and_companions_are_taken_and_given_back() {
    let rig = rig();
    assert_eq!(rig.drivers(), names(BEFORE));
    let bound = rig.bind().unwrap();
    assert!(bound.iter().all(|one| one.changed));
    assert_eq!(bound.len(), 5);
    assert_eq!(rig.drivers(), names(TAKEN));
    assert!(rig.bind().unwrap().iter().all(|one| !one.changed));
    let given = rig.restore().unwrap();
    assert!(given.iter().all(|one| one.changed));
    assert_eq!(rig.drivers(), names(BEFORE));
    assert!(rig.restore().unwrap().iter().all(|one| !one.changed));
}

#[test]
fn a_device_that_somebody_else_took_is_not_given_back() {
    let rig = rig();
    rig.host.attach(at(0x11), "nvgrace-gpu-vfio-pci");
    rig.bind().unwrap();
    rig.restore().unwrap();
    assert_eq!(rig.drivers()[1].as_deref(), Some("nvgrace-gpu-vfio-pci"));
}

#[test]
fn one_device_that_fails_is_a_failure_and_the_others_are_taken() {
    let rig = rig();
    rig.host.hold(31, "train", "/dev/nvidia0");
    let failures = rig.bind().unwrap_err();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].to_string(), "0000:10:00.0: process 31 (train) has /dev/nvidia0 open");
    assert_eq!(rig.drivers()[0].as_deref(), Some("nvidia"));
    assert_eq!(rig.drivers()[4].as_deref(), Some("vfio-pci"));
    rig.host.end(31);
    rig.bind().unwrap();
    // And a virtual machine's is not given back.
    rig.host.hold(32, "qemu-system-x86", "/dev/vfio/16");
    assert!(matches!(&rig.restore().unwrap_err()[..], [BindFailure { error: BindError::InUse(_), .. }]));
    assert_eq!(rig.drivers()[0].as_deref(), Some("vfio-pci"));
}

#[test]
fn a_device_without_a_group_and_a_missing_module_are_named() {
    let rig = rig();
    std::fs::remove_file(rig.host.root().join("sys/bus/pci/devices/0000:10:00.0/iommu_group")).unwrap();
    assert!(matches!(&rig.bind().unwrap_err()[..], [BindFailure { error: BindError::NoGroup, .. }]));
    let rig = self::rig();
    rig.host.aliases("alias vfio_pci:v000010DEd00002330sv*sd*bc*sc*i* unknown_vfio_pci\n");
    let failures = rig.bind().unwrap_err();
    assert_eq!(failures[0].to_string(), "0000:10:00.0: load module `unknown_vfio_pci`: there is no such module");
}

#[test]
fn a_device_that_cannot_be_taken_gets_its_driver_back() {
    let rig = rig();
    rig.host.fault(at(0x10), Fault::BindRefused, 1);
    let failures = rig.bind().unwrap_err();
    assert!(matches!(&failures[..], [BindFailure { device, error: BindError::Write(_) }] if *device == at(0x10)));
    assert_eq!(rig.drivers()[0].as_deref(), Some("nvidia"));
    rig.bind().unwrap();
    assert_eq!(rig.drivers(), names(TAKEN));
}

#[test]
fn without_a_memory_nothing_is_taken() {
    let rig = rig();
    std::fs::write(rig.memory(), "no").unwrap();
    assert_eq!(rig.bind().unwrap_err().len(), 5);
    assert_eq!(rig.drivers(), names(BEFORE));
}

#[test]
fn taking_and_giving_back_survive_a_crash_at_every_step() {
    for death in [Death::Before, Death::After] {
        for end in 0.. {
            let rig = rig();
            let life = Arc::new(Life::until(end, death, Count::KnobWrites));
            let done = rig.act(&life, What::Bind).is_ok();
            rig.bind().unwrap_or_else(|failures| panic!("{death:?} {end}: {}", failures[0]));
            assert_eq!(rig.drivers(), names(TAKEN), "{death:?} {end}");
            let life = Arc::new(Life::until(end, death, Count::KnobWrites));
            let _ = rig.act(&life, What::Restore);
            rig.restore().unwrap_or_else(|failures| panic!("{death:?} {end}: {}", failures[0]));
            assert_eq!(rig.drivers(), names(BEFORE), "{death:?} {end}");
            if done {
                assert!(end > 10);
                break;
            }
        }
    }
}

#[test]
fn a_name_that_is_no_modules_is_not_given_to_a_program() {
    let kernel = Host::new(crate::Machine::new("/nonexistent"));
    for bad in ["", "a b", "../x", "x;y", "$(x)"] {
        assert_eq!(kernel.load(bad).unwrap_err().reason, "this is no module's name");
    }
}
