//! Which ports of a pod are open, and to whom.

mod probes;

use std::collections::BTreeMap;

use protocol::initdata::Ingress;
use serde_json::{Map, Value, json};

use super::inject;
pub(super) use probes::{PROBES_ANNOTATION, restore as restore_probes};

/// `name#port#disableClientAuth##…`, as Contrast writes it.
pub const INGRESS_ANNOTATION: &str = "casemate.dev/servicemesh-ingress";
/// Ports that are open as they are, to everybody and without TLS: `9102,9103`.
pub const OPEN_PORTS_ANNOTATION: &str = "casemate.dev/open-ports";
const CONTRAST_INGRESS: &str = "contrast.edgeless.systems/servicemesh-ingress";

/// The open ports of a pod.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Ports {
    /// Where the mesh ends TLS.
    pub(super) ingress: Vec<Ingress>,
    /// Open as they are.
    pub(super) open: Vec<u16>,
    /// What the user should know.
    pub(super) notices: Vec<String>,
}

/// An annotation, probe or Service that cannot be served.
#[derive(Debug, PartialEq)]
pub(super) struct PortError {
    /// From the pod or the Service.
    pub(super) path: String,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// The Service that is at fault.
    pub(super) service: Option<String>,
}

fn refuse<T>(path: impl Into<String>, reason: impl Into<String>, hint: Option<&str>) -> Result<T, PortError> {
    Err(PortError { path: path.into(), reason: reason.into(), hint: hint.map(str::to_owned), service: None })
}

/// LIMIT: a pod with more than this many ports is a mistake, and each costs a firewall rule.
const MAX_PORTS: usize = 64;

/// Finds the ports of `pod`: those of its annotation, and without one those that a Service leads to.
pub(super) fn find(pod: &Value, services: &BTreeMap<&str, &Value>) -> Result<Ports, PortError> {
    let annotations = &pod["metadata"]["annotations"];
    let written =
        [INGRESS_ANNOTATION, CONTRAST_INGRESS].into_iter().find_map(|key| Some((key, annotations[key].as_str()?)));
    let mut ports = match written {
        Some((key, text)) => Ports {
            ingress: parse_annotation(text).or_else(|reason| {
                let hint =
                    "write `name#port#false##name#port#true`; the third part says that callers need no certificate";
                refuse(format!("metadata.annotations.{key}"), reason, Some(hint))
            })?,
            ..Ports::default()
        },
        None => from_services(pod, services)?,
    };
    open_as_they_are(annotations, written.is_some(), &mut ports)?;
    ports.ingress.sort_by_key(|ingress| ingress.port);
    if ports.ingress.len() > MAX_PORTS {
        return refuse("spec.containers", format!("more than {MAX_PORTS} ports"), Some("make more pods of it"));
    }
    Ok(ports)
}

/// Takes the ports of [`OPEN_PORTS_ANNOTATION`] out of the mesh's hands. `written` says that the ingress is the user's
/// word, too, which must then not contradict this one.
fn open_as_they_are(annotations: &Value, written: bool, ports: &mut Ports) -> Result<(), PortError> {
    let path = format!("metadata.annotations.{OPEN_PORTS_ANNOTATION}");
    let text = match &annotations[OPEN_PORTS_ANNOTATION] {
        Value::Null => return Ok(()),
        Value::String(text) => text,
        _ => {
            return refuse(path, "not a string", Some("write the ports between quotes: `\"9102,9103\"`"));
        }
    };
    for part in text.split(',').map(str::trim) {
        let Some(port) = part.parse::<u16>().ok().filter(|port| *port != 0) else {
            return refuse(path, format!("`{part}` is not a port"), Some("write `9102,9103`"));
        };
        if written && ports.ingress.iter().any(|ingress| ingress.port == port) {
            let hint = "keep it in one of them: TLS ends at the port, or it does not";
            return refuse(path, format!("port {port} is in `{INGRESS_ANNOTATION}`, too"), Some(hint));
        }
        if ports.open.contains(&port) {
            return refuse(path, format!("port {port} is there twice"), Some("keep one of them"));
        }
        ports.ingress.retain(|ingress| ingress.port != port);
        ports.notices.retain(|notice| !notice.starts_with(&format!("port {port} ")));
        ports.notices.push(format!("port {port} is open to everybody, without TLS, as `{OPEN_PORTS_ANNOTATION}` says"));
        ports.open.push(port);
    }
    ports.open.sort_unstable();
    Ok(())
}

