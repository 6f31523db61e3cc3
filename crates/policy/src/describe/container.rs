//! One container: what it is, what it runs, and where what it reads comes from.

use std::collections::BTreeMap;

use protocol::initdata::Settings;
use serde::Serialize;
use serde_json::{Value, json};

use super::data::Fields;
use super::{Access, DescribeError};
use crate::generate::{FILES_PREFIX, INITIALIZER, LAUNCHER, SHARED_VOLUME};
use crate::request::COPIED_PREFIX;

/// Where volumes in guest memory lie.
const MEMORY: &str = "/run/kata-containers/sandbox/ephemeral/";
/// Where volumes on the guest's own disk lie.
const LOCAL: &str = "/run/kata-containers/shared/containers/$(sandbox)/rootfs/local/";
const ROOT: &str = "/run/kata-containers/$(cid)/rootfs";
const SHM: &str = "/run/kata-containers/sandbox/shm";
const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";
const CONTAINER_NAME: &str = "io.kubernetes.cri.container-name";

/// One container.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image that the guest pulls.
    pub image: Option<String>,
    /// Other names by which the host may ask for it.
    pub image_also: Vec<String>,
    /// Whether `args` begin with our launcher, which waits for the initializer and then runs the rest.
    pub launched: bool,
    /// What is executed, word for word, the launcher included.
    pub args: Vec<String>,
    /// Where.
    pub cwd: String,
    /// As whom.
    pub user: User,
    /// With which variables.
    pub env: Vec<Environment>,
    /// Powers beyond those of an ordinary process.
    pub capabilities: Vec<String>,
    /// Whether it can gain none.
    pub no_new_privileges: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether its root file system stays as it is.
    pub readonly_root: bool,
    /// Whether the host may signal it.
    pub signals: bool,
    /// Commands that the host may run in it, word for word.
    pub exec: Vec<Vec<String>>,
    /// Whether the host may run other commands in it.
    pub exec_access: Access,
    /// What it sees besides its image.
    pub mounts: Vec<Mount>,
    /// Annotations that reach the agent with it.
    pub annotations: BTreeMap<String, Value>,
    /// Storages that belong to no mount.
    pub storages: Vec<Value>,
}

/// User and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// The user.
    pub uid: u64,
    /// Its group.
    pub gid: u64,
    /// All its groups.
    pub groups: Vec<u64>,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Its value; absent where the cluster alone knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the cluster's value is: `hostname`, `pod-name`, `pod-uid`, `node-name`, `ip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Who supplies what is in a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supplier {
    /// The guest's kernel.
    Kernel,
    /// The pod itself, in guest memory; empty at the start.
    Memory,
    /// The pod itself, on whatever disk the guest has; empty at the start.
    Guest,
    /// The initializer: certificate, key and secrets.
    Initializer,
    /// The initializer, which compared it with digests in the initdata.
    Checked,
    /// The host, for the initializer to compare with digests.
    Compared,
    /// The host: nothing vouches for it.
    Host,
    /// This release does not know.
    Unknown,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mount {
    /// Where.
    pub destination: String,
    /// By whom.
    pub supplied_by: Supplier,
    /// Name of the volume, or of the host's file.
    pub volume: Option<String>,
    /// Whether it stays as it is.
    pub read_only: bool,
    /// Other containers that may write it.
    pub writers: Vec<String>,
    /// As the agent gets it.
    pub source: String,
    /// The type.
    pub kind: String,
    /// The options.
    pub options: Vec<String>,
    /// The storage behind it.
    pub storage: Option<Value>,
}

