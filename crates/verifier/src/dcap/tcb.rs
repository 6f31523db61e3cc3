//! What Intel's statements mean for one platform: which TCB level it meets, and what the levels of platform, TDX module and
//! quoting enclave come to together.
//!
//! Selection follows the "Intel SGX and Intel TDX PCS API" ("Get TDX TCB Info", steps 1 to 5): of the levels, highest first,
//! the first one of which no SVN is above the platform's. The components are those of the PCK certificate, for TDX also
//! TEE_TCB_SVN. Where `TEE_TCB_SVN[1]`, the TDX module's major version, is not 0, the module's own levels judge components 0
//! and 1. How statuses come together follows what Intel's verification library does.

use protocol::digest::Hex;
use protocol::reference::tdx::TcbStatus;
use serde::Serialize;

use super::collateral::{Component, ModuleIdentity, PlatformLevel, QeIdentity, SvnLevel, TcbInfo, VersionedModule};
use super::error::DcapError;
use super::pck::PckExtension;
use super::report::{EnclaveReport, TdReport};
use crate::time::UnixTime;
use crate::value::Value;

/// A TCB level that was met.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Level {
    /// What Intel says of it.
    pub status: TcbStatus,
    /// Up to which day its advisories are dealt with.
    pub date: UnixTime,
    /// Advisories that stand open.
    pub advisories: Vec<String>,
    /// `tcbDate` of the first level that is missed, where the status says that one is: when the grace began.
    pub missed_since: Option<UnixTime>,
    /// The open advisories that no newer level closes.
    pub remaining: Vec<String>,
}

/// What Intel's TCB info says of a platform.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PlatformTcb {
    /// The platform's level.
    pub platform: Level,
    /// The TDX module's level, of a module with levels of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Level>,
    /// TD 1.5: the level of the TCB that the platform has by now, platform and module taken together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Level>,
    /// `tcbEvaluationDataNumber` of the TCB info.
    pub evaluation_data_number: u32,
    /// When Intel issued it.
    pub issue_date: UnixTime,
    /// Until when it holds.
    pub next_update: UnixTime,
}

/// What Intel's QE identity says of a quoting enclave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct QeTcb {
    /// Its level.
    pub level: Level,
    /// `tcbEvaluationDataNumber` of the QE identity.
    pub evaluation_data_number: u32,
    /// When Intel issued it.
    pub issue_date: UnixTime,
    /// Until when it holds.
    pub next_update: UnixTime,
}

/// Both taken together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Tcb {
    /// The status.
    pub status: TcbStatus,
    /// Advisories that stand open.
    pub advisories: Vec<String>,
    /// When the grace began: the earliest `tcbDate` of a level that is missed.
    pub missed_since: Option<UnixTime>,
    /// The open advisories that an update would leave open.
    pub remaining: Vec<String>,
    /// The smaller `tcbEvaluationDataNumber` of the two statements.
    pub evaluation_data_number: u32,
}

fn is_out_of_date(status: TcbStatus) -> bool {
    matches!(status, TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded)
}

fn needs_configuration(status: TcbStatus) -> bool {
    matches!(
        status,
        TcbStatus::ConfigurationNeeded
            | TcbStatus::ConfigurationAndSWHardeningNeeded
            | TcbStatus::OutOfDateConfigurationNeeded
            | TcbStatus::TDRelaunchAdvisedConfigurationNeeded
    )
}

/// The status of a whole of which a part (TDX module, quoting enclave) has its own. Intel's library lets a part that is out
/// of date or revoked make the whole worse, and passes over one that needs configuration; here that counts too.
fn with_part(whole: TcbStatus, part: TcbStatus) -> TcbStatus {
    match (part, whole) {
        (TcbStatus::Revoked, _) => TcbStatus::Revoked,
        (
            TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded,
            TcbStatus::UpToDate | TcbStatus::SWHardeningNeeded,
        ) => part,
        (
            TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded,
            TcbStatus::ConfigurationNeeded | TcbStatus::ConfigurationAndSWHardeningNeeded,
        ) => TcbStatus::OutOfDateConfigurationNeeded,
        (TcbStatus::OutOfDateConfigurationNeeded, TcbStatus::OutOfDate) => TcbStatus::OutOfDateConfigurationNeeded,
        (TcbStatus::ConfigurationNeeded, TcbStatus::UpToDate) => TcbStatus::ConfigurationNeeded,
        (TcbStatus::ConfigurationNeeded, TcbStatus::SWHardeningNeeded) => TcbStatus::ConfigurationAndSWHardeningNeeded,
        (TcbStatus::ConfigurationNeeded, TcbStatus::OutOfDate) => TcbStatus::OutOfDateConfigurationNeeded,
        _ => whole,
    }
}

