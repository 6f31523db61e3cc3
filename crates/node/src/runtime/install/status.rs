//! What is on a host.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::Serialize;

use super::super::bundle::Release;
use super::super::class::Handler;
use super::super::containerd::Distribution;

/// What is on a host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// Whose containerd it is.
    pub distribution: Distribution,
    /// The release that new pods get.
    pub release: Option<Release>,
    /// Its classes.
    pub classes: Vec<Handler>,
    /// What was begun and not done: `install RELEASE`, `remove`.
    pub pending: Option<String>,
    /// Whether containerd has yet to be restarted.
    pub restart_due: bool,
    /// Files of the release that are missing or changed.
    pub damaged: Vec<String>,
    /// Files of containerd's configuration that would be changed.
    pub configuration: Vec<String>,
    /// Processes or pods that run with a class, and which.
    pub users: Vec<(Handler, String)>,
}

impl Status {
    /// Whether pods can use what is installed.
    pub fn is_ready(&self) -> bool {
        self.release.is_some()
            && self.pending.is_none()
            && !self.restart_due
            && self.damaged.is_empty()
            && self.configuration.is_empty()
    }

    /// Why pods cannot use it: a sentence for each reason, none when they can.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.release.is_none() {
            troubles.push("no runtime is installed".to_owned());
        }
        troubles.extend(self.pending.iter().map(|what| format!("not finished: {what}")));
        if self.restart_due {
            troubles.push(format!("{} was not restarted since its configuration was changed", self.distribution));
        }
        if !self.damaged.is_empty() {
            troubles.push(format!("damaged: {}", self.damaged.join(", ")));
        }
        if !self.configuration.is_empty() {
            troubles.push(format!("not as it was written: {}", self.configuration.join(", ")));
        }
        troubles
    }
}

/// One state of a file: which one it is, and when it was last changed. `None` where there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark(Option<[i64; 4]>);

impl Mark {
    /// Of a file, or of a link itself.
    pub fn of(path: &Path) -> Self {
        // The time of the last change of status cannot be set by a program, unlike that of the content.
        let mark =
            |file: fs::Metadata| [file.ino().cast_signed(), file.ctime(), file.ctime_nsec(), file.size().cast_signed()];
        Self(fs::symlink_metadata(path).ok().map(mark))
    }
}
