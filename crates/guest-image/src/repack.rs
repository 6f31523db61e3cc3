//! From a release to a folder that `casemate-node runtime install` takes: all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use protocol::manifest::ReferenceValues;
use serde::Serialize;
use verifier::snp::launch::Machine;

use crate::bundle::{self, BundleClass, BundleFile};
use crate::config::{Config, ConfigError, Runtime};
use crate::image::{self, Image, ImageError, Written};
use crate::release::{Release, ReleaseError};
use crate::rootfs::StartUpCheck;
use crate::values::{self, Measured, ValuesError};

/// Where a release is unpacked, and so what its configurations speak of.
const HOME: &str = "/opt/kata";
/// The folder of files in the result.
const FILES: &str = "files";
/// LIMIT: a kernel, which is read into memory to be hashed. Kata's have some 15 MiB.
const MAX_KERNEL: u64 = 256 << 20;
/// The parameter without which the guest's attestation agent gives containers no Evidence (design, section 6).
const REST_API: &str = "agent.guest_components_rest_api";

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Runtime classes and the platforms that they are reference values for. Empty: those for SEV-SNP and TDX that the release has.
    pub classes: Vec<(String, String)>,
    /// The name of the release; `None` takes the version from the archive's name.
    pub release: Option<String>,
    /// Numbers of vCPUs.
    pub vcpus: (u32, u32),
    /// What the VMM chooses.
    pub machine: Machine,
    /// Further parameters of the kernel.
    pub kernel_params: Vec<String>,
    /// The values of a machine, to be completed.
    pub values: Option<ReferenceValues>,
    /// The snapshotter of the classes.
    pub snapshotter: Option<String>,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepackError {
    /// The archive.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A class that the release does not have.
    #[error("the release has no configuration for `{class}`; it has {}", known.join(", "))]
    NoClass {
        /// What was wanted.
        class: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A configuration that no guest can be made of.
    #[error("`{name}`")]
    Config {
        /// Its name in the archive.
        name: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// A path that is not of the release.
    #[error("`{name}` names `{path}`, which is not below `{HOME}`")]
    Outside {
        /// Which configuration.
        name: String,
        /// What it names.
        path: String,
    },
    /// Two configurations that disagree.
    #[error("two configurations have `{image}` with different dm-verity parameters")]
    Disagree {
        /// Which image.
        image: String,
    },
    /// The image.
    #[error("image `{image}`")]
    Image {
        /// Which.
        image: String,
        /// What is wrong with it.
        source: Box<ImageError>,
    },
    /// The release does not say what its image should be.
    #[error("the release names no dm-verity root for `{image}`, so nobody can tell whether it is Kata's")]
    Unmeasured {
        /// Which.
        image: String,
    },
    /// What the guest measures.
    #[error("what a guest of `{class}` measures")]
    Values {
        /// Which class.
        class: String,
        /// What is wrong.
        source: ValuesError,
    },
    /// The archive's name says no version.
    #[error("`{archive}` does not say which version it is")]
    NoVersion {
        /// The archive.
        archive: String,
    },
    /// The kernel is no kernel of Kata's.
    #[error("`{path}` has more than {MAX_KERNEL} bytes")]
    Kernel {
        /// Which.
        path: String,
    },
    /// There is something already.
    #[error("`{path}` is there already")]
    Exists {
        /// Where the result should go.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("{what} `{path}`")]
    Io {
        /// What was done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl RepackError {
    /// What the user may do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoClass { .. } => "`--class NAME` takes one of these",
            Self::NoVersion { .. } => "`--release VERSION` says it",
            Self::Exists { .. } => "name another folder with `--output`, or move this one away",
            Self::Unmeasured { .. } => "take a release with measured images (3.2 and later), as Kata published it",
            Self::Release(ReleaseError::Read { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                "the archive is damaged or was cut off: compare it with the digest that Kata published"
            }
            Self::Values { source: ValuesError::OtherTee { .. } | ValuesError::Mrtd { .. }, .. } => {
                "`--machine FILE` is what `casemate reference-values from` wrote on a machine of this kind with Kata's own image \
                 of this release"
            }
            Self::Image { source, .. } => match **source {
                ImageError::Root { .. } => "the image is not the one that its release was built with",
                ImageError::Erofs(_) => "only images without compression are read; Kata's image for GPUs is compressed",
                _ => return None,
            },
            _ => return None,
        })
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RepackError {
    let path = path.to_owned();
    move |source| RepackError::Io { what, path, source }
}

/// One class of the result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub class: String,
    /// The platform that its reference values are for.
    pub platform: String,
    /// `SEV-SNP` or `TDX`.
    pub tee: &'static str,
    /// Its image, in the release.
    pub image: String,
    /// The kernel's command line, to the byte.
    pub command_line: String,
    /// What its guests measure.
    pub measured: Measured,
    /// The file of complete reference values in the result, where there is one.
    pub reference_values: Option<String>,
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The name of the new release.
    pub release: String,
    /// SHA-256 of the start-up check.
    pub check_sha256: String,
    /// SHA-256 of `bundle.toml`, to be pinned.
    pub bundle_sha256: String,
    /// Images by their names in the release.
    pub images: BTreeMap<String, Written>,
    /// Classes.
    pub classes: Vec<ClassReport>,
}

struct Class {
    class: String,
    platform: String,
    config_name: String,
    config: Config,
    kernel: String,
    firmware: String,
    image: String,
    shim: &'static str,
}

/// Repacks a release into a new folder. `progress` is told what is being done.
pub fn repack(
    archive: &Path,
    check: &StartUpCheck,
    wishes: &Wishes,
    output: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, RepackError> {
    if output.symlink_metadata().is_ok() {
        return Err(RepackError::Exists { path: output.to_owned() });
    }
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let staging = tempfile::Builder::new().prefix(".casemate-guest-image-").tempdir_in(parent);
    let staging = staging.map_err(failed("make a folder in", parent))?;
    let made = staging.path().join("made");
    let report = build(archive, check, wishes, &made, &staging.path().join("taken"), progress)?;
    sync(&made)?;
    fs::rename(&made, output).map_err(failed("rename to", output))?;
    let folder = File::open(parent).and_then(|folder| folder.sync_all());
    folder.map_err(failed("write", parent))?;
    Ok(report)
}

fn build(
    archive: &Path,
    check: &StartUpCheck,
    wishes: &Wishes,
    made: &Path,
    taken: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, RepackError> {
    progress("reading the release");
    let version = version(archive, wishes.release.as_deref())?;
    let release = Release::open(archive)?;
    let mut classes = classes(&release, wishes)?;

    // Images go elsewhere first: they do not become part of the result.
    let originals: BTreeMap<String, PathBuf> = images(&classes)?
        .keys()
        .enumerate()
        .map(|(index, image)| (image.clone(), taken.join(format!("image-{index}"))))
        .collect();
    let files = made.join(FILES);
    let mut wanted = originals.clone();
    let inner: BTreeMap<String, String> = inner_files(&release, &classes)?;
    for (path, name) in &inner {
        wanted.entry(name.clone()).or_insert_with(|| files.join(path));
    }
    let got = release.take(&wanted, &mut |name, bytes| {
        if bytes > (64 << 20) {
            progress(&format!("unpacking {name} ({} MiB)", bytes >> 20));
        }
    })?;

    // What has two names in the release has two in the result.
    for (path, name) in &inner {
        let (target, first) = (files.join(path), wanted.get(name).cloned().unwrap_or_default());
        if target != first {
            let folder = target.parent().unwrap_or(&files);
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
            fs::copy(&first, &target).map_err(failed("write", &target))?;
        }
    }

    let mut images_made = BTreeMap::new();
    for (image, verity) in images(&classes)? {
        progress(&format!("repacking {image}"));
        let name = new_name(&image);
        let target = files.join(inner_of(&name));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
        }
        let original = originals.get(&image).cloned().unwrap_or_default();
        let wrong = |source: ImageError| RepackError::Image { image: image.clone(), source: Box::new(source) };
        let opened = Image::open(&original).map_err(wrong)?;
        let Some(verity) = verity else { return Err(RepackError::Unmeasured { image }) };
        let written = image::repack(&opened, Some(&verity), check, &target).map_err(wrong)?;
        let beside = PathBuf::from(format!("{}.root-hash.txt", target.display()));
        write(&beside, format!("{}\n", written.kernel_verity_params).as_bytes())?;
        fs::remove_file(&original).map_err(failed("remove", &original))?;
        images_made.insert(image, written);
    }

    progress("measuring");
    let mut reports = Vec::new();
    let mut configs = BTreeMap::new();
    for class in &mut classes {
        let Some(written) = images_made.get(&class.image) else { continue };
        let path = format!("/{}", new_name(&class.image));
        let params = kernel_params(&class.config.kernel_params, &wishes.kernel_params);
        let config = class.config.with_image(&path, &written.verity, &params);
        let config = config.map_err(|source| RepackError::Config { name: class.config_name.clone(), source })?;
        reports.push(report(class, &config, &files, made, wishes)?);
        let target = files.join(inner_of(&class.config_name));
        write(&target, config.text().as_bytes())?;
        configs.insert(inner_of(&class.config_name).to_owned(), config);
    }

    let mut list = Vec::new();
    let executable: BTreeSet<&str> = inner
        .iter()
        .filter(|(_, name)| got.get(*name).is_some_and(|taken| taken.executable))
        .map(|(path, _)| path.as_str())
        .collect();
    let image_paths: Vec<String> = images_made.keys().map(|image| inner_of(&new_name(image)).to_owned()).collect();
    for path in inner.keys().chain(configs.keys()).chain(&image_paths).collect::<BTreeSet<_>>() {
        let sha256 = image::sha256(&files.join(path));
        let sha256 = sha256.map_err(|source| RepackError::Image { image: path.clone(), source: Box::new(source) })?;
        let (relocate, executable) = (configs.contains_key(path), executable.contains(path.as_str()));
        list.push(BundleFile { path: path.clone(), sha256, executable, relocate });
    }
    let release = format!("{version}-casemate-{}", content_digest(&list));
    let of_class = |class: &Class| BundleClass {
        name: class.class.clone(),
        shim: class.shim.to_owned(),
        config: inner_of(&class.config_name).to_owned(),
        snapshotter: wishes.snapshotter.clone(),
    };
    let text = bundle::text(&release, HOME, FILES, &classes.iter().map(of_class).collect::<Vec<_>>(), &list);
    write(&made.join("bundle.toml"), text.as_bytes())?;
    let report = Report {
        release,
        check_sha256: check.sha256(),
        bundle_sha256: hex::encode(aws_lc_rs::digest::digest(&SHA256, text.as_bytes())),
        images: images_made,
        classes: reports,
    };
    let json = serde_json::to_string_pretty(&report).unwrap_or_default();
    write(&made.join("measurements.json"), format!("{json}\n").as_bytes())?;
    Ok(report)
}

fn report(
    class: &Class,
    config: &Config,
    files: &Path,
    made: &Path,
    wishes: &Wishes,
) -> Result<ClassReport, RepackError> {
    let read = |host: &str| {
        let path = files.join(inner_of(host));
        let size = fs::metadata(&path).map_err(failed("read", &path))?.len();
        if size > MAX_KERNEL {
            return Err(RepackError::Kernel { path: host.to_owned() });
        }
        fs::read(&path).map_err(failed("read", &path))
    };
    let (kernel, firmware) = (read(&class.kernel)?, read(&class.firmware)?);
    let wrong = |source| RepackError::Values { class: class.class.clone(), source };
    let (first, last) = wishes.vcpus;
    let (command_line, measured) =
        values::measure(config, &kernel, &firmware, first..=last, &wishes.machine).map_err(wrong)?;
    let mut reference_values = None;
    if let Some(machine) = &wishes.values {
        match values::complete(machine, &class.platform, &measured) {
            Ok(values) => {
                let name = format!("reference-values-{}.json", class.class);
                let json = serde_json::to_string_pretty(&values).unwrap_or_default();
                write(&made.join(&name), format!("{json}\n").as_bytes())?;
                reference_values = Some(name);
            }
            // A machine has one kind of processor; the other classes go without.
            Err(ValuesError::OtherTee { .. }) if wishes.classes.len() != 1 => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    Ok(ClassReport {
        class: class.class.clone(),
        platform: class.platform.clone(),
        tee: config.tee.name(),
        image: new_name(&class.image),
        command_line,
        measured,
        reference_values,
    })
}

fn classes(release: &Release, wishes: &Wishes) -> Result<Vec<Class>, RepackError> {
    let by_class: BTreeMap<String, (&str, &[u8])> = release
        .configs()
        .filter_map(|(name, text)| {
            let file = name.rsplit('/').next()?.strip_prefix("configuration-")?.strip_suffix(".toml")?;
            Some((format!("kata-{file}"), (name, text)))
        })
        .collect();
    let all = || by_class.keys().cloned().collect();
    let mut chosen = wishes.classes.clone();
    if chosen.is_empty() {
        let usual = [("kata-qemu-snp", "metal-qemu-snp"), ("kata-qemu-tdx", "metal-qemu-tdx")];
        let there = usual.iter().filter(|(class, _)| by_class.contains_key(*class));
        chosen = there.map(|(class, platform)| ((*class).to_owned(), (*platform).to_owned())).collect();
    }
    if chosen.is_empty() {
        return Err(RepackError::NoClass { class: "kata-qemu-snp".to_owned(), known: all() });
    }
    let one = |(class, platform): (String, String)| {
        let (name, text) =
            by_class.get(&class).copied().ok_or_else(|| RepackError::NoClass { class: class.clone(), known: all() })?;
        let config = Config::parse(name, text);
        let config = config.map_err(|source| RepackError::Config { name: name.to_owned(), source })?;
        let inside = |path: &str| {
            let inner = path.strip_prefix(HOME).filter(|inner| inner.starts_with('/'));
            let outside = || RepackError::Outside { name: name.to_owned(), path: path.to_owned() };
            inner.map(|inner| format!("{}{inner}", HOME.trim_start_matches('/'))).ok_or_else(outside)
        };
        inside(&config.qemu)?;
        let shim = match config.runtime {
            Runtime::Go => "bin/containerd-shim-kata-v2",
            Runtime::Rust => "runtime-rs/bin/containerd-shim-kata-v2",
        };
        let (kernel, firmware) = (inside(&config.kernel)?, inside(&config.firmware)?);
        // Several names may lead to one image.
        let image = release.resolve(&inside(&config.image)?)?.to_owned();
        Ok(Class { class, platform, config_name: name.to_owned(), config, kernel, firmware, image, shim })
    };
    chosen.into_iter().map(one).collect()
}

type Expected = Option<crate::verity::Verity>;

/// Images by their regular files in the archive, with what the release says of each.
fn images(classes: &[Class]) -> Result<BTreeMap<String, Expected>, RepackError> {
    let mut images: BTreeMap<String, Expected> = BTreeMap::new();
    for class in classes {
        let verity = class.config.verity.clone();
        match images.insert(class.image.clone(), verity.clone()) {
            Some(other) if other != verity => return Err(RepackError::Disagree { image: class.image.clone() }),
            _ => {}
        }
    }
    Ok(images)
}

/// The files that the classes need, by their path below `/opt/kata`, with the regular file of the archive that each is: what the
/// configurations name, the shims, and QEMU's own data. Configurations and images are written anew.
fn inner_files(release: &Release, classes: &[Class]) -> Result<BTreeMap<String, String>, RepackError> {
    let home = HOME.trim_start_matches('/');
    let mut files = BTreeMap::new();
    let mut add = |path: String, needed: bool| -> Result<(), RepackError> {
        match release.resolve(&format!("{home}/{path}")) {
            Ok(name) => drop(files.insert(path, name.to_owned())),
            Err(error) if needed => return Err(error.into()),
            Err(_) => {}
        }
        Ok(())
    };
    for class in classes {
        add(class.shim.to_owned(), true)?;
        for path in [&class.kernel, &class.firmware] {
            add(inner_of(path).to_owned(), true)?;
        }
        // Everything that the text names and the release has: QEMU, virtiofsd, further images.
        let named = class.config.text().lines().filter(|line| !line.trim_start().starts_with('#'));
        for word in named.flat_map(|line| line.split(['"', '\'', ' ', ',', '[', ']'])) {
            if let Some(inner) = word.strip_prefix(HOME).and_then(|inner| inner.strip_prefix('/')) {
                let image = release.resolve(&format!("{home}/{inner}")).is_ok_and(|file| file == class.image);
                if !inner.is_empty() && !image && !inner.contains("..") {
                    add(inner.to_owned(), false)?;
                }
            }
        }
    }
    let data: Vec<String> = release
        .names()
        .filter_map(|name| name.strip_prefix(home)?.strip_prefix('/'))
        .filter(|inner| inner.starts_with("share/kata-qemu") || inner.starts_with("libexec/"))
        .map(str::to_owned)
        .collect();
    data.into_iter().try_for_each(|path| add(path, false))?;
    Ok(files)
}

/// A path below `opt/kata`.
fn inner_of(name: &str) -> &str {
    let home = HOME.trim_start_matches('/');
    name.strip_prefix(home).map_or(name, |inner| inner.trim_start_matches('/'))
}

/// The name of the image that takes another's place.
fn new_name(image: &str) -> String {
    let stem = image.strip_suffix(".img").or_else(|| image.strip_suffix(".image")).unwrap_or(image);
    format!("{stem}-casemate.img")
}

fn kernel_params(kata: &str, more: &[String]) -> String {
    let named = |params: &str| params.split_whitespace().any(|param| param.split('=').next() == Some(REST_API));
    let mut params = vec![kata.trim().to_owned()];
    if !named(kata) && !more.iter().any(|more| named(more)) {
        params.push(format!("{REST_API}=attestation"));
    }
    params.extend(more.iter().cloned());
    params.retain(|param| !param.is_empty());
    params.join(" ")
}

/// The version in `kata-static-4.1.0-amd64.tar.zst`.
fn version(archive: &Path, said: Option<&str>) -> Result<String, RepackError> {
    let file = archive.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = match said {
        Some(said) => said,
        None => file.strip_prefix("kata-static-").and_then(|rest| rest.split("-amd64").next()).unwrap_or_default(),
    };
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let begins = version.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if begins && version.len() <= 32 && version.bytes().all(fine) {
        Ok(version.to_owned())
    } else {
        Err(RepackError::NoVersion { archive: file })
    }
}

/// Twelve digits that are others wherever a file is another one.
fn content_digest(files: &[BundleFile]) -> String {
    let mut context = Context::new(&SHA256);
    for file in files {
        context.update(format!("{} {} {}\n", file.path, file.sha256, file.executable).as_bytes());
    }
    hex::encode(context.finish()).chars().take(12).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), RepackError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
    }
    let mut file = File::options().write(true).create_new(true).open(path).map_err(failed("write", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// What was written is on the disk before it gets its name.
fn sync(folder: &Path) -> Result<(), RepackError> {
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_type().map_err(failed("look at", &entry.path()))?.is_dir() {
            sync(&entry.path())?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))
}

/// Whether two folders have the same files. The first difference, if there is one.
pub fn difference(one: &Path, two: &Path) -> Result<Option<String>, RepackError> {
    let list = |folder: &Path| -> Result<BTreeMap<PathBuf, String>, RepackError> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![folder.to_owned()];
        while let Some(at) = waiting.pop() {
            for entry in fs::read_dir(&at).map_err(failed("list", &at))? {
                let entry = entry.map_err(failed("list", &at))?;
                let path = entry.path();
                if entry.file_type().map_err(failed("look at", &path))?.is_dir() {
                    waiting.push(path);
                } else {
                    let digest = image::sha256(&path);
                    let image = path.display().to_string();
                    let digest = digest.map_err(|source| RepackError::Image { image, source: Box::new(source) })?;
                    found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), digest);
                }
            }
        }
        Ok(found)
    };
    let (one, two) = (list(one)?, list(two)?);
    let names: BTreeSet<&PathBuf> = one.keys().chain(two.keys()).collect();
    let differs = |path: &&PathBuf| one.get(*path) != two.get(*path);
    Ok(names.into_iter().find(differs).map(|path| path.display().to_string()))
}
