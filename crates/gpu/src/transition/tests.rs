use std::sync::Arc;
use std::time::Duration;

use super::rig::Node;
use super::*;
use crate::simulated::{Count, Death, Fault, Host, Life, Model, at};

fn board(mode: Mode) -> Node {
    let node = Node::new(Host::hgx);
    node.settled(mode);
    node
}

fn failures(outcome: &Outcome) -> Vec<String> {
    let (Outcome::Failed { failures, .. }
    | Outcome::GivenUp { failures, .. }
    | Outcome::Refused(Refusal::Devices(failures))) = outcome
    else {
        panic!("{outcome}")
    };
    failures.iter().map(ToString::to_string).collect()
}

#[test]
fn the_steps_come_in_their_order() {
    let node = board(Mode::Off);
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    assert_eq!(
        node.log(),
        [
            "- not-ready",
            "not ready",
            "- users",
            "- pause",
            "pause",
            "- stage",
            "- reset",
            "- boot",
            "- read-back",
            "- restore",
            "restore",
            "- publish",
            "publish on"
        ]
    );
    // Switches are off wherever GPUs are on, so nothing about them changes.
    let resets = |device: Address| u32::from(device < at(0x80));
    assert!(node.host.addresses().into_iter().all(|device| node.host.resets(device) == resets(device)));
    node.assert_consistent("after");
}

#[test]
fn a_node_that_is_there_is_not_touched_but_components_come_back() {
    let node = board(Mode::Ppcie);
    // A predecessor was killed between pause and restore, and left no record.
    node.cluster.lock().unwrap().paused = true;
    assert_eq!(node.bring_to(Mode::Ppcie), Outcome::Ready(Mode::Ppcie));
    assert_eq!(node.log(), ["restore", "publish ppcie"]);
    assert!(node.host.addresses().into_iter().all(|device| node.host.resets(device) == 0));
    node.assert_consistent("after");
}

#[test]
fn knobs_that_wait_for_a_reset_are_a_reason_to_move() {
    let node = board(Mode::On);
    node.host.set_knob(at(0x13), 8, 0);
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    assert_eq!(node.host.resets(at(0x13)), 1);
}

#[test]
fn a_mixed_node_is_mended() {
    let node = board(Mode::Off);
    node.host.set_knob(at(0x11), 6, 1);
    node.host.bus(&Arc::new(Life::long())).reset(at(0x11)).unwrap();
    assert!(!node.host.is_at(Mode::Off));
    assert_eq!(node.bring_to(Mode::Off), Outcome::Ready(Mode::Off));
    assert!(node.host.is_at(Mode::Off));
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_moves() {
    // No GPU; a GPU that is too old; Blackwell and PPCIe; a locked knob; a device off the bus.
    let check = |node: &Node, wish: Mode, reason: &str| {
        let outcome = node.bring_to(wish);
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome}");
        assert!(outcome.to_string().contains(reason), "{outcome}");
        assert!(node.log().is_empty());
        assert!(node.host.addresses().into_iter().all(|device| node.host.resets(device) == 0));
        assert!(node.written.lock().unwrap().is_none());
    };
    let none = Node::new(|host| host.add(at(0x80), Model::NvSwitch));
    check(&none, Mode::On, "mode on needs a GPU, and there is none");
    let old = Node::new(|host| {
        host.add(at(0x10), Model::H100);
        host.add(at(0x11), Model::A100);
    });
    check(&old, Mode::On, "0000:11:00.0: the modes of this chip are not known");
    let mixed = Node::new(|host| {
        host.add(at(0x10), Model::H100);
        host.add(at(0x11), Model::B200);
    });
    check(&mixed, Mode::Ppcie, "0000:11:00.0: GB10x cannot do mode ppcie");
    let locked = board(Mode::Off);
    locked.host.set_knob(at(0x14), 7, 0);
    locked.host.set_knob(at(0x16), 7, 0);
    check(
        &locked,
        Mode::On,
        "0000:14:00.0: knob 8 (CCM) is 0 and must be 1, and the host may not change it (7 (CCM_ALLOW_INB) is 0) (validate); 0000:16:00.0:",
    );
    let switch = board(Mode::Off);
    switch.host.forget_knob(at(0x82), 45);
    check(&switch, Mode::Ppcie, "0000:82:00.0: LS10 cannot do mode ppcie: its firmware does not know the knob");
    let gone = board(Mode::Off);
    gone.host.fault(at(0x17), Fault::OffTheBus, u32::MAX);
    check(&gone, Mode::On, "0000:17:00.0: the device has fallen off the bus");
}

