//! Annotations of ours and of Kata's. One that is misspelt, or stands where nobody reads it, must not be taken for one
//! in force; one that changes what the guest boots with must not be taken for one that the reference values know.

use serde_json::Value;

use super::super::ROLE_KEY;
use super::super::egress::EGRESS_ANNOTATION;
use super::super::error::GenerateError;
use super::super::ingress::{INGRESS_ANNOTATION, OPEN_PORTS_ANNOTATION};
use super::super::inject::ARGV_ANNOTATION;
use super::super::kinds::nearest;
use super::super::memory::{IMAGE_MEMORY_ANNOTATION, MEMORY_ANNOTATION};
use super::super::platform::CLASS_ANNOTATION;
use super::{CAPABILITIES_ANNOTATION, Context, NAMES_ANNOTATION, SECRETS_ANNOTATION, SKIP_ANNOTATION};

const PREFIX: &str = "casemate.dev/";

/// All that something is done with, or that is refused with its own reason.
const KNOWN: [&str; 11] = [
    ARGV_ANNOTATION,
    CAPABILITIES_ANNOTATION,
    CLASS_ANNOTATION,
    EGRESS_ANNOTATION,
    IMAGE_MEMORY_ANNOTATION,
    INGRESS_ANNOTATION,
    NAMES_ANNOTATION,
    OPEN_PORTS_ANNOTATION,
    ROLE_KEY,
    SECRETS_ANNOTATION,
    SKIP_ANNOTATION,
];

const KATA: &str = "io.katacontainers.";
/// What a pod may say to the host's shim of its guest: sizes and time limits.
const SIZES: [&str; 5] = [
    MEMORY_ANNOTATION,
    "io.katacontainers.config.hypervisor.default_vcpus",
    "io.katacontainers.config.hypervisor.default_max_vcpus",
    "io.katacontainers.config.hypervisor.pcie_root_port",
    "io.katacontainers.config.runtime.create_container_timeout",
];
/// Parts of [`KATA`]'s annotations by which the shim boots another guest than the runtime class's.
const BOOTS: [&str; 14] = [
    "config_path",
    "config.hypervisor.cpu_features",
    "config.hypervisor.firmware",
    "config.hypervisor.firmware_hash",
    "config.hypervisor.firmware_volume",
    "config.hypervisor.image",
    "config.hypervisor.image_hash",
    "config.hypervisor.initrd",
    "config.hypervisor.initrd_hash",
    "config.hypervisor.kernel",
    "config.hypervisor.kernel_hash",
    "config.hypervisor.kernel_params",
    "config.hypervisor.kernel_verity_params",
    "config.hypervisor.machine_type",
];

/// Refuses annotations of Kata's that would bring another guest or another policy, and says of those that nobody knows
/// that nothing binds them.
fn check_kata(context: &Context<'_>, pod: &Value, notices: &mut Vec<String>) -> Result<(), GenerateError> {
    for key in pod["metadata"]["annotations"].as_object().into_iter().flat_map(serde_json::Map::keys) {
        let Some(name) = key.strip_prefix(KATA) else { continue };
        let refuse = |reason: &str, hint: &str| {
            Err(context.refuse(&format!("metadata.annotations.{key}"), reason, Some(hint.to_owned())))
        };
        if name == "config.agent.policy" {
            let hint = "take it out: `generate` writes the policy, into the initdata";
            return refuse("a policy of its own beside the one that is generated", hint);
        }
        if BOOTS.contains(&name) {
            let hint = "take it out; a guest of your own has a runtime class and reference values of its own";
            return refuse("the guest would boot otherwise than the reference values of its class say", hint);
        }
        if !SIZES.contains(&key.as_str()) {
            notices.push(format!("annotation `{key}` is for the host's shim: nothing binds what it does"));
        }
    }
    Ok(())
}

/// Refuses annotations under our prefix that nothing is done with, and those of Kata's that must not be.
pub(super) fn check_annotations(
    context: &Context<'_>,
    pod: &Value,
    notices: &mut Vec<String>,
) -> Result<(), GenerateError> {
    check_kata(context, pod, notices)?;
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
