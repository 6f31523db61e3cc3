//! What a demonstration does, step by step, in the words of the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Demo;
use super::report::{Attack, Bench};
use crate::images::{self, ImagesArgs};
use crate::proc;
use crate::registry::{DEFAULT_PORT, Registry};

pub(super) type Run = fn(&mut Demo) -> Result<()>;

/// The steps, in order, as the report names them.
pub(super) const STEPS: &[(&str, Run)] = &[
    ("model seal", seal),
    ("images and registry", publish),
    ("generate", generate),
    ("up", up),
    ("set", set),
    ("secret put", put_secret),
    ("ps and logs", look),
    ("verify", verify_and_keep_a_copy),
    ("infer", infer),
    ("bench with 2 replicas", |demo| bench(demo, 2)),
    ("scale to 3 replicas", scale),
    ("bench with 3 replicas", |demo| bench(demo, 3)),
    ("attacks", attacks),
    ("kill the Coordinator", kill),
    ("recover", recover),
    ("infer after recovery", infer),
    ("roll the store back", roll_back),
    ("down", down),
    ("nothing is left", nothing_left),
];

/// The example, relative to the repository.
const EXAMPLE: &str = "examples/inference";
const MODEL: &str = "digits.onnx";
const SEALED: &str = "digits.onnx.sealed";
const KEY: &str = "model.key";
/// The secret under which the example's server looks for its key, and the workload that may have it.
const SECRET: &str = "digits-model-key";
pub(super) const WORKLOAD: &str = "inference";
/// A held-out digit of the example.
const PICTURE: &str = "7.png";
/// The Coordinator's pod, and where its volume lies in the work folder.
const COORDINATOR: &str = "coordinator-0";
pub(super) const VOLUMES: &str = ".casemate/volumes";
/// Where the older copy of the Coordinator's volume waits for [`roll_back`].
const OLD_VOLUMES: &str = "old-volumes";
/// How long the kernel may take to clear away namespaces after their last process is gone.
const SETTLE: Duration = Duration::from_secs(5);
/// Holders of seed shares, any two of whom bring a Coordinator back.
const HOLDERS: [&str; 3] = ["alice.pem", "bob.pem", "carol.pem"];
/// Attacks in the README's list.
const ATTACKS: usize = 14;

/// Model weights are encrypted on the owner's machine; the key goes to attested pods alone.
pub(super) fn seal(demo: &mut Demo) -> Result<()> {
    let example = demo.metadata.workspace_root.join(EXAMPLE);
    for file in [PathBuf::from(MODEL), PathBuf::from("digits").join(PICTURE)] {
        let name = file.file_name().context("a file without a name")?;
        copy(&example.join(&file), &demo.work.join(name))?;
    }
    demo.casemate(&["model", "seal", MODEL, "--out", SEALED, "--key-out", KEY])?;
    Ok(())
}

/// Images are built FROM scratch and pushed to a registry on loopback, which ends with this process.
pub(super) fn publish(demo: &mut Demo) -> Result<()> {
    let model_file = Some(demo.work.join(SEALED));
    publish_images(demo, &ImagesArgs { model_file, ..ImagesArgs::default() })
}

/// The pod's image and those of an example, in a registry.
pub(super) fn publish_images(demo: &mut Demo, example: &ImagesArgs) -> Result<()> {
    let registry = Registry::start_somewhere(&demo.work.join("registry"), demo.registry_port)?;
    let args = ImagesArgs { only: vec!["casemate-pod".to_owned()], ..example.clone() };
    let folder = demo.metadata.target_directory.join("images");
    let built = images::write(&demo.metadata, &args, &demo.binaries, &folder)?;
    // skopeo speaks to the terminal itself.
    demo.ui.hide();
    images::push(&built, &images::Destination::root(registry.address()))?;
    for image in &built {
        demo.ui.line(&format!("  {}/{}:{}@{}", registry.address(), image.name, image.tag, image.digest));
    }
    demo.registry = Some(registry);
    Ok(())
}

/// Plain YAML becomes a confidential deployment.
pub(super) fn generate(demo: &mut Demo) -> Result<()> {
    let mut options = Vec::new();
    for holder in HOLDERS {
        options.extend(["--add-seedshare-owner-key", holder]);
    }
    options.extend(["--seedshare-threshold", "2"]);
    generate_example(demo, EXAMPLE, &options)
}