#[test]
fn a_device_is_not_reset_behind_its_drivers_back() {
    let node = board(Mode::Off);
    node.host.attach(at(0x10), "vfio-pci");
    node.host.attach(at(0x11), "nvgrace-gpu-vfio-pci");
    node.host.attach(at(0x13), "nvidia");
    let outcome = node.bring_to(Mode::On);
    assert_eq!(
        failures(&outcome),
        ["0000:13:00.0: driver `nvidia` uses the device and would not survive a reset of it (validate)"]
    );
    assert!(node.log().is_empty());
    // To stay needs no reset.
    assert_eq!(node.bring_to(Mode::Off), Outcome::Ready(Mode::Off));
    node.host.attach(at(0x13), "vfio-pci");
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
}

#[test]
fn old_gpus_are_no_obstacle_to_off() {
    let node = Node::new(|host| {
        host.add(at(0x10), Model::H100);
        host.add(at(0x11), Model::A100);
    });
    node.host.put_at(Mode::On);
    assert_eq!(node.bring_to(Mode::Off), Outcome::Ready(Mode::Off));
    assert_eq!(node.host.resets(at(0x11)), 0);
    let only = Node::new(|host| host.add(at(0x11), Model::A100));
    assert_eq!(only.bring_to(Mode::Off), Outcome::Ready(Mode::Off));
    assert_eq!(Node::new(|_| {}).bring_to(Mode::Off), Outcome::Ready(Mode::Off));
}

#[test]
fn whoever_holds_a_device_stops_the_transition_and_is_named() {
    let node = board(Mode::On);
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    let outcome = node.bring_to(Mode::Off);
    assert_eq!(
        outcome.to_string(),
        "given up, no device was touched: 0000:12:00.0: process 4711 (qemu-system-x86) has /dev/vfio/18 open (users)"
    );
    assert!(matches!(outcome, Outcome::GivenUp { ready: Some(Mode::On), .. }));
    assert_eq!(
        node.log(),
        ["- not-ready", "not ready", "- users", "- back restore", "restore", "- back publish", "publish on"]
    );
    node.assert_consistent("after");
    node.host.end(4711);
    assert_eq!(node.bring_to(Mode::Off), Outcome::Ready(Mode::Off));
}

#[test]
fn a_node_whose_devices_are_in_use_is_only_looked_at() {
    let node = board(Mode::On);
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    // The agent starts again while a pod runs; a knob was locked meanwhile.
    node.host.set_knob(at(0x12), 7, 0);
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    assert!(matches!(node.bring_to(Mode::Off), Outcome::GivenUp { .. }));
    node.assert_consistent("while it is held");
    assert_eq!(node.cluster.lock().unwrap().ready, Some(Mode::On));
    // Without its holder it is asked, and the knob is found before anything is written.
    node.host.end(4711);
    let outcome = node.bring_to(Mode::Off);
    assert!(
        matches!(&outcome, Outcome::Refused(Refusal::Devices(failures)) if failures[0].code == "locked"),
        "{outcome}"
    );
}

#[test]
fn what_could_not_be_asked_before_is_asked_before_anything_is_written() {
    let mut node = board(Mode::On);
    node.limits.wait_for_users = true;
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    node.host.set_knob(at(0x12), 7, 0);
    assert!(matches!(node.bring_to(Mode::Off), Outcome::Waiting(_)));
    node.host.end(4711);
    let outcome = node.resume().unwrap();
    assert!(matches!(&outcome, Outcome::GivenUp { ready: Some(Mode::On), .. }), "{outcome}");
    assert!(failures(&outcome)[0].starts_with("0000:12:00.0: knob 8 (CCM) is 1 and must be 0, and the host may not"));
    assert!(node.host.addresses().into_iter().all(|device| node.host.resets(device) == 0));
    node.assert_consistent("after");
}

