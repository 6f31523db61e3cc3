//! The role `supervise`: kubelet, containerd, shim and kube-proxy of one machine. Untrusted, as those are.
//!
//! It never touches a pod's processes or files. What it wants of a pod it asks of the pod's agent, in the requests of a
//! Kata shim, and the agent's policy decides. What it can do without asking is what any host can: take a pod's machine
//! away, cut its network, leave things out.

mod backoff;
mod container;
mod engine;
mod exec;
mod images;
mod link;
mod network;
mod objects;
mod pod;
mod probe;
mod server;
mod status;
mod volumes;

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cleanup;
use crate::control::{Event, PodStatus, ServiceStatus};
use crate::error::EngineError;
use crate::identity;
use crate::launcher::SELF;
use crate::paths::Paths;
use crate::process::{PATH, Started};

use engine::Engine;
use network::Network;

/// What `up` writes to the supervisor's standard input, in one line. A second line, `detach`, says that the caller has
/// heard of the success; when the input ends without it, everything is stopped again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub(crate) resources: Vec<PathBuf>,
    pub(crate) patience_ms: u64,
}

/// The line by which the caller lets go.
pub(crate) const DETACH: &str = "detach\n";

/// What the supervisor writes to its standard output, one line each, until it is up or has failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Progress {
    Event(Event),
    Up { pods: Vec<PodStatus>, services: Vec<ServiceStatus> },
    Failed(EngineError),
}

/// Checks resources without starting anything.
pub(crate) fn check(resources: &[PathBuf]) -> Result<(), EngineError> {
    objects::load(resources).map(drop)
}

fn say(progress: &Progress) {
    if let Ok(mut line) = serde_json::to_vec(progress) {
        line.push(b'\n');
        // The caller may be gone; its standard input says so too, and that is listened to.
        let _ = std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush());
    }
}

/// Runs the role: `supervise WORKSPACE`.
pub(crate) fn run(workspace: PathBuf) -> ExitCode {
    // Out of the terminal's process group: Ctrl-C there is for the caller, who then closes our input.
    let _ = rustix::process::setsid();
    match supervise(&workspace) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("supervise: {error}");
            say(&Progress::Failed(error));
            ExitCode::FAILURE
        }
    }
}

fn supervise(workspace: &Path) -> Result<(), EngineError> {
    let mut line = String::new();
    let failed = |error: &dyn std::fmt::Display| EngineError::io("read what is to be started", error);
    std::io::stdin().lock().read_line(&mut line).map_err(|error| failed(&error))?;
    let wish: Wish = serde_json::from_str(&line).map_err(|error| failed(&error))?;
    let objects = objects::load(&wish.resources)?;
    let paths = Paths::of(workspace)?;
    // Whoever makes the folder is the engine of this work folder.
    std::fs::create_dir_all(crate::paths::RUN).map_err(|error| EngineError::io("make the run folder", &error))?;
    match std::fs::DirBuilder::new().mode(0o700).create(paths.run()) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(EngineError::AlreadyUp { workspace: paths.workspace().to_owned() });
        }
        other => other.map_err(|error| EngineError::io(format!("make `{}`", paths.run().display()), &error))?,
    }
    let result = serve(&paths, objects, &wish);
    let swept = cleanup::sweep(&paths);
    result.and(swept)
}

fn serve(paths: &Paths, objects: objects::Objects, wish: &Wish) -> Result<(), EngineError> {
    let me = Started::now("supervise", None, std::process::id());
    let recorded = me.map_or(Ok(()), |me| me.record(&paths.processes()));
    recorded.map_err(|error| EngineError::io("write the list of processes", &error))?;
    cleanup::note_netns_folder(paths).map_err(|error| EngineError::io("write to the run folder", &error))?;
    forget_logs(paths);
    // The TEE measures its executable while the network is being made.
    let tee = Tee::start(paths)?;
    let network = Network::create(paths.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| EngineError::io("start the runtime", &error))?;
    let engine = Arc::new(Engine::new(paths.clone(), network, objects)?);
    write_engine_json(paths, wish);
    let result = runtime.block_on(live(Arc::clone(&engine), wish));
    // Without waiting for tasks that wait for pods: the pods go now.
    runtime.shutdown_background();
    tee.stop();
    result
}

