//! NVIDIA's reference integrity manifests: XML with a strict signature check.
