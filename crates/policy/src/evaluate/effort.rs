//! How long the engine would take to read a policy, told before it begins.
//!
//! Its parser tries `[` and `{` as a comprehension first and then once more as a plain value. Whatever lies in the first
//! element is read twice for each such bracket around it, so forty brackets take longer than anybody waits, and some
//! thousands more than the stack holds. Policies of strangers are read too (`casemate policy show`).

/// LIMIT: readings of bytes beside the first [`USUAL`] of each, all together; 0.5 µs each, so a second.
const MAX_EFFORT: u64 = 2_000_000;
/// How often the bytes of long policies of ours are read on average, at most.
const USUAL: u64 = 3;
/// LIMIT: brackets around a value. The deepest in a policy of ours are a dozen.
const MAX_DEPTH: usize = 64;

/// Refuses what would take too long or too much stack to read.
pub(super) fn check(rego: &str) -> Result<(), String> {
    // For each open bracket, whether its first element is being read.
    let mut open: Vec<bool> = Vec::new();
    let mut doublings = 0_u32;
    let mut effort = 0_u64;
    let max_effort = MAX_EFFORT.saturating_add(USUAL.saturating_mul(rego.len() as u64));
    let mut line = 1;
    let mut bytes = rego.bytes();
    while let Some(byte) = bytes.next() {
        effort = effort.saturating_add(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
        match byte {
            b'\n' => line += 1,
            b'"' => while bytes.next().is_some_and(|byte| byte != b'"' && (byte != b'\\' || bytes.next().is_some())) {},
            b'`' => line += bytes.by_ref().take_while(|byte| *byte != b'`').filter(|byte| *byte == b'\n').count(),
            b'#' => line += bytes.by_ref().find(|byte| *byte == b'\n').map_or(0, |_| 1),
            b'[' | b'{' | b'(' => {
                open.push(true);
                doublings += 1;
            }
            b']' | b'}' | b')' if open.pop() == Some(true) => doublings -= 1,
            b',' if open.last() == Some(&true) => {
                open.pop();
                open.push(false);
                doublings -= 1;
            }
            _ => {}
        }
        if effort > max_effort || open.len() > MAX_DEPTH {
            let depth = open.len();
            return Err(format!("line {line}: {depth} brackets inside each other, which would take too long to read"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::PolicyEngine;
    use super::*;

    const BEGIN: &str = "package agent_policy\nimport rego.v1\n";

    #[test]
    fn brackets_that_take_too_long_are_refused_at_once() {
        let nest = |open: &str, count: usize, close: &str| format!("{}1{}", open.repeat(count), close.repeat(count));
        for value in [
            nest("[", 22, "]"),
            nest("[", 40, ""),
            nest("{", 40, "}"),
            nest("{\"a\": ", 40, "}"),
            nest("[{\"a\": ", 20, "}]"),
            nest("[x | x := ", 40, "]"),
            nest("[1, ", 100_000, "]"),
            nest("{\"a\": 1, \"b\": ", 5_000, "}"),
            nest("f(1, ", 5_000, ")"),
            // Many that are short enough by themselves.
            vec![nest("[", 16, "]"); 50].join(", "),
        ] {
            let error = PolicyEngine::new(&format!("{BEGIN}x := [0, {value}]\n")).err().unwrap().to_string();
            assert!(error.starts_with("policy: line 3: ") && error.contains("too long to read"), "{error}");
        }
    }

    #[test]
    fn brackets_in_text_are_no_brackets() {
        let many = "[".repeat(100);
        for (text, line) in [
            (format!("x := \"{many}\"\n"), 3),
            (format!("x := \"\\\"{many}\\\\\"\n"), 3),
            (format!("x := `{many}\n\n`\n"), 5),
            (format!("# {many}\nx := 1\n"), 4),
            (format!("x := [{}]\n", vec!["[[1, [2]], {\"a\": [3]}]"; 1000].join(",")), 3),
        ] {
            assert_eq!(PolicyEngine::new(&format!("{BEGIN}{text}")).err().map(|error| error.to_string()), None);
            let worse = check(&format!("{BEGIN}{text}y := {}", "[".repeat(40))).unwrap_err();
            assert!(worse.starts_with(&format!("line {}: ", line + 1)), "{worse}");
        }
    }
}
