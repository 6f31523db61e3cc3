//! NVIDIA's GPUs and NVSwitches of one host: what is on the PCI bus ([`pci`]), which confidential-computing mode a device
//! is at and how it is brought to another ([`card`], [`mode`], [`fsp`]), and all of it read through the kernel's files
//! under a root folder ([`Machine`]).
//!
//! It must never speak to a cluster or to a network, and it runs no executor: whoever serves a cluster calls it from a
//! thread. It must never be trusted either, since it runs on the host, as the host: what protects a model is the
//! Evidence of the GPU inside the pod, and nothing that is said here.
//!
//! Decision 0012 says why this is a crate of its own.

mod address;
mod bus;
pub mod card;
mod chip;
mod clock;
mod config_space;
pub mod fsp;
mod machine;
pub mod mode;
mod names;
pub mod pci;
pub mod registers;
#[cfg(any(test, feature = "simulated"))]
#[expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "a stand-in for hardware, in tests and benchmarks alone"
)]
pub mod simulated;

pub mod transition;
pub mod users;
pub mod vfio;

pub use address::{Address, NotAnAddress};
pub use bus::{Bus, BusError, Sysfs};
pub use card::{Card, CardError};
pub use chip::Chip;
pub use clock::{Clock, Monotonic};
pub use config_space::ConfigSpace;
pub use machine::{IN_ROOT, Machine, ReadError, WriteError};
pub use mode::{Mode, Observed, UnknownMode};
pub use names::resource_name;
