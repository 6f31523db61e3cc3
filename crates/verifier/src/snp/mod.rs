//! AMD SEV-SNP.
//!
//! The Evidence is the attestation report of the firmware, as it comes from `/dev/sev-guest` or configfs-TSM, with or
//! without the certificate table that the host adds. What it rests on:
//!
//! | layer | what holds | by whom |
//! |---|---|---|
//! | format | versions 2 to 5 of the report, reserved fields as specified | AMD 56860, ATTESTATION_REPORT |
//! | chain | signing key's certificate, authority for its kind (ASK or ASVK), root (ARK) of its product | AMD 57230 |
//! | revocation | the root's list does not name the authority | AMD 57230 |
//! | chip_key | the certificate is for the kind of key, product, chip and reported TCB of the report | AMD 57230, chapter 3 |
//! | signature | that key signed bytes 0 to 0x29F | AMD 56860, ECDSA P-384 |
//! | binding | the report data is what the channel demands | the design, section 7 |
//!
//! What none of them says: that firmware, policy and measurement are acceptable. That is for the appraisal.
//!
//! A certificate of another key is no statement about a report, so where no certificate at hand fits, the answer is
//! "could not tell", with the difference of the nearest one. It becomes a "no" as soon as a key at hand that AMD certified
//! for something else turns out to have signed.

mod appraise;
mod error;
mod examine;
mod explain;
mod key;
pub mod launch;
mod report;
mod table;
mod tcb;

#[cfg(test)]
mod tests;

pub use error::{Difference, KeyCertificateError, SnpError};
pub use examine::{Examination, Layers, needs};
pub use protocol::reference::snp::SigningKey;
pub use protocol::reference::{AmdProduct as Product, TcbVersion};
pub use report::{
    Claims, Endorsed, FirmwareVersion, FormatError, GuestPolicy, PlatformInfo, Processor, REPORT_LEN, SIGNED_LEN,
    Signer, VERSIONS, parse,
};
pub use table::{CertificateTable, Content, MAX_ENTRIES, MAX_TABLE, TableError};
pub use tcb::TcbLayout;

pub(crate) use appraise::{appraise, reference_values};
pub(crate) use examine::examine;
pub(crate) use explain::explain;
pub(crate) use key::{UNDERSTOOD, facts as key_facts};
pub(crate) use report::looks_like;
