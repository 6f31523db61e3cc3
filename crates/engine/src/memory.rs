//! How much memory each process of an engine uses.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// One process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessMemory {
    /// `supervise`, `tee`, `agent` or `container`.
    pub role: String,
    /// The pod, for `agent` and `container`.
    pub pod: Option<String>,
    /// The container, for `container`.
    pub container: Option<String>,
    /// The pid on the host.
    pub pid: u32,
    /// Resident set in bytes: what the process alone would need.
    pub rss_bytes: u64,
    /// Proportional set in bytes: pages shared with other processes count by share.
    pub pss_bytes: u64,
}

/// Reads RSS and PSS of a process; `None` when it has ended.
pub(crate) fn of_process(pid: u32) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let kib = line.strip_prefix(name)?.trim_start_matches(':').trim().strip_suffix(" kB")?;
            kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
        })
    };
    Some((field("Rss")?, field("Pss")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory() {
        let (rss, pss) = super::of_process(std::process::id()).unwrap();
        assert!(rss >= pss && pss > 0);
        assert_eq!(super::of_process(u32::MAX), None);
    }
}
