//! Transparent listening sockets. Opening one takes `CAP_NET_ADMIN`, using it does not.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{IpTransparent, Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt, socket,
};
use tokio::net::TcpListener;

use super::ProxyError;
use crate::firewall::{MUTUAL_PORT, SERVER_ONLY_PORT};

/// LIMIT: connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// The proxy's sockets, opened while the process still has the right to, and used after it gave that up.
pub struct Listeners {
    sockets: Vec<(std::net::TcpListener, SocketAddr, bool)>,
}

impl Listeners {
    /// Opens the sockets of both ports, for IPv4 and, where the kernel has it, IPv6.
    pub fn open() -> Result<Self, ProxyError> {
        let mut sockets = Vec::new();
        for (port, mutual) in [(MUTUAL_PORT, true), (SERVER_ONLY_PORT, false)] {
            let v4 = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
            let v6 = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
            for address in [v4, v6] {
                match open(address) {
                    Ok(socket) => sockets.push((socket.into(), address, mutual)),
                    // Without a listener the firewall drops the family's packets.
                    Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if address.is_ipv6() => {
                        tracing::info!(port, "no IPv6 on this machine; the port stays closed for IPv6");
                    }
                    Err(errno) => return Err(ProxyError::Listen { address, source: errno.into() }),
                }
            }
        }
        Ok(Self { sockets })
    }

    /// Registers the sockets with the runtime. The flag says whether a client certificate is required.
    pub(super) fn into_tokio(self) -> Result<Vec<(TcpListener, bool)>, ProxyError> {
        let register = |(socket, address, mutual)| match TcpListener::from_std(socket) {
            Ok(listener) => Ok((listener, mutual)),
            Err(source) => Err(ProxyError::Listen { address, source }),
        };
        self.sockets.into_iter().map(register).collect()
    }
}

fn open(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    // The option of level IP serves IPv6 sockets too: both families share one flag in the kernel.
    setsockopt(&fd, IpTransparent, &true)?;
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
        f.debug_list().entries(self.sockets.iter().map(|(_, address, _)| address)).finish()
    }
}

impl ProxyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("give the mesh sidecar the capability NET_ADMIN")
            }
            _ => None,
        }
    }
}
