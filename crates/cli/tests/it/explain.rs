//! `casemate explain` of generated Evidence, and of everything that is none. The genuine kind is in `explain_corpus`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use expect_test::{Expect, expect};
use protocol::digest::Measurement;
use protocol::reference::snp::SigningKey;
use protocol::reference::{AmdProduct, TcbVersion};
use protocol::{Digest, Evidence, ReportData, Tee};
use testkit::software::{LAUNCHED_AT, SoftwareTee, sign_report};
use testkit::{ccel, rim, snp};

use super::{MANIFEST, casemate};

/// A folder with files.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    dir
}

fn check(files: &[(&str, &[u8])], arguments: &[&str], expected: Expect) {
    let dir = folder(files);
    expected.assert_eq(&casemate(dir.path(), arguments));
}

/// The same with something on standard input.
fn piped(dir: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_casemate"))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("casemate runs");
    // Whoever refuses its input need not read it.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("casemate ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("no signal");
    format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}

fn software_tee() -> SoftwareTee {
    SoftwareTee::from_seed([7; 32])
}

/// A software report.
pub(crate) fn software() -> Vec<u8> {
    let report_data = ReportData([0xd1; 64]);
    let measurement = Measurement::from_bytes([0xd2; 48]);
    let host_data = Digest::of(b"host data");
    sign_report(software_tee().root(), measurement, host_data, report_data, LAUNCHED_AT).encode()
}

/// An SNP report under a root that is not AMD's, with its certificate and the chain to that root.
pub(crate) fn snp_report() -> [Vec<u8>; 3] {
    let report = snp::Report::new(AmdProduct::Milan, 3, SigningKey::Vcek);
    let key = snp::ReportKey::of(&report);
    let line = snp::Line::of(AmdProduct::Milan);
    let chain = testkit::der::pem("CERTIFICATE", &line.ask) + &testkit::der::pem("CERTIFICATE", &line.ark);
    [key.sign(&report), key.certificate, chain.into_bytes()]
}

