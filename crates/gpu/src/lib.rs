//! NVIDIA's GPUs and NVSwitches of one host: what is on the PCI bus ([`pci`]), read through the kernel's files under a
//! root folder ([`Machine`]).
//!
//! It must never speak to a cluster or to a network, and it runs no executor: whoever serves a cluster calls it from a
//! thread. It must never be trusted either, since it runs on the host, as the host.

mod machine;
pub mod pci;

pub use machine::{Machine, ReadError};
