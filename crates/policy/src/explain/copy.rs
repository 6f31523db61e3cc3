//! Files, directories and links that the host copies in.

use serde_json::{Map, Value, json};

use super::Rules;
use super::differ::{Differ, is_empty, matches, show};
use crate::request::COPIED_PREFIX;

const COPY_FIELDS: [&str; 11] = [
    "path",
    "file_size",
    "file_mode",
    "file_type",
    "dir_mode",
    "uid",
    "gid",
    "offset",
    "data",
    "symlink_src",
    "symlink_target",
];

/// What no plain path and no link within its tree has.
fn leads_elsewhere(part: &str) -> bool {
    ["", ".", ".."].contains(&part)
}

/// Why a copy was refused.
pub(super) fn reasons(differ: &mut Differ, rules: &Rules, state: &Map<String, Value>, request: &Value) {
    let path = request["path"].as_str().unwrap_or_default();
    let Some(inside) = path.strip_prefix(COPIED_PREFIX) else {
        return differ.say(format!("path: got {}, policy has {COPIED_PREFIX}…", show(&request["path"])));
    };
    differ.empty_besides("", request, &COPY_FIELDS);
    for field in ["file_mode", "file_size", "offset", "uid", "gid"] {
        if request.get(field).is_some_and(Value::is_null) {
            differ.say(format!("{field}: got null, policy has a whole number"));
        }
        differ.count(field, &request[field]);
    }
    let modes = rules.copy_dir_modes.as_array().map(Vec::as_slice).unwrap_or_default();
    differ.one_of("dir_mode", request.get("dir_mode").unwrap_or(&json!(0)), modes);
    if request.get("data").is_some_and(|data| !data.is_array()) {
        differ.say(format!("data: got {}, policy has a list of bytes", show(&request["data"])));
    }
    if inside.split('/').any(leads_elsewhere) {
        return differ.say(format!("path: got {}, which is no plain path", show(&request["path"])));
    }
    let Some(kind) = kind(differ, request) else { return };
    place(differ, rules, &request["path"], inside, kind);
    if kind == "Regular" && !inside.contains('/') {
        if request["offset"].as_u64().is_some_and(|offset| offset > 0) {
            differ.say(format!("offset: got {}, policy has single files that come whole", request["offset"]));
        }
        if inside.get(..81).is_some_and(|drawn| state.contains_key(&format!("copied:{drawn}"))) {
            differ.say(format!("path: got {}, which was copied already", show(&request["path"])));
        }
    }
    let mode = request["file_mode"].as_u64().unwrap_or_default() % 0o10000;
    let targets = targets(request);
    match kind {
        "Regular" if mode >= 0o1000 => {
            differ.say(format!("file_mode: got {mode:#o}, policy has no set-user-id, set-group-id or sticky bit"));
        }
        "Directory" if mode >= 0o4000 => {
            differ.say(format!("file_mode: got {mode:#o}, policy has no set-user-id bit"));
        }
        _ => {}
    }
    if kind == "Directory" && request["data"].as_array().is_some_and(|data| !data.is_empty()) {
        differ.say("data: a directory has none");
    }
    if kind != "Symlink" {
        if !targets.is_empty() {
            differ.say("symlink_src, symlink_target: only a symbolic link has a target");
        }
        return;
    }
    link(differ, request, targets);
}

/// The type that mode and type name, where they name one.
fn kind<'a>(differ: &mut Differ, request: &'a Value) -> Option<&'a str> {
    let mut kinds: Vec<&str> = Vec::new();
    if let Some(kind) = Some(&request["file_type"]).filter(|kind| !is_empty(kind)) {
        kinds.push(kind.as_str().unwrap_or_default());
    }
    match request["file_mode"].as_u64().unwrap_or_default() / 0o10000 {
        0 => {}
        0o4 => kinds.push("Directory"),
        0o10 => kinds.push("Regular"),
        0o12 => kinds.push("Symlink"),
        _ => kinds.push(""),
    }
    if kinds.windows(2).any(|pair| pair.first() != pair.last()) {
        differ.say("file_mode, file_type: they disagree");
        return None;
    }
    let kind = kinds.first().copied().filter(|kind| ["Directory", "Regular", "Symlink"].contains(kind));
    if kind.is_none() {
        differ.say("file_mode, file_type: not a file, directory or symbolic link");
    }
    kind
}

/// Whether something of this type may stand at this place.
fn place(differ: &mut Differ, rules: &Rules, path: &Value, inside: &str, kind: &str) {
    let (top, below) = inside.split_once('/').map_or((inside, None), |(top, below)| (top, Some(below)));
    let base = matches("^[0-9a-f]{64}-[0-9a-f]{16}-", top).then(|| top.get(82..).unwrap_or_default());
    let names = |list: &str| -> Vec<String> {
        let all = rules.data["copies"][list].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (files, trees) = (names("files"), names("trees"));
    let has = |list: &[String]| base.is_some_and(|base| list.iter().any(|name| name == base));
    let fits = match (kind, below) {
        ("Regular", None) => has(&files),
        ("Symlink", None) => false,
        _ => has(&trees),
    };
    if fits {
        return;
    }
    let kind = if kind.is_empty() { "thing" } else { kind };
    let wanted = match below {
        None if kind == "Regular" => format!("one of {}", files.join(", ")),
        None if kind == "Symlink" => "files and directories, but no link at the top".to_owned(),
        _ if trees.is_empty() => "no directory".to_owned(),
        _ => format!("{kind} in one of {}", trees.join(", ")),
    };
    differ.say(format!("path: got {}, policy has <container>-<16 hex digits>- and {wanted}", show(path)));
}

/// The targets that the fields of a link name.
fn targets(request: &Value) -> Vec<String> {
    let named = ["symlink_src", "symlink_target"].into_iter().map(|field| &request[field]);
    named.filter(|target| !is_empty(target)).map(|target| target.as_str().unwrap_or_default().to_owned()).collect()
}

fn link(differ: &mut Differ, request: &Value, mut targets: Vec<String>) {
    let data: Vec<_> = request["data"].as_array().into_iter().flatten().collect();
    let letter = |byte: &&Value| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()).map(char::from);
    let spelled: Option<String> =
        data.iter().map(letter).map(|letter| letter.filter(|c| ('-'..='z').contains(c))).collect();
    match spelled {
        Some(target) if target.is_empty() => {}
        Some(target) => targets.push(target),
        None => return differ.say("data: the target of a link has bytes besides those from `-` to `z`"),
    }
    if targets.windows(2).any(|pair| pair.first() != pair.last()) {
        return differ.say("symlink_src, symlink_target, data: they disagree");
    }
    let target = targets.first().map(String::as_str).unwrap_or_default();
    if target.split('/').any(leads_elsewhere) {
        differ.say(format!(
            "symlink_src, symlink_target: got {target:?}, policy has links that stay in their own directory"
        ));
    }
}
