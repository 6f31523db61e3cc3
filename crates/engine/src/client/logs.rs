//! `logs`: the files that the supervisor writes.

use std::fs::File;
use std::io::{Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::{LogOptions, ps};
use crate::control::PodStatus;
use crate::error::EngineError;
use crate::paths::Paths;

/// How often a followed log is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Writes a container's log to `output`. Works on a stopped engine too: the files stay in the work folder.
pub fn logs(workspace: &Path, options: &LogOptions, output: &mut dyn Write) -> Result<(), EngineError> {
    let paths = Paths::of(workspace)?;
    let pods = ps(workspace);
    let (pod, container) = match &pods {
        Ok(pods) => {
            let pod = find(pods, &options.target)?;
            (pod.name.clone(), container_of(pod, options.container.as_deref())?)
        }
        // A stopped engine has no pods, but the files tell which there were.
        Err(EngineError::NotUp { .. } | EngineError::Crashed { .. }) => on_disk(&paths, options)?,
        Err(error) => return Err(error.clone()),
    };
    let path =
        if options.previous { paths.previous_log(&pod, &container) } else { paths.container_log(&pod, &container) };
    let failed = |error: &dyn std::fmt::Display| EngineError::io(format!("read `{}`", path.display()), error);
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(EngineError::NoLog { pod, container, previous: options.previous });
        }
        other => other.map_err(|error| failed(&error))?,
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(|error| failed(&error))?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if !bytes.is_empty() {
            match output.write_all(bytes).and_then(|()| output.flush()) {
                // The reader of our output has seen enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                other => other.map_err(|error| EngineError::io("write the log", &error))?,
            }
            continue;
        }
        if !options.follow || options.previous {
            return Ok(());
        }
        std::thread::sleep(INTERVAL);
        // After a restart the name belongs to another file.
        let (old, new) = (file.metadata().map(|data| data.ino()), std::fs::metadata(&path).map(|data| data.ino()));
        match (old, new) {
            (Ok(old), Ok(new)) if old != new => file = File::open(&path).map_err(|error| failed(&error))?,
            _ => {
                if !ps(workspace).is_ok_and(|pods| pods.iter().any(|running| running.name == pod)) {
                    return Ok(());
                }
            }
        }
    }
}

/// The pod of that name, or the first of a workload of that name.
fn find<'a>(pods: &'a [PodStatus], target: &str) -> Result<&'a PodStatus, EngineError> {
    let target = target.strip_prefix("pod/").unwrap_or(target);
    let by_owner = |pod: &&PodStatus| {
        let (kind, name) = pod.owner.split_once('/').unwrap_or_default();
        // kubectl's short names.
        let short = match kind {
            "deployment" => "deploy",
            "statefulset" => "sts",
            "replicaset" => "rs",
            "daemonset" => "ds",
            other => other,
        };
        pod.owner == target || name == target || target.split_once('/') == Some((short, name))
    };
    let found = pods.iter().find(|pod| pod.name == target).or_else(|| pods.iter().find(by_owner));
    found.ok_or_else(|| EngineError::NoSuchPod {
        name: target.to_owned(),
        pods: pods.iter().map(|pod| pod.name.clone()).collect(),
    })
}

fn container_of(pod: &PodStatus, wanted: Option<&str>) -> Result<String, EngineError> {
    let none = |container: &str| EngineError::NoSuchContainer {
        pod: pod.name.clone(),
        container: container.to_owned(),
        containers: pod.containers.iter().map(|container| container.name.clone()).collect(),
    };
    match wanted {
        Some(name) if pod.containers.iter().any(|container| container.name == name) => Ok(name.to_owned()),
        Some(name) => Err(none(name)),
        None => {
            // As kubectl does: the first one that is not an init container.
            let first = pod.containers.iter().find(|container| !container.init);
            first.map(|container| container.name.clone()).ok_or_else(|| none(""))
        }
    }
}

fn on_disk(paths: &Paths, options: &LogOptions) -> Result<(String, String), EngineError> {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    let logs = paths.state().join("logs");
    let pods: Vec<_> = names(&logs).into_iter().filter(|name| logs.join(name).is_dir()).collect();
    let target = options.target.rsplit('/').next().unwrap_or_default();
    let pod = pods
        .iter()
        .find(|pod| *pod == target)
        .or_else(|| pods.iter().find(|pod| pod.starts_with(&format!("{target}-"))))
        .ok_or_else(|| EngineError::NoSuchPod { name: options.target.clone(), pods: pods.clone() })?;
    let containers: Vec<_> = names(&logs.join(pod))
        .into_iter()
        .filter(|name| !name.ends_with(".previous.log"))
        .filter_map(|name| name.strip_suffix(".log").map(str::to_owned))
        .collect();
    let none = |container: &str| EngineError::NoSuchContainer {
        pod: pod.clone(),
        container: container.to_owned(),
        containers: containers.clone(),
    };
    match (&options.container, containers.as_slice()) {
        (Some(name), all) if all.contains(name) => Ok((pod.clone(), name.clone())),
        (Some(name), _) => Err(none(name)),
        (None, [only]) => Ok((pod.clone(), only.clone())),
        (None, _) => Err(none("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ContainerStatus;

    fn pod(name: &str, owner: &str) -> PodStatus {
        let container = |name: &str, init: bool| ContainerStatus {
            name: name.into(),
            id: None,
            init,
            state: "Running".into(),
            ready: true,
            restarts: 0,
            exit_status: None,
            message: None,
            started_after_ms: None,
            ready_after_ms: None,
        };
        PodStatus {
            name: name.into(),
            owner: owner.into(),
            ready: "1/1".into(),
            is_ready: true,
            status: "Running".into(),
            restarts: 0,
            age_seconds: 0,
            ip: None,
            node: String::new(),
            identity: String::new(),
            reason: None,
            containers: vec![container("mesh", true), container("main", false)],
        }
    }

    #[test]
    fn a_log_is_found_by_pod_or_workload() {
        let pods = [pod("coordinator-0", "statefulset/coordinator"), pod("web-abc-xyz", "deployment/web")];
        for target in ["web-abc-xyz", "pod/web-abc-xyz", "deployment/web", "deploy/web", "web"] {
            assert_eq!(find(&pods, target).unwrap().name, "web-abc-xyz", "{target}");
        }
        assert_eq!(find(&pods, "sts/coordinator").unwrap().name, "coordinator-0");
        for target in ["", "w", "statefulset/web", "nothing"] {
            assert!(matches!(find(&pods, target), Err(EngineError::NoSuchPod { .. })), "{target}");
        }
    }

    #[test]
    fn the_container_may_be_left_out() {
        let pod = pod("web", "deployment/web");
        assert_eq!(container_of(&pod, None).unwrap(), "main");
        assert_eq!(container_of(&pod, Some("mesh")).unwrap(), "mesh");
        let error = container_of(&pod, Some("x")).unwrap_err();
        assert_eq!(error.hint().unwrap(), "containers: mesh, main");
    }
}
