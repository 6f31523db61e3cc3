//! `settings.json`: what `generate` should know that no resource says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use protocol::Role;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::error::{GenerateError, Place};
use super::inject::is_ours;
use super::input::{Inputs, Object};
use super::kinds::nearest;
use super::pod_of;
use crate::policy_data::{LOCAL_OPENS_LOGS, Openings};
use crate::request::control_character;

/// The file's name in the work folder.
pub const SETTINGS_FILE: &str = "settings.json";

/// LIMIT: commands that a host may run in one container. Whoever needs more wants a shell.
const MAX_COMMANDS: usize = 64;
/// LIMIT: a command line of the kernel's default stack holds more; none that is worth opening does.
const MAX_ARGUMENTS: usize = 256;

/// By container: the commands that the host may run in it.
pub type Commands = BTreeMap<String, Vec<Vec<String>>>;

/// Settings of a work folder. Unknown fields are refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The image of Coordinator, initializer and mesh.
    pub pod_image: String,
    /// How long a certificate lasts without being renewed; for a manifest that does not exist yet.
    pub lease_seconds: u32,
    /// Whether the host may read what containers write, which is what `casemate logs` shows. Left out: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<bool>,
    /// Commands that the host may run, to the last argument: by workload, `Kind/name` or its name, and by container.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    pub exec: BTreeMap<String, Commands>,
    /// Volumes of claims whose contents the host may copy into the guest, by workload.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique")]
    pub copied_claims: BTreeMap<String, BTreeSet<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_image: concat!("localhost:5000/casemate-pod:", env!("CARGO_PKG_VERSION")).to_owned(),
            // A workload taken out of the manifest is cut off within this time; sidecars renew after a third of it.
            lease_seconds: 300,
            logs: None,
            exec: BTreeMap::new(),
            copied_claims: BTreeMap::new(),
        }
    }
}

/// A map in which no key stands twice: a reader would see the first, and the last would count.
fn unique<'de, D: Deserializer<'de>, V: Deserialize<'de>>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error> {
    struct Unique<V>(PhantomData<V>);
    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, V>()? {
                let text = format!("`{key}` stands twice");
                if found.insert(key, value).is_some() {
                    return Err(serde::de::Error::custom(text));
                }
            }
            Ok(found)
        }
    }
    deserializer.deserialize_map(Unique(PhantomData))
}

/// The settings of a run, and where they are from.
pub(super) struct Stored {
    pub(super) settings: Settings,
    /// The text of the file; empty where there is none yet.
    text: String,
    pub(super) is_new: bool,
}