/// Until something says stop.
async fn live(engine: Arc<Engine>, wish: &Wish) -> Result<(), EngineError> {
    let failed = |error: &dyn std::fmt::Display| EngineError::io("listen for signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
    let mut stop = server::start(Arc::clone(&engine))?;
    let mut caller = caller();
    for workload in &engine.objects.workloads {
        let spec = &workload.template["spec"];
        let containers = ["initContainers", "containers"].into_iter().filter_map(|field| spec[field].as_array());
        let images = containers.flatten().filter_map(|container| container["image"].as_str());
        for image in images {
            tokio::spawn(images::warm(image.to_owned(), engine.paths.images()));
        }
    }
    let reporting = tokio::spawn(report_events(Arc::clone(&engine)));
    tokio::spawn(Arc::clone(&engine).keep_balanced());
    engine.reconcile();
    tokio::select! {
        settled = engine.wait_settled(Duration::from_millis(wish.patience_ms)) => settled?,
        // Whatever comes now comes too early for `detach`.
        _ = caller.recv() => return Err(EngineError::Interrupted),
        _ = terminate.recv() => return Err(EngineError::Interrupted),
        _ = interrupt.recv() => return Err(EngineError::Interrupted),
        _ = stop.recv() => return Err(EngineError::Interrupted),
    }
    reporting.abort();
    let _ = reporting.await;
    say(&Progress::Up { pods: engine.ps(), services: engine.services() });
    if caller.recv().await != Some(Word::Detach) {
        return Err(EngineError::Interrupted);
    }
    let_go();
    tokio::select! {
        _ = terminate.recv() => engine.event("engine", "Stopping", "a signal"),
        _ = interrupt.recv() => engine.event("engine", "Stopping", "a signal"),
        _ = stop.recv() => engine.event("engine", "Stopping", "`down`"),
    }
    Ok(())
}

async fn report_events(engine: Arc<Engine>) {
    let (past, mut feed) = engine.events();
    for event in past {
        say(&Progress::Event(event));
    }
    loop {
        match feed.recv().await {
            Ok(event) => say(&Progress::Event(event)),
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Detach,
    Gone,
}

/// What the caller says, read on a thread: standard input has no other reader.
fn caller() -> mpsc::Receiver<Word> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut line = String::new();
        let word = match std::io::stdin().lock().read_line(&mut line) {
            Ok(_) if line == DETACH => Word::Detach,
            _ => Word::Gone,
        };
        let _ = sender.blocking_send(word);
    });
    receiver
}

/// Closes the caller's end: from now on nobody listens, and the caller's pipeline may end.
fn let_go() {
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdin(&null);
        let _ = nix::unistd::dup2_stdout(&null);
    }
}

/// The logs of an earlier `up` would pass for those of this one.
fn forget_logs(paths: &Paths) {
    let logs = paths.state().join("logs");
    for entry in std::fs::read_dir(logs).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn write_engine_json(paths: &Paths, wish: &Wish) {
    let text = serde_json::json!({
        "id": paths.id(),
        "pid": std::process::id(),
        "resources": wish.resources,
        "insecure": "software TEE: for development and tests",
    });
    // For people; nothing reads it.
    let _ = std::fs::write(paths.engine_json(), format!("{text:#}\n"));
}

/// The TEE's process.
struct Tee {
    child: Child,
    input: ChildStdin,
}

impl Tee {
    fn start(paths: &Paths) -> Result<Self, EngineError> {
        let failed = |error: &dyn std::fmt::Display| EngineError::io("start the software TEE", error);
        // Made here if it is not there, so that a damaged one is reported by name.
        identity::root_key(paths)?;
        let mut command = Command::new(SELF);
        std::os::unix::process::CommandExt::arg0(&mut command, "casemate");
        let mut child = command
            .args(["engine", "tee"])
            .arg(paths.workspace())
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        if let Some(started) = Started::now("tee", None, child.id()) {
            started.record(&paths.processes()).map_err(|error| failed(&error))?;
        }
        let (Some(input), Some(mut output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"it has no pipes"));
        };
        let mut ready = [0];
        if output.read_exact(&mut ready).is_err() {
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(failed(&format!("it ended: {status}")));
        }
        Ok(Self { child, input })
    }

    /// Ends it, and every pod with it.
    fn stop(mut self) {
        drop(self.input);
        let _ = self.child.wait();
    }
}
