//! Container Device Interface: files from which a container runtime learns what a device's name stands for.
//!
//! One file for each resource, of version 0.5.0 of the specification, of the kind that the resource is called. A device is
//! called as its [`UnitId`](crate::plugin::UnitId), which is no bare number: an index and the number of an IOMMU group can
//! never be taken for each other. Kata's shim looks for `RESOURCE=ID`, with both from the kubelet's own record of what the
//! pod was given, so nothing is ever guessed.
//!
//! Only devices that are fit are in the files. A file is written whole or not at all, and goes when it would be empty,
//! which the specification does not allow.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plugin::Inventory;
use crate::runtime::{FileError, Root};

/// Where runtimes look for files that are written while the host runs.
pub const FOLDER: &str = "/var/run/cdi";
const VERSION: &str = "0.5.0";
/// The beginning of the names of our files.
const PREFIX: &str = "casemate-";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    cdi_version: &'static str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Edits::is_empty")]
    container_edits: Edits<'a>,
    devices: Vec<Device<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device<'a> {
    name: String,
    container_edits: Edits<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edits<'a> {
    device_nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    path: &'a str,
    permissions: &'static str,
}

impl<'a> Edits<'a> {
    fn of(nodes: &'a [String]) -> Self {
        Self { device_nodes: nodes.iter().map(|path| Node { path, permissions: "rwm" }).collect() }
    }

    fn is_empty(&self) -> bool {
        self.device_nodes.is_empty()
    }
}

/// The files by name.
pub fn files(inventory: &Inventory) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (resource, offer) in &inventory.offers {
        let fit = offer.units.iter().filter(|unit| unit.unfit.is_none());
        let devices: Vec<Device<'_>> =
            fit.map(|unit| Device { name: unit.id.to_string(), container_edits: Edits::of(&unit.nodes) }).collect();
        if devices.is_empty() {
            continue;
        }
        let spec = Spec {
            cdi_version: VERSION,
            kind: resource.as_str(),
            // What all devices of the kind need is said once, so that no container gets it twice.
            container_edits: Edits::of(&inventory.shared_nodes),
            devices,
        };
        // A struct of texts and lists is always JSON.
        if let Ok(text) = serde_json::to_string_pretty(&spec) {
            let name = resource.as_str().replace('/', "-");
            files.insert(format!("{PREFIX}{name}.json"), text + "\n");
        }
    }
    files
}

/// Makes a folder hold these files and no others of ours. Returns whether anything changed.
pub fn sync(root: &Root, folder: &str, files: &BTreeMap<String, String>) -> Result<bool, FileError> {
    let mut changed = false;
    for name in root.names(folder)? {
        if is_ours(&name) && !files.contains_key(&name) {
            root.remove(&format!("{folder}/{name}"))?;
            changed = true;
        }
    }
    for (name, text) in files {
        let path = format!("{folder}/{name}");
        if root.text(&path)?.as_ref() != Some(text) {
            root.replace(&path, text)?;
            changed = true;
        }
    }
    Ok(changed)
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.strip_suffix(".json").is_some())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::plugin::inventory::tests::{gpus, hgx};
    use crate::plugin::inventory::{Naming, Readiness, Unfit};
    use crate::plugin::{Inventory, ResourceName};

    #[test]
    fn devices_with_nodes_of_their_own() {
        let files = files(&gpus(2, true));
        assert_eq!(files.len(), 1);
        expect![[r#"
            {
              "cdiVersion": "0.5.0",
              "kind": "nvidia.com/pgpu",
              "devices": [
                {
                  "name": "group-10",
                  "containerEdits": {
                    "deviceNodes": [
                      {
                        "path": "/dev/vfio/devices/vfio0",
                        "permissions": "rwm"
                      }
                    ]
                  }
                },
                {
                  "name": "group-11",
                  "containerEdits": {
                    "deviceNodes": [
                      {
                        "path": "/dev/vfio/devices/vfio1",
                        "permissions": "rwm"
                      }
                    ]
                  }
                }
              ]
            }
        "#]]
        .assert_eq(&files["casemate-nvidia.com-pgpu.json"]);
    }

    #[test]
    fn groups_share_the_drivers_node() {
        expect![[r#"
            {
              "cdiVersion": "0.5.0",
              "kind": "nvidia.com/pgpu",
              "containerEdits": {
                "deviceNodes": [
                  {
                    "path": "/dev/vfio/vfio",
                    "permissions": "rwm"
                  }
                ]
              },
              "devices": [
                {
                  "name": "group-10",
                  "containerEdits": {
                    "deviceNodes": [
                      {
                        "path": "/dev/vfio/10",
                        "permissions": "rwm"
                      }
                    ]
                  }
                }
              ]
            }
        "#]]
        .assert_eq(&files(&gpus(1, false))["casemate-nvidia.com-pgpu.json"]);
    }

    #[test]
    fn every_resource_has_a_file_of_its_kind() {
        let names: Vec<String> = files(&hgx(8, 4, Naming::Model, &Readiness::Ready)).into_keys().collect();
        assert_eq!(names, ["casemate-nvidia.com-GH100_H100_SXM5_80GB.json", "casemate-nvidia.com-nvswitch.json"]);
    }

    #[test]
    fn devices_that_are_not_fit_are_not_named() {
        let mut inventory = gpus(2, true);
        let units = &mut inventory.offers.get_mut(&ResourceName::pgpu()).unwrap().units;
        units[0].unfit = Some(Unfit::NoNode("/dev/vfio/devices/vfio0".to_owned()));
        let text = files(&inventory).remove("casemate-nvidia.com-pgpu.json").unwrap();
        assert!(!text.contains("group-10\"") && text.contains("group-11\""), "{text}");
        assert!(files(&hgx(8, 4, Naming::Pgpu, &Readiness::NotReady("changing".to_owned()))).is_empty());
    }

    #[test]
    fn files_go_with_their_devices_and_files_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        root.replace("/var/run/cdi/nvidia.yaml", "theirs").unwrap();
        root.replace("/var/run/cdi/casemate-other.yaml", "theirs").unwrap();
        let names = || root.names(FOLDER).unwrap();
        assert!(sync(&root, FOLDER, &files(&hgx(2, 1, Naming::Pgpu, &Readiness::Ready))).unwrap());
        assert_eq!(
            names(),
            [
                "casemate-nvidia.com-nvswitch.json",
                "casemate-nvidia.com-pgpu.json",
                "casemate-other.yaml",
                "nvidia.yaml"
            ]
        );
        assert!(!sync(&root, FOLDER, &files(&hgx(2, 1, Naming::Pgpu, &Readiness::Ready))).unwrap());
        assert!(sync(&root, FOLDER, &files(&gpus(2, true))).unwrap());
        assert_eq!(names().len(), 3);
        assert!(sync(&root, FOLDER, &files(&Inventory::default())).unwrap());
        assert_eq!(names(), ["casemate-other.yaml", "nvidia.yaml"]);
    }
}
