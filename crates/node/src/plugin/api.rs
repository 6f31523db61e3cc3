//! The kubelet's protocol for device plugins, `v1beta1`: generated from `proto/deviceplugin-v1beta1.proto`, with names and
//! numbers of Kubernetes. A test checks that the code is current.

#[rustfmt::skip]
#[expect(clippy::module_inception, clippy::pedantic, reason = "generated code")]
mod device_plugin_server;
#[rustfmt::skip]
mod messages;
#[rustfmt::skip]
#[expect(clippy::module_inception, clippy::pedantic, reason = "generated code")]
mod registration_client;

pub use device_plugin_server::device_plugin_server::{DevicePlugin, DevicePluginServer};
pub use messages::*;
pub use registration_client::registration_client::RegistrationClient;

/// The version that a plugin registers with.
pub const VERSION: &str = "v1beta1";
/// A device that pods may get.
pub const HEALTHY: &str = "Healthy";
/// A device that pods may not get.
pub const UNHEALTHY: &str = "Unhealthy";
