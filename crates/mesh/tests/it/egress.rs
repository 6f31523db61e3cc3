//! Programs of one pod call another pod through the proxies of both.
//!
//! [`Pod`] is who is called. Its outside is here a pod, too: one that takes no calls, and whose programs make some.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mesh::firewall::{FirewallConfig, Stage, apply};
use mesh::proxy::{Listeners, Material, Metrics, ProxyConfig, ProxyError, Resolver, run};
use protocol::initdata::Egress;
use tokio::sync::{oneshot, watch};

use crate::pki::Ca;
use crate::pod::{self, MUTUAL, OPEN, PATIENCE, Pod, SERVER_ONLY, V4, V6, block_on, material, material_of};
use crate::proxy::{assert_closed, assert_cut, eventually};

/// Nobody routes this address (RFC 5737), and nobody in the namespace has it.
const NOWHERE: &str = "192.0.2.1";
/// The address of the calling pod.
const OWN: &str = "10.99.0.2";

/// The lines of a table of egress: where programs connect to, the host, its port, the name of its certificate.
type Line = (&'static str, &'static str, u16, &'static str);

const LINES: [Line; 9] = [
    ("127.0.0.2:4001", "v4.workload", MUTUAL, "workload"),
    ("[::1]:4001", "v6.workload", MUTUAL, "workload"),
    ("127.0.0.2:4002", "v4.workload", SERVER_ONLY, "workload"),
    ("127.0.0.2:4003", "v4.workload", MUTUAL, "other"),
    ("127.0.0.2:4004", "v4.workload", OPEN, "workload"),
    ("127.0.0.2:4005", "nobody", MUTUAL, "workload"),
    ("127.0.0.2:4006", "down", 4444, "workload"),
    ("127.0.0.2:4007", "inside", MUTUAL, "workload"),
    ("127.0.0.2:4008", "several", MUTUAL, "workload"),
];

/// The resolver of the calling pod, which the host could have written.
fn resolver() -> Resolver {
    let known: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("v4.workload", [V4].as_slice()),
        ("v6.workload", &[V6]),
        ("down", &[OWN]),
        ("inside", &["127.0.0.1", "::1", "0.0.0.0"]),
        ("several", &[NOWHERE, "127.0.0.1", V4]),
    ]);
    let known: BTreeMap<String, Vec<IpAddr>> = known
        .into_iter()
        .map(|(name, all)| (name.to_owned(), all.iter().map(|address| address.parse().unwrap()).collect()))
        .collect();
    Arc::new(move |host, port| {
        let found = known.get(&host).cloned();
        Box::pin(async move {
            let found = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))?;
            Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        })
    })
}

fn entries() -> Vec<Egress> {
    let entry = |(index, (listen, host, port, certificate_name)): (usize, Line)| Egress {
        name: format!("line-{index}"),
        listen: listen.parse().unwrap(),
        host: host.to_owned(),
        port,
        certificate_name: certificate_name.to_owned(),
    };
    LINES.into_iter().enumerate().map(entry).collect()
}

/// A pod that calls, and the pod that is called.
struct Caller {
    called: Pod,
    material: watch::Sender<Material>,
    metrics: Arc<Metrics>,
    stop: Option<oneshot::Sender<()>>,
    proxy: Option<JoinHandle<()>>,
}

impl Caller {
    /// `frontend`, which may call.
    fn new() -> Self {
        Self::start(Pod::new(), "frontend", Duration::from_mins(1), |_| {})
    }

    fn start(called: Pod, name: &str, lease: Duration, adjust: impl FnOnce(&mut ProxyConfig)) -> Self {
        let first = material_of(&called.ca, &called.ca.leaf(name), &[], lease);
        Self::with(called, first, adjust)
    }

