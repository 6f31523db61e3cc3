//! The transcript and its fields.

use proptest::prelude::*;
use protocol::evidence::DeviceKind;
use protocol::reference::device::{GpuMode, Nvdec0};
use testkit::nvidia::{Chip, TestReport, field};

use super::super::spdm::{MAX_REPORT, Part, Transcript};
use super::super::{NvidiaError, Report, claimed_kind, read_json};
use super::{FWID, NONCE, PDI, report};
use crate::Fault;

/// A transcript with a signature that nobody checks here.
fn bytes(report: &TestReport) -> Vec<u8> {
    [report.unsigned(), vec![0x99; 96]].concat()
}

fn read(report: &TestReport) -> Result<Report, NvidiaError> {
    let bytes = bytes(report);
    Report::read(&Transcript::parse(&bytes)?)
}

#[test]
fn a_transcript_comes_apart_to_the_byte() {
    for chip in Chip::ALL {
        let bytes = bytes(&report(chip));
        let transcript = Transcript::parse(&bytes).unwrap();
        assert_eq!(transcript.nonce, NONCE);
        assert_eq!((transcript.signed.len(), transcript.signature), (bytes.len() - 96, &[0x99; 96]));
        assert_eq!(transcript.responder_nonce, [0x77; 32]);
        assert_eq!(transcript.fields.len(), report(chip).fields.len());
        for shorter in 0..bytes.len() {
            assert!(Transcript::parse(&bytes[..shorter]).is_err(), "{shorter}");
        }
        let longer = [bytes, vec![0]].concat();
        assert_eq!(Transcript::parse(&longer), Err(NvidiaError::Trailing { part: Part::Signature, got: 1 }));
    }
}

#[test]
fn every_byte_of_the_headers_has_one_right_value() {
    let genuine = bytes(&report(Chip::Gh100));
    let header = |part, field, got, expected| NvidiaError::Header { part, field, got, expected };
    let cases = [
        (0, 0x21, header(Part::Request, "version", 0x21, 0x11)),
        (0, 0x12, NvidiaError::SpdmVersion { part: Part::Request, major: 1, minor: 2 }),
        (0, 0x13, NvidiaError::SpdmVersion { part: Part::Request, major: 1, minor: 3 }),
        (0, 0x10, NvidiaError::SpdmVersion { part: Part::Request, major: 1, minor: 0 }),
        (1, 0xe1, header(Part::Request, "code", 0xe1, 0xe0)),
        (2, 0x00, header(Part::Request, "attributes", 0x00, 0x01)),
        (3, 0x01, header(Part::Request, "operation", 0x01, 0xff)),
        (36, 0x08, header(Part::Request, "slot", 0x08, 0x07)),
        (37, 0x12, NvidiaError::SpdmVersion { part: Part::Response, major: 1, minor: 2 }),
        (38, 0x61, header(Part::Response, "code", 0x61, 0x60)),
        (39, 0x01, header(Part::Response, "reserved", 0x01, 0x00)),
        (40, 0x01, header(Part::Response, "slot", 0x01, 0x00)),
        (41, 0, NvidiaError::BlockCount { got: 0 }),
        (41, 255, NvidiaError::BlockCount { got: 255 }),
        (41, 63, NvidiaError::Trailing { part: Part::Record, got: 55 }),
        (41, 65, NvidiaError::TooShort { part: Part::Block, needed: 1, left: 0 }),
        (44, 0x10, NvidiaError::TooShort { part: Part::Record, needed: 0x10_0dc0, left: genuine.len() - 45 }),
        (45, 0, NvidiaError::BlockIndex { index: 0 }),
        (45, 255, NvidiaError::BlockIndex { index: 255 }),
        (45, 2, NvidiaError::DuplicateMeasurement { index: 2 }),
        (46, 2, header(Part::Block, "specification", 2, 1)),
        (47, 50, NvidiaError::BlockSize { index: 1, got: 50, expected: 51 }),
        (49, 0x81, NvidiaError::RawMeasurement { index: 1 }),
        (50, 32, NvidiaError::BlockSize { index: 1, got: 32, expected: 48 }),
    ];
    for (place, value, expected) in cases {
        let mut bytes = genuine.clone();
        bytes[place] = value;
        assert_eq!(Transcript::parse(&bytes).unwrap_err(), expected, "byte {place}");
    }
}

