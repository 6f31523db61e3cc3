//! The mesh in real network namespaces. These tests need root and say so aloud when they cannot run.

#![expect(clippy::print_stderr, reason = "a skipped test must be heard")]

/// A test in network namespaces.
macro_rules! netns_test {
    ($(#[$meta:meta])* fn $name:ident() $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            if crate::netns::is_root() $body
        }
    };
}

mod egress;
mod firewall;
mod netns;
mod pki;
mod pod;
mod proxy;
