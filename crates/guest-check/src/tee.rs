//! What the hardware says of the guest's initdata.
//!
//! Read only where nobody between the processor and this guest can change the answer: on SEV-SNP the attestation report that
//! the secure processor encrypts for this guest (through the kernel's configfs-TSM), on TDX the TD's own report as the kernel
//! shows it in sysfs. A TDX *quote* would not do: it comes through the host, and nobody here checks its signature.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The field of the hardware that carries the digest of initdata.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// HOSTDATA of SEV-SNP.
    HostData([u8; 32]),
    /// MRCONFIGID of TDX.
    MrConfigId([u8; 48]),
}

impl Field {
    /// Its name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::HostData(_) => "HOSTDATA",
            Self::MrConfigId(_) => "MRCONFIGID",
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::HostData(bytes) => bytes,
            Self::MrConfigId(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), hex::encode(self.bytes()))
    }
}

/// Why the hardware could not be asked, or gave no answer that counts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeeError {
    /// There is no interface of any TEE.
    #[error("this guest runs in no TEE that shows itself: neither `{configfs}` nor `{sysfs}` is there")]
    NoTee {
        /// Where reports would be asked for.
        configfs: PathBuf,
        /// Where a TD would show its measurements.
        sysfs: PathBuf,
    },
    /// A provider of reports that is not known, or that does not answer here.
    #[error("reports come from `{provider}`, and HOSTDATA is read from `sev_guest` alone")]
    Provider {
        /// What the kernel says.
        provider: String,
    },
    /// A TD whose kernel does not show its measurements.
    #[error("this is a TD, and its kernel does not show `{path}`: Linux 6.16 and later do")]
    OldKernel {
        /// What is missing.
        path: PathBuf,
    },
    /// Something has the wrong length.
    #[error("`{path}` has {has} bytes, expected {expected}")]
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        has: usize,
        /// What it should have.
        expected: usize,
    },
    /// The report is of a version that is not known.
    #[error("the report is of version {version}, and 2 to 5 are known")]
    Version {
        /// Its version.
        version: u32,
    },
    /// Somebody else asked at the same time, or the answer belongs to another question.
    #[error("the report does not answer the question that was asked")]
    NotOurs,
    /// A file operation failed.
    #[error("{what} `{path}`")]
    Io {
        /// What was done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Who knows the field. Called once, by the holder; an answer is believed, so an implementation must have it from the
/// hardware itself and not through the host.
pub trait Hardware {
    /// The field, or why there is none.
    fn initdata_field(&self) -> Result<Field, TeeError>;
}

/// LIMIT: SEV-SNP Firmware ABI, table 23: an attestation report has 0x4a0 bytes.
const REPORT: usize = 0x4a0;
/// Offsets in it.
const REPORT_DATA: std::ops::Range<usize> = 0x50..0x90;
const HOST_DATA: std::ops::Range<usize> = 0xc0..0xe0;

/// The kernel's interfaces under a root folder.
#[derive(Clone, Debug)]
pub struct Kernel {
    root: PathBuf,
    nonce: [u8; 64],
}

impl Kernel {
    /// The interfaces under `root`; a report must carry this nonce.
    pub fn new(root: &Path, nonce: [u8; 64]) -> Self {
        Self { root: root.to_owned(), nonce }
    }

    /// Where configfs offers reports.
    pub fn reports(&self) -> PathBuf {
        self.root.join("sys/kernel/config/tsm/report")
    }

    fn tdx_device(&self) -> PathBuf {
        self.root.join("sys/devices/virtual/misc/tdx_guest")
    }

    fn tdx(&self) -> Result<Field, TeeError> {
        let path = self.tdx_device().join("measurements/mrconfigid");
        let bytes = match read(&path, 64) {
            Err(TeeError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(TeeError::OldKernel { path });
            }
            other => other?,
        };
        let has = bytes.len();
        let bytes = bytes.try_into().map_err(|_| TeeError::Length { path, has, expected: 48 })?;
        Ok(Field::MrConfigId(bytes))
    }

    fn snp(&self) -> Result<Field, TeeError> {
        let entry = self.reports().join(format!("casemate-guest-check-{}", std::process::id()));
        fs::create_dir(&entry).map_err(io("make", &entry))?;
        let answer = self.ask(&entry);
        // The entry is this process' own; one that stays behind harms nobody.
        let _ = fs::remove_dir(&entry);
        answer
    }

    fn ask(&self, entry: &Path) -> Result<Field, TeeError> {
        let provider = read(&entry.join("provider"), 64)?;
        let provider = String::from_utf8_lossy(&provider).trim().to_owned();
        if provider != "sev_guest" {
            return Err(TeeError::Provider { provider });
        }
        let inblob = entry.join("inblob");
        fs::write(&inblob, self.nonce).map_err(io("write", &inblob))?;
        let outblob = entry.join("outblob");
        let report = read(&outblob, 2 * REPORT)?;
        let has = report.len();
        let length = || TeeError::Length { path: outblob.clone(), has, expected: REPORT };
        if has != REPORT {
            return Err(length());
        }
        let version = report.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(length)?;
        if !(2..=5).contains(&version) {
            return Err(TeeError::Version { version });
        }
        if report.get(REPORT_DATA) != Some(&self.nonce) {
            return Err(TeeError::NotOurs);
        }
        let bytes = report.get(HOST_DATA).and_then(|bytes| bytes.try_into().ok()).ok_or_else(length)?;
        Ok(Field::HostData(bytes))
    }
}

impl Hardware for Kernel {
    fn initdata_field(&self) -> Result<Field, TeeError> {
        // A TD has both interfaces, and its reports come from `tdx_guest`; the other one's come from `sev_guest`.
        if self.tdx_device().is_dir() {
            return self.tdx();
        }
        if self.reports().is_dir() {
            return self.snp();
        }
        Err(TeeError::NoTee { configfs: self.reports(), sysfs: self.tdx_device() })
    }
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TeeError {
    let path = path.to_owned();
    move |source| TeeError::Io { what, path, source }
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, TeeError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io("open", path))?;
    file.take(most as u64).read_to_end(&mut bytes).map_err(io("read", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel whose configfs entry is made beforehand: the folder that the check makes cannot fill itself.
    fn ask(provider: &str, report: &[u8]) -> Result<Field, TeeError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("provider"), provider).unwrap();
        fs::write(folder.path().join("outblob"), report).unwrap();
        Kernel::new(folder.path(), [7; 64]).ask(folder.path())
    }

    fn report() -> Vec<u8> {
        let mut report = vec![0; REPORT];
        report[0] = 3;
        report[REPORT_DATA].fill(7);
        report[HOST_DATA].fill(9);
        report
    }

    #[test]
    fn hostdata_is_read_from_a_report_that_answers_our_question() {
        assert_eq!(ask("sev_guest\n", &report()).unwrap(), Field::HostData([9; 32]));
    }

    #[test]
    fn a_report_that_is_not_ours_is_refused() {
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut report = report();
            change(&mut report);
            ask("sev_guest", &report).unwrap_err().to_string()
        };
        for (expected, error) in [
            ("of version 1", with(&|report| report[0] = 1)),
            ("of version 6", with(&|report| report[0] = 6)),
            ("does not answer", with(&|report| report[0x50] ^= 1)),
            ("has 1183 bytes", with(&|report| report.truncate(REPORT - 1))),
            ("has 1185 bytes", with(&|report| report.push(0))),
            ("has 0 bytes", with(&Vec::clear)),
            ("come from `tdx_guest`", ask("tdx_guest\n", &report()).unwrap_err().to_string()),
            ("come from `arm_cca_guest`", ask("arm_cca_guest", &report()).unwrap_err().to_string()),
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn a_td_shows_its_mrconfigid() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/devices/virtual/misc/tdx_guest/measurements");
        let kernel = Kernel::new(root.path(), [0; 64]);
        assert!(kernel.initdata_field().unwrap_err().to_string().contains("no TEE"));
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        assert!(kernel.initdata_field().unwrap_err().to_string().contains("Linux 6.16"));
        fs::create_dir(&folder).unwrap();
        for (bytes, expected) in [(47, "has 47 bytes"), (49, "has 49 bytes"), (0, "has 0 bytes")] {
            fs::write(folder.join("mrconfigid"), vec![1; bytes]).unwrap();
            assert!(kernel.initdata_field().unwrap_err().to_string().contains(expected));
        }
        fs::write(folder.join("mrconfigid"), [5; 48]).unwrap();
        assert_eq!(kernel.initdata_field().unwrap(), Field::MrConfigId([5; 48]));
    }

    #[test]
    fn an_answer_that_never_comes_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let kernel = Kernel::new(root.path(), [0; 64]);
        fs::create_dir_all(kernel.reports()).unwrap();
        // Without the kernel behind it, the new entry has no files.
        assert!(kernel.initdata_field().unwrap_err().to_string().contains("provider"));
        assert_eq!(fs::read_dir(kernel.reports()).unwrap().count(), 0, "the entry is taken away");
    }
}