#[test]
fn a_report_beyond_the_limit_is_not_read() {
    assert_eq!(Transcript::parse(&vec![0x11; MAX_REPORT + 1]), Err(NvidiaError::ReportTooLong { got: MAX_REPORT + 1 }));
}

#[test]
fn a_later_spdm_is_could_not_tell() {
    let error = NvidiaError::SpdmVersion { part: Part::Request, major: 1, minor: 2 };
    assert_eq!(error.fault(), Fault::Unsupported);
    assert!(!error.fault().is_refusal() && error.hint().is_some());
}

#[test]
fn a_gpu_says_what_it_is() {
    let mut test = report(Chip::Gh100);
    test.set(field::CHIP, b"GH100\0".to_vec());
    let report = read(&test).unwrap();
    assert_eq!(report.kind, DeviceKind::Gpu);
    assert_eq!(report.driver_version.as_deref(), Some("590.12"));
    assert_eq!(report.vbios_version, "96.00.A5.00.01");
    assert_eq!((report.board.project.as_str(), report.board.project_sku.as_str()), ("G520", "0200"));
    assert_eq!((report.board.chip_sku.as_str(), report.board.board_id), ("885", Some(0x437)));
    assert_eq!(report.board.chip.as_deref(), Some("GH100"));
    assert_eq!(
        (report.mode, report.nvdec0, report.protected_pcie),
        (GpuMode::Spt, Some(Nvdec0::Disabled), Some(false))
    );
    assert_eq!(report.fwid.unwrap().0, FWID);
    assert_eq!(report.measurements.len(), 64);
    assert_eq!(report.measurements[0].index, 0);
    assert_eq!(report.driver_rim().as_deref(), Some("NV_GPU_DRIVER_GH100_590.12"));
    assert_eq!(report.vbios_rim(), "NV_GPU_VBIOS_G520_0200_885_9600A50001");
}

#[test]
fn a_blackwell_names_its_driver_manifest_by_its_chip() {
    let mut test = report(Chip::Gb100);
    assert_eq!(read(&test).unwrap().driver_rim().as_deref(), Some("NV_GPU_CC_DRIVER_GB100_595.32"));
    test.set(field::CHIP, b"GB202\0".to_vec());
    assert_eq!(read(&test).unwrap().driver_rim().as_deref(), Some("NV_GPU_CC_DRIVER_GB202_595.32"));
    assert_eq!(read(&test).unwrap().vbios_rim(), "NV_GPU_VBIOS_G520_0200_885_970088000F");
}

#[test]
fn a_switch_says_what_it_is() {
    let mut test = report(Chip::Ls10);
    // One GPU twice, as a genuine switch has it, and links that lead nowhere.
    test.links(&[[3; 8], [2; 8], [3; 8]]);
    let report = read(&test).unwrap();
    assert_eq!(report.kind, DeviceKind::Switch);
    assert_eq!(report.pdi.unwrap().0, PDI);
    assert_eq!(report.peers.iter().map(|pdi| pdi.0).collect::<Vec<_>>(), [[2; 8], [3; 8]]);
    assert_eq!((report.locked, report.position), (Some(true), Some(2)));
    assert_eq!(report.driver_rim(), None);
    assert_eq!(report.vbios_rim(), "NV_SWITCH_BIOS_5612_0002_890_9610730001");
}

