//! The Kata runtime of a node: its files, what containerd is told of it, and the classes that pods choose by.
//!
//! ```text
//! /opt/casemate/kata/RELEASE/…            the files of a bundle, each with the digest that the bundle says
//! /opt/casemate/kata/RELEASE/shims/…      the shim under one name for each class, so that a process shows its class
//! /opt/casemate/kata/current              a link to the release that new pods get
//! /opt/casemate/kata/installed.json       what is installed, and what was under way when we were killed
//! ```
//!
//! What to do is worked out by functions without input or output ([`containerd::plan`], [`class::runtime_classes`]);
//! [`install::Installer`] does it, step by step, so that a kill between any two leaves something that the next start
//! finishes or undoes. It must never change a byte that an administrator wrote, nor take away a class that a running
//! pod has.

pub mod bundle;
pub mod class;
pub mod containerd;
mod files;
pub mod host;
pub mod install;
mod journal;
mod lock;
mod service;
mod stage;

pub use class::{Handler, HostPath, Runtime};
pub use files::{FileError, Root};
pub use journal::{Installed, InstalledFile, JournalError, Pending};
pub use stage::StageError;
