//! What is measured: Evidence of each kind under test roots, with everything that it needs, and the bare signature checks
//! that no Verifier of it gets around.

use std::rc::Rc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, UnparsedPublicKey,
    VerificationAlgorithm,
};
use protocol::digest::Measurement;
use protocol::manifest::ReferenceValues;
use protocol::reference::AmdProduct;
use protocol::reference::snp::SigningKey;
use protocol::software::SoftwareReport;
use protocol::{Digest, Evidence, Expected, Identity, Nonce, ReportData, Tee};
use testkit::SoftwareTee;
use testkit::dcap::{Enclave, PLATFORM_CA_NAME, QeIdentity, Quote, TcbInfo, Td, intel};
use testkit::der::{Key, KeyKind, Name};
use testkit::nvidia::{Chip, TestDevice, TestNvidia, TestReport, evidence_of, field};
use testkit::ocsp::{TestAnswer, TestOcsp};
use testkit::rim::RimAuthority;
use testkit::snp::{Report, ReportKey, lines};
use verifier::endorsements::EndorsementKind;
use verifier::input::Input;
use verifier::{Endorsements, Question, UnixTime, Verifier};

/// The row that composites are compared with.
pub(crate) const ALONE: &str = "snp v5 vcek";

/// 2026-11-21.
const NOW: UnixTime = UnixTime(1_795_219_200);
/// When the documents of the rig's Intel hold.
const INTEL_NOW: UnixTime = UnixTime(testkit::dcap::NOW);
const REPORT_DATA: ReportData = ReportData([0xda; 64]);
const NONCE: [u8; 32] = [0x5a; 32];
const PDI: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// More than the Verifier remembers, so that none is found again.
const QUOTES: u32 = 10_000;

/// One row.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Evidence to be taken in turns.
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) expected: Expected,
    pub(crate) endorsements: Rc<Endorsements>,
    pub(crate) values: ReferenceValues,
    pub(crate) verifier: Rc<Verifier>,
    pub(crate) now: UnixTime,
    pub(crate) unavoidable: Vec<Check>,
    /// [`Self::unavoidable`] in words.
    pub(crate) said: String,
}

/// One signature check, as bare as it gets.
pub(crate) struct Check {
    key: ParsedPublicKey,
    algorithm: &'static dyn VerificationAlgorithm,
    key_bytes: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Check {
    fn new(
        algorithm: &'static (impl VerificationAlgorithm + 'static),
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Self {
        let check = Self {
            key: ParsedPublicKey::new(algorithm, key).expect("a good key"),
            algorithm,
            key_bytes: key.to_vec(),
            message: message.to_vec(),
            signature: signature.to_vec(),
        };
        assert!(check.verify() && check.parse_and_verify());
        check
    }

    /// Verifies with a key that was parsed before.
    pub(crate) fn verify(&self) -> bool {
        self.key.verify_sig(&self.message, &self.signature).is_ok()
    }

    /// Parses the key and verifies.
    pub(crate) fn parse_and_verify(&self) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.key_bytes).verify(&self.message, &self.signature).is_ok()
    }

    /// One for each curve, over 32 bytes.
    pub(crate) fn samples() -> Vec<(&'static str, Self)> {
        let message = [7; 32];
        let ecdsa = |kind, algorithm| {
            let key = Key::generate(kind);
            Self::new(algorithm, key.public_key(), &message, &key.sign_fixed(&message))
        };
        vec![
            ("ECDSA P-384, SHA-384", ecdsa(KeyKind::P384, &ECDSA_P384_SHA384_FIXED)),
            ("ECDSA P-256, SHA-256", ecdsa(KeyKind::P256, &ECDSA_P256_SHA256_FIXED)),
        ]
    }
}

/// Every vendor of the rigs, and one Verifier that believes them.
struct World {
    verifier: Rc<Verifier>,
    nvidia: TestNvidia,
    rims: RimAuthority,
}

