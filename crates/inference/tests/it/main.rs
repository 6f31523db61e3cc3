//! The server over loopback, the client over TLS, and the program's exit codes.

mod accuracy;
mod client;
mod program;
mod rig;
mod server;
