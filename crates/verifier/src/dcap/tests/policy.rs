//! Every field of an entry: one mismatch, with both values.

use protocol::digest::{Hex, Measurement};
use protocol::reference::tdx::{Bits, IntelTcbPolicy, Register, TcbStatus};
use protocol::reference::{Machines, SgxReferenceValues, TdxReferenceValues};
use testkit::dcap::{Enclave, MIDDLE, NEWEST, Pck};

use super::*;
use crate::ear::{TrustTier, TrustVector};
use crate::mismatch::Mismatch;
use crate::time::DAY;

fn tdx_claims(quote: &Quote, documents: &Documents) -> tdx::Claims {
    let examination = examine_tdx(&quote.encode(), documents);
    assert_eq!(bad(&examination.layers), NONE);
    examination.claims.unwrap()
}

fn td_claims(td: &Td) -> tdx::Claims {
    tdx_claims(&Quote::tdx(5, td), &Documents::of(Tee::Tdx))
}

fn sgx_claims(enclave: &Enclave) -> sgx::Claims {
    let examination = examine_sgx(&Quote::sgx(3, enclave).encode(), &Documents::of(Tee::Sgx));
    assert_eq!(bad(&examination.layers), NONE);
    examination.claims.unwrap()
}

fn shown(result: Result<TrustVector, Vec<Mismatch>>) -> Vec<String> {
    result.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn m(byte: u8) -> Measurement {
    Measurement::from_bytes([byte; 48])
}

#[test]
fn reference_values_from_claims_accept_them_and_are_valid() {
    for td in [Td::default(), Td::v15(), Td { v15: Some((rig::TEE_TCB_SVN, [9; 48])), ..Td::default() }, Td::extended()]
    {
        let claims = td_claims(&td);
        let values = tdx::reference_values(&claims);
        let vector = tdx::appraise(&claims, &values, NOW).unwrap();
        assert_eq!(vector.tier(), TrustTier::Affirming);
        assert_eq!(values.validate("tdx[0]"), Ok(()));
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(serde_json::from_str::<TdxReferenceValues>(&text).unwrap(), values);
    }
    let claims = sgx_claims(&Enclave::default());
    let values = sgx::reference_values(&claims);
    assert_eq!(sgx::appraise(&claims, &values, NOW).unwrap().tier(), TrustTier::Affirming);
    assert_eq!(values.validate("sgx[0]"), Ok(()));
}

#[test]
fn every_field_of_a_tdx_entry_is_compared() {
    type Change = fn(&mut TdxReferenceValues);
    let cases: [(Change, &str); 22] = [
        (|v| v.chip_ids = Machines::Listed(vec![Hex([1; 16])]), "chip_ids: 777777777777, accepted are 010101010101"),
        (|v| v.mrtd = vec![m(1), m(2)], "mrtd: a2a2a2a2a2a2, accepted are 010101010101, 020202020202"),
        (|v| v.rtmr0 = vec![m(1)], "rtmr0: b0b0b0b0b0b0, accepted are 010101010101"),
        (|v| v.rtmr1 = vec![m(1)], "rtmr1: b1b1b1b1b1b1, accepted are 010101010101"),
        (|v| v.rtmr2 = vec![m(1)], "rtmr2: b2b2b2b2b2b2, accepted are 010101010101"),
        (|v| v.rtmr3 = Register::Listed(vec![m(1)]), "rtmr3: b3b3b3b3b3b3, accepted are 010101010101"),
        (|v| v.xfam = Bits::exactly([3, 0, 0, 0, 0, 0, 0, 0]), "xfam: e70206000000, accepted is 030000000000"),
        (
            |v| v.xfam = Bits { required: Hex([8, 0, 0, 0, 0, 0, 0, 0]), allowed: Hex([0xff; 8]) },
            "xfam (required bits): e70206000000, floor 080000000000",
        ),
        (
            |v| v.xfam = Bits { required: Hex([3, 0, 0, 0, 0, 0, 0, 0]), allowed: Hex([0xe7, 2, 0, 0, 0, 0, 0, 0]) },
            "xfam (allowed bits): e70206000000, accepted at most e70200000000",
        ),
        (
            |v| v.td_attributes = Bits::exactly([0, 0, 0, 0x50, 0, 0, 0, 0]),
            "td_attributes: 000000100000, accepted is 000000500000",
        ),
        (|v| v.mrseam = vec![m(1)], "mrseam: a1a1a1a1a1a1, accepted are 010101010101"),
        (|v| v.mr_owner = m(1), "mr_owner: 000000000000, accepted is 010101010101"),
        (|v| v.mr_owner_config = m(1), "mr_owner_config: 000000000000, accepted is 010101010101"),
        (|v| v.mr_service_td = vec![m(1)], "mr_service_td: 000000000000, accepted are 010101010101"),
        (|v| v.tcb.statuses = [TcbStatus::OutOfDate].into(), "tcb.statuses: UpToDate, accepted are OutOfDate"),
        (|v| v.tcb.min_evaluation_data_number = 21, "tcb.min_evaluation_data_number: 20, floor 21"),
        // And what is looser is accepted.
        (|v| v.chip_ids = Machines::Any, ""),
        (|v| v.rtmr3 = Register::Free, ""),
        (|v| v.mrtd.push(m(1)), ""),
        (|v| v.xfam = Bits { required: Hex([3, 0, 0, 0, 0, 0, 0, 0]), allowed: Hex([0xff; 8]) }, ""),
        (|v| assert!(v.tcb.statuses.insert(TcbStatus::OutOfDate)), ""),
        (|v| v.tcb.min_evaluation_data_number = 0, ""),
    ];
    let claims = td_claims(&Td::v15());
    for (change, expected) in cases {
        let mut values = tdx::reference_values(&claims);
        change(&mut values);
        let expected: Vec<_> = [expected].into_iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(shown(tdx::appraise(&claims, &values, NOW)), expected);
    }
}

#[test]
fn what_a_td_may_never_be_is_refused_whatever_the_entry_says() {
    let loose = |claims: &tdx::Claims| {
        let mut values = tdx::reference_values(claims);
        values.td_attributes = Bits { required: Hex([0; 8]), allowed: Hex([0xff; 8]) };
        values
    };
    type Change = fn(&mut Td);
    let cases: [(Change, &str); 5] = [
        (|td| td.td_attributes[0] = 1, "td_attributes: 010000100000, accepted is no debug"),
        // Profiling is of the same group.
        (|td| td.td_attributes[0] = 0x10, "td_attributes: 100000100000, accepted is no debug"),
        (|td| td.td_attributes[0] = 0x80, "td_attributes: 800000100000, accepted is no debug"),
        (|td| td.mr_config_id[32] = 1, "mr_config_id: 010000000000, accepted is 000000000000"),
        (|td| td.mr_config_id[47] = 1, "mr_config_id: 000000000000, accepted is 000000000000"),
    ];
    for (change, expected) in cases {
        let mut td = Td::default();
        change(&mut td);
        let claims = td_claims(&td);
        assert_eq!(shown(tdx::appraise(&claims, &loose(&claims), NOW)), [expected]);
    }
    // These two do not even verify where Intel's TCB info is at hand; the appraisal does not rest on that.
    let mut claims = td_claims(&Td::default());
    let values = loose(&claims);
    claims.report.mr_signer_seam = m(1);
    assert_eq!(shown(tdx::appraise(&claims, &values, NOW)), ["mr_signer_seam: 010101010101, accepted is 000000000000"]);
    let mut claims = td_claims(&Td::default());
    claims.report.seam_attributes = Hex([1; 8]);
    assert_eq!(
        shown(tdx::appraise(&claims, &values, NOW)),
        ["seam_attributes: 010101010101, accepted is 000000000000"]
    );
}

#[test]
fn a_td_without_sept_ve_disable_needs_an_entry_that_says_so() {
    let claims = td_claims(&Td { td_attributes: [0; 8], ..Td::default() });
    let mut values = tdx::reference_values(&td_claims(&Td::default()));
    let strict = ["td_attributes: 000000000000, accepted is 000000100000"];
    assert_eq!(shown(tdx::appraise(&claims, &values, NOW)), strict);
    values.td_attributes = Bits { required: Hex([0; 8]), allowed: Hex([0, 0, 0, 0x10, 0, 0, 0, 0]) };
    assert_eq!(values.validate("tdx[0]"), Ok(()));
    assert!(tdx::appraise(&claims, &values, NOW).is_ok());
}

#[test]
fn a_service_td_that_was_bound_later_is_named() {
    let claims = td_claims(&Td { extended: Some([7; 48]), ..Td::v15() });
    let mut values = tdx::reference_values(&claims);
    assert!(tdx::appraise(&claims, &values, NOW).is_ok());
    values.mr_service_td = vec![m(0)];
    let expected = ["mr_service_td (bound since the launch): 070707070707, accepted are 000000000000"];
    assert_eq!(shown(tdx::appraise(&claims, &values, NOW)), expected);
}

#[test]
fn every_field_of_an_extended_report_is_appraised() {
    type Change = fn(&mut crate::dcap::report::TdReportExtended);
    let cases: [(Change, &str); 8] = [
        (|r| r.vm_id = 1, "vm_id: 1, accepted is 0"),
        (|r| r.device_info.0[0] = 1, "device_info: 010000000000, accepted is 000000000000"),
        (|r| r.initial_service_td_hash = m(7), "initial_service_td_hash: 070707070707, accepted are 000000000000"),
        (|r| r.current_service_td_hash = m(7), "mr_service_td (bound since the launch): 070707070707"),
        (|r| r.initial_service_td_attributes.0[0] = 1, "initial_service_td_attributes: 010000000000, accepted is 0000"),
        (|r| r.current_service_td_attributes.0[0] = 1, "current_service_td_attributes: 010000000000, accepted is 0000"),
        (|r| r.initial_tee_tcb_svn.0[0] = 4, "initial_tee_tcb_svn: 040105000000, accepted is 050105000000"),
        (|r| r.initial_cpu_svn.0[0] = 4, "initial_cpu_svn: 040505050505, accepted is 050505050505"),
    ];
    let claims = td_claims(&Td::extended());
    let values = tdx::reference_values(&claims);
    assert!(tdx::appraise(&claims, &values, NOW).is_ok());
    for (change, expected) in cases {
        let mut other = claims.clone();
        change(other.report.extended.as_mut().unwrap());
        let problems = shown(tdx::appraise(&other, &values, NOW));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(expected), "{problems:?} {expected}");
    }
    // A TD that was never moved says nothing of its launch; one that says half of it has moved.
    let launch = |svn: [u8; 16], cpu: [u8; 16]| {
        let mut other = claims.clone();
        let extended = other.report.extended.as_mut().unwrap();
        (extended.initial_tee_tcb_svn, extended.initial_cpu_svn) = (Hex(svn), Hex(cpu));
        shown(tdx::appraise(&other, &values, NOW)).len()
    };
    assert_eq!((launch([0; 16], [0; 16]), launch([0; 16], [5; 16]), launch([4; 16], [0; 16])), (0, 1, 2));
}

