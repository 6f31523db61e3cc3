//! containerd's configuration: which files get which lines of ours, worked out from the text that is there.
//!
//! | what is there | what is done |
//! |---|---|
//! | `config.toml` of version 3 or 4 (containerd 2.0 and later) | a file of ours, named by `imports`; `imports` is added where it is missing |
//! | `config.toml` of version 2 (containerd 1.7, or later and not migrated) | lines of ours at its end |
//! | no `config.toml` | one of version 2, which all of them read; refused where there are files in `conf.d` |
//! | k3s or RKE2 whose `config.toml` imports a folder, version 3 | a file of ours in that folder |
//! | k3s or RKE2 otherwise | lines of ours at the end of its template, which is made from its `base` where there is none |
//!
//! A file of ours is not used before containerd 2.0, since its predecessors replace a plugin's whole section by that of the
//! imported file instead of merging the two, and so would lose the administrator's.
//!
//! containerd 2.2 prints `/etc/containerd/conf.d/*.toml` among the imports of its default configuration, but follows the
//! imports of files that it read, and so that one in a `config.toml` alone. Where there is none, files of that folder are
//! not in effect. With a `config.toml` of ours they would be out of effect for good, or in effect all at once, and a file
//! of ours beside them would not be read: it is the administrator's to say which.
//!
//! What comes out is read again before it is used: it must say what the file said before, and our runtimes, and nothing
//! else. What is not understood is refused, with file and line.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::class::Runtime;

mod block;
mod document;
mod error;
mod text;

pub use error::{ConfigError, Place};

use document::Document;

/// Who starts containerd, and so where its configuration lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Distribution {
    /// The system's own service.
    Containerd,
    /// k3s, which writes the configuration anew at each start, from a template where there is one.
    K3s,
    /// RKE2, which does the same.
    Rke2,
}

/// The folder that the default configuration of containerd 2.2 and later names, read or not.
const DROP_INS: &str = "/etc/containerd/conf.d";

/// The file of ours. When it is read among the others makes no difference, since a runtime of one name is never in two.
const DROP_IN: &str = "casemate.toml";

impl Distribution {
    /// The folder of its files on the host.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Containerd => "/etc/containerd",
            Self::K3s => "/var/lib/rancher/k3s/agent/etc/containerd",
            Self::Rke2 => "/var/lib/rancher/rke2/agent/etc/containerd",
        }
    }

    /// The file that containerd starts with.
    pub fn main(self) -> String {
        format!("{}/config.toml", self.folder())
    }

    /// Services of systemd that run it; one of them is active.
    pub const fn services(self) -> &'static [&'static str] {
        match self {
            Self::Containerd => &["containerd.service"],
            Self::K3s => &["k3s.service", "k3s-agent.service"],
            Self::Rke2 => &["rke2-server.service", "rke2-agent.service"],
        }
    }

    /// Templates that it makes [`main`](Self::main) from, the one that it prefers first: for version 3, then for version 2.
    fn templates(self) -> Vec<String> {
        match self {
            Self::Containerd => Vec::new(),
            Self::K3s | Self::Rke2 => {
                ["config-v3.toml.tmpl", "config.toml.tmpl"].map(|name| format!("{}/{name}", self.folder())).into()
            }
        }
    }

    /// The file of ours where nothing says another folder.
    fn drop_in(self) -> String {
        let folder = if self == Self::Containerd { "conf.d" } else { "config-v3.toml.d" };
        format!("{}/{folder}/{DROP_IN}", self.folder())
    }

    /// Files that are not read where there is no [`main`](Self::main), although somebody might think so: a pattern.
    pub fn unread(self) -> Option<String> {
        (self == Self::Containerd).then(|| format!("{DROP_INS}/*.toml"))
    }

    /// Every file that we might have to read, apart from those that [`imports`] names.
    pub fn files(self) -> Vec<String> {
        let mut files = vec![self.main()];
        files.extend(self.templates());
        files.push(self.drop_in());
        files
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Containerd => "containerd",
            Self::K3s => "k3s",
            Self::Rke2 => "RKE2",
        })
    }
}

/// Files of the host by their paths there.
pub type Files = BTreeMap<String, String>;

/// One file that has to change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Edit {
    /// On the host.
    pub path: String,
    /// What it says; `None` when there is no such file.
    pub before: Option<String>,
    /// What it is to say; `None` when it is to go.
    pub after: Option<String>,
    /// Whether nothing in it is ours yet, so that it is worth a copy.
    pub untouched: bool,
}

impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match (&self.before, &self.after) {
            (None, _) => "write",
            (Some(_), None) => "remove",
            (Some(_), Some(_)) => "change",
        };
        write!(f, "{verb} {}", self.path)
    }
}

/// What a file imports, as containerd resolves it: absolute paths, of which the last part may have `*`.
pub fn imports(path: &str, text: &str) -> Result<Vec<String>, ConfigError> {
    let document = Document::parse(path, text)?;
    Ok(document.imports()?.map(|imports| imports.paths).unwrap_or_default())
}

