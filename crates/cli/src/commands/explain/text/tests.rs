use expect_test::{Expect, expect};
use protocol::text::is_printable;
use verifier::Value;
use verifier::explain::{Problem, Section};

use super::*;

fn problem(message: &str, hint: Option<&str>) -> Problem {
    Problem { code: "x", message: message.to_owned(), hint: hint.map(ToOwned::to_owned) }
}

fn section(title: &str, verdict: Verdict, problems: &[Problem]) -> Section {
    let mut section = Section::note(title);
    section.verdict = verdict;
    section.problems = problems.to_vec();
    section
}

fn example() -> Explanation {
    let missing = Some("`--fetch` gets it");
    Explanation::new(
        "SEV-SNP report, version 3",
        vec![
            section("report", Verdict::Verified, &[])
                .claim("measurement", [0xab; 48])
                .claim("host data", [0; 32])
                .claim("vmpl", 0u8)
                .claim("family id", [0; 16])
                .by("ASK, which is endorsed by ARK-Milan"),
            section(
                "revocation",
                Verdict::Unknown,
                &[problem("AMD's revocation list for vcek of Milan is missing", missing)],
            ),
            section(
                "tcb",
                Verdict::Refused,
                &[
                    problem("tcb.reported.microcode: 209, floor 213", Some("update the node's microcode")),
                    problem("tcb.reported.snp: 8, floor 20", missing),
                ],
            ),
            section("platform", Verdict::Note, &[])
                .claim("smt", true)
                .claim("tsme", false)
                .claim("ecc", true)
                .claim("x", 1u8),
        ],
    )
}

fn check(explanation: &Explanation, width: usize, all: bool, expected: Expect) {
    let notes = ["judged as of 2026-01-01T00:00:00Z".to_owned()];
    let text = render(explanation, &notes, Style { width, colour: false, all });
    for line in text.lines() {
        assert!(line.chars().count() <= width, "{} of {width} columns: {line}", line.chars().count());
        assert!(!line.ends_with(' '), "{line:?}");
    }
    expected.assert_eq(&text);
}

