use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::super::class::{Handler, HostPath, Snapshotter};
use super::*;

fn runtime(name: &str, snapshotter: Option<&str>) -> Runtime {
    Runtime {
        handler: Handler::new(name).unwrap(),
        shim: HostPath::new(format!("/opt/casemate/kata/current/shims/containerd-shim-{name}-v2")).unwrap(),
        config: HostPath::new(format!("/opt/casemate/kata/current/etc/{name}.toml")).unwrap(),
        snapshotter: snapshotter.map(|name| Snapshotter::new(name).unwrap()),
    }
}

fn snp() -> Vec<Runtime> {
    vec![runtime("kata-qemu-snp", None)]
}

fn files(list: &[(&str, &str)]) -> Files {
    list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn apply(files: &Files, edits: &[Edit]) -> Files {
    let mut files = files.clone();
    for Edit { path, before, after, .. } in edits {
        assert_eq!(files.get(path), before.as_ref());
        match after {
            Some(after) => files.insert(path.clone(), after.clone()),
            None => files.remove(path),
        };
    }
    files
}

/// Installs, compares what was written with what is expected, installs again and again otherwise, and removes.
fn golden(distribution: Distribution, before: &[(&str, &str)], expected: Expect) {
    let before = files(before);
    let edits = plan(distribution, &before, &snp()).unwrap();
    let mut text = String::new();
    for edit in &edits {
        text.push_str(&format!("== {edit}\n{}", edit.after.as_deref().unwrap_or_default().replace('\r', "␍")));
        if !text.ends_with('\n') {
            text.push_str("<no line end>\n");
        }
    }
    expected.assert_eq(&text);

    let installed = apply(&before, &edits);
    assert_eq!(plan(distribution, &installed, &snp()).unwrap(), [], "a second time there is nothing to do");

    let more = [runtime("kata-qemu-nvidia-gpu-snp", Some("nydus")), runtime("kata-qemu-snp", Some("nydus"))];
    let upgraded = apply(&installed, &plan(distribution, &installed, &more).unwrap());
    assert_ne!(upgraded, installed);
    for after in [&installed, &upgraded] {
        assert_eq!(apply(after, &plan(distribution, after, &[]).unwrap()), before, "removed to the byte");
    }
    assert_eq!(plan(distribution, &before, &[]).unwrap(), [], "there is nothing to remove");
}

const MAIN: &str = "/etc/containerd/config.toml";

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

const K3S: &str = "/var/lib/rancher/k3s/agent/etc/containerd";
const RKE2: &str = "/var/lib/rancher/rke2/agent/etc/containerd";

#[test]
fn a_new_k3s_imports_a_folder() {
    let main = format!("{K3S}/config.toml");
    let text =
        format!("# File generated by k3s. DO NOT EDIT.\nversion = 3\nimports = [\"{K3S}/config-v3.toml.d/*.toml\"]\n");
    golden(
        Distribution::K3s,
        &[(&main, &text)],
        expect![[r#"
        == write /var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/casemate.toml
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
fn an_older_k3s_with_containerd_2_gets_a_template_from_its_base() {
    let main = format!("{K3S}/config.toml");
    golden(
        Distribution::K3s,
        &[(&main, "# File generated by k3s. DO NOT EDIT.\nversion = 3\nroot = \"/x\"\n")],
        expect![[r#"
            == write /var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl
            {{ template "base" . }}
            # BEGIN casemate-node 88e45daf0d8b -- written by casemate-node; change nothing up to END
            [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
              runtime_type = "io.containerd.kata-qemu-snp.v2"
              runtime_path = "/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2"
              privileged_without_host_devices = true
              pod_annotations = ["io.katacontainers.*"]
            [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
              ConfigPath = "/opt/casemate/kata/current/etc/kata-qemu-snp.toml"
            # END casemate-node
        "#]],
    );
}

#[test]
fn k3s_with_containerd_1_7_gets_a_template_even_where_it_imports_a_folder() {
    let main = format!("{K3S}/config.toml");
    let text = format!("version = 2\nimports = [\"{K3S}/config.toml.d/*.toml\"]\n");
    golden(
        Distribution::K3s,
        &[(&main, &text)],
        expect![[r#"
        == write /var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl
        {{ template "base" . }}
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
fn a_template_that_somebody_wrote_is_kept_and_used() {
    let main = format!("{RKE2}/config.toml");
    let template = format!("{RKE2}/config.toml.tmpl");
    golden(
        Distribution::Rke2,
        &[
            (&main, "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\n"),
            (
                &template,
                "{{ template \"base\" . }}\n\n{{/* GPUs */}}\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\n  runtime_type = \"io.containerd.runc.v2\"\n",
            ),
        ],
        expect![[r#"
            == change /var/lib/rancher/rke2/agent/etc/containerd/config.toml.tmpl
            {{ template "base" . }}

            {{/* GPUs */}}
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
              runtime_type = "io.containerd.runc.v2"
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
fn what_a_distribution_generates_from_our_template_is_not_taken_for_somebody_elses() {
    let main = format!("{K3S}/config.toml");
    let before = files(&[(&main, "version = 3\n")]);
    let mut after = apply(&before, &plan(Distribution::K3s, &before, &snp()).unwrap());
    // k3s was restarted and copied our lines, markers included.
    let template = after[&format!("{K3S}/config-v3.toml.tmpl")].clone();
    after.insert(main.clone(), template.replace("{{ template \"base\" . }}", "version = 3"));
    assert_eq!(plan(Distribution::K3s, &after, &snp()).unwrap(), []);
    let removed = apply(&after, &plan(Distribution::K3s, &after, &[]).unwrap());
    assert_eq!(removed.keys().collect::<Vec<_>>(), [&main]);
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
fn a_configuration_that_is_not_understood_is_refused_with_file_and_line() {
    let cri = "io.containerd.grpc.v1.cri";
    let other = "/etc/containerd/conf.d/kata-deploy.toml";
    let template = format!("{K3S}/config-v3.toml.tmpl");
    let generated = format!("{K3S}/config.toml");
    let ours = plan(Distribution::Containerd, &files(&[(MAIN, "version = 2\n")]), &snp()).unwrap()[0].after.clone();
    let ours = ours.unwrap();
    type Case<'a> = (Distribution, Vec<(&'a str, String)>, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (Distribution::Containerd, vec![(MAIN, "x =\n".into())], "config.toml:1: "),
        (Distribution::Containerd, vec![(MAIN, "version = 2\nversion = 2\n".into())], "config.toml:2: duplicate key"),
        (Distribution::Containerd, vec![(MAIN, "[plugins]\n".into())], "config.toml:1: the file is of version 1"),
        (Distribution::Containerd, vec![(MAIN, "\n\nversion = 1\n".into())], "config.toml:3: the file is of version 1"),
        (Distribution::Containerd, vec![(MAIN, "version = 5\n".into())], "config.toml:1: the file is of version 5"),
        (
            Distribution::Containerd,
            vec![(MAIN, "version = 2\n\ndisabled_plugins = [\"cri\"]\n".into())],
            "config.toml:3: the plugin `cri`",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, format!("version = 2\n[plugins.\"{cri}\".containerd.runtimes.kata-qemu-snp]\n"))],
            "config.toml:2: there is a runtime `kata-qemu-snp`",
        ),
        (
            Distribution::Containerd,
            vec![
                (MAIN, "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n".into()),
                (other, "# kata\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata-qemu-snp]\n".into()),
            ],
            "kata-deploy.toml:2: there is a runtime `kata-qemu-snp`",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, format!("version = 2\n[plugins.\"{cri}\"]\ncontainerd = {{ runtimes = {{ }} }}\n"))],
            "runtimes cannot be added: ",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, "version = 2\nplugins = 1\n".into())],
            "config.toml:2: runtimes cannot be added: `plugins` is no",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, "version = 3\nimports = 'x'\n".into())],
            "config.toml:2: `imports` is no list of texts",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, "version = 3\n".into()), ("/etc/containerd/conf.d/casemate.toml", "# mine\n".into())],
            "casemate.toml has the name of a file of casemate-node's",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, ours.replace("host_devices = true", "host_devices = false"))],
            "config.toml:2: the lines of casemate-node that begin here were changed",
        ),
        (
            Distribution::Containerd,
            vec![(MAIN, ours.replace("# END casemate-node\n", ""))],
            "config.toml:2: a marker of casemate-node has no partner",
        ),
        (Distribution::Containerd, vec![(MAIN, format!("{ours}x = 1\n"))], "config.toml:11: this key follows"),
        (
            Distribution::Containerd,
            vec![
                (MAIN, "version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n".into()),
                (other, format!("version = 2\n[plugins.\"{cri}\"]\n  enable_cdi = true\n")),
            ],
            "kata-deploy.toml:2: before 2.0 containerd takes this section in place of the one in /etc/containerd/config.toml",
        ),
        (Distribution::K3s, vec![], "config.toml is missing: k3s has not been started yet"),
        (
            Distribution::K3s,
            vec![
                (&generated, "version = 3\n".into()),
                (&template, "{{ template \"base\" . }}\n[x.runtimes.'kata-qemu-snp']\n".into()),
            ],
            "config-v3.toml.tmpl:2: there is a runtime `kata-qemu-snp`",
        ),
    ];
    for (distribution, list, expected) in cases {
        let list: Vec<(&str, &str)> = list.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let error = plan(distribution, &files(&list), &snp()).unwrap_err();
        assert!(error.to_string().contains(expected), "{list:?}: {error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_runtime_with_a_longer_name_is_another_one() {
    let template = format!("{K3S}/config-v3.toml.tmpl");
    let generated = format!("{K3S}/config.toml");
    let text = "{{ template \"base\" . }}\n[x.runtimes.kata-qemu-snp-debug]\n# [x.runtimes.kata-qemu-snp]\n";
    let list = files(&[(&generated, "version = 3\n"), (&template, text)]);
    assert!(plan(Distribution::K3s, &list, &snp()).is_ok());
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

/// Lines that people write into such files, some of them wrong, with line ends of two kinds.
fn configuration() -> impl Strategy<Value = String> {
    let lines = prop::sample::select(vec![
        "# a note",
        "",
        "  ",
        "root = '/x'",
        "imports = []",
        "imports = ['/etc/containerd/conf.d/*.toml']",
        "imports = [\n  '/a.toml', # why\n]",
        "imports = ['conf.d/other.toml', ]",
        "disabled_plugins = ['cri']",
        "[plugins]",
        "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]",
        "[plugins.'io.containerd.cri.v1.runtime'.containerd]",
        "runtimes = {}",
        "runtimes.runc.runtime_type = 'io.containerd.runc.v2'",
        "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.kata-qemu-snp]",
        "[debug]",
        "level = \"info\"",
        "text = \"\"\"\n# BEGIN\n\"\"\"",
        "# BEGIN casemate-node",
        "# END casemate-node",
        "imports = [\"/x/casemate.toml\"] # casemate-node",
        "=",
    ]);
    let version = prop::sample::select(vec!["version = 2", "version = 3", "version = 4", "version = 1", ""]);
    let end = prop::sample::select(vec!["\n", "\r\n"]);
    (version, prop::collection::vec(lines, 0..8), end, any::<bool>()).prop_map(|(version, lines, end, last)| {
        let mut text = [vec![version], lines].concat().join("\n").replace('\n', end);
        if last {
            text.push_str(end);
        }
        text
    })
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_given_back_to_the_byte(text in configuration(), distribution in prop::sample::select(vec![
        Distribution::Containerd, Distribution::K3s,
    ]), template in any::<bool>()) {
        let mut before = files(&[(&distribution.main(), &text)]);
        if template && distribution == Distribution::K3s {
            before.insert(format!("{K3S}/config-v3.toml.tmpl"), text);
        }
        // A file that has marks of ours already, or cannot be read at all, is not as we found it.
        if plan(distribution, &before, &[]) != Ok(Vec::new()) {
            return Ok(());
        }
        if let Ok(edits) = plan(distribution, &before, &snp()) {
            let after = apply(&before, &edits);
            prop_assert_eq!(plan(distribution, &after, &snp()).unwrap(), []);
            prop_assert_eq!(apply(&after, &plan(distribution, &after, &[]).unwrap()), before);
        }
    }
}
