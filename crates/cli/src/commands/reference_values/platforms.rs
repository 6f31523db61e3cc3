//! `casemate reference-values platforms`: the platforms that have a name.

use policy::generate::{PLATFORMS, Platform};

use crate::{Context, output};

/// List the platforms that `casemate generate --reference-values` knows
#[derive(clap::Args)]
pub(crate) struct PlatformsArgs {}

pub(super) fn run(context: &Context) {
    if context.json {
        let all: Vec<_> = PLATFORMS.iter().map(json).collect();
        output::json(&serde_json::json!({ "platforms": all }));
        return;
    }
    let row = |platform: &Platform| {
        let class = platform.runtime_class.unwrap_or("-");
        let about = match platform.refused {
            Some(_) => format!("{}; `generate` makes nothing for it", platform.about),
            None => platform.about.to_owned(),
        };
        vec![platform.name.to_owned(), platform.tee.name().to_owned(), class.to_owned(), about]
    };
    let rows: Vec<_> = PLATFORMS.iter().map(row).collect();
    output::result(&output::table(&["PLATFORM", "TEE", "RUNTIME CLASS", "WHAT IT IS"], &rows));
}

fn json(platform: &Platform) -> serde_json::Value {
    serde_json::json!({
        "name": platform.name,
        "tee": platform.tee.name(),
        "runtime_class": platform.runtime_class,
        "gpu": platform.gpu,
        "about": platform.about,
        "refused": platform.refused,
    })
}
