//! Our lines in somebody else's file: put in between two markers, and taken out to the byte.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

const BEGIN: &str = "# BEGIN casemate-node ";
const END: &str = "# END casemate-node";
/// In the first marker when we had to end the file's last line ourselves.
const JOINED: &str = " (after a line without end)";
const ADVICE: &str = " -- written by casemate-node; change nothing up to END";

/// What is wrong with our lines in a file. Lines count from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A marker without the other.
    Dangling { line: usize },
    /// A second pair of markers.
    Twice { line: usize },
    /// What is between the markers is not what we wrote.
    Edited { line: usize },
    /// A key follows our lines, and so belongs to our last table.
    KeyAfter { line: usize },
}

/// A file without our lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stripped {
    /// The rest, as it was.
    pub(crate) text: String,
    /// Whether there were lines of ours.
    pub(crate) found: bool,
}

/// How a file ends its lines: as it ends the first.
pub(crate) fn line_end(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The line that an offset is in, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn digest(body: &str) -> String {
    let mut text = hex::encode(Sha256::digest(body.replace("\r\n", "\n").as_bytes()));
    text.truncate(12);
    text
}

/// Puts lines at the end of a file.
///
/// `body` has `\n` between its lines and after the last; the file's own line ends are used.
pub(crate) fn append(text: &str, body: &str) -> String {
    let end = line_end(text);
    let joined = !text.is_empty() && !text.ends_with('\n');
    let (glue, mark) = if joined { (end, JOINED) } else { ("", "") };
    let body = body.replace('\n', end);
    format!("{text}{glue}{BEGIN}{}{mark}{ADVICE}{end}{body}{END}{end}", digest(&body))
}

/// Takes our lines out.
pub(crate) fn strip(text: &str) -> Result<Stripped, Fault> {
    let Some(block) = find(text)? else { return Ok(Stripped { text: text.to_owned(), found: false }) };
    let Block { range, body, joined, line } = block;
    let marker = text[range.clone()].lines().next().unwrap_or_default();
    if !marker[BEGIN.len()..].starts_with(&digest(&text[body])) {
        return Err(Fault::Edited { line });
    }
    let (before, after) = (&text[..range.start], &text[range.end..]);
    let is_note = |line: &str| line.is_empty() || line.starts_with('#');
    if let Some((number, first)) = after.lines().map(str::trim).enumerate().find(|(_, line)| !is_note(line))
        && !first.starts_with('[')
        && !first.starts_with("{{")
    {
        return Err(Fault::KeyAfter { line: line_of(text, range.end) + number });
    }
    // The line end before our marker is ours, unless something was written behind it since.
    let before = match before.strip_suffix('\n') {
        Some(rest) if joined && after.is_empty() => rest.strip_suffix('\r').unwrap_or(rest),
        _ => before,
    };
    Ok(Stripped { text: format!("{before}{after}"), found: true })
}

struct Block {
    range: Range<usize>,
    body: Range<usize>,
    joined: bool,
    line: usize,
}

fn find(text: &str) -> Result<Option<Block>, Fault> {
    let mut found: Option<Block> = None;
    let mut open: Option<(usize, usize, bool, usize)> = None;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let start = offset;
        offset += line.len();
        let number = number + 1;
        if line.starts_with(BEGIN) {
            if found.is_some() {
                return Err(Fault::Twice { line: number });
            }
            if open.is_some() {
                return Err(Fault::Dangling { line: number });
            }
            open = Some((start, offset, line.contains(JOINED), number));
        } else if line.trim_end() == END {
            let Some((begin, body, joined, line)) = open.take() else { return Err(Fault::Dangling { line: number }) };
            found = Some(Block { range: begin..offset, body: body..start, joined, line });
        }
    }
    match open {
        Some((.., line)) => Err(Fault::Dangling { line }),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "[a.b]\n  c = 1\n";

    #[test]
    fn what_is_put_in_is_taken_out_to_the_byte() {
        for text in
            ["", "x = 1\n", "x = 1", "x = 1\r\n", "x = 1\r\ny = 2", "\n\n", "# only\n\n# notes", "\u{feff}x = 1\n"]
        {
            let with = append(text, BODY);
            assert!(with.starts_with(text), "{text:?}");
            assert_eq!(strip(&with), Ok(Stripped { text: text.to_owned(), found: true }), "{text:?}");
        }
    }

    #[test]
    fn a_file_keeps_its_line_ends() {
        let with = append("x = 1\r\n", BODY);
        assert_eq!(with.matches("\r\n").count(), with.matches('\n').count());
    }

    #[test]
    fn what_is_written_behind_our_lines_stays() {
        for before in ["x = 1\n", "x = 1"] {
            let with = append(before, BODY) + "[z]\n";
            assert_eq!(strip(&with).unwrap().text, "x = 1\n[z]\n");
        }
    }

    #[test]
    fn a_file_without_our_lines_is_as_it_is() {
        for text in ["", "x = 1", "# BEGIN something else\n"] {
            assert_eq!(strip(text), Ok(Stripped { text: text.to_owned(), found: false }));
        }
    }

    #[test]
    fn damage_is_refused_with_its_line() {
        let with = append("x = 1\n", BODY);
        let cases = [
            (with.replace("c = 1", "c = 2"), Fault::Edited { line: 2 }),
            (with.replace("  c = 1\n", ""), Fault::Edited { line: 2 }),
            (with.replace("# END casemate-node\n", ""), Fault::Dangling { line: 2 }),
            (with.split_inclusive('\n').filter(|line| !line.starts_with(BEGIN)).collect(), Fault::Dangling { line: 4 }),
            (format!("{with}{with}"), Fault::Twice { line: 7 }),
            (with.replacen("  c = 1\n", &format!("{BEGIN}\n"), 1), Fault::Dangling { line: 4 }),
            (format!("{with}\n# note\nkey = 1\n"), Fault::KeyAfter { line: 8 }),
        ];
        for (text, fault) in cases {
            assert_eq!(strip(&text), Err(fault), "{text}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!([0, 1, 2, 3, 9].map(|at| line_of("a\nb\n", at)), [1, 1, 2, 2, 3]);
    }
}
