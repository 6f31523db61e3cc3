//! Interfaces, routes and neighbours. What they may be stands in the rules, under `network`.

use serde_json::{Value, json};

use super::differ::{Differ, matches, show};
use super::other::or;

const INTERFACE_FIELDS: [&str; 10] =
    ["name", "device", "hwAddr", "raw_flags", "IPAddresses", "mtu", "devicePath", "pciPath", "type", "type_"];
const ADDRESS_FIELDS: [&str; 3] = ["address", "family", "mask"];
const ROUTE_FIELDS: [&str; 8] = ["device", "dest", "source", "gateway", "scope", "family", "flags", "mtu"];

pub(super) fn interface(differ: &mut Differ, network: &Value, request: &Value) {
    let interface = &request["interface"];
    differ.empty_besides("", request, &["interface"]);
    differ.empty_besides("interface", interface, &INTERFACE_FIELDS);
    for field in ["name", "device"] {
        differ.pattern(&format!("interface.{field}"), &interface[field], &network["device"]);
    }
    hardware_address(differ, network, "interface.hwAddr", &interface["hwAddr"]);
    choice(differ, "interface.raw_flags", or(&interface["raw_flags"], &json!(0)), &network["raw_flags"]);
    mtu(differ, network, "interface.mtu", &interface["mtu"]);
    for (field, pattern) in [("devicePath", "bus_path"), ("pciPath", "bus_path"), ("type", "type"), ("type_", "type")] {
        if let Some(value) = interface.get(field) {
            differ.pattern(&format!("interface.{field}"), value, &network[pattern]);
        }
    }
    list(differ, "interface.IPAddresses", &interface["IPAddresses"], |differ, path, item| {
        differ.empty_besides(path, item, &ADDRESS_FIELDS);
        let at = format!("{path}.address");
        address(differ, network, &at, &item["address"], "address");
        family(differ, &format!("{path}.family"), &item["family"], &[&item["address"]]);
        differ.pattern(&format!("{path}.mask"), &item["mask"], &network["prefix"]);
    });
}

pub(super) fn routes(differ: &mut Differ, network: &Value, request: &Value) {
    differ.empty_besides("", request, &["routes"]);
    differ.empty_besides("routes", &request["routes"], &["Routes"]);
    list(differ, "routes.Routes", &request["routes"]["Routes"], |differ, path, route| {
        differ.empty_besides(path, route, &ROUTE_FIELDS);
        differ.pattern(&format!("{path}.device"), &route["device"], &network["device"]);
        address(differ, network, &format!("{path}.dest"), &route["dest"], "destination");
        for field in ["gateway", "source"] {
            if let Some(value) = route.get(field).filter(|value| **value != json!("")) {
                address(differ, network, &format!("{path}.{field}"), value, "address");
            }
        }
        let addresses = [&route["dest"], &route["gateway"], &route["source"]];
        family(differ, &format!("{path}.family"), &route["family"], &addresses);
        choice(differ, &format!("{path}.scope"), &route["scope"], &network["scope"]);
        choice(differ, &format!("{path}.flags"), or(&route["flags"], &json!(0)), &network["route_flags"]);
        if *or(&route["mtu"], &json!(0)) != json!(0) {
            mtu(differ, network, &format!("{path}.mtu"), &route["mtu"]);
        }
    });
}

pub(super) fn neighbors(differ: &mut Differ, network: &Value, request: &Value) {
    let neighbors = &request["neighbors"]["ARPNeighbors"];
    differ.empty_besides("", request, &["neighbors"]);
    differ.empty_besides("neighbors", &request["neighbors"], &["ARPNeighbors"]);
    list(differ, "neighbors.ARPNeighbors", neighbors, |differ, path, item| {
        let at = format!("{path}.toIPAddress");
        let to = &item["toIPAddress"];
        differ.empty_besides(path, item, &["device", "toIPAddress", "lladdr", "state", "flags"]);
        differ.pattern(&format!("{path}.device"), &item["device"], &network["device"]);
        differ.empty_besides(&at, to, &["address", "family"]);
        address(differ, network, &format!("{at}.address"), &to["address"], "address");
        family(differ, &format!("{at}.family"), &to["family"], &[&to["address"]]);
        hardware_address(differ, network, &format!("{path}.lladdr"), &item["lladdr"]);
        choice(differ, &format!("{path}.state"), &item["state"], &network["state"]);
        choice(differ, &format!("{path}.flags"), or(&item["flags"], &json!(0)), &network["neighbor_flags"]);
    });
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

fn choice(differ: &mut Differ, path: &str, got: &Value, allowed: &Value) {
    differ.one_of(path, got, allowed.as_array().map(Vec::as_slice).unwrap_or_default());
}

fn hardware_address(differ: &mut Differ, network: &Value, path: &str, got: &Value) {
    if *got == json!("00:00:00:00:00:00") {
        return differ.say(format!("{path}: all zero"));
    }
    differ.pattern(path, got, &network["hardware_address"]);
}

fn address(differ: &mut Differ, network: &Value, path: &str, got: &Value, pattern: &str) {
    let Some(text) = got.as_str() else { return differ.say(format!("{path}: missing")) };
    if network["loopback"].as_str().is_some_and(|loopback| matches(loopback, text)) {
        differ.say(format!("{path}: got {}, which is a loopback address", show(got)));
    } else {
        differ.pattern(path, got, &network[pattern]);
    }
}

fn family(differ: &mut Differ, path: &str, got: &Value, addresses: &[&Value]) {
    if ![json!(0), json!(1)].contains(got) {
        return differ.one_of(path, got, &[json!(0), json!(1)]);
    }
    for address in addresses.iter().filter_map(|address| address.as_str()).filter(|address| !address.is_empty()) {
        if (*got == json!(1)) != address.contains(':') {
            differ.say(format!("{path}: got {got}, which is not the family of {address:?}"));
        }
    }
}

fn mtu(differ: &mut Differ, network: &Value, path: &str, got: &Value) {
    let (least, most) = (network["mtu"][0].as_u64(), network["mtu"][1].as_u64());
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    if !got.as_u64().is_some_and(|mtu| (least..=most).contains(&mtu)) {
        differ.say(format!("{path}: got {}, policy has {least} to {most}", show(got)));
    }
}
