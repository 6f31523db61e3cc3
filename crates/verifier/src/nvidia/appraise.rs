//! Devices against reference values.

use protocol::Digest;
use protocol::evidence::DeviceKind;
use protocol::reference::Machines;
use protocol::reference::device::{
    Architecture, DeviceReferenceValues, FwidPolicy, Nvdec0, OcspPolicy, Topology, Version, Versions,
};

use super::claims::{Claims, FwidCheck, RevocationCheck};
use super::topology;
use crate::ear::{TrustClaim, TrustVector};
use crate::mismatch::{Comparison, Mismatch, Rule};
use crate::value::Value;

/// The field of [`DeviceReferenceValues`] whose mismatch means "could not tell" and not "no": NVIDIA's word on revocation
/// is demanded and not at hand.
pub const COULD_NOT_TELL: &str = "ocsp";

/// What accepted devices say of themselves in AR4SI's words: 2 for genuine hardware without known weakness, and for memory
/// out of the operator's reach.
fn vector() -> TrustVector {
    TrustVector {
        instance_identity: TrustClaim::TRUSTWORTHY_INSTANCE,
        executables: TrustClaim::APPROVED_BOOT,
        hardware: TrustClaim(2),
        runtime_opaque: TrustClaim(2),
        ..TrustVector::default()
    }
}

