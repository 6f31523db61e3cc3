use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Mutex;

use super::*;
use crate::simulated::VirtualClock;

/// Registers that answer what a test says, and remember writes.
#[derive(Default)]
struct Script {
    answers: Mutex<Vec<(u32, VecDeque<u32>)>>,
    written: Mutex<Vec<(u32, u32)>>,
}

impl Script {
    /// The values that a register shows one after the other; the last one stays.
    fn shows(self, register: u32, values: &[u32]) -> Self {
        self.answers.lock().unwrap().push((register, values.iter().copied().collect()));
        self
    }
}

impl Registers for Script {
    fn read32(&self, offset: u32) -> Result<u32, RegisterError> {
        let mut answers = self.answers.lock().unwrap();
        let found = answers.iter_mut().find(|(register, _)| *register == offset);
        Ok(found.map_or(0, |(_, values)| {
            if values.len() > 1 { values.pop_front().unwrap() } else { values.front().copied().unwrap_or(0) }
        }))
    }

    fn write32(&self, offset: u32, value: u32) -> Result<(), RegisterError> {
        self.written.lock().unwrap().push((offset, value));
        Ok(())
    }
}

#[test]
fn a_request_through_memory_is_written_as_documented() {
    let answer = [0xc000_0000, 0x1510_de7e, 0, 0x13, 0, 0xdead_0001];
    let script = Script::default()
        .shows(0x8f_2c90, &[0x800])
        // Empty when the conversation begins, then with six words.
        .shows(0x8f_2c94, &[0x800, 0x814])
        .shows(0x8f_2ad4, &answer);
    let clock = VirtualClock::default();
    let fsp = Fsp::open(&script, &clock, Transport::Emem).unwrap();
    assert_eq!(fsp.read(Knob::CCM), Ok(1));
    assert_eq!(
        *script.written.lock().unwrap(),
        [
            (0x8f_2ad0, 0x0300_0800),
            (0x8f_2ad4, 0xc000_0000),
            (0x8f_2ad4, 0x1310_de7e),
            (0x8f_2ad4, 0x0008_020c),
            (0x8f_2c14, 0x808),
            (0x8f_2c10, 0x800),
            (0x8f_2ad0, 0x0300_0800),
            (0x8f_2c94, 0x800),
        ]
    );
}

#[test]
fn a_request_through_the_mailbox_is_written_as_documented() {
    let script = Script::default()
        .shows(0x8f_1f84, &[0x0500_0000])
        .shows(0x8f_1f04, &[0, 0x0100_0014, 0])
        .shows(0x8f_1f08, &[0xc000_0000, 0x1510_de7e, 0, 0x13, 0]);
    let clock = VirtualClock::default();
    let fsp = Fsp::open(&script, &clock, Transport::Mnoc).unwrap();
    assert_eq!(fsp.write(Knob::PPCIE, 1), Ok(()));
    assert_eq!(
        *script.written.lock().unwrap(),
        [
            (0x8f_1f84, 16 | 1 << 20),
            (0x8f_1f88, 0xc000_0000),
            (0x8f_1f88, 0x1310_de7e),
            (0x8f_1f88, 0x002d_020d),
            (0x8f_1f88, 1),
        ]
    );
}

#[test]
fn a_tail_outside_of_the_channel_is_refused() {
    for tail in [0x7fc, 0xc00, 0x802, u32::MAX] {
        let script = Script::default().shows(0x8f_2c90, &[0x800]).shows(0x8f_2c94, &[0x800, tail]);
        let clock = VirtualClock::default();
        let fsp = Fsp::open(&script, &clock, Transport::Emem).unwrap();
        let answer = fsp.read(Knob::CCM);
        assert!(
            matches!(answer, Err(FspError::Malformed { problem: "the tail of the queue", got, .. }) if got == tail),
            "{tail:#x} {answer:?}"
        );
    }
}

