//! `cargo xtask`, behind `./x`: the commands of development.
//!
//! It builds, checks, tests and demonstrates Casemate, and is no part of it. It does nothing to a machine that it does
//! not undo, except installing packages, which it announces. Everybody waits for it at the start, so it has few
//! dependencies and none of our own crates.

#[macro_use]
mod say;

mod bench_generate;
mod bench_node;
mod bench_verifier;
mod check;
mod ci;
mod demo;
mod evidence;
mod failure;
mod fuzz;
mod images;
mod packages;
mod proc;
mod registry;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, check, test and demonstrate Casemate.
#[derive(Parser)]
#[command(name = "x", bin_name = "./x", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Formatting, lints, tidy, documentation, dependencies
    Check,
    /// The rules of this repository that no other tool knows
    Tidy,
    /// All tests, and what was skipped
    Test(test::TestArgs),
    /// Fetch the corpus of Evidence from real hardware, which is not in this repository
    Evidence(evidence::EvidenceArgs),
    /// Install the system packages that tests and the demo need
    Packages {
        /// Install without asking
        #[arg(long)]
        yes: bool,
    },
    /// Build the OCI images, reproducibly
    Images(images::ImagesArgs),
    /// A registry on loopback with the images in it, until Ctrl-C
    Registry(registry::RegistryArgs),
    /// From plain YAML to a confidential, attested, attacked and recovered deployment, on this machine
    Demo(demo::DemoArgs),
    /// Measurements that `docs/performance.md` reports
    #[command(subcommand)]
    Bench(Bench),
    /// Throw bytes at one of the parsers; without a target, list them
    Fuzz(fuzz::FuzzArgs),
    /// Exactly what CI runs
    Ci(ci::CiArgs),
}

#[derive(Subcommand)]
enum Bench {
    /// From `up` to the first answer, from an initializer's start to its certificate, and memory
    StartUp(demo::start_up::StartUpArgs),
    /// Appraisals of each kind of Evidence, beside the signature checks that they cannot avoid
    Verifier(bench_verifier::VerifierArgs),
    /// From Kubernetes YAML to policies: one pod and many, cold and warm, beside a copy of the image
    Generate(bench_generate::GenerateArgs),
    /// The decision of a policy on a container: time and memory
    Decision(bench_generate::decision::DecisionArgs),
    /// The node agent: a change of modes for eight simulated GPUs beside one, and what it costs at rest
    Node(bench_node::NodeArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = proc::watch_signals().and_then(|()| match cli.command {
        Task::Check => check::run(),
        Task::Tidy => tidy::run(),
        Task::Test(args) => test::run(&args),
        Task::Evidence(args) => evidence::run(&args),
        Task::Packages { yes } => packages::ensure(yes),
        Task::Images(args) => images::run(&args),
        Task::Registry(args) => registry::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Bench(Bench::StartUp(args)) => demo::start_up::run(&args),
        Task::Bench(Bench::Verifier(args)) => bench_verifier::run(&args),
        Task::Bench(Bench::Generate(args)) => bench_generate::run(&args),
        Task::Bench(Bench::Decision(args)) => bench_generate::decision::run(&args),
        Task::Bench(Bench::Node(args)) => bench_node::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Ci(args) => ci::run(&args),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(failure::report(&error)),
    }
}
