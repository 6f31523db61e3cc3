//! `casemate guest-image`: a release that is made here goes in, a folder comes out, and what is wrong is said.

#[expect(dead_code, reason = "the crate's own tests use more of it")]
#[path = "../../../guest-image/tests/it/rig.rs"]
mod rig;

use std::fs;

use expect_test::expect;
use rig::{Kata, program};

use super::casemate;

#[test]
fn a_release_is_repacked_compared_and_looked_into() {
    let Some(kata) = Kata::new() else { return };
    let dir = kata.folder();
    kata.write(&kata.tar(1, |_| {}));
    fs::write(dir.join("check"), program(guest_image::rootfs::MARK)).unwrap();
    let archive = "kata-static-4.1.0-amd64.tar.zst";
    let run = |arguments: &[&str]| {
        let common = ["guest-image", "repack", archive, "--start-up-check", "check", "--vcpus", "1..=2"];
        // Digests rest on what `mke2fs` of this machine makes.
        let said = casemate(dir, &[&common, arguments].concat());
        let mut words = Vec::new();
        for line in said.lines() {
            let hidden = line.split(' ').map(|word| {
                let digits = word.chars().filter(char::is_ascii_hexdigit).count();
                let long = digits >= 12 && word.chars().any(|c| c.is_ascii_digit());
                if word.starts_with("4.1.0-casemate-") {
                    "4.1.0-casemate-…".to_owned()
                } else if long && !word.contains('/') {
                    "…".to_owned()
                } else {
                    word.to_owned()
                }
            });
            words.push(hidden.collect::<Vec<_>>().join(" "));
        }
        words.join("\n")
    };
    expect![[r#"
        exit 0
        --- stdout
        4.1.0-casemate-…  bundle.toml …
        --- stderr
        reading the release
        repacking opt/kata/share/kata-containers/kata-ubuntu-resolute-confidential.image
        measuring
        kata-qemu-snp (SEV-SNP): 2 launch digests; no complete reference values: `--machine FILE` says what only a machine knows
        kata-qemu-tdx (TDX): MRTD and RTMR2; RTMR0 and RTMR1 are a machine's to tell; no complete reference values: `--machine FILE` says what only a machine knows
        opt/kata/share/kata-containers/kata-ubuntu-resolute-confidential.image: 9 MiB, agent unmodified …
        install it on a node: casemate-node runtime install guest-image/bundle.toml"#]].assert_eq(&run(&[]));
    expect![[r#"
        exit 0
        --- stdout
        guest-image is up to date
        --- stderr
        reading the release
        repacking opt/kata/share/kata-containers/kata-ubuntu-resolute-confidential.image
        measuring"#]]
    .assert_eq(&run(&["--check"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        reading the release
        repacking opt/kata/share/kata-containers/kata-ubuntu-resolute-confidential.image
        measuring
        error: `guest-image` differs: `bundle.toml`

        hint: another release, another check or other options made it"#]]
    .assert_eq(&run(&["--check", "--kernel-param", "quiet"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: repack …
          caused by: `guest-image` is there already

        hint: name another folder with `--output`, or move this one away"#]]
    .assert_eq(&run(&[]));
    let image = "guest-image/files/share/kata-containers/kata-ubuntu-resolute-confidential-casemate.img";
    let found = casemate(dir, &["--json", "guest-image", "inspect", image]);
    assert!(found.starts_with("exit 0\n") && found.contains("\"check\": true"), "{found}");
    let found = casemate(dir, &["guest-image", "inspect", "disk"]);
    assert!(found.starts_with("exit 1\n") && found.contains("does not enforce its initdata"), "{found}");
    fs::rename(dir.join(format!("{image}.root-hash.txt")), dir.join("hash")).unwrap();
    let found = casemate(dir, &["guest-image", "inspect", image]);
    assert!(found.starts_with("exit 2\n") && found.contains("nobody can tell"), "{found}");
    let text = fs::read_to_string(dir.join("hash")).unwrap().replace("salt=", "salt=00");
    fs::write(dir.join("hash"), text).unwrap();
    let found = casemate(dir, &["guest-image", "inspect", image, "--root-hash", "hash"]);
    assert!(found.starts_with("exit 1\n") && found.contains("NOT what its parameters say"), "{found}");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "neither an image nor a program\n").unwrap();
    fs::write(folder.path().join("check"), program(guest_image::rootfs::MARK)).unwrap();
    let run = |arguments: &[&str]| casemate(folder.path(), &[&["guest-image"], arguments].concat());
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `text`
          caused by: the image ends after 31 bytes, before its partition table does
    "#]]
    .assert_eq(&run(&["inspect", "text"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `nothing`
          caused by: open `nothing`
          caused by: No such file or directory (os error 2)
    "#]]
    .assert_eq(&run(&["inspect", "nothing"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `text`
          caused by: no program for x86-64

        hint: `--start-up-check FILE` names `casemate-guest-check`, which comes with this program
    "#]]
    .assert_eq(&run(&["repack", "kata-static-4.1.0-amd64.tar", "--start-up-check", "text"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        reading the release
        error: repack `kata-static-4.1.0-amd64.tar`
          caused by: read `kata-static-4.1.0-amd64.tar`
          caused by: No such file or directory (os error 2)
    "#]]
    .assert_eq(&run(&["repack", "kata-static-4.1.0-amd64.tar", "--start-up-check", "check"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        reading the release
        error: repack `text`
          caused by: `text` does not say which version it is

        hint: `--release VERSION` says it
    "#]]
    .assert_eq(&run(&["repack", "text", "--start-up-check", "check"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `guest-image` is no folder

        hint: without `--check` the command makes it
    "#]]
    .assert_eq(&run(&["repack", "text", "--start-up-check", "check", "--release", "1", "--check"]));
    let wrong = run(&["repack", "text", "--vcpus", "0..=3"]);
    assert!(wrong.starts_with("exit 1\n") && wrong.contains("two with the smaller first"), "{wrong}");
}