/// What two statuses say together: whatever one of them finds wanting is wanting.
fn worse(a: TcbStatus, b: TcbStatus) -> TcbStatus {
    let either = |test: fn(TcbStatus) -> bool| test(a) || test(b);
    let configuration = either(needs_configuration);
    let hardening =
        either(|status| matches!(status, TcbStatus::SWHardeningNeeded | TcbStatus::ConfigurationAndSWHardeningNeeded));
    let relaunch = either(|status| {
        matches!(status, TcbStatus::TDRelaunchAdvised | TcbStatus::TDRelaunchAdvisedConfigurationNeeded)
    });
    if either(|status| status == TcbStatus::Revoked) {
        return TcbStatus::Revoked;
    }
    match (either(is_out_of_date), relaunch, configuration, hardening) {
        (true, _, true, _) => TcbStatus::OutOfDateConfigurationNeeded,
        (true, _, false, _) => TcbStatus::OutOfDate,
        (false, true, true, _) => TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
        (false, true, false, _) => TcbStatus::TDRelaunchAdvised,
        (false, false, true, true) => TcbStatus::ConfigurationAndSWHardeningNeeded,
        (false, false, true, false) => TcbStatus::ConfigurationNeeded,
        (false, false, false, true) => TcbStatus::SWHardeningNeeded,
        (false, false, false, false) => TcbStatus::UpToDate,
    }
}

/// A TD that was launched out of date, on a platform that no longer is: launch it anew. Otherwise the worse of both: a TD
/// is no safer than the platform that it runs on, nor than the one that it was launched on.
fn with_current(launch: TcbStatus, current: TcbStatus) -> TcbStatus {
    if current == TcbStatus::Revoked || !is_out_of_date(launch) || is_out_of_date(current) {
        return worse(launch, current);
    }
    if needs_configuration(launch) || needs_configuration(current) {
        TcbStatus::TDRelaunchAdvisedConfigurationNeeded
    } else {
        TcbStatus::TDRelaunchAdvised
    }
}

fn add_all(to: &mut Vec<String>, from: &[String]) {
    for advisory in from {
        if !to.contains(advisory) {
            to.push(advisory.clone());
        }
    }
}

impl Level {
    /// With the level of a part: its advisories stand open too, and the grace began with the first that was missed.
    fn with(mut self, part: &Self) -> Self {
        self.status = with_part(self.status, part.status);
        self.date = self.date.min(part.date);
        add_all(&mut self.advisories, &part.advisories);
        add_all(&mut self.remaining, &part.remaining);
        self.missed_since = self.missed_since.into_iter().chain(part.missed_since).min();
        self
    }
}

impl Tcb {
    /// Takes both statements together.
    pub fn new(platform: &PlatformTcb, qe: &QeTcb) -> Self {
        let mut status = platform.platform.status;
        let mut parts = vec![&platform.platform];
        for part in platform.module.iter().chain([&qe.level]) {
            status = with_part(status, part.status);
            parts.push(part);
        }
        if let Some(current) = &platform.current {
            status = with_current(status, with_part(current.status, qe.level.status));
            parts.push(current);
        }
        let (mut advisories, mut remaining) = (Vec::new(), Vec::new());
        for part in &parts {
            add_all(&mut advisories, &part.advisories);
            add_all(&mut remaining, &part.remaining);
        }
        Self {
            status,
            advisories,
            missed_since: parts.iter().filter_map(|part| part.missed_since).min(),
            remaining,
            evaluation_data_number: platform.evaluation_data_number.min(qe.evaluation_data_number),
        }
    }
}

/// What all kinds of level have in common.
trait AnyLevel {
    fn date(&self) -> UnixTime;
    fn status(&self) -> TcbStatus;
    fn advisories(&self) -> &[String];
}

