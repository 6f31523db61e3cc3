//! `casemate guest-image`: Kata's confidential guest image, repacked so that the guest itself enforces its initdata.

use std::path::{Path, PathBuf};

use guest_image::image::{ImageError, Inspected};
use guest_image::release::ReleaseError;
use guest_image::repack::{RepackError, Report, Wishes};
use guest_image::rootfs::{MAX_CHECK, StartUpCheck};
use guest_image::values::Measured;
use guest_image::verity::Verity;
use protocol::manifest::{MAX_MANIFEST, ReferenceValues};
use verifier::snp::launch::{GuestFeatures, Machine, VcpuType, Vmm};

use super::explain::files::read_at_most;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// The program that stands in the agent's place, beside this one where nothing else is said.
const CHECK: &str = "casemate-guest-check";
/// LIMIT: parameters of dm-verity have some 300 bytes.
const MAX_PARAMS: usize = 4096;

/// Make guest images that enforce their initdata, and look into them
#[derive(clap::Subcommand)]
pub(crate) enum GuestImageCommand {
    Repack(RepackArgs),
    Inspect(InspectArgs),
}

/// Repack Kata's confidential guest image with the start-up check and a policy that allows nothing
#[derive(clap::Args)]
#[command(
    after_help = "The result is a folder: `bundle.toml` with all files for `casemate-node runtime install`, `measurements.json` with \
what the guests measure, and with `--machine` reference values for `casemate generate --reference-values`. The same release \
and the same check give the same bytes.

Examples:
  casemate guest-image repack kata-static-4.1.0-amd64.tar.zst
  casemate guest-image repack kata-static-4.1.0-amd64.tar.zst --output guest --machine node-7.json --vcpus 1..=16
  casemate guest-image repack kata-static-4.1.0-amd64.tar.zst --class kata-qemu-tdx --check     exit 1 if not up to date

Exit code 0: made, or up to date. 1: wrong input, or not up to date. 2: could not tell, nothing was made."
)]
pub(crate) struct RepackArgs {
    /// Kata's release, as it is published
    #[arg(value_name = "KATA-RELEASE.tar.zst")]
    archive: PathBuf,
    /// The folder to make
    #[arg(short, long, value_name = "DIR", default_value = "guest-image")]
    output: PathBuf,
    /// Make it again beside the folder that is there, and compare
    #[arg(long)]
    check: bool,
    /// A runtime class of the release, and the platform of its reference values [default: kata-qemu-snp=metal-qemu-snp
    /// and kata-qemu-tdx=metal-qemu-tdx, as far as the release has them]
    #[arg(long = "class", value_name = "NAME[=PLATFORM]")]
    classes: Vec<String>,
    /// Reference values of a machine that are to be completed, as `casemate reference-values from` wrote them
    #[arg(long, value_name = "FILE")]
    machine: Option<PathBuf>,
    /// Numbers of vCPUs: `4` or `1..=64`
    #[arg(long, value_name = "N[..=M]", default_value = "1..=64", value_parser = vcpus)]
    vcpus: (u32, u32),
    /// The type of the vCPUs, as QEMU names it
    #[arg(long, value_name = "NAME", default_value = "EPYC-v4")]
    vcpu_type: String,
    /// SEV features of the guest, in hex
    #[arg(long, value_name = "HEX", default_value = "0x1", value_parser = features)]
    guest_features: u64,
    /// A further parameter of the guest's kernel
    #[arg(long = "kernel-param", value_name = "PARAM", allow_hyphen_values = true)]
    kernel_params: Vec<String>,
    /// The snapshotter that containerd uses for these classes
    #[arg(long, value_name = "NAME")]
    snapshotter: Option<String>,
    /// The version of the release [default: from the archive's name]
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// The start-up check [default: casemate-guest-check beside this program]
    #[arg(long, value_name = "FILE")]
    start_up_check: Option<PathBuf>,
}

/// Say what is in a guest image, and whether it enforces its initdata
#[derive(clap::Args)]
#[command(
    after_help = "Exit code 0: it has the start-up check, begins with a policy that allows nothing, and is what its \
dm-verity parameters say. 1: it is not. 2: could not tell: it could not be read, or no parameters were given.

Examples:
  casemate guest-image inspect guest-image/files/share/kata-containers/kata-containers-confidential-casemate.img
  casemate guest-image inspect kata-containers-confidential.img --root-hash root_hash_confidential.txt"
)]
pub(crate) struct InspectArgs {
    /// The image
    image: PathBuf,
    /// A file with its dm-verity parameters [default: IMAGE.root-hash.txt, where it is there]
    #[arg(long, value_name = "FILE")]
    root_hash: Option<PathBuf>,
}