#[test]
fn flags_of_the_platform_must_be_shown_or_allowed() {
    type Allow = fn(&mut TdxReferenceValues);
    let flags: [(usize, Allow, &str); 3] = [
        (0, |v| v.allow_dynamic_platform = true, "allow_dynamic_platform"),
        (1, |v| v.allow_cached_keys = true, "allow_cached_keys"),
        (2, |v| v.allow_smt = true, "allow_smt"),
    ];
    let strict = tdx::reference_values(&td_claims(&Td::v15()));
    for (index, allow, field) in flags {
        let mut configuration = [false; 3];
        configuration[index] = true;
        let pck = Pck { configuration: Some(configuration), ..Pck::default() };
        let claims = tdx_claims(&td_quote().on(&pck), &Documents::of(Tee::Tdx));
        let expected = [format!("{field}: yes, accepted is no")];
        assert_eq!(shown(tdx::appraise(&claims, &strict, NOW)), expected);
        let mut values = strict.clone();
        allow(&mut values);
        assert!(tdx::appraise(&claims, &values, NOW).is_ok());
    }
    let pck = Pck { configuration: None, instance: None, ..Pck::default() };
    let claims = tdx_claims(&td_quote().on(&pck), &Documents::of(Tee::Tdx));
    let expected = [
        "chip_ids: none, accepted are 777777777777",
        "allow_smt: not in the certificate, accepted is no",
        "allow_dynamic_platform: not in the certificate, accepted is no",
        "allow_cached_keys: not in the certificate, accepted is no",
    ];
    assert_eq!(shown(tdx::appraise(&claims, &strict, NOW)), expected);
    // A machine without an instance id is still one machine to the log.
    assert_eq!(claims.platform.chip_id(), Some(Digest::of(&pck.ppid)));
}

