//! A fake Intel: a root, PCK authorities and certificates, a signer of TCB documents, revocation lists, and quotes of
//! versions 3, 4 and 5 for any claims. Each part can be replaced by a wrong one before it is signed.

use std::fmt::Write as _;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use protocol::Digest;

use crate::der::{
    Certificate, Crl, Extension, Key, KeyKind, Name, boolean, integer, octet_string, oid, pem, sequence, tlv,
};

/// 2027-01-15: a time within the validity of everything that the rig makes.
pub const NOW: u64 = 1_800_000_000;

/// The extension that says what a PCK certificate is for.
const SGX: &str = "1.2.840.113741.1.13.1";

/// The names of Intel's certificates, as they are.
pub const ROOT_NAME: &str = "Intel SGX Root CA";
/// Likewise.
pub const PLATFORM_CA_NAME: &str = "Intel SGX PCK Platform CA";
/// Likewise.
pub const PROCESSOR_CA_NAME: &str = "Intel SGX PCK Processor CA";
/// Likewise.
pub const PCK_NAME: &str = "Intel SGX PCK Certificate";
/// Likewise.
pub const SIGNER_NAME: &str = "Intel SGX TCB Signing";

/// Serial numbers of the rig's certificates: of the PCK certificate, of its authority, of the TCB signer.
pub const PCK_SERIAL: u64 = 0x50;
/// Likewise.
pub const CA_SERIAL: u64 = 0x51;
/// Likewise.
pub const SIGNER_SERIAL: u64 = 0x52;

/// What a PCK certificate says of its platform.
#[derive(Clone, Debug)]
pub struct Pck {
    /// Provisioning id.
    pub ppid: [u8; 16],
    /// SVNs of the components.
    pub components: [u8; 16],
    /// SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// Which of them.
    pub pce_id: [u8; 2],
    /// The family of platforms.
    pub fmspc: [u8; 6],
    /// Platform instance id.
    pub instance: Option<[u8; 16]>,
    /// Dynamic platform, cached keys, SMT enabled.
    pub configuration: Option<[bool; 3]>,
}

impl Default for Pck {
    fn default() -> Self {
        Self {
            ppid: [0x11; 16],
            components: [5; 16],
            pce_svn: 13,
            pce_id: [0, 0],
            fmspc: [0x90, 0xc0, 0x6f, 0, 0, 0],
            instance: Some([0x77; 16]),
            configuration: Some([false, false, false]),
        }
    }
}

impl Pck {
    /// The extension's value.
    pub fn extension(&self) -> Vec<u8> {
        let pair = |suffix: &str, value: Vec<u8>| sequence(&[oid(&format!("{SGX}.{suffix}")), value]);
        let mut tcb: Vec<_> = (1..)
            .zip(self.components)
            .map(|(number, svn): (u32, u8)| pair(&format!("2.{number}"), integer(svn.into())))
            .collect();
        tcb.push(pair("2.17", integer(self.pce_svn.into())));
        tcb.push(pair("2.18", octet_string(&self.components)));
        let mut all = vec![
            pair("1", octet_string(&self.ppid)),
            pair("2", sequence(&tcb)),
            pair("3", octet_string(&self.pce_id)),
            pair("4", octet_string(&self.fmspc)),
            pair("5", tlv(0x0a, &[1])),
        ];
        all.extend(self.instance.map(|id| pair("6", octet_string(&id))));
        if let Some([dynamic, cached, smt]) = self.configuration {
            let flags = [("7.1", dynamic), ("7.2", cached), ("7.3", smt)];
            all.push(pair("7", sequence(&flags.map(|(suffix, flag)| pair(suffix, boolean(flag))))));
        }
        sequence(&all)
    }
}

/// The fake's keys. Keys are made once for a process: making quotes and documents with them is cheap.
#[derive(Debug)]
pub struct FakeIntel {
    /// Of the root.
    pub root: Key,
    /// Of the PCK authorities.
    pub ca: Key,
    /// Of the platform.
    pub pck: Key,
    /// Of the signer of TCB documents.
    pub signer: Key,
    /// Of the quoting enclave.
    pub attestation: Key,
    /// Nobody's.
    pub stranger: Key,
    /// The root's certificate: signed once, because a second signature would be another one, and the root is pinned.
    root_der: Vec<u8>,
}

