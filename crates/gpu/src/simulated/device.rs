//! One simulated device: registers, security processor, both transports, resets.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Model, Timing};
use crate::chip::Chip;
use crate::config_space::ConfigSpace;
use crate::mode::{Mode, Observed, settings};
use crate::pci::DeviceKind;

const EMEM_WINDOW: u32 = 0x8f_2ad0;
const EMEM_DATA: u32 = EMEM_WINDOW + 4;
const EMEM_BASE: u32 = 2 * 1024;
const COMMAND_HEAD: u32 = 0x8f_2c10;
const COMMAND_TAIL: u32 = 0x8f_2c14;
const MESSAGE_HEAD: u32 = 0x8f_2c90;
const MESSAGE_TAIL: u32 = 0x8f_2c94;
const MNOC_SEND: u32 = 0x8f_1f04;
const MNOC_SEND_DATA: u32 = 0x8f_1f08;
const MNOC_RECEIVE: u32 = 0x8f_1f84;
const MNOC_RECEIVE_DATA: u32 = 0x8f_1f88;
/// How long a message whose rest does not come blocks Blackwell's mailbox here.
const STALE: Duration = Duration::from_secs(1);

/// What is wrong with the security processor just now.
#[derive(Clone, Copy, Default)]
pub(super) struct Troubles {
    pub(super) silent: bool,
    pub(super) nonsense: bool,
    pub(super) stuck: bool,
    pub(super) status: Option<u32>,
    pub(super) refuses_writes: Option<u32>,
}

/// The security processor: knobs, and a message that is not complete.
pub(super) struct Processor {
    pub(super) knobs: BTreeMap<u8, u16>,
    message: Vec<u32>,
}

impl Processor {
    /// Takes a packet; an answer when a message is complete.
    fn packet(&mut self, packet: &[u32], troubles: Troubles) -> Option<Vec<u32>> {
        let (header, rest) = packet.split_first()?;
        if header & 1 << 31 != 0 {
            self.message.clear();
        }
        self.message.extend_from_slice(rest);
        if header & 1 << 30 == 0 || troubles.silent {
            return None;
        }
        let message = std::mem::take(&mut self.message);
        let kind = message.first()? >> 24;
        let (status, data) = match (kind, message.get(1..)) {
            _ if troubles.status.is_some() => (troubles.status.unwrap_or_default(), Vec::new()),
            (0x13, Some(words)) => self.configuration(words, troubles),
            _ => (0x2, Vec::new()),
        };
        let kind = if troubles.nonsense { 0x7f } else { kind };
        let mut answer = vec![0xc000_0000, 0x1510_de7e, 0, kind, status];
        answer.extend(data);
        Some(answer)
    }

    fn configuration(&mut self, words: &[u32], troubles: Troubles) -> (u32, Vec<u32>) {
        let Some(&first) = words.first() else { return (0x1, Vec::new()) };
        let knob = (first >> 16) as u8;
        if !self.knobs.contains_key(&knob) {
            return (0x1e3, Vec::new());
        }
        match (first & 0xffff, words.get(1)) {
            // The upper half of the value is not initialised.
            (0x20c, None) => (0, vec![0xdead_0000 | u32::from(self.knobs[&knob])]),
            (0x20d, Some(_)) if troubles.refuses_writes.is_some() => {
                (troubles.refuses_writes.unwrap_or_default(), Vec::new())
            }
            (0x20d, Some(value)) => {
                if !troubles.stuck {
                    self.knobs.insert(knob, (*value & 0xffff) as u16);
                }
                (0, Vec::new())
            }
            _ => (0x1, Vec::new()),
        }
    }
}

/// Hopper's and the switch's transport.
struct Emem {
    memory: Vec<u32>,
    offset: u32,
    command: (u32, u32),
    message: (u32, u32),
    ready: Duration,
}

/// Blackwell's transport.
struct Mnoc {
    expected: usize,
    inbox: Vec<u32>,
    began: Duration,
    outbox: VecDeque<u32>,
    ready: Duration,
}

/// A device.
pub(super) struct Simulated {
    model: Model,
    timing: Timing,
    pub(super) processor: Processor,
    emem: Emem,
    mnoc: Mnoc,
    /// What the mode registers show: CC bits, PPCIe.
    active: (u32, bool),
    started: Duration,
    firewall: Duration,
    pub(super) gone: bool,
    pub(super) stuck: bool,
    pub(super) resets: u32,
}

