//! What a caller from another network namespace gets, and does not get.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use mesh::proxy::Material;

use crate::pki::{Ca, identity};
use crate::pod::{self, MUTUAL, OPEN, PATIENCE, Pod, SERVER_ONLY, UNLISTED, V4, V6, material};

/// Closed means that packets vanish: no answer that would tell a stranger more.
pub(crate) fn assert_closed<T>(outcome: io::Result<T>) {
    match outcome {
        Ok(_) => panic!("the port is open"),
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
            "the port answers, though with {error}"
        ),
    }
}

/// The connection ended without an answer.
pub(crate) fn assert_cut(outcome: io::Result<()>) {
    let error = outcome.expect_err("the connection still answers");
    let timeout = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
    assert!(!timeout, "the connection hangs instead of ending: {error}");
}

/// How often a reason was counted.
fn counted(pod: &Pod, row: &str) -> u64 {
    pod::counted(&pod.metrics, row)
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

netns_test! {
    fn a_listed_caller_reaches_the_workload_over_both_families() {
        let pod = Pod::new();
        let frontend = pod.ca.leaf("frontend");
        for address in [V4, V6] {
            pod.ask(address, MUTUAL, Some(&frontend)).unwrap();
            pod.ask(address, SERVER_ONLY, None).unwrap();
            pod.ask(address, SERVER_ONLY, Some(&frontend)).unwrap();
        }
    }
}

netns_test! {
    fn an_open_port_is_plain() {
        let pod = Pod::new();
        for address in [V4, V6] {
            let mut stream = pod.connect(address, OPEN).unwrap();
            stream.write_all(b"probe").unwrap();
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"PROBE");
        }
    }
}

netns_test! {
    fn plain_tcp_never_reaches_the_workload() {
        let pod = Pod::new();
        for port in [MUTUAL, SERVER_ONLY] {
            let mut stream = pod.connect(V4, port).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            // At most a TLS alert.
            assert!(answer.len() <= 7, "{answer:?}");
        }
        assert_eq!(counted(&pod, "bytes_total{direction=\"in\"}"), 0);
    }
}

netns_test! {
    fn unlisted_ports_are_closed_for_both_families() {
        let pod = Pod::new();
        for address in [V4, V6] {
            assert_closed(pod.connect(address, UNLISTED));
        }
    }
}

netns_test! {
    fn the_listeners_of_the_proxy_are_closed_to_direct_hits() {
        let pod = Pod::new();
        for address in [V4, V6] {
            for port in [15006, 15007] {
                assert_closed(pod.connect(address, port));
            }
        }
    }
}

netns_test! {
    fn udp_is_closed() {
        let pod = Pod::new();
        let answer = |bind: &'static str, to: &'static str| {
            pod.outside.run(move || {
                let socket = UdpSocket::bind(bind)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.send_to(b"hello", to)?;
                socket.recv_from(&mut [0; 8])
            })
        };
        assert_closed(answer("0.0.0.0:0", "10.99.0.1:9999"));
        assert_closed(answer("[::]:0", "[fd00:99::1]:9999"));
    }
}

netns_test! {
    fn a_dead_proxy_closes_the_pod() {
        let mut pod = Pod::new();
        let frontend = pod.ca.leaf("frontend");
        let mut open = pod.connect_tls(V4, MUTUAL, Some(&frontend)).unwrap();
        open.ask().unwrap();
        pod.kill_proxy();
        assert!(open.ask().is_err());
        for address in [V4, V6] {
            for port in [MUTUAL, SERVER_ONLY] {
                assert_closed(pod.connect(address, port));
            }
        }
    }
}

netns_test! {
    fn a_client_without_a_certificate_is_refused_where_one_is_required() {
        let pod = Pod::new();
        assert_cut(pod.ask(V4, MUTUAL, None));
        // The client may see the alert before it is counted.
        eventually("the count", || counted(&pod, "refused_total{reason=\"handshake\"}") == 1);
    }
}

