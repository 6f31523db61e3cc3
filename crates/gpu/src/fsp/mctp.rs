//! Framing: MCTP packets (DMTF DSP0236) that carry vendor-defined messages of NVIDIA's.

use super::{FspError, MAX_WORDS};

/// Bits of a packet's header: start and end of message, and where the packet's number modulo 4 begins.
const SOM: u32 = 1 << 31;
const EOM: u32 = 1 << 30;
const SEQUENCE: u32 = 28;
/// The message header up to the type of NVIDIA's: vendor-defined by PCI id (0x7e), without integrity check, 10de.
const VENDOR: u32 = 0x7e | 0x10de << 8;
const TYPE: u32 = 24;
const INTEGRITY: u32 = 1 << 7;
/// The type of every answer.
const ANSWER: u8 = 0x15;
/// Words before an answer's data: packet header, message header, task, type of the request, status.
const ANSWER_HEADER: usize = 5;

/// A request as packets of at most `longest` words.
pub(super) fn packets(kind: u8, data: &[u32], longest: usize) -> Vec<Vec<u32>> {
    let mut message = vec![VENDOR | u32::from(kind) << TYPE];
    message.extend_from_slice(data);
    // One word of each packet is its header.
    let pieces: Vec<&[u32]> = message.chunks(longest.saturating_sub(1).max(1)).collect();
    let last = pieces.len().saturating_sub(1);
    let packet = |(number, piece): (usize, &&[u32])| {
        let sequence = u32::try_from(number % 4).unwrap_or_default();
        let mut header = sequence << SEQUENCE;
        if number == 0 {
            header |= SOM;
        }
        if number == last {
            header |= EOM;
        }
        let mut words = vec![header];
        words.extend_from_slice(piece);
        words
    };
    pieces.iter().enumerate().map(packet).collect()
}

/// Status and data of an answer to a request of this type. Answers here are short, so one in several packets is
/// refused.
pub(super) fn answer(words: &[u32], kind: u8) -> Result<(u32, &[u32]), FspError> {
    let count = u32::try_from(words.len()).unwrap_or(u32::MAX);
    if words.len() > MAX_WORDS {
        let expected = u32::try_from(MAX_WORDS).unwrap_or(u32::MAX);
        return Err(FspError::Malformed { problem: "the number of words", got: count, expected });
    }
    let Some((&[packet, message, _task, request, status], data)) = words.split_first_chunk::<ANSWER_HEADER>() else {
        return Err(FspError::Malformed { problem: "the number of words", got: count, expected: 5 });
    };
    let wanted = |problem, got, expected| {
        if got == expected { Ok(()) } else { Err(FspError::Malformed { problem, got, expected }) }
    };
    wanted("the packet's place in its message", packet & (SOM | EOM), SOM | EOM)?;
    // Whether an integrity check follows (bit 7) says nothing about what this is.
    wanted("the message's type", message & !INTEGRITY, VENDOR | u32::from(ANSWER) << TYPE)?;
    wanted("the request that is answered", request, u32::from(kind))?;
    Ok((status, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_request_is_one_packet() {
        assert_eq!(packets(0x13, &[0x0008_020c], 256), [vec![0xc000_0000, 0x1310_de7e, 0x0008_020c]]);
    }

    #[test]
    fn a_long_request_is_numbered_modulo_four_with_start_and_end() {
        let data: Vec<u32> = (1..=11).collect();
        let packets = packets(0x13, &data, 3);
        assert_eq!(packets.len(), 6);
        let headers: Vec<u32> = packets.iter().map(|packet| packet[0]).collect();
        assert_eq!(headers, [0x8000_0000, 0x1000_0000, 0x2000_0000, 0x3000_0000, 0, 0x5000_0000]);
        let message: Vec<u32> = packets.iter().flat_map(|packet| packet[1..].to_vec()).collect();
        assert_eq!(message[0], 0x1310_de7e);
        assert_eq!(message[1..], data);
    }

    #[test]
    fn a_request_that_just_fits_is_not_divided() {
        assert_eq!(packets(0x13, &[1, 2], 4).len(), 1);
        assert_eq!(packets(0x13, &[1, 2, 3], 4).len(), 2);
    }

    const GOOD: [u32; 6] = [0xc000_0000, 0x1510_de7e, 0, 0x13, 0, 0xffff_0001];

    #[test]
    fn an_answer_has_status_and_data() {
        assert_eq!(answer(&GOOD, 0x13), Ok((0, &[0xffff_0001][..])));
        assert_eq!(answer(&[0xc000_0000, 0x1510_defe, 9, 0x13, 0x1e3], 0x13), Ok((0x1e3, &[][..])));
    }

    #[test]
    fn each_part_of_an_answer_is_checked() {
        let problem = |words: &[u32]| match answer(words, 0x13) {
            Err(FspError::Malformed { problem, .. }) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(problem(&[]), "the number of words");
        assert_eq!(problem(&GOOD[..4]), "the number of words");
        assert_eq!(problem(&vec![0; MAX_WORDS + 1]), "the number of words");
        for (place, word, expected) in [
            (0, 0x8000_0000, "the packet's place in its message"),
            (0, 0x4000_0000, "the packet's place in its message"),
            (1, 0x1310_de7e, "the message's type"),
            (1, 0x1510_de7d, "the message's type"),
            (1, 0x1510_dd7e, "the message's type"),
            (3, 0x14, "the request that is answered"),
        ] {
            let mut bad = GOOD;
            bad[place] = word;
            assert_eq!(problem(&bad), expected);
        }
    }
}
