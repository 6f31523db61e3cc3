//! Where the fuzzer starts from: for each target a few small inputs of every shape that its parser knows, made by the rigs
//! of `testkit`, so that no Evidence of anybody's machine is needed. `cargo test -p verifier --test it -- --ignored
//! write_seeds` writes them anew; their keys and signatures are then others, and their shapes the same.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use protocol::reference::AmdProduct;
use protocol::reference::snp::SigningKey;
use protocol::{DeviceEvidence, Digest, Evidence, Identity, ReportData, Tee};
use testkit::ccel::{Event, Log, Padding, kind};
use testkit::dcap::{Enclave, PLATFORM_CA_NAME, PROCESSOR_CA_NAME, Pck, QeIdentity, Quote, TcbInfo, Td, intel};
use testkit::der::{Certificate, Crl, Extension, Key, KeyKind, Name, pem};
use testkit::nvidia::{Chip, TestDevice, TestNvidia, TestReport, field};
use testkit::ocsp::{IssuerHash, TestAnswer, TestOcsp, TestStatus, response};
use testkit::ovmf::{Ovmf, Section, kind as section};
use testkit::rim::{RimAuthority, TestMeasurement, TestRim};
use testkit::snp::{CRL_GUID, Line, Report, ReportKey, VCEK_GUID, VLEK_GUID, certificate_table};

const NONCE: [u8; 32] = [0; 32];
const PDI: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const FWID: [u8; 48] = [0xf1; 48];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

/// Writes seeds of one target, each under a name that says what it is.
fn write(target: &str, seeds: Vec<(&str, Vec<u8>)>) {
    let folder = corpus().join(target);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in seeds {
        std::fs::write(folder.join(format!("seed-{name}")), bytes).unwrap();
    }
}

#[test]
#[ignore = "writes fuzz/corpus anew"]
fn write_seeds() {
    evidence_of_processors();
    evidence_of_devices();
    documents_of_amd_and_intel();
    documents_of_nvidia();
    logs_and_firmware();
    files();
}

fn snp_report(product: AmdProduct, version: u32, key: SigningKey) -> (Report, ReportKey) {
    // What the targets expect of a channel, so that the fuzzer gets beyond the binding.
    let report = Report { report_data: [0; 64], ..Report::new(product, version, key) };
    let key = ReportKey::of(&report);
    (report, key)
}

fn evidence_of_processors() {
    let (milan, milan_key) = snp_report(AmdProduct::Milan, 2, SigningKey::Vcek);
    let (genoa, genoa_key) = snp_report(AmdProduct::Genoa, 3, SigningKey::Vcek);
    let (turin, turin_key) = snp_report(AmdProduct::Turin, 5, SigningKey::Vcek);
    let (cloud, cloud_key) = snp_report(AmdProduct::Milan, 5, SigningKey::Vlek);
    let crl = Line::of(AmdProduct::Milan).crl();
    let mut with_list = cloud_key.sign(&cloud);
    with_list.extend(certificate_table(&[(VLEK_GUID, &cloud_key.certificate), (CRL_GUID, &crl)]));
    let mut of_another = genoa_key.sign(&genoa);
    of_another.extend(certificate_table(&[(VCEK_GUID, &turin_key.certificate)]));
    write(
        "snp",
        vec![
            ("v2-milan", milan_key.sign(&milan)),
            ("v3-genoa", genoa_key.sign(&genoa)),
            ("v4-genoa-extended", genoa_key.sign_extended(&Report { version: 4, ..genoa })),
            ("v3-genoa-key-of-another", of_another),
            ("v5-turin-extended", turin_key.sign_extended(&turin)),
            ("v5-milan-vlek-with-list", with_list),
        ],
    );

    let plain = Td { report_data: [0; 64], ..Td::default() };
    let v15 = Td { report_data: [0; 64], ..Td::v15() };
    let extended = Td { report_data: [0; 64], ..Td::extended() };
    let scalable = Pck { instance: None, configuration: None, ..Pck::default() };
    let padded = Quote { padding: vec![0; 64], ..Quote::tdx(4, &plain) };
    let encrypted_id = Quote { certification_type: 3, chain: vec![7; 404], ..Quote::tdx(4, &plain) };
    write(
        "tdx",
        vec![
            ("v4", Quote::tdx(4, &plain).encode()),
            ("v4-padded", padded.encode()),
            ("v4-no-chain", encrypted_id.encode()),
            ("v5-td10", Quote::tdx(5, &plain).encode()),
            ("v5-td15", Quote::tdx(5, &v15).on(&scalable).encode()),
            ("v5-td15-extended", Quote::tdx(5, &extended).encode()),
        ],
    );

    let enclave = Enclave { report_data: [0; 64], ..Enclave::default() };
    let long = Quote { auth_data: vec![1; 256], ..Quote::sgx(3, &enclave) };
    let debug = Enclave { attributes: [0x87, 0, 0, 0, 0, 0, 0, 0], ..enclave.clone() };
    write(
        "sgx",
        vec![
            ("v3", Quote::sgx(3, &enclave).encode()),
            ("v3-long-auth-data", long.encode()),
            ("v3-debug", Quote::sgx(3, &debug).on(&scalable).encode()),
        ],
    );
}

