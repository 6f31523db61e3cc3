//! Which remotes the mesh connects to for a pod's programs, by the annotation that Contrast has too.
//!
//! The annotation names a host, and hosts are found through the adversary's resolver. What an entry demands of the
//! remote's certificate is therefore decided here and bound by the pod's identity: see [`certificate_name`].

use std::net::{IpAddr, SocketAddr};

use protocol::initdata::{Egress, MAX_EGRESS};
use protocol::manifest::is_dns_name;
use serde_json::{Value, json};

use super::error::Fault;
use super::ingress::Ports;
use super::inject::MESH;

/// `name#listen-address:port#host:port##…`, as Contrast writes it.
pub const EGRESS_ANNOTATION: &str = "casemate.dev/servicemesh-egress";
const CONTRAST_EGRESS: &str = "contrast.edgeless.systems/servicemesh-egress";

/// Ports that belong to the pod itself, at whatever address.
const OWN_PORTS: [(u16, &str); 3] =
    [(8006, "the attestation agent"), (15006, "the mesh proxy"), (15007, "the mesh proxy")];
/// LIMIT: a name stands in every log line about its connections.
const MAX_NAME: usize = 63;
/// Ports below this one take a capability to listen at.
const FIRST_FREE_PORT: u16 = 1024;

const GRAMMAR: &str = "write `name#127.0.0.2:4001#host:4001##name#127.0.0.3:4001#host:4001`";

/// What is wrong, and what to do about it.
type Refusal = (String, &'static str);

/// The egress of a pod, which `ports` go beside.
pub(super) fn find(pod: &Value, ports: &Ports) -> Result<Vec<Egress>, Fault> {
    let Some((path, text)) = written(pod)? else { return Ok(vec![]) };
    let entries = parse(text).and_then(|entries| {
        entries.iter().try_for_each(|egress| check_port(egress.listen.port(), pod, ports))?;
        Ok(entries)
    });
    entries.map_err(|(reason, hint)| Fault { path, reason, hint: Some(hint.to_owned()) })
}

/// Refuses egress in a pod that has no mesh: its programs would find nobody where they connect to.
pub(super) fn refuse_any(pod: &Value) -> Result<(), Fault> {
    match written(pod)? {
        None => Ok(()),
        Some((path, _)) => Err(Fault {
            path,
            reason: "egress through the mesh, in a pod that has none".into(),
            hint: Some("take it out, or let `generate` inject initializer and mesh".into()),
        }),
    }
}

/// What users should know about the egress of their pod.
pub(super) fn notices(egress: &[Egress]) -> impl Iterator<Item = String> {
    egress.iter().map(|egress| {
        let Egress { name, listen, host, port, certificate_name } = egress;
        format!(
            "egress `{name}`: what programs send to {listen} goes to `{host}:{port}`, once a certificate of the mesh for \
             `{certificate_name}` is shown there"
        )
    })
}

/// Lets the mesh listen at low ports, where there are some. It gives the capability up with all others.
pub(super) fn let_listen(pod: &mut Value, egress: &[Egress]) {
    if egress.iter().all(|egress| egress.listen.port() >= FIRST_FREE_PORT) {
        return;
    }
    let containers = pod.pointer_mut("/spec/initContainers").and_then(Value::as_array_mut);
    let mut meshes = containers.into_iter().flatten().filter(|container| container["name"] == MESH);
    let add = meshes.next().and_then(|mesh| mesh.pointer_mut("/securityContext/capabilities/add"));
    if let Some(add) = add.and_then(Value::as_array_mut) {
        // In the order of the alphabet, like the rest.
        add.insert(1.min(add.len()), json!("NET_BIND_SERVICE"));
    }
}

/// The annotation, where it says something. Both may be there with one text, as in resources for either product.
fn written(pod: &Value) -> Result<Option<(String, &str)>, Fault> {
    let mut found: Option<(String, &str)> = None;
    for key in [EGRESS_ANNOTATION, CONTRAST_EGRESS] {
        let path = format!("metadata.annotations.{key}");
        let text = match &pod["metadata"]["annotations"][key] {
            Value::Null => continue,
            Value::String(text) => text.trim(),
            _ => return Err(Fault { path, reason: "not a string".into(), hint: Some(GRAMMAR.into()) }),
        };
        if let Some((_, other)) = &found
            && *other != text
        {
            let reason = format!("says something else than `{EGRESS_ANNOTATION}`");
            return Err(Fault { path, reason, hint: Some("keep one of the two".into()) });
        }
        found.get_or_insert((path, text));
    }
    Ok(found.filter(|(_, text)| !text.is_empty()))
}

fn parse(text: &str) -> Result<Vec<Egress>, Refusal> {
    let mut all: Vec<Egress> = Vec::new();
    for part in text.split("##") {
        if all.len() == MAX_EGRESS {
            return Err((format!("more than {MAX_EGRESS} entries"), "make more pods of it"));
        }
        let fields: Vec<_> = part.split('#').collect();
        let [name, listen, remote] = fields.as_slice() else {
            return Err((format!("`{part}` is not `name#listen-address:port#host:port`"), GRAMMAR));
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_name) {
            let hint = "a name is of letters, digits, `-`, `_` and `.`, and 63 characters at most";
            return Err((format!("`{part}`: `{name}` is no name"), hint));
        }
        let listen = listening(listen)?;
        let (host, port) = remote_of(remote)?;
        if all.iter().any(|known| known.name == *name) {
            return Err((format!("the name `{name}` is there twice"), "each entry has a name of its own"));
        }
        if all.iter().any(|known| known.listen == listen) {
            let hint = "each remote has an address of its own: 127.0.0.2, 127.0.0.3 and so on";
            return Err((format!("{listen} is there twice"), hint));
        }
        let certificate_name = certificate_name(host).to_owned();
        all.push(Egress { name: (*name).to_owned(), listen, host: host.to_owned(), port, certificate_name });
    }
    Ok(all)
}

/// Where programs connect to. Only the loopback interface is the pod's own.
fn listening(text: &str) -> Result<SocketAddr, Refusal> {
    const HINT: &str = "programs connect to an address that only the pod has: write `127.0.0.2:4001`, or `[::1]:4001`";
    let address: SocketAddr = text.parse().map_err(|_| (format!("`{text}` is not an address and a port"), HINT))?;
    if !address.ip().is_loopback() {
        return Err((
            format!("`{text}` is neither in 127.0.0.0/8 nor `[::1]`: others than the pod could reach it"),
            HINT,
        ));
    }
    if address.port() == 0 {
        return Err((format!("`{text}`: 0 is no port"), HINT));
    }
    // Without the scope that IPv6 addresses may be written with.
    Ok(SocketAddr::new(address.ip(), address.port()))
}

fn remote_of(text: &str) -> Result<(&str, u16), Refusal> {
    const HINT: &str =
        "write the name of a Service, or another DNS name that certificates of the remote carry, and its port";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| (format!("`{text}` has no port"), HINT))?;
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| (format!("`{text}`: `{port}` is not a port"), HINT))?;
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        let reason =
            format!("`{text}`: certificates of the mesh carry names and no addresses, so nobody could be told");
        return Err((reason, HINT));
    }
    if !is_dns_name(host) {
        return Err((format!("`{text}`: `{host}` is no DNS name in lower case"), HINT));
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return Err((format!("`{text}` leads back into this pod"), "let the program connect there itself"));
    }
    Ok((host, port))
}

