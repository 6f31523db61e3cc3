//! One module for each verb.

pub(crate) mod deploy;
pub(crate) mod doctor;
pub(crate) mod endorsements;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod guest_image;
pub(crate) mod infer;
pub(crate) mod infra;
pub(crate) mod local;
pub(crate) mod model;
pub(crate) mod policy;
pub(crate) mod recover;
pub(crate) mod reference_values;
pub(crate) mod secret;
pub(crate) mod set;
pub(crate) mod sign;
pub(crate) mod verify;
