//! Installing, upgrading and removing a runtime on a host made of files, with kills at every step.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use node::runtime::containerd::Distribution;
use node::runtime::host::{Processes, Run, Sandbox, Service, ServiceError, Users};
use node::runtime::install::{Done, InstallError, Installer, Status};
use node::runtime::{FileError, Handler, Root, StageError};
use sha2::{Digest as _, Sha256};

const MAIN: &str = "/etc/containerd/config.toml";
const CONFIG: &str = "version = 2\n# mine\n[debug]\n  level = \"info\"";

/// Counts restarts, and remembers what containerd would have read at the last one.
#[derive(Default)]
struct Containerd {
    restarts: usize,
    broken: bool,
    /// Whether restarts are left to somebody else.
    left: bool,
    root: PathBuf,
    read: Option<String>,
}

impl Service for Containerd {
    fn restart(&mut self, distribution: Distribution) -> Result<bool, ServiceError> {
        if self.broken {
            return Err(ServiceError::NotActive { services: distribution.services().to_vec() });
        }
        if self.left {
            return Ok(false);
        }
        self.restarts += 1;
        self.read = std::fs::read_to_string(self.root.join(&MAIN[1..])).ok();
        Ok(true)
    }

    fn run(&self, _: Distribution) -> Run {
        Run { boot: Some("boot".to_owned()), services: Some(self.restarts.to_string()) }
    }
}

#[derive(Default)]
struct Pods(RefCell<Vec<Sandbox>>);

impl Users for Pods {
    fn sandboxes(&self) -> Result<Vec<Sandbox>, FileError> {
        Ok(self.0.borrow().clone())
    }
}

struct Host {
    dir: tempfile::TempDir,
    bundles: tempfile::TempDir,
    containerd: Containerd,
    pods: Pods,
}

#[expect(clippy::unnecessary_wraps, reason = "it has the type of a checkpoint that may fail")]
fn pass(_: &'static str) -> io::Result<()> {
    Ok(())
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let containerd = Containerd { root: dir.path().to_owned(), ..Containerd::default() };
        let host = Self { dir, bundles: tempfile::tempdir().unwrap(), containerd, pods: Pods::default() };
        host.root().replace(MAIN, CONFIG).unwrap();
        host
    }

    fn root(&self) -> Root {
        Root::new(self.dir.path())
    }

    fn installer<'a>(&'a mut self, checkpoint: &'a dyn Fn(&'static str) -> io::Result<()>) -> Installer<'a> {
        let root = self.root();
        Installer::new(root, Distribution::Containerd, &self.pods, &mut self.containerd).with_checkpoint(checkpoint)
    }

    fn install(&mut self, bundle: &Path) -> Result<Done, InstallError> {
        self.installer(&pass).install(bundle, None)
    }

    fn remove(&mut self) -> Result<Done, InstallError> {
        self.installer(&pass).remove()
    }

    fn status(&mut self) -> Status {
        self.installer(&pass).status().unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// A bundle of one shim and one configuration for each class, the first from an archive.
    fn bundle(&self, release: &str, classes: &[&str]) -> PathBuf {
        let folder = self.bundles.path().join(release);
        std::fs::create_dir_all(&folder).unwrap();
        let shim = format!("shim of {release}");
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(shim.len() as u64);
        header.set_mode(0o777);
        header.set_cksum();
        archive.append_data(&mut header.clone(), "./opt/kata/share/unwanted", shim.as_bytes()).unwrap();
        archive.append_data(&mut header, "./opt/kata/bin/shim", shim.as_bytes()).unwrap();
        std::fs::write(folder.join("kata.tar"), archive.into_inner().unwrap()).unwrap();
        let mut text = format!(
            "format = 1\nrelease = \"{release}\"\nrelocate = \"/opt/kata\"\n[[file]]\npath = \"bin/shim\"\n\
             sha256 = \"{}\"\nmode = \"0755\"\nsource = {{ archive = \"kata.tar\", member = \"opt/kata/bin/shim\" }}\n",
            hex::encode(Sha256::digest(&shim))
        );
        for class in classes {
            let config = format!("# {class}\npath = \"/opt/kata/bin/qemu\"\n");
            std::fs::write(folder.join(format!("{class}.toml")), &config).unwrap();
            text.push_str(&format!(
                "[[class]]\nname = \"{class}\"\nshim = \"bin/shim\"\nconfig = \"etc/{class}.toml\"\n[[file]]\n\
                 path = \"etc/{class}.toml\"\nsha256 = \"{}\"\nrelocate = true\nsource = {{ file = \"{class}.toml\" }}\n",
                hex::encode(Sha256::digest(&config))
            ));
        }
        let path = folder.join("bundle.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn use_class(&self, class: &str, release: Option<&str>) {
        let handler = Handler::new(class).unwrap();
        let sandbox = Sandbox { handler, release: release.map(str::to_owned), who: "pod default/web".to_owned() };
        self.pods.0.borrow_mut().push(sandbox);
    }

    /// Every file and link with its content.
    fn tree(&self) -> BTreeMap<PathBuf, String> {
        let mut tree = BTreeMap::new();
        let mut todo = vec![self.dir.path().to_owned()];
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.dir.path()).unwrap().to_owned();
                if let Ok(target) = std::fs::read_link(&path) {
                    tree.insert(name, format!("-> {}", target.display()));
                } else if path.is_dir() {
                    todo.push(path);
                } else {
                    tree.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
                }
            }
        }
        tree
    }
}

