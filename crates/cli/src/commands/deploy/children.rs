//! The files of the user's resources.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// LIMIT: no folder of resources is deeper; a loop of links is.
const MAX_DEPTH: usize = 32;
/// LIMIT: a folder with more entries is not one of resources.
const MAX_FILES: usize = 10_000;

/// A file, or the YAML files of a folder and those below it, in order.
pub(super) fn files(path: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |path: &Path, error: std::io::Error| {
        let absent = error.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::no(anyhow::Error::new(error).context(format!("read `{}`", path.display())));
        if absent { failure.hint("name files and folders of Kubernetes resources") } else { failure }
    };
    if !std::fs::metadata(path).map_err(|error| failed(path, error))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![(path.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let path = entry.map_err(|error| failed(&folder, error))?.path();
            let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            if path.is_dir() && depth < MAX_DEPTH {
                folders.push((path, depth + 1));
            } else if yaml {
                found.push(path);
            }
            if found.len() + folders.len() > MAX_FILES {
                return Err(Failure::refuse(format!("`{}` has more than {MAX_FILES} files", folder.display()))
                    .hint("name the folder of your resources alone"));
            }
        }
    }
    found.sort();
    Ok(found)
}
