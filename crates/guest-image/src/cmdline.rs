//! The kernel's command line, to the byte as Kata's runtimes write it: it is measured.
//!
//! Facts: kata-containers 4.1.0. In Go: `src/runtime/virtcontainers/{qemu,qemu_amd64,qemu_arch_base,hypervisor}.go`,
//! `src/runtime/pkg/katautils/{config,create}.go` and `virtcontainers/kata_agent.go`. In Rust: `src/runtime-rs/crates/hypervisor/src/`
//! `{kernel_param.rs,qemu/cmdline_generator.rs}` and `src/libs/kata-types/src/config/mod.rs`. Annotations of a pod that change
//! parameters, and a host in FIPS mode, make another line; evidence from one says which.

use crate::config::{Config, ConfigError, Runtime};
use crate::verity::BLOCK;

/// What the runtime in Go gives every guest of QEMU's on x86.
const GO: [&str; 12] = [
    "tsc=reliable",
    "no_timer_check",
    "rcupdate.rcu_expedited=1",
    "i8042.direct=1",
    "i8042.dumbkbd=1",
    "i8042.nopnp=1",
    "i8042.noaux=1",
    "noreplace-smp",
    "reboot=k",
    "cryptomgr.notests",
    "net.ifnames=0",
    "pci=lastbus=0",
];
/// What both give a guest that systemd starts.
const SYSTEMD: [&str; 3] = [
    "systemd.unit=kata-containers.target",
    "systemd.mask=systemd-networkd.service",
    "systemd.mask=systemd-networkd.socket",
];
/// What an agent in Rust waits for its components where nothing is said, in milliseconds.
const CDH_TIMEOUT: i64 = 50_000;

/// The command line of a configuration whose image is measured.
pub fn command_line(config: &Config) -> Result<String, ConfigError> {
    let root = root(config)?;
    let params = match config.runtime {
        Runtime::Go => go(config, root)?,
        Runtime::Rust => rust(config, root)?,
    };
    Ok(params.into_iter().filter(|param| !param.is_empty()).collect::<Vec<_>>().join(" "))
}

fn root(config: &Config) -> Result<Vec<String>, ConfigError> {
    let verity = config.verity.as_ref().ok_or(ConfigError::Missing { key: "kernel_verity_params" })?;
    let flags = match config.rootfs_type.as_str() {
        "ext4" => "data=ordered,errors=remount-ro ro",
        "erofs" | "xfs" => "ro",
        other => {
            let why = "the runtimes know ext4, erofs and xfs";
            return Err(ConfigError::Setting { key: "rootfs_type", value: other.to_owned(), why });
        }
    };
    if config.runtime == Runtime::Rust {
        let driver = config.hypervisor().text("vm_rootfs_driver")?;
        if driver.as_deref().is_some_and(|driver| driver != "virtio-blk-pci") {
            let why = "the root file system is measured as one on virtio-blk";
            return Err(ConfigError::Setting { key: "vm_rootfs_driver", value: driver.unwrap_or_default(), why });
        }
    }
    let sectors = verity.blocks * (BLOCK as u64 / 512);
    let table = format!(
        "dm-verity,,,ro,0 {sectors} verity 1 /dev/vda1 /dev/vda2 {BLOCK} {BLOCK} {} 0 sha256 {} {}",
        verity.blocks,
        hex::encode(verity.root),
        hex::encode(&verity.salt),
    );
    Ok(vec![
        format!("dm-mod.create=\"{table}\""),
        "root=/dev/dm-0".to_owned(),
        format!("rootflags={flags}"),
        format!("rootfstype={}", config.rootfs_type),
    ])
}

fn selinux(config: &Config) -> Result<String, ConfigError> {
    let off = config.hypervisor().flag("disable_guest_selinux")?;
    Ok(format!("selinux={}", i32::from(!off)))
}

fn extensions(config: &Config) -> impl Iterator<Item = String> {
    config.extensions.iter().map(|one| format!("kata.extension.{}.verity_params={}", one.name, one.verity))
}

/// A positive number as a parameter.
fn numbered(name: &str, number: Option<i64>) -> Option<String> {
    number.filter(|number| *number > 0).map(|number| format!("{name}={number}"))
}

fn go(config: &Config, root: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let (qemu, agent) = (config.hypervisor(), config.agent());
    let mut params: Vec<String> = GO.map(str::to_owned).to_vec();
    let mut add = |more: &[&str]| params.extend(more.iter().map(|param| (*param).to_owned()));
    if qemu.flag("enable_iommu")? {
        add(&["intel_iommu=on", "iommu=pt"]);
    }
    add(&root.iter().map(String::as_str).collect::<Vec<_>>());
    let serial = qemu.flag("use_legacy_serial")?;
    add(if serial { &["console=ttyS0"] } else { &["console=hvc0", "console=hvc1"] });
    add(if qemu.flag("enable_debug")? {
        &["debug", "systemd.show_status=true", "systemd.log_level=debug"]
    } else {
        &["quiet", "systemd.show_status=false"]
    });
    add(&["panic=1", &selinux(config)?]);
    add(&SYSTEMD);
    if qemu.text("block_device_driver")?.as_deref() == Some("virtio-scsi") {
        add(&["scsi_mod.scan=none"]);
    }
    if agent.flag("enable_debug")? {
        add(&["agent.log=debug"]);
    }
    if agent.flag("enable_tracing")? {
        add(&["agent.trace=true"]);
    }
    params.extend(numbered("agent.container_pipe_size", agent.number("container_pipe_size")?));
    params.extend(numbered("agent.cdh_api_timeout", agent.number("cdh_api_timeout")?));
    params.extend(numbered("agent.launch_process_timeout", agent.number("launch_process_timeout")?));
    if agent.flag("visible_cdi_devices")? {
        params.push("agent.visible_cdi_devices=true".to_owned());
    }
    params.extend(config.kernel_params.split_whitespace().map(str::to_owned));
    params.extend(extensions(config));
    Ok(params)
}

fn rust(config: &Config, root: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let agent = config.agent();
    let mut params: Vec<String> = vec!["reboot=k".to_owned(), "panic=1".to_owned()];
    params.extend(SYSTEMD.map(str::to_owned));
    if config.hypervisor().flag("enable_debug")? {
        params.push("agent.log_vport=1025".to_owned());
    }
    params.extend(root);
    if agent.inner("mem_agent").flag("enable")? || agent.inner("mem_agent").flag("mem_agent_enable")? {
        let why = "its parameters are not computed here";
        return Err(ConfigError::Setting { key: "mem_agent.enable", value: "true".to_owned(), why });
    }
    // In the order of their names, as the runtime keeps them.
    let timeout = agent.number("cdh_api_timeout_ms")?.unwrap_or(CDH_TIMEOUT);
    if timeout > 0 {
        params.push(format!("agent.cdh_api_timeout={}", timeout / 1000));
    }
    params.extend(numbered("agent.container_pipe_size", agent.number("container_pipe_size")?));
    params.extend(numbered("agent.launch_process_timeout", agent.number("launch_process_timeout")?));
    if agent.flag("enable_debug")? {
        params.push("agent.log=debug".to_owned());
    }
    if agent.flag("enable_tracing")? {
        params.push("agent.trace=true".to_owned());
    }
    if agent.flag("visible_cdi_devices")? {
        params.push("agent.visible_cdi_devices=true".to_owned());
    }
    params.extend(config.kernel_params.split_whitespace().map(str::to_owned));
    params.push(selinux(config)?);
    params.extend(extensions(config));
    Ok(params)
}
