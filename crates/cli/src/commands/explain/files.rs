//! The files of a question: what each of them is, and which part it plays. A user names them in any order; what is Evidence
//! is explained, and what belongs to Evidence is used for it.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use protocol::{DeviceEvidence, Evidence, Tee};
use verifier::endorsements::EndorsementError;
use verifier::input::{self, Input, MAX_INPUT};
use verifier::{Endorsements, nvidia};

use crate::failure::{Failure, Outcome};
use crate::output;

/// LIMIT: files that are named in one call, and files of a folder of Endorsements: as many as one set holds of a kind.
const MAX_FILES: usize = verifier::endorsements::MAX_DOCUMENTS;

/// One file that could be read.
struct Named {
    path: PathBuf,
    input: Input,
    bytes: Vec<u8>,
}

/// Devices, and the file they come from.
type DeviceFile = (PathBuf, Vec<DeviceEvidence>);

impl Named {
    fn describe(&self) -> String {
        format!("`{}` ({})", self.path.display(), self.input.kind())
    }
}

/// The files of a question, by the part that they play.
pub(crate) struct Files {
    /// What is asked about, each with the file it comes from.
    pub(crate) subjects: Vec<(PathBuf, Input)>,
    /// Whatever else was named.
    pub(crate) endorsements: Endorsements,
    /// A TDX guest's event log.
    pub(crate) event_log: Option<Vec<u8>>,
}

/// Reads files and gives each its part: devices are put to the Evidence of the CPU they belong to, chains to devices.
/// Where nothing is Evidence, the first file is the subject.
pub(crate) fn sort(paths: &[PathBuf], chains: &[PathBuf], event_log: Option<&Path>) -> Outcome<Files> {
    if paths.len() > MAX_FILES {
        return Err(Failure::refuse(format!("{} files; at most {MAX_FILES} are read at once", paths.len())));
    }
    let mut from_stdin =
        paths.iter().chain(chains).map(PathBuf::as_path).chain(event_log).filter(|path| is_stdin(path));
    if from_stdin.nth(1).is_some() {
        return Err(Failure::refuse("`-` is named twice, and standard input can be read once"));
    }
    let (mut evidence, mut devices, mut logs, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let named = read_named(path)?;
        match &named.input {
            Input::Evidence(_) => evidence.push(named),
            Input::Devices(_) => devices.push(named),
            Input::EventLog(_) => logs.push(named),
            _ => others.push(named),
        }
    }
    if let Some(path) = event_log {
        logs.push(read_event_log(path)?);
    }
    let mut files = Files { subjects: Vec::new(), endorsements: Endorsements::default(), event_log: None };
    take_event_log(&mut files, &evidence, &devices, logs)?;
    let nothing_yet = evidence.is_empty() && devices.is_empty() && files.subjects.is_empty();
    if nothing_yet && !others.is_empty() {
        let first = others.remove(0);
        // A document is no Endorsement of itself, and the chain behind a first certificate is.
        if matches!(first.input, Input::Certificates(_)) {
            endorse(&mut files.endorsements, &first.path, &first.bytes)?;
        }
        files.subjects.push((first.path, first.input));
    }
    let (devices, used) = with_chains(devices, chains, &others)?;
    for other in others.iter().filter(|other| !used.contains(&other.path)) {
        endorse(&mut files.endorsements, &other.path, &other.bytes)?;
    }
    place(&mut files, evidence, devices)?;
    Ok(files)
}

/// An event log goes with a TDX quote, or is asked about itself.
fn take_event_log(files: &mut Files, evidence: &[Named], devices: &[Named], logs: Vec<Named>) -> Outcome {
    let mut logs = logs.into_iter();
    let Some(log) = logs.next() else { return Ok(()) };
    if let Some(second) = logs.next() {
        return Err(Failure::refuse(format!("two event logs: {} and {}", log.describe(), second.describe())));
    }
    let tdx =
        evidence.iter().any(|named| matches!(&named.input, Input::Evidence(evidence) if evidence.tee == Tee::Tdx));
    match (tdx, evidence.first().or(devices.first())) {
        (true, _) => {
            if let Input::EventLog(bytes) = log.input {
                files.event_log = Some(bytes);
            }
            Ok(())
        }
        (false, None) => {
            files.subjects.push((log.path, log.input));
            Ok(())
        }
        (false, Some(other)) => Err(Failure::refuse(format!(
            "an event log goes with a TDX quote, and there is {} instead",
            other.describe()
        ))
        .hint("leave the log out")),
    }
}

