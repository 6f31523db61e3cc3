//! The real devices: NVIDIA's GPUs and switches of this machine, behind [`Devices`].
//!
//! Registers are read when the agent starts, when a device came or went, and after a change; at rest no device is
//! touched, since one may be in a guest's hands.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gpu::transition::{FileJournal, Hands, Interrupted, Limits, Outcome, Refusal, Transition};
use gpu::users::Processes;
use gpu::{Address, Bus, Card, Clock, Machine, Mode};

use super::crd::CcMode;
use super::device::{Devices, Failure, Kind, Modes, Observed, chain};
use crate::features::{Feature, detect};

/// Where the journal of changes is, on the machine. It must survive a restart.
pub const JOURNAL: &str = "/var/lib/casemate/node/transition.json";

/// The GPUs and switches of a machine.
pub struct Gpus {
    machine: Machine,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    journal: FileJournal,
    limits: Limits,
    /// What was read of the devices' registers, and which devices those were.
    read: Mutex<Option<Read>>,
}

struct Read {
    addresses: Vec<Address>,
    cc_capable: bool,
    modes: Modes,
}

impl Gpus {
    /// Those of this machine. The journal's folder must be there.
    pub fn new(machine: Machine, bus: Arc<dyn Bus>, clock: Arc<dyn Clock>, journal: impl Into<PathBuf>) -> Self {
        let (journal, limits) = (FileJournal::new(journal), Limits::default());
        Self { machine, bus, clock, journal, limits, read: Mutex::default() }
    }

    fn scan(&self) -> Result<Vec<gpu::pci::Device>, gpu::ReadError> {
        Ok(gpu::pci::scan(&self.machine)?.devices)
    }

    fn with_transition<T>(&self, run: impl FnOnce(Transition<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        let devices = self.scan().map_err(|error| interrupted(&error))?;
        let look = Processes::new(self.machine.clone());
        let (bus, clock) = (Arc::clone(&self.bus), Arc::clone(&self.clock));
        let result = run(Transition::new(devices, bus, clock, &look, &self.journal, self.limits));
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        result
    }

    /// Asks the registers of all devices.
    fn modes(&self, devices: &[gpu::pci::Device]) -> (bool, Modes) {
        let open = |device| Card::open(&self.bus, &self.clock, device);
        let known = |card: &Card| card.chip().is_ok();
        let is_gpu = |device: &&gpu::pci::Device| device.kind == gpu::pci::DeviceKind::Gpu;
        let capable = devices.iter().filter(is_gpu).filter_map(|device| open(device).ok()).any(|card| known(&card));
        if !capable {
            return (false, Modes::None);
        }
        let cards: Vec<_> = devices.iter().map(|device| (device.address, open(device))).collect();
        let all_at =
            |mode: &Mode| cards.iter().all(|(_, card)| card.as_ref().is_ok_and(|card| card.is_at(*mode).is_ok()));
        // A switch is at its share of more than one mode, so the order matters only where there is no GPU.
        if let Some(mode) = Mode::ALL.into_iter().find(all_at) {
            return (true, Modes::All(mode.into()));
        }
        let each = cards.iter().map(|(address, card)| {
            let said = match card.as_ref().map(Card::mode) {
                Ok(Ok(mode)) => mode.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            (address.to_string(), said)
        });
        (true, Modes::Mixed(each.collect()))
    }
}

impl Devices for Gpus {
    fn observe(&self) -> Result<Observed, String> {
        let report = detect(&self.machine).map_err(|error| chain(&error))?;
        let has = |feature| report.feature(feature).is_some_and(|finding| finding.present);
        let host_is_confidential = has(Feature::SevSnp) || has(Feature::Tdx);
        let devices = self.scan().map_err(|error| chain(&error))?;
        let addresses: Vec<Address> = devices.iter().map(|device| device.address).collect();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let read = match read.take().filter(|read| read.addresses == addresses) {
            Some(same) => read.insert(same),
            None => {
                let (cc_capable, modes) = self.modes(&devices);
                read.insert(Read { addresses, cc_capable, modes })
            }
        };
        let (cc_capable, modes) = (read.cc_capable, read.modes.clone());
        Ok(Observed { features: report.labels, cc_capable, host_is_confidential, modes })
    }

    fn recover(&self, hands: &mut dyn Hands) -> Result<(), Failure> {
        self.with_transition(|transition| match transition.resume(hands) {
            Ok(None) => Ok(()),
            // Whatever it came to, it ended; what is wanted now is decided next.
            Ok(Some(outcome @ Outcome::Waiting(_))) => Err(failure(&outcome)),
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(stopped(&error)),
        })
    }

    fn change(&self, to: CcMode, hands: &mut dyn Hands) -> Result<(), Failure> {
        self.with_transition(|transition| match transition.bring_to(to.into(), hands) {
            Ok(Outcome::Ready(_)) => Ok(()),
            Ok(outcome) => Err(failure(&outcome)),
            Err(error) => Err(stopped(&error)),
        })
    }
}

/// An outcome that is not the mode that was asked for.
fn failure(outcome: &Outcome) -> Failure {
    let (kind, failures) = match outcome {
        Outcome::Ready(_) | Outcome::Waiting(_) => (Kind::Waiting, &[][..]),
        Outcome::Refused(Refusal::Devices(failures)) => (Kind::Impossible, failures.as_slice()),
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
