//! AMD SEV-SNP: reports, the certificates of chip keys, launch digests.

pub mod launch;

/// Whether bytes look like a report: for telling files apart.
pub(crate) fn looks_like(_bytes: &[u8]) -> bool {
    false
}
