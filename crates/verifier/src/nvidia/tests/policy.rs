//! Reference values: what accepts, and one mismatch for every field.

use expect_test::expect;
use protocol::Digest;
use protocol::digest::Hex;
use protocol::reference::Machines;
use protocol::reference::device::{
    Architecture, DeviceReferenceValues, FwidPolicy, GpuMode, Nvdec0, OcspPolicy, Topology, Versions,
};
use testkit::nvidia::{Chip, evidence_of, field};

use super::super::{COULD_NOT_TELL, Claims, FwidCheck, RevocationCheck, appraise, explain, reference_values};
use super::{NONCE, PDI, Rig, report};
use crate::explain::{Explanation, Verdict};
use crate::{Mismatch, UnixTime};

/// A machine of two GPUs and a switch, and what accepts exactly it.
fn machine() -> (Vec<Claims>, DeviceReferenceValues) {
    let rig = Rig::new();
    let mut devices = rig.examine_all(&evidence_of(&rig.nvidia.machine(1, 2, 1, NONCE))).verdict().unwrap();
    for device in &mut devices {
        device.established.revocation = RevocationCheck::Good { until: UnixTime(u64::MAX) };
    }
    let values = reference_values(&devices, "HGX");
    (devices, values)
}

fn versions(text: &str) -> Versions {
    Versions::Listed(vec![text.parse().unwrap()])
}

fn floor(text: &str) -> Versions {
    Versions::From(text.parse().unwrap())
}