fn parse_annotation(text: &str) -> Result<Vec<Ingress>, String> {
    let mut all: Vec<Ingress> = Vec::new();
    if text.trim().is_empty() {
        return Ok(all);
    }
    for part in text.split("##") {
        let fields: Vec<_> = part.split('#').collect();
        let [name, port, disable] = fields.as_slice() else {
            return Err(format!("`{part}` is not `name#port#disableClientAuth`"));
        };
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("`{port}` is not a port"))?;
        let client_certificate = match *disable {
            "true" => false,
            "false" => true,
            other => return Err(format!("`{other}` is neither `true` nor `false`")),
        };
        if name.is_empty() || all.iter().any(|known| known.port == port || known.name == *name) {
            return Err(format!("`{part}`: a name is missing, or a name or port is there twice"));
        }
        all.push(Ingress { name: (*name).to_owned(), port, client_certificate });
    }
    Ok(all)
}

/// The Services, among those of the pod's namespace, that lead to the pod.
pub(super) fn selecting<'a>(pod: &Value, services: &BTreeMap<&'a str, &'a Value>) -> Vec<(&'a str, &'a Value)> {
    let labels = &pod["metadata"]["labels"];
    let selects = |service: &Value| {
        let selector = service["spec"]["selector"].as_object();
        selector.is_some_and(|all| !all.is_empty() && all.iter().all(|(key, value)| labels[key] == *value))
    };
    services.iter().filter(|(_, service)| selects(service)).map(|(name, service)| (*name, *service)).collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"];
    lists.into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// The number of a port that is given by number or by the name of a container's port.
fn port_number(target: &Value, declared: &[Value]) -> Option<u16> {
    let number = match target {
        Value::Number(number) => number.as_u64(),
        Value::String(name) => declared
            .iter()
            .find(|port| port["name"].as_str() == Some(name))
            .and_then(|port| port["containerPort"].as_u64())
            .or_else(|| name.parse().ok()),
        _ => None,
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0)
}

/// The names of ports, for somebody who took another.
fn known_ports(declared: &[Value]) -> String {
    let names: Vec<_> =
        declared.iter().filter_map(|port| port["name"].as_str()).map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "write its number: no port has a name".to_owned()
    } else {
        format!("write its number, or one of the names {}", names.join(", "))
    }
}

fn from_services(pod: &Value, services: &BTreeMap<&str, &Value>) -> Result<Ports, PortError> {
    let declared: Vec<Value> =
        containers(pod).flat_map(|container| container["ports"].as_array().cloned().unwrap_or_default()).collect();
    let mut ports = Ports::default();
    let mut led_to: BTreeMap<u16, (String, Vec<&str>)> = BTreeMap::new();
    for (name, service) in selecting(pod, services) {
        for (index, port) in service["spec"]["ports"].as_array().into_iter().flatten().enumerate() {
            if port["protocol"].as_str().is_some_and(|protocol| protocol != "TCP") {
                let notice = format!("Service `{name}`: port {} stays closed, only TCP is served", port["port"]);
                ports.notices.push(notice);
                continue;
            }
            let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
            let Some(number) = port_number(target, &declared) else {
                let field = if port["targetPort"].is_null() { "port" } else { "targetPort" };
                return Err(PortError {
                    path: format!("spec.ports[{index}].{field}"),
                    reason: format!("leads to port {target}"),
                    hint: Some(known_ports(&declared)),
                    service: Some(name.to_owned()),
                });
            };
            let label = declared.iter().find(|port| port["containerPort"].as_u64() == Some(u64::from(number)));
            let label =
                label.and_then(|port| port["name"].as_str()).map_or_else(|| format!("port-{number}"), str::to_owned);
            let entry = led_to.entry(number).or_insert((label, Vec::new()));
            if !entry.1.contains(&name) {
                entry.1.push(name);
            }
        }
    }
    for (port, (name, services)) in led_to {
        ports.notices.push(format!(
            "port {port} (Service `{}`): TLS ends in the pod, callers need no certificate; annotate the pod with \
             `{INGRESS_ANNOTATION}: {name}#{port}#false` to demand one of the mesh",
            services.join("`, `")
        ));
        ports.ingress.push(Ingress { name, port, client_certificate: false });
    }
    for port in &declared {
        let number = port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
        if !ports.ingress.iter().any(|ingress| ingress.port == number) {
            ports.notices.push(format!("port {number} stays closed: no Service among the inputs leads to it"));
        }
    }
    ports.notices.dedup();
    Ok(ports)
}

