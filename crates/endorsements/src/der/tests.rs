use std::process::Command;

use super::*;
use crate::examples::{self, Authority};

#[test]
fn lengths_are_written_as_der_has_them() {
    for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
        let written = element(OCTET_STRING, &vec![7; length]);
        let (content, rest) = expect(OCTET_STRING, &written).unwrap();
        assert_eq!((content.len(), rest.len()), (length, 0));
        let header = written.len() - length;
        assert_eq!(
            header,
            match length {
                0..=127 => 2,
                128..=255 => 3,
                256..=65_535 => 4,
                _ => 5,
            }
        );
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the test runner collects these lines")]
fn openssl_makes_the_same_request() {
    let Authority { root: issuer, leaf: certificate, .. } = Authority::new("Test Root of Devices");
    let folder = tempfile::TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("issuer.pem"), issuer.pem()).unwrap();
    std::fs::write(path("certificate.pem"), certificate.pem()).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.arg("ocsp").arg("-no_nonce").arg("-issuer").arg(path("issuer.pem"));
    openssl.arg("-cert").arg(path("certificate.pem")).arg("-reqout").arg(path("request.der"));
    match openssl.output() {
        Err(error) => return println!("SKIPPED: openssl cannot be run ({error})"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
    }
    let ours = ocsp_request(certificate.der(), issuer.der()).unwrap();
    assert_eq!(hex::encode(ours), hex::encode(std::fs::read(path("request.der")).unwrap()));
}

#[test]
fn certificates_that_cannot_be_read_make_no_request() {
    let Authority { root: issuer, leaf: certificate, .. } = Authority::new("Test Root of Devices");
    assert_eq!(ocsp_request(b"", issuer.der()), None);
    assert_eq!(ocsp_request(certificate.der(), b"junk"), None);
}

#[test]
fn the_status_of_a_response_is_read() {
    let answer = element(SEQUENCE, &[vec![ENUMERATED, 1, 0], element(CONTEXT_0, &[])].concat());
    for (response, expected) in [
        (answer.as_slice(), Some(0)),
        (&[0x30, 3, ENUMERATED, 1, 6], Some(6)),
        // An answer without a body, a refusal with one, and what is no response at all.
        (&[0x30, 3, ENUMERATED, 1, 0], None),
        (&[0x30, 5, ENUMERATED, 1, 1, 5, 0], None),
        (&[0x30, 4, ENUMERATED, 2, 0, 0], None),
        (&[0x30, 3, INTEGER, 1, 6], None),
        (&[0x30, 0x80, ENUMERATED, 1, 6], None),
        (&[0x30, 0x85, 0, 0, 0, 0, 3, ENUMERATED, 1, 6], None),
        (&[0x30, 4, ENUMERATED, 1, 6], None),
        (&[], None),
        (b"<html>", None),
    ] {
        assert_eq!(ocsp_status(response), expected, "{response:02x?}");
    }
}

#[test]
fn no_prefix_of_a_response_panics() {
    let response = examples::ocsp("20260101000000Z", Some("20260102000000Z"));
    assert!(ocsp_dates(&response).is_some());
    for length in 0..response.len() {
        assert_eq!((ocsp_status(&response[..length]), ocsp_dates(&response[..length])), (None, None), "{length}");
    }
    for at in 0..response.len() {
        for bit in 0..8 {
            let mut changed = response.clone();
            changed[at] ^= 1 << bit;
            let _ = (ocsp_status(&changed), ocsp_dates(&changed));
        }
    }
}
