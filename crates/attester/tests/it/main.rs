//! Attesters against fakes of everything they ask, whose answers are made from what they were asked, so that Evidence over
//! other bytes fails in our own Verifier.

mod agent;
mod configfs;
mod detection;
mod device_nodes;
mod enclaves;
mod guest_agent;
mod guest_components;
mod kernel;
mod nvml;
mod vendors;
