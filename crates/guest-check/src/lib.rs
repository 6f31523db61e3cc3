//! The start-up check of a guest image: a small program in the place of Kata's agent. It starts the agent, which lies
//! beside it unmodified, once the guest's initdata is there, well-formed and the one that the hardware reports; otherwise it
//! says why on the console and turns the guest off. It never starts the agent for any other reason, and there is no
//! setting, argument or environment variable that makes it do so.
//!
//! Why it is needed: the host chooses both HOSTDATA (SEV-SNP) or MRCONFIGID (TDX), which a verifier sees, and the block device
//! with initdata, which the agent obeys, and the agent does not compare them (kata-containers, `src/agent/src/initdata.rs`:
//! the digest is computed and dropped). Design, section 6: "The guest must enforce it".
//!
//! The block device stays the host's while the guest runs, and the agent reads it again. So a second process, the
//! [holder](hold), makes sure that the agent can read nothing else than what was compared:
//!
//! - No new disk appears (`drivers_autoprobe` of the buses of disks is off), and all other disks that the agent would look at
//!   have other names, until the agent has read its initdata.
//! - The pages of the device that were compared stay locked in the page cache, which is guest memory, and the agent reads
//!   them from there.
//! - What the agent took (it writes it to `/run/confidential-containers/initdata/initdata.toml` before its policy is set and
//!   before it serves) is compared once more; the guest is turned off where it differs or does not come.
//!
//! What it does not do: it knows no certificate chain and judges no Evidence. That the guest runs this program at all is
//! what the launch measurement shows.

pub mod boot;
pub mod devices;
pub mod hold;
pub mod initdata;
pub mod machine;
pub mod tee;

/// Where the unmodified agent lies in a repacked image.
pub const AGENT: &str = "/usr/libexec/casemate/kata-agent";
/// The argument with which the check starts its own second process. It starts no agent.
pub const HOLD: &str = "hold-initdata";
/// A string that tells the check's binary from others: `casemate guest-image inspect` looks for it.
pub const MARK: &str = "casemate start-up check 1";
