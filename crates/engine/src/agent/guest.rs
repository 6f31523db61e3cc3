//! The pod's own view of the machine: what a virtual machine would have by being one.
//!
//! Called once, in the pod's new pid and mount namespaces. Afterwards `/run` is the pod's memory: Kata's paths
//! (`/run/kata-containers/…`) exist as the requests name them, and every file, root file system layer and secret in
//! them is gone with the pod.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, mount_change,
    move_mount, open_tree, unmount,
};

use crate::error::EngineError;
use crate::tee_api::device::Boot;
use crate::{process, threads};

/// Where Kata's agent keeps everything of a sandbox.
pub(crate) const KATA: &str = "/run/kata-containers";
/// Where files that the host copies into the guest lie.
pub(crate) const COPIED: &str = "/run/kata-containers/shared/containers";
/// Where the host's shared directories are attached.
pub(crate) const VOLUMES: &str = "/run/kata-containers/shared/volumes";
/// The bundles of the containers and runc's state.
pub(crate) const BUNDLES: &str = "/run/bundles";
/// The image cache.
pub(crate) const IMAGES: &str = "/run/images";
/// The pod's network namespace.
pub(crate) const NETNS: &str = "/run/netns/podns";

/// The pod's memory may hold at most this part of the machine's, as tmpfs takes it.
const MEMORY: &str = "mode=755,size=75%";

/// What the agent serves with.
pub(crate) struct Guest {
    /// The agent's socket on the host.
    pub(crate) listener: UnixListener,
    /// The Evidence endpoint inside the pod's network.
    pub(crate) evidence_listener: OwnedFd,
    /// The pod's network namespace.
    pub(crate) netns: OwnedFd,
    /// The cgroup below which containers run.
    pub(crate) cgroup: String,
    /// Names of the attached shared directories.
    pub(crate) volumes: Vec<String>,
}

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> EngineError + '_ {
    move |error| EngineError::io(what, error)
}

impl Guest {
    pub(crate) fn prepare(boot: Boot) -> Result<Self, EngineError> {
        let what = format!("serve `{}`", boot.socket.display());
        let _ = std::fs::remove_file(&boot.socket);
        let listener = UnixListener::bind(&boot.socket).map_err(|error| failed(&what)(&error))?;
        listener.set_nonblocking(true).map_err(|error| failed(&what)(&error))?;
        let netns = match &boot.netns {
            Some(path) => {
                let what = format!("open the network namespace `{}`", path.display());
                OwnedFd::from(std::fs::File::open(path).map_err(|error| failed(&what)(&error))?)
            }
            None => threads::new_netns()?,
        };
        own_run(&boot.images, &boot.volumes)?;
        bind_netns(&netns)?;
        let evidence_listener = threads::in_netns(&netns, || {
            process::run("ip", &["link", "set", "lo", "up"], "")?;
            let address = attester_address();
            let what = format!("listen on {address} in the pod");
            let listener = std::net::TcpListener::bind(address).map_err(|error| failed(&what)(&error))?;
            listener.set_nonblocking(true).map_err(|error| failed(&what)(&error))?;
            Ok(OwnedFd::from(listener))
        })?;
        let volumes = boot.volumes.into_keys().collect();
        Ok(Self { listener, evidence_listener, netns, cgroup: boot.cgroup, volumes })
    }
}

/// Where the initializer and the mesh ask for Evidence (CoCo's API server rest port).
fn attester_address() -> std::net::SocketAddr {
    std::net::SocketAddr::from(([127, 0, 0, 1], 8006))
}

/// Replaces `/proc` and `/run` in this mount namespace.
fn own_run(images: &Path, volumes: &BTreeMap<String, std::path::PathBuf>) -> Result<(), EngineError> {
    let tree = |path: &Path| {
        let what = format!("attach `{}`", path.display());
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, path, flags).map_err(|error| failed(&what)(&error))
    };
    // The old `/run` may lie below what is attached, so this is opened before it is covered.
    let images = tree(images)?;
    let volumes: Vec<_> =
        volumes.iter().map(|(name, path)| Ok((name.clone(), tree(path)?))).collect::<Result<_, EngineError>>()?;
    // Other pods' namespaces must not be held by this one's copy of their mounts.
    for netns in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let _ = unmount(netns.path(), UnmountFlags::DETACH);
    }
    let what = "make the pod's own `/proc` and `/run`";
    let none = MountFlags::NOSUID | MountFlags::NODEV;
    mount("proc", "/proc", "proc", none | MountFlags::NOEXEC, None).map_err(|error| failed(what)(&error))?;
    let options = std::ffi::CString::new(MEMORY).map_err(|error| failed(what)(&error))?;
    // Not nodev: the root file systems of containers lie here, and overlayfs marks deleted files with a device.
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID, options.as_c_str()).map_err(|error| failed(what)(&error))?;
    for folder in [COPIED, VOLUMES, BUNDLES, IMAGES, "/run/netns"] {
        std::fs::create_dir_all(folder).map_err(|error| failed(what)(&error))?;
    }
    attach(images.as_fd(), IMAGES)?;
    for (name, volume) in volumes {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(failed(&format!("attach the volume `{name}`"))(&"not a name"));
        }
        let at = format!("{VOLUMES}/{name}");
        std::fs::create_dir(&at).map_err(|error| failed(what)(&error))?;
        attach(volume.as_fd(), &at)?;
    }
    Ok(())
}

/// Puts an opened tree into place.
pub(crate) fn attach(tree: std::os::fd::BorrowedFd<'_>, at: &str) -> Result<(), EngineError> {
    let what = format!("attach at `{at}`");
    move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(|error| failed(&what)(&error))?;
    let private = MountPropagationFlags::PRIVATE;
    mount_change(at, private).map_err(|error| failed(&what)(&error))
}

fn bind_netns(netns: &OwnedFd) -> Result<(), EngineError> {
    let what = "keep the pod's network namespace";
    std::fs::write(NETNS, b"").map_err(|error| failed(what)(&error))?;
    let source = format!("/proc/self/fd/{}", netns.as_raw_fd());
    mount_bind(source, NETNS).map_err(|error| failed(what)(&error))
}
