//! The system packages that tests and the demonstration need, and installing them.
//!
//! Nothing that ships needs any of these except `runc`, which the local engine uses.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::unknown;
use crate::proc;

/// A program, the Debian package that has it, and what it is for.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

/// Debian's and Ubuntu's names. A C compiler is not in here: `./x` needs it before it can run this.
const NEEDS: [Need; 11] = [
    Need { program: "runc", package: "runc", why: "runs the containers of the local engine" },
    Need { program: "nft", package: "nftables", why: "shows that no firewall table is left behind" },
    Need { program: "ip", package: "iproute2", why: "network namespaces in tests" },
    Need { program: "docker-registry", package: "docker-registry", why: "the registry on loopback" },
    Need { program: "skopeo", package: "skopeo", why: "pushes the images to it" },
    Need { program: "busybox", package: "busybox-static", why: "the program in the image of examples/web" },
    Need { program: "mke2fs", package: "e2fsprogs", why: "file systems of guest images in tests" },
    Need { program: "mkfs.erofs", package: "erofs-utils", why: "a second opinion on guest images" },
    Need { program: "veritysetup", package: "cryptsetup-bin", why: "a second opinion on their hash trees" },
    Need { program: "etcd", package: "etcd-server", why: "the store of a real API server in the node agent's tests" },
    Need { program: "strip", package: "binutils", why: "takes debug information out of image binaries" },
];

/// Where a system that runs systemd has its runtime units.
const RUNTIME_UNITS: &str = "/run/systemd/system";

/// Makes sure that every needed package is there. Says what is missing and, as root, in CI or with `yes`, installs it;
/// asks first on a terminal.
pub(crate) fn ensure(yes: bool) -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| proc::find_program(need.program).is_none()).collect();
    if missing.is_empty() {
        note!("packages: all {} are installed", NEEDS.len());
        return Ok(());
    }
    note!("packages: missing");
    for need in &missing {
        note!("  {:<16} {}", need.package, need.why);
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if proc::find_program("apt-get").is_none() {
        return Err(unknown(
            "some packages are missing and this system has no `apt-get`",
            format!("install what your distribution calls {} and try again", names.join(", ")),
        ));
    }
    let root = proc::is_root();
    let command = proc::shown(if root { "apt-get" } else { "sudo apt-get" }, &install_args(&names));
    if !root && !yes && std::env::var("CI").as_deref() != Ok("true") && !agreed(&command)? {
        return Err(unknown("packages are missing", format!("run `{command}` and try again")));
    }
    install(&names, root)?;
    match NEEDS.iter().find(|need| proc::find_program(need.program).is_none()) {
        None => Ok(()),
        Some(need) => Err(unknown(
            &format!("package `{}` is installed, but there is no `{}`", need.package, need.program),
            "look at the output of `apt-get` above",
        )),
    }
}

fn install_args<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(names);
    args
}

/// Asks on the terminal; without one the answer is no.
fn agreed(command: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    note_part!("Run `{command}` now? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn install(names: &[&str], root: bool) -> Result<()> {
    let quiet = SERVICES.iter().filter(|(package, _)| names.contains(package));
    let _quiet: Vec<KeepServiceOff> = quiet.map(|(_, unit)| KeepServiceOff::new(unit, root)).collect::<Result<_>>()?;
    let attempt = || proc::run(apt(root).args(install_args(names)));
    if attempt().is_ok() {
        return Ok(());
    }
    proc::check_interrupt()?;
    note!("packages: trying again with fresh package lists");
    proc::run(apt(root).arg("update"))?;
    attempt().map_err(|error| {
        unknown(&format!("packages could not be installed: {error}"), "look at the output of `apt-get` above")
    })
}

fn apt(root: bool) -> Command {
    let mut command = as_root("apt-get", root);
    // Two packages must not stop in the middle to ask something.
    if root {
        command.env("DEBIAN_FRONTEND", "noninteractive");
    }
    command
}

fn as_root(program: &str, root: bool) -> Command {
    if root {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    }
}

/// Packages of Debian's that start a service, and which. Nobody asked for those.
const SERVICES: [(&str, &str); 2] = [("docker-registry", "docker-registry.service"), ("etcd-server", "etcd.service")];

/// A service that is masked while its package is installed, and disabled afterwards.
struct KeepServiceOff {
    unit: &'static str,
    root: bool,
    masked: bool,
}

impl KeepServiceOff {
    fn new(unit: &'static str, root: bool) -> Result<Self> {
        let masked = Path::new(RUNTIME_UNITS).is_dir();
        if masked {
            note!("packages: {unit} stays off; what needs it starts one of its own on loopback");
            proc::run(as_root("systemctl", root).args(["mask", "--runtime", unit]))?;
        }
        Ok(Self { unit, root, masked })
    }
}

impl Drop for KeepServiceOff {
    fn drop(&mut self) {
        if !self.masked {
            return;
        }
        for args in [&["unmask", "--runtime", self.unit][..], &["disable", self.unit]] {
            if let Err(error) = proc::run(as_root("systemctl", self.root).args(args)) {
                note!("warning: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_says_what_it_is_for() {
        for need in &NEEDS {
            assert!(!need.why.is_empty() && !need.package.is_empty(), "{}", need.program);
        }
    }

    #[test]
    fn installing_asks_apt_for_nothing_but_the_missing_packages() {
        assert_eq!(install_args(&["runc"]), ["install", "--yes", "--no-install-recommends", "runc"]);
    }
}
