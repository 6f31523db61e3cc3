//! The pod's firewall: one nf_tables table, replaced in one transaction, and two policy routes.
//!
//! Everything inbound is closed except what [`FirewallConfig`] lists. A port of the mesh is not opened: its packets are
//! handed to the proxy's transparent socket, and when that socket is gone they are dropped, so that a dead proxy means a
//! closed pod and never plain TCP to the workload. Outbound traffic is left alone, with one exception: the attestation
//! agent on the loopback interface answers only the user that [`Stage`] names.
//!
//! **Not protected against:** a process inside the pod that holds `CAP_NET_ADMIN`, or `CAP_SETUID` to become the mesh's
//! user. Which capabilities a container gets is the policy's business.

mod nft;
mod route;

use std::collections::BTreeSet;
use std::io;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use protocol::initdata::Settings;

use self::nft::{Chain, Hook, Protocol, Rule, State, Verdict};
use crate::netlink::{Message, NetlinkError, Socket};

/// Where the proxy takes connections whose client must show a certificate of the mesh.
pub const MUTUAL_PORT: u16 = 15006;
/// Where the proxy takes connections whose client need not show one.
pub const SERVER_ONLY_PORT: u16 = 15007;
/// Where the guest's attestation agent listens on the loopback interface.
pub const AGENT_PORT: u16 = 8006;
/// The user and the group as which the mesh runs, and the only user that may ask the agent once the pod is ready.
pub const MESH_UID: u32 = 1313;

/// The mark of packets on their way to the proxy. Packets from outside lose any mark that they come with, so its value
/// only has to differ from marks that others set; this one spells the letters C and M.
const MARK: u32 = 0x434d;
/// LIMIT: two rules for each port of the mesh, about 600 bytes each in one netlink datagram, must stay below the kernel's
/// default socket buffer of 208 KiB.
const MAX_PORTS: usize = 128;
/// Neighbour solicitation and advertisement (RFC 4861, section 4.3 and 4.4). Without them no IPv6 packet finds the pod.
/// Router advertisements are absent: a pod's addresses and routes are set from its own side.
const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];

/// One port on which the proxy ends TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct IngressPort {
    /// The port.
    pub port: u16,
    /// Whether the client must show a certificate of the mesh.
    pub client_certificate: bool,
}

/// What is open when the pod is ready. Made by [`FirewallConfig::new`], which refuses contradictions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirewallConfig {
    ingress: Vec<IngressPort>,
    open_ports: Vec<u16>,
    agent_user: Option<u32>,
}

/// How far the pod has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nothing inbound is open; the agent answers root, which is the initializer.
    Initializing,
    /// The listed ports are open; the agent answers the mesh, or nobody where there is none.
    Ready,
}

/// Whether the pod has IPv6. Without it nothing of IPv6 is open, which is not an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipv6 {
    /// Routes are in place for both families.
    Available,
    /// The kernel refused the IPv6 route with this errno.
    Unavailable {
        /// As a number, for the log.
        errno: i32,
    },
}

/// Why the firewall is not in place. After an error the previous ruleset, if there was one, is still whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirewallError {
    /// A port cannot be listed.
    #[error("port {port} {reason}")]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        reason: &'static str,
    },
    /// Too many ports.
    #[error("{got} ports, at most {MAX_PORTS} can be listed")]
    TooManyPorts {
        /// How many.
        got: usize,
    },
    /// The kernel could not be asked.
    #[error("ask the kernel for a firewall")]
    Kernel(#[source] io::Error),
    /// The kernel refused a step.
    #[error("kernel refused to {step}")]
    Refused {
        /// The step.
        step: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FirewallError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { source, .. } => match Errno::from_raw(source.raw_os_error()?) {
                Errno::EPERM => Some("give the initializer the capability NET_ADMIN"),
                Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT => {
                    Some("the kernel needs nf_tables, nft_ct and nft_tproxy, built in or as modules that are loaded")
                }
                Errno::ENETDOWN => Some("the loopback interface must be up"),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<NetlinkError> for FirewallError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Socket(source) => Self::Kernel(source),
            NetlinkError::Refused { step, errno } => Self::Refused { step, source: errno.into() },
            malformed @ NetlinkError::Malformed { .. } => Self::Kernel(io::Error::other(malformed.to_string())),
        }
    }
}

