//! A stand-in of the guest components' REST gateway (`api-server-rest`): its paths, its parameters with their encoding, and
//! its answers, in the shapes of its release of August 2026.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::snp::{Report, ReportKey};

/// What the gateway passes on to the attestation agent, and what comes back: status and body.
pub(crate) type Answer = (u16, Vec<u8>);

/// What the agent says to runtime data.
pub(crate) type Ask = Box<dyn Fn(&[u8]) -> Answer + Send>;

/// The agent behind the gateway.
pub(crate) struct Agent {
    /// Evidence over runtime data.
    pub(crate) evidence: Ask,
    /// Additional evidence over runtime data.
    pub(crate) additional: Ask,
    /// Whether the gateway knows `encoding=base64`, which older ones pass by.
    pub(crate) decodes: bool,
}

impl Agent {
    /// One that answers this evidence, and has no devices.
    pub(crate) fn new(evidence: impl Fn(&[u8]) -> Value + Send + 'static) -> Self {
        Self {
            evidence: Box::new(move |data| ok(&evidence(data))),
            additional: Box::new(|_| (200, Vec::new())),
            decodes: true,
        }
    }

    /// With devices.
    pub(crate) fn with(mut self, additional: impl Fn(&[u8]) -> Value + Send + 'static) -> Self {
        self.additional = Box::new(move |data| ok(&additional(data)));
        self
    }

    /// Serves until the process ends; gives the address, and what was asked for so far.
    pub(crate) fn serve(self) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.strip_prefix("GET ").unwrap().split(' ').next().unwrap().to_owned();
                let (status, body) = self.answer(&target);
                log.lock().unwrap().push(target);
                let _ = write!(stream, "HTTP/1.1 {status} X\r\ncontent-type: application/octet-stream\r\n");
                let _ = write!(stream, "content-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&body);
            }
        });
        (address, asked)
    }

    fn answer(&self, target: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        if path == "/info" {
            let info = json!({ "version": "v0.21.0", "tee": "snp", "additional_tees": ["nvidia"], "feature": "all" });
            return ok(&info);
        }
        let ask = match path {
            "/aa/evidence" => &self.evidence,
            "/aa/additional-evidence" => &self.additional,
            _ => return (404, b"URL NOT FOUND".to_vec()),
        };
        let Some(data) = parameter("runtime_data") else { return (400, b"BAD REQUEST".to_vec()) };
        let data = match parameter("encoding").as_deref() {
            Some("base64") if self.decodes => match URL_SAFE_NO_PAD.decode(data) {
                Ok(data) => data,
                Err(_) => return (400, b"BAD REQUEST".to_vec()),
            },
            _ => data.into_bytes(),
        };
        ask(&data)
    }
}

pub(crate) fn ok(value: &Value) -> Answer {
    (200, value.to_string().into_bytes())
}

/// Evidence of SEV-SNP, as crate `sev` serialises its report.
pub(crate) fn sev_json(key: &ReportKey, report: &Report, certificates: bool) -> Value {
    let signed = key.sign(report);
    let (r, s) = (&signed[0x2a0..0x2e8], &signed[0x2e8..0x330]);
    let tcb = |tcb: protocol::reference::TcbVersion| json!({ "fmc": tcb.fmc, "bootloader": tcb.bootloader, "tee": tcb.tee, "snp": tcb.snp, "microcode": tcb.microcode });
    let version = |[major, minor, build]: [u8; 3]| json!({ "major": major, "minor": minor, "build": build });
    let has_processor = report.version >= 3;
    let processor = report.processor.map(|byte| has_processor.then_some(byte));
    let mitigations =
        [report.launch_mitigations, report.current_mitigations].map(|bits| (report.version >= 5).then_some(bits));
    let chip = if report.mask_chip_id { [0; 64] } else { report.chip_id };
    let fields = json!({
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": report.policy,
        "family_id": report.family_id,
        "image_id": report.image_id,
        "vmpl": report.vmpl,
        "sig_algo": report.signature_algorithm,
        "current_tcb": tcb(report.current_tcb),
        "plat_info": report.platform_info,
        "key_info": u32::from(report.author_key_enabled) | u32::from(report.mask_chip_key) << 1,
        "report_data": report.report_data.to_vec(),
        "measurement": report.measurement.to_vec(),
        "host_data": report.host_data,
        "id_key_digest": report.id_key_digest.to_vec(),
        "author_key_digest": report.author_key_digest.to_vec(),
        "report_id": report.report_id,
        "report_id_ma": report.report_id_ma,
        "reported_tcb": tcb(report.reported_tcb),
        "cpuid_fam_id": processor[0],
        "cpuid_mod_id": processor[1],
        "cpuid_step": processor[2],
        "chip_id": chip.to_vec(),
        "committed_tcb": tcb(report.committed_tcb),
        "current": version(report.current_version),
        "committed": version(report.committed_version),
        "launch_tcb": tcb(report.launch_tcb),
        "launch_mit_vector": mitigations[0],
        "current_mit_vector": mitigations[1],
        "signature": { "r": r, "s": s },
    });
    let chain = certificates.then(|| {
        json!([{ "cert_type": "VCEK", "data": key.certificate }, {
        "cert_type": { "OTHER": "00000000-0000-0000-0000-0000000000aa" }, "data": [1, 2, 3] }])
    });
    json!({ "attestation_report": fields, "cert_chain": chain })
}

/// Evidence of TDX, with or without an event log.
pub(crate) fn tdx_json(quote: &[u8], log: Option<&[u8]>) -> Value {
    json!({ "cc_eventlog": log.map(|log| STANDARD.encode(log)), "quote": STANDARD.encode(quote) })
}

/// Evidence of the sample attester.
pub(crate) fn sample_json(data: &[u8]) -> Value {
    json!({ "svn": "1", "report_data": STANDARD.encode(data) })
}
