//! Whether KVM of this machine runs confidential guests. What is read is what `casemate-node features` reads.

use super::prelude::*;
use crate::bundle::Machine;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let machine = bundle.machine()?;
    let on = |name: &str| machine.parameters.get(name).is_some_and(|value| matches!(value.as_str(), "Y" | "y" | "1"));
    if on("kvm_amd.sev_snp") || on("kvm_intel.tdx") {
        return Ok(());
    }
    let guest = |device: &str| machine.devices.iter().any(|have| have == device);
    if guest("/dev/sev-guest") || guest("/dev/tdx_guest") {
        // It is a confidential guest itself, and need not run others.
        return Ok(());
    }
    let finding = Finding::problem(
        Subject::named("Machine", None, ""),
        "This machine does not run confidential guests (SEV-SNP or TDX).",
    );
    out.push(explain(machine, finding).run("casemate-node features   # says it for every feature"));
    Ok(())
}

fn explain(machine: &Machine, finding: Finding) -> Finding {
    let has = |flag: &str| machine.flags.iter().any(|have| have == flag);
    let known = |name: &str| machine.parameters.contains_key(name);
    let kernel = quote(&machine.kernel);
    match machine.vendor.as_str() {
        "AuthenticAMD" if !has("sev_snp") => finding
            .why("the processor does not show sev_snp")
            .mend("it must be an EPYC 7003 or newer, with SMEE, SEV and SNP on in the firmware's setup, and be no guest"),
        "AuthenticAMD" if !known("kvm_amd.sev_snp") => finding
            .why(format!("the processor has it, and kvm_amd of kernel {kernel} knows no parameter sev_snp"))
            .mend("use a kernel that is SNP-aware as a host: Linux 6.11 or newer, with kvm_amd loaded"),
        "AuthenticAMD" => finding
            .why("kvm_amd has sev_snp off")
            .mend("switch on SNP memory coverage in the firmware's setup, and the IOMMU; then start again")
            .run("dmesg | grep -i -e sev -e rmp"),
        "GenuineIntel" if !known("kvm_intel.tdx") => finding
            .why(format!("kvm_intel of kernel {kernel} knows no parameter tdx"))
            .mend("use a kernel that is TDX-aware as a host: Linux 6.16 or newer, with kvm_intel loaded"),
        "GenuineIntel" => finding
            .why("kvm_intel has tdx off")
            .mend("switch on TDX and TME-MT in the firmware's setup, and add `kvm_intel.tdx=1` to the kernel's command line")
            .run("dmesg | grep -i tdx"),
        _ => finding
            .why("the processor is neither AMD's nor Intel's")
            .mend("use a machine with AMD EPYC 7003 or newer, or Intel Xeon of the 4th generation or newer"),
    }
}
