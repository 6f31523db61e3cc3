//! How much memory and how many CPUs the guest of a pod needs: one VM for each pod, sized by Kata's rule.
//!
//! Kubernetes sums the limits of a pod as they are in force at a time: all containers with all sidecars, or one init
//! container with the sidecars that were started before it, whichever is more. Kata adds that sum to the memory that
//! the guest has for itself (`default_memory` of its configuration, or of the pod's annotation), which is the overhead
//! here. Containers without a limit add nothing to Kata's sum, so their requests are counted and the user is told.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::error::Fault;
use super::inject::{INITIALIZER, MESH, annotate};
use crate::request::Quantity;

/// The pod annotation by which Kata takes the guest's own memory, in MiB.
pub const MEMORY_ANNOTATION: &str = "io.katacontainers.config.hypervisor.default_memory";
/// Pod annotation: the one above is `generate`'s, and not the user's.
pub const IMAGE_MEMORY_ANNOTATION: &str = "casemate.dev/image-memory";

const MIB: u64 = 1024 * 1024;
/// What a guest needs for itself where neither the pod nor a RuntimeClass says it: kernel, agent and page tables.
const OVERHEAD: u64 = 256 * MIB;
/// Kata gives a guest one CPU of its own beside those of the limits.
const OWN_CPUS: u64 = 1;

/// What the guest of a pod needs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Resources {
    /// All memory, in bytes.
    pub memory: u64,
    /// What the guest has for itself, in bytes.
    pub overhead: u64,
    /// Where the overhead is from: `pod`, `RuntimeClass` or `assumed`; `annotation` where the user gives the guest memory
    /// of its own, which is then what is left of it.
    pub overhead_from: &'static str,
    /// What Kata adds by itself, because it stands in limits, in bytes.
    pub limits: u64,
    /// What the images need where they are kept in the guest's memory, in bytes; layers that containers share count
    /// once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// CPUs, those of the guest itself included. Launch measurements of SEV-SNP differ with it.
    pub cpus: u64,
    /// The containers, in the order of the pod.
    pub containers: Vec<Share>,
    /// The sum in words.
    pub arithmetic: String,
}

/// What one container needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Share {
    /// Its name.
    pub name: String,
    /// `container`, `sidecar` or `init`.
    pub kind: &'static str,
    /// What is counted, in bytes: the limit, or without one the request.
    pub memory: u64,
    /// The limit, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
    /// The request, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<u64>,
    /// Thousandths of a CPU: the limit, or without one the request.
    pub cpu_milli: u64,
}

/// A number that is counted for a container.
type Amount = fn(&Share) -> u64;

/// The largest sum that is in force at a time, and the containers that make it up.
fn peak(containers: &[Share], amount: Amount) -> (u64, Vec<&Share>) {
    let of_kind = |kind: &'static str| containers.iter().filter(move |share| share.kind == kind);
    let sum = |shares: &[&Share]| shares.iter().fold(0_u64, |sum, share| sum.saturating_add(amount(share)));
    let mut parts: Vec<&Share> = of_kind("container").chain(of_kind("sidecar")).collect();
    let mut most = sum(&parts);
    let mut started: Vec<&Share> = Vec::new();
    for share in containers.iter().filter(|share| share.kind != "container") {
        if share.kind == "sidecar" {
            started.push(share);
            continue;
        }
        let mut now = vec![share];
        now.extend(&started);
        if sum(&now) > most {
            most = sum(&now);
            parts = now;
        }
    }
    (most, parts)
}

/// Sums up the pod as it is to be deployed, with what was injected. `class_overhead` is the overhead of the pod's
/// RuntimeClass, `images` what its images need in memory.
pub(super) fn sum(pod: &Value, class_overhead: Option<u64>, images: Option<u64>) -> Result<Resources, Fault> {
    let spec = &pod["spec"];
    let mut containers = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let kind = match (list, container["restartPolicy"].as_str()) {
                ("containers", _) => "container",
                (_, Some("Always")) => "sidecar",
                _ => "init",
            };
            containers.push(share(container, list, kind)?);
        }
    }
    let of_pod = match &spec["overhead"]["memory"] {
        Value::Null => None,
        value => Some(quantity(value, "spec.overhead.memory")?.units()),
    };
    let (overhead, overhead_from) = match (of_pod, class_overhead) {
        (Some(overhead), _) => (overhead, "pod"),
        (None, Some(overhead)) => (overhead, "RuntimeClass"),
        (None, None) => (OVERHEAD, "assumed"),
    };
    let (needed, parts) = peak(&containers, |share| share.memory);
    let (limits, _) = peak(&containers, |share| share.memory_limit.unwrap_or_default());
    let (cpu, _) = peak(&containers, |share| share.cpu_milli);
    let memory = overhead.saturating_add(needed).saturating_add(images.unwrap_or_default());
    let arithmetic = words(overhead, &parts, images, memory);
    let cpus = cpu.div_ceil(1000).saturating_add(OWN_CPUS);
    Ok(Resources { memory, overhead, overhead_from, limits, images, cpus, containers, arithmetic })
}

