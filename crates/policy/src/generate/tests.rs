//! The whole of `generate` against a registry on loopback: what it writes, what it leaves alone, and what it refuses.

use std::path::Path;

use expect_test::expect_file;
use protocol::digest::Measurement;
use protocol::{Digest, Initdata, Manifest};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::evaluate::PolicyEngine;
use crate::evaluate::mutate::{engine_after, every_change_is_refused};
use crate::images::fake::FakeRegistry;
use crate::images::{self, CACHE_FILE, ImageConfig};
use crate::request::{PodInstance, container_request, pause_request, pod_name, sandbox_request};

const DEPLOYMENT: &str = include_str!("../../../../examples/inference/resources/deployment.yaml");
const SERVICE: &str = include_str!("../../../../examples/inference/resources/service.yaml");
const CONFIG_MAP: &str = include_str!("../../../../examples/inference/resources/configmap.yaml");

/// As the command line runs it: with a cache in the work folder.
async fn generate(options: &GenerateOptions) -> Result<Report, GenerateError> {
    let cache = Some(options.workspace.join(CACHE_FILE));
    super::generate(options, &Registry::with(images::Options { cache, ..images::Options::default() })).await
}

/// A work folder with the example in it, and a registry with its images.
struct Rig {
    dir: TempDir,
    registry: FakeRegistry,
}

impl Rig {
    fn new() -> Self {
        let rig = Self { dir: tempfile::tempdir().unwrap(), registry: FakeRegistry::start() };
        rig.registry.push(
            "casemate/digits",
            "1",
            &json!({"Entrypoint": ["/casemate-serve"], "Env": ["PATH=/"], "WorkingDir": "/"}),
        );
        rig.registry.push("casemate-pod", "0", &json!({"Entrypoint": ["/casemate-pod"]}));
        rig.write("resources/deployment.yaml", DEPLOYMENT);
        rig.write("resources/service.yaml", SERVICE);
        rig.write("resources/configmap.yaml", CONFIG_MAP);
        rig
    }

    /// Writes a file, with the example's registry replaced by ours.
    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text.replace("localhost:5000", &self.registry.host)).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn options(&self) -> GenerateOptions {
        GenerateOptions {
            paths: vec![self.dir.path().join("resources")],
            stdin: None,
            namespace: None,
            workspace: self.dir.path().to_owned(),
            platform: "local".into(),
            software: Some(SoftwareReferenceValues {
                root: Digest::of(b"root"),
                measurements: vec![Measurement::from_bytes([1; 48])],
            }),
            owner_keys: vec![PublicKey(vec![1])],
            owner_threshold: 1,
            holder_keys: vec![PublicKey(vec![2])],
            holder_threshold: 1,
            pod_image: Some(format!("{}/casemate-pod:0", self.registry.host)),
            skip_initializer: false,
            output: None,
            check: false,
        }
    }

    async fn generate(&self) -> Result<Report, GenerateError> {
        generate(&self.options()).await
    }

    /// Every file of the work folder with its content.
    fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        fn walk(dir: &Path, all: &mut BTreeMap<PathBuf, String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, all);
                } else {
                    all.insert(path.clone(), std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let mut all = BTreeMap::new();
        walk(self.dir.path(), &mut all);
        all
    }

    fn deployment(&self) -> Value {
        yaml::parse(&self.read("resources/deployment.yaml")).unwrap().remove(0).tree
    }

    /// Hides what differs from run to run.
    fn stable(&self, text: &str) -> String {
        let annotation = format!("{}: ", protocol::initdata::ANNOTATION);
        let lines = text.replace(&self.registry.host, "localhost:5000");
        let hide = |line: &str| match line.split_once(&annotation) {
            Some((indent, _)) => format!("{indent}{annotation}<initdata>"),
            None => line.to_owned(),
        };
        // The port of the registry is part of what the digests of the manifest are over.
        let mut stable: Vec<_> = lines.lines().map(hide).collect();
        stable.push(String::new());
        stable.join("\n")
    }
}

#[tokio::test]
async fn the_example_becomes_confidential() {
    let rig = Rig::new();
    let report = rig.generate().await.unwrap();
    expect_file!["../../tests/golden/deployment.yaml"].assert_eq(&rig.stable(&rig.read("resources/deployment.yaml")));
    expect_file!["../../tests/golden/casemate-coordinator.yml"]
        .assert_eq(&rig.stable(&rig.read("resources/casemate-coordinator.yml")));
    let initdata = Initdata::from_annotation(annotation(&rig.deployment())).unwrap();
    let policy = initdata.policy().unwrap();
    let at = policy.find(crate::policy_data::VALUES).unwrap();
    let data = &policy[at..];
    expect_file!["../../tests/golden/policy_data.rego"].assert_eq(&rig.stable(data));
    // The others are as they were.
    let host = &rig.registry.host;
    assert_eq!(rig.read("resources/service.yaml"), SERVICE);
    assert_eq!(rig.read("resources/configmap.yaml"), CONFIG_MAP);
    assert!(rig.read("settings.json").contains(&format!("\"pod_image\": \"{host}/casemate-pod:0\"")));

    let manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    assert_eq!(manifest.policies.len(), 2);
    let workload = &manifest.policies[&initdata.identity()];
    assert_eq!((workload.names.as_slice(), workload.role), (["inference".to_owned()].as_slice(), Role::Workload));
    assert_eq!(workload.secrets.iter().collect::<Vec<_>>(), ["digits-model-key"]);
    assert_eq!(report.workloads[0].resource, "StatefulSet/coordinator");
    assert_eq!(report.workloads[1].identity, initdata.identity());
    assert_eq!(report.workloads[1].secrets, ["digits-model-key"]);
    assert!(report.workloads[1].images.iter().all(|(_, image)| image.starts_with(host) && image.contains("@sha256:")));
    assert!(!report.up_to_date && report.changed.len() == 4, "{:?}", report.changed);

    let settings = initdata.settings().unwrap();
    assert_eq!(settings.coordinator, Some(report.workloads[0].identity));
    assert_eq!(settings.deployment_id, manifest.deployment_id);
    assert_eq!(settings.files["digits"].len(), 2);
    let ports: Vec<_> = settings.ingress.iter().map(|i| (i.name.as_str(), i.port, i.client_certificate)).collect();
    assert_eq!(ports, [("http", 8080, false)]);
    assert!(settings.mesh && settings.open_ports.is_empty());
    assert!(initdata.document().len() < 32_000, "{}", initdata.document().len());
    assert!(initdata.to_annotation().len() < 10_500, "{}", initdata.to_annotation().len());
}

