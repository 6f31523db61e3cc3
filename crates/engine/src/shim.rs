//! What containerd and the Kata shim send to a pod's agent, in their order.
//!
//! `supervise` sends these as they are. A test that plays a hostile host takes the same list and changes one thing:
//! hence public, and nothing but data.
//!
//! The order of a pod's life: [`sandbox_calls`], then for each container [`container_calls`] and [`start_calls`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use policy::images::ImageConfig;
use policy::request::{
    COPIED_PREFIX, PodInstance, RequestError, container_request, copy_file_request, pause_request, sandbox_request,
};
use serde_json::{Value, json};

use crate::agent_api::{Call, MAX_COPY_CHUNK};

/// A pod's network as the shim reads it from the namespace.
#[derive(Clone, Debug)]
pub struct SandboxNetwork {
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// The default gateway.
    pub gateway: Ipv4Addr,
    /// The hardware address of `eth0`.
    pub mac: String,
}

/// What stands behind the source of a bind mount that the host provides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// One file with its permission bits.
    File(Vec<u8>, u32),
    /// A volume of files as the kubelet writes it: every file with its permission bits, by its path in the volume.
    Files(BTreeMap<String, (Vec<u8>, u32)>),
    /// A directory of the host that was attached at launch, by its name ([`crate::tee_api::Launch::volumes`]).
    Shared(String),
}

/// File type bits of `st_mode` (inode(7)).
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMLINK: u32 = 0o120_000;
/// The kubelet's name for the one version of a volume's files that there is here.
const VERSION: &str = "..2026_01_01_00_00_00.1";

/// From the new machine to the running pause container.
pub fn sandbox_calls(pod: &Value, instance: &PodInstance, network: &SandboxNetwork, resolv_conf: &[u8]) -> Vec<Call> {
    let interface = json!({"interface": {
        "device": "eth0",
        "name": "eth0",
        "IPAddresses": [{"family": 0, "address": network.ip, "mask": network.prefix.to_string()}],
        "mtu": 1500,
        "hwAddr": network.mac,
        "pciPath": "",
        "type_": "",
        "raw_flags": 0,
    }});
    let routes = json!({"routes": {"Routes": [
        {"dest": "", "gateway": network.gateway, "device": "eth0", "source": "", "scope": 0, "family": 0},
    ]}});
    let mut calls = vec![
        Call::new("UpdateInterfaceRequest", interface),
        Call::new("UpdateRoutesRequest", routes),
        Call::new("CreateSandboxRequest", sandbox_request(pod, instance)),
        Call::new("GuestDetailsRequest", json!({"mem_block_size": true, "mem_hotplug_probe": true})),
    ];
    let pause = pause_request(pod, instance);
    for (source, _) in copied_sources(&pause) {
        calls.extend(copy(&source, &Content::File(resolv_conf.to_vec(), 0o644)));
    }
    calls.push(Call::new("CreateContainerRequest", pause));
    calls.extend(start_calls(&instance.sandbox_id));
    calls
}

/// From nothing to a created container. `content` says what is behind each destination whose source is the host's;
/// for one that it does not know the file is left out, and the agent will say so.
pub fn container_calls(
    pod: &Value,
    container: &Value,
    image: &ImageConfig,
    instance: &PodInstance,
    container_id: &str,
    content: &dyn Fn(&str) -> Option<Content>,
) -> Result<Vec<Call>, RequestError> {
    let request = container_request(pod, container, image, instance, container_id)?;
    let mut calls = Vec::new();
    let mut shared = BTreeMap::new();
    for (source, destination) in copied_sources(&request) {
        match content(&destination) {
            Some(Content::Shared(name)) => drop(shared.insert(source, name)),
            Some(content) => calls.extend(copy(&source, &content)),
            None => {}
        }
    }
    calls.push(Call { shared, ..Call::new("CreateContainerRequest", request) });
    Ok(calls)
}

/// Starts a created container.
pub fn start_calls(container_id: &str) -> Vec<Call> {
    vec![
        Call::new("OnlineCPUMemRequest", json!({"wait": false, "nb_cpus": 0, "cpu_only": false})),
        Call::new("UpdateEphemeralMountsRequest", json!({"storages": []})),
        Call::new("StartContainerRequest", json!({"container_id": container_id})),
    ]
}

/// Source and destination of every mount whose source the host must provide.
fn copied_sources(request: &Value) -> Vec<(String, String)> {
    let own = format!("{COPIED_PREFIX}{}-", request["container_id"].as_str().unwrap_or_default());
    let mounts = request["OCI"]["Mounts"].as_array().into_iter().flatten();
    mounts
        .filter_map(|mount| Some((mount["source"].as_str()?.to_owned(), mount["destination"].as_str()?.to_owned())))
        .filter(|(source, _)| source.starts_with(&own))
        .collect()
}

fn copy(path: &str, content: &Content) -> Vec<Call> {
    match content {
        Content::File(bytes, mode) => copy_file(path, bytes, *mode),
        Content::Files(files) => copy_volume(path, files),
        Content::Shared(_) => Vec::new(),
    }
}

