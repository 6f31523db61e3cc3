//! The page of first registers of a vCPU (VMSA): AMD64 Architecture Programmer's Manual, volume 2, table B-4; the values
//! are those that KVM and QEMU leave after a reset (table 14-1, "Initial Processor State"), or EC2's.

use super::chain::PAGE;
use super::machine::{Machine, Vmm};

/// Where the boot processor starts.
pub(super) const BSP_RESET: u32 = 0xffff_fff0;

/// What VMMs do not agree about.
struct Habits {
    cs: u16,
    ss: u16,
    tr: u16,
    edx: u64,
    mxcsr: u32,
    fcw: u16,
}

fn habits(eip: u32, machine: &Machine) -> Habits {
    match machine.vmm {
        Vmm::Qemu => {
            Habits { cs: 0x9b, ss: 0x93, tr: 0x8b, edx: u64::from(machine.vcpu.signature()), mxcsr: 0x1f80, fcw: 0x37f }
        }
        Vmm::Ec2 => Habits {
            // Its application processors start with the code segment marked as accessed, its boot processor not.
            cs: if eip == BSP_RESET { 0x9a } else { 0x9b },
            ss: 0x92,
            tr: 0x83,
            edx: 0,
            mxcsr: 0,
            fcw: 0,
        },
    }
}

/// The page for a vCPU that starts at `eip`.
pub(super) fn page(eip: u32, machine: &Machine) -> [u8; PAGE] {
    let habits = habits(eip, machine);
    let mut page = Page([0; PAGE]);
    // Segments at 00h to 90h, 16 bytes each: selector, attributes, limit, base.
    page.segment(0x00, 0, 0x93, 0xffff, 0); // ES
    page.segment(0x10, 0xf000, habits.cs, 0xffff, eip & 0xffff_0000); // CS
    page.segment(0x20, 0, habits.ss, 0xffff, 0); // SS
    page.segment(0x30, 0, 0x93, 0xffff, 0); // DS
    page.segment(0x40, 0, 0x93, 0xffff, 0); // FS
    page.segment(0x50, 0, 0x93, 0xffff, 0); // GS
    page.segment(0x60, 0, 0, 0xffff, 0); // GDTR
    page.segment(0x70, 0, 0x82, 0xffff, 0); // LDTR
    page.segment(0x80, 0, 0, 0xffff, 0); // IDTR
    page.segment(0x90, 0, habits.tr, 0xffff, 0); // TR
    page.quad(0x0d0, 0x1000); // EFER: SVME, which the hardware demands
    page.quad(0x148, 0x40); // CR4: MCE
    page.quad(0x158, 0x10); // CR0: ET
    page.quad(0x160, 0x400); // DR7
    page.quad(0x168, 0xffff_0ff0); // DR6
    page.quad(0x170, 0x2); // RFLAGS
    page.quad(0x178, u64::from(eip & 0xffff)); // RIP
    page.quad(0x268, 0x0007_0406_0007_0406); // PAT
    page.quad(0x310, habits.edx); // RDX
    page.quad(0x3b0, machine.features.0); // SEV_FEATURES
    page.quad(0x3e8, 0x1); // XCR0
    page.put(0x408, &habits.mxcsr.to_le_bytes()); // MXCSR
    page.put(0x410, &habits.fcw.to_le_bytes()); // x87 control word
    page.0
}

struct Page([u8; PAGE]);

impl Page {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        // PANIC-FREE: every offset above is far inside the page.
        if let Some(place) = self.0.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn quad(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn segment(&mut self, at: usize, selector: u16, attributes: u16, limit: u32, base: u32) {
        let bytes = [
            selector.to_le_bytes().as_slice(),
            &attributes.to_le_bytes(),
            &limit.to_le_bytes(),
            &u64::from(base).to_le_bytes(),
        ]
        .concat();
        self.put(at, &bytes);
    }
}