/// Every row.
pub(crate) fn all() -> Vec<Case> {
    let world = World::new();
    let mut cases = vec![
        world.snp(ALONE, AmdProduct::Turin, SigningKey::Vcek),
        world.snp("snp v5 vlek", AmdProduct::Milan, SigningKey::Vlek),
        world.tdx("tdx v4", 4, &Td { report_data: REPORT_DATA.0, ..Td::default() }),
        world.tdx("tdx v5", 5, &Td { report_data: REPORT_DATA.0, ..Td::v15() }),
        world.tdx_new_reports(),
        world.sgx(),
        world.with_device(Chip::Gh100),
        world.with_device(Chip::Gb100),
        world.with_device(Chip::Ls10),
        world.with_fabric(),
        world.software(),
    ];
    cases.extend(cases_of_many(&world));
    cases
}

/// The same with more around it: 16 reference values of which the last accepts, and many documents of others.
fn cases_of_many(world: &World) -> Vec<Case> {
    let mut snp = world.snp("snp v5 vcek, 16 values", AmdProduct::Turin, SigningKey::Vcek);
    let accepting = snp.values.snp.pop().expect("one entry accepts");
    snp.values.snp = vec![accepting.clone(); 15];
    for (byte, entry) in (1_u8..).zip(&mut snp.values.snp) {
        entry.measurements = vec![Measurement::from_bytes([byte; 48])];
    }
    snp.values.snp.push(accepting);

    let mut tdx = world.tdx("tdx v5, 16 values", 5, &Td { report_data: REPORT_DATA.0, ..Td::v15() });
    let accepting = tdx.values.tdx.pop().expect("one entry accepts");
    tdx.values.tdx = vec![accepting.clone(); 15];
    for (byte, entry) in (1_u8..).zip(&mut tdx.values.tdx) {
        entry.mrtd = vec![Measurement::from_bytes([byte; 48])];
    }
    tdx.values.tdx.push(accepting);

    let mut crowded = world.snp("snp v5 vcek, 256 keys of others", AmdProduct::Turin, SigningKey::Vcek);
    let mut endorsements = Endorsements::clone(&crowded.endorsements);
    for number in 0..=255 {
        let mut report = Report::new(AmdProduct::Turin, 5, SigningKey::Vcek);
        report.chip_id[0] = number;
        report.chip_id[1] = 0;
        add(&mut endorsements, EndorsementKind::Certificate, &ReportKey::of(&report).certificate);
    }
    crowded.endorsements = Rc::new(endorsements);
    vec![snp, tdx, crowded]
}

fn add(endorsements: &mut Endorsements, kind: EndorsementKind, bytes: &[u8]) {
    endorsements.add(kind, bytes).expect("a small document");
}

impl World {
    fn new() -> Self {
        let (nvidia, rims) = (TestNvidia::new(), RimAuthority::new());
        let root = intel().root_der();
        let mut known: Vec<&[u8]> = vec![&root];
        for line in lines() {
            known.extend([line.ark.as_slice(), &line.ask, &line.asvk]);
        }
        let amd = lines().map(|line| Digest::of(&line.ark));
        let anchors = verifier::anchors::danger::anchors(amd, Digest::of(&root), nvidia.root(), rims.root(), &known);
        Self { verifier: Rc::new(Verifier::with_anchors(anchors)), nvidia, rims }
    }

    /// A case whose one entry of reference values accepts exactly its Evidence.
    fn case(
        &self,
        name: &str,
        evidence: Evidence,
        endorsements: Endorsements,
        now: UnixTime,
        (said, unavoidable): (&str, Vec<Check>),
    ) -> Case {
        let input = Input::Evidence(evidence.clone());
        let nonce = Nonce(NONCE);
        let question = Question {
            input: &input,
            endorsements: &endorsements,
            now,
            report_data: Some(&REPORT_DATA),
            nonce: Some(&nonce),
            event_log: None,
            values: None,
        };
        let values = self.verifier.reference_values(&question, "bench").expect("Evidence has reference values");
        Case {
            name: name.to_owned(),
            evidence: vec![evidence],
            expected: Expected { report_data: REPORT_DATA, device_nonce: Some(nonce) },
            endorsements: Rc::new(endorsements),
            values,
            verifier: Rc::clone(&self.verifier),
            now,
            unavoidable,
            said: said.to_owned(),
        }
    }

