//! The agent against a real API server. One server serves all tests, so this executable has its own `main`: it starts
//! the server, runs the tests one after the other, each on nodes of its own, and ends it. It takes parts of names as
//! arguments, as the usual harness does, and `--log` for what the agents say. Where there can be no server, the tests are ignored, aloud.
#![expect(clippy::print_stdout, reason = "this is a test harness")]

mod configuration;
mod features;
mod manifests;
mod modes;
mod proxy;
mod rig;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use rig::Rig;

type Test = (&'static str, fn(&mut Rig));

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // The manifests come first: they install the definition and the rights that the others need.
    let tests: Vec<Test> =
        [manifests::TESTS, configuration::TESTS, features::TESTS, modes::TESTS, trouble::TESTS].concat();
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in &tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let chosen: Vec<Test> = tests
        .into_iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())))
        .collect();
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    if args.iter().any(|arg| arg == "--log") {
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    }
    let mut rig = match Rig::start() {
        Ok(rig) => rig,
        Err(missing) => {
            for (name, _) in &chosen {
                println!("test {name} ... ignored");
            }
            println!("\nSKIPPED: {} tests against a real API server: {missing}\n", chosen.len());
            println!("test result: ok. 0 passed; 0 failed; {} ignored", chosen.len());
            return ExitCode::SUCCESS;
        }
    };
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let begun = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(|| test(&mut rig))).is_ok();
        println!("test {name} ... {} ({:.2} s)", if ok { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        if !ok {
            failed.push(*name);
            rig.mend();
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {} passed; {} failed\n", chosen.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
