//! A kernel of our own, with the semantics that plain files do not have.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use attester::{Kernel, Node, SevReply};
use nix::errno::Errno;

pub(crate) const TSM: &str = "/sys/kernel/config/tsm/report";

/// What happens once, at the next occasion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The name of a new entry is taken.
    NameTaken,
    /// Reading the report fails.
    Read(Errno),
    /// Our input is not taken when its file is closed, as when the counter would wrap, and nobody tells us.
    NotTaken,
    /// Another process writes other input before we read.
    WriterBeforeReading,
    /// Another process writes other input after we have read the report, before we read the certificates.
    WriterAfterReading,
}

/// What makes reports: input, privilege; report and certificates.
type Provider = Box<dyn Fn(&[u8], u64) -> Result<(Vec<u8>, Vec<u8>), Errno> + Send>;
type Sev = Box<dyn FnMut(&[u8; 64], u32, bool) -> Result<SevReply, Errno> + Send>;
type Bytes64 = Box<dyn Fn(&[u8; 64]) -> Result<Vec<u8>, Errno> + Send>;
type Service = Box<dyn Fn(u32, &[u8]) -> Result<Vec<u8>, Errno> + Send>;

/// Configfs's reports.
pub(crate) struct Tsm {
    /// Its name, with whether it has privileges and certificates; `None`: no driver has registered.
    pub(crate) provider: Option<&'static str>,
    /// The lowest privilege.
    pub(crate) floor: u64,
    /// Whether services below may be asked.
    pub(crate) svsm: bool,
    pub(crate) make: Provider,
    pub(crate) faults: VecDeque<Fault>,
    entries: BTreeMap<String, Entry>,
    /// How many entries were ever made.
    pub(crate) made: usize,
}

impl Tsm {
    pub(crate) fn new(provider: Option<&'static str>, make: Provider) -> Self {
        Self { provider, floor: 0, svsm: false, make, faults: VecDeque::new(), entries: BTreeMap::new(), made: 0 }
    }

    fn fault(&mut self, wanted: Fault) -> bool {
        let met = self.faults.front() == Some(&wanted);
        if met {
            self.faults.pop_front();
        }
        met
    }
}

#[derive(Default)]
struct Entry {
    generation: u64,
    input: Vec<u8>,
    privilege: u64,
    /// Of which generation, report and certificates.
    report: Option<(u64, Vec<u8>, Vec<u8>)>,
}

impl Entry {
    fn write(&mut self, change: impl FnOnce(&mut Self)) {
        self.generation += 1;
        change(self);
    }
}

#[derive(Default)]
struct State {
    tsm: Option<Tsm>,
    nodes: BTreeMap<String, Node>,
    files: BTreeMap<String, Vec<u8>>,
    refused: BTreeMap<String, Errno>,
    variables: BTreeMap<String, String>,
    pauses: Vec<Duration>,
    sev: Option<Sev>,
    tdx: Option<Bytes64>,
    service: Option<Service>,
    occlum: Option<Bytes64>,
    gramine: Option<Bytes64>,
    gramine_data: Vec<u8>,
}

/// The kernel.
#[derive(Default)]
pub(crate) struct FakeKernel(Mutex<State>);

impl fmt::Debug for FakeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeKernel")
    }
}

impl FakeKernel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state());
        self
    }

    pub(crate) fn tsm(self, tsm: Tsm) -> Self {
        self.with(|state| state.tsm = Some(tsm))
    }

    pub(crate) fn node(self, path: &str, node: Node) -> Self {
        self.with(|state| {
            state.nodes.insert(path.into(), node);
        })
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.with(|state| {
            state.files.insert(path.into(), content.into());
        })
    }

    /// Whatever is done with this path fails.
    pub(crate) fn refusing(self, path: &str, errno: Errno) -> Self {
        self.with(|state| {
            state.refused.insert(path.into(), errno);
        })
    }

    pub(crate) fn variable_set(self, name: &str) -> Self {
        self.with(|state| {
            state.variables.insert(name.into(), "yes".into());
        })
    }

    pub(crate) fn sev(
        self,
        answer: impl FnMut(&[u8; 64], u32, bool) -> Result<SevReply, Errno> + Send + 'static,
    ) -> Self {
        self.node("/dev/sev-guest", Node::Device).with(|state| state.sev = Some(Box::new(answer)))
    }

    pub(crate) fn tdx(
        self,
        report: impl Fn(&[u8; 64]) -> Result<Vec<u8>, Errno> + Send + 'static,
        service: impl Fn(u32, &[u8]) -> Result<Vec<u8>, Errno> + Send + 'static,
    ) -> Self {
        self.node("/dev/tdx_guest", Node::Device).with(|state| {
            state.tdx = Some(Box::new(report));
            state.service = Some(Box::new(service));
        })
    }

    pub(crate) fn occlum(self, quote: impl Fn(&[u8; 64]) -> Result<Vec<u8>, Errno> + Send + 'static) -> Self {
        self.node("/dev/sgx", Node::Device).variable_set("OCCLUM").with(|state| state.occlum = Some(Box::new(quote)))
    }

    pub(crate) fn gramine(
        self,
        kind: &str,
        quote: impl Fn(&[u8; 64]) -> Result<Vec<u8>, Errno> + Send + 'static,
    ) -> Self {
        self.file("/dev/attestation/attestation_type", kind.as_bytes())
            .with(|state| state.gramine = Some(Box::new(quote)))
    }

    /// What is done with this path fails no longer.
    pub(crate) fn allow(&self, path: &str) {
        self.state().refused.remove(path);
    }

    /// Plans faults, in this order.
    pub(crate) fn plan(&self, faults: &[Fault]) {
        self.state().tsm.as_mut().unwrap().faults = faults.iter().copied().collect();
    }

    /// The faults that have not happened.
    pub(crate) fn left(&self) -> usize {
        self.state().tsm.as_ref().unwrap().faults.len()
    }

    /// How many entries were made; all of them must be gone.
    pub(crate) fn entries_made(&self) -> usize {
        let state = self.state();
        let tsm = state.tsm.as_ref().unwrap();
        assert!(tsm.entries.is_empty(), "entries were left behind");
        tsm.made
    }

    pub(crate) fn pauses(&self) -> usize {
        self.state().pauses.len()
    }
}

