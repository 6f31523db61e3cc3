//! `casemate`: the command line of users, owners, clients and operators.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 yes or done, 1 a negative answer (not trusted, wrong
//! input), 2 could not tell (network, machine or our own failure).

mod commands;
mod failure;
mod judge;
mod log_check;
mod output;
mod session;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::failure::{Failure, Outcome};
use crate::workspace::Workspace;

/// Run AI workloads so that nobody who operates the machines can read their data, model or code
#[derive(clap::Parser)]
#[command(name = "casemate", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "A deployment's life, on one machine:
  casemate generate --reference-values local resources/   policy, initdata, manifest.json
  casemate up resources/                                  start the pods
  casemate set resources/                                 hand over the manifest, signed
  casemate secret put NAME --file FILE                    hand over a model key
  casemate verify                                         is it genuine, and ours?
  casemate infer --image digit.png                        ask a question over TLS that ends in the pod
  casemate down                                           stop and clean up

Exit codes: 0 yes, 1 no (not trusted, or wrong input), 2 could not tell.")]
struct Cli {
    /// The work folder, in which default file names lie
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".",
        env = "CASEMATE_WORKSPACE_DIR",
        help_heading = "Global options"
    )]
    workspace_dir: PathBuf,
    /// Print results and errors as JSON
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// What to log to stderr: error, warn, info, debug, trace, or TARGET=LEVEL,...
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "warn",
        env = "CASEMATE_LOG",
        help_heading = "Global options"
    )]
    log_level: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Generate(commands::generate::GenerateArgs),
    Set(commands::set::SetArgs),
    Verify(commands::verify::VerifyArgs),
    Recover(commands::recover::RecoverArgs),
    Sign(commands::sign::SignArgs),
    Explain(commands::explain::ExplainArgs),
    #[command(subcommand)]
    Policy(commands::policy::PolicyCommand),
    #[command(subcommand)]
    ReferenceValues(commands::reference_values::ReferenceValuesCommand),
    #[command(subcommand)]
    Endorsements(commands::endorsements::EndorsementsCommand),
    Doctor(commands::doctor::DoctorArgs),
    #[command(subcommand)]
    GuestImage(commands::guest_image::GuestImageCommand),
    #[command(subcommand)]
    Secret(commands::secret::SecretCommand),
    #[command(subcommand)]
    Model(commands::model::ModelCommand),
    Infer(commands::infer::InferArgs),
    Bench(commands::infer::BenchArgs),
    Deploy(commands::deploy::DeployArgs),
    #[command(subcommand)]
    Infra(commands::infra::InfraCommand),
    Up(commands::local::UpArgs),
    Ps(commands::local::PsArgs),
    Logs(commands::local::LogsArgs),
    Scale(commands::local::ScaleArgs),
    Kill(commands::local::KillArgs),
    Wait(commands::local::WaitArgs),
    Down(commands::local::DownArgs),
    /// A process of the local engine; `casemate up` starts these
    #[command(hide = true)]
    Engine {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// What every command gets.
pub(crate) struct Context {
    workspace: Workspace,
    json: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version were asked for; anything else is a wrong input, which is exit 1 here and 2 with clap.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if let Command::Engine { args } = &cli.command {
        return engine::role::run(args);
    }
    if let Err(failure) = start_log(&cli.log_level) {
        return failure.report(cli.json);
    }
    let context = Context { workspace: Workspace::new(cli.workspace_dir), json: cli.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::could_not_tell(error).context("start the runtime").report(context.json),
    };
    match runtime.block_on(run(&context, cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(context.json),
    }
}

fn start_log(level: &str) -> Outcome {
    let wrong = |what: &str| {
        Failure::refuse(format!("`--log-level {level}`: `{what}` is no level"))
            .hint("levels are error, warn, info, debug and trace; `TARGET=LEVEL`, with commas between, is for parts")
    };
    // A mistyped level would otherwise be taken for a target of that name.
    let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
    for directive in level.split(',') {
        let word = directive.rsplit('=').next().unwrap_or(directive);
        if !is_level(word) {
            return Err(wrong(word));
        }
    }
    // Levels by target need no regular expressions, whose tables would cost every command a few milliseconds.
    let filter: Targets = level.parse().map_err(|_| wrong(level))?;
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr).finish();
    log.with(filter).init();
    Ok(())
}

async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Generate(args) => commands::generate::run(context, args).await,
        Command::Set(args) => commands::set::run(context, args).await,
        Command::Verify(args) => commands::verify::run(context, args).await,
        Command::Recover(args) => commands::recover::run(context, args).await,
        Command::Sign(args) => commands::sign::run(context, args),
        Command::Explain(args) => commands::explain::run(context, args).await,
        Command::Policy(command) => commands::policy::run(context, &command),
        Command::ReferenceValues(command) => commands::reference_values::run(context, command).await,
        Command::Endorsements(command) => commands::endorsements::run(context, command).await,
        Command::Doctor(args) => commands::doctor::run(context, args).await,
        Command::GuestImage(command) => commands::guest_image::run(context, &command),
        Command::Secret(command) => commands::secret::run(context, command).await,
        Command::Model(command) => commands::model::run(context, command),
        Command::Infer(args) => commands::infer::infer(context, args).await,
        Command::Bench(args) => commands::infer::bench(context, args).await,
        Command::Deploy(args) => commands::deploy::run(context, args),
        Command::Infra(command) => commands::infra::run(context, command),
        Command::Up(args) => commands::local::up(context, args).await,
        Command::Ps(args) => commands::local::ps(context, args).await,
        Command::Logs(args) => commands::local::logs(context, args).await,
        Command::Scale(args) => commands::local::scale(context, args).await,
        Command::Kill(args) => commands::local::kill(context, args).await,
        Command::Wait(args) => commands::local::wait(context, args).await,
        Command::Down(args) => commands::local::down(context, args).await,
        Command::Engine { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