fn annotation(resource: &Value) -> &str {
    resource["spec"]["template"]["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap()
}

#[tokio::test]
async fn the_requests_of_every_generated_pod_are_allowed_and_no_others() {
    let rig = Rig::new();
    let mut tried = 0;
    rig.generate().await.unwrap();
    let pod_image = ImageConfig { entrypoint: vec!["/casemate-pod".into()], ..ImageConfig::default() };
    let digits = ImageConfig {
        entrypoint: vec!["/casemate-serve".into()],
        env: vec!["PATH=/".into()],
        working_dir: "/".into(),
        ..ImageConfig::default()
    };
    for file in ["resources/deployment.yaml", "resources/casemate-coordinator.yml"] {
        let resource = yaml::parse(&rig.read(file)).unwrap().remove(0).tree;
        let pod = &resource["spec"]["template"];
        let initdata = Initdata::from_annotation(annotation(&resource)).unwrap();
        let instance = PodInstance {
            name: pod_name(&resource, 1),
            hostname: pod_name(&resource, 1),
            namespace: "default".into(),
            uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
            sandbox_id: "a".repeat(64),
            pod_ip: "10.0.0.7".into(),
            service_env: vec![("KUBERNETES_SERVICE_HOST".into(), "fd00::1".into())],
            ..PodInstance::default()
        };
        let mut life = vec![
            ("CreateSandboxRequest", sandbox_request(pod, &instance)),
            ("CreateContainerRequest", pause_request(pod, &instance)),
        ];
        let lists = ["initContainers", "containers"];
        let containers = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
        for (index, container) in containers.enumerate() {
            let image = if container["name"] == "server" { &digits } else { &pod_image };
            let request = container_request(pod, container, image, &instance, &format!("{index:064x}")).unwrap();
            life.push(("CreateContainerRequest", request));
        }
        // Every request passes, and none does with one field changed.
        let policy = initdata.policy().unwrap();
        engine_after(policy, &life, life.len());
        tried += every_change_is_refused(policy, &life);
    }
    assert!(tried > 5000, "only {tried} changes were tried");
}

#[tokio::test]
async fn running_twice_changes_nothing() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let once = rig.snapshot();
    let report = rig.generate().await.unwrap();
    assert!(report.up_to_date && report.changed.is_empty(), "{:?}", report.changed);
    assert_eq!(rig.snapshot(), once);
    let mut check = rig.options();
    check.check = true;
    assert!(generate(&check).await.unwrap().up_to_date);
}

#[tokio::test]
async fn check_writes_nothing_and_says_what_would_change() {
    let rig = Rig::new();
    let before = rig.snapshot();
    let mut options = rig.options();
    options.check = true;
    let report = generate(&options).await.unwrap();
    assert!(!report.up_to_date && report.changed.len() == 4);
    assert_eq!(rig.snapshot(), before);
    rig.generate().await.unwrap();
    let edited = rig.read("resources/deployment.yaml").replace("--labels", "--label");
    rig.write("resources/deployment.yaml", &edited);
    let report = generate(&options).await.unwrap();
    assert!(!report.up_to_date);
    let names: Vec<_> = report.changed.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["manifest.json", "deployment.yaml"]);
}

#[tokio::test]
async fn output_leaves_the_originals_alone() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.output = Some(rig.dir.path().join("out"));
    generate(&options).await.unwrap();
    assert!(!rig.read("resources/deployment.yaml").contains("casemate-initializer"));
    assert!(rig.read("out/deployment.yaml").contains("casemate-initializer"));
    assert_eq!(rig.read("out/service.yaml"), SERVICE);
    assert!(rig.read("out/casemate-coordinator.yml").contains("StatefulSet"));
}

#[tokio::test]
async fn what_is_the_owners_in_the_manifest_stays() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let mut manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    manifest.lease_seconds = 77;
    manifest.owners.keys.push(PublicKey(vec![9]));
    let before = manifest.policies.iter_mut().find(|(_, entry)| entry.role == Role::Workload).unwrap();
    before.1.callers = Some(["client".to_owned()].into());
    let identity = *before.0;
    let mut other = before.1.clone();
    other.names = vec!["elsewhere".into()];
    manifest.policies.insert(Identity(Digest::of(b"elsewhere")), other);
    rig.write("manifest.json", &manifest.to_text());
    rig.write(
        "resources/deployment.yaml",
        &rig.read("resources/deployment.yaml").replace("value: info", "value: debug"),
    );
    let mut options = rig.options();
    options.owner_keys.clear();
    options.holder_keys.clear();
    // Whom the manifest lists as callers means nothing where callers show no certificate.
    let before = rig.snapshot();
    let error = generate(&options).await.unwrap_err();
    assert!(words(&error).contains("`callers` of `inference`") && error.hint().is_some(), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
    let annotations = "      annotations:\n";
    let text = rig.read("resources/deployment.yaml");
    assert!(text.contains(annotations));
    let demanded = format!("{annotations}        {INGRESS_ANNOTATION}: http#8080#false\n");
    rig.write("resources/deployment.yaml", &text.replace(annotations, &demanded));
    let report = generate(&options).await.unwrap();
    let after = Manifest::parse(&rig.read("manifest.json")).unwrap();
    assert_eq!((after.deployment_id, after.lease_seconds), (manifest.deployment_id, 77));
    assert_eq!((&after.owners, &after.seed_share_holders), (&manifest.owners, &manifest.seed_share_holders));
    let entry = after.policies.iter().find(|(_, entry)| entry.names[0] == "inference").unwrap();
    assert_ne!(*entry.0, identity);
    assert_eq!(entry.1.callers, Some(["client".to_owned()].into()));
    assert!(after.policies.contains_key(&Identity(Digest::of(b"elsewhere"))));
    assert!(report.notices.iter().any(|notice| notice.contains("`elsewhere` stays")), "{:?}", report.notices);
}

type Change = fn(&mut GenerateOptions);

#[tokio::test]
async fn keys_that_are_not_those_of_the_manifest_are_refused_and_not_ignored() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.holder_keys = vec![PublicKey(vec![2]), PublicKey(vec![3]), PublicKey(vec![4])];
    options.holder_threshold = 2;
    generate(&options).await.unwrap();
    // The order of keys says nothing, and no keys say nothing.
    options.holder_keys.reverse();
    assert!(generate(&options).await.unwrap().up_to_date);
    let before = rig.snapshot();
    let changes: [(Change, &str); 5] = [
        (|o| o.owner_keys = vec![PublicKey(vec![9])], "`owners`: 1 of 1 keys ("),
        (|o| o.owner_keys.push(PublicKey(vec![9])), "`owners`: 1 of 2 keys ("),
        (|o| o.owner_threshold = 2, "`owners`: 2 of 1 keys ("),
        (|o| drop(o.holder_keys.pop()), "`seed_share_holders`: 2 of 2 keys ("),
        (|o| o.holder_threshold = 1, "`seed_share_holders`: 1 of 3 keys ("),
    ];
    for (change, expected) in changes {
        let mut options = options.clone();
        change(&mut options);
        let error = generate(&options).await.unwrap_err();
        assert!(words(&error).starts_with(expected) && words(&error).contains("manifest.json` has "), "{error}");
        assert!(error.hint().is_some() && !error.could_not_tell());
    }
    let mut options = options.clone();
    options.owner_keys.clear();
    options.holder_keys.clear();
    assert!(generate(&options).await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), before);
}

