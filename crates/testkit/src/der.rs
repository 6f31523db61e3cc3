//! A small DER writer, and certificates and CRLs of any shape, also of shapes that no issuer would make.

use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RSA_PSS_SHA384,
};

/// One value: tag, length, content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).expect("below 128"));
    } else {
        let bytes = length.to_be_bytes();
        let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
        out.push(0x80 | u8::try_from(significant.len()).expect("at most 8"));
        out.extend(significant);
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of values that are already encoded.
pub fn sequence<T: AsRef<[u8]>>(items: &[T]) -> Vec<u8> {
    tlv(0x30, &concat(items))
}

/// SET of values that are already encoded, in the given order.
pub fn set<T: AsRef<[u8]>>(items: &[T]) -> Vec<u8> {
    tlv(0x31, &concat(items))
}

/// Values one after another.
pub fn concat<T: AsRef<[u8]>>(items: &[T]) -> Vec<u8> {
    items.iter().flat_map(|item| item.as_ref().iter().copied()).collect()
}

/// INTEGER from a number.
pub fn integer(value: u64) -> Vec<u8> {
    integer_bytes(&value.to_be_bytes())
}

/// INTEGER from the big-endian bytes of a number that is not negative.
pub fn integer_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if content.first().is_none_or(|first| first & 0x80 != 0) {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

/// OBJECT IDENTIFIER from its dotted form.
pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().expect("arcs are numbers")).collect();
    let [first, second, rest @ ..] = arcs.as_slice() else { panic!("an OID has two arcs or more: {dotted}") };
    let mut content = Vec::new();
    for arc in std::iter::once(&(first * 40 + second)).chain(rest) {
        let mut groups = vec![u8::try_from(arc & 0x7f).expect("seven bits")];
        let mut left = arc >> 7;
        while left > 0 {
            groups.push(0x80 | u8::try_from(left & 0x7f).expect("seven bits"));
            left >>= 7;
        }
        content.extend(groups.into_iter().rev());
    }
    tlv(0x06, &content)
}

/// OCTET STRING.
pub fn octet_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x04, bytes)
}

/// BIT STRING of whole bytes.
pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(0x03, &concat(&[&[0], bytes]))
}

/// BIT STRING of named bits, the lowest number first, without trailing zeros, as DER wants it.
pub fn named_bits(bits: &[u8]) -> Vec<u8> {
    let Some(last) = bits.iter().max() else { return tlv(0x03, &[0]) };
    let mut bytes = vec![0_u8; usize::from(last / 8) + 1];
    for bit in bits {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    tlv(0x03, &concat(&[&[7 - last % 8][..], &bytes]))
}

/// UTF8String.
pub fn utf8_string(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

/// PrintableString.
pub fn printable_string(text: &str) -> Vec<u8> {
    tlv(0x13, text.as_bytes())
}

/// IA5String.
pub fn ia5_string(text: &str) -> Vec<u8> {
    tlv(0x16, text.as_bytes())
}

/// NULL.
pub fn null() -> Vec<u8> {
    tlv(0x05, &[])
}

/// BOOLEAN.
pub fn boolean(value: bool) -> Vec<u8> {
    tlv(0x01, &[if value { 0xff } else { 0 }])
}

/// A value under an explicit, constructed context tag.
pub fn explicit(tag: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | tag, content)
}

/// A primitive value under an implicit context tag: `content` is without its own tag.
pub fn implicit(tag: u8, content: &[u8]) -> Vec<u8> {
    tlv(0x80 | tag, content)
}

/// UTCTime up to 2049, GeneralizedTime from then on, as RFC 5280 (section 4.1.2.5) wants it.
pub fn time(unix: u64) -> Vec<u8> {
    let (year, month, day) = civil(unix / 86_400);
    let (hour, minute, second) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    if year < 2050 {
        tlv(0x17, format!("{:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z", year % 100).as_bytes())
    } else {
        tlv(0x18, format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes())
    }
}

/// GeneralizedTime, whatever the year.
pub fn generalized_time(unix: u64) -> Vec<u8> {
    let (year, month, day) = civil(unix / 86_400);
    let (hour, minute, second) = (unix / 3600 % 24, unix / 60 % 60, unix % 60);
    tlv(0x18, format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes())
}

/// Year, month and day of a day since 1970, by walking: a test rig has the time.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// A document in PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for chunk in line.chunks(3) {
            let mut bytes = [0; 3];
            bytes[..chunk.len()].copy_from_slice(chunk);
            let value = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
            for position in 0..4 {
                let letter = ALPHABET[value >> (18 - 6 * position) & 0x3f];
                text.push(if position > chunk.len() { '=' } else { char::from(letter) });
            }
        }
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const MGF1: &str = "1.2.840.113549.1.1.8";
const SHA384: &str = "2.16.840.1.101.3.4.2.2";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

