//! `casemate doctor`: what is wrong with a cluster, why, and the command that mends it.
//!
//! The core is pure. A [`Bundle`] is everything that was seen at one moment: the objects of a cluster as untyped JSON,
//! the facts of a machine, a work folder, and what services answered. Each [check](checks::CHECKS) is a function of it.
//! The edges make bundles: [`collect`] asks a cluster and a machine, [`folder`] writes one to disk for support and reads
//! it back.
//!
//! What a check needs and the bundle lacks is [`Unknown`], never silence: lists are only to be had through accessors
//! that answer `Result`, so a check cannot read what was not seen.
//!
//! It must never hold a secret: no Secret object is asked for, and [`reduce`] takes values of environments, arguments,
//! foreign annotations and policies out of objects *before* they become part of a bundle. It must never be believed,
//! either: what a cluster says of itself is the word of an untrusted host, good for finding faults. Whether a deployment
//! is genuine is `casemate verify`'s answer.
//!
//! ```
//! use doctor::{Bundle, Exit, Selection, examine};
//!
//! let report = examine(&Bundle::default(), &Selection::all());
//! assert_eq!(report.exit(), Exit::Well);
//! ```

#![warn(missing_docs)]

pub mod bundle;
pub mod checks;
pub mod collect;
mod facts;
mod finding;
pub mod folder;
mod image;
mod kind;
pub mod names;
pub mod reduce;
mod report;
mod view;

pub use bundle::{Answer, Bundle, Unknown};
pub use facts::Initdata;
pub use finding::{Finding, Findings, Severity, Subject};
pub use kind::Kind;
pub use report::{Exit, Outcome, Report, Selection, UnknownCheck, examine};
