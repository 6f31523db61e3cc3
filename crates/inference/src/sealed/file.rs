//! Sealed models as files: nothing half-written, every error with its path.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{
    Header, MAX_NAME, ModelInfo, ModelKey, OpenLimits, OpenedModel, ParseKeyError, SealOptions, SealedError,
    StreamError, open, open_stream, seal,
};

/// LIMIT: more threads than this do not open a model faster, the disk being the bound.
const MAX_THREADS: usize = 16;
/// Mode of a sealed file: it is ciphertext and goes into an image.
const SEALED_MODE: u32 = 0o644;
/// Mode of an opened model: its owner alone.
const OPENED_MODE: u32 = 0o600;

/// Why a file was not sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealFileError {
    /// The file system said no.
    #[error("{action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What is in the file is wrong.
    #[error("sealed model `{}`", path.display())]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SealedError,
    },
    /// A model that cannot be sealed.
    #[error("seal `{}`", path.display())]
    Model {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: SealedError,
    },
    /// What is in the key file is wrong.
    #[error("key file `{}`", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ParseKeyError,
    },
    /// A key file is there already.
    #[error("key file `{}` exists and is never overwritten", path.display())]
    KeyExists {
        /// Which file.
        path: PathBuf,
    },
    /// Input and output are the same file.
    #[error("`{}` would be replaced by its own result", path.display())]
    SameFile {
        /// Which file.
        path: PathBuf,
    },
}

impl SealFileError {
    /// Whether the user's input is wrong (exit 1), as opposed to a failure around it (exit 2).
    pub fn is_input(&self) -> bool {
        use std::io::ErrorKind as K;
        match self {
            Self::Io { source, action, .. } => {
                action.starts_with("read")
                    && matches!(
                        source.kind(),
                        K::NotFound | K::PermissionDenied | K::IsADirectory | K::NotADirectory | K::InvalidInput
                    )
            }
            Self::Sealed { source, .. } | Self::Model { source, .. } => {
                !matches!(source, SealedError::NoRandomness | SealedError::OutOfMemory { .. })
            }
            Self::Key { .. } | Self::KeyExists { .. } | Self::SameFile { .. } => true,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Sealed { source, .. } => match source {
                SealedError::NotSealed => Some("seal it first: `casemate model seal`"),
                SealedError::WrongKey { .. } => {
                    Some("the key is the file that `casemate model seal` wrote beside the sealed model")
                }
                SealedError::Version { .. } => Some("use the Casemate that sealed it, or a later one"),
                SealedError::Truncated { .. } | SealedError::Appended { .. } => {
                    Some("the file was not copied whole; fetch it again")
                }
                SealedError::HeaderAltered
                | SealedError::Malformed { .. }
                | SealedError::Chunk { .. }
                | SealedError::Trailer => Some("do not use this copy; fetch the file again or seal the model anew"),
                _ => None,
            },
            Self::Model { source: SealedError::Name { .. }, .. } => Some("name it with `--name`"),
            Self::Key { .. } => Some("a key file holds 32 bytes as base64 or hex text"),
            Self::KeyExists { .. } => Some("it may open another model: move it away, or name another file"),
            _ => None,
        }
    }
}

/// Seals the model in `input` into `output`, which appears whole or not at all.
pub fn seal_file(
    input: &Path,
    output: &Path,
    key: &ModelKey,
    options: &SealOptions,
) -> Result<ModelInfo, SealFileError> {
    let (source, len) = open_regular(input, "read model")?;
    refuse_same_file(input, output)?;
    let mut sink = Pending::create(output, SEALED_MODE)?;
    let result = seal(&mut BufReader::new(source), len, &mut sink.file, key, options);
    let info = result.map_err(|error| match error {
        StreamError::Sealed(source) => SealFileError::Model { path: input.to_owned(), source },
        StreamError::Read(source) => io("read model", input)(source),
        StreamError::Write(source) => io("write sealed model", output)(source),
    })?;
    sink.commit()?;
    Ok(info)
}

