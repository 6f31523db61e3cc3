//! Which TCB level a platform meets, and what levels come to together.

use protocol::reference::tdx::TcbStatus;
use testkit::dcap::{MIDDLE, NEWEST, OLDEST, Pck, TEE_TCB_SVN};

use super::super::tcb::{Level, PlatformTcb, QeTcb, Tcb};
use super::*;

/// The verdict on a TD 1.0 quote of version 4 on this platform, under this TCB info and QE identity.
fn judge(pck: &Pck, td: &Td, info: &TcbInfo, qe_svn: u16) -> (Vec<String>, Option<Tcb>) {
    let quote = Quote::tdx(5, td).on(pck).by(|qe| qe.svn = qe_svn);
    let documents = Documents { tcb_infos: vec![intel().tcb_info(info)], ..Documents::of(Tee::Tdx) };
    let examination = examine_tdx(&quote.encode(), &documents);
    (bad(&examination.layers), examination.claims.unwrap().platform.combined_tcb())
}

fn svn(module: u8, version: u8, component: u8) -> [u8; 16] {
    let mut svn = TEE_TCB_SVN;
    (svn[0], svn[1], svn[2]) = (module, version, component);
    svn
}

fn status(
    pck: &Pck,
    tee_tcb_svn: [u8; 16],
    info: &TcbInfo,
) -> Result<(&'static str, Vec<String>, Option<UnixTime>), String> {
    let td = Td { tee_tcb_svn, ..Td::default() };
    match judge(pck, &td, info, 6) {
        (bad, Some(tcb)) => {
            assert_eq!(bad, NONE);
            Ok((tcb.status.name(), tcb.advisories, tcb.missed_since))
        }
        (bad, None) => Err(bad.join("; ")),
    }
}

fn pck(components: u8) -> Pck {
    Pck { components: [components; 16], ..Pck::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "what it is compared with may be none")]
fn time(text: &str) -> Option<UnixTime> {
    Some(text.parse().unwrap())
}

#[test]
fn the_first_level_of_which_nothing_is_above_the_platform_counts() {
    let info = TcbInfo::new("TDX");
    let (four, two) =
        (vec!["INTEL-SA-00004".to_owned()], vec!["INTEL-SA-00004".to_owned(), "INTEL-SA-00002".to_owned()]);
    assert_eq!(status(&pck(5), TEE_TCB_SVN, &info), Ok(("UpToDate", vec![], None)));
    assert_eq!(status(&pck(9), TEE_TCB_SVN, &info), Ok(("UpToDate", vec![], None)));
    // The clock of the grace starts with the first level that is missed, not with the newest.
    assert_eq!(status(&pck(4), TEE_TCB_SVN, &info), Ok(("OutOfDate", four.clone(), time(NEWEST))));
    assert_eq!(status(&pck(3), TEE_TCB_SVN, &info), Ok(("OutOfDate", two.clone(), time(MIDDLE))));
    assert_eq!(status(&pck(1), TEE_TCB_SVN, &info), Err("tcb: tcb-unknown".to_owned()));
    // Every single component counts, and so do PCE and TDX components.
    for index in 0..16 {
        let mut one = pck(5);
        one.components[index] = 4;
        assert_eq!(status(&one, TEE_TCB_SVN, &info).unwrap().0, "OutOfDate", "component {index}");
    }
    let pce = Pck { pce_svn: 12, ..Pck::default() };
    assert_eq!(status(&pce, TEE_TCB_SVN, &info), Err("tcb: tcb-unknown".to_owned()));
    assert_eq!(status(&pck(5), svn(5, 1, 4), &info), Ok(("OutOfDate", four, time(NEWEST))));
    assert_eq!(status(&pck(5), svn(5, 1, 2), &info), Ok(("OutOfDate", two, time(MIDDLE))));
    assert_eq!(status(&pck(5), svn(5, 1, 1), &info), Err("tcb: tcb-unknown".to_owned()));
}

