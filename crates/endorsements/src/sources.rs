//! Which service has which document, and how it is asked.

use verifier::endorsements::{AmdKey, EndorsementKind, Need};

use protocol::reference::{AmdProduct, TcbVersion};
use protocol::{Digest, Tee};

use crate::der;
use crate::error::{FetchError, quote};

/// LIMIT: ids of RIMs are names of a product, a version and numbers; the longest known one has 60 characters.
const MAX_RIM_ID: usize = 128;
/// LIMIT: a chain as PEM: eight certificates of 16 KiB, in base64.
const MAX_CHAIN: usize = 192 * 1024;

/// Where Intel's collateral comes from.
#[derive(Clone, Debug)]
pub enum Intel {
    /// Intel's own Provisioning Certification Service.
    Pcs {
        /// The service.
        api: String,
        /// Where the revocation list of the root is.
        certificates: String,
    },
    /// A caching service (PCCS) of the site. It has the same paths, and the root's revocation list as well.
    Pccs {
        /// The service.
        base: String,
        /// Certificates, DER, to which its own must lead. Where there are none, those of the system count.
        roots: Vec<Vec<u8>>,
    },
}

/// Which of Intel's current TCB infos is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Channel {
    /// The one that platforms had time to follow.
    #[default]
    Standard,
    /// The newest, on the day of the disclosure.
    Early,
    /// The one with this `tcbEvaluationDataNumber`.
    Number(u32),
}

impl Channel {
    /// What a URL has for it, after `?` or `&`.
    fn query(self) -> String {
        match self {
            Self::Standard => "update=standard".into(),
            Self::Early => "update=early".into(),
            Self::Number(number) => format!("tcbEvaluationDataNumber={number}"),
        }
    }
}

/// The services, each by the beginning of its addresses.
#[derive(Clone, Debug)]
pub struct Sources {
    /// AMD's key distribution service.
    pub amd: String,
    /// Intel's collateral.
    pub intel: Intel,
    /// Which of Intel's TCB infos.
    pub channel: Channel,
    /// NVIDIA's reference integrity manifests; ids are appended.
    pub nvidia_rim: String,
    /// NVIDIA's OCSP responder.
    pub nvidia_ocsp: String,
    /// A proxy for all of them: `https://HOST/PATH` is asked for as `PROXY/HOST/PATH`.
    pub proxy: Option<String>,
    /// Ask nobody: the cache has it or nobody has.
    pub offline: bool,
    /// Further certificates, DER, to which those of services may lead: of a proxy that the site runs.
    pub roots: Vec<Vec<u8>>,
    /// Whether `HTTPS_PROXY` and its like in the environment count.
    pub environment: bool,
}

impl Sources {
    /// The vendors' own services.
    pub fn vendors() -> Self {
        Self {
            amd: "https://kdsintf.amd.com".into(),
            intel: Intel::Pcs {
                api: "https://api.trustedservices.intel.com".into(),
                certificates: "https://certificates.trustedservices.intel.com".into(),
            },
            channel: Channel::Standard,
            nvidia_rim: "https://rim.attestation.nvidia.com/v1/rim".into(),
            nvidia_ocsp: "https://ocsp.ndis.nvidia.com".into(),
            proxy: None,
            offline: false,
            roots: Vec::new(),
            environment: true,
        }
    }

    /// No services: what the cache has, and nothing else.
    pub fn offline() -> Self {
        Self { offline: true, ..Self::vendors() }
    }

    /// All bases, with the names of their settings.
    pub(crate) fn bases(&self) -> Vec<(&'static str, &str)> {
        let mut bases =
            vec![("amd", self.amd.as_str()), ("nvidia_rim", &self.nvidia_rim), ("nvidia_ocsp", &self.nvidia_ocsp)];
        match &self.intel {
            Intel::Pcs { api, certificates } => {
                bases.extend([("intel.api", api.as_str()), ("intel.certificates", certificates)]);
            }
            Intel::Pccs { base, .. } => bases.push(("intel.base", base)),
        }
        bases.extend(self.proxy.as_deref().map(|proxy| ("proxy", proxy)));
        bases
    }

    /// The request that answers a need.
    pub(crate) fn request(&self, need: &Need) -> Result<Request, FetchError> {
        let amd = |path: String, limit| self.get(&self.amd, &path, limit);
        match need {
            Need::Vcek { product, chip_id, tcb } => {
                let path = vcek_path(*product, &chip_id.0, *tcb);
                Ok(amd(path, EndorsementKind::Certificate.max_len() * 2))
            }
            Need::AmdChain { product, key } => Ok(amd(amd_path(*product, *key, "cert_chain"), MAX_CHAIN)),
            Need::AmdCrl { product, key } => {
                Ok(amd(amd_path(*product, *key, "crl"), EndorsementKind::Crl.max_len() * 2))
            }
            Need::PckCrl { authority } => {
                let path = format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", authority.name());
                let request = self.intel(&path, EndorsementKind::Crl);
                Ok(Request { chain_header: Some("SGX-PCK-CRL-Issuer-Chain"), ..request })
            }
            Need::IntelRootCrl => Ok(match &self.intel {
                Intel::Pcs { certificates, .. } => {
                    self.get(certificates, "/IntelSGXRootCA.der", EndorsementKind::Crl.max_len() * 2)
                }
                Intel::Pccs { .. } => self.intel("/sgx/certification/v4/rootcacrl", EndorsementKind::Crl),
            }),
            Need::TcbInfo { tee, fmspc } => {
                let path = format!("/{}/certification/v4/tcb?fmspc={fmspc}&{}", intel_tee(*tee)?, self.channel.query());
                let request = self.intel(&path, EndorsementKind::TcbInfo);
                Ok(Request { chain_header: Some("TCB-Info-Issuer-Chain"), ..request })
            }
            Need::QeIdentity { tee } => {
                let path = format!("/{}/certification/v4/qe/identity?{}", intel_tee(*tee)?, self.channel.query());
                let request = self.intel(&path, EndorsementKind::QeIdentity);
                Ok(Request { chain_header: Some("SGX-Enclave-Identity-Issuer-Chain"), ..request })
            }
            Need::Rim { id } => {
                if !is_rim_id(id) {
                    return Err(FetchError::BadId { id: quote(id) });
                }
                // In base64, in JSON.
                let limit = EndorsementKind::Rim.max_len() / 2 * 3;
                let request = self.get(&self.nvidia_rim, &format!("/{id}"), limit);
                Ok(Request { accept: Some("application/json"), ..request })
            }
            Need::Ocsp { certificate, issuer } => {
                let body = der::ocsp_request(certificate, issuer).ok_or(FetchError::BadCertificate)?;
                let request = self.get(&self.nvidia_ocsp, "", EndorsementKind::OcspResponse.max_len());
                Ok(Request { body: Some(body), accept: Some("application/ocsp-response"), ..request })
            }
            // AMD gives a VLEK to the cloud alone, and other needs are newer than this crate.
            _ => Err(FetchError::NoSource),
        }
    }

