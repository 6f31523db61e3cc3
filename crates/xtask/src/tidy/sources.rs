//! Rules about source files: length, documentation, unsafe code, purity, and what must not leak into the repository.

use std::path::Path;

use super::{File, Finding};
use crate::workspace::Metadata;

/// Beyond this a file wants to be split; beyond [`TOO_LONG`] it must be.
const LONG: usize = 600;
const TOO_LONG: usize = 900;
/// The longest shell script: from there on logic belongs in Rust, where it has types and tests.
const SCRIPT: usize = 20;
/// The only crate that talks to devices, hence the only one with `unsafe`.
const UNSAFE_CRATE: &str = "attester";
/// Crates that get the time, bytes and trust anchors as arguments.
const PURE: [&str; 3] = ["protocol", "verifier", "pki"];
/// What such a crate does not say outside of its tests.
const IMPURE: [&str; 8] = [
    "SystemTime::now",
    "Instant::now",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "UtcDateTime::now",
];

/// Rust is written this way, so that the words of this file do not match themselves.
macro_rules! word {
    ($($part:literal)*) => { concat!($($part),*) };
}

/// Text that names a machine or a service of whoever wrote it, and means nothing to anybody else.
const PRIVATE: [&str; 3] = [word!("/wo" "rk/"), word!("index." "crates.io"), word!("/home/" "runner")];

/// All rules about sources.
pub(super) fn check(metadata: &Metadata, files: &[File]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files.iter().flat_map(about_file).collect();
    findings.extend(crate_docs(metadata, files));
    findings
}

fn about_file(file: &File) -> Vec<Finding> {
    let mut findings = private(file);
    if is_script(file) && file.text.lines().count() > SCRIPT {
        let problem = format!("is a shell script of more than {SCRIPT} lines; put its logic into `xtask`");
        findings.push(Finding::error(&file.path, problem));
    }
    if file.has_extension("rs") {
        findings.extend(length(file));
        findings.extend(unsafe_code(file));
        findings.extend(purity(file));
    }
    if file.path.ends_with("Cargo.toml") {
        findings.extend(manifest(file));
    }
    findings
}

fn is_script(file: &File) -> bool {
    file.has_extension("sh")
        || file.text.lines().next().is_some_and(|line| line.starts_with("#!") && line.ends_with("sh"))
}

fn private(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        if let Some(word) = PRIVATE.iter().find(|word| line.contains(*word)) {
            let place = format!("{}:{}", file.path, number + 1);
            findings.push(Finding::error(place, format!("`{word}` names somebody's machine or registry host")));
        }
    }
    findings
}

fn length(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    if lines > TOO_LONG {
        Some(Finding::error(&file.path, format!("has {lines} lines; the limit is {TOO_LONG}")))
    } else if lines > LONG {
        Some(Finding::warning(&file.path, format!("has {lines} lines; above {LONG} a file wants splitting")))
    } else {
        None
    }
}

/// The crate that a path is in.
fn crate_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}

