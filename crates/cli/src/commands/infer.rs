//! `casemate infer` and `casemate bench`: questions over TLS that ends inside the pod, under the mesh root that `verify`
//! wrote.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use inference::client::{self, BenchImage, BenchOptions, BenchReport, ClientError, Target};
use inference::image::{PIXELS, Picture, SIDE};
use protocol::Identity;
use protocol::api::USER_PORT;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::local::progress;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// Ask the inference service to classify an image
#[derive(clap::Args)]
#[command(
    after_help = "The answer comes over TLS under the mesh root that `casemate verify` wrote, from a pod whose identity the
manifest lists; nobody between you and the pod sees image or answer.

Examples:
  casemate infer --image 7.png
  casemate infer --image 7.png --address 192.0.2.7:8080 --server-name inference"
)]
pub(crate) struct InferArgs {
    /// A PNG file
    #[arg(short, long, value_name = "FILE")]
    image: PathBuf,
    /// How many classes to show, best first
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    top: u64,
    #[command(flatten)]
    target: TargetArgs,
}

/// Measure the inference service: end-to-end time, latencies, errors, requests per second
#[derive(clap::Args)]
#[command(after_help = "Examples:
  casemate bench --cnum 4 --loop 100
  casemate bench --cnum 16 --loop 1000 --image digits/")]
pub(crate) struct BenchArgs {
    /// Clients at the same time, each with a connection of its own
    #[arg(long, default_value_t = 4)]
    cnum: u32,
    /// Requests of each client
    #[arg(long = "loop", value_name = "N", default_value_t = 100)]
    loops: u32,
    /// A PNG file or a folder of them, sent in turn [default: a built-in picture]
    #[arg(short, long, value_name = "PATH")]
    image: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(clap::Args)]
struct TargetArgs {
    /// A service of the local engine [default: the only one beside the Coordinator]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Address of the service, when it is not one of the local engine
    #[arg(long, value_name = "HOST:PORT", requires = "server_name")]
    address: Option<String>,
    /// The name that the pod's certificate must carry [default: the service's name]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// The mesh root [default: verify/mesh-ca.pem in the work folder]
    #[arg(long, value_name = "FILE")]
    mesh_ca: Option<PathBuf>,
    /// The model [default: the only one of the server]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

pub(crate) async fn infer(context: &Context, args: InferArgs) -> Outcome {
    let picture = read_picture(&args.image)?;
    let target = target(context, &args.target)?;
    let answer = client::infer(&target, &picture, args.top).await.map_err(failed)?;
    let peer = Peer::of(&answer.peer)?;
    peer.check(context)?;
    if context.json {
        let object = serde_json::json!({ "answer": answer, "identity": peer.identity, "spiffe": peer.spiffe, "insecure": peer.insecure });
        output::json(&object);
        return Ok(());
    }
    let best = answer.classes.first().context("the server named no class")?;
    let label = |class: &inference::kserve::Class| class.label.clone().unwrap_or_else(|| class.index.to_string());
    output::result(&format!("{} ({:.1} %)", label(best), best.probability * 100.0));
    for class in answer.classes.iter().skip(1) {
        output::say(&format!("  {} ({:.1} %)", label(class), class.probability * 100.0));
    }
    output::say(&format!("model     {} {}", answer.model, answer.version.chars().take(12).collect::<String>()));
    output::say(&format!("pod       {} at {} (the host's word)", answer.pod.as_deref().unwrap_or("?"), answer.address));
    output::say(&format!("identity  {} {} (attested)", peer.identity.0.short(), peer.spiffe));
    output::say(&format!("time      {:.2} ms", answer.milliseconds));
    if peer.insecure {
        output::say(output::INSECURE);
    }
    Ok(())
}

pub(crate) async fn bench(context: &Context, args: BenchArgs) -> Outcome {
    let images = bench_images(args.image.as_deref())?;
    let target = target(context, &args.target)?;
    // One question first: a service that is not trusted is an answer, not four hundred counted errors.
    let first = images.first().context("there is no picture to send")?;
    let answer = client::infer(&target, &first.picture, 1).await.map_err(failed)?;
    let peer = Peer::of(&answer.peer)?;
    peer.check(context)?;
    let (cancel, cancelled) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = cancel.send(true);
        }
        // Kept until the end: a dropped sender would not cancel, but would look like it.
        std::future::pending::<()>().await;
    });
    let bar = progress(context, "measuring");
    let options = BenchOptions { cnum: args.cnum, loops: args.loops, warmup: 1, images };
    let report = client::bench(&target, &options, cancelled, |now| {
        if let Some(bar) = &bar {
            bar.set_message(format!("{} of {} requests, {} errors", now.done, now.total, now.errors));
        }
    })
    .await;
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let report = report.map_err(Failure::no)?;
    show(context, &args, &report, peer.insecure);
    if report.cancelled {
        return Err(Failure::could_not_tell(anyhow::anyhow!("stopped before the end")).told(context.json));
    }
    if report.errors > 0 {
        let what = anyhow::anyhow!("{} of {} requests failed", report.errors, report.requests);
        return Err(Failure::could_not_tell(what).told(context.json));
    }
    Ok(())
}

