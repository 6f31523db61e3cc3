//! The fields of Kata's requests that the agent acts on. Unknown fields are left alone here: whether they may be there
//! is the policy's business, and by the time these are read it has decided.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(super) struct Storage {
    pub(super) driver: String,
    #[serde(default)]
    pub(super) source: String,
    #[serde(default)]
    pub(super) options: Vec<String>,
    pub(super) mount_point: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CreateSandbox {
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) storages: Vec<Storage>,
    pub(super) sandbox_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CreateContainer {
    pub(super) container_id: String,
    #[serde(default)]
    pub(super) devices: Vec<Value>,
    #[serde(default)]
    pub(super) storages: Vec<Storage>,
    #[serde(rename = "OCI")]
    pub(super) oci: Oci,
    #[serde(default)]
    pub(super) sandbox_pidns: bool,
    #[serde(default)]
    pub(super) shared_mounts: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Oci {
    pub(super) process: Process,
    pub(super) root: Root,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) mounts: Vec<Mount>,
    #[serde(default)]
    pub(super) hooks: Option<Value>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) linux: Linux,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Process {
    #[serde(flatten)]
    pub(super) command: Command,
    #[serde(default)]
    pub(super) capabilities: Capabilities,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    #[serde(rename = "UID")]
    pub(super) uid: u32,
    #[serde(rename = "GID")]
    pub(super) gid: u32,
    #[serde(rename = "AdditionalGids", default)]
    pub(super) additional_gids: Vec<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Capabilities {
    pub(super) bounding: Vec<String>,
    pub(super) effective: Vec<String>,
    pub(super) inheritable: Vec<String>,
    pub(super) permitted: Vec<String>,
    pub(super) ambient: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Root {
    pub(super) path: String,
    #[serde(default)]
    pub(super) readonly: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Mount {
    pub(super) destination: String,
    #[serde(default)]
    pub(super) source: String,
    #[serde(rename = "type_", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Linux {
    pub(super) sysctl: BTreeMap<String, String>,
    pub(super) resources: Resources,
    pub(super) devices: Vec<Value>,
    pub(super) masked_paths: Vec<String>,
    pub(super) readonly_paths: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    #[serde(rename = "Memory")]
    pub(super) memory: Option<Memory>,
    #[serde(rename = "CPU")]
    pub(super) cpu: Option<Cpu>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Memory {
    pub(super) limit: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Cpu {
    pub(super) shares: u64,
    pub(super) quota: i64,
    pub(super) period: u64,
}

/// A command in a container. It names no capabilities: it has those of the container.
#[derive(Debug, Deserialize)]
pub(super) struct ExecProcess {
    pub(super) container_id: String,
    pub(super) exec_id: String,
    pub(super) process: Command,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Command {
    #[serde(default)]
    pub(super) terminal: bool,
    pub(super) user: User,
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<String>,
    pub(super) cwd: String,
    #[serde(default)]
    pub(super) no_new_privileges: bool,
}

/// A request that names a container and perhaps a process in it.
#[derive(Debug, Deserialize)]
pub(super) struct OfContainer {
    pub(super) container_id: String,
    #[serde(default)]
    pub(super) exec_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Signal {
    pub(super) container_id: String,
    #[serde(default)]
    pub(super) exec_id: String,
    pub(super) signal: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadStream {
    pub(super) container_id: String,
    #[serde(default)]
    pub(super) len: u32,
}

#[derive(Debug, Deserialize)]
pub(super) struct CopyFile {
    pub(super) path: String,
    #[serde(default)]
    pub(super) file_size: u64,
    pub(super) file_mode: u32,
    #[serde(default)]
    pub(super) uid: u32,
    #[serde(default)]
    pub(super) gid: u32,
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(default)]
    pub(super) symlink_src: String,
}

/// LIMIT: containerd makes ids of 64 hex digits; runc takes no more than 1024 characters.
const MAX_ID: usize = 128;

/// Whether an id may be part of a path.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_ID
        && !id.starts_with('.')
        && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_path() {
        assert!(is_id("e0735049b06564545e5d65b9cb5ef0504ed9b5591b4c3ab224f650347745fdc8"));
        for id in ["", ".", "..", "a/b", "../a", "a b", "a\0", &"a".repeat(129)] {
            assert!(!is_id(id), "{id:?}");
        }
    }
}
