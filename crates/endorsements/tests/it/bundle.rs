use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use endorsements::{BundleError, Cache, Freshness, Need, UnixTime, Wrong};
use protocol::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::examples;
use crate::rig::{ID, RIM_PATH, Rig, counts, ok, rim_need};

const NOW: UnixTime = UnixTime(1_800_000_000);

/// A bundle with one manifest for each of these ids.
pub(crate) fn bundle(rims: &[(&str, &str, u64)]) -> Value {
    let mut documents = serde_json::Map::new();
    let mut entries = Vec::new();
    for (id, body, fetched_at) in rims {
        let document = format!("<SoftwareIdentity>{body}</SoftwareIdentity>");
        let digest = Digest::of(document.as_bytes()).to_string();
        entries.push(json!({
            "need": {"kind": "rim", "id": id},
            "url": format!("https://rim.example/{id}"),
            "fetched_at": UnixTime(*fetched_at),
            "documents": [{"kind": "rim", "sha256": digest, "size": document.len()}],
        }));
        documents.insert(digest, STANDARD.encode(&document).into());
    }
    json!({"format": "casemate endorsements 1", "entries": entries, "documents": documents})
}

fn import(cache: &Cache, bundle: &Value) -> Result<endorsements::Imported, BundleError> {
    cache.import(&serde_json::to_vec(bundle).unwrap(), NOW)
}

/// All files under a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_one_machine_exports_another_imports() {
    let rig = Rig::start().await;
    let needs = rig.needs();
    let all = rig.client.gather(&needs, Freshness::Normal).await;
    let exported = rig.cache.export(None).unwrap();
    assert_eq!((exported.entries, exported.missing.len(), exported.damaged.len()), (9, 0, 0));

    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let imported = cache.import(&exported.bytes, NOW).unwrap();
    assert_eq!((imported.added.len(), imported.kept_newer.len(), imported.refused.len()), (9, 0, 0));
    let sources = endorsements::Sources { offline: true, ..rig.server.sources() };
    let client = endorsements::Client::new(sources, cache.clone()).unwrap();
    let gathered = client.gather(&needs, Freshness::Normal).await;
    assert_eq!(counts(&gathered.endorsements), counts(&all.endorsements));

    assert_eq!(cache.export(None).unwrap().bytes, exported.bytes, "the same entries are the same bytes");
    let again = cache.import(&exported.bytes, NOW).unwrap();
    assert_eq!((again.added.len(), again.kept_newer.len()), (0, 9));
}

#[tokio::test]
async fn a_part_is_exported_and_what_is_missing_or_damaged_is_said() {
    let rig = Rig::start().await;
    let needs = rig.needs();
    rig.client.gather(&needs[..3], Freshness::Normal).await;
    let exported = rig.cache.export(Some(&[needs[0].clone(), rim_need()])).unwrap();
    assert_eq!((exported.entries, exported.missing.as_slice()), (1, &[rim_need()][..]));
    let text = String::from_utf8(exported.bytes).unwrap();
    assert!(text.starts_with("{\n  \"format\": \"casemate endorsements 1\"") && text.ends_with("}\n"), "{text}");
    fs::remove_dir_all(rig.folder.path().join("blobs")).unwrap();
    let exported = rig.cache.export(None).unwrap();
    assert_eq!((exported.entries, exported.damaged.len()), (0, 3));
}

#[test]
fn of_two_answers_the_newer_is_kept() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    assert_eq!(import(&cache, &bundle(&[("A", "middle", 50)])).unwrap().added.len(), 1);
    assert_eq!(import(&cache, &bundle(&[("A", "old", 49)])).unwrap().kept_newer.len(), 1);
    assert_eq!(import(&cache, &bundle(&[("A", "new", 51)])).unwrap().added.len(), 1);
    // One from the future is as old as now, and no older for that.
    assert_eq!(import(&cache, &bundle(&[("A", "future", u64::from(u32::MAX))])).unwrap().added.len(), 1);
    assert_eq!(cache.list().unwrap().entries[0].fetched_at, NOW);
}