fn show(context: &Context, args: &BenchArgs, report: &BenchReport, insecure: bool) {
    if context.json {
        let mut object = serde_json::to_value(report).unwrap_or_default();
        object["cnum"] = args.cnum.into();
        object["loop"] = args.loops.into();
        object["insecure"] = insecure.into();
        output::json(&object);
        return;
    }
    let rows = [
        ("end to end", format!("{:.3} s", report.end_to_end_s)),
        ("requests", format!("{} by {} clients", report.requests, args.cnum)),
        ("errors", report.errors.to_string()),
        ("wrong answers", report.wrong.to_string()),
        ("latency mean", format!("{:.2} ms", report.mean_ms)),
        ("latency p50", format!("{:.2} ms", report.p50_ms)),
        ("latency p90", format!("{:.2} ms", report.p90_ms)),
        ("latency p99", format!("{:.2} ms", report.p99_ms)),
        ("tps", format!("{:.1} requests/s", report.tps)),
    ];
    for (name, value) in rows {
        output::result(&format!("{name:<14} {value}"));
    }
    for (pod, count) in &report.pods {
        output::result(&format!("  {pod:<28} {count} answers"));
    }
    for (reason, count) in &report.reasons {
        output::say(&format!("  {count} x {reason}"));
    }
    if insecure {
        output::say(output::INSECURE);
    }
}

fn failed(error: ClientError) -> Failure {
    let hint = error.hint().map(ToOwned::to_owned);
    let failure = if error.is_refusal() { Failure::no(error) } else { Failure::could_not_tell(error) };
    failure.maybe_hint(hint)
}

fn read_picture(path: &Path) -> Outcome<Picture> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::no(anyhow::Error::new(error).context(format!("read `{}`", path.display()))))?;
    Picture::from_png(&bytes)
        .map_err(|error| Failure::no(error).context(format!("`{}` is not a usable PNG", path.display())))
}

fn bench_images(path: Option<&Path>) -> Outcome<Vec<BenchImage>> {
    let Some(path) = path else {
        // A slope: every pixel differs, no digit is claimed.
        let mut pixels = [0.0; PIXELS];
        for (index, pixel) in pixels.iter_mut().enumerate() {
            *pixel = (index % SIDE) as f32 * 2.0;
        }
        let side = u32::try_from(SIDE).unwrap_or(u32::MAX);
        return Ok(vec![BenchImage { picture: Picture { pixels, size: (side, side) }, expected: None }]);
    };
    let named = |file: &Path| -> Outcome<BenchImage> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(BenchImage::named(&name, read_picture(file)?))
    };
    if !path.is_dir() {
        return Ok(vec![named(path)?]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(|| format!("read `{}`", path.display()))
        .map_err(Failure::no)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::refuse(format!("`{}` holds no PNG file", path.display())));
    }
    files.iter().map(|file| named(file)).collect()
}