/// The keys that the rig signs with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// RSA-PSS with SHA-384, salt of 48 bytes.
    RsaPss,
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
}

/// A private key.
#[derive(Debug)]
pub struct Key {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Rsa(RsaKeyPair),
    Ec { asn1: EcdsaKeyPair, fixed: EcdsaKeyPair, p384: bool },
}

/// How many RSA keys a process makes at most: making one takes a while.
const RSA_KEYS: usize = 16;

impl Key {
    /// A new key. RSA keys have 2048 bits: half of AMD's, and many times as fast to make.
    pub fn generate(kind: KeyKind) -> Self {
        let ec = |asn1: &'static EcdsaSigningAlgorithm, fixed, p384| {
            let asn1 = EcdsaKeyPair::generate(asn1).expect("the system has randomness");
            let document = asn1.to_pkcs8v1().expect("a key that was just made can be written");
            let fixed = EcdsaKeyPair::from_pkcs8(fixed, document.as_ref()).expect("and read again");
            Self { inner: Inner::Ec { asn1, fixed, p384 } }
        };
        match kind {
            KeyKind::RsaPss => {
                Self { inner: Inner::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("the system has randomness")) }
            }
            KeyKind::P256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED_SIGNING, false),
            KeyKind::P384 => ec(&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING, true),
        }
    }

    /// One of the RSA keys of this process, made when it is first asked for.
    pub fn rsa(index: usize) -> &'static Self {
        static KEYS: [OnceLock<Key>; RSA_KEYS] = [const { OnceLock::new() }; RSA_KEYS];
        KEYS[index].get_or_init(|| Self::generate(KeyKind::RsaPss))
    }

    /// The public key as SubjectPublicKeyInfo.
    pub fn spki(&self) -> Vec<u8> {
        match &self.inner {
            Inner::Rsa(key) => {
                let algorithm = sequence(&[oid(RSA_ENCRYPTION), null()]);
                sequence(&[algorithm, bit_string(key.public_key().as_ref())])
            }
            Inner::Ec { asn1, p384, .. } => {
                let algorithm = sequence(&[oid(EC_PUBLIC_KEY), oid(if *p384 { P384 } else { P256 })]);
                sequence(&[algorithm, bit_string(asn1.public_key().as_ref())])
            }
        }
    }

    /// The public key alone: an uncompressed point, or a PKCS #1 RSAPublicKey.
    pub fn public_key(&self) -> &[u8] {
        match &self.inner {
            Inner::Rsa(key) => key.public_key().as_ref(),
            Inner::Ec { asn1, .. } => asn1.public_key().as_ref(),
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    pub fn algorithm(&self) -> Vec<u8> {
        match &self.inner {
            Inner::Rsa(_) => {
                let sha384 = sequence(&[oid(SHA384), null()]);
                let parameters = sequence(&[
                    explicit(0, &sha384),
                    explicit(1, &sequence(&[oid(MGF1), sha384])),
                    explicit(2, &integer(48)),
                    explicit(3, &integer(1)),
                ]);
                sequence(&[oid(RSASSA_PSS), parameters])
            }
            Inner::Ec { p384, .. } => sequence(&[oid(if *p384 { ECDSA_SHA384 } else { ECDSA_SHA256 })]),
        }
    }

    /// A signature as X.509 holds it.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.inner {
            Inner::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA384, &random, message, &mut signature).expect("a good key signs");
                signature
            }
            Inner::Ec { asn1, .. } => asn1.sign(&random, message).expect("a good key signs").as_ref().to_vec(),
        }
    }

    /// An ECDSA signature as r and s, big-endian, of equal length.
    pub fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        match &self.inner {
            Inner::Rsa(_) => panic!("only ECDSA has a fixed form"),
            Inner::Ec { fixed, .. } => {
                fixed.sign(&SystemRandom::new(), message).expect("a good key signs").as_ref().to_vec()
            }
        }
    }

    /// The private key as PKCS #8, for other programs that are to sign with it.
    pub fn pkcs8(&self) -> Vec<u8> {
        match &self.inner {
            Inner::Rsa(key) => {
                let document: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().expect("a good key can be written");
                document.as_ref().to_vec()
            }
            Inner::Ec { asn1, .. } => asn1.to_pkcs8v1().expect("a good key can be written").as_ref().to_vec(),
        }
    }
}

