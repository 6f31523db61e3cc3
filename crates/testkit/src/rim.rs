//! NVIDIA's RIMs under a root of one's own: for any measurements, and broken in any way.
//!
//! What is written is in canonical form already, so this rig needs no canonicaliser, and a mistake of the Verifier's is not
//! repeated here.

use aws_lc_rs::digest::{SHA384, digest};
use protocol::Digest;

use crate::der::{self, Certificate, Extension, Key, KeyKind, Name};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const HASHES: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const TCG: &str = "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// From when the rig's signer holds: 2025-01-01.
pub const SIGNER_FROM: u64 = 1_735_689_600;
/// Until when the rig's signer holds: 2027-01-01.
pub const SIGNER_UNTIL: u64 = 1_798_761_600;

/// One measurement to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestMeasurement {
    /// Its index.
    pub index: u32,
    /// Whether it is to be compared.
    pub active: bool,
    /// Its alternatives.
    pub digests: Vec<[u8; 48]>,
}

/// A RIM to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestRim {
    /// The chip.
    pub product: String,
    /// `GPU` or `SWITCH`.
    pub edition: String,
    /// The version of driver or firmware.
    pub version: String,
    /// The measurements, in the order of the document.
    pub measurements: Vec<TestMeasurement>,
}

impl TestRim {
    /// A RIM in which these measurements are active, each with one digest, and all others up to 63 are not.
    pub fn new(product: &str, edition: &str, version: &str, active: &[(u32, [u8; 48])]) -> Self {
        let measurements = (0..64).map(|index| match active.iter().find(|(number, _)| *number == index) {
            Some((_, digest)) => TestMeasurement { index, active: true, digests: vec![*digest] },
            None => TestMeasurement { index, active: false, digests: vec![[0; 48]] },
        });
        Self {
            product: product.to_owned(),
            edition: edition.to_owned(),
            version: version.to_owned(),
            measurements: measurements.collect(),
        }
    }

    /// The document without a signature, in canonical form.
    pub fn content(&self) -> String {
        let resources: String = self.measurements.iter().map(resource).collect();
        let Self { product, edition, version, .. } = self;
        let id = hex(&sha384(version.as_bytes()));
        format!(
            "<SoftwareIdentity{namespaces} corpus=\"false\" name=\"{product}\" patch=\"false\" supplemental=\"false\" \
             tagId=\"{id}\" tagVersion=\"0\" version=\"1.0\">\n    \
             <ns0:Entity name=\"NVIDIA Corporation\" role=\"softwareCreator tagCreator\"></ns0:Entity>\n    \
             <ns0:Meta xmlns:ns1=\"{TCG}\" PayloadType=\"direct\" colloquialVersion=\"{version}\" \
             edition=\"{edition}\" product=\"{product}\" revision=\"r1\" ns1:BindingSpec=\"RIMIM\" \
             ns1:FirmwareManufacturer=\"NVIDIA Corporation\" ns1:FirmwareManufacturerId=\"5703\"></ns0:Meta>\n    \
             <ns0:Payload xmlns:SHA384=\"{HASHES}\">\n{resources}    </ns0:Payload>\n</SoftwareIdentity>",
            namespaces = namespaces(""),
        )
    }
}

/// The declarations of the root, with that of the signature at its place where it is in scope.
fn namespaces(dsig: &str) -> String {
    format!(" xmlns=\"{SWID}\"{dsig} xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{HASHES}\"")
}

fn resource(measurement: &TestMeasurement) -> String {
    let TestMeasurement { index, active, digests } = measurement;
    let mut hashes: Vec<_> = digests.iter().enumerate().map(|(n, digest)| (format!("Hash{n}"), hex(digest))).collect();
    // Canonical order is by name, and `Hash10` goes before `Hash2`.
    hashes.sort();
    let hashes: Vec<_> = hashes.iter().map(|(name, digest)| format!(" ns2:{name}=\"{digest}\"")).collect();
    let hashes = hashes.concat();
    let active = if *active { "True" } else { "False" };
    format!(
        "        <ns0:Resource active=\"{active}\" alternatives=\"{count}\" index=\"{index}\" \
         name=\"Measurement_{index}\" size=\"48\" type=\"Measurement\"{hashes}></ns0:Resource>\n",
        count = digests.len()
    )
}

/// What a signature says of itself. The default is what NVIDIA writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signing {
    /// The canonicalization method.
    pub canonicalization: String,
    /// The signature method.
    pub method: String,
    /// What is signed: URI, transforms, digest method.
    pub references: Vec<TestReference>,
    /// The certificates, in this order.
    pub certificates: Vec<Vec<u8>>,
    /// What stands in `KeyInfo` after the certificates.
    pub more_key_info: String,
    /// The digest, where it is not that of the content.
    pub digest: Option<[u8; 48]>,
}

/// One reference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestReference {
    /// Attributes of the element.
    pub attributes: String,
    /// URIs of the transforms.
    pub transforms: Vec<String>,
    /// URI of the digest method.
    pub digest_method: String,
}

impl Default for TestReference {
    fn default() -> Self {
        Self {
            attributes: " URI=\"\"".to_owned(),
            transforms: vec![format!("{DSIG}enveloped-signature"), "http://www.w3.org/2006/12/xml-c14n11".to_owned()],
            digest_method: "http://www.w3.org/2001/04/xmldsig-more#sha384".to_owned(),
        }
    }
}

