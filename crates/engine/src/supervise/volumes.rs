//! The files behind a container's mounts: what the kubelet writes on the node before the shim copies it into the guest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use policy::request::{FileVolume, PodInstance, VolumeKind, mount_volume, mounted_file, volume_kind};
use serde_json::{Value, json};

use crate::shim::Content;

use super::objects::Objects;

/// A volume that cannot be filled; the kubelet's words are `FailedMount`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum VolumeError {
    #[error("volume `{volume}`: {kind} `{name}` does not exist")]
    NoObject { volume: String, kind: &'static str, name: String },
    #[error("volume `{volume}`: `{name}` has no key `{key}`")]
    NoKey { volume: String, name: String, key: String },
    #[error("volume `{volume}`: {reason}")]
    Invalid { volume: String, reason: String },
}

/// Where Kubernetes mounts the token of a pod's service account, its namespace, and the API server's certificate.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// There is no API server; a program that reads its token finds out when it asks for one.
const NO_TOKEN: &str = "the-local-engine-has-no-api-server";

/// The default permission bits of the kubelet's files.
const MODE: u32 = 0o644;

/// What is behind each host-provided mount of a container, by destination.
pub(super) fn contents(
    pod: &Value,
    container: &Value,
    instance: &PodInstance,
    objects: &Objects,
    hosts: &[u8],
) -> Result<BTreeMap<String, Content>, VolumeError> {
    let mut contents = BTreeMap::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let Some(path) = mount["mountPath"].as_str() else { continue };
        // Requests name the path without a slash at its end.
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let Some(volume) = mount_volume(pod, container, path) else { continue };
        let Some(content) = volume_content(pod, volume, instance, objects)? else { continue };
        let content = match (content, mounted_file(container, path)) {
            (Content::Files(mut files), Some(file)) => {
                let (bytes, mode) = files.remove(file).ok_or_else(|| VolumeError::Invalid {
                    volume: volume["name"].as_str().unwrap_or_default().to_owned(),
                    reason: format!("there is no file `{file}` in it, as `subPath` says"),
                })?;
                Content::File(bytes, mode)
            }
            (content, _) => content,
        };
        contents.insert(path.to_owned(), content);
    }
    if pod["spec"]["automountServiceAccountToken"] == Value::Bool(true) {
        let files = [("ca.crt", String::new()), ("namespace", instance.namespace.clone()), ("token", NO_TOKEN.into())];
        let files = files.map(|(name, text)| (name.to_owned(), (text.into_bytes(), MODE)));
        contents.entry(SERVICE_ACCOUNT.into()).or_insert(Content::Files(files.into()));
    }
    let log = container["terminationMessagePath"].as_str().filter(|path| !path.is_empty());
    contents.insert(log.unwrap_or("/dev/termination-log").to_owned(), Content::File(Vec::new(), 0o666));
    contents.insert("/etc/hosts".into(), Content::File(hosts.to_vec(), MODE));
    contents.insert("/etc/hostname".into(), Content::File(format!("{}\n", instance.hostname).into_bytes(), MODE));
    contents.insert("/etc/resolv.conf".into(), Content::File(resolv_conf(instance), MODE));
    Ok(contents)
}

/// There is no name server: names are in `/etc/hosts`. The search list is what a cluster has.
pub(super) fn resolv_conf(instance: &PodInstance) -> Vec<u8> {
    format!("search {}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n", instance.namespace)
        .into_bytes()
}

