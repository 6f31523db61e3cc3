//! `cargo xtask tidy`: rules of this repository that no other tool knows, each with its reason beside it.
//!
//! A rule that is stated twice in a review belongs in here.

mod documents;
mod graph;
mod sources;

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::negative;
use crate::proc;
use crate::workspace::Metadata;

/// What a rule found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it is about: a crate, or a path in the repository, with `:line` where there is one.
    place: String,
    /// What is wrong and why that matters.
    problem: String,
    /// A warning does not fail the check.
    warning: bool,
}

impl Finding {
    fn error(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), warning: false }
    }

    fn warning(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { warning: true, ..Self::error(place, problem) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning" } else { "error" };
        write!(f, "{kind}: {}: {}", self.place, self.problem)
    }
}

/// A file that git tracks, or would: its path from the root of the repository, and its text, empty for a picture.
pub(crate) struct File {
    path: String,
    text: String,
}

impl File {
    fn has_extension(&self, wanted: &str) -> bool {
        std::path::Path::new(&self.path).extension().is_some_and(|extension| extension == wanted)
    }
}

/// Applies every rule and prints what they find.
pub(crate) fn run() -> Result<()> {
    let metadata = Metadata::load()?;
    let files = files(&metadata)?;
    let mut findings = graph::check(&metadata)?;
    findings.extend(sources::check(&metadata, &files));
    findings.extend(documents::check(&metadata, &files));
    findings.sort_by_key(|finding| !finding.warning);
    for finding in &findings {
        note!("{finding}");
    }
    match findings.iter().filter(|finding| !finding.warning).count() {
        0 => {
            note!("tidy: {} files, {} crates, no error", files.len(), metadata.packages.len());
            Ok(())
        }
        n => Err(negative(&format!("tidy found {n} error{}", if n == 1 { "" } else { "s" }), "")),
    }
}

/// Tracked files, and untracked ones that are not ignored: what is about to be committed should be tidy too.
fn files(metadata: &Metadata) -> Result<Vec<File>> {
    let root = &metadata.workspace_root;
    let list = proc::output(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))
    .context("list the files of the repository")?;
    let paths: Vec<&str> = list.split('\0').filter(|path| !path.is_empty()).collect();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        // A file that was deleted and not yet committed is not there; a picture is, without text.
        if let Ok(bytes) = std::fs::read(root.join(path)) {
            files.push(File { path: path.to_owned(), text: String::from_utf8(bytes).unwrap_or_default() });
        }
    }
    Ok(files)
}