/// Reads one record.
pub(super) fn read(
    name: &str,
    mut record: Fields,
    shared: &[Value],
    rules_name_pause: bool,
    unknown: &mut BTreeMap<String, Value>,
) -> Result<Container, DescribeError> {
    let path = if name == "pause" { name.to_owned() } else { format!("containers.{name}") };
    let wrong = |key: &str, expected| DescribeError::Field { path: format!("{path}.{key}"), expected };
    let kind = record.text("type")?;
    if kind != if name == "pause" { "sandbox" } else { "container" } {
        unknown.insert(format!("{path}.type"), Value::String(kind));
    }
    let mut annotations: BTreeMap<String, Value> =
        record.take("annotations", "an object")?.as_object().cloned().unwrap_or_default().into_iter().collect();
    if annotations.get(CONTAINER_NAME).and_then(Value::as_str) == Some(name) {
        annotations.remove(CONTAINER_NAME);
    }
    let args = record.texts("args")?;
    let mut user = Fields::new(&record.take("user", "an object")?, &format!("{path}.user"))?;
    let number = |value: Option<Value>| value.and_then(|value| value.as_u64());
    let uid = number(user.optional("UID")).ok_or_else(|| wrong("user.UID", "a number"))?;
    let gid = number(user.optional("GID")).ok_or_else(|| wrong("user.GID", "a number"))?;
    let groups = user.take("AdditionalGids", "a list")?;
    let groups = groups.as_array().into_iter().flatten().map(Value::as_u64).collect::<Option<Vec<_>>>();
    let groups = groups.ok_or_else(|| wrong("user.AdditionalGids", "a list of numbers"))?;
    user.rest(unknown);

    let mut env = Vec::new();
    for variable in record.texts("env")? {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        env.push(Environment { name: name.to_owned(), value: Some(value.to_owned()), from: None });
    }
    for (name, from) in record.take("env_from", "an object")?.as_object().into_iter().flatten() {
        let from = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
        env.push(Environment { name: name.clone(), value: None, from: Some(from) });
    }

    let mut storages = record.take("storages", "a list")?.as_array().cloned().unwrap_or_default();
    let is_image = |storage: &Value| storage["driver"] == "image_guest_pull" && storage["mount_point"] == ROOT;
    let image = storages.iter().position(is_image).map(|index| {
        let usual = json!({
            "driver": "image_guest_pull", "source": storages[index]["source"], "fstype": "overlay", "options": [],
            "mount_point": ROOT,
        });
        // One with anything else in it is named twice: as the image, and as what it is.
        if storages[index] == usual { storages.remove(index) } else { storages[index].clone() }
    });
    let mut image = image.and_then(|image| image["source"].as_str().map(str::to_owned));
    let mut image_also = Vec::new();
    if let Some(images) = record.optional("images") {
        let names = images.as_array().into_iter().flatten().map(|name| name.as_str().map(str::to_owned));
        let names: Vec<_> = names.collect::<Option<_>>().ok_or_else(|| wrong("images", "a list of text"))?;
        // The storage then stands for whichever of the names the host chose.
        image = image.filter(|image| image != "$(image)");
        image_also = names.into_iter().filter(|name| image.as_ref() != Some(name)).collect();
        if image.is_none() && !image_also.is_empty() {
            image = Some(image_also.remove(0));
        }
    } else if image.is_none() && name == "pause" && rules_name_pause {
        image = Some(name.to_owned());
    }
    if image.as_deref().is_some_and(|image| annotations.get(IMAGE_NAME).and_then(Value::as_str) == Some(image)) {
        annotations.remove(IMAGE_NAME);
    }
    let own = record.take("mounts", "a list")?;
    let mut mounts = Vec::new();
    for mount in shared.iter().chain(own.as_array().into_iter().flatten()) {
        mounts.push(read_mount(mount, &path, &mut storages, unknown)?);
    }

    let (exec, exec_access) = read_exec(record.optional("exec"), &path, unknown);
    let container = Container {
        name: name.to_owned(),
        image,
        image_also,
        launched: args.first().is_some_and(|first| first == LAUNCHER),
        args,
        cwd: record.text("cwd")?,
        user: User { uid, gid, groups },
        env,
        capabilities: record.texts("capabilities")?,
        no_new_privileges: record.flag("no_new_privileges")?,
        terminal: record.flag("terminal")?,
        readonly_root: record.flag("readonly_root")?,
        signals: false,
        exec,
        exec_access,
        mounts,
        annotations,
        storages,
    };
    record.rest(unknown);
    Ok(container)
}

/// Commands are lists of words; one command may stand alone. Anything else is handed on.
fn read_exec(value: Option<Value>, path: &str, unknown: &mut BTreeMap<String, Value>) -> (Vec<Vec<String>>, Access) {
    let words = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let Some(value) = value else { return (Vec::new(), Access::Closed) };
    let commands: Option<Vec<Vec<String>>> = value.as_array().and_then(|all| all.iter().map(words).collect());
    match commands {
        Some(commands) => (commands, Access::Closed),
        None => {
            unknown.insert(format!("{path}.exec"), value);
            (Vec::new(), Access::Rules)
        }
    }
}

