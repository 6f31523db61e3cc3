//! The parser: lengths, limits, and that nothing makes it panic.

use proptest::prelude::*;
use testkit::dcap::{Enclave, Pck};
use testkit::der::{integer, octet_string, oid, sequence, tlv};

use super::super::pck::{PckError, PckExtension};
use super::super::quote::{Quote as Parsed, QuoteError};
use super::*;

#[test]
fn zeros_may_follow_a_tdx_quote_and_nothing_else() {
    let documents = Documents::of(Tee::Tdx);
    for version in [4, 5] {
        let mut quote = Quote::tdx(version, &Td::default());
        quote.padding = vec![0; 3_000];
        assert_eq!(bad_tdx(&quote, &documents), NONE);
        quote.padding[2_999] = 1;
        assert_eq!(Parsed::parse(&quote.encode()), Err(QuoteError::Trailing { what: "the quote", extra: 3_000 }));
    }
    let mut quote = Quote::sgx(3, &Enclave::default());
    quote.padding = vec![0];
    assert_eq!(Parsed::parse(&quote.encode()), Err(QuoteError::Trailing { what: "the quote", extra: 1 }));
}

#[test]
fn a_nul_may_follow_the_chain_and_nothing_else() {
    let mut quote = td_quote();
    quote.chain.push(0);
    assert_eq!(bad_tdx(&quote, &Documents::of(Tee::Tdx)), NONE);
    let encoded = quote.encode();
    assert!(!Parsed::parse(&encoded).unwrap().chain.contains(&0));
}

#[test]
fn headers_of_other_kinds_are_refused_by_name() {
    let good = td_quote();
    let with = |change: fn(&mut Quote)| {
        let mut quote = good.clone();
        change(&mut quote);
        Parsed::parse(&quote.encode()).unwrap_err()
    };
    assert_eq!(with(|q| q.version = 2), QuoteError::Version(2));
    assert_eq!(with(|q| q.version = 6), QuoteError::Version(6));
    assert_eq!(with(|q| q.version = 3), QuoteError::TeeType { tee: 0x81, version: 3 });
    assert_eq!(with(|q| q.key_type = 3), QuoteError::KeyType(3));
    assert_eq!(with(|q| q.tee = 0x82), QuoteError::TeeType { tee: 0x82, version: 5 });
    assert_eq!(with(|q| q.vendor = [1; 16]), QuoteError::Vendor([1; 16]));
    assert_eq!(with(|q| q.body_type = 5), QuoteError::BodyType { body: 5, tee: 0x81 });
    assert_eq!(with(|q| q.body_type = 1), QuoteError::BodyType { body: 1, tee: 0x81 });
    assert_eq!(with(|q| q.tee = 0), QuoteError::BodyType { body: 3, tee: 0 });
    assert_eq!(with(|q| q.body_type = 2), QuoteError::BodyLength { got: 648, expected: 584 });
    assert_eq!(with(|q| q.certification_type = 3), QuoteError::NoChain(3));
    assert_eq!(
        with(|q| q.auth_data = vec![0; 257]),
        QuoteError::TooLong { what: "the QE authentication data", got: 257, limit: 256 }
    );
    assert_eq!(
        with(|q| q.chain = vec![b'x'; 16 * 1024 + 1]),
        QuoteError::TooLong { what: "the PCK chain", got: 16 * 1024 + 1, limit: 16 * 1024 }
    );
}

#[test]
fn nested_certification_data_is_not_followed() {
    for depth in 1..20 {
        let mut quote = td_quote();
        quote.certification_type = 6;
        for _ in 0..depth {
            let inner = std::mem::take(&mut quote.chain);
            quote.chain =
                [&6u16.to_le_bytes()[..], &u32::try_from(inner.len()).unwrap().to_le_bytes(), &inner].concat();
        }
        assert_eq!(Parsed::parse(&quote.encode()), Err(QuoteError::CertificationType { got: 6, expected: 5 }));
    }
    // And the outer one must be 6.
    let mut quote = td_quote().encode();
    quote[54 + 648 + 4 + 128] = 5;
    assert_eq!(Parsed::parse(&quote), Err(QuoteError::CertificationType { got: 5, expected: 6 }));
}

#[test]
fn every_length_must_use_up_its_bytes() {
    let genuine = td_quote().encode();
    let signature_data = 54 + 648;
    let certification = signature_data + 4 + 128 + 2;
    let chain = certification + 4 + 384 + 64 + 2 + 32 + 2;
    for (what, at) in [("signature data", signature_data), ("certification data", certification), ("chain", chain)] {
        for delta in [-1i64, 1, i64::from(u32::MAX)] {
            let mut quote = genuine.clone();
            let old = i64::from(u32::from_le_bytes(quote[at..at + 4].try_into().unwrap()));
            let new = u32::try_from((old + delta).min(i64::from(u32::MAX))).unwrap();
            quote[at..at + 4].copy_from_slice(&new.to_le_bytes());
            assert!(Parsed::parse(&quote).is_err(), "{what} {delta}");
        }
    }
}

