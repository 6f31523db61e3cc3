//! The command line as a person sees it, on a host made of files.

use std::path::Path;
use std::process::{Command, Output};

use expect_test::{Expect, expect};
use sha2::{Digest as _, Sha256};

fn casemate_node(args: &[&str], root: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_casemate-node"));
    command.args(args).arg("--root").arg(root);
    command.output().unwrap()
}

/// What is printed, and the exit status.
fn check(args: &[&str], root: &Path, expected: Expect) {
    let Output { status, stdout, stderr } = casemate_node(args, root);
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    let text = text.replace(&root.display().to_string(), "ROOT");
    expected.assert_eq(&format!("{text}exit {}\n", status.code().unwrap()));
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Says which boot of the machine this is.
const BOOT: &str = "proc/sys/kernel/random/boot_id";

/// A host with containerd 2.1 and a bundle of one class.
fn host() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "etc/containerd/config.toml", "version = 3\nroot = '/var/lib/containerd'\n");
    let file = |path: &str, text: &str, mode: &str| {
        write(dir.path(), &format!("bundle/{path}"), text);
        let digest = hex::encode(Sha256::digest(text));
        format!(
            "[[file]]\npath = \"{path}\"\nsha256 = \"{digest}\"\nmode = \"{mode}\"\nsource = {{ file = \"{path}\" }}\n"
        )
    };
    let files = file("bin/shim", "shim", "0755") + &file("etc/snp.toml", "# kata\n", "0644");
    let class = "[[class]]\nname = \"kata-qemu-snp\"\nshim = \"bin/shim\"\nconfig = \"etc/snp.toml\"\n";
    write(dir.path(), "bundle/bundle.toml", &format!("format = 1\nrelease = \"3.21.0\"\n{class}{files}"));
    let bundle = dir.path().join("bundle/bundle.toml").display().to_string();
    (dir, bundle)
}