#[test]
fn the_order_in_which_levels_are_sent_does_not_matter() {
    let mut info = TcbInfo::new("TDX");
    info.levels.reverse();
    info.modules[0].2.reverse();
    assert_eq!(status(&pck(5), TEE_TCB_SVN, &info), Ok(("UpToDate", vec![], None)));
}

#[test]
fn a_module_of_version_0_is_judged_by_the_platforms_levels() {
    let info = TcbInfo::new("TDX");
    assert_eq!(status(&pck(5), svn(5, 0, 5), &info).unwrap().0, "UpToDate");
    assert_eq!(
        status(&pck(5), svn(4, 0, 5), &info),
        Ok(("OutOfDate", vec!["INTEL-SA-00004".to_owned()], time(NEWEST)))
    );
    assert_eq!(status(&pck(5), svn(1, 0, 5), &info), Err("tcb: tcb-unknown".to_owned()));
}

#[test]
fn a_module_of_another_version_is_judged_by_its_own_levels() {
    let info = TcbInfo::new("TDX");
    assert_eq!(status(&pck(5), svn(9, 1, 5), &info).unwrap().0, "UpToDate");
    assert_eq!(
        status(&pck(5), svn(4, 1, 5), &info),
        Ok(("OutOfDate", vec!["INTEL-SA-00014".to_owned()], time(NEWEST)))
    );
    assert_eq!(status(&pck(5), svn(3, 1, 5), &info).unwrap().2, time(MIDDLE));
    assert_eq!(status(&pck(5), svn(1, 1, 5), &info), Err("tcb: tdx-module-tcb-unknown".to_owned()));
    // Component 0 of the platform's levels is above 3; with version 3 it is not compared.
    assert_eq!(status(&pck(5), svn(3, 3, 5), &info).unwrap().0, "UpToDate");
    assert_eq!(status(&pck(5), svn(2, 3, 5), &info), Err("tcb: tdx-module-tcb-unknown".to_owned()));
    assert_eq!(status(&pck(5), svn(9, 2, 5), &info), Err("tcb: tdx-module-tcb-unknown".to_owned()));
    // Intel's identity names the signer and attributes of each version.
    let mut other = info.clone();
    other.modules[0].1 = 1;
    assert_eq!(status(&pck(5), TEE_TCB_SVN, &other), Err("tcb: tdx-module-mismatch".to_owned()));
}

#[test]
fn everything_that_is_missed_counts_together() {
    let td = Td { tee_tcb_svn: svn(4, 1, 5), ..Td::default() };
    let (bad, tcb) = judge(&pck(3), &td, &TcbInfo::new("TDX"), 4);
    assert_eq!(bad, NONE);
    let tcb = tcb.unwrap();
    assert_eq!(tcb.status, TcbStatus::OutOfDate);
    assert_eq!(tcb.advisories, ["INTEL-SA-00004", "INTEL-SA-00002", "INTEL-SA-00014", "INTEL-SA-00024"]);
    assert_eq!(tcb.missed_since, time(MIDDLE));
    // The smaller of 20 and 21.
    assert_eq!(tcb.evaluation_data_number, 20);
}

#[test]
fn every_status_of_every_document_reaches_the_verdict_or_is_refused() {
    for level in [
        "UpToDate",
        "SWHardeningNeeded",
        "ConfigurationNeeded",
        "ConfigurationAndSWHardeningNeeded",
        "OutOfDate",
        "OutOfDateConfigurationNeeded",
    ] {
        let mut info = TcbInfo::new("TDX");
        info.levels[0].status = level;
        assert_eq!(status(&pck(5), TEE_TCB_SVN, &info).unwrap().0, level);
    }
    let revoked = Err("tcb: tcb-revoked".to_owned());
    let mut info = TcbInfo::new("TDX");
    info.levels[0].status = "Revoked";
    assert_eq!(status(&pck(5), TEE_TCB_SVN, &info), revoked);
    let mut info = TcbInfo::new("TDX");
    info.modules[0].2[0].status = "Revoked";
    assert_eq!(status(&pck(5), TEE_TCB_SVN, &info), revoked);
    let mut identity = QeIdentity::new("TD_QE");
    identity.levels[0].status = "Revoked";
    let documents = Documents { qe_identities: vec![intel().qe_identity(&identity)], ..Documents::of(Tee::Tdx) };
    assert_eq!(bad_tdx(&td_quote(), &documents), ["qe_identity: tcb-revoked"]);
}

