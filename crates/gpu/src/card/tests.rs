use std::sync::Arc;

use super::*;
use crate::pci::{DeviceId, scan};
use crate::simulated::{Count, Death, Fault, Host, Life, Model, VirtualClock, at};

struct Rig {
    host: Host,
    _dir: tempfile::TempDir,
}

const PLACE: Address = at(0x41);

fn rig(model: Model) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(dir.path(), Arc::new(VirtualClock::default()));
    host.add(PLACE, model);
    Rig { host, _dir: dir }
}

impl Rig {
    fn card_of(&self, life: &Arc<Life>) -> Card {
        let device = scan(&self.host.machine()).unwrap().devices.remove(0);
        Card::open(&self.host.bus(life), &self.host.clock(), &device).unwrap()
    }

    fn card(&self) -> Card {
        self.card_of(&Arc::new(Life::long()))
    }

    fn reset(&self) {
        self.host.bus(&Arc::new(Life::long())).reset(PLACE).unwrap();
    }

    fn switch(&self, mode: Mode) -> Result<(), CardError> {
        self.card().stage(mode)?;
        self.reset();
        self.card().is_at(mode)
    }
}

const EVERY: [Model; 4] = [Model::H100, Model::B200, Model::RtxPro6000, Model::NvSwitch];

#[test]
fn every_chip_goes_from_every_mode_to_every_mode_that_it_has() {
    for model in EVERY {
        for from in Mode::ALL {
            for to in Mode::ALL {
                let rig = rig(model);
                let chip = rig.card().chip().unwrap();
                if !chip.can(chip.share_of(from)) || !chip.can(chip.share_of(to)) {
                    continue;
                }
                rig.switch(from).unwrap();
                rig.switch(to).unwrap_or_else(|error| panic!("{model:?} {from} to {to}: {error}"));
                assert_eq!(rig.card().mode().unwrap(), Observed::Mode(chip.share_of(to)));
                assert_eq!(rig.card().changes(to).unwrap(), []);
            }
        }
    }
}

#[test]
fn a_staged_mode_is_not_the_mode_before_the_reset() {
    let rig = rig(Model::H100);
    rig.card().stage(Mode::On).unwrap();
    assert_eq!(rig.card().mode().unwrap(), Observed::Mode(Mode::Off));
    assert!(matches!(
        rig.card().is_at(Mode::On),
        Err(CardError::WrongMode { shown: Observed::Mode(Mode::Off), wanted: Mode::On })
    ));
}

#[test]
fn only_what_differs_is_written() {
    let rig = rig(Model::H100);
    let changes = rig.card().changes(Mode::Devtools).unwrap();
    let list: Vec<_> = changes.iter().map(|c| (c.knob.id(), c.now, c.wanted)).collect();
    assert_eq!(list, [(8, 0, 1), (6, 0, 1)]);
}

#[test]
fn debuggers_alone_are_an_invalid_mode_that_any_mode_mends() {
    let rig = rig(Model::H100);
    rig.host.set_knob(PLACE, Knob::CCD.id(), 1);
    rig.reset();
    assert_eq!(rig.card().mode().unwrap(), Observed::Invalid);
    rig.switch(Mode::Off).unwrap();
    assert_eq!(rig.card().mode().unwrap(), Observed::Mode(Mode::Off));
}

#[test]
fn a_knob_that_the_host_may_not_change_is_found_before_anything_is_written() {
    for (permission, mode) in [(7, Mode::On), (5, Mode::Devtools), (9, Mode::On), (44, Mode::Ppcie), (9, Mode::Ppcie)] {
        let rig = rig(Model::H100);
        rig.host.set_knob(PLACE, permission, 0);
        let Err(CardError::Locked { permission: found, knob, .. }) = rig.card().stage(mode) else { panic!("{mode}") };
        assert_eq!(found.id(), permission);
        assert_eq!(rig.host.knob(PLACE, Knob::CCM), Some(0), "{mode}");
        assert_eq!(rig.host.knob(PLACE, knob), Some(0));
    }
}

#[test]
fn knobs_without_a_name_have_permissions_as_well() {
    for model in [Model::H100, Model::B200, Model::RtxPro6000] {
        for (knob, permission) in [(2, 1), (4, 3), (34, 33)] {
            let rig = rig(model);
            rig.host.set_knob(PLACE, knob, 1);
            rig.host.set_knob(PLACE, permission, 0);
            let error = rig.card().changes(Mode::On).unwrap_err();
            let text = format!("knob {knob} is 1 and must be 0, and the host may not change it ({permission} is 0)");
            assert_eq!((error.code(), error.to_string()), ("locked", text), "{model:?}");
            // Firmware that does not know the permission needs none.
            rig.host.forget_knob(PLACE, permission);
            rig.switch(Mode::On).unwrap();
        }
    }
}

#[test]
fn a_permission_that_is_not_needed_is_not_asked_for() {
    let rig = rig(Model::H100);
    rig.host.set_knob(PLACE, 44, 0);
    rig.switch(Mode::On).unwrap();
    for permission in [5, 7, 9] {
        rig.host.set_knob(PLACE, permission, 0);
    }
    // It is there already.
    rig.card().stage(Mode::On).unwrap();
}

#[test]
fn firmware_without_ppcie_does_everything_else() {
    let rig = rig(Model::H100);
    rig.host.forget_knob(PLACE, 45);
    rig.host.forget_knob(PLACE, 44);
    rig.switch(Mode::On).unwrap();
    rig.switch(Mode::Off).unwrap();
    assert!(matches!(
        rig.card().changes(Mode::Ppcie),
        Err(CardError::Unsupported { chip: Chip::Gh100, mode: Mode::Ppcie, firmware: true })
    ));
}

