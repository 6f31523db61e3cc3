//! `casemate-node runtime`: the Kata runtime of this node.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use node::runtime::bundle::{Bundle, Digest};
use node::runtime::class::{self, Keys, NameError, RuntimeClass};
use node::runtime::containerd::{Distribution, Edit};
use node::runtime::host::{self, Processes, Run, Service, ServiceError, Systemd};
use node::runtime::install::{self, Done, InstallError, Installer, Status};
use node::runtime::{Handler, Root};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show what `install` would change in containerd's configuration; change nothing
    Plan {
        #[command(flatten)]
        host: Host,
        /// The TOML that describes the bundle
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// A class of the bundle to install, and no other; may be given again [default: all]
        #[arg(long = "class", value_name = "NAME", value_parser = handler)]
        classes: Vec<Handler>,
    },
    /// Install a bundle, or upgrade to it
    Install {
        #[command(flatten)]
        host: Host,
        /// The TOML that describes the bundle
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// The digest that the TOML must have
        #[arg(long, value_name = "HEX")]
        sha256: Option<Digest>,
        /// A class of the bundle to install, and no other; may be given again [default: all]
        #[arg(long = "class", value_name = "NAME", value_parser = handler)]
        classes: Vec<Handler>,
        /// Leave the restart of containerd to somebody else
        #[arg(long)]
        no_restart: bool,
    },
    /// Remove the runtime and every line about it
    Remove {
        #[command(flatten)]
        host: Host,
        /// Leave the restart of containerd to somebody else
        #[arg(long)]
        no_restart: bool,
    },
    /// Show what is installed, and whether pods can use it
    Status {
        #[command(flatten)]
        host: Host,
    },
    /// Print the RuntimeClass objects of the installed classes, or of a bundle's, for `kubectl apply`
    Classes {
        /// Where the node's file system is; in a container, where it is mounted
        #[arg(long, value_name = "DIR", default_value = "/")]
        root: PathBuf,
        /// Those of a bundle, by the TOML that describes it, instead of the installed ones
        #[arg(long, value_name = "FILE", conflicts_with = "all")]
        bundle: Option<PathBuf>,
        /// Those of every class there is
        #[arg(long)]
        all: bool,
        /// Have pods ask for one of the processor's keys; only where something announces them as extended resources
        #[arg(long)]
        count_keys: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn handler(name: &str) -> Result<Handler, NameError> {
    Handler::new(name)
}

/// Without a name, every class is meant.
fn only(installer: Installer<'_>, classes: Vec<Handler>) -> Installer<'_> {
    if classes.is_empty() { installer } else { installer.only(classes) }
}

#[derive(Args)]
pub(crate) struct Host {
    /// Where the node's file system is; in a container, where it is mounted
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Whose containerd to configure; told from the files that are there unless given
    #[arg(long, value_name = "NAME")]
    distribution: Option<Name>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Containerd,
    K3s,
    Rke2,
}

impl Host {
    fn open(&self) -> Result<(Root, Distribution)> {
        if !self.root.is_dir() {
            anyhow::bail!("`{}` is no folder", self.root.display());
        }
        let root = Root::new(&self.root);
        let distribution = match self.distribution {
            Some(Name::Containerd) => Distribution::Containerd,
            Some(Name::K3s) => Distribution::K3s,
            Some(Name::Rke2) => Distribution::Rke2,
            None => host::distribution(&root).context("tell whose containerd this node runs")?,
        };
        Ok((root, distribution))
    }
}

/// Somebody else restarts containerd; the system knows when that was done.
struct Somebody(Systemd);

impl Service for Somebody {
    fn restart(&mut self, _: Distribution) -> Result<bool, ServiceError> {
        Ok(false)
    }

    fn run(&self, distribution: Distribution) -> Run {
        self.0.run(distribution)
    }
}

/// Runs a command. A refusal exits with 1, what could not be done with 2.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Plan { host, bundle, classes } => {
            let text = std::fs::read_to_string(&bundle).with_context(|| format!("read `{}`", bundle.display()))?;
            let parsed = Bundle::parse(&text).map_err(|source| InstallError::Bundle { path: bundle, source });
            with(&host, false, |installer| only(installer, classes).plan(&parsed?), |edits| plan_text(edits))
        }
        Command::Install { host, bundle, sha256, classes, no_restart } => {
            with(&host, no_restart, |installer| only(installer, classes).install(&bundle, sha256), done_text)
        }
        Command::Remove { host, no_restart } =>
        {
            #[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is not general enough")]
            with(&host, no_restart, |installer| installer.remove(), done_text)
        }
        Command::Status { host } => with(&host, false, |installer| installer.status(), status_text),
        Command::Classes { root, bundle, all, count_keys, json } => {
            let keys = if count_keys { Keys::Counted } else { Keys::NotCounted };
            let names = if all { None } else { Some(names(root, bundle)?) };
            print_classes(class::runtime_classes(keys), names, json)
        }
    }
}

/// The classes of a bundle, or the installed ones, of which there may be none.
fn names(root: PathBuf, bundle: Option<PathBuf>) -> Result<Vec<Handler>> {
    if let Some(path) = bundle {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        let bundle = Bundle::parse(&text).with_context(|| format!("read bundle `{}`", path.display()))?;
        return Ok(bundle.classes.into_iter().map(|class| class.name).collect());
    }
    if !root.is_dir() {
        anyhow::bail!("`{}` is no folder", root.display());
    }
    Ok(install::classes(&Root::new(root))?.unwrap_or_default())
}