#[test]
fn a_device_that_its_holder_switched_off_is_asked_again_later() {
    let node = board(Mode::On);
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    node.host.fault(at(0x12), Fault::OffTheBus, u32::MAX);
    let outcome = node.bring_to(Mode::On);
    assert!(matches!(&outcome, Outcome::Refused(Refusal::InUse(device, _)) if *device == at(0x12)), "{outcome}");
    assert!(node.log().is_empty());
}

#[test]
fn where_devices_in_use_cannot_be_read_they_are_waited_for_or_left() {
    let mut node = board(Mode::On);
    node.strict = true;
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    for wish in [Mode::On, Mode::Off] {
        let outcome = node.bring_to(wish);
        assert!(matches!(&outcome, Outcome::Refused(Refusal::InUse(device, _)) if *device == at(0x12)), "{outcome}");
    }
    assert!(node.log().is_empty());
    node.limits.wait_for_users = true;
    assert!(matches!(node.bring_to(Mode::Off), Outcome::Waiting(_)));
    assert_eq!(node.cluster.lock().unwrap().ready, None);
    node.host.end(4711);
    // What it was before is known by now, so there is a way back to it.
    node.host.fault(at(0x15), Fault::KeepsMode, 1);
    assert!(matches!(node.resume(), Some(Outcome::Failed { back_at: Some(Mode::On), .. })));
    assert_eq!(node.bring_to(Mode::Off), Outcome::Ready(Mode::Off));
    node.assert_consistent("after");
}

#[test]
fn a_component_that_comes_back_at_once_does_not_undo_what_was_read() {
    let mut node = board(Mode::Off);
    node.strict = true;
    node.cluster.lock().unwrap().eager = Some("/dev/vfio/18");
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    node.assert_consistent("after");
}

#[test]
fn a_process_that_was_killed_before_it_said_ready_reads_again_when_it_can() {
    let mut node = board(Mode::Off);
    node.strict = true;
    node.cluster.lock().unwrap().eager = Some("/dev/vfio/18");
    // The last effect but one is what says ready.
    let life = (0..1000).map(|end| Arc::new(Life::until(end, Death::Before, Count::KnobWrites))).find(|life| {
        node.settled(Mode::Off);
        node.host.end(4712);
        node.cluster.lock().unwrap().eager = Some("/dev/vfio/18");
        let _ = node.process(Arc::clone(life)).bring_to(Mode::On);
        let cluster = node.cluster.lock().unwrap();
        cluster.log.last().is_some_and(|last| last == "- publish")
    });
    assert!(life.is_some_and(|life| life.is_over()));
    assert!(matches!(node.resume(), Some(Outcome::Waiting(holders)) if holders[0].process == 4712));
    assert_eq!(node.cluster.lock().unwrap().ready, None);
    node.host.end(4712);
    assert_eq!(node.resume(), Some(Outcome::Ready(Mode::On)));
    node.assert_consistent("after");
}

#[test]
fn a_node_that_said_ready_and_broke_before_that_was_written_down_says_not_ready_first() {
    let node = board(Mode::Off);
    // Killed as it forgets its record, which comes after saying ready.
    for end in 0.. {
        node.settled(Mode::Off);
        let life = Arc::new(Life::until(end, Death::Before, Count::KnobWrites));
        let _ = node.process(life).bring_to(Mode::On);
        if node.cluster.lock().unwrap().ready == Some(Mode::On) {
            break;
        }
        assert!(end < 1000);
    }
    assert!(node.written.lock().unwrap().is_some());
    node.host.fault(at(0x14), Fault::DoesNotStart, 1);
    node.host.bus(&Arc::new(Life::long())).reset(at(0x14)).unwrap();
    node.log();
    assert!(matches!(node.resume(), Some(Outcome::Failed { back_at: Some(Mode::Off), .. })));
    assert_eq!(node.log()[..4], ["- publish", "- back not-ready", "not ready", "- back pause"]);
    node.assert_consistent("after");
}