fn report(chip: Chip) -> TestReport {
    let mut report = TestReport::new(chip, NONCE);
    report.set(field::FWID, FWID.to_vec());
    if chip == Chip::Ls10 {
        report.set(field::PDI, PDI.to_vec());
    }
    report
}

/// The same with the first measurements only: the fuzzer works better on short inputs.
fn short(mut report: TestReport) -> TestReport {
    report.measurements.truncate(4);
    report
}

fn evidence_of_devices() {
    let nvidia = TestNvidia::new();
    let [hopper, blackwell, switch] = Chip::ALL.map(|chip| nvidia.device(chip, PDI, FWID));
    let mut linked = report(Chip::Gh100);
    linked.links(&[[9; 8], [8; 8]]);
    let mut old = report(Chip::Gh100);
    old.remove(field::FWID).remove(field::FEATURE);
    write(
        "gpu",
        vec![
            ("hopper", hopper.sign(&report(Chip::Gh100))),
            ("hopper-linked", hopper.sign(&short(linked))),
            ("hopper-old-driver", hopper.sign(&short(old))),
            ("blackwell", blackwell.sign(&short(report(Chip::Gb100)))),
        ],
    );
    let mut with_gpus = report(Chip::Ls10);
    with_gpus.links(&[[9; 8], [8; 8]]);
    let mut unlocked = report(Chip::Ls10);
    unlocked.set(field::LOCK, vec![0, 0]);
    write(
        "switch",
        vec![
            ("ls10", switch.sign(&report(Chip::Ls10))),
            ("ls10-with-gpus", switch.sign(&short(with_gpus))),
            ("ls10-unlocked", switch.sign(&short(unlocked))),
        ],
    );
    let both = |device: &TestDevice| {
        let report = device.sign(&short(report(device.chip)));
        let length = u16::try_from(report.len()).unwrap();
        [length.to_le_bytes().as_slice(), &report, &device.pem()].concat()
    };
    write("device-chain", vec![("hopper", both(&hopper)), ("blackwell", both(&blackwell)), ("ls10", both(&switch))]);
}

