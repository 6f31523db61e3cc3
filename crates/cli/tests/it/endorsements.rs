//! `casemate endorsements` against a server on loopback that knows one chip, whose maker is not AMD.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;

use expect_test::expect;
use protocol::reference::AmdProduct;

use super::casemate;
use super::explain::{folder, snp_report, software};

/// Serves each body under every path that begins as it says, for as long as the process lives. Returns its address.
fn serve(answers: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
            let found = answers.iter().find(|(prefix, _)| path.starts_with(prefix));
            let (status, body) = found.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body.as_slice()));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    format!("http://{address}")
}

/// What changes from run to run: ports, and digests of certificates that are made anew.
fn steady(text: &str, base: &str) -> String {
    let text = text.replace(base.trim_start_matches("http://"), "SERVER");
    let line = |line: &str| {
        let id = line.split(' ').next().unwrap_or_default();
        if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return line.to_owned();
        }
        // The age is what the machine needed since.
        let words: Vec<&str> = line.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect();
        format!("ID {}", words.get(2..).unwrap_or_default().join("  "))
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n") + "\n"
}

fn run(dir: &Path, arguments: &[&str]) -> String {
    casemate(dir, &[&["endorsements"], arguments].concat())
}

fn service(certificate: &[u8]) -> String {
    let line = testkit::snp::Line::of(AmdProduct::Milan);
    serve(vec![("/vcek/v1/Milan/crl", line.crl()), ("/vcek/v1/Milan/a5", certificate.to_vec())])
}

