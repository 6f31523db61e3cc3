//! What the pod's members of the mesh find in guest memory, and how it gets there.
//!
//! Everything in `/casemate` is for every process of the pod: the pod is one domain of trust, workloads run as whatever
//! user their image says, and an application that does its own TLS must be able to read its key. The folders belong to
//! the mesh's user, which renews the certificate after it gave up being root.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use mesh::firewall::MESH_UID;
use mesh::lease::BootInstant;
use protocol::Identity;
use serde::{Deserialize, Serialize};

use crate::answer::Membership;
use crate::key::Key;
use crate::paths::{Paths, replace_file};
use crate::pins::Pins;

/// LIMIT: what we write ourselves: a thousand callers make 100 KiB.
const MAX_OWN_FILE: u64 = 1024 * 1024;

/// The membership as the initializer passes it on to the mesh.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The end of the lease on the boot clock.
    pub(crate) valid_until_ms: u64,
    /// The length of a lease.
    pub(crate) lease_seconds: u64,
    /// Who may call.
    pub(crate) callers: BTreeMap<Identity, String>,
    /// What every later grant is held to.
    pub(crate) pins: Pins,
}

impl Kept {
    fn of(membership: &Membership) -> Self {
        Self {
            valid_until_ms: membership.valid_until.as_millis(),
            lease_seconds: membership.lease.as_secs(),
            callers: membership.callers.clone(),
            pins: membership.pins.clone(),
        }
    }

    /// The end of the lease.
    pub(crate) fn valid_until(&self) -> BootInstant {
        BootInstant::from_millis(self.valid_until_ms)
    }

    /// The length of a lease.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}

/// A folder that everybody may enter, owned by the mesh's user where we may give it away.
fn folder(path: &Path) -> anyhow::Result<()> {
    let made = std::fs::create_dir_all(path).and_then(|()| {
        std::fs::set_permissions(path, Permissions::from_mode(0o755))?;
        if nix::unistd::geteuid().is_root() { chown(path, Some(MESH_UID), Some(MESH_UID)) } else { Ok(()) }
    });
    made.with_context(|| format!("make folder `{}`", path.display()))
}

fn put(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let written = replace_file(path, content, mode).and_then(|()| {
        if nix::unistd::geteuid().is_root() { chown(path, Some(MESH_UID), Some(MESH_UID)) } else { Ok(()) }
    });
    written.with_context(|| format!("write `{}`", path.display()))
}

/// Writes everything of an enrolment: key, certificates, secrets, and the membership for the mesh.
pub(crate) fn enrolled(paths: &Paths, key: &Key, membership: &Membership) -> anyhow::Result<()> {
    folder(&paths.tls())?;
    folder(&paths.secrets())?;
    if let Some(parent) = paths.membership().parent() {
        folder(parent)?;
    }
    put(&paths.tls().join("key.pem"), key.to_pem().as_bytes(), 0o444)?;
    for secret in &membership.secrets {
        put(&paths.secrets().join(&secret.name), secret.value.expose(), 0o444)?;
    }
    renewed(paths, membership, &membership.roots.mesh_ca)
}

/// Writes what a renewal changes. `mesh_cas` are the certificates under which members of the mesh are now accepted.
pub(crate) fn renewed(paths: &Paths, membership: &Membership, mesh_cas: &str) -> anyhow::Result<()> {
    let tls = paths.tls();
    put(&tls.join("coordinator-root-ca.pem"), membership.roots.root_ca.as_bytes(), 0o444)?;
    put(&tls.join("mesh-ca.pem"), mesh_cas.as_bytes(), 0o444)?;
    put(&tls.join("certChain.pem"), membership.certificate_chain.as_bytes(), 0o444)?;
    let kept = serde_json::to_vec(&Kept::of(membership)).context("write down the membership")?;
    put(&paths.membership(), &kept, 0o400)
}

/// What the initializer, or an earlier life of the mesh, left behind.
pub(crate) struct Found {
    /// The membership.
    pub(crate) kept: Kept,
    /// The key.
    pub(crate) key: Key,
    /// Leaf and mesh CA, PEM.
    pub(crate) certificate_chain: String,
    /// The mesh CAs, PEM.
    pub(crate) mesh_cas: String,
}

/// Reads what was left behind.
pub(crate) fn find(paths: &Paths) -> anyhow::Result<Found> {
    let read = |path: &Path| read(path).with_context(|| format!("read `{}`", path.display()));
    Ok(Found {
        kept: kept(paths)?.with_context(|| format!("`{}` is not there", paths.membership().display()))?,
        key: Key::from_pem(&read(&paths.tls().join("key.pem"))?)?,
        certificate_chain: read(&paths.tls().join("certChain.pem"))?,
        mesh_cas: read(&paths.tls().join("mesh-ca.pem"))?,
    })
}

/// The pins of an earlier initializer of this pod's life; `None` before the first enrolment.
pub(crate) fn pins(paths: &Paths) -> anyhow::Result<Option<Pins>> {
    Ok(kept(paths)?.map(|kept| kept.pins))
}

/// The membership, if there is one. One that cannot be read is an error: to enrol without it would be to forget the pins.
fn kept(paths: &Paths) -> anyhow::Result<Option<Kept>> {
    let path = paths.membership();
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(anyhow!(error).context(format!("read `{}`", path.display()))),
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("read `{}`", path.display()))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_OWN_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Takes the launcher away, so that no workload starts while the pod is being prepared again.
pub(crate) fn no_launcher(paths: &Paths) -> anyhow::Result<()> {
    let path = paths.launcher();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(anyhow!(error).context(format!("remove `{}`", path.display())))
        }
        _ => Ok(()),
    }
}