/// Gives each device without a certificate chain the next chain: those of `--chain` first, then files with more than one
/// certificate, each in the order in which they were named. Says which of the latter were used.
fn with_chains(devices: Vec<Named>, chains: &[PathBuf], others: &[Named]) -> Outcome<(Vec<DeviceFile>, Vec<PathBuf>)> {
    let mut named = Vec::new();
    for path in chains {
        let file = read_named(path)?;
        match &file.input {
            Input::Certificates(_) | Input::Endorsement(verifier::endorsements::EndorsementKind::Certificate, _) => {
                named.push((None, pem_of(&file)));
            }
            _ => {
                return Err(Failure::refuse(format!("{} is no certificate chain", file.describe()))
                    .hint("`--chain` takes the certificates of a device, leaf first, in PEM"));
            }
        }
    }
    let is_chain = |other: &&Named| matches!(&other.input, Input::Certificates(list) if list.len() > 1);
    let mut ready = named.len();
    let plain = others.iter().filter(is_chain).map(|other| (Some(&other.path), pem_of(other)));
    let mut all = named.into_iter().chain(plain);
    let (mut result, mut used) = (Vec::new(), Vec::new());
    for file in devices {
        let Input::Devices(mut list) = file.input else { continue };
        for device in list.iter_mut().filter(|device| device.chain.is_empty()) {
            let (path, chain) = all.next().unwrap_or_default();
            device.chain = chain;
            used.extend(path.cloned());
            ready = ready.saturating_sub(1);
        }
        result.push((file.path, list));
    }
    if ready > 0 {
        return Err(Failure::refuse("`--chain` names more chains than there are device reports without one")
            .hint("certificates of a CPU are Endorsements: `--endorsement FILE`"));
    }
    Ok((result, used))
}

/// The chain as it stands in the file, because a CPU's report data may cover those very bytes; PEM is made of anything else.
fn pem_of(file: &Named) -> Vec<u8> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    if file.bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return file.bytes.clone();
    }
    let certificates: &[Vec<u8>] = match &file.input {
        Input::Certificates(list) => list,
        Input::Endorsement(_, der) => std::slice::from_ref(der),
        _ => &[],
    };
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(der);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

/// Devices belong to the one CPU that is named with them; without one they are a set of their own.
fn place(files: &mut Files, evidence: Vec<Named>, devices: Vec<DeviceFile>) -> Outcome {
    let alone = evidence.len() == 1;
    for file in evidence {
        let Input::Evidence(mut evidence) = file.input else { continue };
        if alone && !devices.is_empty() {
            if !evidence.devices.is_empty() {
                return Err(Failure::refuse(format!(
                    "`{}` brings the evidence of its devices, and more is named beside it",
                    file.path.display()
                ))
                .hint("name either the one or the other"));
            }
            evidence.devices = devices.iter().flat_map(|(_, list)| list.clone()).collect();
            bounded(evidence.devices.len())?;
        }
        files.subjects.push((file.path, Input::Evidence(evidence)));
    }
    if !alone && let Some((path, _)) = devices.first() {
        let path = path.clone();
        let list: Vec<DeviceEvidence> = devices.into_iter().flat_map(|(_, list)| list).collect();
        bounded(list.len())?;
        files.subjects.push((path, Input::Devices(list)));
    }
    Ok(())
}

fn bounded(devices: usize) -> Outcome {
    if devices > Evidence::MAX_DEVICES {
        return Err(Failure::refuse(format!("{devices} devices; a machine has {} at most", Evidence::MAX_DEVICES)));
    }
    Ok(())
}

