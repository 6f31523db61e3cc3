//! What a check says.

use std::fmt;

use protocol::text::quoted;
use serde::Serialize;
use serde_json::Value;

use crate::bundle::Unknown;
use crate::kind::Kind;
use crate::view::text;

/// LIMIT: findings of one check. A cluster has thousands of pods, and nobody reads the two-hundredth.
const MAX_FINDINGS: usize = 200;
/// LIMIT: how much of a peer's words a finding quotes.
const MAX_QUOTE: usize = 240;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or is not protected.
    Problem,
    /// It works, and will or may not.
    Warning,
}

impl Severity {
    /// In messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
        }
    }
}

/// What a finding is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Subject {
    /// `Pod`, or a word of ours such as `machine`.
    pub kind: String,
    /// Where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Subject {
    /// An object of the cluster.
    pub fn of(kind: Kind, object: &Value) -> Self {
        Self::named(kind.name(), Some(text(object, "/metadata/namespace")), text(object, "/metadata/name"))
    }

    /// Anything.
    pub fn named(kind: &str, namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Self { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    /// For `kubectl`: `deployment web -n default`.
    pub fn arguments(&self) -> String {
        let name = format!("{} {}", self.kind.to_lowercase(), shell(&self.name));
        match &self.namespace {
            Some(namespace) => format!("{name} -n {}", shell(namespace)),
            None => name,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None if self.name.is_empty() => f.write_str(&self.kind),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// About what.
    pub subject: Subject,
    /// What is wrong, in a sentence.
    pub what: String,
    /// The evidence for it.
    pub why: String,
    /// What to do.
    pub mend: String,
    /// Commands that do it, ready for a shell; words in capitals are for the reader to fill in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Finding {
    /// Something that does not work.
    pub fn problem(subject: Subject, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Problem,
            subject,
            what: what.into(),
            why: String::new(),
            mend: String::new(),
            commands: Vec::new(),
        }
    }

    /// Something that will not, or may not.
    pub fn warning(subject: Subject, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::problem(subject, what) }
    }

    /// The evidence.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// What to do.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }

    /// One more command of the mending.
    #[must_use]
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}

/// Where a check puts what it finds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    pub(crate) found: Vec<Finding>,
    pub(crate) unknown: Vec<Unknown>,
    pub(crate) left_out: usize,
}

impl Findings {
    /// Adds one; the same one twice is one.
    pub fn push(&mut self, finding: Finding) {
        if self.found.contains(&finding) {
            return;
        }
        if self.found.len() >= MAX_FINDINGS {
            self.left_out = self.left_out.saturating_add(1);
        } else {
            self.found.push(finding);
        }
    }

    /// Part of what was to be looked at is not there; the check goes on without it.
    pub fn unknown(&mut self, unknown: Unknown) {
        if !self.unknown.contains(&unknown) {
            self.unknown.push(unknown);
        }
    }

    /// The value, or a note that it is not there.
    pub fn known<T>(&mut self, answer: Result<T, Unknown>) -> Option<T> {
        answer.map_err(|unknown| self.unknown(unknown)).ok()
    }
}

/// The beginning of what a peer said, on one line.
pub(crate) fn quote(words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    let short = quoted(&words, MAX_QUOTE);
    if words.chars().count() > MAX_QUOTE { format!("{short}…") } else { short }
}

/// A word for a shell. Names come from a cluster or from a file, and a user pastes what we print.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/:=@%+,-".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return word.to_owned();
    }
    let word = protocol::text::printable(word);
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_a_command() {
        for (word, shown) in [
            ("web-0", "web-0"),
            ("us-docker.pkg.dev/p/r/web:1", "us-docker.pkg.dev/p/r/web:1"),
            ("$(reboot)", "'$(reboot)'"),
            ("a'; reboot #", r"'a'\''; reboot #'"),
            ("a\nreboot", "'a?reboot'"),
            ("--all", "'--all'"),
            ("", "''"),
        ] {
            assert_eq!(shell(word), shown);
        }
    }

    #[test]
    fn a_check_that_finds_too_much_says_how_much_it_left_out() {
        let mut findings = Findings::default();
        for number in 0..MAX_FINDINGS + 7 {
            let finding = Finding::problem(Subject::named("Pod", None, &number.to_string()), "x");
            findings.push(finding);
        }
        findings.push(Finding::problem(Subject::named("Pod", None, "0"), "x"));
        assert_eq!(findings.found.len(), MAX_FINDINGS);
        assert_eq!(findings.left_out, 7);
    }

    #[test]
    fn what_peers_say_is_short_and_on_one_line() {
        assert_eq!(quote("a\n  b\u{1b}[2J"), "a b?[2J");
        assert_eq!(quote(&"x".repeat(1000)).chars().count(), MAX_QUOTE + 1);
    }
}