#[test]
fn a_software_report_is_explained_and_called_insecure() {
    check(
        &[("report", &software())],
        &["explain", "report"],
        expect![[r#"
        exit 0
        --- stdout
        software report, INSECURE: verified
          compared with no reference values: name some with `--manifest` or `--reference-values`

          report  verified  measurement d2d2d2d2d2d2; host data 753b057d7484; report data d1d1d1d1d1d1;
                            endorsed by a software root that lies in a file: nothing about hardware

        2 of 5 claims are not shown: `--all` shows them
        --- stderr
        INSECURE: the evidence is from a software TEE; it proves nothing to anybody who does not trust this machine
    "#]],
    );
}

#[test]
fn the_json_is_the_explanation_and_nothing_else() {
    check(
        &[("report", &software())],
        &["explain", "report", "--json"],
        expect![[r#"
        exit 0
        --- stdout
        {"subject":"software report, INSECURE","verdict":"verified","sections":[{"title":"report","verdict":"verified","endorsed_by":"a software root that lies in a file: nothing about hardware","claims":[{"name":"root","value":"fe812c12f3ab4ce6ac5db69ac352f906cb1b11ef43fb33e252ef7ff552263889"},{"name":"measurement","value":"d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2"},{"name":"host data","value":"753b057d7484accb3df6f09e79d21fe753b3ed22d18acd6d99bc91bf62495010"},{"name":"report data","value":"d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"},{"name":"launched at","value":"2027-01-15T08:00:00Z"}],"problems":[]}]}
        --- stderr
    "#]],
    );
}

#[test]
fn every_dress_has_the_same_explanation() {
    let raw = software();
    let dir = folder(&[("raw", &raw)]);
    let plain = casemate(dir.path(), &["explain", "raw"]);
    let hex = hex::encode(&raw);
    let lines: String = hex.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\r\n").collect();
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&raw)
    };
    let json = serde_json::to_string(&Evidence::new(Tee::Software, raw.clone())).unwrap();
    for dressed in [hex.clone(), format!("0x{hex}\n"), lines, base64, json] {
        assert_eq!(piped(dir.path(), &["explain", "-"], dressed.as_bytes()), plain, "{dressed}");
    }
    assert_eq!(piped(dir.path(), &["explain", "-"], &raw), plain);
}

#[test]
fn report_data_is_compared_where_it_is_given() {
    let dir = folder(&[("report", &software())]);
    let good = casemate(dir.path(), &["explain", "report", "--report-data", &"d1".repeat(64)]);
    assert!(good.starts_with("exit 0\n"), "{good}");
    let bad = casemate(dir.path(), &["explain", "report", "--report-data", &format!("0x{}", "d0".repeat(64))]);
    expect![[r#"
        exit 1
        --- stdout
        software report, INSECURE: refused (report)
          compared with no reference values: name some with `--manifest` or `--reference-values`

          report  refused  measurement d2d2d2d2d2d2; host data 753b057d7484; report data d1d1d1d1d1d1;
                           endorsed by a software root that lies in a file: nothing about hardware
                           evidence is not bound to this channel: report data is d1d1d1d1d1d1, expected
                           d0d0d0d0d0d0

        2 of 5 claims are not shown: `--all` shows them

        hint: somebody between you and the TEE may be relaying Evidence; if the address is right, do not
              trust it
        --- stderr
        INSECURE: the evidence is from a software TEE; it proves nothing to anybody who does not trust this machine
    "#]]
    .assert_eq(&bad);
}

#[test]
fn reference_values_are_compared_where_they_are_given() {
    let values = software_tee().reference_values(&[Measurement::from_bytes([0xd2; 48])]);
    let good = serde_json::to_string(&values).unwrap();
    let other = good.replace("d2d2", "d3d3");
    let dir = folder(&[
        ("report", &software()),
        ("good.json", good.as_bytes()),
        ("other.json", other.as_bytes()),
        ("manifest.json", MANIFEST.as_bytes()),
    ]);
    let accepted = casemate(dir.path(), &["explain", "report", "--reference-values", "good.json"]);
    assert!(accepted.starts_with("exit 0\n"), "{accepted}");
    assert!(!accepted.contains("compared with no reference values"), "{accepted}");
    let refused = casemate(dir.path(), &["explain", "report", "--reference-values", "other.json"]);
    expect![[r#"
        exit 1
        --- stdout
        software report, INSECURE: refused (reference values)

          report            verified  measurement d2d2d2d2d2d2; host data 753b057d7484;
                                      report data d1d1d1d1d1d1;
                                      endorsed by a software root that lies in a file: nothing about
                                        hardware
          reference values  refused   measurement is d2d2d2d2d2d2, accepted is d3d3d3d3d3d3

        2 of 5 claims are not shown: `--all` shows them

        hint: the peer was started by another release; run `casemate generate` again with the release that
              starts it
        --- stderr
        INSECURE: the evidence is from a software TEE; it proves nothing to anybody who does not trust this machine
    "#]]
    .assert_eq(&refused);
    let refused = casemate(dir.path(), &["explain", "report", "--manifest", "manifest.json"]);
    assert!(refused.starts_with("exit 1\n"), "{refused}");
}

#[test]
fn evidence_under_a_root_that_is_not_the_vendors_is_refused() {
    let [report, vcek, chain] = snp_report();
    let files: [(&str, &[u8]); 3] = [("report.bin", &report), ("vcek.der", &vcek), ("chain.pem", &chain)];
    let arguments = ["explain", "report.bin", "vcek.der", "--endorsement", "chain.pem", "--at", "2026-01-01"];
    check(
        &files,
        &arguments,
        expect![[r#"
        exit 1
        --- stdout
        SEV-SNP report, version 3: refused (chain)
          judged as of 2026-01-01T00:00:00Z
          with 3 Endorsements from files
          compared with no reference values: name some with `--manifest` or `--reference-values`

          report        verified        measurement d2d2d2d2d2d2; host data d3d3d3d3d3d3; vmpl 0
          signing key   verified        key VCEK, the chip's own; product Milan; chip id a5a4a7a6a1a0
          chain         refused         certificates SEV-VCEK
                                        1. chain of certificates: certificate `SEV-VCEK`: its signature is
                                           not by `SEV-Milan`
          revocation    could not tell  2. not judged: it needs chain
          tcb           noted           reported bootloader 10, tee 1, snp 27, microcode 213
          guest policy  noted           debug no
          platform      noted           smt no; tsme no; ecc yes
          binding       noted           report data d1d1d1d1d1d1
                                        3. not compared: the report data to expect was not given

        30 of 43 claims are not shown: `--all` shows them
        --- stderr
    "#]],
    );
}

#[test]
fn a_folder_of_endorsements_is_as_good_as_its_files() {
    let [report, vcek, chain] = snp_report();
    let dir = folder(&[
        ("report.bin", &report),
        ("vendor/vcek.der", &vcek),
        ("vendor/chain.pem", &chain),
        ("vendor/readme.txt", b"what these are"),
        ("vendor/.hidden", b"\x1b[2J"),
        ("vendor/empty", b""),
        ("empty/x", b""),
    ]);
    let run = |arguments: &[&str]| casemate(dir.path(), &[&["explain", "report.bin"], arguments].concat());
    let text = run(&["--endorsement", "vendor"]);
    let files = run(&["--endorsement", "vendor/vcek.der", "--endorsement", "vendor/chain.pem"]);
    assert_eq!(text, files + "no Endorsements, passed over: empty, readme.txt\n");
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: there is no Endorsement in `empty`

        hint: files directly in the folder are read, those of folders in it are not
    "#]]
    .assert_eq(&run(&["--endorsement", "empty"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `vendor/readme.txt`
          caused by: no kind of Evidence, Endorsement or event log that is known here: it begins with 7768617420746865

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON
    "#]].assert_eq(&run(&["--endorsement", "vendor/readme.txt"]));
    expect![[r#"
        exit 1
        --- stdout
        --- stderr
        error: `report.bin` is no Endorsement but a SEV-SNP report

        hint: Evidence is named without a flag; an event log with `--event-log`
    "#]]
    .assert_eq(&run(&["--endorsement", "report.bin"]));
}

#[test]
fn the_order_of_files_does_not_matter() {
    let [report, vcek, chain] = snp_report();
    let dir = folder(&[("a", &report), ("b", &vcek), ("c", &chain)]);
    let run = |order: [&str; 3]| casemate(dir.path(), &[&["explain"][..], &order].concat());
    let expected = run(["a", "b", "c"]);
    assert!(expected.starts_with("exit 1\n"), "{expected}");
    for order in [["a", "c", "b"], ["b", "a", "c"], ["c", "b", "a"]] {
        assert_eq!(run(order), expected);
    }
}

#[test]
fn the_text_of_a_peer_never_reaches_the_terminal() {
    // What XML lets through: CSI, OSC and ST in one character each, and an override of the writing direction.
    let hostile = "H100\u{9b}2J\u{9d}0;owned\u{9c}\u{85}\u{202e}";
    let authority = rim::RimAuthority::new();
    let content = rim::TestRim::new("PRODUCT", "EDITION", "1.0", &[(1, [1; 48])]).content();
    for named in
        [content.replace("PRODUCT", hostile), content.replace("EDITION", hostile), content.replace("1.0", hostile)]
    {
        let document = authority.sign_content(&named, &authority.signing());
        let dir = folder(&[("rim.xml", document.as_bytes())]);
        for arguments in
            [&["explain", "rim.xml"][..], &["explain", "rim.xml", "--all"], &["explain", "rim.xml", "--json"]]
        {
            let text = casemate(dir.path(), arguments);
            assert!(text.contains("H100"), "{text:?}");
            let moves = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(moves), "{text:?}");
        }
    }
    // A name in a certificate.
    let [report, ..] = snp_report();
    let subject = snp::name("SEV-VCEK\u{1b}[2J\u{202e}\n");
    let line = snp::Line::of(AmdProduct::Milan);
    let chip = [0xa5; 64];
    let tcb = TcbVersion { fmc: None, bootloader: 10, tee: 1, snp: 27, microcode: 213 };
    let key = snp::ReportKey::with_certificate(line, SigningKey::Vcek, |key| {
        let extensions = snp::key_extensions(AmdProduct::Milan, SigningKey::Vcek, &tcb, &chip);
        let mut template = snp::key_certificate(line, SigningKey::Vcek, extensions);
        template.subject = subject.clone();
        template.sign(key, line.authority_key(SigningKey::Vcek))
    });
    let dir = folder(&[("report", &report), ("vcek.der", &key.certificate)]);
    for arguments in
        [&["explain", "report", "vcek.der"][..], &["explain", "vcek.der", "--all"], &["explain", "vcek.der", "--json"]]
    {
        let text = casemate(dir.path(), arguments);
        assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn an_event_log_alone_proves_nothing() {
    let log = ccel::Log::boot().build();
    let dir = folder(&[("CCEL", &log)]);
    let text = casemate(dir.path(), &["explain", "CCEL"]);
    assert!(text.starts_with("exit 2\n--- stdout\nCCEL event log: nothing in it was judged\n"), "{text}");
    assert_eq!(casemate(dir.path(), &["explain", "--event-log", "CCEL", "CCEL"]).lines().next(), Some("exit 1"));
}

#[test]
fn what_cannot_be_explained_is_named() {
    let report = software();
    let [snp, ..] = snp_report();
    let log = ccel::Log::boot().build();
    let large = vec![b'0'; 5 * 1024 * 1024];
    let cut = &snp[..snp.len() - 1];
    let files: [(&str, &[u8]); 11] = [
        ("empty", b""),
        ("blank", b" \r\n\t"),
        ("junk", &[0x80; 300]),
        ("text", b"hello, this is not evidence\n"),
        ("json", b"{\"tee\":\"snp\"}"),
        ("list", b"[1, 2]"),
        ("pem", b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"),
        ("large", &large),
        ("cut", cut),
        ("report", &report),
        ("CCEL", &log),
    ];
    let dir = folder(&files);
    std::fs::write(dir.path().join("snp"), &snp).unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    let mut text = String::new();
    for arguments in [
        &["missing"][..],
        &["folder"],
        &["empty"],
        &["blank"],
        &["junk"],
        &["text"],
        &["json"],
        &["list"],
        &["pem"],
        &["large"],
        &["cut"],
        &["report", "snp"],
        &["report", "CCEL"],
        &["snp", "--event-log", "report"],
        &["snp", "--chain", "CCEL"],
        &["report", "--endorsement", "missing"],
        &["report", "--reference-values", "missing"],
        &["report", "--reference-values", "json"],
        &["report", "--manifest", "json"],
        &["-", "-"],
    ] {
        let said = casemate(dir.path(), &[&["explain"], arguments].concat());
        let (code, said) = said.split_once("\n--- stdout\n--- stderr\n").expect("nothing on standard output");
        assert_eq!(code, "exit 1", "{arguments:?}: {said}");
        text.push_str(&format!("$ casemate explain {}\n{said}\n", arguments.join(" ")));
    }
    expect![[r#"
        $ casemate explain missing
        error: read `missing`
          caused by: No such file or directory (os error 2)

        $ casemate explain folder
        error: `folder` is a folder

        hint: name a file in it

        $ casemate explain empty
        error: `empty`
          caused by: the file is empty

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON

        $ casemate explain blank
        error: `blank`
          caused by: the file is empty

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON

        $ casemate explain junk
        error: `junk`
          caused by: no kind of Evidence, Endorsement or event log that is known here: it begins with 8080808080808080

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON

        $ casemate explain text
        error: `text`
          caused by: no kind of Evidence, Endorsement or event log that is known here: it begins with 68656c6c6f2c2074

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON

        $ casemate explain json
        error: `json`
          caused by: JSON that is no Evidence: missing field `body` at line 1 column 13

        $ casemate explain list
        error: `list`
          caused by: device evidence that cannot be read: not a list of evidence: expected a list of `{"evidence", "certificate"}`, alone or under `evidence_list`

        $ casemate explain pem
        error: `pem`
          caused by: not PEM: a block is not base64

        $ casemate explain large
        error: `large` has more than 4 MiB, and nothing that is read here is larger

        $ casemate explain cut
        error: `cut`
          caused by: no kind of Evidence, Endorsement or event log that is known here: it begins with 0300000002000000

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON

        $ casemate explain report snp
        error: two pieces of Evidence: `report` (software report) and `snp` (SEV-SNP report)

        hint: name one at a time; the devices of one machine may be named together

        $ casemate explain report CCEL
        error: an event log goes with a TDX quote, and there is `report` (software report) instead

        hint: leave the log out

        $ casemate explain snp --event-log report
        error: `report` (software report) is no event log

        hint: a TDX guest has its log in `/sys/firmware/acpi/tables/data/CCEL`

        $ casemate explain snp --chain CCEL
        error: `CCEL` (CCEL event log) is no certificate chain

        hint: `--chain` takes the certificates of a device, leaf first, in PEM

        $ casemate explain report --endorsement missing
        error: read `missing`
          caused by: No such file or directory (os error 2)

        $ casemate explain report --reference-values missing
        error: read `missing`
          caused by: No such file or directory (os error 2)

        hint: `casemate reference-values from FILE` writes some

        $ casemate explain report --reference-values json
        error: `json` holds no reference values
          caused by: unknown field `tee`, expected one of `software`, `snp`, `tdx`, `sgx`, `devices` at line 1 column 6

        hint: it is the `reference_values` member of a manifest alone; a whole manifest goes with `--manifest`

        $ casemate explain report --manifest json
        error: `json`
          caused by: manifest line 1 column 6: unknown field `tee`, expected one of `version`, `deployment_id`, `policies`, `reference_values`, `owners`, `seed_share_holders`, `lease_seconds`

        $ casemate explain - -
        error: `-` is named twice, and standard input can be read once

    "#]].assert_eq(&text);
}

#[test]
fn wrong_options_are_wrong_input() {
    let dir = folder(&[("report", &software())]);
    let mut text = String::new();
    for arguments in [
        &[][..],
        &["report", "--report-data", "xyz"],
        &["report", "--report-data", "00"],
        &["report", "--nonce", &"0".repeat(63)],
        &["report", "--nonce", &"00".repeat(33)],
        &["report", "--at", "tomorrow"],
        &["report", "--at", "2026-02-30"],
        &["report", "--manifest", "a", "--reference-values", "b"],
        &["report", "--source", "amd"],
        &["report", "--source", "arm=https://example.org"],
        &["report", "--source", "amd=ftp://example.org"],
        &["report", "--tcb-channel", "late"],
    ] {
        let said = casemate(dir.path(), &[&["explain"], arguments].concat());
        let (code, said) = said.split_once("\n--- stdout\n--- stderr\n").expect("nothing on standard output");
        assert_eq!(code, "exit 1", "{arguments:?}: {said}");
        text.push_str(said.lines().next().unwrap_or_default());
        text.push('\n');
    }
    expect![[r#"
        error: the following required arguments were not provided:
        error: invalid value 'xyz' for '--report-data <HEX>': not hex: 64 bytes are 128 hex digits
        error: invalid value '00' for '--report-data <HEX>': it has 64 bytes, and these are 1
        error: invalid value '000000000000000000000000000000000000000000000000000000000000000' for '--nonce <HEX>': not hex: 32 bytes are 64 hex digits
        error: invalid value '000000000000000000000000000000000000000000000000000000000000000000' for '--nonce <HEX>': it has 32 bytes, and these are 33
        error: invalid value 'tomorrow' for '--at <TIME>': `tomorrow` is not a time like 2026-11-21T10:00:00Z or 2026-11-21
        error: invalid value '2026-02-30' for '--at <TIME>': `2026-02-30` is not a time like 2026-11-21T10:00:00Z or 2026-11-21
        error: the argument '--manifest <FILE>' cannot be used with '--reference-values <FILE>'
        error: invalid value 'amd' for '--source <NAME=URL>': it has the form NAME=URL
        error: invalid value 'arm=https://example.org' for '--source <NAME=URL>': services are amd, intel, nvidia-rim and nvidia-ocsp
        error: invalid value 'amd=ftp://example.org' for '--source <NAME=URL>': an address begins with https:// or http://
        error: invalid value 'late' for '--tcb-channel <WHICH>': it is `standard`, `early` or a number
    "#]].assert_eq(&text);
}

#[test]
fn another_time_is_said() {
    let dir = folder(&[("report", &software())]);
    for (at, said) in [
        ("2001-02-03", "  judged as of 2001-02-03T00:00:00Z\n"),
        ("2001-02-03T04:05:06Z", "  judged as of 2001-02-03T04:05:06Z\n"),
        ("9999-12-31", "  judged as of 9999-12-31T00:00:00Z, which is in the future\n"),
    ] {
        let text = casemate(dir.path(), &["explain", "report", "--at", at]);
        assert!(text.contains(said), "{text}");
    }
    assert!(!casemate(dir.path(), &["explain", "report"]).contains("judged as of"));
}

#[test]
fn looking_at_a_file_leaves_nothing_behind() {
    let [report, ..] = snp_report();
    let dir = folder(&[("report", &report)]);
    casemate(dir.path(), &["explain", "report"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    check(
        &[("junk", &[0x80; 300])],
        &["explain", "junk", "--json"],
        expect![[r#"
        exit 1
        --- stdout
        {"error":"`junk`","caused_by":["no kind of Evidence, Endorsement or event log that is known here: it begins with 8080808080808080"],"hint":"known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON","answer":"no"}
        --- stderr
    "#]],
    );
}
