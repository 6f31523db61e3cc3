//! Quotes from inside SGX enclaves.

use std::sync::Arc;

use attester::{AttestError, Interface, Node};
use nix::errno::Errno;
use protocol::{Nonce, Tee};

use crate::kernel::FakeKernel;
use crate::vendors::{Vendors, ask, attester, sgx_quote};

fn other(data: &[u8; 64]) -> Vec<u8> {
    let mut data = *data;
    data[7] ^= 1;
    sgx_quote(&data)
}

#[tokio::test]
async fn gramine_and_occlum_make_quotes_that_are_accepted() {
    let machines = [
        FakeKernel::default().gramine("dcap", |data| Ok(sgx_quote(data))),
        FakeKernel::default().gramine("dcap\n", |data| Ok(sgx_quote(data))),
        FakeKernel::default().occlum(|data| Ok(sgx_quote(data))),
    ];
    for kernel in machines {
        let evidence = ask(&Arc::new(kernel)).await.unwrap();
        assert_eq!(evidence.tee, Tee::Sgx);
        Vendors::new().accept(&evidence);
    }
}

#[tokio::test]
async fn a_quote_over_other_data_is_refused_by_the_verifier() {
    let machines = [
        FakeKernel::default().gramine("dcap", |data| Ok(other(data))),
        FakeKernel::default().occlum(|data| Ok(other(data))),
    ];
    for kernel in machines {
        Vendors::new().refuse(&ask(&Arc::new(kernel)).await.unwrap());
    }
}

#[tokio::test]
async fn an_enclave_without_dcap_is_refused_by_name() {
    for kind in ["none", "epid", ""] {
        let kernel = Arc::new(FakeKernel::default().gramine(kind, |data| Ok(sgx_quote(data))));
        let error = ask(&kernel).await.unwrap_err();
        assert!(matches!(&error, AttestError::UnknownInterface { got, .. } if got == kind), "{error}");
        assert!(error.is_refusal());
    }
}

#[tokio::test]
async fn a_quote_that_is_not_made_is_an_error() {
    let machines = [
        FakeKernel::default().gramine("dcap", |_| Err(Errno::EPERM)),
        FakeKernel::default().gramine("dcap", |_| Ok(Vec::new())),
        FakeKernel::default().gramine("dcap", |_| Ok(vec![0; 65 * 1024])),
        FakeKernel::default().occlum(|_| Err(Errno::EINVAL)),
        FakeKernel::default().occlum(|_| Ok(Vec::new())),
        FakeKernel::default().occlum(|_| Ok(vec![0; 65 * 1024])),
    ];
    for kernel in machines {
        let error = ask(&Arc::new(kernel)).await.unwrap_err();
        assert!(!error.is_refusal(), "{error}");
    }
}

#[tokio::test]
async fn a_hosts_sgx_driver_is_not_taken_for_occlum() {
    // Drivers have put a device or a folder there.
    for node in [Node::Device, Node::Folder] {
        let kernel = Arc::new(FakeKernel::default().node("/dev/sgx", node));
        let detection = attester(&kernel).detection().await.unwrap();
        assert_eq!(detection.interface, Interface::GuestAgent);
        let looked = detection.looked.iter().find(|looked| looked.path == "/dev/sgx").unwrap();
        assert!(looked.found.contains("a host's"), "{}", looked.found);
    }
}

#[tokio::test]
async fn an_enclave_owns_no_device() {
    let kernel = Arc::new(FakeKernel::default().occlum(|data| Ok(sgx_quote(data))));
    assert_eq!(attester::Attester::devices(&attester(&kernel), &Nonce([1; 32])).await, Ok(vec![]));
}
