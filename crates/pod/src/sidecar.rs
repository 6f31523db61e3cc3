//! The mesh sidecar: runs the proxy under the membership that the initializer obtained, and renews it.
//!
//! It starts as root, opens its sockets and gives every right up. A renewal is a new attested channel: the
//! answered heartbeat that the lease runs on, and only while it comes from the deployment that the pod enrolled in
//! (see [`crate::pins`]): any other answer is no renewal. Without one the proxy cuts every connection when the lease ends, and this
//! process goes on asking, so that the pod opens again once it is answered.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use attester::Attester;
use mesh::firewall::MESH_UID;
use mesh::lease::{BootInstant, sleep_until};
use mesh::proxy::{Listeners, Material, ProxyConfig, Resolver};
use nix::unistd::{Gid, Uid};
use protocol::Identity;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::answer::{Membership, certificates};
use crate::enroll::{Ask, Asker, Next};
use crate::failure::{Failure, Outcome};
use crate::hosts;
use crate::initializer::Describe;
use crate::key::Key;
use crate::own;
use crate::paths::Paths;
use crate::pins::Pins;
use crate::place::{self, Found};

/// A lease is renewed after this part of it, which leaves two tries of the same length.
const RENEW_AFTER: u32 = 3;
/// After a failure the renewal is tried again after this part of the lease.
const RETRY_AFTER: u32 = 30;
/// LIMIT: with the shortest lease of 10 s a retry every third of a second; each costs the Coordinator one quote.
const SHORTEST_RETRY: Duration = Duration::from_millis(300);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// What the sidecar works with.
pub(crate) struct Sidecar {
    pub(crate) paths: Paths,
    pub(crate) attester: Arc<dyn Attester>,
    /// The Coordinator's host name.
    pub(crate) host: String,
}

impl Sidecar {
    /// Serves until `shutdown` completes.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Outcome {
        // Read while root may still read everything; judged later, as the user that may ask the agent. Until then it opens
        // sockets on the loopback interface and nothing else.
        let initdata = own::given(&self.paths.initdata()).await?;
        let egress = initdata.settings().map_err(Failure::refused)?.egress;
        let listeners = Listeners::open(&egress).map_err(|error| {
            if let Some(hint) = error.hint() {
                error!("hint: {hint}");
            }
            Failure::unknown(error)
        })?;
        more_descriptors();
        drop_rights().map_err(Failure::unknown)?;

        let own = own::check(initdata, &*self.attester).await?;
        if !own.settings.mesh {
            return Err(Failure::refused(anyhow!("initdata gives this pod no mesh")));
        }
        let mut config = ProxyConfig::new(own.settings.ingress.clone());
        config.resolver = resolver(self.paths.hosts());
        let metrics = Arc::clone(&config.metrics);
        let found = place::find(&self.paths).map_err(Failure::unknown)?;
        let asker = Asker::new(own, self.attester, self.host, self.paths).map_err(Failure::unknown)?;
        let mut renewal = Renewal::new(asker, found).map_err(Failure::unknown)?;
        let (sender, receiver) = watch::channel(renewal.material().map_err(Failure::unknown)?);
        info!(
            ports = ?config.ingress.iter().map(|ingress| ingress.port).collect::<Vec<_>>(),
            egress = ?egress.iter().map(|egress| &egress.name).collect::<Vec<_>>(),
            lease_s = renewal.valid_until.remaining().as_secs(),
            "mesh is up"
        );
        let ended = tokio::select! {
            ended = mesh::proxy::run(listeners, config, receiver, shutdown) => ended,
            never = renewal.keep(&sender) => match never {},
        };
        info!(connections = metrics.open(), egress = metrics.egress_open(), "mesh ends");
        ended.map_err(Failure::unknown)
    }
}

/// Finds remotes as the Coordinator is found.
fn resolver(hosts: PathBuf) -> Resolver {
    Arc::new(move |host, port| {
        let hosts = hosts.clone();
        Box::pin(async move { hosts::resolve(&host, port, &hosts).await })
    })
}

/// A mesh CA that certificates of callers and remotes may come from, and until when.
struct Root {
    pem: String,
    until: Option<BootInstant>,
}

/// The membership, and how it is renewed.
struct Renewal {
    asker: Asker,
    key: Key,
    certificate_chain: String,
    roots: Vec<Root>,
    callers: BTreeMap<Identity, String>,
    lease: Duration,
    valid_until: BootInstant,
    pins: Pins,
}

enum Never {}

impl Renewal {
    fn new(asker: Asker, found: Found) -> anyhow::Result<Self> {
        let Found { kept, key, certificate_chain, mesh_cas } = found;
        let cas = certificates(&mesh_cas).filter(|cas| !cas.is_empty()).context("`mesh-ca.pem` is no certificate")?;
        // After a crash during an update two are there. The newer one is first; the older one gets another lease, which
        // is the most that it could have had.
        let until = kept.valid_until();
        let pems = split_pem(&mesh_cas);
        let roots = pems.into_iter().take(cas.len()).enumerate();
        let roots = roots.map(|(index, pem)| Root { pem, until: (index > 0).then_some(until) }).collect();
        Ok(Self {
            asker,
            key,
            certificate_chain,
            roots,
            valid_until: kept.valid_until(),
            lease: kept.lease(),
            callers: kept.callers,
            pins: kept.pins,
        })
    }

