//! Evidence of NVIDIA's hardware, with the very layers that hold, fail or cannot be told at a fixed time.

use protocol::Nonce;
use protocol::digest::Hex;
use protocol::evidence::{DeviceEvidence, DeviceKind};
use protocol::reference::device::{Architecture, GpuMode, Nvdec0};
use testkit::corpus;
use verifier::endorsements::EndorsementKind;
use verifier::nvidia::{self, Difference, Examination, FwidCheck, NvidiaError};
use verifier::{Endorsements, Outcome, TrustAnchors, UnixTime, VerifyError};

/// When the signer of the VBIOS manifest of 2023 was valid.
const IN_2024: UnixTime = UnixTime(1_717_200_000);
/// When the signers of the other manifests are.
const IN_2026: UnixTime = UnixTime(1_793_491_200);

/// The nonce of three of the reports.
const NONCE: &str = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb";

fn device(report: &str, chain: &str) -> DeviceEvidence {
    let text = String::from_utf8(corpus::file(&format!("nvidia/{report}"))).unwrap();
    nvidia::device(hex(text.trim()), corpus::file(&format!("nvidia/{chain}")))
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn rims(names: &[&str]) -> Endorsements {
    let mut endorsements = Endorsements::default();
    for name in names {
        endorsements.add(EndorsementKind::Rim, &corpus::file(&format!("nvidia/{name}"))).unwrap();
    }
    endorsements
}

const VBIOS: &str = "NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag";
const DRIVER: &str = "NV_GPU_DRIVER_GH100_550.144.03.xml";
const FORGED: &str = "driver_rim_incorrect_signature.xml";
const SWITCH: &str = "NV_SWITCH_BIOS_5612_0002_890_9610550001.xml";

fn examine(device: &DeviceEvidence, endorsements: &Endorsements, now: UnixTime) -> Examination {
    let nonce = Nonce(nvidia::spdm::claimed_nonce(&device.report).unwrap());
    let devices = std::slice::from_ref(device);
    let mut set = nvidia::examine_alone(devices, Some(&nonce), &TrustAnchors::vendor(), endorsements, now);
    set.devices.remove(0)
}

/// Each layer with what came of it, by the stable names.
fn layers(examination: &Examination) -> Vec<String> {
    let name = |outcome: &Outcome| match outcome {
        Outcome::Holds => "holds".to_owned(),
        Outcome::Fails(error) => error.code().to_owned(),
        Outcome::Skipped { needs } => format!("needs {needs}"),
    };
    examination.layers.list().into_iter().map(|(layer, outcome)| format!("{layer}: {}", name(outcome))).collect()
}

fn missing(outcome: &Outcome) -> String {
    match outcome.error() {
        Some(error @ VerifyError::MissingEndorsement { need }) => {
            assert!(!error.is_refusal());
            need.to_string()
        }
        other => panic!("not missing: {other:?}"),
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_535_gpu_holds_up_to_the_manifest_of_its_driver_with_12_of_12_vbios_measurements() {
    let device = device("gh100_535.86.09_report.txt", "gh100_535.86.09_chain.txt");
    let examination = examine(&device, &rims(&[VBIOS]), IN_2024);
    // The driver's manifest is not published any more: that cannot be told, and is not taken for a yes.
    assert_eq!(
        layers(&examination),
        [
            "format: holds",
            "chain: holds",
            "identity: holds",
            "signature: holds",
            "nonce: holds",
            "driver_rim: endorsement-missing",
            "vbios_rim: holds",
            "measurements: needs driver_rim"
        ]
    );
    let driver = examination.layers.driver_rim.as_ref().unwrap();
    assert_eq!(missing(driver), "NVIDIA's manifest `NV_GPU_DRIVER_GH100_535.86.09`");
    let claims = examination.claims.unwrap();
    let [used] = claims.established.manifests.as_slice() else { panic!("one manifest") };
    assert_eq!((used.manifest, used.compared, used.version.as_str()), ("vbios", 12, "96.00.5E.00.01"));
    assert_eq!(used.id, "NV_GPU_VBIOS_1010_0200_882_96005E0001");
    assert_eq!(claims.established.fwid, FwidCheck::NotReported);
    let identity = claims.identity.unwrap();
    assert_eq!((identity.architecture, identity.chip.as_str()), (Architecture::Hopper, "GH100"));
    assert_eq!(identity.hwmodel, "GH100 A01 GSP BROM");
    assert_eq!(identity.device_id, Hex([0x6a, 0x5f, 0xaf, 0xcb, 0xd9, 0xfa, 0x5c, 0xa3]));
    assert_eq!(identity.ueid, "395803620356496203949105887342232667833655422354");
    let report = claims.report;
    assert_eq!(report.driver_version.as_deref(), Some("535.86.09"));
    assert_eq!((report.mode, report.nvdec0), (GpuMode::Unstated, Some(Nvdec0::Disabled)));
    assert_eq!((report.protected_pcie, report.measurements.len()), (None, 64));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_535_gpu_after_its_manifests_signer_expired_is_could_not_tell() {
    let device = device("gh100_535.86.09_report.txt", "gh100_535.86.09_chain.txt");
    let examination = examine(&device, &rims(&[VBIOS]), IN_2026);
    let error = examination.layers.vbios_rim.error().unwrap();
    assert!(matches!(error, VerifyError::Rim(_)) && !error.is_refusal(), "{error:?}");
    assert!(examination.layers.chain.holds() && examination.layers.signature.holds());
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_flipped_vbios_measurement_is_refused_by_index_although_the_driver_cannot_be_told() {
    // The first measurement that the manifest has: whatever it is, one bit of it makes a difference and a bad signature.
    let genuine = device("gh100_535.86.09_report.txt", "gh100_535.86.09_chain.txt");
    let endorsements = rims(&[VBIOS]);
    let mut named = Vec::new();
    for index in 0..64 {
        let mut device = genuine.clone();
        device.report[45 + 55 * index + 7] ^= 1;
        let examination = examine(&device, &endorsements, IN_2024);
        assert_eq!(examination.layers.signature.error().unwrap().code(), "device-signature");
        if let Some(VerifyError::Nvidia(NvidiaError::Measurements { differences })) =
            examination.layers.measurements.error()
        {
            let [Difference { index: got, manifest, .. }] = differences.as_slice() else { panic!("{differences:?}") };
            assert_eq!((usize::try_from(*got).unwrap(), *manifest), (index, "vbios"));
            named.push(*got);
        }
    }
    assert_eq!(named.len(), 12, "{named:?}");
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_550_gpu_holds_up_to_its_manifests() {
    let device = device("hopperAttestationReport.txt", "hopper_cert_chain_case1.txt");
    // A genuine driver manifest of another version, and a forged one, are no help.
    let examination = examine(&device, &rims(&[DRIVER, VBIOS, FORGED]), IN_2026);
    assert_eq!(
        layers(&examination),
        [
            "format: holds",
            "chain: holds",
            "identity: holds",
            "fwid: holds",
            "signature: holds",
            "nonce: holds",
            "driver_rim: endorsement-missing",
            "vbios_rim: endorsement-missing",
            "measurements: needs driver_rim"
        ]
    );
    assert_eq!(missing(&examination.layers.vbios_rim), "NVIDIA's manifest `NV_GPU_VBIOS_1010_0200_882_96009F0001`");
    let claims = examination.claims.unwrap();
    assert_eq!(claims.report.driver_version.as_deref(), Some("550.90.07"));
    assert_eq!(claims.report.protected_pcie, Some(false));
    assert_eq!(claims.report.nonce, NONCE.parse().unwrap());
    assert_eq!(claims.established.fwid, FwidCheck::Equal);
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_550_gpu_with_nothing_but_the_root_is_refused_for_its_chain() {
    let device = device("hopperAttestationReport.txt", "hopper_cert_chain_case2.txt");
    let examination = examine(&device, &Endorsements::default(), IN_2026);
    let error = examination.layers.chain.error().unwrap();
    assert_eq!(*error, VerifyError::Nvidia(NvidiaError::ChainLength { got: 1 }));
    assert!(error.is_refusal());
    assert_eq!(examination.layers.identity.error().unwrap().code(), "device-chain-length");
    // The root's key signed no report.
    assert_eq!(examination.layers.signature.error().unwrap().code(), "device-signature");
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_report_with_an_invalid_signature_is_refused_for_it() {
    for chain in ["hopper_cert_chain_case1.txt", "gh100_535.86.09_chain.txt"] {
        let device = device("gh100_invalid_signature_report.txt", chain);
        let examination = examine(&device, &Endorsements::default(), IN_2026);
        assert!(examination.layers.format.holds() && examination.layers.chain.holds());
        let error = examination.layers.signature.error().unwrap();
        let leaf = "GH100 A01 GSP FMC LF".to_owned();
        assert_eq!(*error, VerifyError::Nvidia(NvidiaError::Signature { leaf }));
        assert!(error.is_refusal());
        // It is of an HGX machine: four switches, which the GPU writes the other way round than they do.
        let report = examination.claims.unwrap().report;
        assert_eq!((report.peers.len(), report.protected_pcie), (4, Some(true)));
        assert!(report.peers.contains(&Hex([0x20, 0x3e, 0xb3, 0x1a, 0xd9, 0xed, 0x00, 0x08])));
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_the_switch_holds_in_every_layer_with_31_of_31_measurements() {
    let device = device("ls10_report.txt", "ls10_chain.txt");
    assert_eq!(device.kind, DeviceKind::Switch);
    let examination = examine(&device, &rims(&[SWITCH]), IN_2026);
    assert_eq!(
        layers(&examination),
        [
            "format: holds",
            "chain: holds",
            "identity: holds",
            "signature: holds",
            "nonce: holds",
            "vbios_rim: holds",
            "measurements: holds"
        ]
    );
    let claims = examination.claims.unwrap();
    assert_eq!(claims.established.compared, 31);
    assert_eq!(claims.established.fwid, FwidCheck::NotReported);
    let identity = claims.identity.unwrap();
    assert_eq!((identity.architecture, identity.hwmodel.as_str()), (Architecture::Ls10, "LS_10 A01 FSP BROM"));
    let report = claims.report;
    // The certificate's serial number ends in the very PDI that the report has.
    assert_eq!(report.pdi, Some(identity.device_id));
    assert_eq!(report.vbios_version, "96.10.55.00.01");
    // Eight entries, seven GPUs: one stands twice in this genuine report.
    assert_eq!((report.peers.len(), report.locked, report.position), (7, Some(true), Some(2)));
    assert_eq!(report.nonce, NONCE.parse().unwrap());
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_switchs_manifest_is_not_taken_for_a_gpu_and_the_other_way_round() {
    let switch = device("ls10_report.txt", "ls10_chain.txt");
    let examination = examine(&switch, &rims(&[VBIOS, DRIVER]), IN_2024);
    assert_eq!(missing(&examination.layers.vbios_rim), "NVIDIA's manifest `NV_SWITCH_BIOS_5612_0002_890_9610550001`");
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_a_report_with_the_chain_of_another_device_is_refused() {
    for (report, chain, code) in [
        ("gh100_535.86.09_report.txt", "hopper_cert_chain_case1.txt", "device-signature"),
        ("hopperAttestationReport.txt", "gh100_535.86.09_chain.txt", "device-signature"),
        ("ls10_report.txt", "gh100_535.86.09_chain.txt", "device-signature"),
        ("hopperAttestationReport.txt", "ls10_chain.txt", "device-signature"),
    ] {
        let examination = examine(&device(report, chain), &Endorsements::default(), IN_2026);
        assert!(examination.layers.chain.holds());
        assert_eq!(examination.layers.signature.error().unwrap().code(), code);
    }
    let mixed = examine(&device("ls10_report.txt", "gh100_535.86.09_chain.txt"), &Endorsements::default(), IN_2026);
    assert_eq!(mixed.layers.identity.error().unwrap().code(), "device-other-architecture");
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_one_bit_anywhere_in_a_genuine_report_is_not_genuine() {
    for (report, chain) in
        [("hopperAttestationReport.txt", "hopper_cert_chain_case1.txt"), ("ls10_report.txt", "ls10_chain.txt")]
    {
        let genuine = device(report, chain);
        for place in (0..genuine.report.len()).step_by(7) {
            let mut flipped = genuine.clone();
            flipped.report[place] ^= 1 << (place % 8);
            let nonce = Nonce(NONCE.parse::<Hex<32>>().unwrap().0);
            let set = nvidia::examine_alone(
                &[flipped],
                Some(&nonce),
                &TrustAnchors::vendor(),
                &Endorsements::default(),
                IN_2026,
            );
            assert!(!set.devices[0].layers.signature.holds(), "{report} byte {place}");
        }
    }
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_another_nonce_is_unbound() {
    let device = device("hopperAttestationReport.txt", "hopper_cert_chain_case1.txt");
    let anchors = TrustAnchors::vendor();
    let endorsements = Endorsements::default();
    let set = nvidia::examine_alone(&[device], Some(&Nonce([0; 32])), &anchors, &endorsements, IN_2026);
    let error = set.devices[0].layers.nonce.error().unwrap();
    let expected = NvidiaError::Nonce { got: NONCE.parse().unwrap(), expected: Hex([0; 32]) };
    assert_eq!(*error, VerifyError::Nvidia(expected));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_needs_are_the_manifests_and_the_standing_of_two_authorities() {
    let device = device("hopperAttestationReport.txt", "hopper_cert_chain_case1.txt");
    let needs: Vec<String> = nvidia::needs(&[device]).iter().map(ToString::to_string).collect();
    assert_eq!(needs.len(), 4);
    assert_eq!(needs[0], "NVIDIA's manifest `NV_GPU_DRIVER_GH100_550.90.07`");
    assert_eq!(needs[1], "NVIDIA's manifest `NV_GPU_VBIOS_1010_0200_882_96009F0001`");
    assert!(needs[2..].iter().all(|need| need.starts_with("NVIDIA's word on certificate ")));
}