    fn with(called: Pod, first: Material, adjust: impl FnOnce(&mut ProxyConfig)) -> Self {
        let firewall = FirewallConfig::new(vec![], vec![], true).unwrap();
        called.outside.run(move || apply(&firewall, Stage::Ready)).unwrap();
        let (material, receiver) = watch::channel(first);
        let mut config = ProxyConfig::new(vec![]);
        config.resolver = resolver();
        adjust(&mut config);
        let metrics = Arc::clone(&config.metrics);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let proxy = called.outside.spawn(move || {
            let listeners = Listeners::open(&entries()).unwrap();
            ready.send(()).unwrap();
            let done = async {
                let _ = stopped.await;
            };
            block_on(async { run(listeners, config, receiver, done).await.unwrap() });
        });
        is_ready.recv().unwrap();
        Self { called, material, metrics, stop: Some(stop), proxy: Some(proxy) }
    }

    /// What a program of the calling pod does.
    fn connect(&self, listen: &str) -> io::Result<TcpStream> {
        let address: SocketAddr = listen.parse().unwrap();
        self.called.outside.run(move || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(stream)
        })
    }

    fn ask(&self, listen: &str) -> io::Result<()> {
        ask(&mut self.connect(listen)?)
    }

    fn counted(&self, row: &str) -> u64 {
        pod::counted(&self.metrics, &format!("egress_{row}"))
    }

    /// Asks in vain, for this reason, and nothing reaches the workload.
    fn assert_denied(&self, listen: &str, reason: &str) {
        let row = format!("failed_total{{reason=\"{reason}\"}}");
        let before = self.counted(&row);
        assert_cut(self.ask(listen));
        eventually(&row, || self.counted(&row) == before + 1);
        assert_eq!(pod::counted(&self.called.metrics, "bytes_total{direction=\"in\"}"), 0);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(proxy) = self.proxy.take() {
            let _ = proxy.join();
        }
    }
}

fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"hello")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"HELLO");
    Ok(())
}

netns_test! {
    fn a_program_reaches_another_pod_over_both_families() {
        let caller = Caller::new();
        for listen in ["127.0.0.2:4001", "[::1]:4001", "127.0.0.2:4002"] {
            caller.ask(listen).unwrap();
        }
        eventually("the end", || caller.metrics.egress_open() == 0);
        assert_eq!(caller.counted("connections_total"), 3);
        // The workload says good-bye to each in three letters.
        assert_eq!(caller.counted("bytes_total{direction=\"in\"}"), 15 + 9);
        assert_eq!(caller.counted("bytes_total{direction=\"out\"}"), 15);
        // What was said in clear was said in this pod alone: the other one took it from TLS.
        assert_eq!(pod::counted(&caller.called.metrics, "bytes_total{direction=\"in\"}"), 15);
    }
}

netns_test! {
    fn a_remote_whose_certificate_has_another_name_hears_nothing() {
        Caller::new().assert_denied("127.0.0.2:4003", "handshake");
    }
}

netns_test! {
    fn a_remote_of_another_authority_hears_nothing() {
        let other = Ca::new();
        let first = material_of(&other, &other.leaf("frontend"), &[], Duration::from_mins(1));
        let caller = Caller::with(Pod::new(), first, |_| {});
        caller.assert_denied("127.0.0.2:4001", "handshake");
        caller.assert_denied("127.0.0.2:4002", "handshake");
    }
}

netns_test! {
    fn a_remote_whose_certificate_has_expired_hears_nothing() {
        let caller = Caller::new();
        let (ca, lease) = (&caller.called.ca, Duration::from_mins(1));
        caller.called.material.send_replace(material_of(ca, &ca.expired_leaf("workload"), &["frontend"], lease));
        eventually("the renewal", || pod::counted(&caller.called.metrics, "renewals_total") == 1);
        caller.assert_denied("127.0.0.2:4001", "handshake");
    }
}

netns_test! {
    fn a_remote_that_speaks_no_tls_hears_nothing() {
        // The workload's open port answers whatever it gets, in clear.
        Caller::new().assert_denied("127.0.0.2:4004", "handshake");
    }
}

