//! The reference values of a manifest: those that are there, those of the files that were given, and for platforms that
//! have none yet a template, in which `null` stands for what somebody still has to find out.
//!
//! What is in the manifest is its owners': an entry without gaps is never changed, but for machines that are added to its
//! list because they were named on the command line. All of this works on JSON, since the types of a manifest know no
//! gaps; whatever has none is read into them, and nothing else is ever given to a pod.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use protocol::digest::{Hex, Measurement};
use protocol::manifest::{MAX_MANIFEST, ManifestError, ReferenceValues};
use protocol::reference::sgx::INIT_MODE64_KSS;
use protocol::reference::tdx::{Bits, IntelTcbPolicy, Register, SEPT_VE_DISABLE};
use protocol::reference::{AmdProduct, Machines, SnpReferenceValues, TcbVersion, TdxReferenceValues};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::error::GenerateError;
use super::platform::{Chosen, Platform, Tee};

/// A value that is missing in the manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Missing {
    /// The JSON path.
    pub path: String,
    /// The platform of the entry.
    pub platform: String,
    /// How to get it.
    pub how: String,
}

/// Lists of entries, in the order of the manifest.
const LISTS: [(&str, Option<Tee>); 4] =
    [("snp", Some(Tee::Snp)), ("tdx", Some(Tee::Tdx)), ("sgx", Some(Tee::Sgx)), ("devices", None)];
/// Members that list machines; entries that differ in nothing else are of one kind.
const MACHINES: [&str; 2] = ["chip_ids", "device_ids"];

/// The values of a manifest in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    lists: BTreeMap<&'static str, Vec<Value>>,
    /// Whether they are those of the software TEE.
    pub(super) software: bool,
    /// What the user should know.
    pub(super) notices: Vec<String>,
}

/// A file with reference values.
pub(super) struct Given {
    path: PathBuf,
    json: Map<String, Value>,
}

impl Given {
    /// Reads what `casemate reference-values from` has written.
    pub(super) fn read(path: &Path) -> Result<Self, GenerateError> {
        let refuse = |reason: String| GenerateError::File {
            path: path.to_owned(),
            reason,
            hint: "`casemate reference-values from EVIDENCE --platform NAME --output FILE` writes one".into(),
        };
        let text =
            std::fs::read_to_string(path).map_err(|source| GenerateError::Read { path: path.to_owned(), source })?;
        if text.len() > MAX_MANIFEST {
            return Err(refuse(format!("longer than {MAX_MANIFEST} bytes")));
        }
        // Read into the types: they refuse what no manifest could hold, and write what the text leaves out.
        let values: ReferenceValues =
            serde_json::from_str(&text).map_err(|error| refuse(format!("no reference values: {error}")))?;
        if values.software.is_some() {
            return Err(refuse("the values of a software TEE: those of the local engine come from the engine".into()));
        }
        let Ok(Value::Object(json)) = serde_json::to_value(&values) else {
            return Err(refuse("no reference values".into()));
        };
        if json.is_empty() {
            return Err(refuse("it has no entry".into()));
        }
        Ok(Self { path: path.to_owned(), json })
    }
}

fn platform_of(entry: &Value) -> &str {
    entry["platform"].as_str().unwrap_or_default()
}

/// Whether a null is anywhere in a value.
fn has_gap(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_gap),
        Value::Object(fields) => fields.values().any(has_gap),
        _ => false,
    }
}

fn gaps(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(path.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| gaps(item, &format!("{path}[{index}]"), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(key, item)| gaps(item, &format!("{path}.{key}"), found)),
        _ => {}
    }
}

impl Values {
    /// Those of a manifest's text.
    pub(super) fn stored(reference_values: &Value) -> Self {
        let list = |field: &str| reference_values[field].as_array().cloned().unwrap_or_default();
        Self {
            lists: LISTS.iter().map(|(field, _)| (*field, list(field))).collect(),
            software: !reference_values["software"].is_null(),
            notices: Vec::new(),
        }
    }

    fn list(&self, field: &str) -> &[Value] {
        self.lists.get(field).map_or(&[], Vec::as_slice)
    }

    fn list_mut(&mut self, field: &'static str) -> &mut Vec<Value> {
        self.lists.entry(field).or_default()
    }