#[test]
fn from_a_service_to_a_machine_with_no_way_out() {
    let [report, vcek, _] = snp_report();
    let there = folder(&[("report.bin", &report)]);
    let base = service(&vcek);
    let source = format!("amd={base}");

    let fetched = run(there.path(), &["fetch", "report.bin", "--source", &source]);
    expect![[r#"
        exit 0
        --- stdout
        the VCEK certificate of Milan chip a5a4a7a6a1a0: fetched, good until 2050-01-01T00:00:00Z
        AMD's revocation list for vcek of Milan: fetched, good until 2050-01-01T00:00:00Z
        --- stderr
    "#]]
    .assert_eq(&steady(&fetched, &base));
    let listed = run(there.path(), &["list"]);
    expect![[r#"
        exit 0
        --- stdout
        ID            AGE  GOOD UNTIL            STATE  WHAT
        ID 2050-01-01T00:00:00Z  good  AMD's revocation list for vcek of Milan
        ID 2050-01-01T00:00:00Z  good  the VCEK certificate of Milan chip a5a4a7a6a1a0
        --- stderr
        2 answers, 2 KiB in `./.casemate/endorsements`
    "#]]
    .assert_eq(&steady(&listed, &base));
    // What is fresh is not fetched again.
    let again = run(there.path(), &["fetch", "report.bin", "--source", "amd=http://127.0.0.1:1"]);
    assert!(again.starts_with("exit 0\n") && again.contains("from the cache"), "{again}");

    let exported = run(there.path(), &["export", "--output", "site.json", "report.bin"]);
    expect![[r#"
        exit 0
        --- stdout
        wrote 2 answers to `site.json`
        --- stderr
    "#]]
    .assert_eq(&exported);
    assert!(run(there.path(), &["export", "--output", "site.json"]).starts_with("exit 1\n"));
    assert!(run(there.path(), &["export", "--output", "site.json", "--force"]).starts_with("exit 0\n"));

    let bundle = std::fs::read(there.path().join("site.json")).unwrap();
    let here = folder(&[("report.bin", &report), ("site.json", &bundle)]);
    let before = casemate(here.path(), &["explain", "report.bin"]);
    assert!(before.contains("the VCEK certificate of Milan chip a5a4a7a6a1a0 is not at hand"), "{before}");
    expect![[r#"
        exit 0
        --- stdout
        2 answers added, 0 kept because they are not older
        --- stderr
        added  the VCEK certificate of Milan chip a5a4a7a6a1a0
        added  AMD's revocation list for vcek of Milan
    "#]]
    .assert_eq(&run(here.path(), &["import", "site.json"]));
    expect![[r#"
        exit 0
        --- stdout
        0 answers added, 2 kept because they are not older
        --- stderr
    "#]]
    .assert_eq(&run(here.path(), &["import", "site.json"]));
    let after = casemate(here.path(), &["explain", "report.bin"]);
    assert!(after.contains("with 2 Endorsements from the cache"), "{after}");
    assert!(!after.contains("not at hand"), "{after}");

    // Everything is in its place for a bundle that was tampered with, too.
    let tampered = String::from_utf8(bundle).unwrap().replacen("\"size\": ", "\"size\": 1", 1);
    std::fs::write(here.path().join("bad.json"), tampered).unwrap();
    let refused = run(here.path(), &["import", "bad.json"]);
    assert!(refused.starts_with("exit 1\n"), "{refused}");
}

#[test]
fn explain_fetches_what_is_missing_when_it_is_asked_to() {
    let [report, vcek, _] = snp_report();
    let dir = folder(&[("report.bin", &report)]);
    let base = service(&vcek);
    let text = casemate(dir.path(), &["explain", "report.bin", "--fetch", "--source", &format!("amd={base}")]);
    assert!(text.contains("with 2 Endorsements from the cache"), "{text}");
    assert!(text.contains("the VCEK certificate of Milan chip a5a4a7a6a1a0: fetched"), "{text}");
    // A site's proxy stands for every service.
    let other = folder(&[("report.bin", &report)]);
    let proxied = casemate(other.path(), &["explain", "report.bin", "--fetch", "--source-proxy", &base]);
    assert!(proxied.contains("missing: `"), "{proxied}");
}

#[test]
fn a_service_that_is_down_is_could_not_tell() {
    let [report, ..] = snp_report();
    let dir = folder(&[("report.bin", &report)]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let said = run(dir.path(), &["fetch", "report.bin", "--source", &format!("amd={base}")]);
    expect![[r#"
        exit 2
        --- stdout
        the VCEK certificate of Milan chip a5a4a7a6a1a0: missing: `SERVER` does not answer `/vcek/v1/Milan/a5a4a7a6a1a0?blSPL=10&teeSPL=1&snpSPL=27&ucodeSPL=213`: Connection refused (os error 111)
        AMD's revocation list for vcek of Milan: missing: `SERVER` does not answer `/vcek/v1/Milan/crl`: Connection refused (os error 111)
        --- stderr
        error: 2 of 2 documents could not be had

        hint: see whether this machine reaches `SERVER`; a proxy or an offline bundle helps where it must not
    "#]].assert_eq(&steady(&said, &base));
}

#[test]
fn a_chip_that_nobody_knows_is_could_not_tell_and_the_rest_is_kept() {
    let [report, ..] = snp_report();
    let dir = folder(&[("report.bin", &report)]);
    let line = testkit::snp::Line::of(AmdProduct::Milan);
    let base = serve(vec![("/vcek/v1/Milan/crl", line.crl())]);
    let json = run(dir.path(), &["fetch", "report.bin", "--json", "--source", &format!("amd={base}")]);
    assert!(json.starts_with("exit 2\n--- stdout\n{\"endorsements\":[{\"need\":{\"kind\":\"vcek\""), "{json}");
    assert!(json.contains("\"code\":\"not-found\"") && json.contains("\"origin\":\"fetched\""), "{json}");
    let exported = run(dir.path(), &["export", "--output", "b", "report.bin"]);
    expect![[r#"
        exit 2
        --- stdout
        wrote 1 answer to `b`
        --- stderr
        missing: the VCEK certificate of Milan chip a5a4a7a6a1a0
        error: the cache lacks 1 of what the Evidence needs

        hint: `casemate endorsements fetch FILE...` gets it
    "#]]
    .assert_eq(&exported);
}

#[test]
fn what_needs_nothing_fetches_nothing() {
    let dir = folder(&[("report", &software())]);
    let said = run(dir.path(), &["fetch", "report"]);
    expect![[r#"
        exit 0
        --- stdout
        nothing to fetch
        --- stderr
        `report` (software report) needs no Endorsements
    "#]]
    .assert_eq(&said);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn documents_are_removed_by_id() {
    let [report, vcek, _] = snp_report();
    let dir = folder(&[("report.bin", &report)]);
    let base = service(&vcek);
    run(dir.path(), &["fetch", "report.bin", "--source", &format!("amd={base}")]);
    let id = protocol::Digest::of(&vcek).short();
    for (wrong, reason) in
        [("12", "4 digits"), ("gggg", "the cache has no `gggg`"), ("ffffffffffff", "the cache has no")]
    {
        let said = run(dir.path(), &["remove", wrong]);
        assert!(said.starts_with("exit 1\n") && said.contains(reason), "{said}");
    }
    let removed = run(dir.path(), &["remove", &id[..8]]);
    assert!(removed.starts_with("exit 0\n--- stdout\n1 answer removed\n"), "{removed}");
    assert!(run(dir.path(), &["remove", "--stale"]).contains("0 answers removed"));
    assert!(run(dir.path(), &["remove", "--all"]).contains("1 answer removed"));
    assert!(run(dir.path(), &["list"]).contains("the cache is empty"));
    assert!(run(dir.path(), &["remove"]).starts_with("exit 1\n"));
}

#[test]
fn a_cache_that_was_changed_on_disk_is_named_and_passed_over() {
    let [report, vcek, _] = snp_report();
    let dir = folder(&[("report.bin", &report)]);
    let base = service(&vcek);
    run(dir.path(), &["fetch", "report.bin", "--source", &format!("amd={base}")]);
    let blob = dir.path().join(".casemate/endorsements/blobs").join(protocol::Digest::of(&vcek).to_string());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let listed = run(dir.path(), &["list", "--check"]);
    assert!(listed.contains("has changed since it was written"), "{listed}");
    let text = casemate(dir.path(), &["explain", "report.bin"]);
    assert!(text.contains("with 1 Endorsement from the cache"), "{text}");
}

#[test]
fn empty_caches_and_wrong_bundles_are_named() {
    let dir = folder(&[("junk", b"junk"), ("json", b"{}"), ("empty", b"")]);
    let mut text = String::new();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["export", "--output", "b"],
        &["export", "--output", "-", "--json"],
        &["import", "junk"],
        &["import", "json"],
        &["import", "empty"],
        &["import", "missing"],
        &["import", "."],
        &["fetch", "missing"],
        &["fetch", "junk"],
    ] {
        text.push_str(&format!("$ casemate endorsements {}\n{}", arguments.join(" "), run(dir.path(), arguments)));
    }
    expect![[r#"
        $ casemate endorsements list
        exit 0
        --- stdout
        the cache is empty
        --- stderr
        $ casemate endorsements list --json
        exit 0
        --- stdout
        {"endorsements":[],"damaged":[]}
        --- stderr
        $ casemate endorsements export --output b
        exit 2
        --- stdout
        --- stderr
        error: the cache has nothing to export

        hint: `casemate endorsements fetch FILE...` fills it
        $ casemate endorsements export --output - --json
        exit 1
        --- stdout
        {"error":"`--output -` and `--json`: standard output holds one document","caused_by":[],"hint":"name a file, or leave `--json` out","answer":"no"}
        --- stderr
        $ casemate endorsements import junk
        exit 1
        --- stdout
        --- stderr
        error: `junk`
          caused by: it is no bundle of endorsements: expected value at line 1 column 1

        hint: `casemate endorsements export` writes bundles; this file was changed or cut off since
        $ casemate endorsements import json
        exit 1
        --- stdout
        --- stderr
        error: `json`
          caused by: it is no bundle of endorsements: missing field `format` at line 1 column 2

        hint: `casemate endorsements export` writes bundles; this file was changed or cut off since
        $ casemate endorsements import empty
        exit 1
        --- stdout
        --- stderr
        error: `empty`
          caused by: it is no bundle of endorsements: EOF while parsing a value at line 1 column 0

        hint: `casemate endorsements export` writes bundles; this file was changed or cut off since
        $ casemate endorsements import missing
        exit 1
        --- stdout
        --- stderr
        error: read `missing`
          caused by: No such file or directory (os error 2)
        $ casemate endorsements import .
        exit 1
        --- stdout
        --- stderr
        error: `.` is a folder

        hint: name a file in it
        $ casemate endorsements fetch missing
        exit 1
        --- stdout
        --- stderr
        error: read `missing`
          caused by: No such file or directory (os error 2)
        $ casemate endorsements fetch junk
        exit 1
        --- stdout
        --- stderr
        error: `junk`
          caused by: no kind of Evidence, Endorsement or event log that is known here: it begins with 6a756e6b

        hint: known are SNP reports, TDX and SGX quotes, NVIDIA's reports, CCEL logs, certificates, revocation lists, TCB info, QE identities and RIMs: raw, in hex, base64, PEM or JSON
    "#]].assert_eq(&text);
}
