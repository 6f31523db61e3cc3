//! An explanation as text: a headline, a line for each section, problems below their section, hints at the end.
//!
//! Nothing in it depends on colour. Everything that is printed goes through [`printable`], whoever wrote it: Evidence and
//! certificates are a peer's, and a peer does not write on the user's terminal.

use std::io::IsTerminal as _;

use protocol::text::printable;
use verifier::explain::{Claim, Explanation, Section, Verdict};

/// Columns of a text that goes to no terminal.
const PIPED: usize = 100;
/// Columns that are used at most: longer lines are hard to follow.
const WIDEST: usize = 120;
/// Columns that are used at least; a narrower terminal wraps by itself.
const NARROWEST: usize = 40;
/// Where the facts of a section would have fewer columns than this, they go below its title.
const FACTS: usize = 36;
/// A title with more columns than this has its own line, so that one long name does not push everything to the right.
const TITLE: usize = 24;
/// Sections that the headline names.
const NAMED: usize = 3;
/// Claims that are shown of a section that has none of [`IMPORTANT`].
const FIRST: usize = 3;

/// The claims that most readers look for, in sections of any kind.
const IMPORTANT: &[&str] = &[
    // What runs.
    "measurement",
    "mrtd",
    "rtmr0",
    "rtmr1",
    "rtmr2",
    "rtmr3",
    "mrenclave",
    "mrsigner",
    "product_id",
    "svn",
    "host data",
    "host_data",
    "mr_config_id",
    "mrconfigid",
    "config_id",
    "vmpl",
    "debug",
    "vcpus",
    // On what.
    "key",
    "product",
    "chip id",
    "platform_instance_id",
    "fmspc",
    "model",
    "pdi",
    "driver version",
    "vbios version",
    "firmware version",
    "mode",
    // In which state.
    "reported",
    "status",
    "subject",
    "issuer",
    "valid until",
    "next_update",
    "platform.advisories",
    "certificates",
    "good until",
    "nonce",
    "report data",
    "report_data",
    "measurements compared",
    "events",
    "replayed",
];

/// How a text is to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Columns.
    pub(crate) width: usize,
    /// Whether verdicts are coloured.
    pub(crate) colour: bool,
    /// Whether every claim is shown.
    pub(crate) all: bool,
}

impl Style {
    /// As standard output is.
    pub(crate) fn of_stdout(all: bool) -> Self {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let columns = || rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        let width = if terminal { columns().filter(|columns| *columns > 0) } else { None };
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = terminal && !set("NO_COLOR") && !dumb;
        Self { width: width.unwrap_or(PIPED).clamp(NARROWEST, WIDEST), colour, all }
    }
}

/// LIMIT: hex digits in a row that a line of text shows; more of them are a digest, of which [`SHORT`] are enough.
const DIGITS: usize = 32;
/// As many digits as the values of claims show.
const SHORT: usize = 12;

/// Text with digests shortened as those of claims are; JSON has them whole.
pub(crate) fn short(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_hexdigit() => run.push(c),
            c => {
                let kept = if run.len() >= DIGITS { run.get(..SHORT).unwrap_or(&run) } else { &run };
                result.push_str(kept);
                run.clear();
                result.extend(c);
            }
        }
    }
    result
}

/// `SEV-SNP report, version 3: could not tell (revocation)`
pub(crate) fn headline(explanation: &Explanation) -> String {
    let verdict = explanation.verdict;
    let subject = printable(&explanation.subject);
    if verdict == Verdict::Note {
        return format!("{subject}: nothing in it was judged");
    }
    let titles: Vec<String> = explanation
        .sections
        .iter()
        .filter(|section| section.verdict == verdict && verdict != Verdict::Verified)
        .map(|section| printable(&section.title))
        .collect();
    let more = titles.len().saturating_sub(NAMED);
    let mut named = titles.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        named.push_str(&format!(" and {more} more"));
    }
    let word = verdict.name();
    if named.is_empty() { format!("{subject}: {word}") } else { format!("{subject}: {word} ({named})") }
}