    /// What the proxy needs.
    fn material(&self) -> anyhow::Result<Material> {
        let roots: Option<Vec<_>> = self.roots.iter().map(|root| certificates(&root.pem)).collect();
        Ok(Material {
            chain: certificates(&self.certificate_chain).context("certificate chain is no PEM")?,
            key: PrivateKeyDer::from_pem_slice(self.key.to_pem().as_bytes()).map_err(|_| anyhow!("key is no PEM"))?,
            roots: roots.context("a mesh CA is no PEM")?.concat(),
            callers: self.callers.clone(),
            valid_until: self.valid_until,
        })
    }

    /// Renews for ever.
    async fn keep(&mut self, material: &watch::Sender<Material>) -> Never {
        let mut next = self.after_part(RENEW_AFTER);
        let mut said = String::new();
        loop {
            let expiry = self.roots.iter().filter_map(|root| root.until).min();
            tokio::select! {
                () = sleep_until(next) => {}
                () = until(expiry) => {
                    self.roots.retain(|root| root.until.is_none_or(|until| !until.has_passed()));
                    info!("certificates of the former mesh CA are no longer accepted");
                    self.publish(material);
                    continue;
                }
            }
            match self.asker.ask(&self.key, Ask::Renew, Some(&self.pins)).await {
                Ok(membership) => {
                    if !said.is_empty() {
                        info!("lease is renewed again");
                        said.clear();
                    }
                    self.take_over(membership);
                    self.publish(material);
                    next = self.after_part(RENEW_AFTER);
                }
                Err(failure) => {
                    let text = Describe(&failure).to_string();
                    if text != said {
                        let left = self.valid_until.remaining().as_secs();
                        match failure.next() {
                            Next::Retry => warn!(lease_left_s = left, "lease is not renewed: {text}"),
                            Next::NotOurs | Next::GiveUp => error!(lease_left_s = left, "lease is not renewed: {text}"),
                        }
                        said = text;
                    }
                    next = BootInstant::now() + (self.lease / RETRY_AFTER).clamp(SHORTEST_RETRY, LONGEST_RETRY);
                }
            }
        }
    }

    /// The moment at which one part in `parts` of the lease has passed.
    fn after_part(&self, parts: u32) -> BootInstant {
        let left = self.valid_until.remaining();
        BootInstant::now() + left.saturating_sub(self.lease.saturating_sub(self.lease / parts))
    }

    fn take_over(&mut self, membership: Membership) {
        let pem = &membership.roots.mesh_ca;
        if self.roots.first().is_some_and(|root| root.pem.trim() != pem.trim()) {
            // A new generation: who has not yet renewed keeps talking for one lease.
            let until = BootInstant::now() + self.lease.max(membership.lease);
            for root in &mut self.roots {
                root.until.get_or_insert(until);
            }
            self.roots.retain(|root| root.pem.trim() != pem.trim());
            self.roots.insert(0, Root { pem: pem.clone(), until: None });
            info!("the mesh has a new CA; the former one is accepted for one more lease");
        }
        if let Err(error) = place::renewed(&self.asker.paths, &membership, &self.root_pems()) {
            // The proxy has what it needs; an application that does its own TLS goes on with its former certificate.
            error!("renewed certificate is not laid out: {error:#}");
        }
        self.certificate_chain = membership.certificate_chain;
        self.callers = membership.callers;
        self.lease = membership.lease;
        self.valid_until = membership.valid_until;
        self.pins = membership.pins;
    }

    fn root_pems(&self) -> String {
        let pems: Vec<_> = self.roots.iter().map(|root| root.pem.trim_end()).collect();
        pems.join("\n") + "\n"
    }

    fn publish(&self, material: &watch::Sender<Material>) {
        match self.material() {
            Ok(new) => {
                material.send_replace(new);
            }
            Err(error) => error!("renewed certificate cannot be used: {error:#}"),
        }
    }
}

async fn until(moment: Option<BootInstant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The parts of a PEM text, each with its end line.
fn split_pem(text: &str) -> Vec<String> {
    text.split_inclusive("-----END CERTIFICATE-----")
        .map(|part| format!("{}\n", part.trim()))
        .filter(|part| part.contains("-----BEGIN CERTIFICATE-----"))
        .collect()
}

/// Each connection takes two descriptors; the default soft limit is for programs that use `select`.
fn more_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        warn!(?current, "limit of open files stays");
    }
}

/// Becomes the mesh's user: no groups, no capabilities, no way back.
fn drop_rights() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("the mesh must start as root, to open its sockets"));
    }
    let (uid, gid) = (Uid::from_raw(MESH_UID), Gid::from_raw(MESH_UID));
    let drop = || -> io::Result<()> {
        nix::unistd::setgroups(&[])?;
        nix::unistd::setresgid(gid, gid, gid)?;
        // Leaving user 0 behind clears the effective, permitted and ambient capabilities (capabilities(7)).
        nix::unistd::setresuid(uid, uid, uid)?;
        nix::sys::prctl::set_no_new_privs()?;
        Ok(())
    };
    drop().context("give up root")?;
    if nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(anyhow!("root was given up and could be had back"));
    }
    Ok(())
}