#[test]
fn a_line_for_each_section_and_problems_below_theirs() {
    check(
        &example(),
        100,
        false,
        expect![[r#"
        SEV-SNP report, version 3: refused (tcb)
          judged as of 2026-01-01T00:00:00Z

          report      verified        measurement abababababab; host data 000000000000; vmpl 0;
                                      endorsed by ASK, which is endorsed by ARK-Milan
          revocation  could not tell  1. AMD's revocation list for vcek of Milan is missing
          tcb         refused         2. tcb.reported.microcode: 209, floor 213
                                      3. tcb.reported.snp: 8, floor 20
          platform    noted           smt yes; tsme no; ecc yes

        2 of 8 claims are not shown: `--all` shows them

        hint: `--fetch` gets it (1, 3)
        hint: update the node's microcode (2)"#]],
    );
}

#[test]
fn every_claim_has_its_own_line_where_all_are_asked_for() {
    check(
        &example(),
        100,
        true,
        expect![[r#"
        SEV-SNP report, version 3: refused (tcb)
          judged as of 2026-01-01T00:00:00Z

          report      verified        endorsed by ASK, which is endorsed by ARK-Milan
                                      measurement  abababababab
                                      host data    000000000000
                                      vmpl         0
                                      family id    000000000000
          revocation  could not tell  1. AMD's revocation list for vcek of Milan is missing
          tcb         refused         2. tcb.reported.microcode: 209, floor 213
                                      3. tcb.reported.snp: 8, floor 20
          platform    noted           smt   yes
                                      tsme  no
                                      ecc   yes
                                      x     1

        hint: `--fetch` gets it (1, 3)
        hint: update the node's microcode (2)"#]],
    );
}

#[test]
fn a_narrow_terminal_gets_facts_below_titles() {
    check(
        &example(),
        44,
        false,
        expect![[r#"
        SEV-SNP report, version 3: refused (tcb)
          judged as of 2026-01-01T00:00:00Z

          report      verified
            measurement abababababab;
            host data 000000000000; vmpl 0;
            endorsed by ASK, which is endorsed by
              ARK-Milan
          revocation  could not tell
            1. AMD's revocation list for vcek of
               Milan is missing
          tcb         refused
            2. tcb.reported.microcode: 209, floor
               213
            3. tcb.reported.snp: 8, floor 20
          platform    noted
            smt yes; tsme no; ecc yes

        2 of 8 claims are not shown: `--all` shows
        them

        hint: `--fetch` gets it (1, 3)
        hint: update the node's microcode (2)"#]],
    );
}

#[test]
fn a_single_problem_needs_no_number() {
    let explanation = Explanation::new(
        "TDX quote, version 4",
        vec![section("revocation", Verdict::Unknown, &[problem("it is missing", Some("fetch it"))])],
    );
    check(
        &explanation,
        60,
        false,
        expect![[r#"
        TDX quote, version 4: could not tell (revocation)
          judged as of 2026-01-01T00:00:00Z

          revocation  could not tell
            it is missing

        hint: fetch it"#]],
    );
}

#[test]
fn the_headline_names_what_the_verdict_comes_from() {
    let line = |sections: &[(&str, Verdict)]| {
        let sections = sections.iter().map(|(title, verdict)| section(title, *verdict, &[])).collect();
        headline(&Explanation::new("X", sections))
    };
    use Verdict::{Note, Refused, Unknown, Verified};
    assert_eq!(line(&[("a", Verified), ("b", Note)]), "X: verified");
    assert_eq!(line(&[("a", Verified), ("b", Unknown)]), "X: could not tell (b)");
    assert_eq!(line(&[("a", Refused), ("b", Unknown)]), "X: refused (a)");
    assert_eq!(
        line(&[("a", Refused), ("b", Refused), ("c", Refused), ("d", Refused), ("e", Refused)]),
        "X: refused (a, b, c and 2 more)"
    );
    assert_eq!(line(&[("a", Note)]), "X: nothing in it was judged");
    assert_eq!(line(&[]), "X: nothing in it was judged");
}

#[test]
fn whoever_wrote_it_nothing_moves_the_cursor() {
    let hostile = "a\u{1b}[2J\rb\u{9b}c\u{202e}d\u{2028}e\u{7f}\nf";
    let mut hostile_section = section(hostile, Verdict::Refused, &[problem(hostile, Some(hostile))]).by(hostile);
    hostile_section = hostile_section.claim(hostile, Value::Text(hostile.to_owned()));
    let explanation = Explanation::new(hostile, vec![hostile_section]);
    for all in [false, true] {
        let text = render(&explanation, &[hostile.to_owned()], Style { width: 80, colour: false, all });
        assert!(text.chars().all(|c| is_printable(c) || c == '\n'), "{text:?}");
        assert!(text.contains("a?[2J?b?c?d?e??f"), "{text}");
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    let plain = render(&example(), &[], Style { width: 80, colour: false, all: false });
    let mut coloured = render(&example(), &[], Style { width: 80, colour: true, all: false });
    assert!(coloured.contains("\u{1b}[31mrefused\u{1b}[0m"));
    for code in ["[0m", "[31m", "[32m", "[33m", "[2m"] {
        coloured = coloured.replace(&format!("\u{1b}{code}"), "");
    }
    assert_eq!(coloured, plain);
}

#[test]
fn long_words_are_cut_and_long_text_is_wrapped() {
    for width in [20, 33, 80] {
        for text in ["", " ", "short", &"0".repeat(200), &"word ".repeat(50), &format!("{} tail", "x".repeat(70))] {
            for hanging in [0, 2, 6] {
                let lines = wrap(text, width, width, hanging);
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
                let joined: String = lines.concat().split_whitespace().collect();
                assert_eq!(joined, text.split_whitespace().collect::<String>());
            }
        }
    }
}

#[test]
fn digests_are_short_in_text() {
    let digest = "ab".repeat(48);
    assert_eq!(short(&format!("is {digest}, not {digest}")), "is abababababab, not abababababab");
    assert_eq!(short("0123456789abcdef"), "0123456789abcdef");
    assert_eq!(short(&format!("/vcek/{digest}?blSPL=3")), "/vcek/abababababab?blSPL=3");
    assert_eq!(short(""), "");
}