#[tokio::test]
async fn what_endangers_the_pod_is_said() {
    let rig = Rig::new();
    let root = DEPLOYMENT
        .replace("runAsUser: 65532", "runAsUser: 0")
        .replace("            runAsNonRoot: true\n", "            seccompProfile: {type: RuntimeDefault}\n")
        .replace("drop: [\"ALL\"]", "add: [\"NET_ADMIN\"]")
        .replace(
            "    metadata:\n      labels:\n        app: inference\n    spec:",
            "    metadata:\n      annotations: {casemate.dev/allow-capabilities: NET_ADMIN}\n      labels:\n        app: inference\n    spec:",
        );
    rig.write("resources/deployment.yaml", &root);
    let notices = rig.generate().await.unwrap().workloads.remove(1).notices.join("\n");
    for expected in
        ["container `server` runs as root", "with CAP_SETUID it can", "with CAP_NET_ADMIN it can", "AppArmor"]
    {
        assert!(notices.contains(expected), "{expected}: {notices}");
    }
}

#[tokio::test]
async fn two_deployments_of_the_same_files_differ_in_identity() {
    let (one, two) = (Rig::new(), Rig::new());
    let first = one.generate().await.unwrap();
    std::fs::remove_file(one.dir.path().join("manifest.json")).unwrap();
    let second = one.generate().await.unwrap();
    drop(two);
    assert_ne!(first.deployment_id, second.deployment_id);
    assert_ne!(first.workloads[1].identity, second.workloads[1].identity);
}

/// Runs the example with one file replaced and gives the error.
async fn error_of(file: &str, text: &str) -> GenerateError {
    let rig = Rig::new();
    rig.write(file, text);
    let before = rig.snapshot();
    let error = rig.generate().await.expect_err(text);
    assert_eq!(rig.snapshot(), before, "something was written");
    error
}

/// The error, its cause, and its place.
fn words(error: &GenerateError) -> String {
    let mut text = error.to_string();
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        text.push_str(&format!(": {next}"));
        cause = next;
    }
    text
}

#[tokio::test]
async fn bad_resources_are_refused_with_their_place_and_nothing_is_written() {
    let deployment = |from: &str, to: &str| {
        assert!(DEPLOYMENT.contains(from), "{from}");
        DEPLOYMENT.replace(from, to)
    };
    let spec = |line: &str| {
        deployment("      runtimeClassName: casemate\n", &format!("      runtimeClassName: casemate\n      {line}\n"))
    };
    let container = |line: &str| deployment("          env:\n", &format!("          {line}\n          env:\n"));
    let volume =
        |line: &str| deployment("          configMap:\n            name: digits\n", &format!("          {line}\n"));
    let cases = [
        (deployment("replicas: 2", "replicas: [2"), "deployment.yaml:"),
        (deployment("  name: inference", "   name: inference"), "deployment.yaml:6:"),
        (
            deployment("kind: Deployment", "kind: Deploymnt"),
            "deployment.yaml:2: kind `Deploymnt` (apps/v1) is not known",
        ),
        (deployment("kind: Deployment", "kind: CronJob"), "kind `CronJob` (apps/v1) is not known"),
        (deployment("kind: Deployment\n", ""), "no Kubernetes object: it has no `kind`"),
        (deployment("  name: inference\n", "  name: Not_A_Name\n"), "no valid `metadata.name`"),
        (deployment("casemate/digits:1", "casemate/digits:2"), "image `"),
        (deployment("casemate/digits:1", "casemate/DIGITS/:1"), "is not an image reference"),
        (
            deployment("            name: digits\n", "            name: nothing\n"),
            "ConfigMap `nothing` is not among the inputs",
        ),
        (
            deployment("name: digits\n              mountPath", "name: nothing\n              mountPath"),
            "volume `nothing` in `spec.volumes` is missing",
        ),
        (deployment("mountPath: /etc/digits", "mountPath: /etc/digits/../x"), "must not hold `..`"),
        (deployment("mountPath: /etc/digits", "mountPath: /etc/hosts"), "mounting over \"/etc/hosts\""),
        (deployment("readOnly: true", "subPath: x"), "`subPath` is not supported"),
        (deployment("port: 8080", "port: nothing"), "\"nothing\" is not a port"),
        (
            deployment(
                "httpGet:\n              path: /v2/health/live\n              port: 8080",
                "exec: {command: [x]}",
            ),
            "a probe that runs a command",
        ),
        (deployment("runAsUser: 65532", "runAsUser: root"), "runAsUser`: not a whole number"),
        (deployment("runAsUser: 65532", "runAsUser: 0"), "the container would run as root"),
        (deployment("runAsUser: 65532", "privileged: true"), "a privileged container is not supported"),
        (deployment("drop: [\"ALL\"]", "add: [\"ALL\"]"), "`ALL` is not supported"),
        (deployment("cpu: \"1\"", "nvidia.com/gpu: 1"), "devices such as `nvidia.com/gpu`"),
        (deployment("value: info", "valueFrom: {secretKeyRef: {name: s, key: k}}"), "`s` among the inputs is missing"),
        (
            deployment("value: info", "valueFrom: {fieldRef: {fieldPath: status.x}}"),
            "field `status.x` is not supported",
        ),
        (deployment("value: info", "value: 7"), "env[0].value`: not a string"),
        (spec("hostNetwork: true"), "`spec.hostNetwork`: not supported"),
        (spec("hostPID: true"), "`spec.hostPID`: not supported"),
        (spec("ephemeralContainers: [{name: x}]"), "`spec.ephemeralContainers`: not supported"),
        (spec("resourceClaims: [{name: x}]"), "`spec.resourceClaims`: not supported"),
        (container("volumeDevices: [{name: x, devicePath: /dev/x}]"), "volumeDevices`: not supported"),
        (container("lifecycle: {preStop: {exec: {command: [x]}}}"), "hooks are not supported"),
        (spec("shareProcessNamespace: true"), "not supported beside the mesh"),
        (deployment("runAsUser: 65532", "runAsUser: 1313"), "1313 is the mesh's"),
        (deployment("runAsGroup: 65532", "runAsGroup: 1313"), "1313 is the mesh's"),
        (spec("securityContext: {fsGroup: 1313}"), "1313 is the mesh's"),
        (deployment("drop: [\"ALL\"]", "add: [\"NET_ADMIN\"]"), "`NET_ADMIN` lets it undo"),
        (deployment("drop: [\"ALL\"]", "add: [\"sys_admin\"]"), "`SYS_ADMIN` lets it undo"),
        (deployment("drop: [\"ALL\"]", "add: [\"CAP_SYS_ADMIN\"]"), "\"CAP_SYS_ADMIN\" is not a capability"),
        (deployment("drop: [\"ALL\"]", "ad: [\"X\"]"), "capabilities.ad`: not supported"),
        (deployment("runAsUser: 65532", "runAsUsr: 65532"), "securityContext.runAsUsr`: not supported"),
        (deployment("runAsUser: 65532", "seccompProfile: {type: Localhost}"), "would not enforce"),
        (deployment("runAsUser: 65532", "appArmorProfile: {}"), "would not enforce"),
        (spec("securityContext: {seccompProfile: {type: Localhost}}"), "would not enforce"),
        (
            format!("{DEPLOYMENT}---\n{}", DEPLOYMENT.replace("kind: Deployment", "kind: StatefulSet")),
            "has the same name",
        ),
        (volume("hostPath: {path: /etc}"), "a volume of type `hostPath` is not supported"),
        (volume("csi: {driver: x}"), "a volume of type `csi` is not supported"),
        (volume("projected: {sources: []}"), "a volume of type `projected` is not supported"),
        (deployment("- name: server", "- name: casemate-mesh"), "the name `casemate-mesh` is reserved"),
        (format!("{DEPLOYMENT}---\n{DEPLOYMENT}"), "Deployment/inference is already in"),
    ];
    for (text, expected) in cases {
        let error = error_of("resources/deployment.yaml", &text).await;
        let got = words(&error);
        assert!(got.contains(expected), "expected `{expected}`, got `{got}`");
        assert!(got.contains("deployment.yaml:"), "{got}");
        assert!(!error.could_not_tell(), "{got}");
    }
}

