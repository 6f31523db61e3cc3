//! The Verifier through its public door, one file for each kind of Evidence.

mod ccel;
mod composite;
mod dcap;
mod launch;
mod nvidia_corpus;
mod ocsp_openssl;
mod replay;
mod rim;
mod rim_contents;
mod rim_corpus;
mod rim_signature;
mod seeds;
mod software;
mod targets;
