//! A pod for tests: two network namespaces joined by a cable, one with firewall, proxy and workload, the other for who
//! calls.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mesh::firewall::{FirewallConfig, IngressPort, Stage, apply};
use mesh::lease::BootInstant;
use mesh::proxy::{Listeners, Material, Metrics, ProxyConfig, run};
use protocol::initdata::Ingress;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{oneshot, watch};

use crate::netns::{Netns, ip};
use crate::pki::{Ca, Leaf, identity};

/// A port that wants a client certificate.
pub(crate) const MUTUAL: u16 = 8001;
/// A port that wants none.
pub(crate) const SERVER_ONLY: u16 = 8002;
/// A port on which the workload listens and which nobody listed.
pub(crate) const UNLISTED: u16 = 9999;
/// A port that is open as it is.
pub(crate) const OPEN: u16 = 9102;

/// Longer than any round trip between two namespaces, shorter than a test should take.
pub(crate) const PATIENCE: Duration = Duration::from_millis(600);

pub(crate) const V4: &str = "10.99.0.1";
pub(crate) const V6: &str = "fd00:99::1";

/// The ports of the proxy, and whether they want a client certificate.
const PORTS: [(u16, bool); 2] = [(MUTUAL, true), (SERVER_ONLY, false)];

fn ingress_of_proxy() -> Vec<Ingress> {
    PORTS.map(|(port, client_certificate)| Ingress { name: "x".into(), port, client_certificate }).to_vec()
}

pub(crate) struct Pod {
    pub(crate) inside: Netns,
    pub(crate) outside: Netns,
    pub(crate) ca: Ca,
    pub(crate) material: watch::Sender<Material>,
    receiver: watch::Receiver<Material>,
    pub(crate) metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    proxy: Option<JoinHandle<()>>,
    workload: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

pub(crate) fn material(ca: &Ca, callers: &[&str], lease: Duration) -> Material {
    material_of(ca, &ca.leaf("workload"), callers, lease)
}

pub(crate) fn material_of(ca: &Ca, leaf: &Leaf, callers: &[&str], lease: Duration) -> Material {
    Material {
        chain: leaf.chain.clone(),
        key: leaf.key(),
        roots: vec![ca.certificate()],
        callers: callers.iter().map(|name| (identity(name), (*name).to_owned())).collect::<BTreeMap<_, _>>(),
        valid_until: BootInstant::now() + lease,
    }
}

/// The workload: answers each connection with what it got, in upper case, on every address of the pod.
async fn workload(ready: std::sync::mpsc::Sender<()>) {
    let mut tasks = tokio::task::JoinSet::new();
    for port in [MUTUAL, SERVER_ONLY, UNLISTED, OPEN] {
        let listener = tokio::net::TcpListener::bind(("::", port)).await.unwrap();
        tasks.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65536];
                    while let Ok(length) = stream.read(&mut buffer).await
                        && length > 0
                    {
                        buffer[..length].make_ascii_uppercase();
                        if stream.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                    let _ = stream.write_all(b"BYE").await;
                });
            }
        });
    }
    let udp = tokio::net::UdpSocket::bind(("::", UNLISTED)).await.unwrap();
    ready.send(()).unwrap();
    let mut buffer = [0; 64];
    while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
        let _ = udp.send_to(&buffer[..length], peer).await;
    }
}

impl Pod {
    /// A ready pod that `frontend` may call.
    pub(crate) fn new() -> Self {
        Self::start(Duration::from_mins(1), |_| {})
    }

