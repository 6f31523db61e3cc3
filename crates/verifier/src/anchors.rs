//! Whom this release believes: the vendors' roots, compiled in. There is no way to add one but [`danger`], which tests use.

use protocol::Digest;
use protocol::reference::AmdProduct;

use crate::endorsements::Document;
use crate::x509::Certificate;

/// The roots of every vendor, as SHA-256 fingerprints of their certificates, and the certificates that are compiled in.
#[derive(Clone, Debug)]
pub struct TrustAnchors {
    amd: [(AmdProduct, Digest); 3],
    intel: Digest,
    nvidia_device: Digest,
    nvidia_rim: Digest,
    known: Vec<Certificate>,
    documents: Vec<Document>,
}

/// NVIDIA Device Identity CA: the root of GPUs' and switches' keys.
const NVIDIA_DEVICE: [u8; 32] = [
    0x10, 0x2b, 0xf6, 0x59, 0xd5, 0x41, 0x96, 0x14, 0xc9, 0xd8, 0xe6, 0xae, 0xce, 0xbc, 0x80, 0x45, 0x4e, 0xb2, 0x6b,
    0x1d, 0xf6, 0xa7, 0x69, 0xac, 0x72, 0x0b, 0x9a, 0x69, 0x0b, 0x16, 0x7b, 0x48,
];

/// NVIDIA CoRIM signing Root CA: the root of the signers of reference integrity manifests.
const NVIDIA_RIM: [u8; 32] = [
    0x12, 0x97, 0x7b, 0x51, 0x15, 0xac, 0xb0, 0x38, 0x11, 0x79, 0x27, 0x9f, 0xff, 0xeb, 0x5a, 0x8c, 0x4d, 0x26, 0x49,
    0x71, 0xeb, 0xb3, 0x22, 0x98, 0x02, 0x3a, 0x46, 0x5f, 0xa4, 0x1d, 0xf5, 0xd1,
];

/// A product, its ARK, and its ASK and ASVK.
type AmdCertificates = (AmdProduct, &'static [u8], [&'static [u8]; 2]);

/// AMD's roots and the authorities below them, for each product: ARK, ASK, ASVK. From <https://kdsintf.amd.com>, where they
/// are public; they are the same bytes that the field's verifiers carry.
const AMD: [AmdCertificates; 3] = [
    (
        AmdProduct::Milan,
        include_bytes!("../anchors/amd-ark-milan.der"),
        [include_bytes!("../anchors/amd-ask-milan.der"), include_bytes!("../anchors/amd-asvk-milan.der")],
    ),
    (
        AmdProduct::Genoa,
        include_bytes!("../anchors/amd-ark-genoa.der"),
        [include_bytes!("../anchors/amd-ask-genoa.der"), include_bytes!("../anchors/amd-asvk-genoa.der")],
    ),
    (
        AmdProduct::Turin,
        include_bytes!("../anchors/amd-ark-turin.der"),
        [include_bytes!("../anchors/amd-ask-turin.der"), include_bytes!("../anchors/amd-asvk-turin.der")],
    ),
];

/// Intel SGX Root CA, which is also TDX's.
const INTEL: &[u8] = include_bytes!("../anchors/intel-sgx-root.der");

impl TrustAnchors {
    /// The vendors' own.
    pub fn vendor() -> Self {
        let known: Vec<&[u8]> =
            AMD.iter().flat_map(|(_, ark, below)| [*ark].into_iter().chain(*below)).chain([INTEL]).collect();
        Self::new(
            AMD.map(|(product, ark, _)| (product, Digest::of(ark))),
            Digest::of(INTEL),
            Digest::from_bytes(NVIDIA_DEVICE),
            Digest::from_bytes(NVIDIA_RIM),
            &known,
        )
    }

    fn new(
        amd: [(AmdProduct, Digest); 3],
        intel: Digest,
        nvidia_device: Digest,
        nvidia_rim: Digest,
        known: &[&[u8]],
    ) -> Self {
        let mut documents = crate::endorsements::Endorsements::default();
        for der in known {
            // A certificate over the limit cannot be compiled in: the test below reads every one.
            let _ = documents.add(crate::endorsements::EndorsementKind::Certificate, der);
        }
        Self {
            amd,
            intel,
            nvidia_device,
            nvidia_rim,
            known: known.iter().filter_map(|der| Certificate::parse(der).ok()).collect(),
            documents: documents.certificates().to_vec(),
        }
    }