    fn intel(&self, path: &str, kind: EndorsementKind) -> Request {
        // Twice the size, because a PCCS writes revocation lists in hex.
        let limit = kind.max_len() * 2;
        match &self.intel {
            Intel::Pcs { api, .. } => self.get(api, path, limit),
            Intel::Pccs { base, .. } => Request { pccs: true, ..self.get(base, path, limit) },
        }
    }

    fn get(&self, base: &str, path: &str, limit: usize) -> Request {
        let base = base.trim_end_matches('/');
        let url = match &self.proxy {
            None => format!("{base}{path}"),
            Some(proxy) => {
                let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
                format!("{}/{rest}{path}", proxy.trim_end_matches('/'))
            }
        };
        Request { service: base.to_owned(), ..Request::get(url, limit) }
    }

    /// Under which key the cache has the answer to a need. The channel belongs to it: two channels have two answers.
    pub(crate) fn key(&self, need: &Need) -> Digest {
        key(need, &self.variant(need))
    }

    /// The channel, for needs whose answer depends on it, else nothing.
    pub(crate) fn variant(&self, need: &Need) -> String {
        match (need, self.channel) {
            (Need::TcbInfo { .. } | Need::QeIdentity { .. }, Channel::Early) => "early".into(),
            (Need::TcbInfo { .. } | Need::QeIdentity { .. }, Channel::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }
}

/// The key of an entry: the digest of its need, as JSON, and its variant.
pub(crate) fn key(need: &Need, variant: &str) -> Digest {
    let need = serde_json::to_vec(need).expect("a need is plain data");
    Digest::of_fields(&[b"casemate endorsement 1", &need, variant.as_bytes()])
}

/// The path of a VCEK (AMD 57230, section 4.1). From Turin on a chip id has 8 bytes, and there is one more component.
fn vcek_path(product: AmdProduct, chip_id: &[u8; 64], tcb: TcbVersion) -> String {
    let (chip, fmc) = match product {
        AmdProduct::Turin => (&chip_id[..8], format!("fmcSPL={}&", tcb.fmc.unwrap_or(0))),
        AmdProduct::Milan | AmdProduct::Genoa => (&chip_id[..], String::new()),
    };
    format!(
        "/vcek/v1/{product}/{}?{fmc}blSPL={}&teeSPL={}&snpSPL={}&ucodeSPL={}",
        hex::encode(chip),
        tcb.bootloader,
        tcb.tee,
        tcb.snp,
        tcb.microcode
    )
}

fn amd_path(product: AmdProduct, key: AmdKey, what: &str) -> String {
    format!("/{}/v1/{product}/{what}", key.name())
}

fn intel_tee(tee: Tee) -> Result<&'static str, FetchError> {
    match tee {
        Tee::Tdx => Ok("tdx"),
        Tee::Sgx => Ok("sgx"),
        _ => Err(FetchError::NoSource),
    }
}

/// Whether an id may become part of an address: it comes from Evidence that nobody has verified.
pub(crate) fn is_rim_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=MAX_RIM_ID).contains(&id.len()) && id.bytes().all(plain) && !id.starts_with('.')
}

/// Host and port of an address, and its path and query; `None` for what is no address of a service.
pub(crate) fn parts(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let (host, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '#' | '\\');
    (!host.is_empty() && url.chars().all(plain)).then_some((host, path))
}

/// One question to one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) url: String,
    /// Whose failures are counted together: behind a proxy, each service still on its own.
    pub(crate) service: String,
    /// An OCSP request; makes this a POST.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) accept: Option<&'static str>,
    /// LIMIT: the most bytes that an answer may have.
    pub(crate) limit: usize,
    /// The header in which the certificates of the signer are.
    pub(crate) chain_header: Option<&'static str>,
    /// Whether the roots of the site's PCCS count for this connection.
    pub(crate) pccs: bool,
}

impl Request {
    /// Asks for a file.
    pub(crate) fn get(url: String, limit: usize) -> Self {
        Self { service: url.clone(), url, body: None, accept: None, limit, chain_header: None, pccs: false }
    }

    /// Host and port.
    pub(crate) fn host(&self) -> String {
        parts(&self.url).map_or(self.url.as_str(), |(host, _)| host).to_owned()
    }

    /// Path and query.
    pub(crate) fn path(&self) -> String {
        parts(&self.url).map_or("/", |(_, path)| if path.is_empty() { "/" } else { path }).to_owned()
    }
}

#[cfg(test)]
mod tests;