netns_test! {
    fn a_certificate_of_another_authority_is_refused() {
        let pod = Pod::new();
        assert_cut(pod.ask(V4, MUTUAL, Some(&Ca::new().leaf("frontend"))));
        // The client may see the alert before it is counted.
        eventually("the count", || counted(&pod, "refused_total{reason=\"handshake\"}") == 1);
    }
}

netns_test! {
    fn a_workload_that_is_no_caller_is_refused() {
        let pod = Pod::new();
        assert_cut(pod.ask(V4, MUTUAL, Some(&pod.ca.leaf("stranger"))));
        assert_eq!(counted(&pod, "refused_total{reason=\"caller\"}"), 1);
    }
}

netns_test! {
    fn a_certificate_is_judged_by_identity_and_not_by_name() {
        let pod = Pod::new();
        let impostor = pod.ca.leaf_with("frontend", &[protocol::api::identity_uri(identity("stranger"))]);
        assert_cut(pod.ask(V4, MUTUAL, Some(&impostor)));
        let nobody = pod.ca.leaf_with("frontend", &["spiffe://x/frontend".to_owned()]);
        assert_cut(pod.ask(V4, MUTUAL, Some(&nobody)));
        assert_eq!(counted(&pod, "refused_total{reason=\"caller\"}"), 2);
    }
}

netns_test! {
    fn the_end_of_the_lease_cuts_open_connections_and_refuses_new_ones() {
        let pod = Pod::start(Duration::from_secs(1), |_| {});
        let frontend = pod.ca.leaf("frontend");
        let mut mutual = pod.connect_tls(V4, MUTUAL, Some(&frontend)).unwrap();
        let mut server_only = pod.connect_tls(V6, SERVER_ONLY, None).unwrap();
        mutual.ask().unwrap();
        server_only.ask().unwrap();
        eventually("the cut", || counted(&pod, "cut_total{reason=\"lease\"}") == 2);
        assert_cut(mutual.ask());
        assert_cut(server_only.ask());
        assert_cut(pod.ask(V4, MUTUAL, Some(&frontend)));
        assert_cut(pod.ask(V4, SERVER_ONLY, None));
        assert_eq!(counted(&pod, "refused_total{reason=\"lease\"}"), 2);
        // A late renewal opens the pod again.
        pod.material.send_replace(material(&pod.ca, &["frontend"], Duration::from_mins(1)));
        eventually("the renewal", || pod.ask(V4, MUTUAL, Some(&frontend)).is_ok());
    }
}

netns_test! {
    fn a_new_certificate_keeps_open_connections() {
        let pod = Pod::start(Duration::from_secs(2), |_| {});
        let frontend = pod.ca.leaf("frontend");
        let mut open = pod.connect_tls(V4, MUTUAL, Some(&frontend)).unwrap();
        open.ask().unwrap();
        let certificate = |tls: &crate::pod::Tls| tls.0.conn.peer_certificates().unwrap()[0].clone();
        let renewed = material(&pod.ca, &["frontend"], Duration::from_mins(1));
        let expected = renewed.chain[0].clone();
        pod.material.send_replace(renewed);
        eventually("the new certificate", || {
            let mut tls = pod.connect_tls(V4, MUTUAL, Some(&frontend)).unwrap();
            tls.ask().unwrap();
            certificate(&tls) == expected
        });
        assert_ne!(certificate(&open), expected);
        // Beyond the end of the lease under which it was opened.
        std::thread::sleep(Duration::from_secs(2));
        open.ask().unwrap();
    }
}

netns_test! {
    fn a_caller_taken_off_the_list_is_cut_and_the_others_stay() {
        let pod = Pod::new();
        pod.material.send_replace(material(&pod.ca, &["frontend", "batch"], Duration::from_mins(1)));
        let (frontend, batch) = (pod.ca.leaf("frontend"), pod.ca.leaf("batch"));
        let mut of_frontend = pod.connect_tls(V4, MUTUAL, Some(&frontend)).unwrap();
        eventually("the list with both", || pod.ask(V4, MUTUAL, Some(&batch)).is_ok());
        let mut of_batch = pod.connect_tls(V4, MUTUAL, Some(&batch)).unwrap();
        of_frontend.ask().unwrap();
        of_batch.ask().unwrap();
        pod.material.send_replace(material(&pod.ca, &["frontend"], Duration::from_mins(1)));
        eventually("the cut", || counted(&pod, "cut_total{reason=\"caller\"}") == 1);
        assert_cut(of_batch.ask());
        of_frontend.ask().unwrap();
    }
}

