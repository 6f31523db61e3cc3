//! What the fuzzer has found, and what it starts from, as an ordinary test.

use std::path::Path;

use crate::targets::TARGETS;

#[test]
fn every_file_of_the_fuzzers_corpus_is_judged_without_a_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for target in TARGETS {
        let folder = corpus.join(target.name);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{} has no seed", folder.display());
        for file in files {
            target.run(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_takes_what_no_parser_expects() {
    for target in TARGETS {
        for bytes in [&[][..], &[0], &[0xff; 3], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0; 1184], &[0xff; 5000]] {
            target.run(bytes);
        }
    }
}