fn vcpus(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once("..=").or_else(|| text.split_once('-'));
    let (first, last) = parts.unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("`{text}` is no number"));
    let (first, last) = (number(first)?, number(last)?);
    let most = verifier::snp::launch::MAX_VCPUS;
    if first == 0 || first > last || last > most {
        return Err(format!("it is a number from 1 to {most}, or two with the smaller first"));
    }
    Ok((first, last))
}

fn features(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "not a number in hex".to_owned())
}

pub(crate) fn run(context: &Context, command: &GuestImageCommand) -> Outcome {
    match command {
        GuestImageCommand::Repack(args) => repack(context, args),
        GuestImageCommand::Inspect(args) => inspect(context, args),
    }
}

fn repack(context: &Context, args: &RepackArgs) -> Outcome {
    let check = start_up_check(args.start_up_check.as_deref())?;
    let wishes = wishes(args)?;
    let mut progress = |what: &str| output::say(what);
    if args.check {
        return compare(context, args, &check, &wishes, &mut progress);
    }
    let report = guest_image::repack::repack(&args.archive, &check, &wishes, &args.output, &mut progress);
    let report = report.map_err(|error| failed(error, &args.archive))?;
    if context.json {
        output::json(&serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        say(&report, &args.output);
    }
    Ok(())
}

fn compare(
    context: &Context,
    args: &RepackArgs,
    check: &StartUpCheck,
    wishes: &Wishes,
    progress: &mut dyn FnMut(&str),
) -> Outcome {
    if !args.output.is_dir() {
        return Err(Failure::refuse(format!("`{}` is no folder", args.output.display()))
            .hint("without `--check` the command makes it"));
    }
    // Beside the folder, since that is where there is room for one more.
    let parent = args.output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new().prefix(".casemate-guest-image-check-").tempdir_in(parent);
    let aside = aside.map_err(|error| Failure::could_not_tell(error).context("make a folder to compare with"))?;
    let made = aside.path().join("made");
    let whole = |error| failed(error, &args.archive);
    guest_image::repack::repack(&args.archive, check, wishes, &made, progress).map_err(whole)?;
    let difference = guest_image::repack::difference(&made, &args.output).map_err(whole)?;
    if context.json {
        output::json(&serde_json::json!({ "up_to_date": difference.is_none(), "first_difference": difference }));
    }
    match difference {
        None => {
            if !context.json {
                output::result(&format!("{} is up to date", args.output.display()));
            }
            Ok(())
        }
        Some(path) => Err(Failure::refuse(format!("`{}` differs: `{path}`", args.output.display()))
            .hint("another release, another check or other options made it")
            .told(context.json)),
    }
}

/// The program, which must be one of this version's.
fn start_up_check(path: Option<&Path>) -> Outcome<StartUpCheck> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => {
            let me =
                std::env::current_exe().map_err(|error| Failure::could_not_tell(error).context("find this program"))?;
            me.with_file_name(CHECK)
        }
    };
    let hint = "`--start-up-check FILE` names `casemate-guest-check`, which comes with this program";
    let bytes = read_at_most(&path, MAX_CHECK).map_err(|failure| failure.hint(hint))?;
    let wrong = |error| Failure::no(error).context(format!("`{}`", path.display())).hint(hint);
    StartUpCheck::new(bytes).map_err(wrong)
}

fn wishes(args: &RepackArgs) -> Outcome<Wishes> {
    let launch = |error: verifier::snp::launch::LaunchError| {
        let hint = error.hint();
        Failure::no(error).maybe_hint(hint)
    };
    let class = |text: &String| {
        let (class, platform) = text.split_once('=').unwrap_or((text, ""));
        let known = policy::generate::PLATFORMS.iter().find(|platform| platform.runtime_class == Some(class));
        let platform = match (platform, known) {
            ("", Some(known)) => known.name,
            ("", None) => class,
            (platform, _) => platform,
        };
        (class.to_owned(), platform.to_owned())
    };
    let values = match &args.machine {
        None => None,
        Some(path) => {
            let text = read_at_most(path, MAX_MANIFEST)?;
            let values: ReferenceValues = serde_json::from_slice(&text).map_err(|error| {
                Failure::no(error)
                    .context(format!("`{}` has no reference values", path.display()))
                    .hint("`casemate reference-values from EVIDENCE --output FILE` writes them")
            })?;
            Some(values)
        }
    };
    Ok(Wishes {
        classes: args.classes.iter().map(class).collect(),
        release: args.release.clone(),
        vcpus: args.vcpus,
        machine: Machine {
            vmm: Vmm::Qemu,
            vcpu: VcpuType::from_name(&args.vcpu_type).map_err(launch)?,
            features: GuestFeatures(args.guest_features),
        },
        kernel_params: args.kernel_params.clone(),
        values,
        snapshotter: args.snapshotter.clone(),
    })
}

