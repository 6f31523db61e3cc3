//! Requests other than the creation of containers.

use serde_json::{Map, Value, json};

use super::Rules;
use super::differ::{Differ, matches, show};

pub(super) fn reasons(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, endpoint: &str, request: &Value) {
    match endpoint {
        "CopyFileRequest" => copy_file(differ, rules, request),
        "SignalProcessRequest" => {
            let id = request["container_id"].as_str().unwrap_or_default();
            match state.get(&format!("id:{id}")).and_then(Value::as_str) {
                Some(name) => differ.say(format!("container_id: container {name} takes no signals from the host")),
                None => differ.say("container_id: no live container has this id"),
            }
        }
        "StartContainerRequest" => differ.say("container_id: no live container has this id"),
        "RemoveContainerRequest" => differ.id("container_id", &request["container_id"]),
        "UpdateEphemeralMountsRequest" => differ.equal("storages", &request["storages"], &json!([])),
        "UpdateInterfaceRequest" => {
            let interface = &request["interface"];
            for field in ["name", "device"] {
                device(differ, &format!("interface.{field}"), &interface[field]);
            }
            if interface["hwAddr"] == json!("00:00:00:00:00:00") {
                differ.say("interface.hwAddr: all zero");
            }
            differ.pattern("interface.hwAddr", &interface["hwAddr"], &json!("^([0-9a-f]{2}:){5}[0-9a-f]{2}$"));
            if ![json!(0), json!(128)].contains(&interface["raw_flags"]) {
                differ.say(format!("interface.raw_flags: got {}, policy has 0, 128", show(&interface["raw_flags"])));
            }
            list(differ, "interface.IPAddresses", &interface["IPAddresses"], |differ, path, item| {
                address(differ, &format!("{path}.address"), &item["address"]);
            });
        }
        "UpdateRoutesRequest" => {
            list(differ, "routes.Routes", &request["routes"]["Routes"], |differ, path, route| {
                device(differ, &format!("{path}.device"), &route["device"]);
                address(differ, &format!("{path}.dest"), &route["dest"]);
                address(differ, &format!("{path}.source"), &route["source"]);
            });
        }
        "AddARPNeighborsRequest" => {
            let neighbors = &request["neighbors"]["ARPNeighbors"];
            list(differ, "neighbors.ARPNeighbors", neighbors, |differ, path, item| {
                device(differ, &format!("{path}.device"), &item["device"]);
                address(differ, &format!("{path}.toIPAddress.address"), &item["toIPAddress"]["address"]);
            });
        }
        _ => differ.say(format!("{endpoint} is never allowed")),
    }
}

fn list(differ: &mut Differ, path: &str, items: &Value, check: impl Fn(&mut Differ, &str, &Value)) {
    match items.as_array() {
        Some(items) => {
            for (index, item) in items.iter().enumerate() {
                check(differ, &format!("{path}[{index}]"), item);
            }
        }
        None => differ.say(format!("{path}: missing")),
    }
}

fn device(differ: &mut Differ, path: &str, name: &Value) {
    differ.pattern(path, name, &json!("^(eth|net)[0-9]{1,3}$"));
}

fn address(differ: &mut Differ, path: &str, address: &Value) {
    let Some(text) = address.as_str() else { return differ.say(format!("{path}: missing")) };
    if text.starts_with("127.") || matches("^[0:]*:(0*1|[0-9a-f:]*ffff:.*)(/[0-9]+)?$", text) {
        differ.say(format!("{path}: got {}, which is a loopback address", show(address)));
    } else {
        differ.pattern(path, address, &json!("^[0-9a-f.:/]*$"));
    }
}

fn copy_file(differ: &mut Differ, rules: &Rules, request: &Value) {
    let path = request["path"].as_str().unwrap_or_default();
    let inside = path.strip_prefix(crate::request::COPIED_PREFIX);
    let bad = |part: &str| ["", ".", ".."].contains(&part);
    let Some(inside) = inside else {
        return differ.say(format!(
            "path: got {}, policy has {}…",
            show(&request["path"]),
            crate::request::COPIED_PREFIX
        ));
    };
    let top = inside.split('/').next().unwrap_or_default();
    let base = matches("^[0-9a-f]{64}-[0-9a-f]{16}-", top).then(|| top.get(82..).unwrap_or_default());
    let known: Vec<_> = rules.data["copies"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if inside.split('/').any(bad) {
        differ.say(format!("path: got {}, which is no plain path", show(&request["path"])));
    } else if !base.is_some_and(|base| known.contains(&base)) {
        let names = known.join(", ");
        differ.say(format!(
            "path: got {}, policy has <container>-<16 hex digits>- and one of {names}",
            show(&request["path"])
        ));
    }
    let target = request["symlink_target"].as_str().or_else(|| request["symlink_src"].as_str()).unwrap_or_default();
    let kind = match (request["file_type"].as_str(), request["file_mode"].as_u64().map(|mode| mode / 4096)) {
        (Some(kind), _) => kind,
        (None, Some(8)) => "Regular",
        (None, Some(4)) => "Directory",
        (None, Some(10)) => "Symlink",
        _ => "",
    };
    match kind {
        "Symlink" if target.split('/').any(bad) || !inside.contains('/') => {
            differ.say(format!("symlink_src: got {target:?}, policy has links that stay in their own directory"));
        }
        "Regular" | "Directory" if !target.is_empty() => differ.say("symlink_src: only a symbolic link has a target"),
        "Regular" | "Directory" | "Symlink" => {}
        _ => differ.say("file_mode: not a file, directory or symbolic link"),
    }
}