#[test]
fn a_gpu_writes_its_switches_the_other_way_round() {
    let mut test = report(Chip::Gh100);
    test.links(&[[1, 2, 3, 4, 5, 6, 7, 8]]);
    let report = read(&test).unwrap();
    assert_eq!(report.peers.iter().map(|pdi| pdi.0).collect::<Vec<_>>(), [[1, 2, 3, 4, 5, 6, 7, 8]]);
    assert_eq!(report.mode, GpuMode::Ppcie);
}

#[test]
fn fields_that_mean_nothing_are_named() {
    let size = |field, got, expected| NvidiaError::FieldSize { field, got, expected };
    let value = |field, got| NvidiaError::FieldValue { field, got };
    type Change = fn(&mut TestReport);
    let gpu: [(Change, NvidiaError); 24] = [
        (|r| _ = r.remove(field::DRIVER_VERSION), NvidiaError::MissingField { field: "driver version" }),
        (|r| _ = r.remove(field::VBIOS_VERSION), NvidiaError::MissingField { field: "VBIOS version" }),
        (|r| _ = r.remove(field::PROJECT), NvidiaError::MissingField { field: "project" }),
        (|r| _ = r.remove(field::PROJECT_SKU), NvidiaError::MissingField { field: "project SKU" }),
        (|r| _ = r.remove(field::CHIP_SKU), NvidiaError::MissingField { field: "chip SKU" }),
        (|r| _ = r.set(field::DRIVER_VERSION, b"590 12".to_vec()), NvidiaError::FieldText { field: "driver version" }),
        (
            |r| _ = r.set(field::DRIVER_VERSION, b"590\x0012".to_vec()),
            NvidiaError::FieldText { field: "driver version" },
        ),
        (|r| _ = r.set(field::DRIVER_VERSION, vec![0]), size("driver version", 0, "1 to 32 characters")),
        (|r| _ = r.set(field::DRIVER_VERSION, vec![b'5'; 33]), size("driver version", 33, "1 to 32 characters")),
        (|r| _ = r.set(field::PROJECT, b"../x\0".to_vec()), NvidiaError::FieldText { field: "project" }),
        (|r| _ = r.set(field::VBIOS_VERSION, vec![0; 7]), size("VBIOS version", 7, "8")),
        (|r| _ = r.set(field::BOARD_ID, vec![0; 5]), size("board id", 5, "4")),
        (|r| _ = r.set(field::FWID, vec![0; 32]), size("firmware id", 32, "48")),
        (|r| _ = r.set(field::COUNTS, vec![0; 255]), size("measurement counts", 255, "a multiple of 4")),
        (|r| _ = r.set(field::NVDEC0, vec![0xab]), value("NVDEC0 status", 0xab)),
        (|r| _ = r.set(field::NVDEC0, vec![]), size("NVDEC0 status", 0, "1")),
        (|r| _ = r.set(field::PROTECTED_PCIE, vec![0]), value("protected PCIe status", 0)),
        (|r| _ = r.set(field::FEATURE, vec![3, 0]), value("feature flag", 3)),
        (|r| _ = r.set(field::FEATURE, vec![2, 0]), value("protected PCIe status in PPCIe mode", 0x55)),
        (|r| _ = r.set(field::FEATURE, vec![0; 9]), size("a number", 9, "1 to 8")),
        (|r| _ = r.set(field::FIELDS_VERSION, vec![2, 0]), NvidiaError::OpaqueVersion { got: 2 }),
        (|r| _ = r.set(37, vec![0]), NvidiaError::UnknownField { kind: 37 }),
        (|r| _ = r.set(27, vec![0]), NvidiaError::UnknownField { kind: 27 }),
        (|r| r.fields.push((field::NVDEC0, vec![0xaa])), NvidiaError::DuplicateField { kind: field::NVDEC0 }),
    ];
    for (index, (change, expected)) in gpu.into_iter().enumerate() {
        let mut test = report(Chip::Gh100);
        change(&mut test);
        assert_eq!(read(&test).unwrap_err(), expected, "case {index}");
    }
    let switch: [(Change, NvidiaError); 7] = [
        (|r| _ = r.remove(field::VBIOS_VERSION), NvidiaError::MissingField { field: "firmware version" }),
        (|r| _ = r.remove(field::PDI), NvidiaError::MissingField { field: "switch identity" }),
        (|r| _ = r.set(field::PDI, vec![1; 16]), size("switch identity", 16, "8")),
        (|r| _ = r.set(field::GPU_PDIS, vec![1; 63]), size("GPU identities", 63, "64 or more")),
        (|r| _ = r.set(field::LOCK, vec![2, 0]), value("lock status", 2)),
        (|r| _ = r.set(field::FEATURE, vec![1]), NvidiaError::UnknownField { kind: 36 }),
        // Without its GPUs it is no switch, and a GPU would have a driver.
        (|r| _ = r.remove(field::GPU_PDIS), NvidiaError::MissingField { field: "driver version" }),
    ];
    for (index, (change, expected)) in switch.into_iter().enumerate() {
        let mut test = report(Chip::Ls10);
        change(&mut test);
        assert_eq!(read(&test).unwrap_err(), expected, "case {index}");
    }
}