/// A distinguished name: OID and encoded value, one for each RDN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(pub Vec<(&'static str, Vec<u8>)>);

/// The OID of a common name.
pub const COMMON_NAME: &str = "2.5.4.3";

impl Name {
    /// A name with nothing but a common name.
    pub fn common(name: &str) -> Self {
        Self(vec![(COMMON_NAME, utf8_string(name))])
    }

    /// The encoding.
    pub fn der(&self) -> Vec<u8> {
        let rdns: Vec<_> = self.0.iter().map(|(kind, value)| set(&[sequence(&[oid(kind), value.clone()])])).collect();
        sequence(&rdns)
    }
}

/// An extension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Its OID, dotted.
    pub oid: String,
    /// Whether who does not know it must refuse.
    pub critical: bool,
    /// The content of the octet string.
    pub value: Vec<u8>,
}

impl Extension {
    /// An extension that may be ignored.
    pub fn new(oid: &str, value: Vec<u8>) -> Self {
        Self { oid: oid.to_owned(), critical: false, value }
    }

    /// An extension that may not be ignored.
    pub fn critical(oid: &str, value: Vec<u8>) -> Self {
        Self { oid: oid.to_owned(), critical: true, value }
    }

    /// basicConstraints of a CA.
    pub fn ca(path_len: Option<u64>) -> Self {
        let mut fields = vec![boolean(true)];
        fields.extend(path_len.map(integer));
        Self::critical("2.5.29.19", sequence(&fields))
    }

    /// basicConstraints of a certificate that is no CA.
    pub fn not_ca() -> Self {
        Self::critical("2.5.29.19", sequence::<Vec<u8>>(&[]))
    }

    /// keyUsage, by bit: 0 digitalSignature, 5 keyCertSign, 6 cRLSign.
    pub fn key_usage(bits: &[u8]) -> Self {
        Self::critical("2.5.29.15", named_bits(bits))
    }

    /// subjectKeyIdentifier.
    pub fn subject_key_id(id: &[u8]) -> Self {
        Self::new("2.5.29.14", octet_string(id))
    }

    /// authorityKeyIdentifier, by key id.
    pub fn authority_key_id(id: &[u8]) -> Self {
        Self::new("2.5.29.35", sequence(&[implicit(0, id)]))
    }

    /// extendedKeyUsage.
    pub fn extended_key_usage(usages: &[&str]) -> Self {
        let usages: Vec<_> = usages.iter().map(|usage| oid(usage)).collect();
        Self::new("2.5.29.37", sequence(&usages))
    }

    /// cRLNumber.
    pub fn crl_number(number: u64) -> Self {
        Self::new("2.5.29.20", integer(number))
    }

    fn der(&self) -> Vec<u8> {
        let mut fields = vec![oid(&self.oid)];
        if self.critical {
            fields.push(boolean(true));
        }
        fields.push(octet_string(&self.value));
        sequence(&fields)
    }
}

fn extensions_der(extensions: &[Extension]) -> Vec<u8> {
    let items: Vec<_> = extensions.iter().map(Extension::der).collect();
    sequence(&items)
}

/// A certificate to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// Big-endian bytes of the serial number.
    pub serial: Vec<u8>,
    /// Who signs.
    pub issuer: Name,
    /// Who is certified.
    pub subject: Name,
    /// From, seconds since 1970.
    pub not_before: u64,
    /// To, seconds since 1970.
    pub not_after: u64,
    /// Extensions, in this order.
    pub extensions: Vec<Extension>,
}

/// 2020-01-01, when certificates of the rig begin unless a test says otherwise.
pub const NOT_BEFORE: u64 = 1_577_836_800;
/// 2050-01-01, when they end: the first instant that is written as a GeneralizedTime.
pub const NOT_AFTER: u64 = 2_524_608_000;

impl Certificate {
    /// A certificate valid from [`NOT_BEFORE`] to [`NOT_AFTER`], serial number 1, without extensions.
    pub fn new(subject: Name, issuer: Name) -> Self {
        Self { serial: vec![1], issuer, subject, not_before: NOT_BEFORE, not_after: NOT_AFTER, extensions: vec![] }
    }

