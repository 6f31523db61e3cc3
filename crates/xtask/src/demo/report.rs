//! What a demonstration found out: the table at its end, and the file of `--json`, whose shape others read.

use serde::{Deserialize, Serialize};

/// The whole of it.
#[derive(Serialize, Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) steps: Vec<Step>,
    pub(crate) attacks: Vec<Attack>,
    pub(crate) bench: Vec<Bench>,
}

/// A step that was begun.
#[derive(Serialize, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) ok: bool,
    pub(crate) seconds: f64,
}

/// An attack, and what came of it. The hostile host prints one such object on a line.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
pub(crate) struct Attack {
    pub(crate) name: String,
    pub(crate) refused: bool,
    pub(crate) reason: String,
}

/// A measurement with a number of replicas.
#[derive(Serialize, Debug, PartialEq)]
pub(crate) struct Bench {
    pub(crate) replicas: u32,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// What `casemate bench --json` says, as far as it is kept.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) tps: f64,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) errors: u64,
}

impl Report {
    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("\n");
        let steps = self.steps.iter().map(|step| {
            vec![step.name.clone(), if step.ok { "ok" } else { "FAILED" }.to_owned(), format!("{:.2} s", step.seconds)]
        });
        text.push_str(&table(&["STEP", "RESULT", "TIME"], steps.collect()));
        if !self.attacks.is_empty() {
            let attacks = self.attacks.iter().map(|attack| {
                let result = if attack.refused { "refused" } else { "NOT REFUSED" };
                vec![attack.name.clone(), result.to_owned(), attack.reason.clone()]
            });
            text.push('\n');
            text.push_str(&table(&["ATTACK", "RESULT", "REASON"], attacks.collect()));
        }
        if !self.bench.is_empty() {
            let bench = self.bench.iter().map(|Bench { replicas, figures }| {
                let ms = |value: f64| format!("{value:.2} ms");
                vec![
                    replicas.to_string(),
                    format!("{:.1}/s", figures.tps),
                    ms(figures.mean_ms),
                    ms(figures.p50_ms),
                    ms(figures.p90_ms),
                    ms(figures.p99_ms),
                    figures.errors.to_string(),
                ]
            });
            text.push('\n');
            text.push_str(&table(&["REPLICAS", "ANSWERS", "MEAN", "P50", "P90", "P99", "ERRORS"], bench.collect()));
        }
        text
    }
}

/// Columns, left-aligned; the last one is as wide as it is.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let rows: Vec<&Vec<String>> = std::iter::once(&header).chain(&rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            steps: vec![Step { name: "up".to_owned(), ok: true, seconds: 1.25 }],
            attacks: vec![Attack { name: "other image".to_owned(), refused: false, reason: "none".to_owned() }],
            bench: vec![Bench {
                replicas: 2,
                figures: Figures { tps: 10.0, mean_ms: 1.0, p50_ms: 2.0, p90_ms: 3.0, p99_ms: 4.0, errors: 0 },
            }],
        }
    }

    #[test]
    fn the_file_has_exactly_the_published_shape() {
        assert_eq!(
            serde_json::to_string(&report()).expect("json"),
            r#"{"steps":[{"name":"up","ok":true,"seconds":1.25}],"attacks":[{"name":"other image","refused":false,"#
                .to_owned()
                + r#""reason":"none"}],"bench":[{"replicas":2,"tps":10.0,"mean_ms":1.0,"p50_ms":2.0,"p90_ms":3.0,"#
                + r#""p99_ms":4.0,"errors":0}]}"#
        );
    }

    #[test]
    fn the_table_names_what_went_wrong_in_words() {
        let text = report().table();
        assert!(text.contains("STEP  RESULT  TIME\nup    ok      1.25 s\n"), "{text}");
        assert!(text.contains("other image  NOT REFUSED  none\n"), "{text}");
        assert!(text.contains("2         10.0/s   1.00 ms"), "{text}");
    }
}
