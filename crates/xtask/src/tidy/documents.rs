//! Rules about documents: what they name must exist.

use std::collections::BTreeSet;

use super::{File, Finding};
use crate::workspace::Metadata;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const SPECIFICATION: &str = "SPECIFICATION.md";
const DECISIONS: &str = "docs/decisions/";
/// The promises of the design.
const PROMISES: [&str; 9] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"];

/// All rules about documents.
pub(super) fn check(metadata: &Metadata, files: &[File]) -> Vec<Finding> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let mut findings = Vec::new();
    match text(ARCHITECTURE) {
        Some(text) => {
            let crates: Vec<&str> = metadata.members().map(|package| package.name.as_str()).collect();
            findings.extend(code_map(text, &crates));
            findings.extend(decision_index(text, files));
        }
        None => findings.push(Finding::error(ARCHITECTURE, "is missing")),
    }
    findings.extend(files.iter().flat_map(|file| cited_decisions(file, files)));
    match text(SPECIFICATION) {
        Some(text) => findings.extend(promises(text, &test_names(files))),
        None => findings.push(Finding::warning(SPECIFICATION, "is not written yet")),
    }
    findings.extend(files.iter().filter(|file| file.has_extension("md")).flat_map(|file| links(file, files)));
    findings
}

/// Every crate is in the code map.
fn code_map(text: &str, crates: &[&str]) -> Vec<Finding> {
    let missing = crates.iter().filter(|name| !text.contains(&format!("`{name}`")));
    missing.map(|name| Finding::error(ARCHITECTURE, format!("does not mention crate `{name}`"))).collect()
}

/// Every decision is in the index.
fn decision_index(text: &str, files: &[File]) -> Vec<Finding> {
    let decisions = files.iter().filter(|file| file.path.starts_with(DECISIONS) && file.has_extension("md"));
    let missing = decisions.filter(|file| !text.contains(&file.path));
    missing.map(|file| Finding::error(ARCHITECTURE, format!("does not list decision `{}`", file.path))).collect()
}

/// A decision that is cited (`decision` and four digits) exists.
fn cited_decisions(file: &File, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for cited in line.to_lowercase().split("decision ").skip(1).filter_map(|rest| rest.get(..4)) {
            let exists = files.iter().any(|file| file.path.starts_with(&format!("{DECISIONS}{cited}-")));
            if cited.bytes().all(|byte| byte.is_ascii_digit()) && !exists {
                let place = format!("{}:{}", file.path, number + 1);
                findings.push(Finding::error(place, format!("cites decision {cited}, which is not in `{DECISIONS}`")));
            }
        }
    }
    findings
}

/// Each promise is there, and names tests that exist or says `pending`.
fn promises(text: &str, tests: &BTreeSet<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for promise in PROMISES {
        let said = text.lines().any(|line| words(line).any(|word| word == promise));
        if !said {
            findings.push(Finding::error(SPECIFICATION, format!("lacks promise {promise}")));
        }
    }
    for (number, line) in text.lines().enumerate() {
        let place = format!("{SPECIFICATION}:{}", number + 1);
        let Some((_, named)) = line.split_once("test: ").or_else(|| line.split_once("tests: ")) else { continue };
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !named.contains("pending") {
            findings.push(Finding::error(&place, "names no test in backticks and does not say `pending`"));
        }
        for name in names {
            let function = name.rsplit("::").next().unwrap_or(name);
            if !tests.contains(function) {
                findings.push(Finding::error(&place, format!("names test `{name}`, and there is no `fn {function}`")));
            }
        }
    }
    findings
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric())
}

/// Names of functions that carry a test attribute.
fn test_names(files: &[File]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let mut attribute = false;
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                attribute = true;
            } else if let Some(name) = function_name(line) {
                // Tests that need root get their attribute from a macro around them.
                if attribute || (file.path.contains("/tests/it/") && line.ends_with("() {")) {
                    names.insert(name);
                }
                attribute = false;
            }
        }
    }
    names
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// Links between our own documents lead somewhere.
fn links(file: &File, files: &[File]) -> Vec<Finding> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let wanted = resolve(folder, path);
            let inside = format!("{wanted}/");
            if !files.iter().any(|file| file.path == wanted || file.path.starts_with(&inside)) {
                let place = format!("{}:{}", file.path, number + 1);
                findings.push(Finding::error(place, format!("links to `{target}`, which is not there")));
            }
        }
    }
    findings
}

/// A relative link from a folder, as a path of the repository.
fn resolve(folder: &str, link: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn all_promises() -> String {
        PROMISES.join(" ")
    }

    #[test]
    fn every_crate_is_in_the_code_map() {
        let findings = code_map("`mesh` is there, pki is not", &["mesh", "pki"]);
        assert_eq!(findings, [Finding::error(ARCHITECTURE, "does not mention crate `pki`")]);
    }

    #[test]
    fn decisions_are_indexed_and_cited_ones_exist() {
        let files = [file("docs/decisions/0001-a.md", ""), file("docs/decisions/0002-b.md", "")];
        let index = decision_index("see docs/decisions/0001-a.md", &files);
        assert_eq!(index, [Finding::error(ARCHITECTURE, "does not list decision `docs/decisions/0002-b.md`")]);
        // Put together, so that this file cites nothing.
        let cite = |number: &str| format!("// Decision {number}, not the decision itself\n");
        let cited = |number| cited_decisions(&file("crates/a/src/lib.rs", &cite(number)), &files);
        assert_eq!(cited("0001"), []);
        let found: Vec<String> = cited("0003").iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("error: crates/a/src/lib.rs:1: cites decision "), "{found:?}");
    }

    #[test]
    fn tests_are_known_by_their_attribute() {
        let text = "#[test]\nfn yes() {}\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\nasync fn later() {}\n";
        let files = [file("crates/a/src/lib.rs", text), file("docs/a.md", "#[test]\nfn no() {}\n")];
        assert_eq!(test_names(&files), BTreeSet::from(["yes", "later"]));
    }

    #[test]
    fn a_promise_may_name_existing_tests_or_be_pending() {
        let tests = BTreeSet::from(["refused"]);
        let good = format!("{}\ntest: `pki::refused`\ntests: pending (issue 7)\n", all_promises());
        assert_eq!(promises(&good, &tests), []);
    }

    #[test]
    fn a_promise_without_test_and_a_test_without_code_are_found() {
        let text = format!("{}\ntest: soon\ntest: `pki::gone`\n", all_promises());
        let found: Vec<String> = promises(&text, &BTreeSet::new()).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "error: SPECIFICATION.md:2: names no test in backticks and does not say `pending`",
                "error: SPECIFICATION.md:3: names test `pki::gone`, and there is no `fn gone`",
            ]
        );
    }

    #[test]
    fn a_missing_promise_is_found() {
        let findings = promises("P1 P2 P3 P4 P5 P6 P7 P8", &BTreeSet::new());
        assert_eq!(findings, [Finding::error(SPECIFICATION, "lacks promise P9")]);
    }

    #[test]
    fn links_between_documents_must_lead_somewhere() {
        let files = [file("README.md", ""), file("docs/decisions/0001-a.md", ""), file("docs/b.md", "")];
        let text =
            "[a](decisions/0001-a.md#x) [b](../README.md) [c](https://x.y) [d](#here) [e](decisions) [f](gone.md)";
        let found = links(&file("docs/b.md", text), &files);
        assert_eq!(found, [Finding::error("docs/b.md:1", "links to `gone.md`, which is not there")]);
    }
}
