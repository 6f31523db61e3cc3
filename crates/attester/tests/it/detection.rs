//! Which TEE is found, and what is said when none or two are.

use std::sync::Arc;

use attester::{AttestError, Attester as _, Automatic, GuestAgent, Interface, Node, detect};
use nix::errno::Errno;
use protocol::{Nonce, ReportData, Tee};

use crate::kernel::{FakeKernel, TSM, Tsm};
use crate::vendors::{REPORT_DATA, Vendors, ask, binding, nobody, sgx_quote, tdx_quote};

fn tsm(provider: &'static str) -> Tsm {
    Tsm::new(Some(provider), Box::new(|input, _| Ok((tdx_quote(input), Vec::new()))))
}

fn fake() -> FakeKernel {
    FakeKernel::default()
}

#[test]
fn each_interface_is_found_by_what_it_shows() {
    let cases = [
        (fake().tsm(tsm("sev_guest")), Interface::Configfs(Tee::Snp)),
        (fake().tsm(tsm("tdx_guest")), Interface::Configfs(Tee::Tdx)),
        // The new way comes before the old one of the same TEE.
        (fake().tsm(tsm("tdx_guest")).node("/dev/tdx_guest", Node::Device), Interface::Configfs(Tee::Tdx)),
        (fake().node("/dev/sev-guest", Node::Device), Interface::SevGuest),
        (fake().node("/dev/tdx_guest", Node::Device), Interface::TdxGuest),
        (fake().gramine("dcap", |data| Ok(sgx_quote(data))), Interface::Gramine),
        (fake().occlum(|data| Ok(sgx_quote(data))), Interface::Occlum),
        (fake(), Interface::GuestAgent),
        (fake().node("/sys/devices/platform/sev-guest", Node::Folder), Interface::GuestAgent),
        // A folder of configfs without a driver behind it, and files that are no devices.
        (fake().tsm(Tsm::new(None, Box::new(|_, _| Err(Errno::EIO)))), Interface::GuestAgent),
        (fake().file("/dev/sev-guest", b"").node("/dev/tdx_guest", Node::Folder), Interface::GuestAgent),
    ];
    for (kernel, expected) in cases {
        let detection = detect(&kernel).unwrap();
        assert_eq!(detection.interface, expected);
        // Every place was looked at, whatever the first ones said.
        for path in [TSM, "/dev/sev-guest", "/dev/tdx_guest", "/dev/attestation/attestation_type", "/dev/sgx"] {
            assert_eq!(detection.looked.iter().filter(|looked| looked.path == path).count(), 1, "{path}");
        }
    }
}

#[test]
fn two_kinds_of_tee_are_a_contradiction_and_no_choice() {
    let cases = [
        fake().tsm(tsm("tdx_guest")).node("/dev/sev-guest", Node::Device),
        fake().tsm(tsm("sev_guest")).node("/sys/devices/virtual/misc/tdx_guest", Node::Folder),
        fake().node("/dev/sev-guest", Node::Device).node("/dev/tdx_guest", Node::Device),
        fake().node("/dev/sev-guest", Node::Device).occlum(|data| Ok(sgx_quote(data))),
        fake().gramine("dcap", |data| Ok(sgx_quote(data))).file("/proc/cpuinfo", b"flags\t: fpu tdx_guest\n"),
        fake()
            .node("/sys/devices/platform/sev-guest", Node::Folder)
            .node("/sys/devices/virtual/misc/tdx_guest", Node::Folder),
    ];
    for kernel in cases {
        let error = detect(&kernel).unwrap_err();
        assert!(matches!(error, AttestError::Contradictory { .. }), "{error}");
        assert!(error.is_refusal());
    }
}

#[test]
fn what_cannot_be_looked_at_is_an_error_where_an_interface_may_be() {
    for path in [TSM, "/dev/sev-guest", "/dev/tdx_guest", "/dev/attestation/attestation_type", "/dev/sgx"] {
        let error = detect(&fake().refusing(path, Errno::EACCES)).unwrap_err();
        assert!(matches!(&error, AttestError::Kernel { path: got, .. } if got == path), "{error}");
    }
    // A trace is no interface.
    let detection = detect(&fake().refusing("/sys/devices/platform/sev-guest", Errno::EACCES)).unwrap();
    assert_eq!((detection.interface, detection.traces), (Interface::GuestAgent, None));
}

