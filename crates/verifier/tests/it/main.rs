//! The Verifier through its public door, one file for each kind of Evidence.

mod ccel;
mod composite;
mod dcap;
mod launch;
mod nvidia_corpus;
mod ocsp_openssl;
mod replay;
mod rim;
mod seeds;
mod software;
mod targets;
