//! What the host of a pod can do: launch it in the TEE, copy files into it, and send its agent any request it likes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use engine::agent_api::{AgentClient, Call, CallError};
use engine::tee_api::{self, Launch, TeeClient};
use policy::images::{ImageConfig, Registry};
use policy::request::{self, COPIED_PREFIX, PodInstance, VolumeKind};
use protocol::{Digest, Initdata};
use serde_json::{Value, json};

/// S_IFDIR with 0755 and S_IFREG with 0644, as the shim sends them.
const DIRECTORY: u32 = 0o040_755;
const REGULAR: u32 = 0o100_644;
/// How long a container of an attack may run.
const PATIENCE: Duration = Duration::from_secs(30);

/// The host: a work folder with a running engine, and the resources that were started in it.
pub(crate) struct Host {
    pub(crate) workspace: PathBuf,
    pub(crate) resources: PathBuf,
    pub(crate) casemate: PathBuf,
    /// The workload that is attacked: its resource, its pod template and its initdata.
    workload: Value,
    config_maps: BTreeMap<String, Value>,
    pub(crate) initdata: Initdata,
    images: BTreeMap<String, ImageConfig>,
    launched: u64,
}

impl Host {
    /// Reads the generated resources of a work folder.
    pub(crate) async fn new(workspace: PathBuf, resources: PathBuf, casemate: PathBuf) -> anyhow::Result<Self> {
        let mut documents = Vec::new();
        read_documents(&resources, &mut documents)?;
        let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
        let workload = of_kind("Deployment").next().context("the resources hold no Deployment")?.clone();
        let config_maps = of_kind("ConfigMap")
            .filter_map(|map| Some((map["metadata"]["name"].as_str()?.to_owned(), map.clone())))
            .collect();
        let template = &workload["spec"]["template"];
        let annotation = template["metadata"]["annotations"][protocol::initdata::ANNOTATION]
            .as_str()
            .context("the Deployment has no initdata: run `casemate generate`")?;
        let initdata = Initdata::from_annotation(annotation)?;
        let registry = Registry::new();
        let mut images = BTreeMap::new();
        for container in containers(template) {
            let image = container["image"].as_str().context("a container without an image")?;
            images.insert(image.to_owned(), registry.resolve(image).await?.config);
        }
        Ok(Self { workspace, resources, casemate, workload, config_maps, initdata, images, launched: 0 })
    }

    fn paths(&self) -> anyhow::Result<engine::Paths> {
        Ok(engine::Paths::of(&self.workspace)?)
    }

    fn tee(&self) -> anyhow::Result<TeeClient> {
        let socket = self.paths()?.tee_socket();
        TeeClient::connect(&socket).with_context(|| format!("connect to `{}`", socket.display()))
    }

    /// Launches a pod with whatever HOSTDATA and initdata; the error is the agent's own.
    pub(crate) fn launch_with(
        &mut self,
        host_data: Digest,
        initdata: Option<&Initdata>,
        networked: bool,
    ) -> anyhow::Result<Pod> {
        self.launched += 1;
        let name = format!("hostile-{}", self.launched);
        let attachment = if networked { Some(engine::attach_netns(&self.workspace, &name)?) } else { None };
        let launch = Launch {
            pod: name.clone(),
            host_data,
            initdata: initdata.map(Initdata::to_annotation),
            netns: attachment.as_ref().map(|attachment| attachment.netns.clone()),
            volumes: BTreeMap::new(),
        };
        let launched = self.tee()?.call(&tee_api::Request::Launch(launch));
        let agent = match launched {
            Ok(tee_api::Reply::Launched { agent, .. }) => agent,
            Ok(other) => bail!("the TEE answered {other:?}"),
            Err(error) => {
                if networked {
                    engine::detach_netns(&self.workspace, &name)?;
                }
                return Err(error.into());
            }
        };
        let ip = attachment.as_ref().map_or_else(|| "10.0.0.9".to_owned(), |attachment| attachment.ip.to_string());
        let pod_name = request::pod_name(&self.workload, 100 + self.launched);
        let instance = PodInstance {
            name: pod_name.clone(),
            namespace: "default".to_owned(),
            uid: format!("00000000-0000-4000-8000-{:012x}", self.launched),
            sandbox_id: Digest::of(name.as_bytes()).to_string(),
            node_name: "hostile".to_owned(),
            host_ip: "10.0.0.1".to_owned(),
            pod_ip: ip,
            hostname: pod_name,
            service_env: Vec::new(),
            config_maps: self.config_maps.clone(),
            secrets: BTreeMap::new(),
        };
        let client = AgentClient::connect(&agent).with_context(|| format!("connect to `{}`", agent.display()))?;
        client.set_timeout(Some(PATIENCE))?;
        Ok(Pod {
            name,
            client,
            instance,
            template: self.workload["spec"]["template"].clone(),
            images: self.images.clone(),
            files: Files { initdata: initdata.map(Initdata::to_annotation).unwrap_or_default(), hosts: String::new() },
            netns: attachment.map(|attachment| attachment.netns),
        })
    }

