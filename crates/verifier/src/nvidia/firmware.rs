//! The comparison of measurements with NVIDIA's manifests.
//!
//! A manifest does not carry the id under which NVIDIA publishes it, and says no more of what it is for than the chip
//! (`GH100`), the kind (`GPU`) and the version. So it is found by these three among the Endorsements, whatever it was
//! called there. Two boards can have a VBIOS of one version: where several manifests are for the reported version, the one
//! that the measurements differ least from is taken. All of them are NVIDIA's word on genuine firmware of that version.

use std::sync::Arc;

use protocol::Digest;
use protocol::digest::Hex;
use protocol::evidence::DeviceKind;

use super::claims::{Established, ManifestUsed, Report};
use super::error::{Difference, NvidiaError};
use super::identity::is_same_chip;
use crate::VerifyError;
use crate::context::Context;
use crate::endorsements::Need;
use crate::error::Fault;
use crate::ocsp::Standing;
use crate::rim::{self, Rim};
use crate::time::UnixTime;
use protocol::reference::device::Nvdec0;

/// What a manifest is wanted for.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// `driver` or `vbios`.
    pub manifest: &'static str,
    /// NVIDIA's id of it, to fetch it by.
    pub id: String,
    /// The version that the device reports.
    pub version: &'a str,
    /// The device's chip, as its certificates have it.
    pub chip: &'a str,
    /// What kind of device it is.
    pub kind: DeviceKind,
}

/// Manifests that were found and verified for one wanted version: at least one.
#[derive(Debug)]
pub(super) struct Found(Vec<Arc<Rim>>);

/// Finds the manifests for a version. None, or none that can be believed, is "could not tell".
pub(super) fn find(wanted: &Wanted<'_>, context: &Context<'_>) -> Result<Arc<Found>, VerifyError> {
    let key = key(wanted, context);
    if let Some(found) = context.cache.get::<Found>(&key, context.now) {
        return Ok(found);
    }
    let mut found = Vec::new();
    let mut problem = None;
    for document in context.endorsements.rims() {
        // Verifying is dear, and most documents are for other versions.
        if !contains(document.bytes(), wanted.version.as_bytes()) {
            continue;
        }
        match rim::verify(document, context) {
            Ok(rim) if is_for(&rim, wanted) => found.push(rim),
            Ok(_) => {}
            // One that is not genuine is passed over: anybody can put it there. What would be genuine and has expired or
            // was withdrawn is worth saying.
            Err(error) if !matches!(error.fault(), Fault::Malformed | Fault::NotGenuine) => problem = Some(error),
            Err(_) => {}
        }
    }
    if found.is_empty() {
        return Err(problem.map_or_else(
            || VerifyError::MissingEndorsement { need: Need::Rim { id: wanted.id.clone() } },
            VerifyError::Rim,
        ));
    }
    let until = found.iter().map(|rim| until(rim)).min().unwrap_or_default();
    let found = Arc::new(Found(found));
    context.cache.keep(key, context.now, until, &found);
    Ok(found)
}

/// A digest over everything that [`find`] looks at.
fn key(wanted: &Wanted<'_>, context: &Context<'_>) -> Digest {
    let root = context.anchors.nvidia_rim();
    Digest::of_fields(&[
        b"nvidia manifests",
        wanted.manifest.as_bytes(),
        wanted.version.as_bytes(),
        wanted.chip.as_bytes(),
        wanted.kind.name().as_bytes(),
        root.as_bytes(),
        context.endorsements.rim_set().digest_bytes(),
        context.endorsements.ocsp_set().digest_bytes(),
    ])
}

/// Until when a manifest's signers are known to be good.
fn until(rim: &Rim) -> UnixTime {
    rim.standing()
        .iter()
        .filter_map(|(_, standing)| standing.until())
        .chain([rim.not_after()])
        .min()
        .unwrap_or_default()
}

fn is_for(rim: &Rim, wanted: &Wanted<'_>) -> bool {
    let edition = match wanted.kind {
        DeviceKind::Gpu => "GPU",
        DeviceKind::Switch => "SWITCH",
    };
    rim.edition() == edition
        && is_same_chip(rim.product(), wanted.chip)
        && rim.version().eq_ignore_ascii_case(wanted.version)
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && text.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

/// The measurement that NVIDIA's verifier leaves out where the decoder is not in use.
const NVDEC0_FIRMWARE: u32 = 35;

/// Compares a report's measurements with all manifests that it needs: the driver's and the VBIOS's, or the switch's one.
pub(super) fn compare(
    report: &Report,
    manifests: &[(&Wanted<'_>, &Found)],
    established: &mut Established,
) -> Result<(), NvidiaError> {
    let mut chosen: Vec<(&Wanted<'_>, &Rim, Vec<Difference>)> = Vec::new();
    for (wanted, found) in manifests {
        let best = found
            .0
            .iter()
            .map(|rim| (*wanted, rim.as_ref(), differences(report, wanted.manifest, rim)))
            .min_by_key(|(_, _, differences)| differences.len());
        chosen.extend(best);
    }
    let active = |rim: &Rim| -> Vec<u32> {
        rim.measurements().iter().filter(|golden| golden.active).map(|golden| golden.index).collect()
    };
    let mut covered: Vec<u32> = Vec::new();
    let mut conflict: Vec<u32> = Vec::new();
    for (wanted, rim, _) in &chosen {
        let indices = active(rim);
        if indices.is_empty() {
            return Err(NvidiaError::RimEmpty { id: wanted.id.clone() });
        }
        conflict.extend(indices.iter().filter(|index| covered.contains(index)));
        covered.extend(indices);
    }
    if !conflict.is_empty() {
        return Err(NvidiaError::RimConflict { indices: conflict });
    }
    established.manifests = chosen
        .iter()
        .map(|(wanted, rim, _)| ManifestUsed {
            manifest: wanted.manifest,
            id: wanted.id.clone(),
            version: rim.version().to_owned(),
            signer: rim.signer().certificate,
            compared: count(active(rim).into_iter().filter(|index| is_compared(report, *index))),
            revocation_known: rim.standing().iter().all(|(_, standing)| matches!(standing, Standing::Good { .. })),
        })
        .collect();
    established.compared = established.manifests.iter().map(|used| used.compared).fold(0, u32::saturating_add);
    established.uncovered = report
        .measurements
        .iter()
        .filter(|measured| measured.digest.0 != [0; 48] && !covered.contains(&measured.index))
        .map(|measured| measured.index)
        .collect();
    let mut differences: Vec<Difference> = chosen.into_iter().flat_map(|(_, _, differences)| differences).collect();
    differences.sort_by_key(|difference| difference.index);
    if differences.is_empty() { Ok(()) } else { Err(NvidiaError::Measurements { differences }) }
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// Whether a measurement is compared at all. Only a report that says that the decoder is off leaves its firmware out.
fn is_compared(report: &Report, index: u32) -> bool {
    index != NVDEC0_FIRMWARE || report.nvdec0 != Some(Nvdec0::Disabled)
}

fn differences(report: &Report, manifest: &'static str, rim: &Rim) -> Vec<Difference> {
    rim.measurements()
        .iter()
        .filter(|golden| golden.active && is_compared(report, golden.index))
        .filter_map(|golden| {
            let got = report.measurement(golden.index);
            if got.is_some_and(|got| golden.digests.contains(&got.0)) {
                return None;
            }
            let expected = golden.digests.iter().copied().map(Hex).collect();
            Some(Difference { index: golden.index, name: golden.name.clone(), manifest, expected, got })
        })
        .collect()
}
