//! The real launcher as process 1 of a container: what it waits for, what it hands on, and what it leaves behind.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::netns::is_root;

/// A root folder with the programs of this machine in it, and the volume of the marks.
struct Rig {
    root: tempfile::TempDir,
}

/// Makes the launcher process 1 of namespaces of its own, as a container's first process is.
const ENTER: &str = "for at in bin lib lib64 usr; do [ -d \"$0/$at\" ] && [ ! -L \"$0/$at\" ] && mount --bind /$at \"$0/$at\"; done; \
                     mount -t proc proc \"$0/proc\" && exec chroot \"$0\" /casemate-launch \"$@\"";

impl Rig {
    fn new() -> Self {
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for folder in ["dev", "proc", "casemate-done"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        std::fs::write(root.path().join("dev/null"), "").unwrap();
        for name in ["bin", "lib", "lib64", "usr"] {
            let (machines, own) = (Path::new("/").join(name), root.path().join(name));
            match std::fs::read_link(&machines) {
                Ok(target) => symlink(target, own).unwrap(),
                Err(_) if machines.exists() => std::fs::create_dir(own).unwrap(),
                Err(_) => {}
            }
        }
        std::fs::hard_link(env!("CARGO_BIN_EXE_casemate-launch"), root.path().join("casemate-launch")).unwrap();
        Self { root }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", ENTER]);
        command.arg(self.root.path()).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end: its status and what it wrote.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        text(&self.command(arguments).output().unwrap())
    }

    fn marks(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.path().join("casemate-done")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn has(&self, path: &str) -> bool {
        self.root.path().join(path).exists()
    }
}

fn text(output: &Output) -> (Option<i32>, String) {
    let all = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), all.concat())
}

/// The launcher's own number: the one child of `unshare`.
fn launcher_of(child: &Child) -> rustix::process::Pid {
    let id = child.id();
    let path = format!("/proc/{id}/task/{id}/children");
    let found = eventually(|| std::fs::read_to_string(&path).unwrap().split_whitespace().next().map(str::to_owned));
    rustix::process::Pid::from_raw(found.parse().unwrap()).unwrap()
}

fn eventually<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_status_is_passed_on_and_only_a_good_one_leaves_a_mark() {
    if !is_root() {
        return;
    }
    let rig = Rig::new();
    for (program, status, word) in [
        (&["sh", "-c", "exit 7"][..], 7, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["sh", "-c", "kill -SEGV $$"], 139, ""),
        (&["/none"], 127, "cannot execute `/none`"),
        (&["/usr"], 126, "cannot execute `/usr`"),
        // One that ends before the program does is nobody's news.
        (&["sh", "-c", "(sleep 0.1 & exit 0); sleep 0.4; exit 3"], 3, ""),
    ] {
        let (got, log) = rig.run(&[&["--mark", "init", "--"], program].concat());
        assert_eq!(got, Some(status), "{program:?}: {log}");
        assert!(log.contains(word), "{program:?}: {log}");
        assert!(rig.marks().is_empty(), "{program:?}");
    }
    let (status, log) = rig.run(&["--mark", "init", "--", "sh", "-c", "echo $PPID; ls /casemate-done"]);
    assert_eq!((status, log.as_str()), (Some(0), "1\n"), "it is there after the program and not before");
    assert_eq!(rig.marks(), ["init"]);
    // What is through is not run again.
    let (status, log) = rig.run(&["--mark", "init", "--", "sh", "-c", "exit 7"]);
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("init container `init` has ended well in this pod, and does not run again"), "{log}");
}

