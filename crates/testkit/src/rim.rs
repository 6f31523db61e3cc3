//! Reference integrity manifests under a test root.