    /// A root or an intermediate.
    pub fn ca(subject: Name, issuer: Name, path_len: Option<u64>) -> Self {
        let mut template = Self::new(subject, issuer);
        template.extensions = vec![Extension::ca(path_len), Extension::key_usage(&[5, 6])];
        template
    }

    /// With one more extension.
    #[must_use]
    pub fn with(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// With another serial number.
    #[must_use]
    pub fn serial(mut self, serial: u64) -> Self {
        self.serial = serial.to_be_bytes().to_vec();
        self
    }

    /// With another validity.
    #[must_use]
    pub fn valid(mut self, from: u64, to: u64) -> Self {
        (self.not_before, self.not_after) = (from, to);
        self
    }

    /// The part that is signed.
    pub fn tbs(&self, subject_spki: &[u8], issuer_algorithm: &[u8]) -> Vec<u8> {
        let mut fields = vec![
            explicit(0, &integer(2)),
            integer_bytes(&self.serial),
            issuer_algorithm.to_vec(),
            self.issuer.der(),
            sequence(&[time(self.not_before), time(self.not_after)]),
            self.subject.der(),
            subject_spki.to_vec(),
        ];
        if !self.extensions.is_empty() {
            fields.push(explicit(3, &extensions_der(&self.extensions)));
        }
        sequence(&fields)
    }

    /// The certificate.
    pub fn sign(&self, subject: &Key, issuer: &Key) -> Vec<u8> {
        self.sign_spki(&subject.spki(), issuer)
    }

    /// The certificate of a key whose private half is elsewhere.
    pub fn sign_spki(&self, subject_spki: &[u8], issuer: &Key) -> Vec<u8> {
        let tbs = self.tbs(subject_spki, &issuer.algorithm());
        signed(&tbs, issuer)
    }
}

/// SEQUENCE of a body, the algorithm and the signature: certificates, CRLs and OCSP responses have this shape.
pub fn signed(tbs: &[u8], issuer: &Key) -> Vec<u8> {
    sequence(&[tbs.to_vec(), issuer.algorithm(), bit_string(&issuer.sign(tbs))])
}

/// A revocation list to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crl {
    /// Who signs.
    pub issuer: Name,
    /// When it was made.
    pub this_update: u64,
    /// When the next one is due.
    pub next_update: Option<u64>,
    /// Serial numbers, big-endian.
    pub revoked: Vec<Vec<u8>>,
    /// Extensions of the list.
    pub extensions: Vec<Extension>,
}

impl Crl {
    /// An empty list with number 1, made at [`NOT_BEFORE`], good until [`NOT_AFTER`].
    pub fn new(issuer: Name) -> Self {
        Self {
            issuer,
            this_update: NOT_BEFORE,
            next_update: Some(NOT_AFTER),
            revoked: vec![],
            extensions: vec![Extension::crl_number(1)],
        }
    }

    /// With one more serial number.
    #[must_use]
    pub fn revoking(mut self, serial: &[u8]) -> Self {
        self.revoked.push(serial.to_vec());
        self
    }

    /// The list.
    pub fn sign(&self, issuer: &Key) -> Vec<u8> {
        let mut fields = vec![integer(1), issuer.algorithm(), self.issuer.der(), time(self.this_update)];
        fields.extend(self.next_update.map(time));
        if !self.revoked.is_empty() {
            let entries: Vec<_> =
                self.revoked.iter().map(|serial| sequence(&[integer_bytes(serial), time(self.this_update)])).collect();
            fields.push(sequence(&entries));
        }
        if !self.extensions.is_empty() {
            fields.push(explicit(0, &extensions_der(&self.extensions)));
        }
        signed(&sequence(&fields), issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_as_x690_writes_them() {
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(127), [2, 1, 127]);
        assert_eq!(integer(128), [2, 2, 0, 128]);
        assert_eq!(oid("1.2.840.113549"), [6, 6, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]);
        assert_eq!(named_bits(&[5, 6]), [3, 2, 1, 0b110]);
        assert_eq!(tlv(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tlv(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
        assert_eq!(time(NOT_BEFORE), [&[0x17, 13][..], b"200101000000Z"].concat());
        assert_eq!(time(NOT_AFTER), [&[0x18, 15][..], b"20500101000000Z"].concat());
        assert_eq!(pem("X", b"abcd"), "-----BEGIN X-----\nYWJjZA==\n-----END X-----\n");
    }
}