#[test]
fn firmware_without_cc_is_refused_with_the_knob() {
    let rig = rig(Model::H100);
    rig.host.forget_knob(PLACE, Knob::CCM.id());
    let error = rig.card().changes(Mode::On).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the security processor refuses to read knob 8 (CCM): its firmware does not know the knob (0x1e3)"
    );
    assert_eq!(error.code(), "fsp-refused");
}

#[test]
fn blackwell_has_no_ppcie() {
    for model in [Model::B200, Model::RtxPro6000] {
        let error = rig(model).card().changes(Mode::Ppcie).unwrap_err();
        assert!(matches!(error, CardError::Unsupported { firmware: false, .. }), "{error}");
    }
}

#[test]
fn a_gpu_of_before_confidential_computing_is_named() {
    let error = rig(Model::A100).card().mode().unwrap_err();
    let text = "the modes of this chip are not known (device 20b0, NV_PMC_BOOT_0 0x170000a1)";
    assert_eq!(error.to_string(), text);
}

#[test]
fn an_id_and_a_register_that_name_different_chips_are_refused() {
    let rig = rig(Model::H100);
    let mut device = scan(&rig.host.machine()).unwrap().devices.remove(0);
    device.device_id = DeviceId(0x2bb5);
    let card = Card::open(&rig.host.bus(&Arc::new(Life::long())), &rig.host.clock(), &device).unwrap();
    let error = card.chip().unwrap_err();
    assert!(matches!(error, CardError::ChipsDisagree { by_id: Chip::Gb20x, by_boot: Chip::Gh100, .. }), "{error}");
    // An id that no table has yet is known by the register.
    device.device_id = DeviceId(0x23ff);
    let card = Card::open(&rig.host.bus(&Arc::new(Life::long())), &rig.host.clock(), &device).unwrap();
    assert_eq!(card.chip().unwrap(), Chip::Gh100);
}

#[test]
fn each_fault_has_its_name() {
    let cases = [
        (Fault::OffTheBus, "off-the-bus"),
        (Fault::SecurityFault, "security-fault"),
        (Fault::FspSilent, "fsp-timeout"),
        (Fault::FspStatus(0x55), "fsp-refused"),
        (Fault::FspRefusesWrites(0x55), "fsp-refused"),
        (Fault::FspNonsense, "fsp"),
        (Fault::KnobsDoNotStick, "knob-did-not-stick"),
    ];
    for model in [Model::H100, Model::RtxPro6000] {
        for (fault, code) in cases {
            let rig = rig(model);
            rig.host.fault(PLACE, fault, u32::MAX);
            match rig.card().stage(Mode::On) {
                Err(CardError::Firewalled { .. }) => assert_eq!((fault, model), (Fault::OffTheBus, Model::RtxPro6000)),
                Err(error) => assert_eq!(error.code(), code, "{model:?} {fault:?}: {error}"),
                Ok(()) => panic!("{model:?} {fault:?}"),
            }
        }
        for (fault, code) in [(Fault::KeepsMode, "wrong-mode"), (Fault::DoesNotStart, "not-started")] {
            let rig = rig(model);
            rig.host.fault(PLACE, fault, 1);
            let error = rig.switch(Mode::On).unwrap_err();
            assert_eq!(error.code(), code, "{model:?} {fault:?}: {error}");
        }
        let rig = rig(model);
        rig.host.fault(PLACE, Fault::ResetRefused, 1);
        let error = CardError::from(rig.host.bus(&Arc::new(Life::long())).reset(PLACE).unwrap_err());
        assert_eq!(error.code(), "bus");
    }
}

#[test]
fn a_device_that_falls_off_at_its_reset_is_off_the_bus() {
    let rig = rig(Model::H100);
    rig.host.fault(PLACE, Fault::FallsOffAtReset, 1);
    let error = rig.switch(Mode::On).unwrap_err();
    assert_eq!(error.code(), "off-the-bus");
    assert_eq!(error.to_string(), "the device has fallen off the bus: every register reads as all ones");
}

#[test]
fn a_silent_processor_is_waited_for_and_no_longer() {
    let rig = rig(Model::H100);
    rig.host.fault(PLACE, Fault::FspSilent, u32::MAX);
    let before = rig.host.clock().now();
    let error = rig.card().changes(Mode::On).unwrap_err();
    assert_eq!(error.to_string(), "the security processor does not answer within 5000 ms");
    let waited = rig.host.clock().now().saturating_sub(before);
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(6), "{waited:?}");
}

#[test]
fn one_lost_answer_is_not_taken_for_the_next_ones() {
    for model in EVERY {
        let rig = rig(model);
        let mode = if model == Model::NvSwitch { Mode::Ppcie } else { Mode::On };
        // Each write may be the last one of a process; the next process must still be understood.
        for end in 0.. {
            let life = Arc::new(Life::until(end, Death::After, Count::RegisterWrites));
            let done = rig.card_of(&life).stage(mode).is_ok();
            rig.switch(mode).unwrap_or_else(|error| panic!("{model:?} after write {end}: {error}"));
            rig.switch(Mode::Off).unwrap();
            if done {
                assert!(end > 20, "{model:?}: {end}");
                break;
            }
        }
    }
}

#[test]
fn blackwells_firewall_is_waited_for() {
    let rig = rig(Model::B200);
    rig.reset();
    assert_eq!(rig.card().mode().unwrap(), Observed::Mode(Mode::Off));
}
