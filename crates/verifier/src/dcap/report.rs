//! The two signed structures of a quote: the report of an enclave and the report of a TD.

use protocol::digest::{Hex, Measurement};
use serde::Serialize;

use super::quote::QuoteError;
use super::read::Reader;

/// Length of an enclave's report (Intel SDM, volume 3D, table 36-21 "Layout of REPORT", up to REPORTDATA).
pub const ENCLAVE_REPORT: usize = 384;
/// Length of a TD report 1.0 (Intel TDX DCAP Quoting Library API, A.3.2 "TD Quote Body").
pub const TD_REPORT_10: usize = 584;
/// Length of a TD report 1.5 (same, "TD Quote Body for TDX 1.5").
pub const TD_REPORT_15: usize = 648;
/// Length of an extended TD report 1.5 (Intel's `sgx_quote_5.h`, `sgx_report2_body_v1_5_ex_t`).
pub const TD_REPORT_15_EX: usize = 885;

/// The report of an enclave: of the workload in an SGX quote, of the quoting enclave in every quote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EnclaveReport {
    /// The platform's TCB as one value.
    pub cpu_svn: Hex<16>,
    /// MISCSELECT.
    pub misc_select: Hex<4>,
    /// Control-flow enforcement of the enclave.
    pub cet_attributes: u8,
    /// ISVEXTPRODID.
    pub extended_product_id: Hex<16>,
    /// ATTRIBUTES.FLAGS.
    pub attributes: Hex<8>,
    /// ATTRIBUTES.XFRM.
    pub xfrm: Hex<8>,
    /// MRENCLAVE: what was loaded.
    pub mrenclave: Hex<32>,
    /// MRSIGNER: SHA-256 of the key that signed the enclave.
    pub mrsigner: Hex<32>,
    /// CONFIGID: what the host chose when it started the enclave; the identity of the pod.
    pub config_id: Hex<64>,
    /// ISVPRODID.
    pub product_id: u16,
    /// ISVSVN.
    pub svn: u16,
    /// CONFIGSVN.
    pub config_svn: u16,
    /// ISVFAMILYID.
    pub family_id: Hex<16>,
    /// REPORTDATA: what the enclave chose.
    pub report_data: Hex<64>,
}

impl EnclaveReport {
    /// DEBUG, bit 1 of ATTRIBUTES.FLAGS.
    pub fn is_debug(&self) -> bool {
        let [first, ..] = self.attributes.0;
        first & 2 != 0
    }

    /// Reads a report. Bytes that the layout reserves must be zero: what a processor that uses them means by them is not
    /// known here, and an enclave with a property unknown to us is not one to vouch for.
    pub(super) fn parse(bytes: &[u8; ENCLAVE_REPORT], what: &'static str) -> Result<Self, QuoteError> {
        Self::read(&mut Reader::new(bytes), what).unwrap_or(Err(QuoteError::Truncated {
            what,
            need: ENCLAVE_REPORT,
            have: ENCLAVE_REPORT,
        }))
    }