#[test]
fn every_field_of_an_sgx_entry_is_compared() {
    type Change = fn(&mut SgxReferenceValues);
    let cases: [(Change, &str); 15] = [
        (|v| v.chip_ids = Machines::Listed(vec![]), "chip_ids: 777777777777, accepted are none"),
        (|v| v.mrenclave = vec![Hex([1; 32])], "mrenclave: e1e1e1e1e1e1, accepted are 010101010101"),
        (|v| v.mrsigner = Hex([1; 32]), "mrsigner: e2e2e2e2e2e2, accepted is 010101010101"),
        (|v| v.product_id = 4, "product_id: 3, accepted is 4"),
        (|v| v.min_svn = 5, "min_svn: 4, floor 5"),
        (|v| v.min_config_svn = 6, "min_config_svn: 5, floor 6"),
        (
            |v| v.attributes = Bits::exactly([5, 0, 0, 0, 0, 0, 0, 0]),
            "attributes: 850000000000, accepted is 050000000000",
        ),
        (|v| v.xfrm = Bits::exactly([3, 0, 0, 0, 0, 0, 0, 0]), "xfrm: e70000000000, accepted is 030000000000"),
        (|v| v.misc_select = Bits::exactly([1, 0, 0, 0]), "misc_select: 00000000, accepted is 01000000"),
        (|v| v.tcb.statuses = [TcbStatus::OutOfDate].into(), "tcb.statuses: UpToDate, accepted are OutOfDate"),
        (|v| v.tcb.min_evaluation_data_number = 99, "tcb.min_evaluation_data_number: 20, floor 99"),
        (|v| v.min_svn = 3, ""),
        (|v| v.min_config_svn = 0, ""),
        (|v| v.mrenclave.push(Hex([1; 32])), ""),
        (|v| v.chip_ids = Machines::Any, ""),
    ];
    let claims = sgx_claims(&Enclave::default());
    for (change, expected) in cases {
        let mut values = sgx::reference_values(&claims);
        change(&mut values);
        let expected: Vec<_> = [expected].into_iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(shown(sgx::appraise(&claims, &values, NOW)), expected);
    }
}

