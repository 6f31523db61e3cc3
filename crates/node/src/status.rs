//! What this machine's devices and runtime are now, for a person who wants to know why something does not work.
//!
//! Nothing is changed, no device is woken, nobody is asked but the machine: it works without a cluster, and beside an agent
//! that runs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use gpu::pci::{Device, DeviceKind};
use gpu::transition::{FileJournal, Journal as _, Limits, Record, Survey, Transition};
use gpu::users::{Holder, Processes, holders};
use gpu::{Address, Bus, Clock, Machine};
use serde::Serialize;

use crate::agent::device::chain;
use crate::agent::gpus::JOURNAL;
use crate::lock::Lock;
use crate::plugin::{Inventory, Naming, Readiness, inventory};
use crate::runtime::Root;
use crate::runtime::host::{self, Systemd};
use crate::runtime::install::{self, Installer};

/// A machine, looked at once.
#[derive(Debug, Serialize)]
pub struct Status {
    /// GPUs and switches.
    pub devices: Vec<DeviceStatus>,
    /// Devices that could not be looked at, and why.
    pub unreadable: Vec<String>,
    /// A change of modes that has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transition: Option<Record>,
    /// What pods may ask for, as far as the machine knows.
    pub offered: Inventory,
    /// The Kata runtime; `None` where it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<install::Status>,
    /// What could not be told.
    pub unknown: Vec<String>,
}

/// One device.
#[derive(Debug, Serialize)]
pub struct DeviceStatus {
    /// What the bus says of it.
    #[serde(flatten)]
    pub device: Device,
    /// Its mode, or why it has none.
    pub mode: Result<String, String>,
    /// Who has it open.
    pub holders: Vec<Holder>,
}

/// Looks at a machine.
///
/// # Errors
/// Only where the bus cannot be read. What else cannot be told is in [`Status::unknown`].
pub fn look(machine: &Machine, bus: &Arc<dyn Bus>, clock: &Arc<dyn Clock>) -> Result<Status, gpu::ReadError> {
    let scan = gpu::pci::scan(machine)?;
    let mut unknown = Vec::new();
    let held = holders(machine, &scan.devices).unwrap_or_else(|error| {
        unknown.push(format!("who has devices open: {}", chain(&error)));
        Vec::new()
    });
    let journal = machine.path(JOURNAL);
    let transition = FileJournal::new(&journal).load().unwrap_or_else(|error| {
        unknown.push(format!("whether a change of modes is under way: {}", chain(&error)));
        None
    });
    let runtime = runtime(&machine.path("/")).map_err(|why| unknown.push(format!("the runtime: {why}"))).ok();
    // Looked at and not spoken to: an agent may be changing them.
    let look = Processes::new(machine.clone());
    let (bus, clock) = (Arc::clone(bus), Arc::clone(clock));
    let journal = FileJournal::new(&journal);
    let survey = Transition::new(scan.devices.clone(), bus, clock, &look, &journal, Limits::default()).glance();
    let survey = survey.unwrap_or_else(|error| {
        unknown.push(format!("the modes: {}", chain(&error)));
        Survey::default()
    });
    let readiness = Readiness::found(transition.as_ref(), &survey);
    let offered = inventory::of(machine, &scan.devices, Naming::default(), &readiness)?;
    let untold = survey.devices.iter().filter_map(|device| device.mode.as_ref().err());
    unknown.extend(untold.map(|failure| format!("the mode of {}", failure.reason_of_device())));
    let mode = |address: Address| {
        let found = survey.devices.iter().find(|device| device.address == address);
        found.map_or_else(
            || Err("not asked".to_owned()),
            |device| match (&device.mode, device.chip) {
                (Ok(mode), Some(_)) => Ok(mode.to_string()),
                (Ok(_), None) => Err("it is of before confidential computing".to_owned()),
                (Err(failure), _) => Err(failure.reason.clone()),
            },
        )
    };
    let of = |address: Address| held.iter().filter(|holder| holder.devices.contains(&address)).cloned().collect();
    let devices = scan.devices.into_iter().map(|device| DeviceStatus {
        mode: mode(device.address),
        holders: of(device.address),
        device,
    });
    let unreadable = scan.unreadable.iter().map(|one| format!("{}: {}", one.address, chain(&one.error)));
    let (devices, unreadable) = (devices.collect(), unreadable.collect());
    Ok(Status { devices, unreadable, transition, offered, runtime, unknown })
}