    /// Merges files, in an order of their contents and not of the command line.
    pub(super) fn merge(&mut self, files: &[Given]) {
        for (field, tee) in LISTS {
            let of_file = |file: &'_ Given| -> Vec<(Value, PathBuf)> {
                let entries = file.json.get(field).and_then(Value::as_array).into_iter().flatten();
                entries.map(|entry| (entry.clone(), file.path.clone())).collect()
            };
            let mut given: Vec<(Value, PathBuf)> = files.iter().flat_map(of_file).collect();
            given.sort_by_cached_key(|(entry, _)| (platform_of(entry).to_owned(), entry.to_string()));
            let mut fresh = BTreeSet::new();
            for (entry, path) in given {
                self.merge_entry(field, tee, &entry, &path, &mut fresh);
            }
        }
    }

    fn merge_entry(
        &mut self,
        field: &'static str,
        tee: Option<Tee>,
        given: &Value,
        path: &Path,
        fresh: &mut BTreeSet<usize>,
    ) {
        let platform = platform_of(given).to_owned();
        let template = tee.map_or_else(|| devices(&platform, None), |tee| entry(tee, &platform));
        let list = self.list_mut(field);
        let same: Vec<usize> = list
            .iter()
            .enumerate()
            .filter(|(_, known)| platform_of(known) == platform)
            .map(|(index, _)| index)
            .collect();
        let whole = |known: &Value| !has_gap(known) && normal(field, known).as_ref() == Some(given);
        if same.iter().any(|index| list.get(*index).is_some_and(whole)) {
            return;
        }
        for index in &same {
            let Some(known) = list.get_mut(*index) else { continue };
            if has_gap(known) {
                fill(known, &template, given);
                fresh.insert(*index);
                return;
            }
            let (mut left, mut right) = (normal(field, known).unwrap_or_default(), given.clone());
            let machines =
                |entry: &mut Value| entry.as_object_mut().map(|fields| MACHINES.map(|key| fields.shift_remove(key)));
            if let (Some(known_ids), Some(given_ids)) = (machines(&mut left), machines(&mut right))
                && left == right
            {
                let pairs = MACHINES.iter().zip(known_ids.into_iter().zip(given_ids));
                let mut added = 0;
                for (key, ids) in pairs {
                    let (Some(Value::Array(mut ids)), Some(Value::Array(more))) = ids else { continue };
                    let mut more: Vec<Value> = more.into_iter().filter(|id| !ids.contains(id)).collect();
                    more.sort_by_cached_key(Value::to_string);
                    added += more.len();
                    ids.extend(more);
                    known[*key] = Value::Array(ids);
                }
                if added > 0 {
                    if !fresh.contains(index) {
                        self.notices.push(format!("`{platform}` accepts {added} more, as `{}` says", path.display()));
                    }
                    return;
                }
            }
        }
        if same.is_empty() || same.iter().any(|index| fresh.contains(index)) {
            fresh.insert(list.len());
            list.push(given.clone());
            return;
        }
        self.notices.push(format!(
            "`{}`: the manifest has an entry for `{platform}` that differs, and it stays; edit it, or give the new values \
             another `--platform`",
            path.display()
        ));
    }

    /// Adds templates for platforms that have no entry yet. `gpus` says how many GPUs the pods of a platform ask for, if
    /// it is one number.
    pub(super) fn add_templates(&mut self, platforms: &[&'static Platform], gpus: Option<u32>) {
        for platform in platforms {
            let field = platform.tee.field();
            if self.list(field).iter().all(|entry| platform_of(entry) != platform.name) {
                self.list_mut(field).push(entry(platform.tee, platform.name));
            }
            if platform.gpu && self.list("devices").iter().all(|entry| platform_of(entry) != platform.name) {
                self.list_mut("devices").push(devices(platform.name, gpus));
            }
        }
    }

    /// Why no guest with so many GPUs would be believed on any of these platforms, and what to do; a pod without GPUs has no
    /// devices to be believed.
    pub(super) fn contradicts(&self, gpus: u32, platforms: &[String]) -> Option<(String, String)> {
        let of = |platform: &&String| {
            let all = self.list("devices").iter().filter(|entry| platform_of(entry) == **platform);
            all.map(|entry| entry["gpus"].as_u64()).collect::<Vec<_>>()
        };
        let counts: Vec<_> = platforms.iter().map(|platform| of(&platform)).collect();
        let fits = |counts: &Vec<Option<u64>>| {
            counts.is_empty() || counts.iter().any(|count| count.is_none_or(|count| count == u64::from(gpus)))
        };
        if gpus == 0 || counts.is_empty() || counts.iter().any(fits) {
            return None;
        }
        let numbers: BTreeSet<String> = counts.iter().flatten().flatten().map(u64::to_string).collect();
        let numbers = numbers.into_iter().collect::<Vec<_>>().join(" or ");
        Some((
            format!(
                "its guest has {gpus} GPUs, and `reference_values.devices` of {} has guests with {numbers}: no Coordinator \
                 would believe it",
                platforms.join(", ")
            ),
            "correct `gpus` there, in manifest.json or in the file that was given, or ask for another number in the limits"
                .to_owned(),
        ))
    }

    /// The platforms that have an entry, with or without gaps, by name.
    pub(super) fn platforms(&self) -> Vec<Chosen> {
        let mut found = BTreeSet::new();
        for (field, tee) in LISTS {
            let Some(tee) = tee else { continue };
            for entry in self.list(field) {
                let name = platform_of(entry);
                let devices = self.list("devices").iter().any(|devices| platform_of(devices) == name);
                found.insert(Chosen::of(name, tee, devices));
            }
        }
        found.into_iter().collect()
    }

    /// The values without gaps: what pods are given, and what a manifest accepts.
    pub(super) fn complete(&self, manifest: &Path) -> Result<ReferenceValues, GenerateError> {
        let mut values = ReferenceValues {
            snp: read(self.list("snp"), "snp", manifest)?,
            tdx: read(self.list("tdx"), "tdx", manifest)?,
            sgx: read(self.list("sgx"), "sgx", manifest)?,
            devices: read(self.list("devices"), "devices", manifest)?,
            software: None,
        };
        // Devices whose guest is not known yet are vouched for by nobody.
        let known: BTreeSet<String> = values.platforms().into_iter().map(str::to_owned).collect();
        values.devices.retain(|devices| known.contains(&devices.platform));
        let invalid = |source| GenerateError::Manifest { path: manifest.to_owned(), source };
        values.validate().map_err(invalid)?;
        Ok(values)
    }

    /// The values as a manifest with gaps holds them: whole entries in full, the others as they are.
    pub(super) fn to_json(&self) -> Value {
        let mut all = Map::new();
        for (field, _) in LISTS {
            let entries: Vec<Value> =
                self.list(field).iter().map(|entry| normal(field, entry).unwrap_or_else(|| entry.clone())).collect();
            if !entries.is_empty() {
                all.insert(field.to_owned(), Value::Array(entries));
            }
        }
        Value::Object(all)
    }

    /// What is missing, with how to get each. `cpus` are the numbers of CPUs that the guests have.
    pub(super) fn missing(&self, cpus: &BTreeSet<u64>) -> Vec<Missing> {
        let mut all = Vec::new();
        for (field, _) in LISTS {
            for (index, entry) in self.list(field).iter().enumerate() {
                let mut found = Vec::new();
                gaps(entry, "", &mut found);
                for path in found {
                    let platform = platform_of(entry).to_owned();
                    let how = how(field, path.trim_start_matches('.'), &platform, cpus);
                    all.push(Missing { path: format!("reference_values.{field}[{index}]{path}"), platform, how });
                }
            }
        }
        all
    }
}

