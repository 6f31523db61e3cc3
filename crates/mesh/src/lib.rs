//! The pod's network: a firewall that closes everything that is not listed, and a transparent proxy that ends TLS on
//! what is (design, section 10).
//!
//! [`firewall`] writes nf_tables and policy routing through netlink, because the container image has no `nft`.
//! [`proxy`] accepts what the firewall hands it, checks the caller, and forwards to the workload's loopback; and it carries
//! connections of the pod's programs to remotes that initdata lists, whose certificates it checks.
//!
//! This crate attests nothing and asks nobody for a certificate: it gets [`proxy::Material`] with the end of its lease
//! and enforces that end, also on connections that are open. It never forwards a connection whose caller it has not
//! authorised, and it has no mode in which plain TCP reaches the workload.
//!
//! # What is deliberately absent
//!
//! - Closing open ports when the lease ends. What the proxy serves is cut; `open_ports` of initdata stay open, because
//!   the process that knows the lease has no capability left to change the firewall, and a mesh that kept one would be
//!   worth attacking for it. An application behind an open port does its own attested TLS and must let its certificate's
//!   lease bound its connections.

pub mod firewall;
pub mod lease;
mod netlink;
pub mod proxy;
