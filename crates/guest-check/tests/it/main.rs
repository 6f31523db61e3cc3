//! The whole check as processes, on a folder that stands in for the guest.

mod boot;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

const TEXT: &str = "version = \"0.1.0\"\nalgorithm = \"sha256\"\n[data]\n\"policy.rego\" = \"package agent_policy\"\n";
const TAKEN: &str = guest_check::hold::TAKEN;

/// A guest: a disk with the root file system, one with initdata, buses, and a TD that reports the digest.
struct Guest(tempfile::TempDir);

impl Guest {
    fn new() -> Self {
        let guest = Self(tempfile::tempdir().unwrap());
        for folder in ["dev", "sys/bus/virtio/devices/virtio0", "run/confidential-containers/initdata"] {
            fs::create_dir_all(guest.path(folder)).unwrap();
        }
        fs::create_dir_all(guest.path(MEASUREMENTS)).unwrap();
        guest.write("dev/vda", &[0; 4096]);
        guest.write("dev/vda1", &[0; 4096]);
        guest.write("dev/vdb", &guest_check::initdata::device(TEXT.as_bytes()));
        guest.write("dev/null0", b"initdata and no disk");
        guest.write("sys/bus/virtio/drivers_autoprobe", b"1");
        guest.report(TEXT);
        // What a well-behaved agent does: it says that it runs, and takes its initdata from the first disk that has some.
        guest.agent("cp \"$root/document\" \"$root/taken\"; mv \"$root/taken\" \"$root/$taken\"");
        guest.write("document", TEXT.as_bytes());
        guest
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.0.path().join(inner)
    }

    fn write(&self, inner: &str, bytes: &[u8]) {
        fs::write(self.path(inner), bytes).unwrap();
    }

    fn report(&self, document: &str) {
        let mut field = Sha256::digest(document).to_vec();
        field.resize(48, 0);
        self.write(&format!("{MEASUREMENTS}/mrconfigid"), &field);
    }

