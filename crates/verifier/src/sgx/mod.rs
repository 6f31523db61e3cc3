//! Intel SGX.
