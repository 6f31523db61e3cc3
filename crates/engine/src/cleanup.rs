//! Finding and removing everything of an engine, from its names alone: what `down` does after a crash, and what it
//! checks after an ordinary stop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};

use crate::error::EngineError;
use crate::paths::{Paths, RUN};
use crate::process::{self, Started};

/// LIMIT: a killed process is gone in milliseconds, unless its memory is large.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// Where iproute2 keeps named network namespaces.
const NETNS: &str = "/run/netns";

/// Removes everything of the engine that is outside the work folder.
pub(crate) fn sweep(paths: &Paths) -> Result<(), EngineError> {
    // The supervisor first, or it would start again what is being stopped; then the TEE, which takes the pods along.
    let mut processes = Started::all(&paths.processes());
    processes.sort_by_key(|process| match process.role.as_str() {
        "supervise" => 0,
        "tee" => 1,
        _ => 2,
    });
    for process in processes.iter().filter(|process| process.pid != std::process::id()) {
        process.kill(KILL_PATIENCE);
    }
    for netns in netns_of(paths) {
        // With the node's namespace go its bridge, its rules and the host's link with the route over it.
        let _ = process::run("ip", &["netns", "delete", &netns], "");
    }
    if Path::new("/sys/class/net").join(paths.host_link()).exists() {
        let _ = process::run("ip", &["link", "delete", &paths.host_link()], "");
    }
    for mount in mounts_below(&paths.run()) {
        let _ = unmount(mount, UnmountFlags::DETACH);
    }
    remove_cgroup(&paths.cgroup());
    remove_empty_cgroup("/casemate");
    forget_netns_folder(paths);
    let _ = std::fs::remove_dir_all(paths.run());
    let _ = std::fs::remove_dir(RUN);
    let _ = std::fs::remove_file(paths.engine_json());
    let left = leftovers(paths);
    if left.is_empty() { Ok(()) } else { Err(EngineError::LeftOver { left }) }
}

/// What of the engine is on the machine.
pub(crate) fn leftovers(paths: &Paths) -> Vec<String> {
    let alive = Started::all(&paths.processes()).into_iter().filter(Started::is_alive);
    let alive = alive.filter(|process| process.pid != std::process::id());
    let mut left: Vec<_> = alive.map(|process| format!("process {} ({})", process.pid, process.role)).collect();
    left.extend(netns_of(paths).into_iter().map(|netns| format!("network namespace {netns}")));
    left.extend(mounts_below(&paths.run()).into_iter().map(|mount| format!("mount {}", mount.display())));
    if Path::new("/sys/class/net").join(paths.host_link()).exists() {
        left.push(format!("network interface {}", paths.host_link()));
    }
    left.extend(cgroups(&paths.cgroup()).into_iter().map(|cgroup| format!("cgroup {}", cgroup.display())));
    if paths.run().exists() {
        left.push(paths.run().display().to_string());
    }
    left
}

fn netns_of(paths: &Paths) -> Vec<String> {
    let entries = std::fs::read_dir(NETNS).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&paths.netns_prefix())).collect()
}

/// Written by `up` when iproute2 is about to make `/run/netns`, so that `down` may remove it.
pub(crate) fn note_netns_folder(paths: &Paths) -> std::io::Result<()> {
    if Path::new(NETNS).exists() { Ok(()) } else { std::fs::write(paths.run().join("made-run-netns"), b"") }
}

fn forget_netns_folder(paths: &Paths) {
    let empty = std::fs::read_dir(NETNS).is_ok_and(|mut entries| entries.next().is_none());
    if empty && paths.run().join("made-run-netns").exists() {
        // iproute2 mounts the folder on itself, so that namespaces made elsewhere show up in it.
        // Not detached: another program may be adding a namespace right now, and then it stays.
        let _ = unmount(NETNS, UnmountFlags::empty());
        let _ = std::fs::remove_dir(NETNS);
    }
}

/// Mount points below a folder, deepest first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Field 5 is the mount point (proc(5)); ours hold no characters that are escaped there.
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(folder)).collect();
    points.sort();
    points.reverse();
    points
}

/// A cgroup in every hierarchy where it exists: of version 1, of version 2, or mixed.
fn cgroups(cgroup: &str) -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let name = cgroup.trim_start_matches('/');
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    let hierarchies = entries.filter(|path| path.is_dir()).chain([base.to_owned()]);
    hierarchies.map(|hierarchy| hierarchy.join(name)).filter(|path| path.is_dir()).collect()
}

/// Removes a cgroup with its children in every hierarchy.
pub(crate) fn remove_cgroup(cgroup: &str) {
    for path in cgroups(cgroup) {
        remove_tree(&path);
    }
}

fn remove_empty_cgroup(cgroup: &str) {
    for path in cgroups(cgroup) {
        let _ = std::fs::remove_dir(path);
    }
}

fn remove_tree(path: &Path) {
    for child in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    // A process that was killed a moment ago may still be leaving.
    for _ in 0..50 {
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => break,
        }
    }
}
