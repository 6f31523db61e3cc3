//! The files of ConfigMap and Secret volumes, as the kubelet will write them: their digests go into the initdata.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::Digest;
use serde_json::{Value, json};

use crate::request::{FileVolume, VolumeKind, volume_kind};

/// Why the files of a volume cannot be known.
#[derive(Debug, PartialEq)]
pub(super) struct FilesError {
    pub(super) path: String,
    pub(super) reason: String,
}

/// Digests of the files of each volume named in `volumes`.
pub(super) fn digests(
    pod: &Value,
    volumes: &[String],
    config_maps: &BTreeMap<String, Value>,
    secrets: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, BTreeMap<String, Digest>>, FilesError> {
    let mut all = BTreeMap::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        if !volumes.iter().any(|wanted| wanted == name) {
            continue;
        }
        let path = format!("spec.volumes.{name}");
        let (source, key, objects, kind) = match volume_kind(volume) {
            Ok(VolumeKind::Files(FileVolume::ConfigMap)) => (&volume["configMap"], "name", config_maps, "ConfigMap"),
            Ok(VolumeKind::Files(FileVolume::Secret)) => (&volume["secret"], "secretName", secrets, "Secret"),
            _ => continue,
        };
        all.insert(name.to_owned(), volume_digests(source, key, objects, kind, &path)?);
    }
    Ok(all)
}

fn volume_digests(
    source: &Value,
    key: &str,
    objects: &BTreeMap<String, Value>,
    kind: &str,
    path: &str,
) -> Result<BTreeMap<String, Digest>, FilesError> {
    let error = |reason: String| FilesError { path: path.to_owned(), reason };
    let refuse = |reason: String| Err(error(reason));
    let optional = source["optional"] == json!(true);
    let name = source[key].as_str().unwrap_or_default();
    let Some(object) = objects.get(name) else {
        if optional {
            return Ok(BTreeMap::new());
        }
        return refuse(format!("{kind} `{name}` is not among the inputs, so its files cannot be bound"));
    };
    let content = content(object).map_err(|key| error(format!("{kind} `{name}`: `{key}` is not valid")))?;
    let Some(items) = source["items"].as_array() else {
        return Ok(content.iter().map(|(file, bytes)| (file.clone(), Digest::of(bytes))).collect());
    };
    let mut files = BTreeMap::new();
    for item in items {
        let (key, file) = (item["key"].as_str().unwrap_or_default(), item["path"].as_str().unwrap_or_default());
        let bad = |part: &str| ["", ".", ".."].contains(&part);
        if file.split('/').any(bad) {
            return refuse(format!("`{file}` is not a path inside the volume"));
        }
        match content.get(key) {
            Some(bytes) => drop(files.insert(file.to_owned(), Digest::of(bytes))),
            None if optional => {}
            None => return refuse(format!("{kind} `{name}` has no key `{key}`")),
        }
    }
    Ok(files)
}

/// The files of a ConfigMap or Secret; the error is the key that is not valid.
fn content(object: &Value) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let is_secret = object["kind"] == json!("Secret");
    let mut files = BTreeMap::new();
    let encoded = if is_secret { "data" } else { "binaryData" };
    let plain = if is_secret { "stringData" } else { "data" };
    for (key, value) in object[encoded].as_object().into_iter().flatten() {
        let text: String = value.as_str().unwrap_or("!").split_whitespace().collect();
        files.insert(key.clone(), STANDARD.decode(text).map_err(|_| key.clone())?);
    }
    // stringData wins over data, as the API server has it.
    for (key, value) in object[plain].as_object().into_iter().flatten() {
        files.insert(key.clone(), value.as_str().ok_or_else(|| key.clone())?.as_bytes().to_vec());
    }
    // Keys become file names.
    match files.keys().find(|key| key.is_empty() || key.contains('/') || *key == "." || *key == "..") {
        Some(key) => Err(key.clone()),
        None => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(volume: &Value) -> Result<BTreeMap<String, Digest>, FilesError> {
        let pod = json!({"spec": {"volumes": [volume]}});
        let config = json!({"kind": "ConfigMap", "data": {"a": "x"}, "binaryData": {"b": "eQ=="}});
        let secret = json!({"kind": "Secret", "data": {"a": "eA==", "c": "!"}, "stringData": {"a": "z"}});
        let good = json!({"kind": "Secret", "data": {"a": "eA=="}, "stringData": {"a": "z"}});
        let maps = [("m".to_owned(), config), ("bad".to_owned(), json!({"data": {"..": "x"}}))].into();
        let secrets = [("s".to_owned(), secret), ("g".to_owned(), good)].into();
        digests(&pod, &["v".into()], &maps, &secrets).map(|mut all| all.remove("v").unwrap_or_default())
    }

    #[test]
    fn files_are_bound_by_the_bytes_that_the_kubelet_writes() {
        let files = one(&json!({"name": "v", "configMap": {"name": "m"}})).unwrap();
        assert_eq!(files, [("a".to_owned(), Digest::of(b"x")), ("b".to_owned(), Digest::of(b"y"))].into());
        let files = one(&json!({"name": "v", "secret": {"secretName": "g"}})).unwrap();
        assert_eq!(files, [("a".to_owned(), Digest::of(b"z"))].into());
        let items = json!([{"key": "a", "path": "sub/x"}]);
        let files = one(&json!({"name": "v", "configMap": {"name": "m", "items": items}})).unwrap();
        assert_eq!(files, [("sub/x".to_owned(), Digest::of(b"x"))].into());
        assert_eq!(one(&json!({"name": "v", "configMap": {"name": "no", "optional": true}})), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        for (source, word) in [
            (json!({"configMap": {"name": "no"}}), "ConfigMap `no` is not among the inputs"),
            (json!({"configMap": {"name": "bad"}}), "`..` is not valid"),
            (json!({"secret": {"secretName": "s"}}), "`c` is not valid"),
            (json!({"configMap": {"name": "m", "items": [{"key": "a", "path": "../x"}]}}), "not a path inside"),
            (json!({"configMap": {"name": "m", "items": [{"key": "z", "path": "x"}]}}), "has no key `z`"),
        ] {
            let mut volume = source;
            volume["name"] = json!("v");
            let error = one(&volume).unwrap_err();
            assert!(error.reason.contains(word), "{error:?}");
        }
    }
}
