use super::*;
use crate::cmdline::command_line;

/// As the release's are, without comments and without what does not matter here.
const SNP: &str = r#"# Kata's own words
[hypervisor.qemu]
path = "/opt/kata/bin/qemu-system-x86_64-snp-experimental"
kernel = "/opt/kata/share/kata-containers/vmlinuz-confidential.container"
image = "/opt/kata/share/kata-containers/kata-containers-confidential.img"
# image = "commented out"
rootfs_type = "ext4"
confidential_guest = true
sev_snp_guest = true
enable_annotations = ["kernel_params", "cc_init_data"]
kernel_params = "cgroup_no_v1=all"
kernel_verity_params = "root_hash=f211b9f1921ef726d57a72bf82be23a510076639fa8549ade10f85e214e0ddb4,salt=065c13dfb5b4e0af034685aa5442bddda47b17c182ee44ba55a373835d18a038,data_blocks=92041,data_block_size=4096,hash_block_size=4096"
firmware = "/opt/kata/share/ovmf/AMDSEV.fd"
block_device_driver = "virtio-scsi"
disable_image_nvdimm = true
disable_guest_selinux = true
enable_debug = false

[agent.kata]
enable_debug = false
debug_console_enabled = false
launch_process_timeout = 6

[runtime]
name = "virt_container"
"#;

fn rust() -> String {
    SNP.replace("[runtime]\n", "[runtime]\nhypervisor_name = \"qemu\"\n")
        .replace("disable_image_nvdimm = true", "vm_rootfs_driver = \"virtio-blk-pci\"")
        + "\n[[hypervisor.qemu.guest_extension_images]]\nname = \"coco\"\npath = \"/opt/kata/share/kata-containers/coco.img\"\n\
           verity_params = \"root_hash=aa\"\n"
}

const NAME: &str = "configuration-qemu-snp.toml";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(NAME, text.as_bytes())
}

#[test]
fn a_configuration_is_read() {
    let config = parse(SNP).unwrap();
    assert_eq!((config.tee, config.runtime), (Tee::Snp, Runtime::Go));
    assert_eq!(config.verity.as_ref().unwrap().blocks, 92_041);
    assert_eq!(config.firmware, "/opt/kata/share/ovmf/AMDSEV.fd");
    let config = parse(&rust()).unwrap();
    assert_eq!(config.runtime, Runtime::Rust);
    assert_eq!(config.extensions[0].name, "coco");
    let tdx = SNP.replace("sev_snp_guest = true", "");
    assert_eq!(Config::parse("configuration-qemu-tdx.toml", tdx.as_bytes()).unwrap().tee, Tee::Tdx);
}

#[test]
fn the_command_lines_are_those_of_the_two_runtimes() {
    let table = "dm-mod.create=\"dm-verity,,,ro,0 736328 verity 1 /dev/vda1 /dev/vda2 4096 4096 92041 0 sha256 \
                 f211b9f1921ef726d57a72bf82be23a510076639fa8549ade10f85e214e0ddb4 \
                 065c13dfb5b4e0af034685aa5442bddda47b17c182ee44ba55a373835d18a038\" root=/dev/dm-0 \
                 rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4";
    let go = format!(
        "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 i8042.noaux=1 \
         noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 pci=lastbus=0 {table} console=hvc0 console=hvc1 quiet \
         systemd.show_status=false panic=1 selinux=0 systemd.unit=kata-containers.target \
         systemd.mask=systemd-networkd.service systemd.mask=systemd-networkd.socket scsi_mod.scan=none \
         agent.launch_process_timeout=6 cgroup_no_v1=all"
    );
    assert_eq!(command_line(&parse(SNP).unwrap()).unwrap(), go);
    let rust_line = format!(
        "reboot=k panic=1 systemd.unit=kata-containers.target systemd.mask=systemd-networkd.service \
         systemd.mask=systemd-networkd.socket {table} agent.cdh_api_timeout=50 agent.launch_process_timeout=6 \
         cgroup_no_v1=all selinux=0 kata.extension.coco.verity_params=root_hash=aa"
    );
    assert_eq!(command_line(&parse(&rust()).unwrap()).unwrap(), rust_line);
}

#[test]
fn every_setting_that_the_runtimes_put_into_the_line_is_in_it() {
    for (from, to, expected) in [
        (
            "enable_debug = false\n\n",
            "enable_debug = true\n\n",
            " debug systemd.show_status=true systemd.log_level=debug panic=1",
        ),
        ("disable_guest_selinux = true", "disable_guest_selinux = false", " selinux=1 "),
        ("\"virtio-scsi\"", "\"virtio-blk\"", "systemd-networkd.socket agent.launch_process_timeout=6"),
        ("disable_image_nvdimm = true", "enable_iommu = true", "pci=lastbus=0 intel_iommu=on iommu=pt dm-mod"),
        ("disable_image_nvdimm = true", "use_legacy_serial = true", " console=ttyS0 quiet"),
        ("launch_process_timeout = 6", "cdh_api_timeout = 60", " agent.cdh_api_timeout=60 cgroup"),
        ("launch_process_timeout = 6", "visible_cdi_devices = true", " agent.visible_cdi_devices=true cgroup"),
        ("launch_process_timeout = 6", "enable_tracing = true", " agent.trace=true cgroup"),
        ("launch_process_timeout = 6", "container_pipe_size = 7", " agent.container_pipe_size=7 cgroup"),
    ] {
        let text = SNP.replacen(from, to, 1);
        assert_ne!(text, SNP, "{from}");
        let line = command_line(&parse(&text).unwrap()).unwrap();
        assert!(line.contains(expected), "{to}: {line}");
    }
}

