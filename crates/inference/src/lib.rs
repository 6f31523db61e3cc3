//! Confidential inference: sealed models, the inference server, and the client that asks it.
//!
//! [`sealed`] keeps weights as ciphertext until the model key is there; [`server`] is `casemate-serve`, an ONNX server that
//! speaks the KServe v2 protocol over HTTP; [`client`] asks a server over TLS and measures it. What a caller of a server
//! must never get out of it is a panic, unbounded work, or an answer to a request that was not understood completely.
//!
//! TLS, certificates and identities are none of the server's business: in a pod the mesh ends TLS and hands the bytes
//! over on loopback. The client takes a finished TLS configuration and reports the certificate it met.

pub mod client;
pub mod image;
pub mod kserve;
mod metrics;
mod model;
pub mod sealed;
pub mod server;
