//! The layers and the appraisal, on Evidence that the rig makes and on the corpus.

mod appraisal;
mod corpus;
mod layers;
mod oracle;
mod rig;
mod shape;
