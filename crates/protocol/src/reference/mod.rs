//! Reference Values of hardware, as a manifest holds them: one file for each TEE and one for the devices.
//!
//! Every entry names what it is for (`platform`), and what it does not name is not accepted: a field may be left out only
//! where its documentation says so and why that is safe.

pub mod amd;
pub mod device;
pub mod sgx;
pub mod snp;
pub mod tdx;

pub use amd::{AmdProduct, TcbVersion};
pub use device::DeviceReferenceValues;
pub use sgx::SgxReferenceValues;
pub use snp::SnpReferenceValues;
pub use tdx::TdxReferenceValues;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which machines may answer. There is no default: any genuine machine whose keys have been extracted could answer for
/// every other, so a manifest lists its machines or says `"any"` in so many words (design, section 7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Machines<Id> {
    /// Every genuine machine: `"any"`.
    Any,
    /// These.
    Listed(Vec<Id>),
}

/// The word for [`Machines::Any`].
const ANY: &str = "any";

impl<Id: PartialEq> Machines<Id> {
    /// Whether a machine is among them.
    pub fn contains(&self, id: &Id) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(ids) => ids.contains(id),
        }
    }
}

impl<Id: Serialize> Serialize for Machines<Id> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str(ANY),
            Self::Listed(ids) => ids.serialize(serializer),
        }
    }
}

impl<'de, Id: Deserialize<'de>> Deserialize<'de> for Machines<Id> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected `\"any\"` or a list of machine ids in hex")]
        enum Form<Id> {
            Word(String),
            List(Vec<Id>),
        }
        match Form::deserialize(deserializer)? {
            Form::Word(word) if word == ANY => Ok(Self::Any),
            Form::Word(word) => Err(serde::de::Error::custom(format!("`{word}` is neither `any` nor a list"))),
            Form::List(ids) => Ok(Self::Listed(ids)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Hex;

    #[test]
    fn any_machine_is_said_in_so_many_words() {
        let read = serde_json::from_str::<Machines<Hex<2>>>;
        assert_eq!(read(r#""any""#).unwrap(), Machines::Any);
        assert_eq!(read(r#"["0102"]"#).unwrap(), Machines::Listed(vec![Hex([1, 2])]));
        for wrong in ["null", r#""all""#, r#""""#, r#"["01"]"#, "7"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_list_holds_no_machine() {
        assert!(!Machines::Listed(vec![]).contains(&Hex([0; 2])));
    }
}
