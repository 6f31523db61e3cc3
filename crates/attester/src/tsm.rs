//! Reports through configfs (`/sys/kernel/config/tsm/report`), as Linux has them from 6.7 on for SEV-SNP and TDX.
//!
//! Documented in the kernel's `Documentation/ABI/testing/configfs-tsm-report`. What matters here:
//!
//! - Whoever wants a report makes an entry of their own. Making one fails with `ENXIO` where no provider has registered.
//! - Every write to an entry advances its `generation`, and so does anybody else's. A report belongs to our input only when
//!   the counter has advanced by exactly our writes, before and after reading.
//! - `inblob` is taken when its file is closed, and whether it was taken is not told. The counter tells it.
//! - `outblob` makes the report when it is read, and may be busy: a TDX host works on one quote at a time.
//! - Below an SVSM a guest is at a lower privilege, which `privlevel_floor` says. The report is asked for at that level: its
//!   report data are our 64 bytes unchanged, and its VMPL is for the reference values. The SVSM's own attestation
//!   (`service_provider`) has a hash over a manifest in their place, so it cannot carry a binding.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use protocol::{Evidence, ReportData, Tee};

use crate::AttestError;
use crate::certificates;
use crate::kernel::Kernel;

/// Where entries are made.
pub(crate) const FOLDER: &str = "/sys/kernel/config/tsm/report";
/// The providers that are understood.
const KNOWN: &str = "`sev_guest`, `tdx_guest`";

/// LIMIT: names, numbers and a line end.
const MAX_TEXT: usize = 4096;
/// LIMIT: five attempts with pauses of 20, 40, 80 and 160 ms: as long as a host takes for a handful of quotes.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
/// LIMIT: names that another process with our number, in another namespace, has taken.
const MAX_NAMES: u32 = 16;

