//! The network of the node: what a CNI plug-in and kube-proxy are in a cluster.
//!
//! ```text
//!  host ── veth ── node namespace ── bridge ── veth ── pod namespaces
//!  10.89.N.253     10.89.N.254       10.89.N.1         10.89.N.2 … 126
//!                  nft: virtual addresses 10.89.N.128 … 252
//! ```
//!
//! The bridge, forwarding, address translation and every kernel parameter live in one namespace of the engine's own, so
//! that the host has one interface and one route more and nothing else, and deleting that namespace removes all of it.
//!
//! What is deliberately absent: a way out of the machine. A pod reaches pods, services and the host, nothing beyond;
//! that would need forwarding on the host itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::EngineError;
use crate::paths::Paths;
use crate::{process, threads};

/// Pods get 2 to 126 of the subnet.
const FIRST_POD: u8 = 2;
const LAST_POD: u8 = 126;
/// LIMIT: as many pods as there are addresses for them.
pub(super) const MAX_PODS: u64 = (LAST_POD - FIRST_POD) as u64 + 1;
/// Services get 128 to 252.
const FIRST_SERVICE: u8 = 128;
const LAST_SERVICE: u8 = 252;
const GATEWAY: u8 = 1;
const HOST: u8 = 253;
const NODE: u8 = 254;
/// The length of the pods' part of the subnet.
pub(super) const PREFIX: u8 = 25;

/// The node's network.
pub(super) struct Network {
    paths: Paths,
    subnet: u8,
    node: OwnedFd,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: BTreeSet<u8>,
    last: u8,
    namespaces: u32,
    services: u8,
}

/// A pod's place in the network.
#[derive(Clone, Debug)]
pub(super) struct PodNetwork {
    /// The namespace's name.
    pub(super) netns: String,
    pub(super) ip: Ipv4Addr,
    pub(super) gateway: Ipv4Addr,
    pub(super) mac: String,
}

impl PodNetwork {
    /// The namespace as a path.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.netns)
    }
}

/// One port of a service and the pods behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Balanced {
    pub(super) ip: Ipv4Addr,
    pub(super) port: u16,
    pub(super) udp: bool,
    pub(super) endpoints: Vec<(Ipv4Addr, u16)>,
}

fn ip(args: &[&str]) -> Result<String, EngineError> {
    process::run("ip", args, "")
}

/// Several commands in one process.
fn ip_batch(netns: Option<&str>, commands: &str) -> Result<(), EngineError> {
    let args: Vec<_> = netns.into_iter().flat_map(|netns| ["-n", netns]).chain(["-batch", "-"]).collect();
    process::run("ip", &args, commands).map(drop)
}

