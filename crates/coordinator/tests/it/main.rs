//! The Coordinator over loopback, with a software TEE in this process: every message goes through real channels.

mod life;
mod recovery;
mod refusals;
mod rig;
mod tampering;
