//! Why a log cannot be read.

use crate::error::Fault;

/// A part of the log, for an error to name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Register, kind, digest or size of the first event.
    SpecHeader,
    /// The data of the first event.
    SpecData,
    /// Register, kind or number of digests of an event.
    EventHeader,
    /// The digests of an event.
    Digests,
    /// The size of an event's data.
    DataSize,
    /// The data of an event.
    Data,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::SpecHeader => "the header of the Spec ID event",
            Self::SpecData => "the Spec ID",
            Self::EventHeader => "an event's header",
            Self::Digests => "an event's digests",
            Self::DataSize => "the size of an event's data",
            Self::Data => "an event's data",
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a log cannot be read. All of these are malformed: a log that is well-formed and does not fit is told by
/// [`super::compare()`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CcelError {
    /// Larger than any firmware's log area.
    #[error("event log of {got} bytes, at most {limit} are read")]
    TooLong {
        /// Its bytes.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// More events than any boot has.
    #[error("event log has more than {limit} events")]
    TooManyEvents {
        /// The limit.
        limit: usize,
    },
    /// The log ends inside something.
    #[error("event log ends inside {part} of event {event}, at byte {offset}")]
    Truncated {
        /// Inside of what.
        part: Part,
        /// Of which event; the Spec ID event has 0.
        event: usize,
        /// Where that part begins.
        offset: usize,
    },
    /// Something other than padding after the end.
    #[error("event log ends at byte {offset} and is followed by something other than padding")]
    TrailingBytes {
        /// Where the end marker is.
        offset: usize,
    },
    /// The first event is not a Spec ID event of a crypto-agile log.
    #[error("event log does not begin with the Spec ID of a crypto-agile log")]
    NotCryptoAgile,
    /// The first event is of a version that is not known here.
    #[error("event log has specification version {major}.{minor}, expected 2.0")]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// No algorithm, or more than there are.
    #[error("event log lists {got} digest algorithms, expected 1 to {limit}")]
    AlgorithmCount {
        /// How many it lists.
        got: u32,
        /// The limit.
        limit: u32,
    },
    /// An algorithm that is listed twice.
    #[error("event log lists digest algorithm {algorithm:#06x} twice")]
    AlgorithmTwice {
        /// Its number.
        algorithm: u16,
    },
    /// A well-known algorithm with another size than it has.
    #[error("event log gives digests of algorithm {algorithm:#06x} {got} bytes, expected {expected}")]
    AlgorithmSize {
        /// Its number.
        algorithm: u16,
        /// The size that the log gives it.
        got: u16,
        /// The size that it has.
        expected: u16,
    },
    /// RTMRs are extended with SHA-384, so a log without it cannot be replayed.
    #[error("event log has no SHA-384 digests")]
    NoSha384,
    /// Bytes in the Spec ID event behind what it describes.
    #[error("the Spec ID has {got} bytes behind its end")]
    SpecRest {
        /// How many.
        got: usize,
    },
    /// A register that a TDX guest does not have.
    #[error("event {event} is for register {index}, of which a TDX guest has 0 to 4")]
    RegisterIndex {
        /// Which event.
        event: usize,
        /// The register.
        index: u32,
    },
    /// Other digests than the log lists algorithms.
    #[error("event {event} has {got} digests, expected {expected}")]
    DigestCount {
        /// Which event.
        event: usize,
        /// How many it has.
        got: u32,
        /// How many algorithms the log lists.
        expected: u32,
    },
    /// A digest of an algorithm that the log does not list, so its size is not known.
    #[error("event {event} has a digest of algorithm {algorithm:#06x}, which the log does not list")]
    UnknownAlgorithm {
        /// Which event.
        event: usize,
        /// The algorithm.
        algorithm: u16,
    },
    /// Two digests of one algorithm; readers would disagree about which one counts.
    #[error("event {event} has two digests of algorithm {algorithm:#06x}")]
    DigestTwice {
        /// Which event.
        event: usize,
        /// The algorithm.
        algorithm: u16,
    },
}

impl CcelError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        Fault::Malformed
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::TooManyEvents { .. } => "ccel-too-long",
            Self::Truncated { .. } => "ccel-truncated",
            Self::TrailingBytes { .. } | Self::SpecRest { .. } => "ccel-trailing-bytes",
            Self::NotCryptoAgile | Self::Version { .. } => "ccel-format",
            Self::AlgorithmCount { .. } | Self::AlgorithmTwice { .. } | Self::AlgorithmSize { .. } | Self::NoSha384 => {
                "ccel-algorithms"
            }
            Self::RegisterIndex { .. } => "ccel-register",
            Self::DigestCount { .. } | Self::UnknownAlgorithm { .. } | Self::DigestTwice { .. } => "ccel-digests",
        }
    }

    /// What the user may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotCryptoAgile => Some(
                "this is about the log itself, `/sys/firmware/acpi/tables/data/CCEL` in the guest, not the ACPI table that \
                 points to it"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