const CLASSES: [&str; 2] = ["kata-qemu-snp", "kata-qemu-nvidia-gpu-snp"];

#[test]
fn a_runtime_is_installed_and_removed_to_the_byte() {
    let mut host = Host::new();
    let before = host.tree();
    let bundle = host.bundle("3.21.0", &CLASSES);
    let done = host.install(&bundle).unwrap();
    assert!(done.restarted);
    let config = std::fs::read_to_string(host.path("/opt/casemate/kata/current/etc/kata-qemu-snp.toml")).unwrap();
    assert_eq!(config, "# kata-qemu-snp\npath = \"/opt/casemate/kata/3.21.0/bin/qemu\"\n");
    let shim = host.path("/opt/casemate/kata/current/shims/containerd-shim-kata-qemu-snp-v2");
    assert_eq!(std::fs::read_to_string(shim).unwrap(), "shim of 3.21.0");
    assert_eq!(host.root().text(&format!("{MAIN}.before-casemate")).unwrap().as_deref(), Some(CONFIG));
    assert!(host.status().is_ready());
    host.remove().unwrap();
    assert_eq!(host.tree(), before);
    assert!(!host.path("/opt/casemate").exists());
    assert_eq!(host.containerd.restarts, 2);
}

#[test]
fn containerd_is_restarted_when_something_changed_and_not_otherwise() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.install(&bundle).unwrap();
    let again = host.install(&bundle).unwrap();
    assert_eq!((again, host.containerd.restarts), (Done::default(), 1));
    // The configuration goes through `current`, so a release with the same classes changes none.
    let newer = host.bundle("3.22.0", &CLASSES);
    let done = host.install(&newer).unwrap();
    assert!(!done.restarted);
    assert_eq!(host.containerd.restarts, 1);
    assert!(!host.path("/opt/casemate/kata/3.21.0").exists());
    host.remove().unwrap();
    assert_eq!(host.remove().unwrap(), Done::default());
    assert_eq!(host.containerd.restarts, 2);
}

#[test]
fn a_class_in_use_is_not_taken_away() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.install(&bundle).unwrap();
    let before = host.tree();
    host.use_class("kata-qemu-snp", Some("3.21.0"));
    let fewer = host.bundle("3.22.0", &CLASSES[1..]);
    for error in [host.remove().unwrap_err(), host.install(&fewer).unwrap_err()] {
        assert_eq!(error.to_string(), "class `kata-qemu-snp` is in use by pod default/web");
        assert!(error.is_refusal() && error.hint().is_some());
    }
    assert_eq!(host.tree(), before);
    // One that nobody uses may go.
    let other = host.bundle("3.22.0", &CLASSES[..1]);
    host.install(&other).unwrap();
    assert!(host.path("/opt/casemate/kata/3.21.0").exists(), "a release in use stays");
    host.pods.0.borrow_mut().clear();
    host.remove().unwrap();
    assert!(!host.path("/opt/casemate/kata/3.21.0").exists());
}

#[test]
fn the_files_of_a_release_stay_while_somebody_may_use_them() {
    for release in [Some("3.21.0"), None] {
        let mut host = Host::new();
        let bundle = host.bundle("3.21.0", &CLASSES);
        host.install(&bundle).unwrap();
        host.use_class("kata-qemu-snp", release);
        let newer = host.bundle("3.22.0", &CLASSES);
        host.install(&newer).unwrap();
        assert!(host.path("/opt/casemate/kata/3.21.0/bin/shim").exists());
        host.pods.0.borrow_mut().clear();
        host.remove().unwrap();
        assert!(!host.path("/opt/casemate/kata/3.21.0").exists());
    }
}