/// The date of issue counts, and not when somebody fetched it: an old revocation list does not come back this way.
#[tokio::test]
async fn an_older_document_that_was_fetched_later_replaces_nothing() {
    let rig = Rig::start().await;
    let need = [Need::IntelRootCrl];
    let export = async |month| {
        rig.server.on("/IntelSGXRootCA.der", [crate::rig::ok(rig.authority.crl(month))]);
        rig.client.gather(&need, Freshness::Refresh).await;
        rig.cache.export(None).unwrap().bytes
    };
    let (old, new) = (export(3).await, export(10).await);
    let later = String::from_utf8(old).unwrap();
    let mut later: Value = serde_json::from_str(&later).unwrap();
    later["entries"][0]["fetched_at"] = json!(NOW);
    later["entries"][0]["issued_at"] = json!("2030-01-01T00:00:00Z");
    later["entries"][0]["next_update"] = json!("2031-01-01T00:00:00Z");
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    cache.import(&new, NOW).unwrap();
    assert_eq!(import(&cache, &later).unwrap().kept_newer, need);
    assert_eq!(cache.list().unwrap().entries[0].issued_at.unwrap().to_string(), "2026-10-01T00:00:00Z");
}

#[test]
fn an_entry_that_answers_another_need_is_left_out_alone() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let mut two = bundle(&[("A", "a", 1), ("B", "b", 1)]);
    two["entries"][0]["need"] = json!({"kind": "intel-root-crl"});
    let imported = import(&cache, &two).unwrap();
    assert_eq!(imported.added, [Need::Rim { id: "B".into() }]);
    assert_eq!(imported.refused.len(), 1);
    assert_eq!(
        (&imported.refused[0].need, matches!(imported.refused[0].reason, Wrong::NotA { .. })),
        (&Need::IntelRootCrl, true)
    );
    assert_eq!(cache.list().unwrap().entries.len(), 1);
}

/// For every way to make a bundle bad: it is refused as a whole, and no file is written.
#[test]
fn bad_bundles_are_refused_before_anything_is_written() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(&folder.path().join("cache")).unwrap();
    import(&cache, &bundle(&[("KEPT", "kept", 1)])).unwrap();
    let before = files(folder.path());

    let good = || bundle(&[("A", "a", 1), ("B", "b", 2)]);
    let digest = Digest::of(b"<SoftwareIdentity>a</SoftwareIdentity>").to_string();
    let change = |pointer: &str, value: Value| {
        let mut bundle = good();
        *bundle.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        serde_json::to_vec(&bundle).unwrap()
    };
    let text = |from: &str, to: &str| good().to_string().replace(from, to).into_bytes();
    let many: Vec<(String, String)> = (0..10_000).map(|number| (format!("A{number}"), number.to_string())).collect();
    let many: Vec<(&str, &str, u64)> = many.iter().map(|(id, body)| (id.as_str(), body.as_str(), 1)).collect();
    let mut added = good();
    added["documents"][Digest::of(b"spare").to_string()] = STANDARD.encode("spare").into();
    let mut removed = good();
    removed["documents"].as_object_mut().unwrap().remove(&digest);
    let mut repeated = good();
    repeated["entries"][1] = repeated["entries"][0].clone();
    let huge = "A".repeat(1024 * 1024 + 1);
    let nine: Vec<Value> = vec![good()["entries"][0]["documents"][0].clone(); 10];
    let spaces = vec![b' '; 96 * 1024 * 1024 + 1];
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();

    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("it is no bundle", Vec::new()),
        ("it is no bundle", b"{}".to_vec()),
        ("it is no bundle", b"\x1f\x8b\x08".to_vec()),
        ("it is no bundle", deep),
        ("it is no bundle", text("\"entries\"", "\"other\"")),
        ("it is no bundle", text("\"url\"", "\"mode\":\"0777\",\"url\"")),
        ("it is no bundle", text("\"kind\":\"rim\",\"id\"", "\"kind\":\"new\",\"id\"")),
        ("it is no bundle", text(&digest, "../../../../etc/passwd")),
        ("it is no bundle", text(&digest, "..")),
        ("it is no bundle", change("/entries/0/documents/0/size", json!(-1))),
        ("it is no bundle", serde_json::to_vec(&good()).unwrap().repeat(2)),
        ("it is no bundle", {
            let all = serde_json::to_vec(&good()).unwrap();
            all[..all.len() - 9].to_vec()
        }),
        ("a bundle of format `casemate endorsements 2`", change("/format", json!("casemate endorsements 2"))),
        ("a bundle of 100663297 bytes", spaces),
        ("a bundle with 10000 entries; at most 4096 are read", serde_json::to_vec(&bundle(&many)).unwrap()),
        ("document ", change(&format!("/documents/{digest}"), json!(STANDARD.encode("other")))),
        ("document ", change(&format!("/documents/{digest}"), json!("%%%"))),
        ("document ", change("/entries/0/documents/0/size", json!(1))),
        ("document ", serde_json::to_vec(&added).unwrap()),
        ("document ", serde_json::to_vec(&removed).unwrap()),
        ("entry 2 (from 1) answers the same need", {
            repeated["documents"].as_object_mut().unwrap().retain(|key, _| *key == digest);
            serde_json::to_vec(&repeated).unwrap()
        }),
        ("entry 1 (from 1) is none", change("/entries/0/documents", json!([]))),
        ("entry 1 (from 1) is none", change("/entries/0/documents", json!(nine))),
        ("entry 1 (from 1) is none", change("/entries/0/documents/0/size", json!(u64::MAX))),
        ("entry 1 (from 1) is none", change("/entries/0/url", json!("x".repeat(1_025)))),
        ("entry 1 (from 1) is none", serde_json::to_vec(&bundle(&[("A", &huge, 1)])).unwrap()),
        ("entry 1 (from 1) is none", text("\"url\"", "\"variant\":\"../x\",\"url\"")),
    ];
    for (number, (expected, bytes)) in cases.into_iter().enumerate() {
        let error = cache.import(&bytes, NOW).expect_err(&format!("case {number}"));
        assert!(error.to_string().starts_with(expected), "case {number}: {error}");
        assert!(!error.could_not_tell() && error.hint().is_some(), "case {number}");
        assert_eq!(files(folder.path()), before, "case {number}");
    }
    assert!(import(&cache, &good()).is_ok(), "and the unchanged one is good");
}