#[test]
fn no_prefix_of_a_quote_is_a_quote() {
    for genuine in [td_quote().encode(), Quote::sgx(3, &Enclave::default()).encode()] {
        for len in 0..genuine.len() {
            assert!(Parsed::parse(&genuine[..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn the_extension_of_a_pck_certificate_is_read_strictly() {
    let arc = "1.2.840.113741.1.13.1";
    let pair = |suffix: &str, value: Vec<u8>| sequence(&[oid(&format!("{arc}.{suffix}")), value]);
    let good = Pck::default().extension();
    assert!(PckExtension::parse(&good).is_ok());
    let with = |more: Vec<u8>| {
        let content = &good[4..];
        tlv(0x30, &[content, &more].concat())
    };
    assert!(PckExtension::parse(&with(pair("8", octet_string(b"new")))).is_ok(), "later profiles may add fields");
    assert_eq!(PckExtension::parse(&with(pair("4", octet_string(&[0; 6])))), Err(PckError::Twice("FMSPC")));
    let tcb = with(pair("2", sequence(&[pair("2.1", integer(1))])));
    assert_eq!(PckExtension::parse(&tcb), Err(PckError::Twice("a TCB component")));
    for (what, der) in [
        ("empty", vec![]),
        ("no sequence", octet_string(b"x")),
        ("trailing", [good.clone(), vec![0]].concat()),
        ("short FMSPC", sequence(&[pair("4", octet_string(&[0; 5]))])),
        ("negative SVN", sequence(&[pair("2", sequence(&[pair("2.1", vec![2, 1, 0x80])]))])),
        ("large SVN", sequence(&[pair("2", sequence(&[pair("2.1", integer(256))]))])),
        ("large PCESVN", sequence(&[pair("2", sequence(&[pair("2.17", integer(65_536))]))])),
        ("component 0", sequence(&[pair("2", sequence(&[pair("2.19", integer(1))]))])),
        ("boolean of 1", sequence(&[pair("7", sequence(&[pair("7.1", vec![1, 1, 1])]))])),
        ("other arc", sequence(&[sequence(&[oid("1.2.3"), octet_string(b"x")])])),
        ("three in a pair", sequence(&[sequence(&[oid(&format!("{arc}.1")), octet_string(&[0; 16]), integer(1)])])),
        ("too many", sequence(&vec![pair("9", integer(1)); 33])),
    ] {
        assert!(
            matches!(PckExtension::parse(&der), Err(PckError::Malformed(_))),
            "{what}: {:?}",
            PckExtension::parse(&der)
        );
    }
    assert_eq!(PckExtension::parse(&sequence::<Vec<u8>>(&[])), Err(PckError::Absent("a TCB component")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Parsed::parse(&bytes);
        let _ = PckExtension::parse(&bytes);
        let _ = crate::dcap::needs(&bytes);
        let _ = crate::dcap::validity(&bytes);
    }

    /// A changed byte that is signed, by whomever, never passes. What is not signed is a NUL and padding, which there is none
    /// of here, and the text around the base64 of the certificates.
    #[test]
    fn a_mutated_quote_never_holds(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let genuine = td_quote().encode();
        let pem = genuine.windows(10).position(|window| window == b"-----BEGIN").unwrap();
        let mut quote = genuine.clone();
        let at = at.index(pem);
        quote[at] ^= 1 << bit;
        prop_assert_ne!(bad(&examine_tdx(&quote, &Documents::of(Tee::Tdx)).layers), NONE);
    }

    #[test]
    fn a_mutated_quote_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut quote = td_quote().encode();
        let at = at.index(quote.len());
        quote[at] = byte;
        let _ = examine_tdx(&quote, &Documents::of(Tee::Tdx));
        quote.truncate(cut.index(quote.len()));
        let _ = examine_tdx(&quote, &Documents::of(Tee::Tdx));
    }

    #[test]
    fn a_mutated_document_is_never_believed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = intel().tcb_info(&TcbInfo::new("TDX")).into_bytes();
        let at = at.index(text.len());
        prop_assume!(text[at] != byte && !text[at].eq_ignore_ascii_case(&byte));
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) {
            let documents = Documents { tcb_infos: vec![text], ..Documents::of(Tee::Tdx) };
            prop_assert_ne!(bad_tdx(&td_quote(), &documents), NONE);
        }
    }
}
