use protocol::Evidence;
use verifier::endorsements::EndorsementKind;

use super::*;

const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";

fn named(name: &str, input: Input, bytes: &[u8]) -> Named {
    Named { path: name.into(), input, bytes: bytes.to_vec() }
}

fn device(report: &[u8]) -> DeviceEvidence {
    nvidia::device(report.to_vec(), Vec::new())
}

fn chain_file(name: &str, text: &str) -> Named {
    named(name, Input::Certificates(vec![vec![0x30, 0], vec![0x30, 0]]), text.as_bytes())
}

#[test]
fn chains_go_to_devices_in_the_order_in_which_both_were_named() {
    let devices = vec![
        named("a", Input::Devices(vec![device(b"a")]), b""),
        named("b", Input::Devices(vec![device(b"b"), device(b"c")]), b""),
    ];
    let (first, second) = (CHAIN.to_owned() + "1", CHAIN.to_owned() + "2");
    let others = [chain_file("1", &first), chain_file("2", &second)];
    let (placed, used) = with_chains(devices, &[], &others).unwrap();
    assert_eq!(used, [PathBuf::from("1"), PathBuf::from("2")]);
    let chains: Vec<&[u8]> = placed.iter().flat_map(|(_, list)| list).map(|device| device.chain.as_slice()).collect();
    assert_eq!(chains, [first.as_bytes(), second.as_bytes(), b""]);
}

#[test]
fn a_chain_stays_as_it_was_written_because_report_data_covers_its_bytes() {
    let crlf = CHAIN.replace('\n', "\r\n");
    assert_eq!(pem_of(&chain_file("x", &crlf)), crlf.as_bytes());
    let der = named("x", Input::Endorsement(EndorsementKind::Certificate, vec![0x30, 0]), &[0x30, 0]);
    assert_eq!(String::from_utf8(pem_of(&der)).unwrap(), CHAIN);
}

#[test]
fn a_single_certificate_is_no_chain() {
    let devices = vec![named("a", Input::Devices(vec![device(b"a")]), b"")];
    let others = [named("root", Input::Certificates(vec![vec![0x30, 0]]), CHAIN.as_bytes())];
    let (placed, used) = with_chains(devices, &[], &others).unwrap();
    assert!(placed[0].1[0].chain.is_empty() && used.is_empty());
}

#[test]
fn devices_belong_to_the_one_cpu_that_is_named_with_them() {
    let cpu = |tee| named("cpu", Input::Evidence(Evidence::new(tee, vec![1])), b"");
    let empty = || Files { subjects: Vec::new(), endorsements: Endorsements::default(), event_log: None };
    let mut files = empty();
    place(&mut files, vec![cpu(Tee::Snp)], vec![("gpu".into(), vec![device(b"a")])]).unwrap();
    assert!(matches!(&files.subjects[..], [(_, Input::Evidence(evidence))] if evidence.devices.len() == 1));

    let mut files = empty();
    place(&mut files, Vec::new(), vec![("a".into(), vec![device(b"a")]), ("b".into(), vec![device(b"b")])]).unwrap();
    assert!(matches!(&files.subjects[..], [(_, Input::Devices(list))] if list.len() == 2));

    // Two machines: nobody can say which of them the device belongs to.
    let mut files = empty();
    place(&mut files, vec![cpu(Tee::Snp), cpu(Tee::Tdx)], vec![("a".into(), vec![device(b"a")])]).unwrap();
    assert_eq!(files.subjects.len(), 3);

    let mut with_devices = Evidence::new(Tee::Snp, vec![1]);
    with_devices.devices = vec![device(b"a")];
    let cpu = named("cpu", Input::Evidence(with_devices), b"");
    assert!(place(&mut empty(), vec![cpu], vec![("b".into(), vec![device(b"b")])]).is_err());

    let many = (0..=Evidence::MAX_DEVICES).map(|_| device(b"a")).collect();
    assert!(place(&mut empty(), Vec::new(), vec![("a".into(), many)]).is_err());
}