netns_test! {
    fn a_remote_that_takes_no_calls_of_this_pod_is_told_from_one_that_is_down() {
        let stranger = Caller::start(Pod::new(), "stranger", Duration::from_mins(1), |_| {});
        stranger.assert_denied("127.0.0.2:4001", "remote");
        let expired = |ca: &Ca| material_of(ca, &ca.expired_leaf("frontend"), &[], Duration::from_mins(1));
        let called = Pod::new();
        let first = expired(&called.ca);
        Caller::with(called, first, |_| {}).assert_denied("127.0.0.2:4001", "remote");
    }
}

netns_test! {
    fn names_that_lead_nowhere_or_back_are_refused() {
        let caller = Caller::new();
        caller.assert_denied("127.0.0.2:4005", "name");
        caller.assert_denied("127.0.0.2:4006", "connect");
        caller.assert_denied("127.0.0.2:4007", "name");
    }
}

netns_test! {
    fn the_next_address_is_tried_where_one_does_not_answer() {
        let caller = Caller::new();
        caller.ask("127.0.0.2:4008").unwrap();
    }
}

netns_test! {
    fn a_remote_that_comes_back_is_reached_again() {
        let mut caller = Caller::new();
        caller.ask("127.0.0.2:4001").unwrap();
        let mut open = caller.connect("127.0.0.2:4001").unwrap();
        ask(&mut open).unwrap();
        caller.called.kill_proxy();
        // No end, which a program could take for the whole of an answer, but a failure.
        assert_cut(ask(&mut open));
        assert_cut(caller.ask("127.0.0.2:4001"));
        caller.called.start_proxy();
        caller.ask("127.0.0.2:4001").unwrap();
    }
}

netns_test! {
    fn the_end_of_the_lease_cuts_connections_and_a_renewal_brings_them_back() {
        let caller = Caller::start(Pod::new(), "frontend", Duration::from_secs(2), |_| {});
        let mut open = caller.connect("127.0.0.2:4001").unwrap();
        ask(&mut open).unwrap();
        eventually("the cut", || caller.counted("cut_total") == 1);
        assert_cut(ask(&mut open));
        assert_cut(caller.ask("127.0.0.2:4001"));
        assert_eq!(caller.counted("failed_total{reason=\"lease\"}"), 1);
        let ca = &caller.called.ca;
        caller.material.send_replace(material_of(ca, &ca.leaf("frontend"), &[], Duration::from_mins(1)));
        eventually("the renewal", || caller.ask("127.0.0.2:4001").is_ok());
    }
}

netns_test! {
    fn each_connection_is_made_under_the_current_certificates() {
        let caller = Caller::new();
        let mut open = caller.connect("127.0.0.2:4001").unwrap();
        ask(&mut open).unwrap();
        // A new authority for both pods: the certificates of the former one count no more.
        let new = Ca::new();
        let lease = Duration::from_mins(1);
        caller.called.material.send_replace(material(&new, &["frontend"], lease));
        eventually("the renewal", || pod::counted(&caller.called.metrics, "renewals_total") == 1);
        assert_cut(caller.ask("127.0.0.2:4001"));
        caller.material.send_replace(material_of(&new, &new.leaf("frontend"), &[], lease));
        eventually("the renewal", || caller.ask("127.0.0.2:4001").is_ok());
        ask(&mut open).unwrap();
    }
}

netns_test! {
    fn a_half_closed_connection_still_answers() {
        let caller = Caller::new();
        let mut stream = caller.connect("127.0.0.2:4001").unwrap();
        ask(&mut stream).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"BYE");
        eventually("the end", || caller.metrics.egress_open() == 0 && caller.called.metrics.open() == 0);
    }
}

