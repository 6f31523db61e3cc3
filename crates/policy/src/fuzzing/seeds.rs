//! Where the fuzzer starts from: for each target a few small inputs of every shape that its reader knows.
//! `cargo test -p policy write_seeds -- --ignored` writes them anew.

use std::path::Path;

use protocol::Initdata;
use serde_json::{Value, json};

use super::{IMAGE, pod, policy_of_pod, replay::folder};
use crate::images::ImageConfig;
use crate::images::fake::archive::Tar;
use crate::images::fake::{GZIP, PLAIN, ZSTD, pack};
use crate::request::{PodInstance, container_request, copy_file_request, pause_request, pod_name, sandbox_request};

fn write(target: &str, seeds: Vec<(&str, Vec<u8>)>) {
    let folder = folder(target);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds {
        std::fs::write(folder.join(format!("seed-{name}")), bytes).unwrap();
    }
}

#[test]
#[ignore = "writes fuzz/corpus anew"]
fn write_seeds() {
    yaml();
    documents();
    layers();
    policies();
    requests();
    let hex = "ab".repeat(32);
    let digest = format!("host.example:5000/a/b:1@sha256:{hex}");
    let names = ["nginx", "a/b:c", "localhost/a", "[::1]:5000/a_b/c.d:v1", "index.docker.io/library/a"];
    let mut names: Vec<_> = names.iter().map(|name| (*name, name.as_bytes().to_vec())).collect();
    names.push(("digest", digest.into_bytes()));
    for (index, (_, bytes)) in names.into_iter().enumerate() {
        write("policy-reference", vec![(["a", "b", "c", "d", "e", "f"][index], bytes)]);
    }
}

fn yaml() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let names = [
        "odd-indentation",
        "block-scalars",
        "anchors",
        "document-markers",
        "flow-style",
        "haproxy-crlf",
        "quoted-keys",
        "merge-keys",
        "no-final-newline",
        "utf8-bom",
    ];
    for name in names {
        let bytes = std::fs::read(corpus.join(format!("{name}.yaml"))).unwrap();
        write("policy-yaml", vec![(name, bytes)]);
    }
    write(
        "policy-yaml",
        vec![
            ("tags", b"a: !!str 1\nb: !x [1]\n? c\n: d\n--- |\n text\n--- 7\n...\n".to_vec()),
            ("null", b"a:\nb: ~\n- \n".to_vec()),
            ("nested", b"- - - a: 1\n    b:\n    - c\n  - d\n-\n  e: {}\n".to_vec()),
        ],
    );
}

fn documents() {
    let hex = "ab".repeat(32);
    let digest = format!("sha256:{hex}");
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 7});
    let layer = json!({"mediaType": GZIP, "digest": digest, "size": 3});
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer]});
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
        "platform": {"os": "linux", "architecture": "amd64", "variant": "v2"}});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    let image = json!({"architecture": "amd64", "os": "linux",
        "config": {"Env": ["A=b"], "Entrypoint": ["/e"], "Cmd": ["c"], "User": "a:b", "WorkingDir": "/w",
            "Volumes": {"/v": {}}},
        "rootfs": {"type": "layers", "diff_ids": [digest]}});
    let with = |first: u8, value: &Value| [&[first][..], value.to_string().as_bytes()].concat();
    write(
        "policy-image-documents",
        vec![
            ("index", with(0, &index)),
            ("manifest", with(2, &manifest)),
            (
                "both",
                with(
                    9,
                    &json!({
            "manifests": [], "layers": [], "Layers": []}),
                ),
            ),
            ("config", with(9, &image)),
        ],
    );
    let bytes = |value: &Value| value.to_string().into_bytes();
    write(
        "policy-image-config",
        vec![
            ("full", bytes(&image)),
            ("empty", b"{}".to_vec()),
            ("twice", b"{\"os\":\"a\",\"os\":\"b\"}".to_vec()),
            ("windows", bytes(&json!({"os": "windows", "architecture": "amd64", "rootfs": {"diff_ids": []}}))),
        ],
    );
}

