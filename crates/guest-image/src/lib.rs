//! Guest images of Kata Containers, repacked so that the guest itself enforces its initdata (design, section 6).
//!
//! [`repack`](repack::repack) takes Kata's release as it is published, puts the start-up check in the agent's place (the agent stays as it is,
//! beside it) and a policy that allows nothing in place of the first one, writes the root file system anew with dm-verity, and computes what such
//! a guest measures. The result rests on the release and the check alone, to the byte. [`inspect`](image::inspect) says what is in an image.
//!
//! What it must never do: run or mount anything of an image, or take a name in one for a path on this machine.

pub mod bundle;
pub mod cmdline;
pub mod config;
pub mod disk;
pub mod erofs;
pub mod ext4;
pub mod image;
pub mod release;
pub mod repack;
pub mod rootfs;
pub mod source;
pub mod tdx;
pub mod tree;
pub mod values;
pub mod verity;
