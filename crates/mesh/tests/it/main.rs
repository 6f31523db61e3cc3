//! The mesh in real network namespaces. These tests need root and say so aloud when they cannot run.

mod firewall;
mod netns;