/// What has to change so that containerd knows these runtimes of ours and no others; nothing, when that is so already.
///
/// `files` holds those of [`Distribution::files`] that exist, and whatever they import, directly or not; where the main
/// file is missing, also those of [`Distribution::unread`].
pub fn plan(distribution: Distribution, files: &Files, runtimes: &[Runtime]) -> Result<Vec<Edit>, ConfigError> {
    let clean = without_ours(distribution, files)?;
    let mut target = clean.clone();
    if !runtimes.is_empty() {
        refuse_taken(distribution, &clean, runtimes)?;
        match place(distribution, &clean)? {
            Placement::End { path, schema } => {
                let body = text::body(schema, runtimes);
                let is_template = distribution.templates().contains(&path);
                let made = if is_template { text::NEW_TEMPLATE } else { text::NEW_MAIN };
                let old = clean.get(&path).map_or(made, String::as_str);
                let new = block::append(old, &body);
                if !is_template {
                    document::must_be_sum(&path, old, &body, &new)?;
                }
                target.insert(path, new);
            }
            Placement::DropIn { path, import_in } => {
                if let Some(main) = import_in {
                    let old = clean.get(&main).map(String::as_str).unwrap_or_default();
                    let new = document::with_import(&main, old, &path)?;
                    target.insert(main, new);
                }
                let body = text::body(text::Schema::V3, runtimes);
                target.insert(path, format!("{}version = 3\n\n{body}", text::DROP_IN_HEAD));
            }
        }
    }
    // What k3s writes changes when it next starts, from what we change.
    let generated = (distribution != Distribution::Containerd).then(|| distribution.main());
    let paths: BTreeSet<&String> = files.keys().chain(target.keys()).collect();
    let edits = paths.into_iter().filter(|path| Some(*path) != generated.as_ref()).filter_map(|path| {
        let (before, after) = (files.get(path).cloned(), target.get(path).cloned());
        let untouched = before.is_some() && before.as_ref() == clean.get(path);
        (before != after).then(|| Edit { path: path.clone(), before, after, untouched })
    });
    Ok(edits.collect())
}

/// The files as they would be had we never been here.
fn without_ours(distribution: Distribution, files: &Files) -> Result<Files, ConfigError> {
    let mut clean = Files::new();
    let templates = distribution.templates();
    for (path, text) in files {
        if path.rsplit('/').next() == Some(DROP_IN) {
            if !text.starts_with(text::DROP_IN_HEAD) {
                return Err(ConfigError::NotOurs { path: path.clone() });
            }
            continue;
        }
        let stripped = block::strip(text).map_err(|fault| ConfigError::from_fault(path, fault))?;
        let text = if *path == distribution.main() && distribution == Distribution::Containerd {
            document::without_import(path, &stripped.text, DROP_IN)?
        } else {
            stripped.text
        };
        let made = if templates.contains(path) { text::NEW_TEMPLATE } else { text::NEW_MAIN };
        if !(stripped.found && text == made) {
            clean.insert(path.clone(), text);
        }
    }
    Ok(clean)
}

/// A runtime of the same name that we did not write stays whose it is.
fn refuse_taken(distribution: Distribution, clean: &Files, runtimes: &[Runtime]) -> Result<(), ConfigError> {
    let templates = distribution.templates();
    for (path, text) in clean {
        for runtime in runtimes {
            let handler = runtime.handler.as_str();
            let line = if templates.contains(path) {
                text::line_with_runtime(text, handler)
            } else {
                Document::parse(path, text)?.line_of_runtime(handler)
            };
            if let Some(line) = line {
                let place = Place { path: path.clone(), line };
                return Err(ConfigError::Taken { place, handler: handler.to_owned() });
            }
        }
    }
    Ok(())
}

/// Lines in the main file are lost on containerd 1.7 when an imported file has a section for the same plugin. A file of
/// version 2 does not say which containerd reads it.
fn refuse_shadowed(distribution: Distribution, main: &str, clean: &Files) -> Result<(), ConfigError> {
    let templates = distribution.templates();
    for (path, text) in clean {
        if path == main || templates.contains(path) {
            continue;
        }
        if let Some(line) = Document::parse(path, text)?.line_of_plugin(text::Schema::V2.runtime_plugin()) {
            return Err(ConfigError::Shadowed { place: Place { path: path.clone(), line }, main: main.to_owned() });
        }
    }
    Ok(())
}

/// Where our lines go.
enum Placement {
    /// At the end of a file.
    End { path: String, schema: text::Schema },
    /// Into a file of ours, which another one is to import.
    DropIn { path: String, import_in: Option<String> },
}

fn place(distribution: Distribution, clean: &Files) -> Result<Placement, ConfigError> {
    let main = distribution.main();
    let generated = distribution != Distribution::Containerd;
    let Some(text) = clean.get(&main) else {
        if generated {
            return Err(ConfigError::NotStarted { distribution, path: main });
        }
        // Our own file is not among those without ours.
        if let Some(path) = clean.keys().find(|path| path.starts_with(DROP_INS)) {
            return Err(ConfigError::Unread { path: path.clone(), main });
        }
        return Ok(Placement::End { path: main, schema: text::Schema::V2 });
    };
    let document = Document::parse(&main, text)?;
    document.must_run_cri()?;
    let schema = document.schema()?;
    if schema == text::Schema::V3 {
        let imports = document.imports()?.map(|imports| imports.paths).unwrap_or_default();
        let folder =
            imports.iter().find_map(|path| path.strip_suffix("/*.toml")).filter(|folder| !folder.contains('*'));
        if let Some(folder) = folder {
            return Ok(Placement::DropIn { path: format!("{folder}/{DROP_IN}"), import_in: None });
        }
        if !generated {
            return Ok(Placement::DropIn { path: distribution.drop_in(), import_in: Some(main) });
        }
    }
    if schema == text::Schema::V2 {
        refuse_shadowed(distribution, &main, clean)?;
    }
    if !generated {
        return Ok(Placement::End { path: main, schema });
    }
    let templates = distribution.templates();
    // The template that is there is the one in use, whatever version it is named for.
    let there = templates.iter().find(|path| clean.contains_key(*path));
    let usual = if schema == text::Schema::V3 { templates.first() } else { templates.last() };
    let path = there.or(usual).cloned().unwrap_or(main);
    Ok(Placement::End { path, schema })
}

#[cfg(test)]
mod tests;