#[test]
fn a_td_launched_out_of_date_on_a_platform_that_no_longer_is_should_be_launched_anew() {
    let info = TcbInfo::new("TDX");
    let (old, new) = (svn(4, 1, 5), TEE_TCB_SVN);
    let status = |launch, now| {
        let td = Td { tee_tcb_svn: launch, v15: Some((now, [0; 48])), ..Td::default() };
        judge(&pck(5), &td, &info, 6)
    };
    assert_eq!(status(new, new).1.unwrap().status, TcbStatus::UpToDate);
    assert_eq!(status(old, new).1.unwrap().status, TcbStatus::TDRelaunchAdvised);
    assert_eq!(status(old, old).1.unwrap().status, TcbStatus::OutOfDate);
    assert_eq!(status(old, new).1.unwrap().advisories, ["INTEL-SA-00014"]);
    // A platform that is worse by now than it was: the worse counts, with all that it misses.
    let worse = status(new, old).1.unwrap();
    assert_eq!(worse.status, TcbStatus::OutOfDate);
    assert_eq!((worse.advisories, worse.missed_since), (vec!["INTEL-SA-00014".to_owned()], time(NEWEST)));
    let both = status(old, svn(5, 1, 2)).1.unwrap();
    assert_eq!((both.status, both.missed_since), (TcbStatus::OutOfDate, time(MIDDLE)));
    assert_eq!(both.advisories, ["INTEL-SA-00014", "INTEL-SA-00004", "INTEL-SA-00002"]);
    assert_eq!(status(new, svn(1, 1, 5)).0, ["tcb: tdx-module-tcb-unknown"]);
    assert_eq!(status(new, svn(5, 1, 1)).0, ["tcb: tcb-unknown"]);
    let mut revoked = info.clone();
    revoked.modules[0].2[1].status = "Revoked";
    let td = Td { v15: Some((old, [0; 48])), ..Td::default() };
    assert_eq!(judge(&pck(5), &td, &revoked, 6).0, ["tcb: tcb-revoked"]);
}

fn level(status: TcbStatus) -> Level {
    Level { status, date: NOW, advisories: vec![], missed_since: None, remaining: vec![] }
}

fn combined(platform: TcbStatus, qe: TcbStatus, current: Option<TcbStatus>) -> TcbStatus {
    let (evaluation_data_number, issue_date, next_update) = (1, NOW, NOW);
    let platform = PlatformTcb {
        platform: level(platform),
        module: None,
        current: current.map(level),
        evaluation_data_number,
        issue_date,
        next_update,
    };
    Tcb::new(&platform, &QeTcb { level: level(qe), evaluation_data_number, issue_date, next_update }).status
}

