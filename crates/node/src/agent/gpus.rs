//! The real devices: NVIDIA's GPUs and switches of this machine, behind [`Devices`].
//!
//! Registers are read when the agent starts, when a device came or went, and after a change. At rest devices are looked at
//! now and then, and touched no more than that, since one may be in a guest's hands; what does not fit what is known makes
//! the agent ask again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gpu::pci::DeviceKind;
use gpu::registers::Access;
use gpu::transition::{
    FileJournal, Hands, Interrupted, Journal as _, Limits, Outcome, Record, Refusal, Survey, Surveyed, Transition,
};
use gpu::users::Processes;
use gpu::vfio::{Binder, Bound, Host, Kernel, Memory};
use gpu::{Address, Bus, Clock, Machine, Mode, Observed};

use super::crd::{Vfio, WhenInUse};
use super::device::{self, Change, Devices, Failure, Kind, Modes, chain};
use super::offer::{Guarded, Offer, as_found};
use super::proven::Proven;
use super::wish::Labels;
use crate::features::{cc_labels, detect};

/// Where the journal of changes is, on the machine. It must survive a restart.
pub const JOURNAL: &str = "/var/lib/casemate/node/transition.json";

/// The GPUs and switches of a machine.
pub struct Gpus {
    machine: Machine,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    journal: FileJournal,
    limits: Limits,
    kernel: Arc<dyn Kernel>,
    memory: Memory,
    /// One at a time: a change of modes, or of drivers.
    busy: Mutex<()>,
    offer: Arc<Offer>,
    /// The mode that all were last proven to be at.
    proven: Proven,
    look_every: Duration,
    /// Labels about the machine that others found out.
    said: Mutex<Labels>,
    /// What was read of the devices' registers, and which devices those were.
    read: Mutex<Option<Read>>,
}

/// Beside the journal: which driver each device had before it was bound to VFIO.
const DRIVERS: &str = "drivers.json";
/// Beside the journal: the mode that all devices were last read at.
const PROVEN: &str = "modes.json";

/// How often devices are looked at that nobody has changed, as far as we know: another tool may have.
const LOOK_EVERY: Duration = Duration::from_secs(300);

#[derive(Clone)]
struct Read {
    addresses: Vec<Address>,
    cc_capable: bool,
    modes: Modes,
    /// When that was read, or looked at last.
    at: Instant,
}

impl Gpus {
    /// Those of this machine. The journal's folder must be there.
    pub fn new(machine: Machine, bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, journal: impl Into<PathBuf>) -> Self {
        let journal: PathBuf = journal.into();
        let memory = Memory::new(journal.parent().unwrap_or(Path::new(".")).join(DRIVERS));
        let proven = Proven::new(journal.parent().unwrap_or(Path::new(".")).join(PROVEN));
        let kernel = Arc::new(Host::new(machine.clone()));
        let (journal, limits) = (FileJournal::new(journal), Limits::default());
        Self {
            machine,
            bus,
            clock,
            journal,
            limits,
            kernel,
            memory,
            busy: Mutex::default(),
            proven,
            look_every: LOOK_EVERY,
            offer: Arc::default(),
            said: Mutex::default(),
            read: Mutex::default(),
        }
    }

    /// With another kernel to bind drivers.
    #[must_use]
    pub fn with_kernel(mut self, kernel: Arc<dyn Kernel>) -> Self {
        self.kernel = kernel;
        self
    }

    /// Looked at this often at rest.
    #[must_use]
    pub fn looked_at_every(mut self, look_every: Duration) -> Self {
        self.look_every = look_every;
        self
    }

    /// Whether pods may have the devices; the device plugin goes by it.
    pub fn offer(&self) -> Arc<Offer> {
        Arc::clone(&self.offer)
    }

    /// Says something of the machine in a label, or with `None` no longer. It is on the node after the next look.
    pub fn say(&self, label: &str, value: Option<&str>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match value {
            Some(value) => said.insert(label.to_owned(), value.to_owned()),
            None => said.remove(label),
        };
    }

    /// Binds GPUs, and switches where they are wanted too, to VFIO, and gives the others the drivers that they had. May
    /// block for as long as a change of modes takes.
    ///
    /// # Errors
    /// A sentence for each device that was not bound or given back.
    pub fn drive(&self, vfio: Vfio) -> Result<Vec<Bound>, Vec<String>> {
        let _busy = self.alone();
        self.bind(vfio)
    }

