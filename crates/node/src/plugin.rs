//! The kubelet's device plugin: which devices pods may ask for, which of them are fit, and what a container gets.
//!
//! Devices are offered by IOMMU group, since that is what can be given to a virtual machine: nothing less is isolated.
//! What is offered is worked out from a scan of the bus and from what the node agent says about the confidential-computing
//! mode ([`inventory`]); which devices suit a request, and what a container is told, are functions of that
//! ([`allocate`]). [`serve`] puts both on sockets, one for each resource, and stays registered when the kubelet restarts,
//! when a socket is deleted and when devices come and go.
//!
//! It must never offer a device that is about to change its mode, nor describe one device to a container twice.

pub mod allocate;
pub mod api;
pub mod inventory;
pub mod observe;
mod readiness;
pub mod serve;
mod socket;

pub use inventory::{Inventory, Naming, Readiness, ResourceName, SetRule, Unit, UnitId};
