//! NVIDIA GPUs and NVSwitches: SPDM measurements and the keys that sign them.
