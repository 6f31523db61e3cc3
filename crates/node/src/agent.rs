//! The part of the agent that speaks to the cluster.
//!
//! It watches three things: its own node, the [`NodeConfiguration`](crd::NodeConfiguration) objects and, where a GPU
//! Operator is installed, that operator's `ClusterPolicy`. From those it decides what this machine is to be
//! ([`wish`]), lets the devices be changed ([`device`]), and says what the machine is: labels on the node, events,
//! conditions, metrics. At rest there are only the watches.
//!
//! The core is pure: [`wish`], [`labels`], [`pause`] and [`conditions`] take what was read and return what is to be
//! written; [`run`] is the loop around them.
//!
//! It never writes a whole node object: labels go by server-side apply under our own field managers, so that those
//! which no longer hold disappear and those of others stay theirs. It never says that a node is ready while its devices
//! are being changed, and where it cannot say `not ready`, nothing is changed.

pub mod backoff;
pub mod client;
pub mod conditions;
pub mod crd;
pub mod device;
pub mod drivers;
pub mod events;
pub mod gpus;
pub mod hands;
pub mod labels;
pub mod metrics;
pub mod offer;
pub mod pause;
pub mod policy;
mod proven;
pub mod run;
pub mod runtimes;
pub mod watches;
pub mod wish;
pub mod write;