fn documents_of_amd_and_intel() {
    let (_, vcek) = snp_report(AmdProduct::Turin, 5, SigningKey::Vcek);
    let (_, vlek) = snp_report(AmdProduct::Milan, 5, SigningKey::Vlek);
    let nvidia = TestNvidia::new();
    let leaf = |chip| nvidia.device(chip, PDI, FWID).chain.remove(0);
    let pck = intel().pck_certificate(&Pck::default(), PLATFORM_CA_NAME).sign(&intel().pck, &intel().ca);
    write(
        "certificate",
        vec![
            ("vcek", vcek.certificate),
            ("vlek", vlek.certificate),
            ("ask", Line::of(AmdProduct::Genoa).ask.clone()),
            ("pck", pck),
            ("pck-authority", intel().ca_der(PROCESSOR_CA_NAME)),
            ("gpu-hopper", leaf(Chip::Gh100)),
            ("gpu-blackwell", leaf(Chip::Gb100)),
            ("rim-signer", RimAuthority::new().certificates.remove(0)),
        ],
    );
    let line = Line::of(AmdProduct::Genoa);
    let mut numbered = Crl::new(line.root_name()).revoking(&[1]).revoking(&[0xff; 20]);
    numbered.extensions.push(Extension::crl_number(7));
    write(
        "crl",
        vec![
            ("amd", line.crl()),
            ("amd-revoking", line.crl_revoking(testkit::snp::ASK_SERIAL)),
            ("amd-numbered", numbered.sign(line.ark_key)),
            ("intel-root", intel().root_crl(&[])),
            ("intel-pck-revoking", intel().pck_crl(PLATFORM_CA_NAME, &[testkit::dcap::PCK_SERIAL])),
        ],
    );
    let mut short = TcbInfo::new("TDX");
    short.levels.truncate(1);
    short.modules.truncate(1);
    write(
        "tcb-info",
        vec![
            ("sgx", intel().tcb_info(&TcbInfo::new("SGX")).into_bytes()),
            ("tdx", intel().tcb_info(&TcbInfo::new("TDX")).into_bytes()),
            ("tdx-short", intel().tcb_info(&short).into_bytes()),
        ],
    );
    let mut none = QeIdentity::new("QE");
    none.levels.clear();
    write(
        "qe-identity",
        vec![
            ("qe", intel().qe_identity(&QeIdentity::new("QE")).into_bytes()),
            ("td-qe", intel().qe_identity(&QeIdentity::new("TD_QE")).into_bytes()),
            ("qe-no-level", intel().qe_identity(&none).into_bytes()),
        ],
    );
}

fn documents_of_nvidia() {
    let rims = RimAuthority::new();
    let few = |mut rim: TestRim| {
        rim.measurements.truncate(6);
        rims.sign(&rim).into_bytes()
    };
    let [driver, vbios] = <[TestRim; 2]>::try_from(report(Chip::Gh100).manifests()).unwrap();
    let switch = report(Chip::Ls10).manifests().remove(0);
    let mut alternatives = vbios.clone();
    let digests = vec![[1; 48], [2; 48], [3; 48]];
    alternatives.measurements = vec![TestMeasurement { index: 3, active: true, digests }];
    write(
        "rim",
        vec![
            ("driver", few(driver)),
            ("vbios", few(vbios)),
            ("switch", few(switch)),
            ("alternatives", few(alternatives)),
        ],
    );

    let key = Key::generate(KeyKind::P384);
    let issuer = Name::common("NVIDIA GH100 Identity");
    let good = TestAnswer::good(issuer.clone(), &key, 5);
    let status = |status| TestOcsp::by_issuer(TestAnswer { status, ..good.clone() }).sign(&key);
    let delegate = Key::generate(KeyKind::P384);
    let usage = Extension::extended_key_usage(&["1.3.6.1.5.5.7.3.9"]);
    let certificate = Certificate::new(Name::common("Responder"), issuer).serial(6).with(usage).sign(&delegate, &key);
    let answer = TestAnswer { hash: IssuerHash::Sha256, next_update: None, ..good.clone() };
    let mut many = TestOcsp::by_issuer(good.clone());
    many.answers.push(TestAnswer { hash: IssuerHash::Sha384, ..good.clone() });
    // id-pkix-ocsp-nonce
    many.extensions.push(Extension::new("1.3.6.1.5.5.7.48.1.2", vec![4, 2, 1, 2]));
    write(
        "ocsp",
        vec![
            ("good", status(TestStatus::Good)),
            ("revoked", status(TestStatus::Revoked { at: testkit::der::NOT_BEFORE, reason: Some(1) })),
            ("revoked-no-reason", status(TestStatus::Revoked { at: testkit::der::NOT_BEFORE, reason: None })),
            ("unknown", status(TestStatus::Unknown)),
            ("delegate", TestOcsp::by_delegate(answer, &delegate, certificate).sign(&delegate)),
            ("many-with-nonce", many.sign(&key)),
            ("try-later", response(3, None)),
        ],
    );
}