/// `256 overhead + 128 app = 384 MiB`
fn words(overhead: u64, parts: &[&Share], images: Option<u64>, memory: u64) -> String {
    let mut words = format!("{} overhead", mib(overhead));
    for share in parts.iter().filter(|share| share.memory > 0) {
        words.push_str(&format!(" + {} {}", mib(share.memory), share.name));
    }
    if let Some(images) = images {
        words.push_str(&format!(" + {} images", mib(images)));
    }
    words.push_str(&format!(" = {} MiB", mib(memory)));
    words
}

/// Whole MiB, rounded up: Kata counts in them.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}

fn quantity(value: &Value, path: &str) -> Result<Quantity, Fault> {
    Quantity::parse(value).map_err(|error| {
        // As disks are sold.
        let short = value.as_str().and_then(|text| text.strip_suffix(['B', 'b']));
        let hint = match short.filter(|short| Quantity::parse(&Value::from(*short)).is_ok()) {
            Some(short) => format!("write `{short}`"),
            None => "write `500m` or `0.5` of a CPU, and `64Mi` or `2Gi` of memory".to_owned(),
        };
        Fault { path: path.to_owned(), reason: error.to_string(), hint: Some(hint) }
    })
}

fn share(container: &Value, list: &str, kind: &'static str) -> Result<Share, Fault> {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let amount = |which: &str, resource: &str| match &container["resources"][which][resource] {
        Value::Null => Ok(None),
        value => quantity(value, &format!("spec.{list}.{name}.resources.{which}.{resource}")).map(Some),
    };
    let limit = amount("limits", "memory")?.map(Quantity::units);
    // A request that is left out is the limit.
    let request = amount("requests", "memory")?.map(Quantity::units).or(limit);
    let cpu = amount("limits", "cpu")?.or(amount("requests", "cpu")?).map_or(0, Quantity::milli);
    let memory = limit.or(request).unwrap_or_default();
    if request > limit && limit.is_some() {
        let path = format!("spec.{list}.{name}.resources.requests.memory");
        let reason = "more than the limit, and Kubernetes refuses it".to_owned();
        return Err(Fault { path, reason, hint: Some("raise the limit, or request less".into()) });
    }
    Ok(Share { name, kind, memory, memory_limit: limit, memory_request: request, cpu_milli: cpu })
}

impl Resources {
    /// What the user should know: one sentence, where something was assumed.
    pub(super) fn notice(&self) -> Option<String> {
        let ours = |share: &&Share| ![INITIALIZER, MESH].contains(&share.name.as_str());
        let names = |fits: fn(&Share) -> bool| {
            let found = self.containers.iter().filter(ours).filter(|share| fits(share));
            found.map(|share| format!("`{}`", share.name)).collect::<Vec<_>>()
        };
        let mut why = Vec::new();
        let nothing = names(|share| share.memory_limit.is_none() && share.memory_request.is_none());
        if !nothing.is_empty() {
            why.push(format!("{} says nothing of memory and counts as none", nothing.join(", ")));
        }
        let requests = names(|share| share.memory_limit.is_none() && share.memory_request.is_some());
        if !requests.is_empty() {
            why.push(format!("{} has no memory limit, so its request counts", requests.join(", ")));
        }
        let differ = names(|share| share.memory_limit.is_some() && share.memory_limit != share.memory_request);
        if !differ.is_empty() {
            why.push(format!("{} requests less than its limit, and the limit counts", differ.join(", ")));
        }
        if self.images.is_some() {
            why.push("images are kept in its memory".to_owned());
        }
        (!why.is_empty()).then(|| format!("its guest needs {}: {}", self.arithmetic, why.join("; ")))
    }

    /// What the guest must have for itself, in MiB: all that Kata does not add by the limits.
    fn own(&self) -> u64 {
        mib(self.memory.saturating_sub(self.limits))
    }

    /// Takes what the user gives the guest beyond its need for overhead, too: so much it has.
    fn give(&mut self, more: u64) {
        self.overhead = self.overhead.saturating_add(more);
        self.memory = self.memory.saturating_add(more);
        self.overhead_from = "annotation";
        let (_, parts) = peak(&self.containers, |share| share.memory);
        self.arithmetic = words(self.overhead, &parts, self.images, self.memory);
    }
}

