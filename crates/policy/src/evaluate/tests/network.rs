//! Interfaces, routes and neighbours: what hosts really send, and for every field what they must not.

use super::*;

const MAC: &str = "66:74:9f:6a:96:01";

/// One field changed, or left out where it becomes null.
fn changed(mut value: Value, field: &str, to: Value) -> Value {
    match to {
        Value::Null => drop(value.as_object_mut().unwrap().remove(field)),
        to => value[field] = to,
    }
    value
}

fn interface() -> Value {
    json!({"device": "eth0", "name": "eth0", "hwAddr": MAC, "mtu": 1500, "pciPath": "", "devicePath": "02/00",
        "type_": "veth", "raw_flags": 0, "IPAddresses": [address()]})
}

fn address() -> Value {
    json!({"family": 0, "address": "10.0.0.7", "mask": "24"})
}

fn route() -> Value {
    json!({"dest": "", "gateway": "10.244.0.1", "device": "eth0", "source": "", "scope": 0, "family": 0, "flags": 0,
        "mtu": 0})
}

fn neighbor() -> Value {
    json!({"toIPAddress": to(), "device": "eth0", "lladdr": MAC, "state": 128, "flags": 0})
}

fn to() -> Value {
    json!({"family": 0, "address": "10.0.0.1", "mask": ""})
}

type Case = (&'static str, Value, Option<&'static str>);

fn check_each(endpoint: &str, base: fn() -> Value, wrap: fn(Value) -> Value, cases: Vec<Case>) {
    let request = |(field, value, reason)| (endpoint, wrap(changed(base(), field, value)), reason);
    check(&Rig::new(), 0, cases.into_iter().map(request).collect());
}

fn of_interface(interface: Value) -> Value {
    json!({"interface": interface})
}

fn of_address(address: Value) -> Value {
    of_interface(changed(interface(), "IPAddresses", json!([address])))
}

fn of_neighbor(neighbor: Value) -> Value {
    json!({"neighbors": {"ARPNeighbors": [neighbor]}})
}

#[test]
fn an_interface_is_one_of_a_network() {
    let cases = vec![
        ("name", json!("net1"), None),
        ("name", json!("lo"), Some("interface.name: got \"lo\"")),
        ("name", json!("eth0/x"), Some("interface.name")),
        ("name", json!(null), Some("interface.name: missing")),
        ("device", json!("lo"), Some("interface.device: got \"lo\"")),
        ("device", json!("eth1234"), Some("interface.device")),
        ("hwAddr", json!("00:00:00:00:00:00"), Some("interface.hwAddr: all zero")),
        ("hwAddr", json!("01:00:5e:00:00:01"), Some("interface.hwAddr: got")),
        ("hwAddr", json!("ff:ff:ff:ff:ff:ff"), Some("interface.hwAddr: got")),
        ("hwAddr", json!("66:74:9f:6a:96"), Some("interface.hwAddr: got")),
        ("hwAddr", json!(7), Some("interface.hwAddr: got")),
        ("raw_flags", json!(128), None),
        ("raw_flags", json!(64), Some("interface.raw_flags: got 64, policy has 0 or 128")),
        ("raw_flags", json!("x"), Some("interface.raw_flags")),
        ("mtu", json!(9001), None),
        ("mtu", json!(576), None),
        ("mtu", json!(575), Some("interface.mtu: got 575, policy has 576 to 65535")),
        ("mtu", json!(65536), Some("interface.mtu")),
        ("mtu", json!(1500.5), Some("interface.mtu")),
        ("mtu", json!("1500"), Some("interface.mtu")),
        ("mtu", json!(null), Some("interface.mtu")),
        ("devicePath", json!("0.0.0002"), None),
        ("devicePath", json!("x/y"), Some("interface.devicePath")),
        ("pciPath", json!("01/02.3"), None),
        ("pciPath", json!("/dev/sda"), Some("interface.pciPath")),
        ("type_", json!("A B"), Some("interface.type_")),
        ("type", json!("a type that is too long"), Some("interface.type")),
        ("IPAddresses", json!([]), None),
        ("IPAddresses", json!("x"), Some("interface.IPAddresses: missing")),
        ("IPAddresses", json!(null), Some("interface.IPAddresses: missing")),
        ("qdisc", json!("x"), Some("interface.qdisc")),
    ];
    check_each("UpdateInterfaceRequest", interface, of_interface, cases);
    check(&Rig::new(), 0, vec![("UpdateInterfaceRequest", json!({}), Some("interface"))]);
}

#[test]
fn an_address_of_an_interface_is_none_of_the_guest_itself() {
    let cases = vec![
        ("address", json!("10.0.0.8"), None),
        ("address", json!("127.0.0.1"), Some("IPAddresses[0].address: got \"127.0.0.1\", which is a loopback")),
        ("address", json!("::1"), Some("loopback")),
        ("address", json!("0:0::0001"), Some("loopback")),
        ("address", json!("::ffff:127.0.0.1"), Some("loopback")),
        ("address", json!("10.0.0.0/8"), Some("interface.IPAddresses[0].address: got")),
        ("address", json!(""), Some("interface.IPAddresses[0].address: got")),
        ("address", json!("node"), Some("interface.IPAddresses[0].address: got")),
        ("address", json!(null), Some("address: missing")),
        ("address", json!("fe80::1"), Some("family: got 0, which is not the family of \"fe80::1\"")),
        ("family", json!(1), Some("family: got 1, which is not the family of \"10.0.0.7\"")),
        ("family", json!(2), Some("family: got 2, policy has 0 or 1")),
        ("family", json!("v4"), Some("family: got \"v4\"")),
        ("mask", json!("8"), None),
        ("mask", json!("255.0.0.0"), Some("IPAddresses[0].mask: got")),
        ("mask", json!(24), Some("IPAddresses[0].mask: got")),
        ("mask", json!(null), Some("IPAddresses[0].mask: missing")),
        ("scope", json!(1), Some("IPAddresses[0].scope")),
    ];
    check_each("UpdateInterfaceRequest", address, of_address, cases);
    let six = json!({"family": 1, "address": "fe80::6474:9fff:fe6a:9601", "mask": "64"});
    check(&Rig::new(), 0, vec![("UpdateInterfaceRequest", of_address(six), None)]);
}

