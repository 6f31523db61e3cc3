//! libFuzzer over one target, which the environment names: `CASEMATE_FUZZ_TARGET=snp`.
#![no_main]

#[path = "../../crates/verifier/tests/it/targets.rs"]
mod targets;

use std::sync::OnceLock;

type Run = Box<dyn Fn(&[u8]) + Send + Sync>;

static TARGET: OnceLock<Run> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("CASEMATE_FUZZ_TARGET").expect("CASEMATE_FUZZ_TARGET names a target");
        let of_verifier = targets::find(&name).map(|target| Box::new(move |bytes: &[u8]| target.run(bytes)) as Run);
        let found = of_verifier.or_else(|| policy::fuzzing::find(&name).map(|run| Box::new(run) as Run));
        found.unwrap_or_else(|| panic!("no target `{name}`"))
    });
    target(bytes);
});
