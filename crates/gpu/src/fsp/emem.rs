//! The transport of Hopper and of the third NVSwitch: a window into the processor's external memory (EMEM), a command
//! queue and a message queue, one pair for each of eight channels.

use super::{FspError, Link, MAX_WORDS, Waiting};
use crate::clock::{Clock, Patience, wait_for};
use crate::registers::{RegisterError, Registers};

/// The channel that management software uses.
pub(super) const CHANNEL: Channel = Channel(2);

/// Bytes of memory that each channel has, hence the longest packet.
const SHARE: u32 = 1024;
/// The window's control registers and its flags that the offset advances with each access; its data follows at +4.
const WINDOW: u32 = 0x8f_2ac0;
const ADVANCE: u32 = 1 << 24 | 1 << 25;
/// Queues: head, and tail at +4. A queue with both equal is empty; the tail is where the last word is.
const COMMAND: u32 = 0x8f_2c00;
const MESSAGE: u32 = 0x8f_2c80;

/// How long a request may lie in the queue, and an answer may take.
const TO_SEND: Patience = Patience::millis(1_000, 1);
const FOR_ANSWER: Patience = Patience::millis(5_000, 10);

#[derive(Clone, Copy)]
pub(super) struct Channel(u32);

impl Channel {
    const fn base(self) -> u32 {
        self.0 * SHARE
    }

    const fn window(self) -> u32 {
        WINDOW + 8 * self.0
    }

    const fn command(self) -> u32 {
        COMMAND + 8 * self.0
    }

    const fn message(self) -> u32 {
        MESSAGE + 8 * self.0
    }
}

/// Head and tail of a queue; `None` when it is empty.
fn queued(registers: &dyn Registers, queue: u32) -> Result<Option<(u32, u32)>, RegisterError> {
    let ends = (registers.read32(queue)?, registers.read32(queue + 4)?);
    Ok((ends.0 != ends.1).then_some(ends))
}

impl Link for Channel {
    const PACKET: usize = 1024 / 4;

    fn settle(&self, registers: &dyn Registers, clock: &dyn Clock) -> Result<(), FspError> {
        if queued(registers, self.command())?.is_none() && queued(registers, self.message())?.is_none() {
            return Ok(());
        }
        // Somebody was interrupted between a request and its answer. The answer is let come, so that it is not taken
        // for ours.
        wait_for(clock, FOR_ANSWER, || queued(registers, self.message()))?;
        for (register, value) in [
            (self.command() + 4, self.base()),
            (self.command(), self.base()),
            (self.message() + 4, self.base()),
            (self.message(), self.base()),
        ] {
            registers.write32(register, value)?;
        }
        Ok(())
    }

    fn send(&self, registers: &dyn Registers, clock: &dyn Clock, words: &[u32]) -> Result<(), FspError> {
        let empty = || Ok::<_, RegisterError>(queued(registers, self.command())?.is_none().then_some(()));
        if wait_for(clock, TO_SEND, empty)?.is_none() {
            return Err(FspError::Timeout { waiting: Waiting::ToSend, limit: TO_SEND.limit });
        }
        registers.write32(self.window(), self.base() | ADVANCE)?;
        let mut tail = self.base();
        for (number, word) in words.iter().enumerate() {
            registers.write32(self.window() + 4, *word)?;
            if number > 0 {
                tail += 4;
            }
        }
        // The head last: writing it is what the processor notices.
        registers.write32(self.command() + 4, tail)?;
        registers.write32(self.command(), self.base())?;
        Ok(())
    }

    fn receive(&self, registers: &dyn Registers, clock: &dyn Clock) -> Result<Vec<u32>, FspError> {
        let Some((head, tail)) = wait_for(clock, FOR_ANSWER, || queued(registers, self.message()))? else {
            return Err(FspError::Timeout { waiting: Waiting::ForAnswer, limit: FOR_ANSWER.limit });
        };
        // The tail is the device's word: it must lie within the channel's share of memory.
        let words = match tail.checked_sub(head) {
            Some(bytes) if bytes < SHARE && bytes % 4 == 0 => bytes / 4 + 1,
            _ => return Err(FspError::Malformed { problem: "the tail of the queue", got: tail, expected: head }),
        };
        registers.write32(self.window(), self.base() | ADVANCE)?;
        let mut answer = Vec::with_capacity(MAX_WORDS.min(Self::PACKET));
        for _ in 0..words {
            answer.push(registers.read32(self.window() + 4)?);
        }
        // Taken, whatever it says.
        registers.write32(self.message() + 4, head)?;
        Ok(answer)
    }
}
