//! The way out: takes a program's connection on the loopback interface and carries it over TLS 1.3 to a remote of the mesh.
//!
//! The remote's name only finds addresses, and whoever answers questions about names is not trusted. What decides is the
//! remote's certificate: its chain leads to a CA of the mesh, and it carries the name that the pod's initdata demands.
//! Nothing that a program says leaves the pod before that. Each connection is made under the certificate and the roots
//! that are current when its handshake begins.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::initdata::Egress;
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use super::forward::{self, End};
use super::metrics::Denial;
use super::{ProxyError, Shared, pause, still_allowed, until_cut};

/// LIMIT: each lookup may hold a thread for as long as the resolver's patience; programs beyond this wait their turn.
pub(super) const MAX_LOOKUPS: usize = 16;
/// LIMIT: a name with more addresses than this has its first ones tried.
const MAX_ADDRESSES: usize = 8;
/// LIMIT: finding and reaching the remote, all its addresses together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: one address, so that a dead one leaves time for the next: the second packet of a handshake comes after 1 s.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);

type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Gives the addresses of a host name, with a port, in the order in which they are to be tried.
pub type Resolver = Arc<dyn Fn(String, u16) -> Addresses + Send + Sync>;

/// The resolver of the system.
pub fn system_resolver() -> Resolver {
    Arc::new(|host, port| Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) }))
}

/// One entry of the egress, ready for use.
pub(super) struct Remote {
    entry: Egress,
    certificate_name: ServerName<'static>,
}

impl Remote {
    pub(super) fn new(entry: Egress) -> Result<Self, ProxyError> {
        match ServerName::try_from(entry.certificate_name.clone()) {
            Ok(certificate_name @ ServerName::DnsName(_)) => Ok(Self { entry, certificate_name }),
            // Certificates of the mesh carry names, and no addresses.
            _ => {
                let reason = format!("`{}` is not a DNS name", entry.certificate_name);
                let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
                Err(ProxyError::Egress { name: entry.name, address: entry.listen, source })
            }
        }
    }
}

pub(super) async fn accept_loop(listener: TcpListener, remote: Remote, shared: Arc<Shared>) {
    let remote = Arc::new(remote);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(permit) = Arc::clone(&shared.egress_connections).try_acquire_owned() else {
                    let metrics = &shared.config.metrics.egress;
                    metrics.failed(Denial::TooMany, &remote.entry.name, &"too many connections");
                    forward::reset(&stream);
                    continue;
                };
                let (shared, remote) = (Arc::clone(&shared), Arc::clone(&remote));
                tokio::spawn(async move {
                    let metrics = &shared.config.metrics.egress;
                    metrics.opened();
                    serve(stream, &remote, &shared).await;
                    metrics.closed();
                    drop(permit);
                });
            }
            Err(error) => pause(&error).await,
        }
    }
}

/// Why a connection came to nothing.
type Denied = (Denial, String);

fn denied(denial: Denial, reason: impl Display) -> Denied {
    (denial, reason.to_string())
}

async fn serve(program: TcpStream, remote: &Remote, shared: &Shared) {
    let metrics = &shared.config.metrics.egress;
    let name = &remote.entry.name;
    forward::tune(&program);
    let tls = match connect(remote, shared).await {
        Ok(tls) => tls,
        Err((denial, reason)) => {
            metrics.failed(denial, name, &reason);
            return forward::reset(&program);
        }
    };
    tracing::debug!(egress = name, "forwarding");
    let cut = until_cut(shared.gate.clone(), None);
    match forward::run(TlsStream::from(tls), program, cut, &metrics.bytes).await {
        End::Cut(_) => metrics.cut(name),
        // TLS 1.3 lets the remote judge our certificate after the handshake has ended on this side.
        End::Tls { error, answered: false } => {
            let reason = format!("the remote ended it before it answered; may this pod call it? {error}");
            metrics.failed(Denial::Remote, name, &reason);
        }
        End::Tls { .. } | End::Plain(_) | End::Done => {}
    }
}

/// A connection to the remote, whose certificate has been checked.
async fn connect(remote: &Remote, shared: &Shared) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Denied> {
    let lease_ended = || denied(Denial::Lease, "lease has ended");
    // No packet leaves the pod without a lease.
    still_allowed(&shared.gate.borrow(), None).map_err(|_| lease_ended())?;
    let stream = match timeout(CONNECT_TIMEOUT, reach(&remote.entry, shared)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(denied(Denial::Connect, "connecting took too long")),
    };
    forward::tune(&stream);
    // Reaching the remote took its time; what counts is what is current now.
    let terms = shared.gate.borrow().terms().ok_or_else(lease_ended)?;
    let handshake = TlsConnector::from(Arc::clone(terms.client())).connect(remote.certificate_name.clone(), stream);
    let tls = match timeout(shared.config.handshake_timeout, handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return Err(denied(Denial::Handshake, error)),
        Err(_) => return Err(denied(Denial::Handshake, "handshake took too long")),
    };
    match still_allowed(&shared.gate.borrow(), None) {
        Ok(()) => Ok(tls),
        Err(_) => Err(lease_ended()),
    }
}

/// TCP to the first address of the remote that answers.
async fn reach(entry: &Egress, shared: &Shared) -> Result<TcpStream, Denied> {
    let addresses = {
        let _turn = shared.lookups.acquire().await;
        (shared.config.resolver)(entry.host.clone(), entry.port).await
    };
    let addresses = addresses.map_err(|error| denied(Denial::Name, format!("`{}`: {error}", entry.host)))?;
    let mut last = match addresses.as_slice() {
        [] => denied(Denial::Name, format!("`{}` has no address", entry.host)),
        _ => denied(Denial::Name, format!("`{}` leads back into this pod", entry.host)),
    };
    for address in addresses.into_iter().filter(|address| !is_inside(address.ip())).take(MAX_ADDRESSES) {
        last = match timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => denied(Denial::Connect, format!("{address}: {error}")),
            Err(_) => denied(Denial::Connect, format!("{address}: no answer in {} s", ADDRESS_TIMEOUT.as_secs())),
        };
    }
    Err(last)
}

/// Whether an address is this pod's own by its kind. The mesh's user may reach what nobody else in the pod may, and a name
/// must not turn it against the pod.
fn is_inside(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_back_are_told() {
        let inside = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "224.0.0.1", "ff02::1"];
        for address in inside {
            assert!(is_inside(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "192.0.2.1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(!is_inside(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_remote_has_a_name_that_certificates_carry() {
        let entry = |certificate_name: &str| Egress {
            name: "backend".into(),
            listen: "127.0.0.2:4001".parse().unwrap(),
            host: "backend".into(),
            port: 4001,
            certificate_name: certificate_name.into(),
        };
        assert!(Remote::new(entry("backend")).is_ok() && Remote::new(entry("backend.default")).is_ok());
        for bad in ["", "10.0.0.1", "::1", "a b", "*.default"] {
            let error = Remote::new(entry(bad)).err().unwrap();
            assert_eq!(error.to_string(), "listen on 127.0.0.2:4001 for egress `backend`", "{bad}");
        }
    }
}
