//! The crate as its users see it, against a real HTTP server on loopback that answers as the vendors do, or badly.

mod bundle;
mod cache;
mod client;
#[path = "../../src/examples.rs"]
mod examples;
mod processes;
mod rig;
mod rollback;
