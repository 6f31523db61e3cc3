//! Bundles: a TOML that names every file of a Kata release with its digest, and where each is to be found.
//!
//! ```toml
//! format = 1
//! release = "3.21.0"
//! relocate = "/opt/kata"          # this folder, in files marked so, becomes the folder of the release
//!
//! [[class]]
//! name = "kata-qemu-snp"
//! shim = "bin/containerd-shim-kata-v2"
//! config = "share/defaults/kata-containers/configuration-qemu-snp.toml"
//! snapshotter = "nydus"
//!
//! [[file]]
//! path = "bin/containerd-shim-kata-v2"
//! sha256 = "…"
//! mode = "0755"
//! source = { archive = "kata-static.tar.zst", member = "opt/kata/bin/containerd-shim-kata-v2" }
//!
//! [[file]]
//! path = "share/defaults/kata-containers/configuration-qemu-snp.toml"
//! sha256 = "…"
//! relocate = true
//! source = { file = "configuration-qemu-snp.toml" }
//! ```
//!
//! Sources are relative to the folder of the TOML. The TOML itself is what one trusts: its digest can be pinned
//! ([`Installer::install`](super::install::Installer::install)), and what it names is checked against it while it is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::class::{Handler, HostPath, Snapshotter};

/// LIMIT: files of a bundle. A whole release of Kata has about 150 that are not documentation.
const MAX_FILES: usize = 4096;
/// LIMIT: classes of a bundle; Kata ships about 30 configurations.
const MAX_CLASSES: usize = 64;
/// LIMIT: a name of a release, as part of a path.
const MAX_RELEASE: usize = 64;
/// Where the installer puts the shim under a name for each class.
pub(super) const SHIMS: &str = "shims";

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "hex::serde")] pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotADigest(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

/// Text that is no digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no SHA-256: 64 hexadecimal digits")]
pub struct NotADigest(pub String);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A path inside of a release: relative, without `.`, `..` or empty parts, of letters, digits and `._-+@`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InnerPath(String);

impl InnerPath {
    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InnerPath {
    type Error = BundleError;

    fn try_from(path: String) -> Result<Self, BundleError> {
        let fine = |part: &str| {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
            !matches!(part, "" | "." | "..") && part.bytes().all(letters)
        };
        if path.split('/').all(fine) { Ok(Self(path)) } else { Err(BundleError::Path { path }) }
    }
}

impl From<InnerPath> for String {
    fn from(path: InnerPath) -> Self {
        path.0
    }
}

/// The name of a release, which is the name of its folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release(String);

impl Release {
    /// As a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Release {
    type Error = BundleError;

    fn try_from(name: String) -> Result<Self, BundleError> {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
        if begins && name.len() <= MAX_RELEASE && name.bytes().all(fine) {
            Ok(Self(name))
        } else {
            Err(BundleError::Release { name })
        }
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.0
    }
}

/// A file mode: read by all, written by its owner at most, no set-user-id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// Bits of chmod(2).
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self(0o644)
    }
}

impl TryFrom<String> for Mode {
    type Error = BundleError;

    fn try_from(text: String) -> Result<Self, BundleError> {
        match text.as_str() {
            "0444" => Ok(Self(0o444)),
            "0555" => Ok(Self(0o555)),
            "0644" => Ok(Self(0o644)),
            "0755" => Ok(Self(0o755)),
            _ => Err(BundleError::Mode { text }),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// Where a file is to be found, relative to the folder of the bundle's TOML.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Source {
    /// A file of its own.
    File {
        /// Its path.
        file: InnerPath,
    },
    /// In a tar archive, compressed with Zstandard or not at all.
    Member {
        /// The archive's path.
        archive: InnerPath,
        /// The name in the archive, without a leading `./` or `/`.
        member: InnerPath,
    },
}

/// A class as the bundle describes it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Of the class and its handler.
    pub name: Handler,
    /// The shim's binary, one of the files.
    pub shim: InnerPath,
    /// Kata's configuration for it, one of the files.
    pub config: InnerPath,
    /// For images; `None` for the node's usual one.
    pub snapshotter: Option<Snapshotter>,
}

/// A file as the bundle describes it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// In the folder of the release.
    pub path: InnerPath,
    /// Of the source's bytes.
    pub sha256: Digest,
    /// 0644 where it is not said.
    #[serde(default)]
    pub mode: Mode,
    /// Where to find it.
    pub source: Source,
    /// Whether the folder that the bundle was built for is replaced in it.
    #[serde(default)]
    pub relocate: bool,
}

/// A bundle whose parts fit together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// Its name.
    pub release: Release,
    /// The folder that its texts speak of.
    pub relocate: Option<HostPath>,
    /// At least one.
    pub classes: Vec<Class>,
    /// By path.
    pub files: BTreeMap<InnerPath, File>,
}

