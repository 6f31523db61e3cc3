//! What changed in reference values, and whether more Evidence is accepted than before.
//!
//! Values are compared as JSON, so that a field which a later release adds is compared, too. Of a field that is not in
//! the tables below it is only said that it changed.

use std::collections::BTreeSet;

use protocol::manifest::ReferenceValues;
use serde_json::Value;

use super::Effect;

/// Sets that demand something: more in them means that less is accepted. All other sets list what is accepted.
const DEMANDS: [&str; 1] = ["mitigations"];
/// Numbers of which a higher one accepts more. All others are floors.
const CEILINGS: [&str; 1] = ["grace_days"];
/// Numbers and texts in which neither direction is looser.
const NEITHER: [&str; 4] = ["vmpl", "version", "platform", "product"];

type Say<'a> = dyn FnMut(Effect, String, Option<String>, Option<String>) + 'a;

/// Compares; `say` gets each change.
pub(super) fn compare(was: &ReferenceValues, now: &ReferenceValues, say: &mut Say<'_>) {
    let json = |values: &ReferenceValues| serde_json::to_value(values).unwrap_or_default();
    let (was, now) = (json(was), json(now));
    for tee in members(&was, &now) {
        let (before, after) = (&was[tee.as_str()], &now[tee.as_str()]);
        match (before, after) {
            _ if before == after => {}
            (Value::Null, _) => {
                say(
                    Effect::Opens,
                    format!("reference values: Evidence of {tee} is accepted"),
                    None,
                    Some(entries(after)),
                );
            }
            (_, Value::Null) => {
                say(
                    Effect::Closes,
                    format!("reference values: Evidence of {tee} is no longer accepted"),
                    Some(entries(before)),
                    None,
                );
            }
            (Value::Array(before), Value::Array(after)) => platforms(&tee, before, after, say),
            _ => fields(&tee, "", before, after, say),
        }
    }
}

fn entries(value: &Value) -> String {
    match value.as_array() {
        Some(all) => all.iter().map(|entry| entry["platform"].as_str().unwrap_or("?")).collect::<Vec<_>>().join(", "),
        None => value.to_string(),
    }
}

fn members(was: &Value, now: &Value) -> BTreeSet<String> {
    let keys = |value: &Value| value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    keys(was).into_iter().chain(keys(now)).collect()
}

/// Entries of a platform are joined in their order.
fn platforms(tee: &str, was: &[Value], now: &[Value], say: &mut Say<'_>) {
    let names: BTreeSet<&str> = was.iter().chain(now).filter_map(|entry| entry["platform"].as_str()).collect();
    for name in names {
        let of = |all: &[Value]| -> Vec<Value> {
            all.iter().filter(|entry| entry["platform"].as_str() == Some(name)).cloned().collect()
        };
        let (before, after) = (of(was), of(now));
        // An entry that is in both lists is no change, wherever it stands.
        let before_only: Vec<&Value> = before.iter().filter(|entry| !after.contains(entry)).collect();
        let after_only: Vec<&Value> = after.iter().filter(|entry| !before.contains(entry)).collect();
        for index in 0..before_only.len().max(after_only.len()) {
            let path = format!("{tee} `{name}`");
            match (before_only.get(index), after_only.get(index)) {
                (Some(before), Some(after)) => fields(&path, "", before, after, say),
                (None, Some(after)) => {
                    say(
                        Effect::Opens,
                        format!("reference values: {path} has one more entry"),
                        None,
                        Some(after.to_string()),
                    );
                }
                (Some(before), None) => {
                    say(
                        Effect::Closes,
                        format!("reference values: {path} has one entry less"),
                        Some(before.to_string()),
                        None,
                    );
                }
                (None, None) => {}
            }
        }
    }
}

fn fields(entry: &str, path: &str, was: &Value, now: &Value, say: &mut Say<'_>) {
    if was == now {
        return;
    }
    if let (Value::Object(_), Value::Object(_)) = (was, now) {
        for key in members(was, now) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            fields(entry, &path, &was[key.as_str()], &now[key.as_str()], say);
        }
        return;
    }
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        value => Some(value.to_string()),
    };
    let effect = effect(path, was, now);
    let word = match effect {
        Effect::Opens => "is looser",
        Effect::Changes => "is another",
        Effect::Closes => "is stricter",
    };
    say(effect, format!("reference values: {path} of {entry} {word}"), text(was), text(now));
}

fn effect(path: &str, was: &Value, now: &Value) -> Effect {
    let has = |list: &[&str]| path.split('.').any(|part| list.contains(&part));
    let opens = |yes: bool| if yes { Effect::Opens } else { Effect::Closes };
    if has(&NEITHER) {
        return Effect::Changes;
    }
    let any = |value: &Value| value == "any";
    match (was, now) {
        (was, now) if any(was) != any(now) => opens(any(now)),
        // A demand that is absent is not made; an absent list of what is accepted accepts nothing more.
        (Value::Null, Value::Array(_)) | (Value::Array(_), Value::Null) => {
            let optional = ["id_key_digests", "author_key_digests", "family_ids", "image_ids"];
            let demands = has(&DEMANDS) || has(&optional);
            opens(now.is_null() == demands)
        }
        (Value::Number(was), Value::Number(now)) => {
            let higher = now.as_f64() > was.as_f64();
            opens(higher == has(&CEILINGS))
        }
        (Value::Bool(_), Value::Bool(now)) if path.ends_with("provisional_firmware") => opens(*now),
        (Value::Array(was), Value::Array(now)) => {
            let (gained, lost) =
                (now.iter().any(|item| !was.contains(item)), was.iter().any(|item| !now.contains(item)));
            match (gained, lost, has(&DEMANDS)) {
                (true, false, demands) => opens(!demands),
                (false, true, demands) => opens(demands),
                // Something that was not accepted now is, whatever else no longer is.
                (true, true, false) => Effect::Opens,
                _ => Effect::Changes,
            }
        }
        _ => Effect::Changes,
    }
}