netns_test! {
    fn unusable_material_leaves_the_earlier_in_place() {
        let pod = Pod::new();
        let good = material(&pod.ca, &["frontend"], Duration::from_mins(1));
        // Its first material is in use.
        pod.ask(V4, SERVER_ONLY, None).unwrap();
        // The key of one certificate with the chain of another.
        let broken = Material { key: pod.ca.leaf("other").key(), ..good };
        pod.material.send_replace(broken);
        std::thread::sleep(Duration::from_millis(50));
        pod.ask(V4, MUTUAL, Some(&pod.ca.leaf("frontend"))).unwrap();
        assert_eq!(counted(&pod, "renewals_total"), 0);
    }
}

netns_test! {
    fn a_half_closed_connection_still_answers() {
        let pod = Pod::new();
        let mut tls = pod.connect_tls(V4, SERVER_ONLY, None).unwrap();
        tls.ask().unwrap();
        tls.0.conn.send_close_notify();
        tls.0.flush().unwrap();
        let mut rest = Vec::new();
        tls.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"BYE");
        eventually("the end", || pod.metrics.open() == 0);
    }
}

netns_test! {
    fn bulk_arrives_whole_both_ways() {
        let pod = Pod::new();
        let mut tls = pod.connect_tls(V4, SERVER_ONLY, None).unwrap();
        let sent: Vec<u8> = (0..200_000u32).map(|index| b'a' + u8::try_from(index % 26).unwrap()).collect();
        for _ in 0..5 {
            tls.0.write_all(&sent).unwrap();
            let mut received = vec![0; sent.len()];
            tls.0.read_exact(&mut received).unwrap();
            assert_eq!(received, sent.to_ascii_uppercase());
        }
    }
}

netns_test! {
    fn a_handshake_that_never_ends_is_given_up() {
        let pod = Pod::start(Duration::from_mins(1), |config| config.handshake_timeout = Duration::from_millis(500));
        let mut silent = pod.connect(V4, MUTUAL).unwrap();
        let start = Instant::now();
        let outcome = silent.read(&mut [0; 16]);
        assert!(start.elapsed() > Duration::from_millis(400), "{:?} after {:?}", outcome, start.elapsed());
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?} after {:?}", outcome, start.elapsed());
        eventually("the count", || counted(&pod, "refused_total{reason=\"handshake\"}") == 1);
    }
}

netns_test! {
    fn connections_beyond_the_limit_are_refused_and_the_open_ones_stay() {
        let pod = Pod::start(Duration::from_mins(1), |config| config.max_connections = 2);
        let open = || pod.connect_tls(V4, SERVER_ONLY, None);
        let (mut first, mut second) = (open().unwrap(), open().unwrap());
        first.ask().unwrap();
        second.ask().unwrap();
        assert_cut(open().and_then(|mut third| third.ask()));
        assert_eq!(counted(&pod, "refused_total{reason=\"too_many\"}"), 1);
        first.ask().unwrap();
        drop(second);
        eventually("a free place", || pod.ask(V4, SERVER_ONLY, None).is_ok());
    }
}

netns_test! {
    fn a_client_that_vanishes_without_an_end_is_no_end_to_the_workload() {
        let pod = Pod::new();
        let mut tls = pod.connect_tls(V4, SERVER_ONLY, None).unwrap();
        tls.ask().unwrap();
        // TCP ends, TLS does not: the workload must not take what came so far for the whole.
        tls.0.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        assert!(tls.0.read_to_end(&mut rest).is_err());
        assert_eq!(rest, b"");
    }
}
