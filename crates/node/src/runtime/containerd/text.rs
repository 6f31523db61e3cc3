//! The lines that we write.

use std::fmt::Write as _;

use super::super::class::Runtime;

/// How containerd names its plugins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Schema {
    /// Configuration of version 2: one plugin for all of CRI.
    V2,
    /// Version 3 and 4: one for running, one for images.
    V3,
}

impl Schema {
    /// The plugin that knows runtimes.
    pub(super) const fn runtime_plugin(self) -> &'static str {
        match self {
            Self::V2 => "io.containerd.grpc.v1.cri",
            Self::V3 => "io.containerd.cri.v1.runtime",
        }
    }
}

/// The beginning of a `config.toml` that we make because there is none.
pub(super) const NEW_MAIN: &str =
    "# Made by casemate-node, as there was no file here; containerd uses its defaults for the rest.\nversion = 2\n";
/// The beginning of a template that we make because there is none: what k3s and RKE2 would use without one.
pub(super) const NEW_TEMPLATE: &str = "{{ template \"base\" . }}\n";
/// The beginning of a file that is ours alone.
pub(super) const DROP_IN_HEAD: &str =
    "# Written by casemate-node, which replaces this file and removes it (`casemate-node runtime remove`).\n";

/// Tables for runtimes. Nothing in them needs an escape in TOML or means anything to a Go template: see
/// [`Handler`](super::super::class::Handler) and [`HostPath`](super::super::class::HostPath).
pub(super) fn body(schema: Schema, runtimes: &[Runtime]) -> String {
    let mut text = String::new();
    for Runtime { handler, shim, config, snapshotter } in runtimes {
        let plugin = schema.runtime_plugin();
        let table = format!("plugins.\"{plugin}\".containerd.runtimes.{handler}");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "[{table}]\n  runtime_type = \"io.containerd.{handler}.v2\"\n  runtime_path = \"{}\"\n  \
             privileged_without_host_devices = true\n  pod_annotations = [\"io.katacontainers.*\"]\n",
            shim.as_str()
        );
        if let Some(snapshotter) = snapshotter {
            let _ = writeln!(text, "  snapshotter = \"{}\"", snapshotter.as_str());
        }
        let _ = write!(text, "[{table}.options]\n  ConfigPath = \"{}\"\n", config.as_str());
        // Images are another plugin's from version 3 on, which has to be told as well.
        if let (Schema::V3, Some(snapshotter)) = (schema, snapshotter) {
            let _ = write!(
                text,
                "[plugins.\"io.containerd.cri.v1.images\".runtime_platforms.{handler}]\n  snapshotter = \"{}\"\n",
                snapshotter.as_str()
            );
        }
    }
    text
}

/// The line of a template that speaks of a runtime. A template is no TOML, so this looks for the key as people write it.
pub(super) fn line_with_runtime(text: &str, handler: &str) -> Option<usize> {
    let keys = [format!("runtimes.{handler}"), format!("runtimes.\"{handler}\""), format!("runtimes.'{handler}'")];
    let speaks = |line: &str| {
        keys.iter().any(|key| {
            line.match_indices(key.as_str()).any(|(at, _)| {
                let next = line[at + key.len()..].chars().next();
                !next.is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, '-' | '_'))
            })
        })
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    lines.find(|(_, line)| speaks(line)).map(|(number, _)| number + 1)
}
