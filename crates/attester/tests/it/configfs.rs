//! Reports through configfs: what the counter, busy hosts and other processes do to them.

use std::sync::Arc;

use attester::{AttestError, Node};
use nix::errno::Errno;
use protocol::reference::AmdProduct;
use protocol::{Evidence, Tee};

use crate::kernel::{FakeKernel, Fault, TSM, Tsm};
use crate::vendors::{TestChip, Vendors, ask, tdx_quote};

/// A machine of AMD's. `mangle` is done to what the guest asks for.
fn snp(mangle: fn(&mut Vec<u8>)) -> Tsm {
    let signer = TestChip::new(AmdProduct::Milan, 3);
    let table = signer.table();
    let make = move |input: &[u8], privilege: u64| {
        let mut input = input.to_vec();
        mangle(&mut input);
        Ok((signer.sign(&input, u32::try_from(privilege).unwrap()), table.clone()))
    };
    Tsm::new(Some("sev_guest"), Box::new(make))
}

fn tdx(mangle: fn(&mut Vec<u8>)) -> Tsm {
    let make = move |input: &[u8], _: u64| {
        let mut input = input.to_vec();
        mangle(&mut input);
        Ok((tdx_quote(&input), Vec::new()))
    };
    Tsm::new(Some("tdx_guest"), Box::new(make))
}

fn honest(_: &mut Vec<u8>) {}

fn kernel(tsm: Tsm) -> Arc<FakeKernel> {
    Arc::new(FakeKernel::default().tsm(tsm))
}

#[tokio::test]
async fn a_report_of_sev_snp_with_its_certificates_is_accepted() {
    let kernel = kernel(snp(honest));
    let evidence = ask(&kernel).await.unwrap();
    assert_eq!(evidence.tee, Tee::Snp);
    // Nobody has the chip's certificate but the table.
    Vendors::new().accept(&evidence);
    // One entry to see who makes reports, one for the report.
    assert_eq!((kernel.entries_made(), kernel.pauses()), (2, 0));
}

#[tokio::test]
async fn a_quote_of_tdx_is_accepted() {
    let kernel = kernel(tdx(honest));
    let evidence = ask(&kernel).await.unwrap();
    assert_eq!(evidence.tee, Tee::Tdx);
    Vendors::new().accept(&evidence);
    assert_eq!(kernel.entries_made(), 2);
}

