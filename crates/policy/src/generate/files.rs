//! The files of ConfigMap and Secret volumes, as the kubelet will write them: their digests and modes go into the initdata.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::Digest;
use protocol::file::{DEFAULT_MODE, MAX_MODE, VolumeFile};
use serde_json::{Value, json};

use super::error::Fault;
use crate::request::{FileVolume, VolumeKind, volume_kind};

/// What the kubelet gives the group of `fsGroup` in a volume that nobody writes to: it may read.
const FOR_GROUP: u32 = 0o440;

/// The group of the files of a pod's volumes, if it says one. Whether it is a number that Kubernetes takes, the request
/// tells.
pub(super) fn fs_group(pod: &Value) -> Option<u32> {
    pod["spec"]["securityContext"]["fsGroup"].as_u64().and_then(|group| u32::try_from(group).ok())
}

/// The files of each volume named in `volumes`.
pub(super) fn digests(
    pod: &Value,
    volumes: &[String],
    config_maps: &BTreeMap<String, Value>,
    secrets: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, BTreeMap<String, VolumeFile>>, Fault> {
    let mut all = BTreeMap::new();
    let for_group = if fs_group(pod).is_some() { FOR_GROUP } else { 0 };
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let name = volume["name"].as_str().unwrap_or_default();
        if !volumes.iter().any(|wanted| wanted == name) {
            continue;
        }
        let path = format!("spec.volumes.{name}");
        let of =
            |field: &str| mode_of(&volume[field]["defaultMode"], DEFAULT_MODE, &format!("{path}.{field}.defaultMode"));
        let config_map = |source: &Value, default: u32, path: &str| {
            source_files(&source["configMap"], "name", config_maps, "ConfigMap", default, path)
        };
        let files = match volume_kind(volume) {
            Ok(VolumeKind::Files(FileVolume::ConfigMap)) => config_map(volume, of("configMap")?, &path)?,
            Ok(VolumeKind::Files(FileVolume::Secret)) => {
                source_files(&volume["secret"], "secretName", secrets, "Secret", of("secret")?, &path)?
            }
            Ok(VolumeKind::Files(FileVolume::Projected)) => {
                let (mut files, default) = (BTreeMap::new(), of("projected")?);
                let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
                for (index, source) in sources.enumerate() {
                    let path = format!("{path}.projected.sources[{index}]");
                    // Of two files of one path the kubelet writes the later one.
                    files.extend(if source["configMap"].is_null() {
                        source_files(&source["secret"], "name", secrets, "Secret", default, &path)?
                    } else {
                        config_map(source, default, &path)?
                    });
                }
                files
            }
            _ => continue,
        };
        let bound = |(digest, mode): (Digest, u32)| VolumeFile::new(digest, mode | for_group);
        let files = files.into_iter().filter_map(|(file, content)| Some((file, bound(content)?)));
        all.insert(name.to_owned(), files.collect());
    }
    Ok(all)
}

/// Refuses mounts of single files (`subPath`) that the volume does not have: the kubelet would make a directory there.
pub(super) fn check_single(
    pod: &Value,
    config_maps: &BTreeMap<String, Value>,
    secrets: &BTreeMap<String, Value>,
) -> Result<(), Fault> {
    let mounts = ["initContainers", "containers"].into_iter().filter_map(|list| pod["spec"][list].as_array()).flatten();
    let mounts = mounts.flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
    let single = mounts.filter(|mount| mount["subPath"].as_str().is_some_and(|file| !file.is_empty()));
    let single: Vec<String> = single.filter_map(|mount| mount["name"].as_str().map(str::to_owned)).collect();
    let volumes = digests(pod, &single, config_maps, secrets)?;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default();
            for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
                let Some(file) = mount["subPath"].as_str().filter(|file| !file.is_empty()) else { continue };
                let volume = mount["name"].as_str().unwrap_or_default();
                let known = volumes.get(volume).map(|files| files.keys().cloned().collect());
                let Some(files) = known.or_else(|| downward_files(pod, volume)) else { continue };
                if files.contains(file) {
                    continue;
                }
                let path = format!("spec.{list}.{name}.volumeMounts[{index}].subPath");
                let folder = files.iter().any(|known| known.starts_with(&format!("{file}/")));
                let known: Vec<_> = files.iter().map(|file| format!("`{file}`")).take(5).collect();
                let known = known.join(", ");
                let (reason, hint) = if folder {
                    let reason = "is a directory of volume";
                    let reason = format!("`{file}` {reason} `{volume}`, and only single files can be mounted");
                    (reason, format!("mount one of its files: {known}"))
                } else {
                    let reason = format!("volume `{volume}` has no file `{file}`; it has {known}");
                    (reason, "the kubelet would make an empty directory there: correct the name".to_owned())
                };
                return Err(Fault { path, reason, hint: Some(hint) });
            }
        }
    }
    Ok(())
}

