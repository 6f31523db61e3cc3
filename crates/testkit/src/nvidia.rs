//! Reports of GPUs and switches under test roots.