#[test]
fn flags_of_a_processor_are_read_as_words() {
    for (text, expected) in [
        ("flags\t\t: fpu tdx_guest svm\n", true),
        ("flags\t\t: fpu tdx_guest_not sev sev_es sev_snp\n", false),
        ("model name\t: tdx_guest\nflags\t: fpu\n", false),
        ("", false),
    ] {
        let detection = detect(&fake().file("/proc/cpuinfo", text.as_bytes())).unwrap();
        assert_eq!(detection.traces, expected.then_some((Tee::Tdx, "/proc/cpuinfo")), "{text}");
    }
}

#[tokio::test]
async fn nothing_at_all_is_told_with_everything_that_was_looked_at() {
    let kernel = Arc::new(fake());
    let attester = Automatic::new(kernel, GuestAgent::new(nobody()));
    for error in
        [attester.attest(&REPORT_DATA).await.unwrap_err(), attester.devices(&Nonce([1; 32])).await.unwrap_err()]
    {
        let text = error.to_string();
        for part in [TSM, "/dev/sev-guest", "/dev/tdx_guest", "attestation_type", "/dev/sgx", "cannot be reached"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(error.is_refusal() && error.hint().unwrap().contains("guest_components_rest_api"));
    }
}

#[tokio::test]
async fn an_interface_that_fails_is_not_replaced_by_another() {
    // A device of an older kernel beside a configfs that is broken, and an agent of the engine besides.
    let broken = Tsm::new(Some("tdx_guest"), Box::new(|_, _| Err(Errno::EIO)));
    let kernel = fake().tsm(broken).tdx(|_| Ok(vec![0; 1024]), |_, _| Ok(tdx_quote(&[0; 64])));
    let error = ask(&Arc::new(kernel)).await.unwrap_err();
    assert!(matches!(error, AttestError::Kernel { errno: Errno::EIO, .. }), "{error}");
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_looked_at_again_and_what_was_found_stays() {
    let kernel = Arc::new(fake().occlum(|data| Ok(sgx_quote(data))).refusing("/dev/sgx", Errno::EIO));
    let attester = crate::vendors::attester(&kernel);
    assert!(attester.attest(&REPORT_DATA).await.is_err());
    kernel.allow("/dev/sgx");
    for number in 0..3 {
        let data = ReportData([number; 64]);
        let evidence = attester.attest(&data).await.unwrap();
        Vendors::new().judge(&evidence, &data.into()).unwrap();
        assert_eq!(attester.detection().await.unwrap().interface, Interface::Occlum);
    }
}

#[tokio::test]
async fn evidence_is_bound_to_a_channel_through_every_interface() {
    let make = |input: &[u8], _: u64| Ok((tdx_quote(input), Vec::new()));
    let machines = [
        fake().tsm(Tsm::new(Some("tdx_guest"), Box::new(make))),
        fake().gramine("dcap", |data| Ok(sgx_quote(data))),
        fake().occlum(|data| Ok(sgx_quote(data))),
    ];
    for kernel in machines {
        let attester = crate::vendors::attester(&Arc::new(kernel));
        let evidence = attester.attest_bound(&binding()).await.unwrap();
        Vendors::new().judge(&evidence, &binding().expected(&evidence)).unwrap();
        // A relay to another channel.
        let other = protocol::Binding { exporter: [4; 64], ..binding() };
        assert!(Vendors::new().judge(&evidence, &other.expected(&evidence)).unwrap_err().is_refusal());
    }
}

#[test]
fn what_else_there_is_is_told_to_people() {
    let kernel = fake()
        .file("/sys/firmware/acpi/tables/data/CCEL", &testkit::ccel::Log::boot().build())
        .file("/sys/bus/pci/devices/0000:01:00.0/vendor", b"0x10de\n")
        .file("/sys/bus/pci/devices/0000:01:00.0/class", b"0x030200\n")
        .file("/sys/bus/pci/devices/0000:02:00.0/vendor", b"0x10de\n")
        .file("/sys/bus/pci/devices/0000:02:00.0/class", b"0x068000\n")
        .file("/sys/bus/pci/devices/0000:03:00.0/vendor", b"0x8086\n")
        .file("/sys/bus/pci/devices/0000:03:00.0/class", b"0x030000\n");
    let looked = attester::survey(&kernel).into_iter();
    let text = looked.map(|looked| looked.found).collect::<Vec<_>>().join("\n");
    assert!(text.contains("event log") && text.contains("1 GPUs and 1 switches"), "{text}");
    assert_eq!(attester::ccel::read(&kernel), Ok(Some(testkit::ccel::Log::boot().build())));
    assert_eq!(attester::ccel::read(&fake()), Ok(None));
}