impl TestReference {
    fn xml(&self, digest: &[u8; 48]) -> String {
        let transforms: Vec<_> =
            self.transforms.iter().map(|uri| format!("<ds:Transform Algorithm=\"{uri}\"></ds:Transform>")).collect();
        let transforms = transforms.concat();
        format!(
            "<ds:Reference{attributes}><ds:Transforms>{transforms}</ds:Transforms><ds:DigestMethod \
             Algorithm=\"{method}\"></ds:DigestMethod><ds:DigestValue>{value}</ds:DigestValue></ds:Reference>",
            attributes = self.attributes,
            method = self.digest_method,
            value = base64(digest)
        )
    }
}

/// A signer of RIMs with two authorities and a root above it, all on P-384.
#[derive(Debug)]
pub struct RimAuthority {
    /// The signer's key.
    pub signer: Key,
    /// Certificates, leaf first.
    pub certificates: Vec<Vec<u8>>,
    /// Keys of the authorities: of the one that issued the signer, the one above, and the root.
    pub keys: [Key; 3],
}

/// The names of the chain, leaf first.
pub const NAMES: [&str; 4] = ["Test RIM Signer", "Test RIM L3", "Test RIM CA", "Test RIM Root"];

impl Default for RimAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl RimAuthority {
    /// An authority with new keys.
    pub fn new() -> Self {
        Self::with_signer(Self::signer_certificate(), KeyKind::P384)
    }

    /// The certificate of a proper signer, to be changed.
    pub fn signer_certificate() -> Certificate {
        Certificate::new(Name::common(NAMES[0]), Name::common(NAMES[1]))
            .serial(4)
            .valid(SIGNER_FROM, SIGNER_UNTIL)
            .with(Extension::not_ca())
            .with(Extension::key_usage(&[0]))
    }

    /// An authority whose signer is as the test wants it.
    pub fn with_signer(signer: Certificate, kind: KeyKind) -> Self {
        let [leaf, issuing, middle, root] = [kind, KeyKind::P384, KeyKind::P384, KeyKind::P384].map(Key::generate);
        let name = Name::common;
        let certificates = vec![
            signer.sign(&leaf, &issuing),
            Certificate::ca(name(NAMES[1]), name(NAMES[2]), Some(0)).serial(3).sign(&issuing, &middle),
            Certificate::ca(name(NAMES[2]), name(NAMES[3]), None).serial(2).sign(&middle, &root),
            Certificate::ca(name(NAMES[3]), name(NAMES[3]), None).serial(1).sign(&root, &root),
        ];
        Self { signer: leaf, certificates, keys: [issuing, middle, root] }
    }

    /// SHA-256 of the root.
    pub fn root(&self) -> Digest {
        Digest::of(&self.certificates[3])
    }

    /// What NVIDIA would write, with these certificates.
    pub fn signing(&self) -> Signing {
        Signing {
            canonicalization: "http://www.w3.org/2006/12/xml-c14n11".to_owned(),
            method: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384".to_owned(),
            references: vec![TestReference::default()],
            certificates: self.certificates.clone(),
            more_key_info: String::new(),
            digest: None,
        }
    }

    /// A signed RIM.
    pub fn sign(&self, rim: &TestRim) -> String {
        self.sign_content(&rim.content(), &self.signing())
    }

    /// A document with a signature before its last tag. `content` must be in canonical form.
    pub fn sign_content(&self, content: &str, signing: &Signing) -> String {
        let signature = self.signature(content, signing);
        let at = content.rfind("</").expect("a document ends with a tag");
        format!("{}{signature}{}", &content[..at], &content[at..])
    }

    /// A signature over `content`, as an element that declares its own prefix.
    pub fn signature(&self, content: &str, signing: &Signing) -> String {
        let digest = signing.digest.unwrap_or_else(|| sha384(content.as_bytes()));
        let references: String = signing.references.iter().map(|reference| reference.xml(&digest)).collect();
        let inner = format!(
            "<ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod><ds:SignatureMethod \
             Algorithm=\"{}\"></ds:SignatureMethod>{references}",
            signing.canonicalization, signing.method
        );
        self.signature_over(&inner, &namespaces(&format!(" xmlns:ds=\"{DSIG}\"")), signing)
    }

    /// A signature whose `SignedInfo` has these contents, in canonical form, and these namespaces in scope.
    pub fn signature_over(&self, inner: &str, namespaces: &str, signing: &Signing) -> String {
        let canonical = format!("<ds:SignedInfo{namespaces}>{inner}</ds:SignedInfo>");
        let value = base64(&self.signer.sign_fixed(canonical.as_bytes()));
        let certificates: Vec<_> = signing
            .certificates
            .iter()
            .map(|der| format!("<ds:X509Certificate>{}</ds:X509Certificate>", base64(der)))
            .collect();
        let certificates = certificates.concat();
        format!(
            "<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo>{inner}</ds:SignedInfo><ds:SignatureValue>{value}\
             </ds:SignatureValue><ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data>{more}</ds:KeyInfo></ds:Signature>",
            more = signing.more_key_info
        )
    }
}

/// SHA-384.
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    digest(&SHA384, bytes).as_ref().try_into().expect("SHA-384 gives 48 bytes")
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Base64 without line ends.
fn base64(bytes: &[u8]) -> String {
    der::pem("X", bytes).lines().filter(|line| !line.starts_with('-')).collect()
}
