//! `cargo xtask images`: the images that ship, built FROM scratch around the static binaries, each with an SPDX document
//! beside it, and the image of the example in `examples/inference`.

mod binaries;
mod destination;
pub(crate) mod oci;
mod sbom;

pub(crate) use destination::{Destination, push};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result};
use base64::Engine as _;
use clap::Args;

use crate::failure::negative;
use crate::proc;
use crate::workspace::{self, Metadata};
use oci::{Entry, Image, Layer, Source};

/// Which images to build, and what to do with them.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ImagesArgs {
    /// Build optimised binaries, as for images that leave this machine; implied where they do, and by `--check`
    #[arg(long)]
    pub(crate) release: bool,
    /// Also build the example image `casemate/digits` around this sealed model
    #[arg(long, value_name = "PATH")]
    pub(crate) model_file: Option<PathBuf>,
    /// Also build the image of `examples/web`, `casemate/web`, around this machine's busybox
    #[arg(long)]
    pub(crate) web: bool,
    /// Build these images alone
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = MADE_OF.map(|(name, _)| name))]
    pub(crate) only: Vec<String>,
    /// Push the images, each to REGISTRY/REPO/NAME:TAG; plain HTTP is used for a loopback address only
    ///
    /// Examples: `127.0.0.1:5000`, `europe-west4-docker.pkg.dev/PROJECT/casemate:v1`. Logins are those of `skopeo login`
    /// and `docker login`. Without a tag it is the version.
    #[arg(long, value_name = "REGISTRY[/REPO][:TAG]")]
    pub(crate) push: Option<Destination>,
    /// Build everything twice, the second time from a copy of the sources in another folder, and fail if a digest differs
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
    /// What it is made of, in SPDX; not for an example.
    pub(crate) sbom: Option<PathBuf>,
}

/// The example's image, as `examples/inference` names it; its version is the model's.
const EXAMPLE_NAME: &str = "casemate/digits";
const EXAMPLE_TAG: &str = "1";
/// The image of `examples/web`.
const WEB_NAME: &str = "casemate/web";
/// Where the example's image has its model; `examples/inference` names this path.
pub(crate) const MODEL_PATH: &str = "/models/digits.onnx.sealed";
/// Levels of gzip: images that leave the machine are worth a few seconds more.
const FAST: u32 = 1;
const SMALL: u32 = 6;
/// Who workloads run as: nobody in particular, and not root.
const WORKLOAD_USER: &str = "65532:65532";
const WORKLOAD_ID: u32 = 65532;
/// Where the command line's image works: a volume with YAML is mounted here.
const HOME: &str = "/data";
/// Where programs of Debian's family look for the authorities of the public internet.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The crates of each image's binaries.
const MADE_OF: [(&str, &[&str]); 4] = [
    ("casemate-pod", &["pod"]),
    ("casemate-serve", &["inference"]),
    ("casemate-node", &["node"]),
    ("casemate", &["cli", "guest-check"]),
];

/// The command.
pub(crate) fn run(args: &ImagesArgs) -> Result<()> {
    let metadata = Metadata::load()?;
    let away = args.push.as_ref().is_some_and(|to| !to.is_loopback());
    let args = ImagesArgs { release: args.release || args.check || away, ..args.clone() };
    let built = build(&metadata, &args)?;
    for image in &built {
        out!("{}:{}  {}  {}", image.name, image.tag, image.digest, image.layout.display());
        if let Some(sbom) = &image.sbom {
            out!("  made of: {}", sbom.display());
        }
    }
    if args.check {
        check(&metadata, &args, &built)?;
    }
    match &args.push {
        Some(to) => push(&built, to),
        None => Ok(()),
    }
}

/// Builds the images and says which.
pub(crate) fn build(metadata: &Metadata, args: &ImagesArgs) -> Result<Vec<Built>> {
    let binaries = if args.release {
        binaries::release(&metadata.workspace_root, &metadata.target_directory.join("images/release"))?
    } else {
        workspace::build_product(false)?
    };
    write(metadata, args, &binaries, &metadata.target_directory.join("images"))
}