#[test]
fn a_bundle_that_does_not_hold_what_it_says_changes_nothing() {
    type Change<'a> = (&'a str, &'a dyn Fn(&Path));
    let changes: [Change<'_>; 4] = [
        ("etc/kata-qemu-snp.toml", &|folder| std::fs::write(folder.join("kata-qemu-snp.toml"), "other").unwrap()),
        ("kata-qemu-snp.toml", &|folder| std::fs::remove_file(folder.join("kata-qemu-snp.toml")).unwrap()),
        ("kata.tar", &|folder| std::fs::write(folder.join("kata.tar"), "no archive").unwrap()),
        ("bin/shim", &|folder| {
            let path = folder.join("kata.tar");
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8(bytes).unwrap().replace("shim of 3.21.0", "SHIM of 3.21.0");
            std::fs::write(path, text).unwrap();
        }),
    ];
    for (name, change) in changes {
        let mut host = Host::new();
        let before = host.tree();
        let bundle = host.bundle("3.21.0", &CLASSES);
        change(bundle.parent().unwrap());
        let error = host.install(&bundle).unwrap_err();
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert_eq!(host.tree(), before, "{name}");
        assert_eq!(host.containerd.restarts, 0);
    }
}

#[test]
fn a_member_that_is_missing_or_no_file_is_refused() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    let archive = bundle.with_file_name("kata.tar");
    let write = |kind: Option<tar::EntryType>| {
        let mut builder = tar::Builder::new(Vec::new());
        if let Some(kind) = kind {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            builder.append_link(&mut header, "opt/kata/bin/shim", "/etc/shadow").unwrap();
        }
        std::fs::write(&archive, builder.into_inner().unwrap()).unwrap();
    };
    write(None);
    assert!(matches!(host.install(&bundle), Err(InstallError::Stage(StageError::NoMember { .. }))));
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        write(Some(kind));
        assert!(matches!(host.install(&bundle), Err(InstallError::Stage(StageError::NotAFile { .. }))));
    }
}

#[test]
fn an_archive_may_be_compressed() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    let archive = bundle.with_file_name("kata.tar");
    let plain = std::fs::read(&archive).unwrap();
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    std::fs::write(&archive, ruzstd::encoding::compress_to_vec(plain.as_slice(), level)).unwrap();
    host.install(&bundle).unwrap();
    assert!(host.status().is_ready());
}

#[test]
fn a_bundle_that_is_not_the_pinned_one_is_refused() {
    let mut host = Host::new();
    let before = host.tree();
    let bundle = host.bundle("3.21.0", &CLASSES);
    let pin = hex::encode(Sha256::digest(std::fs::read(&bundle).unwrap())).parse().unwrap();
    std::fs::write(&bundle, std::fs::read_to_string(&bundle).unwrap() + "# one more byte\n").unwrap();
    let error = host.installer(&pass).install(&bundle, Some(pin)).unwrap_err();
    assert!(matches!(error, InstallError::NotPinned { expected, .. } if expected == pin));
    assert!(error.is_refusal());
    assert_eq!(host.tree(), before);
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.installer(&pass).install(&bundle, Some(pin)).unwrap();
    for bad in ["", "00", "zz", &"0".repeat(65)] {
        assert!(bad.parse::<node::runtime::bundle::Digest>().is_err(), "{bad}");
    }
}

#[test]
fn classes_that_nobody_asked_for_are_not_told_to_containerd() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    let install = |host: &mut Host, names: &[&str]| {
        let classes: Vec<Handler> = names.iter().map(|name| Handler::new(*name).unwrap()).collect();
        host.installer(&pass).only(classes).install(&bundle, None)
    };
    let told = |host: &Host| {
        let main = host.root().text(MAIN).unwrap().unwrap();
        CLASSES.map(|class| main.contains(&format!("containerd.runtimes.{class}]")))
    };
    let error = install(&mut host, &["kata-qemu-snp", "kata-qemu-tdx"]).unwrap_err();
    let has = "`kata-qemu-snp`, `kata-qemu-nvidia-gpu-snp`";
    assert_eq!(error.to_string(), format!("release 3.21.0 has no class `kata-qemu-tdx`; it has {has}"));
    assert!(error.is_refusal() && error.hint().is_some());
    assert!(host.status().release.is_none());
    for (names, expected) in
        [(&CLASSES[..1], [true, false]), (&CLASSES[..], [true, true]), (&CLASSES[1..], [false, true])]
    {
        install(&mut host, names).unwrap();
        let status = host.status();
        assert!(status.is_ready(), "{status:?}");
        assert_eq!((status.classes.len(), told(&host)), (names.len(), expected));
        assert_eq!(install(&mut host, names).unwrap(), Done::default());
    }
    host.use_class("kata-qemu-nvidia-gpu-snp", Some("3.21.0"));
    assert!(matches!(install(&mut host, &CLASSES[..1]), Err(InstallError::InUse { .. })));
}

