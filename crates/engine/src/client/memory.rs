//! The memory of an engine's processes.

use std::collections::BTreeMap;
use std::path::Path;

use super::ps;
use crate::error::EngineError;
use crate::memory::{ProcessMemory, of_process};
use crate::paths::Paths;
use crate::process::Started;

/// The memory of every process of the engine and its pods.
pub fn memory_report(workspace: &Path) -> Result<Vec<ProcessMemory>, EngineError> {
    let paths = Paths::of(workspace)?;
    let pods = ps(workspace)?;
    let names: BTreeMap<_, _> = pods
        .iter()
        .flat_map(|pod| pod.containers.iter())
        .filter_map(|container| Some((container.id.clone()?, container.name.clone())))
        .collect();
    let mut report = Vec::new();
    for process in Started::all(&paths.processes()) {
        if let Some((rss_bytes, pss_bytes)) = of_process(process.pid) {
            let (role, pod) = (process.role, process.pod);
            report.push(ProcessMemory { role, pod, container: None, pid: process.pid, rss_bytes, pss_bytes });
        }
    }
    // The processes of containers are known by their cgroup: `/casemate/<id>/<pod>/<container id>`.
    let prefix = format!("{}/", paths.cgroup());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let own =
            groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(|group| group.strip_prefix(&prefix));
        let Some((pod, id)) = own.and_then(|own| own.split_once('/')) else { continue };
        let Some((rss_bytes, pss_bytes)) = of_process(pid) else { continue };
        report.push(ProcessMemory {
            role: "container".into(),
            pod: Some(pod.to_owned()),
            container: Some(names.get(id).cloned().unwrap_or_else(|| id.chars().take(12).collect())),
            pid,
            rss_bytes,
            pss_bytes,
        });
    }
    report.sort_by(|a, b| (&a.pod, &a.role, &a.container, a.pid).cmp(&(&b.pod, &b.role, &b.container, b.pid)));
    Ok(report)
}
