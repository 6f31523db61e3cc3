use tempfile::TempDir;

use super::*;

fn rim(id: &str, body: &str, fetched_at: u64) -> Stored {
    Stored {
        need: Need::Rim { id: id.into() },
        variant: String::new(),
        url: format!("https://a.example/{id}"),
        fetched_at: UnixTime(fetched_at),
        documents: vec![Document {
            kind: EndorsementKind::Rim,
            bytes: format!("<SoftwareIdentity>{body}</SoftwareIdentity>").into_bytes(),
        }],
        kept: Vec::new(),
    }
}

fn key_of(stored: &Stored) -> Digest {
    key(&stored.need, &stored.variant)
}

fn cache() -> (TempDir, Cache) {
    let folder = TempDir::new().unwrap();
    let cache = Cache::open(&folder.path().join("a/b")).unwrap();
    (folder, cache)
}

#[test]
fn what_is_kept_comes_back() {
    let (_folder, cache) = cache();
    let stored = rim("A", "1", 5);
    assert_eq!(cache.get(&key_of(&stored)), Ok(None));
    cache.put(&stored).1.unwrap();
    assert_eq!(cache.get(&key_of(&stored)), Ok(Some(stored.clone())));
    let listing = cache.list().unwrap();
    assert_eq!(listing, Listing { entries: vec![stored.entry()], damaged: Vec::new() });
    assert_eq!((listing.entries[0].age(UnixTime(7)), listing.entries[0].is_stale(UnixTime(7))), (2, false));
    assert_eq!(cache.remove(&stored.need), Ok(true));
    assert_eq!(cache.remove(&stored.need), Ok(false));
    assert_eq!((cache.list().unwrap(), files(&cache.blobs()).unwrap().len()), (Listing::default(), 0));
}

#[test]
fn a_newer_answer_replaces_the_older_and_its_document() {
    let (_folder, cache) = cache();
    cache.put(&rim("A", "1", 5)).1.unwrap();
    cache.put(&rim("A", "2", 6)).1.unwrap();
    assert_eq!(cache.list().unwrap().entries, [rim("A", "2", 6).entry()]);
    assert_eq!(files(&cache.blobs()).unwrap().len(), 1);
}

