//! Text in the making: titles, rows of a label and a value, and nothing in either that moves the cursor.

use protocol::text::printable;

use crate::commands::explain::text::{Style, short, wrap};

/// Columns at most: what is to be read and signed also stands in mails and terminals of 80.
const WIDEST: usize = 80;
/// Columns of a label.
const LABEL: usize = 13;

/// Lines.
pub(super) struct Page {
    style: Style,
    lines: Vec<String>,
}

impl Page {
    pub(super) fn of_stdout(all: bool) -> Self {
        let style = Style::of_stdout(all);
        Self { style: Style { width: style.width.min(WIDEST), ..style }, lines: Vec::new() }
    }

    /// Whether values are shown in full.
    pub(super) fn all(&self) -> bool {
        self.style.all
    }

    /// Text as it may be printed: digests short unless everything is shown.
    fn clean(&self, text: &str) -> String {
        let text = printable(text);
        if self.style.all { text } else { short(&text) }
    }

    fn coloured(&self, code: u8, text: String) -> String {
        if self.style.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    }

    pub(super) fn blank(&mut self) {
        if self.lines.last().is_some_and(|line| !line.is_empty()) {
            self.lines.push(String::new());
        }
    }

    /// A line of its own, bold on a terminal.
    pub(super) fn title(&mut self, indent: usize, text: &str) {
        let width = self.style.width - indent;
        for line in wrap(&self.clean(text), width, width, 2) {
            let line = self.coloured(1, line);
            self.lines.push(format!("{:indent$}{line}", ""));
        }
    }

    /// A paragraph.
    pub(super) fn text(&mut self, indent: usize, hanging: usize, text: &str) {
        let width = self.style.width - indent;
        for line in wrap(&self.clean(text), width, width, hanging) {
            self.lines.push(format!("{:indent$}{line}", ""));
        }
    }

    /// A label and what belongs to it.
    pub(super) fn row(&mut self, indent: usize, label: &str, text: &str) {
        self.write_row(indent, LABEL, label, text, None);
    }

    /// A row that a reader should not miss: yellow on a terminal.
    pub(super) fn warning(&mut self, indent: usize, label: &str, text: &str) {
        self.write_row(indent, LABEL, label, text, Some(33));
    }

    /// A row with a short label.
    pub(super) fn value(&mut self, indent: usize, label: &str, text: &str) {
        self.write_row(indent, label.len() + 2, label, text, None);
    }

    fn write_row(&mut self, indent: usize, columns: usize, label: &str, text: &str, colour: Option<u8>) {
        let width = self.style.width - indent - columns;
        for (index, line) in wrap(&self.clean(text), width, width, 2).into_iter().enumerate() {
            let label = if index == 0 { printable(label) } else { String::new() };
            let line = line.trim_end().to_owned();
            let line = colour.map_or(line.clone(), |code| self.coloured(code, line));
            self.lines.push(format!("{:indent$}{label:<columns$}{line}", ""));
        }
    }

    /// Text as it is, apart from what moves the cursor: rules have lines of their own.
    pub(super) fn verbatim(&mut self, text: &str) {
        let tabs = text.replace('\t', "    ");
        self.lines.extend(tabs.lines().map(printable));
    }

    pub(super) fn finish(mut self) -> String {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        self.lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }
}

/// `1 pod`, `2 pods`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
