use expect_test::expect;
use protocol::digest::Hex;
use verifier::endorsements::PckAuthority;

use super::*;

fn needs() -> Vec<Need> {
    let tcb = |fmc| TcbVersion { fmc, bootloader: 3, tee: 0, snp: 20, microcode: 209 };
    let chip_id = Hex(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    let fmspc = Hex([0x00, 0x80, 0x6f, 0x05, 0x00, 0x00]);
    vec![
        Need::Vcek { product: AmdProduct::Milan, chip_id, tcb: tcb(None) },
        Need::Vcek { product: AmdProduct::Turin, chip_id, tcb: tcb(Some(1)) },
        Need::AmdChain { product: AmdProduct::Genoa, key: AmdKey::Vlek },
        Need::AmdCrl { product: AmdProduct::Genoa, key: AmdKey::Vcek },
        Need::PckCrl { authority: PckAuthority::Platform },
        Need::IntelRootCrl,
        Need::TcbInfo { tee: Tee::Tdx, fmspc },
        Need::TcbInfo { tee: Tee::Sgx, fmspc },
        Need::QeIdentity { tee: Tee::Tdx },
        Need::Rim { id: "NV_GPU_DRIVER_GH100_550.144.03".into() },
    ]
}

fn urls(sources: &Sources) -> String {
    needs().iter().map(|need| sources.request(need).unwrap().url + "\n").collect()
}

#[test]
fn every_need_has_the_address_that_its_vendor_documents() {
    expect![[r#"
        https://kdsintf.amd.com/vcek/v1/Milan/000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f?blSPL=3&teeSPL=0&snpSPL=20&ucodeSPL=209
        https://kdsintf.amd.com/vcek/v1/Turin/0001020304050607?fmcSPL=1&blSPL=3&teeSPL=0&snpSPL=20&ucodeSPL=209
        https://kdsintf.amd.com/vlek/v1/Genoa/cert_chain
        https://kdsintf.amd.com/vcek/v1/Genoa/crl
        https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl?ca=platform&encoding=der
        https://certificates.trustedservices.intel.com/IntelSGXRootCA.der
        https://api.trustedservices.intel.com/tdx/certification/v4/tcb?fmspc=00806f050000&update=standard
        https://api.trustedservices.intel.com/sgx/certification/v4/tcb?fmspc=00806f050000&update=standard
        https://api.trustedservices.intel.com/tdx/certification/v4/qe/identity?update=standard
        https://rim.attestation.nvidia.com/v1/rim/NV_GPU_DRIVER_GH100_550.144.03
    "#]]
    .assert_eq(&urls(&Sources::vendors()));
}

#[test]
fn a_proxy_gets_the_host_as_first_part_of_the_path_and_a_pccs_has_the_root_list_too() {
    let sources = Sources {
        proxy: Some("http://proxy.example:8080/vendors/".into()),
        intel: Intel::Pccs { base: "https://pccs.example:8081/".into(), roots: Vec::new() },
        channel: Channel::Number(17),
        ..Sources::vendors()
    };
    let urls = urls(&sources);
    let lines: Vec<&str> = urls.lines().collect();
    assert_eq!(lines[2], "http://proxy.example:8080/vendors/kdsintf.amd.com/vlek/v1/Genoa/cert_chain");
    assert_eq!(lines[5], "http://proxy.example:8080/vendors/pccs.example:8081/sgx/certification/v4/rootcacrl");
    assert!(lines[6].ends_with("/tdx/certification/v4/tcb?fmspc=00806f050000&tcbEvaluationDataNumber=17"), "{urls}");
    let request = sources.request(&needs()[6]).unwrap();
    assert_eq!(
        (request.host().as_str(), request.service.as_str()),
        ("proxy.example:8080", "https://pccs.example:8081")
    );
}

#[test]
fn ids_that_would_lead_elsewhere_are_not_asked_for() {
    let long = "A".repeat(MAX_RIM_ID + 1);
    for id in ["", ".", "..", "../ids", "a/b", "a?b", "a#b", "a b", "a%2fb", "a\n", "ä", "\\", &long] {
        let error = Sources::vendors().request(&Need::Rim { id: id.into() }).unwrap_err();
        assert_eq!(error.code(), "bad-id", "{id}");
    }
    assert!(is_rim_id(&long[1..]));
}

#[test]
fn what_nobody_gives_out_is_not_asked_for() {
    let tcb = TcbVersion::default();
    let refused = |need| Sources::vendors().request(&need).unwrap_err();
    assert_eq!(refused(Need::Vlek { product: AmdProduct::Milan, tcb }), FetchError::NoSource);
    assert_eq!(refused(Need::QeIdentity { tee: Tee::Snp }), FetchError::NoSource);
    let junk = Need::Ocsp { certificate: b"junk".to_vec(), issuer: Vec::new() };
    assert_eq!(refused(junk), FetchError::BadCertificate);
}

#[test]
fn a_channel_has_its_own_place_in_the_cache_where_it_matters() {
    let standard = Sources::vendors();
    let early = Sources { channel: Channel::Early, ..Sources::vendors() };
    let differ: Vec<bool> = needs().iter().map(|need| standard.key(need) != early.key(need)).collect();
    assert_eq!(differ, [false, false, false, false, false, false, true, true, true, false]);
}

#[test]
fn addresses_are_taken_apart() {
    for (url, expected) in [
        ("https://a.example", Some(("a.example", ""))),
        ("http://127.0.0.1:80/x?y=/z", Some(("127.0.0.1:80", "/x?y=/z"))),
        ("http://a?b", Some(("a", "?b"))),
        ("ftp://a", None),
        ("https://", None),
        ("https:///x", None),
        ("https://user@a", None),
        ("https://a b", None),
        ("https://a/#x", None),
        ("", None),
    ] {
        assert_eq!(parts(url), expected, "{url}");
    }
}