#[test]
fn the_number_of_fields_is_bounded() {
    let mut test = report(Chip::Gh100);
    test.fields = (100..165).map(|kind| (kind, vec![])).collect();
    assert_eq!(read(&test).unwrap_err(), NvidiaError::TooManyFields);
}

#[test]
fn nvidias_list_is_read_and_its_own_words_are_not() {
    use base64::Engine as _;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let gpu = bytes(&report(Chip::Gh100));
    let switch = bytes(&report(Chip::Ls10));
    let entry = |report: &[u8]| {
        format!(
            r#"{{"arch":"AMPERE","certificate":"{}","evidence":"{}","nonce":"00"}}"#,
            encode(b"pem"),
            encode(report)
        )
    };
    let list = format!("[{},{}]", entry(&gpu), entry(&switch));
    let devices = read_json(list.as_bytes()).unwrap();
    assert_eq!(devices.iter().map(|device| device.kind).collect::<Vec<_>>(), [DeviceKind::Gpu, DeviceKind::Switch]);
    assert_eq!((&devices[1].report, devices[1].chain.as_slice()), (&switch, b"pem".as_slice()));
    let request = format!(r#"{{"nonce":"00","arch":"HOPPER","evidence_list":{list}}}"#);
    assert_eq!(read_json(request.as_bytes()).unwrap(), devices);
    assert_eq!(claimed_kind(b"nothing"), None);

    let many = format!("[{}]", vec![entry(b"x"); 17].join(","));
    let long = format!(r#"[{{"evidence":"{}","certificate":""}}]"#, "A".repeat(40_000));
    for (text, expected) in [
        ("{}".to_owned(), "not a list of evidence"),
        ("[".to_owned(), "not a list of evidence"),
        (r#"[{"evidence":"AA=="}]"#.to_owned(), "not a list of evidence"),
        (r#"[{"evidence":"*","certificate":""}]"#.to_owned(), "`evidence` of device 1"),
        (r#"[{"evidence":"","certificate":"*"}]"#.to_owned(), "`certificate` of device 1"),
        (many, "17 devices"),
        (long, "`evidence` of device 1"),
        (" ".repeat(super::super::MAX_LIST + 1), "a list of"),
    ] {
        let error = read_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn bytes_of_a_peer_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Transcript::parse(&bytes).map(|transcript| Report::read(&transcript));
        let _ = read_json(&bytes);
    }

    #[test]
    fn a_report_with_some_bytes_changed_never_panics(
        chip in 0_usize..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bytes(&report(Chip::ALL[chip]));
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if cut.index(4) == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(transcript) = Transcript::parse(&bytes) {
            prop_assert_eq!(transcript.signed.len() + 96, bytes.len());
            let _ = Report::read(&transcript);
        }
    }
}