#[test]
fn a_transition_may_wait_for_those_who_hold_a_device() {
    let mut node = board(Mode::On);
    node.limits.wait_for_users = true;
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    assert!(matches!(node.bring_to(Mode::Off), Outcome::Waiting(holders) if holders[0].process == 4711));
    // Nobody new comes, since the node is out of service.
    assert_eq!(node.cluster.lock().unwrap().ready, None);
    assert!(matches!(node.resume(), Some(Outcome::Waiting(_))));
    node.host.end(4711);
    assert_eq!(node.resume(), Some(Outcome::Ready(Mode::Off)));
    node.assert_consistent("after");
}

#[test]
fn another_wish_replaces_one_that_waits() {
    let mut node = board(Mode::On);
    node.limits.wait_for_users = true;
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    assert!(matches!(node.bring_to(Mode::Off), Outcome::Waiting(_)));
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    assert!(node.host.addresses().into_iter().all(|device| node.host.resets(device) == 0));
    node.assert_consistent("after");
}

#[test]
fn components_that_stay_are_not_reset_under() {
    let node = board(Mode::Off);
    node.cluster.lock().unwrap().stubborn = vec!["nvidia-vfio-manager-x7k2p".to_owned()];
    let outcome = node.bring_to(Mode::On);
    assert_eq!(failures(&outcome), ["components that use devices are still there: nvidia-vfio-manager-x7k2p (pause)"]);
    assert!(matches!(outcome, Outcome::GivenUp { ready: Some(Mode::Off), .. }));
    node.assert_consistent("after");
}

#[test]
fn two_of_eight_that_fail_bring_all_back_and_are_named() {
    for (fault, reason) in [
        (Fault::KeepsMode, "the device shows off and should be at on (read-back)"),
        (
            Fault::FspRefusesWrites(0x77),
            "the security processor refuses to write 2 to knob 10 (BAR0_DECOUPLER): status 0x77 (stage)",
        ),
        (Fault::KnobsDoNotStick, "knob 10 (BAR0_DECOUPLER) was set to 2 and reads 0 (stage)"),
        (Fault::DoesNotStart, "the firmware has not started after 5000 ms (it shows 0x3, not 0xff) (boot)"),
        (Fault::ResetRefused, "the kernel does not reset the device: write `1` to `"),
    ] {
        let node = board(Mode::Off);
        // Both fail on the way there; on the way back they do as they are told.
        let times = if fault == Fault::KnobsDoNotStick { u32::MAX } else { 1 };
        for place in [at(0x12), at(0x15)] {
            node.host.fault(place, fault, times);
        }
        let outcome = node.bring_to(Mode::On);
        let failures = failures(&outcome);
        assert_eq!(failures.len(), 2, "{fault:?}: {outcome}");
        assert!(failures[0].starts_with("0000:12:00.0: ") && failures[1].starts_with("0000:15:00.0: "), "{outcome}");
        assert!(failures[0].contains(reason), "{fault:?}: {outcome}");
        assert!(matches!(outcome, Outcome::Failed { back_at: Some(Mode::Off), .. }), "{fault:?}: {outcome}");
        assert!(node.host.is_at(Mode::Off), "{fault:?}");
        node.assert_consistent("after");
        let cluster = node.cluster.lock().unwrap();
        assert_eq!((cluster.ready, cluster.state.as_str()), (None, "failed"));
    }
}

#[test]
fn the_way_back_of_the_others_does_not_wait_for_one_that_is_gone() {
    let node = board(Mode::Off);
    node.host.fault(at(0x12), Fault::FallsOffAtReset, 1);
    let outcome = node.bring_to(Mode::On);
    let Outcome::Failed { failures, back_at: None, lost } = &outcome else { panic!("{outcome}") };
    assert_eq!(failures[0].code, "off-the-bus");
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].device, Some(at(0x12)));
    for device in node.host.addresses().into_iter().filter(|device| *device != at(0x12)) {
        assert_eq!(node.host.mode(device), Some(crate::Observed::Mode(Mode::Off)));
    }
    node.assert_consistent("after");
}

