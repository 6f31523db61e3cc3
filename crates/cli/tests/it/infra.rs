//! `casemate infra`: folders and files that are whole or not there.

use expect_test::expect;

use super::casemate;

const GKE: [&str; 9] = ["infra", "init", "gke", "--project", "my-project", "--region", "europe-west4", "--tee", "snp"];

#[test]
fn a_folder_of_terraform_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    expect![[r#"
        exit 0
        --- stdout
        wrote `./gke`: 13 files
        --- stderr
        next:
          cd ./gke
          terraform init
          terraform plan -out plan.tfplan
          terraform apply plan.tfplan
          eval "$(terraform output -raw get_credentials)"
          eval "$(terraform output -raw registry_login)"
          casemate infra files --platform gke-snp --registry europe-west4-docker.pkg.dev/my-project/casemate --output files
          casemate doctor
        `terraform apply` costs money; `terraform plan` shows what it would make
    "#]].assert_eq(&casemate(dir.path(), &GKE));
    let variables = std::fs::read_to_string(dir.path().join("gke/terraform.tfvars")).unwrap();
    assert!(variables.contains("tee        = \"SEV_SNP\""), "{variables}");
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `./gke` is there already

        hint: name another folder with `--output`
    "#]]
    .assert_eq(&casemate(dir.path(), &GKE));
    let elsewhere = casemate(dir.path(), &[&GKE[..], &["--output", "clusters/prod", "--json"]].concat());
    assert!(elsewhere.starts_with("exit 0\n") && elsewhere.contains("\"platform\":\"gke-snp\""), "{elsewhere}");
}

#[test]
fn wrong_inputs_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (wrong, says) in [
        (["--project", "<my-project>"], "is no project id"),
        (["--region", "europe-west4-a"], "is a zone, of the region `europe-west4`"),
        (["--region", "Europe"], "is no region"),
        (["--name", "Casemate"], "is no name of a cluster"),
        (["--zone", "us-central1-a"], "is no zone of `europe-west4`"),
        (["--tee", "sgx"], "invalid value 'sgx'"),
        (["--gpu-zone", "europe-west4-c"], "--gpu"),
    ] {
        let mut arguments: Vec<&str> = GKE.to_vec();
        match arguments.iter().position(|argument| *argument == wrong[0]) {
            Some(at) => arguments[at + 1] = wrong[1],
            None => arguments.extend(wrong),
        }
        let said = casemate(dir.path(), &arguments);
        assert!(said.starts_with("exit 1\n") && said.contains(says), "{wrong:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn files_of_a_platform_are_written_all_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["infra", "files", "--platform", "metal-qemu-snp"];
    expect![[r#"
        exit 0
        --- stdout
        wrote `./runtime-metal-qemu-snp.yml`
        wrote `./configuration-metal-qemu-snp.yml`
        wrote `./coordinator-metal-qemu-snp.yml`
        --- stderr
        images are at `registry.example.com`, which nobody has: `--registry` says where yours are
    "#]]
    .assert_eq(&casemate(dir.path(), &files));
    // The same again changes nothing; another registry would.
    assert!(casemate(dir.path(), &files).starts_with("exit 0\n"));
    let other = [&files[..], &["--registry", "ghcr.io/me"]].concat();
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `./runtime-metal-qemu-snp.yml` is there already

        hint: `--replace` replaces it, and `--output` writes elsewhere
    "#]]
    .assert_eq(&casemate(dir.path(), &other));
    assert!(casemate(dir.path(), &[&other[..], &["--replace"]].concat()).starts_with("exit 0\n"));
    let text = std::fs::read_to_string(dir.path().join("coordinator-metal-qemu-snp.yml")).unwrap();
    assert!(text.contains("image: ghcr.io/me/casemate-pod:"), "{text}");
}

#[test]
fn platforms_without_a_file_say_why() {
    let dir = tempfile::tempdir().unwrap();
    for (platform, exit, says) in [
        ("gke-snp", "exit 0", "no `coordinator-gke-snp.yml`"),
        ("metal-sgx", "exit 0", "no `coordinator-metal-sgx.yml`"),
        ("aks-clh-snp", "exit 0", "no `runtime-aks-clh-snp.yml`"),
        ("local", "exit 1", "this machine, and no cluster"),
        ("metal-qemu-snpp", "exit 1", "is no platform"),
    ] {
        let said = casemate(dir.path(), &["infra", "files", "--platform", platform]);
        assert!(said.starts_with(exit) && said.contains(says), "{said}");
    }
    let said = casemate(dir.path(), &["infra", "files", "--platform", "gke-snp", "--registry", "https://ghcr.io/me"]);
    assert!(said.starts_with("exit 1\n") && said.contains("has a scheme"), "{said}");
}

/// What stands in the Coordinator's file is everything that `generate` needs: it completes it, and for a whole cluster it
/// adds no second Coordinator.
#[test]
fn generate_completes_the_coordinator_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let image = layout(dir.path());
    for platform in ["metal-qemu-snp", "k3s-qemu-tdx", "aks-clh-snp"] {
        let folder = dir.path().join(platform);
        std::fs::create_dir(&folder).unwrap();
        let made = casemate(&folder, &["infra", "files", "--platform", platform, "--registry", "registry.test/a"]);
        assert!(made.starts_with("exit 0\n"), "{made}");
        let file = format!("coordinator-{platform}.yml");
        let before = std::fs::read_to_string(folder.join(&file)).unwrap();
        let layout = format!("{image}=oci:{}", dir.path().join("layout").display());
        let arguments =
            ["generate", "--reference-values", platform, "--pod-image", &image, "--image-layout", &layout, &file];
        let said = casemate(&folder, &arguments);
        assert!(said.starts_with("exit 0\n"), "{said}");
        let after = std::fs::read_to_string(folder.join(&file)).unwrap();
        let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
        let words: Vec<&str> = new.iter().map(|line| line.trim_start().split(' ').next().unwrap_or_default()).collect();
        assert_eq!(words, ["annotations:", "io.katacontainers.config.hypervisor.cc_init_data:", "image:"], "{new:?}");
        assert!(!folder.join("casemate-coordinator.yml").exists());
    }
}

/// An image of one file, as an OCI layout.
fn layout(dir: &std::path::Path) -> String {
    use sha2::Digest as _;
    let blobs = dir.join("layout/blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, bytes: &[u8]| {
        let digest = hex::encode(sha2::Sha256::digest(bytes));
        std::fs::write(blobs.join(&digest), bytes).unwrap();
        serde_json::json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{digest}"), "size": bytes.len(),
        })
    };
    // A tar archive without entries: two blocks of zeros.
    let tar = [0_u8; 1024];
    let layer = put("layer.v1.tar", &tar);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/casemate-pod"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    });
    let config = put("config.v1+json", config.to_string().as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer],
    });
    let manifest = put("manifest.v1+json", manifest.to_string().as_bytes());
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(dir.join("layout/index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("layout/oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    format!("registry.test/a/casemate-pod:{}", env!("CARGO_PKG_VERSION"))
}
