//! Why a configuration is left alone.

use std::fmt;

use super::Distribution;
use super::block::Fault;

/// A line of a file, from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file on the host.
    pub path: String,
    /// The line.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// A configuration that we do not understand, or that is not ours to change. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// containerd would not read it either.
    #[error("{place}: {message}")]
    NotToml {
        /// Where.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// Version 1, which has other names, or none.
    #[error("{place}: the file is of version {found}, and runtimes are written for 2, 3 and 4")]
    Version {
        /// Where the version is, or would be.
        place: Place,
        /// As it is written; `1` where there is none.
        found: String,
    },
    /// A key that has another type than containerd's.
    #[error("{place}: `{key}` is no {expected}")]
    Type {
        /// Where.
        place: Place,
        /// Which.
        key: &'static str,
        /// What it would have to be.
        expected: &'static str,
    },
    /// containerd does not serve Kubernetes at all.
    #[error("{place}: the plugin `{plugin}`, which serves Kubernetes, is disabled")]
    CriDisabled {
        /// Where.
        place: Place,
        /// Which.
        plugin: String,
    },
    /// Somebody else's runtime has this name.
    #[error("{place}: there is a runtime `{handler}` that casemate-node did not write")]
    Taken {
        /// Where.
        place: Place,
        /// Its name.
        handler: String,
    },
    /// Another file has the section that ours would be in, and containerd 1.7 reads only the last.
    #[error("{place}: before 2.0 containerd takes this section in place of the one in {main}")]
    Shadowed {
        /// Where the section begins.
        place: Place,
        /// The file that runtimes would be written to.
        main: String,
    },
    /// Our lines were changed.
    #[error("{place}: the lines of casemate-node that begin here were changed")]
    Edited {
        /// The first marker.
        place: Place,
    },
    /// One of the two markers is missing, or there is a second pair.
    #[error("{place}: a marker of casemate-node {problem}")]
    Marker {
        /// The marker.
        place: Place,
        /// What is wrong.
        problem: &'static str,
    },
    /// A key behind our lines.
    #[error("{place}: this key follows the lines of casemate-node and so belongs to their last table")]
    KeyAfter {
        /// The key.
        place: Place,
    },
    /// A file with the name of ours.
    #[error("{path} has the name of a file of casemate-node's and was not written by it")]
    NotOurs {
        /// On the host.
        path: String,
    },
    /// The tables cannot get another one in the way that they are written.
    #[error("{place}: runtimes cannot be added: {message}")]
    CannotAdd {
        /// Where the parser stopped, in the new text.
        place: Place,
        /// What it says.
        message: String,
    },
    /// What would come out does not say what it should: a bug of ours, found before it did harm.
    #[error("{path}: the new text would not say what the old one says and our runtimes")]
    Unfaithful {
        /// On the host.
        path: String,
    },
    /// A file that containerd does not read as long as there is no main file to import it.
    #[error("{path} is there and {main} is not, so containerd reads neither")]
    Unread {
        /// The file on the host.
        path: String,
        /// The one that is missing.
        main: String,
    },
    /// k3s and RKE2 write their configuration when they start.
    #[error("{path} is missing: {distribution} has not been started yet")]
    NotStarted {
        /// Which.
        distribution: Distribution,
        /// On the host.
        path: String,
    },
}

impl ConfigError {
    pub(super) fn from_fault(path: &str, fault: Fault) -> Self {
        let place = |line| Place { path: path.to_owned(), line };
        match fault {
            Fault::Dangling { line } => Self::Marker { place: place(line), problem: "has no partner" },
            Fault::Twice { line } => Self::Marker { place: place(line), problem: "begins a second block" },
            Fault::Edited { line } => Self::Edited { place: place(line) },
            Fault::KeyAfter { line } => Self::KeyAfter { place: place(line) },
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotToml { .. } | Self::Type { .. } => {
                Some("correct the file; `containerd config dump` reads it as containerd does")
            }
            Self::Version { .. } => Some("write it anew with `containerd config migrate`, and look at the result"),
            Self::CriDisabled { .. } => Some("take it out of `disabled_plugins`"),
            Self::Taken { .. } => {
                Some("remove what installed it first, such as kata-deploy, or leave this class out of the bundle")
            }
            Self::Shadowed { .. } => Some(
                "move the section into the main file, or, with containerd 2, bring the main file to version 3 with \
                 `containerd config migrate`",
            ),
            Self::Edited { .. } | Self::Marker { .. } => {
                Some("move what you wrote out of the block, then delete the block and run the command again")
            }
            Self::KeyAfter { .. } => Some("move the key above the block"),
            Self::NotOurs { .. } => Some("give that file another name"),
            Self::CannotAdd { .. } => Some("write `runtimes` as tables of their own, `[plugins.….runtimes.NAME]`"),
            Self::Unread { .. } => Some(
                "write the main file: with `version = 3` and `imports = [\"/etc/containerd/conf.d/*.toml\"]` if that file \
                 is to be read, without `imports` if not",
            ),
            Self::NotStarted { .. } => Some("start it once, then run the command again"),
            Self::Unfaithful { .. } => None,
        }
    }
}