#[test]
fn a_reset_that_hangs_is_given_up_and_named() {
    let mut node = board(Mode::Off);
    node.limits.reset = Duration::from_millis(300);
    node.host.fault(at(0x12), Fault::ResetHangs, u32::MAX);
    let outcome = node.bring_to(Mode::On);
    let Outcome::Failed { failures, back_at: None, lost } = &outcome else { panic!("{outcome}") };
    assert_eq!((failures[0].device, failures[0].code.as_str()), (Some(at(0x12)), "reset-hangs"));
    assert_eq!(lost[0].device, Some(at(0x12)));
    node.assert_consistent("after");
    node.host.release();
}

#[test]
fn a_security_processor_that_was_lost_is_brought_back_by_a_reset() {
    let node = board(Mode::Off);
    // When it is asked at first, when it is asked again, and when its knobs are written.
    node.host.fault(at(0x13), Fault::FspSilent, 3);
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    assert_eq!(node.host.resets(at(0x13)), 2);
    assert_eq!(node.host.resets(at(0x14)), 1);
}

#[test]
fn a_cluster_that_does_not_answer_changes_nothing_about_devices() {
    for calls in 1..=3 {
        let node = board(Mode::Off);
        let process = node.process(Arc::new(Life::long()));
        node.cluster.lock().unwrap().outage = calls;
        for _ in 0..calls {
            assert!(matches!(process.bring_to(Mode::On), Err(Interrupted::Hands { step: Step::NotReady, .. })));
        }
        assert!(node.host.is_at(Mode::Off));
        assert_eq!(process.bring_to(Mode::On).unwrap(), Outcome::Ready(Mode::On));
        node.assert_consistent("after");
    }
}

#[test]
fn an_outage_at_the_end_leaves_the_node_not_ready_until_it_is_over() {
    let node = board(Mode::Off);
    node.written.lock().unwrap().replace(
        r#"{"version":1,"wish":"on","heading":"forward","step":"publish","devices":[],"failures":[],"lost":[]}"#
            .to_owned(),
    );
    node.cluster.lock().unwrap().outage = 1;
    node.cluster.lock().unwrap().ready = None;
    let process = node.process(Arc::new(Life::long()));
    assert!(matches!(process.resume(), Err(Interrupted::Hands { step: Step::Publish, .. })));
    assert_eq!(node.cluster.lock().unwrap().ready, None);
    assert!(node.written.lock().unwrap().is_some());
}

#[test]
fn a_device_that_vanished_between_two_lives_is_named() {
    let node = board(Mode::Off);
    node.written.lock().unwrap().replace(
        r#"{"version":1,"wish":"on","heading":"forward","step":"reset","failures":[],"lost":[],"devices":[
            {"address":"0000:10:00.0","kind":"gpu","before":{"mode":"off"}},
            {"address":"0000:99:00.0","kind":"gpu","before":{"mode":"off"}}]}"#
            .to_owned(),
    );
    node.cluster.lock().unwrap().ready = None;
    node.cluster.lock().unwrap().paused = true;
    let outcome = node.resume().unwrap();
    assert_eq!(failures(&outcome), ["0000:99:00.0: the device is no longer on the PCI bus (reset)"]);
    assert!(matches!(outcome, Outcome::Failed { back_at: None, .. }));
    node.assert_consistent("after");
}

/// A board whose switches are the host's: they have its driver, and its fabric manager has them open.
fn board_with_switches_of_the_host(mode: Mode) -> Node {
    let node = board(mode);
    for number in 0..4 {
        node.host.attach(at(0x80 + number), "nvidia-nvswitch");
    }
    node.host.hold(900, "nv-fabricmanage", "/dev/nvidia-nvswitch0");
    node
}

#[test]
fn switches_of_the_host_are_left_alone_where_nothing_changes_for_them() {
    for (from, to) in [(Mode::Off, Mode::On), (Mode::On, Mode::Devtools), (Mode::Devtools, Mode::Off)] {
        let node = board_with_switches_of_the_host(from);
        assert_eq!(node.bring_to(to), Outcome::Ready(to), "{from} to {to}");
        assert!((0..4).all(|number| node.host.resets(at(0x80 + number)) == 0));
        assert!((0..8).all(|number| node.host.resets(at(0x10 + number)) == 1));
        node.assert_consistent("after");
    }
    // PPCIe is the switches' too.
    let node = board_with_switches_of_the_host(Mode::Off);
    let outcome = node.bring_to(Mode::Ppcie);
    assert!(matches!(outcome, Outcome::Refused(_) | Outcome::GivenUp { .. }), "{outcome}");
    assert!(node.host.addresses().into_iter().all(|device| node.host.resets(device) == 0));
    node.assert_consistent("after");
}

