//! The user's files: which there are under the paths, and their text. What is no file, or no text, is refused.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::{GenerateError, Place};
use crate::yaml::MAX_FILE;

/// The path that means standard input.
pub const STDIN: &str = "-";
/// How standard input is called in messages.
pub(super) const STDIN_NAME: &str = "<stdin>";

/// LIMIT: files of one run. The largest collections of charts hold some thousands.
const MAX_FILES: usize = 20_000;
/// LIMIT: directories in directories.
const MAX_DEPTH: usize = 32;
/// LIMIT: bytes of all files of one run; each byte costs some ten of memory.
const MAX_TOTAL: usize = 8 * MAX_FILE;

const BOM: &str = "\u{feff}";

/// The text of one file, in the form that the rewriter knows: without a byte order mark, lines ended by `\n`.
pub(super) struct Source {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Where it is below the directory that was given, or its name.
    pub(super) relative: PathBuf,
    pub(super) text: String,
    pub(super) form: Form,
    /// Whether it was found in a directory, and not named.
    pub(super) found: bool,
}

/// What of a file's form is put back when it is written.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(super) struct Form {
    bom: bool,
    crlf: bool,
}

impl Form {
    /// Takes the text apart.
    pub(super) fn of(text: String) -> (Self, String) {
        let bom = text.starts_with(BOM);
        let text = text.strip_prefix(BOM).map_or_else(|| text.clone(), str::to_owned);
        // Lines that end in both ways are left as they are: to the parser, they are all the same.
        let ends = text.matches('\n').count();
        let crlf = ends > 0 && text.matches("\r\n").count() == ends;
        let text = if crlf { text.replace("\r\n", "\n") } else { text };
        (Self { bom, crlf }, text)
    }

    /// The bytes of a file with this text.
    pub(super) fn join(self, text: &str) -> String {
        let text = if self.crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
        if self.bom { format!("{BOM}{text}") } else { text }
    }
}

/// Reads everything under `paths`, in order of path within each; `stdin` is what `-` stands for. Directories are read
/// to their ends, hidden entries and `output` aside.
pub(super) fn read(
    paths: &[PathBuf],
    stdin: Option<&[u8]>,
    output: Option<&Path>,
) -> Result<Vec<Source>, GenerateError> {
    let mut seen = BTreeSet::new();
    let mut sources = Vec::new();
    let mut total = 0_usize;
    let output = output.and_then(|output| output.canonicalize().ok());
    for path in paths {
        if path.as_os_str() == STDIN {
            let path = PathBuf::from(STDIN_NAME);
            if !seen.insert(path.clone()) {
                return Err(refuse(&path, "standard input is there twice", "give `-` once"));
            }
            sources.push(source(path.clone(), path, stdin.unwrap_or_default().to_vec(), false)?);
            continue;
        }
        let found = path.is_dir();
        for (path, relative) in files_under(path, output.as_deref())? {
            let real = path.canonicalize().map_err(|source| GenerateError::Read { path: path.clone(), source })?;
            if !seen.insert(real) {
                continue;
            }
            if seen.len() > MAX_FILES {
                return Err(refuse(&path, &format!("more than {MAX_FILES} files"), "generate in several runs"));
            }
            let bytes = read_file(&path)?;
            total = total.saturating_add(bytes.len());
            if total > MAX_TOTAL {
                let reason = format!("with this file the inputs are larger than {} MiB", MAX_TOTAL >> 20);
                return Err(refuse(&path, &reason, "generate in several runs"));
            }
            sources.push(source(path, relative, bytes, found)?);
        }
    }
    if sources.is_empty() {
        return Err(GenerateError::NoFiles { path: PathBuf::from(".") });
    }
    Ok(sources)
}

fn refuse(path: &Path, reason: &str, hint: &str) -> GenerateError {
    GenerateError::File { path: path.to_owned(), reason: reason.to_owned(), hint: hint.to_owned() }
}