/// Builds everything once more, elsewhere, and compares.
fn check(metadata: &Metadata, args: &ImagesArgs, built: &[Built]) -> Result<()> {
    let elsewhere = metadata.target_directory.join("images/again");
    let sources = elsewhere.join("a-copy-of-the-sources");
    binaries::copy_sources(&metadata.workspace_root, &sources)?;
    let binaries = binaries::release(&sources, &elsewhere.join("target"))?;
    let again = write(metadata, args, &binaries, &elsewhere)?;
    let differ: Vec<String> = built
        .iter()
        .zip(&again)
        .filter(|(one, two)| one.digest != two.digest)
        .map(|(one, two)| format!("image `{}` is not reproducible: {} and {}", one.name, one.digest, two.digest))
        .collect();
    if !differ.is_empty() {
        let hint = format!("compare with `diff -r`: the second build is in `{}`", elsewhere.display());
        return Err(negative(&differ.join("; "), &hint));
    }
    std::fs::remove_dir_all(&elsewhere).with_context(|| format!("remove `{}`", elsewhere.display()))?;
    note!("images: built twice from two folders, same digests");
    Ok(())
}

/// Writes the images around these binaries into a folder.
pub(crate) fn write(
    metadata: &Metadata,
    args: &ImagesArgs,
    binaries: &BTreeMap<String, PathBuf>,
    into: &Path,
) -> Result<Vec<Built>> {
    let stripped = into.join("bin");
    fs::create_dir_all(&stripped).with_context(|| format!("create `{}`", stripped.display()))?;
    let program = |name: &str| -> Result<Entry> {
        let source = strip(workspace::binary(binaries, name)?, &stripped)?;
        Ok(Entry::file(format!("/{name}"), source, 0o755))
    };
    let level = if args.release { SMALL } else { FAST };
    let pack = |entries: &[Entry]| Layer::pack(entries, level);
    let image = |name: &str, layers: Vec<Rc<Layer>>, entrypoint: &str, user: &str, description: &str| Image {
        name: name.to_owned(),
        tag: metadata.version().to_owned(),
        layers,
        entrypoint: vec![entrypoint.to_owned()],
        user: user.to_owned(),
        home: "/".to_owned(),
        description: description.to_owned(),
    };
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let server = pack(&[program("casemate-serve")?])?;
    let mut images = Vec::new();
    if wanted("casemate-pod") {
        images.push(image(
            "casemate-pod",
            vec![pack(&[program("casemate-pod")?, program("casemate-launch")?])?],
            "/casemate-pod",
            // The initializer sets up the pod's firewall and the mesh opens transparent sockets; both give root up.
            "0:0",
            "Casemate inside a pod: Coordinator, initializer, mesh",
        ));
    }
    if wanted("casemate-serve") {
        let layers = vec![Rc::clone(&server)];
        images.push(image("casemate-serve", layers, "/casemate-serve", WORKLOAD_USER, "Casemate's inference server"));
    }
    if wanted("casemate-node") {
        let layers = vec![pack(&[program("casemate-node")?])?];
        // It changes the machine; the manifest says what of root's rights it keeps.
        images.push(image("casemate-node", layers, "/casemate-node", "0:0", "Casemate's node agent"));
    }
    if wanted("casemate") {
        let layers = vec![pack(&command_line(program("casemate")?, program("casemate-guest-check")?))?];
        let image = image("casemate", layers, "/casemate", WORKLOAD_USER, "Casemate's command line");
        images.push(Image { home: HOME.to_owned(), ..image });
    }
    if let Some(model) = &args.model_file {
        let source = workspace::user_path(model);
        if !source.is_file() {
            let message = format!("there is no sealed model at `{}`", source.display());
            return Err(negative(&message, "`casemate model seal` makes one"));
        }
        let model = pack(&[Entry::file(MODEL_PATH, source, 0o444)])?;
        let description = "Casemate's inference server with a sealed classifier of handwritten digits";
        let mut digits = image(EXAMPLE_NAME, vec![server, model], "/casemate-serve", WORKLOAD_USER, description);
        EXAMPLE_TAG.clone_into(&mut digits.tag);
        images.push(digits);
    }
    if args.web {
        let mut web =
            image(WEB_NAME, vec![pack(&web_files()?)?], "/busybox", WORKLOAD_USER, "A web server, and a record");
        EXAMPLE_TAG.clone_into(&mut web.tag);
        images.push(web);
    }
    let graph = sbom::Graph::load(&metadata.workspace_root.join("Cargo.lock"))?;
    let mut built = Vec::new();
    for image in images {
        let folder = image.name.rsplit('/').next().unwrap_or(&image.name);
        let layout = into.join(folder);
        let digest = oci::write_layout(&image, &layout).with_context(|| format!("write image `{}`", image.name))?;
        let sbom = match MADE_OF.iter().find(|(name, _)| *name == image.name) {
            Some((name, crates)) => {
                let path = into.join(format!("{folder}.spdx.json"));
                let text = serde_json::to_vec_pretty(&graph.document(name, &image.tag, &digest, crates))?;
                fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
                Some(path)
            }
            None => None,
        };
        built.push(Built { name: image.name, tag: image.tag, digest, layout, sbom });
    }
    Ok(built)
}