#[tokio::test]
async fn a_report_over_one_other_byte_is_refused_by_the_verifier() {
    for place in [0, 31, 32, 63] {
        let mangle: fn(&mut Vec<u8>) = match place {
            0 => |input| input[0] ^= 1,
            31 => |input| input[31] ^= 1,
            32 => |input| input[32] ^= 0x80,
            _ => |input| input[63] ^= 1,
        };
        for tsm in [snp(mangle), tdx(mangle)] {
            Vendors::new().refuse(&ask(&kernel(tsm)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn certificates_may_be_missing_and_pages_may_be_padded() {
    let signer = Arc::new(TestChip::new(AmdProduct::Genoa, 5));
    for (table, alone) in [(Vec::new(), true), (vec![0; 4096], true), ([signer.table(), vec![0; 4096]].concat(), false)]
    {
        let chip = Arc::clone(&signer);
        let make = move |input: &[u8], _: u64| Ok((chip.sign(input, 0), table.clone()));
        let evidence = ask(&kernel(Tsm::new(Some("sev_guest"), Box::new(make)))).await.unwrap();
        assert_eq!(evidence.body.len() == 1184, alone);
        if alone {
            assert!(!Vendors::new().judge(&evidence, &crate::vendors::REPORT_DATA.into()).unwrap_err().is_refusal());
        }
        Vendors::new().knowing(&signer).accept(&evidence);
    }
}

#[tokio::test]
async fn below_an_svsm_the_report_is_asked_for_at_the_guests_own_privilege() {
    let mut tsm = snp(honest);
    (tsm.floor, tsm.svsm) = (2, true);
    let kernel = kernel(tsm);
    let evidence = ask(&kernel).await.unwrap();
    // VMPL of the report.
    assert_eq!(evidence.body[0x30..0x34], 2_u32.to_le_bytes());
    Vendors::new().accept(&evidence);
    let looked = attester::survey(&*kernel);
    let text = looked.into_iter().map(|looked| looked.found).collect::<Vec<_>>().join("\n");
    assert!(text.contains("privilege level 2") && text.contains("SVSM"), "{text}");
}

#[tokio::test]
async fn passing_faults_are_waited_out() {
    use Fault::{NameTaken, NotTaken, Read, WriterAfterReading, WriterBeforeReading};
    let cases: [(&[Fault], usize); 9] = [
        (&[NameTaken], 0),
        (&[NameTaken, NameTaken], 0),
        (&[Read(Errno::EBUSY)], 1),
        (&[Read(Errno::EINTR)], 1),
        (&[Read(Errno::EAGAIN), Read(Errno::EBUSY), Read(Errno::ETIMEDOUT)], 3),
        (&[WriterBeforeReading], 1),
        (&[WriterAfterReading, WriterBeforeReading], 2),
        (&[NotTaken], 1),
        (&[NotTaken, NameTaken, WriterBeforeReading, Read(Errno::EBUSY), WriterAfterReading], 4),
    ];
    for (faults, pauses) in cases {
        for tsm in [snp(honest), tdx(honest)] {
            let kernel = kernel(tsm);
            kernel.plan(faults);
            let evidence = ask(&kernel).await.unwrap();
            Vendors::new().accept(&evidence);
            assert_eq!((kernel.left(), kernel.pauses()), (0, pauses), "{faults:?}");
            kernel.entries_made();
        }
    }
}

#[tokio::test]
async fn faults_that_do_not_pass_end_by_name_after_five_attempts() {
    let busy = [Fault::Read(Errno::EBUSY); 5];
    let raced = [Fault::WriterBeforeReading; 5];
    let lost = [Fault::NotTaken; 5];
    for (faults, expected) in [
        (busy, "outblob`: EBUSY: Device or resource busy, 5 times"),
        (raced, "/generation` is at generation 2 after our writes, not 1, 5 times"),
        (lost, "/generation` is at generation 0 after our writes, not 1, 5 times"),
    ] {
        let kernel = kernel(tdx(honest));
        kernel.plan(&faults);
        let error = ask(&kernel).await.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
        assert!(!error.is_refusal() && error.hint().is_some());
        assert_eq!((kernel.left(), kernel.entries_made()), (0, 6));
    }
}

#[tokio::test]
async fn lasting_faults_are_not_tried_again() {
    for errno in [Errno::EIO, Errno::EINVAL, Errno::ENOMEM, Errno::EACCES] {
        let kernel = kernel(tdx(honest));
        kernel.plan(&[Fault::Read(errno)]);
        let error = ask(&kernel).await.unwrap_err();
        assert!(matches!(error, AttestError::Kernel { errno: got, attempts: 1, .. } if got == errno), "{error}");
        assert_eq!((kernel.pauses(), kernel.entries_made()), (0, 2));
    }
}

#[tokio::test]
async fn a_missing_provider_is_told_and_the_agent_is_asked() {
    let tsm = Tsm::new(None, Box::new(|_, _| Err(Errno::EIO)));
    let error = ask(&kernel(tsm)).await.unwrap_err();
    let AttestError::NothingFound { looked, .. } = &error else { panic!("{error}") };
    assert!(looked.to_string().starts_with(&format!("`{TSM}` has no provider")), "{error}");
    assert!(error.is_refusal());
}

#[tokio::test]
async fn an_unknown_provider_is_refused_by_name() {
    for name in ["arm_cca_guest", "sev_guest2", ""] {
        let tsm = Tsm::new(Some(name), Box::new(|_, _| Err(Errno::EIO)));
        let kernel = kernel(tsm);
        let error = ask(&kernel).await.unwrap_err();
        assert!(matches!(&error, AttestError::UnknownInterface { got, .. } if got == name), "{error}");
        assert!(error.is_refusal());
        kernel.entries_made();
    }
}

#[tokio::test]
async fn configfs_that_may_not_be_used_is_no_reason_to_ask_elsewhere() {
    for errno in [Errno::EACCES, Errno::EPERM, Errno::EROFS] {
        let kernel = FakeKernel::default().tsm(tdx(honest)).refusing("mkdir", errno);
        // A device that would answer.
        let kernel = Arc::new(kernel.node("/dev/tdx_guest", Node::Device));
        let error = ask(&kernel).await.unwrap_err();
        assert!(matches!(error, AttestError::Kernel { during: "make", errno: got, .. } if got == errno), "{error}");
    }
}

#[tokio::test]
async fn an_empty_report_and_one_beyond_any_evidence_are_refused() {
    for length in [0, Evidence::MAX_BODY + 1] {
        let make = move |_: &[u8], _: u64| Ok((vec![1; length], Vec::new()));
        let kernel = kernel(Tsm::new(Some("tdx_guest"), Box::new(make)));
        assert!(ask(&kernel).await.is_err());
        kernel.entries_made();
    }
    // Each part fits, and both together do not.
    let make = |_: &[u8], _: u64| Ok((vec![1; 1184], vec![1; Evidence::MAX_BODY]));
    let error = ask(&kernel(Tsm::new(Some("sev_guest"), Box::new(make)))).await.unwrap_err();
    assert!(matches!(error, AttestError::Oversized { got, .. } if got == 1184 + Evidence::MAX_BODY), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_get_each_their_own() {
    let kernel = kernel(tdx(honest));
    let attester = Arc::new(crate::vendors::attester(&kernel));
    let tasks: Vec<_> = (0..20_u8)
        .map(|number| {
            let attester = Arc::clone(&attester);
            tokio::spawn(async move {
                let data = protocol::ReportData([number; 64]);
                (data, attester::Attester::attest(&*attester, &data).await.unwrap())
            })
        })
        .collect();
    let vendors = Vendors::new();
    for task in tasks {
        let (data, evidence) = task.await.unwrap();
        vendors.judge(&evidence, &data.into()).unwrap();
    }
    kernel.entries_made();
}