/// Copies an example's resources into the work folder and runs `casemate generate` over them.
pub(super) fn generate_example(demo: &mut Demo, example: &str, options: &[&str]) -> Result<()> {
    let address = demo.registry_address()?;
    let resources = demo.work.join("resources");
    fs::create_dir_all(&resources).with_context(|| format!("create `{}`", resources.display()))?;
    let source = demo.metadata.workspace_root.join(example).join("resources");
    let entries = fs::read_dir(&source).with_context(|| format!("read `{}`", source.display()))?;
    for entry in entries {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        let to = resources.join(path.file_name().context("a file without a name")?);
        // Only when port 5000 was taken does the copy differ from the example.
        let text = text.replace(&format!("localhost:{DEFAULT_PORT}"), &address);
        fs::write(&to, text).with_context(|| format!("write `{}`", to.display()))?;
    }
    let image = format!("{address}/casemate-pod:{}", demo.metadata.version());
    let mut command = vec!["generate", "--reference-values", "local", "--pod-image", &image];
    command.extend(options);
    command.push("resources/");
    demo.casemate(&command)?;
    Ok(())
}

/// Pods start, each in its own network namespace; their initializers wait for a manifest.
pub(super) fn up(demo: &mut Demo) -> Result<()> {
    demo.up = true;
    demo.casemate(&["up", "resources/"])?;
    Ok(())
}

/// The owner attests the Coordinator and hands over the signed manifest.
pub(super) fn set(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["set", "resources/"])?;
    Ok(())
}

/// The model key goes to the Coordinator, for one identity; then pods become ready.
pub(super) fn put_secret(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["secret", "put", SECRET, "--file", KEY, "--to", WORKLOAD])?;
    demo.casemate(&["wait"])?;
    Ok(())
}

fn look(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["ps"])?;
    demo.casemate(&["logs", WORKLOAD])?;
    demo.casemate(&["logs", COORDINATOR])?;
    Ok(())
}

/// Anybody who has the manifest can check what runs.
pub(super) fn verify(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["verify"])?;
    for file in ["coordinator-root-ca.pem", "mesh-ca.pem", "checkpoint"] {
        let path = demo.work.join("verify").join(file);
        ensure!(path.is_file(), "`verify` wrote no `{}`", path.display());
    }
    Ok(())
}

/// What the disk holds now is what [`roll_back`] puts back later.
fn verify_and_keep_a_copy(demo: &mut Demo) -> Result<()> {
    verify(demo)?;
    copy_folder(&demo.work.join(VOLUMES), &demo.work.join(OLD_VOLUMES))
}

pub(super) fn infer(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["infer", "--image", PICTURE])?;
    Ok(())
}

fn bench(demo: &mut Demo, replicas: u32) -> Result<()> {
    let finished = demo.casemate(&["bench", "--cnum", "4", "--loop", "100", "--json"])?;
    let figures = serde_json::from_str(&finished.stdout).context("read what `casemate bench --json` printed")?;
    demo.report.bench.push(Bench { replicas, figures });
    Ok(())
}

pub(super) fn scale(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["scale", WORKLOAD, "--replicas", "3"])?;
    Ok(())
}

/// A hostile host tries what a host can, and two people are shown what they should not believe.
fn attacks(demo: &mut Demo) -> Result<()> {
    let finished = demo.program("hostile-host", &["--workspace-dir", "."])?;
    demo.report.attacks.extend(read_attacks(&finished.stdout)?);
    other_reference_values(demo)?;
    wrong_manifest(demo)?;

    let attacks = &demo.report.attacks;
    ensure!(attacks.len() >= ATTACKS, "{} attacks were tried, not {ATTACKS}", attacks.len());
    let through: Vec<&str> =
        attacks.iter().filter(|attack| !attack.refused).map(|attack| attack.name.as_str()).collect();
    ensure!(through.is_empty(), "not refused: {}", through.join(", "));
    ensure!(finished.code == 0, "the hostile host ended with {}: {}", finished.code, finished.reason);
    Ok(())
}

fn read_attacks(lines: &str) -> Result<Vec<Attack>> {
    let objects = lines.lines().filter(|line| line.starts_with('{'));
    objects.map(|line| serde_json::from_str(line).with_context(|| format!("read attack `{line}`"))).collect()
}

/// A client whose manifest names another software root must be told "not trusted" (1), not "could not tell" (2).
fn other_reference_values(demo: &mut Demo) -> Result<()> {
    edit_manifest(demo, "other-root.json", &["reference_values", "software", "root"])?;
    let finished = demo.casemate_exits(&["verify", "--manifest", "other-root.json"], 1)?;
    record(demo, "a client verifies with other reference values", finished.reason);
    Ok(())
}

