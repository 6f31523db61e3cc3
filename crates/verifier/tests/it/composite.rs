//! A TEE with its GPUs and switches, through the front door: what a host could do to the set of devices, and what is then
//! said.

use protocol::binding::{Binding, Purpose, Role, TlsSide};
use protocol::manifest::ReferenceValues;
use protocol::reference::AmdProduct;
use protocol::reference::snp::SigningKey;
use protocol::{DeploymentId, DeviceEvidence, Digest, Evidence, Nonce, ReportData, Tee};
use testkit::nvidia::{Chip, TestDevice, TestNvidia, TestReport, evidence_of, field};
use testkit::rim::RimAuthority;
use testkit::snp::{Line, Report, ReportKey, lines};
use verifier::anchors::danger;
use verifier::endorsements::EndorsementKind;
use verifier::input::Input;
use verifier::{
    AppraiseError, AttestationResult, Endorsements, NoReferenceValues, Question, UnixTime, UnverifiedEvidence,
    VerifiedEvidence, Verifier, VerifyError, appraise,
};

/// 2026-06-01.
const NOW: UnixTime = UnixTime(1_780_272_000);

type Machine = Vec<(TestDevice, TestReport)>;

struct Rig {
    nvidia: TestNvidia,
    verifier: Verifier,
    endorsements: Endorsements,
    report: Report,
    key: ReportKey,
}

fn binding() -> Binding {
    Binding {
        purpose: Purpose::Mesh,
        side: TlsSide::Client,
        role: Role::Workload,
        deployment: DeploymentId::from_bytes([1; 16]),
        nonce: Nonce([2; 32]),
        exporter: [3; 64],
        own_leaf: Digest::of(b"own"),
        peer_leaf: None,
        devices: None,
    }
}

fn nonce() -> [u8; 32] {
    binding().device_nonce().0
}

impl Rig {
    fn new() -> Self {
        let (nvidia, rims) = (TestNvidia::new(), RimAuthority::new());
        let arks = lines().map(|line| Digest::of(&line.ark));
        let line = Line::of(AmdProduct::Milan);
        let anchors = danger::anchors(arks, Digest::ZERO, nvidia.root(), rims.root(), &[&line.ark, &line.ask]);
        let report = Report::new(AmdProduct::Milan, 3, SigningKey::Vcek);
        let key = ReportKey::of(&report);
        let mut endorsements = Endorsements::default();
        endorsements.add(EndorsementKind::Certificate, &key.certificate).unwrap();
        endorsements.add(EndorsementKind::Crl, &line.crl()).unwrap();
        for chip in [Chip::Gh100, Chip::Ls10] {
            for manifest in TestReport::new(chip, nonce()).manifests() {
                endorsements.add(EndorsementKind::Rim, rims.sign(&manifest).as_bytes()).unwrap();
            }
        }
        Self { nvidia, verifier: Verifier::with_anchors(anchors), endorsements, report, key }
    }

    /// What an honest TEE makes of the devices that its host shows it.
    fn evidence(&self, devices: Vec<DeviceEvidence>) -> Evidence {
        let mut evidence = Evidence { tee: Tee::Snp, body: Vec::new(), devices };
        let bound = Binding { devices: evidence.devices_digest(), ..binding() };
        evidence.body = self.key.sign(&Report { report_data: bound.report_data().0, ..self.report.clone() });
        evidence
    }

    fn verify(&self, evidence: Evidence) -> Result<VerifiedEvidence, VerifyError> {
        let expected = binding().expected(&evidence);
        self.verifier.verify(UnverifiedEvidence::new(evidence)?, &expected, &self.endorsements, NOW)
    }

    fn judge(&self, evidence: Evidence, values: &ReferenceValues) -> Result<AttestationResult, AppraiseError> {
        appraise(self.verify(evidence).unwrap(), values)
    }

    /// The reference values that accept exactly this Evidence.
    fn values(&self, evidence: &Evidence) -> ReferenceValues {
        self.try_values(evidence).unwrap()
    }

    fn try_values(&self, evidence: &Evidence) -> Result<ReferenceValues, NoReferenceValues> {
        let input = Input::Evidence(evidence.clone());
        let question = Question {
            input: &input,
            endorsements: &self.endorsements,
            now: NOW,
            report_data: None,
            nonce: None,
            event_log: None,
            values: None,
        };
        self.verifier.reference_values(&question, "HGX")
    }

