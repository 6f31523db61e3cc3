use std::io::Write as _;

use super::super::fake::archive::Tar;
use super::super::fake::{GZIP, PLAIN, ZSTD, digest_of, pack};
use super::super::rootfs::usual;
use super::*;

fn scan_plain(archive: Tar) -> Result<BTreeMap<String, Fact>, LayerError> {
    let archive = archive.end();
    let facts = scan(archive.as_slice(), Packing::Plain, archive.len() as u64, &usual())?;
    assert_eq!((facts.diff_id, facts.unpacked), (digest_of(&archive), archive.len() as u64));
    Ok(facts.found)
}

fn found(archive: Tar, path: &str) -> Option<Fact> {
    scan_plain(archive).unwrap().remove(path)
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what is found")]
fn text(text: &str) -> Option<Fact> {
    Some(Fact::File(text.into()))
}

#[test]
fn all_packings_give_the_same_facts() {
    let noise: Vec<String> = (0..40_000_u32).map(|number| format!("{number:x}")).collect();
    let noise = noise.concat();
    let archive = Tar::default().dir("etc").file("etc/passwd", "root:x:0:0\n").file("bin/noise", &noise).end();
    let mut all = Vec::new();
    for (packing, media_type) in [(Packing::Plain, PLAIN), (Packing::Gzip, GZIP), (Packing::Zstd, ZSTD)] {
        let packed = pack(&archive, media_type).content;
        let facts = scan(packed.as_slice(), packing, packed.len() as u64, &usual()).unwrap();
        assert_eq!(facts.diff_id, digest_of(&archive));
        all.push(facts);
        for other in [Packing::Plain, Packing::Gzip, Packing::Zstd].into_iter().filter(|other| *other != packing) {
            let error = scan(packed.as_slice(), other, packed.len() as u64, &usual()).unwrap_err();
            assert!(matches!(error, LayerError::Packing { .. }), "{error}");
        }
        // Cut off anywhere, a packed layer is refused.
        if packing != Packing::Plain {
            for end in [20, packed.len() / 2, packed.len() - 3] {
                assert!(scan(&packed[..end], packing, packed.len() as u64, &usual()).is_err(), "{packing:?} {end}");
            }
        }
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    // Builders write gzip in members and zstd in frames, some of them to be skipped.
    let (one, two) = archive.split_at(1000);
    let gzip = [pack(one, GZIP).content, pack(two, GZIP).content].concat();
    assert_eq!(scan(gzip.as_slice(), Packing::Gzip, 1000, &usual()).unwrap(), all[0]);
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let zstd = [&skipped[..], &pack(one, ZSTD).content, &skipped, &pack(two, ZSTD).content, &skipped].concat();
    assert_eq!(scan(zstd.as_slice(), Packing::Zstd, 1000, &usual()).unwrap(), all[0]);
    let cut = [&pack(&archive, ZSTD).content[..], &skipped[..9]].concat();
    assert!(scan(cut.as_slice(), Packing::Zstd, 1000, &usual()).is_err());
}

#[test]
fn the_last_word_of_a_layer_counts() {
    let twice = Tar::default().file("etc/passwd", "one").file("./etc/passwd", "two");
    assert_eq!(found(twice, "etc/passwd"), text("two"));
    let replaced = Tar::default().file("etc/passwd", "one").link("etc", "usr/etc");
    let replaced = scan_plain(replaced).unwrap();
    assert_eq!(replaced.get("etc"), Some(&Fact::Symlink("usr/etc".into())));
    assert_eq!(replaced.get("etc/passwd"), None);
    let back = Tar::default().link("etc", "usr/etc").dir("etc").file("etc/passwd", "x");
    assert_eq!(found(back, "etc"), Some(Fact::Directory { opaque: true, implied: false }));
}

#[test]
fn whiteouts_hide_what_is_below() {
    assert_eq!(found(Tar::default().file("etc/.wh.passwd", ""), "etc/passwd"), Some(Fact::Whiteout));
    assert_eq!(found(Tar::default().file(".wh.etc", ""), "etc"), Some(Fact::Whiteout));
    let opaque = Some(Fact::Directory { opaque: true, implied: true });
    assert_eq!(found(Tar::default().file("etc/.wh..wh..opq", ""), "etc"), opaque);
    let again = Tar::default().file(".wh.etc", "").dir("etc").file("etc/passwd", "new");
    assert_eq!(found(again, "etc"), Some(Fact::Directory { opaque: true, implied: false }));
    let anew = Tar::default().file("etc/.wh.passwd", "").file("etc/passwd", "new");
    assert_eq!(found(anew, "etc/passwd"), text("new"));
    let aufs = Tar::default().dir(".wh..wh.plnk").file(".wh..wh.plnk/etc", "x");
    assert_eq!(scan_plain(aufs).unwrap(), BTreeMap::new());
    for strange in [
        Tar::default().file("etc/passwd", "x").file("etc/.wh.passwd", ""),
        Tar::default().file("etc/.wh.", ""),
        Tar::default().file("etc/.wh...", ""),
        Tar::default().link("etc", "usr/etc").file("etc/.wh..wh..opq", ""),
        Tar::default().link("etc", "usr/etc").file("etc/passwd", "x"),
        Tar::default().file("etc", "").file("etc/other", "x"),
    ] {
        let error = scan_plain(strange).unwrap_err();
        assert!(matches!(error, LayerError::Ambiguous { .. }), "{error}");
    }
}

#[test]
fn hard_links_are_what_they_name() {
    let same =
        Tar::default().file("usr/lib/passwd", "x").hard("etc/passwd", "./usr/lib/passwd").file("usr/lib/passwd", "y");
    assert_eq!(found(same, "etc/passwd"), text("x"));
    let below = Tar::default().hard("etc/passwd", "/opt/users");
    assert_eq!(found(below, "etc/passwd"), Some(Fact::Hardlink("opt/users".into())));
    assert!(scan_plain(Tar::default().dir("usr/lib").hard("etc/passwd", "usr/lib")).is_err());
}

#[test]
fn files_beyond_the_limit_and_with_holes_are_not_read() {
    let long = "x".repeat(usize::try_from(MAX_USER_FILE).unwrap() + 1);
    assert_eq!(found(Tar::default().file("etc/passwd", &long), "etc/passwd"), Some(Fact::Strange));
    assert_eq!(found(Tar::default().file("etc/passwd", &long[1..]), "etc/passwd"), text(&long[1..]));
    let sparse = Tar::default().pax("GNU.sparse.name", "etc/passwd").file("GNUSparseFile.0/passwd", "x");
    assert_eq!(found(sparse, "etc/passwd"), Some(Fact::Strange));
    let device = Tar::default().raw("etc/passwd", b'3', "", 0, b"");
    assert_eq!(found(device, "etc/passwd"), Some(Fact::Other));
}

#[test]
fn a_layer_that_unpacks_without_end_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    encoder.write_all(&Tar::default().raw("zeros", b'0', "", 400 << 20, b"").0).unwrap();
    for _ in 0..400 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    // As if it had a few bytes only: the limit is by the size in the descriptor.
    let error = scan(bomb.as_slice(), Packing::Gzip, 100, &usual()).unwrap_err();
    assert!(error.to_string().contains("it unpacks to more than"), "{error}");
}
