//! Workloads that must be refused, in `tests/corpus/refused`: what the policy cannot bind, it must not pretend to. The
//! errors are read as their user reads them, all in one file.

use std::fmt::Write as _;

use expect_test::expect_file;

use super::*;

#[test]
fn what_cannot_be_bound_is_refused_by_name_and_nothing_is_written() {
    let files = files(&folder().join("refused"));
    assert!(files.len() >= 40, "only {} workloads", files.len());
    let (mut text, mut taken) = (String::new(), Vec::new());
    for path in files {
        let work = Work::of(&path);
        let registry = Registry::with(images::options());
        match work.generate(&registry) {
            Ok(_) => taken.push(work.name.clone()),
            Err(error) => {
                let said = said(&error, work.dir.path());
                let everywhere = matches!(error, GenerateError::NoWorkload);
                assert!(everywhere || said.contains(&work.name), "{} does not say where: {said}", work.name);
                // What the parser of YAML says, and nobody else, may stand alone.
                assert!(error.hint().is_some() || matches!(error, GenerateError::Yaml { .. }), "no hint: {said}");
                writeln!(text, "{said}").unwrap();
            }
        }
        let left: Vec<_> =
            std::fs::read_dir(work.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        if !taken.contains(&work.name) {
            assert_eq!(left, ["resources"], "{}: something was written", work.name);
            assert_eq!(std::fs::read(work.path()).unwrap(), work.original, "{}: it was changed", work.name);
        }
    }
    assert!(taken.is_empty(), "taken: {}", taken.join(", "));
    expect_file!["../../tests/corpus/refused/errors.txt"].assert_eq(&text);
}
