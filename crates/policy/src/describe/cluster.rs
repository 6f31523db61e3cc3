//! Values that the cluster alone knows, in what a container runs and in its variables.

use serde::Serialize;
use serde_json::Value;

use crate::policy_data::PATTERN_LETTERS;

/// An argument that holds values of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Argument {
    /// Its place in the list, from 0.
    pub place: usize,
    /// What the rules compare it with.
    pub pattern: String,
    /// The kinds of values in it, in order. None in a pattern that `generate` would not write: what fits it, the pattern
    /// alone says.
    pub values: Vec<String>,
}

/// What a kind of value is, and whose word it is.
pub fn value_words(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "hostname" => "the pod's host name",
        "pod-name" => "the pod's name",
        "pod-uid" => "the pod's UID",
        "index" => "the pod's index in its Job",
        "node-name" => "the name of a node, whichever the host says",
        "ip" => "an IP address, whichever the host says",
        "ips" => "one or two IP addresses, whichever the host says",
        _ => return None,
    })
}

/// A pattern as people write what it stands for, `--ip=$(ip)`, with the kinds of values in it. Nothing for a pattern that
/// means more than text and values.
pub fn readable(pattern: &str) -> Option<(String, Vec<String>)> {
    let mut rest = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let (mut text, mut kinds) = (String::new(), Vec::new());
    while let Some(letter) = rest.chars().next() {
        let after = rest.get(letter.len_utf8()..)?;
        if let Some((kind, tail)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            value_words(kind)?;
            text.push_str(&format!("$({kind})"));
            kinds.push(kind.to_owned());
            rest = tail;
        } else if letter == '\\' {
            let escaped = after.chars().next().filter(|letter| PATTERN_LETTERS.contains(*letter))?;
            text.push(escaped);
            rest = after.get(escaped.len_utf8()..)?;
        } else if PATTERN_LETTERS.contains(letter) {
            return None;
        } else {
            text.push(letter);
            rest = after;
        }
    }
    (!kinds.is_empty()).then_some((text, kinds))
}

/// Reads `args_from`, and puts into `args` what the rules compare, since they do not look at what else stands there.
/// Nothing where it is no list of patterns by place.
pub(super) fn arguments(from: &Value, args: &mut [String]) -> Option<Vec<Argument>> {
    let mut all = Vec::new();
    for (place, pattern) in from.as_object()? {
        let (number, pattern) = (place.parse::<usize>().ok()?, pattern.as_str()?);
        let arg = args.get_mut(number).filter(|_| number.to_string() == *place)?;
        let (text, values) = readable(pattern).unwrap_or((pattern.to_owned(), Vec::new()));
        *arg = text;
        all.push(Argument { place: number, pattern: pattern.to_owned(), values });
    }
    all.sort_by_key(|argument| argument.place);
    Some(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_of_ours_are_read_as_they_were_written() {
        for (pattern, text, values) in [
            (r"^\-\-ip=$(ip)$", "--ip=$(ip)", &["ip"][..]),
            ("^$(pod-name)$", "$(pod-name)", &["pod-name"]),
            (r"^http://$(pod-name)\.$(ip):80 ä$", "http://$(pod-name).$(ip):80 ä", &["pod-name", "ip"]),
            (r"^\$\(ip\)$(index)$", "$(ip)$(index)", &["index"]),
        ] {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(readable(pattern), Some((text.to_owned(), values)), "{pattern}");
        }
        for other in [
            "",
            "^",
            "$",
            "^$",
            "^text$",
            "$(ip)",
            "^.*$",
            "^$(ip)|x$",
            r"^\d$(ip)$",
            "^$(other)$",
            r"^$(ip)\$",
            "^$(ip",
        ] {
            assert_eq!(readable(other), None, "{other}");
        }
    }

    #[test]
    fn arguments_are_what_the_rules_compare() {
        let mut args = ["/bin/x".to_owned(), "a lie".to_owned(), "also".to_owned()];
        let all = arguments(&json!({"2": "^.*$", "1": "^$(ip)$"}), &mut args).unwrap();
        assert_eq!(args, ["/bin/x", "$(ip)", "^.*$"]);
        assert_eq!((all[0].place, all[0].values.as_slice()), (1, &["ip".to_owned()][..]));
        assert_eq!((all[1].pattern.as_str(), all[1].values.len()), ("^.*$", 0));
        for other in [json!([]), json!({"3": "^$(ip)$"}), json!({"01": "^$(ip)$"}), json!({"x": "y"}), json!({"1": 7})]
        {
            assert_eq!(arguments(&other, &mut args.clone()), None, "{other}");
        }
    }
}
