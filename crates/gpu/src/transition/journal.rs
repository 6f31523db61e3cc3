//! What a transition remembers: one record, replaced before each step.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::mode::{Mode, Observed};
use crate::pci::DeviceKind;

/// The version of the format that is written. Others are refused: a guess about half-switched devices is worse than a
/// question.
const VERSION: u32 = 1;
/// LIMIT: a record has some 100 bytes for each device and 300 for each failure, and a host has at most some dozen.
const MAX_RECORD: u64 = 1024 * 1024;

/// The steps, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// Before a transition: can the devices be brought to the mode?
    Validate,
    /// The node is taken out of service.
    NotReady,
    /// Nobody holds a device.
    Users,
    /// Components are sent away.
    Pause,
    /// Knobs are written on all devices.
    Stage,
    /// All devices are reset.
    Reset,
    /// All devices have started.
    Boot,
    /// All devices show the mode.
    ReadBack,
    /// Components may come back.
    Restore,
    /// The node says what it is.
    Publish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validate => "validate",
            Self::NotReady => "not-ready",
            Self::Users => "users",
            Self::Pause => "pause",
            Self::Stage => "stage",
            Self::Reset => "reset",
            Self::Boot => "boot",
            Self::ReadBack => "read-back",
            Self::Restore => "restore",
            Self::Publish => "publish",
        })
    }
}

/// What went wrong, with which device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The device, where it was one.
    pub device: Option<Address>,
    /// When.
    pub step: Step,
    /// A stable name.
    pub code: String,
    /// In words.
    pub reason: String,
    /// What may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// Which device and why, without the step: for those who began none.
    pub fn reason_of_device(&self) -> String {
        self.device.map_or_else(|| self.reason.clone(), |device| format!("{device}: {}", self.reason))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Some(device) => write!(f, "{device}: {} ({})", self.reason, self.step),
            None => write!(f, "{} ({})", self.reason, self.step),
        }
    }
}

/// A device of a transition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Where it is.
    pub address: Address,
    /// What it is.
    pub kind: DeviceKind,
    /// What it was at before.
    pub before: Observed,
    /// Whether it is staged and reset. One that is at its share of the mode and has nothing to write is neither, so it may
    /// keep a driver of the host's and be in use. Written down before anything is staged: what is not marked was never
    /// touched. Records of before this field was there staged and reset every device.
    #[serde(default = "yes")]
    pub moves: bool,
}

const fn yes() -> bool {
    true
}

impl Part {
    /// What it is to be at when its node is at `mode`.
    pub(super) fn share_of(&self, mode: Mode) -> Mode {
        match (self.kind, mode) {
            (DeviceKind::NvSwitch, Mode::On | Mode::Devtools) => Mode::Off,
            _ => mode,
        }
    }
}

/// Where a transition is going.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heading {
    /// To the mode that was asked for.
    Forward,
    /// Back, and no device was touched.
    BackUntouched,
    /// Back to the mode from before.
    Back,
}

/// A transition, as it is written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// The mode that was asked for.
    pub wish: Mode,
    /// Where it is going.
    pub heading: Heading,
    /// The step that is about to run.
    pub step: Step,
    /// The devices.
    pub devices: Vec<Part>,
    /// Why it turned back.
    pub failures: Vec<Failure>,
    /// What went wrong on the way back.
    pub lost: Vec<Failure>,
}

impl Record {
    pub(super) fn new(wish: Mode, devices: Vec<Part>) -> Self {
        Self {
            version: VERSION,
            wish,
            heading: Heading::Forward,
            step: Step::NotReady,
            devices,
            failures: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// The mode that all devices had before; `None` where they had none in common.
    pub fn before(&self) -> Option<Mode> {
        let common = |mode: &Mode| self.devices.iter().all(|part| part.before == Observed::Mode(part.share_of(*mode)));
        Mode::ALL.into_iter().find(common)
    }

    /// The mode that the devices are being brought to.
    pub fn goal(&self) -> Mode {
        match self.heading {
            Heading::Forward => self.wish,
            // Without a mode in common, off: it is the one that every device has and that promises nothing.
            Heading::BackUntouched | Heading::Back => self.before().unwrap_or(Mode::Off),
        }
    }
}

/// A record that could not be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file.
    #[error("{action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is there is no record.
    #[error("`{path}` is no record of a transition: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It was written by another version of this program.
    #[error("`{path}` has version {found}, and version {VERSION} is known here")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl JournalError {
    /// What may help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => None,
            Self::Malformed { .. } => Some("move the file away; the next start looks at the devices themselves"),
            Self::Version { .. } => Some("let the version that wrote it finish, or move the file away"),
        }
    }
}

/// Where the record of a transition is kept.
pub trait Journal: Sync {
    /// The record of a transition that has not ended.
    fn load(&self) -> Result<Option<Record>, JournalError>;
    /// Replaces the record. `Ok` means that it survives a crash of the machine.
    fn save(&self, record: &Record) -> Result<(), JournalError>;
    /// Forgets the record.
    fn clear(&self) -> Result<(), JournalError>;
}

