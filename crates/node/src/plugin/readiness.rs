//! Whether devices may be used, as far as the machine itself says: for those who look at it without an agent.

use gpu::Mode;
use gpu::transition::{Record, Survey, Surveyed};

use super::inventory::Readiness;

/// Failures that say nothing of a device, but of who looks at it.
const SILENT: [&str; 3] = ["asleep", "memory-off", "bus"];

impl Readiness {
    /// What a change that has not ended, and what was read of the devices, say together.
    ///
    /// A device that somebody has, that sleeps and was not woken, or whose registers the kernel does not let this process
    /// open, may tell nothing; the others then speak for it, since modes are changed for all of them together.
    pub fn found(change: Option<&Record>, survey: &Survey) -> Self {
        if let Some(record) = change {
            return Self::NotReady(format!("a change to mode `{}` is at step {}", record.wish, record.step));
        }
        let mut told: Vec<Surveyed> = survey.devices.clone();
        let silent = |device: &Surveyed| {
            device.mode.as_ref().is_err_and(|why| device.held || SILENT.contains(&why.code.as_str()))
        };
        told.retain(|device| !silent(device));
        if let Some(failure) = told.iter().find_map(|device| device.mode.as_ref().err()) {
            return Self::NotReady(failure.reason_of_device());
        }
        match (Survey { devices: told }).common() {
            Some(Mode::Ppcie) => Self::ReadyAsOne,
            Some(_) => Self::Ready,
            None => Self::NotReady("the devices are not at one mode".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gpu::Clock;
    use gpu::simulated::{Fault, Host, Life, VirtualClock, at};
    use gpu::transition::{FileJournal, Limits, Transition};
    use gpu::users::Processes;

    use super::*;

    fn found(mode: Mode, trouble: impl FnOnce(&Host)) -> Readiness {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
        let host = Host::new(dir.path(), Arc::clone(&clock));
        host.hgx();
        host.put_at(mode);
        trouble(&host);
        let devices = gpu::pci::scan(&host.machine()).unwrap().devices;
        let (look, journal) = (Processes::new(host.machine()), FileJournal::new(dir.path().join("transition.json")));
        let bus = host.bus(&Arc::new(Life::long()));
        let survey = Transition::new(devices, bus, clock, &look, &journal, Limits::default()).glance().unwrap();
        Readiness::found(None, &survey)
    }

    #[test]
    fn devices_at_one_mode_are_ready_and_others_are_not() {
        assert_eq!(found(Mode::On, |_| {}), Readiness::Ready);
        assert_eq!(found(Mode::Ppcie, |_| {}), Readiness::ReadyAsOne);
        let mixed = found(Mode::On, |host| {
            host.set_knob(at(0x11), 8, 0);
            host.bus(&Arc::new(Life::long())).reset(at(0x11)).unwrap();
            host.clock().sleep(std::time::Duration::from_secs(5));
        });
        assert_eq!(mixed, Readiness::NotReady("the devices are not at one mode".to_owned()));
        let lost = found(Mode::On, |host| host.fault(at(0x11), Fault::OffTheBus, u32::MAX));
        assert!(matches!(lost, Readiness::NotReady(why) if why.starts_with("0000:11:00.0: the device has fallen off")));
    }

    #[test]
    fn those_that_sleep_or_are_in_use_take_nothing_from_the_others() {
        assert_eq!(found(Mode::Ppcie, |host| host.sleep(at(0x11))), Readiness::ReadyAsOne);
        let held = found(Mode::On, |host| {
            host.hold(4711, "qemu-system-x86", "/dev/vfio/17");
            host.fault(at(0x11), Fault::OffTheBus, u32::MAX);
        });
        assert_eq!(held, Readiness::Ready);
        assert_eq!(found(Mode::Ppcie, |host| (0x10..0x18).for_each(|bus| host.sleep(at(bus)))), Readiness::ReadyAsOne);
    }

    #[test]
    fn a_change_that_has_not_ended_comes_before_what_devices_show() {
        let record = serde_json::from_str(
            r#"{"version":1,"wish":"on","heading":"forward","step":"reset","devices":[],"failures":[],"lost":[]}"#,
        )
        .unwrap();
        assert_eq!(
            Readiness::found(Some(&record), &Survey::default()),
            Readiness::NotReady("a change to mode `on` is at step reset".to_owned())
        );
    }
}
