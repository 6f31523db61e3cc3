//! Annotations of ours. One that is misspelt, or stands where nobody reads it, must not be taken for one in force.

use serde_json::Value;

use super::super::ROLE_KEY;
use super::super::error::GenerateError;
use super::super::ingress::{EGRESS, INGRESS_ANNOTATION, OPEN_PORTS_ANNOTATION};
use super::super::inject::ARGV_ANNOTATION;
use super::super::kinds::nearest;
use super::super::memory::IMAGE_MEMORY_ANNOTATION;
use super::super::platform::CLASS_ANNOTATION;
use super::{CAPABILITIES_ANNOTATION, Context, NAMES_ANNOTATION, SECRETS_ANNOTATION, SKIP_ANNOTATION};

const PREFIX: &str = "casemate.dev/";

/// All that something is done with, or that is refused with its own reason.
const KNOWN: [&str; 11] = [
    ARGV_ANNOTATION,
    CAPABILITIES_ANNOTATION,
    CLASS_ANNOTATION,
    EGRESS[0],
    IMAGE_MEMORY_ANNOTATION,
    INGRESS_ANNOTATION,
    NAMES_ANNOTATION,
    OPEN_PORTS_ANNOTATION,
    ROLE_KEY,
    SECRETS_ANNOTATION,
    SKIP_ANNOTATION,
];

/// Refuses annotations under our prefix that nothing is done with.
pub(super) fn check_annotations(context: &Context<'_>, pod: &Value) -> Result<(), GenerateError> {
    let own = |metadata: &Value| -> Vec<(String, Value)> {
        let all = metadata["annotations"].as_object().into_iter().flatten();
        all.filter(|(key, _)| key.starts_with(PREFIX)).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    for (key, value) in own(&pod["metadata"]) {
        let path = format!("metadata.annotations.{key}");
        if !KNOWN.contains(&key.as_str()) {
            let names = KNOWN.map(|known| known.trim_start_matches(PREFIX));
            let name = key.trim_start_matches(PREFIX);
            let meant = nearest(name, &names).or_else(|| names.into_iter().find(|known| known.ends_with(name)));
            let hint = match meant {
                Some(meant) => format!("did you mean `{PREFIX}{meant}`?"),
                None => format!("known are {}", names.join(", ")),
            };
            return Err(context.refuse(&path, "no annotation that anything is done with", Some(hint)));
        }
        if key == SKIP_ANNOTATION && !["true", "false"].contains(&value.as_str().unwrap_or_default()) {
            let hint = Some("annotations are text: write \"true\" in quotes".to_owned());
            return Err(context.refuse(&path, format!("{value} is neither \"true\" nor \"false\""), hint));
        }
    }
    for key in EGRESS {
        if !pod["metadata"]["annotations"][key].is_null() {
            let path = format!("metadata.annotations.{key}");
            let hint =
                "take it out; a program finds its certificate for other pods in `/casemate/tls-config`".to_owned();
            return Err(context.refuse(&path, "egress through the mesh is not supported yet", Some(hint)));
        }
    }
    if context.object.template.unwrap_or_default().is_empty() {
        return Ok(());
    }
    let object = context.inputs.value(context.object);
    match own(&object["metadata"]).into_iter().find(|(key, _)| key != ROLE_KEY) {
        None => Ok(()),
        Some((key, _)) => Err(GenerateError::Resource {
            place: context.inputs.place(context.object, &format!("metadata/annotations/{key}")),
            resource: context.object.title(),
            reason: format!(
                "`metadata.annotations.{key}`: an annotation of the {}, not of its pods",
                context.object.kind
            ),
            hint: Some(format!("write it under `{}`", template_path(context))),
        }),
    }
}

fn template_path(context: &Context<'_>) -> String {
    let template = context.object.template.unwrap_or_default().trim_start_matches('/').replace('/', ".");
    format!("{template}.metadata.annotations")
}
