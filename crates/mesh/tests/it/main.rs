//! The mesh in real network namespaces. These tests need root and say so aloud when they cannot run.

#![expect(clippy::print_stderr, reason = "a skipped test must be heard")]

mod firewall;
mod netns;
mod pki;
mod pod;
mod proxy;
