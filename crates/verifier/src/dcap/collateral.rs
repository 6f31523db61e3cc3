//! Intel's signed statements about platforms and quoting enclaves: TCB info (version 3) and enclave identity (version 2) of
//! the "Intel SGX and Intel TDX PCS API", version 4.
//!
//! The service sends `{"tcbInfo": {…}, "signature": "…"}` and signs the very bytes of the inner object, so those bytes are
//! cut out of the text and nothing is written anew. A member twice, or another one, is refused: readers that differ in
//! which of two they take would differ in what was signed.

use std::sync::Arc;

use protocol::digest::Hex;
use protocol::reference::tdx::TcbStatus;
use protocol::{Digest, Tee};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::{CollateralProblem, DcapError};
use crate::context::Context;
use crate::endorsements::{Document, Need};
use crate::error::VerifyError;
use crate::time::UnixTime;
use crate::value;
use crate::x509::{Certificate, PathError, VerifiedPath, build_path, verify_path};

/// The common name of whoever signs for Intel.
const SIGNER: &str = "Intel SGX TCB Signing";

/// A statement cut out of its envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// What is signed.
    pub(super) signed: &'a [u8],
    /// r and s.
    pub(super) signature: [u8; 64],
}

impl<'a> Envelope<'a> {
    /// Cuts the object `member` and the text `signature` out of a JSON object that holds nothing else.
    pub(super) fn open(bytes: &'a [u8], member: &'static str) -> Result<Self, CollateralProblem> {
        let malformed = |reason: &str| CollateralProblem::Malformed { reason: reason.to_owned() };
        let mut text = Scanner { rest: bytes };
        let mut signed = None;
        let mut signature = None;
        text.expect(b'{').ok_or_else(|| malformed("it is no JSON object"))?;
        loop {
            let name = text.value::<String>().map_err(|()| malformed("a member has no name"))?.0;
            text.expect(b':').ok_or_else(|| malformed("a member has no value"))?;
            if name == member {
                text.peek(b'{').ok_or_else(|| malformed("the statement is no object"))?;
                let (_, span) = text.value::<IgnoredAny>().map_err(|()| malformed("the statement is not JSON"))?;
                if signed.replace(span).is_some() {
                    return Err(malformed("the statement stands there twice"));
                }
            } else if name == "signature" {
                text.peek(b'"').ok_or_else(|| malformed("the signature is no text"))?;
                let (value, _) = text.value::<String>().map_err(|()| malformed("the signature is no text"))?;
                if signature.replace(value).is_some() {
                    return Err(malformed("the signature stands there twice"));
                }
            } else {
                return Err(malformed("it has a member beside statement and signature"));
            }
            if text.expect(b',').is_none() {
                break;
            }
        }
        text.expect(b'}').ok_or_else(|| malformed("it does not end"))?;
        if !text.rest.trim_ascii_start().is_empty() {
            return Err(malformed("something follows it"));
        }
        let signature = signature.ok_or_else(|| malformed("it has no signature"))?;
        let signature: Hex<64> = signature.parse().map_err(|_| malformed("the signature is not 128 hex digits"))?;
        Ok(Self { signed: signed.ok_or_else(|| malformed("it has no statement"))?, signature: signature.0 })
    }
}

/// Goes through JSON text value by value, and knows where each one begins and ends.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    fn peek(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.trim_ascii_start();
        (self.rest.first() == Some(&byte)).then_some(())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.peek(byte)?;
        self.rest = self.rest.get(1..)?;
        Some(())
    }

    /// The next value, and its bytes.
    fn value<T: DeserializeOwned>(&mut self) -> Result<(T, &'a [u8]), ()> {
        self.rest = self.rest.trim_ascii_start();
        let mut values = serde_json::Deserializer::from_slice(self.rest).into_iter::<T>();
        let value = values.next().ok_or(())?.map_err(|_| ())?;
        let (span, rest) = self.rest.split_at_checked(values.byte_offset()).ok_or(())?;
        self.rest = rest;
        Ok((value, span))
    }
}

/// What Intel's TCB info says of a family of platforms. Members that are not named here are passed over: Intel adds some.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcbInfo {
    id: String,
    version: u32,
    issue_date: UnixTime,
    next_update: UnixTime,
    pub(super) fmspc: Hex<6>,
    pub(super) pce_id: Hex<2>,
    tcb_type: u32,
    pub(super) tcb_evaluation_data_number: u32,
    pub(super) tdx_module: Option<ModuleIdentity>,
    #[serde(default)]
    pub(super) tdx_module_identities: Vec<VersionedModule>,
    pub(super) tcb_levels: Vec<PlatformLevel>,
}

/// Whose TDX module is acceptable.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModuleIdentity {
    pub(super) mrsigner: Hex<48>,
    pub(super) attributes: Hex<8>,
    pub(super) attributes_mask: Hex<8>,
}