/// The web server of `examples/web`, its own program and everything else that it needs, and what it serves to programs.
fn web_files() -> Result<Vec<Entry>> {
    let hint = "`./x packages` installs Debian's package `busybox-static`";
    let Some(program) = proc::find_program("busybox") else {
        return Err(negative("there is no `busybox` to make the image of", hint));
    };
    let bytes = fs::read(&program).with_context(|| format!("read `{}`", program.display()))?;
    if needs_a_loader(&bytes) {
        return Err(negative(&format!("`{}` is not static, and the image has nothing else", program.display()), hint));
    }
    let record = Source::Bytes(b"blood pressure 120/80\n".to_vec());
    Ok(vec![
        Entry { path: "/busybox".to_owned(), source: Source::Bytes(bytes), mode: 0o755 },
        Entry { path: "/records/record.txt".to_owned(), source: record, mode: 0o444 },
    ])
}

/// Whether a program of this machine names another one that loads its libraries: it has a segment of type `PT_INTERP`
/// (ELF-64 Object File Format 1.5: the header's `e_phoff`, `e_phentsize` and `e_phnum`).
fn needs_a_loader(program: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let segments = || {
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        let at = move |n: u64| usize::try_from(start.checked_add(n.checked_mul(size)?)?).ok();
        Some((0..count).any(|n| at(n).and_then(|at| number(at, 4)) == Some(PT_INTERP)))
    };
    segments().unwrap_or(false)
}

/// The command line with what it needs of a system: whom to trust on the public internet, and a folder to work in.
fn command_line(program: Entry, guest_check: Entry) -> Vec<Entry> {
    let mut roots = String::new();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        roots.push_str(&pem(root));
    }
    let folder = |path: &str, owner, mode| Entry { path: path.to_owned(), source: Source::Folder(owner), mode };
    vec![
        program,
        // What `casemate guest-image repack` puts into a guest.
        guest_check,
        Entry { path: ROOTS.to_owned(), source: Source::Bytes(roots.into_bytes()), mode: 0o444 },
        folder(HOME, WORKLOAD_ID, 0o755),
        folder("/tmp", 0, 0o1777),
    ]
}

fn pem(certificate: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
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
    fn a_program_that_needs_a_loader_is_told_from_one_that_does_not() {
        let own = fs::read(std::env::current_exe().expect("this program")).expect("read");
        assert!(!needs_a_loader(&own), "this build is static, whatever words are in it");
        let mut dynamic = own.clone();
        let start = usize::try_from(u64::from_le_bytes(own[32..40].try_into().expect("eight"))).expect("small");
        dynamic[start..start + 4].copy_from_slice(&3_u32.to_le_bytes());
        assert!(needs_a_loader(&dynamic));
        for broken in [&own[..40], &[], b"#!/bin/sh"] {
            assert!(!needs_a_loader(broken));
        }
    }
}
