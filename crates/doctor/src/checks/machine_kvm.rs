//! Guests need KVM.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let machine = bundle.machine()?;
    if machine.devices.iter().any(|device| device == "/dev/kvm") {
        return Ok(());
    }
    let has = |flag: &str| machine.flags.iter().any(|have| have == flag);
    let finding = Finding::problem(Subject::named("Machine", None, ""), "This machine cannot run virtual machines.");
    out.push(if has("hypervisor") && !has("svm") && !has("vmx") {
        finding
            .why("there is no /dev/kvm: this is a virtual machine itself, without nested virtualisation")
            .mend("use a bare-metal machine, or an instance type with nested virtualisation")
    } else if has("svm") || has("vmx") {
        finding
            .why("there is no /dev/kvm although the processor can: the module is not loaded")
            .mend("load it")
            .run(if has("svm") { "modprobe kvm_amd" } else { "modprobe kvm_intel" })
    } else {
        finding
            .why("there is no /dev/kvm, and the processor does not show svm or vmx")
            .mend("switch virtualisation on in the firmware's setup (SVM Mode, Intel VMX)")
    });
    Ok(())
}
