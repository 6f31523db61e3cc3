//! TDX and SGX quotes: the `dcap-qvl` crate and ours agree on what verifies, on the TCB status and on the advisories: for the
//! quotes of real hardware that the crate brings along, changed and unchanged, and for platforms of a fake Intel at many
//! TCBs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::configs::RustCryptoConfig;
use dcap_qvl::quote::Report;
use dcap_qvl::verify::{QuoteVerifier, VerifiedReport};
use protocol::digest::{Hex, Measurement};
use protocol::manifest::ReferenceValues;
use protocol::reference::tdx::{Bits, IntelTcbPolicy, Register, TcbStatus};
use protocol::reference::{Machines, SgxReferenceValues, TdxReferenceValues};
use protocol::{Digest, Evidence, ReportData, Tee};
use testkit::dcap::{self as rig, PLATFORM_CA_NAME, Pck, QeIdentity, Quote, TcbInfo, Td, intel, pem_chain};
use verifier::anchors::{TrustAnchors, danger};
use verifier::endorsements::EndorsementKind;
use verifier::{Endorsements, UnixTime, UnverifiedEvidence, Verifier, VerifyError, appraise};

/// What both are asked.
struct Case {
    quote: Vec<u8>,
    collateral: QuoteCollateralV3,
    root: Option<Vec<u8>>,
    now: u64,
}

impl Case {
    fn theirs(&self) -> Result<VerifiedReport, String> {
        let root = self.root.clone();
        let verifier = root.map_or_else(QuoteVerifier::new_prod, QuoteVerifier::new);
        let verifier = verifier.with_config::<RustCryptoConfig>().allow_service_td(true);
        verifier.verify(&self.quote, &self.collateral, self.now).map_err(|error| format!("{error:#}"))
    }

    fn anchors(&self) -> TrustAnchors {
        match &self.root {
            None => TrustAnchors::vendor(),
            Some(root) => danger::anchors([Digest::ZERO; 3], Digest::of(root), Digest::ZERO, Digest::ZERO, &[root]),
        }
    }