static INTEL: LazyLock<FakeIntel> = LazyLock::new(|| {
    let key = || Key::generate(KeyKind::P256);
    let root = key();
    let root_der = ca_of(ROOT_NAME).sign(&root, &root);
    FakeIntel { root, ca: key(), pck: key(), signer: key(), attestation: key(), stranger: key(), root_der }
});

/// The fake Intel of this process.
pub fn intel() -> &'static FakeIntel {
    &INTEL
}

fn ca_of(subject: &str) -> Certificate {
    Certificate::ca(Name::common(subject), Name::common(ROOT_NAME), None)
}

impl FakeIntel {
    /// The root's certificate.
    pub fn root_der(&self) -> Vec<u8> {
        self.root_der.clone()
    }

    /// The fingerprint by which the root is pinned.
    pub fn root_digest(&self) -> Digest {
        Digest::of(&self.root_der())
    }

    /// The certificate of a PCK authority.
    pub fn ca_der(&self, name: &str) -> Vec<u8> {
        ca_of(name).serial(CA_SERIAL).sign(&self.ca, &self.root)
    }

    /// What a PCK certificate is made from.
    pub fn pck_certificate(&self, pck: &Pck, authority: &str) -> Certificate {
        Certificate::new(Name::common(PCK_NAME), Name::common(authority))
            .serial(PCK_SERIAL)
            .with(Extension::not_ca())
            .with(Extension::key_usage(&[0]))
            .with(Extension::new(SGX, pck.extension()))
    }

    /// A PCK chain as quotes carry it: leaf, platform CA, root.
    pub fn chain(&self, pck: &Pck) -> String {
        let leaf = self.pck_certificate(pck, PLATFORM_CA_NAME).sign(&self.pck, &self.ca);
        pem_chain(&[leaf, self.ca_der(PLATFORM_CA_NAME), self.root_der()])
    }

    /// The certificate of the signer of TCB documents.
    pub fn signer_der(&self) -> Vec<u8> {
        Certificate::new(Name::common(SIGNER_NAME), Name::common(ROOT_NAME))
            .serial(SIGNER_SERIAL)
            .with(Extension::not_ca())
            .with(Extension::key_usage(&[0, 1]))
            .sign(&self.signer, &self.root)
    }

    /// The root's revocation list.
    pub fn root_crl(&self, revoked: &[u64]) -> Vec<u8> {
        crl(ROOT_NAME, revoked).sign(&self.root)
    }

    /// The revocation list of a PCK authority.
    pub fn pck_crl(&self, authority: &str, revoked: &[u64]) -> Vec<u8> {
        crl(authority, revoked).sign(&self.ca)
    }

