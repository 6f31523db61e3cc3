//! Drivers of a simulated host: what the kernel does when something is written to its files for binding.