#[test]
fn what_an_enclave_may_never_be_is_refused_whatever_the_entry_says() {
    type Change = fn(&mut Enclave);
    let cases: [(Change, &str); 3] = [
        (|enclave| enclave.attributes[0] |= 2, "attributes: 870000000000, accepted is no debug"),
        (|enclave| enclave.config_id[32] = 1, "config_id: 010000000000, accepted is 000000000000"),
        (|enclave| enclave.config_id[63] = 1, "config_id: 000000000000, accepted is 000000000000"),
    ];
    for (change, expected) in cases {
        let mut enclave = Enclave::default();
        change(&mut enclave);
        let claims = sgx_claims(&enclave);
        let mut values = sgx::reference_values(&claims);
        values.attributes = Bits { required: Hex([0; 8]), allowed: Hex([0xff; 8]) };
        assert_eq!(shown(sgx::appraise(&claims, &values, NOW)), [expected]);
    }
    // Without KSS the host chooses CONFIGID freely and the processor does not report it.
    let claims = sgx_claims(&Enclave { attributes: [5, 0, 0, 0, 0, 0, 0, 0], ..Enclave::default() });
    let values = sgx::reference_values(&sgx_claims(&Enclave::default()));
    let expected = ["attributes: 050000000000, accepted is 850000000000"];
    assert_eq!(shown(sgx::appraise(&claims, &values, NOW)), expected);
}

