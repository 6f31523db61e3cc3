//! The launcher before every command of a pod: the containers' own, and those that the kubelet runs in them.

use serde_json::{Map, Value, json};

use super::array;
use super::order::Place;
use crate::images::ImageConfig;
use crate::request::{RequestError, argv, no_new_privileges};

/// Where the launcher lies, once the initializer is through with everything else.
pub const LAUNCHER: &str = "/casemate/bin/launch";

/// Before a command that must gain no privileges, though the host's shim does not say so.
pub(crate) const NO_NEW_PRIVILEGES: &str = "--no-new-privileges";

/// In the place of a container's name: nobody's name is taken.
const NOBODY: &str = "-";

/// Between the launcher's own arguments and the command.
const END: &str = "--";

/// Probes and hooks that may run a command, as pointers into a container.
const COMMANDS: [&str; 5] = [
    "/startupProbe/exec/command",
    "/readinessProbe/exec/command",
    "/livenessProbe/exec/command",
    "/lifecycle/postStart/exec/command",
    "/lifecycle/preStop/exec/command",
];

/// Puts the launcher before the container's command, which must then be written out. `place` is that among the other
/// containers; `files` are single files of the host, each with the one that it must equal: `/etc/app.conf:config/app.conf`.
pub(super) fn put(
    container: &mut Value,
    place: Place,
    files: Vec<String>,
    images: &dyn Fn(&str) -> ImageConfig,
    marks: &mut Vec<String>,
) -> Result<(), RequestError> {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let given = |field: &str| container[field].as_array().is_some_and(|items| !items.is_empty());
    let (own_command, own_args) = (given("command"), given("args"));
    let (command, args) = argv(container, &images(&name), &format!("containers.{name}"))?;
    // The kubelet expands what stands in the pod, and leaves what stands in the image as it is.
    let plain = |texts: Vec<String>| texts.into_iter().map(|text| text.replace('$', "$$"));
    let mut wrapped = vec![LAUNCHER.to_owned()];
    wrapped.extend(place.words());
    wrapped.push(name.clone());
    let files: Vec<String> = plain(files).collect();
    wrapped.extend(files.iter().cloned());
    wrapped.push(END.to_owned());
    if own_command {
        wrapped.extend(command);
    } else {
        wrapped.extend(plain(command));
    }
    // The order of keys is that of people: command before args, both after image.
    let set = |fields: &mut Map<String, Value>, key: &str, after: &[&str], value: Value| {
        if fields.contains_key(key) {
            fields.insert(key.to_owned(), value);
            return;
        }
        let index = after.iter().filter_map(|after| fields.keys().position(|known| known == after)).max();
        fields.shift_insert(index.map_or(fields.len(), |index| index + 1), key.to_owned(), value);
    };
    if let Some(fields) = container.as_object_mut() {
        set(fields, "command", &["name", "image"], json!(wrapped));
        if !own_command && !own_args {
            if !args.is_empty() {
                set(fields, "args", &["command"], json!(plain(args).collect::<Vec<_>>()));
            }
            marks.push(format!("{name}:both"));
        } else if !own_command {
            marks.push(format!("{name}:command"));
        }
    }
    // Without a container's name, since the container runs already: that the launcher is there is the point. Commands read
    // the container's files, too, and may come before its program has compared them.
    let mut before = vec![json!(LAUNCHER)];
    if no_new_privileges(container) {
        before.push(json!(NO_NEW_PRIVILEGES));
    }
    if !files.is_empty() {
        before.push(json!(NOBODY));
        before.extend(files.into_iter().map(Value::from));
    }
    before.push(json!(END));
    for pointer in COMMANDS {
        if let Some(command) = container.pointer_mut(pointer).and_then(Value::as_array_mut) {
            command.splice(0..0, before.clone());
        }
    }
    Ok(())
}

/// Takes the launcher off again. `from_image` says which containers had no command or arguments of their own.
pub(super) fn strip(container: &mut Value, from_image: &dyn Fn(&str, &str) -> bool) {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    if array(container, "command").is_some_and(unwrap) {
        let (command, both) = (from_image(&name, "command"), from_image(&name, "both"));
        if let Some(fields) = container.as_object_mut() {
            if command || both {
                fields.shift_remove("command");
            }
            // An empty list is the user's: an image without arguments adds none.
            if both && fields.get("args") != Some(&json!([])) {
                fields.shift_remove("args");
            }
        }
    }
    for pointer in COMMANDS {
        if let Some(command) = container.pointer_mut(pointer).and_then(Value::as_array_mut) {
            unwrap(command);
        }
    }
}

