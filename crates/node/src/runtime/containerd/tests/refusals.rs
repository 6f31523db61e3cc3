//! What is refused, with file and line.

use super::*;

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
        (
            Distribution::Containerd,
            vec![("/etc/containerd/conf.d/10-site.toml", "version = 3\n[debug]\n  level = 'info'\n".into())],
            "conf.d/10-site.toml is there and /etc/containerd/config.toml is not, so containerd reads neither",
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
fn a_file_that_nothing_reads_hinders_neither_removal_nor_a_main_file_that_imports_it() {
    let site = ("/etc/containerd/conf.d/10-site.toml", "version = 3\n[debug]\n  level = 'info'\n");
    assert_eq!(plan(Distribution::Containerd, &files(&[site]), &[]).unwrap(), []);
    // What the hint says to write.
    let main = (MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
    let edits = plan(Distribution::Containerd, &files(&[site, main]), &snp()).unwrap();
    let paths: Vec<&str> = edits.iter().map(|edit| edit.path.as_str()).collect();
    assert_eq!(paths, ["/etc/containerd/conf.d/casemate.toml"]);
    // A file of ours that lost its main file is replaced by one that is read.
    let ours = files(&[("/etc/containerd/conf.d/casemate.toml", text::DROP_IN_HEAD)]);
    let edits = plan(Distribution::Containerd, &ours, &snp()).unwrap();
    assert_eq!(
        edits.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["remove /etc/containerd/conf.d/casemate.toml", "write /etc/containerd/config.toml",]
    );
}
