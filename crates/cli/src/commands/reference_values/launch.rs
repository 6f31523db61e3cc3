//! `casemate reference-values snp`: launch digests, computed from what a guest is started with.

use std::path::PathBuf;

use protocol::digest::Measurement;
use verifier::snp::launch::{
    Firmware, GuestFeatures, KernelHashes, Launch, LaunchError, MAX_FIRMWARE, MAX_VCPUS, Machine, VcpuType, Vmm,
};

use crate::commands::explain::files::read_at_most;
use crate::failure::{Failure, Outcome};
use crate::{Context, output};

/// LIMIT: kernels have some 15 MiB, an initrd with drivers and tools some hundred.
const MAX_BOOT_FILE: usize = 1024 * 1024 * 1024;

/// Compute the launch digests of an SEV-SNP guest, for every number of vCPUs
#[derive(clap::Args)]
#[command(
    after_help = "The digest covers firmware, kernel, initrd, command line, and type and number of vCPUs; one space more is \
another digest.

Examples:
  casemate reference-values snp --firmware OVMF.fd --vcpus 4
  casemate reference-values snp --firmware OVMF.fd --kernel vmlinuz \\
      --initrd initrd.img --append 'console=ttyS0' --vcpu-type EPYC-Milan
  casemate reference-values snp --firmware OVMF.fd --find DIGEST

Exit code 1: `--find` found none."
)]
pub(crate) struct SnpArgs {
    /// The guest's firmware: OVMF with SEV-SNP, code and variables in one file
    #[arg(long, value_name = "FILE")]
    firmware: PathBuf,
    /// The kernel that is passed to the VMM; without it the guest boots from its disk
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initrd that is passed to the VMM
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line, to the byte
    #[arg(long, value_name = "CMDLINE", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,
    /// Numbers of vCPUs: `4` or `1-64` [default: 1-64; all there can be with `--find`]
    #[arg(long, value_name = "N[-M]", value_parser = vcpus)]
    vcpus: Option<(u32, u32)>,
    /// The type of the vCPUs, as QEMU names it: EPYC-Milan, EPYC-Genoa-v1
    #[arg(long, value_name = "NAME", default_value = "EPYC-v4")]
    vcpu_type: String,
    /// SEV features of the guest, in hex
    #[arg(long, value_name = "HEX", default_value = "0x1", value_parser = features)]
    guest_features: u64,
    /// Who starts the guest: qemu or ec2
    #[arg(long, value_name = "VMM", default_value = "qemu")]
    vmm: String,
    /// Say which number of vCPUs has this launch digest: 48 bytes in hex
    #[arg(long, value_name = "DIGEST", value_parser = measurement)]
    find: Option<Measurement>,
}

fn vcpus(text: &str) -> Result<(u32, u32), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| format!("`{text}` is no number"));
    let (first, last) = (number(first)?, number(last)?);
    if first == 0 || first > last || last > MAX_VCPUS {
        return Err(format!("it is a number from 1 to {MAX_VCPUS}, or two with the smaller first"));
    }
    Ok((first, last))
}

fn features(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "not a number in hex".to_owned())
}

fn measurement(text: &str) -> Result<Measurement, String> {
    let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|_| "not hex: 48 bytes are 96 hex digits".to_owned())?;
    let bytes =
        <[u8; 48]>::try_from(bytes).map_err(|bytes| format!("it has 48 bytes, and these are {}", bytes.len()))?;
    Ok(Measurement::from_bytes(bytes))
}

fn failed(error: LaunchError) -> Failure {
    let hint = error.hint();
    Failure::no(error).maybe_hint(hint)
}

pub(super) fn run(context: &Context, args: &SnpArgs) -> Outcome {
    let machine = Machine {
        vmm: args.vmm.parse::<Vmm>().map_err(failed)?,
        vcpu: VcpuType::from_name(&args.vcpu_type).map_err(failed)?,
        features: GuestFeatures(args.guest_features),
    };
    let image = read_at_most(&args.firmware, MAX_FIRMWARE)?;
    let firmware =
        Firmware::parse(&image).map_err(|error| failed(error).context(format!("`{}`", args.firmware.display())))?;
    let boot_file = |path: &Option<PathBuf>| path.as_ref().map(|path| read_at_most(path, MAX_BOOT_FILE)).transpose();
    let hashes = match boot_file(&args.kernel)? {
        None => None,
        Some(kernel) => {
            let initrd = boot_file(&args.initrd)?.unwrap_or_default();
            Some(KernelHashes::of(&kernel, &initrd, args.append.as_deref().unwrap_or_default().as_bytes()))
        }
    };
    let launch = Launch::measure(&firmware, hashes.as_ref(), &machine).map_err(failed)?;
    if hashes.is_none() && firmware.takes_kernel_hashes() {
        output::say(
            "note: this firmware checks a kernel, and none is named with `--kernel`: the guest boots from its disk",
        );
    }
    match &args.find {
        Some(digest) => find(context, &launch, digest, args.vcpus),
        None => list(context, &launch, args.vcpus.unwrap_or((1, 64))),
    }
}

fn find(context: &Context, launch: &Launch, digest: &Measurement, range: Option<(u32, u32)>) -> Outcome {
    let (first, last) = range.unwrap_or((1, MAX_VCPUS));
    let found = launch.which_vcpu_count(digest, last).filter(|count| *count >= first);
    if context.json {
        output::json(&serde_json::json!({ "measurement": digest, "vcpus": found }));
    } else if let Some(count) = found {
        output::result(&format!("{} is the launch with {count} {}", digest.short(), word(count)));
    }
    if found.is_some() {
        return Ok(());
    }
    let range = if first == last { first.to_string() } else { format!("{first} to {last}") };
    Err(Failure::refuse(format!("{} is the launch digest of no number of vCPUs from {range}", digest.short()))
        .hint(
            "something else differs: firmware, kernel, initrd, command line (to the byte), `--vcpu-type`, \
             `--guest-features` or `--vmm`",
        )
        .told(context.json))
}

fn word(count: u32) -> &'static str {
    if count == 1 { "vCPU" } else { "vCPUs" }
}

fn list(context: &Context, launch: &Launch, (first, last): (u32, u32)) -> Outcome {
    let digests: Vec<(u32, Measurement)> = launch.digests(first..=last).map_err(failed)?.collect();
    if context.json {
        let digests: Vec<serde_json::Value> = digests
            .iter()
            .map(|(vcpus, measurement)| serde_json::json!({ "vcpus": vcpus, "measurement": measurement }))
            .collect();
        output::json(&serde_json::json!({ "launch_digests": digests }));
    } else {
        // The digests are what was asked for, so they are not shortened.
        let rows: Vec<Vec<String>> =
            digests.iter().map(|(vcpus, measurement)| vec![vcpus.to_string(), measurement.to_string()]).collect();
        output::result(&output::table(&["VCPUS", "MEASUREMENT"], &rows));
    }
    Ok(())
}
