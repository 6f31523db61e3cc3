//! The agent of Confidential Containers: what it answers becomes Evidence that our Verifier accepts, or is refused by name.

use std::net::SocketAddr;
use std::sync::Arc;

use attester::{AttestError, Attester as _, Automatic, GuestAgent, Kernel, Node};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use protocol::reference::AmdProduct;
use protocol::{DeviceKind, Evidence, Nonce, Tee};
use serde_json::{Value, json};
use testkit::SoftwareTee;
use testkit::nvidia::{TestDevice, TestReport};

use crate::agent::{Agent, Answer, sample_json, sev_json, tdx_json};
use crate::kernel::FakeKernel;
use crate::vendors::{REPORT_DATA, TestChip, Vendors, binding, sgx_quote, tdx_quote};

async fn asked(agent: Agent) -> Result<Evidence, AttestError> {
    GuestAgent::new(agent.serve().0).attest(&REPORT_DATA).await
}

fn snp_agent(product: AmdProduct, version: u32) -> Agent {
    let signer = TestChip::new(product, version);
    Agent::new(move |data| sev_json(&signer.key, &signer.over(data, 0), true))
}

#[tokio::test]
async fn a_report_taken_apart_is_put_together_again() {
    for product in AmdProduct::ALL {
        for version in [3, 5] {
            let evidence = asked(snp_agent(product, version)).await.unwrap();
            assert_eq!(evidence.tee, Tee::Snp);
            Vendors::new().accept(&evidence);
        }
    }
}

#[tokio::test]
async fn a_report_without_certificates_is_a_report() {
    let signer = Arc::new(TestChip::new(AmdProduct::Milan, 2));
    for chain in [Value::Null, json!([]), json!([{ "cert_type": "Empty", "data": [] }])] {
        let chip = Arc::clone(&signer);
        let agent = Agent::new(move |data| {
            let mut answer = sev_json(&chip.key, &chip.over(data, 0), false);
            answer["cert_chain"] = chain.clone();
            answer
        });
        let evidence = asked(agent).await.unwrap();
        assert_eq!(evidence.body.len(), 1184);
        Vendors::new().knowing(&signer).accept(&evidence);
    }
}

#[tokio::test]
async fn quotes_are_told_apart_by_what_they_are() {
    let log = testkit::ccel::Log::boot().build();
    let cases = [
        (Agent::new(move |data| tdx_json(&tdx_quote(data), Some(&log))), Tee::Tdx),
        (Agent::new(|data| tdx_json(&tdx_quote(data), None)), Tee::Tdx),
        // Without the member for a log.
        (Agent::new(|data| json!({ "quote": STANDARD.encode(tdx_quote(data)) })), Tee::Tdx),
        (Agent::new(|data| json!({ "quote": STANDARD.encode(sgx_quote(data)) })), Tee::Sgx),
    ];
    for (agent, expected) in cases {
        let evidence = asked(agent).await.unwrap();
        assert_eq!(evidence.tee, expected);
        Vendors::new().accept(&evidence);
    }
}

#[tokio::test]
async fn one_other_byte_of_report_data_is_refused_by_the_verifier() {
    let change = |data: &[u8]| {
        let mut data = data.to_vec();
        data[33] ^= 1;
        data
    };
    let chip = TestChip::new(AmdProduct::Milan, 3);
    let agents = [
        Agent::new(move |data| sev_json(&chip.key, &chip.over(&change(data), 0), true)),
        Agent::new(move |data| tdx_json(&tdx_quote(&change(data)), None)),
        Agent::new(move |data| json!({ "quote": STANDARD.encode(sgx_quote(&change(data))) })),
    ];
    for agent in agents {
        Vendors::new().refuse(&asked(agent).await.unwrap());
    }
}

#[tokio::test]
async fn our_bytes_arrive_unchanged_in_the_gateways_encoding() {
    let (address, log) = Agent::new(|data| tdx_json(&tdx_quote(data), None)).serve();
    GuestAgent::new(address).attest(&REPORT_DATA).await.unwrap();
    GuestAgent::new(address).devices(&Nonce([0xff; 32])).await.unwrap();
    assert_eq!(GuestAgent::new(address).info().await.unwrap().unwrap().tee.as_deref(), Some("snp"));
    let data = URL_SAFE_NO_PAD.encode(REPORT_DATA.0);
    let nonce = "_".repeat(42) + "8";
    assert_eq!(
        *log.lock().unwrap(),
        [
            format!("/aa/evidence?encoding=base64&runtime_data={data}"),
            format!("/aa/additional-evidence?encoding=base64&runtime_data={nonce}"),
            "/info".to_owned()
        ]
    );
}