/// `/etc/hosts` as the kubelet writes it, and every service under the names that a cluster's name server knows.
pub(super) fn hosts(pod: &Value, instance: &PodInstance, services: &[(String, String, Ipv4Addr)]) -> Vec<u8> {
    let mut text = String::from(
        "# Written by the local engine.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    let _ = writeln!(text, "{}\t{}", instance.pod_ip, instance.hostname);
    for (name, namespace, ip) in services {
        let _ = write!(text, "{ip}\t");
        if *namespace == instance.namespace {
            let _ = write!(text, "{name} ");
        }
        let _ = writeln!(text, "{name}.{namespace} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local");
    }
    for alias in pod["spec"]["hostAliases"].as_array().into_iter().flatten() {
        let names: Vec<_> = alias["hostnames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let _ = writeln!(text, "{}\t{}", alias["ip"].as_str().unwrap_or_default(), names.join(" "));
    }
    text.into_bytes()
}

/// Claims by volume: the directories of the host that a pod needs attached. An ephemeral volume is a claim of the pod.
pub(super) fn claims(pod: &Value) -> BTreeMap<String, String> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes
        .filter_map(|volume| {
            let name = volume["name"].as_str()?;
            let claim = match volume["persistentVolumeClaim"]["claimName"].as_str() {
                Some(claim) => claim.to_owned(),
                None if volume["ephemeral"].is_object() => {
                    format!("{}-{name}", pod["metadata"]["name"].as_str().unwrap_or_default())
                }
                None => return None,
            };
            Some((name.to_owned(), claim))
        })
        .collect()
}

/// The claims that a StatefulSet makes for a pod, as volumes of that pod.
pub(super) fn claim_templates(object: &Value, pod: &str) -> Vec<Value> {
    let templates = object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let names = templates.filter_map(|template| template["metadata"]["name"].as_str());
    names.map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{name}-{pod}")}})).collect()
}

fn volume_content(
    pod: &Value,
    volume: &Value,
    instance: &PodInstance,
    objects: &Objects,
) -> Result<Option<Content>, VolumeError> {
    let name = volume["name"].as_str().unwrap_or_default().to_owned();
    let kind = volume_kind(volume)
        .map_err(|error| VolumeError::Invalid { volume: name.clone(), reason: error.to_string() })?;
    let files = match kind {
        VolumeKind::Memory | VolumeKind::Directory => return Ok(None),
        VolumeKind::Claim => return Ok(Some(Content::Shared(name))),
        VolumeKind::Files(FileVolume::ConfigMap) => {
            let source = &volume["configMap"];
            object_files(&name, "ConfigMap", source, "name", &objects.config_maps, instance)?
        }
        VolumeKind::Files(FileVolume::Secret) => {
            let source = &volume["secret"];
            object_files(&name, "Secret", source, "secretName", &objects.secrets, instance)?
        }
        VolumeKind::Files(FileVolume::DownwardApi) => downward_files(&name, &volume["downwardAPI"], pod, instance)?,
        VolumeKind::Files(FileVolume::Projected | FileVolume::Live) => {
            projected_files(&name, &volume["projected"], pod, instance, objects)?
        }
    };
    Ok(Some(Content::Files(files)))
}

type Files = BTreeMap<String, (Vec<u8>, u32)>;

fn mode(value: &Value, default: u32) -> u32 {
    value.as_u64().and_then(|mode| u32::try_from(mode).ok()).map_or(default, |mode| mode & 0o777)
}

/// Of two files of one path the kubelet writes the later one.
fn projected_files(
    volume: &str,
    source: &Value,
    pod: &Value,
    instance: &PodInstance,
    objects: &Objects,
) -> Result<Files, VolumeError> {
    let mut files = Files::new();
    for one in source["sources"].as_array().into_iter().flatten() {
        // The volume's mode is that of all its sources.
        let with_mode = |part: &Value| {
            let mut part = part.clone();
            part["defaultMode"] = source["defaultMode"].clone();
            part
        };
        if one["configMap"].is_object() {
            let part = with_mode(&one["configMap"]);
            // The API server's own ConfigMap is in every namespace of a cluster, and here is no API server.
            let own = part["name"] == json!("kube-root-ca.crt");
            match object_files(volume, "ConfigMap", &part, "name", &objects.config_maps, instance) {
                Err(VolumeError::NoObject { .. }) if own => {
                    files.insert("ca.crt".into(), (Vec::new(), MODE));
                }
                found => files.extend(found?),
            }
        } else if one["secret"].is_object() {
            let part = with_mode(&one["secret"]);
            files.extend(object_files(volume, "Secret", &part, "name", &objects.secrets, instance)?);
        } else if one["downwardAPI"].is_object() {
            files.extend(downward_files(volume, &with_mode(&one["downwardAPI"]), pod, instance)?);
        } else if one["serviceAccountToken"].is_object() {
            let path = inside(volume, one["serviceAccountToken"]["path"].as_str().unwrap_or_default())?;
            files.insert(path, (NO_TOKEN.into(), mode(&source["defaultMode"], MODE)));
        }
    }
    Ok(files)
}

/// A path inside a volume must stay inside it.
fn inside(volume: &str, path: &str) -> Result<String, VolumeError> {
    if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.starts_with("..") {
        let reason = format!("`{path}` is not a path inside a volume");
        return Err(VolumeError::Invalid { volume: volume.to_owned(), reason });
    }
    Ok(path.to_owned())
}

fn object_files(
    volume: &str,
    kind: &'static str,
    source: &Value,
    field: &str,
    objects: &BTreeMap<(String, String), Value>,
    instance: &PodInstance,
) -> Result<Files, VolumeError> {
    let name = source[field].as_str().unwrap_or_default().to_owned();
    let optional = source["optional"] == Value::Bool(true);
    let Some(object) = objects.get(&(instance.namespace.clone(), name.clone())) else {
        let missing = VolumeError::NoObject { volume: volume.to_owned(), kind, name };
        return if optional { Ok(Files::new()) } else { Err(missing) };
    };
    let data = object_data(volume, kind, object)?;
    let default = mode(&source["defaultMode"], MODE);
    let Some(items) = source["items"].as_array() else {
        return Ok(data.into_iter().map(|(key, bytes)| (key, (bytes, default))).collect());
    };
    let mut files = Files::new();
    for item in items {
        let key = item["key"].as_str().unwrap_or_default();
        match data.get(key) {
            Some(bytes) => {
                let path = inside(volume, item["path"].as_str().unwrap_or(key))?;
                files.insert(path, (bytes.clone(), mode(&item["mode"], default)));
            }
            None if optional => {}
            None => return Err(VolumeError::NoKey { volume: volume.to_owned(), name, key: key.to_owned() }),
        }
    }
    Ok(files)
}

/// The entries of a ConfigMap or Secret as bytes.
fn object_data(volume: &str, kind: &str, object: &Value) -> Result<BTreeMap<String, Vec<u8>>, VolumeError> {
    let (plain, encoded) = if kind == "Secret" { ("stringData", "data") } else { ("data", "binaryData") };
    let invalid = |key: &str, reason: &str| VolumeError::Invalid {
        volume: volume.to_owned(),
        reason: format!("{kind} key `{key}` {reason}"),
    };
    let mut data = BTreeMap::new();
    for (key, value) in object[encoded].as_object().into_iter().flatten() {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text.trim()).ok());
        data.insert(inside(volume, key)?, bytes.ok_or_else(|| invalid(key, "is not base64"))?);
    }
    for (key, value) in object[plain].as_object().into_iter().flatten() {
        let text = value.as_str().ok_or_else(|| invalid(key, "is not a text"))?;
        data.insert(inside(volume, key)?, text.as_bytes().to_vec());
    }
    Ok(data)
}

