//! What the appraisals of TDX and SGX have in common: machine, TCB and bits.

use protocol::digest::Hex;
use protocol::reference::Machines;
use protocol::reference::tdx::{Bits, IntelTcbPolicy, TcbStatus};

use super::{Platform, Tcb};
use crate::ear::{TrustClaim, TrustVector};
use crate::mismatch::{Comparison, Mismatch, Rule};
use crate::time::{DAY, UnixTime};
use crate::value::Value;

/// The fields of an entry that judge the platform.
pub(crate) struct Bounds<'a> {
    pub(crate) chip_ids: &'a Machines<Hex<16>>,
    pub(crate) tcb: &'a IntelTcbPolicy,
    pub(crate) allow_smt: bool,
    pub(crate) allow_dynamic_platform: bool,
    pub(crate) allow_cached_keys: bool,
}

/// Compares the platform. Everything that verification could not tell is a mismatch here.
pub(crate) fn appraise_platform(platform: &Platform, bounds: &Bounds<'_>, now: UnixTime, comparison: &mut Comparison) {
    let pck = platform.pck.as_ref();
    if let Machines::Listed(ids) = bounds.chip_ids {
        let id = pck.and_then(|pck| pck.platform_instance_id);
        if !id.is_some_and(|id| ids.contains(&id)) {
            let accepted: Value = ids.iter().copied().collect();
            comparison.push(Mismatch::new("chip_ids", Rule::OneOf, id, accepted));
        }
    }
    let flags = [
        ("allow_smt", bounds.allow_smt, pck.and_then(|pck| pck.smt_enabled)),
        ("allow_dynamic_platform", bounds.allow_dynamic_platform, pck.and_then(|pck| pck.dynamic_platform)),
        ("allow_cached_keys", bounds.allow_cached_keys, pck.and_then(|pck| pck.cached_keys)),
    ];
    for (field, allowed, reported) in flags {
        // A certificate that does not say is not one that says no.
        if !allowed && reported != Some(false) {
            let reported = reported.map_or_else(|| Value::from("not in the certificate"), Value::from);
            comparison.push(Mismatch::new(field, Rule::Equals, reported, false));
        }
    }
    match platform.combined_tcb() {
        Some(tcb) => appraise_tcb(&tcb, bounds.tcb, now, comparison),
        None => {
            let accepted = statuses(bounds.tcb);
            comparison.push(Mismatch::new("tcb.statuses", Rule::OneOf, Value::none(), accepted));
        }
    }
}

fn statuses(policy: &IntelTcbPolicy) -> Value {
    policy.statuses.iter().map(|status| status.name()).collect()
}

/// The rule is written down at [`IntelTcbPolicy`].
fn appraise_tcb(tcb: &Tcb, policy: &IntelTcbPolicy, now: UnixTime, comparison: &mut Comparison) {
    let listed = policy.statuses.contains(&tcb.status);
    let forgivable = match tcb.status {
        TcbStatus::OutOfDate | TcbStatus::TDRelaunchAdvised => true,
        TcbStatus::OutOfDateConfigurationNeeded | TcbStatus::TDRelaunchAdvisedConfigurationNeeded => {
            policy.statuses.contains(&TcbStatus::ConfigurationNeeded)
        }
        _ => false,
    };
    let grace = tcb.missed_since.filter(|_| forgivable && policy.grace_days > 0);
    let in_grace = grace.is_some_and(|since| now < since.plus(u64::from(policy.grace_days).saturating_mul(DAY)));
    if !listed && !in_grace {
        comparison.push(match grace {
            Some(since) => {
                let days = now.days_since(since);
                Mismatch::new("tcb.grace_days", Rule::AtMost, days, policy.grace_days)
                    .part(format!("{} since {since}", tcb.status.name()))
                    .hint("update the machine's firmware, TDX module and DCAP packages")
            }
            None => Mismatch::new("tcb.statuses", Rule::OneOf, tcb.status.name(), statuses(policy)),
        });
    }
    // Within the grace the advisories that an update closes are what the grace is for.
    let open = if !listed && in_grace { &tcb.remaining } else { &tcb.advisories };
    let unaccepted: Vec<_> = open.iter().filter(|advisory| !policy.advisories.contains(*advisory)).collect();
    if !unaccepted.is_empty() {
        let reported: Value = unaccepted.iter().map(|advisory| Value::peer_text(advisory)).collect();
        let accepted: Value = policy.advisories.iter().map(String::as_str).collect();
        comparison.push(Mismatch::new("tcb.advisories", Rule::Within, reported, accepted));
    }
    comparison.at_least(
        "tcb.min_evaluation_data_number",
        tcb.evaluation_data_number,
        policy.min_evaluation_data_number,
    );
}

/// Compares a value with the bits that must and may be set.
pub(crate) fn bits<const N: usize>(
    field: &'static str,
    reported: Hex<N>,
    accepted: &Bits<N>,
    comparison: &mut Comparison,
) {
    if accepted.is_exact() {
        comparison.equals(field, &reported, &accepted.required);
        return;
    }
    if !accepted.has_required(&reported.0) {
        comparison.push(Mismatch::new(field, Rule::AtLeast, reported, accepted.required).part("required bits"));
    }
    if !accepted.within_allowed(&reported.0) {
        comparison.push(Mismatch::new(field, Rule::Within, reported, accepted.allowed).part("allowed bits"));
    }
}

/// The policy that accepts exactly what was found, and nothing older.
pub(crate) fn policy_for(platform: &Platform) -> IntelTcbPolicy {
    match platform.combined_tcb() {
        None => IntelTcbPolicy::default(),
        Some(tcb) => IntelTcbPolicy {
            statuses: [tcb.status].into(),
            advisories: tcb.advisories.into_iter().collect(),
            grace_days: 0,
            min_evaluation_data_number: tcb.evaluation_data_number,
        },
    }
}

/// hardware 32 of AR4SI: genuine, with known weaknesses that the policy accepts.
const UNSAFE_HARDWARE: TrustClaim = TrustClaim(32);
/// hardware 2: genuine, and nothing is known against it.
const GENUINE_HARDWARE: TrustClaim = TrustClaim(2);
/// runtime-opaque 2: memory is encrypted and out of reach of the machine's operator.
const ENCRYPTED_MEMORY: TrustClaim = TrustClaim(2);

/// The vector of an appraisal that went well.
pub(crate) fn trust_vector(platform: &Platform) -> TrustVector {
    let up_to_date = platform.combined_tcb().is_some_and(|tcb| tcb.status == TcbStatus::UpToDate);
    TrustVector {
        instance_identity: TrustClaim::TRUSTWORTHY_INSTANCE,
        executables: TrustClaim::APPROVED_BOOT,
        hardware: if up_to_date { GENUINE_HARDWARE } else { UNSAFE_HARDWARE },
        runtime_opaque: ENCRYPTED_MEMORY,
        ..TrustVector::default()
    }
}