#[test]
fn statuses_of_platform_and_quoting_enclave_come_together_as_intels_do() {
    use TcbStatus::*;
    for platform in TcbStatus::ALL {
        assert_eq!(combined(platform, UpToDate, None), platform);
        assert_eq!(combined(platform, Revoked, None), Revoked);
    }
    for (platform, expected) in [
        (UpToDate, OutOfDate),
        (SWHardeningNeeded, OutOfDate),
        (ConfigurationNeeded, OutOfDateConfigurationNeeded),
        (ConfigurationAndSWHardeningNeeded, OutOfDateConfigurationNeeded),
        (OutOfDate, OutOfDate),
        (OutOfDateConfigurationNeeded, OutOfDateConfigurationNeeded),
    ] {
        assert_eq!(combined(platform, OutOfDate, None), expected, "{platform:?}");
    }
    // Beyond Intel's library: what a part needs, the whole needs.
    assert_eq!(combined(UpToDate, ConfigurationNeeded, None), ConfigurationNeeded);
    assert_eq!(combined(OutOfDate, ConfigurationNeeded, None), OutOfDateConfigurationNeeded);
}

#[test]
fn the_worse_of_launch_and_now_counts() {
    use TcbStatus::*;
    for (launch, current, expected) in [
        (UpToDate, UpToDate, UpToDate),
        (UpToDate, SWHardeningNeeded, SWHardeningNeeded),
        (UpToDate, ConfigurationNeeded, ConfigurationNeeded),
        (SWHardeningNeeded, ConfigurationNeeded, ConfigurationAndSWHardeningNeeded),
        (ConfigurationNeeded, SWHardeningNeeded, ConfigurationAndSWHardeningNeeded),
        (ConfigurationNeeded, UpToDate, ConfigurationNeeded),
        (UpToDate, OutOfDate, OutOfDate),
        (ConfigurationNeeded, OutOfDate, OutOfDateConfigurationNeeded),
        (UpToDate, OutOfDateConfigurationNeeded, OutOfDateConfigurationNeeded),
        (OutOfDate, OutOfDateConfigurationNeeded, OutOfDateConfigurationNeeded),
        (OutOfDate, OutOfDate, OutOfDate),
        (OutOfDate, UpToDate, TDRelaunchAdvised),
        (OutOfDate, ConfigurationNeeded, TDRelaunchAdvisedConfigurationNeeded),
        (UpToDate, Revoked, Revoked),
        (OutOfDate, Revoked, Revoked),
        (Revoked, UpToDate, Revoked),
    ] {
        assert_eq!(combined(launch, UpToDate, Some(current)), expected, "{launch:?} {current:?}");
    }
}

#[test]
fn no_part_ever_improves_the_whole() {
    let rank = |status| match status {
        TcbStatus::UpToDate => 0,
        TcbStatus::SWHardeningNeeded => 1,
        TcbStatus::ConfigurationNeeded => 2,
        TcbStatus::ConfigurationAndSWHardeningNeeded => 3,
        TcbStatus::OutOfDate => 4,
        TcbStatus::OutOfDateConfigurationNeeded => 5,
        TcbStatus::Revoked => 9,
        _ => 4,
    };
    let parts = [
        TcbStatus::UpToDate,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded,
        TcbStatus::Revoked,
    ];
    for platform in TcbStatus::ALL {
        for qe in parts {
            assert!(rank(combined(platform, qe, None)) >= rank(platform), "{platform:?} {qe:?}");
        }
    }
}

#[test]
fn what_an_update_leaves_open_is_kept_apart() {
    let mut info = TcbInfo::new("TDX");
    info.levels[0].status = "SWHardeningNeeded";
    info.levels[0].advisories = vec!["INTEL-SA-00615"];
    info.levels[1].advisories = vec!["INTEL-SA-00004", "INTEL-SA-00615"];
    let (_, tcb) = judge(&pck(4), &Td::default(), &info, 6);
    let tcb = tcb.unwrap();
    assert_eq!(tcb.advisories, ["INTEL-SA-00004", "INTEL-SA-00615"]);
    assert_eq!(tcb.remaining, ["INTEL-SA-00615"]);
    // A level out of date with none above it starts the clock on its own day.
    info.levels = vec![info.levels.remove(2)];
    let (_, tcb) = judge(&pck(4), &Td::default(), &info, 6);
    assert_eq!(tcb.unwrap().missed_since, time(OLDEST));
}
