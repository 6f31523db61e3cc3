//! Where text goes: results to stdout, everything else to stderr. The only place that prints.

use std::io::Write as _;

/// A result, for the user or a pipe. A closed pipe is the reader's wish, not an error.
pub(crate) fn result(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A message beside the result.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
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
}
