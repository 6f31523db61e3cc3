//! An attested channel from the user's machine to the Coordinator: found, connected, verified and appraised.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use channel::{Channel, ClientTerms, TlsIdentity};
use protocol::api::{ApiError, StateReply, USER_PORT, UserReply, UserRequest};
use protocol::{Manifest, Purpose, Role};
use tokio::net::TcpStream;

use crate::Context;
use crate::failure::{Class, Failure, Outcome};
use crate::judge::WorkFolder;
use crate::workspace::Workspace;

/// How long a Coordinator may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: one attempt; longer than any round trip, shorter than the first retransmission of a SYN.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// A connection to a Coordinator whose Evidence met the manifest.
pub(crate) struct Session {
    channel: Channel<TcpStream>,
    pub(crate) address: String,
    pub(crate) insecure: bool,
    pub(crate) identity: protocol::Identity,
}

/// The address to dial: what the user gave, or the Coordinator of the local engine that runs in this work folder.
pub(crate) async fn coordinator_address(workspace: &Workspace, given: Option<&str>) -> Outcome<String> {
    if let Some(given) = given {
        return with_port(given);
    }
    let services = engine::services(workspace.dir()).map_err(|error| match error {
        engine::EngineError::NotUp { .. } => {
            Failure::refuse("no Coordinator is named and no local engine runs in this work folder")
                .hint("name one with `--coordinator HOST:1313`, or start one with `casemate up resources/`")
        }
        error => error.into(),
    })?;
    let service = services
        .iter()
        .find(|service| service.ports.iter().any(|port| port.port == USER_PORT))
        .ok_or_else(|| Failure::refuse("the local engine runs no Coordinator"))?;
    Ok(SocketAddr::from((service.ip, USER_PORT)).to_string())
}

/// `HOST`, `HOST:PORT`, `ADDRESS` or `[ADDRESS]:PORT`.
fn with_port(given: &str) -> Outcome<String> {
    let wrong = |why: &str| {
        Failure::refuse(format!("`--coordinator {given}`: {why}"))
            .hint("it is `HOST` or `HOST:PORT`; the port is 1313 by default")
    };
    if let Ok(address) = given.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    if let Ok(ip) = given.parse::<std::net::IpAddr>() {
        return Ok(SocketAddr::new(ip, USER_PORT).to_string());
    }
    let (host, port) = given.split_once(':').map_or((given, None), |(host, port)| (host, Some(port)));
    if host.is_empty() || host.contains(['/', ' ']) {
        return Err(wrong("not a host name"));
    }
    match port {
        None => Ok(format!("{host}:{USER_PORT}")),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port != 0) => Ok(given.to_owned()),
        Some(_) => Err(wrong("the port is no number from 1 to 65535")),
    }
}

impl Session {
    /// Connects, has the Coordinator attest, and holds its Evidence against the manifest: the reference values, and an
    /// identity that the manifest lists as a Coordinator.
    pub(crate) async fn open(context: &Context, address: &str, manifest: &Manifest, purpose: Purpose) -> Outcome<Self> {
        let judge = WorkFolder::judge(context)?;
        let stream = connect(address)
            .await
            .with_context(|| format!("connect to the Coordinator at {address}"))
            .map_err(|error| {
                Failure::could_not_tell(error).hint("is it running? `casemate ps` shows the pods of the local engine")
            })?;
        // Requests are small and answered one by one: Nagle's algorithm would only hold them back.
        stream.set_nodelay(true).context("set up the connection").map_err(Failure::could_not_tell)?;
        let tls = TlsIdentity::generate().context("make a TLS key").map_err(Failure::could_not_tell)?;
        let terms = ClientTerms { purpose, deployment: manifest.deployment_id, attest: None, judge };
        let reference_values = &manifest.reference_values;
        let channel = channel::connect(stream, &tls, terms, |evidence| verifier::appraise(evidence, reference_values))
            .await
            .map_err(|error| {
                let hint = error.hint();
                let (class, what) = if error.is_refusal() {
                    (Class::No, format!("the Coordinator at {address} is not trusted"))
                } else {
                    (Class::CouldNotTell, format!("could not check the Coordinator at {address}"))
                };
                Failure { class, error: anyhow::Error::new(error).context(what), hint, told: false }
            })?;
        let result = channel.peer().ok_or_else(|| Failure::from(anyhow::anyhow!("the Coordinator did not attest")))?;
        let (identity, insecure) = (result.identity(), result.is_insecure());
        match manifest.policies.get(&identity) {
            Some(entry) if entry.role == Role::Coordinator => {}
            Some(_) => {
                return Err(Failure::refuse(format!(
                    "the pod at {address} is a workload, not a Coordinator: identity {}",
                    identity.0.short()
                )));
            }
            None => {
                return Err(Failure::refuse(format!(
                    "the Coordinator at {address} is not trusted: its identity {} is not in the manifest",
                    identity.0.short()
                ))
                .hint(
                    "it is genuine but of another deployment or another version; was `generate` run again after `up`?",
                ));
            }
        }
        Ok(Self { channel, address: address.to_owned(), insecure, identity })
    }

