//! What a pod says of GPUs and enclaves, in all the ways in which users say it. What contradicts itself is refused, and so
//! is every other device: the policy could not bind it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::Fault;
use crate::request::{MAX_GPUS, Quantity, annotation_agrees, is_model};

/// The annotation by which a pod names the GPUs that its guest is to see.
const CDI: &str = "cdi.k8s.io/";
const VISIBLE: &str = "NVIDIA_VISIBLE_DEVICES";

/// What a pod wants of its machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Wish {
    /// How many GPUs, over all containers.
    pub(super) gpus: u32,
    /// The resource that they are asked for by.
    pub(super) gpu: Option<String>,
    /// Whether it wants an enclave.
    pub(super) sgx: bool,
    /// Where the wish stands.
    pub(super) path: Option<String>,
}

/// What a resource of a container is.
enum Kind {
    /// GPUs that are passed to the guest.
    Gpu,
    /// Memory of enclaves, in bytes, or one of the devices beside it.
    Sgx,
    /// Nothing that a confidential pod could have.
    Refused { reason: &'static str, hint: Option<&'static str> },
}

fn kind(resource: &str) -> Kind {
    let refused = |reason, hint| Kind::Refused { reason, hint };
    match resource.split_once('/') {
        Some(("nvidia.com", "pgpu")) => Kind::Gpu,
        Some(("nvidia.com", "gpu" | "gpu.shared")) => refused(
            "a GPU that the node's container runtime lends cannot be attested: a guest needs a whole one",
            Some(
                "ask for `nvidia.com/pgpu`, or for a model as the device plugin names it: `nvidia.com/GH100_H100_PCIE`",
            ),
        ),
        Some(("nvidia.com", slice)) if slice.starts_with("mig-") => {
            refused("a slice of a GPU cannot be attested: a guest needs a whole one", Some("ask for `nvidia.com/pgpu`"))
        }
        Some(("nvidia.com", "nvswitch")) => {
            refused("switches come with their GPUs", Some("ask for all GPUs of the board with `nvidia.com/pgpu`"))
        }
        Some(("nvidia.com", model)) if is_model(model) => Kind::Gpu,
        Some(("sgx.intel.com", "epc" | "enclave" | "provision")) => Kind::Sgx,
        _ => refused(
            "devices of this kind are not supported: the policy could not bind them",
            Some("take it out; GPUs are `nvidia.com/pgpu` or a model, enclaves `sgx.intel.com/epc`"),
        ),
    }
}

fn refuse<T>(path: impl Into<String>, reason: impl Into<String>, hint: Option<&str>) -> Result<T, Fault> {
    Err(Fault { path: path.into(), reason: reason.into(), hint: hint.map(str::to_owned) })
}

/// Finds what a pod wants, and refuses what contradicts itself.
pub(super) fn wishes(pod: &Value) -> Result<Wish, Fault> {
    let mut wish = Wish::default();
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            let path = format!("spec.{list}.{name}");
            let gpus = of_container(container, &path, list == "initContainers", &mut wish)?;
            visible(container, &path, gpus)?;
        }
    }
    if wish.gpu.is_some() && wish.sgx {
        let path = wish.path.clone().unwrap_or_default();
        return refuse(
            path,
            "GPUs and an enclave in one pod: a GPU is attested by its guest, and around an enclave there is none",
            Some("make two pods of it"),
        );
    }
    cdi(pod, &wish)?;
    Ok(wish)
}

