//! Reference Values for Intel SGX.

use serde::{Deserialize, Serialize};

use super::Machines;
use super::tdx::{Bits, IntelTcbPolicy, invalid};
use crate::digest::Hex;
use crate::manifest::ManifestError;

/// INIT, MODE64BIT and KSS, bits 0, 2 and 7 of ATTRIBUTES.FLAGS (Intel SDM, volume 3D, table 36-3, "Layout of ATTRIBUTES
/// Structure"). KSS is what makes CONFIGID, and with it the identity, mean anything.
pub const INIT_MODE64_KSS: [u8; 8] = [0x85, 0, 0, 0, 0, 0, 0, 0];

/// DEBUG, bit 1 of ATTRIBUTES.FLAGS (same table): the host reads and writes the enclave's memory.
pub const ENCLAVE_DEBUG: [u8; 8] = [0x02, 0, 0, 0, 0, 0, 0, 0];

fn init_mode64_kss() -> Bits<8> {
    Bits::exactly(INIT_MODE64_KSS)
}

fn no_misc() -> Bits<4> {
    Bits::exactly([0; 4])
}

/// One acceptable kind of enclave. An enclave is accepted when it meets every field of one entry.
///
/// Never accepted, whatever stands here: a debug enclave, and a CONFIGID that is no identity (32 bytes and 32 zeros).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgxReferenceValues {
    /// What this entry is for, in people's words.
    pub platform: String,
    /// The machines, by platform instance id, as their PCK certificates name it. A machine with a processor CA
    /// certificate has none: there it must be `"any"`.
    pub chip_ids: Machines<Hex<16>>,
    /// MRENCLAVE: accepted enclaves. There is no way to accept whatever a signer signs: its owner could then replace the
    /// code under an approved identity.
    pub mrenclave: Vec<Hex<32>>,
    /// MRSIGNER: SHA-256 of the key that signed the enclave.
    pub mrsigner: Hex<32>,
    /// ISVPRODID.
    pub product_id: u16,
    /// The least ISVSVN.
    pub min_svn: u16,
    /// The least CONFIGSVN. Left out: 0, which every enclave meets; safe, because CONFIGID is compared whole.
    #[serde(default)]
    pub min_config_svn: u16,
    /// ATTRIBUTES.FLAGS. Left out: exactly INIT, MODE64BIT and KSS.
    #[serde(default = "init_mode64_kss")]
    pub attributes: Bits<8>,
    /// ATTRIBUTES.XFRM: the processor features that the enclave may use.
    pub xfrm: Bits<8>,
    /// MISCSELECT. Left out: exactly 0.
    #[serde(default = "no_misc")]
    pub misc_select: Bits<4>,
    /// The TCB.
    pub tcb: IntelTcbPolicy,
    /// Whether hyperthreading may be on. Left out: it must be off, and the PCK certificate must say so.
    #[serde(default)]
    pub allow_smt: bool,
    /// Whether packages may be added to the platform after it was registered. Left out: no.
    #[serde(default)]
    pub allow_dynamic_platform: bool,
    /// Whether Intel's registration service may keep the platform's root keys. Left out: no.
    #[serde(default)]
    pub allow_cached_keys: bool,
}

impl SgxReferenceValues {
    /// Checks what types cannot. `path` is the JSON path of this entry.
    pub fn validate(&self, path: &str) -> Result<(), ManifestError> {
        if self.platform.is_empty() {
            return invalid(path, "platform", "empty");
        }
        if matches!(&self.chip_ids, Machines::Listed(ids) if ids.is_empty()) {
            return invalid(path, "chip_ids", "empty: no machine could ever be accepted");
        }
        if self.mrenclave.is_empty() {
            return invalid(path, "mrenclave", "empty: nothing could ever be accepted");
        }
        self.attributes.validate(path, "attributes", ENCLAVE_DEBUG)?;
        self.xfrm.validate(path, "xfrm", [0; 8])?;
        self.misc_select.validate(path, "misc_select", [0; 4])?;
        self.tcb.validate(&format!("{path}.tcb"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::tdx::TcbStatus;

    fn values() -> SgxReferenceValues {
        SgxReferenceValues {
            platform: "sgx".into(),
            chip_ids: Machines::Any,
            mrenclave: vec![Hex([1; 32])],
            mrsigner: Hex([2; 32]),
            product_id: 3,
            min_svn: 4,
            min_config_svn: 0,
            attributes: init_mode64_kss(),
            xfrm: Bits { required: Hex([3, 0, 0, 0, 0, 0, 0, 0]), allowed: Hex([0xe7, 0, 0, 0, 0, 0, 0, 0]) },
            misc_select: no_misc(),
            tcb: IntelTcbPolicy::default(),
            allow_smt: false,
            allow_dynamic_platform: false,
            allow_cached_keys: false,
        }
    }

    #[test]
    fn an_entry_survives_its_text() {
        let text = serde_json::to_string(&values()).unwrap();
        assert_eq!(serde_json::from_str::<SgxReferenceValues>(&text).unwrap(), values());
        assert!(values().validate("sgx[0]").is_ok());
    }

    #[test]
    fn what_must_be_said_cannot_be_left_out() {
        for field in ["platform", "chip_ids", "mrenclave", "mrsigner", "product_id", "min_svn", "xfrm", "tcb"] {
            let mut json = serde_json::to_value(values()).unwrap();
            json.as_object_mut().unwrap().remove(field);
            let error = serde_json::from_value::<SgxReferenceValues>(json).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }

    #[test]
    fn each_contradiction_names_its_path() {
        type Mutation = fn(&mut SgxReferenceValues);
        let cases: [(Mutation, &str); 7] = [
            (|v| v.platform.clear(), "sgx[0].platform"),
            (|v| v.chip_ids = Machines::Listed(vec![]), "sgx[0].chip_ids"),
            (|v| v.mrenclave.clear(), "sgx[0].mrenclave"),
            (|v| v.attributes.allowed.0[0] |= 2, "sgx[0].attributes"),
            (|v| v.xfrm.required = Hex([0xff; 8]), "sgx[0].xfrm"),
            (|v| v.misc_select.required = Hex([1, 0, 0, 0]), "sgx[0].misc_select"),
            (|v| assert!(v.tcb.statuses.insert(TcbStatus::Revoked)), "sgx[0].tcb.statuses"),
        ];
        for (mutate, path) in cases {
            let mut changed = values();
            mutate(&mut changed);
            let error = changed.validate("sgx[0]").unwrap_err().to_string();
            assert!(error.contains(&format!("`{path}`")), "{path}: {error}");
        }
    }
}
