//! `casemate-serve`: the inference server in the box. See [`inference::server`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use inference::server::{Config, ServeError, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Exit code for a wrong input: the model, its key, the labels, the command line.
const WRONG_INPUT: u8 = 1;
/// Exit code for everything else.
const COULD_NOT_TELL: u8 = 2;

/// Serve an ONNX model, sealed or not, over the KServe v2 protocol
///
/// Endpoints: /v2, /v2/health/{live,ready}, /v2/models/NAME, /v2/models/NAME/{ready,infer}, /metrics.
#[derive(Debug, Parser)]
#[command(name = "casemate-serve", version)]
struct Args {
    /// The model: an ONNX file, or what `casemate model seal` made of one
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The key of a sealed model
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The name to serve the model under [default: the sealed name, or the file's]
    #[arg(long)]
    name: Option<String>,
    /// Inferences computed at once [default: as many as cores, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// Inferences that may wait; more are refused with 503
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_queue: u16,
    /// Rows in one request
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    max_batch: u16,
    /// Largest model in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 30)]
    max_model_bytes: u64,
    /// Seconds that open connections get after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u16,
    /// How much to log
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info", ignore_case = true)]
    log_level: LogLevel,
    /// The pod's name, for the header x-casemate-pod
    #[arg(long, value_name = "NAME", env = "HOSTNAME")]
    pod: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(message) => {
            // Help and version come this way too, and they are no failure.
            let code = if message.use_stderr() { WRONG_INPUT } else { 0 };
            let _ = message.print();
            return ExitCode::from(code);
        }
    };
    start_log(args.log_level);
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn start_log(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let own = ["inference", "casemate_serve"].map(|target| (target, level));
    let filter = Targets::new().with_default(LevelFilter::WARN).with_targets(own);
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    log.with_ansi(false).finish().with(filter).init();
}

fn serve(args: Args) -> anyhow::Result<()> {
    let mut config = Config::new(args.listen, args.model);
    config.source.key_file = args.key_file;
    config.source.labels = args.labels;
    config.source.name = args.name;
    config.source.max_model_bytes = args.max_model_bytes;
    config.workers = args.workers.map_or(config.workers, usize::from);
    config.max_queue = args.max_queue.into();
    config.max_batch = args.max_batch.into();
    config.grace = Duration::from_secs(args.grace.into());
    config.pod = args.pod;
    // One thread for the sockets: next to the model's arithmetic, HTTP is little work. One more than the workers, for loading.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(config.workers + 1)
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let shutdown = async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
        };
        Server::bind(config).await?.run(shutdown).await?;
        Ok(())
    })
}

#[expect(clippy::print_stderr, reason = "the last words of a program, after the log")]
fn report(error: &anyhow::Error) -> ExitCode {
    let mut chain = error.chain();
    if let Some(first) = chain.next() {
        eprintln!("error: {first}");
    }
    for cause in chain {
        eprintln!("  caused by: {cause}");
    }
    let serve_error = error.downcast_ref::<ServeError>();
    if let Some(hint) = serve_error.and_then(ServeError::hint) {
        eprintln!("\nhint: {hint}");
    }
    ExitCode::from(if serve_error.is_some_and(ServeError::is_input) { WRONG_INPUT } else { COULD_NOT_TELL })
}
