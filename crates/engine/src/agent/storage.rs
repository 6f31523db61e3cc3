//! Storages: what the agent mounts for a sandbox or a container before its process can use it.

use std::os::fd::AsFd as _;

use rustix::fs::{Gid, Mode};
use rustix::mount::{MountFlags, mount};

use crate::agent_api::AgentError;

use super::request::Storage;
use super::resolve;

/// Mounts one storage. The root file system's image is not among them: [`super::container`] does that.
/// A storage that is there already is left as it is: the second container of a pod names the same volume.
pub(super) fn add(storage: &Storage, mounted: &mut Vec<String>) -> Result<(), AgentError> {
    let field = "storages[].mount_point";
    match storage.driver.as_str() {
        "ephemeral" => {
            if mounted.contains(&storage.mount_point) {
                return Ok(());
            }
            let folder = resolve::folder(&storage.mount_point, 0o755, field)?;
            tmpfs(storage, &resolve::by_fd(folder.as_fd()))?;
            mounted.push(storage.mount_point.clone());
            // The group is set on what was mounted, not on what lies below it.
            if let Some(group) = option(&storage.options, "fsgid=") {
                let folder = resolve::folder(&storage.mount_point, 0o755, field)?;
                share_with(&folder, group)?;
            }
            Ok(())
        }
        "local" => {
            let folder = resolve::folder(&storage.mount_point, 0o755, field)?;
            let mode = option(&storage.options, "mode=").and_then(|mode| u32::from_str_radix(mode, 8).ok());
            let failed = |error| AgentError::failed(format!("{field}: `{}`: {error}", storage.mount_point));
            rustix::fs::chmod(resolve::by_fd(folder.as_fd()), Mode::from_raw_mode(mode.unwrap_or(0o777) & 0o7777))
                .map_err(failed)?;
            match option(&storage.options, "fsgid=") {
                Some(group) => share_with(&folder, group),
                None => Ok(()),
            }
        }
        // Kata's shim announces its own share; ours has none.
        "virtio-fs" => Ok(()),
        other => Err(AgentError::failed(format!("storages[].driver: `{other}` is not supported by the local engine"))),
    }
}

fn option<'a>(options: &'a [String], name: &str) -> Option<&'a str> {
    options.iter().find_map(|option| option.strip_prefix(name))
}

fn tmpfs(storage: &Storage, at: &str) -> Result<(), AgentError> {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in &storage.options {
        match option.as_str() {
            "noexec" => flags |= MountFlags::NOEXEC,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "ro" => flags |= MountFlags::RDONLY,
            text if text.starts_with("mode=") || text.starts_with("size=") => data.push(text),
            text if text.starts_with("fsgid=") || text == "rw" => {}
            other => {
                return Err(AgentError::failed(format!("storages[].options: `{other}` is not known")));
            }
        }
    }
    let failed = |error: &dyn std::fmt::Display| {
        AgentError::failed(format!("storages[].mount_point: mount `{}`: {error}", storage.mount_point))
    };
    let data = std::ffi::CString::new(data.join(",")).map_err(|error| failed(&error))?;
    mount("tmpfs", at, "tmpfs", flags, data.as_c_str()).map_err(|error| failed(&error))
}

/// What `fsGroup` means: the group owns the volume, and new files inherit it.
fn share_with(folder: &std::os::fd::OwnedFd, group: &str) -> Result<(), AgentError> {
    let failed = |error: &dyn std::fmt::Display| AgentError::failed(format!("storages[].options: fsgid: {error}"));
    let group = group.parse().map_err(|error| failed(&error))?;
    let path = resolve::by_fd(folder.as_fd());
    rustix::fs::chown(&path, None, Some(Gid::from_raw(group))).map_err(|error| failed(&error))?;
    rustix::fs::chmod(&path, Mode::from_raw_mode(0o2777)).map_err(|error| failed(&error))
}