/// Opens the sealed model in `input` into `output` (mode 0600), which appears whole and verified or not at all.
pub fn open_file(input: &Path, output: &Path, key: &ModelKey) -> Result<ModelInfo, SealFileError> {
    let (source, _) = open_regular(input, "read sealed model")?;
    refuse_same_file(input, output)?;
    let mut sink = Pending::create(output, OPENED_MODE)?;
    let result = open_stream(&mut BufReader::new(source), &mut sink.file, key, OpenLimits::default());
    let info = result.map_err(|error| stream_error(error, input, output))?;
    sink.commit()?;
    Ok(info)
}

/// Opens the sealed model in `input` into memory, on all cores.
pub fn open_file_in_memory(input: &Path, key: &ModelKey, limits: OpenLimits) -> Result<OpenedModel, SealFileError> {
    let (source, _) = open_regular(input, "read sealed model")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    open(&source, key, limits, threads).map_err(|error| stream_error(error, input, input))
}

/// What the header of a sealed file claims, without any key and so without any proof.
pub fn inspect_file(input: &Path) -> Result<Header, SealFileError> {
    // LIMIT: the longest header has 232 bytes.
    const BEGINNING: u64 = 512;
    let (source, _) = open_regular(input, "read sealed model")?;
    let mut beginning = Vec::new();
    source.take(BEGINNING).read_to_end(&mut beginning).map_err(io("read sealed model", input))?;
    Header::parse(&beginning).map_err(|source| SealFileError::Sealed { path: input.to_owned(), source })
}

impl SealOptions {
    /// A model named after its file: `models/digits.onnx` is `digits`. Characters that no name may have become `-`.
    pub fn named_after(path: &Path) -> Self {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .take(MAX_NAME)
            .collect();
        Self::new(if name.is_empty() { "model".to_owned() } else { name })
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SealFileError {
    let path = path.to_owned();
    move |source| SealFileError::Io { action, path, source }
}

fn stream_error(error: StreamError, input: &Path, output: &Path) -> SealFileError {
    match error {
        StreamError::Sealed(source) => SealFileError::Sealed { path: input.to_owned(), source },
        StreamError::Read(source) => io("read sealed model", input)(source),
        StreamError::Write(source) => io("write model", output)(source),
    }
}

fn open_regular(path: &Path, action: &'static str) -> Result<(File, u64), SealFileError> {
    let file = File::open(path).map_err(io(action, path))?;
    let metadata = file.metadata().map_err(io(action, path))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { std::io::ErrorKind::IsADirectory } else { std::io::ErrorKind::InvalidInput };
        return Err(io(action, path)(kind.into()));
    }
    Ok((file, metadata.len()))
}

fn refuse_same_file(input: &Path, output: &Path) -> Result<(), SealFileError> {
    let id = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    match (id(input), id(output)) {
        (Some(a), Some(b)) if a == b => Err(SealFileError::SameFile { path: output.to_owned() }),
        _ => Ok(()),
    }
}

/// A file under a temporary name in its final folder; it is gone again unless committed.
struct Pending {
    file: BufWriter<File>,
    temporary: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl Pending {
    fn create(path: &Path, mode: u32) -> Result<Self, SealFileError> {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        let file = match open() {
            // Only a run that was killed leaves one behind under our own process id.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(&temporary).and_then(|()| open())
            }
            result => result,
        };
        let file = BufWriter::new(file.map_err(io("write", path))?);
        Ok(Self { file, temporary, path: path.to_owned(), committed: false })
    }

    fn commit(mut self) -> Result<(), SealFileError> {
        self.file.flush().map_err(io("write", &self.path))?;
        self.file.get_ref().sync_all().map_err(io("write", &self.path))?;
        std::fs::rename(&self.temporary, &self.path).map_err(io("write", &self.path))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        key: ModelKey,
    }

