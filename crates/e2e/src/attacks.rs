//! What a hostile host tries, each for real, and what must stop it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use engine::agent_api::{AgentErrorCode, CallError};
use engine::tee_api;
use protocol::Initdata;
use protocol::api::{MESH_PORT, USER_PORT};
use serde_json::{Value, json};

use crate::host::Host;
use crate::netns;

/// The reason with which an attack was refused. An error means that it was not, or that it could not be tried.
type Refusal = anyhow::Result<String>;

/// An attack.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Host) -> Refusal,
}

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "another image digest", run: another_image },
    Attack { name: "a changed argument", run: changed_argument },
    Attack { name: "a changed environment variable", run: changed_variable },
    Attack { name: "an environment variable left out", run: missing_variable },
    Attack { name: "a mount left out", run: missing_mount },
    Attack { name: "a changed ConfigMap file", run: changed_file },
    Attack { name: "a workload started before its initializer has finished", run: started_early },
    Attack { name: "a container created twice at once", run: created_twice },
    Attack { name: "a pod whose policy is not in the manifest asks for a certificate", run: unknown_policy },
    Attack { name: "Evidence recorded on one channel is presented on another", run: relayed_evidence },
    Attack { name: "an approved identity with other initdata", run: other_initdata },
    Attack { name: "a genuine Coordinator of another deployment", run: other_coordinator },
];

/// Sends a changed request and expects the policy to deny it, with a reason that names the field.
fn denied(host: &mut Host, field: &str, change: fn(&mut Value) -> anyhow::Result<()>) -> Refusal {
    let mut pod = host.launch(false)?;
    let result = (|| {
        let container = pod.main_container()?;
        let (_, mut request) = pod.request_for(&container)?;
        change(&mut request)?;
        expect_denial(pod.call("CreateContainerRequest", request), field)
    })();
    host.stop(pod)?;
    result
}

fn expect_denial(answer: Result<Value, CallError>, field: &str) -> Refusal {
    match answer {
        Err(CallError::Refused(error)) if error.code == AgentErrorCode::Denied => {
            let named = error.reasons.iter().find(|reason| reason.contains(field));
            named.cloned().with_context(|| format!("refused, but no reason names {field}: {:?}", error.reasons))
        }
        Err(error) => Err(anyhow::Error::new(error).context("it failed for another reason")),
        Ok(_) => bail!("the pod agent did it"),
    }
}

fn another_image(host: &mut Host) -> Refusal {
    denied(host, "storages[0].source", |request| {
        let source = request["storages"][0]["source"].as_str().context("a request without an image")?;
        let (name, digest) = source.split_once("@sha256:").context("an image without a digest")?;
        let first = if digest.starts_with('0') { "1" } else { "0" };
        let other = format!("{first}{}", digest.get(1..).unwrap_or_default());
        request["storages"][0]["source"] = format!("{name}@sha256:{other}").into();
        Ok(())
    })
}

fn changed_argument(host: &mut Host) -> Refusal {
    denied(host, "OCI.Process.Args[", |request| {
        let arguments = request["OCI"]["Process"]["Args"].as_array_mut().context("no arguments")?;
        *arguments.last_mut().context("no argument")? = json!("127.0.0.1:6666");
        Ok(())
    })
}

/// The first variable of the workload's own.
fn own_variable(request: &mut Value) -> anyhow::Result<(usize, &mut Vec<Value>)> {
    let variables = request["OCI"]["Process"]["Env"].as_array_mut().context("no environment")?;
    let of_host =
        |name: &str| ["PATH", "HOSTNAME"].contains(&name) || name.contains("_SERVICE_") || name.contains("_PORT");
    let index = variables.iter().position(|variable| {
        variable.as_str().is_some_and(|text| !of_host(text.split('=').next().unwrap_or_default()))
    });
    Ok((index.context("the workload sets no variable")?, variables))
}

fn changed_variable(host: &mut Host) -> Refusal {
    denied(host, "OCI.Process.Env", |request| {
        let (index, variables) = own_variable(request)?;
        let name = variables[index].as_str().and_then(|text| text.split('=').next()).unwrap_or_default();
        variables[index] = json!(format!("{name}=changed-by-the-host"));
        Ok(())
    })
}