/// The same for one major version, with its own levels.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionedModule {
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) identity: ModuleIdentity,
    pub(super) tcb_levels: Vec<SvnLevel>,
}

/// A level of a platform.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlatformLevel {
    pub(super) tcb: PlatformTcbSvns,
    pub(super) tcb_date: UnixTime,
    pub(super) tcb_status: TcbStatus,
    #[serde(default, rename = "advisoryIDs")]
    pub(super) advisories: Vec<String>,
}

/// The SVNs of a level.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct PlatformTcbSvns {
    #[serde(rename = "sgxtcbcomponents")]
    pub(super) sgx: [Component; 16],
    #[serde(rename = "tdxtcbcomponents")]
    pub(super) tdx: Option<[Component; 16]>,
    #[serde(rename = "pcesvn")]
    pub(super) pce_svn: u16,
}

/// The SVN of one component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
pub(super) struct Component {
    pub(super) svn: u8,
}

/// A level of something with a single SVN: a TDX module or a quoting enclave.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SvnLevel {
    pub(super) tcb: SvnTcb,
    pub(super) tcb_date: UnixTime,
    pub(super) tcb_status: TcbStatus,
    #[serde(default, rename = "advisoryIDs")]
    pub(super) advisories: Vec<String>,
}

/// The single SVN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub(super) struct SvnTcb {
    pub(super) isvsvn: u16,
}

/// What Intel says of its quoting enclave.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QeIdentity {
    id: String,
    version: u32,
    issue_date: UnixTime,
    next_update: UnixTime,
    pub(super) tcb_evaluation_data_number: u32,
    pub(super) miscselect: Hex<4>,
    pub(super) miscselect_mask: Hex<4>,
    pub(super) attributes: Hex<16>,
    pub(super) attributes_mask: Hex<16>,
    pub(super) mrsigner: Hex<32>,
    pub(super) isvprodid: u16,
    pub(super) tcb_levels: Vec<SvnLevel>,
}

/// The statuses that Intel's verification library knows in each kind of document. Another one is of a document that this
/// release does not understand.
const PLATFORM_STATUSES: [TcbStatus; 7] = [
    TcbStatus::UpToDate,
    TcbStatus::SWHardeningNeeded,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::ConfigurationAndSWHardeningNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];
const MODULE_STATUSES: [TcbStatus; 3] = [TcbStatus::UpToDate, TcbStatus::OutOfDate, TcbStatus::Revoked];
const QE_STATUSES: [TcbStatus; 5] = [
    TcbStatus::UpToDate,
    TcbStatus::ConfigurationNeeded,
    TcbStatus::OutOfDate,
    TcbStatus::OutOfDateConfigurationNeeded,
    TcbStatus::Revoked,
];

/// A kind of signed statement.
pub(super) trait Statement: DeserializeOwned + Send + Sync + 'static {
    /// The name in errors.
    const NAME: &'static str;
    /// The member of the envelope.
    const MEMBER: &'static str;

    /// Checks what types cannot, and brings levels into the order of comparison.
    fn prepare(self) -> Result<Self, &'static str>;
    /// For which TEE it is.
    fn tee(&self) -> Option<Tee>;
    /// From when to when it holds.
    fn validity(&self) -> (UnixTime, UnixTime);
    /// The number of Intel's evaluation.
    fn evaluation(&self) -> u32;
}

fn known(levels: &[SvnLevel], statuses: &[TcbStatus]) -> bool {
    levels.iter().all(|level| statuses.contains(&level.tcb_status))
}

/// Highest first, as Intel's verification library orders them, whatever order they were sent in.
fn sort(levels: &mut [SvnLevel]) {
    levels.sort_by_key(|level| std::cmp::Reverse(level.tcb.isvsvn));
}

impl Statement for TcbInfo {
    const NAME: &'static str = "TCB info";
    const MEMBER: &'static str = "tcbInfo";

