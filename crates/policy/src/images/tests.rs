use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::fake::archive::Tar;
use super::fake::{Behaviour, FakeRegistry, GZIP, PLAIN, Packed, ZSTD, digest_of, pack};
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
    let entry = |digest: &str, architecture: &str| registry.entry("multi", digest, architecture);
    let index = json!({"schemaVersion": 2, "manifests": [entry(&arm, "arm64"), entry(&amd, "amd64")]}).to_string();
    let digest = registry.manifest("multi", "1", index.as_bytes());
    let image = resolve(&format!("{}/multi:1", registry.host)).await.unwrap();
    assert_eq!(image.config.entrypoint, ["/amd"]);
    assert!(image.reference_with_digest.ends_with(&digest));

    let index = json!({"schemaVersion": 2, "manifests": [entry(&arm, "arm64")]}).to_string();
    registry.manifest("multi", "2", index.as_bytes());
    let error = resolve(&format!("{}/multi:2", registry.host)).await.unwrap_err();
    assert!(error.to_string().ends_with("is not built for linux/amd64, but for linux/arm64"), "{error}");
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

const APP: &str = "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nvideo:x:44:app\napp:x:1001:\n";

/// Three layers: a base with users, one that adds a user, and one that adds nothing.
fn layers() -> [Packed; 3] {
    let base = Tar::default().dir("etc").file("etc/passwd", "root:x:0:0::/:/bin/sh\n").file("etc/group", GROUPS);
    let users = Tar::default().dir("etc").file("etc/passwd", APP);
    let program = Tar::default().dir("bin").file("bin/app", &"code".repeat(10_000));
    [pack(&base.end(), GZIP), pack(&users.end(), ZSTD), pack(&program.end(), PLAIN)]
}

fn config_of_app() -> Value {
    json!({"Entrypoint": ["/bin/app"], "User": "app:app", "Volumes": {"/data": {}}})
}

fn blob(digest: &str) -> String {
    format!("/v2/app/blobs/{digest}")
}

fn impatient(options: Options) -> Registry {
    Registry::with(Options { patience: Some(Duration::from_millis(700)), ..options })
}

#[tokio::test]
async fn users_come_from_the_layers() {
    let registry = FakeRegistry::start();
    registry.image("app", "1", &config_of_app(), &layers());
    let name = format!("{}/app:1", registry.host);
    let image = resolve(&name).await.unwrap();
    let user = image.config.users.process_user("app", None, &[], true).unwrap();
    assert_eq!((user.uid, user.gid, user.groups), (1000, 1001, vec![44, 1001]));
    assert_eq!(image.config.volumes, ["/data"]);
    assert_eq!(image.layers.len(), 3);
    // What is not asked for is not read.
    registry.requests();
    let none = Registry::new().resolve_with(&name, Ask { users: false, sizes: false }).await.unwrap();
    assert_eq!(registry.requests().len(), 2);
    assert!(none.config.users.process_user("app", None, &[], true).is_err());
    let sizes = Registry::new().resolve_with(&name, Ask { users: false, sizes: true }).await.unwrap();
    assert_eq!(
        sizes.layers.iter().map(|layer| layer.unpacked.unwrap()).collect::<Vec<_>>(),
        [3072 + 512, 2560, 42_496]
    );
}

#[test]
fn a_container_of_numbers_alone_needs_no_layer() {
    let complete = json!({"securityContext": {"supplementalGroupsPolicy": "Strict", "runAsGroup": 5}});
    let numbers = json!({"securityContext": {"runAsUser": 5}});
    assert!(!Ask::for_container(&complete, &numbers).users);
    for (pod, container) in [
        (json!({}), numbers.clone()),
        (complete.clone(), json!({})),
        (complete, json!({"securityContext": {"runAsUser": "5"}})),
        (json!({"securityContext": {"supplementalGroupsPolicy": "Merge", "runAsGroup": 5}}), numbers.clone()),
        (json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}}), numbers),
    ] {
        assert!(Ask::for_container(&pod, &container).users, "{pod} {container}");
    }
}