fn missing_variable(host: &mut Host) -> Refusal {
    denied(host, "OCI.Process.Env", |request| {
        let (index, variables) = own_variable(request)?;
        variables.remove(index);
        Ok(())
    })
}

fn missing_mount(host: &mut Host) -> Refusal {
    denied(host, "OCI.Mounts", |request| {
        let mounts = request["OCI"]["Mounts"].as_array_mut().context("no mounts")?;
        let index = mounts.iter().position(|mount| mount["destination"] == "/casemate").context("no /casemate")?;
        mounts.remove(index);
        Ok(())
    })
}

fn changed_file(host: &mut Host) -> Refusal {
    let maps = host.config_maps();
    let mut pod = host.launch(true)?;
    let result = (|| {
        let initializer = pod.initializer()?;
        let bound = host.initdata.settings()?.files;
        let file =
            bound.values().flat_map(|files| files.keys()).next().context("the deployment binds no file")?.clone();
        let id = pod.run(&initializer, &maps, |name, mut content| {
            if name == file {
                content.push(b'!');
            }
            content
        })?;
        let (status, output) = pod.outcome(&id)?;
        if status == 0 {
            bail!("the initializer accepted the changed file");
        }
        named_line(&output, &["files.", &file])
    })();
    host.stop(pod)?;
    result
}

fn started_early(host: &mut Host) -> Refusal {
    let maps = host.config_maps();
    let mut pod = host.launch(true)?;
    let result = (|| {
        let container = pod.main_container()?;
        match pod.run(&container, &maps, |_, content| content) {
            Ok(_) => bail!("the workload runs without its initializer"),
            Err(error) => {
                let text = format!("{error:#}");
                if !text.contains("process.args[0]") {
                    return Err(error.context("it failed for another reason"));
                }
                Ok(text)
            }
        }
    })();
    host.stop(pod)?;
    result
}

fn created_twice(host: &mut Host) -> Refusal {
    let maps = host.config_maps();
    let mut pod = host.launch(false)?;
    let result = (|| {
        let container = pod.main_container()?;
        let (id, request) = pod.request_for(&container)?;
        pod.copy_files(&container, &id, &request, &maps, |_, content| content)?;
        let text = request.to_string();
        pod.call("CreateContainerRequest", request).context("the first of the two")?;
        // The same container under another id, so that the id alone cannot give it away.
        let other = text.replace(&id, &id.chars().rev().collect::<String>());
        expect_denial(pod.call("CreateContainerRequest", serde_json::from_str(&other)?), "live")
    })();
    host.stop(pod)?;
    result
}

/// Runs the genuine initializer in a pod of another identity: same code, same policy, one more comment in it.
fn unknown_policy(host: &mut Host) -> Refusal {
    let policy = format!("{}\n# not what the owners agreed to\n", host.initdata.policy()?);
    let initdata = Initdata::build(&policy, &host.initdata.settings()?)?;
    let maps = host.config_maps();
    let mut pod = host.launch_with(initdata.identity().0, Some(&initdata), true)?;
    pod.files.hosts = hosts_file(host.service("coordinator")?);
    let result = (|| {
        pod.begin()?;
        let initializer = pod.initializer()?;
        let id = pod.run(&initializer, &maps, |_, content| content)?;
        pod.wait_for_output(&id, &["not in the manifest"]).map(|line| without_time(&line))
    })();
    host.stop(pod)?;
    result
}

fn relayed_evidence(host: &mut Host) -> Refusal {
    let coordinator = SocketAddr::from((host.service("coordinator")?, USER_PORT));
    let deployment = host.initdata.settings()?.deployment_id;
    let handle = tokio::runtime::Handle::current();
    let address = handle.block_on(crate::relay::pose(coordinator, deployment))?;
    let output = Command::new(&host.casemate)
        .args(["verify", "--coordinator", &address.to_string()])
        .current_dir(&host.workspace)
        .output()
        .context("run `casemate verify`")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(1) => named_line(&text, &["report data"]),
        Some(0) => bail!("`casemate verify` trusts the machine in the middle"),
        other => bail!("`casemate verify` exited with {other:?}: {text}"),
    }
}