impl AnyLevel for PlatformLevel {
    fn date(&self) -> UnixTime {
        self.tcb_date
    }
    fn status(&self) -> TcbStatus {
        self.tcb_status
    }
    fn advisories(&self) -> &[String] {
        &self.advisories
    }
}

impl AnyLevel for SvnLevel {
    fn date(&self) -> UnixTime {
        self.tcb_date
    }
    fn status(&self) -> TcbStatus {
        self.tcb_status
    }
    fn advisories(&self) -> &[String] {
        &self.advisories
    }
}

/// The first level that is met, and what the others say about what it misses.
fn met<L: AnyLevel>(levels: &[L], is_met: impl Fn(&L) -> bool) -> Option<Level> {
    let level = levels.iter().find(|level| is_met(level))?;
    let missed_since = is_out_of_date(level.status()).then(|| {
        let later = levels.iter().map(AnyLevel::date).filter(|date| *date > level.date());
        // A level out of date with no later one is a riddle; the clock then starts at the earliest day there is.
        later.min().unwrap_or_else(|| level.date())
    });
    let stays_open = |advisory: &&String| {
        levels
            .iter()
            .filter(|level| !is_out_of_date(level.status()) && level.status() != TcbStatus::Revoked)
            .any(|level| level.advisories().contains(advisory))
    };
    Some(Level {
        status: level.status(),
        date: level.date(),
        advisories: level.advisories().to_vec(),
        missed_since,
        remaining: level.advisories().iter().filter(stays_open).cloned().collect(),
    })
}

fn reaches(have: &[u8; 16], need: &[Component; 16], from: usize) -> bool {
    have.iter().zip(need).skip(from).all(|(have, need)| *have >= need.svn)
}

impl TcbInfo {
    /// The level of an SGX platform.
    pub(super) fn judge_sgx(&self, pck: &PckExtension) -> Result<PlatformTcb, DcapError> {
        let platform = self.platform_level(pck, None)?;
        self.verdict(platform, None, None)
    }

    /// The level of a TDX platform.
    pub(super) fn judge_tdx(&self, pck: &PckExtension, report: &TdReport) -> Result<PlatformTcb, DcapError> {
        let (platform, module) = self.tdx_levels(pck, &report.tee_tcb_svn)?;
        self.check_module(report)?;
        let current = match &report.v15 {
            None => None,
            Some(v15) => {
                let (platform, module) = self.tdx_levels(pck, &v15.tee_tcb_svn_2)?;
                Some(match module {
                    None => platform,
                    Some(module) => platform.with(&module),
                })
            }
        };
        self.verdict(platform, module, current)
    }

    fn verdict(
        &self,
        platform: Level,
        module: Option<Level>,
        current: Option<Level>,
    ) -> Result<PlatformTcb, DcapError> {
        if platform.status == TcbStatus::Revoked {
            return Err(DcapError::Revoked { of: "platform" });
        }
        if module.as_ref().is_some_and(|module| module.status == TcbStatus::Revoked) {
            return Err(DcapError::Revoked { of: "TDX module" });
        }
        if current.as_ref().is_some_and(|current| current.status == TcbStatus::Revoked) {
            return Err(DcapError::Revoked { of: "platform as it is now" });
        }
        use super::collateral::Statement as _;
        let (issue_date, next_update) = self.validity();
        Ok(PlatformTcb {
            platform,
            module,
            current,
            evaluation_data_number: self.tcb_evaluation_data_number,
            issue_date,
            next_update,
        })
    }

