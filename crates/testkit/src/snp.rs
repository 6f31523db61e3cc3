//! SEV-SNP reports under test roots.