#[test]
fn a_change_that_fails_leaves_switches_of_the_host_alone_as_well() {
    let node = board_with_switches_of_the_host(Mode::Off);
    node.host.fault(at(0x12), Fault::KeepsMode, 1);
    assert!(matches!(node.bring_to(Mode::On), Outcome::Failed { back_at: Some(Mode::Off), .. }));
    assert!((0..4).all(|number| node.host.resets(at(0x80 + number)) == 0));
    node.assert_consistent("after");
}

#[test]
fn only_what_differs_is_reset_and_only_that_must_be_free() {
    // One of eight is at another mode, and a virtual machine has one of the others.
    let node = board(Mode::On);
    node.host.set_knob(at(0x15), 8, 0);
    node.host.set_knob(at(0x15), 10, 0);
    node.host.bus(&Arc::new(Life::long())).reset(at(0x15)).unwrap();
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    assert_eq!(node.bring_to(Mode::On), Outcome::Ready(Mode::On));
    assert_eq!(node.host.resets(at(0x15)), 2);
    assert_eq!(node.host.resets(at(0x12)), 0);
    node.assert_consistent("after");
}

#[test]
fn one_that_is_left_alone_and_cannot_be_read_keeps_the_node_from_being_ready() {
    let node = board(Mode::On);
    node.host.set_knob(at(0x15), 8, 0);
    node.host.set_knob(at(0x15), 10, 0);
    node.host.bus(&Arc::new(Life::long())).reset(at(0x15)).unwrap();
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    // Killed as it resets; the virtual machine's device sleeps meanwhile.
    for end in 0.. {
        let life = Arc::new(Life::until(end, Death::Before, Count::KnobWrites));
        let _ = node.process(life).bring_to(Mode::On);
        if node.written.lock().unwrap().as_deref().is_some_and(|text| text.contains(r#""step":"boot""#)) {
            break;
        }
        assert!(end < 1000);
        node.resume();
        node.host.set_knob(at(0x15), 8, 0);
        node.host.set_knob(at(0x15), 10, 0);
        node.host.bus(&Arc::new(Life::long())).reset(at(0x15)).unwrap();
    }
    node.host.sleep(at(0x12));
    assert!(matches!(node.resume(), Some(Outcome::Waiting(holders)) if holders[0].process == 4711));
    assert_eq!(node.cluster.lock().unwrap().ready, None);
    node.host.end(4711);
    assert_eq!(node.resume(), Some(Outcome::Ready(Mode::On)));
    node.assert_consistent("after");
}

#[test]
fn a_mixed_node_that_cannot_be_brought_together_goes_to_off_as_a_whole() {
    let node = board(Mode::On);
    node.host.set_knob(at(0x15), 8, 0);
    node.host.set_knob(at(0x15), 10, 0);
    node.host.bus(&Arc::new(Life::long())).reset(at(0x15)).unwrap();
    node.host.fault(at(0x15), Fault::KeepsMode, 1);
    // Those that were left alone on the way there go along on the way back.
    assert!(matches!(node.bring_to(Mode::On), Outcome::Failed { back_at: Some(Mode::Off), .. }));
    assert!(node.host.is_at(Mode::Off));
    node.assert_consistent("after");
}

#[test]
fn a_survey_says_what_devices_are_at_and_disturbs_nobody() {
    let survey = |node: &Node| node.process(Arc::new(Life::long())).survey();
    for mode in Mode::ALL {
        assert_eq!(survey(&board(mode)).common(), Some(mode));
    }
    let node = board(Mode::Ppcie);
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    let found = survey(&node);
    assert_eq!(found.common(), Some(Mode::Ppcie));
    assert!(Mode::ALL.into_iter().all(|mode| found.can(mode)));
    assert_eq!(found.devices.iter().filter(|device| device.held).count(), 1);
    node.assert_consistent("while it is held");
    node.host.end(4711);
    node.host.fault(at(0x11), Fault::OffTheBus, u32::MAX);
    let found = survey(&node);
    assert_eq!(found.common(), None);
    assert!(!found.can(Mode::On) && found.can(Mode::Off));
    assert_eq!(found.devices[1].mode.as_ref().unwrap_err().code, "off-the-bus");
    let old = Node::new(|host| {
        host.add(at(0x10), Model::B200);
        host.add(at(0x11), Model::A100);
    });
    assert_eq!(survey(&old).common(), Some(Mode::Off));
    assert!(!survey(&old).can(Mode::On));
    let none = survey(&Node::new(|_| {}));
    assert_eq!(none.common(), Some(Mode::Off));
    assert!(!none.can(Mode::On));
}

#[test]
fn a_glance_wakes_nobody_and_writes_nothing() {
    let node = board(Mode::On);
    node.host.sleep(at(0x12));
    let life = Arc::new(Life::until(0, Death::Before, Count::RegisterWrites));
    let found = node.process(life).glance();
    assert!(node.host.is_asleep(at(0x12)));
    assert_eq!(found.devices[2].mode.as_ref().unwrap_err().code, "asleep");
    assert!(found.devices.iter().filter(|device| device.mode.is_ok()).count() == 11);
    assert_eq!(found.common(), None);
    // Whoever is alone with the devices wakes it.
    assert_eq!(node.process(Arc::new(Life::long())).survey().common(), Some(Mode::On));
    assert!(!node.host.is_asleep(at(0x12)));
}

#[test]
fn a_device_that_somebody_has_and_that_sleeps_is_not_off_the_bus() {
    let node = board(Mode::On);
    node.host.hold(4711, "qemu-system-x86", "/dev/vfio/18");
    node.host.sleep(at(0x12));
    let found = node.process(Arc::new(Life::long())).survey();
    assert_eq!(found.devices[2].mode.as_ref().unwrap_err().code, "asleep");
    node.assert_consistent("after");
}

#[test]
fn a_gpu_is_capable_as_its_registers_say_and_not_as_its_chip_is_called() {
    let of = |models: &[Model]| {
        Node::new(|host| models.iter().zip(0x10..).for_each(|(model, bus)| host.add(at(bus), *model)))
    };
    let life = || Arc::new(Life::long());
    for (models, asked, seen) in [
        (&[][..], Some(false), Some(false)),
        (&[Model::NvSwitch], Some(false), Some(false)),
        (&[Model::A100], Some(false), Some(false)),
        (&[Model::A100, Model::H100], Some(true), Some(true)),
        (&[Model::B200], Some(true), Some(true)),
        // Both show the mode off; only the security processor knows the difference.
        (&[Model::RtxPro6000], Some(true), None),
        (&[Model::Rtx5090], Some(false), None),
        (&[Model::Rtx5090, Model::RtxPro6000], Some(true), None),
    ] {
        let node = of(models);
        assert_eq!(node.process(life()).survey().cc_capable(), asked, "{models:?}");
        assert_eq!(node.process(life()).glance().cc_capable(), seen, "{models:?}");
    }
    let on = of(&[Model::RtxPro6000]);
    on.settled(Mode::On);
    assert_eq!(on.process(life()).glance().cc_capable(), Some(true));
    // What does not say is not a no.
    for fault in [Fault::OffTheBus, Fault::FspSilent, Fault::FspStatus(0x55)] {
        let broken = of(&[Model::RtxPro6000]);
        broken.host.fault(at(0x10), fault, u32::MAX);
        assert_eq!(broken.process(life()).survey().cc_capable(), None, "{fault:?}");
    }
    let games = of(&[Model::Rtx5090]);
    assert!(matches!(games.bring_to(Mode::On), Outcome::Refused(Refusal::Devices(_))));
}

#[test]
fn an_unknown_label_is_no_mode() {
    // There is no way to a transition without a mode, and none to a mode but this.
    assert_eq!("onn".parse::<Mode>().unwrap_err().to_string(), "`onn` is no mode (off, on, devtools, ppcie)");
}
