//! The Verifier through its public door, one file for each kind of Evidence.

mod ccel;
mod launch;
mod replay;
mod rim;
mod software;
mod targets;
