//! `casemate policy test`.

use std::path::Path;

use policy::PolicyEngine;
use policy::describe::{self, Recorded};
use serde::Serialize;

use super::page::{Page, count};
use super::{TestArgs, read};
use crate::failure::{Class, Failure, Outcome};
use crate::{Context, output};

/// What Kata's agent asks the policy before any request, and which its logs show among the requests.
const FAILING: &str = "AllowRequestsFailingPolicy";

#[derive(Serialize)]
struct Decided {
    number: usize,
    file: String,
    line: usize,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<bool>,
    reasons: Vec<String>,
}

pub(super) fn run(context: &Context, args: &TestArgs) -> Outcome {
    // Whatever cannot be read is no denial.
    let unreadable = |mut failure: Failure| {
        failure.class = Class::CouldNotTell;
        failure
    };
    let (title, rego) = policy(&args.policy, args.pod.as_deref()).map_err(unreadable)?;
    let mut engine = PolicyEngine::new(&rego)
        .map_err(|error| unreadable(read::failure(&error)).context(format!("`{}`", args.policy.display())))?;
    let mut recorded = Vec::new();
    for path in &args.requests {
        let text = read::text(path).map_err(unreadable)?;
        let all = describe::requests(&text).map_err(|error| {
            unreadable(read::failure(&error)).context(format!("`{}`", path.display())).hint(
                "a request is `{\"ep\": \"CreateContainerRequest\", \"request\": {…}}`; several stand behind each other or in a list",
            )
        })?;
        recorded.extend(all.into_iter().map(|request| (path.display().to_string(), request)));
    }
    let mut decisions = Vec::new();
    for (file, request) in recorded {
        if request.endpoint != FAILING {
            decisions.push(decide(&mut engine, decisions.len() + 1, file, request));
        }
    }
    if decisions.is_empty() {
        return Err(Failure::could_not_tell(anyhow::anyhow!("no request in it")));
    }
    let denied = decisions.iter().filter(|decision| !decision.allowed).count();
    if context.json {
        let allowed = decisions.len() - denied;
        let json = serde_json::json!({"policy": title, "decisions": decisions, "allowed": allowed, "denied": denied});
        output::json(&json);
    } else {
        output::result(&text(&title, &decisions, denied, args.all));
    }
    if denied == 0 {
        return Ok(());
    }
    let verb = if denied == 1 { "is" } else { "are" };
    Err(Failure::refuse(format!("{denied} of {} {verb} denied", count(decisions.len(), "request"))).told(context.json))
}

fn decide(engine: &mut PolicyEngine, number: usize, file: String, recorded: Recorded) -> Decided {
    let Recorded { endpoint, request, line, note, allowed: before } = recorded;
    let (allowed, reasons) = match engine.decide(&endpoint, &request) {
        Ok(decision) => (decision.allowed, decision.reasons),
        // An agent refuses what its policy cannot decide.
        Err(error) => (false, vec![error.to_string()]),
    };
    Decided { number, file, line, endpoint, note, allowed, recorded: before, reasons }
}

/// The policy, and what to call it.
fn policy(path: &Path, pod: Option<&str>) -> Outcome<(String, String)> {
    // Any policy of an agent decides, also one that cannot be described.
    if path.is_file() {
        let text = read::text(path)?;
        if text.lines().any(|line| line.starts_with("package "))
            && !text.lines().any(|line| line.trim_end() == "[data]")
        {
            return Ok((path.display().to_string(), text));
        }
    }
    let pods = read::pods(&[path.to_owned()])?;
    if !pods.iter().any(|found| found.rego.is_some()) {
        return Err(read::no_policy(&pods));
    }
    let names: Vec<_> = pods.iter().filter(|found| found.rego.is_some()).map(|found| found.title.clone()).collect();
    let fits = |found: &read::Pod| pod.is_none_or(|pod| found.name == pod || found.title == pod);
    let mut fitting = pods.iter().filter(|found| fits(found) && found.rego.is_some());
    match (fitting.next(), fitting.next()) {
        (Some(found), None) => Ok((read::place(found), found.rego.clone().unwrap_or_default())),
        (None, _) => Err(Failure::refuse(format!("no pod `{}` with a policy", pod.unwrap_or_default()))
            .hint(format!("there is {}", names.join(", ")))),
        (Some(_), Some(_)) => Err(Failure::refuse(format!("{} have a policy", count(names.len(), "pod")))
            .hint(format!("name one with `--pod`: {}", names.join(", ")))),
    }
}

fn text(title: &str, decisions: &[Decided], denied: usize, all: bool) -> String {
    let mut page = Page::of_stdout(all);
    page.title(0, title);
    page.blank();
    let mut index = 0;
    while let Some(decision) = decisions.get(index) {
        // A pod's log has thousands of the same; those that are allowed are counted.
        let same = |other: &&Decided| {
            other.allowed
                && other.recorded != Some(false)
                && other.endpoint == decision.endpoint
                && other.note == decision.note
        };
        let alike = decisions.get(index..).unwrap_or_default().iter().take_while(same).count().max(1);
        let last = if alike > 1 { format!("–{}", decision.number + alike - 1) } else { String::new() };
        let note = decision.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        let place = format!("{}:{}", decision.file, decision.line);
        let line = format!("{}{last} {}{note}, {place}", decision.number, decision.endpoint);
        if decision.allowed {
            page.row(2, "allowed", &line);
        } else {
            page.warning(2, "DENIED", &line);
        }
        if let Some(before) = decision.recorded.filter(|before| *before != decision.allowed) {
            page.row(2, "", &format!("the recording says that it was {}", if before { "allowed" } else { "denied" }));
        }
        for reason in &decision.reasons {
            page.text(15, 2, reason);
        }
        index += alike;
    }
    page.blank();
    let summary = match (denied, decisions.len()) {
        (0, 1) => "the request is allowed".to_owned(),
        (0, all) => format!("all {all} requests are allowed"),
        (denied, all) => format!("{} allowed, {denied} denied", all - denied),
    };
    page.text(0, 2, &summary);
    page.finish()
}