/// The entries without gaps.
fn read<T: DeserializeOwned>(entries: &[Value], field: &str, manifest: &Path) -> Result<Vec<T>, GenerateError> {
    let one = |(index, entry): (usize, &Value)| {
        serde_json::from_value(entry.clone()).map_err(|error| GenerateError::Manifest {
            path: manifest.to_owned(),
            source: ManifestError::Invalid {
                path: format!("reference_values.{field}[{index}]"),
                reason: error.to_string(),
            },
        })
    };
    entries.iter().enumerate().filter(|(_, entry)| !has_gap(entry)).map(one).collect()
}

/// An entry as its type writes it; `None` if it has gaps or is none.
fn normal(field: &str, entry: &Value) -> Option<Value> {
    let list = json!({ field: [entry] });
    let values: ReferenceValues = serde_json::from_value(list).ok()?;
    serde_json::to_value(values).ok()?.get_mut(field)?.get_mut(0).map(Value::take)
}

/// Takes into an entry what it still has as its template had it. What its owners have written stays.
fn fill(entry: &mut Value, template: &Value, given: &Value) {
    if let (Value::Object(fields), Value::Object(given)) = (&mut *entry, given) {
        for (key, value) in given {
            match fields.get_mut(key) {
                Some(known) if !known.is_null() && *known != template[key] => fill(known, &template[key], value),
                _ => drop(fields.insert(key.clone(), value.clone())),
            }
        }
    }
}

