//! Without an IOMMU no device can be given to a guest, and SEV-SNP cannot be switched on.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let machine = bundle.machine()?;
    if machine.iommu_groups > 0 {
        return Ok(());
    }
    let off = machine.command_line.iter().find(|word| word.ends_with("iommu=off"));
    let guest = machine.flags.iter().any(|flag| flag == "hypervisor");
    let what = "The IOMMU is off: no device can be given to a guest, and SEV-SNP needs it.";
    let finding = Finding::problem(Subject::named("Machine", None, ""), what);
    out.push(match off {
        Some(word) => finding
            .why(format!("`{}` is on the kernel's command line", quote(word)))
            .mend("remove it from GRUB_CMDLINE_LINUX in /etc/default/grub, write GRUB's configuration, and start again")
            .run("update-grub"),
        None if guest => finding
            .why("there is no IOMMU group, and this is a virtual machine")
            .mend("use a bare-metal machine, or an instance whose hypervisor offers a virtual IOMMU"),
        None if machine.vendor == "GenuineIntel" => finding.why("there is no IOMMU group").mend(
            "switch VT-d on in the firmware's setup, and add `intel_iommu=on iommu=pt` to the kernel's command line",
        ),
        None => finding.why("there is no IOMMU group").mend("switch the IOMMU (AMD-Vi) on in the firmware's setup"),
    });
    Ok(())
}