fn attribute(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(TSM)?.strip_prefix('/')?.split_once('/')
}

impl Tsm {
    fn is_snp(&self) -> bool {
        self.provider == Some("sev_guest")
    }

    /// Which attributes an entry has: those without meaning for a provider are not there.
    fn has(&self, name: &str) -> bool {
        match name {
            "generation" | "provider" | "inblob" | "outblob" => true,
            "privlevel" | "privlevel_floor" | "auxblob" => self.is_snp(),
            "service_provider" | "service_guid" | "service_manifest_version" | "manifestblob" => self.svsm,
            _ => false,
        }
    }

    fn read(&mut self, entry: &str, name: &str) -> Result<Vec<u8>, Errno> {
        if !self.has(name) {
            return Err(Errno::ENOENT);
        }
        let provider = self.provider.ok_or(Errno::ENXIO)?;
        if !self.entries.contains_key(entry) {
            return Err(Errno::ENOENT);
        }
        match name {
            "provider" => return Ok(format!("{provider}\n").into_bytes()),
            "privlevel_floor" => return Ok(format!("{}\n", self.floor).into_bytes()),
            "outblob" => {
                if let Some(Fault::Read(errno)) = self.faults.front().copied() {
                    self.faults.pop_front();
                    return Err(errno);
                }
                if self.fault(Fault::WriterBeforeReading) {
                    self.entries.get_mut(entry).unwrap().write(|entry| entry.input = vec![0xbb; 64]);
                }
            }
            _ => {}
        }
        let disturbed = name == "outblob" && self.fault(Fault::WriterAfterReading);
        let entry = self.entries.get_mut(entry).unwrap();
        match name {
            "generation" => return Ok(format!("{}\n", entry.generation).into_bytes()),
            "outblob" | "auxblob" => {}
            // Written only.
            _ => return Err(Errno::EACCES),
        }
        if entry.input.is_empty() {
            return Err(Errno::EINVAL);
        }
        if entry.report.as_ref().is_none_or(|(generation, ..)| *generation != entry.generation) {
            if entry.input.len() != 64 {
                return Err(Errno::EINVAL);
            }
            // Firmware refuses a report of more privilege than its guest has.
            if entry.privilege < self.floor {
                return Err(Errno::EIO);
            }
            let (report, certificates) = (self.make)(&entry.input, entry.privilege)?;
            entry.report = Some((entry.generation, report, certificates));
        }
        let (_, report, certificates) = entry.report.clone().unwrap();
        if disturbed {
            entry.write(|entry| entry.input = vec![0xcc; 64]);
        }
        Ok(if name == "outblob" { report } else { certificates })
    }

    fn write(&mut self, entry: &str, name: &str, bytes: &[u8]) -> Result<(), Errno> {
        if !self.has(name) {
            return Err(Errno::ENOENT);
        }
        let lost = name == "inblob" && self.fault(Fault::NotTaken);
        let (floor, entry) = (self.floor, self.entries.get_mut(entry).ok_or(Errno::ENOENT)?);
        match name {
            "inblob" if bytes.len() > 64 => Err(Errno::EFBIG),
            "inblob" if lost => Ok(()),
            "inblob" => {
                entry.write(|entry| entry.input = bytes.to_vec());
                Ok(())
            }
            "privlevel" => {
                let level: u64 = String::from_utf8_lossy(bytes).trim().parse().map_err(|_| Errno::EINVAL)?;
                if level < floor || level > 3 {
                    return Err(Errno::EINVAL);
                }
                entry.write(|entry| entry.privilege = level);
                Ok(())
            }
            _ => Err(Errno::EACCES),
        }
    }
}