fn downward_files(volume: &str, source: &Value, pod: &Value, instance: &PodInstance) -> Result<Files, VolumeError> {
    let default = mode(&source["defaultMode"], MODE);
    let mut files = Files::new();
    for item in source["items"].as_array().into_iter().flatten() {
        let path = inside(volume, item["path"].as_str().unwrap_or_default())?;
        let field = item["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
        let value = pod_field(field, pod, instance).ok_or_else(|| VolumeError::Invalid {
            volume: volume.to_owned(),
            reason: format!("field `{field}` is not known"),
        })?;
        files.insert(path, (value.into_bytes(), mode(&item["mode"], default)));
    }
    Ok(files)
}

fn pod_field(field: &str, pod: &Value, instance: &PodInstance) -> Option<String> {
    let metadata = &pod["metadata"];
    let of_map = |map: &str| {
        let key = field.strip_prefix(&format!("metadata.{map}['"))?.strip_suffix("']")?;
        // An annotation that is not there is an empty file, as in Kubernetes.
        Some(metadata[map][key].as_str().unwrap_or_default().to_owned())
    };
    match field {
        "metadata.name" => Some(instance.name.clone()),
        "metadata.namespace" => Some(instance.namespace.clone()),
        "metadata.uid" => Some(instance.uid.clone()),
        "metadata.labels" => Some(lines(&metadata["labels"])),
        "metadata.annotations" => Some(lines(&metadata["annotations"])),
        _ => of_map("annotations").or_else(|| of_map("labels")),
    }
}

/// Kubernetes writes maps as sorted lines with quoted values.
fn lines(map: &Value) -> String {
    let sorted: BTreeMap<_, _> = map.as_object().into_iter().flatten().collect();
    let lines: Vec<_> =
        sorted.into_iter().map(|(key, value)| format!("{key}={:?}", value.as_str().unwrap_or_default())).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Objects {
        let config = json!({"data": {"a.txt": "A", "b.txt": "B"}, "binaryData": {"c.bin": "AAE="}});
        let secret = json!({"data": {"key": "c2VjcmV0"}, "stringData": {"more": "plain"}});
        Objects {
            config_maps: BTreeMap::from([(("default".into(), "config".into()), config)]),
            secrets: BTreeMap::from([(("default".into(), "secret".into()), secret)]),
            ..Objects::default()
        }
    }

    fn instance() -> PodInstance {
        PodInstance {
            name: "web-0".into(),
            namespace: "default".into(),
            uid: "u".into(),
            hostname: "web-0".into(),
            pod_ip: "10.89.0.2".into(),
            ..PodInstance::default()
        }
    }

    fn content(volume: Value) -> Result<Content, VolumeError> {
        let mut volume = volume;
        volume["name"] = json!("v");
        let pod = json!({
            "metadata": {"labels": {"app": "web"}, "annotations": {"x": "a\"b"}},
            "spec": {"volumes": [volume]}
        });
        let container = json!({"volumeMounts": [{"name": "v", "mountPath": "/data/"}]});
        contents(&pod, &container, &instance(), &objects(), b"").map(|mut all| all.remove("/data").unwrap())
    }

    fn files(volume: Value) -> Vec<(String, String, u32)> {
        let Content::Files(files) = content(volume).unwrap() else { panic!("not files") };
        files
            .into_iter()
            .map(|(path, (bytes, mode))| (path, String::from_utf8_lossy(&bytes).into_owned(), mode))
            .collect()
    }

    #[test]
    fn config_maps_and_secrets_become_files() {
        let all = files(json!({"configMap": {"name": "config"}}));
        assert_eq!(all[0], ("a.txt".into(), "A".into(), 0o644));
        assert_eq!(all[2].1, "\0\u{1}");
        let some =
            files(json!({"configMap": {"name": "config", "items": [{"key": "b.txt", "path": "x/y", "mode": 256}]}}));
        assert_eq!(some, [("x/y".into(), "B".into(), 0o400)]);
        let secret = files(json!({"secret": {"secretName": "secret", "defaultMode": 384}}));
        assert_eq!(secret, [("key".into(), "secret".into(), 0o600), ("more".into(), "plain".into(), 0o600)]);
    }

    #[test]
    fn the_downward_api_gives_the_exact_text() {
        let volume = json!({"downwardAPI": {"items": [
            {"path": "one", "fieldRef": {"fieldPath": "metadata.annotations['x']"}},
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
        ]}});
        let files = files(volume);
        assert_eq!(files[0], ("labels".into(), "app=\"web\"".into(), 0o644));
        assert_eq!(files[1], ("name".into(), "web-0".into(), 0o644));
        assert_eq!(files[2], ("one".into(), "a\"b".into(), 0o644));
    }

    #[test]
    fn what_is_missing_is_named() {
        let cases = [
            (json!({"configMap": {"name": "none"}}), "ConfigMap `none` does not exist"),
            (json!({"secret": {"secretName": "none"}}), "Secret `none` does not exist"),
            (json!({"configMap": {"name": "config", "items": [{"key": "z", "path": "z"}]}}), "has no key `z`"),
            (
                json!({"configMap": {"name": "config", "items": [{"key": "a.txt", "path": "../z"}]}}),
                "not a path inside",
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "spec.x"}}]}}),
                "`spec.x` is not known",
            ),
        ];
        for (volume, reason) in cases {
            let error = content(volume).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert_eq!(content(json!({"configMap": {"name": "none", "optional": true}})), Ok(Content::Files(Files::new())));
    }

    #[test]
    fn a_projected_volume_holds_the_files_of_all_its_sources() {
        let volume = json!({"projected": {"defaultMode": 256, "sources": [
            {"configMap": {"name": "config", "items": [{"key": "a.txt", "path": "a"}, {"key": "b.txt", "path": "b"}]}},
            {"secret": {"name": "secret", "items": [{"key": "more", "path": "b", "mode": 292}]}},
        ]}});
        assert_eq!(files(volume), [("a".into(), "A".into(), 0o400), ("b".into(), "plain".into(), 0o444)]);
        let token = json!({"projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "audience": "vault"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]}});
        let names: Vec<_> = files(token).into_iter().map(|(name, text, _)| (name, text)).collect();
        assert_eq!(names[1..], [("ns".into(), "default".into()), ("token".into(), NO_TOKEN.to_owned())]);
        for (source, reason) in [
            (json!({"secret": {"name": "none"}}), "Secret `none` does not exist"),
            (json!({"configMap": {"name": "config", "items": [{"key": "z", "path": "z"}]}}), "has no key `z`"),
            (json!({"serviceAccountToken": {"path": "../t"}}), "not a path inside"),
        ] {
            let error = content(json!({"projected": {"sources": [source]}})).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_single_file_is_a_file_and_no_volume() {
        let pod = json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "config", "defaultMode": 288}}]}});
        let of = |file: &str| {
            let container = json!({"volumeMounts": [{"name": "v", "mountPath": "/etc/a.conf", "subPath": file}]});
            contents(&pod, &container, &instance(), &objects(), b"").map(|mut all| all.remove("/etc/a.conf").unwrap())
        };
        assert_eq!(of("a.txt"), Ok(Content::File(b"A".to_vec(), 0o440)));
        assert!(of("none").unwrap_err().to_string().contains("no file `none`"));
    }

    #[test]
    fn claims_of_a_pod_have_names_of_their_own() {
        let pod = json!({"metadata": {"name": "db-0"}, "spec": {"volumes": [
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}, {"name": "x", "emptyDir": {}},
        ]}});
        assert_eq!(claims(&pod), BTreeMap::from([("scratch".into(), "db-0-scratch".into())]));
        let set = json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}, {}]}});
        let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}});
        assert_eq!(claim_templates(&set, "db-0"), [volume]);
    }

    #[test]
    fn a_claim_is_attached_and_not_copied() {
        assert_eq!(content(json!({"persistentVolumeClaim": {"claimName": "c"}})), Ok(Content::Shared("v".into())));
        let pod = json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
        assert_eq!(claims(&pod), BTreeMap::from([("v".into(), "c".into())]));
    }

    #[test]
    fn services_are_in_the_hosts_file_under_their_cluster_names() {
        let services = [
            ("inference".into(), "default".into(), Ipv4Addr::new(10, 89, 0, 130)),
            ("far".into(), "other".into(), Ipv4Addr::new(10, 89, 0, 131)),
        ];
        let pod = json!({"spec": {"hostAliases": [{"ip": "10.0.0.9", "hostnames": ["a", "b"]}]}});
        let text = String::from_utf8(hosts(&pod, &instance(), &services)).unwrap();
        assert!(text.contains("10.89.0.2\tweb-0\n"));
        let names =
            "10.89.0.130\tinference inference.default inference.default.svc inference.default.svc.cluster.local\n";
        assert!(text.contains(names));
        assert!(text.contains("10.89.0.131\tfar.other far.other.svc"));
        assert!(text.contains("10.0.0.9\ta b\n"));
    }
}
