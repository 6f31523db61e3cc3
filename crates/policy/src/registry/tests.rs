use serde_json::json;

use super::fake::FakeRegistry;
use super::*;

async fn resolve(reference: &str) -> Result<ResolvedImage, RegistryError> {
    Registry::new().resolve(reference).await
}

fn config() -> Value {
    json!({"Env": ["A=b"], "Entrypoint": ["/serve"], "Cmd": ["-v"], "User": "1313:1313", "WorkingDir": "/w"})
}

#[tokio::test]
async fn a_tag_becomes_a_digest_and_keeps_its_name() {
    let registry = FakeRegistry::start();
    let digest = registry.push("casemate/digits", "1", &config());
    let image = resolve(&format!("{}/casemate/digits:1", registry.host)).await.unwrap();
    assert_eq!(image.reference_with_digest, format!("{}/casemate/digits:1@{digest}", registry.host));
    assert_eq!(image.config.entrypoint, ["/serve"]);
    assert_eq!((image.config.user.as_str(), image.config.working_dir.as_str()), ("1313:1313", "/w"));
    // What is pinned stays as it is, wherever the tag has gone.
    registry.push("casemate/digits", "1", &json!({}));
    assert_eq!(resolve(&image.reference_with_digest).await.unwrap(), image);
}

#[tokio::test]
async fn an_index_leads_to_the_image_for_amd64() {
    let registry = FakeRegistry::start();
    let arm = registry.push("multi", "arm", &json!({"Entrypoint": ["/arm"]}));
    let amd = registry.push("multi", "amd", &json!({"Entrypoint": ["/amd"]}));
    let entry = |digest: &str, architecture: &str| json!({"digest": digest, "platform": {"os": "linux", "architecture": architecture}});
    let index = json!({"schemaVersion": 2, "manifests": [entry(&arm, "arm64"), entry(&amd, "amd64")]}).to_string();
    let digest = registry.manifest("multi", "1", index.as_bytes());
    let image = resolve(&format!("{}/multi:1", registry.host)).await.unwrap();
    assert_eq!(image.config.entrypoint, ["/amd"]);
    assert!(image.reference_with_digest.ends_with(&digest));

    let index = json!({"schemaVersion": 2, "manifests": [entry(&arm, "arm64")]}).to_string();
    registry.manifest("multi", "2", index.as_bytes());
    let error = resolve(&format!("{}/multi:2", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::NoPlatform { .. }), "{error}");
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_not_a_registry_that_is_down() {
    let registry = FakeRegistry::start();
    let error = resolve(&format!("{}/nothing:1", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert!(!error.could_not_tell() && error.hint().is_some());

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = resolve(&format!("{free}/nothing:1")).await.unwrap_err();
    assert!(error.could_not_tell(), "{error}");
    assert_eq!(error.to_string(), format!("registry `{free}` does not answer: Connection refused (os error 111)"));

    registry.answer("/v2/broken/manifests/1", 500, b"oops");
    let error = resolve(&format!("{}/broken:1", registry.host)).await.unwrap_err();
    assert!(error.could_not_tell(), "{error}");
    registry.answer("/v2/closed/manifests/1", 401, b"{}");
    let error = resolve(&format!("{}/closed:1", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
}

#[tokio::test]
async fn content_that_its_digest_does_not_name_is_refused() {
    let registry = FakeRegistry::start();
    let digest = registry.push("lies", "1", &config());
    registry.answer(&format!("/v2/lies/manifests/{digest}"), 200, b"{}");
    let error = resolve(&format!("{}/lies@{digest}", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");

    let other = format!("sha256:{}", "0".repeat(64));
    let manifest = json!({"schemaVersion": 2, "config": {"digest": other}, "layers": []}).to_string();
    registry.manifest("lies", "2", manifest.as_bytes());
    registry.answer(&format!("/v2/lies/blobs/{other}"), 200, b"{}");
    let error = resolve(&format!("{}/lies:2", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
}

#[tokio::test]
async fn broken_documents_are_refused() {
    let registry = FakeRegistry::start();
    let long = vec![b' '; MAX_DOCUMENT + 1];
    for (tag, document) in [
        ("text", b"no json".as_slice()),
        ("list", b"[]"),
        ("empty", b"{}"),
        ("number", br#"{"config":{"digest":7}}"#),
        ("md5", br#"{"config":{"digest":"md5:00"}}"#),
        ("entry", br#"{"manifests":[{"digest":"x","platform":{"os":"linux","architecture":"amd64"}}]}"#),
        ("long", &long),
    ] {
        registry.manifest("bad", tag, document);
        let error = resolve(&format!("{}/bad:{tag}", registry.host)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Malformed { .. }), "{tag}: {error}");
    }
    for config in
        [b"[]".as_slice(), b"7", br#"{"config":7}"#, br#"{"config":{"Env":"x"}}"#, br#"{"config":{"User":1}}"#, &long]
    {
        let digest = registry.blob("bad", config);
        let manifest = json!({"schemaVersion": 2, "config": {"digest": digest}}).to_string();
        registry.manifest("bad", "config", manifest.as_bytes());
        let error = resolve(&format!("{}/bad:config", registry.host)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Malformed { .. }), "{error}");
    }
}

#[tokio::test]
async fn text_that_is_no_reference_is_refused() {
    for text in ["", "a b", "x@sha256:12", "x@md5:00", "x:", &"x".repeat(1000), "http://x/y"] {
        let error = resolve(text).await.unwrap_err();
        assert!(matches!(error, RegistryError::Reference { .. }), "{text}: {error}");
    }
}

#[test]
fn only_this_machine_is_spoken_to_without_tls() {
    for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["docker.io", "localhost.evil.org:5000", "10.0.0.1:5000", "[::2]:5000", "127.0.0.1.evil.org", ""] {
        assert!(!is_loopback(host), "{host}");
    }
}