#[test]
fn a_setting_that_opens_the_guest_is_one_named_error() {
    for (from, to, expected) in [
        ("[hypervisor.qemu]", "[hypervisor.clh]", "`[hypervisor.qemu]` is missing"),
        ("[hypervisor.qemu]", "[hypervisor.qemu", "no TOML"),
        ("confidential_guest = true", "confidential_guest = false", "`confidential_guest` is false"),
        ("confidential_guest = true", "confidential_guest = 1", "`confidential_guest` is no true or false"),
        ("sev_snp_guest = true", "", "`sev_snp_guest` is false"),
        ("kernel = ", "vmlinux = ", "`kernel` is missing"),
        ("kernel = \"", "kernel = 1 # \"", "`kernel` is no text"),
        ("firmware = ", "initrd = ", "`initrd` is "),
        ("debug_console_enabled = false", "debug_console_enabled = true", "gives the host a shell"),
        ("cgroup_no_v1=all", "agent.debug_console", "hands the guest to its host"),
        ("cgroup_no_v1=all", "x agent.policy_file=/tmp/p", "hands the guest to its host"),
        ("cgroup_no_v1=all", "init=/bin/sh", "hands the guest to its host"),
        ("data_blocks=92041", "data_blocks=0", "`kernel_verity_params`"),
    ] {
        let text = SNP.replacen(from, to, 1);
        assert_ne!(text, SNP, "{from}");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let extension = rust().replace("verity_params = \"root_hash=aa\"", "");
    assert!(parse(&extension).unwrap_err().to_string().contains("what is not measured"));
    assert!(Config::parse("configuration-qemu-tdx.toml", SNP.as_bytes()).is_err(), "SNP under TDX's name");
    for (from, to, expected) in [
        ("\"ext4\"", "\"btrfs\"", "`rootfs_type` is btrfs"),
        ("\"virtio-blk-pci\"", "\"virtio-pmem\"", "`vm_rootfs_driver` is virtio-pmem"),
        ("launch_process_timeout = 6", "mem_agent = { enable = true }", "`mem_agent.enable`"),
        ("kernel_verity_params =", "kernel_verity =", "`kernel_verity_params` is missing"),
    ] {
        let text = rust().replacen(from, to, 1);
        assert_ne!(text, rust(), "{from}");
        let error = command_line(&parse(&text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn four_lines_change_and_no_other() {
    let verity = Verity { root: [1; 32], salt: vec![2; 32], blocks: 7 };
    for text in [SNP.to_owned(), rust()] {
        let config = parse(&text).unwrap().with_image("/opt/kata/new.img", &verity, "a=b c").unwrap();
        let changed: Vec<(&str, &str)> =
            text.lines().zip(config.text().lines()).filter(|(old, new)| old != new).collect();
        assert_eq!(changed.len(), 4, "{changed:?}");
        assert_eq!(text.lines().count(), config.text().lines().count());
        let again = parse(config.text()).unwrap();
        assert_eq!(again, config);
        assert_eq!((again.image.as_str(), again.rootfs_type.as_str()), ("/opt/kata/new.img", "erofs"));
        assert_eq!(again.verity.unwrap(), verity);
        assert!(command_line(&config).unwrap().contains("rootflags=ro rootfstype=erofs"));
    }
}

#[test]
fn a_line_that_is_missing_is_added_and_one_that_stands_twice_is_not_guessed() {
    let verity = Verity { root: [1; 32], salt: vec![2; 32], blocks: 7 };
    let without = SNP.replace("rootfs_type = \"ext4\"\n", "");
    let config = parse(&without).unwrap().with_image("/opt/kata/new.img", &verity, "").unwrap();
    assert_eq!(parse(config.text()).unwrap().rootfs_type, "erofs");
    // In a text of several lines a line can look like another one.
    let hidden = SNP.replace("enable_debug = false\n\n", "note = '''\nimage = 1\n'''\n\n");
    let error = parse(&hidden).unwrap().with_image("/opt/kata/new.img", &verity, "").unwrap_err();
    assert_eq!(error, ConfigError::Edit { key: "image", times: 2 });
    let error = parse(SNP).unwrap().with_image("/opt/kata/new.img", &verity, "init=/bin/sh").unwrap_err();
    assert!(error.to_string().contains("hands the guest"), "{error}");
}