/// Claims of a TD on a platform with this TCB, under this TCB info.
fn with_tcb(components: u8, change: impl FnOnce(&mut TcbInfo)) -> tdx::Claims {
    let mut info = TcbInfo::new("TDX");
    change(&mut info);
    let pck = Pck { components: [components; 16], ..Pck::default() };
    let documents = Documents { tcb_infos: vec![intel().tcb_info(&info)], ..Documents::of(Tee::Tdx) };
    tdx_claims(&td_quote().on(&pck), &documents)
}

fn judge_tcb(claims: &tdx::Claims, tcb: IntelTcbPolicy, now: UnixTime) -> Vec<String> {
    let values = TdxReferenceValues { tcb, ..tdx::reference_values(claims) };
    shown(tdx::appraise(claims, &values, now))
}

#[test]
fn every_status_is_refused_by_default_and_accepted_by_name() {
    for status in [
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
    ] {
        let claims = with_tcb(5, |info| info.levels[0].status = status);
        let refused = [format!("tcb.statuses: {status}, accepted are UpToDate")];
        assert_eq!(judge_tcb(&claims, IntelTcbPolicy::default(), NOW), refused);
        let listed = TcbStatus::ALL.into_iter().find(|known| known.name() == status).unwrap();
        let policy = IntelTcbPolicy { statuses: [listed].into(), ..IntelTcbPolicy::default() };
        assert_eq!(judge_tcb(&claims, policy.clone(), NOW), NONE);
        let values = TdxReferenceValues { tcb: policy, ..tdx::reference_values(&claims) };
        // Accepted, and still not without a mark.
        assert_eq!(tdx::appraise(&claims, &values, NOW).unwrap().hardware.tier(), TrustTier::Warning);
    }
}

#[test]
fn open_advisories_must_be_listed() {
    let claims = with_tcb(5, |info| {
        info.levels[0].status = "SWHardeningNeeded";
        info.levels[0].advisories = vec!["INTEL-SA-00615", "INTEL-SA-00289"];
    });
    let mut policy = IntelTcbPolicy { statuses: [TcbStatus::SWHardeningNeeded].into(), ..IntelTcbPolicy::default() };
    let both = ["tcb.advisories: INTEL-SA-00615, INTEL-SA-00289, accepted at most none"];
    assert_eq!(judge_tcb(&claims, policy.clone(), NOW), both);
    policy.advisories.insert("INTEL-SA-00289".to_owned());
    let one = ["tcb.advisories: INTEL-SA-00615, accepted at most INTEL-SA-00289"];
    assert_eq!(judge_tcb(&claims, policy.clone(), NOW), one);
    policy.advisories.insert("INTEL-SA-00615".to_owned());
    assert_eq!(judge_tcb(&claims, policy, NOW), NONE);
    // An up-to-date level with an open advisory is no exception.
    let claims = with_tcb(5, |info| info.levels[0].advisories = vec!["INTEL-SA-00615"]);
    let expected = ["tcb.advisories: INTEL-SA-00615, accepted at most none"];
    assert_eq!(judge_tcb(&claims, IntelTcbPolicy::default(), NOW), expected);
}