fn read_mount(
    mount: &Value,
    path: &str,
    storages: &mut Vec<Value>,
    unknown: &mut BTreeMap<String, Value>,
) -> Result<Mount, DescribeError> {
    let mut fields = Fields::new(mount, &format!("{path}.mounts"))?;
    let (destination, source) = (fields.text("destination")?, fields.text("source")?);
    let (kind, options) = (fields.text("type_")?, fields.texts("options")?);
    let mut rest = BTreeMap::new();
    fields.rest(&mut rest);
    unknown.extend(rest.into_iter().map(|(key, value)| (format!("{key} of {destination}"), value)));
    let storage = storages.iter().position(|storage| storage["mount_point"] == source.as_str());
    let storage = storage.map(|index| storages.remove(index));
    let copied = source.strip_prefix(COPIED_PREFIX).and_then(|rest| rest.strip_prefix("$(cid)-$(rand)-"));
    let in_memory = source.strip_prefix(MEMORY).filter(|name| !name.contains('/'));
    let local = source.strip_prefix(LOCAL).filter(|name| !name.contains('/'));
    let behind = |driver: &str, fstype: &str| {
        storage.as_ref().is_some_and(|storage| storage["driver"] == driver && storage["fstype"] == fstype)
    };
    let (supplied_by, volume) = match (kind.as_str(), source.as_str()) {
        ("proc", "proc") | ("devpts", "devpts") | ("mqueue", "mqueue") | ("sysfs", "sysfs") | ("cgroup", "cgroup") => {
            (Supplier::Kernel, None)
        }
        ("tmpfs", "tmpfs") | ("bind", SHM) => (Supplier::Memory, None),
        ("bind", _) if copied.is_some() => (Supplier::Host, copied),
        ("bind", _) if in_memory.is_some() && behind("ephemeral", "tmpfs") => (Supplier::Memory, in_memory),
        ("bind", _) if local.is_some() && behind("local", "local") => (Supplier::Guest, local),
        _ => (Supplier::Unknown, None),
    };
    Ok(Mount {
        destination,
        supplied_by,
        volume: volume.map(str::to_owned),
        read_only: options.iter().any(|option| option == "ro"),
        writers: Vec::new(),
        kind,
        options,
        storage,
        source,
    })
}

/// What one container alone does not show: who else writes into what it reads.
pub(super) fn connect(containers: &mut [Container], signals: &[String]) {
    let writes: Vec<(String, String)> = containers
        .iter()
        .flat_map(|container| container.mounts.iter().map(move |mount| (container, mount)))
        .filter(|(_, mount)| !mount.read_only && mount.volume.is_some())
        .filter(|(_, mount)| matches!(mount.supplied_by, Supplier::Memory | Supplier::Guest))
        .map(|(container, mount)| (container.name.clone(), mount.source.clone()))
        .collect();
    for container in containers {
        container.signals = signals.contains(&container.name);
        for mount in &mut container.mounts {
            let others = writes.iter().filter(|(name, source)| *source == mount.source && *name != container.name);
            mount.writers = others.map(|(name, _)| name.clone()).collect();
            // Under any name but its own, or with another writer beside our two, it is the pod's and nothing more.
            let ours = |name: &String| name == INITIALIZER || name == crate::generate::MESH;
            let written_by_us = mount.writers.iter().any(|name| name == INITIALIZER) && mount.writers.iter().all(ours);
            if mount.supplied_by != Supplier::Memory || !mount.read_only || !written_by_us {
                continue;
            }
            match mount.volume.as_deref() {
                Some(SHARED_VOLUME) => mount.supplied_by = Supplier::Initializer,
                Some(name) if name.starts_with(FILES_PREFIX) => mount.supplied_by = Supplier::Checked,
                _ => {}
            }
        }
    }
}

