//! `casemate explain`: what a piece of Evidence claims, who vouches for it, what holds, what does not and by how much.
//!
//! It decides nothing: the Coordinator, the mesh and `casemate verify` ask [`verifier::Verifier::verify`] and no
//! explanation. It believes the vendors' roots and no others, and there is deliberately no flag that would change that.

pub(crate) mod files;
pub(crate) mod text;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::manifest::ReferenceValues;
use protocol::{Nonce, ReportData, Tee};
use verifier::explain::{Explanation, Verdict};
use verifier::input::Input;
use verifier::{Endorsements, Question, UnixTime, Verifier, further_needs, needs_of};

use super::endorsements::{SourceArgs, gather_for};
use crate::failure::{Failure, Outcome};
use crate::workspace::{read_input, read_manifest};
use crate::{Context, output};

use files::{Files, add_endorsements, count, sort};
use text::{Style, render};

/// Explain Evidence layer by layer: what it claims, who vouches for it, what does not hold
#[derive(clap::Args)]
#[command(
    after_help = "What a file is, is found out: SEV-SNP reports, TDX and SGX quotes, NVIDIA's reports of GPUs and switches, \
CCEL event logs, certificates, revocation lists, TCB info, QE identities and RIMs; raw, in hex, base64, PEM or JSON. \
Nothing is fetched without `--fetch`.

Exit code 0: everything was verified. 1: something is refused. 2: something could not be told, or nothing in the file can \
be judged.

Examples:
  casemate explain report.bin vcek.der               with its key's certificate
  casemate explain --fetch quote.dat                 with Intel's collateral of today
  casemate explain gpu.txt gpu-chain.txt rim.xml     a GPU's report
  casemate explain quote.dat --event-log CCEL        which event is another?
  casemate explain report.bin --manifest manifest.json
  casemate explain report.bin --at 2025-06-01 --json | jq .verdict"
)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Compare with the reference values of this manifest
    #[arg(long, value_name = "FILE", conflicts_with = "reference_values")]
    manifest: Option<PathBuf>,
    /// Compare with reference values, as `casemate reference-values` writes them
    #[arg(long, value_name = "FILE")]
    reference_values: Option<PathBuf>,
    /// Show every claim, one on a line
    #[arg(long)]
    all: bool,
}

/// The Evidence, and what is needed to judge it.
#[derive(clap::Args)]
pub(crate) struct SubjectArgs {
    /// Evidence, and files that go with it: certificates, RIMs, an event log; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What a vendor says: certificates, revocation lists, TCB info, RIMs, or a folder of them; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    endorsement: Vec<PathBuf>,
    /// The certificate chain of a device's report; may be repeated, in the order of the reports
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// A TDX guest's CCEL event log, to be replayed against the quote
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// Judge as of this time: 2026-11-21 or 2026-11-21T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// The report data that the Evidence must carry: 64 bytes in hex
    #[arg(long, value_name = "HEX", value_parser = hex_bytes::<64>)]
    report_data: Option<[u8; 64]>,
    /// The nonce that devices must have answered: 32 bytes in hex
    #[arg(long, value_name = "HEX", value_parser = hex_bytes::<32>)]
    nonce: Option<[u8; 32]>,
    /// Fetch what is missing from the vendors first, into the work folder's cache
    #[arg(long)]
    fetch: bool,
    #[command(flatten)]
    sources: SourceArgs,
}

/// Everything that is asked about.
pub(crate) struct Subject {
    /// The file.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) input: Input,
    endorsements: Endorsements,
    event_log: Option<Vec<u8>>,
    now: UnixTime,
    report_data: Option<ReportData>,
    nonce: Option<Nonce>,
    /// How it is judged, for the reader.
    notes: Vec<String>,
}

impl Subject {
    /// Reads files, and gathers what vendors say about them.
    pub(crate) async fn read(context: &Context, args: &SubjectArgs) -> Outcome<Self> {
        let Files { subjects, mut endorsements, event_log } =
            sort(&args.files, &args.chain, args.event_log.as_deref())?;
        let mut subjects = subjects.into_iter();
        let Some((path, input)) = subjects.next() else {
            return Err(Failure::refuse("there is nothing to explain"));
        };
        if let Some((other, second)) = subjects.next() {
            return Err(Failure::refuse(format!(
                "two pieces of Evidence: `{}` ({}) and `{}` ({})",
                path.display(),
                input.kind(),
                other.display(),
                second.kind()
            ))
            .hint("name one at a time; the devices of one machine may be named together"));
        }
        for path in &args.endorsement {
            add_endorsements(&mut endorsements, path)?;
        }
        let given = count(&endorsements);
        let mut notes = Vec::new();
        // A manifest that the user names has signers too, whose standing is asked for like that of fetched ones'.
        let needs = [needs_of(&input), further_needs(&endorsements)].concat();
        let gathered = gather_for(context, &needs, args.fetch, &args.sources).await?;
        notes.extend(gathered.notes);
        endorsements.merge(&gathered.endorsements).map_err(Failure::no)?;
        let gathered = count(&endorsements) - given;
        if given + gathered > 0 {
            notes.push(format!("with {}", supply(given, gathered)));
        }
        let now = now()?;
        if let Some(at) = args.at {
            let side = if at > now { ", which is in the future" } else { "" };
            notes.insert(0, format!("judged as of {at}{side}"));
        }
        let now = args.at.unwrap_or(now);
        let (report_data, nonce) = (args.report_data.map(ReportData), args.nonce.map(Nonce));
        Ok(Self { path, input, endorsements, event_log, now, report_data, nonce, notes })
    }