impl FirewallConfig {
    /// Checks a list of ports. `mesh` says whether the pod has a proxy.
    pub fn new(ingress: Vec<IngressPort>, open_ports: Vec<u16>, mesh: bool) -> Result<Self, FirewallError> {
        let got = ingress.len() + open_ports.len();
        if got > MAX_PORTS {
            return Err(FirewallError::TooManyPorts { got });
        }
        let mut seen = BTreeSet::new();
        for port in ingress.iter().map(|ingress| ingress.port).chain(open_ports.iter().copied()) {
            let reason = match port {
                0 => "is no port",
                MUTUAL_PORT | SERVER_ONLY_PORT => "belongs to the mesh proxy",
                AGENT_PORT => "belongs to the attestation agent",
                _ if !seen.insert(port) => "is listed twice",
                _ => continue,
            };
            return Err(FirewallError::Port { port, reason });
        }
        if let (false, Some(first)) = (mesh, ingress.first()) {
            return Err(FirewallError::Port {
                port: first.port,
                reason: "is ingress of the mesh, and the pod has none",
            });
        }
        Ok(Self { ingress, open_ports, agent_user: mesh.then_some(MESH_UID) })
    }

    /// What a pod's initdata says.
    pub fn from_settings(settings: &Settings) -> Result<Self, FirewallError> {
        let ingress = settings
            .ingress
            .iter()
            .map(|ingress| IngressPort { port: ingress.port, client_certificate: ingress.client_certificate })
            .collect();
        Self::new(ingress, settings.open_ports.clone(), settings.mesh)
    }

    fn chains(&self, stage: Stage) -> Vec<Chain> {
        let (ingress, open_ports, agent_user) = match stage {
            Stage::Initializing => (&[][..], &[][..], Some(0)),
            Stage::Ready => (self.ingress.as_slice(), self.open_ports.as_slice(), self.agent_user),
        };
        vec![
            Chain {
                name: "prerouting",
                hook: Hook::Prerouting,
                priority: -150,
                policy: Verdict::Accept,
                rules: prerouting(ingress),
            },
            Chain {
                name: "input",
                hook: Hook::Input,
                priority: 0,
                policy: Verdict::Drop,
                rules: input(ingress, open_ports),
            },
            // A pod routes for nobody.
            Chain { name: "forward", hook: Hook::Forward, priority: 0, policy: Verdict::Drop, rules: vec![] },
            Chain {
                name: "output",
                hook: Hook::Output,
                priority: 0,
                policy: Verdict::Accept,
                rules: output(agent_user),
            },
        ]
    }

    /// The whole change as one transaction: the old table, if there is one, goes, and the new one comes.
    fn transaction(&self, stage: Stage) -> Vec<Message> {
        // Deleting a table that is not there is an error, so it is created first; the kernel folds the pair.
        let mut body = vec![nft::create_table(), nft::delete_table(), nft::create_table()];
        body.extend(self.chains(stage).iter().flat_map(Chain::messages));
        let last = body.pop().map(nft::acknowledged);
        std::iter::once(nft::batch_begin()).chain(body).chain(last).chain([nft::batch_end()]).collect()
    }
}

fn prerouting(ingress: &[IngressPort]) -> Vec<Rule> {
    let mut rules = vec![
        Rule::default().in_on_loopback().verdict(Verdict::Accept),
        // From here on the packet came from outside. What the network claims about it counts for nothing.
        Rule::default().set_mark(0),
        Rule::default().for_loopback_v4().verdict(Verdict::Drop),
        Rule::default().for_loopback_v6().verdict(Verdict::Drop),
    ];
    for ingress in ingress {
        let listener = if ingress.client_certificate { MUTUAL_PORT } else { SERVER_ONLY_PORT };
        rules.push(Rule::default().tcp_to(ingress.port).tproxy_to(listener).set_mark(MARK).verdict(Verdict::Accept));
        // Reached when nothing listens: the proxy is dead, or not yet there.
        rules.push(Rule::default().tcp_to(ingress.port).verdict(Verdict::Drop));
    }
    rules
}

