//! Claims against Reference Values, every field of them.

use std::collections::BTreeSet;

use protocol::digest::Hex;
use protocol::reference::snp::{
    AbiVersion, Expect, GuestPolicyRules, Mitigations, PlatformInfoRules, SigningKey, SnpReferenceValues, TcbFloors,
};
use protocol::reference::{AmdProduct, Machines, TcbVersion};

use super::report::Claims;
use super::tcb::components;
use crate::UnixTime;
use crate::ear::{TrustClaim, TrustVector};
use crate::mismatch::{Comparison, Mismatch, Rule};
use crate::value::Value;

/// The trustworthiness of a guest whose hardware, TCB, policy and measurement are all accepted (AR4SI 2.3.2).
fn vector() -> TrustVector {
    TrustVector {
        instance_identity: TrustClaim::TRUSTWORTHY_INSTANCE,
        executables: TrustClaim::APPROVED_BOOT,
        // hardware 2: genuine, and no known weakness below the floors that the owners set.
        hardware: TrustClaim(2),
        // runtime-opaque 2: encrypted, in a TEE, out of reach of the machine's operator.
        runtime_opaque: TrustClaim(2),
        ..TrustVector::default()
    }
}

/// Appraises claims of verified Evidence. All mismatches come back, not the first.
pub(crate) fn appraise(
    claims: &Claims,
    values: &SnpReferenceValues,
    _now: UnixTime,
) -> Result<TrustVector, Vec<Mismatch>> {
    let mut comparison = Comparison::default();
    product_and_tcb(&mut comparison, claims, values);
    comparison.at_least("min_report_version", claims.version, values.min_report_version);
    comparison.one_of("measurements", &claims.measurement, &values.measurements);
    chip(&mut comparison, claims, values);
    signer(&mut comparison, claims, values);
    guest_policy(&mut comparison, claims, &values.guest_policy);
    platform_info(&mut comparison, claims, &values.platform_info);
    comparison.equals("vmpl", &claims.vmpl, &values.vmpl);
    mitigations(&mut comparison, claims, &values.mitigations);
    comparison.at_least("min_guest_svn", claims.guest_svn, values.min_guest_svn);
    listed(&mut comparison, "id_key_digests", claims.id_key_digest, values.id_key_digests.as_ref());
    // An author key counts only where the report says that one was used.
    let author = if claims.author_key_enabled { claims.author_key_digest } else { Hex([0; 48]) };
    listed(&mut comparison, "author_key_digests", author, values.author_key_digests.as_ref());
    listed(&mut comparison, "family_ids", claims.family_id, values.family_ids.as_ref());
    listed(&mut comparison, "image_ids", claims.image_id, values.image_ids.as_ref());
    comparison.finish().map(|()| vector())
}

