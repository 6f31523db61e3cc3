//! The initializer: the pod's first container. It closes the network, checks what the host gave, becomes a member of the
//! mesh, lays out certificates, secrets and files in guest memory, opens the network as far as initdata says, and places
//! the launcher, without which no workload starts.
//!
//! Each step is a condition of the next. When one fails the process ends, the network stays closed and the launcher stays
//! away; the kubelet starts it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attester::Attester;
use mesh::firewall::{FirewallConfig, FirewallError, Ipv6, Stage};
use protocol::Role;
use tracing::{error, info, warn};

use crate::answer::Membership;
use crate::enroll::{Ask, AskError, Asker, Next};
use crate::failure::{Failure, Outcome};
use crate::files::{self, FilesError};
use crate::key::Key;
use crate::own;
use crate::paths::Paths;
use crate::pins::Pins;
use crate::place;

/// The pause after the first failure: a manifest may be set at any moment, and the pod should be ready right after.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// LIMIT: each question costs the Coordinator one quote; a hundred waiting pods ask at most this often each.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// LIMIT: while a Coordinator waits for its people it has nothing else to do, and answers four questions a second of each
/// pod; one that is too busy says so, which brings [`LONGEST_PAUSE`] back.
const LONGEST_PAUSE_FOR_PEOPLE: Duration = Duration::from_millis(250);
/// The pause after a Coordinator that is not ours: somebody must change something first.
const NOT_OURS_PAUSE: Duration = Duration::from_secs(5);

/// What the initializer works with.
pub(crate) struct Initializer<F> {
    pub(crate) paths: Paths,
    pub(crate) attester: Arc<dyn Attester>,
    /// The Coordinator's host name.
    pub(crate) host: String,
    /// When the process started, for the measured time to the certificate.
    pub(crate) started: Instant,
    /// [`mesh::firewall::apply`]; tests have no right to it.
    pub(crate) firewall: F,
    /// The Coordinator's port; only tests change it.
    pub(crate) port: u16,
}

impl<F> Initializer<F>
where
    F: Fn(&FirewallConfig, Stage) -> Result<Ipv6, FirewallError>,
{
    /// Prepares the pod.
    pub(crate) async fn run(self) -> Outcome {
        let nothing = FirewallConfig::new(vec![], vec![], true).map_err(Failure::unknown)?;
        self.apply(&nothing, Stage::Initializing)?;
        place::no_launcher(&self.paths).map_err(Failure::unknown)?;

        let own = own::read(&self.paths.initdata(), &*self.attester).await?;
        if own.settings.role != Role::Workload {
            let role = own.settings.role.name();
            return Err(Failure::refused(anyhow::anyhow!("initdata makes this pod a {role}, not a workload")));
        }
        let firewall = FirewallConfig::from_settings(&own.settings).map_err(Failure::refused)?;
        info!(identity = %own.identity, deployment = %own.settings.deployment_id, "initdata is what the TEE reports");

        let checked = files::check(&self.paths.given_files(), &own.settings.files).map_err(files_failure)?;
        files::write(&self.paths, &checked, own.settings.fs_group).map_err(files_failure)?;
        info!(files = checked.len(), "files are what initdata says");

        let key = Key::generate().map_err(Failure::unknown)?;
        let mut asker = Asker::new(own, Arc::clone(&self.attester), self.host.clone(), self.paths.clone())
            .map_err(Failure::unknown)?;
        asker.port = self.port;
        let pins = place::pins(&self.paths).map_err(Failure::unknown)?;
        let membership = self.enroll(&asker, &key, pins.as_ref()).await?;
        place::enrolled(&self.paths, &key, &membership).map_err(Failure::unknown)?;

        self.apply(&firewall, Stage::Ready)?;
        place::launcher(&self.paths).map_err(Failure::unknown)?;
        info!(name = membership.name, "pod is ready");
        Ok(())
    }

    fn apply(&self, config: &FirewallConfig, stage: Stage) -> Outcome {
        match (self.firewall)(config, stage) {
            Ok(Ipv6::Available) => {}
            Ok(Ipv6::Unavailable { errno }) => info!(errno, "this pod has no IPv6; nothing of it is open"),
            Err(error) => {
                if let Some(hint) = error.hint() {
                    error!("hint: {hint}");
                }
                return Err(Failure::unknown(error));
            }
        }
        info!(?stage, "firewall is in place");
        Ok(())
    }

    async fn enroll(&self, asker: &Asker, key: &Key, pins: Option<&Pins>) -> Outcome<Membership> {
        let mut pause = FIRST_PAUSE;
        let mut said = String::new();
        let mut attempts = 0u64;
        loop {
            attempts += 1;
            let asked = Instant::now();
            let failure = match asker.ask(key, Ask::Enroll, pins).await {
                Ok(membership) => {
                    let (total, last) = (self.started.elapsed(), asked.elapsed());
                    info!(
                        attempts,
                        total_ms = millis(total),
                        last_attempt_ms = millis(last),
                        lease_s = membership.lease.as_secs(),
                        "initializer start to certificate"
                    );
                    if membership.insecure {
                        warn!(
                            "INSECURE: the Coordinator runs in the local engine's software TEE, which protects nothing"
                        );
                    }
                    return Ok(membership);
                }
                Err(failure) => failure,
            };
            let next = failure.next();
            let text = format!("{:#}", Describe(&failure));
            // One line for each change of state: a pod may wait for hours.
            if text != said {
                match next {
                    Next::Retry => info!("waiting: {text}"),
                    Next::NotOurs => error!("refusing this Coordinator: {text}"),
                    Next::GiveUp => {}
                }
                if let Some(hint) = failure.hint().filter(|_| next != Next::Retry) {
                    warn!("hint: {hint}");
                }
            }
            match next {
                Next::Retry => {
                    let longest = if failure.waits_for_people() { LONGEST_PAUSE_FOR_PEOPLE } else { LONGEST_PAUSE };
                    tokio::time::sleep(pause.min(longest)).await;
                    pause = (pause * 2).min(longest);
                }
                Next::NotOurs => tokio::time::sleep(NOT_OURS_PAUSE).await,
                Next::GiveUp if failure.is_refusal() => return Err(Failure::refused(failure)),
                Next::GiveUp => return Err(Failure::unknown(failure)),
            }
            said = text;
        }
    }
}

/// An error with its sources in one line.
pub(crate) struct Describe<'a>(pub(crate) &'a AskError);

impl std::fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = std::error::Error::source(self.0);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn files_failure(error: FilesError) -> Failure {
    if error.is_refusal() { Failure::refused(error) } else { Failure::unknown(error) }
}