    fn endorsements(&self) -> Endorsements {
        let mut set = Endorsements::default();
        let c = &self.collateral;
        let envelope = |member: &str, statement: &str, signature: &[u8]| {
            format!(r#"{{"{member}":{statement},"signature":"{}"}}"#, hex(signature)).into_bytes()
        };
        let tcb_info = envelope("tcbInfo", &c.tcb_info, &c.tcb_info_signature);
        let identity = envelope("enclaveIdentity", &c.qe_identity, &c.qe_identity_signature);
        set.add(EndorsementKind::Crl, &c.root_ca_crl).unwrap();
        set.add(EndorsementKind::Crl, &c.pck_crl).unwrap();
        set.add(EndorsementKind::TcbInfo, &tcb_info).unwrap();
        set.add(EndorsementKind::QeIdentity, &identity).unwrap();
        for chain in [&c.tcb_info_issuer_chain, &c.qe_identity_issuer_chain, &c.pck_crl_issuer_chain] {
            let _ = set.add_file(chain.as_bytes());
        }
        set
    }

    /// Verified by ours, and appraised by these reference values.
    fn ours(&self, report_data: [u8; 64], tee: Tee, values: &ReferenceValues) -> Result<(), String> {
        let evidence = UnverifiedEvidence::new(Evidence::new(tee, self.quote.clone())).map_err(|e| e.to_string())?;
        let expected = ReportData(report_data).into();
        let verifier = Verifier::with_anchors(self.anchors());
        let verified = verifier.verify(evidence, &expected, &self.endorsements(), UnixTime(self.now));
        let verified = verified.map_err(|error: VerifyError| error.chain())?;
        appraise(verified, values).map(drop).map_err(|error| error.to_string())
    }

    /// Whether ours verifies the quote, whatever its report data.
    fn ours_verifies(&self, tee: Tee) -> bool {
        let at = match (self.quote.first(), tee) {
            (Some(5), Tee::Sgx) => 54 + 320,
            (_, Tee::Sgx) => 48 + 320,
            (Some(5), _) => 54 + 520,
            _ => 48 + 520,
        };
        let mut report_data = [0; 64];
        report_data.copy_from_slice(&self.quote[at..at + 64]);
        let evidence = UnverifiedEvidence::new(Evidence::new(tee, self.quote.clone())).unwrap();
        let verifier = Verifier::with_anchors(self.anchors());
        verifier.verify(evidence, &ReportData(report_data).into(), &self.endorsements(), UnixTime(self.now)).is_ok()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entry that accepts what the other implementation has read, at exactly the status and advisories that it found.
fn entry(report: &VerifiedReport) -> (Tee, [u8; 64], ReferenceValues) {
    let m = Measurement::from_bytes;
    let status = status(report);
    let advisories: BTreeSet<String> = report.advisory_ids.iter().cloned().collect();
    let tcb = IntelTcbPolicy { statuses: [status].into(), advisories, ..IntelTcbPolicy::default() };
    let (tdx, service, current) = match &report.report {
        Report::SgxEnclave(sgx) => {
            let (flags, xfrm) = sgx.attributes.split_at(8);
            let values = SgxReferenceValues {
                platform: "oracle".into(),
                chip_ids: Machines::Any,
                mrenclave: vec![Hex(sgx.mr_enclave)],
                mrsigner: Hex(sgx.mr_signer),
                product_id: sgx.isv_prod_id,
                min_svn: sgx.isv_svn,
                min_config_svn: 0,
                attributes: Bits::exactly(flags.try_into().unwrap()),
                xfrm: Bits::exactly(xfrm.try_into().unwrap()),
                misc_select: Bits::exactly(sgx.misc_select.to_le_bytes()),
                tcb,
                allow_smt: true,
                allow_dynamic_platform: true,
                allow_cached_keys: true,
            };
            let values = ReferenceValues { sgx: vec![values], ..ReferenceValues::default() };
            return (Tee::Sgx, sgx.report_data, values);
        }
        Report::TD10(td) => (td, [0; 48], [0; 48]),
        Report::TD15(td) => (&td.base, td.mr_service_td, td.mr_service_td),
        Report::TD15Ex(td) => (&td.base.base, td.base.mr_service_td, td.cur_service_td_hash),
    };
    let values = TdxReferenceValues {
        platform: "oracle".into(),
        chip_ids: Machines::Any,
        mrtd: vec![m(tdx.mr_td)],
        rtmr0: vec![m(tdx.rt_mr0)],
        rtmr1: vec![m(tdx.rt_mr1)],
        rtmr2: vec![m(tdx.rt_mr2)],
        rtmr3: Register::Listed(vec![m(tdx.rt_mr3)]),
        xfam: Bits::exactly(tdx.xfam),
        td_attributes: Bits::exactly(tdx.td_attributes),
        mrseam: vec![m(tdx.mr_seam)],
        mr_owner: m(tdx.mr_owner),
        mr_owner_config: m(tdx.mr_owner_config),
        mr_service_td: vec![m(service), m(current)],
        tcb,
        allow_smt: true,
        allow_dynamic_platform: true,
        allow_cached_keys: true,
    };
    (Tee::Tdx, tdx.report_data, ReferenceValues { tdx: vec![values], ..ReferenceValues::default() })
}

fn status(report: &VerifiedReport) -> TcbStatus {
    TcbStatus::ALL.into_iter().find(|status| status.name() == report.status).expect("a status that both know")
}

/// Both say yes, with the same status and the same advisories.
fn agree(case: &Case) -> VerifiedReport {
    let report = case.theirs().unwrap();
    let (tee, report_data, values) = entry(&report);
    // One sample has an MRCONFIGID of 33 bytes. For us that is no identity, and nothing else may be wrong with it.
    let expected = match &report.report {
        Report::TD15Ex(td) if td.base.base.mr_config_id[32..] != [0; 16] => {
            Err("`oracle` does not accept mr_config_id: c00000000000, accepted is 000000000000".to_owned())
        }
        _ => Ok(()),
    };
    assert_eq!(case.ours(report_data, tee, &values), expected, "{}", report.status);
    let tampered = |change: &dyn Fn(&mut IntelTcbPolicy)| {
        let mut values = values.clone();
        for tcb in values.tdx.iter_mut().map(|v| &mut v.tcb).chain(values.sgx.iter_mut().map(|v| &mut v.tcb)) {
            change(tcb);
        }
        case.ours(report_data, tee, &values)
    };
    // No other status and no fewer advisories would do.
    let others: BTreeSet<_> = TcbStatus::ALL.into_iter().filter(|other| *other != status(&report)).collect();
    assert!(tampered(&|tcb| tcb.statuses = others.clone()).unwrap_err().contains("tcb.statuses"));
    for advisory in &report.advisory_ids {
        let error = tampered(&|tcb| assert!(tcb.advisories.remove(advisory))).unwrap_err();
        assert!(error.contains(advisory), "{error}");
    }
    report
}

/// A TD 1.5 on a platform that is worse by now than at the TD's launch, which ours holds against it: more advisories, and
/// maybe another status. `now` is the other implementation's verdict on a TD that is launched now.
fn agree_at_least(case: &Case, now: &VerifiedReport) {
    let launch = case.theirs().unwrap();
    let (tee, report_data, mut values) = entry(&launch);
    let advisories: BTreeSet<String> = launch.advisory_ids.iter().chain(&now.advisory_ids).cloned().collect();
    let same_advisories = advisories.len() == launch.advisory_ids.len();
    let Err(error) = case.ours(report_data, tee, &values) else {
        assert!(same_advisories);
        drop(agree(case));
        return;
    };
    assert!(!same_advisories || launch.status != now.status && now.status != "UpToDate", "{}", now.status);
    assert!(error.contains("tcb."), "{error}");
    values.tdx[0].tcb.statuses = TcbStatus::ALL.into();
    values.tdx[0].tcb.advisories = advisories.clone();
    assert_eq!(case.ours(report_data, tee, &values), Ok(()));
    for advisory in advisories {
        values.tdx[0].tcb.advisories.remove(&advisory);
        assert!(case.ours(report_data, tee, &values).unwrap_err().contains(&advisory));
        values.tdx[0].tcb.advisories.insert(advisory);
    }
}

/// The folder of samples that the crate is published with.
fn samples() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "dcap-qvl").unwrap();
    PathBuf::from(package["manifest_path"].as_str().unwrap()).with_file_name("sample")
}

fn sample(name: &str) -> Case {
    let read = |name: &str| std::fs::read(samples().join(name)).unwrap();
    let mut collateral: QuoteCollateralV3 = serde_json::from_slice(&read(&format!("{name}_collateral.json"))).unwrap();
    // The chain is in the quotes too, and ours takes it from there alone.
    collateral.pck_certificate_chain = None;
    let info: serde_json::Value = serde_json::from_str(&collateral.tcb_info).unwrap();
    let issued: UnixTime = info["issueDate"].as_str().unwrap().parse().unwrap();
    Case { quote: read(name), collateral, root: None, now: issued.0 + 86_400 }
}

#[test]
fn the_quotes_of_real_hardware_get_one_verdict() {
    for (name, status, advisories) in [
        ("sgx_quote", "ConfigurationAndSWHardeningNeeded", 2),
        ("tdx_quote", "UpToDate", 0),
        ("tdx_quote_td15ex", "UpToDate", 0),
    ] {
        let report = agree(&sample(name));
        assert_eq!((report.status.as_str(), report.advisory_ids.len()), (status, advisories), "{name}");
    }
}

#[test]
fn a_platform_below_every_level_is_refused_by_both() {
    let case = sample("tdx_quote_outdated");
    assert_eq!(case.theirs().unwrap_err(), "No matching TCB level found");
    let mut report_data = [0; 64];
    report_data.copy_from_slice(&case.quote[54 + 520..54 + 584]);
    let error = case.ours(report_data, Tee::Tdx, &ReferenceValues::default()).unwrap_err();
    assert!(error.ends_with("is below every level that Intel lists"), "{error}");
}

#[test]
fn a_changed_quote_gets_one_verdict() {
    for (name, tee) in [("sgx_quote", Tee::Sgx), ("tdx_quote", Tee::Tdx), ("tdx_quote_td15ex", Tee::Tdx)] {
        let genuine = sample(name);
        assert!(genuine.ours_verifies(tee) && genuine.theirs().is_ok());
        let pem = genuine.quote.windows(10).position(|window| window == b"-----BEGIN").unwrap();
        // All of the header, and of the rest every seventh byte.
        for at in (0..48).chain((48..pem).step_by(7)) {
            let mut quote = genuine.quote.clone();
            quote[at] ^= 1 << (at % 8);
            let case = Case { quote, collateral: genuine.collateral.clone(), root: None, now: genuine.now };
            assert_eq!(case.ours_verifies(tee), case.theirs().is_ok(), "{name}, byte {at}: {:?}", case.theirs());
        }
    }
}

#[test]
fn changed_collateral_gets_one_verdict() {
    let genuine = sample("tdx_quote");
    assert!(genuine.ours_verifies(Tee::Tdx) && genuine.theirs().is_ok());
    let changes: [fn(&mut QuoteCollateralV3); 8] = [
        |c| c.tcb_info = c.tcb_info.replace("UpToDate", "OutOfDate"),
        |c| c.tcb_info = c.tcb_info.replacen('{', "{ ", 1),
        |c| c.qe_identity = c.qe_identity.replace("UpToDate", "OutOfDate"),
        |c| c.tcb_info_signature[3] ^= 1,
        |c| c.qe_identity_signature[60] ^= 1,
        |c| *c.root_ca_crl.last_mut().unwrap() ^= 1,
        |c| *c.pck_crl.last_mut().unwrap() ^= 1,
        |c| c.pck_crl.clone_from(&c.root_ca_crl),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut collateral = genuine.collateral.clone();
        change(&mut collateral);
        let case = Case { collateral, quote: genuine.quote.clone(), root: None, now: genuine.now };
        let ours = case.ours_verifies(Tee::Tdx);
        assert_eq!(ours, case.theirs().is_ok(), "change {index}: {:?}", case.theirs());
    }
    for now in [genuine.now - 3 * 86_400, genuine.now + 60 * 86_400] {
        let case = Case { now, quote: genuine.quote.clone(), collateral: genuine.collateral.clone(), root: None };
        assert_eq!((case.ours_verifies(Tee::Tdx), case.theirs().is_ok()), (false, false));
    }
}

/// A platform of the fake Intel.
fn fake(pck: &Pck, td: &Td, info: &TcbInfo, qe_svn: u16) -> Case {
    let i = intel();
    let identity = QeIdentity::new("TD_QE");
    let signers = pem_chain(&[i.signer_der(), i.root_der()]);
    Case {
        quote: Quote::tdx(5, td).on(pck).by(|qe| qe.svn = qe_svn).encode(),
        collateral: QuoteCollateralV3 {
            pck_crl_issuer_chain: pem_chain(&[i.ca_der(PLATFORM_CA_NAME), i.root_der()]),
            root_ca_crl: i.root_crl(&[]),
            pck_crl: i.pck_crl(PLATFORM_CA_NAME, &[]),
            tcb_info_issuer_chain: signers.clone(),
            tcb_info: info.json(),
            tcb_info_signature: i.signer.sign_fixed(info.json().as_bytes()),
            qe_identity_issuer_chain: signers,
            qe_identity: identity.json(),
            qe_identity_signature: i.signer.sign_fixed(identity.json().as_bytes()),
            pck_certificate_chain: None,
        },
        root: Some(i.root_der()),
        now: rig::NOW,
    }
}

#[test]
fn platforms_at_many_tcbs_get_one_verdict() {
    let statuses = ["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "OutOfDateConfigurationNeeded", "Revoked"];
    let (mut yes, mut no) = (0, 0);
    for (index, status) in statuses.into_iter().enumerate() {
        let mut info = TcbInfo::new("TDX");
        info.levels[0].status = status;
        info.levels[0].advisories = vec!["INTEL-SA-00615"];
        if index % 2 == 1 {
            info.levels.reverse();
        }
        for components in [1, 2, 4, 5] {
            for (module, version) in [(5, 0), (4, 0), (5, 1), (4, 1), (1, 1), (3, 3), (2, 3), (9, 2)] {
                for (qe_svn, current) in [(6, None), (4, None), (3, None), (6, Some(5)), (6, Some(4)), (4, Some(1))] {
                    let svn = |module| {
                        let mut svn = rig::TEE_TCB_SVN;
                        (svn[0], svn[1]) = (module, version);
                        svn
                    };
                    let td =
                        Td { tee_tcb_svn: svn(module), v15: current.map(|now| (svn(now), [0; 48])), ..Td::default() };
                    let pck = Pck { components: [components; 16], ..Pck::default() };
                    let case = fake(&pck, &td, &info, qe_svn);
                    let by_now = current.map(|now| {
                        let td = Td { tee_tcb_svn: svn(now), v15: Some((svn(now), [0; 48])), ..Td::default() };
                        fake(&pck, &td, &info, qe_svn).theirs()
                    });
                    match case.theirs() {
                        Ok(_) => {
                            match by_now {
                                None => drop(agree(&case)),
                                Some(Ok(now)) => agree_at_least(&case, &now),
                                Some(Err(error)) => assert!(!case.ours_verifies(Tee::Tdx), "{error}"),
                            }
                            yes += 1;
                        }
                        Err(error) => {
                            assert!(!case.ours_verifies(Tee::Tdx), "{status} {components} {module}.{version}: {error}");
                            no += 1;
                        }
                    }
                }
            }
        }
    }
    assert!(yes > 100 && no > 100, "{yes} yes, {no} no");
}
