//! Building kube-apiserver from its Go module, once.
//!
//! It takes some minutes on two cores (measured: 3 min 20 s, and 10 s for 0.6 GB of modules), so the result is kept in
//! the user's cache folder under a name that changes with what it is built from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aws_lc_rs::digest;

use super::{Missing, find_program};

/// The version of Kubernetes, as `go.mod` has it.
pub const VERSION: &str = "1.36.3";

/// What is built from: everything that decides about the result.
const SOURCES: [(&str, &str); 3] = [
    ("main.go", include_str!("../../apiserver/main.go")),
    ("go.mod", include_str!("../../apiserver/go.mod")),
    ("go.sum", include_str!("../../apiserver/go.sum")),
];
const PROGRAM: &str = "kube-apiserver";
/// How much of Go's output an error shows.
const WORDS: usize = 20;

/// The program, built now if it has not been built before.
///
/// # Errors
/// [`Missing`] where there is no Go, or it cannot get the modules.
///
/// # Panics
/// When the build itself fails, or the cache folder cannot be written.
pub fn server_binary() -> Result<PathBuf, Missing> {
    let folder = cache().join(format!("apiserver-{VERSION}-{}", fingerprint()));
    let program = folder.join(PROGRAM);
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("create {}: {error}", folder.display()));
    // Another test may be at it: it is then waited for, and its result taken.
    let lock = File::create(folder.join("lock")).expect("create a lock file");
    lock.lock().expect("wait for the lock of the build");
    if program.is_file() {
        return Ok(program);
    }
    build(&folder, &program)?;
    Ok(program)
}

fn build(folder: &Path, program: &Path) -> Result<(), Missing> {
    let go = find_program("go")
        .ok_or(Missing::Program { program: "go", hint: "install Go 1.26 or newer; kube-apiserver is built with it" })?;
    let sources = folder.join("source");
    fs::create_dir_all(&sources).unwrap_or_else(|error| panic!("create {}: {error}", sources.display()));
    for (name, text) in SOURCES {
        fs::write(sources.join(name), text).unwrap_or_else(|error| panic!("write {name}: {error}"));
    }
    let output = run(&go, &sources, &["mod", "download"]);
    if !output.status.success() {
        let said = words(&output);
        let old = said.contains("go.mod requires go");
        return Err(if old { Missing::OldGo { said } } else { Missing::Modules { said } });
    }
    let staged = folder.join(format!("{PROGRAM}.new"));
    let version = format!("-s -w -X k8s.io/component-base/version.gitVersion=v{VERSION}");
    let staged_name = staged.display().to_string();
    let output = run(&go, &sources, &["build", "-trimpath", "-ldflags", &version, "-o", &staged_name, "."]);
    assert!(output.status.success(), "build kube-apiserver {VERSION}:\n{}", words(&output));
    fs::rename(&staged, program).expect("move the built kube-apiserver into place");
    Ok(())
}

fn run(go: &Path, folder: &Path, args: &[&str]) -> Output {
    // The proxy, the checksum database and the caches are the environment's; what decides about the result is not.
    let mut command = Command::new(go);
    command.args(args).current_dir(folder);
    command.env("GOFLAGS", "-mod=readonly -buildvcs=false").env("CGO_ENABLED", "0").env("GOWORK", "off");
    command.output().unwrap_or_else(|error| panic!("start {}: {error}", go.display()))
}

fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("go: downloading")).collect();
    lines.get(lines.len().saturating_sub(WORDS)..).unwrap_or_default().join("\n")
}

fn cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("casemate")
}

fn fingerprint() -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, text) in SOURCES {
        context.update(name.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        context.update(&[0]);
    }
    let bytes = context.finish();
    let start = bytes.as_ref().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    format!("{start:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_module() {
        let module = SOURCES[1].1;
        assert!(module.contains(&format!("k8s.io/kubernetes v{VERSION}\n")));
        // The staging modules of a release have its minor and patch version.
        let (_, minor) = VERSION.split_once('.').expect("a version has dots");
        let replaced = module.lines().filter(|line| line.contains("=>"));
        for line in replaced {
            assert!(line.ends_with(&format!(" v0.{minor}")), "{line}");
        }
    }

    #[test]
    fn the_cache_changes_with_the_sources() {
        assert_eq!(fingerprint().len(), 16);
        assert_eq!(fingerprint(), fingerprint());
    }
}