    fn snp(&self, name: &str, product: AmdProduct, kind: SigningKey) -> Case {
        let (evidence, endorsements, check) = snp_parts(product, kind);
        self.case(name, evidence, endorsements, NOW, ("1 x P-384", vec![check]))
    }

    fn tdx(&self, name: &str, version: u16, td: &Td) -> Case {
        self.quote(name, &Quote::tdx(version, td), Tee::Tdx)
    }

    fn sgx(&self) -> Case {
        let enclave = Enclave { report_data: REPORT_DATA.0, ..Enclave::default() };
        self.quote("sgx v3", &Quote::sgx(3, &enclave), Tee::Sgx)
    }

    fn quote(&self, name: &str, quote: &Quote, tee: Tee) -> Case {
        let body = quote.encode();
        let checks = vec![quote_check(quote, &body)];
        self.case(name, Evidence::new(tee, body), intel_documents(tee), INTEL_NOW, ("1 x P-256", checks))
    }

    /// Quotes whose quoting enclave made another report for each, so that none is remembered.
    fn tdx_new_reports(&self) -> Case {
        let quote = Quote::tdx(4, &Td { report_data: REPORT_DATA.0, ..Td::default() });
        let quotes = (0..QUOTES).map(|number| Quote { auth_data: number.to_le_bytes().to_vec(), ..quote.clone() });
        let bodies: Vec<Vec<u8>> = quotes.map(|quote| quote.encode()).collect();
        let body = bodies[0].clone();
        // The report follows signature, key, type and length; its own signature follows it (Intel's quote, appendix A).
        let at = quote.signed_part().len() + 4 + 64 + 64 + 6;
        let (report, signature) = (&body[at..at + 384], &body[at + 384..at + 448]);
        let enclave = Check::new(&ECDSA_P256_SHA256_FIXED, intel().pck.public_key(), report, signature);
        let checks = vec![quote_check(&quote, &body), enclave];
        let evidence = Evidence::new(Tee::Tdx, body);
        let documents = intel_documents(Tee::Tdx);
        let mut case = self.case("tdx v4, new report of the QE", evidence, documents, INTEL_NOW, ("2 x P-256", checks));
        case.evidence = bodies.into_iter().map(|body| Evidence::new(Tee::Tdx, body)).collect();
        case
    }

    fn with_device(&self, chip: Chip) -> Case {
        let fwid = [0xf1; 48];
        let device = self.nvidia.device(chip, PDI, fwid);
        let mut report = TestReport::new(chip, NONCE);
        report.set(field::FWID, fwid.to_vec());
        if chip == Chip::Ls10 {
            report.set(field::PDI, PDI.to_vec());
        }
        let name = match chip {
            Chip::Gh100 => "gpu hopper",
            Chip::Gb100 => "gpu blackwell",
            Chip::Ls10 => "switch ls10",
        };
        self.composite(name, &[(device, report)])
    }

    fn with_fabric(&self) -> Case {
        self.composite("8 gpus, 4 switches", &self.nvidia.machine(1, 8, 4, NONCE))
    }

    fn composite(&self, name: &str, machine: &[(TestDevice, TestReport)]) -> Case {
        let (mut evidence, mut endorsements, check) = snp_parts(AmdProduct::Turin, SigningKey::Vcek);
        evidence.devices = evidence_of(machine);
        let mut checks = vec![check];
        for ((device, report), evidence) in machine.iter().zip(&evidence.devices) {
            let (message, signature) = evidence.report.split_at(evidence.report.len() - 96);
            checks.push(Check::new(&ECDSA_P384_SHA384_FIXED, device.key.public_key(), message, signature));
            for manifest in report.manifests() {
                add(&mut endorsements, EndorsementKind::Rim, self.rims.sign(&manifest).as_bytes());
            }
            for response in self.responses(device) {
                add(&mut endorsements, EndorsementKind::OcspResponse, &response);
            }
        }
        let said = format!("{} x P-384", checks.len());
        self.case(&format!("{ALONE} + {name}"), evidence, endorsements, NOW, (&said, checks))
    }

