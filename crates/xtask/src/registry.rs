//! `cargo xtask registry`: Debian's `docker-registry` on loopback, for as long as this process lives.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::failure::unknown;
use crate::images::{self, ImagesArgs};
use crate::workspace::Metadata;
use crate::{packages, proc};

/// The port that the README and `examples/inference` name.
pub(crate) const DEFAULT_PORT: u16 = 5000;
/// How long the registry may take to answer; it takes a tenth of a second.
const START: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct RegistryArgs {
    /// Port on 127.0.0.1
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// Optimised binaries in the images
    #[arg(long)]
    release: bool,
    /// Also the example image `casemate/digits` around this sealed model
    #[arg(long, value_name = "PATH")]
    model_file: Option<PathBuf>,
    /// Also the image of `examples/web`
    #[arg(long)]
    web: bool,
}

/// The command: starts the registry, pushes the images and waits for Ctrl-C.
pub(crate) fn run(args: &RegistryArgs) -> Result<()> {
    packages::ensure(args.yes)?;
    let metadata = Metadata::load()?;
    let model_file = args.model_file.clone();
    let images = ImagesArgs { release: args.release, web: args.web, model_file, ..ImagesArgs::default() };
    let built = images::build(&metadata, &images)?;
    let mut registry = Registry::start(&metadata.target_directory.join("registry"), args.port)?;
    images::push(&built, &images::Destination::root(registry.address()))?;
    note!("registry: listening on {}; Ctrl-C stops it", registry.address());
    for image in &built {
        out!("{}/{}:{}@{}", registry.address(), image.name, image.tag, image.digest);
    }
    while !proc::interrupted() {
        if let Ok(Some(status)) = registry.child.try_wait() {
            let hint = format!("look at `{}`", registry.log.display());
            return Err(unknown(&format!("the registry ended by itself ({status})"), hint));
        }
        std::thread::sleep(POLL);
    }
    note!("registry: stopped");
    Ok(())
}

/// A running registry. Dropping it ends it.
pub(crate) struct Registry {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Registry {
    /// Starts a registry on loopback whose configuration, storage and log are in `folder`.
    pub(crate) fn start(folder: &Path, port: u16) -> Result<Self> {
        let Some(program) = proc::find_program("docker-registry") else {
            return Err(unknown("there is no `docker-registry`", "`cargo xtask packages` installs it"));
        };
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        if let Err(error) = TcpListener::bind(address) {
            let who = listener(port).map_or_else(String::new, |who| format!(" ({who} listens there)"));
            let hint =
                "give another port with `--registry-port` (`--port` of `cargo xtask registry`), or end that program";
            return Err(unknown(&format!("port {port} is not free{who}: {error}"), hint));
        }
        let storage = folder.join("storage");
        fs::create_dir_all(&storage).with_context(|| format!("create `{}`", storage.display()))?;
        let config = folder.join(format!("config-{port}.yml"));
        fs::write(&config, configuration(address, &storage)).context("write the registry's configuration")?;
        let log = folder.join(format!("registry-{port}.log"));
        let output = fs::File::create(&log).with_context(|| format!("create `{}`", log.display()))?;
        let mut command = guarded(&program);
        command.arg("serve").arg(&config).stdin(Stdio::null());
        command.stdout(output.try_clone().context("share the registry's log")?).stderr(output);
        // Its own group: the terminal's Ctrl-C must not end it before what still uses it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("start `docker-registry`")?;
        let mut registry = Self { child, port, log };
        registry.wait_until_ready()?;
        Ok(registry)
    }

    /// Starts on `port` if that is given, else on the default port, else on any free one.
    pub(crate) fn start_somewhere(folder: &Path, port: Option<u16>) -> Result<Self> {
        if let Some(port) = port {
            return Self::start(folder, port);
        }
        if TcpListener::bind((Ipv4Addr::LOCALHOST, DEFAULT_PORT)).is_ok() {
            return Self::start(folder, DEFAULT_PORT);
        }
        let who = listener(DEFAULT_PORT).map_or_else(String::new, |who| format!(" by {who}"));
        let registry = Self::start_on_free_port(folder)?;
        note!("registry: port {DEFAULT_PORT} is taken{who}; using {}", registry.port);
        Ok(registry)
    }

