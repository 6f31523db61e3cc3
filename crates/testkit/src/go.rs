//! Programs that tests need and no distribution has: built from their Go modules, once.
//!
//! The result is kept in the user's cache folder under a name that changes with what it is built from. Measured on two
//! cores: kube-apiserver 3 min 20 s and 10 s for 0.6 GB of modules, Helm 1 min 30 s, kustomize 35 s.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aws_lc_rs::digest;

use crate::cluster::{Missing, find_program};

/// A program, and everything that decides about what comes out of building it.
#[derive(Debug)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// What it is called in messages.
    pub title: &'static str,
    /// Its version, as `go.mod` has it.
    pub version: &'static str,
    /// The folder of its results in the cache, before version and fingerprint.
    folder: &'static str,
    /// The package that is built: `.` for sources of ours.
    package: &'static str,
    /// The variable that tells the program its version, if it shows one.
    stamp: Option<&'static str>,
    /// What else it is told in the same way.
    told: &'static [(&'static str, &'static str)],
    sources: &'static [(&'static str, &'static str)],
}

/// The API server of the version that the agent is tested with.
pub const API_SERVER: Program = Program {
    name: "kube-apiserver",
    title: "Kubernetes",
    version: "1.36.3",
    folder: "apiserver",
    package: ".",
    stamp: Some("k8s.io/component-base/version.gitVersion"),
    told: &[],
    sources: &[
        ("main.go", include_str!("../apiserver/main.go")),
        ("go.mod", include_str!("../apiserver/go.mod")),
        ("go.sum", include_str!("../apiserver/go.sum")),
    ],
};

/// Helm, for the chart.
pub const HELM: Program = Program {
    name: "helm",
    title: "Helm",
    version: "3.22.0",
    folder: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    stamp: Some("helm.sh/helm/v3/internal/version.version"),
    // The cluster that it takes itself to speak to while it renders: that of the API server.
    told: &[
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", "36"),
    ],
    sources: &[("go.mod", include_str!("../helm/go.mod")), ("go.sum", include_str!("../helm/go.sum"))],
};

/// kustomize, for the bases.
pub const KUSTOMIZE: Program = Program {
    name: "kustomize",
    title: "kustomize",
    version: "5.8.1",
    folder: "kustomize",
    package: "sigs.k8s.io/kustomize/kustomize/v5",
    stamp: None,
    told: &[],
    sources: &[("go.mod", include_str!("../kustomize/go.mod")), ("go.sum", include_str!("../kustomize/go.sum"))],
};

/// How much of Go's output an error shows.
const WORDS: usize = 20;

impl Program {
    /// The program, built now if it has not been built before.
    ///
    /// # Errors
    /// [`Missing`] where there is no Go, or it cannot get the modules.
    ///
    /// # Panics
    /// When the build itself fails, or the cache folder cannot be written.
    pub fn binary(&self) -> Result<PathBuf, Missing> {
        let folder = cache().join(format!("{}-{}-{}", self.folder, self.version, self.fingerprint()));
        let program = folder.join(self.name);
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
        self.build(&folder, &program)?;
        Ok(program)
    }

    fn build(&self, folder: &Path, program: &Path) -> Result<(), Missing> {
        let Self { title, version, .. } = self;
        let go = find_program("go").ok_or(Missing::Program {
            program: "go",
            hint: "install Go 1.26 or newer; servers and tools are built with it",
        })?;
        let sources = folder.join("source");
        fs::create_dir_all(&sources).unwrap_or_else(|error| panic!("create {}: {error}", sources.display()));
        for (name, text) in self.sources {
            fs::write(sources.join(name), text).unwrap_or_else(|error| panic!("write {name}: {error}"));
        }
        let what = format!("{title} {version}");
        let output = run(&go, &sources, &["mod", "download"]);
        if !output.status.success() {
            let said = words(&output);
            let old = said.contains("go.mod requires go");
            return Err(if old { Missing::OldGo { what, said } } else { Missing::Modules { what, said } });
        }
        let staged = folder.join(format!("{}.new", self.name));
        let mut flags = "-s -w".to_owned();
        if let Some(stamp) = self.stamp {
            flags.push_str(&format!(" -X {stamp}=v{version}"));
        }
        for (variable, value) in self.told {
            flags.push_str(&format!(" -X {variable}={value}"));
        }
        let staged_name = staged.display().to_string();
        let output = run(&go, &sources, &["build", "-trimpath", "-ldflags", &flags, "-o", &staged_name, self.package]);
        assert!(output.status.success(), "build {what}:\n{}", words(&output));
        fs::rename(&staged, program).expect("move what was built into place");
        Ok(())
    }

    fn fingerprint(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for (name, text) in self.sources.iter().chain(self.told) {
            context.update(name.as_bytes());
            context.update(&[0]);
            context.update(text.as_bytes());
            context.update(&[0]);
        }
        let bytes = context.finish();
        let start = bytes.as_ref().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
        format!("{start:016x}")
    }
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

/// The user's cache folder for what tests build or keep.
pub fn cache() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("casemate")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(program: &Program) -> &'static str {
        program.sources.iter().find(|(name, _)| *name == "go.mod").expect("a module").1
    }

    #[test]
    fn the_version_is_that_of_the_module() {
        let text = module(&API_SERVER);
        assert!(text.contains(&format!("k8s.io/kubernetes v{}\n", API_SERVER.version)));
        // The staging modules of a release have its minor and patch version.
        let (_, minor) = API_SERVER.version.split_once('.').expect("a version has dots");
        for line in text.lines().filter(|line| line.contains("=>")) {
            assert!(line.ends_with(&format!(" v0.{minor}")), "{line}");
        }
        assert!(module(&HELM).contains(&format!("helm.sh/helm/v3 v{}", HELM.version)));
        assert!(module(&KUSTOMIZE).contains(&format!("kustomize/v5 v{}", KUSTOMIZE.version)));
    }

    #[test]
    fn the_cache_changes_with_the_sources() {
        let all = [&API_SERVER, &HELM, &KUSTOMIZE].map(Program::fingerprint);
        assert!(all.iter().all(|fingerprint| fingerprint.len() == 16));
        assert!(all[0] != all[1] && all[1] != all[2] && all[0] == API_SERVER.fingerprint());
    }
}
