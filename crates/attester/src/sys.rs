//! The calls of device nodes: the one place of this workspace with unsafe code, apart from the loader of NVML. Each
//! function takes values and gives values; pointers do not leave it.
//!
//! Layouts: Linux `include/uapi/linux/sev-guest.h` and `include/uapi/linux/tdx-guest.h`; Occlum `/dev/sgx`
//! (`src/libos/src/fs/dev_fs/dev_sgx`).

#![expect(unsafe_code, reason = "ioctls hand pointers to the kernel")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::libc;

use crate::kernel::{MAX_CERTIFICATES, SevReply};

/// `_IOWR('S', 0, struct snp_guest_request_ioctl)`.
const SNP_GET_REPORT: u32 = 0xc020_5300;
/// `_IOWR('S', 2, struct snp_guest_request_ioctl)`.
const SNP_GET_EXT_REPORT: u32 = 0xc020_5302;
/// `_IOWR('T', 1, struct tdx_report_req)`.
const TDX_CMD_GET_REPORT0: u32 = 0xc440_5401;
/// `_IOR('s', 7, uint32_t)`.
const SGXIOC_GET_DCAP_QUOTE_SIZE: u32 = 0x8004_7307;
/// `_IOWR('s', 8, sgxioc_gen_dcap_quote_arg_t)`.
const SGXIOC_GEN_DCAP_QUOTE: u32 = 0xc018_7308;

/// The response of the firmware, as the kernel hands it on (`struct snp_report_resp`).
const SNP_RESPONSE: usize = 4000;
/// A TDREPORT.
const TD_REPORT: usize = 1024;

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct SnpRequest {
    message_version: u8,
    request: u64,
    response: u64,
    error: u64,
}

/// `struct snp_ext_report_req`, which begins with `struct snp_report_req`.
#[repr(C)]
struct SnpReportRequest {
    user_data: [u8; 64],
    vmpl: u32,
    reserved: [u8; 28],
    certificates: u64,
    certificates_length: u32,
}

/// `struct tdx_report_req`.
#[repr(C)]
struct TdxRequest {
    report_data: [u8; 64],
    report: [u8; TD_REPORT],
}

/// `sgxioc_gen_dcap_quote_arg_t`.
#[repr(C)]
struct OcclumRequest {
    report_data: *const u8,
    length: *mut u32,
    quote: *mut u8,
}

// The numbers of the calls carry these sizes; a struct of another size would be another call.
const _: () = assert!(size_of::<SnpRequest>() == 0x20);
const _: () = assert!(size_of::<SnpReportRequest>() == 112);
const _: () = assert!(size_of::<TdxRequest>() == 0x440);
const _: () = assert!(size_of::<OcclumRequest>() == 0x18);

/// An ioctl whose argument is a `T`.
///
/// # Safety
/// `request` must be a call that reads and writes `T` and only such memory as the addresses in it lead to.
unsafe fn ioctl<T>(device: &File, request: u32, argument: &mut T) -> Result<(), Errno> {
    // The type of the number differs between C libraries; its bits do not.
    #[allow(clippy::cast_possible_wrap, clippy::cast_lossless, reason = "as the C library declares it")]
    let request = request as libc::Ioctl;
    // SAFETY: `argument` is a valid exclusive reference for as long as the call lasts, and the caller vouches that the call
    // touches nothing else but what its addresses lead to.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), request, std::ptr::from_mut(argument)) }).map(drop)
}

/// See [`crate::Kernel::sev_report`].
pub(crate) fn sev_report(device: &File, report_data: &[u8; 64], vmpl: u32, extended: bool) -> SevReply {
    let mut response = vec![0; SNP_RESPONSE];
    let mut certificates = vec![0_u8; if extended { MAX_CERTIFICATES } else { 0 }];
    let mut request = SnpReportRequest {
        user_data: *report_data,
        vmpl,
        reserved: [0; 28],
        certificates: if extended { address(certificates.as_mut_ptr()) } else { 0 },
        certificates_length: u32::try_from(certificates.len()).unwrap_or(0),
    };
    let mut argument = SnpRequest {
        message_version: 1,
        request: address(std::ptr::from_mut(&mut request)),
        response: address(response.as_mut_ptr()),
        error: 0,
    };
    let call = if extended { SNP_GET_EXT_REPORT } else { SNP_GET_REPORT };
    // SAFETY: both calls take a `SnpRequest`. They read `request`, whose first part is the whole of what the shorter call
    // reads, write up to 4000 bytes to `response` and up to `certificates_length` bytes to `certificates`, and put the
    // wanted length into `request`. All three live until this function returns and are not read while the call lasts.
    let outcome = unsafe { ioctl(device, call, &mut argument) };
    SevReply { outcome, error: argument.error, response, certificates }
}

/// See [`crate::Kernel::tdx_report`].
pub(crate) fn tdx_report(device: &File, report_data: &[u8; 64]) -> Result<Vec<u8>, Errno> {
    let mut argument = TdxRequest { report_data: *report_data, report: [0; TD_REPORT] };
    // SAFETY: the call takes a `TdxRequest` and writes its second field; there are no addresses in it.
    unsafe { ioctl(device, TDX_CMD_GET_REPORT0, &mut argument)? };
    Ok(argument.report.to_vec())
}

/// See [`crate::Kernel::occlum_quote`].
pub(crate) fn occlum_quote(device: &File, report_data: &[u8; 64], limit: usize) -> Result<Vec<u8>, Errno> {
    let mut length = 0_u32;
    // SAFETY: the call writes one `uint32_t`.
    unsafe { ioctl(device, SGXIOC_GET_DCAP_QUOTE_SIZE, &mut length)? };
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if size > limit {
        return Err(Errno::EMSGSIZE);
    }
    let mut quote = vec![0; size];
    let mut argument = OcclumRequest {
        report_data: report_data.as_ptr(),
        length: std::ptr::from_mut(&mut length),
        quote: quote.as_mut_ptr(),
    };
    // SAFETY: the call reads 64 bytes of report data, reads `length` for the room there is, writes at most so many bytes to
    // `quote`, which has them, and writes `length`. All live until this function returns.
    unsafe { ioctl(device, SGXIOC_GEN_DCAP_QUOTE, &mut argument)? };
    quote.truncate(usize::try_from(length).unwrap_or(0));
    Ok(quote)
}

/// An address as the kernel's structures hold it.
fn address<T>(pointer: *mut T) -> u64 {
    // Wide enough on every machine that has such a device.
    u64::try_from(pointer.expose_provenance()).unwrap_or(0)
}