/// The whole text, without a newline at its end. `notes` say how it was judged, a line each.
pub(crate) fn render(explanation: &Explanation, notes: &[String], style: Style) -> String {
    let mut lines = wrap(&headline(explanation), style.width, style.width, 2);
    for note in notes {
        lines.extend(
            wrap(&printable(note), style.width - 2, style.width - 2, 2).into_iter().map(|line| format!("  {line}")),
        );
    }
    let titles = explanation.sections.iter().map(|section| section.title.chars().count());
    let titles = titles.filter(|length| *length <= TITLE).max().unwrap_or(0);
    let words = explanation.sections.iter().map(|section| section.verdict.name().len()).max().unwrap_or(0);
    let mut page = Page { style, titles, words, lines, numbered: numbered(explanation), number: 0, hidden: 0 };
    if !explanation.sections.is_empty() {
        page.lines.push(String::new());
    }
    for section in &explanation.sections {
        page.section(section);
    }
    let total: usize = explanation.sections.iter().map(|section| section.claims.len()).sum();
    if page.hidden > 0 {
        let text = format!("{} of {total} claims are not shown: `--all` shows them", page.hidden);
        page.lines.push(String::new());
        page.lines.extend(wrap(&text, style.width, style.width, 0));
    }
    page.hints(explanation);
    page.lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Whether problems get numbers: where there are several, a hint says to which it belongs.
fn numbered(explanation: &Explanation) -> bool {
    explanation.sections.iter().map(|section| section.problems.len()).sum::<usize>() > 1
}

/// The text in the making.
struct Page {
    style: Style,
    titles: usize,
    words: usize,
    lines: Vec<String>,
    numbered: bool,
    number: usize,
    hidden: usize,
}

impl Page {
    /// Where the facts of a section begin.
    fn column(&self) -> usize {
        let beside = 2 + self.titles + 2 + self.words + 2;
        if beside + FACTS <= self.style.width { beside } else { 4 }
    }

    fn section(&mut self, section: &Section) {
        let title = printable(&section.title);
        let word = section.verdict.name();
        let coloured = if self.style.colour { colour(section.verdict, word) } else { word.to_owned() };
        let gap = " ".repeat(self.words - word.len() + 2);
        let head = format!("  {title:<titles$}  {coloured}{gap}", titles = self.titles);
        let column = self.column();
        let width = self.style.width - column;
        let mut below = self.facts(section, width);
        for problem in &section.problems {
            self.number += 1;
            let message = printable(&problem.message);
            let message = if self.style.all { message } else { short(&message) };
            let (text, hanging) = if self.numbered {
                (format!("{}. {message}", self.number), self.number.to_string().len() + 2)
            } else {
                (message, 0)
            };
            below.extend(wrap(&text, width, width, hanging));
        }
        let mut below = below.into_iter();
        if column == 4 || title.chars().count() > self.titles {
            self.lines.push(head);
        } else {
            self.lines.push(head + &below.next().unwrap_or_default());
        }
        let space = " ".repeat(column);
        self.lines.extend(below.map(|line| format!("{space}{line}")));
    }

    /// What a section says, in lines of this width: one for each claim where all are shown, else as many as fit.
    fn facts(&mut self, section: &Section, width: usize) -> Vec<String> {
        let endorsed = section.endorsed_by.as_ref().map(|endorser| format!("endorsed by {}", printable(endorser)));
        if self.style.all {
            let widest = section.claims.iter().map(|claim| printable(&claim.name).chars().count()).max().unwrap_or(0);
            // A name that is much longer than others, as of an event, must not push all values to the right.
            let names = widest.min(width / 2);
            let claims = section.claims.iter().flat_map(|claim| {
                let text = format!("{:<names$}  {}", printable(&claim.name), printable(&claim.value.to_string()));
                wrap(&text, width, width, (names + 2).min(width / 2))
            });
            return endorsed.iter().flat_map(|text| wrap(text, width, width, 2)).chain(claims).collect();
        }
        let shown = important(&section.claims);
        self.hidden += section.claims.len() - shown.len();
        let facts: Vec<String> = shown
            .into_iter()
            .map(|claim| format!("{} {}", printable(&claim.name), printable(&claim.value.to_string())))
            .chain(endorsed)
            .collect();
        fill(&facts, width)
    }

    /// The hints, each once, with the numbers of the problems that it is for.
    fn hints(&mut self, explanation: &Explanation) {
        let mut hints: Vec<(String, Vec<String>)> = Vec::new();
        let problems = explanation.sections.iter().flat_map(|section| &section.problems);
        for (number, problem) in (1..).zip(problems) {
            let Some(hint) = &problem.hint else { continue };
            let (hint, number) = (printable(hint), format!("{number}"));
            match hints.iter_mut().find(|(known, _)| *known == hint) {
                Some((_, numbers)) => numbers.push(number),
                None => hints.push((hint, vec![number])),
            }
        }
        for (index, (hint, numbers)) in hints.into_iter().enumerate() {
            if index == 0 {
                self.lines.push(String::new());
            }
            let place = if self.numbered { format!(" ({})", numbers.join(", ")) } else { String::new() };
            let width = self.style.width;
            self.lines.extend(wrap(&format!("hint: {hint}{place}"), width, width, 6));
        }
    }
}

fn colour(verdict: Verdict, word: &str) -> String {
    let code = match verdict {
        Verdict::Verified => 32,
        Verdict::Refused => 31,
        Verdict::Unknown => 33,
        Verdict::Note => 2,
    };
    format!("\u{1b}[{code}m{word}\u{1b}[0m")
}

/// The claims that are shown unless all are asked for.
fn important(claims: &[Claim]) -> Vec<&Claim> {
    let known: Vec<&Claim> = claims.iter().filter(|claim| IMPORTANT.contains(&claim.name.as_str())).collect();
    if known.is_empty() { claims.iter().take(FIRST).collect() } else { known }
}

/// Facts with semicolons between them, as many on a line as fit; one that is longer than a line is wrapped.
fn fill(facts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, fact) in facts.iter().enumerate() {
        let fact = if index + 1 < facts.len() { format!("{fact};") } else { fact.clone() };
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + fact.chars().count() <= width => {
                last.push(' ');
                last.push_str(&fact);
            }
            _ => lines.extend(wrap(&fact, width, width, 2)),
        }
    }
    lines
}

/// Wraps at spaces. A word that is longer than a line is cut: digests have no spaces.
pub(crate) fn wrap(text: &str, first: usize, rest: usize, hanging: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    let mut is_empty = true;
    for word in text.split(' ') {
        let width = if lines.is_empty() { first } else { rest };
        let mut word: Vec<char> = word.chars().collect();
        if !is_empty && length + 1 + word.len() > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(hanging)));
            (length, is_empty) = (hanging, true);
        }
        if !is_empty {
            line.push(' ');
            length += 1;
        }
        while length + word.len() > rest.max(hanging + 8) {
            let rest_of_word = word.split_off((rest.max(hanging + 8) - length).min(word.len()));
            line.extend(word);
            lines.push(std::mem::replace(&mut line, " ".repeat(hanging)));
            length = hanging;
            word = rest_of_word;
        }
        length += word.len();
        line.extend(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests;