/// The JSON paths of a TCB version's components, in the order of [`components`].
macro_rules! paths {
    ($which:literal) => {
        [
            concat!("tcb.", $which, ".fmc"),
            concat!("tcb.", $which, ".bootloader"),
            concat!("tcb.", $which, ".tee"),
            concat!("tcb.", $which, ".snp"),
            concat!("tcb.", $which, ".microcode"),
        ]
    };
}
fn product_and_tcb(comparison: &mut Comparison, claims: &Claims, values: &SnpReferenceValues) {
    if claims.product != Some(values.product) {
        // TCB components of two products mean different firmware: comparing them would only mislead.
        let reported: Value = claims.product.map(AmdProduct::name).into();
        comparison.push(Mismatch::new("product", Rule::Equals, reported, values.product.name()));
        return;
    }
    let floors = &values.tcb;
    let table: [([&'static str; 5], TcbVersion, TcbVersion); 4] = [
        (paths!("reported"), claims.reported_tcb, floors.reported),
        (paths!("committed"), claims.committed_tcb, floors.committed),
        (paths!("launch"), claims.launch_tcb, floors.launch),
        (paths!("current"), claims.current_tcb, floors.current),
    ];
    for (paths, reported, floor) in table {
        for (path, ((_, reported), (_, floor))) in
            paths.into_iter().zip(components(reported).into_iter().zip(components(floor)))
        {
            // `None` is no FMC: below every floor that names one, and above none.
            if reported < floor {
                let hint = "the machine's firmware or microcode is older than the floor: update it, or lower the floor \
                            knowingly";
                comparison.push(Mismatch::new(path, Rule::AtLeast, reported, floor).hint(hint));
            }
        }
    }
    if !values.provisional_firmware {
        let same = claims.current_tcb == claims.committed_tcb && claims.current_version == claims.committed_version;
        if !same {
            comparison.push(
                Mismatch::new("provisional_firmware", Rule::Equals, true, false)
                    .part(format!(
                        "current {}, committed {}",
                        firmware(claims.current_version, claims.current_tcb),
                        firmware(claims.committed_version, claims.committed_tcb)
                    ))
                    .hint("the host can still go back to older firmware; it commits to this one with `snphost commit`"),
            );
        }
    }
}

fn firmware(version: super::report::FirmwareVersion, tcb: TcbVersion) -> String {
    format!("{version} with {}", super::tcb::show(tcb))
}

fn chip(comparison: &mut Comparison, claims: &Claims, values: &SnpReferenceValues) {
    let Machines::Listed(chips) = &values.chip_ids else { return };
    let chip = claims.chip();
    if !chip.is_some_and(|chip| chips.contains(&chip)) {
        let accepted: Value = chips.iter().copied().collect();
        comparison.push(Mismatch::new("chip_ids", Rule::OneOf, chip, accepted));
    }
}

fn signer(comparison: &mut Comparison, claims: &Claims, values: &SnpReferenceValues) {
    let key = claims.signer.key();
    if !key.is_some_and(|key| values.signing_keys.contains(&key)) {
        let accepted: Value = values.signing_keys.iter().map(|key| key.name()).collect();
        comparison.push(Mismatch::new("signing_keys", Rule::OneOf, key.map(SigningKey::name), accepted));
        return;
    }
    if key == Some(SigningKey::Vlek) {
        let csp = claims.endorsed.as_ref().and_then(|endorsed| endorsed.csp_id.as_deref());
        if !csp.is_some_and(|csp| values.csp_ids.contains(csp)) {
            let accepted: Value = values.csp_ids.iter().map(String::as_str).collect();
            let reported = csp.map_or_else(Value::none, Value::peer_text);
            comparison.push(Mismatch::new("csp_ids", Rule::OneOf, reported, accepted));
        }
    }
}

fn guest_policy(comparison: &mut Comparison, claims: &Claims, rules: &GuestPolicyRules) {
    let policy = claims.policy;
    let GuestPolicyRules {
        abi,
        smt,
        migration_agent,
        single_socket,
        cxl,
        aes_256_xts,
        rapl_disabled,
        ciphertext_hiding,
        page_swap_disabled,
    } = rules;
    if policy.abi() < *abi {
        let show = |AbiVersion { major, minor }: AbiVersion| format!("{major}.{minor}");
        comparison.push(Mismatch::new("guest_policy.abi", Rule::AtLeast, show(policy.abi()), show(*abi)));
    }
    if policy.debug() {
        let hint = "the host can read and change this guest's memory; no reference value accepts that";
        comparison.push(Mismatch::new("guest_policy.debug", Rule::Equals, true, false).hint(hint));
    }
    let bits = [
        ("guest_policy.smt", *smt, policy.smt()),
        ("guest_policy.migration_agent", *migration_agent, policy.migration_agent()),
        ("guest_policy.single_socket", *single_socket, policy.single_socket()),
        ("guest_policy.cxl", *cxl, policy.cxl()),
        ("guest_policy.aes_256_xts", *aes_256_xts, policy.aes_256_xts()),
        ("guest_policy.rapl_disabled", *rapl_disabled, policy.rapl_disabled()),
        ("guest_policy.ciphertext_hiding", *ciphertext_hiding, policy.ciphertext_hiding()),
        ("guest_policy.page_swap_disabled", *page_swap_disabled, policy.page_swap_disabled()),
    ];
    compare_bits(comparison, bits);
}

fn platform_info(comparison: &mut Comparison, claims: &Claims, rules: &PlatformInfoRules) {
    let info = claims.platform_info;
    let PlatformInfoRules { smt, tsme, ecc, rapl_disabled, ciphertext_hiding, alias_check_complete, tio } = rules;
    let bits = [
        ("platform_info.smt", *smt, info.smt()),
        ("platform_info.tsme", *tsme, info.tsme()),
        ("platform_info.ecc", *ecc, info.ecc()),
        ("platform_info.rapl_disabled", *rapl_disabled, info.rapl_disabled()),
        ("platform_info.ciphertext_hiding", *ciphertext_hiding, info.ciphertext_hiding()),
        ("platform_info.alias_check_complete", *alias_check_complete, info.alias_check_complete()),
        ("platform_info.tio", *tio, info.tio()),
    ];
    compare_bits(comparison, bits);
}

fn compare_bits<const N: usize>(comparison: &mut Comparison, bits: [(&'static str, Expect, bool); N]) {
    for (field, expect, bit) in bits {
        if !expect.accepts(bit) {
            comparison.push(Mismatch::new(field, Rule::Equals, on_off(bit), on_off(!bit)));
        }
    }
}

const fn on_off(bit: bool) -> &'static str {
    if bit { "on" } else { "off" }
}

fn mitigations(comparison: &mut Comparison, claims: &Claims, demanded: &Mitigations) {
    let Mitigations { launch, current } = demanded;
    for (field, demanded, vector) in [
        ("mitigations.launch", launch, claims.launch_mitigations),
        ("mitigations.current", current, claims.current_mitigations),
    ] {
        let present = vector.map(bits_of);
        if !present.as_ref().map_or(demanded.is_empty(), |present| demanded.is_subset(present)) {
            let reported = present.map_or_else(Value::none, |present| present.into_iter().collect());
            let accepted: Value = demanded.iter().copied().collect();
            comparison.push(Mismatch::new(field, Rule::AtLeast, reported, accepted));
        }
    }
}

fn bits_of(vector: u64) -> BTreeSet<u8> {
    (0..64_u8).filter(|bit| vector >> bit & 1 == 1).collect()
}

fn listed<const N: usize>(
    comparison: &mut Comparison,
    field: &'static str,
    reported: Hex<N>,
    accepted: Option<&BTreeSet<Hex<N>>>,
) {
    if let Some(accepted) = accepted
        && !accepted.contains(&reported)
    {
        let accepted: Value = accepted.iter().copied().collect();
        comparison.push(Mismatch::new(field, Rule::OneOf, reported, accepted));
    }
}

/// The Reference Values that would accept exactly this: its versions as floors, its settings where they are the stricter
/// ones. A guest that may be debugged is accepted by none.
///
/// `None` where the product is not known: a report of version 2 does not name it, only the certificate of its key does.
pub(crate) fn reference_values(claims: &Claims) -> Option<SnpReferenceValues> {
    let product = claims.product?;
    let stricter_on = |bit: bool| if bit { Expect::On } else { Expect::Any };
    let stricter_off = |bit: bool| if bit { Expect::Any } else { Expect::Off };
    let (policy, info) = (claims.policy, claims.platform_info);
    let only = |digest: Hex<48>| (digest.0 != [0; 48]).then(|| BTreeSet::from([digest]));
    let only_id = |id: Hex<16>| (id.0 != [0; 16]).then(|| BTreeSet::from([id]));
    let provisional = claims.current_tcb != claims.committed_tcb || claims.current_version != claims.committed_version;
    let csp = claims.endorsed.as_ref().and_then(|endorsed| endorsed.csp_id.clone());
    Some(SnpReferenceValues {
        platform: format!("snp-{}", product.name().to_ascii_lowercase()),
        product,
        measurements: vec![claims.measurement],
        chip_ids: claims.chip().map_or(Machines::Any, |chip| Machines::Listed(vec![chip])),
        tcb: TcbFloors {
            reported: claims.reported_tcb,
            committed: claims.committed_tcb,
            launch: claims.launch_tcb,
            current: claims.current_tcb,
        },
        provisional_firmware: provisional,
        signing_keys: claims.signer.key().into_iter().collect(),
        csp_ids: csp.into_iter().collect(),
        min_report_version: claims.version,
        guest_policy: GuestPolicyRules {
            abi: policy.abi(),
            smt: stricter_off(policy.smt()),
            migration_agent: stricter_off(policy.migration_agent()),
            single_socket: stricter_on(policy.single_socket()),
            cxl: stricter_off(policy.cxl()),
            aes_256_xts: stricter_on(policy.aes_256_xts()),
            rapl_disabled: stricter_on(policy.rapl_disabled()),
            ciphertext_hiding: stricter_on(policy.ciphertext_hiding()),
            page_swap_disabled: stricter_on(policy.page_swap_disabled()),
        },
        platform_info: PlatformInfoRules {
            smt: stricter_off(info.smt()),
            tsme: stricter_on(info.tsme()),
            ecc: stricter_on(info.ecc()),
            rapl_disabled: stricter_on(info.rapl_disabled()),
            ciphertext_hiding: stricter_on(info.ciphertext_hiding()),
            alias_check_complete: stricter_on(info.alias_check_complete()),
            tio: stricter_off(info.tio()),
        },
        vmpl: claims.vmpl,
        mitigations: Mitigations {
            launch: claims.launch_mitigations.map(bits_of).unwrap_or_default(),
            current: claims.current_mitigations.map(bits_of).unwrap_or_default(),
        },
        min_guest_svn: claims.guest_svn,
        id_key_digests: only(claims.id_key_digest),
        author_key_digests: if claims.author_key_enabled { only(claims.author_key_digest) } else { None },
        family_ids: only_id(claims.family_id),
        image_ids: only_id(claims.image_id),
    })
}