    /// A statement in the envelope in which Intel's service sends it.
    pub fn sign_statement(&self, member: &str, statement: &str, signer: &Key) -> String {
        let signature = signer.sign_fixed(statement.as_bytes());
        format!(r#"{{"{member}":{statement},"signature":"{}"}}"#, hex(&signature))
    }

    /// Signed TCB info.
    pub fn tcb_info(&self, info: &TcbInfo) -> String {
        self.sign_statement("tcbInfo", &info.json(), &self.signer)
    }

    /// Signed QE identity.
    pub fn qe_identity(&self, identity: &QeIdentity) -> String {
        self.sign_statement("enclaveIdentity", &identity.json(), &self.signer)
    }
}

/// A list that a test may still change: see [`Crl`].
pub fn crl(issuer: &str, revoked: &[u64]) -> Crl {
    revoked.iter().fold(Crl::new(Name::common(issuer)), |crl, serial| crl.revoking(&serial.to_be_bytes()))
}

/// Certificates as one PEM text.
pub fn pem_chain(certificates: &[Vec<u8>]) -> String {
    certificates.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

fn advisories_json(advisories: &[&str]) -> String {
    match advisories {
        [] => String::new(),
        ids => format!(r#","advisoryIDs":["{}"]"#, ids.join("\",\"")),
    }
}

/// A level of a platform.
#[derive(Clone, Debug)]
pub struct PlatformLevel {
    /// SGX components.
    pub sgx: [u8; 16],
    /// TDX components.
    pub tdx: [u8; 16],
    /// PCE.
    pub pce_svn: u16,
    /// RFC 3339.
    pub date: &'static str,
    /// Intel's word.
    pub status: &'static str,
    /// Open advisories.
    pub advisories: Vec<&'static str>,
}

/// A level with a single SVN.
#[derive(Clone, Debug)]
pub struct SvnLevel {
    /// The SVN.
    pub svn: u16,
    /// RFC 3339.
    pub date: &'static str,
    /// Intel's word.
    pub status: &'static str,
    /// Open advisories.
    pub advisories: Vec<&'static str>,
}

impl SvnLevel {
    fn json(&self) -> String {
        let Self { svn, date, status, advisories } = self;
        format!(
            r#"{{"tcb":{{"isvsvn":{svn}}},"tcbDate":"{date}","tcbStatus":"{status}"{}}}"#,
            advisories_json(advisories)
        )
    }
}

fn levels_json<T>(levels: &[T], json: impl Fn(&T) -> String) -> String {
    levels.iter().map(json).collect::<Vec<_>>().join(",")
}

/// TCB info.
#[derive(Clone, Debug)]
pub struct TcbInfo {
    /// `SGX` or `TDX`.
    pub id: &'static str,
    /// RFC 3339.
    pub issue_date: &'static str,
    /// RFC 3339.
    pub next_update: &'static str,
    /// The family.
    pub fmspc: [u8; 6],
    /// The provisioning certification enclave.
    pub pce_id: [u8; 2],
    /// The evaluation.
    pub evaluation: u32,
    /// The levels.
    pub levels: Vec<PlatformLevel>,
    /// TDX modules by major version, with the signer's first byte and the attributes' first byte.
    pub modules: Vec<(u8, u8, Vec<SvnLevel>)>,
}

/// When the newest level of the rig is from.
pub const NEWEST: &str = "2026-11-11T00:00:00Z";
/// When the level in between is from.
pub const MIDDLE: &str = "2026-05-13T00:00:00Z";
/// When the oldest is from.
pub const OLDEST: &str = "2025-11-12T00:00:00Z";

impl TcbInfo {
    /// Three levels, of which [`Pck::default`] meets the highest (its components are 5): up to date from 5, out of date from
    /// 4 and from 2. Module 1 likewise with SVNs 5, 4 and 2; module 3 with 3.
    pub fn new(id: &'static str) -> Self {
        let level = |svn, date, status, advisories| PlatformLevel {
            sgx: [svn; 16],
            tdx: [svn, 0, svn, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            pce_svn: 13,
            date,
            status,
            advisories,
        };
        let module = |svn, date, status, advisories| SvnLevel { svn, date, status, advisories };
        Self {
            id,
            issue_date: "2027-01-01T00:00:00Z",
            next_update: "2027-01-31T00:00:00Z",
            fmspc: Pck::default().fmspc,
            pce_id: [0, 0],
            evaluation: 20,
            levels: vec![
                level(5, NEWEST, "UpToDate", vec![]),
                level(4, MIDDLE, "OutOfDate", vec!["INTEL-SA-00004"]),
                level(2, OLDEST, "OutOfDate", vec!["INTEL-SA-00004", "INTEL-SA-00002"]),
            ],
            modules: vec![
                (
                    1,
                    0,
                    vec![
                        module(5, NEWEST, "UpToDate", vec![]),
                        module(4, MIDDLE, "OutOfDate", vec!["INTEL-SA-00014"]),
                        module(2, OLDEST, "OutOfDate", vec!["INTEL-SA-00014", "INTEL-SA-00012"]),
                    ],
                ),
                (3, 0, vec![module(3, NEWEST, "UpToDate", vec![])]),
            ],
        }
    }

    /// The statement.
    pub fn json(&self) -> String {
        let Self { id, issue_date, next_update, evaluation, .. } = self;
        let components = |svns: &[u8; 16]| {
            let each: Vec<_> = svns.iter().map(|svn| format!(r#"{{"svn":{svn},"category":"OS/VMM"}}"#)).collect();
            format!("[{}]", each.join(","))
        };
        let levels = levels_json(&self.levels, |level| {
            let tdx = match *id {
                "TDX" => format!(r#","tdxtcbcomponents":{}"#, components(&level.tdx)),
                _ => String::new(),
            };
            format!(
                r#"{{"tcb":{{"sgxtcbcomponents":{},"pcesvn":{}{tdx}}},"tcbDate":"{}","tcbStatus":"{}"{}}}"#,
                components(&level.sgx),
                level.pce_svn,
                level.date,
                level.status,
                advisories_json(&level.advisories)
            )
        });
        let module = |signer: u8| {
            let mut mrsigner = [0; 48];
            mrsigner[0] = signer;
            format!(
                r#""mrsigner":"{}","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF""#,
                hex(&mrsigner).to_uppercase()
            )
        };
        let tdx = match *id {
            "TDX" => format!(
                r#""tdxModule":{{{}}},"tdxModuleIdentities":[{}],"#,
                module(0),
                levels_json(&self.modules, |(version, signer, levels)| format!(
                    r#"{{"id":"TDX_{version:02X}",{},"tcbLevels":[{}]}}"#,
                    module(*signer),
                    levels_json(levels, SvnLevel::json)
                ))
            ),
            _ => String::new(),
        };
        format!(
            r#"{{"id":"{id}","version":3,"issueDate":"{issue_date}","nextUpdate":"{next_update}","fmspc":"{}","pceId":"{}","tcbType":0,"tcbEvaluationDataNumber":{evaluation},{tdx}"tcbLevels":[{levels}]}}"#,
            hex(&self.fmspc).to_uppercase(),
            hex(&self.pce_id)
        )
    }
}

/// QE identity.
#[derive(Clone, Debug)]
pub struct QeIdentity {
    /// `QE` or `TD_QE`.
    pub id: &'static str,
    /// RFC 3339.
    pub issue_date: &'static str,
    /// RFC 3339.
    pub next_update: &'static str,
    /// The evaluation.
    pub evaluation: u32,
    /// MRSIGNER.
    pub mrsigner: [u8; 32],
    /// ISVPRODID.
    pub product_id: u16,
    /// The levels.
    pub levels: Vec<SvnLevel>,
}

impl QeIdentity {
    /// The identity of the rig's quoting enclave: up to date from SVN 6, out of date from 4.
    pub fn new(id: &'static str) -> Self {
        let level = |svn, date, status, advisories| SvnLevel { svn, date, status, advisories };
        Self {
            id,
            issue_date: "2027-01-01T00:00:00Z",
            next_update: "2027-01-31T00:00:00Z",
            evaluation: 21,
            mrsigner: [0xdc; 32],
            product_id: 2,
            levels: vec![level(6, NEWEST, "UpToDate", vec![]), level(4, MIDDLE, "OutOfDate", vec!["INTEL-SA-00024"])],
        }
    }

    /// The statement.
    pub fn json(&self) -> String {
        let Self { id, issue_date, next_update, evaluation, product_id, .. } = self;
        format!(
            r#"{{"id":"{id}","version":2,"issueDate":"{issue_date}","nextUpdate":"{next_update}","tcbEvaluationDataNumber":{evaluation},"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"{}","isvprodid":{product_id},"tcbLevels":[{}]}}"#,
            hex(&self.mrsigner),
            levels_json(&self.levels, SvnLevel::json)
        )
    }
}

/// An enclave's report.
#[derive(Clone, Debug)]
pub struct Enclave {
    /// CPUSVN.
    pub cpu_svn: [u8; 16],
    /// MISCSELECT.
    pub misc_select: [u8; 4],
    /// ATTRIBUTES.FLAGS.
    pub attributes: [u8; 8],
    /// ATTRIBUTES.XFRM.
    pub xfrm: [u8; 8],
    /// MRENCLAVE.
    pub mrenclave: [u8; 32],
    /// MRSIGNER.
    pub mrsigner: [u8; 32],
    /// CONFIGID.
    pub config_id: [u8; 64],
    /// ISVPRODID.
    pub product_id: u16,
    /// ISVSVN.
    pub svn: u16,
    /// CONFIGSVN.
    pub config_svn: u16,
    /// REPORTDATA.
    pub report_data: [u8; 64],
}

/// The identity that the rig's TEEs report, with zeros behind it.
pub const IDENTITY: [u8; 32] = [0x1d; 32];

fn padded<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..32].copy_from_slice(&IDENTITY);
    bytes
}

impl Default for Enclave {
    fn default() -> Self {
        Self {
            cpu_svn: [5; 16],
            misc_select: [0; 4],
            attributes: [0x85, 0, 0, 0, 0, 0, 0, 0],
            xfrm: [0xe7, 0, 0, 0, 0, 0, 0, 0],
            mrenclave: [0xe1; 32],
            mrsigner: [0xe2; 32],
            config_id: padded(),
            product_id: 3,
            svn: 4,
            config_svn: 5,
            report_data: [0xda; 64],
        }
    }
}

impl Enclave {
    /// The rig's quoting enclave, which vouches for a key.
    pub fn quoting(key: &[u8], auth_data: &[u8]) -> Self {
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(digest(&SHA256, &[key, auth_data].concat()).as_ref());
        Self {
            attributes: [0x11, 0, 0, 0, 0, 0, 0, 0],
            mrsigner: [0xdc; 32],
            config_id: [0; 64],
            product_id: 2,
            svn: 6,
            config_svn: 0,
            report_data,
            ..Self::default()
        }
    }

    /// The 384 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { cpu_svn, misc_select, attributes, xfrm, mrenclave, mrsigner, config_id, report_data, .. } = self;
        let mut bytes = [cpu_svn.as_slice(), misc_select, &[0; 12], &[0; 16], attributes, xfrm, mrenclave].concat();
        bytes.extend([[0; 32], *mrsigner, [0; 32]].concat());
        bytes.extend(config_id);
        for number in [self.product_id, self.svn, self.config_svn] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 42]);
        bytes.extend([0; 16]);
        bytes.extend(report_data);
        assert_eq!(bytes.len(), 384);
        bytes
    }
}

/// A TD's report.
#[derive(Clone, Debug)]
pub struct Td {
    /// TEE_TCB_SVN.
    pub tee_tcb_svn: [u8; 16],
    /// MRSEAM.
    pub mrseam: [u8; 48],
    /// MRSIGNERSEAM.
    pub mr_signer_seam: [u8; 48],
    /// SEAMATTRIBUTES.
    pub seam_attributes: [u8; 8],
    /// TD attributes.
    pub td_attributes: [u8; 8],
    /// XFAM.
    pub xfam: [u8; 8],
    /// MRTD.
    pub mrtd: [u8; 48],
    /// MRCONFIGID.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// RTMR0 to 3.
    pub rtmrs: [[u8; 48]; 4],
    /// REPORTDATA.
    pub report_data: [u8; 64],
    /// TEE_TCB_SVN_2 and MRSERVICETD of a report 1.5.
    pub v15: Option<([u8; 16], [u8; 48])>,
    /// The rest of an extended report 1.5: the hash of the service TDs that are bound now. TCB at the launch
    /// is that of now; the other fields are zero.
    pub extended: Option<[u8; 48]>,
}

/// TEE_TCB_SVN of the rig: module version 1, SVN 5, component 2 at 5.
pub const TEE_TCB_SVN: [u8; 16] = [5, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl Default for Td {
    fn default() -> Self {
        Self {
            tee_tcb_svn: TEE_TCB_SVN,
            mrseam: [0xa1; 48],
            mr_signer_seam: [0; 48],
            seam_attributes: [0; 8],
            td_attributes: [0, 0, 0, 0x10, 0, 0, 0, 0],
            xfam: [0xe7, 2, 6, 0, 0, 0, 0, 0],
            mrtd: [0xa2; 48],
            mr_config_id: padded(),
            mr_owner: [0; 48],
            mr_owner_config: [0; 48],
            rtmrs: [[0xb0; 48], [0xb1; 48], [0xb2; 48], [0xb3; 48]],
            report_data: [0xda; 64],
            v15: None,
            extended: None,
        }
    }
}

impl Td {
    /// A TD with a report 1.5.
    pub fn v15() -> Self {
        Self { v15: Some((TEE_TCB_SVN, [0; 48])), ..Self::default() }
    }

    /// A TD with an extended report 1.5.
    pub fn extended() -> Self {
        Self { extended: Some([0; 48]), ..Self::v15() }
    }

    /// 584, 648 or 885 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.tee_tcb_svn.as_slice(), &self.mrseam, &self.mr_signer_seam].concat();
        bytes.extend([self.seam_attributes, self.td_attributes, self.xfam].concat());
        bytes.extend([self.mrtd, self.mr_config_id, self.mr_owner, self.mr_owner_config].concat());
        bytes.extend(self.rtmrs.concat());
        bytes.extend(self.report_data);
        if let Some((svn, service)) = &self.v15 {
            bytes.extend(svn);
            bytes.extend(service);
        }
        if let Some(current) = &self.extended {
            // VMID, TD_ID, DEV_INFO, then what the service TDs and the TCB were at the launch.
            bytes.extend([0; 1 + 32 + 48 + 48 + 8]);
            // Launched where it runs: the CPUSVN is that of the rig's quoting enclave.
            bytes.extend([5; 16]);
            bytes.extend(self.tee_tcb_svn);
            bytes.extend([0; 12]);
            bytes.extend(current);
            bytes.extend([0; 8]);
        }
        bytes
    }

    fn body_type(&self) -> u16 {
        match (&self.v15, &self.extended) {
            (None, _) => 2,
            (Some(_), None) => 3,
            (Some(_), Some(_)) => 4,
        }
    }
}

/// Everything a quote is made from. What is `pub` may be made wrong before [`Quote::encode`] signs.
#[derive(Clone, Debug)]
pub struct Quote {
    /// 3, 4 or 5.
    pub version: u16,
    /// 2 for ECDSA P-256.
    pub key_type: u16,
    /// 0 or 0x81.
    pub tee: u32,
    /// Intel's UUID.
    pub vendor: [u8; 16],
    /// Version 5: which body it is.
    pub body_type: u16,
    /// The body.
    pub body: Vec<u8>,
    /// What the attestation key says of itself; `None`: the rig's key.
    pub qe_report: Option<Vec<u8>>,
    /// The QE's authentication data.
    pub auth_data: Vec<u8>,
    /// Type of the certification data.
    pub certification_type: u16,
    /// The certification data.
    pub chain: Vec<u8>,
    /// What stands behind the quote.
    pub padding: Vec<u8>,
}

impl Quote {
    fn new(version: u16, tee: u32, body_type: u16, body: Vec<u8>) -> Self {
        Self {
            version,
            key_type: 2,
            tee,
            vendor: [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07],
            body_type,
            body,
            qe_report: None,
            auth_data: (0..32).collect(),
            certification_type: 5,
            chain: intel().chain(&Pck::default()).into_bytes(),
            padding: Vec::new(),
        }
    }

    /// A TD's quote: version 4 for a report 1.0 when asked for, else 5.
    pub fn tdx(version: u16, td: &Td) -> Self {
        Self::new(version, 0x81, td.body_type(), td.encode())
    }

    /// An enclave's quote.
    pub fn sgx(version: u16, enclave: &Enclave) -> Self {
        Self::new(version, 0, 1, enclave.encode())
    }

    /// With another platform.
    #[must_use]
    pub fn on(mut self, pck: &Pck) -> Self {
        self.chain = intel().chain(pck).into_bytes();
        self
    }

    /// With another quoting enclave, which still vouches for the attestation key.
    #[must_use]
    pub fn by(mut self, change: impl FnOnce(&mut Enclave)) -> Self {
        let mut enclave = Enclave::quoting(self.key(), &self.auth_data);
        change(&mut enclave);
        self.qe_report = Some(enclave.encode());
        self
    }

    #[expect(clippy::unused_self, reason = "reads as a property of the quote")]
    fn key(&self) -> &'static [u8] {
        // Without the 4 that says "uncompressed".
        &intel().attestation.public_key()[1..]
    }

    /// Header and body.
    pub fn signed_part(&self) -> Vec<u8> {
        let mut bytes = [self.version.to_le_bytes(), self.key_type.to_le_bytes()].concat();
        bytes.extend(self.tee.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.vendor);
        bytes.extend([0x9e; 20]);
        if self.version == 5 {
            bytes.extend(self.body_type.to_le_bytes());
            bytes.extend(len(self.body.len()));
        }
        bytes.extend(&self.body);
        bytes
    }

    /// The quote, signed.
    pub fn encode(&self) -> Vec<u8> {
        let intel = intel();
        let signed = self.signed_part();
        let qe_report =
            self.qe_report.clone().unwrap_or_else(|| Enclave::quoting(self.key(), &self.auth_data).encode());
        let mut qe = qe_report.clone();
        qe.extend(intel.pck.sign_fixed(&qe_report));
        qe.extend(u16::try_from(self.auth_data.len()).expect("short").to_le_bytes());
        qe.extend(&self.auth_data);
        qe.extend(self.certification_type.to_le_bytes());
        qe.extend(len(self.chain.len()));
        qe.extend(&self.chain);
        let mut data = [intel.attestation.sign_fixed(&signed).as_slice(), self.key()].concat();
        if self.version > 3 {
            data.extend(6u16.to_le_bytes());
            data.extend(len(qe.len()));
        }
        data.extend(qe);
        [signed.as_slice(), &len(data.len()), &data, &self.padding].concat()
    }
}

fn len(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a quote is short").to_le_bytes()
}
