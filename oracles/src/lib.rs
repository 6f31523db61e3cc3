//! Second implementations that check ours; never shipped.
//!
//! Each file in `tests/` computes something with Casemate's own code and with a crate that somebody else wrote, for many
//! inputs, and demands the same answer. Those crates bring cryptography and parsers that must not be in a release, so
//! this folder is a workspace with a lock file of its own. Run it with `cargo test` in this folder;
//! `README.md` lists the tests.