    pub(crate) fn start(lease: Duration, adjust: impl FnOnce(&mut ProxyConfig)) -> Self {
        let (inside, outside) = (Netns::new(), Netns::new());
        ip(&format!("-n {} link add eth0 type veth peer name eth0 netns {}", inside.name, outside.name));
        for (netns, host) in [(&inside, 1), (&outside, 2)] {
            let name = &netns.name;
            ip(&format!("-n {name} link set eth0 up"));
            ip(&format!("-n {name} addr add 10.99.0.{host}/24 dev eth0"));
            ip(&format!("-n {name} addr add fd00:99::{host}/64 dev eth0 nodad"));
        }
        let ca = Ca::new();
        let (sender, receiver) = watch::channel(material(&ca, &["frontend"], lease));
        let ingress = PORTS.map(|(port, client_certificate)| IngressPort { port, client_certificate }).to_vec();
        let firewall = FirewallConfig::new(ingress, vec![OPEN], true).unwrap();
        inside.run(move || apply(&firewall, Stage::Ready)).unwrap();

        let mut config = ProxyConfig::new(ingress_of_proxy());
        adjust(&mut config);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stop_workload, workload_stopped) = oneshot::channel();
        let workload = inside.spawn(move || {
            block_on(async {
                tokio::select! {
                    () = workload(ready) => {}
                    _ = workload_stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        let mut pod = Self {
            inside,
            outside,
            ca,
            material: sender,
            receiver,
            metrics: Arc::clone(&config.metrics),
            stop: None,
            proxy: None,
            workload: Some((stop_workload, workload)),
        };
        pod.serve(config);
        pod
    }

    fn serve(&mut self, config: ProxyConfig) {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let receiver = self.receiver.clone();
        let proxy = self.inside.spawn(move || {
            let listeners = Listeners::open(&[]).unwrap();
            ready.send(()).unwrap();
            let done = async {
                let _ = stopped.await;
            };
            block_on(async { run(listeners, config, receiver, done).await.unwrap() });
        });
        is_ready.recv().unwrap();
        (self.stop, self.proxy) = (Some(stop), Some(proxy));
    }

    /// Starts the proxy again after [`Pod::kill_proxy`].
    pub(crate) fn start_proxy(&mut self) {
        let mut config = ProxyConfig::new(ingress_of_proxy());
        config.metrics = Arc::clone(&self.metrics);
        self.serve(config);
    }

    /// Ends the proxy as a crash would: its sockets close, the firewall stays.
    pub(crate) fn kill_proxy(&mut self) {
        drop(self.stop.take());
        if let Some(proxy) = self.proxy.take() {
            proxy.join().unwrap();
        }
    }

    /// Opens TCP from outside.
    pub(crate) fn connect(&self, address: &str, port: u16) -> io::Result<TcpStream> {
        let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), port);
        self.outside.run(move || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE * 3))?;
            Ok(stream)
        })
    }

    /// Opens TLS from outside, with a certificate or without.
    pub(crate) fn connect_tls(&self, address: &str, port: u16, leaf: Option<&Leaf>) -> io::Result<Tls> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match leaf {
            Some(leaf) => builder.with_client_auth_cert(leaf.chain.clone(), leaf.key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("workload").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        Ok(Tls(StreamOwned::new(connection, self.connect(address, port)?)))
    }

    /// One question over TLS.
    pub(crate) fn ask(&self, address: &str, port: u16, leaf: Option<&Leaf>) -> io::Result<()> {
        self.connect_tls(address, port, leaf)?.ask()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill_proxy();
        if let Some((stop, workload)) = self.workload.take() {
            drop(stop);
            let _ = workload.join();
        }
    }
}

/// A TLS connection of a caller.
pub(crate) struct Tls(pub(crate) StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Sends a word and expects it back in upper case.
    pub(crate) fn ask(&mut self) -> io::Result<()> {
        self.0.write_all(b"hello")?;
        let mut answer = [0; 5];
        self.0.read_exact(&mut answer)?;
        assert_eq!(&answer, b"HELLO");
        Ok(())
    }
}

/// How often something was counted.
pub(crate) fn counted(metrics: &Metrics, row: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with(&format!("casemate_mesh_{row} ")));
    line.unwrap_or_else(|| panic!("no `{row}` in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