/// Adds what one container wants, and gives the number of its GPUs.
fn of_container(container: &Value, path: &str, init: bool, wish: &mut Wish) -> Result<u64, Fault> {
    let resources = &container["resources"];
    let mut gpus = 0;
    let (mut enclave, mut memory) = (false, false);
    let names: BTreeSet<&String> = ["limits", "requests"]
        .iter()
        .flat_map(|list| resources[*list].as_object().into_iter().flatten())
        .map(|(resource, _)| resource)
        .filter(|resource| resource.contains('/'))
        .collect();
    for resource in names {
        let at = format!("{path}.resources.limits.{resource}");
        let kind = match kind(resource) {
            Kind::Refused { reason, hint } => return refuse(at, reason, hint),
            kind => kind,
        };
        let amount = |list: &str| match &resources[list][resource.as_str()] {
            Value::Null => Ok(None),
            value => Quantity::parse(value).map(Some).or_else(|error| {
                refuse(format!("{path}.resources.{list}.{resource}"), error.to_string(), Some("write a whole number"))
            }),
        };
        let (limit, request) = (amount("limits")?, amount("requests")?);
        let Some(limit) = limit else {
            let hint = "Kubernetes counts devices by their limits: write it there";
            return refuse(at, "a request without a limit", Some(hint));
        };
        if request.is_some_and(|request| request != limit) {
            return refuse(
                at,
                "the request differs from the limit",
                Some("a device is there as a whole: leave the request out"),
            );
        }
        let count = limit.units();
        if count.checked_mul(1000).is_some_and(|whole| whole != limit.milli()) {
            return refuse(at, "a part of a device", Some("write a whole number"));
        }
        if count == 0 {
            continue;
        }
        wish.path.get_or_insert_with(|| at.clone());
        match kind {
            Kind::Gpu if init => {
                let hint = "the guest has its GPUs from start to end: ask for them in one of `containers`";
                return refuse(at, "a GPU for an init container", Some(hint));
            }
            Kind::Gpu => {
                if let Some(other) = wish.gpu.as_ref().filter(|other| *other != resource) {
                    let reason = format!("`{other}` and `{resource}` in one pod");
                    return refuse(at, reason, Some("the GPUs of a guest are of one kind"));
                }
                wish.gpu = Some(resource.clone());
                gpus += count;
                let total = count.saturating_add(u64::from(wish.gpus));
                if total > u64::from(MAX_GPUS) {
                    return refuse(at, format!("more than {MAX_GPUS} GPUs in one guest"), Some("make more pods of it"));
                }
                wish.gpus = u32::try_from(total).unwrap_or(u32::MAX);
            }
            _ => {
                memory |= resource.ends_with("/epc");
                enclave = true;
            }
        }
    }
    wish.sgx |= enclave;
    if enclave && !memory {
        let hint = "`sgx.intel.com/epc` says how much memory the enclave has; add it to the limits";
        return refuse(format!("{path}.resources.limits"), "an enclave without memory", Some(hint));
    }
    Ok(gpus)
}

/// The variable by which images for NVIDIA's container runtime say what they want to see. The guest's own runtime obeys
/// it, too.
fn visible(container: &Value, path: &str, gpus: u64) -> Result<(), Fault> {
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        if variable["name"].as_str() != Some(VISIBLE) || gpus == 0 {
            continue;
        }
        let at = format!("{path}.env[{index}]");
        match variable["value"].as_str() {
            Some("all") => {}
            Some(value @ ("none" | "void" | "")) => {
                let reason = format!("`{VISIBLE}={value}`, and {gpus} in the limits");
                return refuse(at, reason, Some("write `all`, or take the GPUs out of the limits"));
            }
            Some(_) => {
                let hint = "write `all`: the container sees the GPUs of its limits, whatever their numbers";
                return refuse(
                    at,
                    format!("`{VISIBLE}` names single GPUs, and the host chooses which those are"),
                    Some(hint),
                );
            }
            None => return refuse(at, format!("`{VISIBLE}` from elsewhere"), Some("write `value: all`")),
        }
    }
    Ok(())
}

