//! What the runtime needs of a host: its configuration files, and who uses a class.

use std::collections::BTreeSet;

use super::bundle::SHIMS;
use super::class::Handler;
use super::containerd::{ConfigError, Distribution, Files, imports};
use super::files::{FileError, Root};
use super::journal::HOME;
pub use super::service::{Run, Service, ServiceError, Systemd};

/// LIMIT: configuration files that are read. Distributions import one folder with a handful.
const MAX_FILES: usize = 256;

/// Why a host's configuration cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There are files of more than one distribution.
    #[error("there are files of {} and of {}", .0[0], .0[1])]
    Ambiguous([Distribution; 2]),
    /// More files than anybody has.
    #[error("the configuration imports more than {MAX_FILES} files")]
    TooMany,
    /// A pattern of which we understand `*` in the last part alone.
    #[error("{path} imports `{pattern}`, and only `*` in the last part is understood")]
    Pattern {
        /// The importing file.
        path: String,
        /// As it is written.
        pattern: String,
    },
    /// A file says something that we do not understand.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Whose containerd this host runs, judged by the files that are there.
pub fn distribution(root: &Root) -> Result<Distribution, HostError> {
    let mut found = Vec::new();
    for distribution in [Distribution::K3s, Distribution::Rke2] {
        if root.text(&distribution.main())?.is_some() {
            found.push(distribution);
        }
    }
    match found[..] {
        // Both keep their containerd apart from the system's, which may be there as well.
        [] => Ok(Distribution::Containerd),
        [one] => Ok(one),
        [one, other, ..] => Err(HostError::Ambiguous([one, other])),
    }
}

/// Every file that [`plan`](super::containerd::plan) has to know.
pub fn configuration(root: &Root, distribution: Distribution) -> Result<Files, HostError> {
    let main = distribution.main();
    let mut files = Files::new();
    let mut todo = distribution.files();
    let mut seen = BTreeSet::new();
    while let Some(path) = todo.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let Some(text) = root.text(&path)? else { continue };
        if files.len() >= MAX_FILES {
            return Err(HostError::TooMany);
        }
        // Templates are no TOML, and import nothing themselves.
        if path == main || !distribution.files().contains(&path) {
            for pattern in imports(&path, &text)? {
                todo.extend(expand(root, &path, &pattern)?);
            }
        }
        files.insert(path, text);
    }
    // What these import is as little in effect as they are, so they are not looked into.
    if let (false, Some(pattern)) = (files.contains_key(&main), distribution.unread()) {
        for path in expand(root, &main, &pattern)?.into_iter().take(MAX_FILES) {
            if let Some(text) = root.text(&path)? {
                files.insert(path, text);
            }
        }
    }
    Ok(files)
}

/// The files that a pattern names, as Go's `filepath.Glob` finds them.
fn expand(root: &Root, path: &str, pattern: &str) -> Result<Vec<String>, HostError> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if folder.contains('*') || pattern.contains(['?', '[', '\\']) {
        return Err(HostError::Pattern { path: path.to_owned(), pattern: pattern.to_owned() });
    }
    if !name.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let names = root.names(folder)?.into_iter().filter(|candidate| matches(name, candidate));
    Ok(names.map(|name| format!("{folder}/{name}")).collect())
}

/// Whether a name fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A running pod sandbox of ours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sandbox {
    /// Its class.
    pub handler: Handler,
    /// The release whose files it uses; `None` where only the class is known.
    pub release: Option<String>,
    /// What it is, for a person: a process or a pod.
    pub who: String,
}

/// Who uses classes now. Asked before anything is taken away.
pub trait Users {
    /// Every running sandbox.
    fn sandboxes(&self) -> Result<Vec<Sandbox>, FileError>;
}

/// LIMIT: the processes that are looked at; `pid_max` is at most 2^22.
const MAX_PROCESSES: usize = 1 << 22;

/// Asks the kernel which processes run a shim of ours: every class has a name of its own for the shim's binary.
#[derive(Clone, Debug)]
pub struct Processes {
    root: Root,
}

impl Processes {
    /// The processes under `/proc` of this host.
    pub fn new(root: Root) -> Self {
        Self { root }
    }
}

impl Users for Processes {
    fn sandboxes(&self) -> Result<Vec<Sandbox>, FileError> {
        let mut found = Vec::new();
        for name in self.root.names("/proc")?.into_iter().take(MAX_PROCESSES) {
            if !name.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            // Not through `Root::path`: this link says where the file is on the host, and is not followed. It cannot be
            // read when the process has just ended, nor for threads of the kernel, which run no file.
            let link = self.root.folder().join("proc").join(&name).join("exe");
            let Ok(target) = std::fs::read_link(link) else { continue };
            if let Some((release, handler)) = target.to_str().and_then(shim) {
                let who = format!("process {name}");
                found.push(Sandbox { handler, release: Some(release.to_owned()), who });
            }
        }
        Ok(found)
    }
}