#[tokio::test]
async fn the_sample_attester_is_refused_by_name() {
    let error = asked(Agent::new(sample_json)).await.unwrap_err();
    assert!(matches!(error, AttestError::Sample { .. }), "{error}");
    assert!(error.is_refusal());
    let devices = Agent::new(sample_json).with(|data| json!({ "sampledevice": sample_json(data) }));
    let error = GuestAgent::new(devices.serve().0).devices(&Nonce([1; 32])).await.unwrap_err();
    assert!(matches!(error, AttestError::Sample { .. }), "{error}");
}

#[tokio::test]
async fn evidence_of_other_tees_is_refused_by_its_fields() {
    for (answer, fields) in [
        (json!({ "quote": { "signature": [] }, "hcl_report": [], "vcek": "" }), "`quote`, `hcl_report`, `vcek`"),
        (json!({ "cca_token": [1, 2] }), "`cca_token`"),
        (json!({ "x\u{1b}[2J": 1 }), "`x [2J`"),
        (json!({}), "no fields"),
    ] {
        let text = answer.clone();
        let error = asked(Agent::new(move |_| text.clone())).await.unwrap_err();
        assert!(matches!(error, AttestError::UnknownKind { .. }), "{error}");
        assert!(error.is_refusal() && error.to_string().contains(fields), "{error}");
    }
}

