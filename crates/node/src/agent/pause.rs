//! Pausing the GPU Operator's components on a node while its devices are changed, and letting them go on.
//!
//! The operator deploys a component on the nodes whose label `nvidia.com/gpu.deploy.COMPONENT` is `true`. Pausing
//! rewrites the value to one that keeps the old one in it, so that whoever comes after a crash can restore it from the
//! label alone:
//!
//! | before | paused | restored |
//! |---|---|---|
//! | `true` | `paused-for-cc-mode-change` | `true` |
//! | `v` | `v_paused-for-cc-mode-change` | `v` |
//! | `false`, empty, absent | unchanged | unchanged |
//!
//! These are the words of the operator's own manager, which restores what we paused and the other way round.

use super::wish::Labels;

/// The components that hold devices or hand them out. The operator's manager knows the first five; it forgot the
/// device plugin of Kata, which then hands out a GPU that is being reset.
pub const COMPONENTS: [&str; 6] = [
    "nvidia.com/gpu.deploy.vfio-manager",
    "nvidia.com/gpu.deploy.vgpu-manager",
    "nvidia.com/gpu.deploy.sandbox-validator",
    "nvidia.com/gpu.deploy.sandbox-device-plugin",
    "nvidia.com/gpu.deploy.vgpu-device-manager",
    "nvidia.com/gpu.deploy.kata-sandbox-device-plugin",
];

const PAUSED: &str = "paused-for-cc-mode-change";
const SUFFIX: &str = "_paused-for-cc-mode-change";
/// LIMIT: a label's value, by Kubernetes' rules.
const MAX_VALUE: usize = 63;

/// A label that is to get another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The label.
    pub label: &'static str,
    /// Its value now.
    pub from: String,
    /// Its value then.
    pub to: String,
}

/// A label that cannot be paused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("label `{label}` cannot be paused: its value `{value}` leaves no room in {} characters", MAX_VALUE)]
pub struct NoRoom {
    /// The label.
    pub label: &'static str,
    /// Its value.
    pub value: String,
}

/// What pausing changes on a node. Nothing on one that is paused.
pub fn pause(node: &Labels) -> Result<Vec<Change>, NoRoom> {
    let mut changes = Vec::new();
    for (label, value) in present(node) {
        let to = match value.as_str() {
            "" | "false" => continue,
            value if is_paused(value) => continue,
            "true" => PAUSED.to_owned(),
            value => format!("{value}{SUFFIX}"),
        };
        if to.len() > MAX_VALUE {
            return Err(NoRoom { label, value: value.clone() });
        }
        changes.push(Change { label, from: value.clone(), to });
    }
    Ok(changes)
}

/// What letting them go on changes on a node. Nothing on one that is not paused.
pub fn restore(node: &Labels) -> Vec<Change> {
    let restored = present(node).filter_map(|(label, value)| {
        let to = if value == PAUSED { "true" } else { value.strip_suffix(SUFFIX)? };
        Some(Change { label, from: value.clone(), to: to.to_owned() })
    });
    restored.collect()
}

/// The components that are paused on a node.
pub fn paused(node: &Labels) -> Vec<&'static str> {
    present(node).filter(|(_, value)| is_paused(value)).map(|(label, _)| label).collect()
}

fn is_paused(value: &str) -> bool {
    value == PAUSED || value.ends_with(SUFFIX)
}

fn present(node: &Labels) -> impl Iterator<Item = (&'static str, &String)> {
    COMPONENTS.into_iter().filter_map(|label| Some((label, node.get(label)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(node: &mut Labels, changes: Vec<Change>) {
        for Change { label, from, to } in changes {
            assert_eq!(node.insert(label.to_owned(), to), Some(from));
        }
    }

    #[test]
    fn values_are_paused_and_restored_as_the_operators_manager_does_it() {
        let cases = [
            ("true", "paused-for-cc-mode-change"),
            ("custom", "custom_paused-for-cc-mode-change"),
            ("false", "false"),
            ("", ""),
        ];
        for (before, while_paused) in cases {
            for component in COMPONENTS {
                let mut node = Labels::from([(component.to_owned(), before.to_owned())]);
                let changes = pause(&node).expect("there is room");
                apply(&mut node, changes);
                assert_eq!(node[component], while_paused);
                assert_eq!(pause(&node), Ok(vec![]), "pausing twice");
                let changes = restore(&node);
                apply(&mut node, changes);
                assert_eq!(node[component], before);
                assert_eq!(restore(&node), vec![], "restoring twice");
            }
        }
    }

    #[test]
    fn other_labels_are_left_alone() {
        let node = Labels::from([
            ("nvidia.com/gpu.deploy.driver".to_owned(), "true".to_owned()),
            ("other".to_owned(), "x_paused-for-cc-mode-change".to_owned()),
        ]);
        assert_eq!(pause(&node), Ok(vec![]));
        assert_eq!(restore(&node), vec![]);
        assert!(paused(&node).is_empty());
    }

    #[test]
    fn a_value_without_room_is_an_error_and_not_a_broken_label() {
        let label = COMPONENTS[0];
        let value = "v".repeat(MAX_VALUE - SUFFIX.len() + 1);
        let node = Labels::from([(label.to_owned(), value.clone())]);
        assert_eq!(pause(&node), Err(NoRoom { label, value }));
    }

    proptest! {
        #[test]
        fn restoring_undoes_pausing(values in proptest::collection::btree_map(0..6_usize, "[a-z0-9]{0,12}", 0..6)) {
            let before: Labels = values.into_iter().map(|(i, value)| (COMPONENTS[i].to_owned(), value)).collect();
            let mut node = before.clone();
            let changes = pause(&node).expect("there is room");
            let count = changes.len();
            apply(&mut node, changes);
            prop_assert_eq!(paused(&node).len(), count);
            let changes = restore(&node);
            apply(&mut node, changes);
            prop_assert_eq!(node, before);
        }
    }
}