fn input(ingress: &[IngressPort], open_ports: &[u16]) -> Vec<Rule> {
    let mut rules = vec![
        Rule::default().in_on_loopback().verdict(Verdict::Accept),
        Rule::default().state(State::Established).verdict(Verdict::Accept),
        // Only errors about connections that exist; no helper may open a port.
        Rule::default().state(State::Related).of(Protocol::Icmp).verdict(Verdict::Accept),
        Rule::default().state(State::Related).of(Protocol::Icmpv6).verdict(Verdict::Accept),
    ];
    rules.extend(NEIGHBOUR_DISCOVERY.map(|kind| Rule::default().icmpv6_type(kind).verdict(Verdict::Accept)));
    rules.extend(
        ingress.iter().map(|ingress| Rule::default().tcp_to(ingress.port).marked(MARK).verdict(Verdict::Accept)),
    );
    rules.extend(open_ports.iter().map(|port| Rule::default().tcp_to(*port).verdict(Verdict::Accept)));
    rules
}

fn output(agent_user: Option<u32>) -> Vec<Rule> {
    let to_agent = || Rule::default().out_on_loopback().tcp_to(AGENT_PORT);
    // The user is asked of the packet that opens a connection; later ones may belong to no socket any more.
    let mut rules = vec![to_agent().state(State::Established).verdict(Verdict::Accept)];
    rules.extend(agent_user.map(|uid| to_agent().sent_by_user(uid).verdict(Verdict::Accept)));
    rules.push(to_agent().verdict(Verdict::Drop));
    rules
}

/// Puts the firewall of `stage` in place in the network namespace of the calling thread, replacing any earlier one in one
/// transaction: there is no moment at which a port is open that neither stage opens.
pub fn apply(config: &FirewallConfig, stage: Stage) -> Result<Ipv6, FirewallError> {
    Socket::open(SockProtocol::NetlinkNetFilter)?.transact(&config.transaction(stage))?;
    route::apply(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(port: u16) -> IngressPort {
        IngressPort { port, client_certificate: true }
    }

    #[test]
    fn contradictory_ports_are_refused_by_name() {
        let cases: [(Vec<IngressPort>, Vec<u16>, bool, &str); 8] = [
            (vec![ingress(0)], vec![], true, "port 0 is no port"),
            (vec![], vec![0], true, "port 0 is no port"),
            (vec![ingress(15006)], vec![], true, "port 15006 belongs to the mesh proxy"),
            (vec![], vec![15007], true, "port 15007 belongs to the mesh proxy"),
            (vec![], vec![8006], true, "port 8006 belongs to the attestation agent"),
            (vec![ingress(80), ingress(80)], vec![], true, "port 80 is listed twice"),
            (vec![ingress(80)], vec![80], true, "port 80 is listed twice"),
            (vec![ingress(80)], vec![], false, "port 80 is ingress of the mesh, and the pod has none"),
        ];
        for (ingress, open_ports, mesh, message) in cases {
            assert_eq!(FirewallConfig::new(ingress, open_ports, mesh).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn more_ports_than_the_limit_are_refused() {
        let ports = |count: u16| (1000..1000 + count).collect();
        assert!(FirewallConfig::new(vec![], ports(128), false).is_ok());
        let error = FirewallConfig::new(vec![], ports(129), false).unwrap_err();
        assert_eq!(error.to_string(), "129 ports, at most 128 can be listed");
    }

    #[test]
    fn missing_rights_and_modules_have_a_hint() {
        let refused = |errno: Errno| FirewallError::Refused { step: "x".into(), source: errno.into() };
        assert!(refused(Errno::EPERM).hint().unwrap().contains("NET_ADMIN"));
        assert!(refused(Errno::ENOENT).hint().unwrap().contains("nft_tproxy"));
        assert_eq!(refused(Errno::EBUSY).hint(), None);
    }
}
