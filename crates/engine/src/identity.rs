//! The engine's identity: the root key of its software TEE and the measurement of its pod agent.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA384};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use protocol::Digest;
use protocol::digest::Measurement;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::paths::Paths;

/// What a manifest names as the one software root it accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineIdentity {
    /// SHA-256 of the root's Ed25519 public key.
    pub root: Digest,
    /// SHA-384 of this executable, which is also the pod agent.
    pub measurement: Measurement,
}

/// The identity of the engine of `workspace`; makes the root key on first use.
pub fn identity(workspace: &Path) -> Result<EngineIdentity, EngineError> {
    let paths = Paths::of(workspace)?;
    let key = root_key(&paths)?;
    Ok(EngineIdentity {
        root: Digest::of(key.public_key().as_ref()),
        measurement: remembered(&paths, Path::new("/proc/self/exe"), Keep::Yes)?,
    })
}

/// The identity of the engine of `workspace`, and none where it has no root key yet; makes nothing.
pub fn known_identity(workspace: &Path) -> Result<Option<EngineIdentity>, EngineError> {
    let paths = Paths::of(workspace)?;
    if !paths.root_key().exists() {
        return Ok(None);
    }
    let root = Digest::of(root_key(&paths)?.public_key().as_ref());
    Ok(Some(EngineIdentity { root, measurement: remembered(&paths, Path::new("/proc/self/exe"), Keep::No)? }))
}

/// Whether a measurement that was made is to be remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

/// A measurement that was made before, and the file that it was made of. The kernel gives a file that is written to another
/// time of change, which no program can set back.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Remembered {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
    measurement: Measurement,
}

/// LIMIT: what is remembered, a line of JSON.
const MAX_REMEMBERED: u64 = 1024;

/// Measures this executable, or knows it by what was remembered in the work folder: reading 50 MB takes longer than most
/// commands. Only for what a manifest is to say; the software TEE that makes Evidence measures for itself.
fn remembered(paths: &Paths, executable: &Path, keep: Keep) -> Result<Measurement, EngineError> {
    let meta = std::fs::metadata(executable)
        .map_err(|error| EngineError::io(format!("measure `{}`", executable.display()), &error))?;
    let of_file = |measurement| Remembered {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        changed: (meta.ctime(), meta.ctime_nsec()),
        measurement,
    };
    let path = paths.measurement();
    let known = std::fs::File::open(&path).ok().and_then(|file| {
        let mut text = Vec::new();
        file.take(MAX_REMEMBERED).read_to_end(&mut text).ok()?;
        serde_json::from_slice::<Remembered>(&text).ok()
    });
    if let Some(known) = known.filter(|known| of_file(known.measurement) == *known) {
        return Ok(known.measurement);
    }
    let measurement = measure(executable)?;
    if keep == Keep::No {
        return Ok(measurement);
    }
    // Without it the next command measures again. Written aside, so that nobody reads half of it.
    let aside = paths.state().join(format!("measurement.{}", std::process::id()));
    let text = serde_json::to_vec(&of_file(measurement)).unwrap_or_default();
    if std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &path)).is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    Ok(measurement)
}

/// The length of an Ed25519 seed (RFC 8032, section 5.1.5).
const SEED: usize = 32;

/// Loads the root key, or makes it.
pub(crate) fn root_key(paths: &Paths) -> Result<Ed25519KeyPair, EngineError> {
    let path = paths.root_key();
    let failed = |error: &dyn std::fmt::Display| EngineError::io(format!("read `{}`", path.display()), error);
    if !path.exists() {
        make_root_key(paths)?;
    }
    let file = std::fs::File::open(&path).map_err(|error| failed(&error))?;
    let mode = file.metadata().map_err(|error| failed(&error))?.mode();
    if mode & 0o077 != 0 {
        return Err(EngineError::Resources {
            path: path.clone(),
            line: None,
            reason: format!(
                "readable by others (mode {:o}); `chmod 600` it, or remove it to make a new one",
                mode & 0o777
            ),
        });
    }
    let mut seed = Vec::new();
    file.take(SEED as u64 + 1).read_to_end(&mut seed).map_err(|error| failed(&error))?;
    let wrong = EngineError::Resources {
        path: path.clone(),
        line: None,
        reason: format!("not a root key of {SEED} bytes; remove it to make a new one, then `casemate generate` again"),
    };
    if seed.len() != SEED {
        return Err(wrong);
    }
    Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| wrong)
}