/// Why it is not known whether devices may be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotKnown {
    /// The bus, or who holds devices.
    #[error(transparent)]
    Read(#[from] gpu::ReadError),
    /// A change that may have ended or not.
    #[error(transparent)]
    Journal(#[from] gpu::transition::JournalError),
    /// Modes.
    #[error("read the modes of devices")]
    Survey(#[from] gpu::transition::Interrupted),
}

/// Whether devices may be given to pods, as far as the machine itself knows. Devices are asked with registers that are
/// opened for more than a look by those alone who have the machine's lock.
pub fn readiness(machine: &Machine, alone: Option<&Lock>) -> Result<Readiness, NotKnown> {
    let journal = FileJournal::new(machine.path(JOURNAL));
    let change = journal.load()?;
    let devices = gpu::pci::scan(machine)?.devices;
    let look = Processes::new(machine.clone());
    let bus = Arc::new(gpu::Sysfs::new(machine.clone()));
    let transition =
        Transition::new(devices, bus, Arc::new(gpu::Monotonic::start()), &look, &journal, Limits::default());
    let survey = if alone.is_some() { transition.survey()? } else { transition.glance()? };
    Ok(Readiness::found(change.as_ref(), &survey))
}

fn runtime(root: &Path) -> Result<install::Status, String> {
    let root = Root::new(root);
    let distribution = host::distribution(&root).map_err(|error| chain(&error))?;
    let users = host::Processes::new(root.clone());
    let mut systemd = Systemd::new(&root);
    let installer = Installer::new(root.clone(), distribution, &users, &mut systemd);
    installer.status().map_err(|error| chain(&error))
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.devices.is_empty() {
            writeln!(f, "no NVIDIA GPU or NVSwitch")?;
        }
        for one in &self.devices {
            let device = &one.device;
            let kind = match device.kind {
                DeviceKind::Gpu => "GPU",
                DeviceKind::NvSwitch => "NVSwitch",
            };
            let name = device.name.clone().unwrap_or_else(|| format!("device {}", device.device_id));
            writeln!(f, "{}  {kind}  {name}", device.address)?;
            match &one.mode {
                Ok(mode) => writeln!(f, "    mode     {mode}")?,
                Err(why) => writeln!(f, "    mode     none: {why}")?,
            }
            writeln!(f, "    driver   {}", device.driver.as_deref().unwrap_or("none"))?;
            let group = device.iommu_group.as_deref().unwrap_or("none: it cannot be given to a pod");
            writeln!(f, "    group    {group}")?;
            for holder in &one.holders {
                writeln!(f, "    in use   {holder}")?;
            }
        }
        for problem in &self.unreadable {
            writeln!(f, "unreadable: {problem}")?;
        }
        if let Some(record) = &self.transition {
            writeln!(f, "a change to mode `{}` is at step {}", record.wish, record.step)?;
            for failure in record.failures.iter().chain(&record.lost) {
                writeln!(f, "    {failure}")?;
            }
        }
        for (resource, offer) in &self.offered.offers {
            let fit = offer.units.iter().filter(|unit| unit.unfit.is_none()).count();
            writeln!(f, "{resource}: {fit} of {} fit for pods", offer.units.len())?;
            for (id, unfit) in offer.units.iter().filter_map(|unit| Some((unit.id, unit.unfit.as_ref()?))) {
                writeln!(f, "    {id}  not fit: {unfit}")?;
            }
        }
        for problem in &self.offered.not_offered {
            writeln!(f, "not offered: {problem}")?;
        }
        if let Some(runtime) = &self.runtime {
            match &runtime.release {
                Some(release) => {
                    let classes: Vec<String> = runtime.classes.iter().map(ToString::to_string).collect();
                    writeln!(f, "runtime {release}: {}", classes.join(", "))?;
                }
                None => writeln!(f, "no runtime of ours is installed for {}", runtime.distribution)?,
            }
        }
        for what in &self.unknown {
            writeln!(f, "could not tell {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::expect;
    use gpu::Mode;
    use gpu::simulated::{Host, Life, VirtualClock};

    use super::*;

    #[test]
    fn a_board_is_shown_with_who_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        let host = Host::new(folder.path(), Arc::clone(&clock));
        host.add("0000:0a:00.0".parse().unwrap(), gpu::simulated::Model::H100);
        host.add("0000:0b:00.0".parse().unwrap(), gpu::simulated::Model::A100);
        host.add("0000:0c:00.0".parse().unwrap(), gpu::simulated::Model::H100);
        host.put_at(Mode::On);
        host.hold(77, "qemu-system-x86", "/dev/vfio/10");
        let bus = host.bus(&Arc::new(Life::long()));
        host.sleep("0000:0c:00.0".parse().unwrap());
        let status = look(&host.machine(), &bus, &clock).unwrap();
        assert!(host.is_asleep("0000:0c:00.0".parse().unwrap()));
        expect![[r#"
            0000:0a:00.0  GPU  GH100 [H100 SXM5 80GB]
                mode     on
                driver   none
                group    10
                in use   process 77 (qemu-system-x86) has /dev/vfio/10 open
            0000:0b:00.0  GPU  GA100 [A100 SXM4 40GB]
                mode     none: it is of before confidential computing
                driver   none
                group    11
            0000:0c:00.0  GPU  GH100 [H100 SXM5 80GB]
                mode     none: the device is asleep (D3hot), and was not woken to be asked
                driver   none
                group    12
            nvidia.com/pgpu: 0 of 3 fit for pods
                group-10  not fit: the devices are not at one mode
                group-11  not fit: the devices are not at one mode
                group-12  not fit: the devices are not at one mode
            no runtime of ours is installed for containerd
            could not tell the mode of 0000:0c:00.0: the device is asleep (D3hot), and was not woken to be asked
        "#]]
        .assert_eq(&status.to_string());
        assert!(serde_json::to_value(&status).unwrap()["devices"][0]["mode"]["Ok"] == "on");
        let empty = tempfile::tempdir().unwrap();
        let none = look(&Machine::new(empty.path()), &bus, &clock).unwrap();
        expect![[r#"
            no NVIDIA GPU or NVSwitch
            no runtime of ours is installed for containerd
        "#]]
        .assert_eq(&none.to_string());
    }

    #[test]
    fn devices_that_are_being_changed_are_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        let host = Host::new(folder.path(), Arc::clone(&clock));
        let place = "0000:0a:00.0".parse().unwrap();
        host.add(place, gpu::simulated::Model::H100);
        host.attach(place, "vfio-pci");
        fs::create_dir_all(folder.path().join("dev/vfio")).unwrap();
        fs::write(folder.path().join("dev/vfio/10"), "").unwrap();
        let bus = host.bus(&Arc::new(Life::long()));
        let shown = || look(&host.machine(), &bus, &clock).unwrap();
        assert!(shown().to_string().contains("nvidia.com/pgpu: 1 of 1 fit for pods"));
        let journal = host.machine().path(JOURNAL);
        fs::create_dir_all(journal.parent().unwrap()).unwrap();
        fs::write(
            journal,
            r#"{"version":1,"wish":"on","heading":"forward","step":"reset","devices":[],"failures":[],"lost":[]}"#,
        )
        .unwrap();
        let text = shown().to_string();
        assert!(text.contains("nvidia.com/pgpu: 0 of 1 fit for pods"), "{text}");
        assert!(text.contains("group-10  not fit: a change to mode `on` is at step reset"), "{text}");
        assert!(shown().unknown.is_empty());
    }
}
