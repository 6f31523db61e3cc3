//! The containerd of the system itself: 1.7, 2.x, files that somebody wrote by hand.

use expect_test::expect;

use super::*;

#[test]
fn containerd_1_7_gets_lines_at_the_end_of_its_file() {
    let before = "\
version = 2
root = \"/var/lib/containerd\"

[plugins]
  [plugins.\"io.containerd.grpc.v1.cri\"]
    sandbox_image = \"registry.k8s.io/pause:3.9\"
    [plugins.\"io.containerd.grpc.v1.cri\".containerd]
      default_runtime_name = \"runc\"
      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes]
        [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
          runtime_type = \"io.containerd.runc.v2\"
          [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
            SystemdCgroup = true
";
    golden(
        Distribution::Containerd,
        &[(MAIN, before)],
        expect![[r#"
            == change /etc/containerd/config.toml
            version = 2
            root = "/var/lib/containerd"

            [plugins]
              [plugins."io.containerd.grpc.v1.cri"]
                sandbox_image = "registry.k8s.io/pause:3.9"
                [plugins."io.containerd.grpc.v1.cri".containerd]
                  default_runtime_name = "runc"
                  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
                    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
                      runtime_type = "io.containerd.runc.v2"
                      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                        SystemdCgroup = true
            # BEGIN casemate-node 977e4a0f6ced -- written by casemate-node; change nothing up to END
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp]
              runtime_type = "io.containerd.kata-qemu-snp.v2"
              runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
              privileged_without_host_devices = true
              pod_annotations = ["io.katacontainers.*"]
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp.options]
              ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
            # END casemate-node
        "#]],
    );
}

#[test]
fn containerd_1_7_is_not_given_an_import_since_it_would_lose_the_rest_of_the_plugin() {
    let before = "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
    golden(
        Distribution::Containerd,
        &[(MAIN, before)],
        expect![[r#"
        == change /etc/containerd/config.toml
        version = 2
        imports = ["/etc/containerd/conf.d/*.toml"]
        # BEGIN casemate-node 977e4a0f6ced -- written by casemate-node; change nothing up to END
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
        # END casemate-node
    "#]],
    );
}

#[test]
fn containerd_2_0_gets_an_import() {
    let before = "\
version = 3
root = '/var/lib/containerd'

[plugins]
  [plugins.'io.containerd.cri.v1.runtime']
    enable_selinux = false
    [plugins.'io.containerd.cri.v1.runtime'.containerd]
      default_runtime_name = 'runc'
";
    golden(
        Distribution::Containerd,
        &[(MAIN, before)],
        expect![[r#"
        == write /etc/containerd/conf.d/casemate.toml
        # Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).
        version = 3

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
        == change /etc/containerd/config.toml
        version = 3
        imports = ["/etc/containerd/conf.d/casemate.toml"] # casemate-node
        root = '/var/lib/containerd'

        [plugins]
          [plugins.'io.containerd.cri.v1.runtime']
            enable_selinux = false
            [plugins.'io.containerd.cri.v1.runtime'.containerd]
              default_runtime_name = 'runc'
    "#]],
    );
}

#[test]
fn containerd_2_1_with_an_empty_list_of_imports() {
    let before = "version = 3\nroot = '/var/lib/containerd'\nimports = []\noom_score = 0\n";
    golden(
        Distribution::Containerd,
        &[(MAIN, before)],
        expect![[r#"
        == write /etc/containerd/conf.d/casemate.toml
        # Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).
        version = 3

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
        == change /etc/containerd/config.toml
        version = 3
        root = '/var/lib/containerd'
        imports = ["/etc/containerd/conf.d/casemate.toml", ]
        oom_score = 0
    "#]],
    );
}

#[test]
fn containerd_2_2_that_imports_a_folder_needs_no_change_of_its_own_file() {
    let before = [
        (MAIN, "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"),
        ("/etc/containerd/conf.d/10-site.toml", "version = 3\n[debug]\n  level = 'info'\n"),
    ];
    golden(
        Distribution::Containerd,
        &before,
        expect![[r#"
        == write /etc/containerd/conf.d/casemate.toml
        # Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).
        version = 3

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
    "#]],
    );
}

#[test]
fn a_host_without_a_file_gets_one() {
    golden(
        Distribution::Containerd,
        &[],
        expect![[r#"
        == write /etc/containerd/config.toml
        # Made by casemate-node, as there was no file here; containerd uses its defaults for the rest.
        version = 2
        # BEGIN casemate-node 977e4a0f6ced -- written by casemate-node; change nothing up to END
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
        # END casemate-node
    "#]],
    );
}

#[test]
fn a_hand_written_file_keeps_comments_layout_and_a_last_line_without_end() {
    let before = "\
# Ours since 2019. Ask Ines before touching!
version=2\t# two

disabled_plugins   = [ 'io.containerd.snapshotter.v1.aufs', ]   # no aufs

  [plugins.\"io.containerd.grpc.v1.cri\".registry]
  config_path=\"/etc/containerd/certs.d\"
[timeouts]
 \"io.containerd.timeout.shim.cleanup\" = \"5s\" # slow disks";
    golden(
        Distribution::Containerd,
        &[(MAIN, before)],
        expect![[r#"
        == change /etc/containerd/config.toml
        # Ours since 2019. Ask Ines before touching!
        version=2	# two

        disabled_plugins   = [ 'io.containerd.snapshotter.v1.aufs', ]   # no aufs

          [plugins."io.containerd.grpc.v1.cri".registry]
          config_path="/etc/containerd/certs.d"
        [timeouts]
         "io.containerd.timeout.shim.cleanup" = "5s" # slow disks
        # BEGIN casemate-node 977e4a0f6ced (after a line without end) -- written by casemate-node; change nothing up to END
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
        # END casemate-node
    "#]],
    );
}

#[test]
fn line_ends_of_another_system_are_kept() {
    golden(
        Distribution::Containerd,
        &[(MAIN, "version = 2\r\n[debug]\r\n  level = \"info\"\r\n")],
        expect![[r#"
        == change /etc/containerd/config.toml
        version = 2␍
        [debug]␍
          level = "info"␍
        # BEGIN casemate-node 977e4a0f6ced -- written by casemate-node; change nothing up to END␍
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp]␍
          runtime_type = "io.containerd.kata-qemu-snp.v2"␍
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"␍
          privileged_without_host_devices = true␍
          pod_annotations = ["io.katacontainers.*"]␍
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu-snp.options]␍
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"␍
        # END casemate-node␍
    "#]],
    );
    golden(
        Distribution::Containerd,
        &[(MAIN, "version = 3\r\n[debug]\r\n  level = \"info\"\r\n")],
        expect![[r#"
        == write /etc/containerd/conf.d/casemate.toml
        # Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).
        version = 3

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
          runtime_type = "io.containerd.kata-qemu-snp.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
        == change /etc/containerd/config.toml
        version = 3␍
        imports = ["/etc/containerd/conf.d/casemate.toml"] # casemate-node␍
        [debug]␍
          level = "info"␍
    "#]],
    );
}

#[test]
fn lines_move_when_containerd_is_upgraded() {
    let before = files(&[(MAIN, "version = 2\n")]);
    let mut after = apply(&before, &plan(Distribution::Containerd, &before, &snp()).unwrap());
    let migrated = after[MAIN].replacen("version = 2", "version = 3", 1);
    after.insert(MAIN.to_owned(), migrated);
    let after = apply(&after, &plan(Distribution::Containerd, &after, &snp()).unwrap());
    assert_eq!(after.keys().collect::<Vec<_>>(), ["/etc/containerd/conf.d/casemate.toml", MAIN]);
    let removed = apply(&after, &plan(Distribution::Containerd, &after, &[]).unwrap());
    assert_eq!(removed, files(&[(MAIN, "version = 3\n")]));
}

#[test]
fn what_an_administrator_adds_to_our_new_file_stays() {
    let before = Files::new();
    let mut after = apply(&before, &plan(Distribution::Containerd, &before, &snp()).unwrap());
    after.get_mut(MAIN).unwrap().push_str("[debug]\n  level = \"info\"\n");
    let removed = apply(&after, &plan(Distribution::Containerd, &after, &[]).unwrap());
    assert!(removed[MAIN].ends_with("version = 2\n[debug]\n  level = \"info\"\n"), "{}", removed[MAIN]);
}

#[test]
fn a_snapshotter_is_told_to_both_plugins_of_version_3() {
    let list = files(&[(MAIN, "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n")]);
    let edits = plan(Distribution::Containerd, &list, &[runtime("kata-qemu-tdx", Some("nydus"))]).unwrap();
    expect![[r##"
        # Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).
        version = 3

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-tdx]
          runtime_type = "io.containerd.kata-qemu-tdx.v2"
          runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-tdx-v2"
          privileged_without_host_devices = true
          pod_annotations = ["io.katacontainers.*"]
          snapshotter = "nydus"
        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-tdx.options]
          ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-tdx.toml"
        [plugins."io.containerd.cri.v1.images".runtime_platforms.kata-qemu-tdx]
          snapshotter = "nydus"
    "##]]
    .assert_eq(edits[0].after.as_deref().unwrap());
}
