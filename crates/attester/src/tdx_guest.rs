//! TDX quotes without configfs: a TDREPORT from `/dev/tdx_guest`, and a quote of it from the host's quoting service over
//! vsock, as Intel's own library does.
//!
//! A TDREPORT carries a MAC that only this very machine can check. It is no Evidence, and without the service there is none.
//! Messages are those of Intel's `qgs_msg_lib`, version 1.0.

use nix::errno::Errno;
use protocol::{Evidence, ReportData, Tee};

use crate::AttestError;
use crate::kernel::Kernel;

pub(crate) const DEVICE: &str = "/dev/tdx_guest";

/// Where Intel's library reads the port, and what it is by default.
const CONFIGURATION: &str = "/etc/tdx-attest.conf";
const PORT: u32 = 4050;
/// LIMIT: a line `port=N`, and comments.
const MAX_CONFIGURATION: usize = 4096;

/// Version 1.0, in 16 bits each.
const VERSION: [u8; 4] = [1, 0, 0, 0];
const GET_QUOTE_REQUEST: u32 = 0;
const GET_QUOTE_RESPONSE: u32 = 1;
/// Version, type, size, error.
const HEADER: usize = 16;

/// Evidence over our report data.
pub(crate) fn evidence(kernel: &dyn Kernel, report_data: &ReportData) -> Result<Evidence, AttestError> {
    let report = kernel.tdx_report(&report_data.0).map_err(|errno| AttestError::Kernel {
        during: "ask for a TDREPORT",
        path: DEVICE.to_owned(),
        errno,
        attempts: 1,
    })?;
    let port = port(kernel)?;
    let failed = |reason: String| AttestError::NoQuote { port, reason };
    let answer = kernel
        .quoting_service(port, &request(&report), HEADER + 8 + Evidence::MAX_BODY)
        .map_err(|errno| failed(words(errno)))?;
    let quote = quote(&answer).map_err(failed)?;
    Ok(Evidence::new(Tee::Tdx, quote))
}

fn words(errno: Errno) -> String {
    match errno {
        Errno::ENODEV | Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::EAFNOSUPPORT => {
            format!("cannot be reached: {errno}")
        }
        Errno::EAGAIN | Errno::ETIMEDOUT => "did not answer in time".to_owned(),
        errno => format!("failed: {errno}"),
    }
}

/// The port that this guest is configured for.
fn port(kernel: &dyn Kernel) -> Result<u32, AttestError> {
    let text = match kernel.read(CONFIGURATION, MAX_CONFIGURATION) {
        Ok(text) => text,
        Err(Errno::ENOENT) => return Ok(PORT),
        Err(errno) => {
            return Err(AttestError::Kernel { during: "read", path: CONFIGURATION.to_owned(), errno, attempts: 1 });
        }
    };
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        if key.trim() == "port" {
            return value.trim().parse().map_err(|_| AttestError::UnknownInterface {
                path: CONFIGURATION.to_owned(),
                got: line.trim().to_owned(),
                known: "`port=NUMBER`",
            });
        }
    }
    Ok(PORT)
}

fn request(report: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut message = VERSION.to_vec();
    message.extend(GET_QUOTE_REQUEST.to_le_bytes());
    message.extend(length(HEADER + 8 + report.len()));
    // No error, then what follows: a report, and no list of keys to choose from.
    message.extend([0; 4]);
    message.extend(length(report.len()));
    message.extend([0; 4]);
    message.extend(report);
    message
}

fn quote(answer: &[u8]) -> Result<Vec<u8>, String> {
    let number = |at: usize| -> Option<u32> { Some(u32::from_le_bytes(answer.get(at..at + 4)?.try_into().ok()?)) };
    let short = || format!("answered {} bytes, which are no message", answer.len());
    let size = number(8).ok_or_else(short)?;
    let (kind, error) = (number(4).ok_or_else(short)?, number(12).ok_or_else(short)?);
    if answer.get(..2) != VERSION.get(..2) {
        return Err("speaks another version of its protocol".to_owned());
    }
    if usize::try_from(size) != Ok(answer.len()) {
        return Err(format!("answered {} bytes and says {size}", answer.len()));
    }
    if error != 0 {
        return Err(format!("refused with error {error:#x}"));
    }
    if kind != GET_QUOTE_RESPONSE {
        return Err(format!("answered a message of type {kind}"));
    }
    let lengths = number(16).zip(number(20)).ok_or_else(short)?;
    let (selected, length) = (usize::try_from(lengths.0), usize::try_from(lengths.1));
    let (Ok(selected), Ok(length)) = (selected, length) else { return Err(short()) };
    let start = (HEADER + 8).saturating_add(selected);
    match answer.get(start..) {
        Some(quote) if quote.len() == length && !quote.is_empty() => Ok(quote.to_vec()),
        _ => Err(format!("announced a quote of {length} bytes and did not send it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut message = [[1, 0, 1, 0], [1, 0, 0, 0], [32, 0, 0, 0], [0; 4], [3, 0, 0, 0], [5, 0, 0, 0]].concat();
        message.extend(b"keyquote");
        change(&mut message);
        message
    }

    #[test]
    fn a_quote_stands_behind_the_key_that_was_chosen() {
        assert_eq!(quote(&response(|_| {})), Ok(b"quote".to_vec()));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        type Change = fn(&mut Vec<u8>);
        let cases: [(Change, &str); 8] = [
            (|m| m.clear(), "0 bytes"),
            (|m| m[0] = 2, "another version"),
            (|m| m[4] = 0, "type 0"),
            (|m| m[8] = 31, "says 31"),
            (|m| m[12] = 7, "error 0x7"),
            (|m| m[16] = 4, "5 bytes"),
            (|m| m[19] = 0xff, "5 bytes"),
            (|m| m[20] = 6, "6 bytes"),
        ];
        for (change, expected) in cases {
            let reason = quote(&response(change)).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let message = request(&[7; 1024]);
        assert_eq!(message.len(), 16 + 8 + 1024);
        assert_eq!(message[..16], [1, 0, 0, 0, 0, 0, 0, 0, 24, 4, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message[16..24], [0, 4, 0, 0, 0, 0, 0, 0]);
    }
}