fn target(context: &Context, args: &TargetArgs) -> Outcome<Target> {
    let (addresses, name) = match &args.address {
        Some(address) => {
            let resolved: Vec<SocketAddr> = address
                .to_socket_addrs()
                .with_context(|| format!("resolve `{address}`"))
                .map_err(Failure::could_not_tell)?
                .collect();
            (resolved, args.server_name.clone().unwrap_or_default())
        }
        None => {
            let (address, name) = local_service(context, args.service.as_deref())?;
            (vec![address], args.server_name.clone().unwrap_or(name))
        }
    };
    let ca_path = args.mesh_ca.clone().unwrap_or_else(|| context.workspace.verify_dir().join("mesh-ca.pem"));
    let pem = crate::workspace::read_input(&ca_path, "`casemate verify` writes it: verify first, then ask")?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate =
            certificate.map_err(|error| Failure::no(error).context(format!("`{}`", ca_path.display())))?;
        roots.add(certificate).map_err(|error| Failure::no(error).context(format!("`{}`", ca_path.display())))?;
    }
    let tls = rustls::ClientConfig::builder_with_provider(channel::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("configure TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.clone())
        .map_err(|error| Failure::no(error).context(format!("`{name}` is no server name")))?;
    let mut target = Target::new(addresses, server_name, Arc::new(tls));
    target.model.clone_from(&args.model);
    Ok(target)
}

/// The address and name of a service of the local engine.
fn local_service(context: &Context, wanted: Option<&str>) -> Outcome<(SocketAddr, String)> {
    let services = engine::services(context.workspace.dir()).map_err(|error| {
        let hint = error.hint();
        Failure::no(error).maybe_hint(hint)
    })?;
    let candidates: Vec<_> = services
        .iter()
        .filter(|service| match wanted {
            Some(name) => service.name == name,
            None => service.ports.iter().all(|port| port.port != USER_PORT),
        })
        .collect();
    let names = || services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
    match candidates.as_slice() {
        [only] => {
            let port = only.ports.first().context("the service has no port").map_err(Failure::no)?;
            Ok((SocketAddr::from((only.ip, port.port)), only.name.clone()))
        }
        [] => Err(Failure::refuse(match wanted {
            Some(name) => format!("the local engine has no service `{name}`; it has {}", names()),
            None => "the local engine has no service beside the Coordinator".to_owned(),
        })),
        _ => {
            Err(Failure::refuse(format!("several services could be meant: {}", names()))
                .hint("name one with `--service`"))
        }
    }
}

impl Peer {
    /// The identity must be one that the manifest which `verify` saw lists as a workload: a certificate may outlive by a lease
    /// the manifest that it was issued under.
    fn check(&self, context: &Context) -> Outcome {
        let dir = context.workspace.verify_dir();
        let numbers = std::fs::read_dir(&dir).into_iter().flatten().flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("manifest.")?.strip_suffix(".json")?.parse::<u64>().ok()
        });
        let Some(latest) = numbers.max() else {
            return Err(Failure::refuse(format!("`{}` holds no manifest to look the pod up in", dir.display()))
                .hint("`casemate verify` writes it: verify first, then ask"));
        };
        let (_, manifest) = crate::workspace::read_manifest(&dir.join(format!("manifest.{latest}.json")))?;
        match manifest.policies.get(&self.identity) {
            Some(entry) if entry.role == protocol::Role::Workload => Ok(()),
            _ => Err(Failure::refuse(format!(
                "the answer came from a pod with identity {}, which the manifest does not list",
                self.identity.0.short()
            ))
            .hint("it was taken out of the manifest; the answer is not shown")),
        }
    }
}

/// What the pod's certificate says; the TLS configuration has checked it under the mesh root.
struct Peer {
    identity: Identity,
    spiffe: String,
    insecure: bool,
}

impl Peer {
    fn of(leaf: &[u8]) -> Outcome<Self> {
        use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
        let unusable = |what: &str| Failure::refuse(format!("the pod's certificate {what}"));
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| unusable("cannot be parsed"))?;
        let names = certificate.subject_alternative_name().ok().flatten().ok_or_else(|| unusable("has no names"))?;
        let mut identity = None;
        let mut spiffe = None;
        for name in &names.value.general_names {
            let GeneralName::URI(uri) = name else { continue };
            if let Some(hex) = uri.strip_prefix("casemate:identity:") {
                identity = hex.parse().ok();
            } else if uri.starts_with("spiffe://") {
                spiffe = Some((*uri).to_owned());
            }
        }
        Ok(Self {
            identity: identity.ok_or_else(|| unusable("names no identity"))?,
            spiffe: spiffe.ok_or_else(|| unusable("names no SPIFFE id"))?,
            insecure: certificate.subject().to_string().contains("INSECURE"),
        })
    }
}