    /// The question to a Verifier.
    pub(crate) fn question<'a>(&'a self, values: Option<&'a ReferenceValues>) -> Question<'a> {
        Question {
            input: &self.input,
            endorsements: &self.endorsements,
            now: self.now,
            report_data: self.report_data.as_ref(),
            nonce: self.nonce.as_ref(),
            event_log: self.event_log.as_deref(),
            values,
        }
    }

    /// Whether it is Evidence of a software TEE.
    pub(crate) fn is_insecure(&self) -> bool {
        matches!(&self.input, Input::Evidence(evidence) if evidence.tee == Tee::Software)
    }

    fn is_evidence(&self) -> bool {
        matches!(self.input, Input::Evidence(_) | Input::Devices(_))
    }
}

fn supply(given: usize, gathered: usize) -> String {
    let documents =
        |count: usize| if count == 1 { "1 Endorsement".to_owned() } else { format!("{count} Endorsements") };
    match (given, gathered) {
        (given, 0) => format!("{} from files", documents(given)),
        (0, gathered) => format!("{} from the cache", documents(gathered)),
        (given, gathered) => format!("{} from files, {gathered} from the cache", documents(given)),
    }
}

pub(crate) async fn run(context: &Context, args: ExplainArgs) -> Outcome {
    let values = match (&args.manifest, &args.reference_values) {
        (Some(path), _) => Some(read_manifest(path)?.1.reference_values),
        (None, Some(path)) => Some(read_values(path)?),
        (None, None) => None,
    };
    let subject = Subject::read(context, &args.subject).await?;
    let explanation = Verifier::new().explain(&subject.question(values.as_ref()));
    if context.json {
        let json = serde_json::to_string(&explanation).map_err(Failure::could_not_tell)?;
        output::json(&json);
    } else {
        let mut notes = subject.notes.clone();
        if subject.is_evidence() && values.is_none() {
            notes.push("compared with no reference values: name some with `--manifest` or `--reference-values`".into());
        }
        output::result(&render(&explanation, &notes, Style::of_stdout(args.all)));
        if subject.is_insecure() {
            output::say(output::INSECURE);
        }
    }
    answer(&explanation)
}

/// The exit code. Only "verified" is a yes: a document in which nothing is judged proves nothing to a script either.
fn answer(explanation: &Explanation) -> Outcome {
    let sentence = || anyhow::anyhow!("{}", text::headline(explanation));
    // The explanation is printed; there is nothing to add to it.
    match explanation.verdict {
        Verdict::Verified => Ok(()),
        Verdict::Refused => Err(Failure::no(sentence()).told(true)),
        Verdict::Unknown | Verdict::Note => Err(Failure::could_not_tell(sentence()).told(true)),
    }
}

/// Reads what `casemate reference-values` writes.
fn read_values(path: &std::path::Path) -> Outcome<ReferenceValues> {
    let text = read_input(path, "`casemate reference-values from FILE` writes some")?;
    let failed =
        |error: anyhow::Error| Failure::no(error.context(format!("`{}` holds no reference values", path.display())));
    let values: ReferenceValues = serde_json::from_str(&text).map_err(|error| {
        failed(error.into())
            .hint("it is the `reference_values` member of a manifest alone; a whole manifest goes with `--manifest`")
    })?;
    // Devices by themselves can be explained, and a manifest wants the entry of a CPU beside theirs.
    let without_devices = ReferenceValues { devices: Vec::new(), ..values.clone() };
    without_devices.validate().map_err(|error| failed(error.into()))?;
    for (index, entry) in values.devices.iter().enumerate() {
        entry.validate(&format!("devices[{index}]")).map_err(|error| failed(error.into()))?;
    }
    Ok(values)
}

/// The time.
pub(crate) fn now() -> Outcome<UnixTime> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|error| Failure::could_not_tell(error).context("the clock of this machine is before 1970"))?;
    Ok(UnixTime(since.as_secs()))
}

/// `N` bytes in hex.
fn hex_bytes<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let bytes = hex::decode(digits).map_err(|_| format!("not hex: {N} bytes are {} hex digits", 2 * N))?;
    <[u8; N]>::try_from(bytes).map_err(|bytes| format!("it has {N} bytes, and these are {}", bytes.len()))
}
