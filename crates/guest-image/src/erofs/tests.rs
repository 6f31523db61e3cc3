use std::collections::BTreeMap;
use std::process::Command;

use super::*;
use crate::tree::{Content, Kind, Node, Piece, Tree};

fn node(mode: u16, kind: Kind) -> Node {
    Node { mode, uid: 70_000, gid: 5, xattrs: BTreeMap::new(), kind }
}

/// A tree with one of everything, a folder of several blocks, and a name of every length.
fn tree() -> Tree {
    let mut tree = Tree::default();
    let mut file = node(0o4755, Kind::File(Content::bytes(b"setuid")));
    file.xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 0, 2]);
    file.xattrs.insert(b"user.a".to_vec(), vec![]);
    let id = tree.put("/usr/bin/one", file).unwrap();
    let folder = tree.find("/usr").unwrap();
    tree.name(folder, b"hard", id);
    let sparse = vec![Piece::Zeros(5000), Piece::Image { offset: 3, length: 4097 }, Piece::Bytes([1; 3].into())];
    tree.put("/data", node(0o600, Kind::File(Content(sparse)))).unwrap();
    tree.put("/empty", node(0, Kind::File(Content::default()))).unwrap();
    tree.put("/link", node(0o777, Kind::Link(b"usr/bin/one".to_vec()))).unwrap();
    tree.put("/dev/null", node(0o666, Kind::Char(1, 3))).unwrap();
    tree.put("/dev/disk", node(0o660, Kind::Block(259, 70_000))).unwrap();
    tree.put("/dev/pipe", node(0o600, Kind::Fifo)).unwrap();
    tree.put("/dev/socket", node(0o600, Kind::Socket)).unwrap();
    for length in 1..=255 {
        let name = format!("/many/{}", "n".repeat(length));
        tree.put(&name, node(0o644, Kind::File(Content::bytes(&[7; 10])))).unwrap();
    }
    tree.put("/sticky", node(0o1777, Kind::Folder(BTreeMap::new()))).unwrap();
    tree
}

fn image() -> Vec<u8> {
    (0..251).cycle().take(10_000).collect()
}

fn written(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    let blocks = write(tree, &image(), &mut out).unwrap();
    assert_eq!(out.len() as u64, blocks * BLOCK as u64);
    out
}

/// A tree as text: all paths with what is there.
fn listing(tree: &Tree, image: &[u8]) -> Vec<String> {
    let image = image.to_vec();
    let links: BTreeMap<_, _> = tree.walk().into_iter().collect();
    let mut lines = Vec::new();
    let mut waiting = vec![(String::new(), Tree::ROOT)];
    while let Some((path, id)) = waiting.pop() {
        let node = tree.node(id).unwrap();
        let kind = match &node.kind {
            Kind::Folder(_) => "folder".to_owned(),
            Kind::File(content) => format!("{:?}", content.read(&image, 1 << 20).unwrap().unwrap()),
            other => format!("{other:?}"),
        };
        let xattrs = &node.xattrs;
        lines.push(format!("{path} {:o} {} {} {} {xattrs:?} {kind}", node.mode, node.uid, node.gid, links[&id]));
        waiting
            .extend(tree.entries(id).map(|(name, inner)| (format!("{path}/{}", String::from_utf8_lossy(name)), inner)));
    }
    lines.sort();
    lines
}

#[test]
fn a_tree_is_read_as_it_was_written() {
    let tree = tree();
    let out = written(&tree);
    assert_eq!(listing(&read(&out).unwrap(), &out), listing(&tree, &image()));
    assert_eq!(listing(&read(&written(&Tree::default())).unwrap(), &[]).len(), 1);
}

