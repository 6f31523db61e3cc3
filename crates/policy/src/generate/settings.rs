//! `settings.json`: what `generate` should know that no resource says.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{GenerateError, Place};

/// The file's name in the work folder.
pub const SETTINGS_FILE: &str = "settings.json";

/// Settings of a work folder. Unknown fields are refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The image of Coordinator, initializer and mesh.
    pub pod_image: String,
    /// How long a certificate lasts without being renewed; for a manifest that does not exist yet.
    pub lease_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pod_image: concat!("localhost:5000/casemate-pod:", env!("CARGO_PKG_VERSION")).to_owned(),
            // A workload taken out of the manifest is cut off within this time; sidecars renew after a third of it.
            lease_seconds: 300,
        }
    }
}

impl Settings {
    /// Reads the file; `None` when there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, GenerateError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(GenerateError::Read { path: path.to_owned(), source }),
        };
        let settings = serde_json::from_str(&text).map_err(|error| GenerateError::Settings {
            place: Place { file: path.to_owned(), line: error.line() },
            reason: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
        })?;
        Ok(Some(settings))
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