#[tokio::test]
async fn many_layers_are_read_from_the_top_and_no_further_than_needed() {
    let registry = FakeRegistry::start();
    let mut all: Vec<Packed> =
        (0..20).map(|number| pack(&Tar::default().file("x", &number.to_string()).end(), GZIP)).collect();
    all.push(pack(&Tar::default().dir("etc").file("etc/passwd", APP).file("etc/group", GROUPS).end(), GZIP));
    registry.image("app", "1", &config_of_app(), &all);
    resolve(&format!("{}/app:1", registry.host)).await.unwrap();
    let asked = registry.requests();
    let layers = asked.len() - 2;
    assert!((1..=8).contains(&layers), "{asked:?}");
    // All of many, some of them twice in the image.
    all.pop();
    all.extend(all.clone());
    registry.image("app", "2", &config_of_app(), &all);
    registry.requests();
    resolve(&format!("{}/app:2", registry.host)).await.unwrap();
    assert_eq!(registry.requests().len(), 2 + 20);
}

#[tokio::test]
async fn links_to_unusual_places_are_followed_by_reading_again() {
    let registry = FakeRegistry::start();
    let store = Tar::default().file("nix/store/1/passwd", APP).file("nix/store/1/group", GROUPS);
    let links =
        Tar::default().dir("etc").link("etc/passwd", "/nix/store/1/passwd").link("etc/group", "../nix/store/1/group");
    registry.image("app", "1", &config_of_app(), &[pack(&store.end(), GZIP), pack(&links.end(), GZIP)]);
    let image = resolve(&format!("{}/app:1", registry.host)).await.unwrap();
    assert_eq!(image.config.users.process_user("app", None, &[], true).unwrap().groups, [44, 1001]);
    // A chain of links without end stays bounded.
    let chain = (0..30).fold(Tar::default().dir("etc").link("etc/passwd", "../l0"), |tar, number| {
        tar.link(&format!("l{number}"), &format!("l{}", number + 1))
    });
    registry.image("app", "2", &config_of_app(), &[pack(&chain.end(), GZIP)]);
    let error = resolve(&format!("{}/app:2", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Users { .. }) && error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn a_registry_that_misbehaves_is_named() {
    let good = layers();
    let content = good[0].content.clone();
    let digest = digest_of(&content);
    let long = [content.as_slice(), b"more"].concat();
    let mut other = content.clone();
    other[20] ^= 1;
    type Case<'a> = (&'a str, Behaviour, fn(&RegistryError) -> bool);
    let cases: [Case<'_>; 8] = [
        ("gone", Behaviour::Answer(404, vec![]), |error| matches!(error, RegistryError::PartNotFound { .. })),
        ("closed", Behaviour::Answer(403, vec![]), |error| matches!(error, RegistryError::Unauthorized { .. })),
        ("down", Behaviour::Answer(503, vec![]), RegistryError::could_not_tell),
        ("cut off", Behaviour::Truncated(content.clone()), RegistryError::could_not_tell),
        ("stalled", Behaviour::Stalled(content.clone()), RegistryError::could_not_tell),
        ("short", Behaviour::Answer(200, content[1..].to_vec()), |error| {
            matches!(error, RegistryError::WrongSize { .. })
        }),
        ("over-long", Behaviour::Unannounced(long), |error| matches!(error, RegistryError::WrongSize { .. })),
        ("other content", Behaviour::Answer(200, other), |error| matches!(error, RegistryError::WrongDigest { .. })),
    ];
    for (name, behaviour, is) in cases {
        let registry = FakeRegistry::start();
        registry.image("app", "1", &config_of_app(), &good);
        registry.behave(&blob(&digest), behaviour);
        let error = impatient(Options::default()).resolve(&format!("{}/app:1", registry.host)).await.unwrap_err();
        assert!(is(&error), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn layers_that_are_no_file_system_are_refused_with_their_digest() {
    let good = layers();
    let climbing = Tar::default().file("../../etc/passwd", APP).end();
    let mut lying = pack(&climbing, GZIP);
    lying.diff_id = digest_of(b"something else");
    let other_packing = Packed { media_type: ZSTD, ..good[0].clone() };
    let other_diff_id = Packed { diff_id: digest_of(b"x"), ..good[0].clone() };
    let truncated = Tar::default().raw("etc/passwd", b'0', "", 1 << 30, b"root").0;
    for (name, layer, part) in [
        ("climbing", pack(&climbing, GZIP), "leads out of the image"),
        ("wrong type", other_packing, "says zstd, the content begins like gzip"),
        ("wrong diff_id", other_diff_id, "the configuration names"),
        ("lying size", pack(&truncated, GZIP), "it ends inside an entry"),
        ("no archive", pack(&[b'x'; 2000], PLAIN), "no tar header"),
    ] {
        let registry = FakeRegistry::start();
        registry.image("app", "1", &config_of_app(), std::slice::from_ref(&layer));
        let error = resolve(&format!("{}/app:1", registry.host)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Layer { .. }), "{name}: {error}");
        let text = error.to_string();
        assert!(text.contains(part) && text.contains(&digest_of(&layer.content)), "{name}: {text}");
    }
}

#[tokio::test]
async fn redirects_are_followed_where_they_may_lead() {
    let (registry, storage) = (FakeRegistry::start(), FakeRegistry::start());
    let good = layers();
    registry.image("app", "1", &config_of_app(), &good);
    registry.lock(r#"Basic realm="x""#, "Basic dTpz");
    let digest = digest_of(&good[0].content);
    registry.behave(&blob(&digest), Behaviour::Redirect(format!("http://{}/stored", storage.host)));
    storage.answer("/stored", 200, &good[0].content);
    // The storage would refuse credentials that are not for it.
    storage.lock("Basic", "");
    let folder = tempfile::tempdir().unwrap();
    let credentials = logged_in(folder.path(), &registry.host, r#"{"auth": "dTpz"}"#);
    let name = format!("{}/app:1", registry.host);
    let options = Options { credentials, ..Options::default() };
    assert!(impatient(options.clone()).resolve(&name).await.is_ok());
    for to in ["http://registry.example/x", "ftp://127.0.0.1/x", &format!("http://{}{}", registry.host, blob(&digest))]
    {
        registry.behave(&blob(&digest), Behaviour::Redirect(to.to_owned()));
        assert!(impatient(options.clone()).resolve(&name).await.is_err(), "{to}");
    }
}

fn logged_in(folder: &Path, host: &str, auth: &str) -> CredentialSource {
    let file = folder.join("config.json");
    std::fs::write(&file, format!(r#"{{"auths": {{"{host}": {auth}}}}}"#)).unwrap();
    CredentialSource { docker_config: Some(file), path: None }
}

#[tokio::test]
async fn tokens_are_asked_for_once_and_with_the_credentials() {
    let folder = tempfile::tempdir().unwrap();
    for (name, wants, auth) in [
        ("password", "Basic dTpz", r#"{"auth": "dTpz"}"#),
        ("identity", "refresh_token=id%2Bentity", r#"{"identitytoken": "id+entity"}"#),
        ("anybody", "scope=repository%3Aapp%3Apull", "{}"),
    ] {
        let registry = FakeRegistry::start();
        registry.image("app", "1", &config_of_app(), &layers());
        let realm = format!("http://{}/token", registry.host);
        registry.lock(&format!(r#"Bearer realm="{realm}",service="s",scope="repository:app:pull""#), "Bearer T");
        registry.token(wants, "T");
        let options = Options { credentials: logged_in(folder.path(), &registry.host, auth), ..Options::default() };
        let client = impatient(options.clone());
        let reference = format!("{}/app:1", registry.host);
        client.resolve(&reference).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        client.resolve(&reference).await.unwrap();
        let tokens = registry.requests().iter().filter(|request| request.contains("/token")).count();
        assert_eq!(tokens, 1, "{name}");
        // A token of another registry's making, and a service that gives none.
        registry.token(wants, "other");
        let error = impatient(options.clone()).resolve(&reference).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }), "{name}: {error}");
        registry.token("nothing that is sent", "T");
        let error = impatient(options).resolve(&reference).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { .. }) && error.hint().is_some(), "{name}: {error}");
    }
    // An access token is used as it is; credentials do not go to a token service without TLS.
    let registry = FakeRegistry::start();
    registry.image("app", "1", &config_of_app(), &layers());
    registry.lock(r#"Bearer realm="http://token.example/token""#, "Bearer access");
    let reference = format!("{}/app:1", registry.host);
    let with = |auth: &str| {
        impatient(Options { credentials: logged_in(folder.path(), &registry.host, auth), ..Options::default() })
    };
    assert!(with(r#"{"registrytoken": "access"}"#).resolve(&reference).await.is_ok());
    let error = with(r#"{"auth": "dTpz"}"#).resolve(&reference).await.unwrap_err();
    assert!(error.to_string().contains("is not asked without TLS"), "{error}");
}

#[tokio::test]
async fn mirrors_are_asked_for_digests_alone_and_never_believed() {
    let (registry, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    let good = layers();
    registry.image("app", "1", &config_of_app(), &good);
    mirror.image("app", "1", &config_of_app(), &good);
    let mirrors = BTreeMap::from([(registry.host.clone(), vec![format!("http://{}", mirror.host)])]);
    let options = Options { mirrors, ..Options::default() };
    let name = format!("{}/app:1", registry.host);
    let image = impatient(options.clone()).resolve(&name).await.unwrap();
    assert_eq!(registry.requests(), ["GET /v2/app/manifests/1"]);
    let asked = mirror.requests();
    assert!(asked.len() >= 3 && asked.iter().all(|asked| asked.contains("/blobs/") && asked.contains("?ns=127.0.0.1")));
    // Whatever a mirror answers, the registry's content is what counts.
    for behaviour in [
        Behaviour::Answer(200, b"other".to_vec()),
        Behaviour::Answer(500, vec![]),
        Behaviour::Truncated(good[1].content.clone()),
        Behaviour::Stalled(good[1].content.clone()),
    ] {
        for layer in &good {
            mirror.behave(&blob(&digest_of(&layer.content)), behaviour.clone());
        }
        assert_eq!(impatient(options.clone()).resolve(&name).await.unwrap(), image, "{behaviour:?}");
    }
    let mirrors = BTreeMap::from([(registry.host.clone(), vec!["http://mirror.example".to_owned()])]);
    assert!(impatient(Options { mirrors, ..Options::default() }).resolve(&name).await.is_err());
}

#[tokio::test]
async fn a_second_run_asks_for_tags_alone() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join(CACHE_FILE);
    let registry = FakeRegistry::start();
    registry.image("app", "1", &config_of_app(), &layers());
    let name = format!("{}/app:1", registry.host);
    let run = async || {
        let client = Registry::with(Options { cache: Some(cache.clone()), ..Options::default() });
        let image = client.resolve(&name).await.unwrap();
        client.save_cache().unwrap();
        (image, client.notice())
    };
    let (image, notice) = run().await;
    assert_eq!(notice, None);
    let written = std::fs::read(&cache).unwrap();
    registry.requests();
    assert_eq!(run().await, (image.clone(), None));
    assert_eq!(registry.requests(), ["HEAD /v2/app/manifests/1"]);
    assert_eq!(std::fs::read(&cache).unwrap(), written);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // What is pinned is not asked for at all.
    let pinned = Registry::with(Options { cache: Some(cache.clone()), ..Options::default() });
    assert_eq!(pinned.resolve(&image.reference_with_digest).await.unwrap(), image);
    assert_eq!(registry.requests(), Vec::<String>::new());
    // A tag that moved is asked for anew, and only what changed is read.
    let [base, users, _] = layers();
    let moved = registry.image("app", "1", &json!({"User": "0"}), &[base, users]);
    assert!(run().await.0.reference_with_digest.ends_with(&moved));
    let asked = registry.requests();
    assert_eq!(asked.len(), 3, "{asked:?}");
    // Damage is noticed, said, and mended.
    for damage in ["", "{", "[]", r#"{"version":2,"documents":{},"layers":{}}"#] {
        std::fs::write(&cache, damage).unwrap();
        let (again, notice) = run().await;
        assert!(again.reference_with_digest.ends_with(&moved) && notice.is_some(), "{damage}");
        assert_eq!(run().await.1, None);
    }
    let text = std::fs::read_to_string(&cache).unwrap();
    std::fs::write(&cache, text.replace("amd64", "amd46")).unwrap();
    let (again, notice) = run().await;
    assert!(again.reference_with_digest.ends_with(&moved) && notice.unwrap().contains("dropped"));
}

#[tokio::test]
async fn broken_documents_are_refused() {
    let registry = FakeRegistry::start();
    let manifest = |config: &str| {
        let digest = registry.blob("bad", config.as_bytes());
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()}})
    };
    let mut with_layers = manifest("{}");
    with_layers["layers"] = json!([{"mediaType": PLAIN, "digest": digest_of(b""), "size": 0}]);
    let mut both = manifest("{}");
    both["manifests"] = json!([]);
    let long = " ".repeat(document::MAX_DOCUMENT + 1);
    for (name, document) in [
        ("text", "no json".to_owned()),
        ("empty", "{}".to_owned()),
        ("long", long),
        ("two meanings", both.to_string()),
        ("layers without diff_ids", with_layers.to_string()),
        ("a configuration that is a list", manifest("[]").to_string()),
        ("a configuration of numbers", manifest(r#"{"config":{"Env":7}}"#).to_string()),
        ("a mark in a configuration", manifest(r#"{"config":{"Env":["A=\u0001ip\u0001"]}}"#).to_string()),
    ] {
        registry.manifest("bad", "1", document.as_bytes());
        let error = resolve(&format!("{}/bad:1", registry.host)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Document { .. }), "{name}: {error}");
        assert!(!error.could_not_tell());
    }
    let good = manifest("{}").to_string();
    let digest = registry.manifest("bad", "1", good.as_bytes());
    assert!(resolve(&format!("{}/bad:1", registry.host)).await.is_ok());
    let index = "application/vnd.oci.image.index.v1+json";
    registry.behave("/v2/bad/manifests/1", Behaviour::Typed(good.clone().into_bytes(), index));
    let error = resolve(&format!("{}/bad:1", registry.host)).await.unwrap_err();
    assert!(error.to_string().contains("Content-Type"), "{error}");
    // Other content than that of the digest, and another size than that of the descriptor.
    registry.answer(&format!("/v2/bad/manifests/{digest}"), 200, b"{}");
    let error = resolve(&format!("{}/bad@{digest}", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
    let digest = registry.blob("bad", b"{}");
    registry.answer(&format!("/v2/bad/blobs/{digest}"), 200, b"[]");
    registry.manifest("bad", "2", good.as_bytes());
    let error = resolve(&format!("{}/bad:2", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error}");
    registry.answer(&format!("/v2/bad/blobs/{digest}"), 200, b"{ }");
    let error = resolve(&format!("{}/bad:2", registry.host)).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongSize { expected: 2, got: 3, .. }), "{error}");
}

#[tokio::test]
async fn text_that_is_no_reference_is_refused() {
    for text in ["", "a b", "x@sha256:12", "x@md5:00", "x:", &"x".repeat(1000), "http://x/y"] {
        let error = resolve(text).await.unwrap_err();
        assert!(matches!(error, RegistryError::Reference { .. }), "{text}: {error}");
    }
}

/// Writes an image as an OCI layout.
fn layout(folder: &Path, names: &[&str]) -> String {
    let layers = layers();
    let put = |content: &[u8]| {
        let digest = digest_of(content);
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), content).unwrap();
        digest
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let config =
        json!({"architecture": "amd64", "os": "linux", "config": config_of_app(), "rootfs": {"diff_ids": diff_ids}});
    let config = config.to_string();
    let entries: Vec<_> = layers
        .iter()
        .map(|layer| json!({"mediaType": layer.media_type, "digest": put(&layer.content), "size": layer.content.len()}))
        .collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": entries,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(config.as_bytes()), "size": config.len()}});
    let manifest = manifest.to_string();
    let digest = put(manifest.as_bytes());
    let named: Vec<_> = names
        .iter()
        .map(|name| {
            json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name}})
        })
        .collect();
    std::fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": named}).to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    digest
}

fn tar_of(folder: &Path, to: &Path) {
    let mut tar = Tar::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let content = std::fs::read(&path).unwrap();
            tar = tar.raw(&name, b'0', "", content.len() as u64, &content);
        }
    }
    std::fs::write(to, tar.end()).unwrap();
}

#[tokio::test]
async fn layouts_stand_in_for_registries() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("layout");
    std::fs::create_dir(&inside).unwrap();
    let digest = layout(&inside, &["1.2", "registry.example/team/app:2"]);
    let archive = folder.path().join("layout.tar");
    tar_of(&inside, &archive);
    let name = "registry.example/team/app:1.2";
    let run = async |source: LayoutSource, reference: &str| {
        let layouts = BTreeMap::from([(name.to_owned(), source)]);
        Registry::with(Options { layouts, ..Options::default() }).resolve(reference).await
    };
    for path in [&inside, &archive] {
        for tag in ["1.2", "2", "registry.example/team/app:2"] {
            let source = LayoutSource { path: path.clone(), tag: Some(tag.to_owned()) };
            let image = run(source.clone(), name).await.unwrap();
            assert_eq!(image.reference_with_digest, format!("{name}@{digest}"));
            assert_eq!(image.config.users.process_user("app", None, &[], true).unwrap().groups, [44, 1001]);
            assert_eq!(run(source, &image.reference_with_digest).await.unwrap(), image);
        }
        for tag in [Some("3"), None] {
            let error = run(LayoutSource { path: path.clone(), tag: tag.map(str::to_owned) }, name).await.unwrap_err();
            assert!(matches!(error, RegistryError::Configuration { .. }), "{error}");
        }
    }
    let source = LayoutSource { path: inside.clone(), tag: Some("2".into()) };
    let layer = inside.join("blobs/sha256").join(digest_of(&layers()[0].content).trim_start_matches("sha256:"));
    std::fs::write(&layer, b"other").unwrap();
    assert!(matches!(run(source.clone(), name).await.unwrap_err(), RegistryError::WrongSize { .. }));
    std::fs::remove_file(&layer).unwrap();
    assert!(matches!(run(source.clone(), name).await.unwrap_err(), RegistryError::PartNotFound { .. }));
    std::fs::write(inside.join("oci-layout"), "{}").unwrap();
    assert!(run(source, name).await.is_err());
    for (text, expected) in [
        ("oci:a/b", Some(("a/b", None))),
        ("oci:a/b:tag", Some(("a/b", Some("tag")))),
        ("oci:/x:5000/b", Some(("/x:5000/b", None))),
        ("oci:", None),
        ("docker:a", None),
    ] {
        let expected = expected.map(|(path, tag)| LayoutSource { path: path.into(), tag: tag.map(str::to_owned) });
        assert_eq!(LayoutSource::parse(text), expected, "{text}");
    }
}

#[derive(Default)]
struct Count {
    announced: AtomicU64,
    received: AtomicU64,
    finished: AtomicU64,
}

impl Progress for Count {
    fn started(&self, _: &str, _: usize, bytes: u64) {
        self.announced.fetch_add(bytes, Ordering::Relaxed);
    }
    fn received(&self, _: &str, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }
    fn finished(&self, _: &str) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn progress_is_told_in_bytes() {
    let registry = FakeRegistry::start();
    registry.image("app", "1", &config_of_app(), &layers());
    let count = Arc::new(Count::default());
    let told: Arc<dyn Progress> = Arc::clone(&count) as _;
    let client = Registry::new().with_progress(told);
    let name = format!("{}/app:1", registry.host);
    let all = client.resolve_all([(name.clone(), Ask::default()), (format!("{name}0"), Ask::default())]).await;
    assert!(all[0].is_ok() && all[1].is_err());
    let announced = count.announced.load(Ordering::Relaxed);
    assert_eq!(announced, layers().iter().map(|layer| layer.content.len() as u64).sum::<u64>());
    assert_eq!(count.received.load(Ordering::Relaxed), announced);
    assert_eq!(count.finished.load(Ordering::Relaxed), 1);
    // What is known is not announced again.
    client.resolve(&name).await.unwrap();
    assert_eq!(count.finished.load(Ordering::Relaxed), 1);
}
