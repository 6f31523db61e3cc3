//! The steps.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::hands::{AtMode, Hands, Paused, State};
use super::journal::{Failure, Heading, Part, Record, Step};
use super::{Interrupted, Outcome, Refusal, Transition};
use crate::address::Address;
use crate::card::{Card, CardError};
use crate::mode::{Mode, Observed};
use crate::pci::{Device, DeviceKind};
use crate::registers::Access;
use crate::users::Holder;

/// What comes out of validating.
pub(super) enum Plan {
    /// Everything is there already.
    Stay(AtMode),
    /// A transition that may begin.
    Move(Record),
}

/// What reading all devices says.
enum Reading {
    /// All are at the mode.
    At(AtMode),
    /// These are not, or do not say so.
    Not(Vec<Failure>),
    /// Some cannot be read while these hold them.
    Unknown(Vec<Holder>),
}

/// Proof that nobody held a device a moment ago. Staging and resetting take one.
struct Unheld(());

/// What follows a step.
enum Next {
    Step(Step),
    /// Back, with what went wrong.
    Back(Vec<Failure>),
    End(Outcome),
}

impl Failure {
    pub(super) fn of(device: Address, step: Step, error: &CardError) -> Self {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        Self {
            device: Some(device),
            step,
            code: error.code().to_owned(),
            reason,
            hint: error.hint().map(str::to_owned),
        }
    }

    fn held(step: Step, holder: &Holder) -> Self {
        Self {
            device: holder.devices.first().copied(),
            step,
            code: "in-use".to_owned(),
            reason: holder.to_string(),
            hint: Some("delete the pod that uses the device, or end the process".to_owned()),
        }
    }
}

/// What one device says when it is asked whether it can be brought to a mode.
enum Answer {
    /// It can: what it is at, and whether anything must change.
    Can { before: Observed, changes: bool },
    /// It is none whose modes are switched.
    None,
}