impl Network {
    /// Makes the node. On failure nothing of it is left, once [`crate::cleanup`] has run.
    pub(super) fn create(paths: Paths) -> Result<Self, EngineError> {
        let used = used_subnets(&ip(&["-4", "route", "show", "table", "all"])?);
        // Begin where the id says, so that engines of several work folders seldom try the same one.
        let first = u8::from_str_radix(paths.id().get(..2).unwrap_or_default(), 16).unwrap_or(0);
        let node = paths.node_netns();
        ip(&["netns", "add", &node])?;
        ip_batch(
            None,
            &format!(
                "link add {link} type veth peer name host0 netns {node}\nlink set {link} up\n",
                link = paths.host_link()
            ),
        )?;
        let free = (0..=u8::MAX).map(|step| first.wrapping_add(step)).filter(|subnet| !used.contains(subnet));
        for subnet in free {
            // The route is what two engines that start at once compete for: only one can add it.
            match host_side(&paths, subnet) {
                Ok(()) => {
                    let node = node_side(&node, subnet)?;
                    return Ok(Self { paths, subnet, node, taken: Mutex::default() });
                }
                Err(EngineError::Command { reason, .. }) if reason.contains("File exists") => {
                    ip(&["addr", "flush", "dev", &paths.host_link()])?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::NoSubnet)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 89, self.subnet, last)
    }

    /// The node's own address, as pods see it.
    pub(super) fn node_ip(&self) -> Ipv4Addr {
        self.address(GATEWAY)
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An address for a service; services are never taken away while the engine runs.
    pub(super) fn service_address(&self) -> Result<Ipv4Addr, EngineError> {
        let mut taken = self.taken();
        let last = FIRST_SERVICE.saturating_add(taken.services);
        if last > LAST_SERVICE {
            return Err(EngineError::Resources {
                path: self.paths.workspace().to_owned(),
                line: None,
                reason: format!("more than {} services", LAST_SERVICE - FIRST_SERVICE + 1),
            });
        }
        taken.services += 1;
        Ok(self.address(last))
    }

    /// Makes a pod's namespace with an address.
    pub(super) fn add_pod(&self) -> Result<PodNetwork, EngineError> {
        let (number, last) = {
            let mut taken = self.taken();
            // Round about, so that an address is not used again at once: others still have connections to it.
            let begin = taken.last;
            let free = (1..=LAST_POD - FIRST_POD + 1)
                .map(|step| FIRST_POD + (begin.saturating_sub(FIRST_POD) + step) % (LAST_POD - FIRST_POD + 1))
                .find(|last| !taken.addresses.contains(last));
            let last = free.ok_or(EngineError::TooManyPods { wanted: MAX_PODS + 1, most: MAX_PODS })?;
            taken.addresses.insert(last);
            taken.last = last;
            taken.namespaces += 1;
            (taken.namespaces, last)
        };
        let netns = format!("{}{number}", self.paths.netns_prefix());
        let address = self.address(last);
        // As Kubernetes' own bridge plug-in makes them: fixed by the address.
        let mac = format!("0a:58:0a:59:{:02x}:{last:02x}", self.subnet);
        let pod = PodNetwork { netns, ip: address, gateway: self.address(GATEWAY), mac };
        match self.plug(&pod, number) {
            Ok(()) => Ok(pod),
            Err(error) => {
                self.remove_pod(&pod);
                Err(error)
            }
        }
    }

    fn plug(&self, pod: &PodNetwork, number: u32) -> Result<(), EngineError> {
        let (netns, node, mac) = (&pod.netns, self.paths.node_netns(), &pod.mac);
        ip(&["netns", "add", netns])?;
        ip_batch(
            Some(&node),
            &format!(
                "link add pod{number} type veth peer name eth0 address {mac} netns {netns}\n\
                 link set pod{number} master br0 up\n"
            ),
        )?;
        ip_batch(
            Some(netns),
            &format!(
                "link set lo up\naddr add {}/{PREFIX} dev eth0\nlink set eth0 up\nroute add default via {}\n",
                pod.ip, pod.gateway
            ),
        )
    }

    /// Removes a pod's namespace; the address is free again.
    pub(super) fn remove_pod(&self, pod: &PodNetwork) {
        if let Err(error) = ip(&["netns", "delete", &pod.netns]) {
            // Its address stays taken: two namespaces with one address would both be wrong.
            tracing::warn!("{error}");
            return;
        }
        self.taken().addresses.remove(&pod.ip.octets()[3]);
    }

    /// Replaces the rules of all services at once. Established connections keep their pod.
    pub(super) fn balance(&self, services: &[Balanced]) -> Result<(), EngineError> {
        let rules = self.rules(services);
        threads::in_netns(&self.node, move || process::run("nft", &["-f", "-"], &rules).map(drop))
    }

    fn rules(&self, services: &[Balanced]) -> String {
        let mut translate = String::new();
        for service in services.iter().filter(|service| !service.endpoints.is_empty()) {
            let protocol = if service.udp { "udp" } else { "tcp" };
            let pods: Vec<_> = service
                .endpoints
                .iter()
                .enumerate()
                .map(|(index, (ip, port))| format!("{index} : {ip} . {port}"))
                .collect();
            let _ = writeln!(
                translate,
                "    ip daddr {} {protocol} dport {} dnat ip to numgen inc mod {} map {{ {} }}",
                service.ip,
                service.port,
                pods.len(),
                pods.join(", ")
            );
        }
        let pods = format!("{}/{PREFIX}", self.address(0));
        let virtual_addresses = format!("{}-{}", self.address(FIRST_SERVICE), self.address(LAST_SERVICE));
        format!(
            "add table ip casemate\n\
             flush table ip casemate\n\
             table ip casemate {{\n\
             \x20 chain services {{\n\
             \x20   type nat hook prerouting priority dstnat\n\
             {translate}\
             \x20 }}\n\
             \x20 chain refuse {{\n\
             \x20   # What is still for a virtual address has no ready pod: say so at once, as kube-proxy does.\n\
             \x20   type filter hook prerouting priority dstnat + 10\n\
             \x20   ip daddr {virtual_addresses} ip protocol tcp reject with tcp reset\n\
             \x20   ip daddr {virtual_addresses} reject\n\
             \x20 }}\n\
             \x20 chain back {{\n\
             \x20   # Pods share a bridge, so an answer from one to another would not pass the translation again.\n\
             \x20   type nat hook postrouting priority srcnat\n\
             \x20   ip saddr {pods} ct status dnat masquerade\n\
             \x20 }}\n\
             }}\n"
        )
    }
}

fn host_side(paths: &Paths, subnet: u8) -> Result<(), EngineError> {
    let link = paths.host_link();
    ip_batch(
        None,
        &format!(
            "addr add 10.89.{subnet}.{HOST}/32 dev {link}\n\
             route add 10.89.{subnet}.0/24 via 10.89.{subnet}.{NODE} dev {link} onlink src 10.89.{subnet}.{HOST}\n"
        ),
    )
}

fn node_side(node: &str, subnet: u8) -> Result<OwnedFd, EngineError> {
    let path = format!("/run/netns/{node}");
    let file = std::fs::File::open(&path).map_err(|error| EngineError::io(format!("open `{path}`"), &error))?;
    let netns = OwnedFd::from(file);
    threads::in_netns(&netns, || {
        for (name, value) in [
            ("ip_forward", "1"),
            // A pod reaches a service and its pods over one interface; nobody need be told of a shorter way.
            ("conf/all/send_redirects", "0"),
            ("conf/default/send_redirects", "0"),
            ("conf/all/rp_filter", "0"),
            ("conf/default/rp_filter", "0"),
        ] {
            let path = format!("/proc/sys/net/ipv4/{name}");
            std::fs::write(&path, value).map_err(|error| EngineError::io(format!("set `{path}`"), &error))?;
        }
        // Where the kernel has it, it would translate addresses inside the bridge, and what a pod sends to itself by
        // its own service would have to leave by the port it came in by, which a bridge does not do.
        let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
        Ok(())
    })?;
    ip_batch(
        Some(node),
        &format!(
            "link set lo up\n\
             link add br0 type bridge\n\
             addr add 10.89.{subnet}.{GATEWAY}/{PREFIX} dev br0\n\
             link set br0 up\n\
             addr add 10.89.{subnet}.{NODE}/32 dev host0\n\
             link set host0 up\n\
             route add 10.89.{subnet}.{HOST}/32 dev host0\n"
        ),
    )?;
    Ok(netns)
}

/// LIMIT: a route this wide or wider is the way to everywhere, and ours, being narrower, goes before it.
const WIDE_ROUTE: u8 = 15;

/// Which N of 10.89.N.0/24 some route of this machine already covers in part.
fn used_subnets(routes: &str) -> BTreeSet<u8> {
    let mut used = BTreeSet::new();
    for line in routes.lines() {
        // The destination is the first word, or the second after a type such as `local` or `broadcast`.
        let network = line.split_ascii_whitespace().take(2).find_map(|word| {
            let (address, length) = word.split_once('/').unwrap_or((word, "32"));
            Some((address.parse::<Ipv4Addr>().ok()?, length.parse::<u8>().ok()?))
        });
        let Some((address, length)) = network else { continue };
        let [a, b, c, _] = address.octets();
        if length <= WIDE_ROUTE || (a, b) != (10, 89) {
            continue;
        }
        let third = if length >= 24 { 0 } else { u8::MAX >> (length - 16) };
        used.extend(c & !third..=c | third);
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_of_other_routes_are_left_alone() {
        let routes = "default via 10.0.0.1 dev eth0\n\
                      10.0.0.0/8 dev tun0\n\
                      10.89.3.0/24 via 10.89.3.254 dev cmx onlink\n\
                      local 10.89.7.9 dev eth1 table local\n\
                      10.89.16.0/22 dev br1\n\
                      10.90.0.0/16 dev br2\n\
                      broadcast 10.89.200.255 dev x table local\n";
        assert_eq!(used_subnets(routes).into_iter().collect::<Vec<_>>(), [3, 7, 16, 17, 18, 19, 200]);
        assert_eq!(used_subnets("10.89.0.0/16 dev x").len(), 256);
        assert!(used_subnets("").is_empty());
    }
}
