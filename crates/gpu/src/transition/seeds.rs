//! Random lives of a node: wishes, faults, crashes, outages and power failures in any order. A failure prints its seed.

use std::sync::Arc;

use super::rig::Node;
use super::*;
use crate::simulated::{Count, Death, Fault, Host, Life, Model, at};

/// Marsaglia's xorshift: as random as a test needs, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

const FAULTS: [Fault; 10] = [
    Fault::ResetRefused,
    Fault::KeepsMode,
    Fault::FallsOffAtReset,
    Fault::DoesNotStart,
    Fault::FspSilent,
    Fault::FspStatus(0x55),
    Fault::FspRefusesWrites(0x55),
    Fault::FspNonsense,
    Fault::KnobsDoNotStick,
    Fault::SecurityFault,
];

fn fill(host: &Host) {
    host.add(at(0x10), Model::H100);
    host.add(at(0x11), Model::H100);
    host.add(at(0x80), Model::NvSwitch);
}

fn check(node: &Node, what: &str) {
    let cluster = node.cluster.lock().unwrap();
    assert!(cluster.violations.is_empty(), "{what}: {:?}", cluster.violations);
    if let Some(mode) = cluster.ready {
        assert!(node.host.is_at(mode), "{what}: ready at {mode} and not there");
    }
}

#[test]
fn whatever_happens_a_node_is_ready_only_where_it_is_and_arrives_in_the_end() {
    let node = Node::new(fill).without_processes().one_by_one();
    for seed in 1..=150 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        node.host.mend();
        node.host.power_cycle();
        node.settled(dice.one_of(&Mode::ALL));
        for turn in 0..25 {
            let what = format!("seed {seed}, turn {turn}");
            match dice.below(8) {
                0 | 1 => {
                    let (place, times) = (dice.one_of(&[at(0x10), at(0x11), at(0x80)]), dice.below(3) + 1);
                    node.host.fault(place, dice.one_of(&FAULTS), u32::try_from(times).unwrap());
                }
                2 => node.host.power_cycle(),
                3 => node.host.mend(),
                4 => node.cluster.lock().unwrap().outage = usize::try_from(dice.below(3)).unwrap(),
                _ => {
                    let (wish, end) = (dice.one_of(&Mode::ALL), dice.below(60));
                    let death = dice.one_of(&[Death::Before, Death::After]);
                    let process = node.process(Arc::new(Life::until(end, death, Count::KnobWrites)));
                    let _ = process.resume();
                    check(&node, &what);
                    let _ = process.bring_to(wish);
                }
            }
            check(&node, &what);
        }
        // What was broken is mended, and the machine was switched off and on.
        node.host.mend();
        node.host.power_cycle();
        node.cluster.lock().unwrap().outage = 0;
        let wish = dice.one_of(&Mode::ALL);
        node.resume();
        assert_eq!(node.bring_to(wish), Outcome::Ready(wish), "seed {seed}");
        node.assert_consistent(&format!("seed {seed}"));
        assert!(node.host.is_at(wish), "seed {seed}");
    }
}
