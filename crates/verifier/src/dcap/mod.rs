//! What Intel SGX and Intel TDX share (DCAP): the quote, the PCK certificate and Intel's signed TCB documents.

mod pck;
pub mod quote;
mod read;
pub mod report;

pub use pck::{PckError, PckExtension};
