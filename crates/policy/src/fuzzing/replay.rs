//! What the fuzzer has found, and what it starts from, as an ordinary test.

use std::path::{Path, PathBuf};

use super::TARGETS;

pub(super) fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

#[test]
fn every_file_of_the_fuzzers_corpus_is_read_without_a_panic() {
    for (name, run) in TARGETS {
        let entries = std::fs::read_dir(folder(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{name} has {} inputs to start from", files.len());
        for file in files {
            run(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_takes_what_no_reader_expects() {
    for (_, run) in TARGETS {
        for bytes in [&[][..], &[0], &[0xff; 3], b"{}", b"[[[[", b"- - - -", b"\xef\xbb\xbf", &[0; 1024], &[0x5d; 5000]]
        {
            run(bytes);
        }
    }
}

/// What ships has no corpus of another crate, and no file of this one has another's name.
#[test]
fn every_folder_of_ours_has_a_target() {
    for entry in std::fs::read_dir(folder("")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with("policy-") || super::find(&name).is_some(), "{name}");
    }
}

/// What the fuzzer does without knowing what it reaches: a few changes at random to each of its inputs. The numbers are
/// the same in every run; `CASEMATE_MUTATIONS` makes more of them.
#[test]
fn mutations_of_the_corpus_are_read_without_a_panic() {
    let rounds = std::env::var("CASEMATE_MUTATIONS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // xorshift64 (Marsaglia 2003).
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    const PIECES: [&[u8]; 24] = [
        b"\n",
        b" ",
        b"\t",
        b"#",
        b": ",
        b"- ",
        b"|",
        b">",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\"",
        b"'",
        b"&a ",
        b"*a",
        b"---\n",
        b"\r\n",
        b"<<: ",
        b"\0",
        b"\xff",
        b"null",
        b"99999999999999999999",
    ];
    for (name, run) in TARGETS {
        let files: Vec<Vec<u8>> = std::fs::read_dir(folder(name))
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        for round in 0..rounds {
            for file in &files {
                let mut bytes = file.clone();
                for _ in 0..=random(4) {
                    let at = random(bytes.len() + 1);
                    let end = at + random(20).min(bytes.len() - at);
                    match random(5) {
                        0 => drop(bytes.drain(at..end)),
                        1 => drop(bytes.splice(at..at, PIECES[random(PIECES.len())].iter().copied())),
                        2 if at < bytes.len() => bytes[at] ^= 1 << random(8),
                        3 => {
                            let copied = bytes[at..end].to_vec();
                            let to = random(bytes.len() + 1);
                            drop(bytes.splice(to..to, copied));
                        }
                        _ => {
                            let other = &files[random(files.len())];
                            let from = random(other.len() + 1);
                            let piece = other[from..(from + 40).min(other.len())].to_vec();
                            drop(bytes.splice(at..end, piece));
                        }
                    }
                }
                let read = std::panic::catch_unwind(|| run(&bytes));
                assert!(read.is_ok(), "{name}, round {round}: {}", bytes.escape_ascii());
            }
        }
    }
}