#[test]
fn a_route_leads_out_of_the_guest() {
    let cases = vec![
        ("dest", json!("10.244.0.0/24"), None),
        ("dest", json!("169.254.1.1"), None),
        ("dest", json!("127.0.0.0/8"), Some("routes.Routes[0].dest: got \"127.0.0.0/8\", which is a loopback")),
        ("dest", json!("::1/128"), Some("loopback")),
        ("dest", json!("default"), Some("routes.Routes[0].dest: got")),
        ("dest", json!(null), Some("routes.Routes[0].dest: missing")),
        ("dest", json!("fd00::/8"), Some("family: got 0, which is not the family of \"fd00::/8\"")),
        ("gateway", json!(""), None),
        ("gateway", json!("127.0.0.1"), Some("gateway: got \"127.0.0.1\", which is a loopback")),
        ("gateway", json!("10.0.0.0/8"), Some("gateway: got")),
        ("gateway", json!("fe80::1"), Some("family")),
        ("gateway", json!(7), Some("gateway")),
        ("source", json!("10.0.0.7"), None),
        ("source", json!("127.0.0.1"), Some("source: got \"127.0.0.1\", which is a loopback")),
        ("source", json!("::1"), Some("loopback")),
        ("device", json!("lo"), Some("routes.Routes[0].device: got \"lo\"")),
        ("device", json!(null), Some("device: missing")),
        ("scope", json!(253), None),
        ("scope", json!(254), Some("scope: got 254, policy has 0 or 253")),
        ("scope", json!(null), Some("scope: missing")),
        ("family", json!(1), Some("family: got 1, which is not the family of \"10.244.0.1\"")),
        ("family", json!(null), Some("family: missing")),
        ("flags", json!(4), None),
        ("flags", json!(1), Some("flags: got 1, policy has 0 or 4")),
        ("flags", json!(null), None),
        ("mtu", json!(1400), None),
        ("mtu", json!(1), Some("mtu: got 1, policy has 576 to 65535")),
        ("mtu", json!(null), None),
        ("table", json!(255), Some("routes.Routes[0].table")),
    ];
    check_each("UpdateRoutesRequest", route, |route| json!({"routes": {"Routes": [route]}}), cases);
    let six = json!({"dest": "", "gateway": "fe80::1", "device": "eth0", "source": "", "scope": 0, "family": 1});
    let both = json!({"routes": {"Routes": [route(), six]}});
    let one_bad = json!({"routes": {"Routes": [route(), changed(route(), "device", json!("lo"))]}});
    let cases = vec![
        ("UpdateRoutesRequest", both, None),
        ("UpdateRoutesRequest", json!({"routes": {"Routes": []}}), None),
        ("UpdateRoutesRequest", one_bad, Some("routes.Routes[1].device")),
        ("UpdateRoutesRequest", json!({}), Some("routes.Routes: missing")),
        ("UpdateRoutesRequest", json!({"routes": {"Routes": "x"}}), Some("routes.Routes: missing")),
    ];
    check(&Rig::new(), 0, cases);
}

#[test]
fn a_neighbour_is_one_station_of_the_network() {
    let cases = vec![
        ("device", json!("lo"), Some("neighbors.ARPNeighbors[0].device: got \"lo\"")),
        ("lladdr", json!(""), Some("lladdr: got \"\"")),
        ("lladdr", json!("00:00:00:00:00:00"), Some("lladdr: all zero")),
        ("lladdr", json!("33:33:00:00:00:01"), Some("lladdr: got")),
        ("lladdr", json!(null), Some("lladdr: missing")),
        ("state", json!(2), None),
        ("state", json!(64), Some("state: got 64, policy has 2 or 128")),
        ("state", json!(0), Some("state: got 0")),
        ("state", json!(null), Some("state: missing")),
        ("flags", json!(8), None),
        ("flags", json!(136), None),
        ("flags", json!(16), Some("flags: got 16, policy has 0 or 8 or 128 or 136")),
        ("flags", json!(null), None),
        ("vlan", json!(7), Some("neighbors.ARPNeighbors[0].vlan")),
        ("toIPAddress", json!(null), Some("toIPAddress")),
    ];
    check_each("AddARPNeighborsRequest", neighbor, of_neighbor, cases);
    let cases = vec![
        ("address", json!("10.0.0.2"), None),
        ("address", json!("127.0.0.1"), Some("toIPAddress.address: got \"127.0.0.1\", which is a loopback")),
        ("address", json!("x"), Some("toIPAddress.address: got")),
        ("family", json!(1), Some("toIPAddress.family: got 1, which is not")),
        ("mask", json!("24"), Some("toIPAddress.mask: got \"24\"")),
    ];
    check_each("AddARPNeighborsRequest", to, |to| of_neighbor(changed(neighbor(), "toIPAddress", to)), cases);
    check(&Rig::new(), 0, vec![("AddARPNeighborsRequest", json!({}), Some("ARPNeighbors"))]);
}