/// The files of a volume of the downward API; `None` for another.
fn downward_files(pod: &Value, name: &str) -> Option<BTreeSet<String>> {
    let mut volumes = pod["spec"]["volumes"].as_array()?.iter();
    let volume = volumes.find(|volume| volume["name"] == name).filter(|volume| volume["downwardAPI"].is_object())?;
    let items = volume["downwardAPI"]["items"].as_array().into_iter().flatten();
    Some(items.filter_map(|item| item["path"].as_str().map(str::to_owned)).collect())
}

/// A mode that the pod says, or the one that holds without.
fn mode_of(value: &Value, default: u32, path: &str) -> Result<u32, Fault> {
    if value.is_null() {
        return Ok(default);
    }
    let mode = value.as_u64().and_then(|mode| u32::try_from(mode).ok()).filter(|mode| *mode <= MAX_MODE);
    mode.ok_or_else(|| Fault {
        path: path.to_owned(),
        reason: format!("{value} is no mode of a file: Kubernetes takes 0 to 0777, which is 511"),
        hint: Some("write an octal number, `0440`, or its decimal value, 288".to_owned()),
    })
}

/// The files of one source with their modes.
fn source_files(
    source: &Value,
    key: &str,
    objects: &BTreeMap<String, Value>,
    kind: &str,
    default: u32,
    path: &str,
) -> Result<BTreeMap<String, (Digest, u32)>, Fault> {
    let error = |reason: String, hint: &str| Fault { path: path.to_owned(), reason, hint: Some(hint.to_owned()) };
    let refuse = |reason: String, hint: &str| Err(error(reason, hint));
    let optional = source["optional"] == json!(true);
    let name = source[key].as_str().unwrap_or_default();
    let Some(object) = objects.get(name) else {
        if optional {
            return Ok(BTreeMap::new());
        }
        return refuse(
            format!("{kind} `{name}` is not among the inputs, so its files cannot be bound"),
            "give `generate` its file, too; one that may be absent is `optional: true`",
        );
    };
    let content =
        content(object).map_err(|(key, why, hint)| error(format!("{kind} `{name}`: `{key}` is {why}"), hint))?;
    let Some(items) = source["items"].as_array() else {
        return Ok(content.iter().map(|(file, bytes)| (file.clone(), (Digest::of(bytes), default))).collect());
    };
    let mut files = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let (key, file) = (item["key"].as_str().unwrap_or_default(), item["path"].as_str().unwrap_or_default());
        let bad = |part: &str| ["", ".", ".."].contains(&part);
        if file.split('/').any(bad) {
            return refuse(
                format!("`{file}` is not a path inside the volume"),
                "write a path without `..`, from the volume on: `certs/ca.pem`",
            );
        }
        let field = if kind == "Secret" { "secret" } else { "configMap" };
        let mode = mode_of(&item["mode"], default, &format!("{path}.{field}.items[{index}].mode"))?;
        match content.get(key) {
            Some(bytes) => drop(files.insert(file.to_owned(), (Digest::of(bytes), mode))),
            None if optional => {}
            None => {
                let known: Vec<_> = content.keys().map(|key| format!("`{key}`")).take(5).collect();
                return refuse(format!("{kind} `{name}` has no key `{key}`"), &format!("it has {}", known.join(", ")));
            }
        }
    }
    Ok(files)
}

