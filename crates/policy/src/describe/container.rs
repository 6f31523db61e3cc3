//! One container: what it is, what it runs, and where what it reads comes from.

use std::collections::BTreeMap;

use protocol::initdata::Settings;
use serde::Serialize;
use serde_json::{Value, json};

use super::cluster::{self, Argument};
use super::data::{Constants, Fields};
use super::{Access, DescribeError};
use crate::generate::{FILES_PREFIX, INITDATA_FILE, INITIALIZER, LAUNCHER, SHARED_VOLUME};
use crate::policy_data::{VOLUME_TYPES, without_tag};
use crate::request::COPIED_PREFIX;

const SHM: &str = "/run/kata-containers/sandbox/shm";

/// What is not in the record of a container.
pub(super) struct Frame<'a> {
    pub(super) constants: &'a Constants,
    pub(super) volume_options: &'a Value,
    pub(super) annotations: &'a Value,
}

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
    /// Those of `args` that hold values of the cluster: `$(ip)` and its like stand for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args_from: Vec<Argument>,
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
    /// How many GPUs of the host it gets.
    pub gpus: u64,
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
}

impl Container {
    /// Where in `args` the container's own command begins, behind the launcher and what is the launcher's.
    pub fn own_command(&self) -> usize {
        let end = self.args.iter().position(|argument| argument == "--").filter(|_| self.launched);
        end.map_or(0, |end| end + 1)
    }
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
    /// What the cluster's value is: `hostname`, `pod-name`, `pod-uid`, `node-name`, `ip`, `ips`, `index`, or a pattern
    /// with these in it.
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
    /// The host, for our own program to compare with what the TEE was launched with.
    Launched,
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
    frame: &Frame<'_>,
    unknown: &mut BTreeMap<String, Value>,
) -> Result<Container, DescribeError> {
    let is_pause = name == "pause";
    let path = if is_pause { name.to_owned() } else { format!("containers.{name}") };
    let wrong = |key: &str, expected| DescribeError::Field { path: format!("{path}.{key}"), expected };
    let annotations = frame.annotations.as_object().cloned().unwrap_or_default().into_iter().collect();
    let mut args = record.texts("args")?;
    let args_from = record.optional("args_from").map(|from| cluster::arguments(&from, &mut args));
    let args_from = args_from.unwrap_or(Some(Vec::new()));
    let args_from = args_from.ok_or_else(|| wrong("args_from", "patterns by the places of arguments"))?;
    let user = record.take("user", "a list")?;
    let number = |value: &Value| value.as_u64();
    let groups = user[2].as_array().and_then(|groups| groups.iter().map(number).collect());
    let user = match (user.as_array().map(Vec::len), number(&user[0]), number(&user[1]), groups) {
        (Some(3), Some(uid), Some(gid), Some(groups)) => User { uid, gid, groups },
        _ => return Err(wrong("user", "a user, a group and a list of groups")),
    };

    let mut env = Vec::new();
    for variable in record.texts("env")? {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        env.push(Environment { name: name.to_owned(), value: Some(value.to_owned()), from: None });
    }
    for (name, from) in record.take("env_from", "an object")?.as_object().into_iter().flatten() {
        let from = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
        env.push(Environment { name: name.clone(), value: None, from: Some(from) });
    }

    let image = if is_pause { name.to_owned() } else { record.text("image")? };
    let image_also = without_tag(&image).into_iter().collect();
    let readonly_root = record.flag("readonly_root")?;
    let own = record.take("mounts", "a list")?;
    let of_kubelet = &frame.constants.mounts_of_kubelet[usize::from(readonly_root)];
    let of_kubelet = if is_pause { &Value::Null } else { of_kubelet };
    let mut mounts = Vec::new();
    for (index, row) in [&frame.constants.mounts_of_all, of_kubelet, &own].into_iter().flat_map(rows).enumerate() {
        let mount = read_mount(row, frame.volume_options);
        mounts.push(mount.ok_or_else(|| wrong(&format!("mounts[{index}]"), "a list of four texts"))?);
    }
    let capabilities = match record.optional("capabilities") {
        Some(Value::String(all)) if all == "default" => frame.constants.default_capabilities.clone(),
        Some(names) => names,
        None => Value::Null,
    };
    let capability = |name: &Value| name.as_str().map(|name| format!("CAP_{name}"));
    let capabilities = capabilities.as_array().and_then(|names| names.iter().map(capability).collect());

    let gpus =
        record.optional("gpus").map_or(Some(0), |gpus| gpus.as_u64()).ok_or_else(|| wrong("gpus", "a number"))?;
    let (exec, exec_access) = read_exec(record.optional("exec"), &path, unknown);
    let container = Container {
        name: name.to_owned(),
        image: Some(image),
        image_also,
        launched: args.first().is_some_and(|first| first == LAUNCHER),
        args,
        args_from,
        cwd: record.text("cwd")?,
        user,
        env,
        capabilities: capabilities.ok_or_else(|| wrong("capabilities", "`default` or a list of text"))?,
        no_new_privileges: record.flag("no_new_privileges")?,
        terminal: record.flag("terminal")?,
        readonly_root,
        gpus,
        signals: false,
        exec,
        exec_access,
        mounts,
        annotations,
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

fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Reads a mount as the rules write it: where, its type, its source or the name of its volume, its options.
fn read_mount(row: &Value, volume_options: &Value) -> Option<Mount> {
    let texts: Vec<_> = row.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    let [destination, of_mount, named, options] = texts.as_slice() else { return None };
    let mount = |supplied_by, volume: Option<&str>, source: String, kind: &str, options: Vec<String>| Mount {
        destination: (*destination).to_owned(),
        supplied_by,
        volume: volume.map(str::to_owned),
        read_only: options.iter().any(|option| option == "ro"),
        writers: Vec::new(),
        source,
        kind: kind.to_owned(),
        options,
        storage: None,
    };
    if let Some(of_type) = VOLUME_TYPES.iter().find(|known| known.name == *of_mount) {
        let supplied_by = match of_type.name {
            "memory" => Supplier::Memory,
            "local" => Supplier::Guest,
            _ => Supplier::Host,
        };
        let source = format!("{}{named}", of_type.at);
        let storage = of_type.storage.map(|(driver, kind)| {
            let options = &volume_options[of_type.name];
            json!({"driver": driver, "source": kind, "fstype": kind, "options": options, "mount_point": source})
        });
        let options = ["rbind", "rprivate", options].map(str::to_owned).to_vec();
        return Some(Mount { storage, ..mount(supplied_by, Some(named), source, "bind", options) });
    }
    let copied = named.strip_prefix("copied:");
    let supplied_by = match (*of_mount, *named) {
        ("proc", "proc") | ("devpts", "devpts") | ("mqueue", "mqueue") | ("sysfs", "sysfs") | ("cgroup", "cgroup") => {
            Supplier::Kernel
        }
        ("tmpfs", "tmpfs") | ("bind", SHM) => Supplier::Memory,
        ("bind", _) if copied.is_some() => Supplier::Host,
        _ => Supplier::Unknown,
    };
    let source = copied.map_or_else(|| (*named).to_owned(), |name| format!("{COPIED_PREFIX}$(cid)-$(rand)-{name}"));
    let options = options.split(',').map(str::to_owned).collect();
    Some(mount(supplied_by, copied, source, of_mount, options))
}

/// Whether a mount is the initdata of one of our own programs, which believes it only as the TEE reports it.
fn is_initdata(container: &Container, mount: &Mount) -> bool {
    let own = container.args.first().is_some_and(|program| program == "/casemate-pod");
    own && mount.supplied_by == Supplier::Host && mount.destination == INITDATA_FILE
}

/// Added, or written by hand under whatever name.
fn is_initializer(container: &Container) -> bool {
    container.name == INITIALIZER || container.args == ["/casemate-pod", "initializer"]
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
    // A hand-written initializer has a volume of another name.
    let initializer = containers.iter().find(|container| is_initializer(container));
    let home = initializer.and_then(|own| own.mounts.iter().find(|mount| mount.destination == "/casemate"));
    let home = home.and_then(|mount| mount.volume.clone()).unwrap_or_else(|| SHARED_VOLUME.to_owned());
    let initializer = initializer.map_or_else(|| INITIALIZER.to_owned(), |container| container.name.clone());
    for container in containers {
        container.signals = signals.contains(&container.name);
        let launched: Vec<bool> = container.mounts.iter().map(|mount| is_initdata(container, mount)).collect();
        for (mount, launched) in container.mounts.iter_mut().zip(launched) {
            if launched {
                mount.supplied_by = Supplier::Launched;
            }
            let others = writes.iter().filter(|(name, source)| *source == mount.source && *name != container.name);
            mount.writers = others.map(|(name, _)| name.clone()).collect();
            // Under any name but its own, or with another writer beside our two, it is the pod's and nothing more.
            let ours = |name: &String| *name == initializer || name == crate::generate::MESH;
            let written_by_us = mount.writers.contains(&initializer) && mount.writers.iter().all(ours);
            if mount.supplied_by != Supplier::Memory || !mount.read_only || !written_by_us {
                continue;
            }
            match mount.volume.as_deref() {
                Some(name) if name == home => mount.supplied_by = Supplier::Initializer,
                Some(name) if name.starts_with(FILES_PREFIX) => mount.supplied_by = Supplier::Checked,
                _ => {}
            }
        }
    }
}

/// A volume of which the initdata has no digests was compared with none.
pub(super) fn check_files(containers: &mut [Container], settings: &Settings) {
    for container in containers {
        // The launcher's own arguments name single files that it compares with those of a volume.
        let own = container.args.iter().take_while(|argument| *argument != "--").filter(|_| container.launched);
        let single: Vec<(String, String)> = own
            .filter_map(|argument| argument.split_once(':'))
            .filter_map(|(path, file)| Some((path.to_owned(), file.split_once('/')?.0.to_owned())))
            .collect();
        let initializes = is_initializer(container);
        for mount in &mut container.mounts {
            let volume = mount.volume.as_deref().unwrap_or_default();
            let compared = single.iter().find(|(path, _)| *path == mount.destination);
            if mount.supplied_by == Supplier::Host
                && compared.is_some_and(|(_, volume)| settings.files.contains_key(volume))
            {
                mount.supplied_by = Supplier::Compared;
                continue;
            }
            let copy = volume.strip_prefix(FILES_PREFIX).unwrap_or_default();
            if mount.supplied_by == Supplier::Checked && !settings.files.contains_key(copy) {
                mount.supplied_by = Supplier::Memory;
            }
            let given = initializes && mount.destination == format!("/casemate-in/files/{volume}");
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
            Self::Launched => "the host; compared with what the TEE reports of its launch",
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
