//! The two layouts of a TCB version.

use protocol::reference::snp::has_fmc;
use protocol::reference::{AmdProduct, TcbVersion};

use super::report::FormatError;

/// Which bytes of a TCB version mean what (SNP firmware ABI, 56860, section 2.2, structure TCB_VERSION).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcbLayout {
    /// Milan and Genoa: boot loader, TEE, four reserved bytes, SNP, microcode.
    Legacy,
    /// Turin: FMC, boot loader, TEE, SNP, three reserved bytes, microcode.
    Turin,
}

impl TcbLayout {
    /// The layout that a product uses.
    pub const fn of(product: AmdProduct) -> Self {
        if has_fmc(product) { Self::Turin } else { Self::Legacy }
    }

    /// Takes a TCB version apart. `field` names it in the error.
    pub(crate) fn read(self, field: &'static str, bytes: [u8; 8]) -> Result<TcbVersion, FormatError> {
        let (tcb, reserved) = match (self, bytes) {
            (Self::Legacy, [bootloader, tee, r2, r3, r4, r5, snp, microcode]) => {
                (TcbVersion { fmc: None, bootloader, tee, snp, microcode }, [r2, r3, r4, r5])
            }
            (Self::Turin, [fmc, bootloader, tee, snp, r4, r5, r6, microcode]) => {
                (TcbVersion { fmc: Some(fmc), bootloader, tee, snp, microcode }, [r4, r5, r6, 0])
            }
        };
        if reserved == [0; 4] { Ok(tcb) } else { Err(FormatError::Reserved { field }) }
    }

    /// Puts a TCB version together.
    pub fn write(self, tcb: TcbVersion) -> [u8; 8] {
        let TcbVersion { fmc, bootloader, tee, snp, microcode } = tcb;
        match self {
            Self::Legacy => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
            Self::Turin => [fmc.unwrap_or(0), bootloader, tee, snp, 0, 0, 0, microcode],
        }
    }
}

/// The components with the names that JSON paths and certificates give them.
pub(crate) fn components(tcb: TcbVersion) -> [(&'static str, Option<u8>); 5] {
    [
        ("fmc", tcb.fmc),
        ("bootloader", Some(tcb.bootloader)),
        ("tee", Some(tcb.tee)),
        ("snp", Some(tcb.snp)),
        ("microcode", Some(tcb.microcode)),
    ]
}

/// A TCB version for people.
pub(crate) fn show(tcb: TcbVersion) -> String {
    let named = components(tcb).into_iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}")));
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_give_back_what_was_put_in() {
        let legacy = TcbVersion { fmc: None, bootloader: 1, tee: 2, snp: 3, microcode: 4 };
        let turin = TcbVersion { fmc: Some(9), ..legacy };
        for (layout, tcb) in [(TcbLayout::Legacy, legacy), (TcbLayout::Turin, turin)] {
            assert_eq!(layout.read("x", layout.write(tcb)), Ok(tcb));
        }
        assert_eq!(TcbLayout::Legacy.write(legacy), [1, 2, 0, 0, 0, 0, 3, 4]);
        assert_eq!(TcbLayout::Turin.write(turin), [9, 1, 2, 3, 0, 0, 0, 4]);
    }

    #[test]
    fn reserved_components_must_be_zero() {
        for (layout, reserved) in [(TcbLayout::Legacy, 2..6), (TcbLayout::Turin, 4..7)] {
            for index in 0..8 {
                let mut bytes = [0; 8];
                bytes[index] = 1;
                let expected = reserved.contains(&index);
                assert_eq!(layout.read("x", bytes).is_err(), expected, "{layout:?} {index}");
            }
        }
    }
}