#[tokio::test]
async fn a_report_with_one_field_wrong_is_malformed_and_says_which() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 12] = [
        (|v| drop(v["attestation_report"].as_object_mut().unwrap().remove("measurement")), "`measurement`"),
        (|v| v["attestation_report"]["report_data"] = json!([1, 2]), "2 bytes, not 64"),
        (|v| v["attestation_report"]["chip_id"] = json!(vec![0; 65]), "65 bytes, not 64"),
        (|v| v["attestation_report"]["host_data"][0] = json!(256), "256"),
        (|v| v["attestation_report"]["host_data"] = json!("AAAA"), "expected a sequence"),
        (|v| v["attestation_report"]["version"] = json!(6), "version 6"),
        (|v| v["attestation_report"]["version"] = json!(1), "version 1"),
        (|v| v["attestation_report"]["signature"] = json!({ "r": [] }), "not 72"),
        (|v| v["attestation_report"]["current_tcb"] = json!(1), "attestation_report"),
        (|v| v["attestation_report"] = json!("00"), "attestation_report"),
        (|v| v["cert_chain"] = json!([{ "cert_type": "VCEK" }]), "`data`"),
        (|v| v["cert_chain"] = json!([{ "cert_type": "TOAST", "data": [] }]), "TOAST"),
    ];
    for (change, expected) in cases {
        let chip = TestChip::new(AmdProduct::Milan, 3);
        let agent = Agent::new(move |data| {
            let mut answer = sev_json(&chip.key, &chip.over(data, 0), true);
            change(&mut answer);
            answer
        });
        let error = asked(agent).await.unwrap_err();
        assert!(matches!(error, AttestError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_changed_field_of_a_report_breaks_its_signature() {
    for field in ["guest_svn", "policy", "plat_info", "vmpl"] {
        let chip = TestChip::new(AmdProduct::Milan, 3);
        let agent = Agent::new(move |data| {
            let mut answer = sev_json(&chip.key, &chip.over(data, 0), true);
            let number = answer["attestation_report"][field].as_u64().unwrap();
            answer["attestation_report"][field] = json!(number ^ 1);
            answer
        });
        let error = Vendors::new().judge(&asked(agent).await.unwrap(), &REPORT_DATA.into()).unwrap_err();
        assert!(error.is_refusal(), "{field}: {error}");
    }
}

#[tokio::test]
async fn a_quote_that_is_none_is_malformed() {
    let quotes = [String::new(), STANDARD.encode([0; 7]), STANDARD.encode([7; 100]), "!".to_owned()];
    for quote in quotes {
        let error = asked(Agent::new(move |_| json!({ "quote": quote, "cc_eventlog": null }))).await.unwrap_err();
        assert!(matches!(error, AttestError::Malformed { .. }), "{error}");
    }
}

/// Devices, as NVIDIA's library lists them.
fn nvidia_json(machine: &[(TestDevice, TestReport)]) -> Value {
    let list: Vec<Value> = machine
        .iter()
        .map(|(device, report)| {
            let evidence = device.evidence(report);
            let arch = if evidence.kind == DeviceKind::Switch { "LS10" } else { "HOPPER" };
            json!({
                "arch": arch,
                "uuid": "unknown",
                "evidence": STANDARD.encode(&evidence.report),
                "certificate": STANDARD.encode(&evidence.chain),
            })
        })
        .collect();
    json!({ "nvidia": { "device_evidence_list": list } })
}

/// An agent of a TDX guest with two GPUs and a switch, under `vendors`.
fn gpu_agent(change: impl Fn(&mut Value) + Send + 'static) -> (Vendors, Agent) {
    let vendors = Vendors::new();
    let nvidia = Arc::clone(&vendors.nvidia);
    let agent = Agent::new(|data| tdx_json(&tdx_quote(data), None)).with(move |nonce| {
        // NVIDIA's attester takes the first 32 bytes, and fills with zeros.
        let mut first = [0; 32];
        let length = nonce.len().min(32);
        first[..length].copy_from_slice(&nonce[..length]);
        let mut answer = nvidia_json(&nvidia.machine(1, 2, 1, first));
        change(&mut answer);
        answer
    });
    (vendors, agent)
}

#[tokio::test]
async fn a_tee_with_its_gpus_is_accepted_whole() {
    let (vendors, agent) = gpu_agent(|_| {});
    let evidence = GuestAgent::new(agent.serve().0).attest_bound(&binding()).await.unwrap();
    assert_eq!(evidence.devices.len(), 3);
    vendors.judge(&evidence, &binding().expected(&evidence)).unwrap();
}

#[tokio::test]
async fn devices_that_were_changed_on_their_way_are_unbound() {
    let (vendors, agent) = gpu_agent(|_| {});
    let evidence = GuestAgent::new(agent.serve().0).attest_bound(&binding()).await.unwrap();
    let mut fewer = evidence.clone();
    fewer.devices.pop();
    let bare = Evidence { devices: Vec::new(), ..evidence.clone() };
    for changed in [fewer, bare] {
        let error = vendors.judge(&changed, &binding().expected(&changed)).unwrap_err();
        assert!(error.is_refusal(), "{error}");
    }
    // Evidence of another channel.
    let mut other = binding();
    other.nonce = Nonce([9; 32]);
    assert!(vendors.judge(&evidence, &other.expected(&evidence)).unwrap_err().is_refusal());
}

#[tokio::test]
async fn an_agent_that_ignores_the_encoding_is_told_by_the_nonce() {
    let (_, mut agent) = gpu_agent(|_| {});
    agent.decodes = false;
    let error = GuestAgent::new(agent.serve().0).attest_bound(&binding()).await.unwrap_err();
    let AttestError::OtherNonce { index: 0, got, asked } = &error else { panic!("{error}") };
    let text = URL_SAFE_NO_PAD.encode(binding().device_nonce().0);
    assert_eq!((got, asked), (&hex::encode(&text.as_bytes()[..32]), &hex::encode(binding().device_nonce().0)));
    assert!(error.hint().unwrap().contains("encoding=base64"));
}

#[tokio::test]
async fn devices_that_are_none_are_malformed_and_say_which() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|v| *v = json!([]), "not a JSON object"),
        (|v| v["nvidia"] = json!({}), "device_evidence_list"),
        (|v| v["nvidia"]["device_evidence_list"][1]["arch"] = json!("AMPERE"), "nvidia[1]: arch: \"AMPERE\""),
        (|v| v["nvidia"]["device_evidence_list"][2]["evidence"] = json!("!"), "nvidia[2]: evidence"),
        (|v| v["nvidia"]["device_evidence_list"][0]["certificate"] = json!("="), "nvidia[0]: certificate"),
        (
            |v| v["nvidia"]["device_evidence_list"][0]["evidence"] = json!(STANDARD.encode(vec![0; 17_000])),
            "17000 bytes",
        ),
        (|v| drop(v["nvidia"]["device_evidence_list"][0].as_object_mut().unwrap().remove("arch")), "`arch`"),
        (
            |v| {
                let list = v["nvidia"]["device_evidence_list"].as_array_mut().unwrap();
                let one = list[0].clone();
                list.resize(17, one);
            },
            "17 devices, at most 16",
        ),
        (|v| v["nvidia"] = json!(null), "nvidia"),
    ];
    for (change, expected) in cases {
        let (_, agent) = gpu_agent(change);
        let error = GuestAgent::new(agent.serve().0).attest_bound(&binding()).await.unwrap_err();
        assert!(matches!(error, AttestError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn devices_of_unknown_makers_are_refused_by_name() {
    for kind in ["nvidiadpu", "hygondcu", "tpm"] {
        let agent = Agent::new(sample_json).with(move |_| json!({ kind: {} }));
        let error = GuestAgent::new(agent.serve().0).devices(&Nonce([1; 32])).await.unwrap_err();
        assert!(matches!(&error, AttestError::UnknownKind { fields, .. } if fields.contains(kind)), "{error}");
    }
}

#[tokio::test]
async fn an_agent_without_devices_has_none() {
    let none: [fn(&[u8]) -> Answer; 3] =
        [|_| (200, Vec::new()), |_| (200, b"{}".to_vec()), |_| (404, b"URL NOT FOUND".to_vec())];
    for additional in none {
        let mut agent = Agent::new(|data| tdx_json(&tdx_quote(data), None));
        agent.additional = Box::new(additional);
        let evidence = GuestAgent::new(agent.serve().0).attest_bound(&binding()).await.unwrap();
        assert!(evidence.devices.is_empty());
        Vendors::new().judge(&evidence, &binding().expected(&evidence)).unwrap();
    }
    let mut agent = Agent::new(sample_json);
    agent.additional = Box::new(|_| (500, b"NVML".to_vec()));
    let error = GuestAgent::new(agent.serve().0).attest_bound(&binding()).await.unwrap_err();
    assert!(matches!(error, AttestError::Status { status: 500, .. }), "{error}");
}

fn container(kernel: FakeKernel, address: SocketAddr) -> Automatic {
    let kernel: Arc<dyn Kernel> = Arc::new(kernel);
    Automatic::new(kernel, GuestAgent::new(address))
}

/// What a container of a Kata guest with SEV-SNP sees: the traces, and no interface.
fn kata_snp() -> FakeKernel {
    FakeKernel::default().node("/sys/devices/platform/sev-guest", Node::Folder)
}

#[tokio::test]
async fn in_a_kata_container_the_agent_is_asked() {
    let agent = snp_agent(AmdProduct::Genoa, 5);
    let evidence = container(kata_snp(), agent.serve().0).attest(&REPORT_DATA).await.unwrap();
    Vendors::new().accept(&evidence);
}

#[tokio::test]
async fn evidence_of_another_kind_than_the_hardware_is_refused() {
    let tee = SoftwareTee::from_seed([3; 32]);
    let software = Agent::new(move |data| {
        let data = protocol::ReportData(data.try_into().unwrap());
        let evidence = tee.evidence(
            protocol::digest::Measurement::from_bytes([1; 48]),
            protocol::Identity(protocol::Digest::ZERO),
            &data,
        );
        serde_json::to_value(evidence).unwrap()
    });
    let (address, _) = software.serve();
    // Where no hardware shows, software Evidence is what this deployment runs on; who verifies it decides.
    let evidence = container(FakeKernel::default(), address).attest(&REPORT_DATA).await.unwrap();
    assert_eq!(evidence.tee, Tee::Software);
    for (kernel, seen) in
        [(kata_snp(), Tee::Snp), (FakeKernel::default().file("/proc/cpuinfo", b"flags : tdx_guest\n"), Tee::Tdx)]
    {
        let error = container(kernel, address).attest(&REPORT_DATA).await.unwrap_err();
        assert!(matches!(error, AttestError::OtherKind { got: Tee::Software, seen: s, .. } if s == seen), "{error}");
        assert!(error.is_refusal() && error.hint().is_some());
    }
    let (address, _) = Agent::new(|data| tdx_json(&tdx_quote(data), None)).serve();
    let error = container(kata_snp(), address).attest(&REPORT_DATA).await.unwrap_err();
    assert!(matches!(error, AttestError::OtherKind { got: Tee::Tdx, seen: Tee::Snp, .. }), "{error}");
}

#[tokio::test]
async fn an_agent_that_answers_errors_is_not_taken_for_nothing() {
    let mut agent = Agent::new(sample_json);
    agent.evidence = Box::new(|_| (500, b"rpc status: no TEE".to_vec()));
    let error = container(kata_snp(), agent.serve().0).attest(&REPORT_DATA).await.unwrap_err();
    assert!(matches!(error, AttestError::Status { status: 500, .. }), "{error}");
    assert!(!error.is_refusal());
}