    fn machine(&self, number: u8) -> Machine {
        self.nvidia.machine(number, 2, 1, nonce())
    }
}

/// What the one entry did not accept, in words.
fn mismatches(error: AppraiseError) -> Vec<String> {
    let AppraiseError::NoEntryAccepts { tried } = error else { panic!("{error:?}") };
    tried.iter().flat_map(|tried| &tried.mismatches).map(ToString::to_string).collect()
}

#[test]
fn a_tee_with_its_machine_is_accepted_whole() {
    let rig = Rig::new();
    for machine in [rig.machine(1), rig.nvidia.machine(2, 8, 4, nonce())] {
        let evidence = rig.evidence(evidence_of(&machine));
        let values = rig.values(&evidence);
        assert_eq!(values.devices[0].gpus + values.devices[0].switches, u32::try_from(machine.len()).unwrap());
        rig.judge(evidence, &values).unwrap();
    }
}

#[test]
fn reference_values_are_not_written_for_fewer_devices_than_there_are() {
    let rig = Rig::new();
    let whole = evidence_of(&rig.machine(1));
    for place in 0..whole.len() {
        let mut devices = whole.clone();
        devices[place].report.truncate(40);
        let error = rig.try_values(&rig.evidence(devices)).unwrap_err();
        let NoReferenceValues::Malformed { reason } = error else { panic!("{error:?}") };
        assert!(reason.starts_with(&format!("device {}: ", place + 1)), "{reason}");
    }
    let all = whole.into_iter().map(|device| DeviceEvidence { report: vec![1], ..device }).collect();
    assert!(rig.try_values(&rig.evidence(all)).is_err());
    assert!(rig.try_values(&rig.evidence(vec![])).unwrap().devices.is_empty());
}

#[test]
fn the_order_in_which_devices_travel_does_not_matter() {
    let rig = Rig::new();
    let mut evidence = rig.evidence(evidence_of(&rig.machine(1)));
    let values = rig.values(&evidence);
    evidence.devices.reverse();
    rig.judge(evidence, &values).unwrap();
}