    /// Launches a pod as its owner meant it, and brings it to the point where containers can be created.
    pub(crate) fn launch(&mut self, networked: bool) -> anyhow::Result<Pod> {
        let initdata = self.initdata.clone();
        let mut pod = self.launch_with(initdata.identity().0, Some(&initdata), networked)?;
        pod.begin()?;
        Ok(pod)
    }

    /// Ends a pod.
    pub(crate) fn stop(&self, pod: Pod) -> anyhow::Result<()> {
        let Pod { name, netns, client, .. } = pod;
        drop(client);
        self.tee()?.call(&tee_api::Request::Stop { pod: name.clone() })?;
        if netns.is_some() {
            engine::detach_netns(&self.workspace, &name)?;
        }
        Ok(())
    }

    /// The address of a service of the engine.
    pub(crate) fn service(&self, name: &str) -> anyhow::Result<std::net::Ipv4Addr> {
        let services = engine::services(&self.workspace)?;
        let service = services.iter().find(|service| service.name == name);
        Ok(service.with_context(|| format!("the engine has no service `{name}`"))?.ip)
    }
}

/// What the host puts into the files that nothing binds, and into those that something should.
pub(crate) struct Files {
    /// The downward API's copy of the initdata annotation.
    pub(crate) initdata: String,
    /// `/etc/hosts`.
    pub(crate) hosts: String,
}

/// A pod that the host launched.
pub(crate) struct Pod {
    name: String,
    client: AgentClient,
    instance: PodInstance,
    template: Value,
    images: BTreeMap<String, ImageConfig>,
    pub(crate) files: Files,
    pub(crate) netns: Option<PathBuf>,
}

impl Pod {
    /// Sends a request.
    pub(crate) fn call(&mut self, endpoint: &str, request: Value) -> Result<Value, CallError> {
        self.client.call(&Call::new(endpoint, request))
    }

    fn copy(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<Value, CallError> {
        let request = request::copy_file_request(path, mode, data.len() as u64, "");
        let mut call = Call::new("CopyFileRequest", request);
        call.data = data.to_vec();
        self.client.call(&call)
    }

    /// What comes before the first container, in a shim's order.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        let sandbox = request::sandbox_request(&self.template, &self.instance);
        self.call("CreateSandboxRequest", sandbox).context("CreateSandboxRequest")?;
        let pause = request::pause_request(&self.template, &self.instance);
        for mount in copied_mounts(&pause, &self.instance.sandbox_id.clone()) {
            self.copy(&mount.source, REGULAR, b"")?;
        }
        self.call("CreateContainerRequest", pause).context("CreateContainerRequest of the pause container")?;
        Ok(())
    }

    /// The request that creates a container as its owner meant it.
    pub(crate) fn request_for(&self, container: &str) -> anyhow::Result<(String, Value)> {
        let spec = self.container(container)?;
        let image = spec["image"].as_str().context("a container without an image")?;
        let config = self.images.get(image).context("an image that was not resolved")?;
        let id = Digest::of_fields(&[self.name.as_bytes(), container.as_bytes()]).to_string();
        let request = request::container_request(&self.template, spec, config, &self.instance, &id)?;
        Ok((id, request))
    }

    /// The name of the workload's own first container.
    pub(crate) fn main_container(&self) -> anyhow::Result<String> {
        self.template["spec"]["containers"][0]["name"].as_str().map(str::to_owned).context("a pod without a container")
    }

    /// The name of the first init container.
    pub(crate) fn initializer(&self) -> anyhow::Result<String> {
        self.template["spec"]["initContainers"][0]["name"].as_str().map(str::to_owned).context("no initializer")
    }

    fn container(&self, name: &str) -> anyhow::Result<&Value> {
        containers(&self.template)
            .find(|container| container["name"] == name)
            .with_context(|| format!("the pod has no container `{name}`"))
    }

    /// Copies the files of a container's volumes, as the kubelet would; `change` may alter each.
    pub(crate) fn copy_files(
        &mut self,
        container: &str,
        id: &str,
        request: &Value,
        config_maps: &BTreeMap<String, Value>,
        change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
    ) -> anyhow::Result<()> {
        let spec = self.container(container)?.clone();
        for mount in copied_mounts(request, id) {
            let Some(volume) = request::mount_volume(&self.template, &spec, &mount.destination).cloned() else {
                let content = if mount.destination == "/etc/hosts" { self.files.hosts.clone() } else { String::new() };
                self.copy(&mount.source, REGULAR, content.as_bytes())?;
                continue;
            };
            let VolumeKind::Files(_) = request::volume_kind(&volume)? else { continue };
            let single = request::mounted_file(&spec, &mount.destination);
            if single.is_none() {
                self.copy(&mount.source, DIRECTORY, b"")?;
            }
            for (name, content) in self.volume_files(&volume, config_maps)? {
                let place = match single {
                    Some(file) if file == name => mount.source.clone(),
                    Some(_) => continue,
                    None => format!("{}/{name}", mount.source),
                };
                self.copy(&place, REGULAR, &change(&name, content))?;
            }
        }
        Ok(())
    }

