//! Vendors of our own, who sign what a test's hardware is asked for, and the Verifier that believes them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use attester::{Attester as _, Automatic, GuestAgent, Kernel};
use protocol::reference::AmdProduct;
use protocol::reference::snp::SigningKey;
use protocol::{Binding, DeploymentId, Digest, Evidence, Expected, Nonce, Purpose, ReportData, Role, TlsSide};
use testkit::dcap::{Enclave, PLATFORM_CA_NAME, QeIdentity, Quote, TcbInfo, Td, intel};
use testkit::nvidia::{Chip, TestNvidia, TestReport};
use testkit::rim::RimAuthority;
use testkit::snp::{Report, ReportKey, lines};
use verifier::anchors::danger;
use verifier::endorsements::EndorsementKind;
use verifier::input::Input;
use verifier::{Endorsements, Question, UnixTime, UnverifiedEvidence, Verifier, VerifyError, appraise};

/// 2027-01-01: the one second at which everything of every rig is valid.
pub(crate) const NOW: UnixTime = UnixTime(1_798_761_600);

/// What Evidence is asked over.
pub(crate) const REPORT_DATA: ReportData = ReportData([0x5a; 64]);

/// A channel's binding.
pub(crate) fn binding() -> Binding {
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

/// A chip of AMD's with its key.
pub(crate) struct TestChip {
    pub(crate) report: Report,
    pub(crate) key: ReportKey,
}

impl TestChip {
    pub(crate) fn new(product: AmdProduct, version: u32) -> Self {
        let report = Report::new(product, version, SigningKey::Vcek);
        let key = ReportKey::of(&report);
        Self { report, key }
    }

    /// The report over these data, at this privilege.
    pub(crate) fn over(&self, data: &[u8], vmpl: u32) -> Report {
        Report { report_data: data.try_into().unwrap(), vmpl, ..self.report.clone() }
    }

    /// Signed.
    pub(crate) fn sign(&self, data: &[u8], vmpl: u32) -> Vec<u8> {
        self.key.sign(&self.over(data, vmpl))
    }

    /// The certificate table that a host adds.
    pub(crate) fn table(&self) -> Vec<u8> {
        testkit::snp::certificate_table(&[(testkit::snp::VCEK_GUID, &self.key.certificate)])
    }
}

/// A TD's quote over these data.
pub(crate) fn tdx_quote(data: &[u8]) -> Vec<u8> {
    Quote::tdx(5, &Td { report_data: data.try_into().unwrap(), ..Td::v15() }).encode()
}

/// An enclave's quote over these data.
pub(crate) fn sgx_quote(data: &[u8]) -> Vec<u8> {
    Quote::sgx(3, &Enclave { report_data: data.try_into().unwrap(), ..Enclave::default() }).encode()
}

/// Everybody who vouches for something here.
pub(crate) struct Vendors {
    pub(crate) nvidia: Arc<TestNvidia>,
    verifier: Verifier,
    endorsements: Endorsements,
}

impl Vendors {
    /// Their documents, without certificates of chips: those have to come with the Evidence.
    pub(crate) fn new() -> Self {
        let (nvidia, rims, intel) = (Arc::new(TestNvidia::new()), RimAuthority::new(), intel());
        let mut known: Vec<Vec<u8>> = vec![intel.root_der()];
        let mut endorsements = Endorsements::default();
        let mut add = |kind, bytes: &[u8]| endorsements.add(kind, bytes).unwrap();
        for line in lines() {
            known.extend([line.ark.clone(), line.ask.clone()]);
            add(EndorsementKind::Crl, &line.crl());
        }
        add(EndorsementKind::Certificate, &intel.signer_der());
        add(EndorsementKind::Crl, &intel.root_crl(&[]));
        add(EndorsementKind::Crl, &intel.pck_crl(PLATFORM_CA_NAME, &[]));
        for id in ["TDX", "SGX"] {
            add(EndorsementKind::TcbInfo, intel.tcb_info(&TcbInfo::new(id)).as_bytes());
        }
        for id in ["TD_QE", "QE"] {
            add(EndorsementKind::QeIdentity, intel.qe_identity(&QeIdentity::new(id)).as_bytes());
        }
        for chip in [Chip::Gh100, Chip::Ls10] {
            for manifest in TestReport::new(chip, [0; 32]).manifests() {
                add(EndorsementKind::Rim, rims.sign(&manifest).as_bytes());
            }
        }
        let arks = lines().map(|line| Digest::of(&line.ark));
        let known: Vec<&[u8]> = known.iter().map(Vec::as_slice).collect();
        let anchors = danger::anchors(arks, intel.root_digest(), nvidia.root(), rims.root(), &known);
        Self { nvidia, verifier: Verifier::with_anchors(anchors), endorsements }
    }

    /// With the certificate of this chip at hand, for Evidence that comes without.
    pub(crate) fn knowing(mut self, chip: &TestChip) -> Self {
        self.endorsements.add(EndorsementKind::Certificate, &chip.key.certificate).unwrap();
        self
    }

    /// Whether Evidence is accepted whole: genuine, bound to these data, and within reference values made for this machine.
    pub(crate) fn judge(&self, evidence: &Evidence, expected: &Expected) -> Result<(), VerifyError> {
        let unverified = UnverifiedEvidence::new(evidence.clone())?;
        let verified = self.verifier.verify(unverified, expected, &self.endorsements, NOW)?;
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
        let values = self.verifier.reference_values(&question, "test").unwrap();
        let result = appraise(verified, &values).unwrap();
        assert!(!result.is_insecure());
        Ok(())
    }

    /// That Evidence is accepted over the data that were asked for.
    pub(crate) fn accept(&self, evidence: &Evidence) {
        self.judge(evidence, &REPORT_DATA.into()).unwrap();
    }

    /// That Evidence is genuine and over other data than those.
    pub(crate) fn refuse(&self, evidence: &Evidence) {
        let error = self.judge(evidence, &REPORT_DATA.into()).unwrap_err();
        assert!(matches!(error, VerifyError::Unbound { .. }), "{error}");
    }
}

/// An address on the loopback where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// The Attester of a machine without agent.
pub(crate) fn attester(kernel: &Arc<impl Kernel + 'static>) -> Automatic {
    let kernel: Arc<dyn Kernel> = Arc::clone(kernel) as Arc<dyn Kernel>;
    Automatic::new(kernel, GuestAgent::new(nobody()))
}

/// Asks over [`REPORT_DATA`].
pub(crate) async fn ask(kernel: &Arc<impl Kernel + 'static>) -> Result<Evidence, attester::AttestError> {
    attester(kernel).attest(&REPORT_DATA).await
}