/// Makes the kubelet's probes and hooks fit the mesh. A port that only probes lead to ends TLS like any other: the host could
/// otherwise speak to it as it pleases.
pub(super) fn rewrite_probes(pod: &mut Value, ports: &mut Ports) -> Result<(), PortError> {
    let mut kept = json!({});
    for list in ["initContainers", "containers"] {
        let containers = pod.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let declared = container["ports"].as_array().cloned().unwrap_or_default();
            for pointer in probes::PLACES {
                let path = format!("spec.{list}.{name}{}", pointer.replace('/', "."));
                let kind = pointer.rsplit('/').next().unwrap_or_default();
                let Some(action) = container.pointer_mut(pointer).and_then(Value::as_object_mut) else { continue };
                let was = action.clone();
                rewrite_probe(action, &declared, ports, &name, kind, &path)?;
                if let Some(before) = probes::before(&was, action) {
                    kept[&name][pointer] = before;
                }
            }
        }
    }
    if kept != json!({}) {
        inject::annotate(pod, PROBES_ANNOTATION, &kept.to_string());
    }
    ports.ingress.sort_by_key(|ingress| ingress.port);
    if ports.ingress.len() + ports.open.len() > MAX_PORTS {
        return refuse("spec.containers", format!("more than {MAX_PORTS} ports"), Some("make more pods of it"));
    }
    Ok(())
}