/// Prints the objects of these names; exits with 1 where there is none.
fn print_classes(mut classes: Vec<RuntimeClass>, names: Option<Vec<Handler>>, json: bool) -> Result<ExitCode> {
    if let Some(names) = names {
        for name in names.iter().filter(|name| !classes.iter().any(|class| class.name == name.as_str())) {
            eprintln!("note: class `{name}` is none that casemate-node knows an object for");
        }
        classes.retain(|class| names.iter().any(|name| name.as_str() == class.name));
        if classes.is_empty() {
            eprintln!("error: no class that there is an object for is installed here or in the bundle");
            eprintln!("\nhint: name a bundle with `--bundle FILE`, or print every object with `--all`");
            return Ok(ExitCode::from(1));
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&classes)?);
    } else {
        print!("{}", class::yaml(&classes));
    }
    Ok(ExitCode::SUCCESS)
}

fn with<T: serde::Serialize>(
    host: &Host,
    no_restart: bool,
    work: impl FnOnce(Installer<'_>) -> Result<T, InstallError>,
    text: impl FnOnce(&T) -> String,
) -> Result<ExitCode> {
    let (root, distribution) = host.open()?;
    let users = Processes::new(root.clone());
    let mut systemd = Systemd::new(&root);
    let mut somebody = Somebody(systemd.clone());
    let service: &mut dyn Service = if no_restart { &mut somebody } else { &mut systemd };
    match work(Installer::new(root, distribution, &users, service)) {
        Ok(result) => {
            if host.json {
                println!("{}", serde_json::to_string_pretty(&result)?);
            } else {
                print!("{}", text(&result));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let (refused, hint) = (error.is_refusal(), error.hint());
            let error = anyhow::Error::from(error);
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("caused by: {cause}");
            }
            if let Some(hint) = hint {
                eprintln!("\nhint: {hint}");
            }
            Ok(ExitCode::from(if refused { 1 } else { 2 }))
        }
    }
}

fn plan_text(edits: &[Edit]) -> String {
    if edits.is_empty() {
        return "nothing to change\n".to_owned();
    }
    let mut text = String::new();
    for edit in edits {
        text.push_str(&format!("{edit}\n"));
        let before: Vec<&str> = edit.before.as_deref().unwrap_or_default().lines().collect();
        let after: Vec<&str> = edit.after.as_deref().unwrap_or_default().lines().collect();
        // All that ever changes is that lines of ours come or go at one place, or one line gets longer.
        let same = |a: &[&str], b: &[&str]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let head = same(&before, &after);
        let reversed = |lines: &[&str]| lines.iter().rev().copied().collect::<Vec<_>>().join("\n");
        let (old, new) = (reversed(&before[head..]), reversed(&after[head..]));
        let tail = same(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
        for (sign, lines) in [("-", &before), ("+", &after)] {
            let end = lines.len().saturating_sub(tail).max(head);
            for line in &lines[head..end] {
                text.push_str(&format!("  {sign} {line}\n"));
            }
        }
    }
    text
}

fn done_text(done: &Done) -> String {
    if done.steps.is_empty() {
        return "nothing to do\n".to_owned();
    }
    done.steps.join("\n") + "\n"
}

fn status_text(status: &Status) -> String {
    let Status { distribution, release, classes, pending, restart_due, damaged, configuration, users } = status;
    let mut text = match release {
        Some(release) => format!("release {release} for {distribution}\n"),
        None => format!("no runtime is installed for {distribution}\n"),
    };
    let mut line = |label: &str, values: Vec<String>| {
        if !values.is_empty() {
            text.push_str(&format!("{label:<14}  {}\n", values.join(", ")));
        }
    };
    line("classes", classes.iter().map(ToString::to_string).collect());
    line("in use", users.iter().map(|(class, who)| format!("{class} by {who}")).collect());
    line("not finished", pending.iter().cloned().collect());
    line("damaged", damaged.clone());
    line("to be changed", configuration.clone());
    if *restart_due {
        text.push_str("containerd has not been restarted since its configuration was changed\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn edit(before: Option<&str>, after: Option<&str>) -> Edit {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Edit { path: "/etc/x".to_owned(), before: owned(before), after: owned(after), untouched: true }
    }

    #[test]
    fn a_plan_shows_the_lines_that_come_and_go() {
        let edits = [
            edit(Some("a\nb\n"), Some("a\nnew\nb\n")),
            edit(Some("a\nold\nb\n"), Some("a\nb\n")),
            edit(Some("a\nx = []\nb\n"), Some("a\nx = [1, ]\nb\n")),
            edit(None, Some("a\n")),
            edit(Some("a\n"), None),
            edit(Some("a\na\n"), Some("a\na\na\n")),
        ];
        expect![[r#"
            change /etc/x
              + new
            change /etc/x
              - old
            change /etc/x
              - x = []
              + x = [1, ]
            write /etc/x
              + a
            remove /etc/x
              - a
            change /etc/x
              + a
        "#]]
        .assert_eq(&plan_text(&edits));
        assert_eq!(plan_text(&[]), "nothing to change\n");
    }

    #[test]
    fn a_status_says_what_is_wrong() {
        let status = Status {
            distribution: Distribution::Rke2,
            release: None,
            classes: Vec::new(),
            pending: Some("install 3.21.0".to_owned()),
            restart_due: true,
            damaged: vec!["bin/shim".to_owned()],
            configuration: vec!["/etc/x".to_owned()],
            users: Vec::new(),
        };
        expect![[r#"
            no runtime is installed for RKE2
            not finished    install 3.21.0
            damaged         bin/shim
            to be changed   /etc/x
            containerd has not been restarted since its configuration was changed
        "#]]
        .assert_eq(&status_text(&status));
    }
}