netns_test! {
    fn bulk_arrives_whole_and_waits_for_who_reads_slowly() {
        let caller = Caller::new();
        for netns in [&caller.called.inside, &caller.called.outside] {
            // Small buffers in the kernel, so that not all of it fits in there.
            for buffer in ["rmem", "wmem"] {
                netns.output(&format!("sysctl -q -w net.ipv4.tcp_{buffer}=4096\t16384\t65536"));
            }
        }
        let mut stream = caller.connect("127.0.0.2:4001").unwrap();
        let sent: Vec<u8> = (0..8_000_000u32).map(|index| b'a' + u8::try_from(index % 26).unwrap()).collect();
        let (mut writing, copy) = (stream.try_clone().unwrap(), sent.clone());
        let writer = std::thread::spawn(move || writing.write_all(&copy).unwrap());
        // Buffers on the way are full sooner or later, and the writer waits for this thread.
        std::thread::sleep(Duration::from_millis(300));
        let held = caller.counted("bytes_total{direction=\"out\"}");
        assert!(held < 8_000_000, "{held}");
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).unwrap();
        writer.join().unwrap();
        assert!(received == sent.to_ascii_uppercase());
    }
}

netns_test! {
    fn connections_beyond_the_limit_are_refused_and_the_open_ones_stay() {
        let caller = Caller::start(Pod::new(), "frontend", Duration::from_mins(1), |config| config.max_connections = 2);
        let open = || caller.connect("127.0.0.2:4001");
        let (mut first, mut second) = (open().unwrap(), open().unwrap());
        ask(&mut first).unwrap();
        ask(&mut second).unwrap();
        assert_cut(open().and_then(|mut third| ask(&mut third)));
        assert_eq!(caller.counted("failed_total{reason=\"too_many\"}"), 1);
        ask(&mut first).unwrap();
        drop(second);
        eventually("a free place", || caller.ask("127.0.0.2:4001").is_ok());
    }
}

netns_test! {
    fn nobody_outside_of_the_pod_reaches_its_egress() {
        let caller = Caller::new();
        caller.ask("127.0.0.2:4001").unwrap();
        // Who is on the same wire sends to the loopback address by way of the pod, which has been told to take it.
        let (near, far) = (&caller.called.inside, &caller.called.outside);
        for (netns, command) in [
            (near, "sysctl -q -w net.ipv4.conf.eth0.route_localnet=1"),
            (far, "sysctl -q -w net.ipv4.conf.eth0.route_localnet=1"),
            (near, "ip route del local 127.0.0.0/8 dev lo table local"),
            (near, "ip route add 127.0.0.2/32 via 10.99.0.2 src 10.99.0.1"),
        ] {
            netns.output(command);
        }
        for address in ["127.0.0.2:4001", "10.99.0.2:4001", "[fd00:99::2]:4001"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_closed(near.run(move || TcpStream::connect_timeout(&address, PATIENCE)));
        }
        assert_eq!(caller.counted("connections_total"), 1);
    }
}

netns_test! {
    fn a_socket_that_is_taken_or_would_be_open_to_others_is_refused_with_a_hint() {
        let netns = crate::netns::Netns::new();
        let error = |listen: &str, port: u16| {
            let entry = Egress {
                name: "backend".into(),
                listen: listen.parse().unwrap(),
                host: "backend".into(),
                port: 1,
                certificate_name: "backend".into(),
            };
            netns.run(move || {
                let _taken = TcpListener::bind(("0.0.0.0", port)).unwrap();
                Listeners::open(&[entry]).err().map(|error: ProxyError| (error.to_string(), error.hint()))
            })
        };
        assert_eq!(error("127.0.0.2:4001", 5000), None);
        let (text, hint) = error("127.0.0.2:4001", 4001).unwrap();
        assert_eq!(text, "listen on 127.0.0.2:4001 for egress `backend`");
        assert!(hint.unwrap().contains("take another port"));
        for outside in ["0.0.0.0:4001", "[::]:4001", "10.0.0.1:4001"] {
            assert!(error(outside, 5000).is_some(), "{outside}");
        }
    }
}