impl Stored {
    /// Reads the file, or makes what will be written for a platform. What a first run on the local engine opens is
    /// written there in so many words.
    pub(super) fn load(path: &Path, pod_image: Option<&String>, local: bool) -> Result<Self, GenerateError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let defaults = Settings::default();
                let settings = Settings {
                    // The image of the first run is the image of the next.
                    pod_image: pod_image.cloned().unwrap_or(defaults.pod_image),
                    logs: Some(local && LOCAL_OPENS_LOGS),
                    ..Settings::default()
                };
                return Ok(Self { settings, text: String::new(), is_new: true });
            }
            Err(source) => return Err(GenerateError::Read { path: path.to_owned(), source }),
        };
        let settings = serde_json::from_str(&text).map_err(|error| {
            let reason = error.to_string().split(" at line ").next().unwrap_or_default().to_owned();
            let fields = ["pod_image", "lease_seconds", "logs", "exec", "copied_claims"];
            let unknown = reason.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let hint = unknown.and_then(|word| nearest(word, &fields)).map(|near| format!("did you mean `{near}`?"));
            GenerateError::Settings { place: Place { file: path.to_owned(), line: error.line() }, reason, hint }
        })?;
        Ok(Self { settings, text, is_new: false })
    }

    /// What the policies of these pods open, in their order. Whoever names what is not there expects it to count: it is
    /// refused.
    pub(super) fn openings(
        &self,
        path: &Path,
        inputs: &Inputs,
        pods: &[(Object, Role)],
    ) -> Result<Vec<Openings>, GenerateError> {
        let Settings { exec, copied_claims, logs, .. } = &self.settings;
        let mut all = vec![Openings { logs: logs.unwrap_or(false), ..Openings::default() }; pods.len()];
        let mut named: BTreeMap<usize, &str> = BTreeMap::new();
        for (key, commands) in exec {
            let refuse = |inner: &[&str], reason: String, hint: String| {
                Err(self.refuse(path, &[&["exec", key], inner].concat(), reason, hint))
            };
            let index = self.find(path, "exec", key, pods)?;
            if let Some(other) = named.insert(index, key) {
                return refuse(&[], format!("`{key}` and `{other}` are one workload"), "write them as one".into());
            }
            let Some(((object, role), openings)) = pods.get(index).zip(all.get_mut(index)) else { continue };
            if *role == Role::Coordinator {
                let reason = "the Coordinator runs no command for the host: it holds the keys of all".to_owned();
                return refuse(&[], reason, "`casemate logs` shows what it says".into());
            }
            let known = containers(inputs, object);
            for (container, commands) in commands {
                if !known.contains(&container.as_str()) {
                    let reason = format!("{} has no container `{container}`", object.title());
                    return refuse(&[container], reason, meant(container, &known));
                }
                if let Some((reason, hint)) = not_exact(commands) {
                    return refuse(&[container], format!("`{container}`: {reason}"), hint.to_owned());
                }
            }
            openings.exec.clone_from(commands);
        }
        named.clear();
        for (key, volumes) in copied_claims {
            let refuse = |inner: &[&str], reason: String, hint: String| {
                Err(self.refuse(path, &[&["copied_claims", key], inner].concat(), reason, hint))
            };
            let index = self.find(path, "copied_claims", key, pods)?;
            if let Some(other) = named.insert(index, key) {
                return refuse(&[], format!("`{key}` and `{other}` are one workload"), "write them as one".into());
            }
            let Some(((object, _), openings)) = pods.get(index).zip(all.get_mut(index)) else { continue };
            let known = claims(inputs, object);
            if let Some(volume) = volumes.iter().find(|volume| !known.contains(&volume.as_str())) {
                let reason = format!("{} has no volume `{volume}` that is a claim", object.title());
                return refuse(&[], reason, meant(volume, &known));
            }
            openings.copied_claims.clone_from(volumes);
        }
        Ok(all)
    }

    /// The pod that a key names.
    fn find(&self, path: &Path, field: &str, key: &str, pods: &[(Object, Role)]) -> Result<usize, GenerateError> {
        let found = pods.iter().position(|(object, _)| object.title() == key || object.name == key);
        found.ok_or_else(|| {
            let titles: Vec<String> = pods.iter().map(|(object, _)| object.title()).collect();
            let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
            let names: Vec<&str> = pods.iter().map(|(object, _)| object.name.as_str()).collect();
            let hint =
                nearest(key, &names).map_or_else(|| meant(key, &titles), |near| format!("did you mean `{near}`?"));
            self.refuse(path, &[field, key], format!("no confidential workload is called `{key}`"), hint)
        })
    }

    fn refuse(&self, path: &Path, keys: &[&str], reason: String, hint: String) -> GenerateError {
        let field = keys.first().copied().unwrap_or_default();
        let line = line_of(&self.text, keys);
        let place = Place { file: path.to_owned(), line };
        GenerateError::Settings { place, reason: format!("`{field}`: {reason}"), hint: Some(hint) }
    }

    /// The text of a file that is not there yet.
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.settings).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn meant(word: &str, known: &[&str]) -> String {
    match (nearest(word, known), known) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "there is none".to_owned(),
        // LIMIT: nobody reads a longer list.
        (None, known) => {
            format!("there is {}", known.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// The line in which the last of nested keys stands.
fn line_of(text: &str, keys: &[&str]) -> usize {
    let mut at = 0;
    for key in keys {
        let quoted = serde_json::to_string(key).unwrap_or_default();
        let rest = text.get(at..).unwrap_or_default();
        let is_key = |(index, _): &(usize, &str)| {
            let after = rest.get(index + quoted.len()..).unwrap_or_default();
            after.trim_start().starts_with(':')
        };
        match rest.match_indices(&quoted).find(is_key) {
            Some((index, _)) => at += index,
            None => break,
        }
    }
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// The containers of a pod that its user wrote.
fn containers<'a>(inputs: &'a Inputs, object: &Object) -> Vec<&'a str> {
    let pod = pod_of(inputs, object).unwrap_or(&Value::Null);
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    let all = lists.into_iter().flatten().flatten();
    all.filter(|container| !is_ours(&container["name"])).filter_map(|container| container["name"].as_str()).collect()
}

/// The volumes of a pod that are claims, those of a StatefulSet's templates included.
fn claims<'a>(inputs: &'a Inputs, object: &Object) -> Vec<&'a str> {
    let pod = pod_of(inputs, object).unwrap_or(&Value::Null);
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let claimed = |volume: &&Value| !volume["persistentVolumeClaim"].is_null() || !volume["ephemeral"].is_null();
    let templates = inputs.value(object)["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let own = volumes.filter(claimed).filter_map(|volume| volume["name"].as_str());
    own.chain(templates.filter_map(|template| template["metadata"]["name"].as_str())).collect()
}

/// Why a list of commands cannot be opened.
fn not_exact(commands: &[Vec<String>]) -> Option<(String, &'static str)> {
    let list = "write a list of commands, each a list of arguments: `[[\"/bin/check\", \"--deep\"]]`";
    if commands.is_empty() {
        return Some(("no command".into(), list));
    }
    if commands.len() > MAX_COMMANDS {
        return Some((format!("more than {MAX_COMMANDS} commands"), "open fewer: each is a way in"));
    }
    for command in commands {
        if command.first().is_none_or(String::is_empty) {
            return Some(("a command without a program".into(), list));
        }
        if command.len() > MAX_ARGUMENTS {
            return Some((
                format!("a command of more than {MAX_ARGUMENTS} arguments"),
                "put it into a script of the image",
            ));
        }
        if let Some(c) = command.iter().find_map(|argument| control_character(argument)) {
            let reason = format!("an argument holds the control character U+{:04X}", u32::from(c));
            return Some((reason, "no program needs it"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_nested_keys() {
        let text = "{\n  \"pod_image\": \"exec\",\n  \"exec\": {\n    \"a\": {\n      \"c\": [[\"a\"]]\n    },\n    \"b\": {\"c\": []}\n  }\n}\n";
        for (keys, line) in [
            (vec!["exec"], 3),
            (vec!["exec", "a"], 4),
            (vec!["exec", "a", "c"], 5),
            (vec!["exec", "b"], 7),
            (vec!["exec", "b", "c"], 7),
            (vec!["exec", "z"], 3),
            (vec!["nothing"], 1),
        ] {
            assert_eq!(line_of(text, &keys), line, "{keys:?}");
        }
        assert_eq!(line_of("", &["exec"]), 1);
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error() {
        let twice = r#"{"exec": {"a": {}, "a": {}}}"#;
        assert!(serde_json::from_str::<Settings>(twice).unwrap_err().to_string().contains("`a` stands twice"));
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }

    #[test]
    fn only_whole_commands_are_opened() {
        let command = |arguments: &[&str]| arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        assert_eq!(not_exact(&[command(&["/check", "", "-x"])]), None);
        let many = vec![command(&["/x"]); MAX_COMMANDS + 1];
        let long = vec!["x".to_owned(); MAX_ARGUMENTS + 1];
        for bad in [vec![], vec![vec![]], vec![command(&[""])], many, vec![long], vec![command(&["/x", "\u{1}"])]] {
            assert!(not_exact(&bad).is_some(), "{bad:?}");
        }
    }
}