/// Places the launcher. This is what lets the workload start, and so the last act of all.
pub(crate) fn launcher(paths: &Paths) -> anyhow::Result<()> {
    let (source, path) = (paths.launcher_source(), paths.launcher());
    let program = std::fs::read(&source).with_context(|| format!("read `{}`", source.display()))?;
    let placed = path.parent().map_or(Ok(()), |parent| {
        std::fs::create_dir_all(parent)?;
        std::fs::set_permissions(parent, Permissions::from_mode(0o755))
    });
    placed.and_then(|()| replace_file(&path, &program, 0o555)).with_context(|| format!("place `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::rig;

    #[test]
    fn what_the_initializer_leaves_the_mesh_finds() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::below(folder.path());
        let (key, membership) = (Key::generate().unwrap(), rig::membership());
        enrolled(&paths, &key, &membership).unwrap();
        let found = find(&paths).unwrap();
        assert_eq!(found.kept, Kept::of(&membership));
        assert_eq!(found.key.public(), key.public());
        assert_eq!(found.certificate_chain, membership.certificate_chain);
        assert_eq!(found.mesh_cas, membership.roots.mesh_ca);
        let mode = |name: &str| paths.tls().join(name).metadata().unwrap().mode() & 0o7777;
        for name in ["key.pem", "certChain.pem", "mesh-ca.pem", "coordinator-root-ca.pem"] {
            assert_eq!(mode(name), 0o444, "{name}");
        }
        assert_eq!(std::fs::read(paths.secrets().join("model-key")).unwrap(), b"opensesame");
        assert_eq!(paths.membership().metadata().unwrap().mode() & 0o7777, 0o400);
    }

    #[test]
    fn a_renewal_keeps_key_and_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::below(folder.path());
        let (key, mut membership) = (Key::generate().unwrap(), rig::membership());
        enrolled(&paths, &key, &membership).unwrap();
        membership.secrets.clear();
        membership.certificate_chain = "new".into();
        renewed(&paths, &membership, "both").unwrap();
        let found = find(&paths).unwrap();
        assert_eq!((found.certificate_chain.as_str(), found.mesh_cas.as_str()), ("new", "both"));
        assert_eq!(found.key.public(), key.public());
        assert!(paths.secrets().join("model-key").exists());
    }

    #[test]
    fn pins_outlive_the_initializer_and_are_never_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::below(folder.path());
        assert_eq!(pins(&paths).unwrap(), None);
        let membership = rig::membership();
        enrolled(&paths, &Key::generate().unwrap(), &membership).unwrap();
        assert_eq!(pins(&paths).unwrap(), Some(membership.pins));
        replace_file(&paths.membership(), b"{}", 0o400).unwrap();
        assert!(pins(&paths).is_err());
    }

    #[test]
    fn the_launcher_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::below(folder.path());
        no_launcher(&paths).unwrap();
        assert!(launcher(&paths).is_err(), "there is none in this image");
        std::fs::write(paths.launcher_source(), "program").unwrap();
        launcher(&paths).unwrap();
        launcher(&paths).unwrap();
        assert_eq!(paths.launcher().metadata().unwrap().mode() & 0o777, 0o555);
        no_launcher(&paths).unwrap();
        assert!(!paths.launcher().exists());
    }
}