#[test]
fn what_comes_after_waits_and_becomes_the_program() {
    if !is_root() {
        return;
    }
    let rig = Rig::new();
    let waiting = rig.command(&["--after=init", "--mark-start", "log", "--", "sh", "-c", "echo $$"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(rig.marks().is_empty());
    assert_eq!(rig.run(&["--mark", "init", "--", "true"]).0, Some(0));
    assert_eq!(text(&waiting.wait_with_output().unwrap()), (Some(0), "1\n".into()));
    assert_eq!(rig.marks(), ["init", "log"]);
    assert_eq!(rig.run(&["--after=log", "app", "--", "sh", "-c", "echo $$; exit 4"]), (Some(4), "1\n".into()));
    // A sidecar starts again as it likes, and one that cannot leave its mark does not start.
    assert_eq!(rig.run(&["--after=init", "--mark-start", "log", "--", "sh", "-c", "exit 5"]).0, Some(5));
    symlink("nowhere", rig.root.path().join("casemate-done/other")).unwrap();
    let (status, log) = rig.run(&["--mark-start", "other", "--", "true"]);
    assert_eq!(status, Some(125), "{log}");
    assert!(log.contains("cannot write `/casemate-done/other`") && !rig.has("casemate-done/nowhere"), "{log}");
    let (status, log) = rig.run(&["--mark", "other", "--", "true"]);
    assert_eq!(status, Some(125), "{log}");
}

#[test]
fn signals_are_handed_on_and_orphans_are_nobodys_burden() {
    if !is_root() {
        return;
    }
    let rig = Rig::new();
    let child =
        started(&rig, "trap 'echo got; exit 9' TERM; (sleep 0.05 &); touch /ready; while :; do sleep 0.02; done");
    // What the script left behind has ended and is not kept: the launcher has one child.
    let children = format!("/proc/{0}/task/{0}/children", launcher_of(&child).as_raw_nonzero());
    eventually(|| (std::fs::read_to_string(&children).unwrap().split_whitespace().count() == 1).then_some(()));
    assert_eq!(terminated(child), (Some(9), "got\n".into()));
    assert!(rig.marks().is_empty());
    // One that ends well because of a signal has not done its work, and the host may send signals.
    let child = started(&rig, "trap 'exit 0' TERM; touch /ready; while :; do sleep 0.02; done");
    assert_eq!(terminated(child).0, Some(125));
    assert!(rig.marks().is_empty());
    // A program that does nothing about a signal ends by it.
    let child = started(&rig, "touch /ready; exec sleep 60");
    assert_eq!(terminated(child).0, Some(128 + 15));
    assert!(rig.marks().is_empty());
}

/// An init container that runs `script` and has written `/ready`.
fn started(rig: &Rig, script: &str) -> Child {
    let _ = std::fs::remove_file(rig.root.path().join("ready"));
    let child = rig.command(&["--mark", "init", "--", "sh", "-c", script]).spawn().unwrap();
    eventually(|| rig.has("ready").then_some(()));
    child
}

/// How it ends when its launcher is told to.
fn terminated(child: Child) -> (Option<i32>, String) {
    rustix::process::kill_process(launcher_of(&child), rustix::process::Signal::TERM).unwrap();
    text(&child.wait_with_output().unwrap())
}

#[test]
fn the_name_is_the_programs_and_its_parents() {
    if !is_root() {
        return;
    }
    let rig = Rig::new();
    let script = "grep -c '@casemate/container/init$' /proc/net/unix; ls -l /proc/self/fd | grep -c socket: ; exit 3";
    let (status, log) = rig.run(&["--mark", "init", "--", "sh", "-c", script]);
    assert_eq!((status, log.as_str()), (Some(3), "1\n1\n"));
}

#[test]
fn a_command_gains_no_privileges_where_that_is_asked() {
    if !is_root() {
        return;
    }
    let rig = Rig::new();
    let shown = ["grep", "NoNewPrivs", "/proc/self/status"];
    for (before, there) in [
        (&["--no-new-privileges", "--"][..], "1"),
        (&["--no-new-privileges", "app", "--"], "1"),
        (&["--no-new-privileges", "--mark", "init", "--"], "1"),
        (&["--"], "0"),
        (&["app", "--"], "0"),
    ] {
        let (status, log) = rig.run(&[before, &shown].concat());
        assert_eq!((status, log), (Some(0), format!("NoNewPrivs:\t{there}\n")), "{before:?}");
    }
}