/// The annotations of CDI. What counts is the limit; one that says something else is refused.
fn cdi(pod: &Value, wish: &Wish) -> Result<(), Fault> {
    for (key, value) in pod["metadata"]["annotations"].as_object().into_iter().flatten() {
        let Some(name) = key.strip_prefix(CDI) else { continue };
        let at = format!("metadata.annotations.{key}");
        if name != "gpu" {
            let hint = "take it out; GPUs are asked for in the limits of a container";
            return refuse(at, "devices of this kind are not supported: the policy could not bind them", Some(hint));
        }
        annotation_agrees(value, wish.gpus).or_else(|(reason, hint)| refuse(at, reason, Some(hint)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(limits: &Value, requests: &Value, env: &Value, cdi: Option<&str>) -> Value {
        let annotations = cdi.map_or(json!({}), |cdi| json!({"cdi.k8s.io/gpu": cdi}));
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": [
            {"name": "side", "resources": {"limits": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "4Mi"}}},
            {"name": "c", "env": env, "resources": {"limits": limits, "requests": requests}},
        ]}})
    }

    #[test]
    fn gpus_are_asked_for_in_many_ways() {
        let all = json!([{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]);
        for (limits, requests, env, cdi, gpus) in [
            (json!({}), json!({}), json!([]), None, 0),
            (json!({"nvidia.com/pgpu": 1}), json!({}), json!([]), None, 1),
            (json!({"nvidia.com/pgpu": "8"}), json!({"nvidia.com/pgpu": 8}), all.clone(), None, 8),
            (json!({"nvidia.com/GH100_H100L_94GB": "1"}), json!({}), all.clone(), Some("nvidia.com/pgpu=0"), 1),
            (json!({"nvidia.com/pgpu": "2"}), json!({}), json!([]), Some("nvidia.com/gpu=1, nvidia.com/gpu=0"), 2),
            (
                json!({"nvidia.com/pgpu": 0}),
                json!({}),
                json!([{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]),
                None,
                0,
            ),
            (json!({}), json!({}), all, None, 0),
        ] {
            let wish = wishes(&pod(&limits, &requests, &env, cdi)).unwrap();
            assert_eq!((wish.gpus, wish.gpu.is_some()), (gpus, gpus > 0), "{limits}");
            assert!(!wish.sgx);
        }
    }

    #[test]
    fn enclaves_are_wished_for_with_their_memory() {
        let wish = |limits: Value| wishes(&pod(&limits, &json!({}), &json!([]), None));
        assert!(wish(json!({"sgx.intel.com/epc": "64Mi"})).unwrap().sgx);
        let whole = json!({"sgx.intel.com/epc": "64Mi", "sgx.intel.com/enclave": 1, "sgx.intel.com/provision": 1});
        assert!(wish(whole).unwrap().sgx);
        assert!(wish(json!({"sgx.intel.com/enclave": 1})).unwrap_err().reason.contains("without memory"));
    }

    #[test]
    fn wishes_that_contradict_themselves_are_refused_with_the_reason() {
        let none = json!({});
        let env = |value: &str| json!([{"name": "NVIDIA_VISIBLE_DEVICES", "value": value}]);
        let one = json!({"nvidia.com/pgpu": 1});
        for (limits, requests, env, cdi, reason) in [
            (json!({"nvidia.com/gpu": 1}), none.clone(), json!([]), None, "cannot be attested"),
            (json!({"nvidia.com/mig-1g.10gb": 1}), none.clone(), json!([]), None, "a slice of a GPU"),
            (json!({"nvidia.com/nvswitch": 1}), none.clone(), json!([]), None, "switches come with"),
            (json!({"nvidia.com/gh100": 1}), none.clone(), json!([]), None, "not supported"),
            (json!({"amd.com/gpu": 1}), none.clone(), json!([]), None, "not supported"),
            (json!({"nvidia.com/pgpu": "500m"}), none.clone(), json!([]), None, "a part of a device"),
            (json!({"nvidia.com/pgpu": -1}), none.clone(), json!([]), None, "negative"),
            (json!({"nvidia.com/pgpu": "many"}), none.clone(), json!([]), None, "not a quantity"),
            (json!({"nvidia.com/pgpu": 17}), none.clone(), json!([]), None, "more than 16"),
            (json!({"nvidia.com/pgpu": "9223372036854775807"}), none.clone(), json!([]), None, "more than 16"),
            (one.clone(), json!({"nvidia.com/pgpu": 2}), json!([]), None, "differs from the limit"),
            (none.clone(), one.clone(), json!([]), None, "without a limit"),
            (
                json!({"nvidia.com/pgpu": 1, "nvidia.com/GH100_H100_PCIE": 1}),
                none.clone(),
                json!([]),
                None,
                "in one pod",
            ),
            (one.clone(), none.clone(), env("none"), None, "NVIDIA_VISIBLE_DEVICES=none"),
            (one.clone(), none.clone(), env("void"), None, "NVIDIA_VISIBLE_DEVICES=void"),
            (one.clone(), none.clone(), env("0"), None, "names single GPUs"),
            (
                one.clone(),
                none.clone(),
                json!([{"name": "NVIDIA_VISIBLE_DEVICES", "valueFrom": {}}]),
                None,
                "from elsewhere",
            ),
            (one.clone(), none.clone(), json!([]), Some("nvidia.com/pgpu=0,nvidia.com/pgpu=1"), "names 2"),
            (one.clone(), none.clone(), json!([]), Some("nvidia.com/pgpu=0,nvidia.com/pgpu=0"), "twice"),
            (
                one.clone(),
                none.clone(),
                json!([]),
                Some("nvidia.com/pgpu=0,nvidia.com/gpu=all"),
                "is not `nvidia.com/pgpu=0`",
            ),
            (one.clone(), none.clone(), json!([]), Some("nvidia.com/pgpu=00"), "is not"),
            (one.clone(), none.clone(), json!([]), Some("amd.com/gpu=0"), "is not"),
            (one.clone(), none.clone(), json!([]), Some(""), "is not"),
            (none.clone(), none.clone(), json!([]), Some("nvidia.com/pgpu=0"), "no container has one"),
            (
                json!({"nvidia.com/pgpu": 1, "sgx.intel.com/epc": 1}),
                none.clone(),
                json!([]),
                None,
                "GPUs and an enclave",
            ),
        ] {
            let fault = wishes(&pod(&limits, &requests, &env, cdi)).expect_err(reason);
            assert!(fault.reason.contains(reason), "{limits} {cdi:?}: {fault:?}");
            assert!(!fault.path.is_empty());
        }
        let mut other = pod(&one, &none, &json!([]), None);
        other["metadata"]["annotations"]["cdi.k8s.io/nic"] = json!("x");
        assert!(wishes(&other).unwrap_err().path.ends_with("cdi.k8s.io/nic"));
        let mut init = pod(&none, &none, &json!([]), None);
        init["spec"]["initContainers"] = json!([{"name": "i", "resources": {"limits": one}}]);
        assert!(wishes(&init).unwrap_err().reason.contains("init container"));
    }
}