/// A bundle that describes nothing that could be installed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not TOML, or not of this shape.
    #[error("line {line}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A later format.
    #[error("the bundle is of format {found}, and this version reads 1")]
    Format {
        /// What it says.
        found: u32,
    },
    /// Not a path inside of the release.
    #[error("`{path}` is no relative path of letters, digits and `._-+@` without `..`")]
    Path {
        /// As it is written.
        path: String,
    },
    /// Not a name of a release.
    #[error("`{name}` is no release: a digit, then letters, digits, `.` and `-`, at most {MAX_RELEASE}")]
    Release {
        /// As it is written.
        name: String,
    },
    /// A mode that is not one of four.
    #[error("`{text}` is no mode for a file of a runtime: 0444, 0555, 0644 or 0755")]
    Mode {
        /// As it is written.
        text: String,
    },
    /// Too many files or classes, or none.
    #[error("{found} {what}, and {least} to {most} are possible")]
    Count {
        /// Of which.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// At least.
        least: usize,
        /// At most.
        most: usize,
    },
    /// Two of one name.
    #[error("{what} `{name}` is described twice")]
    Twice {
        /// A class, file or member.
        what: &'static str,
        /// Which.
        name: String,
    },
    /// A file where another one needs a folder.
    #[error("`{file}` is a file, and `{inner}` would have to be in it")]
    FileAsFolder {
        /// The shorter path.
        file: String,
        /// The longer one.
        inner: String,
    },
    /// A folder that the installer fills.
    #[error("`{path}` is in `{SHIMS}`, which the installer fills itself")]
    Reserved {
        /// Which file.
        path: String,
    },
    /// A class that names a file that is not there.
    #[error("class `{class}` names the {what} `{path}`, which is no file of the bundle")]
    NoSuchFile {
        /// Which class.
        class: Handler,
        /// Its shim or its configuration.
        what: &'static str,
        /// What it names.
        path: String,
    },
    /// A shim that cannot be run.
    #[error("`{path}` is the shim of class `{class}` and is not executable")]
    NotExecutable {
        /// Which class.
        class: Handler,
        /// The shim.
        path: String,
    },
    /// A file is to be relocated, and from where is not said.
    #[error("`{path}` is to be relocated, and the bundle does not say from which folder")]
    RelocateWhat {
        /// Which file.
        path: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    release: Release,
    relocate: Option<HostPath>,
    #[serde(default)]
    class: Vec<Class>,
    #[serde(default)]
    file: Vec<File>,
}

impl Bundle {
    /// Reads and checks a description.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let Text { format, release, relocate, class: classes, file } =
            toml::from_str(text).map_err(|error: toml::de::Error| {
                let at = error.span().map_or(0, |span| span.start);
                let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
                BundleError::Syntax { line, message: error.message().to_owned() }
            })?;
        if format != 1 {
            return Err(BundleError::Format { found: format });
        }
        let counts = [("files", file.len(), MAX_FILES), ("classes", classes.len(), MAX_CLASSES)];
        if let Some((what, found, most)) = counts.into_iter().find(|(_, n, most)| !(1..=*most).contains(n)) {
            return Err(BundleError::Count { what, found, least: 1, most });
        }
        let files = check_files(file, relocate.is_some())?;
        check_classes(&classes, &files)?;
        Ok(Self { release, relocate, classes, files })
    }
}

fn check_files(list: Vec<File>, relocates: bool) -> Result<BTreeMap<InnerPath, File>, BundleError> {
    let mut members = BTreeSet::new();
    let mut files = BTreeMap::new();
    for file in list {
        let path = file.path.as_str().to_owned();
        if path.split('/').next() == Some(SHIMS) {
            return Err(BundleError::Reserved { path });
        }
        if file.relocate && !relocates {
            return Err(BundleError::RelocateWhat { path });
        }
        if matches!(file.source, Source::Member { .. }) && !members.insert(file.source.clone()) {
            return Err(BundleError::Twice { what: "the source of", name: path });
        }
        if files.insert(file.path.clone(), file).is_some() {
            return Err(BundleError::Twice { what: "file", name: path });
        }
    }
    for path in files.keys() {
        let inner = path.as_str();
        for (at, _) in inner.match_indices('/') {
            let folder = InnerPath(inner[..at].to_owned());
            if files.contains_key(&folder) {
                return Err(BundleError::FileAsFolder { file: folder.0, inner: inner.to_owned() });
            }
        }
    }
    Ok(files)
}

