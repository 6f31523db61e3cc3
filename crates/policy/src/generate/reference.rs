//! Which reference values a run goes by: those of the manifest, and what the command line adds to them.

use std::path::Path;

use protocol::manifest::ReferenceValues;

use super::GenerateOptions;
use super::error::GenerateError;
use super::manifest::Stored;
use super::platform::{self, Chosen, Platform, Tee};
use super::values::{Given, Values};

/// The reference values of a run.
pub(super) struct Reference {
    /// Those without gaps.
    pub(super) complete: ReferenceValues,
    /// Those of hardware, with their gaps.
    pub(super) values: Option<Values>,
    /// The platforms that were named.
    pub(super) named: Vec<&'static Platform>,
    pub(super) local: bool,
}

impl Reference {
    /// The platforms on which pods may run.
    pub(super) fn chosen(&self) -> Vec<Chosen> {
        let Some(values) = &self.values else {
            return self.named.iter().map(|named| Chosen::of(named.name, named.tee, false)).collect();
        };
        let mut chosen = values.platforms();
        for named in &self.named {
            let named = Chosen::of(named.name, named.tee, false);
            if chosen.iter().all(|known| known.name != named.name) {
                chosen.push(named);
            }
        }
        chosen.sort();
        chosen
    }
}

/// The reference values of this run: those of the manifest, with what names and files add to them.
pub(super) fn of(
    options: &GenerateOptions,
    old: Option<&Stored>,
    manifest_path: &Path,
) -> Result<Reference, GenerateError> {
    let (files, names) = platform::files_and_names(&options.platforms);
    let named = platform::by_name(&names)?;
    let local = named.iter().any(|platform| platform.tee == Tee::Software);
    let refuse = |name: &str, reason: &str, hint: &str| {
        Err(GenerateError::Platform { name: name.to_owned(), reason: reason.to_owned(), hint: Some(hint.to_owned()) })
    };
    if named.is_empty() && files.is_empty() {
        return refuse("", "none is named", "`casemate reference-values platforms` lists them");
    }
    if local && let Some(file) = files.first() {
        let hint = "generate for hardware in another work folder";
        return refuse("local", &format!("software accepts no hardware beside it, as in `{file}` (promise P8)"), hint);
    }
    let software = old.is_some_and(|old| old.values.software);
    if old.is_some() && software != local {
        let (reason, hint) = if local {
            ("the manifest that is there is for hardware", "use another work folder for the local engine")
        } else {
            ("the manifest that is there accepts the software TEE", "use another work folder for hardware: promise P8")
        };
        return refuse(named.first().map_or("hardware", |platform| platform.name), reason, hint);
    }
    if local {
        let values = match (&options.software, old) {
            (Some(software), _) => ReferenceValues::software(software.clone()),
            (None, Some(old)) => old.manifest.reference_values.clone(),
            (None, None) => return Err(GenerateError::NoReferenceValues { name: "local".into() }),
        };
        return Ok(Reference { complete: values, values: None, named, local });
    }
    let files: Result<Vec<_>, _> = files.iter().map(|file| Given::read(Path::new(file))).collect();
    let mut values = old.map(|old| old.values.clone()).unwrap_or_default();
    values.merge(&files?);
    Ok(Reference { complete: values.complete(manifest_path)?, values: Some(values), named, local })
}
