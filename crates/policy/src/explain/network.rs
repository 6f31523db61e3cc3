//! Interfaces, routes and neighbours. What they may be stands in the rules, under `network`.

use serde_json::{Value, json};

use super::differ::{Differ, is_empty, matches, show};

pub(super) fn interface(differ: &mut Differ, network: &Value, request: &Value) {
    differ.empty_besides("", request, &["interface"]);
    shape(differ, &network["interface"], "interface", &request["interface"], "IPAddresses");
    list(differ, "interface.IPAddresses", &request["interface"]["IPAddresses"], |differ, path, address| {
        shape(differ, &network["address"], path, address, "");
        leads_out(differ, network, path, address);
    });
}

pub(super) fn routes(differ: &mut Differ, network: &Value, request: &Value) {
    differ.empty_besides("", request, &["routes"]);
    differ.empty_besides("routes", &request["routes"], &["Routes"]);
    list(differ, "routes.Routes", &request["routes"]["Routes"], |differ, path, route| {
        shape(differ, &network["route"], path, route, "");
        leads_out(differ, network, path, route);
    });
}

pub(super) fn neighbors(differ: &mut Differ, network: &Value, request: &Value) {
    differ.empty_besides("", request, &["neighbors"]);
    differ.empty_besides("neighbors", &request["neighbors"], &["ARPNeighbors"]);
    list(differ, "neighbors.ARPNeighbors", &request["neighbors"]["ARPNeighbors"], |differ, path, neighbor| {
        shape(differ, &network["neighbor"], path, neighbor, "toIPAddress");
        let path = format!("{path}.toIPAddress");
        shape(differ, &network["neighbor_address"], &path, &neighbor["toIPAddress"], "");
        leads_out(differ, network, &path, &neighbor["toIPAddress"]);
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

/// Fields that must be there, and fields that may be. `elsewhere` is looked at by the caller.
fn shape(differ: &mut Differ, shape: &Value, path: &str, given: &Value, elsewhere: &str) {
    let Some(fields) = given.as_object() else { return differ.say(format!("{path}: missing")) };
    for (field, wanted) in shape[0].as_object().into_iter().flatten() {
        one(differ, &format!("{path}.{field}"), wanted, &given[field.as_str()]);
    }
    let others = fields.iter().filter(|(field, _)| *field != elsewhere && shape[0].get(field.as_str()).is_none());
    for (field, value) in others.filter(|(_, value)| !is_empty(value)) {
        match &shape[1][field.as_str()] {
            Value::Null => differ.unexpected(&format!("{path}.{field}"), value),
            wanted => one(differ, &format!("{path}.{field}"), wanted, value),
        }
    }
}

/// A pattern, a list of values, or the least and the most.
fn one(differ: &mut Differ, path: &str, wanted: &Value, got: &Value) {
    match wanted {
        Value::String(_) if *got == json!("00:00:00:00:00:00") => differ.say(format!("{path}: all zero")),
        Value::String(_) => differ.pattern(path, got, wanted),
        Value::Array(values) => differ.one_of(path, got, values),
        _ => {
            let (least, most) = (wanted["least"].as_u64(), wanted["most"].as_u64());
            let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
            if !got.as_u64().is_some_and(|got| (least..=most).contains(&got)) {
                differ.say(format!("{path}: got {}, policy has {least} to {most}", show(got)));
            }
        }
    }
}

fn leads_out(differ: &mut Differ, network: &Value, path: &str, given: &Value) {
    let family = &given["family"];
    for field in ["address", "dest", "gateway", "source"] {
        let Some(address) = given[field].as_str().filter(|address| !address.is_empty()) else { continue };
        if network["loopback"].as_str().is_some_and(|loopback| matches(loopback, address)) {
            differ.say(format!("{path}.{field}: got {address:?}, which is a loopback address"));
        } else if [json!(0), json!(1)].contains(family) && (*family == json!(1)) != address.contains(':') {
            differ.say(format!("{path}.family: got {family}, which is not the family of {address:?}"));
        }
    }
}