#[tokio::test]
async fn errors_name_the_line() {
    for (from, to, line) in [
        ("          image: localhost", "          image: x/localhost", None),
        ("casemate/digits:1", "casemate/digits:2", Some("image: ")),
        ("value: info", "value: 7", Some("value: 7")),
        ("runAsUser: 65532", "runAsUser: x", Some("runAsUser: x")),
        ("mountPath: /etc/digits", "mountPath: etc", Some("- name: digits")),
    ] {
        let Some(line) = line else { continue };
        let text = DEPLOYMENT.replace(from, to);
        let number = text.lines().position(|found| found.contains(line)).unwrap() + 1;
        let got = words(&error_of("resources/deployment.yaml", &text).await);
        assert!(got.contains(&format!("deployment.yaml:{number}:")), "line {number}: {got}");
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_an_image_that_is_missing() {
    let rig = Rig::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.write("resources/deployment.yaml", &DEPLOYMENT.replace("localhost:5000", &free.to_string()));
    let before = rig.snapshot();
    let error = rig.generate().await.unwrap_err();
    assert!(error.could_not_tell() && error.hint().is_some(), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
    let mut options = rig.options();
    options.pod_image = Some(format!("{free}/casemate-pod:0"));
    let error = generate(&options).await.unwrap_err();
    assert!(error.could_not_tell() && words(&error).contains("pod_image"), "{}", words(&error));
}

#[tokio::test]
async fn a_failure_to_write_leaves_everything_as_it_was() {
    let rig = Rig::new();
    // The last file to be moved to its place is this one: a directory that is not empty stands there.
    rig.write("resources/casemate-coordinator.yml/x", "x");
    let before = rig.snapshot();
    let error = rig.generate().await.unwrap_err();
    assert!(matches!(error, GenerateError::Write { .. }), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
}

#[tokio::test]
async fn settings_and_manifest_are_read_strictly() {
    for (file, text, expected) in [
        ("settings.json", "{\"pod_imag\": \"x\"}", "settings.json:1: unknown field `pod_imag`"),
        ("settings.json", "{", "settings.json:1:"),
        ("manifest.json", "{}", "missing field `version`"),
        ("manifest.json", "{\n  \"version\": 1,\n  \"x\": 2\n}\n", "manifest line 3"),
    ] {
        let got = words(&error_of(file, text).await);
        assert!(got.contains(expected), "{got}");
    }
}

#[tokio::test]
async fn missing_inputs_are_told_apart() {
    let rig = Rig::new();
    let with = |change: fn(&mut GenerateOptions)| {
        let mut options = rig.options();
        change(&mut options);
        options
    };
    let error = generate(&with(|o| o.paths = vec!["/nowhere".into()])).await.unwrap_err();
    assert!(matches!(error, GenerateError::Read { .. }) && !error.could_not_tell());
    let empty = tempfile::tempdir().unwrap();
    let mut options = rig.options();
    options.paths = vec![empty.path().to_owned()];
    assert!(matches!(generate(&options).await.unwrap_err(), GenerateError::NoFiles { .. }));
    let error = generate(&with(|o| o.platform = "metal".into())).await.unwrap_err();
    assert!(matches!(error, GenerateError::Platform { .. }) && error.hint().is_some());
    let error = generate(&with(|o| o.software = None)).await.unwrap_err();
    assert!(matches!(error, GenerateError::NoReferenceValues { .. }));
    let error = generate(&with(|o| o.owner_keys.clear())).await.unwrap_err();
    assert!(matches!(error, GenerateError::NoKeys { field: "owners" }), "{}", words(&error));
    std::fs::write(rig.dir.path().join("resources/deployment.yaml"), "kind: Namespace\nmetadata: {name: x}\n").unwrap();
    let error = rig.generate().await.unwrap_err();
    assert!(matches!(error, GenerateError::NoWorkload) && error.hint().is_some());
}

#[tokio::test]
async fn all_kinds_and_lists_are_bound() {
    let rig = Rig::new();
    let pod = "{metadata: {labels: {app: x}}, spec: {runtimeClassName: kata-qemu-snp, containers: \
               [{name: c, image: localhost:5000/casemate/digits:1}]}}";
    let mut text = String::from("kind: List\nitems:\n");
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"] {
        text.push_str(&format!(
            "- {{kind: {kind}, metadata: {{name: a-{}}}, spec: {{template: {pod}}}}}\n",
            kind.to_lowercase()
        ));
    }
    text.push_str(&format!("---\nkind: Pod\n{}", "metadata: {name: a-pod}\nspec: {runtimeClassName: contrast-cc, containers: [{name: c, image: localhost:5000/casemate/digits:1, args: [-v]}]}\n"));
    text.push_str("---\nkind: Pod\nmetadata: {name: plain}\nspec: {containers: [{name: c, image: x}]}\n");
    rig.write("resources/more.yaml", &text);
    let report = rig.generate().await.unwrap();
    assert_eq!(report.workloads.len(), 8);
    assert!(
        report.notices.iter().any(|notice| notice.contains("Pod/plain is not confidential")),
        "{:?}",
        report.notices
    );
    let documents = yaml::parse(&rig.read("resources/more.yaml")).unwrap();
    let items = documents[0].tree["items"].as_array().unwrap().iter();
    for resource in items.chain([&documents[1].tree]) {
        let pod = if resource["kind"] == "Pod" { resource } else { &resource["spec"]["template"] };
        let text = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap();
        let initdata = Initdata::from_annotation(text).unwrap();
        let mut engine = PolicyEngine::new(initdata.policy().unwrap()).unwrap();
        for index in [0, 1, 12] {
            let name = pod_name(resource, index);
            let instance =
                PodInstance { hostname: name.clone(), name, sandbox_id: "a".repeat(64), ..PodInstance::default() };
            let decision = engine.decide("CreateSandboxRequest", &sandbox_request(pod, &instance)).unwrap();
            assert!(decision.allowed, "{resource}: {:?}", decision.reasons);
            engine = PolicyEngine::new(initdata.policy().unwrap()).unwrap();
        }
        let command = &pod["spec"]["containers"][0]["command"];
        assert_eq!(*command, json!([LAUNCHER, "--", "/casemate-serve"]));
    }
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn an_image_that_changes_its_command_is_followed() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    rig.registry.push("casemate/digits", "2", &json!({"Entrypoint": ["/other"], "Cmd": ["unused"]}));
    let text = rig.read("resources/deployment.yaml");
    let pinned = text.lines().find(|line| line.contains("casemate/digits")).unwrap().trim().to_owned();
    rig.write("resources/deployment.yaml", &text.replace(&pinned, "image: localhost:5000/casemate/digits:2"));
    rig.generate().await.unwrap();
    let container = rig.deployment()["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container["command"], json!([LAUNCHER, "--", "/other"]));
    assert_eq!(container["args"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_pod_may_go_without_injection() {
    let rig = Rig::new();
    let text = DEPLOYMENT.replace("    metadata:\n      labels:\n        app: inference\n    spec:", "    metadata:\n      annotations: {casemate.dev/skip-initializer: \"true\"}\n      labels:\n        app: inference\n    spec:");
    assert_ne!(text, DEPLOYMENT);
    rig.write("resources/deployment.yaml", &text);
    let report = rig.generate().await.unwrap();
    let spec = rig.deployment()["spec"]["template"]["spec"].clone();
    assert!(spec["initContainers"].is_null() && spec["containers"][0]["command"].is_null());
    assert!(report.workloads[1].notices.iter().any(|notice| notice.contains("nothing is injected")));
    let settings = Initdata::from_annotation(annotation(&rig.deployment())).unwrap().settings().unwrap();
    assert!(!settings.mesh && settings.files.is_empty());
    // Changing one's mind adds everything.
    let injected = rig
        .read("resources/deployment.yaml")
        .replace("casemate.dev/skip-initializer: \"true\"", "a: b")
        .replace("{\"casemate.dev/skip-initializer\":\"true\"", "{\"a\":\"b\"");
    rig.write("resources/deployment.yaml", &injected);
    rig.generate().await.unwrap();
    assert!(rig.read("resources/deployment.yaml").contains("casemate-initializer"));
}

#[tokio::test]
async fn annotations_add_secrets_and_names() {
    let rig = Rig::new();
    let text = DEPLOYMENT.replace("    metadata:\n      labels:\n        app: inference\n    spec:", "    metadata:\n      annotations:\n        casemate.dev/secrets: a, b\n        casemate.dev/names: digits.example.org\n      labels:\n        app: inference\n    spec:");
    rig.write("resources/deployment.yaml", &text);
    rig.generate().await.unwrap();
    let manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    let entry = manifest.policies.values().find(|entry| entry.role == Role::Workload).unwrap();
    assert_eq!(entry.secrets.iter().collect::<Vec<_>>(), ["a", "b", "digits-model-key"]);
    assert_eq!(entry.names, ["inference", "digits.example.org"]);
    for (key, value) in [("secrets", "a/b"), ("names", "Bad_Name")] {
        let text = text
            .replace("casemate.dev/secrets: a, b", &format!("casemate.dev/{key}: {value}"))
            .replace("        casemate.dev/names: digits.example.org\n", "");
        let got = words(&error_of("resources/deployment.yaml", &text).await);
        assert!(got.contains(&format!("`metadata.annotations.casemate.dev/{key}`")), "{got}");
    }
}

#[tokio::test]
async fn a_coordinator_of_the_user_is_used() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let own = rig.read("resources/casemate-coordinator.yml").replace("storage: 1Gi", "storage: 9Gi");
    assert!(own.contains("9Gi"));
    std::fs::remove_file(rig.dir.path().join("resources/casemate-coordinator.yml")).unwrap();
    rig.write("resources/my-coordinator.yaml", &own);
    let report = rig.generate().await.unwrap();
    assert!(report.up_to_date, "{:?}", report.changed);
    rig.write(
        "resources/second.yaml",
        &own.replace("name: coordinator\n", "name: second\n").replace("coordinator-store", "second-store"),
    );
    let got = words(&rig.generate().await.unwrap_err());
    assert!(got.contains("there is another Coordinator"), "{got}");
}

/// The example with a line after the container's `args`.
fn with_container(line: &str) -> String {
    DEPLOYMENT.replace("          env:\n", &format!("          {line}\n          env:\n"))
}

#[tokio::test]
async fn nothing_of_the_hosts_reaches_the_launcher() {
    let mounted = |path: &str| DEPLOYMENT.replace("mountPath: /etc/digits", &format!("mountPath: {path}"));
    for path in [
        "/casemate",
        "/casemate/",
        "//casemate",
        "/casemate/bin",
        "/casemate/bin/launch",
        "/./casemate/secrets",
        "/casemate-in",
        "/casemate-in/podinfo",
        "/casemate-files/x",
        "casemate/bin",
    ] {
        let got = words(&error_of("resources/deployment.yaml", &mounted(path)).await);
        assert!(
            got.contains("volumeMounts[0].mountPath`") && got.contains("belongs to the initializer"),
            "{path}: {got}"
        );
    }
    for path in ["/", "//", "/."] {
        let error = error_of("resources/deployment.yaml", &mounted(path)).await;
        assert!(words(&error).contains("mountPath"), "{path}: {}", words(&error));
    }
    for path in ["/casemate/bin/launch", "/casemate-in/../casemate/x", "/x/../casemate/bin/launch", "log", "/"] {
        let got = words(
            &error_of("resources/deployment.yaml", &with_container(&format!("terminationMessagePath: {path}"))).await,
        );
        assert!(got.contains("terminationMessagePath"), "{path}: {got}");
    }
    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &mounted("/casemates/bin/"));
    let report = rig.generate().await.unwrap();
    assert!(rig.read("resources/deployment.yaml").contains("mountPath: /casemates/bin\n"));
    assert!(report.workloads[1].notices.iter().any(|notice| notice.contains("`/casemates/bin`")), "{report:?}");
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn nothing_is_mounted_inside_what_the_host_fills() {
    let claims = |outer: &str, inner: &str| {
        let mounts = format!(
            "volumeMounts:\n            - {{name: c, mountPath: {outer}}}\n            - {{name: m, mountPath: {inner}}}\n"
        );
        DEPLOYMENT
            .replace("volumeMounts:\n", &mounts)
            .replace("      volumes:\n", "      volumes:\n        - {name: c, persistentVolumeClaim: {claimName: c}}\n        - {name: m, emptyDir: {}}\n")
    };
    for (outer, inner) in [("/data", "/data/x"), ("/data/", "/data/x/y"), ("/etc", "/x"), ("/var", "/var/x")] {
        let got = words(&error_of("resources/deployment.yaml", &claims(outer, inner)).await);
        assert!(got.contains("whose content is the host's"), "{outer} {inner}: {got}");
    }
    let rig = Rig::new();
    rig.write("resources/deployment.yaml", &claims("/data", "/data-x"));
    rig.generate().await.unwrap();
}

#[tokio::test]
async fn no_text_passes_for_a_value_of_the_cluster() {
    for (from, to, path) in [
        ("value: info", "value: \"\\x01ip\\x01\"", "env.0.value"),
        ("value: info", "value: \"a\\u001b[0m\"", "env.0.value"),
        ("- --labels", "- \"\\0\"", "args.4"),
        ("        app: inference\n    spec:", "        app: \"\\x7f\"\n    spec:", "metadata.labels.app"),
        ("- name: LOG_LEVEL", "- name: \"\\x01\"", "env.0.name"),
    ] {
        let text = DEPLOYMENT.replace(from, to);
        assert_ne!(text, DEPLOYMENT);
        let error = error_of("resources/deployment.yaml", &text).await;
        let got = words(&error);
        assert!(got.contains("control character") && got.contains(path) && error.hint().is_some(), "{got}");
    }
    // In a file of a ConfigMap any text may stand; in a variable it may not.
    let rig = Rig::new();
    rig.write("resources/configmap.yaml", &format!("{CONFIG_MAP}  esc: \"\\e[0m\"\n"));
    rig.generate().await.unwrap();
    let got = words(
        &error_of(
            "resources/deployment.yaml",
            &format!(
                "{}---\nkind: ConfigMap\nmetadata: {{name: esc}}\ndata: {{a: \"\\x01ip\\x01\"}}\n",
                DEPLOYMENT.replace("value: info", "valueFrom: {configMapKeyRef: {name: esc, key: a}}")
            ),
        )
        .await,
    );
    assert!(got.contains("`a` holds the control character U+0001"), "{got}");
}

#[tokio::test]
async fn kinds_of_others_pass_untouched_unless_they_ask_for_a_confidential_pod() {
    let knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\nspec:\n  template:\n    spec:\n      runtimeClassName: CLASS\n";
    let volcano = "apiVersion: batch.volcano.sh/v1alpha1\nkind: Job\nmetadata: {name: inference}\nspec: {tasks: [{template: {spec: {runtimeClassName: CLASS}}}]}\n";
    let template =
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {name: t}\ntemplate: {spec: {runtimeClassName: CLASS}}\n";
    let misplaced = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m}\nspec: {runtimeClassName: CLASS, template: {spec: {containers: []}}}\n";
    let strange = "# of others\nkind: Kustomization\nresources: [ a, b ]\n---\napiVersion: x.io/v1\nkind: Strange\nmetadata: {generateName: s-}\nspec: {anything: [1, {x: \"\\e\"}]}\n---\napiVersion: x.io/v1\nkind: Strange\nmetadata: {generateName: s-}\n";
    for (name, text) in [("Service", knative), ("Job", volcano), ("PodTemplate", template), ("Deployment", misplaced)] {
        let error = error_of("resources/more.yaml", &text.replace("CLASS", "casemate")).await;
        let got = words(&error);
        assert!(got.contains(name) && got.contains("runtimeClassName: casemate`") && error.hint().is_some(), "{got}");
        assert!(got.contains("more.yaml:"), "{got}");
        let rig = Rig::new();
        rig.write("resources/more.yaml", &text.replace("CLASS", "kata-fc"));
        rig.generate().await.unwrap();
        assert_eq!(rig.read("resources/more.yaml"), text.replace("CLASS", "kata-fc"));
    }
    let rig = Rig::new();
    rig.write("resources/more.yaml", strange);
    rig.generate().await.unwrap();
    assert_eq!(rig.read("resources/more.yaml"), strange);
}

/// Whether every request of the pod number `index` of a generated resource passes its policy.
fn pod_is_allowed(resource: &Value, template: &str, index: u64, claims: &[&str]) {
    let mut pod = resource.pointer(template).unwrap().clone();
    let text = pod["metadata"]["annotations"][protocol::initdata::ANNOTATION].as_str().unwrap();
    let initdata = Initdata::from_annotation(text).unwrap();
    for claim in claims {
        let volume = json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        pod["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    }
    let name = pod_name(resource, index);
    let instance = PodInstance {
        hostname: name.clone(),
        name,
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        ..PodInstance::default()
    };
    let mut engine = PolicyEngine::new(initdata.policy().unwrap()).unwrap();
    let mut life = vec![
        ("CreateSandboxRequest", sandbox_request(&pod, &instance)),
        ("CreateContainerRequest", pause_request(&pod, &instance)),
    ];
    for list in ["initContainers", "containers"] {
        for (number, container) in pod["spec"][list].as_array().unwrap().iter().enumerate() {
            let entrypoint = if list == "containers" { "/casemate-serve" } else { "/casemate-pod" };
            let image = ImageConfig {
                entrypoint: vec![entrypoint.into()],
                env: vec!["PATH=/".into()],
                ..ImageConfig::default()
            };
            let image = if list == "containers" { image } else { ImageConfig { env: Vec::new(), ..image } };
            let id = format!("{:064x}", number + list.len() * 16);
            life.push(("CreateContainerRequest", container_request(&pod, container, &image, &instance, &id).unwrap()));
        }
    }
    for (endpoint, request) in life {
        let decision = engine.decide(endpoint, &request).unwrap();
        assert!(decision.allowed, "{}: {:?}", resource["kind"], decision.reasons);
    }
}

const POD: &str = "{runtimeClassName: casemate, containers: [{name: c, image: localhost:5000/casemate/digits:1}]}";

#[tokio::test]
async fn pods_of_cron_jobs_controllers_and_generated_names_are_allowed() {
    let rig = Rig::new();
    let text = format!(
        "apiVersion: v1\nkind: ReplicationController\nmetadata: {{name: rc}}\nspec: {{template: {{spec: {POD}}}}}\n---\n\
         apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: cron}}\nspec: {{schedule: '* * * * *', jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{generateName: gen-}}\nspec: {POD}\n---\n\
         apiVersion: batch/v1\nkind: Job\nmetadata: {{generateName: job-}}\nspec: {{completionMode: NonIndexed, template: {{spec: {POD}}}}}\n"
    );
    rig.write("resources/more.yaml", &text);
    let report = rig.generate().await.unwrap();
    let names: Vec<_> = report.workloads.iter().map(|workload| workload.name.as_str()).collect();
    assert_eq!(names, ["coordinator", "inference", "rc", "cron", "gen", "job"]);
    let documents = yaml::parse(&rig.read("resources/more.yaml")).unwrap();
    let templates = ["/spec/template", "/spec/jobTemplate/spec/template", "", "/spec/template"];
    for (document, template) in documents.iter().zip(templates) {
        pod_is_allowed(&document.tree, template, 3, &[]);
    }
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[tokio::test]
async fn claims_of_stateful_sets_are_bound() {
    let set = |claims: &str, volumes: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: set}}\nspec:\n  volumeClaimTemplates: {claims}\n  template:\n    spec:\n\
             \x20     runtimeClassName: casemate\n      containers:\n      - name: c\n        image: localhost:5000/casemate/digits:1\n\
             \x20       volumeMounts: [{{name: data, mountPath: /data}}]\n{volumes}"
        )
    };
    let rig = Rig::new();
    rig.write("resources/set.yaml", &set("[{metadata: {name: data}, spec: {}}]", ""));
    let report = rig.generate().await.unwrap();
    assert!(report.workloads[2].notices.iter().any(|notice| notice.contains("volume `data`: what is in the claim")));
    let written = yaml::parse(&rig.read("resources/set.yaml")).unwrap().remove(0).tree;
    let volumes = &written["spec"]["template"]["spec"]["volumes"];
    assert!(volumes.as_array().unwrap().iter().all(|volume| volume["name"] != "data"), "{volumes}");
    pod_is_allowed(&written, "/spec/template", 0, &["data"]);
    for (claims, volumes, word) in [
        ("[]", "", "volume `data` in `spec.volumes` is missing"),
        ("{}", "", "volumeClaimTemplates`: not a list"),
        ("[{metadata: {}}]", "", "no valid `metadata.name`"),
        ("[{metadata: {name: casemate}}]", "", "the name `casemate` is reserved"),
        ("[{metadata: {name: casemate-files-x}}]", "", "is reserved"),
        ("[{metadata: {name: data}}, {metadata: {name: data}}]", "", "another volume has the name `data`"),
        (
            "[{metadata: {name: data}}]",
            "      volumes: [{name: data, emptyDir: {}}]\n",
            "another volume has the name `data`",
        ),
        ("[{metadata: {name: data}, spec: {volumeMode: Block}}]", "", "a block device is not supported"),
    ] {
        let got = words(&error_of("resources/set.yaml", &set(claims, volumes)).await);
        assert!(got.contains(word) && got.contains("set.yaml:"), "{claims}: {got}");
    }
}

#[tokio::test]
async fn names_that_the_policy_could_not_foresee_are_refused() {
    let resource = |kind: &str, name: &str, spec: &str| format!("kind: {kind}\nmetadata: {{{name}}}\nspec: {spec}\n");
    let template = format!("{{template: {{spec: {POD}}}}}");
    let long = "x".repeat(64);
    for (text, word) in [
        (
            resource("Job", "name: a", &format!("{{completionMode: Indexed, template: {{spec: {POD}}}}}")),
            "spec.completionMode`",
        ),
        (
            resource(
                "CronJob",
                "name: a",
                &format!("{{jobTemplate: {{spec: {{completionMode: Indexed, template: {{spec: {POD}}}}}}}}}"),
            ),
            "jobTemplate.spec.completionMode`",
        ),
        (
            resource(
                "CronJob",
                &format!("name: {}", "x".repeat(53)),
                &format!("{{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}"),
            ),
            "longer than 52",
        ),
        (resource("Pod", &format!("name: {long}"), POD), "longer than 63"),
        (resource("StatefulSet", &format!("name: {}", "x".repeat(62)), &template), "longer than 63"),
        (resource("Deployment", "generateName: a-", &template), "no valid `metadata.name`"),
        (resource("Pod", "generateName: 7", POD), "no valid `metadata.name`"),
        (resource("Pod", "name: a", &POD.replace("{runtime", "{hostname: a.b, runtime")), "`a.b` is no host name"),
        (resource("Pod", "name: a", &POD.replace("name: c,", "name: C/x,")), "`C/x` is no valid name"),
        (resource("Pod", "name: a", &POD.replace("}]", "}, {name: c, image: z}]")), "the name `c` is there twice"),
        (
            resource("Pod", "name: a", &POD.replace("{runtime", "{volumes: [{name: a/b}], runtime")),
            "`a/b` is no valid name",
        ),
        (resource("Pod", "name: a, namespace: A", POD), "no valid `metadata.namespace`"),
        (resource("Pod", "name: a, namespace: 7", POD), "no valid `metadata.namespace`"),
    ] {
        let got = words(&error_of("resources/more.yaml", &text).await);
        assert!(got.contains(word) && got.contains("more.yaml:"), "{word}: {got}");
    }
    let rig = Rig::new();
    let hostname = POD.replace("{runtime", "{hostname: short, runtime");
    rig.write("resources/more.yaml", &resource("Pod", &format!("name: {long}"), &hostname));
    let error = rig.generate().await;
    // A certificate's name has labels of 63 at most.
    assert!(error.is_err_and(|error| words(&error).contains("is no DNS name")));
}

#[tokio::test]
async fn standard_input_becomes_standard_output() {
    let rig = Rig::new();
    let given = [DEPLOYMENT, SERVICE, CONFIG_MAP].join("---\n").replace("localhost:5000", &rig.registry.host);
    let mut options = rig.options();
    options.paths = vec![STDIN.into()];
    options.stdin = Some(given.clone().into_bytes());
    let before = rig.snapshot();
    options.check = true;
    assert!(!generate(&options).await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), before);
    options.check = false;
    let report = generate(&options).await.unwrap();
    let text = report.stdout.unwrap();
    assert!(text.starts_with("# The digits classifier") && text.contains("casemate-initializer"), "{text}");
    let kinds: Vec<_> = yaml::parse(&text).unwrap().iter().map(|document| document.tree["kind"].clone()).collect();
    assert_eq!(kinds, ["Deployment", "Service", "ConfigMap", "StatefulSet", "Service", "PersistentVolumeClaim"]);
    assert_eq!(report.changed.len(), 2, "{:?}", report.changed);
    // What came out may go in again.
    options.stdin = Some(text.clone().into_bytes());
    let again = generate(&options).await.unwrap();
    assert!(again.up_to_date && again.stdout.as_ref() == Some(&text));
    options.stdin = Some(b"a: [".to_vec());
    assert!(words(&generate(&options).await.unwrap_err()).starts_with("<stdin>:"));
}

#[tokio::test]
async fn a_namespace_is_that_of_the_resource_or_the_one_that_was_given() {
    let rig = Rig::new();
    let mut options = rig.options();
    assert!(generate(&options).await.unwrap().notices.iter().any(|notice| notice.contains("--namespace")));
    options.namespace = Some("prod".into());
    let report = generate(&options).await.unwrap();
    assert!(!report.notices.iter().any(|notice| notice.contains("--namespace")));
    let policy = Initdata::from_annotation(annotation(&rig.deployment())).unwrap();
    assert!(policy.policy().unwrap().contains("\"namespace\": \"prod\""));
    for bad in ["", "A", "a/b", "-a"] {
        options.namespace = Some(bad.into());
        assert!(matches!(generate(&options).await, Err(GenerateError::Namespace { .. })), "{bad}");
    }
}

#[tokio::test]
async fn output_keeps_the_tree_and_refuses_to_write_over_anything() {
    let rig = Rig::new();
    rig.write("resources/deep/er/plain.yaml", "kind: Namespace\nmetadata: {name: x}\n");
    let mut options = rig.options();
    options.output = Some(rig.dir.path().join("resources/out"));
    generate(&options).await.unwrap();
    assert!(rig.read("resources/out/deployment.yaml").contains("casemate-initializer"));
    assert!(rig.read("resources/out/deep/er/plain.yaml").contains("Namespace"));
    // What was written is no input of the next run.
    assert!(generate(&options).await.unwrap().up_to_date);
    std::fs::remove_dir_all(rig.dir.path().join("resources/out")).unwrap();
    let before = rig.snapshot();
    options.output = Some(rig.dir.path().join("resources"));
    let error = generate(&options).await.unwrap_err();
    assert!(words(&error).contains("leaves the originals alone") && !error.could_not_tell(), "{}", words(&error));
    options.output = Some(rig.dir.path().join("other"));
    rig.write("more/deployment.yaml", "kind: Namespace\nmetadata: {name: y}\n");
    options.paths.push(rig.dir.path().join("more"));
    let error = generate(&options).await.unwrap_err();
    assert!(words(&error).contains("would both be written here") && error.hint().is_some(), "{}", words(&error));
    std::fs::remove_dir_all(rig.dir.path().join("more")).unwrap();
    assert_eq!(rig.snapshot(), before);
}

#[tokio::test]
async fn links_and_the_form_of_lines_survive() {
    let rig = Rig::new();
    let crlf = format!("\u{feff}{}", DEPLOYMENT.replace('\n', "\r\n"));
    rig.write("elsewhere/real.yaml", &crlf);
    let at = |path: &str| rig.dir.path().join(path);
    std::fs::remove_file(at("resources/deployment.yaml")).unwrap();
    std::os::unix::fs::symlink("../elsewhere/real.yaml", at("resources/deployment.yaml")).unwrap();
    rig.generate().await.unwrap();
    assert!(at("resources/deployment.yaml").symlink_metadata().unwrap().is_symlink());
    let text = rig.read("elsewhere/real.yaml");
    assert!(text.starts_with('\u{feff}') && text.contains("casemate-initializer"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert!(rig.generate().await.unwrap().up_to_date);
}

#[test]
fn a_thousand_documents_are_read_in_a_moment() {
    let one = |index: usize| {
        format!(
            "{}---\n{}",
            DEPLOYMENT.replace("inference", &format!("w{index}")),
            CONFIG_MAP.replace("name: digits", &format!("name: c{index}"))
        )
    };
    let text = (0..1000).map(one).collect::<Vec<_>>().join("---\n");
    let begun = std::time::Instant::now();
    let (_, text) = source::Form::of(text);
    let documents = yaml::parse(&text).unwrap();
    let mut trees: Vec<_> = documents.iter().map(|document| document.tree.clone()).collect();
    assert_eq!(trees.len(), 2000);
    for tree in &mut trees {
        tree["metadata"]["labels"] = json!({"x": "y"});
    }
    assert!(yaml::rewrite(&text, &documents, &trees).in_place);
    // Half of that on an idle machine; it was minutes when lines were counted from the top.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn no_value_anywhere_in_a_pod_makes_generate_panic() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.check = true;
    options.paths = vec![STDIN.into()];
    let tree = yaml::parse(&DEPLOYMENT.replace("localhost:5000", &rig.registry.host)).unwrap().remove(0).tree;
    fn walk(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(value, &format!("{at}/{key}"), all)),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, value)| walk(value, &format!("{at}/{i}"), all));
            }
            _ => {}
        }
    }
    let mut pointers = Vec::new();
    walk(&tree, "", &mut pointers);
    let odd = [
        json!(null),
        json!(""),
        json!("340282366920938463463374607431768211"),
        json!(-1),
        json!(1e300),
        json!([null]),
        json!({"": {}}),
    ];
    let mut refused = 0;
    for (index, pointer) in pointers.iter().enumerate().skip(1) {
        // Another image would be asked for at another registry.
        for offset in (0..3).filter(|_| !pointer.ends_with("/image")) {
            let mut tree = tree.clone();
            *tree.pointer_mut(pointer).unwrap() = odd[(index * 3 + offset) % odd.len()].clone();
            let text = format!("{}---\n{CONFIG_MAP}", yaml::emit_document(&tree));
            options.stdin = Some(text.into_bytes());
            match generate(&options).await {
                Ok(_) => {}
                Err(error) => {
                    refused += 1;
                    assert!(!error.could_not_tell(), "{pointer}: {}", words(&error));
                }
            }
        }
    }
    assert!(refused > 50, "{refused} of {}", pointers.len() * 3);
}