    /// NVIDIA's word on the two authorities that it has one for.
    fn responses(&self, device: &TestDevice) -> [Vec<u8>; 2] {
        let serial = |subject: &Name| Digest::of(&subject.der()).as_bytes()[..8].to_vec();
        let family = match device.chip {
            Chip::Gb100 => Name::common("NVIDIA GB100 Identity"),
            Chip::Gh100 | Chip::Ls10 => Name::common("NVIDIA GH100 Identity"),
        };
        let [_, family_key] = self.nvidia.authorities(device.chip);
        let good = |issuer: Name, key: &Key, serial| {
            let answer = TestAnswer { serial, ..TestAnswer::good(issuer, key, 0) };
            TestOcsp::by_issuer(answer).sign(key)
        };
        let root = Name::common("NVIDIA Device Identity CA");
        [
            good(family.clone(), family_key, serial(&testkit::nvidia::provisioner(device.chip))),
            good(root, self.nvidia.root_authority().0, serial(&family)),
        ]
    }

    fn software(&self) -> Case {
        let tee = SoftwareTee::from_seed([1; 32]);
        let evidence = tee.evidence(Measurement::from_bytes([2; 48]), Identity(Digest::of(b"pod")), &REPORT_DATA);
        let report = SoftwareReport::parse(&evidence.body).expect("a report");
        let check = Check::new(&ED25519, &report.root, &report.signed_bytes(), &report.signature);
        self.case("software", evidence, Endorsements::default(), NOW, ("1 x Ed25519", vec![check]))
    }
}

fn snp_parts(product: AmdProduct, kind: SigningKey) -> (Evidence, Endorsements, Check) {
    let report = Report { report_data: REPORT_DATA.0, ..Report::new(product, 5, kind) };
    let key = ReportKey::of(&report);
    let body = key.sign(&report);
    let signed = report.signed_bytes();
    // r and s, little-endian, 72 bytes each (56860, table "signature").
    let number = |at: usize| body[signed.len() + at..signed.len() + at + 48].iter().rev().copied();
    let signature: Vec<u8> = number(0).chain(number(72)).collect();
    let check = Check::new(&ECDSA_P384_SHA384_FIXED, key.key.public_key(), &signed, &signature);
    let mut endorsements = Endorsements::default();
    add(&mut endorsements, EndorsementKind::Certificate, &key.certificate);
    add(&mut endorsements, EndorsementKind::Crl, &key.line.crl());
    (Evidence::new(Tee::Snp, body), endorsements, check)
}

fn quote_check(quote: &Quote, body: &[u8]) -> Check {
    let signed = quote.signed_part();
    let signature = &body[signed.len() + 4..signed.len() + 68];
    Check::new(&ECDSA_P256_SHA256_FIXED, intel().attestation.public_key(), &signed, signature)
}

fn intel_documents(tee: Tee) -> Endorsements {
    let (info, identity) = match tee {
        Tee::Sgx => ("SGX", "QE"),
        _ => ("TDX", "TD_QE"),
    };
    let mut endorsements = Endorsements::default();
    add(&mut endorsements, EndorsementKind::Certificate, &intel().signer_der());
    add(&mut endorsements, EndorsementKind::Crl, &intel().root_crl(&[]));
    add(&mut endorsements, EndorsementKind::Crl, &intel().pck_crl(PLATFORM_CA_NAME, &[]));
    add(&mut endorsements, EndorsementKind::TcbInfo, intel().tcb_info(&TcbInfo::new(info)).as_bytes());
    add(&mut endorsements, EndorsementKind::QeIdentity, intel().qe_identity(&QeIdentity::new(identity)).as_bytes());
    endorsements
}
