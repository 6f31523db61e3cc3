//! GPUs that a container asks for.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{RequestError, text};

/// Where the extended resources of NVIDIA's device plugins are.
const VENDOR: &str = "nvidia.com/";

/// What the plugin of Kata calls a whole GPU of whatever model.
const ANY_MODEL: &str = "pgpu";

/// The annotation of a pod by which users say that it has GPUs, and how many.
const ANNOTATION: &str = "cdi.k8s.io/gpu";

/// LIMIT: the largest servers have 16 GPUs, and Evidence holds no more devices.
pub const MAX_GPUS: u32 = 16;

/// How many GPUs a container asks for: by `nvidia.com/pgpu`, or by a model such as `nvidia.com/GH100_H100_80GB`. The
/// pod's annotation `cdi.k8s.io/gpu` allocates none, and must agree with what its containers ask for.
pub fn gpus_of(container: &Value, pod: &Value) -> Result<u32, RequestError> {
    of_pod(pod)?;
    limits(container)
}

fn limits(container: &Value) -> Result<u32, RequestError> {
    let path = format!("containers.{}.resources", text(container, "name").unwrap_or_default());
    let resources = &container["resources"];
    for (name, amount) in resources["requests"].as_object().into_iter().flatten() {
        if name.starts_with(VENDOR) && resources["limits"].get(name) != Some(amount) {
            return Err(RequestError::Refused {
                path: format!("{path}.requests.{name}"),
                reason: "a GPU is given whole: request and limit must be equal".into(),
                hint: format!("set `limits.{name}` alone"),
            });
        }
    }
    let mut gpus = 0_u32;
    for (name, amount) in resources["limits"].as_object().into_iter().flatten() {
        let Some(resource) = name.strip_prefix(VENDOR) else { continue };
        let path = format!("{path}.limits.{name}");
        if resource != ANY_MODEL && !is_model(resource) {
            return Err(RequestError::Refused {
                path,
                reason: "this resource is given to containers by a runtime on the host, which is not in the guest"
                    .into(),
                hint: "a confidential guest gets whole GPUs: `nvidia.com/pgpu`, or a model as in \
                       `nvidia.com/GH100_H100_80GB`"
                    .into(),
            });
        }
        let count = match amount {
            Value::Number(number) => number.as_u64(),
            Value::String(digits) => digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+')),
            _ => None,
        };
        let count = count.and_then(|count| u32::try_from(count).ok()).and_then(|count| gpus.checked_add(count));
        gpus = count.filter(|count| *count <= MAX_GPUS).ok_or_else(|| RequestError::Invalid {
            path,
            reason: format!("{amount} is no number of GPUs from 0 to {MAX_GPUS}"),
        })?;
    }
    Ok(gpus)
}

/// Models are named in capitals, digits and `_` (`GH100_H100_PCIE`), as the sandbox device plugin makes them of the list
/// of PCI ids; no other resource of this vendor is.
pub(crate) fn is_model(resource: &str) -> bool {
    let capital = |letter: char| letter.is_ascii_uppercase();
    resource.starts_with(capital) && resource.chars().all(|c| capital(c) || c.is_ascii_digit() || c == '_')
}

/// Whether the annotation, whose value lists devices as in `nvidia.com/pgpu=0,nvidia.com/pgpu=1`, names as many GPUs as
/// the containers ask for. If not, the reason and what to do.
pub(crate) fn annotation_agrees(value: &Value, wanted: u32) -> Result<(), (String, &'static str)> {
    let each = "name each by its number, or leave the annotation out: the limits say how many there are";
    let listed = value.as_str().ok_or_else(|| ("not text".to_owned(), each))?;
    let mut numbers = BTreeSet::new();
    for device in listed.split(',').map(str::trim) {
        let (kind, digits) = device.split_once('=').unwrap_or((device, ""));
        let class = kind.strip_prefix(VENDOR);
        let fits = class.is_some_and(|class| [ANY_MODEL, "gpu"].contains(&class) || is_model(class));
        let number = digits.parse::<u32>().ok().filter(|number| *number < MAX_GPUS && number.to_string() == digits);
        let number = number.filter(|_| fits).ok_or_else(|| (format!("`{device}` is not `nvidia.com/pgpu=0`"), each))?;
        if !numbers.insert(number) {
            return Err((format!("`{device}` is there twice"), each));
        }
    }
    let named = numbers.len();
    if wanted == 0 {
        return Err((
            format!("names {named} GPUs, and no container has one in its limits"),
            "add `nvidia.com/pgpu: 1` to the limits of the container that uses it: only that reserves a GPU",
        ));
    }
    if u32::try_from(named).ok() != Some(wanted) {
        let hint = "name as many, or leave the annotation out: it allocates nothing";
        return Err((format!("names {named} GPUs, and the containers ask for {wanted}"), hint));
    }
    Ok(())
}

