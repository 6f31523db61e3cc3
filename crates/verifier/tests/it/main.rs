//! The Verifier through its public door, one file for each kind of Evidence.

mod ccel;
mod dcap;
mod launch;
mod nvidia_corpus;
mod replay;
mod seeds;
mod software;
mod targets;
