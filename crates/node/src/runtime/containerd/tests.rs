use expect_test::Expect;

use super::super::class::{Handler, HostPath, Snapshotter};
use super::*;

mod k3s;
mod properties;
mod refusals;
mod system;

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
const K3S: &str = "/var/lib/rancher/k3s/agent/etc/containerd";
const RKE2: &str = "/var/lib/rancher/rke2/agent/etc/containerd";