/// Adds the Endorsements that a file or a folder holds. Files of a folder that are something else are passed over.
pub(crate) fn add_endorsements(endorsements: &mut Endorsements, path: &Path) -> Outcome {
    if !path.is_dir() {
        return endorse(endorsements, path, &read_bytes(path)?);
    }
    let failed = |error: std::io::Error| {
        Failure::no(anyhow::Error::new(error).context(format!("read the folder `{}`", path.display())))
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() && !entry.file_name().to_string_lossy().starts_with('.') {
            names.push(entry.path());
        }
        if names.len() > MAX_FILES {
            return Err(Failure::refuse(format!(
                "`{}` has more than {MAX_FILES} files; no set of Endorsements is larger",
                path.display()
            )));
        }
    }
    names.sort();
    let mut passed_over = Vec::new();
    let before = count(endorsements);
    for name in &names {
        // A file that is too large or unreadable is as much of a stranger in the folder as one of another kind.
        if read_bytes(name).and_then(|bytes| endorse(endorsements, name, &bytes)).is_err() {
            passed_over.push(name.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    if count(endorsements) == before && passed_over.len() == names.len() {
        return Err(Failure::refuse(format!("there is no Endorsement in `{}`", path.display()))
            .hint("files directly in the folder are read, those of folders in it are not"));
    }
    if !passed_over.is_empty() {
        output::say(&format!("no Endorsements, passed over: {}", passed_over.join(", ")));
    }
    Ok(())
}

/// How many documents a set has.
pub(crate) fn count(endorsements: &Endorsements) -> usize {
    endorsements.by_kind().iter().map(|(_, documents)| documents.len()).sum()
}

fn endorse(endorsements: &mut Endorsements, path: &Path, bytes: &[u8]) -> Outcome {
    let failed = |error: EndorsementError| Failure::no(error).context(format!("`{}`", path.display()));
    match endorsements.add_file(bytes) {
        Ok(_) => return Ok(()),
        Err(EndorsementError::Unknown) => {}
        Err(error) => return Err(failed(error)),
    }
    // In hex or base64.
    match read_input(path, bytes)? {
        Input::Endorsement(kind, bytes) => endorsements.add(kind, &bytes).map_err(failed),
        Input::Certificates(list) => list
            .iter()
            .try_for_each(|der| endorsements.add(verifier::endorsements::EndorsementKind::Certificate, der))
            .map_err(failed),
        other => Err(Failure::refuse(format!("`{}` is no Endorsement but a {}", path.display(), other.kind()))
            .hint("Evidence is named without a flag; an event log with `--event-log`")),
    }
}

fn read_named(path: &Path) -> Outcome<Named> {
    let bytes = read_bytes(path)?;
    let mut input = read_input(path, &bytes)?;
    if let Input::Devices(devices) = &mut input {
        for device in devices {
            *device = nvidia::device(std::mem::take(&mut device.report), std::mem::take(&mut device.chain));
        }
    }
    Ok(Named { path: path.to_owned(), input, bytes })
}

fn read_event_log(path: &Path) -> Outcome<Named> {
    let named = read_named(path)?;
    match named.input {
        Input::EventLog(_) => Ok(named),
        _ => Err(Failure::refuse(format!("{} is no event log", named.describe()))
            .hint("a TDX guest has its log in `/sys/firmware/acpi/tables/data/CCEL`")),
    }
}

fn read_input(path: &Path, bytes: &[u8]) -> Outcome<Input> {
    input::read(bytes).map_err(|error| {
        let hint = error.hint();
        Failure::no(error).context(format!("`{}`", path.display())).maybe_hint(hint)
    })
}

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read_bytes(path: &Path) -> Outcome<Vec<u8>> {
    read_at_most(path, MAX_INPUT)
}

/// Reads a file or standard input, and no more of it than anything can have that is looked for.
pub(crate) fn read_at_most(path: &Path, limit: usize) -> Outcome<Vec<u8>> {
    let context =
        |error: std::io::Error| Failure::no(anyhow::Error::new(error).context(format!("read `{}`", path.display())));
    if path.is_dir() {
        return Err(Failure::refuse(format!("`{}` is a folder", path.display())).hint("name a file in it"));
    }
    let reader: Box<dyn std::io::Read> = if is_stdin(path) {
        if std::io::stdin().is_terminal() {
            output::say("reading from the terminal; Ctrl-D ends it");
        }
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(context)?)
    };
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(context)?;
    if bytes.len() > limit {
        return Err(Failure::refuse(format!(
            "`{}` has more than {} MiB, and nothing that is read here is larger",
            path.display(),
            limit / (1024 * 1024)
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