fn of_pod(pod: &Value) -> Result<(), RequestError> {
    let annotation = &pod["metadata"]["annotations"][ANNOTATION];
    if annotation.is_null() {
        return Ok(());
    }
    let lists = ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array());
    let mut wanted = 0_u32;
    for container in lists.flatten() {
        wanted = wanted.saturating_add(limits(container)?);
    }
    annotation_agrees(annotation, wanted).map_err(|(reason, hint)| RequestError::Refused {
        path: format!("metadata.annotations.{ANNOTATION}"),
        reason,
        hint: hint.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(limits: &Value) -> Value {
        json!({"name": "c", "resources": {"limits": limits}})
    }

    fn pod(annotation: &str, limits: &[Value]) -> Value {
        let containers: Vec<_> = limits.iter().map(container).collect();
        json!({"metadata": {"annotations": {ANNOTATION: annotation}}, "spec": {"containers": containers}})
    }

    #[test]
    fn whole_gpus_are_counted_of_any_model() {
        for (limits, count) in [
            (json!({}), 0),
            (json!(null), 0),
            (json!({"cpu": "1", "memory": "1Gi", "amd.com/gpu": 1}), 0),
            (json!({"nvidia.com/pgpu": 1}), 1),
            (json!({"nvidia.com/pgpu": "8"}), 8),
            (json!({"nvidia.com/pgpu": "0"}), 0),
            (json!({"nvidia.com/GH100_H100_80GB": 2}), 2),
            (json!({"nvidia.com/GH100_H100_80GB": 2, "nvidia.com/pgpu": "1"}), 3),
        ] {
            assert_eq!(gpus_of(&container(&limits), &json!({})), Ok(count), "{limits}");
        }
    }

    #[test]
    fn what_is_no_whole_gpu_is_refused() {
        for (limits, reason) in [
            (json!({"nvidia.com/gpu": 1}), "a runtime on the host"),
            (json!({"nvidia.com/mig-1g.10gb": 1}), "a runtime on the host"),
            (json!({"nvidia.com/gh100": 1}), "a runtime on the host"),
            (json!({"nvidia.com/Gh100": 1}), "a runtime on the host"),
            (json!({"nvidia.com/GH100-80": 1}), "a runtime on the host"),
            (json!({"nvidia.com/": 1}), "a runtime on the host"),
            (json!({"nvidia.com/pgpu": 17}), "no number of GPUs from 0 to 16"),
            (json!({"nvidia.com/pgpu": 9, "nvidia.com/GH100": 8}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": -1}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": 1.5}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": "1k"}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": "+1"}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": ""}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": true}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": null}), "no number of GPUs"),
            (json!({"nvidia.com/pgpu": "99999999999999999999"}), "no number of GPUs"),
        ] {
            let error = gpus_of(&container(&limits), &json!({})).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("containers.c.resources.limits.nvidia.com/"), "{error}");
        }
        for requests in [json!({"nvidia.com/pgpu": 1}), json!({"nvidia.com/GH100": 2})] {
            let mut container = container(&json!({"nvidia.com/GH100": 1}));
            container["resources"]["requests"] = requests;
            let error = gpus_of(&container, &json!({})).unwrap_err();
            assert!(error.to_string().contains("request and limit must be equal"), "{error}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn the_annotation_agrees_with_the_limits() {
        let (one, two) = (json!({"nvidia.com/pgpu": 1}), json!({"nvidia.com/GH100": 2}));
        for (annotation, limits) in [
            ("nvidia.com/pgpu=0", vec![one.clone()]),
            ("nvidia.com/pgpu=0,nvidia.com/pgpu=1", vec![two.clone()]),
            ("nvidia.com/gpu=0, nvidia.com/gpu=1, nvidia.com/gpu=2", vec![one.clone(), two.clone()]),
            ("nvidia.com/GH100=3", vec![json!({}), one.clone()]),
        ] {
            let pod = pod(annotation, &limits);
            assert!(gpus_of(&pod["spec"]["containers"][0], &pod).is_ok(), "{annotation}");
        }
        for (annotation, limits, reason) in [
            ("nvidia.com/pgpu=0", vec![], "names 1 GPUs, and no container has one"),
            ("nvidia.com/pgpu=0", vec![two.clone()], "names 1 GPUs, and the containers ask for 2"),
            ("nvidia.com/pgpu=0,nvidia.com/pgpu=1", vec![one.clone()], "names 2 GPUs"),
            ("nvidia.com/pgpu=0,nvidia.com/pgpu=0", vec![two.clone()], "there twice"),
            ("nvidia.com/pgpu=all", vec![one.clone()], "is not `nvidia.com/pgpu=0`"),
            ("nvidia.com/pgpu=16", vec![one.clone()], "is not `nvidia.com/pgpu=0`"),
            ("nvidia.com/pgpu", vec![one.clone()], "is not `nvidia.com/pgpu=0`"),
            ("amd.com/gpu=0", vec![one.clone()], "is not `nvidia.com/pgpu=0`"),
            ("", vec![one.clone()], "is not `nvidia.com/pgpu=0`"),
            ("nvidia.com/pgpu=0", vec![json!({"nvidia.com/gpu": 1})], "a runtime on the host"),
        ] {
            let pod = pod(annotation, &limits);
            let error = gpus_of(&container(&json!({})), &pod).unwrap_err().to_string();
            assert!(error.contains(reason), "{annotation}: {error}");
        }
        let pod = json!({"metadata": {"annotations": {ANNOTATION: 1}}});
        assert!(gpus_of(&container(&one), &pod).is_err());
    }
}
