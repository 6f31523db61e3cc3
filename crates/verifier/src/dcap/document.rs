//! Intel's documents by themselves, explained.

use protocol::Tee;

use super::collateral::{QeIdentity, Statement, TcbInfo, find};
use crate::context::Context;
use crate::endorsements::{EndorsementKind, Endorsements, Need};
use crate::error::VerifyError;
use crate::explain::{Explanation, Section};
use crate::layer::Outcome;
use crate::value::Value;

/// Explains a TCB info or a QE identity: whether it can be read, who signed it and until when it holds.
pub(crate) fn explain_document(json: &[u8], context: &Context<'_>) -> Explanation {
    if EndorsementKind::detect(json) == Some(EndorsementKind::QeIdentity) {
        let facts = super::collateral::read::<QeIdentity>(json).ok().map(|(identity, _)| {
            statement(&identity)
                .claim("mrsigner", identity.mrsigner)
                .claim("product id", u32::from(identity.isvprodid))
                .claim("levels", identity.tcb_levels.iter().map(|level| level.tcb_status.name()).collect::<Value>())
        });
        explain::<QeIdentity>("QE identity", EndorsementKind::QeIdentity, json, facts, context)
    } else {
        let facts = super::collateral::read::<TcbInfo>(json).ok().map(|(info, _)| {
            statement(&info)
                .claim("fmspc", info.fmspc)
                .claim("pce id", info.pce_id)
                .claim("levels", info.tcb_levels.iter().map(|level| level.tcb_status.name()).collect::<Value>())
        });
        explain::<TcbInfo>("TCB info", EndorsementKind::TcbInfo, json, facts, context)
    }
}

fn statement<T: Statement>(statement: &T) -> Section {
    let (issued, next) = statement.validity();
    Section::note("statement")
        .claim("for", statement.tee().map_or("neither TDX nor SGX", Tee::name))
        .claim("evaluation number", statement.evaluation())
        .claim("issued", issued)
        .claim("next update", next)
}

fn explain<T: Statement>(
    subject: &str,
    kind: EndorsementKind,
    json: &[u8],
    facts: Option<Section>,
    context: &Context<'_>,
) -> Explanation {
    let mut own = Endorsements::default();
    let added = own.add(kind, json).map_err(|_| VerifyError::TooLong { got: json.len(), limit: kind.max_len() });
    let documents = if kind == EndorsementKind::TcbInfo { own.tcb_infos() } else { own.qe_identities() };
    let found = added.and_then(|()| find::<T>(documents, || Need::IntelRootCrl, |_| true, context));
    let outcome = Outcome::from(found.as_ref().map(|_| ()).map_err(Clone::clone));
    let mut signature = Section::layer("signature", &outcome);
    if let Ok(signed) = &found {
        let names = signed.signer.certificates().iter().map(|certificate| certificate.subject().to_owned());
        signature = signature.by(names.collect::<Vec<_>>().join(" < "));
    }
    Explanation::new(subject, facts.into_iter().chain([signature]).collect())
}