/// For every way to damage a file: it is named, and the rest stays.
#[test]
fn damage_is_named_passed_over_and_replaced() {
    type Harm = fn(&Cache, &Stored);
    let blob = |cache: &Cache, stored: &Stored| cache.blob_path(&Digest::of(&stored.documents[0].bytes));
    let cases: [(&str, Harm); 11] = [
        ("is missing", |cache, stored| {
            fs::remove_file(cache.blob_path(&Digest::of(&stored.documents[0].bytes))).unwrap();
        }),
        ("has changed since it was written", |cache, stored| {
            let path = cache.blob_path(&Digest::of(&stored.documents[0].bytes));
            let mut bytes = fs::read(&path).unwrap();
            bytes[20] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("has changed since it was written", |cache, stored| {
            fs::write(cache.blob_path(&Digest::of(&stored.documents[0].bytes)), "").unwrap();
        }),
        ("has changed since it was written", |cache, stored| {
            let path = cache.blob_path(&Digest::of(&stored.documents[0].bytes));
            File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
        }),
        ("is no entry", |cache, stored| fs::write(cache.entry_path(&key_of(stored)), "").unwrap()),
        ("is no entry", |cache, stored| fs::write(cache.entry_path(&key_of(stored)), "{\"need\":").unwrap()),
        ("is no entry", |cache, stored| {
            fs::write(cache.entry_path(&key_of(stored)), vec![b' '; usize::try_from(MAX_ENTRY).unwrap() + 1]).unwrap();
        }),
        ("is no entry", |cache, stored| {
            let path = cache.entry_path(&key_of(stored));
            fs::remove_file(&path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("is no entry", |cache, stored| {
            let path = cache.entry_path(&key_of(stored));
            let text = fs::read_to_string(&path).unwrap().replace("\"url\"", "\"extra\": 1, \"url\"");
            fs::write(path, text).unwrap();
        }),
        ("is the entry of something else", |cache, stored| {
            fs::copy(cache.entry_path(&key_of(&rim("B", "b", 1))), cache.entry_path(&key_of(stored)))
                .map(drop)
                .unwrap();
        }),
        ("is not what was asked for: no rim", |cache, stored| {
            let bytes = b"no manifest at all";
            let mut entry = stored.entry();
            entry.documents = vec![Item { kind: EndorsementKind::Rim, sha256: Digest::of(bytes), size: 18 }];
            fs::write(cache.blob_path(&Digest::of(bytes)), bytes).unwrap();
            fs::write(cache.entry_path(&key_of(stored)), serde_json::to_vec(&entry).unwrap()).unwrap();
        }),
    ];
    for (number, (expected, harm)) in cases.into_iter().enumerate() {
        let (_folder, cache) = cache();
        let (stored, other) = (rim("A", "a", 1), rim("B", "b", 1));
        cache.put(&stored).1.unwrap();
        cache.put(&other).1.unwrap();
        harm(&cache, &stored);
        let error = cache.get(&key_of(&stored)).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{number}: {error}");
        assert_eq!(cache.verify().unwrap(), [error], "{number}");
        assert_eq!(cache.get(&key_of(&other)), Ok(Some(other.clone())), "{number}");
        let place = cache.entry_path(&key_of(&stored));
        if place.is_dir() {
            fs::remove_dir(place).unwrap();
        }
        cache.put(&stored).1.unwrap();
        assert_eq!(
            (cache.get(&key_of(&stored)), cache.verify()),
            (Ok(Some(stored.clone())), Ok(Vec::new())),
            "{number}"
        );
        assert!(blob(&cache, &stored).is_file());
    }
}

#[test]
fn an_entry_cannot_name_a_file_outside() {
    let (_folder, cache) = cache();
    let stored = rim("A", "a", 1);
    cache.put(&stored).1.unwrap();
    let path = cache.entry_path(&key_of(&stored));
    let digest = Digest::of(&stored.documents[0].bytes).to_string();
    let text = fs::read_to_string(&path).unwrap().replace(&digest, "../../../../../../../etc/passwd");
    fs::write(&path, text).unwrap();
    assert_eq!(
        cache.get(&key_of(&stored)),
        Err(CacheError::Damaged { path, damage: Damage::NotAnEntry }),
        "what is no digest names no file"
    );
}

#[test]
fn what_a_killed_writer_left_is_removed_by_the_next() {
    let (_folder, cache) = cache();
    // Before the rename; after the documents and before the entry; and a foreign file.
    fs::write(cache.temporary().join("123-0"), "half of a docu").unwrap();
    fs::write(cache.blob_path(&Digest::of(b"whole")), "whole").unwrap();
    fs::write(cache.blobs().join("README"), "").unwrap();
    assert_eq!((cache.list(), cache.verify()), (Ok(Listing::default()), Ok(Vec::new())));
    cache.put(&rim("A", "a", 1)).1.unwrap();
    assert_eq!((files(&cache.temporary()).unwrap().len(), files(&cache.blobs()).unwrap().len()), (0, 1));
    assert_eq!(cache.verify(), Ok(Vec::new()));
}

#[test]
fn the_cache_keeps_to_its_size_and_forgets_what_is_oldest() {
    let (_folder, cache) = cache();
    let cache = cache.with_max_bytes(250);
    for (name, time) in [("A", 3), ("B", 1), ("C", 2)] {
        // 38 characters around 62: 100 bytes, without those of the name.
        cache.put(&rim(name, &name.repeat(62), time)).1.unwrap();
    }
    let ids = |cache: &Cache| cache.list().unwrap().entries.iter().map(|entry| entry.url.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&cache), ["https://a.example/A", "https://a.example/C"]);
    // One that is larger than everything allowed is still kept: somebody has just asked for it.
    cache.put(&rim("D", &"D".repeat(400), 0)).1.unwrap();
    assert_eq!(ids(&cache), ["https://a.example/D"]);
    assert_eq!((files(&cache.blobs()).unwrap().len(), cache.verify()), (1, Ok(Vec::new())));
}

#[test]
fn a_document_that_two_entries_share_is_kept_once_and_stays_with_the_second() {
    let (_folder, cache) = cache();
    cache.put(&rim("A", "same", 1)).1.unwrap();
    cache.put(&rim("B", "same", 2)).1.unwrap();
    assert_eq!(files(&cache.blobs()).unwrap().len(), 1);
    cache.remove(&rim("A", "", 0).need).unwrap();
    assert_eq!(cache.verify(), Ok(Vec::new()));
    assert_eq!(cache.list().unwrap().entries.len(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (folder, _) = cache();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Cache::open(&file).unwrap_err();
    assert!(matches!(&error, CacheError::Io { action: "create", path, .. } if path.starts_with(&file)), "{error}");
}