    /// The fingerprint of a product's ARK.
    pub(crate) fn amd(&self, product: AmdProduct) -> Option<Digest> {
        self.amd.iter().find(|(known, _)| *known == product).map(|(_, root)| *root)
    }

    /// The fingerprint of Intel SGX Root CA.
    pub(crate) fn intel(&self) -> Digest {
        self.intel
    }

    /// The fingerprint of NVIDIA Device Identity CA.
    pub(crate) fn nvidia_device(&self) -> Digest {
        self.nvidia_device
    }

    /// The fingerprint of NVIDIA CoRIM signing Root CA.
    pub(crate) fn nvidia_rim(&self) -> Digest {
        self.nvidia_rim
    }

    /// Every root that is pinned, of all vendors: to tell whose a certificate is, never to judge Evidence by.
    pub(crate) fn all_roots(&self) -> Vec<Digest> {
        let amd = self.amd.iter().map(|(_, root)| *root);
        amd.chain([self.intel, self.nvidia_device, self.nvidia_rim]).collect()
    }

    /// Certificates that are compiled in, so that nobody has to present them: roots, and AMD's authorities below them.
    pub(crate) fn certificates(&self) -> &[Certificate] {
        &self.known
    }

    /// The compiled-in certificates as documents.
    pub fn known(&self) -> &[Document] {
        &self.documents
    }
}

impl Default for TrustAnchors {
    fn default() -> Self {
        Self::vendor()
    }
}

/// What loosens: a Verifier that believes other roots. For tests and their rigs.
pub mod danger {
    use super::{AmdProduct, Digest, TrustAnchors};

    /// Anchors of anybody's making: `amd` are fingerprints of ARKs in the order Milan, Genoa, Turin; `known` are DER
    /// certificates that need not be presented.
    pub fn anchors(
        amd: [Digest; 3],
        intel: Digest,
        nvidia_device: Digest,
        nvidia_rim: Digest,
        known: &[&[u8]],
    ) -> TrustAnchors {
        let [milan, genoa, turin] = amd;
        let amd = [(AmdProduct::Milan, milan), (AmdProduct::Genoa, genoa), (AmdProduct::Turin, turin)];
        TrustAnchors::new(amd, intel, nvidia_device, nvidia_rim, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Cache;
    use crate::time::UnixTime;
    use crate::x509::{build_path, verify_path};

    #[test]
    fn every_compiled_in_certificate_leads_to_a_pinned_root() {
        let anchors = TrustAnchors::vendor();
        assert_eq!(anchors.certificates().len(), 10);
        assert_eq!(anchors.known().len(), 10);
        let now: UnixTime = "2026-11-21".parse().unwrap();
        let roots: Vec<_> =
            AmdProduct::ALL.iter().filter_map(|product| anchors.amd(*product)).chain([anchors.intel()]).collect();
        for certificate in anchors.certificates() {
            if certificate.is_self_issued() {
                assert!(roots.contains(&certificate.fingerprint()), "{}", certificate.subject());
                continue;
            }
            let path = build_path(certificate, anchors.certificates().iter()).unwrap();
            verify_path(path, &roots, &[], now, &Cache::default()).unwrap();
        }
    }

    #[test]
    fn an_authority_of_one_product_does_not_lead_to_the_root_of_another() {
        let anchors = TrustAnchors::vendor();
        let ask = anchors.certificates().iter().find(|c| c.subject() == "SEV-Milan").unwrap();
        let path = build_path(ask, anchors.certificates().iter()).unwrap();
        let genoa = anchors.amd(AmdProduct::Genoa).unwrap();
        let error = verify_path(path, &[genoa], &[], "2026-11-21".parse().unwrap(), &Cache::default()).unwrap_err();
        assert_eq!(error.code(), "certificate-untrusted-root");
    }
}