/// Compares verified devices with one entry of the reference values: every mismatch of every device.
pub(crate) fn appraise(devices: &[Claims], values: &DeviceReferenceValues) -> Result<TrustVector, Vec<Mismatch>> {
    let mut comparison = Comparison::default();
    let count = |kind| {
        let count = devices.iter().filter(|device| device.report.kind == kind).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    comparison.equals("gpus", &count(DeviceKind::Gpu), &values.gpus);
    comparison.equals("switches", &count(DeviceKind::Switch), &values.switches);
    for (index, device) in devices.iter().enumerate() {
        let label = format!("device {}, {}", index.saturating_add(1), device.label());
        appraise_one(&mut comparison, device, values, &label);
    }
    if values.topology == Topology::Switched {
        for error in topology::check(devices) {
            comparison.push(Mismatch::new("topology", Rule::Equals, error.to_string(), values.topology.name()));
        }
    }
    comparison.finish().map(|()| vector())
}

fn appraise_one(comparison: &mut Comparison, device: &Claims, values: &DeviceReferenceValues, label: &str) {
    let mut differs = |field, rule, reported: Value, accepted: Value| {
        comparison.push(Mismatch::new(field, rule, reported, accepted).part(label));
    };
    let report = &device.report;
    let identity = device.identity.as_ref();

    let device_id = identity.map(|identity| identity.device_id);
    if let Machines::Listed(ids) = &values.device_ids
        && !device_id.is_some_and(|id| ids.contains(&id))
    {
        differs("device_ids", Rule::OneOf, device_id.into(), ids.iter().copied().collect());
    }
    let architecture = identity.map(|identity| identity.architecture);
    if !architecture.is_some_and(|architecture| values.architectures.contains(&architecture)) {
        let accepted = values.architectures.iter().map(|architecture| architecture.name()).collect();
        differs("architectures", Rule::OneOf, architecture.map(Architecture::name).into(), accepted);
    }
    let hwmodel = identity.map(|identity| identity.hwmodel.as_str());
    if !hwmodel.is_some_and(|hwmodel| values.hwmodels.iter().any(|accepted| accepted == hwmodel)) {
        let accepted = values.hwmodels.iter().map(String::as_str).collect();
        differs("hwmodels", Rule::OneOf, hwmodel.map_or_else(Value::none, Value::peer_text), accepted);
    }

    let mut version = |field, reported: &str, accepted: &Versions| {
        if !accepted.contains(reported) {
            let (rule, accepted) = match accepted {
                Versions::Listed(versions) => (Rule::OneOf, versions.iter().map(Version::text).collect()),
                Versions::From(floor) => (Rule::AtLeast, Value::from(floor.text())),
            };
            differs(field, rule, Value::peer_text(reported), accepted);
        }
    };
    match report.kind {
        DeviceKind::Gpu => {
            version("driver_versions", report.driver_version.as_deref().unwrap_or("none"), &values.driver_versions);
            version("vbios_versions", &report.vbios_version, &values.vbios_versions);
        }
        DeviceKind::Switch => version("switch_bios_versions", &report.vbios_version, &values.switch_bios_versions),
    }
    if report.kind == DeviceKind::Gpu {
        if !values.modes.contains(&report.mode) {
            let accepted = values.modes.iter().map(|mode| mode.name()).collect();
            differs("modes", Rule::OneOf, report.mode.name().into(), accepted);
        }
        // Who is at the other end of the links is compared in a fabric, and nowhere else.
        if values.topology != Topology::Switched && report.has_nvlink_in_clear() {
            let reported = format!("NVLink in clear (mode {})", report.mode.name());
            differs("topology", Rule::Equals, reported.into(), values.topology.name().into());
        }
        if let Some(accepted) = values.nvdec0
            && report.nvdec0 != Some(accepted)
        {
            let reported = report.nvdec0.map(Nvdec0::name);
            differs("nvdec0", Rule::Equals, reported.into(), accepted.name().into());
        }
    }

    if let Machines::Listed(signers) = &values.rim_signers {
        for used in device.established.manifests.iter().filter(|used| !signers.contains(&used.signer)) {
            differs("rim_signers", Rule::OneOf, used.signer.into(), signers.iter().copied().collect());
        }
    }
    if values.ocsp == OcspPolicy::Required && device.established.revocation == RevocationCheck::NotGiven {
        comparison.push(
            Mismatch::new("ocsp", Rule::Equals, "not-given", OcspPolicy::Required.name()).part(label).hint(
                "fetch NVIDIA's responses with `casemate endorsements fetch`: this is no statement about the device",
            ),
        );
    }
    let names_firmware = report.kind == DeviceKind::Gpu;
    if values.fwid == FwidPolicy::Required && names_firmware && device.established.fwid != FwidCheck::Equal {
        comparison.push(
            Mismatch::new("fwid", Rule::Equals, device.established.fwid.name(), FwidPolicy::Required.name())
                .part(label)
                .hint("drivers before the 550 series do not report it; `if-reported` accepts them"),
        );
    }
}

/// What would accept exactly these devices, as strict as what they show allows:
///
/// - `fwid` is `if-reported` only where a GPU's report leaves its firmware out;
/// - `ocsp` is `required` where NVIDIA vouched for every certificate of every device and of the signers of its manifests.
///   Else it is `if-given`, as what is demanded then would not accept these very devices: whoever gathers NVIDIA's
///   responses first gets `required`;
/// - `rim_signers` lists the signers that were seen, `"any"` only where no manifest was at hand;
/// - `topology` is `switched` where a GPU has NVLink in clear. If the rest of the fabric is not there, nothing accepts it.
pub(crate) fn reference_values(devices: &[Claims], platform: &str) -> DeviceReferenceValues {
    fn once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
        let mut list: Vec<T> = Vec::new();
        for item in items {
            if !list.contains(&item) {
                list.push(item);
            }
        }
        list
    }
    let of = |kind| devices.iter().filter(move |device| device.report.kind == kind);
    let count = |kind| u32::try_from(of(kind).count()).unwrap_or(u32::MAX);
    let identities = || devices.iter().filter_map(|device| device.identity.as_ref());
    let versions =
        |texts: Vec<&str>| Versions::Listed(once(texts.into_iter().filter_map(|text| text.parse::<Version>().ok())));
    let established = || devices.iter().map(|device| &device.established);
    let nvdec0 = once(of(DeviceKind::Gpu).map(|device| device.report.nvdec0));
    DeviceReferenceValues {
        platform: platform.to_owned(),
        gpus: count(DeviceKind::Gpu),
        switches: count(DeviceKind::Switch),
        // GPUs that are part of a fabric are never written down as standing alone: where the rest of it is not in the
        // Evidence, nothing accepts them.
        topology: if of(DeviceKind::Gpu).any(|device| device.report.has_nvlink_in_clear()) {
            Topology::Switched
        } else {
            Topology::Independent
        },
        device_ids: Machines::Listed(identities().map(|identity| identity.device_id).collect()),
        architectures: once(identities().map(|identity| identity.architecture)),
        hwmodels: once(identities().map(|identity| identity.hwmodel.clone())),
        driver_versions: versions(
            of(DeviceKind::Gpu).filter_map(|device| device.report.driver_version.as_deref()).collect(),
        ),
        vbios_versions: versions(of(DeviceKind::Gpu).map(|device| device.report.vbios_version.as_str()).collect()),
        switch_bios_versions: versions(
            of(DeviceKind::Switch).map(|device| device.report.vbios_version.as_str()).collect(),
        ),
        modes: once(of(DeviceKind::Gpu).map(|device| device.report.mode)),
        rim_signers: signers(devices),
        ocsp: if established().all(|found| matches!(found.revocation, RevocationCheck::Good { .. })) {
            OcspPolicy::Required
        } else {
            OcspPolicy::IfGiven
        },
        fwid: if of(DeviceKind::Gpu).any(|device| device.report.fwid.is_none()) {
            FwidPolicy::IfReported
        } else {
            FwidPolicy::Required
        },
        nvdec0: match nvdec0.as_slice() {
            [state] => *state,
            _ => None,
        },
    }
}

/// The signers that were seen. NVIDIA signs its manifests anew with other certificates from time to time, so where none
/// was seen any under its root is taken.
fn signers(devices: &[Claims]) -> Machines<Digest> {
    let mut signers: Vec<Digest> = Vec::new();
    for used in devices.iter().flat_map(|device| &device.established.manifests) {
        if !signers.contains(&used.signer) {
            signers.push(used.signer);
        }
    }
    if signers.is_empty() { Machines::Any } else { Machines::Listed(signers) }
}