fn copy_file(path: &str, bytes: &[u8], mode: u32) -> Vec<Call> {
    let size = bytes.len() as u64;
    let whole = |data: &[u8], offset: usize| {
        let mut request = copy_file_request(path, REGULAR | mode, size, "");
        request["offset"] = json!(offset);
        Call { data: data.to_vec(), ..Call::new("CopyFileRequest", request) }
    };
    if bytes.is_empty() {
        return vec![whole(bytes, 0)];
    }
    bytes.chunks(MAX_COPY_CHUNK).enumerate().map(|(index, chunk)| whole(chunk, index * MAX_COPY_CHUNK)).collect()
}

/// The kubelet writes a volume into a folder of its version, points `..data` at that, and links every file from there,
/// so that all files of an update change at once.
fn copy_volume(path: &str, files: &BTreeMap<String, (Vec<u8>, u32)>) -> Vec<Call> {
    let folder = |path: &str, mode: u32| Call::new("CopyFileRequest", copy_file_request(path, DIRECTORY | mode, 0, ""));
    let link =
        |path: &str, target: &str| Call::new("CopyFileRequest", copy_file_request(path, SYMLINK | 0o777, 0, target));
    let mut calls = vec![folder(path, 0o1777), folder(&format!("{path}/{VERSION}"), 0o755)];
    let mut folders = Vec::new();
    let mut links = Vec::new();
    for (name, (bytes, mode)) in files {
        let mut above = name.as_str();
        let mut missing = Vec::new();
        while let Some((parent, _)) = above.rsplit_once('/') {
            missing.push(parent);
            above = parent;
        }
        for parent in missing.into_iter().rev() {
            if !folders.contains(&parent) {
                folders.push(parent);
                calls.push(folder(&format!("{path}/{VERSION}/{parent}"), 0o755));
            }
        }
        calls.extend(copy_file(&format!("{path}/{VERSION}/{name}"), bytes, *mode));
        if !links.contains(&above) {
            links.push(above);
        }
    }
    calls.push(link(&format!("{path}/..data"), VERSION));
    for name in links {
        calls.push(link(&format!("{path}/{name}"), &format!("..data/{name}")));
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(calls: &[Call]) -> Vec<String> {
        calls
            .iter()
            .map(|call| {
                let path = call.request["path"].as_str().unwrap_or_default();
                format!(
                    "{} {:o} {}",
                    path,
                    call.request["file_mode"].as_u64().unwrap(),
                    call.request["symlink_src"].as_str().unwrap_or_default()
                )
                .trim()
                .to_owned()
            })
            .collect()
    }

    #[test]
    fn a_volume_is_copied_as_the_kubelet_lays_it_out() {
        let files = BTreeMap::from([
            ("a.txt".to_owned(), (b"a".to_vec(), 0o644)),
            ("sub/b.txt".to_owned(), (b"b".to_vec(), 0o600)),
        ]);
        let calls = copy("/v", &Content::Files(files));
        expect_names(
            &names(&calls),
            &[
                "/v 41777",
                "/v/..2026_01_01_00_00_00.1 40755",
                "/v/..2026_01_01_00_00_00.1/a.txt 100644",
                "/v/..2026_01_01_00_00_00.1/sub 40755",
                "/v/..2026_01_01_00_00_00.1/sub/b.txt 100600",
                "/v/..data 120777 ..2026_01_01_00_00_00.1",
                "/v/a.txt 120777 ..data/a.txt",
                "/v/sub 120777 ..data/sub",
            ],
        );
    }

    fn expect_names(got: &[String], expected: &[&str]) {
        assert_eq!(got, expected);
    }

    #[test]
    fn a_long_file_travels_in_pieces_that_add_up() {
        let bytes = vec![7; MAX_COPY_CHUNK + 5];
        let calls = copy("/f", &Content::File(bytes.clone(), 0o644));
        let parts: Vec<_> =
            calls.iter().map(|call| (call.request["offset"].as_u64().unwrap(), call.data.len())).collect();
        assert_eq!(parts, [(0, MAX_COPY_CHUNK), (MAX_COPY_CHUNK as u64, 5)]);
        assert!(calls.iter().all(|call| call.request["file_size"] == json!(bytes.len())));
        assert_eq!(copy("/f", &Content::File(Vec::new(), 0o644)).len(), 1);
    }

    #[test]
    fn requests_come_in_the_order_of_a_shim() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
        let instance = PodInstance { name: "p".into(), sandbox_id: "a".repeat(64), ..PodInstance::default() };
        let network = SandboxNetwork {
            ip: Ipv4Addr::new(10, 89, 0, 2),
            prefix: 25,
            gateway: Ipv4Addr::new(10, 89, 0, 1),
            mac: "0a:58:0a:59:00:02".into(),
        };
        let calls = sandbox_calls(&pod, &instance, &network, b"");
        let order: Vec<_> = calls.iter().map(|call| call.ep.trim_end_matches("Request")).collect();
        assert_eq!(
            order,
            [
                "UpdateInterface",
                "UpdateRoutes",
                "CreateSandbox",
                "GuestDetails",
                "CopyFile",
                "CreateContainer",
                "OnlineCPUMem",
                "UpdateEphemeralMounts",
                "StartContainer"
            ]
        );
    }
}
