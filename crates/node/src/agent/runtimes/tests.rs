use sha2::{Digest as _, Sha256};

use super::*;
use crate::runtime::FileError;
use crate::runtime::containerd::Distribution;
use crate::runtime::host::{Run, Sandbox, ServiceError};

/// containerd, restarted by us or by somebody else.
#[derive(Default)]
struct Containerd {
    restarts: usize,
    left: bool,
}

impl Service for Containerd {
    fn restart(&mut self, _: Distribution) -> Result<bool, ServiceError> {
        self.restarts += usize::from(!self.left);
        Ok(!self.left)
    }

    fn run(&self, _: Distribution) -> Run {
        Run { boot: None, services: Some(self.restarts.to_string()) }
    }
}

struct Nobody;

impl Users for Nobody {
    fn sandboxes(&self) -> Result<Vec<Sandbox>, FileError> {
        Ok(Vec::new())
    }
}

const SHIM: &str = "/opt/casemate/kata/3.21.0/bin/shim";

struct Node {
    dir: tempfile::TempDir,
    containerd: Containerd,
    keeper: Keeper,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        root.replace("/etc/containerd/config.toml", "version = 3\n").unwrap();
        root.replace("/bundles/shim", "shim").unwrap();
        root.replace("/bundles/kata.toml", "# kata\n").unwrap();
        let digest = |text: &str| hex::encode(Sha256::digest(text));
        let mut text = format!(
            "format = 1\nrelease = \"3.21.0\"\n[[file]]\npath = \"bin/shim\"\nmode = \"0755\"\nsha256 = \"{}\"\n\
             source = {{ file = \"shim\" }}\n[[file]]\npath = \"etc/kata.toml\"\nsha256 = \"{}\"\n\
             source = {{ file = \"kata.toml\" }}\n",
            digest("shim"),
            digest("# kata\n")
        );
        for class in [Runtime::Snp, Runtime::Tdx] {
            let name = class.name();
            text += &format!("[[class]]\nname = \"{name}\"\nshim = \"bin/shim\"\nconfig = \"etc/kata.toml\"\n");
        }
        root.replace("/bundles/bundle.toml", &text).unwrap();
        Self { dir, containerd: Containerd::default(), keeper: Keeper::new(root) }
    }

    fn look(&mut self, bundle: bool, classes: &[Runtime]) -> Result<Outcome, String> {
        let bundle = bundle.then(|| "/bundles/bundle.toml".to_owned());
        self.keeper.look(&Wanted { bundle, classes: classes.to_vec() }, &Nobody, &mut self.containerd)
    }

    /// As the command does it that a person runs.
    fn by_hand(&mut self) -> Installer<'_> {
        Installer::new(Root::new(self.dir.path()), Distribution::Containerd, &Nobody, &mut self.containerd)
    }

    fn install(&mut self) {
        let bundle = self.dir.path().join("bundles/bundle.toml");
        self.by_hand().install(&bundle, None).unwrap();
    }

    fn replace(&self, path: &str, text: &str) {
        Root::new(self.dir.path()).replace(path, text).unwrap();
    }

    fn troubles(&mut self) -> String {
        let outcome = self.look(false, &[Runtime::Snp]).unwrap();
        assert!(outcome.steps.is_empty() && outcome.usable == outcome.troubles.is_empty());
        outcome.troubles.join("; ")
    }
}

#[test]
fn what_is_done_by_hand_is_seen_at_the_next_look() {
    let mut node = Node::new();
    assert_eq!(node.troubles(), "no runtime is installed");
    node.install();
    for _ in 0..3 {
        assert_eq!(node.troubles(), "");
    }
    // Of the same length, so that nothing but its time gives it away.
    node.replace(SHIM, "worm");
    for _ in 0..2 {
        assert_eq!(node.troubles(), "damaged: bin/shim");
    }
    node.replace(SHIM, "shim");
    assert_eq!(node.troubles(), "");
    node.replace("/opt/casemate/kata/current/etc/kata.toml", "# other\n");
    assert_eq!(node.troubles(), "damaged: etc/kata.toml");
    node.install();
    assert_eq!(node.troubles(), "");
    let main = "/etc/containerd/config.toml";
    let ours = Root::new(node.dir.path()).text(main).unwrap().unwrap();
    node.replace(main, "version = 3\n");
    assert_eq!(node.troubles(), "not as it was written: /etc/containerd/config.toml");
    node.replace(main, &ours);
    assert_eq!(node.troubles(), "");
    let lacking = node.look(false, &[Runtime::Snp, Runtime::NvidiaGpu]).unwrap();
    assert_eq!((lacking.usable, lacking.troubles), (false, vec!["no class `kata-qemu-nvidia-gpu`".to_owned()]));
    node.by_hand().remove().unwrap();
    assert_eq!(node.troubles(), "no runtime is installed");
}

#[test]
fn a_restart_that_is_due_counts_until_somebody_did_it() {
    let mut node = Node::new();
    node.containerd.left = true;
    node.install();
    for _ in 0..2 {
        assert_eq!(node.troubles(), "containerd was not restarted since its configuration was changed");
    }
    node.containerd.restarts += 1;
    assert_eq!(node.troubles(), "");
}

#[test]
fn a_bundle_is_installed_kept_whole_and_no_more_of_it_than_is_wanted() {
    let mut node = Node::new();
    let outcome = node.look(true, &[Runtime::Tdx]).unwrap();
    assert!(outcome.usable && !outcome.steps.is_empty());
    let root = Root::new(node.dir.path());
    assert_eq!(crate::runtime::install::classes(&root).unwrap().unwrap(), [Handler::new("kata-qemu-tdx").unwrap()]);
    for _ in 0..2 {
        let outcome = node.look(true, &[Runtime::Tdx]).unwrap();
        assert!(outcome.usable && outcome.steps.is_empty());
    }
    assert_eq!(node.containerd.restarts, 1);
    for damage in [SHIM, "/etc/containerd/conf.d/casemate.toml"] {
        let good = root.text(damage).unwrap().unwrap();
        root.remove(damage).unwrap();
        let outcome = node.look(true, &[Runtime::Tdx]).unwrap();
        assert!(outcome.usable && !outcome.steps.is_empty(), "{damage}");
        assert_eq!(root.text(damage).unwrap().unwrap(), good);
    }
    node.replace(SHIM, "worm");
    assert!(node.look(true, &[Runtime::Tdx]).unwrap().usable);
    assert_eq!(root.text(SHIM).unwrap().as_deref(), Some("shim"));
    node.by_hand().remove().unwrap();
    assert!(node.look(true, &[Runtime::Tdx]).unwrap().usable);
    let error = node.look(true, &[Runtime::NvidiaGpu]).unwrap_err();
    assert!(error.contains("has no class `kata-qemu-nvidia-gpu`"), "{error}");
}

#[test]
fn without_a_class_nothing_is_installed_and_nothing_taken_away() {
    let mut node = Node::new();
    let outcome = node.look(true, &[]).unwrap();
    assert!(!outcome.usable && outcome.steps.is_empty() && outcome.troubles.is_empty());
    node.install();
    node.look(true, &[]).unwrap();
    assert_eq!(node.troubles(), "");
}
