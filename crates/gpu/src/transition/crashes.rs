//! The process is killed before and after every one of its effects, and the next one must bring the node to a good end.

use std::sync::Arc;

use super::rig::Node;
use super::*;
use crate::simulated::{Count, Death, Fault, Host, Life, Model, at};

fn one(model: Model) -> impl Fn(&Host) {
    move |host| host.add(at(0x10), model)
}

/// Kills a process that brings a node from one mode to another, at each effect; returns how many there were.
fn kill_everywhere(
    node: &Node,
    (from, to): (Mode, Mode),
    count: Count,
    deaths: &[Death],
    before: impl Fn(&Node),
    meanwhile: impl Fn(&Node),
    check: impl Fn(&Node, &str),
) -> u64 {
    let mut effects = 0;
    for &death in deaths {
        for end in 0.. {
            assert!(end < 10_000, "it never ends");
            node.settled(from);
            before(node);
            let life = Arc::new(Life::until(end, death, count));
            let outcome = node.process(Arc::clone(&life)).bring_to(to);
            let what = format!("{from} to {to}, killed {death:?} effect {end}");
            if !life.is_over() {
                drop(outcome);
                check(node, &what);
                effects = end;
                break;
            }
            meanwhile(node);
            // The next process begins with what was written down.
            node.resume();
            node.assert_consistent(&what);
            let _ = node.bring_to(to);
            node.assert_consistent(&what);
            check(node, &what);
        }
    }
    effects
}

const BOTH: [Death; 2] = [Death::Before, Death::After];

fn arrives(to: Mode) -> impl Fn(&Node, &str) {
    move |node, what| {
        node.assert_consistent(what);
        let cluster = node.cluster.lock().unwrap();
        assert_eq!((cluster.ready, cluster.state.as_str()), (Some(to), to.label()), "{what}");
        assert!(node.host.is_at(to), "{what}");
    }
}

fn pairs(modes: &[Mode]) -> Vec<(Mode, Mode)> {
    let pair = |from: Mode| modes.iter().map(move |to| (from, *to)).filter(|(from, to)| from != to);
    modes.iter().flat_map(|from| pair(*from).collect::<Vec<_>>()).collect()
}

#[test]
fn one_gpu_survives_every_crash_of_every_transition() {
    let models = [(Model::H100, &Mode::ALL[..]), (Model::RtxPro6000, &Mode::ALL[..3])];
    for (model, modes) in models {
        let node = Node::new(one(model)).without_processes();
        for (from, to) in pairs(modes) {
            let effects = kill_everywhere(&node, (from, to), Count::RegisterWrites, &BOTH, |_| {}, |_| {}, arrives(to));
            // Each word of each request is an effect.
            assert!(effects > 40, "{model:?} {from} to {to}: {effects}");
        }
    }
}

#[test]
fn a_board_survives_every_crash_of_every_transition() {
    let node = Node::new(Host::hgx).without_processes().one_by_one();
    for (from, to) in pairs(&Mode::ALL) {
        let effects = kill_everywhere(&node, (from, to), Count::KnobWrites, &BOTH, |_| {}, |_| {}, arrives(to));
        // Eight resets or twelve, at least one knob of each GPU, and a dozen of the journal and the cluster.
        assert!(effects > 30, "{from} to {to}: {effects}");
    }
}

#[test]
fn a_mixed_board_survives_every_crash_with_switches_of_the_host() {
    // Two GPUs of eight change; the others and the switches are left alone, which the next process must know.
    let node = Node::new(Host::hgx).without_processes().one_by_one();
    for number in 0..4 {
        node.host.attach(at(0x80 + number), "nvidia-nvswitch");
    }
    let before = |node: &Node| {
        node.cluster.lock().unwrap().ready = None;
        for place in [at(0x12), at(0x15)] {
            node.host.set_knob(place, 8, 0);
            node.host.set_knob(place, 10, 0);
            node.host.bus(&Arc::new(Life::long())).reset(place).unwrap();
        }
    };
    let check = |node: &Node, what: &str| {
        arrives(Mode::On)(node, what);
        let left = |device: &Address| ![at(0x12), at(0x15)].contains(device);
        let touched: Vec<_> =
            node.host.addresses().into_iter().filter(left).filter(|device| node.host.resets(*device) > 0).collect();
        assert!(touched.is_empty(), "{what}: {touched:?} were reset");
    };
    let effects = kill_everywhere(&node, (Mode::On, Mode::On), Count::KnobWrites, &BOTH, before, |_| {}, check);
    assert!(effects > 15, "{effects}");
}

#[test]
fn a_board_survives_every_crash_with_all_devices_at_once() {
    let node = Node::new(Host::hgx).without_processes();
    let way = (Mode::Off, Mode::Ppcie);
    let effects = kill_everywhere(&node, way, Count::KnobWrites, &BOTH, |_| {}, |_| {}, arrives(way.1));
    assert!(effects > 30, "{effects}");
}

#[test]
fn a_board_survives_a_power_failure_at_every_point() {
    // Devices then start with knobs of which some were written and some were not.
    let node = Node::new(Host::hgx).without_processes().one_by_one();
    for (from, to) in [(Mode::Off, Mode::On), (Mode::Devtools, Mode::Ppcie), (Mode::Ppcie, Mode::Off)] {
        let cycle = |node: &Node| node.host.power_cycle();
        kill_everywhere(&node, (from, to), Count::KnobWrites, &[Death::After], |_| {}, cycle, arrives(to));
    }
}

#[test]
fn a_transition_that_fails_survives_every_crash_of_its_way_back() {
    let node = Node::new(Host::hgx).without_processes().one_by_one();
    for (from, to, fault) in [
        (Mode::Off, Mode::On, Fault::KeepsMode),
        (Mode::On, Mode::Ppcie, Fault::FspRefusesWrites(0x77)),
        (Mode::Ppcie, Mode::Off, Fault::DoesNotStart),
        (Mode::Off, Mode::Devtools, Fault::FallsOffAtReset),
    ] {
        // Two of eight fail, and go on failing.
        let before = |node: &Node| {
            node.host.mend();
            node.host.fault(at(0x12), fault, u32::MAX);
            node.host.fault(at(0x15), fault, u32::MAX);
        };
        kill_everywhere(
            &node,
            (from, to),
            Count::KnobWrites,
            &BOTH,
            before,
            |_| {},
            |node, what| {
                node.assert_consistent(what);
                let cluster = node.cluster.lock().unwrap();
                assert!(cluster.ready.is_none() || cluster.ready == Some(from), "{what}: {:?}", cluster.ready);
                assert_ne!(cluster.state, to.label(), "{what}");
            },
        );
    }
}

#[test]
fn a_process_that_is_killed_again_and_again_still_arrives() {
    let node = Node::new(Host::hgx).without_processes().one_by_one();
    for stride in [1, 3, 7, 11] {
        node.settled(Mode::Off);
        let mut lives = 0;
        loop {
            // Longer and longer, as a container that is restarted with back-off.
            let life = Arc::new(Life::until(2 + lives * stride, Death::After, Count::KnobWrites));
            let _ = node.process(Arc::clone(&life)).bring_to(Mode::Ppcie);
            if !life.is_over() {
                break;
            }
            lives += 1;
            assert!(node.cluster.lock().unwrap().violations.is_empty());
        }
        assert!(lives > 2);
        arrives(Mode::Ppcie)(&node, "killed again and again");
    }
}