fn failed(error: RepackError, archive: &Path) -> Failure {
    let hint = error.hint().map(str::to_owned);
    // What this machine could not do is no word on the release.
    let ours = matches!(error, RepackError::Io { .. } | RepackError::Release(ReleaseError::Write { .. }));
    let failure = if ours { Failure::could_not_tell(error) } else { Failure::no(error) };
    failure.context(format!("repack `{}`", archive.display())).maybe_hint(hint)
}

fn say(report: &Report, folder: &Path) {
    for class in &report.classes {
        let measured = match &class.measured {
            Measured::Snp { launch_digests } => format!("{} launch digests", launch_digests.len()),
            Measured::Tdx { .. } => "MRTD and RTMR2; RTMR0 and RTMR1 are a machine's to tell".to_owned(),
        };
        let values = match &class.reference_values {
            Some(file) => format!("reference values for `{}` in {file}", class.platform),
            None => "no complete reference values: `--machine FILE` says what only a machine knows".to_owned(),
        };
        output::say(&format!("{} ({}): {measured}; {values}", class.class, class.tee));
    }
    for (image, written) in &report.images {
        output::say(&format!(
            "{image}: {} MiB, agent unmodified ({})",
            written.bytes >> 20,
            short(&written.rootfs.agent_sha256)
        ));
    }
    output::say(&format!("install it on a node: casemate-node runtime install {}/bundle.toml", folder.display()));
    output::result(&format!("{}  bundle.toml sha256:{}", report.release, report.bundle_sha256));
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn inspect(context: &Context, args: &InspectArgs) -> Outcome {
    let default = PathBuf::from(format!("{}.root-hash.txt", args.image.display()));
    let file = args.root_hash.clone().or_else(|| default.is_file().then_some(default));
    let verity = match &file {
        None => None,
        Some(path) => {
            let text = read_at_most(path, MAX_PARAMS)?;
            let verity = Verity::parse(&String::from_utf8_lossy(&text));
            Some(verity.map_err(|error| Failure::no(error).context(format!("`{}`", path.display())))?)
        }
    };
    let found = guest_image::image::inspect(&args.image, verity.as_ref());
    let found = found.map_err(|error| {
        // A file that is not there is a wrong input, as everywhere.
        let ours = matches!(&error, ImageError::Io { source, .. } if source.kind() != std::io::ErrorKind::NotFound);
        let failure = if ours { Failure::could_not_tell(error) } else { Failure::no(error) };
        failure.context(format!("`{}`", args.image.display()))
    })?;
    if context.json {
        output::json(&serde_json::to_string_pretty(&found).unwrap_or_default());
    } else {
        output::result(&page(&found));
    }
    let told = |failure: Failure| Err(failure.told(context.json));
    match &found.verity {
        Some(verity) if !verity.matches || verity.damaged_hash_blocks > 0 => {
            told(Failure::refuse(format!("`{}` is not what its dm-verity parameters say", args.image.display())))
        }
        _ if !found.rootfs.is_guarded() => {
            let message = format!("a guest of `{}` does not enforce its initdata", args.image.display());
            told(Failure::refuse(message).hint("`casemate guest-image repack` makes one that does"))
        }
        None => {
            let why = anyhow::anyhow!(
                "without dm-verity parameters nobody can tell whether this is the image that was measured"
            );
            told(Failure::could_not_tell(why).hint("`--root-hash FILE` names them"))
        }
        Some(_) => Ok(()),
    }
}

fn page(found: &Inspected) -> String {
    let verity = match &found.verity {
        None => "not compared: no parameters".to_owned(),
        Some(verity) if !verity.matches => format!("NOT what its parameters say ({})", short(&verity.expected_root)),
        Some(verity) if verity.damaged_hash_blocks > 0 => {
            format!("data as they should be, {} blocks of hashes damaged", verity.damaged_hash_blocks)
        }
        Some(verity) => format!("every block as its parameters say ({})", short(&verity.expected_root)),
    };
    let word = |yes: bool, good: &str, bad: &str| if yes { good.to_owned() } else { bad.to_owned() };
    let rows = [
        ("file system", format!("{}, {} files", found.file_system, found.files)),
        ("dm-verity", verity),
        ("agent", format!("sha256 {}, started as {}", short(&found.rootfs.agent_sha256), found.rootfs.starts)),
        ("start-up check", word(found.rootfs.check, "in the agent's place", "NONE: the agent is started as it is")),
        (
            "first policy",
            word(
                found.rootfs.denies_all,
                "allows nothing",
                "NOT ours: it may allow requests before initdata says what",
            ),
        ),
    ];
    rows.map(|(name, what)| format!("{name:<14}  {what}")).join("\n")
}