    impl Place {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), key: ModelKey::generate().unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.path(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = std::fs::read_dir(self.dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_file_is_sealed_and_opened_again() {
        let place = Place::new();
        let model = place.write("m.onnx", b"weights");
        let (sealed, opened) = (place.path("m.sealed"), place.path("m.opened"));
        let sealed_info = seal_file(&model, &sealed, &place.key, &SealOptions::named_after(&model)).unwrap();
        let opened_info = open_file(&sealed, &opened, &place.key).unwrap();
        assert_eq!(sealed_info, opened_info);
        assert_eq!(std::fs::read(&opened).unwrap(), b"weights");
        assert_eq!(std::fs::metadata(&opened).unwrap().permissions().mode() & 0o777, 0o600);
        let in_memory = open_file_in_memory(&sealed, &place.key, OpenLimits::default()).unwrap();
        assert_eq!((in_memory.info, in_memory.plaintext.expose()), (opened_info, b"weights".as_slice()));
        assert_eq!(inspect_file(&sealed).unwrap().name, "m");
        assert_eq!(place.names(), ["m.onnx", "m.opened", "m.sealed"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind_and_what_was_there_alone() {
        let place = Place::new();
        let model = place.write("m.onnx", &[7; 9000]);
        let sealed = place.path("m.sealed");
        seal_file(&model, &sealed, &place.key, &SealOptions { chunk_size: 4096, ..SealOptions::new("m") }).unwrap();
        let mut bytes = std::fs::read(&sealed).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        place.write("m.sealed", &bytes);
        let opened = place.write("m.opened", b"precious");
        let error = open_file(&sealed, &opened, &place.key).unwrap_err();
        assert!(matches!(error, SealFileError::Sealed { source: SealedError::Trailer, .. }), "{error:?}");
        assert!(error.is_input() && error.hint().is_some());
        assert_eq!(std::fs::read(&opened).unwrap(), b"precious");
        assert_eq!(place.names(), ["m.onnx", "m.opened", "m.sealed"]);

        let empty = place.write("empty", b"");
        let error = seal_file(&empty, &place.path("out"), &place.key, &SealOptions::new("m")).unwrap_err();
        assert!(matches!(error, SealFileError::Model { source: SealedError::Empty, .. }));
        assert!(!place.path("out").exists());
    }

    #[test]
    fn a_file_is_not_replaced_by_its_own_result() {
        let place = Place::new();
        let model = place.write("m.onnx", b"weights");
        std::os::unix::fs::symlink(&model, place.path("link")).unwrap();
        for output in [&model, &place.path("link")] {
            let error = seal_file(&model, output, &place.key, &SealOptions::new("m")).unwrap_err();
            assert!(matches!(error, SealFileError::SameFile { .. }));
        }
        assert_eq!(std::fs::read(&model).unwrap(), b"weights");
    }

    #[test]
    fn unreadable_inputs_are_the_users_and_a_full_disk_is_not() {
        let place = Place::new();
        let model = place.write("m.onnx", b"weights");
        let (out, options) = (place.path("out"), SealOptions::new("m"));
        for wrong in [place.path("absent"), place.dir.path().to_owned(), PathBuf::from("/dev/null"), model.join("x")] {
            assert!(seal_file(&wrong, &out, &place.key, &options).unwrap_err().is_input(), "{}", wrong.display());
            assert!(open_file(&wrong, &out, &place.key).unwrap_err().is_input(), "{}", wrong.display());
            assert!(inspect_file(&wrong).unwrap_err().is_input(), "{}", wrong.display());
        }
        let nowhere = place.path("no/such/folder/out");
        assert!(!seal_file(&model, &nowhere, &place.key, &options).unwrap_err().is_input());
        assert!(matches!(
            open_file(&model, &out, &place.key),
            Err(SealFileError::Sealed { source: SealedError::NotSealed, .. })
        ));
        assert_eq!(place.names(), ["m.onnx"]);
    }

    #[test]
    fn a_name_comes_from_the_file() {
        for (path, name) in [
            ("models/digits.onnx", "digits"),
            ("my model (2).onnx", "my-model--2-"),
            (".hidden", "hidden"),
            ("---.onnx", "model"),
            ("/", "model"),
        ] {
            assert_eq!(SealOptions::named_after(Path::new(path)).name, name, "{path}");
            assert!(SealOptions::named_after(Path::new(path)).checked().is_ok(), "{path}");
        }
    }
}
