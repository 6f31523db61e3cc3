//! AMD SEV-SNP: reports, the certificates of chip keys, launch digests.

pub mod launch;
