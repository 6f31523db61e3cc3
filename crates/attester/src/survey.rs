//! What else a machine shows of its TEE, for people: nothing is decided by it.

use nix::errno::Errno;

use crate::detect::Looked;
use crate::kernel::{Kernel, Node};
use crate::{ccel, tsm};

const PCI: &str = "/sys/bus/pci/devices";
/// LIMIT: one hexadecimal number.
const MAX_NUMBER: usize = 32;
/// NVIDIA's number among the makers of PCI devices.
const NVIDIA: u32 = 0x10de;

/// Everything that [`detect`](crate::detect()) does not need to know.
pub fn survey(kernel: &dyn Kernel) -> Vec<Looked> {
    let mut looked = Vec::new();
    if kernel.look(tsm::FOLDER) == Ok(Node::Folder) {
        looked.push(Looked::new(
            tsm::FOLDER,
            match tsm::privilege(kernel) {
                Ok(Some(level)) => {
                    format!("has reports of privilege level {level} and above: something runs below this guest")
                }
                Ok(None) => "has reports of every privilege level".to_owned(),
                Err(error) => format!("does not say at which privilege this guest is: {error}"),
            },
        ));
        if matches!(tsm::has_service(kernel), Ok(true)) {
            let found = "has attributes for services below this guest (SVSM); their own attestation carries no binding, and is not used";
            looked.push(Looked::new(tsm::FOLDER, found));
        }
    }
    looked.push(Looked::new(
        ccel::DATA,
        match ccel::read(kernel) {
            Ok(Some(log)) => format!("has an event log, {} bytes", log.len()),
            Ok(None) => "is not there: no event log".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        },
    ));
    looked.push(Looked::new(PCI, nvidia(kernel)));
    looked
}

fn nvidia(kernel: &dyn Kernel) -> String {
    let devices = match kernel.list(PCI) {
        Ok(devices) => devices,
        Err(Errno::ENOENT) => return "is not there".to_owned(),
        Err(errno) => return format!("cannot be listed: {errno}"),
    };
    let number = |device: &str, attribute: &str| -> Option<u32> {
        let text = kernel.read(&format!("{PCI}/{device}/{attribute}"), MAX_NUMBER).ok()?;
        u32::from_str_radix(String::from_utf8_lossy(&text).trim().trim_start_matches("0x"), 16).ok()
    };
    let (mut gpus, mut switches) = (0_u32, 0_u32);
    for device in devices.iter().filter(|device| number(device, "vendor") == Some(NVIDIA)) {
        // The two upper bytes of the class: display (VGA or 3D), bridge of another kind.
        match number(device, "class").map(|class| class >> 8) {
            Some(0x0300 | 0x0302) => gpus += 1,
            Some(0x0680) => switches += 1,
            _ => {}
        }
    }
    format!("has {gpus} GPUs and {switches} switches of NVIDIA's")
}
