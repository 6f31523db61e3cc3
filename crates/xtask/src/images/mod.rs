//! `cargo xtask images`: the images that ship, built FROM scratch around the static binaries, and the image of the
//! example in `examples/inference`.

pub(crate) mod oci;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result};
use clap::Args;

use crate::failure::{negative, unknown};
use crate::proc;
use crate::workspace::{self, Metadata};
use oci::{Entry, Image, Layer};

/// Which images to build, and what to do with them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ImagesArgs {
    /// Build optimised binaries, for images that leave this machine
    #[arg(long)]
    pub(crate) release: bool,
    /// Also build the example image `casemate/digits` around this sealed model
    #[arg(long, value_name = "PATH")]
    pub(crate) model_file: Option<PathBuf>,
    /// Push the images to this registry (HOST:PORT); plain HTTP is used for a loopback address only
    #[arg(long, value_name = "REGISTRY")]
    pub(crate) push: Option<String>,
    /// Build everything twice and fail if a digest differs
    #[arg(long)]
    pub(crate) check: bool,
}

/// An image that was written.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    /// Its name without a registry.
    pub(crate) name: String,
    /// Its tag.
    pub(crate) tag: String,
    /// Digest of its manifest, `sha256:…`.
    pub(crate) digest: String,
    /// The layout's folder.
    pub(crate) layout: PathBuf,
}

/// The example's image, as `examples/inference` names it; its version is the model's.
const EXAMPLE_NAME: &str = "casemate/digits";
const EXAMPLE_TAG: &str = "1";
/// Where the example's image has its model; `examples/inference` names this path.
pub(crate) const MODEL_PATH: &str = "/models/digits.onnx.sealed";
/// Levels of gzip: images that leave the machine are worth a few seconds more.
const FAST: u32 = 1;
const SMALL: u32 = 6;
/// Who workloads run as: nobody in particular, and not root.
const WORKLOAD_USER: &str = "65532:65532";

/// The command.
pub(crate) fn run(args: &ImagesArgs) -> Result<()> {
    let metadata = Metadata::load()?;
    let built = build(&metadata, args)?;
    for image in &built {
        out!("{}:{}  {}  {}", image.name, image.tag, image.digest, image.layout.display());
    }
    if args.check {
        let again = build(&metadata, args)?;
        for (one, two) in built.iter().zip(&again) {
            if one.digest != two.digest {
                let message = format!("image `{}` is not reproducible: {} and {}", one.name, one.digest, two.digest);
                return Err(negative(&message, "compare the layouts of two builds with `diff -r`"));
            }
        }
        note!("images: built twice, same digests");
    }
    match &args.push {
        Some(registry) => push(&built, registry),
        None => Ok(()),
    }
}

/// Builds the binaries and writes the images.
pub(crate) fn build(metadata: &Metadata, args: &ImagesArgs) -> Result<Vec<Built>> {
    write(metadata, args, &binaries(args.release)?)
}