#[test]
fn a_mailbox_with_an_endless_answer_is_refused() {
    let script = Script::default().shows(0x8f_1f84, &[0x0500_0000]).shows(0x8f_1f04, &[0, 0x010f_ffff]);
    let clock = VirtualClock::default();
    let fsp = Fsp::open(&script, &clock, Transport::Mnoc).unwrap();
    assert!(matches!(
        fsp.read(Knob::CCM),
        Err(FspError::Malformed { problem: "the size in the mailbox", got: 0xf_ffff, .. })
    ));
}

#[test]
fn a_mailbox_that_reports_an_error_is_named() {
    let script = Script::default().shows(0x8f_1f84, &[0x0700_0000]);
    let clock = VirtualClock::default();
    let fsp = Fsp::open(&script, &clock, Transport::Mnoc).unwrap();
    assert_eq!(fsp.read(Knob::CCM), Err(FspError::Mailbox { info: 0x0700_0000 }));
    // While an answer was waited for, too.
    let script = Script::default().shows(0x8f_1f84, &[0x0500_0000]).shows(0x8f_1f04, &[0, 0x0200_0000]);
    let fsp = Fsp::open(&script, &clock, Transport::Mnoc).unwrap();
    assert_eq!(fsp.read(Knob::CCM), Err(FspError::Mailbox { info: 0x0200_0000 }));
}

#[test]
fn a_processor_that_takes_nothing_is_given_up() {
    let clock = VirtualClock::default();
    let script = Script::default().shows(0x8f_1f84, &[0]);
    let fsp = Fsp::open(&script, &clock, Transport::Mnoc).unwrap();
    assert_eq!(fsp.read(Knob::CCM), Err(FspError::Timeout { waiting: Waiting::ToSend, limit: Duration::from_secs(5) }));
    // A queue that fills up and stays so.
    let script = Script::default().shows(0x8f_2c10, &[0, 0x800]).shows(0x8f_2c14, &[0, 0x804]);
    let fsp = Fsp::open(&script, &clock, Transport::Emem).unwrap();
    assert_eq!(fsp.read(Knob::CCM), Err(FspError::Timeout { waiting: Waiting::ToSend, limit: Duration::from_secs(1) }));
}

/// A transport that hands back an answer and remembers what was sent.
#[derive(Clone, Copy)]
struct Echo<'a>(&'a RefCell<Vec<Vec<u32>>>, &'a [u32]);

impl Link for Echo<'_> {
    const PACKET: usize = 3;

    fn send(&self, _: &dyn Registers, _: &dyn Clock, words: &[u32]) -> Result<(), FspError> {
        self.0.borrow_mut().push(words.to_vec());
        Ok(())
    }

    fn receive(&self, _: &dyn Registers, _: &dyn Clock) -> Result<Vec<u32>, FspError> {
        Ok(self.1.to_vec())
    }

    fn settle(&self, _: &dyn Registers, _: &dyn Clock) -> Result<(), FspError> {
        Ok(())
    }
}

#[test]
fn answers_with_too_little_or_too_much_data_are_refused() {
    let script = Script::default();
    let clock = VirtualClock::default();
    let fsp = Fsp { registers: &script, clock: &clock, transport: Transport::Emem };
    let sent = RefCell::new(Vec::new());
    let request = Request::Read(Knob::CCM);
    let good = [0xc000_0000, 0x1510_de7e, 0, 0x13, 0, 7];
    assert_eq!(fsp.exchange(Echo(&sent, &good), request, &[1, 2, 3]), Ok(vec![7]));
    assert_eq!(sent.borrow().len(), 2);
    let refused = [0xc000_0000, 0x1510_de7e, 0, 0x13, 0x44];
    assert_eq!(
        fsp.exchange(Echo(&sent, &refused), request, &[1]),
        Err(FspError::Refused { request, status: Status::Other(0x44) })
    );
    assert!(exactly(&[], 1).is_err() && exactly(&[1, 2], 1).is_err() && exactly(&[1], 0).is_err());
}