/// The TEE of the provider that has registered; `None`: none has.
pub(crate) fn provider(kernel: &dyn Kernel) -> Result<Option<Tee>, AttestError> {
    match Entry::new(kernel) {
        Ok(entry) => entry.provider().map(Some),
        Err(AttestError::Kernel { errno: Errno::ENXIO | Errno::ENOTTY, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Evidence of `tee`, over our report data.
pub(crate) fn evidence(kernel: &dyn Kernel, tee: Tee, report_data: &ReportData) -> Result<Evidence, AttestError> {
    let mut pause = PAUSE;
    let mut attempts = 1;
    loop {
        match attempt(kernel, tee, report_data) {
            Err(error) if attempts < ATTEMPTS && passes(&error) => {
                kernel.pause(pause);
                pause = pause.saturating_mul(2);
                attempts += 1;
            }
            outcome => return outcome.map_err(|error| told(error, attempts)),
        }
    }
}

fn attempt(kernel: &dyn Kernel, tee: Tee, report_data: &ReportData) -> Result<Evidence, AttestError> {
    let entry = Entry::new(kernel)?;
    let provider = entry.provider()?;
    if provider != tee {
        // The modules were exchanged since the first look; it will be looked at again at the next start.
        return Err(AttestError::OtherKind { got: provider, seen: tee, path: FOLDER });
    }
    let mut expected = entry.number("generation")?;
    if let Some(level) = entry.privilege()? {
        entry.write("privlevel", format!("{level}\n").as_bytes())?;
        expected = expected.wrapping_add(1);
    }
    entry.write("inblob", &report_data.0)?;
    expected = expected.wrapping_add(1);
    let report = match entry.read("outblob", Evidence::MAX_BODY) {
        // Without input there is no report: the kernel did not take ours. The counter says more than the error does.
        Err(error) => {
            entry.unchanged(expected)?;
            return Err(error);
        }
        Ok(report) => report,
    };
    let mut body = report;
    if tee == Tee::Snp {
        match entry.read("auxblob", Evidence::MAX_BODY) {
            Ok(table) => body.extend_from_slice(certificates::trimmed(&table)),
            // A kernel without certificates has no such attribute. They are a convenience: verifiers can fetch them.
            Err(AttestError::Kernel { errno: Errno::ENOENT, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    entry.unchanged(expected)?;
    if body.len() > Evidence::MAX_BODY {
        return Err(AttestError::Oversized { path: FOLDER.to_owned(), got: body.len(), limit: Evidence::MAX_BODY });
    }
    if body.is_empty() {
        return Err(AttestError::Answer { path: FOLDER, reason: "an empty report".to_owned() });
    }
    Ok(Evidence::new(tee, body))
}

/// The lowest privilege level at which this guest may ask, where that is not the default.
pub(crate) fn privilege(kernel: &dyn Kernel) -> Result<Option<u64>, AttestError> {
    Entry::new(kernel)?.privilege()
}

/// Whether a service below this guest offers an attestation of its own: an SVSM.
pub(crate) fn has_service(kernel: &dyn Kernel) -> Result<bool, AttestError> {
    let entry = Entry::new(kernel)?;
    let path = entry.at("service_provider");
    let node =
        kernel.look(&path).map_err(|errno| AttestError::Kernel { during: "look at", path, errno, attempts: 1 })?;
    Ok(node != crate::Node::Nothing)
}

/// Whether another attempt may end otherwise.
fn passes(error: &AttestError) -> bool {
    match error {
        AttestError::Raced { .. } => true,
        AttestError::Kernel { errno, .. } => {
            matches!(errno, Errno::EBUSY | Errno::EINTR | Errno::EAGAIN | Errno::ETIMEDOUT)
        }
        _ => false,
    }
}

/// The same error, with how often it was met.
fn told(error: AttestError, tried: u32) -> AttestError {
    match error {
        AttestError::Kernel { during, path, errno, .. } => AttestError::Kernel { during, path, errno, attempts: tried },
        AttestError::Raced { path, got, expected, .. } => AttestError::Raced { path, got, expected, attempts: tried },
        other => other,
    }
}

/// An entry of our own, removed when it goes.
struct Entry<'a> {
    kernel: &'a dyn Kernel,
    path: String,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // One that stays costs some bytes of the kernel's and blocks nobody; there is nothing to be done about it.
        if self.kernel.remove_folder(&self.path) == Err(Errno::EBUSY) {
            self.kernel.pause(PAUSE);
            let _ = self.kernel.remove_folder(&self.path);
        }
    }
}

impl<'a> Entry<'a> {
    fn new(kernel: &'a dyn Kernel) -> Result<Self, AttestError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        for attempt in 1..=MAX_NAMES {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = format!("{FOLDER}/casemate-{}-{number}", process::id());
            match kernel.make_folder(&path) {
                Ok(()) => return Ok(Self { kernel, path }),
                Err(Errno::EEXIST) if attempt < MAX_NAMES => {}
                Err(errno) => return Err(AttestError::Kernel { during: "make", path, errno, attempts: 1 }),
            }
        }
        let path = FOLDER.to_owned();
        Err(AttestError::Kernel { during: "make an entry in", path, errno: Errno::EEXIST, attempts: MAX_NAMES })
    }

    fn at(&self, attribute: &str) -> String {
        format!("{}/{attribute}", self.path)
    }

    fn read(&self, attribute: &str, limit: usize) -> Result<Vec<u8>, AttestError> {
        let path = self.at(attribute);
        self.kernel.read(&path, limit).map_err(|errno| AttestError::Kernel { during: "read", path, errno, attempts: 1 })
    }

    fn write(&self, attribute: &str, bytes: &[u8]) -> Result<(), AttestError> {
        let path = self.at(attribute);
        self.kernel.write(&path, bytes).map_err(|errno| AttestError::Kernel {
            during: "write",
            path,
            errno,
            attempts: 1,
        })
    }

    fn text(&self, attribute: &str) -> Result<String, AttestError> {
        Ok(String::from_utf8_lossy(&self.read(attribute, MAX_TEXT)?).trim().to_owned())
    }

    fn number(&self, attribute: &str) -> Result<u64, AttestError> {
        let got = self.text(attribute)?;
        got.parse().map_err(|_| AttestError::UnknownInterface { path: self.at(attribute), got, known: "numbers" })
    }

    fn provider(&self) -> Result<Tee, AttestError> {
        match self.text("provider") {
            Ok(got) => match got.as_str() {
                "sev_guest" => Ok(Tee::Snp),
                "tdx_guest" => Ok(Tee::Tdx),
                _ => Err(AttestError::UnknownInterface { path: self.at("provider"), got, known: KNOWN }),
            },
            Err(error) => Err(error),
        }
    }

    fn privilege(&self) -> Result<Option<u64>, AttestError> {
        match self.number("privlevel_floor") {
            // The attribute is that of TEEs with privilege levels.
            Err(AttestError::Kernel { errno: Errno::ENOENT, .. }) | Ok(0) => Ok(None),
            Ok(floor) => Ok(Some(floor)),
            Err(error) => Err(error),
        }
    }

    /// That nobody has written but we, and that the kernel took what we wrote.
    fn unchanged(&self, expected: u64) -> Result<(), AttestError> {
        let got = self.number("generation")?;
        if got == expected {
            return Ok(());
        }
        Err(AttestError::Raced { path: self.at("generation"), got, expected, attempts: 1 })
    }
}