/// Takes the launcher and its own arguments off a command; false when it has none.
fn unwrap(command: &mut Vec<Value>) -> bool {
    let end = command.iter().position(|argument| *argument == json!(END));
    match end.filter(|_| command.first() == Some(&json!(LAUNCHER))) {
        Some(end) => {
            command.drain(..=end);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roundtrip(container: &Value, files: &[&str], image: &ImageConfig) -> Value {
        let mut made = container.clone();
        let mut marks = Vec::new();
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        put(&mut made, Place::default(), files, &|_| image.clone(), &mut marks).unwrap();
        let wrapped = made.clone();
        strip(&mut made, &|name, what| marks.contains(&format!("{name}:{what}")));
        assert_eq!(made, *container);
        wrapped
    }

    #[test]
    fn what_an_image_says_is_not_the_kubelets_to_expand() {
        let image = ImageConfig {
            entrypoint: vec!["sh".into(), "-c".into()],
            cmd: vec!["echo $$ $(NAME) $HOME".into()],
            ..ImageConfig::default()
        };
        let made = roundtrip(&json!({"name": "app", "image": "x"}), &[], &image);
        assert_eq!(made["args"], json!(["echo $$$$ $$(NAME) $$HOME"]));
        let own = json!({"name": "app", "image": "x", "command": ["echo", "$(NAME)"], "args": ["$$"]});
        let made = roundtrip(&own, &["/etc/a$b:v/a$b"], &image);
        assert_eq!(made["command"], json!([LAUNCHER, "app", "/etc/a$$b:v/a$$b", END, "echo", "$(NAME)"]));
        assert_eq!(made["args"], json!(["$$"]));
    }

    #[test]
    fn every_command_of_a_container_goes_through_the_launcher_and_back() {
        let image = ImageConfig { entrypoint: vec!["/e".into()], cmd: vec!["c".into()], ..ImageConfig::default() };
        let container = json!({"name": "app", "command": ["/a", "--", "b"],
            "readinessProbe": {"exec": {"command": ["/check", "--"]}},
            "livenessProbe": {"httpGet": {"port": 1}},
            "lifecycle": {"preStop": {"exec": {"command": ["/stop"]}}, "postStart": {"sleep": {"seconds": 1}}}});
        let made = roundtrip(&container, &[], &image);
        assert_eq!(made["command"], json!([LAUNCHER, "app", "--", "/a", "--", "b"]));
        assert_eq!(made["readinessProbe"]["exec"]["command"], json!([LAUNCHER, "--", "/check", "--"]));
        assert_eq!(made["lifecycle"]["preStop"]["exec"]["command"], json!([LAUNCHER, "--", "/stop"]));
        assert_eq!(made["lifecycle"]["postStart"], container["lifecycle"]["postStart"]);

        let made = roundtrip(&json!({"name": "app"}), &["/etc/x:v/x"], &image);
        assert_eq!(made["command"], json!([LAUNCHER, "app", "/etc/x:v/x", "--", "/e"]));
        assert_eq!(made["args"], json!(["c"]));
        let made = roundtrip(&json!({"name": "app", "args": ["d"]}), &[], &image);
        assert_eq!((&made["command"], &made["args"]), (&json!([LAUNCHER, "app", "--", "/e"]), &json!(["d"])));
    }

    #[test]
    fn commands_gain_no_privileges_where_their_container_does_not() {
        let image = ImageConfig { entrypoint: vec!["/e".into()], ..ImageConfig::default() };
        let container = |security: Value| {
            json!({"name": "app", "command": ["/a"], "securityContext": security,
                "livenessProbe": {"exec": {"command": ["/check"]}},
                "lifecycle": {"preStop": {"exec": {"command": ["/stop"]}}}})
        };
        for (security, files, before) in [
            (json!({"allowPrivilegeEscalation": false}), &[][..], &[LAUNCHER, NO_NEW_PRIVILEGES, END][..]),
            (
                json!({"allowPrivilegeEscalation": false}),
                &["/etc/x:v/x"],
                &[LAUNCHER, NO_NEW_PRIVILEGES, NOBODY, "/etc/x:v/x", END],
            ),
            (json!({"allowPrivilegeEscalation": true}), &[], &[LAUNCHER, END]),
            (json!({"runAsNonRoot": true}), &["/etc/x:v/x"], &[LAUNCHER, NOBODY, "/etc/x:v/x", END]),
            (json!(null), &[], &[LAUNCHER, END]),
        ] {
            let made = roundtrip(&container(security), files, &image);
            assert_eq!(made["livenessProbe"]["exec"]["command"], json!([before, &["/check"]].concat()));
            assert_eq!(made["lifecycle"]["preStop"]["exec"]["command"], json!([before, &["/stop"]].concat()));
            // The shim does say so of a container's own process.
            assert_eq!(made["command"][1], json!("app"));
        }
    }

    #[test]
    fn what_is_not_the_launcher_stays() {
        for command in [json!(["/x", LAUNCHER, "--"]), json!([LAUNCHER]), json!([]), json!(["--", "x"])] {
            let mut container = json!({"name": "app", "command": command});
            let before = container.clone();
            strip(&mut container, &|_, _| true);
            assert_eq!(container, before);
        }
        // As an earlier version wrote it.
        let mut container = json!({"name": "app", "command": [LAUNCHER, "--", "/x"]});
        strip(&mut container, &|_, _| false);
        assert_eq!(container["command"], json!(["/x"]));
    }
}
