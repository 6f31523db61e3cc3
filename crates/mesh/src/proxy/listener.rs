//! Listening sockets: transparent ones for the firewall's ports, whose opening takes `CAP_NET_ADMIN`, and ones on the loopback
//! interface for programs of the pod, whose opening may take `CAP_NET_BIND_SERVICE`. Using them takes nothing.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{IpTransparent, Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt, socket,
};
use protocol::initdata::Egress;
use tokio::net::TcpListener;

use super::ProxyError;
use crate::firewall::{MUTUAL_PORT, SERVER_ONLY_PORT};

/// LIMIT: connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// The proxy's sockets, opened while the process still has the right to, and used after it gave that up.
pub struct Listeners {
    sockets: Vec<(std::net::TcpListener, SocketAddr, bool)>,
    egress: Vec<(std::net::TcpListener, Egress)>,
}

/// Who takes the connections of a socket.
pub(super) enum Taker {
    /// The ingress; says whether a client certificate is required.
    Ingress { mutual: bool },
    /// One entry of the egress.
    Egress(Egress),
}

impl Listeners {
    /// Opens the sockets of both ports, for IPv4 and, where the kernel has it, IPv6, and one for each entry of `egress`.
    ///
    /// A socket of the egress is refused where others than programs of the pod could reach it.
    pub fn open(egress: &[Egress]) -> Result<Self, ProxyError> {
        let mut sockets = Vec::new();
        for (port, mutual) in [(MUTUAL_PORT, true), (SERVER_ONLY_PORT, false)] {
            let v4 = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
            let v6 = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
            for address in [v4, v6] {
                match open(address, true) {
                    Ok(socket) => sockets.push((socket.into(), address, mutual)),
                    // Without a listener the firewall drops the family's packets.
                    Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if address.is_ipv6() => {
                        tracing::info!(port, "no IPv6 on this machine; the port stays closed for IPv6");
                    }
                    Err(errno) => return Err(ProxyError::Listen { address, source: errno.into() }),
                }
            }
        }
        let egress = egress.iter().map(|egress| {
            let failed = |source| ProxyError::Egress { name: egress.name.clone(), address: egress.listen, source };
            if !egress.listen.ip().is_loopback() {
                return Err(failed(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "not an address of the loopback interface",
                )));
            }
            let socket = open(egress.listen, false).map_err(|errno| failed(errno.into()))?;
            Ok((socket.into(), egress.clone()))
        });
        Ok(Self { sockets, egress: egress.collect::<Result<_, _>>()? })
    }

    /// Registers the sockets with the runtime.
    pub(super) fn into_tokio(self) -> Result<Vec<(TcpListener, Taker)>, ProxyError> {
        let ingress = self.sockets.into_iter().map(|(socket, address, mutual)| match TcpListener::from_std(socket) {
            Ok(listener) => Ok((listener, Taker::Ingress { mutual })),
            Err(source) => Err(ProxyError::Listen { address, source }),
        });
        let egress = self.egress.into_iter().map(|(socket, egress)| match TcpListener::from_std(socket) {
            Ok(listener) => Ok((listener, Taker::Egress(egress))),
            Err(source) => Err(ProxyError::Egress { name: egress.name, address: egress.listen, source }),
        });
        ingress.chain(egress).collect()
    }
}

fn open(address: SocketAddr, transparent: bool) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    if transparent {
        // The option of level IP serves IPv6 sockets too: both families share one flag in the kernel.
        setsockopt(&fd, IpTransparent, &true)?;
    }
    match address {
        SocketAddr::V4(address) => bind(fd.as_raw_fd(), &SockaddrIn::from(address))?,
        SocketAddr::V6(address) => {
            setsockopt(&fd, Ipv6V6Only, &true)?;
            bind(fd.as_raw_fd(), &SockaddrIn6::from(address))?;
        }
    }
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let egress = self.egress.iter().map(|(_, egress)| &egress.listen);
        f.debug_list().entries(self.sockets.iter().map(|(_, address, _)| address).chain(egress)).finish()
    }
}

impl ProxyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("give the mesh sidecar the capability NET_ADMIN")
            }
            Self::Egress { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => {
                    Some("a program of the pod listens there, or everywhere: take another port for the egress")
                }
                io::ErrorKind::PermissionDenied => {
                    Some("ports below 1024 take the capability NET_BIND_SERVICE: take a port above")
                }
                io::ErrorKind::AddrNotAvailable => Some("the pod has no IPv6: listen at an address in 127.0.0.0/8"),
                _ => None,
            },
            _ => None,
        }
    }
}
