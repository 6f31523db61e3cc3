//! Where text goes: results to stdout, everything else to stderr. The only place that prints.

use std::fmt::Display;
use std::io::Write as _;

use protocol::text::{is_printable, printable};

/// A result, for the user or a pipe. A closed pipe is the reader's wish, not an error.
pub(crate) fn result(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A result for programs. What a terminal would act on is escaped in it.
pub(crate) fn json(value: &impl Display) {
    result(&safe_json(&value.to_string()));
}

/// A message beside the result. Messages quote registries, hosts and files, so nothing in them moves the cursor.
pub(crate) fn say(text: &str) {
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
}

/// JSON in which what is not printable has its other spelling; such characters can stand in strings alone.
fn safe_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c) || c == '\n' {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// The line under everything that rests on a software TEE (promise P8).
pub(crate) const INSECURE: &str =
    "INSECURE: the evidence is from a software TEE; it proves nothing to anybody who does not trust this machine";

/// A table with left-aligned columns, two spaces apart.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut header.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["inference-0".to_owned(), "1/1".to_owned()], vec!["c".to_owned(), "0/1".to_owned()]];
        expect_test::expect![[r"
            NAME         READY
            inference-0  1/1
            c            0/1"]]
        .assert_eq(&table(&["NAME", "READY"], &rows));
    }

    #[test]
    fn json_has_the_same_text_in_another_spelling() {
        let hostile = "a\u{1b}[2J\u{9b}c\u{202e}\u{7f}\u{1f600}";
        let json = safe_json(&serde_json::to_string_pretty(&[hostile]).unwrap());
        assert!(json.chars().all(|c| is_printable(c) || c == '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [hostile]);
    }
}
