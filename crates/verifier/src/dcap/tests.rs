//! Every layer and every rule of a quote's judgement, with quotes and documents of a fake Intel.

mod corpus;
mod explain;
mod layers;
mod parse;
mod policy;
mod tcb;

use protocol::{Digest, ReportData, Tee};
use testkit::dcap as rig;
use testkit::dcap::{PLATFORM_CA_NAME, QeIdentity, Quote, TcbInfo, Td, intel};

use super::Layers;
use crate::anchors::{TrustAnchors, danger};
use crate::context::{Cache, Context};
use crate::endorsements::{EndorsementKind, Endorsements};
use crate::layer::Outcome;
use crate::time::UnixTime;
use crate::{sgx, tdx};

const NOW: UnixTime = UnixTime(rig::NOW);
const REPORT_DATA: ReportData = ReportData([0xda; 64]);

/// Anchors that believe the fake Intel.
fn anchors() -> TrustAnchors {
    let none = Digest::ZERO;
    danger::anchors([none; 3], intel().root_digest(), none, none, &[&intel().root_der()])
}

/// The documents that a quote needs; a test changes or drops some.
#[derive(Clone)]
struct Documents {
    certificates: Vec<Vec<u8>>,
    crls: Vec<Vec<u8>>,
    tcb_infos: Vec<String>,
    qe_identities: Vec<String>,
}

impl Documents {
    fn of(tee: Tee) -> Self {
        let (info, identity) = match tee {
            Tee::Sgx => ("SGX", "QE"),
            _ => ("TDX", "TD_QE"),
        };
        Self {
            certificates: vec![intel().signer_der()],
            crls: vec![intel().root_crl(&[]), intel().pck_crl(PLATFORM_CA_NAME, &[])],
            tcb_infos: vec![intel().tcb_info(&TcbInfo::new(info))],
            qe_identities: vec![intel().qe_identity(&QeIdentity::new(identity))],
        }
    }

    fn set(&self) -> Endorsements {
        let mut set = Endorsements::default();
        let texts = |texts: &[String]| texts.iter().map(|text| text.clone().into_bytes()).collect::<Vec<_>>();
        for (kind, documents) in [
            (EndorsementKind::Certificate, self.certificates.clone()),
            (EndorsementKind::Crl, self.crls.clone()),
            (EndorsementKind::TcbInfo, texts(&self.tcb_infos)),
            (EndorsementKind::QeIdentity, texts(&self.qe_identities)),
        ] {
            for document in documents {
                set.add(kind, &document).unwrap();
            }
        }
        set
    }
}

fn examine_tdx(quote: &[u8], documents: &Documents) -> tdx::Examination {
    let (anchors, endorsements, cache) = (anchors(), documents.set(), Cache::default());
    let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
    let first = tdx::examine(quote, Some(&REPORT_DATA), &context);
    // What the cache remembers must not change the outcome.
    let second = tdx::examine(quote, Some(&REPORT_DATA), &context);
    assert_eq!(bad(&first.layers), bad(&second.layers));
    assert_eq!(first.claims, second.claims);
    first
}

fn examine_sgx(quote: &[u8], documents: &Documents) -> sgx::Examination {
    let (anchors, endorsements, cache) = (anchors(), documents.set(), Cache::default());
    let context = Context { anchors: &anchors, endorsements: &endorsements, now: NOW, cache: &cache };
    let first = sgx::examine(quote, Some(&REPORT_DATA), &context);
    let second = sgx::examine(quote, Some(&REPORT_DATA), &context);
    assert_eq!(bad(&first.layers), bad(&second.layers));
    first
}

/// Every layer that does not hold, as `layer: code`, with a `?` where it could not be told.
fn bad(layers: &Layers) -> Vec<String> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Holds => None,
        Outcome::Fails(error) if error.is_refusal() => Some(error.code().to_owned()),
        Outcome::Fails(error) => Some(format!("{}?", error.code())),
        Outcome::Skipped { needs } => Some(format!("needs {needs}")),
    };
    layers.list().into_iter().filter_map(|(name, outcome)| Some(format!("{name}: {}", word(outcome)?))).collect()
}

/// The same of a TD's quote.
fn bad_tdx(quote: &Quote, documents: &Documents) -> Vec<String> {
    bad(&examine_tdx(&quote.encode(), documents).layers)
}

fn td_quote() -> Quote {
    Quote::tdx(5, &Td::v15())
}

const NONE: [&str; 0] = [];