impl Kernel for FakeKernel {
    fn look(&self, path: &str) -> Result<Node, Errno> {
        let state = self.state();
        if let Some(errno) = state.refused.get(path) {
            return Err(*errno);
        }
        if let Some((entry, name)) = attribute(path) {
            let tsm = state.tsm.as_ref().ok_or(Errno::ENOENT)?;
            return Ok(if tsm.entries.contains_key(entry) && tsm.has(name) { Node::File } else { Node::Nothing });
        }
        Ok(match state.nodes.get(path) {
            Some(node) => *node,
            None if path == TSM && state.tsm.is_some() => Node::Folder,
            None if state.files.contains_key(path) => Node::File,
            None => Node::Nothing,
        })
    }

    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, Errno> {
        let mut state = self.state();
        if let Some(errno) = state.refused.get(path) {
            return Err(*errno);
        }
        let content = if let Some((entry, name)) = attribute(path) {
            state.tsm.as_mut().ok_or(Errno::ENOENT)?.read(entry, name)?
        } else if path == "/dev/attestation/quote" {
            let data = state.gramine_data.as_slice().try_into().map_err(|_| Errno::EINVAL)?;
            state.gramine.as_ref().ok_or(Errno::ENOENT)?(&data)?
        } else {
            state.files.get(path).cloned().ok_or(Errno::ENOENT)?
        };
        if content.len() > limit { Err(Errno::EFBIG) } else { Ok(content) }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Errno> {
        let mut state = self.state();
        if let Some(errno) = state.refused.get(path) {
            return Err(*errno);
        }
        if let Some((entry, name)) = attribute(path) {
            return state.tsm.as_mut().ok_or(Errno::ENOENT)?.write(entry, name, bytes);
        }
        if path == "/dev/attestation/user_report_data" && state.gramine.is_some() {
            state.gramine_data = bytes.to_vec();
            return Ok(());
        }
        Err(Errno::ENOENT)
    }

    fn make_folder(&self, path: &str) -> Result<(), Errno> {
        let mut state = self.state();
        if let Some(errno) = state.refused.get("mkdir") {
            return Err(*errno);
        }
        let name = path.strip_prefix(TSM).and_then(|rest| rest.strip_prefix('/')).ok_or(Errno::EPERM)?;
        let tsm = state.tsm.as_mut().ok_or(Errno::ENOENT)?;
        tsm.provider.ok_or(Errno::ENXIO)?;
        if tsm.fault(Fault::NameTaken) || tsm.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        tsm.made += 1;
        tsm.entries.insert(name.to_owned(), Entry::default());
        Ok(())
    }

    fn remove_folder(&self, path: &str) -> Result<(), Errno> {
        let mut state = self.state();
        let name = path.strip_prefix(TSM).and_then(|rest| rest.strip_prefix('/')).ok_or(Errno::EPERM)?;
        state.tsm.as_mut().and_then(|tsm| tsm.entries.remove(name)).map(drop).ok_or(Errno::ENOENT)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Errno> {
        let state = self.state();
        let prefix = format!("{path}/");
        let mut names: Vec<String> = state
            .files
            .keys()
            .filter_map(|file| file.strip_prefix(&prefix)?.split('/').next())
            .map(str::to_owned)
            .collect();
        names.dedup();
        if names.is_empty() { Err(Errno::ENOENT) } else { Ok(names) }
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.state().variables.get(name).cloned()
    }

    fn pause(&self, time: Duration) {
        self.state().pauses.push(time);
    }

    fn sev_report(&self, report_data: &[u8; 64], vmpl: u32, extended: bool) -> Result<SevReply, Errno> {
        self.state().sev.as_mut().ok_or(Errno::ENOENT)?(report_data, vmpl, extended)
    }

    fn tdx_report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, Errno> {
        self.state().tdx.as_ref().ok_or(Errno::ENOENT)?(report_data)
    }

    fn quoting_service(&self, port: u32, message: &[u8], limit: usize) -> Result<Vec<u8>, Errno> {
        let answer = self.state().service.as_ref().ok_or(Errno::ENODEV)?(port, message)?;
        if answer.len() > limit { Err(Errno::EMSGSIZE) } else { Ok(answer) }
    }

    fn occlum_quote(&self, report_data: &[u8; 64], limit: usize) -> Result<Vec<u8>, Errno> {
        let quote = self.state().occlum.as_ref().ok_or(Errno::ENOENT)?(report_data)?;
        if quote.len() > limit { Err(Errno::EMSGSIZE) } else { Ok(quote) }
    }
}
