//! The device nodes of older kernels.

use std::sync::Arc;

use attester::{AttestError, SevReply};
use nix::errno::Errno;
use protocol::Tee;
use protocol::reference::AmdProduct;

use crate::kernel::FakeKernel;
use crate::vendors::{TestChip, Vendors, ask, tdx_quote};

/// The firmware's message: status, size, reserved, report, and zeros to 4000 bytes.
fn response(status: u32, report: &[u8]) -> Vec<u8> {
    let mut message = status.to_le_bytes().to_vec();
    message.extend(u32::try_from(report.len()).unwrap().to_le_bytes());
    message.extend([0; 24]);
    message.extend(report);
    message.resize(4000, 0);
    message
}

/// `/dev/sev-guest` of a chip, which answers as `change` says to the call of this number.
fn sev(change: impl Fn(usize, bool, &mut SevReply) + Send + 'static) -> FakeKernel {
    let signer = TestChip::new(AmdProduct::Turin, 5);
    let mut calls = 0;
    FakeKernel::default().sev(move |data, vmpl, extended| {
        let mut certificates = if extended { signer.table() } else { Vec::new() };
        if extended {
            certificates.resize(attester::MAX_CERTIFICATES, 0);
        }
        let response = response(0, &signer.sign(data, vmpl));
        let mut reply = SevReply { outcome: Ok(()), error: 0, response, certificates };
        change(calls, extended, &mut reply);
        calls += 1;
        Ok(reply)
    })
}

#[tokio::test]
async fn an_extended_report_is_accepted_with_its_certificates() {
    let kernel = Arc::new(sev(|_, _, _| {}));
    let evidence = ask(&kernel).await.unwrap();
    assert_eq!(evidence.tee, Tee::Snp);
    assert!(evidence.body.len() < 1184 + 4096, "{}", evidence.body.len());
    Vendors::new().accept(&evidence);
}

#[tokio::test]
async fn a_report_over_another_byte_is_refused_by_the_verifier() {
    let signer = TestChip::new(AmdProduct::Milan, 2);
    let table = signer.table();
    let kernel = FakeKernel::default().sev(move |data, vmpl, _| {
        let mut data = *data;
        data[40] ^= 1;
        let response = response(0, &signer.sign(&data, vmpl));
        Ok(SevReply { outcome: Ok(()), error: 0, response, certificates: table.clone() })
    });
    Vendors::new().refuse(&ask(&Arc::new(kernel)).await.unwrap());
}

#[tokio::test]
async fn more_certificates_than_linux_takes_are_left_out() {
    // With success, as kernels from 5.19 on have it, and with an error, as before.
    for outcome in [Ok(()), Err(Errno::EIO)] {
        let kernel = sev(move |_, extended, reply| {
            if extended {
                (reply.error, reply.outcome) = (1 << 32, outcome);
                reply.response.fill(0);
            }
        });
        let evidence = ask(&Arc::new(kernel)).await.unwrap();
        assert_eq!(evidence.body.len(), 1184);
    }
}

#[tokio::test]
async fn a_busy_host_is_waited_for_and_not_for_ever() {
    let busy: [fn(&mut SevReply); 4] = [
        |reply| reply.error = 2 << 32,
        |reply| (reply.error, reply.outcome) = (2 << 32, Err(Errno::EAGAIN)),
        |reply| reply.outcome = Err(Errno::EINTR),
        |reply| reply.outcome = Err(Errno::EBUSY),
    ];
    for fault in busy {
        let kernel = Arc::new(sev(move |call, _, reply| {
            if call < 4 {
                fault(reply);
            }
        }));
        Vendors::new().accept(&ask(&kernel).await.unwrap());
        assert_eq!(kernel.pauses(), 4);
        let kernel = Arc::new(sev(move |_, _, reply| fault(reply)));
        let error = ask(&kernel).await.unwrap_err();
        assert!(matches!(error, AttestError::Kernel { attempts: 5, .. }), "{error}");
        assert_eq!(kernel.pauses(), 4);
    }
}

#[tokio::test]
async fn what_the_firmware_refuses_is_said() {
    type Change = fn(&mut SevReply);
    let cases: [(Change, &str); 9] = [
        (|reply| (reply.error, reply.outcome) = (0x16, Err(Errno::EIO)), "EIO: I/O error, error 0x16"),
        (|reply| reply.response = response(0x16, &[0; 1184]), "status 0x16"),
        (|reply| reply.response = response(0, &[1; 1183]), "1183 bytes"),
        (|reply| reply.response = response(0, &[]), "0 bytes"),
        (|reply| reply.response[4..8].fill(0xff), "4294967295 bytes"),
        (|reply| reply.response.truncate(7), "7 bytes"),
        (|reply| reply.response.clear(), "0 bytes"),
        (|reply| reply.error = 3 << 32, "hypervisor's error 3"),
        (|reply| reply.outcome = Err(Errno::ENOTTY), "ENOTTY"),
    ];
    for (change, expected) in cases {
        let kernel = Arc::new(sev(move |_, _, reply| change(reply)));
        let error = ask(&kernel).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(!error.is_refusal());
        assert_eq!(kernel.pauses(), 0);
    }
}

