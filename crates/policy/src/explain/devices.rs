//! GPUs of a container that asked for some.

use serde_json::{Map, Value, json};

use super::Rules;
use super::differ::{Differ, matches, show};

/// What comes before the number of a device, in the key of its annotation.
const KEY: &str = "cdi.k8s.io/vfio";

/// Whether an annotation is one of a GPU, and said of here.
pub(super) fn is_annotation(record: &Value, key: &str) -> bool {
    !record["gpus"].is_null() && matches(r"^cdi\.k8s\.io/vfio[0-9]{1,5}$", key)
}

/// The live container that has a GPU.
fn holder<'a>(state: &'a Map<String, Value>, gpu: &Value) -> Option<&'a str> {
    let mut live = state.iter().filter_map(|(key, kept)| Some((key.strip_prefix("live:")?, kept.as_array()?)));
    live.find(|(_, kept)| kept.contains(gpu)).map(|(name, _)| name)
}

/// Why the GPUs of a request were refused.
pub(super) fn reasons(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, request: &Value) {
    let wanted = rules.expected.record["gpus"].as_u64().unwrap_or_default();
    let all = rules.data["containers"].as_object().into_iter().flatten();
    let of_pod: u64 = all.filter_map(|(_, container)| container["gpus"].as_u64()).sum();
    let annotations = request["OCI"]["Annotations"].as_object().into_iter().flatten();
    let gpus: Vec<_> = annotations.filter(|(key, _)| is_annotation(&rules.expected.record, key)).collect();
    for (index, (key, gpu)) in gpus.iter().enumerate() {
        let path = format!("OCI.Annotations.{key}");
        let number = gpu.as_str().and_then(|gpu| gpu.strip_prefix("nvidia.com/gpu="));
        if number.is_none_or(|number| !(0..of_pod).any(|index| number == index.to_string())) {
            let last = of_pod.saturating_sub(1);
            differ.say(format!("{path}: got {}, policy has nvidia.com/gpu=0 to {last}", show(gpu)));
        } else if gpus.iter().take(index).any(|(_, earlier)| earlier == gpu) {
            differ.say(format!("{path}: {gpu} is there twice"));
        } else if let Some(other) = holder(state, gpu) {
            differ.say(format!("{path}: {gpu} is container {other}'s, which lives"));
        }
    }
    if u64::try_from(gpus.len()).ok() != Some(wanted) {
        let got = gpus.len();
        differ.say(format!("OCI.Annotations.{KEY}<number>: got {got} GPUs, policy has {wanted}"));
    }
    let numbers: Vec<_> = gpus.iter().filter_map(|(key, _)| key.strip_prefix(KEY)).collect();
    let devices = match &request["devices"] {
        Value::Null => return,
        Value::Array(devices) if devices.is_empty() => return,
        Value::Array(devices) => devices,
        other => return differ.say(format!("devices: got {}, policy has a list", show(other))),
    };
    if u64::try_from(devices.len()).ok() != Some(wanted) {
        differ.say(format!("devices: got {}, policy has none or {wanted}", devices.len()));
    }
    for (index, device) in devices.iter().enumerate() {
        let path = format!("devices[{index}]");
        let Some(number) = device["id"].as_str().and_then(|id| id.strip_prefix("vfio")) else {
            differ.say(format!("{path}.id: got {}, policy has vfio<number>", show(&device["id"])));
            continue;
        };
        if !numbers.contains(&number) {
            differ.say(format!("{path}.id: got {}, which no annotation {KEY}{number} names", show(&device["id"])));
        }
        if devices.iter().take(index).any(|earlier| earlier["id"] == device["id"]) {
            differ.say(format!("{path}.id: {} is there twice", device["id"]));
        }
        differ.equal(&format!("{path}.type_"), &device["type_"], &json!("vfio-pci-gk"));
        let place = json!(format!("/dev/vfio/devices/vfio{number}"));
        differ.equal(&format!("{path}.container_path"), &device["container_path"], &place);
        let options = device["options"].as_array().filter(|options| options.len() == 1).and_then(|all| all.first());
        differ.pattern(
            &format!("{path}.options"),
            options.unwrap_or(&device["options"]),
            &json!(r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]=[0-9a-f]{2}(/[0-9a-f]{2}){0,7}$"),
        );
        differ.empty_besides(&path, device, &["id", "type_", "container_path", "options"]);
    }
}
