//! TDX and SGX quotes, and DCAP collateral, under test roots.