fn check_classes(classes: &[Class], files: &BTreeMap<InnerPath, File>) -> Result<(), BundleError> {
    let mut names = BTreeSet::new();
    for Class { name, shim, config, .. } in classes {
        if !names.insert(name) {
            return Err(BundleError::Twice { what: "class", name: name.to_string() });
        }
        for (what, path) in [("shim", shim), ("configuration", config)] {
            if !files.contains_key(path) {
                return Err(BundleError::NoSuchFile { class: name.clone(), what, path: path.0.clone() });
            }
        }
        if files.get(shim).is_some_and(|file| file.mode.bits() & 0o111 == 0) {
            return Err(BundleError::NotExecutable { class: name.clone(), path: shim.0.clone() });
        }
        // A configuration's path goes into containerd's, where it must need no quotes.
        let path = format!("/{}", config.as_str());
        HostPath::new(path.clone()).map_err(|_| BundleError::Path { path })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let zeros = "0".repeat(64);
        format!(
            "format = 1\nrelease = \"3.21.0\"\nrelocate = \"/opt/kata\"\n\
             [[class]]\nname = \"kata-qemu-snp\"\nshim = \"bin/shim\"\nconfig = \"etc/snp.toml\"\nsnapshotter = \"nydus\"\n\
             [[file]]\npath = \"bin/shim\"\nsha256 = \"{zeros}\"\nmode = \"0755\"\n\
             source = {{ archive = \"kata.tar.zst\", member = \"opt/kata/bin/shim\" }}\n\
             [[file]]\npath = \"etc/snp.toml\"\nsha256 = \"{zeros}\"\nrelocate = true\nsource = {{ file = \"snp.toml\" }}\n"
        )
    }

    #[test]
    fn a_bundle_is_read() {
        let bundle = Bundle::parse(&text()).unwrap();
        assert_eq!(bundle.release.as_str(), "3.21.0");
        assert_eq!(bundle.classes[0].snapshotter, Some(Snapshotter::new("nydus").unwrap()));
        let modes: Vec<u32> = bundle.files.values().map(|file| file.mode.bits()).collect();
        assert_eq!(modes, [0o755, 0o644]);
    }

    #[test]
    fn one_wrong_word_is_one_named_error() {
        let second = "path = \"etc/snp.toml\"";
        let cases = [
            ("format = 1", "format = 2", "format 2"),
            ("format = 1", "format = 1\nextra = 1", "line 2: unknown field"),
            ("\"3.21.0\"", "\"../3\"", "line 2: `../3` is no release"),
            ("\"3.21.0\"", "\".3\"", "is no release"),
            ("\"3.21.0\"", "\"current\"", "is no release"),
            ("name = \"kata-qemu-snp\"", "name = \"runc\"", "no name of a Kata class"),
            ("shim = \"bin/shim\"", "shim = \"bin/other\"", "names the shim `bin/other`"),
            ("config = \"etc/snp.toml\"", "config = \"x\"", "names the configuration `x`"),
            ("\"nydus\"", "\"a b\"", "is no snapshotter"),
            ("mode = \"0755\"", "mode = \"4755\"", "`4755` is no mode"),
            ("mode = \"0755\"", "mode = \"0666\"", "`0666` is no mode"),
            ("mode = \"0755\"\n", "", "is not executable"),
            (second, "path = \"bin/shim\"", "file `bin/shim` is described twice"),
            (second, "path = \"bin/shim/x\"", "`bin/shim` is a file, and `bin/shim/x`"),
            (second, "path = \"shims/x\"", "is in `shims`"),
            (second, "path = \"../x\"", "no relative path"),
            (second, "path = \"/x\"", "no relative path"),
            (second, "path = \"a//x\"", "no relative path"),
            ("relocate = \"/opt/kata\"\n", "", "does not say from which folder"),
            ("relocate = \"/opt/kata\"", "relocate = \"opt\"", "no absolute path"),
            ("sha256 = \"0000", "sha256 = \"zz00", "line 11: Invalid character"),
            ("sha256 = \"0000", "sha256 = \"00", "line 11: "),
            ("source = { file = \"snp.toml\" }", "source = { file = \"../../etc/shadow\" }", "line"),
            ("source = { file = \"snp.toml\" }", "source = { archive = \"kata.tar.zst\" }", "line"),
            (
                "source = { file = \"snp.toml\" }",
                "source = { archive = \"kata.tar.zst\", member = \"opt/kata/bin/shim\" }",
                "the source of `etc/snp.toml` is described twice",
            ),
        ];
        for (from, to, expected) in cases {
            let changed = text().replacen(from, to, 1);
            assert_ne!(changed, text(), "{from}");
            let error = Bundle::parse(&changed).unwrap_err().to_string();
            assert!(error.contains(expected), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn a_bundle_without_classes_or_files_is_refused() {
        let error = Bundle::parse("format = 1\nrelease = \"1\"\n").unwrap_err();
        assert_eq!(error, BundleError::Count { what: "files", found: 0, least: 1, most: MAX_FILES });
        let class = text();
        let (head, rest) = class.split_once("[[class]]").unwrap();
        let (_, files) = rest.split_once("[[file]]").unwrap();
        let error = Bundle::parse(&format!("{head}[[file]]{files}")).unwrap_err();
        assert_eq!(error, BundleError::Count { what: "classes", found: 0, least: 1, most: MAX_CLASSES });
    }

    #[test]
    fn a_class_is_described_once() {
        let class = "[[class]]\nname = \"kata-qemu-snp\"\nshim = \"bin/shim\"\nconfig = \"etc/snp.toml\"\n";
        let error = Bundle::parse(&(text() + class)).unwrap_err();
        assert_eq!(error, BundleError::Twice { what: "class", name: "kata-qemu-snp".to_owned() });
    }
}