    fn platform_level(&self, pck: &PckExtension, tee_tcb_svn: Option<&Hex<16>>) -> Result<Level, DcapError> {
        met(&self.tcb_levels, |level| {
            let sgx = reaches(&pck.components, &level.tcb.sgx, 0) && pck.pce_svn >= level.tcb.pce_svn;
            sgx && match (tee_tcb_svn, &level.tcb.tdx) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(Hex(svn)), Some(need)) => {
                    let [_, module_version, ..] = svn;
                    // The module's own levels judge the first two.
                    reaches(svn, need, if *module_version > 0 { 2 } else { 0 })
                }
            }
        })
        .ok_or(DcapError::NoTcbLevel { cpu_svn: Hex(pck.components), pce_svn: pck.pce_svn })
    }

    fn tdx_levels(&self, pck: &PckExtension, svn: &Hex<16>) -> Result<(Level, Option<Level>), DcapError> {
        let platform = self.platform_level(pck, Some(svn))?;
        let [module_svn, version, ..] = svn.0;
        if version == 0 {
            return Ok((platform, None));
        }
        let module = self
            .module(version)
            .and_then(|module| met(&module.tcb_levels, |level| u16::from(module_svn) >= level.tcb.isvsvn))
            .ok_or(DcapError::NoModuleLevel { version, svn: module_svn })?;
        Ok((platform, Some(module)))
    }

    fn module(&self, version: u8) -> Option<&VersionedModule> {
        let id = format!("TDX_{version:02X}");
        self.tdx_module_identities.iter().find(|module| module.id.eq_ignore_ascii_case(&id))
    }

    /// MRSIGNERSEAM and SEAMATTRIBUTES are those that Intel names for the module's version. Bits outside of Intel's mask
    /// must be zero: nobody has said what they may be.
    fn check_module(&self, report: &TdReport) -> Result<(), DcapError> {
        let [svn, version, ..] = report.tee_tcb_svn.0;
        let identity: &ModuleIdentity = match version {
            0 => self.tdx_module.as_ref(),
            version => self.module(version).map(|module| &module.identity),
        }
        .ok_or(DcapError::NoModuleLevel { version, svn })?;
        let signer = report.mr_signer_seam.as_bytes();
        if *signer != identity.mrsigner.0 {
            let (reported, expected) = (Value::from(*signer), identity.mrsigner.into());
            return Err(DcapError::TdxModule { field: "signer", reported, expected });
        }
        let expected = masked(&identity.attributes.0, &identity.attributes_mask.0);
        if report.seam_attributes.0 != expected {
            let (reported, expected) = (report.seam_attributes.into(), expected.into());
            return Err(DcapError::TdxModule { field: "attributes", reported, expected });
        }
        Ok(())
    }
}

fn masked<const N: usize>(value: &[u8; N], mask: &[u8; N]) -> [u8; N] {
    let mut masked = *value;
    for (byte, mask) in masked.iter_mut().zip(mask) {
        *byte &= mask;
    }
    masked
}

impl QeIdentity {
    /// The level of a quoting enclave, if it is the one that this identity describes.
    pub(super) fn judge(&self, qe: &EnclaveReport) -> Result<QeTcb, DcapError> {
        let differs = |field, reported: Value, expected: Value| DcapError::QeIdentity { field, reported, expected };
        if qe.mrsigner != self.mrsigner {
            return Err(differs("MRSIGNER", qe.mrsigner.into(), self.mrsigner.into()));
        }
        if qe.product_id != self.isvprodid {
            return Err(differs("ISVPRODID", qe.product_id.into(), self.isvprodid.into()));
        }
        let (got, expected) =
            (masked(&qe.misc_select.0, &self.miscselect_mask.0), masked(&self.miscselect.0, &self.miscselect_mask.0));
        if got != expected {
            return Err(differs("MISCSELECT", got.into(), expected.into()));
        }
        let mut attributes = [0; 16];
        for (to, from) in attributes.iter_mut().zip(qe.attributes.0.iter().chain(&qe.xfrm.0)) {
            *to = *from;
        }
        let (got, expected) =
            (masked(&attributes, &self.attributes_mask.0), masked(&self.attributes.0, &self.attributes_mask.0));
        if got != expected {
            return Err(differs("ATTRIBUTES", got.into(), expected.into()));
        }
        // Intel's mask covers the debug bit; a quoting enclave under debug signs anything, so this does not rest on a mask.
        if qe.is_debug() {
            return Err(differs("debug flag", true.into(), false.into()));
        }
        let level =
            met(&self.tcb_levels, |level| qe.svn >= level.tcb.isvsvn).ok_or(DcapError::NoQeLevel { svn: qe.svn })?;
        if level.status == TcbStatus::Revoked {
            return Err(DcapError::Revoked { of: "quoting enclave" });
        }
        use super::collateral::Statement as _;
        let (issue_date, next_update) = self.validity();
        Ok(QeTcb { level, evaluation_data_number: self.tcb_evaluation_data_number, issue_date, next_update })
    }
}