/// The name that the remote's certificate must carry.
///
/// Certificates carry the names of a workload and of its Services, without a namespace, and those that
/// `casemate.dev/names` adds. So a name of the cluster's DNS (`service`, `service.namespace`, `service.namespace.svc` and
/// what follows, `pod.service.namespace.svc`) demands the Service's, and any other name demands itself.
fn certificate_name(host: &str) -> &str {
    let labels: Vec<_> = host.split('.').collect();
    match labels.iter().skip(2).position(|label| *label == "svc") {
        Some(namespaces) => labels.get(namespaces).copied().unwrap_or(host),
        None if labels.len() <= 2 => labels.first().copied().unwrap_or(host),
        None => host,
    }
}

fn check_port(port: u16, pod: &Value, ports: &Ports) -> Result<(), Refusal> {
    const HINT: &str = "choose another port, and let the program connect to that one";
    if let Some((_, owner)) = OWN_PORTS.iter().find(|(own, _)| *own == port) {
        return Err((format!("port {port} belongs to {owner}"), HINT));
    }
    if ports.open.contains(&port) || ports.ingress.iter().any(|ingress| ingress.port == port) {
        return Err((format!("port {port} is one on which the pod is called"), HINT));
    }
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let mut declared = container["ports"].as_array().into_iter().flatten();
            let tcp = |declared: &Value| declared["protocol"].as_str().is_none_or(|protocol| protocol == "TCP");
            if declared.any(|declared| declared["containerPort"] == port && tcp(declared)) {
                let name = container["name"].as_str().unwrap_or_default();
                return Err((format!("port {port} is one of container `{name}`"), HINT));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::initdata::Ingress;

    use super::*;

    fn pod(annotations: &Value) -> Value {
        let ports = json!([{"containerPort": 8080}, {"containerPort": 5353, "protocol": "UDP"}]);
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": [{"name": "c", "ports": ports}]}})
    }

    fn found(text: &str) -> Result<Vec<Egress>, Fault> {
        find(&pod(&json!({EGRESS_ANNOTATION: text})), &Ports::default())
    }

    #[test]
    fn each_entry_is_where_it_listens_where_it_leads_and_whose_certificate_it_wants() {
        let text =
            "backend#127.0.0.2:4001#backend.default:4001##db#127.137.0.1:5432#db:5432##v6#[::1]:5353#api.x.svc:1";
        let flat: Vec<_> = found(text)
            .unwrap()
            .into_iter()
            .map(|e| format!("{} {} {} {} {}", e.name, e.listen, e.host, e.port, e.certificate_name))
            .collect();
        assert_eq!(
            flat,
            [
                "backend 127.0.0.2:4001 backend.default 4001 backend",
                "db 127.137.0.1:5432 db 5432 db",
                "v6 [::1]:5353 api.x.svc 1 api",
            ]
        );
        // One port at two addresses is two listeners.
        assert_eq!(found("a#127.0.0.2:80#a:1##b#127.0.0.3:80#b:1").unwrap().len(), 2);
    }

    #[test]
    fn names_of_the_cluster_demand_the_name_of_the_service() {
        for (host, name) in [
            ("backend", "backend"),
            ("backend.default", "backend"),
            ("backend.default.svc", "backend"),
            ("backend.default.svc.cluster.local", "backend"),
            ("backend.default.svc.other.domain", "backend"),
            ("db-0.db.default.svc", "db"),
            ("db-0.db.default.svc.cluster.local", "db"),
            ("svc.svc.svc", "svc"),
            ("svc.default", "svc"),
            ("api.example.com", "api.example.com"),
            ("svc.example.com", "svc.example.com"),
            ("a.svc.example.com", "a.svc.example.com"),
        ] {
            assert_eq!(certificate_name(host), name, "{host}");
        }
    }

    #[test]
    fn both_annotations_are_one_and_empty_ones_are_none() {
        let both = |ours: &Value, contrast: &Value| {
            find(&pod(&json!({EGRESS_ANNOTATION: ours, CONTRAST_EGRESS: contrast})), &Ports::default())
        };
        let text = json!("a#127.0.0.2:4001#b:1");
        assert_eq!(both(&text, &Value::Null).unwrap(), both(&Value::Null, &text).unwrap());
        assert_eq!(both(&text, &text).unwrap().len(), 1);
        assert_eq!(both(&json!(""), &json!("")).unwrap(), []);
        assert_eq!(both(&Value::Null, &Value::Null).unwrap(), []);
        for (ours, contrast) in [(&text, &json!("a#127.0.0.2:4001#c:1")), (&text, &json!("")), (&json!(""), &text)] {
            let fault = both(ours, contrast).unwrap_err();
            assert!(fault.path.ends_with(CONTRAST_EGRESS) && fault.reason.contains("something else"), "{fault:?}");
        }
        let fault = both(&json!(7), &Value::Null).unwrap_err();
        assert!(fault.path.ends_with(EGRESS_ANNOTATION) && fault.reason == "not a string", "{fault:?}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, reason) in [
            ("a", "`a` is not `name#listen-address:port#host:port`"),
            ("a#127.0.0.2:1", "`a#127.0.0.2:1` is not `name"),
            ("a#127.0.0.2:1#b:1#true", "is not `name"),
            ("a#127.0.0.2:1#b:1##", "`` is not `name"),
            ("a#127.0.0.2:1#b:1#", "is not `name"),
            ("DISABLED", "`DISABLED` is not `name"),
            ("#127.0.0.2:1#b:1", "`` is no name"),
            ("a b#127.0.0.2:1#b:1", "`a b` is no name"),
            ("a\u{1b}#127.0.0.2:1#b:1", "is no name"),
            ("a#127.0.0.2#b:1", "`127.0.0.2` is not an address and a port"),
            ("a#4001#b:1", "`4001` is not an address and a port"),
            ("a#localhost:4001#b:1", "`localhost:4001` is not an address and a port"),
            ("a# 127.0.0.2:1#b:1", "is not an address and a port"),
            ("a#127.0.0.2:65536#b:1", "is not an address and a port"),
            ("a#127.0.0.2:-1#b:1", "is not an address and a port"),
            ("a#::1:4001#b:1", "`::1:4001` is not an address and a port"),
            ("a#127.0.0.2:0#b:1", "0 is no port"),
            ("a#0.0.0.0:4001#b:1", "is neither in 127.0.0.0/8 nor"),
            ("a#10.0.0.1:4001#b:1", "is neither in 127.0.0.0/8 nor"),
            ("a#[::]:4001#b:1", "is neither in 127.0.0.0/8 nor"),
            ("a#[::ffff:127.0.0.1]:4001#b:1", "is neither in 127.0.0.0/8 nor"),
            ("a#127.0.0.2:8006#b:1", "port 8006 belongs to the attestation agent"),
            ("a#127.0.0.2:15006#b:1", "port 15006 belongs to the mesh proxy"),
            ("a#[::1]:15007#b:1", "port 15007 belongs to the mesh proxy"),
            ("a#127.0.0.2:8080#b:1", "port 8080 is one of container `c`"),
            ("a#127.0.0.2:4001#b", "`b` has no port"),
            ("a#127.0.0.2:4001#b:", "`b:`: `` is not a port"),
            ("a#127.0.0.2:4001#b:0", "`b:0`: `0` is not a port"),
            ("a#127.0.0.2:4001#b:http", "`http` is not a port"),
            ("a#127.0.0.2:4001#:1", "`` is no DNS name"),
            ("a#127.0.0.2:4001#B:1", "`B` is no DNS name in lower case"),
            ("a#127.0.0.2:4001#b_c:1", "`b_c` is no DNS name"),
            ("a#127.0.0.2:4001#b.:1", "`b.` is no DNS name"),
            ("a#127.0.0.2:4001#*.b:1", "`*.b` is no DNS name"),
            ("a#127.0.0.2:4001#http://b:1", "`http://b` is no DNS name"),
            ("a#127.0.0.2:4001#10.0.0.1:1", "certificates of the mesh carry names and no addresses"),
            ("a#127.0.0.2:4001#[fd00::1]:1", "certificates of the mesh carry names and no addresses"),
            ("a#127.0.0.2:4001#localhost:1", "leads back into this pod"),
            ("a#127.0.0.2:1#b:1##a#127.0.0.3:1#b:1", "the name `a` is there twice"),
            ("a#127.0.0.2:1#b:1##b#127.0.0.2:1#c:1", "127.0.0.2:1 is there twice"),
            ("a#[::1]:1#b:1##b#[::1]:1#c:1", "[::1]:1 is there twice"),
        ] {
            let fault = found(text).expect_err(text);
            assert!(fault.reason.contains(reason) && fault.hint.is_some(), "{text}: {fault:?}");
            assert!(fault.path.ends_with(EGRESS_ANNOTATION), "{fault:?}");
        }
        let many = |count: usize| {
            let each = (0..count).map(|index| format!("n{index}#127.0.0.2:{}#b:1", 2000 + index));
            found(&each.collect::<Vec<_>>().join("##"))
        };
        assert_eq!(many(MAX_EGRESS).unwrap().len(), MAX_EGRESS);
        assert_eq!(many(MAX_EGRESS + 1).unwrap_err().reason, "more than 64 entries");
    }

    #[test]
    fn ports_on_which_the_pod_is_called_are_refused() {
        let called = pod(&json!({EGRESS_ANNOTATION: "a#127.0.0.2:9000#b:1"}));
        let ingress = Ports {
            ingress: vec![Ingress { name: "x".into(), port: 9000, client_certificate: true }],
            ..Ports::default()
        };
        for ports in [ingress, Ports { open: vec![9000], ..Ports::default() }] {
            let fault = find(&called, &ports).unwrap_err();
            assert!(fault.reason.contains("port 9000 is one on which the pod is called"), "{fault:?}");
        }
    }

    #[test]
    fn a_pod_without_a_mesh_has_no_egress() {
        let fault = refuse_any(&pod(&json!({CONTRAST_EGRESS: "a#127.0.0.2:1#b:1"}))).unwrap_err();
        assert!(fault.path.ends_with(CONTRAST_EGRESS) && fault.reason.contains("in a pod that has none"), "{fault:?}");
        assert_eq!(refuse_any(&pod(&json!({CONTRAST_EGRESS: ""}))), Ok(()));
        assert_eq!(refuse_any(&pod(&Value::Null)), Ok(()));
    }

    #[test]
    fn low_ports_take_a_capability() {
        let mesh = json!({"spec": {"initContainers": [
            {"name": "casemate-initializer", "securityContext": {"capabilities": {"add": ["CHOWN"]}}},
            {"name": MESH, "securityContext": {"capabilities": {"add": ["NET_ADMIN", "SETGID"]}}},
        ]}});
        for (port, expected) in
            [(1024, json!(["NET_ADMIN", "SETGID"])), (1023, json!(["NET_ADMIN", "NET_BIND_SERVICE", "SETGID"]))]
        {
            let mut pod = mesh.clone();
            let_listen(&mut pod, &found(&format!("a#127.0.0.2:{port}#b:1")).unwrap());
            assert_eq!(pod["spec"]["initContainers"][1]["securityContext"]["capabilities"]["add"], expected);
            assert_eq!(pod["spec"]["initContainers"][0], mesh["spec"]["initContainers"][0]);
        }
    }
}
