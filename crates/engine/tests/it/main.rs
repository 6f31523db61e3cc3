//! The engine against the real kernel, runc and nftables. Needs root.
//!
//! This executable is also the engine's roles and the program inside the containers, so that the tests need nothing
//! that cargo did not build. Hence its own `main`: it runs the tests one after the other and takes a part of a test's
//! name as its argument, as the usual harness does.
#![expect(clippy::print_stdout, reason = "this is a test harness")]

mod agent;
mod generated;
mod guest;
mod lifecycle;
mod registry;
mod support;
mod wrong_input;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default().to_string_lossy().into_owned();
    let args: Vec<OsString> = args.collect();
    if let Some(status) = guest::stand_in(&program, &args) {
        return status;
    }
    match args.first().and_then(|arg| arg.to_str()) {
        Some("engine") => return engine::role::run(args.get(1..).unwrap_or_default()),
        Some("guest") => return guest::main(args.get(1..).unwrap_or_default()),
        Some("up") => return support::up_main(args.get(1..).unwrap_or_default()),
        _ => {}
    }
    let tests: Vec<Test> = [agent::TESTS, lifecycle::TESTS, generated::TESTS, wrong_input::TESTS].concat();
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in &tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).filter(|arg| !arg.starts_with("--")).collect();
    let chosen: Vec<_> =
        tests.into_iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|f| name.contains(f))).collect();
    if let Some(reason) = support::why_not() {
        for (name, _) in &chosen {
            println!("test {name} ... ignored");
        }
        println!("\nSKIPPED: {} tests of the local engine: {reason}\n", chosen.len());
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let begun = Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {} ({:.2} s)", if ok { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        if !ok {
            failed.push(*name);
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