    fn agent(&self, takes: &str) {
        let root = self.0.path().display();
        let list =
            "ls -A \"$root/dev\" > \"$root/seen\"; cat \"$root/sys/bus/virtio/drivers_autoprobe\" >> \"$root/seen\"";
        let text = format!(
            "#!/bin/sh\nroot='{root}'; taken='{TAKEN}'\n{list}\n{takes}\necho \"$0 $* [$KEPT]\" > \"$root/started\"\n"
        );
        self.write("agent", text.as_bytes());
        fs::set_permissions(self.path("agent"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs the check in the agent's place until both of its processes have ended. `None` where the program was not built.
    fn start(&self) -> Option<Output> {
        let check = stand_in()?;
        let mut command = Command::new(check);
        command.env("CASEMATE_STAND_IN_GUEST", self.0.path()).env("KEPT", "kept").args(["--one", "two"]);
        // Output ends when both processes have closed their standard error.
        Some(command.output().unwrap())
    }

    fn started(&self) -> bool {
        self.path("started").exists()
    }

    fn seen(&self) -> String {
        fs::read_to_string(self.path("seen")).unwrap_or_default()
    }

    fn is_as_before(&self) -> bool {
        let aside = self.path("dev/.casemate-guest-check").exists();
        let disks = ["dev/vda", "dev/vda1", "dev/vdb"].iter().all(|disk| self.path(disk).exists());
        let probes = fs::read_to_string(self.path("sys/bus/virtio/drivers_autoprobe")).unwrap();
        !aside && disks && probes == "1"
    }
}

const MEASUREMENTS: &str = "sys/devices/virtual/misc/tdx_guest/measurements";

/// The example, which `cargo test` builds beside the tests.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn stand_in() -> Option<PathBuf> {
    let me = std::env::current_exe().unwrap();
    let built = me.ancestors().nth(2).map(Path::to_owned).unwrap().join("examples/stand-in-check");
    if built.is_file() {
        return Some(built);
    }
    println!("SKIPPED: `{}` is not built; `cargo test -p guest-check` builds it", built.display());
    None
}

#[test]
fn the_agent_starts_with_its_arguments_and_sees_no_disk_but_the_one_that_was_compared() {
    let guest = Guest::new();
    let Some(output) = guest.start() else { return };
    assert!(output.status.success(), "{output:?}");
    let started = fs::read_to_string(guest.path("started")).unwrap();
    assert!(started.ends_with("/agent --one two [kept]\n"), "{started}");
    assert_eq!(guest.seen(), ".casemate-guest-check\nnull0\nvdb\n0");
    assert!(guest.is_as_before());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("initdata is what the hardware reports"), "{said}");
}

#[test]
fn the_agent_does_not_start_for_any_reason_and_the_check_says_which() {
    let other = TEXT.replace("agent_policy", "agent_policz");
    type Change<'a> = &'a dyn Fn(&Guest);
    let remove = |inner: &'static str| move |guest: &Guest| fs::remove_file(guest.path(inner)).unwrap();
    let cases: [(&str, Change<'_>); 10] = [
        ("no disk with initdata", &remove("dev/vdb")),
        ("no disk with initdata", &|guest| fs::rename(guest.path("dev/vdb"), guest.path("dev/nvme0n1")).unwrap()),
        ("2 disks begin with `initdata` (vdb, vdc)", &|guest| {
            fs::copy(guest.path("dev/vdb"), guest.path("dev/vdc")).map(drop).unwrap();
        }),
        ("2 disks begin with `initdata` (sda1, vdb)", &|guest| {
            fs::copy(guest.path("dev/vdb"), guest.path("dev/sda1")).map(drop).unwrap();
        }),
        ("and the hardware reports MRCONFIGID", &|guest| {
            guest.write("dev/vdb", &guest_check::initdata::device(other.as_bytes()));
        }),
        ("and the hardware reports MRCONFIGID", &|guest| guest.report(&other)),
        ("and the hardware reports MRCONFIGID 0000", &|guest| {
            guest.write(&format!("{MEASUREMENTS}/mrconfigid"), &[0; 48]);
        }),
        ("runs in no TEE", &|guest| fs::remove_dir_all(guest.path("sys/devices")).unwrap()),
        ("the document inflates", &|guest| {
            guest
                .write("dev/vdb", &guest_check::initdata::device(&vec![b'#'; guest_check::initdata::MAX_DOCUMENT + 1]));
        }),
        ("drivers_autoprobe", &|guest| {
            remove("sys/bus/virtio/drivers_autoprobe")(guest);
            fs::create_dir(guest.path("sys/bus/virtio/drivers_autoprobe")).unwrap();
        }),
    ];
    for (expected, change) in cases {
        let guest = Guest::new();
        change(&guest);
        let Some(output) = guest.start() else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{expected}");
        assert!(said.contains("REFUSED: ") && said.contains(expected), "{expected}: {said}");
        assert!(!guest.started(), "{expected}: the agent was started");
    }
}

#[test]
fn an_agent_that_took_something_else_ends_the_guest() {
    for (takes, what) in [
        ("echo other > \"$root/$taken\"", "other text"),
        ("(cat \"$root/document\"; echo more) > \"$root/taken\"; mv \"$root/taken\" \"$root/$taken\"", "more text"),
    ] {
        let guest = Guest::new();
        guest.agent(takes);
        let Some(output) = guest.start() else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("the agent took other initdata"), "{what}: {said}");
        assert!(!guest.is_as_before(), "{what}: nothing is let go");
    }
}

#[test]
fn the_holder_alone_starts_nothing() {
    let guest = Guest::new();
    guest.write(TAKEN, TEXT.as_bytes());
    let Some(check) = stand_in() else { return };
    let output = Command::new(check).env("CASEMATE_STAND_IN_GUEST", guest.path("")).arg(guest_check::HOLD).output();
    assert!(output.unwrap().status.success());
    assert!(!guest.started());
}

#[test]
fn the_program_that_ships_takes_no_stand_in() {
    let ships = Path::new(env!("CARGO_BIN_EXE_casemate-guest-check"));
    let bytes = fs::read(ships).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has(guest_check::MARK));
    assert!(!has("CASEMATE_STAND_IN_GUEST") && !has("/casemate-stand-in"));
    if let Some(stand_in) = stand_in() {
        let bytes = fs::read(stand_in).unwrap();
        assert!(!bytes.windows(guest_check::MARK.len()).any(|window| window == guest_check::MARK.as_bytes()));
    }
}