    fn prepare(mut self) -> Result<Self, &'static str> {
        if self.version != 3 {
            return Err("only version 3 is read");
        }
        if self.tcb_type != 0 {
            return Err("only TCB type 0 is read");
        }
        let Some(tee) = self.tee() else { return Err("it is neither for SGX nor for TDX") };
        if tee == Tee::Tdx && (self.tdx_module.is_none() || self.tcb_levels.iter().any(|level| level.tcb.tdx.is_none()))
        {
            return Err("it is for TDX, and TDX has no place in it");
        }
        let modules = || self.tdx_module_identities.iter();
        if !self.tcb_levels.iter().all(|level| PLATFORM_STATUSES.contains(&level.tcb_status))
            || !modules().all(|module| known(&module.tcb_levels, &MODULE_STATUSES))
        {
            return Err("it has a status that is not known there");
        }
        if modules()
            .enumerate()
            .any(|(index, module)| modules().take(index).any(|other| other.id.eq_ignore_ascii_case(&module.id)))
        {
            return Err("it describes a TDX module version twice");
        }
        for module in &mut self.tdx_module_identities {
            sort(&mut module.tcb_levels);
        }
        // By SGX components, then PCE, then TDX components; the sort keeps the order of equals.
        self.tcb_levels.sort_by(|a, b| {
            let key = |level: &PlatformLevel| (level.tcb.sgx, level.tcb.pce_svn, level.tcb.tdx);
            key(b).cmp(&key(a))
        });
        Ok(self)
    }

    fn tee(&self) -> Option<Tee> {
        match self.id.as_str() {
            "SGX" => Some(Tee::Sgx),
            "TDX" => Some(Tee::Tdx),
            _ => None,
        }
    }

    fn validity(&self) -> (UnixTime, UnixTime) {
        (self.issue_date, self.next_update)
    }

    fn evaluation(&self) -> u32 {
        self.tcb_evaluation_data_number
    }
}

impl Statement for QeIdentity {
    const NAME: &'static str = "QE identity";
    const MEMBER: &'static str = "enclaveIdentity";

    fn prepare(mut self) -> Result<Self, &'static str> {
        if self.version != 2 {
            return Err("only version 2 is read");
        }
        if !known(&self.tcb_levels, &QE_STATUSES) {
            return Err("it has a status that is not known there");
        }
        sort(&mut self.tcb_levels);
        Ok(self)
    }

    fn tee(&self) -> Option<Tee> {
        match self.id.as_str() {
            "QE" => Some(Tee::Sgx),
            "TD_QE" => Some(Tee::Tdx),
            // The verification enclave of Intel's own library ("QVE") and others.
            _ => None,
        }
    }

    fn validity(&self) -> (UnixTime, UnixTime) {
        (self.issue_date, self.next_update)
    }

    fn evaluation(&self) -> u32 {
        self.tcb_evaluation_data_number
    }
}

/// A statement whose signature leads to Intel's root. Whether the signer has been revoked is for the layer `revocation`.
#[derive(Debug)]
pub(super) struct Signed<T> {
    pub(super) statement: T,
    pub(super) signer: Arc<VerifiedPath>,
}

/// Reads a statement out of its envelope. Its signature is not looked at.
pub(super) fn read<T: Statement>(bytes: &[u8]) -> Result<(T, Envelope<'_>), CollateralProblem> {
    let envelope = Envelope::open(bytes, T::MEMBER)?;
    let statement: T = serde_json::from_slice(envelope.signed)
        .map_err(|error| CollateralProblem::Malformed { reason: value::reason(&error) })?;
    let statement = statement.prepare().map_err(|reason| CollateralProblem::Malformed { reason: reason.to_owned() })?;
    Ok((statement, envelope))
}

/// The statement among `documents` that is for this platform, signed and of this time: of several, that of the latest
/// evaluation, and then the newest. Others are passed over, so that nobody changes the outcome by adding one.
pub(super) fn find<T: Statement>(
    documents: &[Document],
    need: impl FnOnce() -> Need,
    matches: impl Fn(&T) -> bool,
    context: &Context<'_>,
) -> Result<Arc<Signed<T>>, VerifyError> {
    let mut best: Option<Arc<Signed<T>>> = None;
    // What is wrong with a document for this platform says more than what is wrong with one for who knows which.
    let mut problem: Option<(bool, CollateralProblem)> = None;
    let rank = |signed: &Signed<T>| (signed.statement.evaluation(), signed.statement.validity().0);
    for document in documents {
        match verified::<T>(document, context) {
            Ok(signed) if !matches(&signed.statement) => {}
            Ok(signed) => {
                if best.as_ref().is_none_or(|best| rank(&signed) > rank(best)) {
                    best = Some(signed);
                }
            }
            Err((statement, found)) => {
                let ours = statement.is_some_and(|statement| matches(&statement));
                if ours || (problem.is_none() && matches!(found, CollateralProblem::Malformed { .. })) {
                    problem = Some((ours, found));
                }
            }
        }
    }
    match (best, problem) {
        (Some(best), _) => Ok(best),
        (None, Some((_, problem))) => Err(DcapError::Collateral { document: T::NAME, problem }.into()),
        (None, None) => Err(VerifyError::MissingEndorsement { need: need() }),
    }
}

/// The statement, where it could be read, and what is wrong with it.
pub(super) type Unusable<T> = (Option<T>, CollateralProblem);