fn layers() {
    let users = Tar::default()
        .dir("./etc/")
        .pax("path", "etc/passwd")
        .file("x", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n")
        .long(b'L', "etc/group")
        .file("y", "root:x:0:\napp:x:1000:app\n")
        .end();
    let links = Tar::default().link("etc", "usr/etc").hard("usr/etc/passwd", "usr/lib/passwd").end();
    let whiteouts = Tar::default().file("etc/.wh..wh..opq", "").file("usr/.wh.lib", "").file(".wh.var", "").end();
    let with =
        |first: u8, archive: &[u8], packing: &'static str| [&[first][..], &pack(archive, packing).content].concat();
    write(
        "policy-layer",
        vec![
            ("plain", with(0, &users, PLAIN)),
            ("gzip", with(1, &users, GZIP)),
            ("zstd", with(2, &users, ZSTD)),
            ("links", with(0, &links, PLAIN)),
            ("whiteouts", with(0, &whiteouts, PLAIN)),
            ("whiteouts-gzip", with(1, &whiteouts, GZIP)),
        ],
    );
}

fn policies() {
    let rego = policy_of_pod();
    let initdata = Initdata::parse(&format!(
        "version = \"0.1.0\"\nalgorithm = \"sha256\"\n\n[data]\n\"policy.rego\" = '''\n{rego}'''\n"
    ));
    let mut seeds = vec![
        ("none", b"apiVersion: v1\nkind: Pod\nspec: {containers: []}\n".to_vec()),
        ("package", b"package agent_policy\npolicy_data := {\"namespace\": 1}\n".to_vec()),
        (
            "data",
            b"version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"policy.rego\" = \"package agent_policy\"\n"
                .to_vec(),
        ),
        (
            "annotation",
            b"metadata: {annotations: {io.katacontainers.config.hypervisor.cc_init_data: H4sIAAA=}}\n".to_vec(),
        ),
    ];
    if let Ok(initdata) = initdata {
        seeds.push(("initdata", initdata.document().as_bytes().to_vec()));
    }
    write("policy-describe", seeds);
}

fn requests() {
    let pod = pod();
    let name = pod_name(&json!({"kind": "Deployment", "metadata": {"name": "app"}, "spec": {"template": pod}}), 1);
    let instance = PodInstance {
        hostname: name.clone(),
        name,
        namespace: "default".into(),
        uid: "a03a12a9-f2d5-4b92-952c-c47f68f7b795".into(),
        sandbox_id: "a".repeat(64),
        pod_ip: "10.0.0.7".into(),
        ..PodInstance::default()
    };
    let image = ImageConfig { entrypoint: vec!["/app".into()], ..ImageConfig::default() };
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], IMAGE);
    let created = container_request(&pod, container, &image, &instance, &"c".repeat(64)).unwrap();
    let one = |endpoint: &str, request: Value| json!({"ep": endpoint, "request": request}).to_string() + "\n";
    let sandbox = one("CreateSandboxRequest", sandbox_request(&pod, &instance));
    let pause = one("CreateContainerRequest", pause_request(&pod, &instance));
    let container = one("CreateContainerRequest", created);
    let copy = copy_file_request(
        &format!("/run/kata-containers/shared/containers/{}-0123456789abcdef-hosts", "c".repeat(64)),
        0o100_644,
        9,
        "",
    );
    let rest = [
        one("CopyFileRequest", copy),
        one("StartContainerRequest", json!({"container_id": "c".repeat(64)})),
        one("SignalProcessRequest", json!({"container_id": "c".repeat(64), "exec_id": "", "signal": 15})),
        one("RemoveContainerRequest", json!({"container_id": "c".repeat(64), "timeout": 0})),
        one("UpdateInterfaceRequest", json!({"interface": {"device": "eth0", "name": "eth0", "IPAddresses": []}})),
        one("ExecProcessRequest", json!({"container_id": "c".repeat(64), "process": {"Args": ["sh"]}})),
    ];
    let life = [sandbox.as_str(), &pause, &container].concat().into_bytes();
    let short = rest.concat().into_bytes();
    let seeds = |short_only: bool| {
        let mut seeds = vec![
            ("short", short.clone()),
            ("sandbox", sandbox.clone().into_bytes()),
            ("container", container.clone().into_bytes()),
            ("pause", pause.clone().into_bytes()),
        ];
        if !short_only {
            seeds.push(("life", life.clone()));
        }
        seeds
    };
    write("policy-decide", seeds(false));
    let log = b"[\"ep\":\"StatsContainerRequest\",{\"container_id\":\"x\"}],\n".to_vec();
    let list = b"[{\"kind\": \"ListRequest\", \"request\": {}}, {\"ep\": \"A\", \"request\": null, \"allowed\": true}]"
        .to_vec();
    write("policy-requests", vec![("log", log), ("list", list), ("short", short)]);
}
