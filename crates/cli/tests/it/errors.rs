//! Wrong input is exit 1, "could not tell" is exit 2, and both say what, where and what next.

use expect_test::{Expect, expect};

use super::{MANIFEST, casemate};

fn check(files: &[(&str, &str)], arguments: &[&str], expected: Expect) {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    expected.assert_eq(&casemate(dir.path(), arguments));
}

#[test]
fn a_yaml_syntax_error_has_its_place() {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: [\n";
    check(
        &[("r/pod.yaml", yaml)],
        &["generate", "--reference-values", "local", "r"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: r/pod.yaml:4:9: unclosed bracket '['
    "#]],
    );
}

#[test]
fn an_unknown_kind_has_its_place() {
    let yaml = "apiVersion: v1\nkind: Deploymnet\nmetadata:\n  name: a\n";
    check(
        &[("r/a.yaml", yaml)],
        &["generate", "--reference-values", "local", "r"],
        expect![[r#"
            exit 1
            --- stdout
            --- stderr
            error: none of the resources has `runtimeClassName: casemate`

            hint: set `spec.template.spec.runtimeClassName: casemate` on what is to be confidential
        "#]],
    );
}

#[test]
fn a_folder_without_resources_is_named() {
    check(
        &[("r/readme.txt", "x")],
        &["generate", "--reference-values", "local", "r"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: no YAML files in `r`
    "#]],
    );
}

#[test]
fn a_platform_that_is_not_known_says_what_was_meant() {
    check(
        &[],
        &["generate", "--reference-values", "metal-qemu-snpp", "r"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: platform `metal-qemu-snpp`: not a platform

        hint: did you mean `metal-qemu-snp`?
    "#]],
    );
}

#[test]
fn a_platform_whose_pods_nothing_would_bind_says_why() {
    check(
        &[],
        &["generate", "--reference-values", "gke-snp", "r"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: platform `gke-snp`: the node is the TEE and its kubelet is inside: there is no initdata, and nothing would bind a pod to its policy

        hint: `casemate reference-values platforms` lists those whose pods are guests of their own
    "#]],
    );
}

#[test]
fn software_beside_hardware_is_refused() {
    let arguments = ["generate", "--reference-values", "local", "--reference-values", "metal-qemu-tdx", "r"];
    check(
        &[],
        &arguments,
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: platform `local`: what accepts the software TEE may accept no hardware beside it (promise P8)

        hint: generate for hardware in another work folder
    "#]],
    );
}

#[test]
fn the_platforms_are_listed() {
    check(
        &[],
        &["reference-values", "platforms"],
        expect![[r#"
        exit 0
        --- stdout
        PLATFORM            TEE         RUNTIME CLASS             WHAT IT IS
        local               software    casemate                  the local engine on this machine, INSECURE
        metal-qemu-snp      SEV-SNP     kata-qemu-snp             your own machines with AMD EPYC
        metal-qemu-snp-gpu  SEV-SNP     kata-qemu-nvidia-gpu-snp  the same with NVIDIA GPUs
        k3s-qemu-snp        SEV-SNP     kata-qemu-snp             k3s on machines with AMD EPYC
        k3s-qemu-snp-gpu    SEV-SNP     kata-qemu-nvidia-gpu-snp  the same with NVIDIA GPUs
        metal-qemu-tdx      TDX         kata-qemu-tdx             your own machines with Intel Xeon
        metal-qemu-tdx-gpu  TDX         kata-qemu-nvidia-gpu-tdx  the same with NVIDIA GPUs
        k3s-qemu-tdx        TDX         kata-qemu-tdx             k3s on machines with Intel Xeon
        aks-clh-snp         SEV-SNP     kata-cc-isolation         Azure's preview, which has ended: for clusters that are left
        metal-sgx           SGX         -                         enclaves in ordinary pods of your own machines
        gke-snp             the node's  -                         Confidential GKE Nodes with SEV-SNP; `generate` makes nothing for it
        gke-tdx             the node's  -                         Confidential GKE Nodes with TDX; `generate` makes nothing for it
        gke-sev             the node's  -                         Confidential GKE Nodes with SEV; `generate` makes nothing for it
        --- stderr
    "#]],
    );
}

#[test]
fn a_manifest_with_gaps_is_refused_with_their_places() {
    let values = "\"snp\": [{\"platform\": \"metal-qemu-snp\", \"product\": null, \"measurements\": null, \"chip_ids\": null, \"tcb\": null}]";
    let begin = MANIFEST.find("\"software\"").expect("reference values");
    let end = MANIFEST.find("  \"owners\"").expect("owners");
    let text = format!("{}{values}\n  }},\n{}", &MANIFEST[..begin], &MANIFEST[end..]);
    check(
        &[("manifest.json", &text)],
        &["set"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `./manifest.json`
          caused by: manifest: 4 reference values are still missing (null): `reference_values.snp[0].product`, `reference_values.snp[0].measurements`, `reference_values.snp[0].chip_ids` and 1 more

        hint: `casemate generate` says how to get each of them
    "#]],
    );
}

#[test]
fn a_file_that_holds_no_reference_values_is_named() {
    let arguments = ["generate", "--reference-values", "v.json", "r"];
    check(
        &[("v.json", "{\"snpp\": []}")],
        &arguments,
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `v.json`: no reference values: unknown field `snpp`, expected one of `software`, `snp`, `tdx`, `sgx`, `devices` at line 1 column 7

        hint: `casemate reference-values from EVIDENCE --platform NAME --output FILE` writes one
    "#]],
    );
}

#[test]
fn a_registry_that_is_down_is_could_not_tell() {
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  runtimeClassName: casemate\n  containers:\n    - name: a\n      image: 127.0.0.1:1/a:1\n";
    check(
        &[("r/a.yaml", yaml)],
        &["generate", "--reference-values", "local", "--pod-image", "127.0.0.1:1/pod:1", "r"],
        expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: `pod_image` of `./settings.json`
          caused by: registry `127.0.0.1:1` does not answer: Connection refused (os error 111)

        hint: start the registry at `127.0.0.1:1`, or wait and repeat
    "#]],
    );
}

#[test]
fn a_missing_manifest_says_how_to_get_one() {
    check(
        &[],
        &["verify", "--coordinator", "127.0.0.1:1"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: read `./manifest.json`
          caused by: No such file or directory (os error 2)

        hint: `casemate generate --reference-values local resources/` writes a manifest
    "#]],
    );
}

#[test]
fn a_misspelt_manifest_field_has_its_place() {
    let manifest = MANIFEST.replace("lease_seconds", "lease_secs");
    check(
        &[("manifest.json", &manifest)],
        &["verify", "--coordinator", "127.0.0.1:1"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `./manifest.json`
          caused by: manifest line 22 column 14: unknown field `lease_secs`, expected one of `version`, `deployment_id`, `policies`, `reference_values`, `owners`, `seed_share_holders`, `lease_seconds`
    "#]],
    );
}

#[test]
fn a_contradiction_in_the_manifest_has_its_path() {
    let manifest = MANIFEST.replace("\"threshold\": 1, \"keys\": [\"00\"]", "\"threshold\": 2, \"keys\": [\"00\"]");
    check(
        &[("manifest.json", &manifest)],
        &["verify", "--coordinator", "127.0.0.1:1"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `./manifest.json`
          caused by: manifest `owners.threshold`: is more than there are keys
    "#]],
    );
}

#[test]
fn no_coordinator_and_no_engine_is_explained() {
    check(
        &[("manifest.json", MANIFEST)],
        &["verify"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: no Coordinator is named and no local engine runs in this work folder

        hint: name one with `--coordinator HOST:1313`, or start one with `casemate up resources/`
    "#]],
    );
}

#[test]
fn a_resource_that_is_not_in_the_manifest_is_found_before_anything_is_sent() {
    check(
        &[("manifest.json", MANIFEST), ("r/a.yaml", "kind: Pod\n")],
        &["set", "r"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: the manifest lists `coordinator` with identity 111111111111, which is in none of the resources

        hint: name every generated resource, or run `casemate generate` again
    "#]],
    );
}

#[test]
fn a_secret_that_nobody_may_read_is_refused() {
    let files = [("manifest.json", MANIFEST), ("k", "x")];
    check(
        &files,
        &["secret", "put", "other", "--file", "k"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: the manifest lets no identity read `other`

        hint: add it to `secrets` of a policy in the manifest, then `casemate set`
    "#]],
    );
}

#[test]
fn a_secret_for_another_workload_is_refused() {
    let files = [("manifest.json", MANIFEST), ("k", "x")];
    check(
        &files,
        &["secret", "put", "model-key", "--file", "k", "--to", "web"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `model-key` may be read by inference, not by `web` alone
    "#]],
    );
}

#[test]
fn recover_without_shares_says_where_they_come_from() {
    check(
        &[("manifest.json", MANIFEST)],
        &["recover"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: read `./seed-shares.json`
          caused by: No such file or directory (os error 2)

        hint: the first `casemate set` writes it
    "#]],
    );
}

#[test]
fn shares_of_another_deployment_are_refused() {
    let shares = r#"{"version":1,"deployment_id":"ffffffffffffffffffffffffffffffff","threshold":1,"shares":[]}"#;
    check(
        &[("manifest.json", MANIFEST), ("seed-shares.json", shares)],
        &["recover"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `./seed-shares.json` is of deployment ffffffffffffffffffffffffffffffff, the manifest of 00112233445566778899aabbccddeeff
    "#]],
    );
}

#[test]
fn a_picture_that_is_none_is_named() {
    check(
        &[("7.png", "not a picture")],
        &["infer", "--image", "7.png"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `7.png` is not a usable PNG
          caused by: not a readable PNG file
          caused by: Invalid PNG signature.
    "#]],
    );
}

#[test]
fn an_engine_that_is_not_up_is_named() {
    check(
        &[],
        &["ps"],
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: the engine of `DIR` is not up

        hint: start it: `casemate up resources/`
    "#]],
    );
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    check(
        &[],
        &["--json", "verify", "--coordinator", "127.0.0.1:1"],
        expect![[r#"
        exit 1
        --- stdout
        {"error":"read `./manifest.json`","caused_by":["No such file or directory (os error 2)"],"hint":"`casemate generate --reference-values local resources/` writes a manifest","answer":"no"}
        --- stderr
    "#]],
    );
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    check(
        &[],
        &["--log-level", "lo=ud=", "ps"],
        expect![[r#"
            exit 1
            --- stdout
            --- stderr
            error: `--log-level lo=ud=`: `lo=ud=` is no level

            hint: levels are error, warn, info, debug and trace; `TARGET=LEVEL`, with commas between, is for parts
        "#]],
    );
}

#[test]
fn a_usage_error_is_wrong_input() {
    let dir = tempfile::tempdir().expect("a folder");
    assert!(casemate(dir.path(), &["generate", "r"]).starts_with("exit 1\n"));
    assert!(casemate(dir.path(), &["no-such-command"]).starts_with("exit 1\n"));
    assert!(casemate(dir.path(), &["--help"]).starts_with("exit 0\n"));
}

#[test]
fn a_threshold_never_changes_a_manifest_silently() {
    let files = [("manifest.json", MANIFEST), ("r/a.yaml", "kind: Pod\n")];
    let arguments = ["generate", "--reference-values", "local", "--owner-threshold", "2", "r"];
    check(
        &files,
        &arguments,
        expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `--owner-threshold 2`: the manifest says 1

        hint: remove manifest.json to start a new deployment, or leave the flag out
    "#]],
    );
}
