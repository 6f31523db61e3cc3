//! NVIDIA's own RIMs, up to NVIDIA's root, at times within their signers' validity.

use std::sync::Arc;

use verifier::Fault;
use verifier::anchors::TrustAnchors;
use verifier::endorsements::Endorsements;
use verifier::rim::{self, Rim, RimError};

/// The vendor's anchors, at a time within each signer's validity.
fn corpus(name: &str, now: &str) -> Result<Arc<Rim>, RimError> {
    let document = testkit::corpus::file(name);
    rim::verify_alone(&document, &TrustAnchors::vendor(), &Endorsements::default(), now.parse().unwrap())
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_genuine_rims_verify_up_to_nvidias_root() {
    for (name, now, identity, (active, most), signer, until) in [
        (
            "nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml",
            "2026-11-21",
            ("GPU", "GH100", "550.144.03"),
            (21, 4),
            "HCC RIM L4 Signer",
            "2026-12-30T16:56:50Z",
        ),
        (
            "nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag",
            "2024-01-01",
            ("GPU", "GH100", "96.00.5E.00.01"),
            (12, 4),
            "HCC RIM L4 Signer",
            "2025-06-22T09:30:33Z",
        ),
        (
            "nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
            "2026-11-21",
            ("SWITCH", "LS10", "96.10.55.00.01"),
            (31, 4),
            "NVIDIA Reference Value L4 LS10",
            "2027-11-02T23:59:59Z",
        ),
    ] {
        let rim = corpus(name, now).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
        assert_eq!((rim.edition(), rim.product(), rim.version()), identity, "{name}");
        assert_eq!(rim.manufacturer(), "NVIDIA Corporation");
        assert_eq!(rim.measurements().len(), 64);
        assert!(rim.measurements().iter().enumerate().all(|(at, golden)| usize::try_from(golden.index) == Ok(at)));
        assert_eq!(rim.measurements().iter().filter(|golden| golden.active).count(), active, "{name}");
        assert_eq!(rim.measurements().iter().map(|golden| golden.digests.len()).max(), Some(most), "{name}");
        assert_eq!(rim.signer().subject, signer, "{name}");
        assert_eq!(rim.not_after().to_string(), until, "{name}");
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_an_expired_rim_is_no_answer() {
    let error = corpus("nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag", "2026-11-21").unwrap_err();
    assert_eq!((error.code(), error.fault()), ("certificate-expired", Fault::Expired));
    // The switch's signer holds to 2028-05, the authority above it to 2027-11 alone.
    let error = corpus("nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml", "2028-01-01").unwrap_err();
    assert_eq!((error.code(), error.fault()), ("certificate-expired", Fault::Expired));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_rim_with_a_wrong_signature_is_refused() {
    for now in ["2026-11-21", "2030-01-01"] {
        let error = corpus("nvidia/driver_rim_incorrect_signature.xml", now).unwrap_err();
        assert_eq!(error, RimError::Signature { signer: "HCC RIM L4 Signer".to_owned() });
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_one_digit_of_any_measurement_is_signed() {
    let text = String::from_utf8(testkit::corpus::file("nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml")).unwrap();
    let judge = |text: &str| {
        let now = "2026-11-21".parse().unwrap();
        rim::verify_alone(text.as_bytes(), &TrustAnchors::vendor(), &Endorsements::default(), now)
    };
    judge(&text).unwrap();
    judge(&text.replace('\n', "\r\n")).expect("line ends of another system are not signed");
    let places: Vec<_> = text.match_indices("Hash").map(|(at, _)| at + 7).filter(|at| *at < 21_000).collect();
    assert!(places.len() > 64);
    for at in places {
        let mut changed = text.clone().into_bytes();
        if !changed[at].is_ascii_hexdigit() {
            continue;
        }
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let error = judge(std::str::from_utf8(&changed).unwrap()).unwrap_err();
        assert_eq!(error.code(), "rim-digest", "byte {at}");
    }
}
