//! Which container of the user's waits for which: those that the host starts in another order, or leaves out, do not run.
//!
//! Kubernetes starts init containers one after the other, each when the one before is through, and the others after them.
//! The launcher keeps that inside the guest, by marks in a volume: init containers write there, the others read.

use serde_json::{Value, json};

/// Name of the guest-memory volume with the marks of init containers that are through.
pub(super) const DONE_VOLUME: &str = "casemate-done";
/// Where it is mounted.
pub(super) const DONE_PATH: &str = "/casemate-done";

/// What the launcher of a container does about the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    /// The init container that must be through.
    after: Option<String>,
    /// How the launcher says that this one is.
    mark: Option<&'static str>,
}

impl Place {
    /// The words of the launcher.
    pub(super) fn words(&self) -> Vec<String> {
        let after = self.after.iter().map(|name| format!("--after={name}"));
        after.chain(self.mark.map(str::to_owned)).collect()
    }
}

/// The containers so far.
#[derive(Default)]
pub(super) struct Order {
    last: Option<String>,
}

impl Order {
    /// The place of the next container; init containers come first.
    pub(super) fn next(&mut self, is_init: bool, container: &Value) -> Place {
        if !is_init {
            return Place { after: self.last.clone(), mark: None };
        }
        // One that runs beside the others does not end, so that it is enough for those after it that it has started.
        let mark = if container["restartPolicy"] == json!("Always") { "--mark-start" } else { "--mark" };
        let name = container["name"].as_str().map(str::to_owned);
        Place { after: std::mem::replace(&mut self.last, name), mark: Some(mark) }
    }

    /// Whether there is an order to keep.
    pub(super) fn binds(&self) -> bool {
        self.last.is_some()
    }

    /// The marks, as a container sees them.
    pub(super) fn mount(&self, is_init: bool) -> Option<Value> {
        let mut mount = json!({"name": DONE_VOLUME, "mountPath": DONE_PATH});
        if !is_init {
            mount["readOnly"] = json!(true);
        }
        self.binds().then_some(mount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pod: &Value) -> Vec<(Vec<String>, Value)> {
        let mut order = Order::default();
        let mut all = Vec::new();
        for list in ["initContainers", "containers"] {
            let is_init = list == "initContainers";
            for container in pod[list].as_array().into_iter().flatten() {
                let words = order.next(is_init, container).words();
                all.push((words, order.mount(is_init).unwrap_or_default()));
            }
        }
        all
    }

    #[test]
    fn each_waits_for_the_init_container_before_it() {
        let sidecar = json!({"name": "log", "restartPolicy": "Always"});
        let pod = json!({"initContainers": [{"name": "a"}, sidecar, {"name": "b"}],
            "containers": [{"name": "x"}, {"name": "y"}]});
        let (writes, reads) = (
            json!({"name": DONE_VOLUME, "mountPath": DONE_PATH}),
            json!({"name": DONE_VOLUME, "mountPath": DONE_PATH, "readOnly": true}),
        );
        let expected: [(&[&str], &Value); 5] = [
            (&["--mark"], &writes),
            (&["--after=a", "--mark-start"], &writes),
            (&["--after=log", "--mark"], &writes),
            (&["--after=b"], &reads),
            (&["--after=b"], &reads),
        ];
        for ((words, mount), (expected, of_volume)) in words(&pod).into_iter().zip(expected) {
            assert_eq!(words, expected);
            assert_eq!(mount, *of_volume);
        }
    }

    #[test]
    fn without_init_containers_there_is_nothing_to_keep() {
        for pod in
            [json!({"containers": [{"name": "x"}]}), json!({"initContainers": [], "containers": [{"name": "x"}]})]
        {
            assert_eq!(words(&pod), [(vec![], Value::Null)]);
        }
    }
}
