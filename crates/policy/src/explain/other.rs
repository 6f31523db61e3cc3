//! Requests other than the creation of containers.

use serde_json::{Map, Value, json};

use super::Rules;
use super::differ::{Differ, is_empty, matches, show};

const INTERFACE_FIELDS: [&str; 10] =
    ["name", "device", "hwAddr", "raw_flags", "IPAddresses", "mtu", "devicePath", "pciPath", "type", "type_"];
const ADDRESS_FIELDS: [&str; 3] = ["address", "family", "mask"];
const ROUTE_FIELDS: [&str; 8] = ["device", "dest", "source", "gateway", "scope", "family", "flags", "mtu"];
const COPY_FIELDS: [&str; 10] = [
    "path",
    "file_size",
    "file_mode",
    "file_type",
    "dir_mode",
    "uid",
    "gid",
    "offset",
    "symlink_src",
    "symlink_target",
];

pub(super) fn reasons(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, endpoint: &str, request: &Value) {
    match endpoint {
        "CopyFileRequest" => copy_file(differ, rules, request),
        "SignalProcessRequest" => {
            differ.empty_besides("", request, &["container_id", "exec_id", "signal"]);
            let id = request["container_id"].as_str().unwrap_or_default();
            match state.get(&format!("id:{id}")).and_then(Value::as_str) {
                Some(name) if !rules.data["signals"].as_array().is_some_and(|all| all.contains(&json!(name))) => {
                    differ.say(format!("container_id: container {name} takes no signals from the host"));
                }
                Some(_) => {}
                None => no_container(differ, state, id),
            }
        }
        "StartContainerRequest" => {
            differ.empty_besides("", request, &["container_id"]);
            let id = request["container_id"].as_str().unwrap_or_default();
            if !state.contains_key(&format!("id:{id}")) {
                no_container(differ, state, id);
            }
        }
        "RemoveContainerRequest" => {
            differ.empty_besides("", request, &["container_id", "timeout"]);
            differ.id("container_id", &request["container_id"]);
        }
        "UpdateEphemeralMountsRequest" => {
            differ.empty_besides("", request, &["storages"]);
            differ.equal("storages", &request["storages"], &json!([]));
        }
        "UpdateInterfaceRequest" => {
            let interface = &request["interface"];
            differ.empty_besides("", request, &["interface"]);
            differ.empty_besides("interface", interface, &INTERFACE_FIELDS);
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
                differ.empty_besides(path, item, &ADDRESS_FIELDS);
            });
        }
        "UpdateRoutesRequest" => {
            differ.empty_besides("", request, &["routes"]);
            differ.empty_besides("routes", &request["routes"], &["Routes"]);
            list(differ, "routes.Routes", &request["routes"]["Routes"], |differ, path, route| {
                device(differ, &format!("{path}.device"), &route["device"]);
                address(differ, &format!("{path}.dest"), &route["dest"]);
                address(differ, &format!("{path}.source"), &route["source"]);
                differ.empty_besides(path, route, &ROUTE_FIELDS);
            });
        }
        "AddARPNeighborsRequest" => {
            let neighbors = &request["neighbors"]["ARPNeighbors"];
            differ.empty_besides("", request, &["neighbors"]);
            differ.empty_besides("neighbors", &request["neighbors"], &["ARPNeighbors"]);
            list(differ, "neighbors.ARPNeighbors", neighbors, |differ, path, item| {
                device(differ, &format!("{path}.device"), &item["device"]);
                address(differ, &format!("{path}.toIPAddress.address"), &item["toIPAddress"]["address"]);
                differ.empty_besides(&format!("{path}.toIPAddress"), &item["toIPAddress"], &ADDRESS_FIELDS);
                differ.empty_besides(path, item, &["device", "toIPAddress", "lladdr", "state", "flags"]);
            });
        }
        _ => differ.say(format!("{endpoint} is never allowed")),
    }
}

fn no_container(differ: &mut Differ, state: &Map<String, Value>, id: &str) {
    if id.is_empty() || state.get("sandbox").and_then(Value::as_str) != Some(id) {
        differ.say("container_id: no live container has this id");
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
    differ.empty_besides("", request, &COPY_FIELDS);
    let said = |field: &str| Some(&request[field]).filter(|value| !is_empty(value));
    let mut kinds: Vec<&str> = said("file_type").map(|kind| kind.as_str().unwrap_or_default()).into_iter().collect();
    match &request["file_mode"] {
        Value::Null if request.get("file_mode").is_none() => {}
        mode => match mode.as_u64().map(|mode| mode / 4096) {
            Some(0) => {}
            Some(8) => kinds.push("Regular"),
            Some(4) => kinds.push("Directory"),
            Some(10) => kinds.push("Symlink"),
            _ => kinds.push(""),
        },
    }
    let agree = |all: &[&str]| all.windows(2).all(|pair| pair.first() == pair.last());
    if !agree(&kinds) {
        differ.say("file_mode, file_type: they disagree");
    }
    let named: Vec<_> = ["symlink_src", "symlink_target"].into_iter().filter_map(said).collect();
    let targets: Vec<_> = named.iter().map(|target| target.as_str().unwrap_or_default()).collect();
    if !agree(&targets) {
        differ.say("symlink_src, symlink_target: they disagree");
    }
    for kind in kinds.iter().chain(kinds.is_empty().then_some(&"")) {
        match *kind {
            "Symlink"
                if targets.is_empty()
                    || targets.iter().any(|target| target.split('/').any(bad))
                    || !inside.contains('/') =>
            {
                let got = targets.first().copied().unwrap_or_default();
                differ.say(format!(
                    "symlink_src, symlink_target: got {got:?}, policy has links that stay in their own directory"
                ));
            }
            "Regular" | "Directory" if !targets.is_empty() => {
                differ.say("symlink_src, symlink_target: only a symbolic link has a target");
            }
            "Regular" | "Directory" | "Symlink" => {}
            _ => differ.say("file_mode, file_type: not a file, directory or symbolic link"),
        }
    }
}
