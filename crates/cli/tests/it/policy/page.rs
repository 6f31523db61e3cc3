//! `docs/policy.md` shows what the commands print: each of its commands is run by one test here, which compares. With
//! `UPDATE_EXPECT=1` it writes the page anew.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;

/// The commands of the page, each with [`on_page`] in one test.
const COMMANDS: [&str; 4] = [
    "casemate policy diff old new",
    "casemate policy diff old.json new.json",
    "casemate policy show resources --manifest manifest.json",
    "casemate policy test policy.rego r.json",
];

/// Stands on the page for lines that it leaves out.
const LEFT_OUT: &str = "  …";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.md")
}

/// As [`check`], and the same output stands on the page.
pub(super) fn on_page(files: &[(&str, &str)], arguments: &[&str], expected: Expect) {
    static PAGE: Mutex<()> = Mutex::new(());
    check(files, arguments, expected);
    let command = format!("casemate {}", arguments.join(" "));
    assert!(COMMANDS.contains(&command.as_str()), "`{command}` is not known to be on the page");
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let printed = casemate(folder(&files).path(), arguments);
    let (_, printed) = printed.split_once("--- stdout\n").expect("what it prints");
    let printed = printed.replacen("--- stderr\n", "", 1);

    let _one_at_a_time = PAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let page = std::fs::read_to_string(path()).expect("the page");
    let begin = format!("```\n$ {command}\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("`{command}` is not on the page"));
    let (block, after) = rest.split_once("```\n").expect("the block ends");
    let shown = as_shown(&printed, block);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        if shown != block {
            std::fs::write(path(), format!("{before}{begin}{shown}```\n{after}")).expect("the page is written");
        }
        return;
    }
    assert_eq!(block, shown, "docs/policy.md shows something else for `{command}`; UPDATE_EXPECT=1 corrects it");
}

/// The output with as much left out as in the block: from the first blank line to the line behind the mark.
fn as_shown(printed: &str, block: &str) -> String {
    let Some((_, tail)) = block.split_once(&format!("{LEFT_OUT}\n\n")) else { return printed.to_owned() };
    let anchor = format!("\n{}\n", tail.lines().next().unwrap_or_default());
    let head = printed.find("\n\n").map_or(printed.len(), |at| at + 2);
    let Some(at) = printed.find(&anchor) else { return printed.to_owned() };
    format!("{}{LEFT_OUT}\n\n{}", &printed[..head], &printed[at + 1..])
}

#[test]
fn every_command_of_the_page_is_run_by_a_test() {
    let page = std::fs::read_to_string(path()).expect("the page");
    let mut commands: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    commands.sort_unstable();
    assert_eq!(commands, COMMANDS);
}
