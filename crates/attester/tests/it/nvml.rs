//! GPU evidence through NVML: a stand-in of the library, compiled here from C, which says what real ones say.

/// A static binary loads nothing; the other half of this file is for the image variant that is dynamically linked.
#[cfg(target_feature = "crt-static")]
#[test]
fn nvml_is_for_dynamically_linked_binaries() {
    println!(
        "SKIPPED: this test binary is static and loads no library; run it with RUSTFLAGS=-Ctarget-feature=-crt-static"
    );
}
