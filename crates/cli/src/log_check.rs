//! The client's side of promise P4: the log key is pinned, every entry is proven, and no checkpoint goes back.

use pki::log::{Checkpoint, open_checkpoint, verify_consistency};
use protocol::api::{Roots, StateReply};
use protocol::log::{LogEntry, LoggedEntry};

use crate::failure::{Failure, Outcome};
use crate::workspace::{Mode, Workspace, write};

/// A checkpoint that extends everything this work folder has seen. Only [`Trail::extend`] makes one, and only one of these
/// is ever written down, so that no command can launder a fork.
pub(crate) struct Extended {
    note: String,
    /// What it says.
    pub(crate) checkpoint: Checkpoint,
}

/// What this work folder has seen of a deployment's log.
pub(crate) struct Trail {
    /// The last checkpoint, if there is one.
    pub(crate) seen: Option<Checkpoint>,
    log_key: String,
    root_ca: String,
}

impl Trail {
    /// The trail as the work folder has it, with the log key and root it pinned.
    pub(crate) fn read(workspace: &Workspace) -> Outcome<Option<Self>> {
        let Some(log_key) = workspace.verified("log-key")? else { return Ok(None) };
        let log_key = log_key.trim().to_owned();
        let root_ca = workspace.verified("coordinator-root-ca.pem")?.unwrap_or_default();
        let seen = match workspace.verified("checkpoint")? {
            None => None,
            Some(note) => Some(open_checkpoint(&note, &log_key).map_err(|error| {
                Failure::no(error)
                    .context("`verify/checkpoint` was not signed by the key in `verify/log-key`")
                    .hint("one of the two files was changed; put back the right ones from a backup")
            })?),
        };
        Ok(Some(Self { seen, log_key, root_ca }))
    }

    /// The trail of this work folder held against the roots that a Coordinator shows. A deployment's root CA and log key
    /// live as long as its seed, so others mean another seed: an impostor, or a deployment that was set up anew.
    pub(crate) fn pinned(workspace: &Workspace, roots: &Roots) -> Outcome<Self> {
        let Some(trail) = Self::read(workspace)? else {
            return Ok(Self { seen: None, log_key: roots.log_key.trim().to_owned(), root_ca: roots.root_ca.clone() });
        };
        for (what, pinned, shown) in [
            ("log key", trail.log_key.trim(), roots.log_key.trim()),
            ("root CA", trail.root_ca.trim(), roots.root_ca.trim()),
        ] {
            if pinned != shown {
                return Err(Failure::refuse(format!("the Coordinator's {what} is not the one seen before")).hint(
                    "the deployment was set up anew from another seed, or this is another Coordinator; \
                     if you started over on purpose, remove the folder `verify/`",
                ));
            }
        }
        Ok(trail)
    }

    /// Holds a state against the trail of the work folder and remembers it: before anything is sent that matters, and again
    /// after the log has grown by it.
    pub(crate) fn follow(workspace: &Workspace, state: &StateReply) -> Outcome<(Self, Extended)> {
        let roots =
            state.roots.as_ref().ok_or_else(|| Failure::refuse("an active Coordinator shows no certificates"))?;
        check_roots(roots)?;
        let trail = Self::pinned(workspace, roots)?;
        let extended = trail.extend(state)?;
        Ok((trail, extended))
    }

    /// The size that a Coordinator is to prove its log against.
    pub(crate) fn known(trail: Option<&Self>) -> Option<u64> {
        trail.and_then(|trail| trail.seen.as_ref()).map(|seen| seen.size)
    }

    /// Checks that a state extends what was seen.
    pub(crate) fn extend(&self, state: &StateReply) -> Outcome<Extended> {
        let note = state.checkpoint.clone().ok_or_else(|| rollback(self.seen.as_ref(), 0))?;
        let checkpoint = open_checkpoint(&note, &self.log_key)
            .map_err(|error| Failure::no(error).context("the Coordinator's checkpoint is not signed by its log key"))?;
        let Some(seen) = &self.seen else { return Ok(Extended { note, checkpoint }) };
        if checkpoint.size < seen.size {
            return Err(rollback(Some(seen), checkpoint.size));
        }
        if checkpoint.size == seen.size {
            return if checkpoint.root == seen.root {
                Ok(Extended { note, checkpoint })
            } else {
                Err(fork(seen, &checkpoint))
            };
        }
        let proof = state.consistency.as_ref().ok_or_else(|| {
            Failure::refuse("the Coordinator shows no proof that its log extends the last checkpoint seen")
        })?;
        verify_consistency(proof, seen, &checkpoint)
            .map_err(|error| Failure { error: anyhow::Error::new(error), ..fork(seen, &checkpoint) })?;
        Ok(Extended { note, checkpoint })
    }

    /// Remembers a checkpoint, with the key and root it belongs to.
    pub(crate) fn keep(&self, workspace: &Workspace, extended: &Extended) -> Outcome {
        let dir = workspace.verify_dir();
        write(&dir.join("log-key"), format!("{}\n", self.log_key).as_bytes(), Mode::Public)?;
        write(&dir.join("coordinator-root-ca.pem"), self.root_ca.as_bytes(), Mode::Public)?;
        write(&dir.join("checkpoint"), extended.note.as_bytes(), Mode::Public)?;
        Ok(())
    }
}

fn rollback(seen: Option<&Checkpoint>, shown: u64) -> Failure {
    let seen = seen.map_or(0, |seen| seen.size);
    Failure::refuse(format!("rollback: the Coordinator's log has {shown} entries, {seen} were seen before"))
        .hint("its history store was put back to an older copy; restore the newest one, then `casemate recover`")
}

fn fork(seen: &Checkpoint, shown: &Checkpoint) -> Failure {
    Failure::refuse(format!(
        "fork: the Coordinator's log of {} entries does not contain the {} entries seen before",
        shown.size, seen.size
    ))
    .hint("two histories exist for this deployment; do not use it before you know which owner or host made the other")
}

/// Checks that an entry is in the log and returns it with the checkpoint.
pub(crate) fn check_entry(logged: &LoggedEntry, log_key: &str) -> Outcome<(LogEntry, Checkpoint)> {
    pki::log::verify_logged(logged, log_key.trim())
        .map_err(|error| Failure::no(error).context("a log entry of the Coordinator is not proven"))
}

/// The mesh CA must be signed by the deployment's root CA, which is what is pinned.
fn check_roots(roots: &Roots) -> Outcome {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    use x509_parser::pem::parse_x509_pem;
    let unusable = |what: &str| Failure::refuse(format!("the Coordinator's {what} is unusable"));
    let (_, root_pem) = parse_x509_pem(roots.root_ca.as_bytes()).map_err(|_| unusable("root CA"))?;
    let root = root_pem.parse_x509().map_err(|_| unusable("root CA"))?;
    let (_, mesh_pem) = parse_x509_pem(roots.mesh_ca.as_bytes()).map_err(|_| unusable("mesh CA"))?;
    let mesh = mesh_pem.parse_x509().map_err(|_| unusable("mesh CA"))?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &root.public_key().subject_public_key.data);
    key.verify(mesh.tbs_certificate.as_ref(), &mesh.signature_value.data)
        .map_err(|_| Failure::refuse("the Coordinator's mesh CA is not signed by the deployment's root CA"))
}
