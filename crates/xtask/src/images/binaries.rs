//! The binaries of images that leave this machine: optimised, each crate built alone, and with nothing in them of the
//! folders in which they were built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::proc;
use crate::workspace;

/// The crates that are built alone, so that no feature that another crate asks of a shared dependency gets into a TEE.
const ALONE: [&str; 5] = ["pod", "inference", "node", "cli", "guest-check"];

/// Builds from the sources in one folder into another.
pub(crate) fn release(sources: &Path, target: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let environment = environment(sources, target)?;
    let mut binaries = BTreeMap::new();
    for package in ALONE {
        let build =
            workspace::Build { packages: &[package], release: true, folder: Some(sources), environment: &environment };
        binaries.extend(build.run()?);
    }
    Ok(binaries)
}

/// What makes compilers write names that are the same wherever this is built.
fn environment(sources: &Path, target: &Path) -> Result<Vec<(&'static str, OsString)>> {
    let mut renamed = vec![(sources.to_owned(), "/casemate".to_owned()), (target.to_owned(), "/target".to_owned())];
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registries = home.map(|home| home.join("registry/src")).filter(|folder| folder.is_dir());
    // The name of a registry's folder comes from its address, which is another one where it is mirrored.
    for folder in registries.into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten()) {
        let folder = folder.context("read the folder of the registry")?.path();
        renamed.push((folder, "/cargo".to_owned()));
    }
    // The last that fits counts, so what lies inside of another comes after it.
    renamed.sort();
    let mut rust = vec!["-Ctarget-feature=+crt-static".to_owned()];
    rust.extend(renamed.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    let c: Vec<String> =
        renamed.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())).collect();
    Ok(vec![
        ("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}").into()),
        ("CFLAGS", c.join(" ").into()),
        ("CARGO_TARGET_DIR", target.into()),
        ("CARGO_INCREMENTAL", "0".into()),
    ])
}

/// Copies what git knows of a folder, and what it does not ignore.
pub(crate) fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("remove `{}`", to.display()))?;
    }
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = proc::output(std::process::Command::new("git").arg("-C").arg(from).args(list))?;
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let (source, copy) = (from.join(file), to.join(file));
        // What was removed and not yet committed is still in the list.
        if !source.is_file() {
            continue;
        }
        let folder = copy.parent().unwrap_or(to);
        fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))?;
        fs::copy(&source, &copy).with_context(|| format!("copy `{}`", source.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_of_this_machine_gets_a_name_that_is_the_same_everywhere() {
        let environment = environment(Path::new("/home/a/src"), Path::new("/home/a/src/target/x")).expect("known");
        let value = |name: &str| {
            let found = environment.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string_lossy());
            found.expect(name).into_owned()
        };
        let rust = value("CARGO_ENCODED_RUSTFLAGS");
        let flags: Vec<&str> = rust.split('\u{1f}').collect();
        assert_eq!(flags[0], "-Ctarget-feature=+crt-static", "a flag of the environment replaces those of the files");
        let at = |flag: &str| flags.iter().position(|one| *one == flag).expect(flag);
        let (outer, inner) =
            ("--remap-path-prefix=/home/a/src=/casemate", "--remap-path-prefix=/home/a/src/target/x=/target");
        assert!(at(outer) < at(inner), "the inner folder wins");
        assert!(value("CFLAGS").contains("-ffile-prefix-map=/home/a/src=/casemate"));
    }
}