#[tokio::test]
async fn a_device_that_may_not_be_opened_says_so() {
    for errno in [Errno::EACCES, Errno::ENODEV] {
        let kernel = Arc::new(FakeKernel::default().sev(move |_, _, _| Err(errno)));
        let error = ask(&kernel).await.unwrap_err();
        assert!(matches!(error, AttestError::Kernel { during: "open", errno: got, .. } if got == errno), "{error}");
    }
}

/// A TDREPORT with the data where Intel has them.
fn td_report(data: &[u8; 64]) -> Vec<u8> {
    let mut report = vec![0x81; 1024];
    report[128..192].copy_from_slice(data);
    report
}

/// A quoting service that makes a quote of the TDREPORT that it gets.
fn service(message: &[u8]) -> Vec<u8> {
    assert_eq!((message.len(), &message[16..20]), (24 + 1024, 1024_u32.to_le_bytes().as_slice()));
    let quote = tdx_quote(&message[24 + 128..24 + 192]);
    let length = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut answer =
        [[1, 0, 1, 0], [1, 0, 0, 0], length(24 + quote.len()), [0; 4], [0; 4], length(quote.len())].concat();
    answer.extend(quote);
    answer
}

#[tokio::test]
async fn a_tdreport_becomes_a_quote_at_the_hosts_service() {
    for (configuration, expected) in [(None, 4050), (Some("port=4050\n"), 4050), (Some("# x\n port = 5000\n"), 5000)] {
        let mut kernel = FakeKernel::default().tdx(
            |data| Ok(td_report(data)),
            move |port, message| if port == expected { Ok(service(message)) } else { Err(Errno::ECONNREFUSED) },
        );
        if let Some(text) = configuration {
            kernel = kernel.file("/etc/tdx-attest.conf", text.as_bytes());
        }
        let evidence = ask(&Arc::new(kernel)).await.unwrap();
        assert_eq!(evidence.tee, Tee::Tdx);
        Vendors::new().accept(&evidence);
    }
}

#[tokio::test]
async fn a_quote_of_another_tdreport_is_refused_by_the_verifier() {
    let kernel = FakeKernel::default().tdx(
        |data| {
            let mut data = *data;
            data[0] ^= 1;
            Ok(td_report(&data))
        },
        |_, message| Ok(service(message)),
    );
    Vendors::new().refuse(&ask(&Arc::new(kernel)).await.unwrap());
}

#[tokio::test]
async fn a_tdreport_alone_is_no_evidence() {
    for (errno, expected) in [
        (Errno::ENODEV, "cannot be reached"),
        (Errno::ECONNREFUSED, "cannot be reached"),
        (Errno::EAGAIN, "did not answer in time"),
        (Errno::EMSGSIZE, "failed"),
    ] {
        let kernel = FakeKernel::default().tdx(|data| Ok(td_report(data)), move |_, _| Err(errno));
        let error = ask(&Arc::new(kernel)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("a TDREPORT is no quote") && text.contains(expected), "{text}");
        assert!(text.contains("port 4050") && error.hint().unwrap().contains("6.7"), "{text}");
    }
}

#[tokio::test]
async fn a_service_that_refuses_or_lies_gives_no_evidence() {
    let lies: [fn(&mut Vec<u8>); 4] =
        [|answer| answer[12] = 1, |answer| answer[4] = 3, |answer| answer.truncate(40), |answer| answer.push(0)];
    for lie in lies {
        let kernel = FakeKernel::default().tdx(
            |data| Ok(td_report(data)),
            move |_, message| {
                let mut answer = service(message);
                lie(&mut answer);
                Ok(answer)
            },
        );
        let error = ask(&Arc::new(kernel)).await.unwrap_err();
        assert!(matches!(error, AttestError::NoQuote { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_port_that_is_no_number_is_refused() {
    let kernel = FakeKernel::default().tdx(|data| Ok(td_report(data)), |_, message| Ok(service(message)));
    let kernel = Arc::new(kernel.file("/etc/tdx-attest.conf", b"port=qgs\n"));
    let error = ask(&kernel).await.unwrap_err();
    assert!(matches!(&error, AttestError::UnknownInterface { got, .. } if got == "port=qgs"), "{error}");
}