/// One file, replaced as a whole.
#[derive(Clone, Debug)]
pub struct FileJournal {
    path: PathBuf,
}

impl FileJournal {
    /// A journal in a file; its folder must be there, and survive a restart of the machine.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn fail(&self, action: &'static str) -> impl Fn(io::Error) -> JournalError {
        let path = self.path.clone();
        move |source| JournalError::File { action, path: path.clone(), source }
    }
}

impl Journal for FileJournal {
    fn load(&self) -> Result<Option<Record>, JournalError> {
        let mut bytes = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(MAX_RECORD).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fail("read")(error)),
        }
        // The version first: another one's fields are not ours to complain about.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed =
            |error: serde_json::Error| JournalError::Malformed { path: self.path.clone(), reason: error.to_string() };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(malformed)?;
        if version != VERSION {
            return Err(JournalError::Version { path: self.path.clone(), found: version });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(malformed)
    }

    fn save(&self, record: &Record) -> Result<(), JournalError> {
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| JournalError::Malformed { path: self.path.clone(), reason: error.to_string() })?;
        replace(&self.path, &text).map_err(self.fail("replace"))
    }

    fn clear(&self) -> Result<(), JournalError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.fail("remove")(error)),
            _ => sync_folder(&self.path).map_err(self.fail("remove")),
        }
    }
}

/// Replaces a file so that whoever reads it, now or after a crash, sees the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::at;

    fn record(before: &[(DeviceKind, Observed)]) -> Record {
        let part = |(number, (kind, before)): (usize, &(DeviceKind, Observed))| Part {
            address: at(u8::try_from(number).unwrap()),
            kind: *kind,
            before: *before,
            moves: true,
        };
        Record::new(Mode::On, before.iter().enumerate().map(part).collect())
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_forgotten_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let journal = FileJournal::new(dir.path().join("transition.json"));
        assert_eq!(journal.load().unwrap(), None);
        journal.clear().unwrap();
        let mut record = record(&[(DeviceKind::Gpu, Observed::Invalid)]);
        journal.save(&record).unwrap();
        record.step = Step::Reset;
        record.heading = Heading::Back;
        let (code, reason) = ("reset-hangs".to_owned(), "no".to_owned());
        record.failures.push(Failure { device: Some(at(1)), step: Step::Reset, code, reason, hint: None });
        journal.save(&record).unwrap();
        assert_eq!(journal.load().unwrap(), Some(record));
        journal.clear().unwrap();
        assert_eq!(journal.load().unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_record_of_before_some_devices_were_left_alone_moves_all() {
        let part = r#"{"address":"0000:10:00.0","kind":"gpu","before":{"mode":"off"}}"#;
        assert!(serde_json::from_str::<Part>(part).unwrap().moves);
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_record_from_before() {
        let dir = tempfile::tempdir().unwrap();
        let journal = FileJournal::new(dir.path().join("transition.json"));
        let record = record(&[]);
        journal.save(&record).unwrap();
        fs::write(dir.path().join("transition.json.new"), "{\"version\": 1, \"wi").unwrap();
        assert_eq!(journal.load().unwrap(), Some(record.clone()));
        journal.save(&record).unwrap();
    }

    #[test]
    fn what_is_no_record_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("transition.json");
        let journal = FileJournal::new(&path);
        for bad in ["", "{}", "null", "{\"version\": 1}", "{\"version\": 1, \"wish\": \"maybe\"}", "\u{0}"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(journal.load(), Err(JournalError::Malformed { .. })), "{bad}");
        }
        fs::write(&path, "{\"version\": 2, \"plan\": []}").unwrap();
        assert!(matches!(journal.load(), Err(JournalError::Version { found: 2, .. })));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(journal.load(), Err(JournalError::File { action: "read", .. })));
    }

    #[test]
    fn the_way_back_leads_to_the_mode_in_common_or_to_off() {
        use DeviceKind::{Gpu, NvSwitch};
        let mode = Observed::Mode;
        for (before, common) in [
            (vec![(Gpu, mode(Mode::On)), (Gpu, mode(Mode::On))], Some(Mode::On)),
            (vec![(Gpu, mode(Mode::On)), (NvSwitch, mode(Mode::Off))], Some(Mode::On)),
            (vec![(Gpu, mode(Mode::Ppcie)), (NvSwitch, mode(Mode::Ppcie))], Some(Mode::Ppcie)),
            (vec![(Gpu, mode(Mode::Ppcie)), (NvSwitch, mode(Mode::Off))], None),
            (vec![(Gpu, mode(Mode::On)), (Gpu, mode(Mode::Off))], None),
            (vec![(Gpu, Observed::Invalid)], None),
            (vec![(NvSwitch, mode(Mode::Off))], Some(Mode::Off)),
        ] {
            let mut record = record(&before);
            assert_eq!(record.before(), common, "{before:?}");
            record.heading = Heading::Back;
            assert_eq!(record.goal(), common.unwrap_or(Mode::Off));
        }
    }
}