/// Lines with their numbers, without comments, up to the tests at the bottom of the file. Good enough for a rule of
/// thumb: a string that contains `//` loses its tail, and no rule here looks for anything that would hide there.
fn code(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines = file.text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// Lints can be silenced; this cannot.
fn unsafe_code(file: &File) -> Vec<Finding> {
    let spots: [&str; 5] = [
        word!("unsafe" " {"),
        word!("unsafe" " fn"),
        word!("unsafe" " impl"),
        word!("allow(unsafe" "_code"),
        word!("expect(unsafe" "_code"),
    ];
    if crate_of(&file.path) == Some(UNSAFE_CRATE) {
        return Vec::new();
    }
    let hits = code(file).filter(|(_, line)| spots.iter().any(|spot| line.contains(spot)));
    let problem = format!("unsafe code belongs in crate `{UNSAFE_CRATE}` alone");
    hits.map(|(number, _)| Finding::error(format!("{}:{number}", file.path), problem.clone())).collect()
}

fn purity(file: &File) -> Vec<Finding> {
    let pure = crate_of(&file.path).is_some_and(|name| PURE.contains(&name)) && file.path.contains("/src/");
    if !pure || file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in code(file) {
        if let Some(word) = IMPURE.iter().find(|word| line.contains(*word)) {
            let problem =
                format!("`{word}` in a crate that has no clock, file or socket inside; take it as an argument");
            findings.push(Finding::error(format!("{}:{number}", file.path), problem));
        }
    }
    findings
}

/// One place holds every version, and every crate obeys the same lints.
fn manifest(file: &File) -> Vec<Finding> {
    if crate_of(&file.path).is_none() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut section = "";
    let mut lints = false;
    for (number, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section == "lints" && line == "workspace = true" {
            lints = true;
        } else if section.ends_with("dependencies") && names_a_version(line) {
            let place = format!("{}:{}", file.path, number + 1);
            findings.push(Finding::error(place, "take the version from `[workspace.dependencies]`"));
        }
    }
    if !lints {
        findings.push(Finding::error(&file.path, "lacks `[lints]` with `workspace = true`"));
    }
    findings
}

fn names_a_version(line: &str) -> bool {
    line.contains('=') && !line.starts_with('#') && !line.contains("workspace = true")
}

/// Each crate's root file says what the crate provides and what it must never do.
fn crate_docs(metadata: &Metadata, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata.members() {
        for target in &package.targets {
            let root = target.kind.iter().any(|kind| matches!(kind.as_str(), "lib" | "bin"));
            let Ok(path) = target.src_path.strip_prefix(&metadata.workspace_root) else { continue };
            let Some(file) = files.iter().find(|file| Path::new(&file.path) == path) else { continue };
            let documented = file.text.lines().any(|line| line.starts_with("//!") && line.len() > 20);
            if root && !documented {
                let problem = format!("`{}` lacks documentation (`//!`) of what it is and must never do", target.name);
                findings.push(Finding::error(&file.path, problem));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        about_file(&file).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        assert_eq!(problems("crates/mesh/src/a.rs", &"x\n".repeat(600)), [""; 0]);
        let long = problems("crates/mesh/src/a.rs", &"x\n".repeat(601));
        assert_eq!(long, ["warning: crates/mesh/src/a.rs: has 601 lines; above 600 a file wants splitting"]);
        let longer = problems("crates/mesh/src/a.rs", &"x\n".repeat(901));
        assert_eq!(longer, ["error: crates/mesh/src/a.rs: has 901 lines; the limit is 900"]);
    }

    #[test]
    fn unsafe_code_is_for_the_attester() {
        let text = word!("fn f() {\n    unsafe" " { g() }\n}\n");
        assert_eq!(problems("crates/attester/src/sev.rs", text), [""; 0]);
        let found = problems("crates/mesh/src/a.rs", text);
        assert_eq!(found, ["error: crates/mesh/src/a.rs:2: unsafe code belongs in crate `attester` alone"]);
        let silenced = word!("#[expect(unsafe" "_code, reason = \"why not\")]\n");
        assert_eq!(problems("crates/mesh/src/a.rs", silenced).len(), 1);
        assert_eq!(problems("crates/mesh/src/a.rs", word!("// no unsafe" " { here }\n")), [""; 0]);
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found_unless_a_test_reads_it() {
        let clock = "fn f() { SystemTime::now(); }\n";
        assert_eq!(problems("crates/verifier/src/a.rs", clock).len(), 1);
        assert_eq!(problems("crates/coordinator/src/a.rs", clock), [""; 0]);
        assert_eq!(problems("crates/verifier/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {clock} }}")), [""; 0]);
    }

    #[test]
    fn somebodys_paths_are_found_with_their_line() {
        let text = word!("fine\nsee /wo" "rk/x\n");
        let found = problems("docs/a.md", text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("error: docs/a.md:2: "), "{found:?}");
    }

    #[test]
    fn a_long_shell_script_is_refused_by_name_and_by_first_line() {
        let long = format!("#!/bin/sh\n{}", "true\n".repeat(20));
        assert_eq!(problems("x", &long).len(), 1);
        assert_eq!(problems("tools/a.sh", &"true\n".repeat(21)).len(), 1);
        assert_eq!(problems("x", "#!/bin/sh\ntrue\n"), [""; 0]);
    }

    #[test]
    fn versions_and_lints_come_from_the_workspace() {
        let good = "[lints]\nworkspace = true\n\n[dependencies]\nserde.workspace = true\n";
        assert_eq!(problems("crates/mesh/Cargo.toml", good), [""; 0]);
        let own = good.replace("serde.workspace = true", "serde = \"1\"");
        let found = problems("crates/mesh/Cargo.toml", &own);
        assert_eq!(found, ["error: crates/mesh/Cargo.toml:5: take the version from `[workspace.dependencies]`"]);
        assert_eq!(problems("crates/mesh/Cargo.toml", "[dependencies]\n").len(), 1);
        assert_eq!(problems("Cargo.toml", "[workspace.dependencies]\nserde = \"1\"\n"), [""; 0]);
    }
}
