use serde_json::json;

use super::*;

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn entry(letter: char, os: &str, architecture: &str) -> Value {
    json!({"mediaType": OCI_MANIFEST, "digest": digest(letter), "size": 7,
        "platform": {"os": os, "architecture": architecture}})
}

fn an_index() -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        entry('a', "linux", "arm64"), entry('b', "linux", "amd64"), entry('c', "unknown", "unknown")]})
}

fn a_manifest() -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIG_TYPES[0], "digest": digest('d'), "size": 9},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": digest('e'), "size": 10}]})
}

fn a_configuration() -> Value {
    json!({"architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"], "Entrypoint": ["/x"], "Cmd": ["y"],
        "User": "app", "WorkingDir": "/w", "Volumes": {"/z": {}, "/data": {}}},
        "rootfs": {"type": "layers", "diff_ids": [digest('f')]}})
}

/// The document with another value at a JSON pointer; `null` removes.
fn with(document: Value, pointer: &str, value: Value) -> Value {
    let mut document = document;
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        parent if value.is_null() => _ = parent.as_object_mut().unwrap().remove(name),
        parent => parent[name] = value,
    }
    document
}

fn read(document: &Value, content_type: Option<&str>, said: Option<&str>) -> Result<Top, DocumentError> {
    top(&parse(document.to_string().as_bytes())?, content_type, said)
}

#[test]
fn what_is_clear_is_read() {
    let Top::Index(Ok(found)) = read(&an_index(), Some(OCI_INDEX), None).unwrap() else { panic!() };
    assert_eq!(found.digest, digest('b'));
    let Top::Manifest(found) = read(&a_manifest(), Some(OCI_MANIFEST), Some(OCI_MANIFEST)).unwrap() else { panic!() };
    assert_eq!((found.config.size, found.layers[0].1), (9, Packing::Zstd));
    // One word of the three is enough, and parameters of a header are none of it.
    let silent = with(a_manifest(), "/mediaType", Value::Null);
    for (content_type, said) in [(None, None), (Some(DOCKER_MANIFEST), None), (None, Some(OCI_MANIFEST))] {
        assert!(read(&silent, content_type, said).is_ok());
    }
    for general in
        ["application/json", "application/octet-stream", "application/vnd.oci.image.manifest.v1+json; charset=utf-8"]
    {
        assert!(read(&a_manifest(), Some(general), None).is_ok(), "{general}");
    }
    let other = with(an_index(), "/manifests/1", entry('b', "windows", "amd64"));
    let found = vec!["linux/arm64".to_owned(), "windows/amd64".to_owned()];
    assert_eq!(read(&other, None, None), Ok(Top::Index(Err(found))));
}

