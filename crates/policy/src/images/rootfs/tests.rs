use std::collections::BTreeMap;

use super::super::document::Packing;
use super::super::fake::archive::Tar;
use super::super::layer::scan;
use super::*;

fn read(archives: &[Tar], wanted: &BTreeSet<String>) -> Vec<Facts> {
    let scanned = archives.iter().map(|archive| {
        let archive = archive.clone().end();
        scan(archive.as_slice(), Packing::Plain, archive.len() as u64, wanted).unwrap()
    });
    scanned.collect()
}

/// The file of an image of these layers, bottom first, and how many were read from the top.
fn look(archives: &[Tar], path: &str) -> (Result<Option<String>, String>, usize) {
    let mut wanted = usual();
    let mut from = archives.len();
    loop {
        let facts = read(archives, &wanted);
        let layers: Vec<_> = facts.iter().enumerate().map(|(layer, facts)| (layer >= from).then_some(facts)).collect();
        match file(&layers, path) {
            Ok(Answer::Known(content)) => return (Ok(content), archives.len() - from),
            Ok(Answer::Layer(layer)) => {
                assert!(layer < from);
                from -= 1;
            }
            Ok(Answer::Path(path)) => {
                assert!(!wanted.contains(&path));
                want(&mut wanted, &path);
            }
            Err(reason) => return (Err(reason), archives.len() - from),
        }
    }
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn the_uppermost_layer_decides() {
    let base = || tar().dir("etc").file("etc/passwd", "base").file("etc/group", "groups");
    let cases: BTreeMap<&str, (Vec<Tar>, Option<&str>, usize)> = BTreeMap::from([
        ("nothing", (vec![], None, 0)),
        ("base alone", (vec![base()], Some("base"), 1)),
        ("replaced", (vec![base(), tar().dir("etc").file("etc/passwd", "new")], Some("new"), 1)),
        ("elsewhere", (vec![base(), tar().file("bin/x", "x"), tar().dir("etc")], Some("base"), 3)),
        ("deleted", (vec![base(), tar().dir("etc").file("etc/.wh.passwd", "")], None, 1)),
        ("folder deleted", (vec![base(), tar().file(".wh.etc", "")], None, 1)),
        ("folder emptied", (vec![base(), tar().dir("etc").file("etc/.wh..wh..opq", "")], None, 1)),
        ("root emptied", (vec![base(), tar().file(".wh..wh..opq", "")], None, 1)),
        (
            "back again",
            (vec![base(), tar().file("etc/.wh.passwd", ""), tar().dir("etc").file("etc/passwd", "b")], Some("b"), 1),
        ),
        ("deleted and filled", (vec![base(), tar().file(".wh.etc", "").file("etc/passwd", "c")], Some("c"), 1)),
        ("folder replaced by a file", (vec![base(), tar().file("etc", "")], None, 9)),
        (
            "link",
            (vec![tar().dir("etc").file("usr/lib/passwd", "l").link("etc/passwd", "../usr/lib/passwd")], Some("l"), 1),
        ),
        (
            "absolute link",
            (vec![tar().dir("etc").file("usr/lib/passwd", "l").link("etc/passwd", "/usr/lib/passwd")], Some("l"), 1),
        ),
        (
            "link that climbs",
            (
                vec![tar().dir("etc").file("usr/lib/passwd", "l").link("etc/passwd", "../../../../usr/./lib//passwd")],
                Some("l"),
                1,
            ),
        ),
        ("link to nothing", (vec![tar().dir("etc").link("etc/passwd", "nothing")], None, 1)),
        ("folder is a link", (vec![tar().file("usr/etc/passwd", "u").link("etc", "usr/etc")], Some("u"), 1)),
        (
            "both are links",
            (vec![tar().file("opt/a/passwd", "o").link("usr/etc", "../opt/a").link("etc", "/usr/etc")], Some("o"), 1),
        ),
        (
            "link across layers",
            (vec![tar().file("store/1/p", "s"), tar().dir("etc").link("etc/passwd", "/store/1/p")], Some("s"), 2),
        ),
        (
            "folder above a link",
            (vec![tar().file("usr/etc/passwd", "u").link("etc", "usr/etc"), tar().dir("etc")], None, 2),
        ),
        ("hard link", (vec![base(), tar().dir("etc").hard("etc/passwd", "etc/group")], Some("groups"), 2)),
        (
            "hard link elsewhere",
            (vec![tar().file("p", "below"), tar().dir("etc").hard("etc/passwd", "p").file("p", "x")], Some("below"), 2),
        ),
    ]);
    for (name, (layers, expected, read)) in cases {
        let (found, from) = look(&layers, PASSWD);
        if name == "folder replaced by a file" {
            assert!(found.unwrap_err().contains("not a folder"), "{name}");
            continue;
        }
        assert_eq!(found, Ok(expected.map(str::to_owned)), "{name}");
        assert_eq!(from, read, "{name}: layers read");
    }
}

#[test]
fn what_cannot_be_told_is_refused() {
    let loops = tar().dir("etc").link("etc/passwd", "group").link("etc/group", "passwd");
    let implied = vec![tar().file("usr/etc/passwd", "u").link("etc", "usr/etc"), tar().file("etc/hosts", "x")];
    for (name, layers, part) in [
        ("a loop", vec![loops], "more than 40 links"),
        ("a folder", vec![tar().dir("etc/passwd")], "it is a folder"),
        ("a device", vec![tar().dir("etc").raw("etc/passwd", b'4', "", 0, b"")], "a device"),
        ("too long", vec![tar().dir("etc").file("etc/passwd", &"x".repeat(1_048_577))], "longer than 1 MiB"),
        ("a folder over a link that is not said", implied, "a link or a file in layer 1"),
        ("a hard link to nothing", vec![tar().dir("etc").hard("etc/passwd", "usr/lib/passwd")], "does not exist"),
        ("a file on the way", vec![tar().file("f", "").dir("etc").link("etc/passwd", "../f/x")], "not a folder"),
    ] {
        let (found, _) = look(&layers, PASSWD);
        let reason = found.unwrap_err();
        assert!(reason.contains(part), "{name}: {reason}");
    }
}