/// The release and class of a shim's path. The kernel adds ` (deleted)` when the file is gone.
fn shim(path: &str) -> Option<(&str, Handler)> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    // Seen from a container the path may begin with the folder where the host is mounted.
    let (_, inner) = path.split_once(&format!("{HOME}/"))?;
    let (release, name) = inner.split_once(&format!("/{SHIMS}/"))?;
    let name = name.strip_prefix("containerd-shim-")?.strip_suffix("-v2")?;
    Some((release, Handler::new(name).ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn patterns_fit_as_in_go() {
        let cases = [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.before-casemate", false),
            ("a*", "a", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_shims_path_says_its_release_and_class() {
        let home = "/opt/casemate/kata/3.21.0/shims/containerd-shim-kata-qemu-snp-v2";
        let expected = Some(("3.21.0", Handler::new("kata-qemu-snp").unwrap()));
        assert_eq!(shim(home), expected);
        assert_eq!(shim(&format!("{home} (deleted)")), expected);
        assert_eq!(shim(&format!("/host{home}")), expected);
        for other in [
            "/opt/kata/bin/containerd-shim-kata-v2",
            "/opt/casemate/kata/3.21.0/bin/containerd-shim-kata-v2",
            "/opt/casemate/kata/3.21.0/shims/containerd-shim-runc-v2",
            "/usr/bin/containerd",
        ] {
            assert_eq!(shim(other), None, "{other}");
        }
    }

    #[test]
    fn processes_of_our_shims_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let process = |pid: &str, exe: &str| {
            std::fs::create_dir_all(dir.path().join("proc").join(pid)).unwrap();
            symlink(exe, dir.path().join("proc").join(pid).join("exe")).unwrap();
        };
        process("1", "/usr/lib/systemd/systemd");
        process("77", "/opt/casemate/kata/3.21.0/shims/containerd-shim-kata-qemu-tdx-v2");
        process("self", "/opt/casemate/kata/3.21.0/shims/containerd-shim-kata-qemu-snp-v2");
        std::fs::create_dir_all(dir.path().join("proc/2")).unwrap();
        let found = Processes::new(Root::new(dir.path())).sandboxes().unwrap();
        let handler = Handler::new("kata-qemu-tdx").unwrap();
        assert_eq!(found, [Sandbox { handler, release: Some("3.21.0".to_owned()), who: "process 77".to_owned() }]);
    }

    #[test]
    fn the_distribution_is_told_by_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert_eq!(distribution(&root).unwrap(), Distribution::Containerd);
        root.replace("/etc/containerd/config.toml", "").unwrap();
        root.replace(&Distribution::K3s.main(), "").unwrap();
        assert_eq!(distribution(&root).unwrap(), Distribution::K3s);
        root.replace(&Distribution::Rke2.main(), "").unwrap();
        assert!(matches!(distribution(&root), Err(HostError::Ambiguous(_))));
    }

    #[test]
    fn a_configuration_is_read_with_everything_it_imports() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        root.replace("/etc/containerd/config.toml", "version = 3\nimports = ['conf.d/*.toml', '/x.toml']\n").unwrap();
        root.replace("/etc/containerd/conf.d/a.toml", "imports = ['/etc/containerd/config.toml', 'b.toml']").unwrap();
        root.replace("/etc/containerd/conf.d/b.toml", "").unwrap();
        root.replace("/etc/containerd/conf.d/c.txt", "no TOML").unwrap();
        let files = configuration(&root, Distribution::Containerd).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["/etc/containerd/conf.d/a.toml", "/etc/containerd/conf.d/b.toml", "/etc/containerd/config.toml"]
        );
    }

    #[test]
    fn files_that_nothing_imports_are_looked_at_where_there_is_no_main_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        root.replace("/etc/containerd/conf.d/site.toml", "version = 3\n").unwrap();
        root.replace("/etc/containerd/conf.d/notes.txt", "no TOML").unwrap();
        let files = |distribution| -> Vec<String> { configuration(&root, distribution).unwrap().into_keys().collect() };
        assert_eq!(files(Distribution::Containerd), ["/etc/containerd/conf.d/site.toml"]);
        assert!(files(Distribution::K3s).is_empty());
        root.replace("/etc/containerd/config.toml", "version = 3\n").unwrap();
        assert_eq!(files(Distribution::Containerd), ["/etc/containerd/config.toml"]);
    }

    #[test]
    fn patterns_that_are_not_understood_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for pattern in ["/etc/*/x.toml", "/etc/[ab].toml", "/etc/?.toml"] {
            let text = format!("version = 3\nimports = ['{pattern}']\n");
            root.replace("/etc/containerd/config.toml", &text).unwrap();
            let error = configuration(&root, Distribution::Containerd).unwrap_err();
            assert!(matches!(error, HostError::Pattern { .. }), "{pattern}: {error}");
        }
    }
}
