//! A small DER writer, and certificates and CRLs of any shape.
