//! AMD SEV-SNP.

mod report;
mod table;
mod tcb;

pub use protocol::reference::snp::{Product, SigningKey, Tcb};
pub use report::{
    Claims, Endorsed, FirmwareVersion, FormatError, GuestPolicy, PlatformInfo, Processor, REPORT_LEN, SIGNED_LEN,
    Signer, parse,
};
pub use table::{CertificateTable, Content, MAX_TABLE, TableError};
pub use tcb::TcbLayout;
