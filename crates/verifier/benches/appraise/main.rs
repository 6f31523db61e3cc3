//! What an appraisal costs beside the signature checks that it cannot avoid, with warm Endorsements. `cargo xtask bench
//! verifier` runs this, and `docs/performance.md` reports it.
//!
//! Times on shared machines drift within seconds. So each round of a row alternates between short slices of appraisals
//! and of the bare signature checks of the same Evidence (keys parsed before), and compares the two times of one round.

mod cases;
mod clock;
mod shown;

use std::io::Write as _;
use std::time::Duration;

use verifier::{Endorsements, UnixTime, UnverifiedEvidence, Verifier, appraise};

use cases::{Case, Check};
use clock::{Spread, rate};
use shown::{Figures, Raw, Row};

/// How long and how often. The command line changes both.
struct Plan {
    rounds: usize,
    round: Duration,
    json: bool,
    only: Option<String>,
}

impl Plan {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { rounds: 7, round: Duration::from_millis(400), json: false, only: None };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                // What cargo passes to every benchmark.
                "--bench" => {}
                "--json" => plan.json = true,
                "--rounds" => plan.rounds = value()?.parse().map_err(|_| "--rounds wants a number".to_owned())?,
                "--round-ms" => {
                    let millis = value()?.parse().map_err(|_| "--round-ms wants a number".to_owned())?;
                    plan.round = Duration::from_millis(millis);
                }
                "--only" => plan.only = Some(value()?),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        if plan.rounds == 0 || plan.round.is_zero() { Err("nothing to measure".to_owned()) } else { Ok(plan) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let plan = Plan::read(std::env::args().skip(1))?;
    let mut figures = Figures::new(plan.rounds, plan.round);
    figures.raw = raw(&plan);
    for case in cases::all() {
        if plan.only.as_ref().is_none_or(|only| case.name.contains(only)) {
            figures.rows.push(measure(&case, &plan));
        }
    }
    figures.derive();
    let shown = if plan.json { serde_json::to_string_pretty(&figures)? + "\n" } else { figures.text() };
    Ok(std::io::stdout().write_all(shown.as_bytes())?)
}

/// What the crypto library does by itself.
fn raw(plan: &Plan) -> Vec<Raw> {
    Check::samples()
        .into_iter()
        .map(|(name, check)| {
            let mut parsed_each_time = Vec::new();
            let mut kept = Vec::new();
            for _ in 0..plan.rounds {
                parsed_each_time.push(rate(plan.round, || assert!(check.parse_and_verify())));
                kept.push(rate(plan.round, || assert!(check.verify())));
            }
            Raw { name, parsed_each_time: Spread::of(parsed_each_time), kept: Spread::of(kept) }
        })
        .collect()
}

/// One appraisal, from Evidence as it comes to a result.
fn once(case: &Case, evidence: protocol::Evidence) {
    let evidence = UnverifiedEvidence::new(evidence).expect("Evidence of a proper size");
    let verified = verify(&case.verifier, evidence, case, &case.endorsements, case.now);
    let result = appraise(verified, &case.values).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    std::hint::black_box(&result);
}

fn verify(
    verifier: &Verifier,
    evidence: UnverifiedEvidence,
    case: &Case,
    endorsements: &Endorsements,
    now: UnixTime,
) -> verifier::VerifiedEvidence {
    let verified = verifier.verify(evidence, &case.expected, endorsements, now);
    verified.unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

fn measure(case: &Case, plan: &Plan) -> Row {
    let mut evidence = case.evidence.iter().cycle();
    let mut next = move || evidence.next().expect("a case has Evidence").clone();
    for _ in 0..3 {
        once(case, next());
    }
    let (mut appraisals, mut checks, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (appraisal, check) = clock::compare(
            plan.round,
            &mut next,
            |evidence| once(case, evidence),
            || {
                for check in &case.unavoidable {
                    assert!(check.verify());
                }
            },
        );
        appraisals.push(1.0 / appraisal);
        checks.push(1.0 / check);
        ratios.push(appraisal / check);
    }
    let evidence = next();
    let bytes = evidence.body.len()
        + evidence.devices.iter().map(|device| device.report.len() + device.chain.len()).sum::<usize>();
    let memory = allocation_counter::measure(|| once(case, evidence));
    Row {
        name: case.name.clone(),
        unavoidable: case.said.clone(),
        evidence_bytes: bytes,
        appraisals: Spread::of(appraisals),
        checks: Spread::of(checks),
        ratio: Spread::of(ratios),
        allocations: memory.count_total,
        allocated_bytes: memory.bytes_total,
    }
}
