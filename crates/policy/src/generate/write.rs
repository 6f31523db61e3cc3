//! All files or none.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::error::GenerateError;

/// A file and the content that it is to have.
pub(super) struct Output {
    pub(super) path: PathBuf,
    pub(super) content: String,
}

/// Writes all files beside their places, and only then moves each to its place. When a move fails, those that went
/// before are put back.
pub(super) fn write_all(outputs: &[Output]) -> Result<(), GenerateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| GenerateError::Write { path, source }
    };
    let mut made_directories: Vec<PathBuf> = Vec::new();
    let mut temporaries: Vec<PathBuf> = Vec::new();
    // A link stays a link: what it leads to is what changes.
    let real = |path: &Path| match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => path.canonicalize().unwrap_or_else(|_| path.to_owned()),
        _ => path.to_owned(),
    };
    let outputs: Vec<Output> =
        outputs.iter().map(|output| Output { path: real(&output.path), content: output.content.clone() }).collect();
    let outputs = outputs.as_slice();
    let result = (|| {
        for output in outputs {
            if let Some(parent) =
                output.path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
            {
                let missing: Vec<_> = parent
                    .ancestors()
                    .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
                    .map(Path::to_owned)
                    .collect();
                made_directories.extend(missing.into_iter().rev());
                std::fs::create_dir_all(parent).map_err(failed(parent))?;
            }
            let temporary = temporary(&output.path);
            temporaries.push(temporary.clone());
            write_synced(&temporary, &output.content, &output.path).map_err(failed(&output.path))?;
        }
        let mut before: Vec<(&Path, Option<Vec<u8>>)> = Vec::new();
        for (output, temporary) in outputs.iter().zip(&temporaries) {
            let old = match std::fs::read(&output.path) {
                Ok(old) => Some(old),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(source) => {
                    put_back(&before);
                    return Err(failed(&output.path)(source));
                }
            };
            if let Err(source) = std::fs::rename(temporary, &output.path) {
                put_back(&before);
                return Err(failed(&output.path)(source));
            }
            before.push((&output.path, old));
        }
        Ok(())
    })();
    if result.is_err() {
        for temporary in &temporaries {
            let _ = std::fs::remove_file(temporary);
        }
        for directory in made_directories.iter().rev() {
            let _ = std::fs::remove_dir(directory);
        }
    }
    result
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.casemate-new"))
}

fn write_synced(temporary: &Path, content: &str, like: &Path) -> std::io::Result<()> {
    // What a run that was killed left behind is ours to overwrite.
    let mut file = std::fs::File::create(temporary)?;
    file.write_all(content.as_bytes())?;
    if let Ok(metadata) = std::fs::metadata(like)
        && metadata.is_file()
    {
        file.set_permissions(metadata.permissions())?;
    }
    file.sync_all()
}

fn put_back(before: &[(&Path, Option<Vec<u8>>)]) {
    for (path, content) in before.iter().rev() {
        // Nothing better can be done about a second failure than to go on with the other files.
        let _ = match content {
            Some(content) => std::fs::write(path, content),
            None => std::fs::remove_file(path),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(path: PathBuf, content: &str) -> Output {
        Output { path, content: content.to_owned() }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_are_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "old").unwrap();
        write_all(&[output(dir.path().join("a"), "new"), output(dir.path().join("sub/b"), "b")]).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(dir.path().join("sub/b")).unwrap(), "b");
        assert_eq!(names(dir.path()), ["a", "sub"]);
    }

    #[test]
    fn links_stay_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir(at("elsewhere")).unwrap();
        std::fs::write(at("elsewhere/real"), "old").unwrap();
        std::os::unix::fs::symlink("elsewhere/real", at("link")).unwrap();
        write_all(&[output(at("link"), "new")]).unwrap();
        assert!(at("link").symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(at("elsewhere/real")).unwrap(), "new");
        assert_eq!(names(&at("elsewhere")), ["real"]);
    }

    #[test]
    fn a_failure_at_any_file_leaves_everything_as_it_was() {
        for bad in 0..3 {
            for obstacle in ["file where a directory must be", "directory where a file must be"] {
                let dir = tempfile::tempdir().unwrap();
                std::fs::write(dir.path().join("old"), "old").unwrap();
                let mut outputs = vec![
                    output(dir.path().join("old"), "new"),
                    output(dir.path().join("new"), "new"),
                    output(dir.path().join("sub/new"), "new"),
                ];
                let obstacle = if obstacle.starts_with("file") {
                    dir.path().join("old/x")
                } else {
                    std::fs::create_dir_all(dir.path().join("full/x")).unwrap();
                    dir.path().join("full")
                };
                outputs.insert(bad, output(obstacle, "x"));
                let before = names(dir.path());
                let error = write_all(&outputs).unwrap_err();
                assert!(matches!(error, GenerateError::Write { .. }), "{error}");
                assert_eq!(names(dir.path()), before);
                assert_eq!(std::fs::read_to_string(dir.path().join("old")).unwrap(), "old");
            }
        }
    }
}