/// Takes off the guest's memory, if `generate` wrote it.
pub(super) fn strip(pod: &mut Value) {
    let Some(annotations) = pod["metadata"].get_mut("annotations").and_then(Value::as_object_mut) else { return };
    if annotations.shift_remove(IMAGE_MEMORY_ANNOTATION).is_some() {
        annotations.shift_remove(MEMORY_ANNOTATION);
    }
    if annotations.is_empty()
        && let Some(metadata) = pod["metadata"].as_object_mut()
    {
        metadata.shift_remove("annotations");
    }
}

/// Writes the guest's memory where images are kept in it. A user's own word is taken, and refused when it is too small.
pub(super) fn settle(pod: &mut Value, resources: &mut Resources) -> Result<(), Fault> {
    let own = resources.own();
    let path = format!("metadata.annotations.{MEMORY_ANNOTATION}");
    match pod["metadata"]["annotations"][MEMORY_ANNOTATION].as_str() {
        Some(text) => {
            let Some(given) = text.parse::<u64>().ok().filter(|given| *given > 0) else {
                let hint = "write the guest's own memory as a number of MiB: `\"2048\"`".to_owned();
                return Err(Fault { path, reason: format!("`{text}` is not a number of MiB"), hint: Some(hint) });
            };
            if given < own {
                let reason = format!(
                    "{given} MiB are too few: the guest needs {}, of which Kata adds {} for the limits",
                    resources.arithmetic,
                    mib(resources.limits)
                );
                return Err(Fault { path, reason, hint: Some(format!("write at least `\"{own}\"`, or leave it out")) });
            }
            resources.give((given - own).saturating_mul(MIB));
        }
        None if resources.images.is_some() => {
            annotate(pod, MEMORY_ANNOTATION, &own.to_string());
            annotate(pod, IMAGE_MEMORY_ANNOTATION, "true");
        }
        None => {}
    }
    Ok(())
}

/// The bytes that images need when they lie unpacked in memory: each layer once. `None` where a size is not known.
pub(super) fn of_layers<'a>(layers: impl IntoIterator<Item = (&'a str, Option<u64>)>) -> Option<u64> {
    let sizes: BTreeMap<&str, Option<u64>> = layers.into_iter().collect();
    sizes.into_values().try_fold(0_u64, |sum, size| Some(sum.saturating_add(size?)))
}

/// The overhead that a RuntimeClass among the inputs gives its pods, in bytes.
pub(super) fn of_class(class: &Value) -> Option<u64> {
    Quantity::parse(&class["overhead"]["podFixed"]["memory"]).ok().map(Quantity::units)
}