/// The files of a ConfigMap or Secret. The error is the key that is not valid, why, and what to do.
fn content(object: &Value) -> Result<BTreeMap<String, Vec<u8>>, (String, &'static str, &'static str)> {
    const BASE64: &str = "encode it, as by `base64 -w0`, or write it as it is under the other field: `stringData` of a \
                          Secret, `data` of a ConfigMap";
    const TEXT: &str = "write its value between quotes";
    const NAME: &str = "keys are names of files: letters, digits, `-`, `_` and `.`";
    let is_secret = object["kind"] == json!("Secret");
    let mut files = BTreeMap::new();
    let encoded = if is_secret { "data" } else { "binaryData" };
    let plain = if is_secret { "stringData" } else { "data" };
    for (key, value) in object[encoded].as_object().into_iter().flatten() {
        let text: String = value.as_str().unwrap_or("!").split_whitespace().collect();
        let bytes = STANDARD.decode(text).map_err(|_| (key.clone(), "not base64", BASE64))?;
        files.insert(key.clone(), bytes);
    }
    // stringData wins over data, as the API server has it.
    for (key, value) in object[plain].as_object().into_iter().flatten() {
        let text = value.as_str().ok_or_else(|| (key.clone(), "not text", TEXT))?;
        files.insert(key.clone(), text.as_bytes().to_vec());
    }
    // Keys become file names.
    match files.keys().find(|key| key.is_empty() || key.contains('/') || *key == "." || *key == "..") {
        Some(key) => Err((key.clone(), "no name of a file", NAME)),
        None => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one volume of a pod whose files all have the default mode.
    fn one(volume: &Value) -> Result<BTreeMap<String, Digest>, Fault> {
        let files = with_group(volume, Value::Null)?;
        assert!(files.values().all(|file| file.mode() == DEFAULT_MODE), "{files:?}");
        Ok(files.into_iter().map(|(name, file)| (name, file.digest())).collect())
    }

    fn with_group(volume: &Value, group: Value) -> Result<BTreeMap<String, VolumeFile>, Fault> {
        let pod = json!({"spec": {"volumes": [volume], "securityContext": {"fsGroup": group}}});
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

    fn modes(volume: &Value, group: Value) -> BTreeMap<String, String> {
        let files = with_group(volume, group).unwrap();
        files.into_iter().map(|(name, file)| (name, format!("{:04o}", file.mode()))).collect()
    }

    #[test]
    fn modes_are_those_of_the_kubelet() {
        let items = json!([{"key": "a", "path": "own", "mode": 256}, {"key": "a", "path": "all"}]);
        let map =
            |default: Value| json!({"name": "v", "configMap": {"name": "m", "defaultMode": default, "items": items}});
        let secret = json!({"name": "v", "secret": {"secretName": "g", "defaultMode": 0}});
        let projected = json!({"name": "v", "projected": {"defaultMode": 493, "sources": [
            {"configMap": {"name": "m", "items": [{"key": "a", "path": "a"}, {"key": "a", "path": "b", "mode": 511}]}},
            {"secret": {"name": "g", "items": [{"key": "a", "path": "own"}]}},
        ]}});
        for (volume, group, expected) in [
            (map(json!(null)), json!(null), &[("all", "0644"), ("own", "0400")][..]),
            (map(json!(420)), json!(null), &[("all", "0644"), ("own", "0400")]),
            (map(json!(288)), json!(null), &[("all", "0440"), ("own", "0400")]),
            (map(json!(256)), json!(0), &[("all", "0440"), ("own", "0440")]),
            (map(json!(448)), json!(2000), &[("all", "0740"), ("own", "0440")]),
            (map(json!(null)), json!(2000), &[("all", "0644"), ("own", "0440")]),
            (secret.clone(), json!(null), &[("a", "0000")]),
            (secret, json!(7), &[("a", "0440")]),
            (projected.clone(), json!(null), &[("a", "0755"), ("b", "0777"), ("own", "0755")]),
            (projected, json!(7), &[("a", "0755"), ("b", "0777"), ("own", "0755")]),
        ] {
            let expected = expected.iter().map(|(name, mode)| ((*name).to_owned(), (*mode).to_owned())).collect();
            assert_eq!(modes(&volume, group.clone()), expected, "{volume} {group}");
        }
    }

    #[test]
    fn a_mode_out_of_range_is_refused_by_name() {
        let source = |mode: Value| json!({"name": "m", "items": [{"key": "a", "path": "a"}, {"key": "b", "path": "b", "mode": mode}]});
        for mode in [json!(512), json!(-1), json!(1000), json!(4_294_967_296_u64 + 256), json!("0400"), json!(0.5)] {
            let projected = |default: &Value, mode: Value| json!({"projected": {"defaultMode": default, "sources": [{"configMap": source(mode)}]}});
            for (volume, path) in [
                (json!({"configMap": {"name": "m", "defaultMode": mode}}), "configMap.defaultMode"),
                (json!({"secret": {"secretName": "g", "defaultMode": mode}}), "secret.defaultMode"),
                (json!({"configMap": source(mode.clone())}), "configMap.items[1].mode"),
                (projected(&mode, json!(0)), "projected.defaultMode"),
                (projected(&json!(0), mode.clone()), "projected.sources[0].configMap.items[1].mode"),
            ] {
                let mut volume = volume;
                volume["name"] = json!("v");
                let error = with_group(&volume, Value::Null).unwrap_err();
                assert_eq!(error.path, format!("spec.volumes.v.{path}"), "{error:?}");
                assert!(error.reason.contains(&format!("{mode} is no mode of a file")), "{error:?}");
            }
        }
    }

    #[test]
    fn a_projected_volume_has_the_files_of_its_sources_and_the_later_wins() {
        let sources = json!([
            {"configMap": {"name": "m"}},
            {"secret": {"name": "g", "items": [{"key": "a", "path": "keys/a"}]}},
            {"configMap": {"name": "m", "items": [{"key": "b", "path": "a"}]}},
            {"secret": {"name": "none", "optional": true}},
        ]);
        let files = one(&json!({"name": "v", "projected": {"sources": sources}})).unwrap();
        let expected = [("a", b"y"), ("b", b"y"), ("keys/a", b"z")];
        let expected: BTreeMap<_, _> =
            expected.into_iter().map(|(file, content)| (file.to_owned(), Digest::of(content))).collect();
        assert_eq!(files, expected);
        let none =
            json!({"name": "v", "projected": {"sources": [{"configMap": {"name": "m"}}, {"secret": {"name": "x"}}]}});
        let error = one(&none).unwrap_err();
        assert_eq!(error.path, "spec.volumes.v.projected.sources[1]");
        assert!(error.reason.contains("Secret `x` is not among the inputs"), "{error:?}");
    }

    #[test]
    fn a_single_file_of_the_downward_api_must_be_one_of_its_items() {
        let check = |file: &str| {
            let pod = json!({"spec": {
                "containers": [{"name": "c", "volumeMounts": [{"name": "v", "subPath": file}]}],
                "volumes": [{"name": "w", "emptyDir": {}},
                            {"name": "v", "downwardAPI": {"items": [{"path": "a/labels"}]}}],
            }});
            check_single(&pod, &BTreeMap::new(), &BTreeMap::new())
        };
        assert_eq!(check("a/labels"), Ok(()));
        for (file, word) in [("a", "is a directory"), ("labels", "it has `a/labels`"), ("a/labels/x", "has no file")] {
            assert!(check(file).unwrap_err().reason.contains(word), "{file}");
        }
    }

    #[test]
    fn a_single_file_must_be_one_of_its_volume() {
        let map = json!({"kind": "ConfigMap", "data": {"a": "x"}});
        let maps = [("m".to_owned(), map)].into();
        let check = |file: &str| {
            let items = json!([{"key": "a", "path": "d/a"}]);
            let pod = json!({"spec": {
                "containers": [{"name": "c", "volumeMounts": [{}, {"name": "v", "subPath": file}]}],
                "volumes": [{"name": "v", "configMap": {"name": "m", "items": items}}],
            }});
            check_single(&pod, &maps, &BTreeMap::new())
        };
        assert_eq!(check("d/a"), Ok(()));
        assert_eq!(check(""), Ok(()));
        for (file, word) in
            [("d", "is a directory"), ("a", "it has `d/a`"), ("d/b", "has no file"), ("d/a/b", "has no")]
        {
            let error = check(file).unwrap_err();
            assert_eq!(error.path, "spec.containers.c.volumeMounts[1].subPath");
            assert!(error.reason.contains(word), "{error:?}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        for (source, word) in [
            (json!({"configMap": {"name": "no"}}), "ConfigMap `no` is not among the inputs"),
            (json!({"configMap": {"name": "bad"}}), "`..` is no name of a file"),
            (json!({"secret": {"secretName": "s"}}), "`c` is not base64"),
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
