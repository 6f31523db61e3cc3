//! What is fuzzed: each parser, through the door that its bytes come in by. Shared by the fuzzer (`fuzz/`) and by the
//! ordinary test that replays what the fuzzer has found.

use std::sync::OnceLock;

use protocol::manifest::ReferenceValues;
use protocol::{DeviceEvidence, DeviceKind, Evidence, Expected, Nonce, ReportData, Tee};
use verifier::endorsements::EndorsementKind;
use verifier::input::{self, Input};
use verifier::snp::launch::{Firmware, KernelHashes, Launch, Machine, VcpuType};
use verifier::{Endorsements, Question, UnixTime, UnverifiedEvidence, Verifier};

/// One target.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub(crate) name: &'static str,
    run: fn(&[u8]),
}

impl Target {
    /// Does to the bytes what Casemate does to bytes of a peer. Nothing may panic.
    pub(crate) fn run(&self, bytes: &[u8]) {
        (self.run)(bytes);
    }
}

/// Every target.
pub(crate) const TARGETS: [Target; 16] = [
    Target { name: "any", run: any },
    Target { name: "snp", run: |bytes| evidence(Tee::Snp, bytes) },
    Target { name: "tdx", run: |bytes| evidence(Tee::Tdx, bytes) },
    Target { name: "sgx", run: |bytes| evidence(Tee::Sgx, bytes) },
    Target { name: "gpu", run: |bytes| device(DeviceKind::Gpu, bytes) },
    Target { name: "switch", run: |bytes| device(DeviceKind::Switch, bytes) },
    Target { name: "device-chain", run: device_chain },
    Target { name: "event-log", run: |bytes| explain(&Input::EventLog(bytes.to_vec())) },
    Target { name: "certificate", run: |bytes| endorsement(EndorsementKind::Certificate, bytes) },
    Target { name: "crl", run: |bytes| endorsement(EndorsementKind::Crl, bytes) },
    Target { name: "tcb-info", run: |bytes| endorsement(EndorsementKind::TcbInfo, bytes) },
    Target { name: "qe-identity", run: |bytes| endorsement(EndorsementKind::QeIdentity, bytes) },
    Target { name: "rim", run: |bytes| endorsement(EndorsementKind::Rim, bytes) },
    Target { name: "firmware", run: firmware },
    Target { name: "evidence", run: evidence_json },
    Target { name: "ocsp", run: |bytes| endorsement(EndorsementKind::OcspResponse, bytes) },
];

/// The target of a name.
#[allow(dead_code, reason = "the fuzzer asks by name, the replay goes through all")]
pub(crate) fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// 2025-06-01: inside the validity of what the seeds hold.
const NOW: UnixTime = UnixTime(1_748_736_000);

fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(Verifier::new)
}

fn explain(input: &Input) {
    explain_with(input, &Endorsements::default());
}

fn explain_with(input: &Input, endorsements: &Endorsements) {
    let (report_data, nonce) = (ReportData([0; 64]), Nonce([0; 32]));
    let values = ReferenceValues::default();
    let question = Question {
        input,
        endorsements,
        now: NOW,
        report_data: Some(&report_data),
        nonce: Some(&nonce),
        event_log: None,
        values: Some(&values),
    };
    let explanation = verifier().explain(&question);
    assert_printable(&serde_json::to_value(&explanation).expect("an explanation is JSON"));
    let _ = verifier().reference_values(&question, "fuzz");
    let _ = verifier::needs_of(input);
}

/// No text of a peer may move a cursor.
fn assert_printable(value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "reaches a terminal: {text:?}");
        }
        serde_json::Value::Array(items) => items.iter().for_each(assert_printable),
        serde_json::Value::Object(members) => members.values().for_each(assert_printable),
        _ => {}
    }
}

fn any(bytes: &[u8]) {
    if let Ok(input) = input::read(bytes) {
        explain(&input);
    }
    let _ = Endorsements::default().add_file(bytes);
}

fn judge(evidence: Evidence) {
    let expected = Expected { report_data: ReportData([0; 64]), device_nonce: Some(Nonce([0; 32])) };
    let _ = verifier::claimed_identity(&evidence);
    // Whose root is its own affair.
    let software = evidence.tee == Tee::Software;
    explain(&Input::Evidence(evidence.clone()));
    if let Ok(unverified) = UnverifiedEvidence::new(evidence) {
        let verified = verifier().verify(unverified, &expected, &Endorsements::default(), NOW);
        assert!(verified.is_err() || software, "the fuzzer has no vendor's key");
    }
}

/// Evidence as it comes in a message, devices and all.
fn evidence_json(bytes: &[u8]) {
    if let Ok(evidence) = serde_json::from_slice::<Evidence>(bytes) {
        judge(evidence);
    }
}

/// A firmware image, and the launch that it makes.
fn firmware(image: &[u8]) {
    static SETTING: OnceLock<(Machine, KernelHashes)> = OnceLock::new();
    let (machine, hashes) = SETTING.get_or_init(|| {
        let vcpu = VcpuType::from_name("EPYC-Milan").expect("a known processor");
        (Machine::qemu(vcpu), KernelHashes::of(b"kernel", b"initrd", b"console=ttyS0"))
    });
    let Ok(firmware) = Firmware::parse(image) else { return };
    for hashes in [None, Some(hashes)] {
        let Ok(launch) = Launch::measure(&firmware, hashes, machine) else { continue };
        let digest = launch.digest(2).expect("two is a count of processors");
        assert_eq!(launch.which_vcpu_count(&digest, 2), Some(2));
    }
}

fn evidence(tee: Tee, bytes: &[u8]) {
    judge(Evidence::new(tee, bytes.to_vec()));
}

fn device(kind: DeviceKind, report: &[u8]) {
    explain(&Input::Devices(vec![DeviceEvidence { kind, report: report.to_vec(), chain: Vec::new() }]));
}

/// The first two bytes, little-endian, say how long the report is; the chain follows it.
fn device_chain(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (report, chain) = rest.split_at(length);
    explain(&Input::Devices(vec![DeviceEvidence {
        kind: DeviceKind::Gpu,
        report: report.to_vec(),
        chain: chain.to_vec(),
    }]));
}

fn endorsement(kind: EndorsementKind, bytes: &[u8]) {
    let mut endorsements = Endorsements::default();
    if endorsements.add(kind, bytes).is_ok() {
        explain_with(&Input::Endorsement(kind, bytes.to_vec()), &endorsements);
    }
}