/// What is known of the guests of a platform before anybody has seen one.
fn entry(tee: Tee, platform: &str) -> Value {
    let (mut value, unknown): (Value, &[&str]) = match tee {
        Tee::Snp => (
            json!(SnpReferenceValues::new(
                platform,
                AmdProduct::Milan,
                Vec::new(),
                Machines::Any,
                TcbVersion::default()
            )),
            &["product", "measurements", "chip_ids", "tcb"],
        ),
        Tee::Tdx => (json!(tdx(platform)), &["chip_ids", "mrtd", "rtmr0", "rtmr1", "rtmr2", "mrseam"]),
        Tee::Sgx => (
            json!({
                "platform": platform,
                "chip_ids": null,
                "mrenclave": null,
                "mrsigner": null,
                "product_id": null,
                "min_svn": null,
                "min_config_svn": 0,
                "attributes": Bits::<8>::exactly(INIT_MODE64_KSS),
                "xfrm": null,
                "misc_select": Bits::<4>::exactly([0; 4]),
                "tcb": IntelTcbPolicy::default(),
                "allow_smt": false,
                "allow_dynamic_platform": false,
                "allow_cached_keys": false,
            }),
            &[],
        ),
        Tee::Software | Tee::Node => (json!({ "platform": platform }), &[]),
    };
    for field in unknown {
        value[*field] = Value::Null;
    }
    if matches!(tee, Tee::Tdx | Tee::Sgx) {
        value["tcb"]["min_evaluation_data_number"] = Value::Null;
    }
    value
}

fn tdx(platform: &str) -> TdxReferenceValues {
    let zero = Measurement::from_bytes([0; 48]);
    TdxReferenceValues {
        platform: platform.to_owned(),
        chip_ids: Machines::Any,
        mrtd: Vec::new(),
        rtmr0: Vec::new(),
        rtmr1: Vec::new(),
        rtmr2: Vec::new(),
        // Nothing in the guest measures into it; what something did would be seen.
        rtmr3: Register::Listed(vec![zero]),
        // x87 and SSE always; AVX, AVX-512, PKRU and AMX where the processor has them (Intel SDM, volume 1, 13.1).
        xfam: Bits { required: Hex([0x03, 0, 0, 0, 0, 0, 0, 0]), allowed: Hex([0xe7, 0x02, 0x06, 0, 0, 0, 0, 0]) },
        td_attributes: Bits::exactly(SEPT_VE_DISABLE),
        mrseam: Vec::new(),
        mr_owner: zero,
        mr_owner_config: zero,
        mr_service_td: vec![zero],
        tcb: IntelTcbPolicy::default(),
        allow_smt: false,
        allow_dynamic_platform: false,
        allow_cached_keys: false,
    }
}

/// What is known of the devices of a platform.
fn devices(platform: &str, gpus: Option<u32>) -> Value {
    json!({
        "platform": platform,
        "gpus": gpus,
        "switches": 0,
        "topology": if gpus == Some(1) { json!("independent") } else { Value::Null },
        "device_ids": null,
        "architectures": null,
        "hwmodels": null,
        "driver_versions": null,
        "vbios_versions": null,
        "modes": null,
        "rim_signers": null,
        "ocsp": "required",
        "fwid": "required",
    })
}