#[test]
fn the_grace_runs_from_the_first_level_that_is_missed() {
    let start = |text: &str| text.parse::<UnixTime>().unwrap();
    let policy = |grace_days| IntelTcbPolicy { grace_days, ..IntelTcbPolicy::default() };
    // One level behind: the newest is the first one missed.
    let one = with_tcb(4, |_| {});
    let since = start(NEWEST);
    assert_eq!(judge_tcb(&one, policy(30), since), NONE);
    assert_eq!(judge_tcb(&one, policy(30), UnixTime(since.0 + 30 * DAY - 1)), NONE);
    assert_eq!(
        judge_tcb(&one, policy(30), UnixTime(since.0 + 30 * DAY)),
        [
            "tcb.grace_days (OutOfDate since 2026-11-11T00:00:00Z): 30, ceiling 30",
            "tcb.advisories: INTEL-SA-00004, accepted at most none",
        ]
    );
    assert_eq!(judge_tcb(&one, policy(0), since)[0], "tcb.statuses: OutOfDate, accepted are UpToDate");
    // Two levels behind: the newest level does not start the clock anew.
    let two = with_tcb(2, |_| {});
    assert_eq!(judge_tcb(&two, policy(200), since), NONE);
    assert!(judge_tcb(&two, policy(30), since)[0].starts_with("tcb.grace_days (OutOfDate since 2026-05-13T00:00:00Z)"));
    assert_eq!(judge_tcb(&two, policy(30), start(MIDDLE)), NONE);
}

#[test]
fn the_grace_covers_what_an_update_closes_and_nothing_else() {
    let policy = IntelTcbPolicy { grace_days: 3_650, ..IntelTcbPolicy::default() };
    let claims = with_tcb(4, |info| {
        info.levels[0].status = "SWHardeningNeeded";
        info.levels[0].advisories = vec!["INTEL-SA-00615"];
        info.levels[1].advisories = vec!["INTEL-SA-00004", "INTEL-SA-00615"];
    });
    let expected = ["tcb.advisories: INTEL-SA-00615, accepted at most none"];
    assert_eq!(judge_tcb(&claims, policy.clone(), NOW), expected);
    // Configuration is not a matter of time.
    let claims = with_tcb(4, |info| info.levels[1].status = "OutOfDateConfigurationNeeded");
    let strict = judge_tcb(&claims, policy.clone(), NOW);
    assert_eq!(strict[0], "tcb.statuses: OutOfDateConfigurationNeeded, accepted are UpToDate");
    let mut lenient = policy.clone();
    lenient.statuses.insert(TcbStatus::ConfigurationNeeded);
    assert_eq!(judge_tcb(&claims, lenient, NOW), NONE);
    for status in ["SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"] {
        let claims = with_tcb(5, |info| info.levels[0].status = status);
        let expected = [format!("tcb.statuses: {status}, accepted are UpToDate")];
        assert_eq!(judge_tcb(&claims, policy.clone(), NOW), expected);
    }
}

#[test]
fn a_quoting_enclave_that_is_out_of_date_counts() {
    let claims = tdx_claims(&td_quote().by(|qe| qe.svn = 4), &Documents::of(Tee::Tdx));
    assert_eq!(
        judge_tcb(&claims, IntelTcbPolicy::default(), NOW),
        ["tcb.statuses: OutOfDate, accepted are UpToDate", "tcb.advisories: INTEL-SA-00024, accepted at most none",]
    );
}

#[test]
fn what_could_not_be_told_is_not_accepted() {
    let mut documents = Documents::of(Tee::Tdx);
    let complete = tdx::reference_values(&td_claims(&Td::v15()));
    documents.qe_identities.clear();
    let claims = examine_tdx(&td_quote().encode(), &documents).claims.unwrap();
    assert_eq!(shown(tdx::appraise(&claims, &complete, NOW)), ["tcb.statuses: none, accepted are UpToDate"]);
    // Nor do reference values from such claims accept them.
    let own = tdx::reference_values(&claims);
    assert_eq!(shown(tdx::appraise(&claims, &own, NOW)), ["tcb.statuses: none, accepted are UpToDate"]);
}

#[test]
fn every_mismatch_is_reported_not_the_first() {
    let claims = td_claims(&Td::v15());
    let mut values = tdx::reference_values(&claims);
    values.mrtd = vec![m(1)];
    values.rtmr2 = vec![m(1)];
    values.tcb.min_evaluation_data_number = 30;
    assert_eq!(shown(tdx::appraise(&claims, &values, NOW)).len(), 3);
}
