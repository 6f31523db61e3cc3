//! The calls of NVML. Each function takes values and gives values; pointers do not leave this file.

#![expect(unsafe_code, reason = "functions of a shared library are called through pointers")]

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;

use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};

/// Sizes of `nvml.h`.
const CERTIFICATE_CHAIN: usize = 0x1000;
const ATTESTATION_CERTIFICATE_CHAIN: usize = 0x1400;
const NONCE: usize = 0x20;
const REPORT: usize = 0x2000;
const CEC_REPORT: usize = 0x1000;

/// `nvmlConfComputeSystemState_t`.
#[repr(C)]
#[derive(Default)]
struct SystemState {
    environment: u32,
    cc_feature: u32,
    devtools_mode: u32,
}

/// `nvmlConfComputeGpuCertificate_t`.
#[repr(C)]
struct Certificate {
    chain_size: u32,
    attestation_chain_size: u32,
    chain: [u8; CERTIFICATE_CHAIN],
    attestation_chain: [u8; ATTESTATION_CERTIFICATE_CHAIN],
}

/// `nvmlConfComputeGpuAttestationReport_t`.
#[repr(C)]
struct Report {
    has_cec_report: u32,
    report_size: u32,
    cec_report_size: u32,
    nonce: [u8; NONCE],
    report: [u8; REPORT],
    cec_report: [u8; CEC_REPORT],
}

/// `nvmlDevice_t`, good for as long as the library is initialised.
#[derive(Clone, Copy)]
pub(super) struct Device(*mut c_void);

type Plain = unsafe extern "C" fn() -> i32;
type ErrorString = unsafe extern "C" fn(i32) -> *const c_char;
type GetState = unsafe extern "C" fn(*mut SystemState) -> i32;
type GetCount = unsafe extern "C" fn(*mut u32) -> i32;
type GetHandle = unsafe extern "C" fn(u32, *mut *mut c_void) -> i32;
type GetArchitecture = unsafe extern "C" fn(*mut c_void, *mut u32) -> i32;
type GetCertificate = unsafe extern "C" fn(*mut c_void, *mut Certificate) -> i32;
type GetReport = unsafe extern "C" fn(*mut c_void, *mut Report) -> i32;

/// The library, initialised until it is dropped.
pub(super) struct Library {
    shutdown: Plain,
    error_string: ErrorString,
    state: GetState,
    count: GetCount,
    handle: GetHandle,
    architecture: GetArchitecture,
    certificate: GetCertificate,
    report: GetReport,
    /// Last, so that nothing above is called after it has gone.
    _loaded: Loaded,
}

