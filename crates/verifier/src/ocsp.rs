//! OCSP responses (RFC 6960), where an Endorser gives them.