impl Transition<'_> {
    /// Asks every device, at once, whether it can be brought to a mode. Changes nothing.
    ///
    /// A device that somebody holds, or that a driver of the host's has, shows its mode and is asked nothing: its security
    /// processor may be in a conversation. Knobs are asked for once nobody has it.
    pub(super) fn validate(&self, wish: Mode) -> Result<Result<Plan, Refusal>, Interrupted> {
        if wish != Mode::Off && !self.devices.iter().any(|device| device.kind == DeviceKind::Gpu) {
            return Ok(Err(Refusal::NoGpu(wish)));
        }
        let addresses: Vec<Address> = self.devices.iter().map(|device| device.address).collect();
        let holders = self.look.holders(&addresses).map_err(Interrupted::Look)?;
        let held: Vec<Address> = holders.iter().flat_map(|holder| holder.devices.clone()).collect();
        let ask = |card: &Card| match card.mode() {
            // What is too old to have modes is off.
            Err(CardError::UnknownChip { .. }) if wish == Mode::Off => Ok(Answer::None),
            Ok(before) if held.contains(&card.address()) || card.is_free().is_err() => {
                card.can(wish).map(|_| Answer::Can { before, changes: false })
            }
            // It cannot be asked. A reset may mend that, and is a step of the transition.
            Err(error) if error.wants_reset() => Ok(Answer::Can { before: Observed::Invalid, changes: true }),
            Err(error) => Err(error),
            Ok(before) => match card.changes(wish) {
                Ok(changes) => Ok(Answer::Can { before, changes: !changes.is_empty() }),
                Err(error) if error.wants_reset() => Ok(Answer::Can { before, changes: true }),
                Err(error) => Err(error),
            },
        };
        let (mut parts, mut failures, mut unread) = (Vec::new(), Vec::new(), None);
        for (device, answer) in self.each(&self.devices, &held, Step::Validate, ask) {
            let (address, kind) = (device.address, device.kind);
            match answer {
                Ok(Answer::None) => {}
                Ok(Answer::Can { before, changes }) => {
                    let mut part = Part { address, kind, before, moves: changes };
                    part.moves |= before != Observed::Mode(part.share_of(wish));
                    parts.push(part);
                }
                // Whoever holds a device may have it switched off, and kernels may not let others map it; that it is of
                // the wrong kind stays true.
                Err(failure) if held.contains(&address) && failure.code != "unsupported" => {
                    parts.push(Part { address, kind, before: Observed::Invalid, moves: true });
                    unread = Some(address);
                }
                Err(failure) => failures.push(failure),
            }
        }
        if !failures.is_empty() {
            return Ok(Err(Refusal::Devices(failures)));
        }
        if let Some(device) = unread
            && !self.limits.wait_for_users
        {
            return Ok(Err(Refusal::InUse(device, holders)));
        }
        let record = Record::new(wish, parts);
        if record.devices.iter().all(|part| !part.moves) {
            return Ok(Ok(Plan::Stay(AtMode { mode: wish })));
        }
        let mut devices = self.moving(&record);
        devices.retain(|device| !held.contains(&device.address));
        let answers = self.each(&devices, &[], Step::Validate, Card::is_free);
        let failures: Vec<Failure> = answers.into_iter().filter_map(|(_, answer)| answer.err()).collect();
        Ok(if failures.is_empty() { Ok(Plan::Move(record)) } else { Err(Refusal::Devices(failures)) })
    }

    /// Executes a record to its end.
    pub(super) fn run(&self, mut record: Record, hands: &mut dyn Hands) -> Result<Outcome, Interrupted> {
        let mut proof = None;
        loop {
            self.journal.save(&record)?;
            hands.progress(&record);
            match self.step(&mut record, &mut proof, hands)? {
                Next::Step(step) => record.step = step,
                Next::Back(failures) => turn_back(&mut record, failures),
                Next::End(outcome) => {
                    if !matches!(outcome, Outcome::Waiting(_)) {
                        self.journal.clear()?;
                    }
                    return Ok(outcome);
                }
            }
        }
    }

    fn step(
        &self,
        record: &mut Record,
        proof: &mut Option<AtMode>,
        hands: &mut dyn Hands,
    ) -> Result<Next, Interrupted> {
        let step = record.step;
        let cluster = |source| Interrupted::Hands { step, source };
        Ok(match step {
            Step::Validate | Step::NotReady => {
                hands.not_ready(record.wish).map_err(cluster)?;
                Next::Step(if record.heading == Heading::Forward { Step::Users } else { Step::Pause })
            }
            Step::Users => match self.unheld(record)? {
                Ok(Unheld(())) => Next::Step(Step::Pause),
                Err(holders) if self.limits.wait_for_users => Next::End(Outcome::Waiting(holders)),
                Err(holders) => Next::Back(holders.iter().map(|holder| Failure::held(step, holder)).collect()),
            },
            Step::Pause => self.pause(record, hands)?,
            Step::Stage | Step::Reset | Step::Boot | Step::ReadBack => self.devices_step(record, proof)?,
            Step::Restore => {
                hands.restore().map_err(cluster)?;
                Next::Step(Step::Publish)
            }
            Step::Publish => self.publish(record, proof.take(), hands)?,
        })
    }

    /// Sends components away. Who used a device through one of them is gone with it; whoever is still there is not.
    fn pause(&self, record: &mut Record, hands: &mut dyn Hands) -> Result<Next, Interrupted> {
        let step = Step::Pause;
        let paused = hands.pause().map_err(|source| Interrupted::Hands { step, source })?;
        if record.heading != Heading::Forward {
            // On the way back there is no other way; the next step looks for those who hold devices.
            return Ok(Next::Step(Step::Stage));
        }
        Ok(match paused {
            Paused::StillThere(names) => Next::Back(vec![Failure {
                device: None,
                step,
                code: "components-stay".to_owned(),
                reason: format!("components that use devices are still there: {}", names.join(", ")),
                hint: None,
            }]),
            Paused::Gone => match self.unheld(record)? {
                Ok(Unheld(())) => self.ask_again(record)?,
                Err(holders) => Next::Back(holders.iter().map(|holder| Failure::held(step, holder)).collect()),
            },
        })
    }

    /// Now that nobody holds those that move, all are asked that could not be asked before. One that was to be left alone,
    /// and turns out to have something to write, moves as well.
    fn ask_again(&self, record: &mut Record) -> Result<Next, Interrupted> {
        let wish = record.wish;
        let held = self.held(record)?;
        let moving: Vec<Address> = record.devices.iter().filter(|part| part.moves).map(|part| part.address).collect();
        let ask = |card: &Card| {
            let moves = moving.contains(&card.address());
            if !moves && (held.contains(&card.address()) || card.is_free().is_err()) {
                // Left to whoever has it, unless it is at another mode by now.
                card.is_at(wish)?;
                return Ok(None);
            }
            card.is_free()?;
            match card.mode().and_then(|mode| card.changes(wish).map(|changes| (mode, !changes.is_empty()))) {
                Err(error) if error.wants_reset() => Ok(Some((None, true))),
                answer => answer.map(|(mode, changes)| Some((Some(mode), changes))),
            }
        };
        let devices = self.devices_of(record);
        let mut failures = self.missing(record, &[]);
        for (device, answer) in self.each(&devices, &held, Step::Pause, ask) {
            match answer {
                Ok(None) => {}
                Ok(Some((shown, changes))) => {
                    if let Some(part) = record.devices.iter_mut().find(|part| part.address == device.address) {
                        part.before = shown.unwrap_or(part.before);
                        part.moves |= changes || part.before != Observed::Mode(part.share_of(wish));
                    }
                }
                Err(failure) => failures.push(failure),
            }
        }
        Ok(if failures.is_empty() { Next::Step(Step::Stage) } else { Next::Back(failures) })
    }

    /// A step that is done to all devices at once. Forward, one that fails sends all back. On the way back, those that
    /// fail are left behind and the others go on.
    fn devices_step(&self, record: &mut Record, proof: &mut Option<AtMode>) -> Result<Next, Interrupted> {
        let step = record.step;
        let left: Vec<Address> = record.lost.iter().filter_map(|failure| failure.device).collect();
        let without = |mut devices: Vec<Device>| {
            devices.retain(|device| !left.contains(&device.address));
            devices
        };
        let mut failures = self.missing(record, &left);
        let goal = record.goal();
        let moving = without(self.moving(record));
        let all = without(self.devices_of(record));
        // Only those that were left alone can be held now, and only looked at.
        let held = if step == Step::ReadBack { self.held(record)? } else { Vec::new() };
        let results = match step {
            Step::Stage | Step::Reset => match self.unheld(record)? {
                Err(holders) => {
                    failures.extend(holders.iter().map(|holder| Failure::held(step, holder)));
                    Vec::new()
                }
                Ok(proof) if step == Step::Stage => self.stage(&proof, &moving, goal),
                Ok(proof) => self.reset(&proof, &moving),
            },
            Step::Boot => self.each(&moving, &[], step, |card| card.started().map(|_| ())),
            _ => self.each(&all, &held, step, |card| card.is_at(goal)),
        };
        failures.extend(results.into_iter().filter_map(|(_, result)| result.err()));
        let unread = |failure: &Failure| {
            failure.code != "wrong-mode" && failure.device.is_some_and(|device| held.contains(&device))
        };
        // What cannot be read while somebody has it was not touched either: ready is said when it can be read again.
        let all_read = !failures.iter().any(unread);
        failures.retain(|failure| !unread(failure));
        if step == Step::ReadBack && all_read && failures.is_empty() && left.is_empty() {
            // From here on somebody may open a device, and it may not be readable any more.
            *proof = Some(AtMode { mode: goal });
        }
        let next = match step {
            Step::Stage => Step::Reset,
            Step::Reset => Step::Boot,
            Step::Boot => Step::ReadBack,
            _ => Step::Restore,
        };
        Ok(match record.heading {
            Heading::Forward if !failures.is_empty() => Next::Back(failures),
            Heading::Forward => Next::Step(next),
            Heading::Back | Heading::BackUntouched => {
                let held = failures.iter().any(|failure| failure.code == "in-use");
                record.lost.extend(failures);
                // A device that somebody holds is not touched, and then none is: they would be at different modes.
                Next::Step(if held { Step::Restore } else { next })
            }
        })
    }

    /// Says what the node is. Ready is said with proof alone: of this process's reading back, or of another one now.
    fn publish(&self, record: &Record, proof: Option<AtMode>, hands: &mut dyn Hands) -> Result<Next, Interrupted> {
        let cluster = |source| Interrupted::Hands { step: Step::Publish, source };
        let reading = match proof {
            Some(proof) => Reading::At(proof),
            None => self.read(record)?,
        };
        let failures = record.failures.clone();
        Ok(match (record.heading, reading) {
            (Heading::Forward, Reading::Not(failures)) => Next::Back(failures),
            (Heading::Forward, Reading::Unknown(holders)) => Next::End(Outcome::Waiting(holders)),
            (Heading::Forward, Reading::At(proof)) => {
                hands.publish(&State::ready(proof)).map_err(cluster)?;
                Next::End(Outcome::Ready(record.wish))
            }
            (Heading::BackUntouched, Reading::At(proof)) if record.before().is_some() => {
                let ready = Some(proof.mode);
                hands.publish(&State::ready(proof)).map_err(cluster)?;
                Next::End(Outcome::GivenUp { failures, ready })
            }
            (Heading::BackUntouched, _) => {
                hands.publish(&State::FAILED).map_err(cluster)?;
                Next::End(Outcome::GivenUp { failures, ready: None })
            }
            (Heading::Back, reading) => {
                hands.publish(&State::FAILED).map_err(cluster)?;
                let mut lost = record.lost.clone();
                let back_at = match reading {
                    Reading::At(proof) if lost.is_empty() => Some(proof.mode),
                    Reading::At(_) => None,
                    Reading::Not(more) => {
                        let new = |new: &Failure| record.lost.iter().all(|old| old.device != new.device);
                        lost.extend(more.into_iter().filter(new));
                        None
                    }
                    Reading::Unknown(holders) => {
                        lost.extend(holders.iter().map(|holder| Failure::held(Step::Publish, holder)));
                        None
                    }
                };
                Next::End(Outcome::Failed { failures, back_at, lost })
            }
        })
    }

    /// Reads every device of a record: are all of them at its goal?
    fn read(&self, record: &Record) -> Result<Reading, Interrupted> {
        let mode = record.goal();
        let holders = self.holders(record)?;
        let held: Vec<Address> = holders.iter().flat_map(|holder| holder.devices.clone()).collect();
        let mut failures = self.missing(record, &[]);
        let devices = self.devices_of(record);
        let results = self.each(&devices, &held, Step::Publish, |card| card.is_at(mode));
        failures.extend(results.into_iter().filter_map(|(_, result)| result.err()));
        // Another mode is another mode, whoever has the device.
        let (wrong, unread): (Vec<_>, Vec<_>) = failures.into_iter().partition(|failure| {
            failure.code == "wrong-mode" || failure.device.is_none_or(|device| !held.contains(&device))
        });
        Ok(match (wrong.is_empty(), unread.is_empty()) {
            (true, true) => Reading::At(AtMode { mode }),
            (true, false) => Reading::Unknown(holders),
            (false, _) => Reading::Not(wrong),
        })
    }

    fn devices_of(&self, record: &Record) -> Vec<Device> {
        let known = |device: &&Device| record.devices.iter().any(|part| part.address == device.address);
        self.devices.iter().filter(known).cloned().collect()
    }

    /// Devices of a record that are no longer on the bus.
    fn missing(&self, record: &Record, left: &[Address]) -> Vec<Failure> {
        let parts = record.devices.iter().filter(|part| {
            !left.contains(&part.address) && self.devices.iter().all(|device| device.address != part.address)
        });
        let failure = |part: &Part| Failure {
            device: Some(part.address),
            step: record.step,
            code: "missing".to_owned(),
            reason: "the device is no longer on the PCI bus".to_owned(),
            hint: Some("power the machine off and on".to_owned()),
        };
        parts.map(failure).collect()
    }

    /// Those devices of a record that are staged and reset.
    fn moving(&self, record: &Record) -> Vec<Device> {
        let moves = |device: &Device| record.devices.iter().any(|part| part.address == device.address && part.moves);
        self.devices_of(record).into_iter().filter(moves).collect()
    }

    /// Everyone who holds a device of a record, moved or not.
    fn holders(&self, record: &Record) -> Result<Vec<Holder>, Interrupted> {
        let addresses: Vec<Address> = record.devices.iter().map(|part| part.address).collect();
        self.look.holders(&addresses).map_err(Interrupted::Look)
    }

    /// The devices of a record that somebody holds.
    fn held(&self, record: &Record) -> Result<Vec<Address>, Interrupted> {
        Ok(self.holders(record)?.into_iter().flat_map(|holder| holder.devices).collect())
    }

    /// Nobody holds a device of a record that moves, or these do.
    fn unheld(&self, record: &Record) -> Result<Result<Unheld, Vec<Holder>>, Interrupted> {
        let moving = record.devices.iter().filter(|part| part.moves);
        let addresses: Vec<Address> = moving.map(|part| part.address).collect();
        let holders = self.look.holders(&addresses).map_err(Interrupted::Look)?;
        Ok(if holders.is_empty() { Ok(Unheld(())) } else { Err(holders) })
    }

    fn stage<'d>(&self, _: &Unheld, devices: &'d [Device], goal: Mode) -> Vec<(&'d Device, Result<(), Failure>)> {
        // On the way back a device may move for the first time, and one may have got a driver since it was asked.
        self.each(devices, &[], Step::Stage, |card| match card.is_free().and_then(|()| card.stage(goal)) {
            // Its security processor was lost, perhaps by an interruption: a reset may bring it back.
            Err(error) if error.wants_reset() => {
                let mut resets = self.resets(&[card.address()]);
                resets.pop().map_or(Ok(()), |(_, result)| result)?;
                card.started()?;
                card.stage(goal)
            }
            result => result,
        })
    }

    fn reset<'d>(&self, _: &Unheld, devices: &'d [Device]) -> Vec<(&'d Device, Result<(), Failure>)> {
        let addresses: Vec<Address> = devices.iter().map(|device| device.address).collect();
        let results = self.resets(&addresses);
        let found = |device: &'d Device| {
            let (_, result) = results.iter().find(|(address, _)| *address == device.address)?;
            let result = result.as_ref().copied().map_err(|e| Failure::of(device.address, Step::Reset, e));
            Some((device, result))
        };
        devices.iter().filter_map(found).collect()
    }

    /// Resets devices at once. A reset that hangs keeps its thread: the kernel lets nobody take it back.
    fn resets(&self, addresses: &[Address]) -> Vec<(Address, Result<(), CardError>)> {
        let (sender, results) = mpsc::channel();
        for &address in addresses {
            let (bus, sender) = (self.bus.clone(), sender.clone());
            thread::spawn(move || {
                // Whoever waited may have given up.
                let _ = sender.send((address, bus.reset(address).map_err(CardError::from)));
            });
        }
        drop(sender);
        let waited = self.limits.reset;
        // The machine's clock, whatever clock the devices are waited for with: the kernel hangs in real time.
        let deadline = Instant::now() + waited;
        let mut done = Vec::new();
        while done.len() < addresses.len() {
            match results.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(result) => done.push(result),
                Err(_) => break,
            }
        }
        let hanging: Vec<Address> =
            addresses.iter().filter(|address| done.iter().all(|(d, _)| d != *address)).copied().collect();
        done.extend(hanging.into_iter().map(|address| (address, Err(CardError::ResetHangs { waited }))));
        done
    }

    /// Does something with all devices at once; those that are held are only looked at.
    pub(super) fn each<'d, T: Send>(
        &self,
        devices: &'d [Device],
        held: &[Address],
        step: Step,
        act: impl Fn(&Card) -> Result<T, CardError> + Sync,
    ) -> Vec<(&'d Device, Result<T, Failure>)> {
        let one = |device: &Device| {
            let access = if held.contains(&device.address) { Access::Look } else { Access::Full };
            let result = Card::open_for(access, &self.bus, &self.clock, device).and_then(|card| act(&card));
            result.map_err(|error| Failure::of(device.address, step, &error))
        };
        let mut results = Vec::with_capacity(devices.len());
        for some in devices.chunks(self.limits.at_once.max(1)) {
            if let [device] = some {
                results.push((device, one(device)));
                continue;
            }
            thread::scope(|scope| {
                let threads: Vec<_> = some.iter().map(|device| (device, scope.spawn(|| one(device)))).collect();
                for (device, thread) in threads {
                    match thread.join() {
                        Ok(result) => results.push((device, result)),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
            });
        }
        results
    }
}

/// Turns a transition round.
fn turn_back(record: &mut Record, failures: Vec<Failure>) {
    if record.step < Step::Stage {
        record.heading = Heading::BackUntouched;
        record.step = Step::Restore;
    } else {
        record.heading = Heading::Back;
        // A process that was killed as it said ready may have said so, and components may have been let back since.
        record.step = Step::NotReady;
        // These cannot be brought anywhere; each further try would wait for them again.
        let hopeless = |failure: &&Failure| matches!(failure.code.as_str(), "reset-hangs" | "missing" | "off-the-bus");
        record.lost = failures.iter().filter(hopeless).cloned().collect();
        // Without a mode in common the way back leads to off, and those that were left alone go along.
        let goal = record.goal();
        for part in &mut record.devices {
            part.moves |= part.before != Observed::Mode(part.share_of(goal));
        }
    }
    record.failures = failures;
}