impl Library {
    /// Loads and initialises; `None` where there is no such library.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, String> {
        // SAFETY: loading runs the library's constructors. It is the driver's own, found where the loader looks for it or at a
        // path of the caller's choice; whoever can replace it inside the TEE has replaced its image, which is measured.
        let loaded = match unsafe { Loaded::open(Some(path), RTLD_NOW | RTLD_LOCAL) } {
            Ok(loaded) => loaded,
            Err(error) => {
                let text = chain(&error);
                // The loader has no numbers for its errors, and this one is no fault.
                return if text.contains("No such file or directory") { Ok(None) } else { Err(text) };
            }
        };
        let init: Plain = symbol(&loaded, "nvmlInit_v2")?;
        let library = Self {
            shutdown: symbol(&loaded, "nvmlShutdown")?,
            error_string: symbol(&loaded, "nvmlErrorString")?,
            state: symbol(&loaded, "nvmlSystemGetConfComputeState")?,
            count: symbol(&loaded, "nvmlDeviceGetCount_v2")?,
            handle: symbol(&loaded, "nvmlDeviceGetHandleByIndex_v2")?,
            architecture: symbol(&loaded, "nvmlDeviceGetArchitecture")?,
            certificate: symbol(&loaded, "nvmlDeviceGetConfComputeGpuCertificate")?,
            report: symbol(&loaded, "nvmlDeviceGetConfComputeGpuAttestationReport")?,
            _loaded: loaded,
        };
        // SAFETY: takes nothing; it is the first call of the library.
        let code = unsafe { init() };
        match library.check("nvmlInit_v2", code) {
            Ok(()) => Ok(Some(library)),
            Err(reason) => {
                // Dropping would shut down what did not start, which NVML answers with an error and no harm.
                drop(library);
                Err(reason)
            }
        }
    }

    /// Whether the driver runs in confidential mode (`NVML_CC_SYSTEM_FEATURE_ENABLED`).
    pub(super) fn is_confidential(&self) -> Result<bool, String> {
        let mut state = SystemState::default();
        // SAFETY: the function writes one `nvmlConfComputeSystemState_t`.
        let code = unsafe { (self.state)(&raw mut state) };
        self.check("nvmlSystemGetConfComputeState", code)?;
        Ok(state.cc_feature == 1)
    }

    /// How many GPUs there are.
    pub(super) fn count(&self) -> Result<u32, String> {
        let mut count = 0;
        // SAFETY: the function writes one `unsigned int`.
        let code = unsafe { (self.count)(&raw mut count) };
        self.check("nvmlDeviceGetCount_v2", code)?;
        Ok(count)
    }

    /// A GPU by its number.
    pub(super) fn device(&self, index: u32) -> Result<Device, String> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the function writes one handle.
        let code = unsafe { (self.handle)(index, &raw mut handle) };
        self.check("nvmlDeviceGetHandleByIndex_v2", code)?;
        Ok(Device(handle))
    }

    /// Its architecture, one of `NVML_DEVICE_ARCH_*`.
    pub(super) fn architecture(&self, device: Device) -> Result<u32, String> {
        let mut architecture = 0;
        // SAFETY: the handle is of this library, and the function writes one `unsigned int`.
        let code = unsafe { (self.architecture)(device.0, &raw mut architecture) };
        self.check("nvmlDeviceGetArchitecture", code)?;
        Ok(architecture)
    }

    /// The chain of the key that signs reports, PEM.
    pub(super) fn chain(&self, device: Device) -> Result<Vec<u8>, String> {
        let mut certificate = Box::new(Certificate {
            chain_size: 0,
            attestation_chain_size: 0,
            chain: [0; CERTIFICATE_CHAIN],
            attestation_chain: [0; ATTESTATION_CERTIFICATE_CHAIN],
        });
        // SAFETY: the handle is of this library, and the function writes one `nvmlConfComputeGpuCertificate_t`.
        let code = unsafe { (self.certificate)(device.0, &raw mut *certificate) };
        self.check("nvmlDeviceGetConfComputeGpuCertificate", code)?;
        // PEM, which some releases count with the zero that ends a string of C.
        let mut chain = part(&certificate.attestation_chain, certificate.attestation_chain_size, "certificate chain")?;
        let end = chain.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        chain.truncate(end);
        Ok(chain)
    }

    /// The GPU's report over a nonce.
    pub(super) fn report(&self, device: Device, nonce: &[u8; NONCE]) -> Result<Vec<u8>, String> {
        let mut report = Box::new(Report {
            has_cec_report: 0,
            report_size: 0,
            cec_report_size: 0,
            nonce: *nonce,
            report: [0; REPORT],
            cec_report: [0; CEC_REPORT],
        });
        // SAFETY: the handle is of this library, and the function reads the nonce of one
        // `nvmlConfComputeGpuAttestationReport_t` and writes the rest of it.
        let code = unsafe { (self.report)(device.0, &raw mut *report) };
        self.check("nvmlDeviceGetConfComputeGpuAttestationReport", code)?;
        part(&report.report, report.report_size, "report")
    }

    fn check(&self, function: &str, code: i32) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: takes a number, and gives a string constant of the library.
        let text = unsafe { (self.error_string)(code) };
        let words = if text.is_null() {
            std::borrow::Cow::Borrowed("no text")
        } else {
            // SAFETY: not null, ends with a zero as every C string, and lives as long as the library.
            unsafe { CStr::from_ptr(text) }.to_string_lossy()
        };
        Err(format!("`{function}` failed with {code}: {words}"))
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: takes nothing; handles are not used after it.
        let _ = unsafe { (self.shutdown)() };
    }
}

/// A function of the library under its name.
fn symbol<T: Copy>(library: &Loaded, name: &str) -> Result<T, String> {
    // SAFETY: the caller asks for a function's type, which is the one that `nvml.h` declares under this name.
    let symbol = unsafe { library.get::<T>(name) };
    symbol.map(|symbol| *symbol).map_err(|error| format!("no `{name}`: {}", chain(&error)))
}

/// As many bytes as the library says it wrote.
fn part(buffer: &[u8], size: u32, what: &str) -> Result<Vec<u8>, String> {
    let part = usize::try_from(size).ok().and_then(|size| buffer.get(..size));
    match part {
        Some(part) if !part.is_empty() => Ok(part.to_vec()),
        Some(_) => Err(format!("an empty {what}")),
        None => Err(format!("a {what} of {size} bytes, in a buffer of {}", buffer.len())),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