/// Everything that somebody between the TEE and the verifier can do: the TEE's report data covers the set, and a device
/// that shows by itself what was done is named.
#[test]
fn a_set_that_was_changed_on_its_way_is_refused() {
    let rig = Rig::new();
    let other = evidence_of(&rig.machine(2));
    let stale = evidence_of(&rig.nvidia.machine(1, 2, 1, [9; 32]));
    type Change<'a> = Box<dyn Fn(&mut Vec<DeviceEvidence>) + 'a>;
    let changes: [(&str, Change<'_>, &str); 8] = [
        ("dropped", Box::new(|devices| _ = devices.pop()), "evidence-unbound"),
        ("all dropped", Box::new(Vec::clear), "evidence-unbound"),
        ("added", Box::new(|devices| devices.push(other[0].clone())), "evidence-unbound"),
        ("repeated", Box::new(|devices| devices.push(devices[0].clone())), "device-repeated"),
        ("swapped", Box::new(|devices| devices[0] = other[0].clone()), "evidence-unbound"),
        ("stale", Box::new(|devices| devices[0] = stale[0].clone()), "device-nonce"),
        ("chain of another", Box::new(|devices| devices[0].chain = devices[1].chain.clone()), "device-repeated"),
        ("one bit", Box::new(|devices| devices[0].report[110] ^= 1), "device-signature"),
    ];
    for (what, change, code) in changes {
        let mut evidence = rig.evidence(evidence_of(&rig.machine(1)));
        change(&mut evidence.devices);
        let error = rig.verify(evidence).unwrap_err();
        assert!(error.is_refusal(), "{what}: {error:?}");
        assert_eq!(error.code(), code, "{what}");
    }
}

/// Everything that a host can do to the devices before its TEE asks them: the TEE is honest and vouches for what it sees.
#[test]
fn what_a_host_shows_its_tee_is_named() {
    let rig = Rig::new();
    let values = rig.values(&rig.evidence(evidence_of(&rig.machine(1))));
    let device = |error: VerifyError| -> String {
        assert!(error.is_refusal(), "{error:?}");
        error.chain()
    };

    let repeated = evidence_of(&rig.machine(1));
    let error = device(rig.verify(rig.evidence(vec![repeated[0].clone(), repeated[0].clone()])).unwrap_err());
    assert_eq!(error, "device evidence: device 2 is device 1 once more (the same key)");

    let mut stale = evidence_of(&rig.machine(1));
    stale[1] = evidence_of(&rig.nvidia.machine(1, 2, 1, [9; 32])).swap_remove(1);
    let error = device(rig.verify(rig.evidence(stale)).unwrap_err());
    assert!(error.starts_with("device evidence: device 2 (gpu a001010405060708): "), "{error}");
    assert!(error.contains("the report is for nonce 0909"), "{error}");

    let mut mixed = evidence_of(&rig.machine(1));
    mixed[0].chain = mixed[1].chain.clone();
    let error = device(rig.verify(rig.evidence(mixed)).unwrap_err());
    assert!(error.starts_with("device evidence: device 2 is device 1 once more"), "{error}");

    let mut dropped = rig.machine(1);
    dropped.remove(1);
    let found = mismatches(rig.judge(rig.evidence(evidence_of(&dropped)), &values).unwrap_err());
    assert_eq!(
        found,
        [
            "gpus: 1, accepted is 2",
            "topology: switch b001000405060708 is linked with gpu a001010405060708, which is not in the set, accepted \
             is switched"
        ]
    );

    let mut added = rig.machine(1);
    added.push(rig.machine(2).swap_remove(0));
    let found = mismatches(rig.judge(rig.evidence(evidence_of(&added)), &values).unwrap_err());
    assert_eq!(found[0], "gpus: 3, accepted is 2");
    assert!(found.iter().any(|text| text.starts_with("device_ids (device 4, gpu a002000405060708)")), "{found:?}");

    let mut swapped = rig.machine(1);
    swapped[0] = rig.machine(2).swap_remove(0);
    let evidence = rig.evidence(evidence_of(&swapped));
    let mut any = values.clone();
    any.devices[0].device_ids = protocol::reference::Machines::Any;
    let found = mismatches(rig.judge(evidence, &any).unwrap_err());
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|text| text.starts_with("topology: ")), "{found:?}");

    let none = rig.judge(rig.evidence(vec![]), &values).unwrap_err();
    assert_eq!(mismatches(none)[..2], ["gpus: 0, accepted is 2", "switches: 0, accepted is 1"]);
}

#[test]
fn a_device_whose_firmware_is_not_nvidias_is_named() {
    let rig = Rig::new();
    let mut machine = rig.machine(1);
    machine[1].1.measurements[9].1 = [0xee; 48];
    let error = rig.verify(rig.evidence(evidence_of(&machine))).unwrap_err();
    assert_eq!(error.code(), "device-measurements");
    assert!(error.chain().contains("device 2 (gpu a001010405060708)"), "{}", error.chain());
    assert!(error.chain().contains("measurement 9 not as the manifest says"), "{}", error.chain());
}

#[test]
fn a_missing_manifest_is_could_not_tell_for_the_whole() {
    let rig = Rig::new();
    let mut machine = rig.machine(1);
    machine[0].1.set(field::DRIVER_VERSION, b"590.48.01\0".to_vec());
    let error = rig.verify(rig.evidence(evidence_of(&machine))).unwrap_err();
    assert!(!error.is_refusal());
    assert!(
        error.chain().ends_with("NVIDIA's manifest `NV_GPU_DRIVER_GH100_590.48.01` is not at hand"),
        "{}",
        error.chain()
    );
}

#[test]
fn devices_that_reference_values_do_not_speak_of_are_refused() {
    let rig = Rig::new();
    let evidence = rig.evidence(evidence_of(&rig.machine(1)));
    let mut values = rig.values(&evidence);
    values.devices.clear();
    assert!(rig.judge(evidence, &values).is_err());
}

#[test]
fn devices_where_none_are_expected_are_refused() {
    let rig = Rig::new();
    let evidence = rig.evidence(evidence_of(&rig.machine(1)));
    let bound = Binding { devices: evidence.devices_digest(), ..binding() };
    let expected = ReportData(bound.report_data().0).into();
    let unverified = UnverifiedEvidence::new(evidence).unwrap();
    let error = rig.verifier.verify(unverified, &expected, &rig.endorsements, NOW).unwrap_err();
    assert!(matches!(error, VerifyError::DevicesUnexpected { got: 3 }), "{error:?}");
}
