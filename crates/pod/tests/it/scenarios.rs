//! What a pod goes through.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::api::Roots;
use protocol::{Digest, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use testkit::SoftwareTee;

use crate::netns::is_root;
use crate::rig::{CALLS, CALLS_IN_VAIN, COORDINATOR, PEER_PORT, POD, PORT, Rig, World, eventually, read};

fn world() -> World {
    World::new(1, &Arc::new(SoftwareTee::generate()))
}

/// Answers every connection byte by byte.
fn serve_workload(rig: &Rig) {
    let listener = rig.pod.run(|| TcpListener::bind(("127.0.0.1", PORT)).unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn connect(rig: &Rig, root_ca: &str) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_ca.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(channel::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("inference").unwrap()).unwrap();
    let stream = rig.outside.run(|| {
        let address = SocketAddr::new(POD.parse().unwrap(), PORT);
        TcpStream::connect_timeout(&address, Duration::from_secs(1))
    })?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(StreamOwned::new(connection, stream))
}

fn ask(tls: &mut Tls) -> std::io::Result<()> {
    tls.write_all(b"x")?;
    tls.read_exact(&mut [0])
}

#[test]
fn a_pod_waits_for_its_manifest_gets_ready_serves_renews_and_is_cut_off() {
    if !is_root() {
        return;
    }
    let world = world();
    let mut rig = Rig::new(&world, world.workload.identity());

    // No Coordinator, then one without a manifest: the initializer waits, and says each state once.
    let initializer = rig.start(&["/casemate-pod", "initializer"]);
    initializer.eventually_logs("waiting: connect to the Coordinator at 10.98.0.2:7777");
    rig.start_coordinator(&world);
    initializer.eventually_logs("no manifest");
    assert!(!rig.has_launcher() && !rig.path("casemate/tls-config").exists());
    let ruleset = rig.pod.output("nft list ruleset");
    assert!(ruleset.contains("skuid 0") && !ruleset.contains("tproxy"), "{ruleset}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(initializer.log().matches("waiting: ").count(), 2, "{}", initializer.log());

    let set = Instant::now();
    let roots = rig.set(&world);
    let (status, log) = initializer.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("initializer start to certificate"), "{log}");
    assert!(log.contains("INSECURE"), "{log}");
    assert!(!log.contains("open sesame"), "{log}");
    eprintln!("set to ready: {} ms (the longest pause is 250 ms)", set.elapsed().as_millis());

    // Everything lies where applications look.
    let mode = |path: &str| rig.path(path).metadata().unwrap().mode() & 0o7777;
    assert_eq!(read(&rig.path("casemate/secrets/model-key")), "open sesame");
    assert_eq!(read(&rig.path("casemate-files/config/labels.txt")), "zero one two");
    assert_eq!(read(&rig.path("casemate/tls-config/coordinator-root-ca.pem")), roots.root_ca);
    assert_eq!(read(&rig.path("casemate/tls-config/mesh-ca.pem")), roots.mesh_ca);
    assert_eq!(mode("casemate/tls-config/key.pem"), 0o444);
    assert_eq!(rig.path("casemate/tls-config").metadata().unwrap().uid(), 1313);
    for before in [&["/casemate/bin/launch", "app"][..], &["/casemate/bin/launch"]] {
        assert_eq!(
            rig.start(&[before, &["--", "/casemate-pod", "--version"]].concat()).output(),
            format!("casemate-pod {}\n", env!("CARGO_PKG_VERSION"))
        );
    }

    // A second start measures what the first could not, having waited.
    let again = rig.start(&["/casemate-pod", "initializer"]).end().1;
    eprintln!("{}", again.lines().find(|line| line.contains("start to certificate")).unwrap());

    // The mesh runs without any right, and what it serves is the pod's certificate.
    serve_workload(&rig);
    let mesh = rig.start(&["/casemate-pod", "mesh"]);
    mesh.eventually_logs("mesh is up");
    let (status, log) = rig.start(&["/casemate-pod", "mesh"]).end();
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("casemate-mesh runs in this pod already"), "{log}");
    assert_eq!(mesh.status("Uid"), "1313\t1313\t1313\t1313");
    assert_eq!(mesh.status("Gid"), "1313\t1313\t1313\t1313");
    assert_eq!(mesh.status("Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(mesh.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(mesh.status("NoNewPrivs"), "1");
    let mut open = connect(&rig, &roots.mesh_ca).unwrap();
    ask(&mut open).unwrap();
    ask(&mut connect(&rig, &roots.root_ca).unwrap()).unwrap();
    eprintln!("mesh: VmRSS {}, VmHWM {}", mesh.status("VmRSS"), mesh.status("VmHWM"));

    // A third of the ten-second lease later the certificate is another one, and the connection is the same.
    let chain = || read(&rig.path("casemate/tls-config/certChain.pem"));
    let first = chain();
    eventually("a renewal", Duration::from_secs(8), || chain() != first);
    ask(&mut open).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    ask(&mut open).unwrap();

    // Without a Coordinator the lease ends, and with it every connection.
    rig.stop_coordinator();
    eventually("the cut", Duration::from_secs(13), || ask(&mut open).is_err());
    mesh.eventually_logs("lease ended without renewal");
    let refused = connect(&rig, &roots.mesh_ca).and_then(|mut tls| ask(&mut tls));
    assert!(refused.is_err());

    // A Coordinator with the same initdata and manifest and another past is not the one that the pod enrolled with.
    rig.empty_store();
    rig.start_coordinator(&world);
    let stranger = rig.set(&world);
    assert_ne!(stranger.root_ca, roots.root_ca);
    // It is shorter than the log that the mesh was shown, and honest enough to say so.
    mesh.eventually_logs("lease is not renewed: the Coordinator refused: ");
    let refused = connect(&rig, &stranger.mesh_ca).and_then(|mut tls| ask(&mut tls));
    assert!(refused.is_err());
    let (status, log) = rig.start(&["/casemate-pod", "initializer"]).end();
    assert_eq!(status, Some(1), "{log}");
    let contradiction = "grant contradicts an earlier one: root CA is another one than at enrolment";
    assert!(log.contains(contradiction), "{log}");
    assert!(!rig.has_launcher());
    assert_eq!(read(&rig.path("casemate/tls-config/coordinator-root-ca.pem")), roots.root_ca);

    mesh.terminate();
    let (status, log) = mesh.end();
    assert_eq!(status, Some(0), "{log}");
    eprintln!("{log}");
}

/// Another pod of the mesh, outside: it demands certificates and answers byte by byte. Its own certificate is that of the
/// pod, which has a name to call it by.
fn serve_peer(rig: &Rig, roots: &Roots) {
    let mut cas = RootCertStore::empty();
    cas.add(CertificateDer::from_pem_slice(roots.mesh_ca.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(cas), channel::provider()).build().unwrap();
    let chain = CertificateDer::pem_file_iter(rig.path("casemate/tls-config/certChain.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(rig.path("casemate/tls-config/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(channel::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let config = Arc::new(config);
    let listener = rig.outside.run(|| TcpListener::bind((COORDINATOR, PEER_PORT)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut byte = [0];
            while tls.read_exact(&mut byte).is_ok() && tls.write_all(&byte).is_ok() {}
        }
    });
}

#[test]
fn programs_call_other_pods_in_clear_and_the_mesh_does_it_over_tls() {
    if !is_root() {
        return;
    }
    let world = world();
    let mut rig = Rig::new(&world, world.workload.identity());
    rig.start_coordinator(&world);
    let roots = rig.set(&world);
    let (status, log) = rig.start(&["/casemate-pod", "initializer"]).end();
    assert_eq!(status, Some(0), "{log}");
    let mesh = rig.start(&["/casemate-pod", "mesh"]);
    mesh.eventually_logs("mesh is up");
    // It has listened at a low port and kept nothing that it takes to.
    assert_eq!(mesh.status("CapPrm"), "0000000000000000");
    let call = |listen: &'static str| {
        let mut stream = rig.pod.run(move || TcpStream::connect(listen))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])
    };
    // Nobody is there yet, and the next call is made anew.
    assert!(call(CALLS).is_err());
    mesh.eventually_logs("connection came to nothing");
    serve_peer(&rig, &roots);
    call(CALLS).unwrap();
    call(CALLS).unwrap();
    assert!(call(CALLS_IN_VAIN).is_err());
    mesh.eventually_logs("not valid for name \"another\"");
    // From outside nobody gets there.
    let outside = rig
        .outside
        .run(|| TcpStream::connect_timeout(&SocketAddr::new(POD.parse().unwrap(), 443), Duration::from_millis(300)));
    assert!(outside.is_err());
    mesh.terminate();
    let (status, log) = mesh.end();
    assert_eq!(status, Some(0), "{log}");
}

/// Starts the initializer of a pod that must not get ready, and gives status and log.
fn refused(rig: &Rig) -> String {
    let (status, log) = rig.start(&["/casemate-pod", "initializer"]).end();
    assert_eq!(status, Some(1), "{log}");
    assert!(!rig.has_launcher());
    assert!(!rig.path("casemate/tls-config").exists());
    log
}

#[test]
fn a_pod_that_is_not_in_the_manifest_is_told_so_and_ends() {
    if !is_root() {
        return;
    }
    let mut world = world();
    let workload = world.workload.identity();
    let entry = world.manifest.policies.remove(&workload).unwrap();
    world.manifest.policies.insert(Identity(Digest::of(b"another")), entry);
    let mut rig = Rig::new(&world, workload);
    rig.start_coordinator(&world);
    rig.set(&world);
    let log = refused(&rig);
    let expected = format!("the Coordinator refused: identity {} is not in the manifest", workload.0.short());
    assert!(log.contains(&expected), "{log}");
}

#[test]
fn a_changed_file_ends_the_pod_before_anything_is_written() {
    if !is_root() {
        return;
    }
    let world = world();
    let rig = Rig::new(&world, world.workload.identity());
    std::fs::write(rig.path("casemate-in/files/config/labels.txt"), "one zero two").unwrap();
    let log = refused(&rig);
    let (got, expected) = (Digest::of(b"one zero two"), Digest::of(b"zero one two"));
    assert!(log.contains(&format!("files.config/labels.txt: sha256 {got}, expected {expected}")), "{log}");
    assert_eq!(std::fs::read_dir(rig.path("casemate-files/config")).unwrap().count(), 0);
}

#[test]
fn a_pod_that_was_given_other_initdata_is_refused() {
    if !is_root() {
        return;
    }
    let world = world();
    let rig = Rig::new(&world, Identity(Digest::of(b"approved")));
    let log = refused(&rig);
    assert!(log.contains("the document given to this pod has digest"), "{log}");
}

/// Starts an initializer that meets a Coordinator that is not its own, and gives the reason that it logs.
fn not_ours(ours: &World, theirs: &World) -> String {
    let mut rig = Rig::new(ours, ours.workload.identity());
    rig.start_coordinator(theirs);
    rig.set(theirs);
    let mut initializer = rig.start(&["/casemate-pod", "initializer"]);
    initializer.eventually_logs("refusing this Coordinator: ");
    std::thread::sleep(Duration::from_millis(500));
    // It may be led right later.
    assert!(initializer.is_running());
    assert!(!rig.has_launcher());
    let log = initializer.log();
    log.lines().find_map(|line| line.split_once("refusing this Coordinator: ")).unwrap().1.to_owned()
}

#[test]
fn a_genuine_coordinator_of_another_deployment_is_refused_loudly() {
    if !is_root() {
        return;
    }
    let tee = Arc::new(SoftwareTee::generate());
    let reason = not_ours(&World::new(1, &tee), &World::new(2, &tee));
    assert!(reason.starts_with("attested channel to the Coordinator: "), "{reason}");
    assert!(reason.ends_with(": this is another deployment"), "{reason}");
}

#[test]
fn a_genuine_coordinator_with_other_initdata_is_refused_by_its_identity() {
    if !is_root() {
        return;
    }
    let tee = Arc::new(SoftwareTee::generate());
    // Same deployment, other owners.
    let (ours, theirs) = (World::new(1, &tee), World::new(1, &tee));
    let reason = not_ours(&ours, &theirs);
    let short = |world: &World| world.coordinator().0.short();
    let identities = format!("identity is {}, expected {}", short(&theirs), short(&ours));
    assert!(reason.ends_with(&identities), "{reason}");
}

#[test]
fn a_coordinator_in_another_tee_is_refused_by_its_root() {
    if !is_root() {
        return;
    }
    let ours = world();
    let mut theirs = ours.clone();
    theirs.move_to(&Arc::new(SoftwareTee::generate()));
    let reason = not_ours(&ours, &theirs);
    assert!(reason.contains("software root is "), "{reason}");
}

#[test]
#[ignore = "a measurement"]
fn memory_of_a_thousand_idle_connections() {
    if !is_root() {
        return;
    }
    let world = world();
    let mut rig = Rig::new(&world, world.workload.identity());
    rig.start_coordinator(&world);
    let roots = rig.set(&world);
    assert_eq!(rig.start(&["/casemate-pod", "initializer"]).end().0, Some(0));
    serve_workload(&rig);
    let mesh = rig.start(&["/casemate-pod", "mesh"]);
    mesh.eventually_logs("mesh is up");
    eprintln!("no connection: {}", mesh.status("VmRSS"));
    let mut open = Vec::new();
    for _ in 0..1000 {
        let mut tls = connect(&rig, &roots.mesh_ca).unwrap();
        ask(&mut tls).unwrap();
        open.push(tls);
    }
    eprintln!("{} idle connections: {}", open.len(), mesh.status("VmRSS"));
}