/// Any byte changed: refused, or still whole. What is kept is always what its digest says.
#[test]
fn a_changed_byte_breaks_nothing() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    let good = serde_json::to_vec(&bundle(&[("A", "a", 1)])).unwrap();
    let mut taken = 0;
    for at in 0..good.len() {
        for mask in [1, 0x20, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= mask;
            taken += cache.import(&changed, NOW).map_or(0, |imported| imported.added.len());
        }
        assert!(cache.import(&good[..at], NOW).is_err());
    }
    assert!(taken > 0, "another id or address is another bundle, and a good one");
    assert_eq!(cache.verify(), Ok(Vec::new()));
}

/// Only a manifest says who signed it, so the standing of its signers is asked for once it is there: in one gathering, and
/// for whoever takes a part of the cache along.
#[tokio::test]
async fn a_manifest_brings_the_standing_of_its_signers() {
    let rig = Rig::start().await;
    let rim = testkit::rim::TestRim::new("GH100", "GPU", "550.144.03", &[(7, [7; 48])]);
    let rim = testkit::rim::RimAuthority::new().sign(&rim);
    let signers = verifier::rim::needs(rim.as_bytes());
    assert_eq!(signers.len(), 3);
    rig.server.on(RIM_PATH, [ok(examples::rim_answer(ID, &rim))]);
    let gathered = rig.client.gather(&[rim_need()], Freshness::Normal).await;
    let report: Vec<&Need> = gathered.report.iter().map(|status| &status.need).collect();
    assert_eq!(report, [&[rim_need()], signers.as_slice()].concat().iter().collect::<Vec<_>>());
    assert_eq!(gathered.endorsements.ocsp_responses().len(), 1, "the same answer three times is one document");

    let exported = rig.cache.export(Some(&[rim_need()])).unwrap();
    assert_eq!((exported.entries, exported.missing.len()), (4, 0));
    let folder = TempDir::new().unwrap();
    let other = Cache::open(folder.path()).unwrap();
    assert_eq!(other.import(&exported.bytes, NOW).unwrap().added.len(), 4);
    // A signer whose standing is not in the cache is named.
    assert_eq!(rig.cache.remove(&signers[1]), Ok(true));
    let exported = rig.cache.export(Some(&[rim_need()])).unwrap();
    assert_eq!((exported.entries, exported.missing.as_slice()), (3, &signers[1..2]));
}