/// A manifest that the owners did not agree to: its Evidence is fine, and it is not the active one.
fn wrong_manifest(demo: &mut Demo) -> Result<()> {
    let text = fs::read_to_string(demo.work.join("manifest.json")).context("read `manifest.json`")?;
    let mut manifest: serde_json::Value = serde_json::from_str(&text).context("parse `manifest.json`")?;
    let lease = manifest["lease_seconds"].as_u64().context("the manifest has another shape")?;
    // A longer lease is what somebody wants who is about to be cut off.
    manifest["lease_seconds"] = (lease * 10).into();
    fs::write(demo.work.join("wrong.json"), serde_json::to_string_pretty(&manifest)? + "\n")
        .context("write `wrong.json`")?;
    let finished = demo.casemate_exits(&["verify", "--manifest", "wrong.json"], 1)?;
    record(demo, "a wrong manifest", finished.reason);
    Ok(())
}

fn record(demo: &mut Demo, name: &str, reason: String) {
    demo.report.attacks.push(Attack { name: name.to_owned(), refused: true, reason });
}

/// Writes a copy of the manifest in which one hex digit of one field is another.
fn edit_manifest(demo: &Demo, to: &str, path: &[&str]) -> Result<()> {
    let text = fs::read_to_string(demo.work.join("manifest.json")).context("read `manifest.json`")?;
    let mut manifest: serde_json::Value = serde_json::from_str(&text).context("parse `manifest.json`")?;
    let field = manifest.pointer_mut(&format!("/{}", path.join("/"))).context("the manifest has another shape")?;
    let value = field.as_str().context("the field is no text")?;
    let digit = if value.starts_with('0') { "1" } else { "0" };
    *field = format!("{digit}{}", value.get(1..).unwrap_or_default()).into();
    fs::write(demo.work.join(to), serde_json::to_string_pretty(&manifest)?).with_context(|| format!("write `{to}`"))
}

/// SIGKILL, as when the machine under it breaks.
fn kill(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["kill", COORDINATOR])?;
    Ok(())
}

/// The seed shares bring the Coordinator back; pods attest again.
fn recover(demo: &mut Demo) -> Result<()> {
    let [alice, _, carol] = HOLDERS;
    demo.casemate(&["recover", "--seedshare-owner-key", alice])?;
    demo.casemate(&["recover", "--seedshare-owner-key", carol])?;
    demo.casemate(&["wait"])?;
    demo.casemate(&["verify"])?;
    Ok(())
}

/// The disk is put back to an older copy while everything is down. Whoever saw a later checkpoint notices.
fn roll_back(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["down"])?;
    copy_folder(&demo.work.join(OLD_VOLUMES), &demo.work.join(VOLUMES))?;
    demo.casemate(&["up", "resources/"])?;
    let finished = demo.casemate_exits(&["verify"], 1)?;
    ensure!(finished.reason.contains("rollback"), "`verify` does not say rollback: {}", finished.reason);
    record(demo, "the history store is put back to an older copy", finished.reason);
    Ok(())
}

pub(super) fn down(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["down"])?;
    demo.up = false;
    demo.registry = None;
    Ok(())
}

/// No process, namespace, mount, firewall table or file is left outside of the work folder.
pub(super) fn nothing_left(demo: &mut Demo) -> Result<()> {
    let left = demo.left_over(SETTLE)?;
    for trace in &left {
        demo.ui.line(&format!("  left: {trace}"));
    }
    if !left.is_empty() {
        bail!("{} things are left, the first is {}", left.len(), left[0]);
    }
    demo.ui.line("  no process, mount, namespace, interface, firewall table, route, control group or file");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}

/// Copies a folder that root may have made, replacing what is there.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    super::remove_folder(to)?;
    proc::output(proc::as_root("cp").arg("-a").arg("--").args([from, to])).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_hostile_hosts_lines_are_read_and_others_are_not() {
        let lines = "starting\n{\"name\":\"a\",\"refused\":true,\"reason\":\"OCI.Process.Args[2]\"}\n";
        let attacks = read_attacks(lines).expect("readable");
        assert_eq!(attacks, [Attack { name: "a".to_owned(), refused: true, reason: "OCI.Process.Args[2]".to_owned() }]);
        assert!(read_attacks("{\"name\":1}").is_err());
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
