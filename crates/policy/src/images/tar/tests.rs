use super::super::fake::archive::Tar;
use super::*;

fn entries(archive: &[u8]) -> Result<Vec<Entry>, TarError> {
    let mut archive = Archive::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next()? {
        entries.push(entry);
    }
    Ok(entries)
}

fn paths(archive: Tar) -> Vec<String> {
    entries(&archive.end()).unwrap().into_iter().map(|entry| entry.path).collect()
}

#[test]
fn names_are_read_in_all_their_forms() {
    let long = format!("{}/file", "d".repeat(200));
    let archive = Tar::default()
        .file("./etc/passwd", "one")
        .file("/etc//group", "two")
        .dir("etc/")
        .pax("path", &long)
        .file("short", "three")
        .long(b'L', &long)
        .file("short", "four")
        .file("after", "");
    assert_eq!(paths(archive), ["etc/passwd", "etc/group", "etc", &long, &long, "after"]);

    // The POSIX prefix, which the old GNU format uses for other things.
    let mut header = [0_u8; 512];
    header[..4].copy_from_slice(b"name");
    header[124..135].copy_from_slice(b"00000000000");
    header[156] = b'0';
    header[345..351].copy_from_slice(b"prefix");
    let mut gnu = header;
    header[257..265].copy_from_slice(b"ustar\x0000");
    gnu[257..265].copy_from_slice(b"ustar  \0");
    let mut archive = Tar::default();
    archive.header(header);
    archive.header(gnu);
    assert_eq!(paths(archive), ["prefix/name", "name"]);
}

#[test]
fn contents_are_read_or_skipped() {
    let archive = Tar::default().file("a", "content of a").file("b", &"x".repeat(1000)).file("c", "c").end();
    let mut archive = Archive::new(archive.as_slice());
    archive.next().unwrap();
    assert_eq!(archive.read(100).unwrap().unwrap(), b"content of a");
    assert_eq!(archive.next().unwrap().unwrap().size, 1000);
    assert_eq!(archive.read(999).unwrap(), None);
    assert_eq!(archive.next().unwrap().unwrap().path, "c");
    assert_eq!(archive.next().unwrap(), None);

    // The size of a PAX header counts.
    let archive = Tar::default().pax("size", "3").raw("a", b'0', "", 0, b"abc").file("b", "").end();
    let read = entries(&archive).unwrap();
    assert_eq!((read[0].size, read[1].path.as_str()), (3, "b"));
    // GNU's binary numbers.
    let mut header = [0_u8; 512];
    header[0] = b'a';
    header[124] = 0x80;
    header[135] = 7;
    header[156] = b'0';
    let mut archive = Tar::default();
    archive.header(header);
    archive.0.extend_from_slice(&[0; 512]);
    assert_eq!(entries(&archive.end()).unwrap()[0].size, 7);
}

#[test]
fn an_archive_may_end_without_its_end() {
    assert_eq!(entries(b"").unwrap(), []);
    assert_eq!(entries(&Tar::default().file("a", "b").0).unwrap().len(), 1);
    assert_eq!(entries(&[0; 512]).unwrap(), []);
}

#[test]
fn what_readers_understand_differently_is_refused() {
    let file = Tar::default().file("a", "content");
    let mut checksum = file.0.clone();
    checksum[0] = b'b';
    let one_empty_block = [file.0.as_slice(), &[0; 512], &file.0].concat();
    let global = Tar::default().raw("g", b'g', "", 13, b"13 path=etc/\n");
    for (name, archive) in [
        ("climbing", Tar::default().file("../etc/passwd", "x").end()),
        ("climbing inside", Tar::default().file("etc/../etc/passwd", "x").end()),
        ("climbing by PAX", Tar::default().pax("path", "../../etc/passwd").file("a", "x").end()),
        ("climbing hard link", Tar::default().hard("etc/passwd", "../secret").end()),
        ("NUL by PAX", Tar::default().pax("path", "a\0b").file("a", "x").end()),
        ("symbolic link with content", Tar::default().raw("a", b'2', "b", 512, &[0; 512]).end()),
        ("hard link with content", Tar::default().raw("a", b'1', "b", 3, b"abc").end()),
        ("folder with content", Tar::default().raw("a", b'5', "", 3, b"abc").end()),
        ("unknown kind", Tar::default().raw("a", b'V', "", 0, b"").end()),
        ("checksum", checksum),
        ("one empty block", one_empty_block),
        ("global path", global.end()),
        ("no header", vec![b'x'; 1024]),
        ("part of a header", vec![0; 100]),
        ("size beyond the end", Tar::default().raw("a", b'0', "", 1 << 20, b"abc").0),
        ("size beyond all files", Tar::default().pax("size", &u64::MAX.to_string()).file("a", "").end()),
        ("negative size", Tar::default().pax("size", "-1").file("a", "").end()),
        ("long name beyond limits", Tar::default().raw("a", b'L', "", MAX_SPECIAL + 1, b"").end()),
        ("PAX beyond limits", Tar::default().raw("a", b'x', "", 1 << 32, b"").end()),
        ("PAX without a name", Tar::default().raw("a", b'x', "", 5, b"5 ab\n").end()),
        ("PAX with a wrong length", Tar::default().raw("a", b'x', "", 9, b"99 a=bcd\n").end()),
        ("PAX of length 0", Tar::default().raw("a", b'x', "", 9, b"0 a=bcde\n").end()),
    ] {
        assert!(entries(&archive).is_err(), "{name}: {:?}", entries(&archive));
    }
    let mut header = [0_u8; 512];
    header[0] = b'a';
    header[124..136].copy_from_slice(&[0xff; 12]);
    let mut archive = Tar::default();
    archive.header(header);
    assert!(entries(&archive.end()).is_err());
}

#[test]
fn no_change_of_one_byte_makes_it_panic_or_move_a_cursor() {
    let archive = Tar::default()
        .pax("path", "etc/passwd")
        .file("a", "root")
        .long(b'L', "etc/group")
        .file("b", "x")
        .hard("c", "etc/group")
        .end();
    for at in 0..archive.len() {
        for value in [0, 0x1b, 0x7f, 0x80, 0xff, b'7', b'S'] {
            let mut changed = archive.clone();
            changed[at] = value;
            if let Err(error) = entries(&changed) {
                assert!(error.to_string().chars().all(protocol::text::is_printable), "{error:?}");
            }
        }
        let _ = entries(&archive[..at]);
    }
}
