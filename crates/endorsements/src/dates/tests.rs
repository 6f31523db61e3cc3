use super::*;
use crate::examples::{self, Authority};

fn at(text: &str) -> Option<UnixTime> {
    text.parse().ok()
}

#[test]
fn every_kind_says_how_long_it_is_good() {
    let authority = Authority::new("Root");
    let of = |kind, bytes: &[u8]| {
        let dates = dates(kind, bytes);
        (dates.issued_at, dates.next_update)
    };
    let year = (at("2026-01-01T00:00:00Z"), at("2026-12-31T00:00:00Z"));
    assert_eq!(of(EndorsementKind::Certificate, authority.leaf.der()), year);
    let month = (at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z"));
    assert_eq!(of(EndorsementKind::Crl, &authority.crl(10)), month);
    assert_eq!(of(EndorsementKind::TcbInfo, examples::tcb_info("TDX", "00", 10).as_bytes()), month);
    let identity = examples::qe_identity("QE");
    assert_eq!(of(EndorsementKind::QeIdentity, identity.as_bytes()), (month.0, at("2026-12-01T00:00:00Z")));
    let rim = examples::rim(&authority.leaf);
    assert_eq!(of(EndorsementKind::Rim, rim.as_bytes()), (None, year.1));
    let ocsp = examples::ocsp("20261001000000Z", Some("20261101000000Z"));
    assert_eq!(of(EndorsementKind::OcspResponse, &ocsp), month);
    let ocsp = examples::ocsp("20261001000000Z", None);
    assert_eq!(of(EndorsementKind::OcspResponse, &ocsp), (month.0, None));
}

#[test]
fn junk_has_no_dates() {
    let kinds = [
        EndorsementKind::Certificate,
        EndorsementKind::Crl,
        EndorsementKind::TcbInfo,
        EndorsementKind::QeIdentity,
        EndorsementKind::Rim,
        EndorsementKind::OcspResponse,
    ];
    let junk: [&[u8]; 6] =
        [b"", b"{}", b"{\"tcbInfo\":{\"issueDate\":1}}", b"<X509Certificate>", b"0\x82", &[0xff; 99]];
    for kind in kinds {
        for junk in junk {
            assert_eq!(dates(kind, junk), Dates::default(), "{kind:?} {junk:?}");
        }
    }
    for text in ["20261001000000", "2026100100000Z", "20261001000000+", "20261301000000Z", "2026100100é00Z"] {
        assert_eq!(generalized(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn several_documents_are_good_until_the_first_is_not() {
    let dates = |issued: Option<u64>, next: Option<u64>| Dates {
        issued_at: issued.map(UnixTime),
        next_update: next.map(UnixTime),
    };
    let together = Dates::together([dates(Some(1), None), dates(None, Some(9)), dates(Some(3), Some(7))]);
    assert_eq!(together, dates(Some(3), Some(7)));
    assert_eq!(Dates::together([]), Dates::default());
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_documents_have_the_dates_that_their_origin_names() {
    let next = |kind, name| dates(kind, &testkit::corpus::file(name)).next_update.map(|time| time.to_string());
    let day = |kind, name| next(kind, name).map(|time| time[..7].to_owned());
    assert_eq!(day(EndorsementKind::Rim, "nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml").unwrap(), "2026-12");
    // Not the signer, which is valid half a year longer, but an authority above it.
    assert_eq!(day(EndorsementKind::Rim, "nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml").unwrap(), "2027-11");
    assert_eq!(day(EndorsementKind::Rim, "nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag").unwrap(), "2025-06");
    assert!(next(EndorsementKind::TcbInfo, "tdx/tcbInfo.json").is_some());
    assert!(next(EndorsementKind::QeIdentity, "tdx/enclaveIdentity.json").is_some());
    assert!(next(EndorsementKind::Certificate, "snp/test-vcek.der").is_some());
}
