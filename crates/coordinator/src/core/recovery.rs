//! Recovery: share holders bring the seed back, each with the last checkpoint it knows (decision 0003).
//!
//! Before the seed is there, nobody's checkpoint can be checked for its signature, and none needs to be: a checkpoint is
//! only ever a demand on the store, and one that the stored log already meets demands nothing more. A share, on the
//! other hand, is told from junk at once by its fingerprint, so that strangers cannot fill a holder's place.

use std::collections::BTreeMap;

use pki::log::{open_checkpoint, origin, peek_checkpoint};
use pki::seed::{KeySchedule, Seed, share_fingerprint};
use protocol::api::{CoordinatorState, RecoverReply, RecoverShare};
use protocol::log::LogEntry;
use protocol::{Digest, Secret};

use super::{Authority, Core, Phase, is_insecure};
use crate::refusal::{Fault, Refusal};
use crate::store::StoreError;

/// The shares received so far, by holder.
#[derive(Debug, Default)]
pub(super) struct Collected {
    shares: BTreeMap<Digest, Received>,
}

/// A holder's share.
#[derive(Debug)]
struct Received {
    share: Secret,
    /// Whether the holder ever showed a checkpoint with it, which the stored log then met.
    compared: bool,
}

impl Core {
    /// Takes one share; with the last one needed, rebuilds the seed and becomes active.
    pub(super) fn take_share(&mut self, given: &RecoverShare) -> Result<RecoverReply, Refusal> {
        if !matches!(self.phase, Phase::Recovering(_)) {
            return Err(Refusal::NotRecovering);
        }
        self.check_share(given)?;
        self.check_checkpoint(given.checkpoint.as_deref())?;
        let holders = &self.manifest()?.seed_share_holders;
        let need = holders.threshold;
        let Phase::Recovering(collected) = &mut self.phase else { return Err(Refusal::NotRecovering) };
        let before = collected.shares.get(&given.holder).is_some_and(|received| received.compared);
        let received = Received { share: given.share.clone(), compared: before || given.checkpoint.is_some() };
        collected.shares.insert(given.holder, received);
        let have = u32::try_from(collected.shares.len()).unwrap_or(u32::MAX);
        if have < need {
            return Ok(RecoverReply { have, need, state: CoordinatorState::Recovering });
        }
        // From here on the shares are either used or gone: a wrong one must not stay in the way of the right one.
        let shares = std::mem::take(&mut collected.shares);
        self.activate(need, shares)?;
        Ok(RecoverReply { have, need, state: CoordinatorState::Active })
    }

    fn manifest(&self) -> Result<&protocol::Manifest, Refusal> {
        self.record.manifest().map(AsRef::as_ref).ok_or_else(|| unreachable("recovering without a manifest"))
    }

    /// Whether this is the share that its holder was given. The fingerprints come from the store: one that lies keeps the
    /// Coordinator from recovering, which it can also do by being empty.
    fn check_share(&self, given: &RecoverShare) -> Result<(), Refusal> {
        let holder = given.holder;
        if !self.manifest()?.seed_share_holders.keys.iter().any(|key| key.id() == holder) {
            return Err(Refusal::UnknownHolder { holder });
        }
        let founding = self.record.founding().ok_or_else(|| unreachable("recovering without a founding record"))?;
        let fingerprint = share_fingerprint(self.record.deployment(), holder, &given.share);
        if founding.fingerprints.get(&holder) != Some(&fingerprint) {
            return Err(Refusal::WrongShare { holder });
        }
        Ok(())
    }

    /// Whether the stored log extends what the holder saw.
    fn check_checkpoint(&self, note: Option<&str>) -> Result<(), Refusal> {
        let Some(note) = note else { return Ok(()) };
        let seen = peek_checkpoint(note)?;
        if seen.origin != origin(self.record.deployment()) {
            return Err(Refusal::OtherLog);
        }
        let (stored, shown) = (self.record.size(), seen.size);
        match self.record.root_at(shown) {
            None => Err(Refusal::Rollback { stored, shown }),
            Some(root) if root != seen.root => Err(Refusal::Fork { stored, shown }),
            Some(_) => Ok(()),
        }
    }

    /// Rebuilds the seed and checks it against the store: the head must carry a signature of the log key that comes from
    /// it, and the certificates must be those of its CAs. Only then is the log known to be ours.
    fn activate(&mut self, threshold: u32, received: BTreeMap<Digest, Received>) -> Result<(), Refusal> {
        let without_checkpoint: Vec<_> =
            received.iter().filter(|(_, received)| !received.compared).map(|(holder, _)| *holder).collect();
        let (holders, shares): (Vec<_>, Vec<_>) =
            received.into_iter().map(|(holder, received)| (holder, received.share)).unzip();
        let seed = Seed::combine(threshold, &shares).map_err(|_| Refusal::WrongSeed)?;
        let keys = KeySchedule::new(&seed, self.record.deployment());
        let signer = keys.log_signer().map_err(Fault::from)?;
        let head = self.record.head().ok_or_else(|| unreachable("recovering without a head"))?;
        let signed = open_checkpoint(head, &signer.vkey()).map_err(|_| Refusal::WrongSeed)?;
        if signed != self.record.tip_checkpoint() {
            return Err(StoreError::damaged("the log entries do not hash to the stored head").into());
        }
        let founding = self.record.founding().ok_or_else(|| unreachable("recovering without a founding record"))?;
        let generation =
            self.record.generations().last().ok_or_else(|| unreachable("recovering without a manifest"))?;
        let insecure = is_insecure(self.manifest()?);
        let kept = |error: pki::ca::CaError| StoreError::damaged(error.to_string());
        let root = keys.restore_root_ca(insecure, &founding.root_ca).map_err(kept)?;
        let number = self.record.tip().generation;
        let mesh = keys.restore_mesh_ca(&root, number, &generation.stored.mesh_ca).map_err(kept)?;
        let store_key = keys.store_key().map_err(Fault::from)?;
        let entry = if without_checkpoint.is_empty() {
            LogEntry::Recovered { holders }
        } else {
            LogEntry::RecoveredUncompared { holders, without_checkpoint }
        };
        self.record.append_entry(self.store.as_mut(), &signer, &entry)?;
        self.phase = Phase::Active(Box::new(Authority { keys, signer, store_key, root, mesh }));
        Ok(())
    }
}

fn unreachable(what: &'static str) -> Refusal {
    Fault::Unreachable { what }.into()
}
