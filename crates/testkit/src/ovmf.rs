//! A firmware image with the metadata that launch digests depend on.
