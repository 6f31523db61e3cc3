//! What a deployment could leave on a machine: a snapshot before and one after, and their difference.
//!
//! Anything new of the kernel's (mounts, namespaces, interfaces, firewall tables, routes) counts, whoever made it.
//! Files and processes come and go on any machine, so of those only what has to do with Casemate counts.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::proc;

/// Folders in which a program might leave a file; the work folder is allowed to stay and is none of them.
const FOLDERS: [&str; 8] = ["/run", "/run/netns", "/tmp", "/var/tmp", "/var/lib", "/etc", "/dev/shm", "/root"];
/// Words in the name of a file that make it ours.
const OURS: [&str; 2] = ["casemate", "runc"];
/// Programs of which no process may be left.
const PROGRAMS: [&str; 6] =
    ["casemate", "casemate-pod", "casemate-launch", "casemate-serve", "casemate-node", "hostile-host"];
/// How deep control groups are looked at; ours lie directly below a controller or one level below that.
const CGROUP_DEPTH: usize = 4;

/// A set of lines, each a thing and its kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces(BTreeSet<String>);

impl Traces {
    /// Looks at the machine.
    pub(crate) fn take() -> Self {
        let mut all = BTreeSet::new();
        let mut add =
            |kind: &str, things: Vec<String>| all.extend(things.into_iter().map(|thing| format!("{kind} {thing}")));
        add("mount", mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()));
        add("network interface", names(Path::new("/sys/class/net")));
        add("network namespace", names(Path::new("/run/netns")));
        add("firewall", lines("nft", &["list", "tables"]));
        add("routing rule", lines("ip", &["rule", "show"]));
        add("route", lines("ip", &["-4", "route", "show", "table", "all"]));
        add("control group", cgroups(Path::new("/sys/fs/cgroup"), CGROUP_DEPTH));
        add("process", processes().into_iter().map(|Process { pid, line }| format!("{pid} {line}")).collect());
        for folder in FOLDERS {
            let ours = names(Path::new(folder)).into_iter().filter(|name| OURS.iter().any(|word| name.contains(word)));
            add("file", ours.map(|name| format!("{folder}/{name}")).collect());
        }
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            add("content of", vec![format!("{file}: {:?}", fs::read_to_string(file).unwrap_or_default())]);
        }
        Self(all)
    }

    /// What is here and was not there before.
    pub(crate) fn since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Mount point and type of each line; see proc_pid_mountinfo(5): the mount point is the fifth field, the type the first
/// after the separator.
fn mounts(mountinfo: &str) -> Vec<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        Some(format!("{} ({})", before.split(' ').nth(4)?, after.split(' ').next()?))
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Lines of a program that needs root; none where it is missing.
fn lines(program: &str, args: &[&str]) -> Vec<String> {
    let Some(path) = proc::find_program(program) else { return Vec::new() };
    let text = proc::output(proc::as_root(path).args(args)).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn cgroups(folder: &Path, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        // A link (cpu -> cpu,cpuacct) would be counted twice.
        if !path.is_dir() || path.is_symlink() {
            continue;
        }
        if OURS.iter().any(|word| name.contains(word)) {
            found.push(path.display().to_string());
        }
        if depth > 1 {
            found.extend(cgroups(&path, depth - 1));
        }
    }
    found
}

/// A process of ours.
pub(crate) struct Process {
    pub(crate) pid: String,
    /// Its command line.
    pub(crate) line: String,
}

/// Processes of our programs, and of `runc` when it runs something of ours.
pub(crate) fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for pid in names(Path::new("/proc")) {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let folder = Path::new("/proc").join(&pid);
        let line = fs::read_to_string(folder.join("cmdline")).unwrap_or_default().replace('\0', " ");
        // A kernel thread, or a process that is dead and waits for its parent to notice.
        if line.trim().is_empty() {
            continue;
        }
        let name = match fs::read_link(folder.join("exe")) {
            // A program that was replaced while it ran has this at its end.
            Ok(program) => program.file_name().unwrap_or_default().to_string_lossy().replace(" (deleted)", ""),
            // Of another user's process only the short name can be read; ours are short enough.
            Err(_) => fs::read_to_string(folder.join("comm")).unwrap_or_default().trim().to_owned(),
        };
        if PROGRAMS.contains(&name.as_str()) || (name == "runc" && line.contains("casemate")) {
            found.push(Process { pid, line: line.trim().to_owned() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_mount_is_its_point_and_type() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\nbroken\n";
        assert_eq!(mounts(line), ["/mnt2 (ext3)"]);
    }

    #[test]
    fn what_was_there_before_is_no_trace() {
        let traces = |lines: &[&str]| Traces(lines.iter().map(ToString::to_string).collect());
        let before = traces(&["mount /a", "file /run/casemate-old"]);
        let after = traces(&["mount /a", "mount /b"]);
        assert_eq!(after.since(&before), ["mount /b"]);
        assert_eq!(before.since(&before), [""; 0]);
    }

    #[test]
    fn a_process_with_the_name_of_ours_is_found() {
        let dir = tempfile::tempdir().expect("tempdir");
        let program = dir.path().join("casemate-serve");
        // By another process: a file that this one has open for writing, and with it any child, cannot be executed.
        assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().expect("cp runs").success());
        let mut child = Command::new(&program).arg("30").spawn().expect("started");
        let line = format!("{} 30", program.display());
        let runs = |pid: u32| processes().iter().any(|process| process.pid == pid.to_string() && process.line == line);
        // The kernel lets the parent go on before it has set the arguments.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !runs(child.id()) && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let found = runs(child.id());
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(found);
        assert!(!runs(child.id()));
    }
}