#[test]
fn the_same_tree_is_the_same_bytes_whatever_the_order_in_which_it_came() {
    let one = written(&tree());
    assert_eq!(one, written(&tree()));
    // What was read has its nodes in another order, and its contents elsewhere.
    let again = read(&one).unwrap();
    let mut out = Vec::new();
    write(&again, &one, &mut out).unwrap();
    assert_eq!(out, one);
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn other_programs_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    std::fs::write(&file, written(&tree())).unwrap();
    let Ok(output) = Command::new("fsck.erofs").arg(&file).output() else {
        println!("SKIPPED: there is no `fsck.erofs` (Debian: erofs-utils)");
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let dump = Command::new("dump.erofs").args(["--path=/usr/bin/one"]).arg(&file).output().unwrap();
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    for expected in ["Size: 6", "Links: 2", "Uid: 70000", "Gid: 5", "0755"] {
        assert!(dump.contains(expected), "{expected}: {dump}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn what_mkfs_makes_is_read_and_what_it_compresses_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("inner")).unwrap();
    std::fs::write(source.join("inner/small"), b"small").unwrap();
    std::fs::write(source.join("large"), vec![5; 20_000]).unwrap();
    std::os::unix::fs::symlink("inner/small", source.join("link")).unwrap();
    let make = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let made = Command::new("mkfs.erofs").args(more).arg(&file).arg(&source).output();
        made.ok().map(|made| {
            assert!(made.status.success(), "{made:?}");
            std::fs::read(file).unwrap()
        })
    };
    let Some(plain) = make("plain", &[]) else {
        println!("SKIPPED: there is no `mkfs.erofs` (Debian: erofs-utils)");
        return;
    };
    let tree = read(&plain).unwrap();
    for (path, expected) in [("/link", b"small".to_vec()), ("/large", vec![5; 20_000])] {
        assert_eq!(tree.file(path).unwrap().1.read(&plain, 1 << 20).unwrap().unwrap(), expected, "{path}");
    }
    if let Some(compressed) = make("compressed", &["-zlz4hc"]) {
        let error = read(&compressed).unwrap_err().to_string();
        assert!(error.contains("compress"), "{error}");
    }
}

#[test]
fn damage_is_an_error_or_another_tree_and_never_a_panic() {
    let good = written(&tree());
    let (mut refused, mut read_anyway) = (0, 0);
    // Every byte of the superblock and of the first inodes, and some of the folders.
    let spots =
        (SUPER..SUPER + SUPER_SIZE).chain((BLOCK..BLOCK + 4096).step_by(3)).chain((6 * BLOCK..12 * BLOCK).step_by(97));
    for at in spots {
        for change in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= change;
            match read(&bad) {
                Ok(_) => read_anyway += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100 && read_anyway > 100, "{refused} {read_anyway}");
    for length in [0, 1024, 1100, 4096, 5000, good.len() / 2] {
        let _ = read(&good[..length].to_vec());
    }
}

#[test]
fn features_that_are_not_read_are_named() {
    let good = written(&tree());
    let with = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[SUPER + at] = value;
        read(&bad).unwrap_err().to_string()
    };
    for (at, value, expected) in [
        (0, 0, "no EROFS"),
        (12, 9, "blocks of 2^9 bytes"),
        (80, 1, "compression"),
        (80, 4, "features 0x4"),
        (90, 1, "large folder blocks"),
    ] {
        let error = with(at, value);
        assert!(error.contains(expected), "{at} {value}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let write_one = |change: &dyn Fn(&mut Node)| {
        let mut one = node(0o644, Kind::File(Content::default()));
        change(&mut one);
        let mut tree = Tree::default();
        tree.put("/one", one).unwrap();
        write(&tree, &Vec::new(), &mut Vec::new()).unwrap_err().to_string()
    };
    let with = |name: &str, value: usize| {
        let (name, value) = (name.as_bytes().to_vec(), vec![0; value]);
        write_one(&|node| drop(node.xattrs.insert(name.clone(), value.clone())))
    };
    assert!(with("system.posix_acl_access", 4).contains("system.posix_acl_access"));
    assert!(with("user.a", 65_536).contains("65536"));
    assert!(with(&format!("user.{}", "n".repeat(256)), 1).contains("256"));
    assert!(write_one(&|node| node.kind = Kind::Char(4096, 0)).contains("major number 4096"));
    assert!(write_one(&|node| node.kind = Kind::Block(0, 1 << 20)).contains("minor number 1048576"));
    // Contents that the image does not have.
    let outside = Content(vec![Piece::Image { offset: 0, length: 10 }]);
    assert!(write_one(&|node| node.kind = Kind::File(outside.clone())).contains("copy contents"));
}