    fn read(reader: &mut Reader<'_>, what: &'static str) -> Option<Result<Self, QuoteError>> {
        let cpu_svn = Hex(*reader.array()?);
        let misc_select = Hex(*reader.array()?);
        let cet_attributes = reader.u8()?;
        let mut reserved = is_zero(reader.slice(11)?);
        let extended_product_id = Hex(*reader.array()?);
        let attributes = Hex(*reader.array()?);
        let xfrm = Hex(*reader.array()?);
        let mrenclave = Hex(*reader.array()?);
        reserved &= is_zero(reader.slice(32)?);
        let mrsigner = Hex(*reader.array()?);
        reserved &= is_zero(reader.slice(32)?);
        let config_id = Hex(*reader.array()?);
        let product_id = reader.u16()?;
        let svn = reader.u16()?;
        let config_svn = reader.u16()?;
        reserved &= is_zero(reader.slice(42)?);
        let family_id = Hex(*reader.array()?);
        let report_data = Hex(*reader.array()?);
        if !reserved {
            return Some(Err(QuoteError::Reserved { what }));
        }
        Some(Ok(Self {
            cpu_svn,
            misc_select,
            cet_attributes,
            extended_product_id,
            attributes,
            xfrm,
            mrenclave,
            mrsigner,
            config_id,
            product_id,
            svn,
            config_svn,
            family_id,
            report_data,
        }))
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The report of a TD.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TdReport {
    /// TEE_TCB_SVN: the TCB under which the TD was launched. Byte 0 is the TDX module's SVN, byte 1 its major version.
    pub tee_tcb_svn: Hex<16>,
    /// MRSEAM: the TDX module.
    pub mrseam: Measurement,
    /// MRSIGNERSEAM: zero for Intel's modules.
    pub mr_signer_seam: Measurement,
    /// SEAMATTRIBUTES: zero.
    pub seam_attributes: Hex<8>,
    /// TD attributes.
    pub td_attributes: Hex<8>,
    /// XFAM.
    pub xfam: Hex<8>,
    /// MRTD: what the TD was built from.
    pub mrtd: Measurement,
    /// MRCONFIGID: what the host chose; the identity of the pod.
    pub mr_config_id: Measurement,
    /// MROWNER.
    pub mr_owner: Measurement,
    /// MROWNERCONFIG.
    pub mr_owner_config: Measurement,
    /// RTMR0 to RTMR3.
    pub rtmrs: [Measurement; 4],
    /// REPORTDATA: what the guest chose.
    pub report_data: Hex<64>,
    /// What a TD report 1.5 adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v15: Option<TdReport15>,
    /// What an extended TD report 1.5 adds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended: Option<TdReportExtended>,
}

/// What a TD report 1.5 adds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TdReport15 {
    /// TEE_TCB_SVN_2: the TCB of the platform when the report was made, which a TDX module loaded since may have raised.
    pub tee_tcb_svn_2: Hex<16>,
    /// MRSERVICETD: the service TDs bound to the TD; zero for none.
    pub mr_service_td: Measurement,
}

/// What an extended TD report 1.5 adds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TdReportExtended {
    /// Which VM of a partitioned TD asked; 0 for an unpartitioned one.
    pub vm_id: u8,
    /// A random id of this TD's launch.
    pub td_id: Hex<32>,
    /// The hash of what is known of its devices.
    pub device_info: Hex<48>,
    /// The hash of the service TDs at the TD's launch.
    pub initial_service_td_hash: Measurement,
    /// Their attributes.
    pub initial_service_td_attributes: Hex<8>,
    /// CPUSVN at the TD's launch.
    pub initial_cpu_svn: Hex<16>,
    /// TEE_TCB_SVN at the TD's launch.
    pub initial_tee_tcb_svn: Hex<16>,
    /// The model of the platform of the TD's launch.
    pub initial_fmspc: Hex<12>,
    /// The hash of the service TDs that are bound now.
    pub current_service_td_hash: Measurement,
    /// Their attributes.
    pub current_service_td_attributes: Hex<8>,
}

/// Which fields a TD report has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TdVersion {
    V10,
    V15,
    V15Extended,
}

impl TdVersion {
    pub(super) const fn len(self) -> usize {
        match self {
            Self::V10 => TD_REPORT_10,
            Self::V15 => TD_REPORT_15,
            Self::V15Extended => TD_REPORT_15_EX,
        }
    }
}

fn measurement(reader: &mut Reader<'_>) -> Option<Measurement> {
    reader.array().map(|bytes| Measurement::from_bytes(*bytes))
}

impl TdReport {
    /// DEBUG and profiling, bits 7 to 0 of the TD attributes.
    pub fn is_debug(&self) -> bool {
        let [first, ..] = self.td_attributes.0;
        first != 0
    }

    pub(super) fn parse(bytes: &[u8], version: TdVersion) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let report = Self::read(&mut reader, version)?;
        (reader.len() == 0).then_some(report)
    }

    fn read(reader: &mut Reader<'_>, version: TdVersion) -> Option<Self> {
        Some(Self {
            tee_tcb_svn: Hex(*reader.array()?),
            mrseam: measurement(reader)?,
            mr_signer_seam: measurement(reader)?,
            seam_attributes: Hex(*reader.array()?),
            td_attributes: Hex(*reader.array()?),
            xfam: Hex(*reader.array()?),
            mrtd: measurement(reader)?,
            mr_config_id: measurement(reader)?,
            mr_owner: measurement(reader)?,
            mr_owner_config: measurement(reader)?,
            rtmrs: [measurement(reader)?, measurement(reader)?, measurement(reader)?, measurement(reader)?],
            report_data: Hex(*reader.array()?),
            v15: match version {
                TdVersion::V10 => None,
                TdVersion::V15 | TdVersion::V15Extended => {
                    Some(TdReport15 { tee_tcb_svn_2: Hex(*reader.array()?), mr_service_td: measurement(reader)? })
                }
            },
            extended: match version {
                TdVersion::V10 | TdVersion::V15 => None,
                TdVersion::V15Extended => Some(TdReportExtended {
                    vm_id: reader.u8()?,
                    td_id: Hex(*reader.array()?),
                    device_info: Hex(*reader.array()?),
                    initial_service_td_hash: measurement(reader)?,
                    initial_service_td_attributes: Hex(*reader.array()?),
                    initial_cpu_svn: Hex(*reader.array()?),
                    initial_tee_tcb_svn: Hex(*reader.array()?),
                    initial_fmspc: Hex(*reader.array()?),
                    current_service_td_hash: measurement(reader)?,
                    current_service_td_attributes: Hex(*reader.array()?),
                }),
            },
        })
    }
}