fn make_root_key(paths: &Paths) -> Result<(), EngineError> {
    let path = paths.root_key();
    let failed = |error: &dyn std::fmt::Display| EngineError::io(format!("write `{}`", path.display()), error);
    std::fs::create_dir_all(paths.state()).map_err(|error| failed(&error))?;
    let mut seed = [0; SEED];
    SystemRandom::new().fill(&mut seed).map_err(|error| failed(&error))?;
    // A whole key or none: written aside and linked into place, so that of two first callers one wins.
    let aside = paths.state().join(format!("tee-root.key.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)
        .and_then(|mut file| file.write_all(&seed).and_then(|()| file.sync_all()))
        .and_then(|()| match std::fs::hard_link(&aside, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
    let _ = std::fs::remove_file(&aside);
    written.map_err(|error| failed(&error))
}

/// SHA-384 of a file, read in pieces.
pub(crate) fn measure(executable: &Path) -> Result<Measurement, EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::io(format!("measure `{}`", executable.display()), error);
    let mut file = std::fs::File::open(executable).map_err(|error| failed(&error))?;
    let mut hash = Context::new(&SHA384);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(|error| failed(&error))?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    let digest: [u8; 48] = hash
        .finish()
        .as_ref()
        .try_into()
        .map_err(|_| EngineError::Bug { reason: "SHA-384 gave another length than 48 bytes".into() })?;
    Ok(Measurement::from_bytes(digest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_root_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = identity(folder.path()).unwrap();
        assert_eq!(identity(folder.path()).unwrap(), first);
        let key = folder.path().join(".casemate/tee-root.key");
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let files = std::fs::read_dir(folder.path().join(".casemate")).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["measurement.json", "tee-root.key"]);
    }

    #[test]
    fn a_measurement_is_remembered_for_the_very_same_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::of(folder.path()).unwrap();
        std::fs::create_dir_all(paths.state()).unwrap();
        let file = folder.path().join("program");
        std::fs::write(&file, "one").unwrap();
        let one = remembered(&paths, &file, Keep::Yes).unwrap();
        assert_eq!(one, measure(&file).unwrap());
        // What is remembered is believed.
        let text = std::fs::read_to_string(paths.measurement()).unwrap();
        let other = text.replace(&one.to_string(), &Measurement::from_bytes([7; 48]).to_string());
        assert_ne!(text, other);
        std::fs::write(paths.measurement(), other).unwrap();
        assert_eq!(remembered(&paths, &file, Keep::Yes).unwrap(), Measurement::from_bytes([7; 48]));
        // Same length, same name: another time of change.
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(&file, "two").unwrap();
        assert_eq!(remembered(&paths, &file, Keep::Yes).unwrap(), measure(&file).unwrap());
        for damaged in ["", "{", "{}", &"x".repeat(5_000)] {
            std::fs::write(paths.measurement(), damaged).unwrap();
            assert_eq!(remembered(&paths, &file, Keep::Yes).unwrap(), measure(&file).unwrap());
        }
    }

    #[test]
    fn another_work_folder_has_another_root() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (identity(one.path()).unwrap(), identity(two.path()).unwrap());
        assert_ne!(one.root, two.root);
        assert_eq!(one.measurement, two.measurement);
    }

    #[test]
    fn a_damaged_or_open_root_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        identity(folder.path()).unwrap();
        let key = folder.path().join(".casemate/tee-root.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(identity(folder.path()).unwrap_err().to_string().contains("mode 644"));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&key, [1; 31]).unwrap();
        assert!(identity(folder.path()).unwrap_err().to_string().contains("not a root key"));
    }
}
