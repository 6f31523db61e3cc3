//! Where Endorsements come from: the vendors' services, or whatever a site has in their place; and the cache.

use std::path::PathBuf;
use std::str::FromStr;

use endorsements::{Cache, Channel, Client, Endorsements, Freshness, Intel, Need, Origin, Sources, Status};
use verifier::endorsements::EndorsementKind;
use verifier::input::{self, Input};

use crate::commands::explain::files::read_at_most;
use crate::commands::explain::text::short;
use crate::commands::local::progress;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};
use protocol::text::printable;

/// LIMIT: a file of root certificates: a few dozen.
const MAX_ROOTS: usize = 256 * 1024;

/// Other services than the vendors' own.
#[derive(clap::Args)]
pub(crate) struct SourceArgs {
    /// Ask this address in a vendor's place: amd=URL, intel=URL (a PCCS), nvidia-rim=URL or nvidia-ocsp=URL; may be
    /// repeated
    #[arg(
        long,
        value_name = "NAME=URL",
        env = "CASEMATE_ENDORSEMENT_SOURCES",
        value_delimiter = ',',
        help_heading = "Services"
    )]
    source: Vec<Source>,
    /// Ask for `https://HOST/PATH` as `URL/HOST/PATH`
    #[arg(long, value_name = "URL", env = "CASEMATE_ENDORSEMENT_PROXY", help_heading = "Services")]
    source_proxy: Option<String>,
    /// Believe these root certificates too when services are asked, as of a PCCS with its own; PEM
    #[arg(long, value_name = "FILE", help_heading = "Services")]
    source_ca: Option<PathBuf>,
    /// Which of Intel's current TCB infos: `standard`, `early`, or a `tcbEvaluationDataNumber`
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "standard",
        value_parser = tcb_channel,
        help_heading = "Services"
    )]
    tcb_channel: Channel,
}

/// One address.
#[derive(Clone, Debug)]
struct Source {
    name: Name,
    url: String,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    Amd,
    Intel,
    NvidiaRim,
    NvidiaOcsp,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("it has the form NAME=URL")?;
        let name = match name {
            "amd" => Name::Amd,
            "intel" => Name::Intel,
            "nvidia-rim" => Name::NvidiaRim,
            "nvidia-ocsp" => Name::NvidiaOcsp,
            _ => return Err("services are amd, intel, nvidia-rim and nvidia-ocsp".to_owned()),
        };
        address(url)?;
        Ok(Self { name, url: url.to_owned() })
    }
}

fn address(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if rest.is_some_and(|rest| !rest.is_empty()) {
        Ok(())
    } else {
        Err("an address begins with https:// or http://".to_owned())
    }
}

fn tcb_channel(text: &str) -> Result<Channel, String> {
    match text {
        "standard" => Ok(Channel::Standard),
        "early" => Ok(Channel::Early),
        number => number.parse().map(Channel::Number).map_err(|_| "it is `standard`, `early` or a number".to_owned()),
    }
}

impl SourceArgs {
    /// What the environment says, for commands that have no such options of their own.
    pub(crate) fn from_environment() -> Outcome<Self> {
        #[derive(clap::Parser)]
        struct Environment {
            #[command(flatten)]
            sources: SourceArgs,
        }
        use clap::Parser as _;
        Environment::try_parse_from(["casemate"])
            .map(|environment| environment.sources)
            .map_err(|error| Failure::refuse(error.kind().to_string()).hint("see CASEMATE_ENDORSEMENT_SOURCES"))
    }

    /// The services as the user wants them; `offline`: nobody is asked.
    pub(crate) fn sources(&self, offline: bool) -> Outcome<Sources> {
        let mut sources = if offline { Sources::offline() } else { Sources::vendors() };
        let roots = match &self.source_ca {
            None => Vec::new(),
            Some(path) => {
                let bytes = read_at_most(path, MAX_ROOTS)?;
                match input::read(&bytes) {
                    Ok(Input::Certificates(roots)) => roots,
                    Ok(Input::Endorsement(EndorsementKind::Certificate, der)) => vec![der],
                    _ => return Err(Failure::refuse(format!("there is no certificate in `{}`", path.display()))),
                }
            }
        };
        for Source { name, url } in &self.source {
            match name {
                Name::Amd => sources.amd.clone_from(url),
                Name::Intel => sources.intel = Intel::Pccs { base: url.clone(), roots: roots.clone() },
                Name::NvidiaRim => sources.nvidia_rim.clone_from(url),
                Name::NvidiaOcsp => sources.nvidia_ocsp.clone_from(url),
            }
        }
        sources.proxy.clone_from(&self.source_proxy);
        sources.roots = roots;
        sources.channel = self.tcb_channel;
        Ok(sources)
    }

    /// A client of them with the work folder's cache.
    pub(super) fn client(&self, context: &Context, offline: bool) -> Outcome<Client> {
        let sources = self.sources(offline)?;
        Client::new(sources, cache(context)?).map_err(|error| match error {
            endorsements::ClientError::Tls { .. } => Failure::could_not_tell(error),
            error => Failure::no(error),
        })
    }
}

/// Where the cache of a work folder is.
pub(crate) fn folder(context: &Context) -> PathBuf {
    context.workspace.dir().join(".casemate").join("endorsements")
}

/// The cache, which is made if need be.
pub(super) fn cache(context: &Context) -> Outcome<Cache> {
    Cache::open(&folder(context))
        .map_err(|error| Failure::could_not_tell(error).hint("another work folder can be named with `--workspace-dir`"))
}

/// What was gathered for some Evidence.
#[derive(Default)]
pub(crate) struct Supply {
    pub(crate) endorsements: Endorsements,
    /// What the reader should know.
    pub(crate) notes: Vec<String>,
}

/// Gathers Endorsements for Evidence: from the cache, and with `fetch` from the services. That some are missing is no
/// failure here: the explanation says what cannot be told without them.
pub(crate) async fn gather_for(context: &Context, needs: &[Need], fetch: bool, args: &SourceArgs) -> Outcome<Supply> {
    let mut supply = Supply::default();
    // Whoever only looks at a file gets no folder for it.
    if needs.is_empty() || (!fetch && !folder(context).is_dir()) {
        return Ok(supply);
    }
    let client = match args.client(context, !fetch) {
        Ok(client) => client,
        Err(failure) if !fetch => {
            output::say(&format!("the cache was not read: {:#}", failure.error));
            return Ok(supply);
        }
        Err(failure) => return Err(failure),
    };
    let gathered = gather(context, &client, needs, Freshness::Normal).await;
    for status in &gathered.report {
        if fetch && !matches!(&status.origin, Origin::Cache { .. } if status.notes.is_empty()) {
            output::say(&line(status));
        }
        if status.stale {
            supply.notes.push(format!("{} is stale: {status}", status.need));
        }
    }
    supply.endorsements = gathered.endorsements;
    Ok(supply)
}

/// Gathers, with a sign of life on a terminal. Whoever interrupts it loses nothing: documents are kept whole or not at all.
pub(super) async fn gather(
    context: &Context,
    client: &Client,
    needs: &[Need],
    freshness: Freshness,
) -> endorsements::Gathered {
    let noun = if needs.len() == 1 { "Endorsement" } else { "Endorsements" };
    let bar = progress(context, &format!("gathering {} {noun}", needs.len()));
    let gathered = client.gather(needs, freshness).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    gathered
}

/// What became of one need, in a line.
pub(super) fn line(status: &Status) -> String {
    short(&printable(&format!("{}: {status}", status.need)))
}
