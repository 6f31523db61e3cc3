//! `casemate reference-values`: from Evidence, and from what a guest is started with.

use expect_test::{Expect, expect};
use testkit::ovmf::Ovmf;

use super::casemate;
use super::explain::{folder, snp_report, software};

fn check(files: &[(&str, &[u8])], arguments: &[&str], expected: Expect) {
    let dir = folder(files);
    expected.assert_eq(&casemate(dir.path(), &[&["reference-values"], arguments].concat()));
}

#[test]
fn values_of_a_software_report_accept_it() {
    let dir = folder(&[("report", &software())]);
    let run = |arguments: &[&str]| casemate(dir.path(), arguments);
    expect![[r#"
        exit 0
        --- stdout
        {
          "software": {
            "root": "fe812c12f3ab4ce6ac5db69ac352f906cb1b11ef43fb33e252ef7ff552263889",
            "measurements": [
              "d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"
            ]
          }
        }
        --- stderr
        verified: report
        INSECURE: the evidence is from a software TEE; it proves nothing to anybody who does not trust this machine
    "#]]
    .assert_eq(&run(&["reference-values", "from", "report"]));
    let wrote = run(&["reference-values", "from", "report", "--output", "values.json"]);
    assert!(wrote.starts_with("exit 0\n--- stdout\nwrote `values.json`\n"), "{wrote}");
    assert!(run(&["explain", "report", "--reference-values", "values.json"]).starts_with("exit 0\n"));
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let dir = folder(&[("report", &software()), ("values.json", b"precious")]);
    let run = |arguments: &[&str]| casemate(dir.path(), &[&["reference-values", "from", "report"], arguments].concat());
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `values.json` is there already

        hint: `--force` replaces it
    "#]]
    .assert_eq(&run(&["--output", "values.json"]));
    assert_eq!(std::fs::read(dir.path().join("values.json")).unwrap(), b"precious");
    assert!(run(&["--output", "values.json", "--force"]).starts_with("exit 0\n"));
    assert_ne!(std::fs::read(dir.path().join("values.json")).unwrap(), b"precious");
    assert!(run(&["--output", "."]).starts_with("exit 1\n"));
}

#[test]
fn evidence_that_is_refused_gives_no_values_unless_that_is_asked_for_in_so_many_words() {
    let [report, vcek, chain] = snp_report();
    let files: [(&str, &[u8]); 3] = [("report.bin", &report), ("vcek.der", &vcek), ("chain.pem", &chain)];
    let at = ["--at", "2026-01-01"];
    check(
        &files,
        &[&["from", "report.bin", "vcek.der", "chain.pem"][..], &at].concat(),
        expect![[r#"
            exit 1
            --- stdout
            --- stderr
            error: the Evidence is refused (chain)

            hint: `casemate explain report.bin` says why; `--unverified` writes the values all the same
        "#]],
    );
    let arguments =
        ["from", "report.bin", "vcek.der", "chain.pem", "--unverified", "--chip", "any", "--platform", "lab"];
    check(
        &files,
        &[&arguments[..], &at].concat(),
        expect![[r#"
            exit 0
            --- stdout
            {
              "snp": [
                {
                  "platform": "lab",
                  "product": "milan",
                  "measurements": [
                    "d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"
                  ],
                  "chip_ids": "any",
                  "tcb": {
                    "reported": {
                      "bootloader": 10,
                      "tee": 1,
                      "snp": 27,
                      "microcode": 213
                    },
                    "committed": {
                      "bootloader": 10,
                      "tee": 1,
                      "snp": 27,
                      "microcode": 213
                    },
                    "launch": {
                      "bootloader": 10,
                      "tee": 1,
                      "snp": 27,
                      "microcode": 213
                    },
                    "current": {
                      "bootloader": 10,
                      "tee": 1,
                      "snp": 27,
                      "microcode": 213
                    }
                  },
                  "provisional_firmware": false,
                  "signing_keys": [
                    "vcek"
                  ],
                  "min_report_version": 3,
                  "guest_policy": {
                    "abi": {
                      "major": 1,
                      "minor": 55
                    },
                    "smt": "off",
                    "migration_agent": "off",
                    "single_socket": "on",
                    "cxl": "off",
                    "aes_256_xts": "any",
                    "rapl_disabled": "any",
                    "ciphertext_hiding": "any",
                    "page_swap_disabled": "any"
                  },
                  "platform_info": {
                    "smt": "off",
                    "tsme": "any",
                    "ecc": "on",
                    "rapl_disabled": "any",
                    "ciphertext_hiding": "any",
                    "alias_check_complete": "on",
                    "tio": "off"
                  },
                  "vmpl": 0,
                  "min_guest_svn": 2,
                  "id_key_digests": [
                    "d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4"
                  ],
                  "author_key_digests": [
                    "d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5"
                  ],
                  "family_ids": [
                    "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1"
                  ],
                  "image_ids": [
                    "f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2f2"
                  ]
                }
              ]
            }
            --- stderr
            verified: report, signing key
            warning: could not tell: revocation
            warning: REFUSED: chain
            look at:
              snp[0].chip_ids: any genuine machine; one whose keys were extracted could answer for all
              snp[0].measurements: it differs with the number of vCPUs; `casemate reference-values snp` computes all
              snp[0].tcb: what this machine has today; a machine with older firmware is refused
        "#]],
    );
}

#[test]
fn evidence_that_could_not_be_verified_is_could_not_tell() {
    let [report, ..] = snp_report();
    check(
        &[("report.bin", &report)],
        &["from", "report.bin", "--at", "2026-01-01"],
        expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: the Evidence could not be verified (signing key, chain)

        hint: `casemate explain report.bin` says why; `--unverified` writes the values all the same; `--fetch` gets what is missing
    "#]],
    );
}

#[test]
fn what_is_no_evidence_has_no_values() {
    let [_, vcek, chain] = snp_report();
    let files: [(&str, &[u8]); 3] = [("vcek.der", &vcek), ("chain.pem", &chain), ("empty", b"")];
    let dir = folder(&files);
    let mut text = String::new();
    for name in ["vcek.der", "chain.pem", "empty", "missing"] {
        text.push_str(&casemate(dir.path(), &["reference-values", "from", name]));
    }
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `vcek.der`
          caused by: this is a certificate, which is no Evidence: reference values come from what a TEE or a device reports
        exit 1
        --- stdout
        --- stderr
        error: `chain.pem`
          caused by: this is a certificates, which is no Evidence: reference values come from what a TEE or a device reports
        exit 1
        --- stdout
        --- stderr
        error: `empty`
          caused by: the file is empty

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON
        exit 1
        --- stdout
        --- stderr
        error: read `missing`
          caused by: No such file or directory (os error 2)
    "#]].assert_eq(&text);
}

#[test]
fn launch_digests_for_every_number_of_vcpus() {
    let firmware = Ovmf::default().build();
    let files: [(&str, &[u8]); 3] = [("OVMF.fd", &firmware), ("vmlinuz", b"kernel"), ("initrd", b"initrd")];
    let boot = ["--kernel", "vmlinuz", "--initrd", "initrd", "--append", "console=ttyS0"];
    let base = ["snp", "--firmware", "OVMF.fd"];
    check(
        &files,
        &[&base[..], &boot, &["--vcpus", "1-3"]].concat(),
        expect![[r#"
        exit 0
        --- stdout
        VCPUS  MEASUREMENT
        1      677b9d9fa2807caffe200dd5f35cab3fa4e8ab99a18d5c547fe4bfc92cf7b913af7c50d6e0d86ea966dfaa99c4d3ae92
        2      d06f602af5b63dcde3c928e3d4a2e97bc1875e9535132b7fe82baea1bbe3169c9e4899b8a1123d811fd4583f4668dec4
        3      41ae4f0a0a9340ff2f5289f205565373aa6c36f91913e2cf568f787f14515e4e5403c846ec2d312f3f3e5849622afb97
        --- stderr
    "#]],
    );
    check(
        &files,
        &[&base[..], &boot, &["--vcpus", "2", "--json"]].concat(),
        expect![[r#"
        exit 0
        --- stdout
        {"launch_digests":[{"vcpus":2,"measurement":"d06f602af5b63dcde3c928e3d4a2e97bc1875e9535132b7fe82baea1bbe3169c9e4899b8a1123d811fd4583f4668dec4"}]}
        --- stderr
    "#]],
    );
    let dir = folder(&files);
    let run = |arguments: &[&str]| casemate(dir.path(), &[&["reference-values"], arguments].concat());
    let all = run(&[&base[..], &boot].concat());
    assert_eq!(all.lines().filter(|line| line.len() > 96).count(), 64, "{all}");
    let digest = all.lines().find_map(|line| line.strip_prefix("48     ")).expect("48 vCPUs");
    let found = run(&[&base[..], &boot, &["--find", digest]].concat());
    assert_eq!(found, format!("exit 0\n--- stdout\n{} is the launch with 48 vCPUs\n--- stderr\n", &digest[..12]));
    let json = run(&[&base[..], &boot, &["--find", digest, "--json"]].concat());
    assert_eq!(json, format!("exit 0\n--- stdout\n{{\"measurement\":\"{digest}\",\"vcpus\":48}}\n--- stderr\n"));
    // Another command line, another range: no.
    let other = run(&[
        &base[..],
        &["--kernel", "vmlinuz", "--initrd", "initrd", "--append", "console=ttyS1", "--find", digest],
    ]
    .concat());
    assert!(other.starts_with("exit 1\n--- stdout\n--- stderr\nerror: "), "{other}");
    let range = run(&[&base[..], &boot, &["--find", digest, "--vcpus", "1-47"]].concat());
    assert!(range.contains("of no number of vCPUs from 1 to 47"), "{range}");
}

#[test]
fn a_launch_that_cannot_be_measured_is_named() {
    let firmware = Ovmf::default().build();
    let bare = Ovmf::without_kernel_hashes().build();
    let dir = folder(&[("OVMF.fd", &firmware), ("bare.fd", &bare), ("junk", &[7; 8192]), ("odd", b"x"), ("k", b"k")]);
    let mut text = String::new();
    for arguments in [
        &["--firmware", "missing"][..],
        &["--firmware", "."],
        &["--firmware", "junk"],
        &["--firmware", "odd"],
        &["--firmware", "bare.fd", "--kernel", "k"],
        &["--firmware", "OVMF.fd", "--kernel", "missing"],
        &["--firmware", "OVMF.fd", "--vcpu-type", "Pentium"],
        &["--firmware", "OVMF.fd", "--vmm", "hyper-v"],
        &["--firmware", "OVMF.fd", "--guest-features", "0x20"],
    ] {
        let said = casemate(dir.path(), &[&["reference-values", "snp"], arguments].concat());
        assert!(said.starts_with("exit 1\n"), "{arguments:?}: {said}");
        text.push_str(said.split_once("--- stderr\n").expect("stderr").1);
    }
    for arguments in [
        &["--firmware", "OVMF.fd", "--initrd", "k"][..],
        &["--firmware", "OVMF.fd", "--vcpus", "0"],
        &["--firmware", "OVMF.fd", "--vcpus", "4-2"],
        &["--firmware", "OVMF.fd", "--vcpus", "1-4097"],
        &["--firmware", "OVMF.fd", "--vcpus", "many"],
        &["--firmware", "OVMF.fd", "--find", "00"],
        &["--firmware", "OVMF.fd", "--guest-features", "on"],
    ] {
        let said = casemate(dir.path(), &[&["reference-values", "snp"], arguments].concat());
        assert!(said.starts_with("exit 1\n"), "{arguments:?}: {said}");
        text.push_str(said.split_once("--- stderr\n").and_then(|(_, said)| said.lines().next()).expect("stderr"));
        text.push('\n');
    }
    expect![[r#"
        error: read `missing`
          caused by: No such file or directory (os error 2)
        error: `.` is a folder

        hint: name a file in it
        error: `junk`
          caused by: firmware has no OVMF footer table

        hint: this firmware does not start SEV-SNP guests; take the OVMF that the platform uses for SEV-SNP, as a whole (code and variables in one file)
        error: `odd`
          caused by: firmware has 1 bytes, which is not a positive multiple of 4096
        error: a kernel is given, and the firmware has no section for its hashes

        hint: only OVMF's AmdSev build checks a kernel that is passed directly; take that one, or leave the kernel out if the guest boots from its disk
        error: read `missing`
          caused by: No such file or directory (os error 2)
        error: vCPU type `Pentium` is unknown

        hint: names are those of QEMU's `-cpu`, such as `EPYC-Milan` or `EPYC-Genoa-v1`
        error: VMM `hyper-v` is unknown

        hint: known are `qemu` and `ec2`
        error: guest features 0x20 do not have bit 0 (SNP)
        error: the following required arguments were not provided:
        error: invalid value '0' for '--vcpus <N[-M]>': it is a number from 1 to 4096, or two with the smaller first
        error: invalid value '4-2' for '--vcpus <N[-M]>': it is a number from 1 to 4096, or two with the smaller first
        error: invalid value '1-4097' for '--vcpus <N[-M]>': it is a number from 1 to 4096, or two with the smaller first
        error: invalid value 'many' for '--vcpus <N[-M]>': `many` is no number
        error: invalid value '00' for '--find <DIGEST>': it has 48 bytes, and these are 1
        error: invalid value 'on' for '--guest-features <HEX>': not a number in hex
    "#]].assert_eq(&text);
}

/// The values of genuine Evidence accept it; where they cannot, a warning names the field.
#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_values_accept_the_evidence_they_come_from() {
    let files = ["snp/test-report.bin", "snp/test-vcek.der", "snp/milan_ask_ark_asvk.pem"];
    let dir = corpus(&files);
    let evidence = ["test-report.bin", "test-vcek.der", "milan_ask_ark_asvk.pem", "--at", "2025-06-01"];
    let run = |before: &[&str], after: &[&str]| casemate(dir.path(), &[before, &evidence, after].concat());
    let wrote = run(&["reference-values", "from"], &["--output", "values.json", "--platform", "milan"]);
    expect![[r#"
        exit 0
        --- stdout
        wrote `values.json`
        --- stderr
        verified: report, signing key, chain
        warning: could not tell: revocation
        look at:
          snp[0].chip_ids: this machine alone; `--chip any`, or add the others
          snp[0].measurements: it differs with the number of vCPUs; `casemate reference-values snp` computes all
          snp[0].tcb: what this machine has today; a machine with older firmware is refused
          snp[0].provisional_firmware: this host runs firmware that it can still go back behind
    "#]]
    .assert_eq(&wrote);
    let explained = run(&["explain"], &["--reference-values", "values.json"]);
    assert!(explained.contains("\n  reference values milan  verified\n"), "{explained}");
    // One digit of the measurement.
    let values = std::fs::read_to_string(dir.path().join("values.json")).unwrap().replace("a1f39304", "a1f39305");
    std::fs::write(dir.path().join("values.json"), values).unwrap();
    let explained = run(&["explain"], &["--reference-values", "values.json"]);
    assert!(explained.starts_with("exit 1\n") && explained.contains("measurements: a1f3930413"), "{explained}");
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_guest_under_debug_has_values_that_do_not_accept_it() {
    let dir = corpus(&["tdx/tdx_quote_4.dat"]);
    let base = ["reference-values", "from", "tdx_quote_4.dat", "--at", "2025-06-01", "--output", "values.json"];
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: the Evidence is refused (debug)

        hint: `casemate explain tdx_quote_4.dat` says why; `--unverified` writes the values all the same
    "#]]
    .assert_eq(&casemate(dir.path(), &base));
    expect![[r#"
        exit 0
        --- stdout
        wrote `values.json`
        --- stderr
        verified: td, pck chain
        warning: could not tell: quoting enclave, revocation, tcb
        warning: REFUSED: debug
        look at:
          tdx[0].chip_ids: this machine alone; `--chip any`, or add the others
          tdx[0].rtmr0: it differs with the guest's size and devices
          tdx[0].tcb: which of Intel's statuses and advisories you accept, and for how long
          tdx[0].allow_smt, allow_dynamic_platform, allow_cached_keys: as this platform has it; leave out what yours need not have
        warning: the values do not accept this Evidence:
          td_attributes: 010000100000, accepted is no debug
            hint: its host reads and writes the memory of a TD under debug: no reference value accepts one
          tcb.statuses: none, accepted are UpToDate
    "#]].assert_eq(&casemate(dir.path(), &[&base[..], &["--unverified"]].concat()));
}

/// A folder with files of the corpus.
fn corpus(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for file in files {
        let name = file.rsplit('/').next().expect("a name");
        std::fs::write(dir.path().join(name), testkit::corpus::file(file)).expect("a file");
    }
    dir
}
