//! Where things lie in a pod. `generate` mounts the volumes at these places.

use std::path::{Path, PathBuf};

/// The places, below a root that only tests change.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The places of a pod.
    pub(crate) fn new() -> Self {
        Self::below("/")
    }

    pub(crate) fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, place: &str) -> PathBuf {
        self.root.join(place)
    }

    /// The initdata as the host hands it over: a downward-API volume, untrusted.
    pub(crate) fn initdata(&self) -> PathBuf {
        self.at("casemate-in/podinfo/initdata")
    }

    /// ConfigMap and Secret volumes as the host hands them over, untrusted.
    pub(crate) fn given_files(&self) -> PathBuf {
        self.at("casemate-in/files")
    }

    /// A guest-memory volume with the checked files of a volume, which the workload mounts.
    pub(crate) fn checked_files(&self, volume: &str) -> PathBuf {
        self.at("casemate-files").join(volume)
    }

    /// A folder of the guest-memory volume that workload, initializer and mesh share.
    pub(crate) fn tls(&self) -> PathBuf {
        self.at("casemate/tls-config")
    }

    /// The secrets of the pod's identity.
    pub(crate) fn secrets(&self) -> PathBuf {
        self.at("casemate/secrets")
    }

    /// What the initializer tells the mesh.
    pub(crate) fn membership(&self) -> PathBuf {
        self.at("casemate/mesh/membership.json")
    }

    /// Where the workload's command begins.
    pub(crate) fn launcher(&self) -> PathBuf {
        self.at("casemate/bin/launch")
    }

    /// The launcher in our own image.
    pub(crate) fn launcher_source(&self) -> PathBuf {
        self.at("casemate-launch")
    }

    /// Host names, written by the kubelet, untrusted.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.at("etc/hosts")
    }
}

/// Replaces a file in one step, so that a reader sees the old content or the new and never a part.
pub(crate) fn replace_file(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    replace_file_of(None, path, content, mode)
}

/// Replaces a file in one step, with one of another group where that is said.
pub(crate) fn replace_file_of(group: Option<u32>, path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown};

    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.new"));
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    if group.is_some() {
        fchown(&file, None, group)?;
    }
    // Past the umask, and only once the content is there.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        for (content, mode) in [("first, and longer", 0o644), ("second", 0o600)] {
            replace_file(&path, content.as_bytes(), mode).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_leftover_of_an_earlier_try_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".x.new"), "half").unwrap();
        replace_file(&folder.path().join("x"), b"whole", 0o644).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("x")).unwrap(), "whole");
    }
}
