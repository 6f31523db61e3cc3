//! Text of a peer, as it may be shown to a person.
//!
//! A registry, a host or a stranger's file chooses names that end up in our messages. Control characters in them move
//! a terminal's cursor or start its commands, and marks of direction show one file's name as another's. Whoever quotes
//! a peer's text passes it through here; whoever prints does it once more, as the last who can.

/// Whether a character neither moves the cursor nor changes the order of others (Unicode Bidirectional Algorithm,
/// UAX #9, section 2).
pub const fn is_printable(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // `char::is_control`: the categories C0, DEL and C1.
    let controls = matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}');
    !controls && !reorders
}

/// One line of text, with `?` in the place of each character that is not [printable](is_printable).
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { '?' }).collect()
}

/// The beginning of a peer's text, at most `limit` characters, [printable].
pub fn quoted(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if is_printable(c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_is_left() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(!(is_printable(c) && c.is_control()), "{c:?}");
        }
        for (text, shown) in [
            ("registry.example/app:1", "registry.example/app:1"),
            ("größe 大きさ 😀", "größe 大きさ 😀"),
            ("a\u{1b}[2Jb\rc\nd\te\u{7f}\u{9b}", "a?[2Jb?c?d?e??"),
            ("ending \u{202e}fdp.exe\u{2066}", "ending ?fdp.exe?"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(quoted("größe\u{7f}", 5), "größe");
        assert_eq!(quoted("\u{7f}abc", 3), "?ab");
    }
}