    /// Starts on a port that nobody listens on.
    pub(crate) fn start_on_free_port(folder: &Path) -> Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        Self::start(folder, free.context("find a free port")?.port())
    }

    /// HOST:PORT, as an image reference names it.
    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if answers(self.port) {
                return Ok(());
            }
            let ended = self.child.try_wait().context("wait for the registry")?;
            if ended.is_some() || Instant::now() > deadline {
                let what = ended.map_or("does not answer".to_owned(), |status| format!("ended at once ({status})"));
                let hint = format!("look at `{}`", self.log.display());
                return Err(unknown(&format!("the registry {what}"), hint));
            }
            proc::check_interrupt()?;
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        proc::end(&mut self.child, true);
    }
}

/// The registry ends with us even when we are killed and no destructor runs. `setpriv` is in Debian's base system;
/// elsewhere a killed demo leaves a registry behind.
fn guarded(program: &Path) -> Command {
    match proc::find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

fn configuration(address: SocketAddrV4, storage: &Path) -> String {
    // JSON is YAML: a path with odd characters stays a string.
    let storage = serde_json::Value::from(storage.to_string_lossy().into_owned());
    format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {storage}\n  delete:\n    \
         enabled: true\nhttp:\n  addr: {address}\n"
    )
}

/// Whether something on this port answers like a registry.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.write_all(b"GET /v2/ HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 12];
        socket.read_exact(&mut start)?;
        Ok(start.starts_with(b"HTTP/1.") && start.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

/// Who listens on a TCP port of this machine, for an error message.
fn listener(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|table| listening_inode(&table, port))?;
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        descriptors.find(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == socket.as_str()))?;
        let name = fs::read_to_string(process.path().join("comm")).ok()?;
        Some(format!("`{}`, process {pid}", name.trim()))
    })
}

/// The inode of a listening socket in a table of `/proc/net`; see proc(5): local address is the second field, the
/// state (0A is LISTEN) the fourth, the inode the tenth.
fn listening_inode(table: &str, port: u16) -> Option<String> {
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&wanted) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).map(ToString::to_string))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_who_has_it() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let who = listener(port).expect("we listen");
        assert!(who.ends_with(&format!("process {}", std::process::id())), "{who}");
        drop(taken);
        assert_eq!(listener(port), None);
    }

    #[test]
    fn only_listening_sockets_count() {
        let line = |state: &str| {
            format!("head\n 0: 0100007F:1388 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 4242 1\n")
        };
        assert_eq!(listening_inode(&line("0A"), 5000).as_deref(), Some("4242"));
        assert_eq!(listening_inode(&line("01"), 5000), None);
        assert_eq!(listening_inode(&line("0A"), 5001), None);
        assert_eq!(listening_inode("head\nbroken\n", 5000), None);
    }

    #[test]
    fn the_configuration_listens_on_loopback_only() {
        let text = configuration(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5000), Path::new("/t/a: b"));
        assert!(text.contains("addr: 127.0.0.1:5000\n"), "{text}");
        assert!(text.contains("rootdirectory: \"/t/a: b\"\n"), "{text}");
    }

    #[test]
    fn a_registry_answers_and_is_gone_after_drop() {
        if proc::find_program("docker-registry").is_none() {
            out!("SKIPPED: no docker-registry");
            return;
        }
        let dir = tempfile::tempdir().expect("tempdir");
        let registry = Registry::start_on_free_port(dir.path()).expect("starts");
        let port = registry.port;
        assert!(answers(port));
        let error = Registry::start(dir.path(), port).err().expect("the port is taken").to_string();
        assert!(error.starts_with(&format!("port {port} is not free (`docker-registry`, process ")), "{error}");
        drop(registry);
        assert!(!answers(port));
    }
}