impl Simulated {
    pub(super) fn new(model: Model, timing: Timing) -> Self {
        let ids: &[u8] = match model {
            Model::A100 => &[],
            Model::Rtx5090 => &[9, 10],
            // Blackwell has no PPCIe.
            Model::B200 | Model::RtxPro6000 => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 33, 34],
            Model::H100 | Model::NvSwitch => &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 33, 34, 44, 45],
        };
        let permissions = [1, 3, 5, 7, 9, 33, 44];
        let knobs = ids.iter().map(|id| (*id, u16::from(permissions.contains(id)))).collect();
        Self {
            model,
            timing,
            processor: Processor { knobs, message: Vec::new() },
            emem: Emem {
                memory: vec![0; 2048],
                offset: 0,
                command: (EMEM_BASE, EMEM_BASE),
                message: (EMEM_BASE, EMEM_BASE),
                ready: Duration::ZERO,
            },
            mnoc: Mnoc {
                expected: 0,
                inbox: Vec::new(),
                began: Duration::ZERO,
                outbox: VecDeque::new(),
                ready: Duration::ZERO,
            },
            active: (0, false),
            started: Duration::ZERO,
            firewall: Duration::ZERO,
            gone: false,
            stuck: false,
            resets: 0,
        }
    }

    pub(super) fn kind(&self) -> DeviceKind {
        if self.model == Model::NvSwitch { DeviceKind::NvSwitch } else { DeviceKind::Gpu }
    }

    pub(super) fn class(&self) -> u32 {
        match self.model {
            Model::NvSwitch => 0x06_8000,
            Model::RtxPro6000 | Model::Rtx5090 => 0x03_0000,
            _ => 0x03_0200,
        }
    }

    pub(super) fn device_id(&self) -> u16 {
        match self.model {
            Model::H100 => 0x2330,
            Model::B200 => 0x2901,
            Model::RtxPro6000 => 0x2bb5,
            Model::Rtx5090 => 0x2b85,
            Model::NvSwitch => 0x22a3,
            Model::A100 => 0x20b0,
        }
    }

    fn boot(&self) -> u32 {
        match self.model {
            Model::H100 => 0x1800_00a1,
            Model::B200 => 0x1a00_00a1,
            Model::RtxPro6000 | Model::Rtx5090 => 0x1b20_00a1,
            Model::NvSwitch => 0x70_00a1,
            Model::A100 => 0x1700_00a1,
        }
    }

    pub(super) fn chip(&self) -> Option<Chip> {
        Chip::of_boot(self.kind(), self.boot())
    }

    pub(super) fn mode(&self) -> Observed {
        let Some(chip) = self.chip() else { return Observed::Mode(Mode::Off) };
        let (cc, ppcie) = self.mode_registers();
        chip.observed(cc, ppcie)
    }

    fn mode_registers(&self) -> (u32, u32) {
        let (cc, ppcie) = self.active;
        match self.model {
            Model::H100 => (cc | u32::from(ppcie) << 5, cc | u32::from(ppcie) << 5),
            _ => (cc, u32::from(ppcie)),
        }
    }

    pub(super) fn put_at(&mut self, chip: Chip, mode: Mode) {
        if chip.can(mode) {
            for setting in settings(chip, mode) {
                self.processor.knobs.insert(setting.knob.id(), setting.value);
            }
            self.reset(Duration::ZERO, false);
            (self.started, self.firewall, self.gone, self.resets) = (Duration::ZERO, Duration::ZERO, false, 0);
        }
    }

    fn activate(&mut self) {
        let knob = |id| u32::from(self.processor.knobs.get(&id).copied().unwrap_or(0));
        self.active = (knob(8) & 1 | (knob(6) & 1) << 1, knob(45) == 1);
    }

    /// What the kernel does, and what the firmware does then.
    pub(super) fn reset(&mut self, now: Duration, keeps_mode: bool) {
        self.resets += 1;
        self.stuck = false;
        if !keeps_mode {
            self.activate();
        }
        self.processor.message.clear();
        self.emem.command = (EMEM_BASE, EMEM_BASE);
        self.emem.message = (EMEM_BASE, EMEM_BASE);
        self.mnoc.expected = 0;
        self.mnoc.inbox.clear();
        self.mnoc.outbox.clear();
        self.started = now + self.timing.start;
        if self.has_firewall() {
            self.firewall = now + self.timing.firewall;
        }
    }

    fn has_firewall(&self) -> bool {
        matches!(self.model, Model::B200 | Model::RtxPro6000 | Model::Rtx5090)
    }

    pub(super) fn config(&self, now: Duration) -> ConfigSpace {
        let mut bytes = vec![0; 4096];
        let mut put = |offset: usize, word: u32| bytes[offset..offset + 4].copy_from_slice(&word.to_le_bytes());
        put(0, u32::from(self.device_id()) << 16 | 0x10de);
        // Accesses to memory are answered.
        put(4, 0x0010_0002);
        put(8, self.class() << 8 | 0xa1);
        put(0x100, 0x1402_0001);
        if self.has_firewall() {
            put(0x140, 0x0001_0023);
            put(0x144, 0x0200_10de);
            put(0x148, u32::from(now < self.firewall) << 20);
        }
        ConfigSpace(bytes)
    }

    /// Registers that only show something, for the file that can be mapped.
    pub(super) fn shown(&self) -> Vec<(u32, u32)> {
        let mut shown = vec![(0, self.boot())];
        if let Some(layout) = self.chip().map(Chip::layout) {
            let (cc, ppcie) = self.mode_registers();
            shown.push((layout.boot, 0xff));
            shown.extend(layout.ppcie.map(|bit| (bit.register, ppcie)));
            shown.extend(layout.cc.map(|register| (register, cc)));
        }
        shown
    }

    pub(super) fn read(&mut self, offset: u32, now: Duration) -> u32 {
        if self.gone || now < self.firewall {
            return u32::MAX;
        }
        let starting = now < self.started || self.stuck;
        let boot = self.chip().map(|chip| chip.layout().boot);
        if Some(offset) == boot && starting {
            return if self.has_firewall() { 0xbadf_5620 } else { 0x3 };
        }
        if let Some((_, value)) = self.shown().iter().find(|(register, _)| *register == offset) {
            return *value;
        }
        match offset {
            EMEM_DATA => {
                let word = self.emem.memory.get(self.emem.offset as usize / 4).copied().unwrap_or_default();
                self.emem.offset += 4;
                word
            }
            COMMAND_HEAD => self.emem.command.0,
            COMMAND_TAIL => self.emem.command.1,
            MESSAGE_HEAD => self.emem.message.0,
            // Until the answer is there the queue looks empty.
            MESSAGE_TAIL if now < self.emem.ready => self.emem.message.0,
            MESSAGE_TAIL => self.emem.message.1,
            MNOC_RECEIVE => {
                let ready = self.mnoc.expected == 0 || now >= self.mnoc.began + STALE;
                u32::from(ready) << 24 | 1 << 26
            }
            MNOC_SEND if !self.mnoc.outbox.is_empty() && now >= self.mnoc.ready => {
                1 << 24 | (self.mnoc.outbox.len() as u32 * 4)
            }
            MNOC_SEND_DATA => self.mnoc.outbox.pop_front().unwrap_or(0xbadf_0000),
            _ => 0,
        }
    }

    /// Whether a write to this register completes a packet.
    pub(super) fn is_request(&self, offset: u32) -> bool {
        match offset {
            COMMAND_HEAD => self.emem.command.1 != EMEM_BASE,
            MNOC_RECEIVE_DATA => self.mnoc.expected == self.mnoc.inbox.len() + 1,
            _ => false,
        }
    }

    /// Whether a write to this register hands over a new value of a knob.
    pub(super) fn writes_knob(&self, offset: u32) -> bool {
        let command = match offset {
            COMMAND_HEAD => self.emem.memory.get(EMEM_BASE as usize / 4 + 2),
            _ => self.mnoc.inbox.get(2),
        };
        self.is_request(offset) && command.is_some_and(|word| word & 0xff == 0xd)
    }

    pub(super) fn write(&mut self, offset: u32, value: u32, now: Duration, troubles: Troubles) {
        if self.gone || now < self.firewall {
            return;
        }
        let ready = now + self.timing.answer;
        match offset {
            EMEM_WINDOW => self.emem.offset = value & 0xff_fffc,
            EMEM_DATA => {
                if let Some(word) = self.emem.memory.get_mut(self.emem.offset as usize / 4) {
                    *word = value;
                }
                self.emem.offset += 4;
            }
            COMMAND_TAIL => self.emem.command.1 = value,
            COMMAND_HEAD => {
                self.emem.command.0 = value;
                if value == EMEM_BASE && self.emem.command.1 > value {
                    let words = (self.emem.command.1 - value) as usize / 4 + 1;
                    let first = EMEM_BASE as usize / 4;
                    let packet: Vec<u32> = self.emem.memory.iter().skip(first).take(words).copied().collect();
                    self.emem.command.1 = value;
                    if let Some(answer) = self.processor.packet(&packet, troubles) {
                        self.emem.memory[first..first + answer.len()].copy_from_slice(&answer);
                        self.emem.message = (EMEM_BASE, EMEM_BASE + (answer.len() as u32 - 1) * 4);
                        self.emem.ready = ready;
                    }
                }
            }
            MESSAGE_HEAD => self.emem.message.0 = value,
            MESSAGE_TAIL => self.emem.message.1 = value,
            MNOC_RECEIVE if value & 1 << 20 != 0 => {
                self.mnoc.expected = (value & 0xf_ffff) as usize / 4;
                self.mnoc.inbox.clear();
                self.mnoc.began = now;
            }
            MNOC_RECEIVE_DATA if self.mnoc.expected > 0 => {
                self.mnoc.inbox.push(value);
                if self.mnoc.inbox.len() == self.mnoc.expected {
                    self.mnoc.expected = 0;
                    let packet = std::mem::take(&mut self.mnoc.inbox);
                    if let Some(answer) = self.processor.packet(&packet, troubles) {
                        self.mnoc.outbox = answer.into();
                        self.mnoc.ready = ready;
                    }
                }
            }
            _ => {}
        }
    }
}