#[test]
fn one_release_has_one_bundle() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.install(&bundle).unwrap();
    let before = host.tree();
    let other = host.bundle("3.21.0", &CLASSES[..1]);
    let error = host.install(&other).unwrap_err();
    assert_eq!(error.to_string(), "release 3.21.0 is installed from another bundle");
    assert_eq!(host.tree(), before);
}

#[test]
fn damage_is_seen_and_repaired_unless_somebody_runs_on_it() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.install(&bundle).unwrap();
    let good = host.tree();
    std::fs::write(host.path("/opt/casemate/kata/3.21.0/bin/shim"), "worm").unwrap();
    assert_eq!(host.status().damaged, ["bin/shim"]);
    host.use_class("kata-qemu-snp", Some("3.21.0"));
    let error = host.install(&bundle).unwrap_err();
    assert_eq!(error.to_string(), "release 3.21.0 is damaged (bin/shim) and in use by pod default/web");
    host.pods.0.borrow_mut().clear();
    host.install(&bundle).unwrap();
    assert_eq!(host.tree(), good);
    assert_eq!(host.containerd.restarts, 1);
}

#[test]
fn a_restart_that_failed_is_done_by_the_next_call() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.containerd.broken = true;
    let error = host.install(&bundle).unwrap_err();
    assert!(matches!(error, InstallError::Service(_)) && !error.is_refusal());
    let status = host.status();
    assert!(status.restart_due && !status.is_ready());
    assert_eq!(status.pending.as_deref(), Some("install 3.21.0"));
    host.containerd.broken = false;
    let done = host.installer(&pass).resume().unwrap();
    assert!(done.restarted && host.status().is_ready());
}

#[test]
fn a_restart_that_is_left_to_somebody_else_is_due_until_it_happened() {
    let mut host = Host::new();
    let empty = host.tree();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.containerd.left = true;
    for _ in 0..2 {
        let done = host.install(&bundle).unwrap();
        assert!(!done.restarted);
        assert_eq!(done.steps.last().unwrap(), "restart of containerd is left to somebody else");
        let status = host.status();
        assert!(status.restart_due && !status.is_ready());
    }
    // Somebody restarts it, and nobody tells us.
    host.containerd.restarts += 1;
    assert!(host.status().is_ready());
    assert_eq!(host.install(&bundle).unwrap(), Done::default());

    // An upgrade that changes no configuration owes nothing; one that drops a class does, and so does a removal.
    let same = host.bundle("3.22.0", &CLASSES);
    host.install(&same).unwrap();
    assert!(host.status().is_ready());
    let fewer = host.bundle("3.23.0", &CLASSES[..1]);
    host.install(&fewer).unwrap();
    assert!(host.status().restart_due);
    host.remove().unwrap();
    let status = host.status();
    assert!(status.restart_due && status.release.is_none());
    // This is what is left to do, and is done by who may do it.
    host.containerd.left = false;
    assert!(host.remove().unwrap().restarted);
    assert_eq!(host.tree(), empty);
}

#[test]
fn a_debt_of_an_older_version_is_paid_with_a_restart() {
    let mut host = Host::new();
    let bundle = host.bundle("3.21.0", &CLASSES);
    host.install(&bundle).unwrap();
    let journal = "/opt/casemate/kata/installed.json";
    let text = host.root().text(journal).unwrap().unwrap();
    host.root().replace(journal, &text.replace("\"restart_due\": false", "\"restart_due\": true")).unwrap();
    // It does not say in which run the configuration was changed.
    host.containerd.restarts += 1;
    assert!(host.status().restart_due);
    assert!(host.install(&bundle).unwrap().restarted);
    assert!(host.status().is_ready());
}