    fn volume_files(
        &self,
        volume: &Value,
        config_maps: &BTreeMap<String, Value>,
    ) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
        if let Some(items) = volume["downwardAPI"]["items"].as_array() {
            let file =
                |item: &Value| Some((item["path"].as_str()?.to_owned(), self.files.initdata.clone().into_bytes()));
            return Ok(items.iter().filter_map(file).collect());
        }
        let name = volume["configMap"]["name"].as_str().context("a volume of a kind that is not copied here")?;
        let map = config_maps.get(name).with_context(|| format!("no ConfigMap `{name}`"))?;
        let data = map["data"].as_object().context("a ConfigMap without data")?;
        let file = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.as_bytes().to_vec()));
        Ok(data.iter().filter_map(file).collect())
    }

    /// Creates and starts a container with its files and returns its id.
    pub(crate) fn run(
        &mut self,
        container: &str,
        config_maps: &BTreeMap<String, Value>,
        change: impl Fn(&str, Vec<u8>) -> Vec<u8>,
    ) -> anyhow::Result<String> {
        let (id, request) = self.request_for(container)?;
        self.copy_files(container, &id, &request, config_maps, change)?;
        self.call("CreateContainerRequest", request).context("CreateContainerRequest")?;
        self.call("StartContainerRequest", json!({ "container_id": id }))?;
        Ok(id)
    }

    /// Waits until a container ends; its exit status and what it printed.
    pub(crate) fn outcome(&mut self, id: &str) -> anyhow::Result<(i64, String)> {
        let status = self.call("WaitProcessRequest", json!({ "container_id": id, "exec_id": id }))?;
        let mut text = String::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let request = json!({ "container_id": id, "exec_id": id, "len": 65_536 });
            let part = self.call("ReadStreamRequest", request)?;
            let data = base64::engine::general_purpose::STANDARD.decode(part["data"].as_str().unwrap_or_default())?;
            text.push_str(&String::from_utf8_lossy(&data));
            if part["eof"] == json!(true) || data.is_empty() {
                break;
            }
        }
        Ok((status["status"].as_i64().unwrap_or(-1), text))
    }

    /// Reads a container's output until it holds `wanted`, which a container that goes on trying may print at any time.
    pub(crate) fn wait_for_output(&mut self, id: &str, wanted: &[&str]) -> anyhow::Result<String> {
        let mut text = String::new();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let request = json!({ "container_id": id, "exec_id": id, "len": 65_536 });
            // A container that waits prints nothing for longer than an answer may take.
            let Ok(part) = self.call("ReadStreamRequest", request) else { break };
            let data = base64::engine::general_purpose::STANDARD.decode(part["data"].as_str().unwrap_or_default())?;
            text.push_str(&String::from_utf8_lossy(&data));
            if let Some(line) = text.lines().find(|line| wanted.iter().all(|word| line.contains(word))) {
                return Ok(line.to_owned());
            }
            if part["eof"] == json!(true) {
                break;
            }
        }
        bail!("it never printed {wanted:?}, but: {text}")
    }
}

impl Host {
    /// The ConfigMaps of the deployment.
    pub(crate) fn config_maps(&self) -> BTreeMap<String, Value> {
        self.config_maps.clone()
    }
}

struct CopiedMount {
    destination: String,
    source: String,
}

/// The mounts whose files the host copies.
fn copied_mounts(request: &Value, id: &str) -> Vec<CopiedMount> {
    let prefix = format!("{COPIED_PREFIX}{id}-");
    let mounts = request["OCI"]["Mounts"].as_array().into_iter().flatten();
    let text = |mount: &Value, field: &str| mount[field].as_str().unwrap_or_default().to_owned();
    mounts
        .filter(|mount| mount["source"].as_str().is_some_and(|source| source.starts_with(&prefix)))
        .map(|mount| CopiedMount { destination: text(mount, "destination"), source: text(mount, "source") })
        .collect()
}

/// Init containers, then containers.
fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    let list = |name: &str| template["spec"][name].as_array().into_iter().flatten();
    list("initContainers").chain(list("containers"))
}

fn read_documents(path: &Path, documents: &mut Vec<Value>) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        entries.sort();
        return entries.iter().try_for_each(|entry| read_documents(entry, documents));
    }
    if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let text = std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
        let parsed: Vec<Value> =
            serde_saphyr::from_multiple(&text).with_context(|| format!("parse `{}`", path.display()))?;
        documents.extend(parsed);
    }
    Ok(())
}