#[test]
fn what_was_made_from_devices_accepts_them() {
    let (devices, values) = machine();
    assert_eq!(values.validate("devices[0]"), Ok(()));
    assert!(appraise(&devices, &values).is_ok());
    expect![[r#"
        {
          "platform": "HGX",
          "gpus": 2,
          "switches": 1,
          "topology": "switched",
          "device_ids": [
            "a001000405060708",
            "a001010405060708",
            "b001000405060708"
          ],
          "architectures": [
            "hopper",
            "ls10"
          ],
          "hwmodels": [
            "GH100 A01 GSP BROM",
            "LS_10 A01 FSP BROM"
          ],
          "driver_versions": [
            "590.12"
          ],
          "vbios_versions": [
            "96.00.A5.00.01"
          ],
          "switch_bios_versions": [
            "96.10.73.00.01"
          ],
          "modes": [
            "ppcie"
          ],
          "rim_signers": "any",
          "ocsp": "required",
          "fwid": "required",
          "nvdec0": "disabled"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&DeviceReferenceValues { rim_signers: Machines::Any, ..values }).unwrap());
    for chip in Chip::ALL {
        let rig = Rig::new();
        let devices = rig.examine_all(&[rig.device(chip).evidence(&report(chip))]).verdict().unwrap();
        let values = reference_values(&devices, "one");
        assert_eq!(
            (values.topology, values.fwid, values.ocsp),
            (Topology::Independent, FwidPolicy::Required, OcspPolicy::IfGiven)
        );
        assert!(appraise(&devices, &values).is_ok());
    }
}

#[test]
fn what_is_written_is_as_strict_as_the_devices_show() {
    let policies = |devices: &[Claims]| {
        let values = reference_values(devices, "HGX");
        (values.ocsp, values.fwid, values.rim_signers)
    };
    let (devices, _) = machine();
    let signer = Machines::Listed(vec![devices[0].established.manifests[0].signer]);
    assert_eq!(policies(&devices), (OcspPolicy::Required, FwidPolicy::Required, signer.clone()));

    let mut one = devices.clone();
    one[1].established.revocation = RevocationCheck::NotGiven;
    assert_eq!(policies(&one), (OcspPolicy::IfGiven, FwidPolicy::Required, signer.clone()));

    // One that is wrong, or that could not be compared as the chain is not there, is no reason to ask for less.
    for check in [FwidCheck::Different, FwidCheck::NotReported] {
        let mut one = devices.clone();
        one[1].established.fwid = check;
        assert_eq!(policies(&one).1, FwidPolicy::Required, "{check:?}");
    }
    let mut one = devices.clone();
    one[1].report.fwid = None;
    assert_eq!(policies(&one).1, FwidPolicy::IfReported);
    // Switches are not asked.
    let mut one = devices.clone();
    one[2].report.fwid = None;
    assert_eq!(policies(&one).1, FwidPolicy::Required);

    let mut other = devices.clone();
    other[0].established.manifests[0].signer = Digest::ZERO;
    assert!(
        matches!(policies(&other).2, Machines::Listed(signers) if signers.len() == 2 && signers[0] == Digest::ZERO)
    );
    let mut none = devices;
    for device in &mut none {
        device.established.manifests.clear();
    }
    assert_eq!(policies(&none).2, Machines::Any);
}

#[test]
fn every_field_has_its_mismatch_with_both_values() {
    type Change = fn(&mut DeviceReferenceValues);
    let gpus = "device 1, gpu a001000405060708";
    let cases: [(&str, Change, usize, &str); 16] = [
        ("gpus", |v| v.gpus = 3, 1, "gpus: 2, accepted is 3"),
        ("gpus", |v| v.gpus = 1, 1, "gpus: 2, accepted is 1"),
        ("switches", |v| v.switches = 0, 1, "switches: 1, accepted is 0"),
        (
            "device_ids",
            |v| v.device_ids = Machines::Listed(vec![Hex(PDI)]),
            3,
            "a00100040506, accepted are 010203040506",
        ),
        ("device_ids", |v| v.device_ids = Machines::Listed(vec![]), 3, "a00100040506, accepted are none"),
        (
            "architectures",
            |v| v.architectures = vec![Architecture::Blackwell, Architecture::Ls10],
            2,
            "hopper, accepted are blackwell, ls10",
        ),
        ("hwmodels", |v| v.hwmodels.truncate(1), 1, "LS_10 A01 FSP BROM, accepted are GH100 A01 GSP BROM"),
        ("driver_versions", |v| v.driver_versions = versions("590.13"), 2, "590.12, accepted are 590.13"),
        ("driver_versions", |v| v.driver_versions = floor("595"), 2, "590.12, floor 595"),
        (
            "vbios_versions",
            |v| v.vbios_versions = versions("96.00.A5.00.02"),
            2,
            "96.00.A5.00.01, accepted are 96.00.A5.00.02",
        ),
        (
            "switch_bios_versions",
            |v| v.switch_bios_versions = Versions::default(),
            1,
            "96.10.73.00.01, accepted are none",
        ),
        ("modes", |v| v.modes = vec![GpuMode::Spt, GpuMode::Mpt], 2, "ppcie, accepted are spt, mpt"),
        ("rim_signers", |v| v.rim_signers = Machines::Listed(vec![Digest::ZERO]), 5, "accepted are 000000000000"),
        ("nvdec0", |v| v.nvdec0 = Some(Nvdec0::Enabled), 2, "disabled, accepted is enabled"),
        ("vbios_versions", |v| v.vbios_versions = floor("96.00.a6"), 2, "96.00.A5.00.01, floor 96.00.a6"),
        ("modes", |v| v.modes = vec![], 2, "ppcie, accepted are none"),
    ];
    let (devices, values) = machine();
    for (field, change, count, text) in cases {
        let mut values = values.clone();
        change(&mut values);
        let mismatches = appraise(&devices, &values).unwrap_err();
        assert_eq!(mismatches.len(), count, "{field}: {mismatches:?}");
        assert!(mismatches.iter().all(|mismatch| mismatch.field == field), "{mismatches:?}");
        assert!(mismatches[0].to_string().ends_with(text), "{}", mismatches[0]);
    }
    let mut values = values;
    values.nvdec0 = Some(Nvdec0::Enabled);
    let mismatches = appraise(&devices, &values).unwrap_err();
    assert_eq!(mismatches[0].part.as_deref(), Some(gpus));
}

#[test]
fn all_mismatches_are_given_at_once() {
    let (devices, mut values) = machine();
    values.gpus = 8;
    values.nvdec0 = Some(Nvdec0::Enabled);
    values.modes = vec![GpuMode::Spt];
    let fields: Vec<_> = appraise(&devices, &values).unwrap_err().iter().map(|mismatch| mismatch.field).collect();
    assert_eq!(fields, ["gpus", "modes", "nvdec0", "modes", "nvdec0"]);
}

#[test]
fn revocation_that_is_demanded_and_not_known_is_a_mismatch_that_means_could_not_tell() {
    let (mut devices, mut values) = machine();
    devices[1].established.revocation = RevocationCheck::NotGiven;
    let mismatches = appraise(&devices, &values).unwrap_err();
    let [Mismatch { field, part, hint, .. }] = mismatches.as_slice() else { panic!("{mismatches:?}") };
    assert_eq!((*field, part.as_deref()), (COULD_NOT_TELL, Some("device 2, gpu a001010405060708")));
    assert!(hint.is_some());
    values.ocsp = OcspPolicy::IfGiven;
    assert!(appraise(&devices, &values).is_ok());
}

#[test]
fn a_gpu_that_does_not_name_its_firmware_is_left_to_reference_values() {
    let (mut devices, mut values) = machine();
    devices[0].established.fwid = FwidCheck::NotReported;
    let mismatches = appraise(&devices, &values).unwrap_err();
    assert_eq!(
        mismatches.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["fwid (device 1, gpu a001000405060708): not-reported, accepted is required"]
    );
    values.fwid = FwidPolicy::IfReported;
    assert!(appraise(&devices, &values).is_ok());
}

#[test]
fn accepted_devices_are_affirming() {
    let (devices, values) = machine();
    assert_eq!(appraise(&devices, &values).unwrap().tier(), crate::ear::TrustTier::Affirming);
}

#[test]
fn a_fabric_that_is_demanded_names_what_is_wrong() {
    let (mut devices, values) = machine();
    devices[2].report.locked = Some(false);
    let mismatches = appraise(&devices, &values).unwrap_err();
    assert_eq!(
        mismatches.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["topology: switch b001000405060708 is not locked, accepted is switched"]
    );
}

#[test]
fn a_gpu_with_nvlink_in_clear_does_not_stand_alone() {
    let (mut devices, mut values) = machine();
    (values.topology, values.modes) = (Topology::Independent, vec![GpuMode::Spt, GpuMode::Ppcie, GpuMode::Unstated]);
    let mut judge = |mode: GpuMode, protected_pcie: Option<bool>| -> Vec<String> {
        for device in devices.iter_mut().take(2) {
            (device.report.mode, device.report.protected_pcie) = (mode, protected_pcie);
        }
        let mismatches = appraise(&devices, &values).err().unwrap_or_default();
        assert!(mismatches.iter().all(|mismatch| mismatch.field == "topology"), "{mismatches:?}");
        mismatches.iter().map(ToString::to_string).collect()
    };
    for (mode, protected_pcie) in [
        (GpuMode::Ppcie, Some(true)),
        (GpuMode::Ppcie, Some(false)),
        (GpuMode::Ppcie, None),
        (GpuMode::Unstated, Some(true)),
        (GpuMode::Spt, Some(true)),
    ] {
        let text = format!("NVLink in clear (mode {}), accepted is independent", mode.name());
        let expected = ["a001000405060708", "a001010405060708"].into_iter().zip(1..);
        let expected: Vec<_> =
            expected.map(|(id, place)| format!("topology (device {place}, gpu {id}): {text}")).collect();
        assert_eq!(judge(mode, protected_pcie), expected);
    }
    for (mode, protected_pcie) in
        [(GpuMode::Spt, Some(false)), (GpuMode::Unstated, Some(false)), (GpuMode::Unstated, None)]
    {
        assert_eq!(judge(mode, protected_pcie), Vec::<String>::new());
    }
    // Half a fabric is not written down as GPUs that stand alone.
    let (mut devices, _) = machine();
    devices.truncate(2);
    let values = reference_values(&devices, "half");
    assert_eq!(values.topology, Topology::Switched);
    assert!(values.validate("devices[0]").is_err() && appraise(&devices, &values).is_err());
}

#[test]
fn a_device_without_identity_is_accepted_by_nothing_but_any() {
    let (mut devices, values) = machine();
    for device in &mut devices {
        device.identity = None;
    }
    let fields: Vec<_> = appraise(&devices, &values).unwrap_err().iter().map(|mismatch| mismatch.field).collect();
    for field in ["device_ids", "architectures", "hwmodels", "topology"] {
        assert!(fields.contains(&field), "{field}: {fields:?}");
    }
}

#[test]
fn an_entry_without_devices_accepts_none() {
    let (_, values) = machine();
    let fields: Vec<_> = appraise(&[], &values).unwrap_err().iter().map(|mismatch| mismatch.field).collect();
    assert_eq!(fields, ["gpus", "switches"]);
}

#[test]
fn an_explanation_goes_layer_by_layer() {
    let rig = Rig::new();
    let mut test = report(Chip::Gh100);
    test.remove(field::FWID);
    test.measurements[9].1 = [0xee; 48];
    let set = rig.examine_all(&[rig.device(Chip::Gh100).evidence(&test)]);
    let explanation = Explanation::new("GPU report", explain(&set));
    assert_eq!(explanation.verdict, Verdict::Refused);
    let lines: Vec<String> = explanation
        .sections
        .iter()
        .map(|section| {
            let problems: Vec<_> = section.problems.iter().map(|problem| problem.code).collect();
            format!("{}: {} {}", section.title, section.verdict.name(), problems.join(" ")).trim_end().to_owned()
        })
        .collect();
    expect![[r#"
        report: verified
        device key: verified
        chain: verified
        revocation: noted ocsp-not-given
        firmware id: noted device-fwid-not-reported
        freshness: verified
        firmware: refused device-measurements"#]]
    .assert_eq(&lines.join("\n"));
    let machine = rig.examine_all(&evidence_of(&rig.nvidia.machine(1, 1, 1, NONCE)));
    let titles: Vec<_> = explain(&machine).into_iter().map(|section| section.title).collect();
    assert_eq!(titles.first().map(String::as_str), Some("device 1 report"));
    assert_eq!(titles.last().map(String::as_str), Some("device set"));
    let unreadable = rig.examine_all(&[protocol::DeviceEvidence {
        kind: protocol::DeviceKind::Gpu,
        report: vec![1],
        chain: vec![],
    }]);
    let titles: Vec<_> = explain(&unreadable).into_iter().map(|section| section.title).collect();
    assert_eq!(titles, ["report", "chain"]);
}