#[test]
fn documents_of_two_meanings_are_refused() {
    let both = with(an_index(), "/layers", json!([]));
    assert!(matches!(read(&both, None, None), Err(DocumentError::Ambiguous { .. })));
    let both = with(with(a_manifest(), "/manifests", json!([])), "/mediaType", Value::Null);
    assert!(matches!(read(&both, Some(OCI_MANIFEST), None), Err(DocumentError::Ambiguous { .. })));
    for (name, document, content_type, said) in [
        ("index said to be a manifest", with(an_index(), "/mediaType", json!(OCI_MANIFEST)), None, None),
        ("manifest said to be an index", with(a_manifest(), "/mediaType", json!(OCI_INDEX)), None, None),
        ("by the header", a_manifest(), Some(OCI_INDEX), None),
        ("by the descriptor", a_manifest(), None, Some(DOCKER_LIST)),
        ("another kind by the header", a_manifest(), Some(DOCKER_MANIFEST), None),
        ("another kind by the descriptor", a_manifest(), None, Some(DOCKER_MANIFEST)),
        ("no type and a general header", with(a_manifest(), "/mediaType", Value::Null), Some("text/plain"), None),
        (
            "Docker's first format",
            a_manifest(),
            Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            None,
        ),
    ] {
        let error = read(&document, content_type, said).unwrap_err();
        assert!(matches!(error, DocumentError::WrongType { .. }), "{name}: {error}");
    }
    for (name, text) in [
        ("twice", r#"{"manifests":[],"manifests":[]}"#),
        ("twice inside", r#"{"config":{"digest":"a","digest":"b"}}"#),
        ("twice by an escape", r#"{"layers":[],"l\u0061yers":[]}"#),
        ("twice with what moves a cursor", r#"{"a\u0008\u007f":1,"a\u0008\u007f":2}"#),
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, DocumentError::Json { .. }), "{name}");
        assert!(error.to_string().chars().all(protocol::text::is_printable), "{error:?}");
    }
    for (name, document) in [
        ("capital", with(a_manifest(), "/Layers", json!([]))),
        ("all capitals", with(a_manifest(), "/MANIFESTS", json!([]))),
        ("long s", with(a_manifest(), "/layer\u{17f}", json!([]))),
        ("in a descriptor", with(a_manifest(), "/config/Digest", json!(digest('0')))),
        ("in a platform", with(an_index(), "/manifests/1/platform/OS", json!("linux"))),
    ] {
        let error = read(&document, None, None).unwrap_err();
        assert!(matches!(error, DocumentError::Case { .. }), "{name}: {error}");
    }
    let two = with(an_index(), "/manifests/0", entry('a', "linux", "amd64"));
    assert!(matches!(read(&two, None, None), Err(DocumentError::TwoPlatforms { .. })));
    let variant = with(two, "/manifests/0/platform/variant", json!("v2"));
    let error = read(&variant, None, None).unwrap_err();
    assert!(matches!(error, DocumentError::TwoPlatforms { .. }) && error.hint().is_some());
    let nested = with(an_index(), "/manifests/1/mediaType", json!(OCI_INDEX));
    assert!(matches!(read(&nested, None, None), Err(DocumentError::Nested { .. })));
}

#[test]
fn every_field_is_looked_at() {
    let many = |item: Value, count: usize| Value::Array(vec![item; count]);
    let layer = a_manifest()["layers"][0].clone();
    for (pointer, value) in [
        ("/config", Value::Null),
        ("/config", json!("x")),
        ("/config/digest", json!("md5:00")),
        ("/config/digest", json!(digest('A'))),
        ("/config/size", json!(-1)),
        ("/config/size", Value::Null),
        ("/config/size", json!(MAX_DOCUMENT + 1)),
        ("/config/mediaType", Value::Null),
        ("/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")),
        ("/layers", Value::Null),
        ("/layers", json!({})),
        ("/layers", many(layer, MAX_LAYERS + 1)),
        ("/layers/0", json!(7)),
        ("/layers/0/digest", json!("sha256:12")),
        ("/layers/0/size", json!("10")),
        ("/layers/0/size", json!(MAX_LAYER + 1)),
        ("/layers/0/urls", json!(["https://elsewhere.example/x"])),
        ("/layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")),
        ("/layers/0/mediaType", json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
        ("/layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar+lz4")),
        ("/mediaType", json!(7)),
        ("/schemaVersion", json!(1)),
        ("/fsLayers", json!([])),
    ] {
        let changed = with(a_manifest(), pointer, value.clone());
        assert!(read(&changed, None, None).is_err(), "{pointer} {value}");
    }
    for (pointer, value) in [
        ("/manifests", json!({})),
        ("/manifests", many(entry('a', "linux", "arm64"), MAX_ENTRIES + 1)),
        ("/manifests/1/digest", json!("x")),
        ("/manifests/1/size", json!(MAX_DOCUMENT + 1)),
        ("/manifests/1", json!(null)),
    ] {
        let changed = with(an_index(), pointer, value.clone());
        assert!(read(&changed, None, None).is_err(), "{pointer} {value}");
    }
    for text in ["", "[]", "7", "no json", "{", "\"x\"", &"[".repeat(10_000)] {
        assert!(parse(text.as_bytes()).is_err(), "{text:.10}");
    }
    assert!(matches!(parse(&vec![b' '; MAX_DOCUMENT + 1]), Err(DocumentError::TooLong { .. })));
}

#[test]
fn a_configuration_gives_what_containers_get() {
    let read = configuration(&a_configuration()).unwrap();
    assert_eq!(read.config.volumes, ["/data", "/z"]);
    assert_eq!((read.config.user.as_str(), read.diff_ids, read.other_platform), ("app", vec![digest('f')], None));
    // Docker's way of saying "none".
    let none = with(a_configuration(), "/config/Entrypoint", json!([""]));
    assert!(configuration(&none).unwrap().config.entrypoint.is_empty());
    let arm = configuration(&with(a_configuration(), "/architecture", json!("arm64"))).unwrap();
    assert_eq!(arm.other_platform.as_deref(), Some("linux/arm64"));
    let colourful = with(a_configuration(), "/config/Env", json!(["PS1=\u{1b}[1m$\t\n"]));
    assert!(configuration(&colourful).is_ok());
    for (pointer, value) in [
        ("/config", json!(7)),
        ("/config/Env", json!("A=b")),
        ("/config/Env", json!([7])),
        ("/config/Env", json!(["A=\u{1}ip\u{1}"])),
        ("/config/Cmd", json!(["\u{0}"])),
        ("/config/Entrypoint", json!({})),
        ("/config/User", json!(1)),
        ("/config/User", json!("a\u{7f}")),
        ("/config/WorkingDir", json!([])),
        ("/config/Volumes", json!(["/data"])),
        ("/config/env", json!([])),
        ("/rootfs/diff_ids", json!(["x"])),
        ("/rootfs/diff_ids", json!(["sha256:\u{8}\u{7f}"])),
        ("/rootfs/Diff_IDs", json!([])),
        ("/Config", json!({})),
    ] {
        let changed = with(a_configuration(), pointer, value.clone());
        let error = configuration(&changed).expect_err(pointer).to_string();
        assert!(error.chars().all(protocol::text::is_printable), "{pointer} {value}: {error:?}");
    }
}
