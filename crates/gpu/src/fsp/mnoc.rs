//! The transport of Blackwell: a mailbox for each direction on the management network of the chip (MNOC).
//!
//! Names are the device's: it receives what we send.

use super::{FspError, Link, MAX_WORDS, Waiting};
use crate::clock::{Clock, Patience, wait_for};
use crate::registers::{RegisterError, Registers};

/// The port that management software uses; it takes packets of 4160 bytes.
pub(super) const PORT: Port = Port(0);

const BASE: u32 = 0x8f_1e00;
/// The mailboxes' state; their data follow at +4.
const SEND: u32 = BASE + 0x104;
const RECEIVE: u32 = BASE + 0x184;
/// Bits of the state.
const READY: u32 = 1 << 24;
const ERROR: u32 = 1 << 25;
const CREDIT: u32 = 1 << 26;
const BEGIN: u32 = 1 << 20;
const SIZE: u32 = 0xf_ffff;
/// After so many words there must be credit for more.
const CREDIT_WORDS: usize = 64 / 4;

const TO_BEGIN: Patience = Patience::millis(5_000, 1);
const TO_GO_ON: Patience = Patience::millis(1_000, 1);
const FOR_ANSWER: Patience = Patience::millis(5_000, 1);

#[derive(Clone, Copy)]
pub(super) struct Port(u32);

impl Port {
    const fn send_state(self) -> u32 {
        SEND + 12 * self.0
    }

    const fn receive_state(self) -> u32 {
        RECEIVE + 12 * self.0
    }
}

/// A mailbox's state, unless it reports an error.
fn state(registers: &dyn Registers, mailbox: u32) -> Result<u32, FspError> {
    let info = registers.read32(mailbox)?;
    if info & ERROR != 0 { Err(FspError::Mailbox { info }) } else { Ok(info) }
}

fn wait_for_bit(
    registers: &dyn Registers,
    clock: &dyn Clock,
    mailbox: u32,
    bit: u32,
    patience: Patience,
) -> Result<(), FspError> {
    let look = || Ok::<_, RegisterError>((registers.read32(mailbox)? & bit != 0).then_some(()));
    match wait_for(clock, patience, look)? {
        Some(()) => Ok(()),
        None => Err(FspError::Timeout { waiting: Waiting::ToSend, limit: patience.limit }),
    }
}

impl Port {
    /// Takes the words of an answer whose size the device gave.
    fn take(self, registers: &dyn Registers, info: u32) -> Result<Vec<u32>, FspError> {
        let size = usize::try_from(info & SIZE).unwrap_or(usize::MAX);
        if size > MAX_WORDS * 4 {
            let expected = u32::try_from(MAX_WORDS * 4).unwrap_or(u32::MAX);
            return Err(FspError::Malformed { problem: "the size in the mailbox", got: info & SIZE, expected });
        }
        let mut answer = Vec::with_capacity(size.div_ceil(4));
        for _ in 0..size.div_ceil(4) {
            answer.push(registers.read32(self.send_state() + 4)?);
        }
        Ok(answer)
    }
}

impl Link for Port {
    const PACKET: usize = 4160 / 4;

    fn settle(&self, registers: &dyn Registers, _clock: &dyn Clock) -> Result<(), FspError> {
        // An answer that nobody took belongs to an interrupted predecessor.
        let info = registers.read32(self.send_state())?;
        if info & READY != 0 {
            self.take(registers, info)?;
        }
        Ok(())
    }

    fn send(&self, registers: &dyn Registers, clock: &dyn Clock, words: &[u32]) -> Result<(), FspError> {
        let mailbox = self.receive_state();
        state(registers, mailbox)?;
        wait_for_bit(registers, clock, mailbox, READY, TO_BEGIN)?;
        let size = u32::try_from(words.len() * 4).unwrap_or(u32::MAX) & SIZE;
        registers.write32(mailbox, size | BEGIN)?;
        for (number, word) in words.iter().enumerate() {
            if number % CREDIT_WORDS == 0 {
                wait_for_bit(registers, clock, mailbox, CREDIT, TO_GO_ON)?;
            }
            registers.write32(mailbox + 4, *word)?;
        }
        state(registers, mailbox)?;
        Ok(())
    }

    fn receive(&self, registers: &dyn Registers, clock: &dyn Clock) -> Result<Vec<u32>, FspError> {
        let mailbox = self.send_state();
        let look = || {
            let info = registers.read32(mailbox)?;
            Ok::<_, RegisterError>((info & READY != 0).then_some(info))
        };
        let Some(info) = wait_for(clock, FOR_ANSWER, look)? else {
            // Errors are cleared as an answer is put there, so they say something only when there is none.
            state(registers, mailbox)?;
            return Err(FspError::Timeout { waiting: Waiting::ForAnswer, limit: FOR_ANSWER.limit });
        };
        let answer = self.take(registers, info)?;
        state(registers, mailbox)?;
        Ok(answer)
    }
}
