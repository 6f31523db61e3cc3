//! libFuzzer over one target, which the environment names: `CASEMATE_FUZZ_TARGET=snp`.
#![no_main]

#[path = "../../crates/verifier/tests/it/targets.rs"]
mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<targets::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("CASEMATE_FUZZ_TARGET").expect("CASEMATE_FUZZ_TARGET names a target");
        targets::find(&name).unwrap_or_else(|| panic!("no target `{name}`"))
    });
    target.run(bytes);
});
