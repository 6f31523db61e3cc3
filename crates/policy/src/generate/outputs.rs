//! Which texts go where: the user's files with what changed in them, and the Coordinator's where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::coordinator::COORDINATOR_FILE;
use super::error::GenerateError;
use super::input::{Inputs, SourceFile};
use super::source::{self, STDIN};
use super::write::Output;
use super::{GenerateOptions, parallel};
use crate::yaml;

/// Where the Coordinator's resources go: the first directory among the paths, or that of the first file; with standard
/// input alone, to standard output.
pub(super) fn coordinator_file(options: &GenerateOptions) -> PathBuf {
    if let Some(directory) = options.paths.iter().find(|path| path.is_dir()) {
        return directory.join(COORDINATOR_FILE);
    }
    let file = options.paths.iter().find(|path| path.as_os_str() != STDIN);
    match file {
        None => PathBuf::from(source::STDIN_NAME),
        Some(file) => file.parent().unwrap_or(Path::new(".")).join(COORDINATOR_FILE),
    }
}

/// The texts of all resource files, changed or not: under `--output` the unchanged ones are wanted, too.
pub(super) fn yaml_outputs(
    inputs: &Inputs,
    options: &GenerateOptions,
    notices: &mut Vec<String>,
) -> Result<Vec<Output>, GenerateError> {
    let mut outputs: Vec<Output> = Vec::new();
    let mut places: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let originals: BTreeSet<_> = inputs.files.iter().filter_map(|file| file.path.canonicalize().ok()).collect();
    let contents = parallel::map(&inputs.files, |file| Ok::<_, GenerateError>(content(file)))?;
    for (file, (content, in_place)) in inputs.files.iter().zip(contents) {
        if !in_place {
            let file = file.path.display();
            notices.push(format!("`{file}` was written anew, without its comments: it could not be edited in place"));
        }
        let path = target(file, options);
        if options.output.is_some() {
            let hint = "give one directory that holds both, or another `--output`".to_owned();
            if let Some(other) = places.insert(path.clone(), &file.path) {
                let reason = format!("`{}` and `{}` would both be written here", other.display(), file.path.display());
                return Err(GenerateError::File { path, reason, hint });
            }
            if path.canonicalize().is_ok_and(|path| originals.contains(&path)) {
                let reason = "`--output` leaves the originals alone, and this is one of them".to_owned();
                return Err(GenerateError::File { path, reason, hint: "choose another `--output`".into() });
            }
        }
        outputs.push(Output { path, content });
    }
    Ok(outputs)
}

/// Where a file is written.
pub(super) fn target(file: &SourceFile, options: &GenerateOptions) -> PathBuf {
    match &options.output {
        Some(directory) if file.path.as_os_str() != source::STDIN_NAME => directory.join(&file.relative),
        _ => file.path.clone(),
    }
}

/// The text of one file, and whether its comments and layout were kept.
fn content(file: &SourceFile) -> (String, bool) {
    let Some(text) = &file.text else {
        let documents: Vec<_> = file.trees.iter().map(yaml::emit_document).collect();
        return (documents.join("---\n"), true);
    };
    // Documents that were added to standard input have no place in its text.
    let (old, added) = file.trees.split_at(file.documents.len().min(file.trees.len()));
    let rewritten = yaml::rewrite(text, &file.documents, old);
    let mut text = rewritten.text;
    for tree in added {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str("---\n");
        text.push_str(&yaml::emit_document(tree));
    }
    (file.form.join(&text), rewritten.in_place)
}