/// A volume of which the initdata has no digests was compared with none.
pub(super) fn check_files(containers: &mut [Container], settings: &Settings) {
    for container in containers {
        for mount in &mut container.mounts {
            let volume = mount.volume.as_deref().unwrap_or_default();
            let copy = volume.strip_prefix(FILES_PREFIX).unwrap_or_default();
            if mount.supplied_by == Supplier::Checked && !settings.files.contains_key(copy) {
                mount.supplied_by = Supplier::Memory;
            }
            let given = container.name == INITIALIZER && mount.destination == format!("/casemate-in/files/{volume}");
            if mount.supplied_by == Supplier::Host && given && settings.files.contains_key(volume) {
                mount.supplied_by = Supplier::Compared;
            }
        }
    }
}

/// What a capability lets a process do, in a few words.
pub fn power(capability: &str) -> &'static str {
    match capability.trim_start_matches("CAP_") {
        "AUDIT_CONTROL" => "switch the kernel's audit on and off",
        "AUDIT_READ" => "read the kernel's audit log",
        "AUDIT_WRITE" => "write to the kernel's audit log",
        "BLOCK_SUSPEND" => "keep the guest awake",
        "BPF" => "load programs into the guest's kernel",
        "CHECKPOINT_RESTORE" => "freeze and restore processes",
        "CHOWN" => "give files to other users",
        "DAC_OVERRIDE" => "read and write any file, whoever owns it",
        "DAC_READ_SEARCH" => "read any file, also outside of its mounts",
        "FOWNER" => "change modes of other users' files",
        "FSETID" => "keep set-user-id bits on files it changes",
        "IPC_LOCK" => "lock memory",
        "IPC_OWNER" => "use other users' shared memory",
        "KILL" => "signal any process that it sees",
        "LEASE" => "take leases on any file",
        "LINUX_IMMUTABLE" => "make files immutable",
        "MAC_ADMIN" => "change mandatory access control",
        "MAC_OVERRIDE" => "pass mandatory access control",
        "MKNOD" => "make device nodes",
        "NET_ADMIN" => "change the guest's network and its firewall",
        "NET_BIND_SERVICE" => "listen on ports below 1024",
        "NET_BROADCAST" => "send broadcasts",
        "NET_RAW" => "send and read raw packets",
        "PERFMON" => "watch all processes of the guest",
        "SETFCAP" => "give files capabilities",
        "SETGID" => "become any group",
        "SETPCAP" => "hand on its capabilities",
        "SETUID" => "become any user",
        "SYS_ADMIN" => "mount, enter namespaces, and most of what root can: the guest is its own",
        "SYS_BOOT" => "restart the guest, or load another kernel",
        "SYS_CHROOT" => "change its root directory",
        "SYS_MODULE" => "load kernel modules: the guest is its own",
        "SYS_NICE" => "raise priorities",
        "SYS_PACCT" => "switch process accounting",
        "SYS_PTRACE" => "read and change other processes' memory",
        "SYS_RAWIO" => "use hardware ports and memory: the guest is its own",
        "SYS_RESOURCE" => "pass limits on resources",
        "SYS_TIME" => "set the guest's clock",
        "SYS_TTY_CONFIG" => "configure terminals",
        "SYSLOG" => "read the kernel's log",
        "WAKE_ALARM" => "wake the guest",
        _ => "something that this release has no words for",
    }
}

impl Supplier {
    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kernel => "the guest's kernel",
            Self::Memory => "guest memory, empty at the start",
            Self::Guest => "the guest's own disk, empty at the start",
            Self::Initializer => "the initializer: certificate, key and secrets",
            Self::Checked => "the initializer, compared with digests",
            Self::Compared => "the host; the initializer compares it with digests",
            Self::Host => "THE HOST: nothing vouches for its content",
            Self::Unknown => "UNKNOWN: this release has no words for it",
        }
    }
}

impl std::fmt::Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.supplied_by.words())?;
        if self.supplied_by == Supplier::Unknown {
            write!(f, " ({} {})", self.kind, self.source)?;
        }
        // The initializer's own work is said in the words before.
        let said = matches!(self.supplied_by, Supplier::Initializer | Supplier::Checked);
        if !said && !self.writers.is_empty() {
            write!(f, ", also written by {}", self.writers.join(", "))?;
        }
        f.write_str(if self.read_only { "; read-only" } else { "; writable" })
    }
}

/// A command as one would type it: words of plain letters as they are, others quoted as in JSON.
pub fn words(args: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { Value::from(word.as_str()).to_string() }
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}