fn rewrite_probe(
    probe: &mut Map<String, Value>,
    declared: &[Value],
    ports: &mut Ports,
    container: &str,
    kind: &str,
    path: &str,
) -> Result<(), PortError> {
    // Commands and pauses reach no port.
    let Some(action) = ["httpGet", "tcpSocket", "grpc"].into_iter().find(|action| probe.contains_key(*action)) else {
        return Ok(());
    };
    let is_hook = ["postStart", "preStop"].contains(&kind);
    let target = probe.get(action).map(|action| action["port"].clone()).unwrap_or_default();
    let Some(port) = port_number(&target, declared) else {
        let hint = known_ports(declared);
        return refuse(
            format!("{path}.{action}.port"),
            format!("{target} is not a port of this container"),
            Some(&hint),
        );
    };
    if ports.open.contains(&port) {
        return Ok(());
    }
    let found = ports.ingress.iter().find(|ingress| ingress.port == port);
    let client_certificate = found.is_some_and(|ingress| ingress.client_certificate);
    if found.is_none() {
        let named = declared.iter().find(|known| known["containerPort"].as_u64() == Some(u64::from(port)));
        let named = named.and_then(|known| known["name"].as_str());
        let name = named.filter(|name| ports.ingress.iter().all(|ingress| ingress.name != *name));
        let name = name.map_or_else(|| format!("port-{port}"), str::to_owned);
        ports.notices.retain(|notice| !notice.starts_with(&format!("port {port} stays closed")));
        ports.notices.push(format!(
            "port {port} ({kind} of container `{container}`): TLS ends in the pod, callers need no certificate; annotate \
             the pod with `{OPEN_PORTS_ANNOTATION}: \"{port}\"` to open it to everybody without TLS"
        ));
        ports.ingress.push(Ingress { name, port, client_certificate: false });
    }
    if action == "httpGet" && !client_certificate {
        // The kubelet does not verify certificates, so it gets through; what it learns is not what trust rests on.
        if let Some(action) = probe.get_mut(action) {
            action["scheme"] = json!("HTTPS");
        }
    } else if is_hook {
        let hint = "let the hook run a command, or let callers of the port come without a certificate";
        return refuse(path, format!("port {port} wants a certificate, which the kubelet has not"), Some(hint));
    } else if action != "tcpSocket" {
        ports.notices.push(format!(
            "{kind} of container `{container}`: port {port} wants what the kubelet cannot offer, so the probe only connects"
        ));
        let index = probe.keys().position(|key| key == action).unwrap_or_default();
        probe.shift_remove(action);
        probe.shift_insert(index, "tcpSocket".to_owned(), json!({ "port": target }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(pod: &Value, services: &BTreeMap<String, Value>) -> Result<Ports, PortError> {
        super::find(pod, &services.iter().map(|(name, service)| (name.as_str(), service)).collect())
    }

    fn pod(ports: &Value, probe: &Value, annotations: &Value) -> Value {
        json!({
            "metadata": {"labels": {"app": "a", "tier": "t"}, "annotations": annotations},
            "spec": {"containers": [{"name": "c", "ports": ports, "readinessProbe": probe}]},
        })
    }

    fn service(selector: &Value, ports: &Value) -> BTreeMap<String, Value> {
        [("s".to_owned(), json!({"spec": {"selector": selector, "ports": ports}}))].into()
    }

    fn http() -> Value {
        json!([{"name": "http", "containerPort": 8080}])
    }

    #[test]
    fn a_port_that_a_service_leads_to_ends_tls() {
        let pod = pod(&http(), &Value::Null, &Value::Null);
        for target in [json!("http"), json!(8080), json!("8080")] {
            let services = service(&json!({"app": "a"}), &json!([{"port": 80, "targetPort": target}]));
            let ports = find(&pod, &services).unwrap();
            let expected = Ingress { name: "http".into(), port: 8080, client_certificate: false };
            assert_eq!(ports.ingress, [expected]);
            assert!(ports.notices[0].contains("Service `s`"), "{:?}", ports.notices);
        }
    }

    #[test]
    fn other_ports_stay_closed() {
        let pod = pod(&http(), &Value::Null, &Value::Null);
        for services in [
            service(&json!({"app": "b"}), &json!([{"port": 8080}])),
            service(&json!({}), &json!([{"port": 8080}])),
            service(&json!({"app": "a", "x": "y"}), &json!([{"port": 8080}])),
            service(&json!({"app": "a"}), &json!([{"port": 8080, "protocol": "UDP"}])),
        ] {
            let ports = find(&pod, &services).unwrap();
            assert_eq!(ports.ingress, []);
            assert!(ports.notices.iter().any(|notice| notice.contains("stays closed")), "{:?}", ports.notices);
        }
        let error = find(&pod, &service(&json!({"app": "a"}), &json!([{"port": 1, "targetPort": "x"}]))).unwrap_err();
        assert!(error.reason.contains("leads to port") && error.service.as_deref() == Some("s"), "{error:?}");
    }

    #[test]
    fn the_annotation_says_it_all() {
        let services = service(&json!({"app": "a"}), &json!([{"port": 8080}]));
        for key in [INGRESS_ANNOTATION, CONTRAST_INGRESS] {
            let pod = pod(&http(), &Value::Null, &json!({key: "main#8001#false##metrics#80#true"}));
            let ports = find(&pod, &services).unwrap();
            let flat: Vec<_> = ports.ingress.iter().map(|i| (i.name.as_str(), i.port, i.client_certificate)).collect();
            assert_eq!(flat, [("metrics", 80, false), ("main", 8001, true)]);
        }
        assert_eq!(find(&pod(&http(), &Value::Null, &json!({INGRESS_ANNOTATION: ""})), &services).unwrap().ingress, []);
        for bad in [
            "main",
            "main#0#true",
            "main#99999#true",
            "main#80",
            "main#80#maybe",
            "#80#true",
            "a#1#true##a#2#true",
            "a#1#true##b#1#true",
        ] {
            let error = find(&pod(&http(), &Value::Null, &json!({INGRESS_ANNOTATION: bad})), &services).unwrap_err();
            assert!(error.path.contains(INGRESS_ANNOTATION) && error.hint.is_some(), "{bad}: {error:?}");
        }
    }

    #[test]
    fn probes_pass_through_the_mesh() {
        let probed = |probe: Value, client_certificate: bool| {
            let mut pod = pod(&http(), &probe, &Value::Null);
            let ingress = vec![Ingress { name: "http".into(), port: 8080, client_certificate }];
            let mut ports = Ports { ingress, ..Ports::default() };
            rewrite_probes(&mut pod, &mut ports).unwrap();
            let once = pod.clone();
            rewrite_probes(&mut pod, &mut ports).unwrap();
            assert_eq!(pod, once);
            assert_eq!(ports.open, [0; 0]);
            let flat: Vec<_> = ports.ingress.iter().map(|i| (i.port, i.client_certificate)).collect();
            (pod["spec"]["containers"][0]["readinessProbe"].clone(), flat)
        };
        let get = |port: Value| json!({"httpGet": {"path": "/", "port": port}, "periodSeconds": 1});
        assert_eq!(
            probed(get(json!("http")), false).0,
            json!({"httpGet": {"path": "/", "port": "http", "scheme": "HTTPS"}, "periodSeconds": 1})
        );
        assert_eq!(probed(get(json!(8080)), true).0, json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1}));
        assert_eq!(probed(json!({"grpc": {"port": 8080}}), false).0, json!({"tcpSocket": {"port": 8080}}));
        assert_eq!(probed(json!({"tcpSocket": {"port": 8080}}), true).0, json!({"tcpSocket": {"port": 8080}}));
        // A port that only probes lead to ends TLS, too.
        let https = json!({"httpGet": {"path": "/", "port": 9000, "scheme": "HTTPS"}, "periodSeconds": 1});
        assert_eq!(probed(get(json!(9000)), true), (https, vec![(8080, true), (9000, false)]));
        let tcp = json!({"tcpSocket": {"port": 9000}});
        assert_eq!(probed(tcp.clone(), true), (tcp, vec![(8080, true), (9000, false)]));
    }

    #[test]
    fn only_the_annotation_opens_a_port_without_tls() {
        let probe = json!({"httpGet": {"path": "/", "port": 9102}});
        let services = service(&json!({"app": "a"}), &json!([{"port": 8080}, {"port": 9103}]));
        let mut open = pod(&http(), &probe, &json!({OPEN_PORTS_ANNOTATION: "9103, 9102"}));
        let mut ports = find(&open, &services).unwrap();
        rewrite_probes(&mut open, &mut ports).unwrap();
        assert_eq!(open["spec"]["containers"][0]["readinessProbe"], probe);
        assert_eq!(ports.open, [9102, 9103]);
        assert_eq!(ports.ingress.iter().map(|ingress| ingress.port).collect::<Vec<_>>(), [8080]);
        let said =
            |port: &str| ports.notices.iter().any(|notice| notice.contains(port) && notice.contains("without TLS"));
        assert!(said("9102") && said("9103"), "{:?}", ports.notices);
        for bad in [json!(""), json!("0"), json!("x"), json!("70000"), json!("1,"), json!("1,1"), json!(9102)] {
            let error = find(&pod(&http(), &probe, &json!({OPEN_PORTS_ANNOTATION: bad})), &services).unwrap_err();
            assert!(error.path.ends_with(OPEN_PORTS_ANNOTATION), "{bad}: {error:?}");
        }
        let both = json!({OPEN_PORTS_ANNOTATION: "80", INGRESS_ANNOTATION: "web#80#true"});
        assert!(find(&pod(&http(), &probe, &both), &services).unwrap_err().reason.contains("port 80 is in"));
    }

    #[test]
    fn hooks_reach_ports_as_probes_do_and_commands_reach_none() {
        let hooked = |hook: &Value, client_certificate: bool| {
            let mut pod = pod(&http(), &Value::Null, &Value::Null);
            pod["spec"]["containers"][0]["lifecycle"] = json!({ "preStop": hook });
            let ingress = vec![Ingress { name: "http".into(), port: 8080, client_certificate }];
            let mut ports = Ports { ingress, ..Ports::default() };
            rewrite_probes(&mut pod, &mut ports)
                .map(|()| (pod["spec"]["containers"][0]["lifecycle"]["preStop"].clone(), ports.ingress.len()))
        };
        let get = |port: u16| json!({"httpGet": {"path": "/drain", "port": port}});
        let https = |port: u16| json!({"httpGet": {"path": "/drain", "port": port, "scheme": "HTTPS"}});
        assert_eq!(hooked(&get(8080), false), Ok((https(8080), 1)));
        assert_eq!(hooked(&get(9000), false), Ok((https(9000), 2)));
        for hook in [json!({"exec": {"command": ["true"]}}), json!({"sleep": {"seconds": 5}})] {
            assert_eq!(hooked(&hook, true), Ok((hook, 1)));
        }
        let error = hooked(&get(8080), true).unwrap_err();
        assert_eq!(error.path, "spec.containers.c.lifecycle.preStop");
        assert!(error.reason.contains("port 8080 wants a certificate"), "{error:?}");
        let mut exec = pod(&http(), &json!({"exec": {"command": ["true"]}}), &Value::Null);
        let before = exec.clone();
        rewrite_probes(&mut exec, &mut Ports::default()).unwrap();
        assert_eq!(exec, before);
        let mut bad = pod(&http(), &Value::Null, &Value::Null);
        bad["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"httpGet": {"port": "nothing"}}});
        let error = rewrite_probes(&mut bad, &mut Ports::default()).unwrap_err();
        assert!(error.path.ends_with("c.lifecycle.postStart.httpGet.port"), "{error:?}");
    }
}