    /// The same for whoever is alone already.
    fn bind(&self, vfio: Vfio) -> Result<Vec<Bound>, Vec<String>> {
        let devices = self.scan().map_err(|error| vec![chain(&error)])?;
        let wanted = |device: &gpu::pci::Device| match device.kind {
            DeviceKind::Gpu => vfio.enabled,
            DeviceKind::NvSwitch => vfio.enabled && vfio.switches,
        };
        let (bind, restore): (Vec<_>, Vec<_>) = devices.into_iter().partition(wanted);
        let look = Processes::new(self.machine.clone());
        let binder = Binder::new(self.machine.clone(), self.kernel.as_ref(), &look, self.memory.clone());
        let (mut bound, mut problems) = (Vec::new(), Vec::new());
        for result in [binder.bind(&bind), binder.restore(&restore)] {
            match result {
                Ok(done) => bound.extend(done),
                Err(failures) => problems.extend(failures.iter().map(|failure| {
                    let hint = failure.error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                    format!("{}: {}{hint}", failure.device, chain(&failure.error))
                })),
            }
        }
        if problems.is_empty() { Ok(bound) } else { Err(problems) }
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Option<Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scan(&self) -> Result<Vec<gpu::pci::Device>, gpu::ReadError> {
        Ok(gpu::pci::scan(&self.machine)?.devices)
    }

    /// Runs a transition. `drivers` first, unless an earlier one has not ended: then devices are left to it.
    fn with_transition<T>(
        &self,
        wanted: Option<Change>,
        run: impl FnOnce(Transition<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _busy = self.alone();
        if let Some(change) = wanted
            && self.unfinished()?.is_none()
        {
            // What could not be bound says so when it is asked whether it can change, and in the events about drivers.
            let _ = self.bind(change.vfio);
        }
        let devices = self.scan().map_err(|error| interrupted(&error))?;
        let look = Processes::new(self.machine.clone());
        let (bus, clock) = (Arc::clone(&self.bus), Arc::clone(&self.clock));
        let wait_for_users = wanted.is_some_and(|change| change.when_in_use == WhenInUse::Wait);
        let limits = Limits { wait_for_users, ..self.limits };
        let result = run(Transition::new(devices, bus, clock, &look, &self.journal, limits));
        *self.known() = None;
        result
    }

    fn unfinished(&self) -> Result<Option<Record>, Failure> {
        self.journal.load().map_err(|error| stopped(&Interrupted::Journal(error)))
    }

    /// Asks all devices, as far as nobody has them.
    fn modes(&self, devices: Vec<gpu::pci::Device>) -> Result<(bool, Modes), String> {
        let _busy = self.alone();
        let survey = self.ask(devices, Access::Full)?;
        let unread = |device: &Surveyed| device.held && device.mode.is_err();
        let mut gpus = survey.devices.iter().filter(|device| device.kind == DeviceKind::Gpu);
        if !gpus.any(|gpu| gpu.chip.is_some() || unread(gpu)) {
            return Ok((false, Modes::None));
        }
        let addresses = addresses(survey.devices.iter().map(|device| device.address));
        let before = self.proven.recall(&self.machine, &addresses);
        let capable = survey.cc_capable().or(before.map(|(_, capable)| capable)).unwrap_or(false);
        if let Some(mode) = survey.common() {
            self.proven.remember(&self.machine, &addresses, mode, capable);
            return Ok((capable, Modes::All(mode.into())));
        }
        // A kernel may let nobody map a device that a guest has. What was proven of it still holds: nobody resets a
        // device that is held, and the machine has not started anew.
        if let Some((mode, _)) = before
            && survey.devices.iter().all(|device| unread(device) || shows(device, mode))
        {
            return Ok((capable, Modes::All(mode.into())));
        }
        let each = survey.devices.iter().map(|device| {
            let said = match &device.mode {
                Ok(mode) => mode.to_string(),
                Err(failure) => failure.to_string(),
            };
            (device.address.to_string(), said)
        });
        Ok((capable, Modes::Mixed(each.collect())))
    }

    fn ask(&self, devices: Vec<gpu::pci::Device>, access: Access) -> Result<Survey, String> {
        let look = Processes::new(self.machine.clone());
        let (bus, clock) = (Arc::clone(&self.bus), Arc::clone(&self.clock));
        let all = Transition::new(devices, bus, clock, &look, &self.journal, self.limits);
        let survey = match access {
            Access::Full => all.survey(),
            Access::Look => all.glance(),
        };
        survey.map_err(|error| chain(&error))
    }

    /// Whether what is known still holds, as far as a look tells: a device that does not answer a look, as one that
    /// sleeps, says nothing against it.
    fn still_holds(&self, known: &Read, devices: Vec<gpu::pci::Device>) -> Result<bool, String> {
        let survey = self.ask(devices, Access::Look)?;
        let mut told = survey.devices.iter().filter(|device| device.mode.is_ok());
        Ok(match &known.modes {
            Modes::All(mode) => told.all(|device| shows(device, (*mode).into())),
            Modes::Mixed(_) => survey.common().is_none(),
            Modes::None => told.all(|device| device.chip.is_none()),
        })
    }
}

impl Devices for Gpus {
    fn observe(&self) -> Result<device::Observed, String> {
        let report = detect(&self.machine).map_err(|error| chain(&error))?;
        let addresses = addresses(report.devices.iter().map(|device| device.address));
        let before = self.known().clone();
        let same = before.as_ref().filter(|read| read.addresses == addresses).cloned();
        let same = match same {
            Some(read) if read.at.elapsed() < self.look_every => Some(read),
            Some(read) if self.still_holds(&read, report.devices.clone())? => Some(Read { at: Instant::now(), ..read }),
            _ => None,
        };
        // Without the lock: a change that is under way is waited for, and takes it at its end.
        let read = match same {
            Some(read) => read,
            None => {
                let (cc_capable, modes) = self.modes(report.devices.clone())?;
                Read { addresses, cc_capable, modes, at: Instant::now() }
            }
        };
        if before.is_some_and(|before| before.modes != read.modes) {
            // Not by us. The agent asks for what is wanted, and opens it again.
            self.offer.close("the devices are not what they were; they are asked again");
        }
        let Read { cc_capable, modes, .. } = self.known().insert(read).clone();
        let mut features = report.labels.clone();
        features.extend(cc_labels(&report, Some(cc_capable)));
        features.extend(self.said.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Ok(device::Observed { features, host_is_confidential: report.host_is_confidential(), modes })
    }

    fn recover(&self, wanted: Option<Change>, hands: &mut dyn Hands) -> Result<bool, Failure> {
        if self.unfinished()?.is_none() {
            // Nothing was under way, so nothing was said of the devices yet.
            let observed =
                self.observe().map_err(|message| Failure { kind: Kind::Interrupted, message, hint: None })?;
            self.offer.open(as_found(&observed.modes));
            return Ok(false);
        }
        let mut hands = Guarded { offer: &self.offer, cluster: hands };
        self.with_transition(wanted, |transition| {
            let outcome = match wanted {
                // Also what nobody wants any more is ended before anything else is done.
                Some(change) => transition.bring_to(change.mode.into(), &mut hands).map(Some),
                None => transition.resume(&mut hands),
            };
            match outcome {
                Ok(None | Some(Outcome::Ready(_))) => Ok(true),
                Ok(Some(outcome)) => Err(failure(&outcome)),
                Err(error) => Err(stopped(&error)),
            }
        })
    }

    fn change(&self, to: Change, hands: &mut dyn Hands) -> Result<(), Failure> {
        let mut hands = Guarded { offer: &self.offer, cluster: hands };
        self.with_transition(Some(to), |transition| match transition.bring_to(to.mode.into(), &mut hands) {
            Ok(Outcome::Ready(_)) => Ok(()),
            Ok(outcome) => Err(failure(&outcome)),
            Err(error) => Err(stopped(&error)),
        })
    }
}

/// Whether a device was read at its share of a mode.
fn shows(device: &Surveyed, mode: Mode) -> bool {
    let share = device.chip.map_or(Mode::Off, |chip| chip.share_of(mode));
    device.mode.as_ref().is_ok_and(|shown| *shown == Observed::Mode(share))
}

fn addresses(of: impl Iterator<Item = Address>) -> Vec<Address> {
    let mut addresses: Vec<Address> = of.collect();
    addresses.sort_unstable();
    addresses
}

/// Codes of failures that only another device would not have.
const FOR_GOOD: [&str; 2] = ["unsupported", "unknown-chip"];

/// An outcome that is not the mode that was asked for.
fn failure(outcome: &Outcome) -> Failure {
    let (kind, failures) = match outcome {
        Outcome::Ready(_) | Outcome::Waiting(_) => (Kind::Waiting, &[][..]),
        // What a chip cannot do it will never do. Everything else may be otherwise in a minute: a driver that is bound, a
        // device that comes back.
        Outcome::Refused(Refusal::Devices(failures)) => {
            let for_good = |failure: &gpu::transition::Failure| FOR_GOOD.contains(&failure.code.as_str());
            let kind = if failures.iter().any(for_good) { Kind::Impossible } else { Kind::GivenUp };
            (kind, failures.as_slice())
        }
        // Asked again later, as after a change that was given up.
        Outcome::Refused(Refusal::InUse(..)) => (Kind::GivenUp, &[][..]),
        Outcome::Refused(_) => (Kind::Impossible, &[][..]),
        Outcome::GivenUp { failures, .. } => (Kind::GivenUp, failures.as_slice()),
        Outcome::Failed { failures, .. } => (Kind::Failed, failures.as_slice()),
    };
    let hint = failures.iter().find_map(|failure| failure.hint.clone());
    Failure { kind, message: outcome.to_string(), hint }
}

fn stopped(error: &Interrupted) -> Failure {
    let hint = match error {
        Interrupted::Journal(error) => error.hint().map(str::to_owned),
        _ => None,
    };
    Failure { hint, ..interrupted(error) }
}

fn interrupted(error: &dyn std::error::Error) -> Failure {
    Failure { kind: Kind::Interrupted, message: chain(error), hint: None }
}

#[cfg(test)]
mod tests;