    async fn call(&mut self, request: &UserRequest) -> Outcome<UserReply> {
        let broken = |error: channel::ChannelError| {
            Failure::could_not_tell(error).context(format!("talk to the Coordinator at {}", self.address))
        };
        self.channel.send(request).await.map_err(broken)?;
        let reply: UserReply = self.channel.recv().await.map_err(|error| {
            Failure::could_not_tell(error).context(format!("talk to the Coordinator at {}", self.address))
        })?;
        match reply {
            UserReply::Error(error) => Err(refusal(error)),
            reply => Ok(reply),
        }
    }

    /// Asks for the state.
    pub(crate) async fn state(&mut self, known: Option<u64>) -> Outcome<StateReply> {
        match self.call(&UserRequest::State { known }).await? {
            UserReply::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }

    /// Sends any other request.
    pub(crate) async fn request(&mut self, request: &UserRequest) -> Outcome<UserReply> {
        self.call(request).await
    }
}

/// Connects, patiently: a Coordinator that has just been started, or started again, answers after a moment. Each attempt is
/// short, because one that began before the pod was there is never answered.
async fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let begin = tokio::time::Instant::now();
    loop {
        let last = begin.elapsed() + ATTEMPT > CONNECT_TIMEOUT;
        match tokio::time::timeout(ATTEMPT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if last || error.kind() != std::io::ErrorKind::ConnectionRefused => return Err(error.into()),
            Err(_) if last => anyhow::bail!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
            Ok(Err(_)) => tokio::time::sleep(RETRY).await,
            Err(_) => {}
        }
    }
}

/// An answer of another kind than the request: a bug of one of the two sides.
pub(crate) fn unexpected(reply: &UserReply) -> Failure {
    let kind = match reply {
        UserReply::Set(_) => "set",
        UserReply::State(_) => "state",
        UserReply::SecretStored(_) => "secret-stored",
        UserReply::Secrets(_) => "secrets",
        UserReply::Recover(_) => "recover",
        UserReply::Error(_) => "error",
    };
    Failure::could_not_tell(anyhow::anyhow!("the Coordinator answered with `{kind}`, which was not asked for"))
}

/// A refusal by the Coordinator, classed by its code.
pub(crate) fn refusal(error: ApiError) -> Failure {
    use protocol::api::ErrorCode as Code;
    let hint = match error.code {
        Code::NoManifest => Some("hand over a manifest with `casemate set`"),
        Code::Recovering => Some("share holders bring it back with `casemate recover`"),
        Code::Conflict => Some("somebody else changed it meanwhile: look with `casemate verify`, then try again"),
        Code::NotSigned => {
            Some("sign with the keys listed under `owners` in the manifest: `--workload-owner-key FILE`")
        }
        Code::Rollback => Some("the history store was put back to an older copy; restore the newest one"),
        _ => None,
    }
    .map(ToOwned::to_owned);
    // Beside refusals of trust, what a person can put right in the input is a "no" as well.
    let class = match error.code {
        code if code.is_refusal() => Class::No,
        Code::Conflict | Code::Unsupported | Code::SecretMissing => Class::No,
        _ => Class::CouldNotTell,
    };
    Failure { class, error: anyhow::Error::new(error).context("the Coordinator refuses"), hint, told: false }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn an_address_gets_the_default_port() {
        let cases = [
            ("coordinator", "coordinator:1313"),
            ("coordinator:7", "coordinator:7"),
            ("192.0.2.1", "192.0.2.1:1313"),
            ("2001:db8::1", "[2001:db8::1]:1313"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
        ];
        for (given, expected) in cases {
            assert_eq!(with_port(given).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_address_is_wrong_input() {
        for given in ["", ":1313", "a:99999", "a:b:c", "https://a", "a:0", "a b"] {
            assert_eq!(with_port(given).unwrap_err().class, crate::failure::Class::No, "{given}");
        }
    }
}
