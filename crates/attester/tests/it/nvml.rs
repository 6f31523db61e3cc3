//! GPU evidence through NVML: a stand-in of the library, compiled here from C, which hands out reports that our own NVIDIA
//! signed.

#![expect(clippy::print_stdout, reason = "whoever runs the tests is to know what was not tested")]

/// A static binary loads nothing; the other half of this file is for the image variant that is dynamically linked.
#[cfg(target_feature = "crt-static")]
#[test]
fn nvml_is_for_dynamically_linked_binaries() {
    println!(
        "SKIPPED: this test binary is static and loads no library; to test NVML: \
         RUSTFLAGS=-Ctarget-feature=-crt-static cargo test -p attester nvml"
    );
}

#[cfg(not(target_feature = "crt-static"))]
mod dynamic {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use attester::{AttestError, Nvml};
    use protocol::reference::AmdProduct;
    use protocol::{Binding, Evidence, Nonce, Tee};

    use crate::vendors::{TestChip, Vendors, binding};

    /// The stand-in, with these macros in place of what a sound driver says; `None`, aloud, without a compiler.
    fn library(folder: &Path, macros: &[&str]) -> Option<PathBuf> {
        if Command::new("gcc").arg("--version").output().is_err() {
            println!("SKIPPED: no gcc, which compiles the stand-in of NVML");
            return None;
        }
        let library = folder.join("libnvidia-ml.so.1");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/nvml.c");
        let status = Command::new("gcc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(format!("-DFOLDER=\"{}\"", folder.display()))
            .args(macros.iter().map(|one| format!("-D{one}")))
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success());
        Some(library)
    }

    /// Puts down what `gpus` GPUs answer to this nonce.
    fn machine(vendors: &Vendors, folder: &Path, gpus: u8, nonce: &Nonce) {
        for (index, (device, report)) in vendors.nvidia.machine(1, gpus, 0, nonce.0).iter().enumerate() {
            let evidence = device.evidence(report);
            std::fs::write(folder.join(format!("report-{index}")), &evidence.report).unwrap();
            std::fs::write(folder.join(format!("chain-{index}")), &evidence.chain).unwrap();
        }
    }

    fn evidence(macros: &[&str]) -> Option<Result<usize, AttestError>> {
        let folder = tempfile::tempdir().unwrap();
        machine(&Vendors::new(), folder.path(), 1, &binding().device_nonce());
        let library = library(folder.path(), macros)?;
        let nvml = Nvml::open(library).transpose().unwrap();
        Some(nvml.and_then(|nvml| nvml.evidence(&binding().device_nonce())).map(|devices| devices.len()))
    }

    #[test]
    fn reports_of_gpus_are_accepted_with_their_tee() {
        let (vendors, folder) = (Vendors::new(), tempfile::tempdir().unwrap());
        machine(&vendors, folder.path(), 2, &binding().device_nonce());
        let Some(library) = library(folder.path(), &["COUNT=2", "ZERO"]) else { return };
        let nvml = Nvml::open(library).unwrap().unwrap();
        let devices = nvml.evidence(&binding().device_nonce()).unwrap();
        assert_eq!(devices.len(), 2);
        let chip = TestChip::new(AmdProduct::Milan, 3);
        let mut evidence = Evidence { tee: Tee::Snp, body: Vec::new(), devices };
        let bound = Binding { devices: evidence.devices_digest(), ..binding() };
        evidence.body = chip.sign(&bound.report_data().0, 0);
        let vendors = vendors.knowing(&chip);
        vendors.judge(&evidence, &binding().expected(&evidence)).unwrap();
        // A GPU that the host took away is missed.
        evidence.devices.pop();
        assert!(vendors.judge(&evidence, &binding().expected(&evidence)).unwrap_err().is_refusal());
    }

    #[test]
    fn a_report_over_another_nonce_is_refused() {
        let (vendors, folder) = (Vendors::new(), tempfile::tempdir().unwrap());
        machine(&vendors, folder.path(), 1, &Nonce([0x77; 32]));
        let Some(library) = library(folder.path(), &[]) else { return };
        let error = Nvml::open(library).unwrap().unwrap().evidence(&Nonce([0x78; 32])).unwrap_err();
        assert!(matches!(&error, AttestError::OtherNonce { got, .. } if *got == "77".repeat(32)), "{error}");
    }

    #[test]
    fn a_driver_without_confidential_mode_has_no_evidence() {
        for macros in [&["FEATURE=0"], &["COUNT=0"]] {
            let Some(outcome) = evidence(macros) else { return };
            assert_eq!(outcome, Ok(0), "{macros:?}");
        }
    }

    #[test]
    fn what_the_driver_refuses_is_said() {
        for (macros, expected) in [
            (&["INIT=9"][..], "`nvmlInit_v2` failed with 9: stand-in's error 9"),
            (&["STATE=3"], "`nvmlSystemGetConfComputeState` failed with 3"),
            (&["COUNT=17"], "17 GPUs, at most 16"),
            (&["HANDLE=15"], "GPU 0: `nvmlDeviceGetHandleByIndex_v2` failed with 15"),
            (&["ARCHITECTURE=8"], "GPU 0: architecture 8"),
            (&["CERTIFICATE=3"], "`nvmlDeviceGetConfComputeGpuCertificate` failed with 3"),
            (&["REPORT=999"], "`nvmlDeviceGetConfComputeGpuAttestationReport` failed with 999"),
            (&["REPORT_SIZE=0"], "an empty report"),
            (&["REPORT_SIZE=0x2001"], "a report of 8193 bytes, in a buffer of 8192"),
            (&["CHAIN_SIZE=0"], "an empty certificate chain"),
            (&["CHAIN_SIZE=0xffffffff"], "a certificate chain of 4294967295 bytes"),
            (&["OLD"], "no `nvmlDeviceGetConfComputeGpuAttestationReport`"),
        ] {
            let Some(outcome) = evidence(macros) else { return };
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn no_library_is_no_gpu_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libnvidia-ml.so.1");
        assert!(Nvml::open(&path).unwrap().is_none());
        std::fs::write(&path, "no library").unwrap();
        let error = Nvml::open(&path).unwrap_err();
        assert!(error.to_string().starts_with("NVML made no evidence"), "{error}");
    }

    /// Whatever this machine has: none, a driver without confidential mode, or GPUs that answer.
    #[test]
    fn the_driver_of_this_machine_is_understood() {
        match Nvml::open("libnvidia-ml.so.1") {
            Ok(None) => println!("SKIPPED: no NVIDIA driver on this machine"),
            Ok(Some(nvml)) => {
                let devices = nvml.evidence(&Nonce([5; 32])).unwrap();
                println!("the driver of this machine gave evidence of {} GPUs", devices.len());
            }
            Err(error) => panic!("{error}"),
        }
    }
}