fn other_initdata(host: &mut Host) -> Refusal {
    let approved = host.initdata.identity().0;
    let other = Initdata::build(
        "package agent_policy\n\ndefault CreateContainerRequest := true\n",
        &host.initdata.settings()?,
    )?;
    match host.launch_with(approved, Some(&other), false) {
        Ok(pod) => {
            host.stop(pod)?;
            bail!("the pod serves requests under an approved identity with a policy that allows everything")
        }
        Err(error) => match error.downcast_ref::<tee_api::CallError>() {
            Some(tee_api::CallError::Refused(refusal)) if refusal.code == tee_api::TeeErrorCode::Refused => {
                Ok(refusal.message.clone())
            }
            _ => Err(error.context("it failed for another reason")),
        },
    }
}

/// Starts a second deployment of the same resources under the same software root, and offers its Coordinator to the
/// initializer of the first: the host writes /etc/hosts, and so says who `coordinator` is.
fn other_coordinator(host: &mut Host) -> Refusal {
    let folder = tempfile::Builder::new().prefix("casemate-hostile-").tempdir().context("make a folder")?;
    let second = folder.path();
    let started = (|| -> anyhow::Result<Ipv4Addr> {
        std::fs::create_dir(second.join(".casemate"))?;
        let key = Path::new(".casemate").join("tee-root.key");
        std::fs::copy(host.workspace.join(&key), second.join(&key)).context("copy the root key")?;
        copy_yaml(&host.resources, &second.join("resources"))?;
        for name in ["settings.json", "workload-owner.pem", "seedshare-owner.pem"] {
            let _ = std::fs::copy(host.workspace.join(name), second.join(name));
        }
        let casemate = |arguments: &[&str]| run(&host.casemate, second, arguments);
        casemate(&["generate", "--reference-values", "local", "resources/"])?;
        casemate(&["up", "resources/"])?;
        casemate(&["set", "resources/"])?;
        let services = engine::services(second)?;
        Ok(services.iter().find(|service| service.name == "coordinator").context("no Coordinator")?.ip)
    })();
    let result = started.and_then(|coordinator| {
        let maps = host.config_maps();
        let mut pod = host.launch(true)?;
        pod.files.hosts = hosts_file(Ipv4Addr::LOCALHOST);
        let result = (|| {
            let namespace = pod.netns.clone().context("a pod without a network")?;
            let target = SocketAddr::V4(SocketAddrV4::new(coordinator, MESH_PORT));
            let listener = netns::listen(&namespace, SocketAddrV4::new(Ipv4Addr::LOCALHOST, MESH_PORT))?;
            let _forwarder = netns::forward(listener, target)?;
            let initializer = pod.initializer()?;
            let id = pod.run(&initializer, &maps, |_, content| content)?;
            pod.wait_for_output(&id, &["refusing this Coordinator"]).map(|line| without_time(&line))
        })();
        host.stop(pod)?;
        result
    });
    let down = run(&host.casemate, second, &["down"]);
    let reason = result?;
    down?;
    Ok(reason)
}

fn run(casemate: &Path, workspace: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(casemate).args(arguments).current_dir(workspace).output().context("run `casemate`")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`casemate {}` failed: {text}", arguments.join(" "));
    }
    Ok(())
}

/// Copies the YAML files, the Coordinator that `generate` added left out.
fn copy_yaml(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read `{}`", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_file() {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

fn hosts_file(coordinator: Ipv4Addr) -> String {
    format!("127.0.0.1 localhost\n{coordinator} coordinator coordinator.default coordinator.default.svc\n")
}

/// A log line of ours without its time and level.
fn without_time(line: &str) -> String {
    let text = line.trim();
    text.split_once(" ERROR ").or_else(|| text.split_once("caused by: ")).map_or(text, |(_, reason)| reason).to_owned()
}

/// The line of a program's output that says why, which must hold all these words.
fn named_line(output: &str, words: &[&str]) -> Refusal {
    let line = output.lines().find(|line| words.iter().all(|word| line.contains(word)));
    line.map(without_time).with_context(|| format!("refused, but no line names {words:?}: {output}"))
}
