//! What Intel's TDX and SGX share: quotes, PCK certificates, DCAP collateral.
