//! The security processor of a GPU or switch (FSP), which keeps the knobs that a mode is made of.
//!
//! Requests are framed as MCTP messages of NVIDIA's (`mctp`) and travel through a window into the processor's memory
//! (`emem`, Hopper and the third NVSwitch) or a mailbox (`mnoc`, Blackwell). Both are bounded: every wait has a limit,
//! and so has every answer.

mod emem;
mod knob;
mod mctp;
mod mnoc;

use std::fmt;
use std::time::Duration;

pub use knob::Knob;

use crate::chip::Transport;
use crate::clock::Clock;
use crate::registers::{RegisterError, Registers};

/// The message type of product configuration (PRC) requests.
const PRC: u8 = 0x13;
/// PRC sub-messages, and the flag of a knob's persistent value.
const KNOB_READ: u32 = 0xc | 2 << 8;
const KNOB_WRITE: u32 = 0xd | 2 << 8;
/// LIMIT: words of an answer; the larger of the two transports takes 4160 bytes.
const MAX_WORDS: usize = 4160 / 4;

/// What the processor was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Waiting {
    /// That it takes a request.
    ToSend,
    /// Its answer.
    ForAnswer,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToSend => "does not take a request",
            Self::ForAnswer => "does not answer",
        })
    }
}

/// What the processor says of a request that it took and did not carry out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Status {
    /// Its firmware does not know the knob.
    InvalidKnob,
    /// A code whose meaning is not published.
    Other(u32),
}

impl Status {
    const fn of(code: u32) -> Self {
        match code {
            0x1e3 => Self::InvalidKnob,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidKnob => f.write_str("its firmware does not know the knob (0x1e3)"),
            Self::Other(code) => write!(f, "status {code:#x}"),
        }
    }
}

/// A request to the security processor that came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FspError {
    /// It said nothing in time.
    #[error("the security processor {waiting} within {} ms", limit.as_millis())]
    Timeout {
        /// What it was waited for.
        waiting: Waiting,
        /// How long.
        limit: Duration,
    },
    /// It refused.
    #[error("the security processor refuses to {request}: {status}")]
    Refused {
        /// What was asked.
        request: Request,
        /// Why not.
        status: Status,
    },
    /// Its mailbox reports an error.
    #[error("the security processor's mailbox reports an error ({info:#010x})")]
    Mailbox {
        /// The mailbox's state.
        info: u32,
    },
    /// It answered something else than was asked.
    #[error("the security processor's answer is malformed: {problem} is {got:#x}, not {expected:#x}")]
    Malformed {
        /// Which part.
        problem: &'static str,
        /// What it is.
        got: u32,
        /// What it should be.
        expected: u32,
    },
    /// Its registers cannot be reached.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

impl FspError {
    /// Whether a reset of the device may help: the processor is not there, or no longer understood.
    pub fn is_lost(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// What is asked of the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Request {
    /// The value of a knob.
    Read(Knob),
    /// A new value of a knob, from the next reset on.
    Write(Knob, u16),
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(knob) => write!(f, "read knob {knob}"),
            Self::Write(knob, value) => write!(f, "write {value} to knob {knob}"),
        }
    }
}

/// A way to send words and get words back. One request is under way at a time.
trait Link {
    /// The longest packet, in words.
    const PACKET: usize;
    /// Sends one packet.
    fn send(&self, registers: &dyn Registers, clock: &dyn Clock, words: &[u32]) -> Result<(), FspError>;
    /// Waits for one packet.
    fn receive(&self, registers: &dyn Registers, clock: &dyn Clock) -> Result<Vec<u32>, FspError>;
    /// Clears away what an interrupted predecessor left.
    fn settle(&self, registers: &dyn Registers, clock: &dyn Clock) -> Result<(), FspError>;
}

/// A conversation with the security processor of one device.
pub struct Fsp<'a> {
    registers: &'a dyn Registers,
    clock: &'a dyn Clock,
    transport: Transport,
}

impl<'a> Fsp<'a> {
    /// Begins a conversation. The device's firmware must have started.
    pub(crate) fn open(
        registers: &'a dyn Registers,
        clock: &'a dyn Clock,
        transport: Transport,
    ) -> Result<Self, FspError> {
        match transport {
            Transport::Emem => emem::CHANNEL.settle(registers, clock)?,
            Transport::Mnoc => mnoc::PORT.settle(registers, clock)?,
        }
        Ok(Self { registers, clock, transport })
    }

    /// The value that a knob will have from the next reset on.
    pub fn read(&self, knob: Knob) -> Result<u16, FspError> {
        let data = self.ask(Request::Read(knob), &[KNOB_READ | u32::from(knob.id()) << 16])?;
        let word = exactly(&data, 1)?.first().copied().unwrap_or_default();
        // The upper half is not initialised.
        Ok(u16::try_from(word & 0xffff).unwrap_or_default())
    }

    /// Sets the value that a knob will have from the next reset on.
    pub fn write(&self, knob: Knob, value: u16) -> Result<(), FspError> {
        let words = [KNOB_WRITE | u32::from(knob.id()) << 16, u32::from(value)];
        exactly(&self.ask(Request::Write(knob, value), &words)?, 0)?;
        Ok(())
    }

    fn ask(&self, request: Request, data: &[u32]) -> Result<Vec<u32>, FspError> {
        match self.transport {
            Transport::Emem => self.exchange(emem::CHANNEL, request, data),
            Transport::Mnoc => self.exchange(mnoc::PORT, request, data),
        }
    }

    fn exchange<L: Link>(&self, link: L, request: Request, data: &[u32]) -> Result<Vec<u32>, FspError> {
        for packet in mctp::packets(PRC, data, L::PACKET) {
            link.send(self.registers, self.clock, &packet)?;
        }
        let answer = link.receive(self.registers, self.clock)?;
        let (status, data) = mctp::answer(&answer, PRC)?;
        if status != 0 {
            return Err(FspError::Refused { request, status: Status::of(status) });
        }
        Ok(data.to_vec())
    }
}

fn exactly(data: &[u32], words: usize) -> Result<&[u32], FspError> {
    if data.len() == words {
        return Ok(data);
    }
    let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
    Err(FspError::Malformed { problem: "the number of data words", got: count(data.len()), expected: count(words) })
}

#[cfg(test)]
mod tests;