fn logs_and_firmware() {
    let shim = Log {
        padding: Padding::Zeros(64),
        ..Log::new(vec![Event::td_shim(1, "td_hob", &[1; 40]), Event::td_shim(2, "payload", b"kernel")])
    };
    let two = Log {
        algorithms: vec![(11, 32), (12, 48)],
        ..Log::new(vec![Event::new(1, kind::ACTION, b"text"), Event::separator(1)])
    };
    write(
        "event-log",
        vec![
            ("boot", Log::boot().build()),
            ("td-shim", shim.build()),
            ("two-algorithms", two.build()),
            ("empty", Log::new(Vec::new()).build()),
        ],
    );
    let page = Ovmf { pages: 1, ..Ovmf::default() };
    let one = Section { gpa: 0x0080_0000, size: 0x1000, kind: section::SEC_MEMORY };
    let unhashed = Ovmf { pages: 1, ..Ovmf::without_kernel_hashes() };
    let bare = Ovmf { metadata: false, hashes: None, ..page.clone() };
    write(
        "firmware",
        vec![
            ("kernel-hashes", page.build()),
            ("no-kernel-hashes", unhashed.build()),
            ("one-section", Ovmf { sections: vec![one], hashes: None, ..page }.build()),
            ("no-metadata", bare.build()),
        ],
    );
}

fn files() {
    let (snp, key) = snp_report(AmdProduct::Milan, 3, SigningKey::Vcek);
    let body = key.sign(&snp);
    let nvidia = TestNvidia::new();
    let device = nvidia.device(Chip::Gh100, PDI, FWID);
    let device = DeviceEvidence {
        kind: Chip::Gh100.kind(),
        report: device.sign(&short(report(Chip::Gh100))),
        chain: device.pem(),
    };
    let software = testkit::SoftwareTee::from_seed([7; 32]).evidence(
        protocol::digest::Measurement::from_bytes([1; 48]),
        Identity(Digest::of(b"identity")),
        &ReportData([0; 64]),
    );
    let json = |evidence: &Evidence| serde_json::to_vec(evidence).unwrap();
    let quote = Quote::sgx(3, &Enclave::default()).encode();
    let composite = Evidence { devices: vec![device.clone()], ..Evidence::new(Tee::Snp, body.clone()) };
    let tdx = Evidence::new(Tee::Tdx, Quote::tdx(4, &Td::default()).encode());
    write("evidence", vec![("software", json(&software)), ("snp-with-gpu", json(&composite)), ("tdx", json(&tdx))]);

    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let list = serde_json::json!([{
        "arch": "HOPPER", "nonce": hex::encode(NONCE),
        "evidence": base64(&device.report), "certificate": base64(&device.chain),
    }]);
    let chain =
        [pem("CERTIFICATE", &key.certificate), pem("CERTIFICATE", &key.line.ask), pem("CERTIFICATE", &key.line.ark)];
    write(
        "any",
        vec![
            ("snp-hex", hex::encode(&body).into_bytes()),
            ("sgx-base64", base64(&quote).into_bytes()),
            ("software", software.body.clone()),
            ("software-json", json(&software)),
            ("gpu-list", serde_json::to_vec(&list).unwrap()),
            ("chain-pem", chain.concat().into_bytes()),
            ("crl-pem", pem("X509 CRL", &key.line.crl()).into_bytes()),
        ],
    );
}

#[test]
fn the_corpus_stays_small() {
    let mut total = 0;
    for target in crate::targets::TARGETS {
        let files: Vec<_> = std::fs::read_dir(corpus().join(target.name)).unwrap().map(Result::unwrap).collect();
        assert!(files.len() >= 3, "{} has {} inputs to start from", target.name, files.len());
        total += files.iter().map(|file| file.metadata().unwrap().len()).sum::<u64>();
    }
    // Everybody clones it.
    assert!(total < 600 * 1024, "{total} bytes");
}