#[test]
fn a_configuration_that_is_not_understood_refuses_before_anything_changes() {
    let mut host = Host::new();
    host.root().replace(MAIN, "[plugins]\n").unwrap();
    let before = host.tree();
    let bundle = host.bundle("3.21.0", &CLASSES);
    let error = host.install(&bundle).unwrap_err();
    assert!(error.to_string().starts_with("/etc/containerd/config.toml:1: the file is of version 1"), "{error}");
    assert!(error.is_refusal());
    assert_eq!(host.tree(), before);
}

/// Ends the work at the step of this number; says whether it came so far.
fn kill_at(step: usize, killed: &Cell<bool>) -> impl Fn(&'static str) -> io::Result<()> + '_ {
    let count = Cell::new(0);
    move |_| {
        count.set(count.get() + 1);
        if count.get() > step {
            killed.set(true);
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        Ok(())
    }
}

/// For every step: prepares a host, kills the call there, kills the recovery at every step of its own, and looks at what
/// one undisturbed call then makes of it.
fn killed_everywhere(
    prepare: impl Fn(&mut Host),
    call: impl Fn(Installer<'_>, &Host2) -> Result<Done, InstallError>,
    look: impl Fn(&mut Host),
) {
    let mut kills = 0;
    for step in 0.. {
        let mut came = false;
        for again in 0.. {
            let mut host = Host::new();
            prepare(&mut host);
            let paths = Host2(host.bundles.path().to_owned());
            let killed = Cell::new(false);
            let _ = call(host.installer(&kill_at(step, &killed)), &paths);
            came = killed.get();
            let killed = Cell::new(false);
            let _ = host.installer(&kill_at(again, &killed)).resume();
            kills += 1;
            host.installer(&pass).resume().unwrap();
            // Nobody may find a configuration that containerd has not read.
            let main = std::fs::read_to_string(host.path(MAIN)).unwrap();
            assert_eq!(host.containerd.read.as_deref().unwrap_or(CONFIG), main, "step {step}, then {again}");
            look(&mut host);
            if !killed.get() {
                break;
            }
        }
        if !came {
            break;
        }
    }
    assert!(kills > 20, "{kills}");
}

/// Where bundles are.
struct Host2(PathBuf);

impl Host2 {
    fn bundle(&self, release: &str) -> PathBuf {
        self.0.join(release).join("bundle.toml")
    }
}

#[test]
fn an_installation_killed_anywhere_is_there_or_not_there() {
    let empty = Host::new().tree();
    killed_everywhere(
        |host| drop(host.bundle("3.21.0", &CLASSES)),
        |installer, paths| installer.install(&paths.bundle("3.21.0"), None),
        |host| {
            let status = host.status();
            if status.release.is_some() {
                assert!(status.is_ready(), "{status:?}");
            } else {
                let mut tree = host.tree();
                tree.remove(Path::new("opt/casemate/kata/installed.json"));
                assert_eq!(tree, empty);
            }
            let bundle = host.bundle("3.21.0", &CLASSES);
            host.install(&bundle).unwrap();
            assert!(host.status().is_ready());
            host.remove().unwrap();
            assert_eq!(host.tree(), empty);
        },
    );
}

#[test]
fn an_upgrade_killed_anywhere_leaves_the_old_or_the_new_release() {
    killed_everywhere(
        |host| {
            let bundle = host.bundle("3.21.0", &CLASSES);
            host.install(&bundle).unwrap();
            host.bundle("3.22.0", &CLASSES[..1]);
        },
        |installer, paths| installer.install(&paths.bundle("3.22.0"), None),
        |host| {
            let status = host.status();
            assert!(status.is_ready(), "{status:?}");
            let release = status.release.unwrap();
            assert_eq!(status.classes.len(), if release.as_str() == "3.21.0" { 2 } else { 1 });
            host.remove().unwrap();
        },
    );
}

#[test]
fn a_removal_killed_anywhere_is_finished_or_was_not_begun() {
    let empty = Host::new().tree();
    killed_everywhere(
        |host| {
            let bundle = host.bundle("3.21.0", &CLASSES);
            host.install(&bundle).unwrap();
        },
        |installer, _| installer.remove(),
        |host| {
            if host.status().release.is_some() {
                assert!(host.status().is_ready());
            } else {
                assert_eq!(host.tree(), empty);
            }
        },
    );
}

#[test]
fn processes_of_this_machine_use_no_class() {
    assert_eq!(Processes::new(Root::new("/")).sandboxes().unwrap(), []);
}