#[test]
fn a_runtime_is_planned_installed_shown_and_removed() {
    let (dir, bundle) = host();
    let root = dir.path();
    write(root, BOOT, "first\n");
    check(
        &["runtime", "status"],
        root,
        expect![[r#"
        no runtime is installed for containerd
        exit 0
    "#]],
    );
    check(
        &["runtime", "plan", "--bundle", &bundle],
        root,
        expect![[r#"
        write /etc/containerd/conf.d/casemate.toml
          + # Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).
          + version = 3
          + 
          + [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
          +   runtime_type = "io.containerd.kata-qemu-snp.v2"
          +   runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          +   privileged_without_host_devices = true
          +   pod_annotations = ["io.katacontainers.*"]
          + [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
          +   ConfigPath = "/opt/casemate/kata/current/etc/snp.toml"
        change /etc/containerd/config.toml
          + imports = ["/etc/containerd/conf.d/casemate.toml"] # casemate-node
        exit 0
    "#]],
    );
    check(
        &["runtime", "install", "--no-restart", "--bundle", &bundle],
        root,
        expect![[r#"
            copy 2 files of release 3.21.0
            new pods get release 3.21.0
            write /etc/containerd/conf.d/casemate.toml
            change /etc/containerd/config.toml
            restart of containerd is left to somebody else
            exit 0
        "#]],
    );
    check(
        &["runtime", "install", "--no-restart", "--bundle", &bundle],
        root,
        expect![[r#"
            restart of containerd is left to somebody else
            exit 0
        "#]],
    );
    check(
        &["runtime", "status"],
        root,
        expect![[r#"
            release 3.21.0 for containerd
            classes         kata-qemu-snp
            containerd has not been restarted since its configuration was changed
            exit 0
        "#]],
    );
    // The machine is started anew, and containerd with it.
    write(root, BOOT, "second\n");
    check(
        &["runtime", "status"],
        root,
        expect![[r#"
        release 3.21.0 for containerd
        classes         kata-qemu-snp
        exit 0
    "#]],
    );
    check(
        &["runtime", "install", "--no-restart", "--bundle", &bundle],
        root,
        expect![[r#"
        nothing to do
        exit 0
    "#]],
    );
    check(
        &["runtime", "status", "--json"],
        root,
        expect![[r#"
        {
          "distribution": "containerd",
          "release": "3.21.0",
          "classes": [
            "kata-qemu-snp"
          ],
          "pending": null,
          "restart_due": false,
          "damaged": [],
          "configuration": [],
          "users": []
        }
        exit 0
    "#]],
    );
    check(
        &["runtime", "remove", "--no-restart"],
        root,
        expect![[r#"
        remove /etc/containerd/conf.d/casemate.toml
        change /etc/containerd/config.toml
        restart of containerd is left to somebody else
        remove the files of release 3.21.0
        everything is removed
        exit 0
    "#]],
    );
    write(root, BOOT, "third\n");
    for _ in 0..2 {
        check(
            &["runtime", "remove", "--no-restart"],
            root,
            expect![[r#"
        nothing to do
        exit 0
    "#]],
        );
    }
}

#[test]
fn classes_are_printed_as_far_as_there_are_any() {
    let (dir, bundle) = host();
    let root = dir.path();
    let none = expect![[r#"
        error: no class that there is an object for is installed here or in the bundle

        hint: name a bundle with `--bundle FILE`, or print every object with `--all`
        exit 1
    "#]];
    check(&["runtime", "classes"], root, none);
    let names = |args: &[&str]| -> Vec<String> {
        let output = casemate_node(&[&["runtime", "classes", "--json"], args].concat(), root);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let classes: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        classes.iter().map(|class| class["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--bundle", &bundle]), ["kata-qemu-snp"]);
    assert_eq!(names(&["--all"]).len(), 5);
    casemate_node(&["runtime", "install", "--no-restart", "--bundle", &bundle], root);
    assert_eq!(names(&[]), ["kata-qemu-snp"]);
    casemate_node(&["runtime", "remove", "--no-restart"], root);
    assert!(!casemate_node(&["runtime", "classes"], root).status.success());
}

#[test]
fn a_refusal_exits_with_one_and_says_what_to_do() {
    let (dir, bundle) = host();
    write(dir.path(), "etc/containerd/config.toml", "# ours\nversion = 1\n");
    check(
        &["runtime", "plan", "--bundle", &bundle],
        dir.path(),
        expect![[r#"
        error: /etc/containerd/config.toml:2: the file is of version 1, and runtimes are written for 2, 3 and 4

        hint: write it anew with `containerd config migrate`, and look at the result
        exit 1
    "#]],
    );
    write(dir.path(), "bundle/etc/snp.toml", "# changed\n");
    write(dir.path(), "etc/containerd/config.toml", "version = 2\n");
    check(
        &["runtime", "install", "--no-restart", "--bundle", &bundle],
        dir.path(),
        expect![[r#"
        error: `etc/snp.toml` has the SHA-256 8ff88919a6004572b4249e0f72b28ed9945e61bdd0e2e7d79ddb9c5b1248674f, and the bundle says 83e045124ad3b1ada39e462f1a076ba1673c572b2e61a10d16c69290ab9ba74f
        exit 1
    "#]],
    );
    write(dir.path(), "bundle/bundle.toml", "format = 1\nrelease = \"x\"\n");
    check(
        &["runtime", "install", "--no-restart", "--bundle", &bundle],
        dir.path(),
        expect![[r#"
        error: read bundle `ROOT/bundle/bundle.toml`
        caused by: line 2: `x` is no release: a digit, then letters, digits, `.` and `-`, at most 64
        exit 1
    "#]],
    );
}

#[test]
fn what_could_not_be_done_exits_with_two() {
    let (dir, bundle) = host();
    std::fs::remove_file(dir.path().join("bundle/bin/shim")).unwrap();
    check(
        &["runtime", "install", "--no-restart", "--bundle", &bundle],
        dir.path(),
        expect![[r#"
        error: open `ROOT/bundle/bin/shim`
        caused by: No such file or directory (os error 2)
        exit 2
    "#]],
    );
    check(
        &["runtime", "status", "--distribution", "k3s"],
        dir.path(),
        expect![[r#"
            no runtime is installed for k3s
            exit 0
        "#]],
    );
}

#[test]
fn an_inventory_names_what_is_offered_and_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    check(
        &["inventory"],
        root,
        expect![[r#"
        nothing is offered: no GPU is bound to VFIO
        exit 0
    "#]],
    );
    for (number, group) in [(0, Some("3")), (1, None)] {
        let folder = format!("sys/bus/pci/devices/0000:4{number}:00.0");
        for (file, text) in [("vendor", "0x10de"), ("class", "0x030200"), ("device", "0x2330"), ("numa_node", "0")] {
            write(root, &format!("{folder}/{file}"), text);
        }
        std::os::unix::fs::symlink("../../../bus/pci/drivers/vfio-pci", root.join(&folder).join("driver")).unwrap();
        if let Some(group) = group {
            let target = format!("../../../kernel/iommu_groups/{group}");
            std::os::unix::fs::symlink(target, root.join(&folder).join("iommu_group")).unwrap();
        }
    }
    check(
        &["inventory"],
        root,
        expect![[r#"
        nvidia.com/pgpu: 1
          group-3  0000:40:00.0  not fit: there is no /dev/vfio/3
        not offered: 0000:41:00.0 is in no IOMMU group
        exit 0
    "#]],
    );
    write(root, "dev/vfio/3", "");
    check(
        &["inventory", "--json"],
        root,
        expect![[r#"
        {
          "offers": {
            "nvidia.com/pgpu": {
              "units": [
                {
                  "id": "group-3",
                  "members": [
                    "0000:40:00.0"
                  ],
                  "nodes": [
                    "/dev/vfio/3"
                  ],
                  "numa": [
                    0
                  ],
                  "unfit": null
                }
              ],
              "rule": "any"
            }
          },
          "shared_nodes": [
            "/dev/vfio/vfio"
          ],
          "not_offered": [
            {
              "no-group": "0000:41:00.0"
            }
          ]
        }
        exit 0
    "#]],
    );
}

#[test]
fn a_device_plugin_beside_another_or_with_a_change_under_way_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let record = r#"{"version":1,"wish":"on","heading":"forward","step":"reset","devices":[],"failures":[],"lost":[]}"#;
    write(dir.path(), "var/lib/casemate/node/transition.json", record);
    check(
        &["device-plugin"],
        dir.path(),
        expect![[r#"
        error: a change to mode `on` is at step reset

        hint: `casemate-node agent` ends it, and offers devices itself
        exit 1
    "#]],
    );
    let _lock = node::lock::Lock::take(&node::Machine::new(dir.path()), "the agent").unwrap();
    let Output { status, stderr, .. } = casemate_node(&["device-plugin"], dir.path());
    let text = String::from_utf8(stderr).unwrap();
    assert!(text.starts_with("error: the devices of this machine belong to the agent, process "), "{text}");
    assert_eq!(status.code(), Some(1));
}
