//! At most one live instance of each container of a pod.
//!
//! The policy lets a container be created again once the host has removed it. A stock Kata agent serves requests side
//! by side, and a removal that fails in it looks to the policy like one that succeeded: a host that races the two could
//! run a workload twice. So whoever runs takes its container's name, and keeps it for life: a socket of that name in the
//! abstract namespace of the pod's network, which all containers of the guest share. It needs no file, so neither an
//! order with the initializer nor a volume that may be written, and the kernel gives the name back with the last
//! descriptor, however the holder ends.
//!
//! What this does not reach: a program that closes every descriptor it did not open gives its name up.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};

/// Before the container's name. LIMIT: a name is a DNS label of 63 bytes, and the kernel takes 107.
const PREFIX: &str = "casemate/container/";

/// Descriptors up to here are what programs and shells number themselves (`exec 3<file`).
const LOWEST_KEPT: i32 = 900;

/// A name that nobody else in the pod holds. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Claim(OwnedFd);

/// Takes the name of a container; `None` when another instance of it holds it.
pub(crate) fn claim(container: &str) -> io::Result<Option<Claim>> {
    let address = SocketAddrUnix::new_abstract_name(format!("{PREFIX}{container}").as_bytes())?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    match bind(&socket, &address) {
        Ok(()) => Ok(Some(Claim(socket))),
        Err(Errno::ADDRINUSE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Claim {
    /// Makes the claim outlive this program: whatever takes its place by `exec` holds it.
    pub(crate) fn keep_across_exec(self) -> io::Result<Self> {
        // Where so high a number is not to be had, the one that it has is as good.
        let kept = match fcntl_dupfd_cloexec(&self.0, LOWEST_KEPT) {
            Ok(high) => Self(high),
            Err(Errno::INVAL | Errno::MFILE) => self,
            Err(error) => return Err(error.into()),
        };
        fcntl_setfd(&kept.0, FdFlags::empty())?;
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::process::Command;

    use super::*;

    /// Names that no other run of these tests on this machine has.
    fn name(what: &str) -> String {
        format!("{what}-{}", std::process::id())
    }

    /// A child that another test starts holds what there is of descriptors until its own program runs.
    fn becomes_free(name: &str) -> bool {
        (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            claim(name).unwrap().is_some()
        })
    }

    #[test]
    fn a_name_is_held_once_and_free_after_its_holder() {
        let (app, other) = (name("app"), name("other"));
        let held = claim(&app).unwrap().unwrap();
        assert!(claim(&app).unwrap().is_none());
        assert!(claim(&other).unwrap().is_some(), "another container is another name");
        drop(held);
        assert!(becomes_free(&app));
    }

    #[test]
    fn a_claim_that_is_kept_lives_as_long_as_the_program_that_follows() {
        let app = name("kept");
        let held = claim(&app).unwrap().unwrap().keep_across_exec().unwrap();
        assert!(held.0.as_raw_fd() >= LOWEST_KEPT, "low numbers are the program's");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        drop(held);
        assert!(claim(&app).unwrap().is_none(), "the child holds it");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(becomes_free(&app));
    }

    #[test]
    fn a_claim_that_is_not_kept_ends_with_the_program() {
        let app = name("not-kept");
        let held = claim(&app).unwrap().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        drop(held);
        assert!(becomes_free(&app));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_that_the_kernel_does_not_take_is_an_error() {
        assert!(claim(&"x".repeat(200)).is_err());
    }
}
