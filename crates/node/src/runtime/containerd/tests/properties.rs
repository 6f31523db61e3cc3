//! Files made of lines that people write, right and wrong.

use proptest::prelude::*;

use super::*;

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