fn how(field: &str, path: &str, platform: &str, cpus: &BTreeSet<u64>) -> String {
    let evidence = match field {
        "snp" => "REPORT.bin",
        "devices" => "GPU-EVIDENCE.txt",
        _ => "QUOTE.dat",
    };
    let from = format!("casemate reference-values from {evidence} --platform {platform}");
    let first = path.split(['.', '[']).next().unwrap_or_default();
    match (field, first) {
        ("snp", "product") => {
            "the line of your EPYC processors: \"milan\" (7003), \"genoa\" (9004, 8004) or \"turin\" (9005)".to_owned()
        }
        ("snp", "measurements") => {
            let cpus: Vec<String> = cpus.iter().map(u64::to_string).collect();
            let cpus = if cpus.is_empty() { "1-64".to_owned() } else { cpus.join(", ") };
            format!(
                "`casemate reference-values snp --firmware OVMF.fd --kernel … --append …` computes them from what the guest \
                 is started with; the pods of this run have guests with {cpus} vCPUs"
            )
        }
        (_, "chip_ids" | "device_ids") => {
            format!("`{from}` on each machine, or \"any\" for every genuine one")
        }
        ("snp", "tcb") => format!("`{from}`: the firmware and microcode below which you trust nothing"),
        ("tdx" | "sgx", "tcb") => {
            format!("`{from}`: the number of Intel's TCB evaluation before which you trust nothing")
        }
        ("tdx", _) => format!("`{from}`: what the guest was started from, as your machine measures it"),
        ("sgx", _) => format!("`{from}`: the enclave and its signer, as your machine measures them"),
        ("devices", "gpus" | "topology") => {
            format!("how many GPUs each guest of `{platform}` has, and whether they are one fabric")
        }
        ("devices", _) => format!("`{from}`: drivers, firmware and modes of your GPUs"),
        _ => "a value: null is none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::platform::named;
    use super::*;

    fn given(name: &str, values: &Value) -> Given {
        let values: ReferenceValues = serde_json::from_value(values.clone()).unwrap();
        let json = serde_json::to_value(values).unwrap().as_object().cloned().unwrap();
        Given { path: name.into(), json }
    }

    fn snp(platform: &str, chip: u8, microcode: u8) -> Value {
        let tcb = json!({"bootloader": 3, "tee": 0, "snp": 20, "microcode": microcode});
        json!({"snp": [{"platform": platform, "product": "milan", "measurements": ["11".repeat(48)],
                        "chip_ids": [format!("{chip:02x}").repeat(64)],
                        "tcb": {"reported": tcb, "committed": tcb, "launch": tcb, "current": tcb}}]})
    }

    fn with(names: &[&str], files: &[Given]) -> Values {
        let mut values = Values::default();
        values.merge(files);
        let platforms: Vec<_> = names.iter().map(|name| named(name).unwrap()).collect();
        values.add_templates(&platforms, Some(1));
        values
    }

    #[test]
    fn a_template_has_gaps_and_each_says_how_to_fill_it() {
        let names = ["metal-qemu-snp", "metal-qemu-tdx", "metal-sgx", "metal-qemu-snp-gpu"];
        let values = with(&names, &[]);
        let missing = values.missing(&BTreeSet::from([2, 3]));
        assert!(missing.iter().all(|missing| missing.how.len() > 20), "{missing:?}");
        let paths: Vec<&str> = missing.iter().map(|missing| missing.path.as_str()).collect();
        for path in [
            "reference_values.snp[0].product",
            "reference_values.snp[0].measurements",
            "reference_values.snp[0].chip_ids",
            "reference_values.snp[0].tcb",
            "reference_values.tdx[0].mrtd",
            "reference_values.tdx[0].tcb.min_evaluation_data_number",
            "reference_values.sgx[0].mrenclave",
            "reference_values.devices[0].driver_versions",
        ] {
            assert!(paths.contains(&path), "{path}: {paths:?}");
        }
        assert!(missing.iter().any(|missing| missing.how.contains("2, 3 vCPUs")));
        // No pod is given an entry with gaps.
        assert_eq!(values.complete(Path::new("m")).unwrap(), ReferenceValues::default());
        assert_eq!(values.platforms().len(), 4);
    }

    #[test]
    fn a_template_whose_gaps_are_filled_is_an_entry() {
        let files = [given("a", &snp("metal-qemu-snp", 1, 209))];
        let mut values = with(&["metal-qemu-snp"], &[]);
        values.merge(&files);
        assert!(values.missing(&BTreeSet::new()).is_empty());
        let complete = values.complete(Path::new("m")).unwrap();
        assert_eq!(complete.snp.len(), 1);
        assert_eq!(values.to_json(), serde_json::to_value(&complete).unwrap());
        // Again, and nothing changes.
        let before = values.to_json();
        values.merge(&files);
        assert_eq!((values.to_json(), values.notices.len()), (before, 0));
    }

    #[test]
    fn a_number_of_gpus_that_no_entry_has_is_named() {
        let platforms = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let gpu = platforms(&["metal-qemu-snp-gpu"]);
        // The template has one.
        let mut values = with(&["metal-qemu-snp-gpu"], &[]);
        assert_eq!(values.contradicts(1, &gpu), None);
        let (reason, hint) = values.contradicts(8, &gpu).unwrap();
        assert!(reason.contains("has 8 GPUs") && reason.contains("guests with 1"), "{reason}");
        assert!(hint.contains("manifest.json"), "{hint}");
        for (gpus, platforms) in [(0, gpu.clone()), (8, platforms(&["metal-qemu-tdx-gpu"])), (8, platforms(&[]))] {
            assert_eq!(values.contradicts(gpus, &platforms), None, "{gpus} {platforms:?}");
        }
        values.list_mut("devices").push(devices("metal-qemu-snp-gpu", Some(8)));
        assert_eq!(values.contradicts(8, &gpu), None);
        assert!(values.contradicts(2, &gpu).unwrap().0.contains("1 or 8"));
        values.list_mut("devices").push(devices("metal-qemu-snp-gpu", None));
        assert_eq!(values.contradicts(2, &gpu), None, "a gap says nothing");
    }

    #[test]
    fn what_the_owners_wrote_stays() {
        let mut values = with(&["metal-qemu-snp"], &[]);
        let entry = &mut values.list_mut("snp")[0];
        entry["product"] = json!("genoa");
        entry["guest_policy"]["smt"] = json!("any");
        values.merge(&[given("a", &snp("metal-qemu-snp", 1, 209))]);
        let entry = &values.list("snp")[0];
        assert_eq!((&entry["product"], &entry["guest_policy"]["smt"]), (&json!("genoa"), &json!("any")));
        assert!(!has_gap(entry));
        // A whole entry is not changed by a file that differs.
        let before = values.to_json();
        values.merge(&[given("b", &snp("metal-qemu-snp", 1, 100))]);
        assert_eq!(values.to_json(), before);
        assert!(values.notices.iter().any(|notice| notice.contains("`b`") && notice.contains("it stays")));
    }

    #[test]
    fn machines_are_added_and_the_order_of_files_means_nothing() {
        let files = || {
            vec![
                given("a", &snp("metal-qemu-snp", 2, 209)),
                given("b", &snp("metal-qemu-snp", 1, 209)),
                given("c", &snp("k3s-qemu-snp", 1, 209)),
                given("d", &snp("metal-qemu-snp", 1, 210)),
            ]
        };
        let forth = with(&["metal-qemu-snp"], &files());
        let mut reversed = files();
        reversed.reverse();
        let back = with(&["metal-qemu-snp"], &reversed);
        assert_eq!(forth.to_json().to_string(), back.to_json().to_string());
        assert_eq!(forth.list("snp").len(), 3);
        let mut again = forth.clone();
        again.merge(&files());
        assert_eq!(again.to_json().to_string(), forth.to_json().to_string());
        // One more machine of a kind that is known.
        again.merge(&[given("e", &snp("k3s-qemu-snp", 9, 209))]);
        assert!(again.notices.iter().any(|notice| notice.contains("accepts 1 more")), "{:?}", again.notices);
        assert_eq!(again.list("snp").len(), 3);
    }

    #[test]
    fn a_file_must_hold_reference_values_of_hardware() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("values.json");
        for (text, word) in [
            ("{", "no reference values"),
            ("{}", "it has no entry"),
            ("{\"snp\": [{}]}", "missing field"),
            ("{\"snpp\": []}", "unknown field `snpp`"),
            (&format!("{{\"software\": {{\"root\": \"{}\", \"measurements\": []}}}}", "00".repeat(32)), "software TEE"),
        ] {
            std::fs::write(&path, text).unwrap();
            let Err(error) = Given::read(&path) else { panic!("{text}") };
            assert!(error.to_string().contains(word) && error.hint().is_some(), "{text}: {error}");
        }
        assert!(matches!(Given::read(Path::new("/nowhere.json")), Err(GenerateError::Read { .. })));
        std::fs::write(&path, snp("own", 1, 1).to_string()).unwrap();
        assert!(Given::read(&path).is_ok());
    }
}