/// An annotation's value that is a size, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    Quantity::parse(&json!(text)).ok().map(Quantity::units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, limit: Option<&str>, request: Option<&str>) -> Value {
        let mut container = json!({"name": name, "resources": {"limits": {}, "requests": {}}});
        if let Some(limit) = limit {
            container["resources"]["limits"]["memory"] = json!(limit);
        }
        if let Some(request) = request {
            container["resources"]["requests"]["memory"] = json!(request);
        }
        container
    }

    fn limited(name: &str, limit: &str) -> Value {
        container(name, Some(limit), None)
    }

    fn sidecar(name: &str, limit: &str) -> Value {
        let mut sidecar = limited(name, limit);
        sidecar["restartPolicy"] = json!("Always");
        sidecar
    }

    fn pod(init: &[Value], containers: &[Value]) -> Value {
        json!({"metadata": {}, "spec": {"initContainers": init, "containers": containers}})
    }

    #[test]
    fn the_guest_is_sized_by_katas_rule() {
        let two = [limited("a", "128Mi"), limited("b", "64Mi")];
        for (init, containers, expected, words) in [
            (vec![], two.to_vec(), 448, "256 overhead + 128 a + 64 b = 448 MiB"),
            (vec![limited("i", "100Mi")], two.to_vec(), 448, "256 overhead + 128 a + 64 b = 448 MiB"),
            (vec![limited("i", "1Gi")], two.to_vec(), 1280, "256 overhead + 1024 i = 1280 MiB"),
            (vec![sidecar("s", "32Mi")], two.to_vec(), 480, "256 overhead + 128 a + 64 b + 32 s = 480 MiB"),
            // A sidecar that was started before the init container runs beside it; one started later does not.
            (
                vec![sidecar("s", "32Mi"), limited("i", "1Gi")],
                two.to_vec(),
                1312,
                "256 overhead + 1024 i + 32 s = 1312 MiB",
            ),
            (vec![limited("i", "1Gi"), sidecar("s", "32Mi")], two.to_vec(), 1280, "256 overhead + 1024 i = 1280 MiB"),
            (vec![], vec![container("r", None, Some("64Mi"))], 320, "256 overhead + 64 r = 320 MiB"),
            (vec![], vec![container("n", None, None)], 256, "256 overhead = 256 MiB"),
            (vec![], vec![limited("odd", "1")], 257, "256 overhead + 1 odd = 257 MiB"),
        ] {
            let resources = sum(&pod(&init, &containers), None, None).unwrap();
            assert_eq!((mib(resources.memory), resources.arithmetic.as_str()), (expected, words));
        }
        let resources = sum(&pod(&[], &two), Some(OVERHEAD * 2), Some(100 * MIB)).unwrap();
        assert_eq!(resources.arithmetic, "512 overhead + 128 a + 64 b + 100 images = 804 MiB");
        let mut own = pod(&[], &two);
        own["spec"]["overhead"] = json!({"memory": "1Gi"});
        let resources = sum(&own, Some(OVERHEAD), None).unwrap();
        assert_eq!((resources.overhead, resources.overhead_from), (1024 * MIB, "pod"));
    }

    #[test]
    fn cpus_are_those_of_the_limits_and_the_guests_own() {
        let of = |cpus: &[&str]| {
            let containers: Vec<Value> =
                cpus.iter().map(|cpu| json!({"name": cpu, "resources": {"limits": {"cpu": cpu}}})).collect();
            sum(&pod(&[], &containers), None, None).unwrap().cpus
        };
        assert_eq!((of(&[]), of(&["100m"]), of(&["1"]), of(&["500m", "600m"]), of(&["2", "2"])), (1, 2, 2, 3, 5));
    }

    #[test]
    fn what_was_assumed_is_said_in_one_sentence() {
        let notice = |containers: &[Value]| sum(&pod(&[], containers), None, None).unwrap().notice();
        assert_eq!(notice(&[limited("a", "1Mi")]), None);
        assert_eq!(notice(&[limited("a", "1Mi"), container(MESH, Some("2Mi"), Some("1Mi"))]), None);
        for (container, word) in [
            (container("a", None, None), "says nothing of memory"),
            (container("a", None, Some("1Mi")), "its request counts"),
            (container("a", Some("2Mi"), Some("1Mi")), "requests less than its limit"),
        ] {
            let text = notice(&[container]).unwrap();
            assert!(text.starts_with("its guest needs 256 overhead") && text.contains(word), "{text}");
        }
    }

    #[test]
    fn memory_for_images_is_written_and_taken_off_again() {
        let plain = pod(&[], &[limited("a", "128Mi"), container("r", None, Some("64Mi"))]);
        let mut pod = plain.clone();
        let mut resources = sum(&pod, None, Some(100 * MIB)).unwrap();
        settle(&mut pod, &mut resources).unwrap();
        // 256 for the guest, 64 that no limit says, 100 for images; Kata adds the limit of 128.
        assert_eq!(pod["metadata"]["annotations"][MEMORY_ANNOTATION], "420");
        assert_eq!(mib(resources.memory), 420 + 128);
        strip(&mut pod);
        assert_eq!(pod, plain);
        // The user's own word stays.
        annotate(&mut pod, MEMORY_ANNOTATION, "420");
        let own = pod.clone();
        settle(&mut pod, &mut resources).unwrap();
        strip(&mut pod);
        assert_eq!((&pod, mib(resources.memory)), (&own, 420 + 128));
        // What it gives beyond the need is the guest's, too.
        annotate(&mut pod, MEMORY_ANNOTATION, "1000");
        let mut given = resources.clone();
        settle(&mut pod, &mut given).unwrap();
        assert_eq!((mib(given.memory), given.overhead_from), (1000 + 128, "annotation"));
        assert_eq!(given.arithmetic, "836 overhead + 128 a + 64 r + 100 images = 1128 MiB");
        for (text, word) in
            [("419", "too few"), ("0", "not a number of MiB"), ("1Gi", "not a number"), ("-1", "not a number")]
        {
            annotate(&mut pod, MEMORY_ANNOTATION, text);
            let fault = settle(&mut pod, &mut resources).unwrap_err();
            assert!(fault.reason.contains(word) && fault.hint.is_some(), "{text}: {fault:?}");
        }
    }

    #[test]
    fn layers_that_are_shared_count_once() {
        assert_eq!(of_layers([("a", Some(1)), ("b", Some(2)), ("a", Some(1))]), Some(3));
        assert_eq!(of_layers([("a", Some(1)), ("b", None)]), None);
        assert_eq!(of_layers([("a", Some(u64::MAX)), ("b", Some(2))]), Some(u64::MAX));
        assert_eq!(of_layers([]), Some(0));
    }

    #[test]
    fn no_amount_overflows() {
        let most = "9223372036854775807";
        let containers = [limited("a", most), limited("b", most), limited("c", most)];
        let resources = sum(&pod(&[], &containers), None, Some(u64::MAX)).unwrap();
        assert_eq!(resources.memory, u64::MAX);
        assert!(sum(&pod(&[], &[limited("a", "many")]), None, None).is_err());
    }
}
