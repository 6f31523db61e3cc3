//! The real binaries in a pod of their own: a network namespace, a root folder as the image has it, an attestation agent
//! on the loopback interface, and a real Coordinator in a second namespace. These tests need root and say so aloud when
//! they cannot run.

#![expect(clippy::print_stderr, reason = "a skipped test must be heard, and a measurement read")]

mod launcher;
#[path = "../../../mesh/tests/it/netns.rs"]
mod netns;
mod rig;
mod scenarios;