/// Writes the images around these binaries into `target/images`.
pub(crate) fn write(
    metadata: &Metadata,
    args: &ImagesArgs,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Built>> {
    let stripped = metadata.target_directory.join("images/bin");
    fs::create_dir_all(&stripped).with_context(|| format!("create `{}`", stripped.display()))?;
    let program = |name: &str| -> Result<Entry> {
        let source = strip(workspace::binary(binaries, name)?, &stripped)?;
        Ok(Entry { path: format!("/{name}"), source, mode: 0o755 })
    };
    let level = if args.release { SMALL } else { FAST };
    let pack = |entries: &[Entry]| Layer::pack(entries, level);
    let image = |name: &str, layers: Vec<Rc<Layer>>, entrypoint: &str, user: &str, description: &str| Image {
        name: name.to_owned(),
        tag: metadata.version().to_owned(),
        layers,
        entrypoint: vec![entrypoint.to_owned()],
        user: user.to_owned(),
        description: description.to_owned(),
    };
    let server = pack(&[program("casemate-serve")?])?;
    let mut images = vec![
        image(
            "casemate-pod",
            vec![pack(&[program("casemate-pod")?, program("casemate-launch")?])?],
            "/casemate-pod",
            // The initializer sets up the pod's firewall and the mesh opens transparent sockets; both give root up.
            "0:0",
            "Casemate inside a pod: Coordinator, initializer, mesh",
        ),
        image(
            "casemate-serve",
            vec![Rc::clone(&server)],
            "/casemate-serve",
            WORKLOAD_USER,
            "Casemate's inference server",
        ),
    ];
    if let Some(model) = &args.model_file {
        let source = workspace::user_path(model);
        if !source.is_file() {
            let message = format!("there is no sealed model at `{}`", source.display());
            return Err(negative(&message, "`casemate model seal` makes one"));
        }
        let model = pack(&[Entry { path: MODEL_PATH.to_owned(), source, mode: 0o444 }])?;
        let description = "Casemate's inference server with a sealed classifier of handwritten digits";
        let mut digits = image(EXAMPLE_NAME, vec![server, model], "/casemate-serve", WORKLOAD_USER, description);
        EXAMPLE_TAG.clone_into(&mut digits.tag);
        images.push(digits);
    }
    let mut built = Vec::new();
    for image in images {
        let folder = image.name.rsplit('/').next().unwrap_or(&image.name);
        let layout = metadata.target_directory.join("images").join(folder);
        let digest = oci::write_layout(&image, &layout).with_context(|| format!("write image `{}`", image.name))?;
        built.push(Built { name: image.name, tag: image.tag, digest, layout });
    }
    Ok(built)
}

/// For images that leave this machine, each crate is built alone, so that no feature that another crate asks of a shared
/// dependency gets into a TEE. Images for local mode take the binaries that tests and demo have built already.
fn binaries(release: bool) -> Result<BTreeMap<String, PathBuf>> {
    if !release {
        return workspace::build_product(false);
    }
    let mut binaries = workspace::build(&["pod"], true)?;
    binaries.extend(workspace::build(&["inference"], true)?);
    Ok(binaries)
}

/// Pushes images with skopeo, which keeps their digests.
pub(crate) fn push(images: &[Built], registry: &str) -> Result<()> {
    let Some(skopeo) = proc::find_program("skopeo") else {
        return Err(unknown("there is no `skopeo` to push images with", "`cargo xtask packages` installs it"));
    };
    for image in images {
        let mut command = Command::new(&skopeo);
        // The images carry no signatures; their digests are in the manifest that owners sign.
        command.args(["copy", "--quiet", "--insecure-policy", "--preserve-digests"]);
        if is_loopback(registry) {
            command.arg("--dest-tls-verify=false");
        }
        command.arg(format!("oci:{}:{}", image.layout.display(), image.tag));
        command.arg(format!("docker://{registry}/{}:{}", image.name, image.tag));
        proc::run(&mut command).with_context(|| format!("push image `{}` to `{registry}`", image.name))?;
    }
    Ok(())
}

/// Whether a registry's address (HOST or HOST:PORT) is this very machine's.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => registry.rsplit_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A copy without debug information, which is most of a binary and of no use inside an image.
fn strip(binary: &Path, into: &Path) -> Result<PathBuf> {
    let name = binary.file_name().context("a binary without a name")?;
    let copy = into.join(name);
    if let Some(strip) = proc::find_program("strip") {
        // Deterministic, and symbols stay: a panic's backtrace needs them.
        let args = ["--strip-debug", "--enable-deterministic-archives", "-o"];
        proc::output(Command::new(strip).args(args).arg(&copy).arg(binary))?;
    } else {
        note!("images: no `strip`; `{}` keeps its debug information", name.to_string_lossy());
        fs::copy(binary, &copy).with_context(|| format!("copy `{}`", binary.display()))?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_registries_are_spoken_to_in_plain_http() {
        for here in ["127.0.0.1:5000", "127.9.9.9", "localhost:5000", "localhost", "[::1]:5000"] {
            assert!(is_loopback(here), "{here}");
        }
        for away in
            ["registry.example:5000", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example:80", "[::2]:5000"]
        {
            assert!(!is_loopback(away), "{away}");
        }
    }

    #[test]
    fn a_pushed_image_keeps_its_digest() {
        let Some(skopeo) = proc::find_program("skopeo").filter(|_| proc::find_program("docker-registry").is_some())
        else {
            out!("SKIPPED: no skopeo or no docker-registry");
            return;
        };
        let dir = tempfile::tempdir().expect("tempdir");
        let program = dir.path().join("program");
        fs::write(&program, "bytes").expect("written");
        let image = Image {
            name: "test".to_owned(),
            tag: "1.2.3".to_owned(),
            layers: vec![
                Layer::pack(&[Entry { path: "/program".to_owned(), source: program, mode: 0o755 }], FAST)
                    .expect("packed"),
            ],
            entrypoint: vec!["/program".to_owned()],
            user: WORKLOAD_USER.to_owned(),
            description: String::new(),
        };
        let layout = dir.path().join("layout");
        let digest = oci::write_layout(&image, &layout).expect("written");
        let registry = crate::registry::Registry::start_on_free_port(dir.path()).expect("started");
        let built = Built { name: image.name, tag: image.tag, digest, layout };
        push(std::slice::from_ref(&built), &registry.address()).expect("pushed");

        let inspect = |reference: &str| {
            let text = proc::output(Command::new(&skopeo).args(["inspect", "--tls-verify=false", reference]));
            serde_json::from_str::<serde_json::Value>(&text.expect("inspected")).expect("json")
        };
        let by_tag = inspect(&format!("docker://{}/test:1.2.3", registry.address()));
        assert_eq!(by_tag["Digest"], built.digest.as_str());
        assert_eq!((&by_tag["Architecture"], &by_tag["Os"]), (&"amd64".into(), &"linux".into()));
        inspect(&format!("docker://{}/test@{}", registry.address(), built.digest));
    }
}