/// The bytes of a regular file, and of no other: a device has no end, and a FIFO may have no writer.
fn read_file(path: &Path) -> Result<Vec<u8>, GenerateError> {
    let failed = |source| GenerateError::Read { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(refuse(path, "not a regular file", "`-` reads from a pipe"));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE {
        let reason = format!("larger than {} MiB", MAX_FILE >> 20);
        return Err(refuse(path, &reason, "split it, or leave it out if it is no Kubernetes YAML"));
    }
    Ok(bytes)
}

fn source(path: PathBuf, relative: PathBuf, bytes: Vec<u8>, found: bool) -> Result<Source, GenerateError> {
    if bytes.len() > MAX_FILE {
        return Err(refuse(&path, &format!("larger than {} MiB", MAX_FILE >> 20), "split it"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.split(|byte| *byte == b'\n').count();
        let byte = error.as_bytes().get(good).copied().unwrap_or_default();
        GenerateError::Yaml {
            place: Place { file: path.clone(), line },
            column: good - line_start + 1,
            reason: format!("not UTF-8 text: byte 0x{byte:02x}"),
        }
    })?;
    let (form, text) = Form::of(text);
    Ok(Source { path, relative, text, form, found })
}

/// The YAML files of a directory and of those in it, sorted, or the one file. With each, its path below the directory.
fn files_under(path: &Path, output: Option<&Path>) -> Result<Vec<(PathBuf, PathBuf)>, GenerateError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| GenerateError::Read { path, source }
    };
    if !std::fs::metadata(path).map_err(read(path))?.is_dir() {
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        return Ok(vec![(path.to_owned(), name)]);
    }
    let mut found = Vec::new();
    let mut rest = vec![(path.to_owned(), PathBuf::new(), 0)];
    while let Some((directory, below, depth)) = rest.pop() {
        if depth > MAX_DEPTH {
            return Err(refuse(
                &directory,
                &format!("more than {MAX_DEPTH} directories deep"),
                "give an inner directory",
            ));
        }
        for entry in std::fs::read_dir(&directory).map_err(read(&directory))? {
            let entry = entry.map_err(read(&directory))?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let (path, below) = (entry.path(), below.join(&name));
            // A link to a directory may lead anywhere, itself included; a link to a file is that file.
            if entry.file_type().map_err(read(&path))?.is_dir() {
                if output.is_none() || path.canonicalize().ok().as_deref() != output {
                    rest.push((path, below, depth + 1));
                }
            } else if is_yaml(&path) && !path.is_dir() {
                found.push((path, below));
                if found.len() > MAX_FILES {
                    return Err(refuse(
                        &directory,
                        &format!("more than {MAX_FILES} files"),
                        "generate in several runs",
                    ));
                }
            }
        }
    }
    if found.is_empty() {
        return Err(GenerateError::NoFiles { path: path.to_owned() });
    }
    found.sort();
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_file_is_kept() {
        for text in ["", "a: 1\n", "a: 1\r\nb: 2\r\n", "\u{feff}a: 1\n", "\u{feff}a: 1\r\n", "a\r\nb\n", "a\r", "\n"] {
            let (form, inner) = Form::of(text.to_owned());
            assert_eq!(form.join(&inner), text, "{text:?}");
            assert!(!inner.starts_with(BOM));
        }
        assert_eq!(Form::of("a\r\nb\r\n".into()).1, "a\nb\n");
    }

    #[test]
    fn directories_are_read_to_their_ends_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["b/z.yml", "b/deep/er/a.json", "a.yaml", "c.txt", ".hidden.yaml", ".git/x.yaml", "out/x.yaml"] {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), "a: 1\n").unwrap();
        }
        std::os::unix::fs::symlink(at("a.yaml"), at("link.yaml")).unwrap();
        std::os::unix::fs::symlink(dir.path(), at("b/loop")).unwrap();
        let read = |paths: &[PathBuf]| {
            read(paths, None, Some(&at("out"))).map(|sources| {
                sources.into_iter().map(|source| source.relative.display().to_string()).collect::<Vec<_>>()
            })
        };
        // The link is the file that was read before.
        assert_eq!(read(&[dir.path().to_owned()]).unwrap(), ["a.yaml", "b/deep/er/a.json", "b/z.yml"]);
        assert_eq!(read(&[at("link.yaml"), at("c.txt"), at("a.yaml")]).unwrap(), ["link.yaml", "c.txt"]);
        assert!(matches!(read(&[at(".git")]), Ok(files) if files == ["x.yaml"]));
        std::fs::create_dir(at("empty")).unwrap();
        assert!(matches!(read(&[at("empty")]), Err(GenerateError::NoFiles { .. })));
    }

    #[test]
    fn what_is_no_file_or_no_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = |paths: &[&Path]| {
            let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
            let Err(error) = read(&paths, Some(b"a: 1\n"), None) else { panic!("{paths:?} was read") };
            assert!(!error.could_not_tell(), "{error}");
            error.to_string()
        };
        assert!(error(&[Path::new("/dev/zero")]).contains("not a regular file"));
        let fifo = dir.path().join("fifo.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert!(error(&[&fifo]).contains("not a regular file"));
        assert!(error(&[dir.path()]).contains("not a regular file"));
        std::fs::remove_file(&fifo).unwrap();
        let large = dir.path().join("large.yaml");
        std::fs::File::create(&large).unwrap().set_len(MAX_FILE as u64 + 1).unwrap();
        assert!(error(&[&large]).contains("larger than 32 MiB"));
        let bad = dir.path().join("bad.yaml");
        std::fs::write(&bad, b"a: 1\nb: \xff\n").unwrap();
        assert!(error(&[&bad]).ends_with("bad.yaml:2:4: not UTF-8 text: byte 0xff"));
        assert!(error(&[Path::new("-"), Path::new("-")]).contains("twice"));
        assert!(matches!(read(&[PathBuf::from("-")], Some(b"x"), None).unwrap().as_slice(), [one] if one.text == "x"));
    }
}
