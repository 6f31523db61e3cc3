//! What cargo knows about this repository, and building parts of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::failure::negative;
use crate::proc;

/// The one target that is built for; `.cargo/config.toml` says why it is named.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The binaries of a demonstration or a test run, and the crates that hold them.
pub(crate) const PRODUCT: [(&str, &str); 7] = [
    ("casemate", "cli"),
    ("casemate-pod", "pod"),
    ("casemate-launch", "pod"),
    ("casemate-serve", "inference"),
    ("casemate-guest-check", "guest-check"),
    ("casemate-node", "node"),
    ("hostile-host", "e2e"),
];

/// The part of `cargo metadata` that is used here.
#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Metadata {
    /// Our packages.
    pub(crate) packages: Vec<Package>,
    /// Ids of our own packages.
    pub(crate) workspace_members: Vec<String>,
    /// Where cargo builds; follows `CARGO_TARGET_DIR`.
    pub(crate) target_directory: PathBuf,
    /// The repository.
    pub(crate) workspace_root: PathBuf,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize, Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let text = proc::output(cargo().args(["metadata", "--format-version=1", "--no-deps"]))?;
        serde_json::from_str(&text).context("read the answer of `cargo metadata`")
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The version that all our packages share.
    pub(crate) fn version(&self) -> &str {
        self.members().next().map_or("0.0.0", |package| &package.version)
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A path of the command line: relative to where the user typed it, which `./x` remembers before it changes folder.
pub(crate) fn user_path(path: &Path) -> PathBuf {
    std::env::var_os("XTASK_PWD").map_or_else(|| path.to_owned(), |base| Path::new(&base).join(path))
}

/// Builds what the demo, the tests and the images run, and says where each binary is. A binary that its crate does not
/// have is left out, so that images can be built before the last crate is written.
pub(crate) fn build_product(release: bool) -> Result<BTreeMap<String, PathBuf>> {
    let mut crates: Vec<&str> = PRODUCT.iter().map(|(_, package)| *package).collect();
    crates.dedup();
    build(&crates, release)
}

/// Builds the binaries of these crates.
pub(crate) fn build(crates: &[&str], release: bool) -> Result<BTreeMap<String, PathBuf>> {
    Build { packages: crates, release, folder: None, environment: &[] }.run()
}

/// A build of binaries.
pub(crate) struct Build<'a> {
    /// Of these crates.
    pub(crate) packages: &'a [&'a str],
    /// Optimised.
    pub(crate) release: bool,
    /// The sources, if not these.
    pub(crate) folder: Option<&'a Path>,
    /// Beside what is inherited.
    pub(crate) environment: &'a [(&'static str, OsString)],
}

impl Build<'_> {
    /// Runs cargo and says where each binary is.
    pub(crate) fn run(&self) -> Result<BTreeMap<String, PathBuf>> {
        let mut command = cargo();
        command.args(["build", "--bins", "--message-format=json-render-diagnostics"]);
        for package in self.packages {
            command.args(["-p", package]);
        }
        if self.release {
            command.arg("--release");
        }
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        note!("$ {}", proc::shown("cargo", &command.get_args().collect::<Vec<_>>()));
        let out = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run cargo")?;
        proc::check_interrupt()?;
        if !out.status.success() {
            bail!("the build failed");
        }
        Ok(executables(&String::from_utf8_lossy(&out.stdout)))
    }
}

fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .collect()
}

/// One binary of [`build_product`]'s answer.
pub(crate) fn binary<'a>(binaries: &'a BTreeMap<String, PathBuf>, name: &str) -> Result<&'a Path> {
    binaries.get(name).map(PathBuf::as_path).with_context(|| {
        let package = PRODUCT.iter().find(|(binary, _)| *binary == name).map_or("?", |(_, package)| package);
        format!("crate `{package}` built no binary `{name}`")
    })
}

/// Builds a benchmark of a crate, optimised as releases are.
pub(crate) fn benchmark(package: &str, name: &str) -> Result<PathBuf> {
    let words = ["bench", "-p", package, "--bench", name, "--no-run", "--message-format=json-render-diagnostics"];
    note!("$ {}", proc::shown("cargo", &words));
    let out = cargo().args(words).stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run cargo")?;
    proc::check_interrupt()?;
    if !out.status.success() {
        return Err(negative(
            &format!("the benchmark `{name}` of `{package}` does not build"),
            "the output above says why",
        ));
    }
    executable(&String::from_utf8_lossy(&out.stdout), name).context("cargo built no benchmark")
}

/// A benchmark in what cargo says of a build.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Built,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Built {
        name: String,
    }
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages.filter(|message| message.target.name == name).find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_is_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"verifier"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"appraise"},"executable":"/t/appraise-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages, "appraise"), Some(PathBuf::from("/t/appraise-1")));
        assert_eq!(executable(messages, "decision"), None);
        assert_eq!(executable("not json", "appraise"), None);
    }

    #[test]
    fn binaries_are_found_in_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/debug/casemate-pod"}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let binaries = executables(messages);
        assert_eq!(binary(&binaries, "casemate-pod").expect("built"), Path::new("/t/debug/casemate-pod"));
        let error = binary(&binaries, "casemate-launch").expect_err("not built").to_string();
        assert_eq!(error, "crate `pod` built no binary `casemate-launch`");
    }
}
