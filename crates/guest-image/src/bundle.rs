//! The description that `casemate-node runtime install` reads: every file with its digest. Its format is the node agent's
//! (`docs/node.md`).

use std::fmt::Write as _;

/// A class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleClass {
    /// Of the class and its handler.
    pub name: String,
    /// Its shim, below the release's folder.
    pub shim: String,
    /// Its configuration.
    pub config: String,
    /// For images; `None` for the node's usual one.
    pub snapshotter: Option<String>,
}

/// A file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundleFile {
    /// Below the release's folder.
    pub path: String,
    /// In hex.
    pub sha256: String,
    /// Whether it can be run.
    pub executable: bool,
    /// Whether the release's folder is replaced in it.
    pub relocate: bool,
}

/// The text. All that goes into it has letters that need no escapes, which its reader demands.
pub fn text(release: &str, home: &str, folder: &str, classes: &[BundleClass], files: &[BundleFile]) -> String {
    let mut text = format!("format = 1\nrelease = \"{release}\"\nrelocate = \"{home}\"\n");
    for class in classes {
        let _ = write!(
            text,
            "\n[[class]]\nname = \"{}\"\nshim = \"{}\"\nconfig = \"{}\"\n",
            class.name, class.shim, class.config
        );
        if let Some(snapshotter) = &class.snapshotter {
            let _ = writeln!(text, "snapshotter = \"{snapshotter}\"");
        }
    }
    for BundleFile { path, sha256, executable, relocate } in files {
        let _ = write!(text, "\n[[file]]\npath = \"{path}\"\nsha256 = \"{sha256}\"\n");
        if *executable {
            text.push_str("mode = \"0755\"\n");
        }
        if *relocate {
            text.push_str("relocate = true\n");
        }
        let _ = writeln!(text, "source = {{ file = \"{folder}/{path}\" }}");
    }
    text
}