/// Verifies one document, or finds it among what was verified before.
pub(super) fn verified<T: Statement>(
    document: &Document,
    context: &Context<'_>,
) -> Result<Arc<Signed<T>>, Unusable<T>> {
    let root = context.anchors.intel();
    let key = Digest::of_fields(&[T::MEMBER.as_bytes(), root.as_bytes(), document.digest_bytes()]);
    if let Some(signed) = context.cache.get::<Signed<T>>(&key, context.now) {
        return Ok(signed);
    }
    let (statement, envelope) = read::<T>(document.bytes()).map_err(|problem| (None, problem))?;
    let (issue_date, next_update) = statement.validity();
    if !(issue_date..=next_update).contains(&context.now) {
        let problem = CollateralProblem::Expired { issue_date, next_update, now: context.now };
        return Err((Some(statement), problem));
    }
    let signer = match signer(&envelope, context) {
        Ok(signer) => signer,
        Err(problem) => return Err((Some(statement), problem)),
    };
    let until = signer.until().min(next_update);
    let signed = Arc::new(Signed { statement, signer: Arc::new(signer) });
    // From now, not from the day of issue: the signer's path was checked for now.
    context.cache.keep(key, context.now, until, &signed);
    Ok(signed)
}

/// Finds the certificate that made the signature: issued by Intel's root itself, in the name of Intel's TCB signer.
fn signer(envelope: &Envelope<'_>, context: &Context<'_>) -> Result<VerifiedPath, CollateralProblem> {
    let mut problem = CollateralProblem::Unsigned;
    for document in context.endorsements.certificates() {
        let Ok(certificate) = Certificate::parse(document.bytes()) else { continue };
        if certificate.subject() != SIGNER || !certificate.key().verify_fixed(envelope.signed, &envelope.signature) {
            continue;
        }
        match below_root(&certificate, context) {
            Ok(path) => return Ok(path),
            Err(error) => problem = CollateralProblem::Signer(Box::new(error)),
        }
    }
    Err(problem)
}

fn below_root(certificate: &Certificate, context: &Context<'_>) -> Result<VerifiedPath, PathError> {
    let given: Vec<_> =
        context.endorsements.certificates().iter().filter_map(|der| Certificate::parse(der.bytes()).ok()).collect();
    let path = build_path(certificate, context.anchors.certificates().iter().chain(&given))?;
    // A signer below one of the PCK authorities would be a path of three.
    if path.len() != 2 {
        let problem = crate::x509::PathProblem::Length { got: path.len() };
        return Err(PathError { certificate: certificate.subject().to_owned(), problem });
    }
    verify_path(path, &[context.anchors.intel()], &[], context.now, context.cache)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\
                             00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

    #[test]
    fn the_statement_is_cut_out_byte_for_byte() {
        let inner = r#"{ "id" :"SGX",  "x": [1, {"}":"\"{"}] }"#;
        for text in [
            format!(r#"{{"tcbInfo":{inner},"signature":"{SIGNATURE}"}}"#),
            format!("\n {{ \"signature\" : \"{SIGNATURE}\" ,\n \"tcbInfo\" :  {inner}  \n}} \n"),
            format!(r#"{{"tcb\u0049nfo":{inner},"signature":"{SIGNATURE}"}}"#),
        ] {
            let envelope = Envelope::open(text.as_bytes(), "tcbInfo").unwrap();
            assert_eq!(std::str::from_utf8(envelope.signed).unwrap(), inner);
            assert_eq!(envelope.signature[..3], [0, 0x11, 0x22]);
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
        let text = format!(r#"{{"tcbInfo":{deep},"signature":"{SIGNATURE}"}}"#);
        assert!(Envelope::open(text.as_bytes(), "tcbInfo").is_ok());
        assert!(read::<TcbInfo>(text.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        let s = format!(r#""signature":"{SIGNATURE}""#);
        for text in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            &format!("{{{s}}}"),
            r#"{"tcbInfo":{}}"#,
            &format!(r#"{{"tcbInfo":{{}},{s},{s}}}"#),
            &format!(r#"{{"tcbInfo":{{}},"tcbInfo":{{}},{s}}}"#),
            &format!(r#"{{"tcbInfo":{{}},"tcb\u0049nfo":{{}},{s}}}"#),
            &format!(r#"{{"tcbInfo":{{}},{s},"more":1}}"#),
            &format!(r#"{{"tcbInfo":[],{s}}}"#),
            &format!(r#"{{"tcbInfo":"{{}}",{s}}}"#),
            &format!(r#"{{"tcbInfo":{{}},{s}}} x"#),
            &format!(r#"{{"tcbInfo":{{}},{s},}}"#),
            &format!(r#"{{"tcbInfo":{{}} {s}}}"#),
            &format!(r#"{{"tcbInfo":{{,{s}}}"#),
            r#"{"tcbInfo":{},"signature":"00"}"#,
            r#"{"tcbInfo":{},"signature":null}"#,
        ] {
            assert!(Envelope::open(text.as_bytes(), "tcbInfo").is_err(), "{text}");
        }
    }
}
