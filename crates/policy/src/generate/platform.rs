//! Where pods may run: the platforms by name, and which of them each pod is for.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::device::Wish;
use super::error::{Fault, GenerateError};
use super::inject::annotate;
use super::kinds::{RUNTIME_CLASS, nearest};

/// What produces the Evidence of a platform's pods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Tee {
    /// The local engine's software TEE: INSECURE.
    Software,
    /// AMD SEV-SNP, one guest for each pod.
    Snp,
    /// Intel TDX, one guest for each pod.
    Tdx,
    /// Intel SGX: the enclave, and nothing of the pod around it.
    Sgx,
    /// The whole node, with its kubelet inside.
    Node,
}

impl Tee {
    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::Snp => "SEV-SNP",
            Self::Tdx => "TDX",
            Self::Sgx => "SGX",
            Self::Node => "the node's",
        }
    }

    /// The member of a manifest's reference values that holds its entries.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
            Self::Sgx => "sgx",
            Self::Software | Self::Node => "software",
        }
    }
}

/// A platform that is known by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Platform {
    /// `metal-qemu-snp`.
    pub name: &'static str,
    /// What produces the Evidence.
    pub tee: Tee,
    /// The runtime class of its pods; `None` where pods have none of their own.
    pub runtime_class: Option<&'static str>,
    /// Whether its guests have GPUs.
    pub gpu: bool,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Why `generate` makes nothing for it, if so.
    pub refused: Option<&'static str>,
}

const fn guests(name: &'static str, tee: Tee, class: &'static str, gpu: bool, about: &'static str) -> Platform {
    Platform { name, tee, runtime_class: Some(class), gpu, about, refused: None }
}

const fn node(name: &'static str, about: &'static str, why: &'static str) -> Platform {
    Platform { name, tee: Tee::Node, runtime_class: None, gpu: false, about, refused: Some(why) }
}

const SNP: &str = "kata-qemu-snp";
const SNP_GPU: &str = "kata-qemu-nvidia-gpu-snp";
const TDX: &str = "kata-qemu-tdx";
const TDX_GPU: &str = "kata-qemu-nvidia-gpu-tdx";
const WHOLE_NODE: &str =
    "the node is the TEE and its kubelet is inside: there is no initdata, and nothing would bind a pod to its policy";

/// All platforms (design, section 15), in the order in which they are shown.
pub const PLATFORMS: &[Platform] = &[
    guests("local", Tee::Software, RUNTIME_CLASS, false, "the local engine on this machine, INSECURE"),
    guests("metal-qemu-snp", Tee::Snp, SNP, false, "your own machines with AMD EPYC"),
    guests("metal-qemu-snp-gpu", Tee::Snp, SNP_GPU, true, "the same with NVIDIA GPUs"),
    guests("k3s-qemu-snp", Tee::Snp, SNP, false, "k3s on machines with AMD EPYC"),
    guests("k3s-qemu-snp-gpu", Tee::Snp, SNP_GPU, true, "the same with NVIDIA GPUs"),
    guests("metal-qemu-tdx", Tee::Tdx, TDX, false, "your own machines with Intel Xeon"),
    guests("metal-qemu-tdx-gpu", Tee::Tdx, TDX_GPU, true, "the same with NVIDIA GPUs"),
    guests("k3s-qemu-tdx", Tee::Tdx, TDX, false, "k3s on machines with Intel Xeon"),
    guests(
        "aks-clh-snp",
        Tee::Snp,
        "kata-cc-isolation",
        false,
        "Azure's preview, which has ended: for clusters that are left",
    ),
    Platform {
        name: "metal-sgx",
        tee: Tee::Sgx,
        runtime_class: None,
        gpu: false,
        about: "enclaves in ordinary pods of your own machines",
        refused: None,
    },
    node("gke-snp", "Confidential GKE Nodes with SEV-SNP", WHOLE_NODE),
    node("gke-tdx", "Confidential GKE Nodes with TDX", WHOLE_NODE),
    node("gke-sev", "Confidential GKE Nodes with SEV", "SEV makes no report: nobody could check what runs there"),
];

/// The platform of a name; how it is written in upper and lower case does not matter.
pub(super) fn named(name: &str) -> Option<&'static Platform> {
    PLATFORMS.iter().find(|platform| platform.name.eq_ignore_ascii_case(name))
}

/// Pod annotation: the runtime class that the user wrote, and the one that stands there now.
pub const CLASS_ANNOTATION: &str = "casemate.dev/runtime-class";

/// A platform that the manifest has reference values for, or will have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Chosen {
    /// As in the manifest; one of [`PLATFORMS`], or a name of the user's own.
    pub(super) name: String,
    pub(super) tee: Tee,
    pub(super) class: Option<&'static str>,
    pub(super) gpu: bool,
}

impl Chosen {
    /// A platform as the reference values show it: what is known of its name, or else what the entries say.
    pub(super) fn of(name: &str, tee: Tee, devices: bool) -> Self {
        match named(name).filter(|known| known.tee == tee) {
            Some(known) => Self { name: name.to_owned(), tee, class: known.runtime_class, gpu: known.gpu || devices },
            None => Self { name: name.to_owned(), tee, class: None, gpu: devices },
        }
    }
}

/// Tells files from names: a file has a `/` in its name, or ends in `.json`.
pub(super) fn files_and_names(texts: &[String]) -> (Vec<&str>, Vec<&str>) {
    let is_file = |text: &&str| text.contains('/') || text.to_ascii_lowercase().ends_with(".json");
    texts.iter().map(String::as_str).partition(is_file)
}

/// Whether something can be generated for these platforms, before anything is made for them.
pub fn check_platforms(texts: &[String]) -> Result<(), GenerateError> {
    by_name(&files_and_names(texts).1).map(drop)
}

/// Takes the names of a run apart: platforms by name. Refuses what is not known, and software beside hardware.
pub(super) fn by_name(names: &[&str]) -> Result<Vec<&'static Platform>, GenerateError> {
    let refuse = |name: &str, reason: &str, hint: String| {
        Err(GenerateError::Platform { name: name.to_owned(), reason: reason.to_owned(), hint: Some(hint) })
    };
    let mut found: Vec<&'static Platform> = Vec::new();
    for name in names {
        let Some(platform) = named(name) else {
            let known: Vec<&str> = PLATFORMS.iter().map(|platform| platform.name).collect();
            let hint = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "`casemate reference-values platforms` lists them; a file is written with its `/` or `.json`".into()
                }
            };
            return refuse(name, "not a platform", hint);
        };
        if let Some(why) = platform.refused {
            let hint =
                "`casemate reference-values platforms` lists those whose pods are guests of their own".to_owned();
            return refuse(platform.name, why, hint);
        }
        if !found.contains(&platform) {
            found.push(platform);
        }
    }
    if found.len() > 1 && found.iter().any(|platform| platform.tee == Tee::Software) {
        let reason = "what accepts the software TEE may accept no hardware beside it (promise P8)";
        return refuse("local", reason, "generate for hardware in another work folder".into());
    }
    found.sort_by_key(|platform| platform.name);
    Ok(found)
}

fn names<'a>(platforms: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<String> = platforms.into_iter().map(|name| format!("`{name}`")).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

fn known(fits: fn(&Platform) -> bool) -> String {
    names(
        PLATFORMS.iter().filter(|platform| fits(platform) && platform.refused.is_none()).map(|platform| platform.name),
    )
}

/// Where a pod may run, and under which class.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Assigned {
    /// Names of the platforms; empty for the local engine.
    pub(super) platforms: BTreeSet<String>,
    /// The class that takes the place of the user's.
    pub(super) class: Option<&'static str>,
    /// Whether its TEE is an enclave, around which nothing is bound.
    pub(super) enclave: bool,
    /// Whether it is for the local engine.
    pub(super) local: bool,
}

/// Finds the platforms of a pod among those of the manifest: by its wishes for devices, and by its runtime class.
pub(super) fn assign(chosen: &[Chosen], class: &str, wish: &Wish) -> Result<Assigned, Fault> {
    let all = || names(chosen.iter().map(|chosen| chosen.name.as_str()));
    let resource = || wish.path.clone().unwrap_or_else(|| "spec".to_owned());
    if chosen.iter().all(|chosen| chosen.tee == Tee::Software) {
        return match (&wish.gpu, wish.sgx) {
            (None, false) => Ok(Assigned { local: true, ..Assigned::default() }),
            (Some(_), _) => Err(Fault {
                path: resource(),
                reason: "the local engine has no GPUs".into(),
                hint: Some(format!("platforms with GPUs: {}", known(|platform| platform.gpu))),
            }),
            (None, true) => Err(Fault {
                path: resource(),
                reason: "the local engine has no enclaves".into(),
                hint: Some(format!("platforms with enclaves: {}", known(|platform| platform.tee == Tee::Sgx))),
            }),
        };
    }
    let fits = |chosen: &&Chosen| match (&wish.gpu, wish.sgx) {
        (Some(_), _) => chosen.gpu,
        (None, true) => chosen.tee == Tee::Sgx,
        // A platform with GPUs accepts no guest without.
        (None, false) => !chosen.gpu && chosen.tee != Tee::Sgx,
    };
    let candidates: Vec<&Chosen> = chosen.iter().filter(fits).collect();
    if candidates.is_empty() {
        let (path, reason, those) = match (&wish.gpu, wish.sgx) {
            (Some(_), _) => (resource(), format!("no guest of {} has a GPU", all()), known(|platform| platform.gpu)),
            (None, true) => {
                (resource(), format!("{} has no enclaves", all()), known(|platform| platform.tee == Tee::Sgx))
            }
            (None, false) => (
                "spec".to_owned(),
                format!("it asks for no device, and every platform of the manifest wants one: {}", all()),
                known(|platform| !platform.gpu && ![Tee::Sgx, Tee::Software].contains(&platform.tee)),
            ),
        };
        let hint = format!("add one with `--reference-values`: {those}");
        return Err(Fault { path, reason, hint: Some(hint) });
    }
    by_class(chosen, &candidates, class)
}

fn by_class(chosen: &[Chosen], candidates: &[&Chosen], class: &str) -> Result<Assigned, Fault> {
    let path = "spec.runtimeClassName".to_owned();
    let taken = |those: &[&Chosen], class: Option<&'static str>| Assigned {
        platforms: those.iter().map(|chosen| chosen.name.clone()).collect(),
        class,
        enclave: those.iter().any(|chosen| chosen.tee == Tee::Sgx),
        local: false,
    };
    if class.starts_with("kata-") {
        let plain = class.strip_suffix("-runtime-rs").unwrap_or(class);
        let same: Vec<&Chosen> =
            candidates.iter().copied().filter(|chosen| chosen.class.is_none_or(|own| own == plain)).collect();
        if same.is_empty() && chosen.iter().any(|chosen| chosen.gpu && chosen.class == Some(plain)) {
            let reason = format!("`{class}` is for guests with GPUs, and no limit asks for one");
            let hint = "add `nvidia.com/pgpu` to the limits of the container that uses it, or write another class";
            return Err(Fault { path, reason, hint: Some(hint.into()) });
        }
        if same.is_empty() {
            let classes: BTreeSet<String> = candidates
                .iter()
                .filter_map(|chosen| Some(format!("`{}` of `{}`", chosen.class?, chosen.name)))
                .collect();
            let classes = classes.into_iter().collect::<Vec<_>>().join(", ");
            let reason = format!("`{class}` is not the runtime class of a platform of this pod: {classes}");
            let hint = format!("write `{RUNTIME_CLASS}`, which becomes the platform's own");
            return Err(Fault { path, reason, hint: Some(hint) });
        }
        return Ok(taken(&same, None));
    }
    // A class of the cluster's owner, `casemate-…`, stays.
    let contrast = class == "contrast-cc" || class.starts_with("contrast-cc-");
    if class != RUNTIME_CLASS && !contrast {
        return Ok(taken(candidates, None));
    }
    let named: Vec<&Chosen> = candidates.iter().copied().filter(|chosen| of_contrast(class, &chosen.name)).collect();
    let candidates = if named.is_empty() { candidates } else { named.as_slice() };
    let classes: BTreeSet<&'static str> = candidates.iter().filter_map(|chosen| chosen.class).collect();
    match classes.iter().copied().collect::<Vec<_>>().as_slice() {
        [] => Ok(taken(candidates, None)),
        [one] => {
            let same: Vec<&Chosen> = candidates.iter().copied().filter(|chosen| chosen.class == Some(*one)).collect();
            Ok(taken(&same, Some(*one)))
        }
        several => {
            let reason = format!("`{class}` could be any of {}", names(several.iter().copied()));
            let hint = "a pod has one class: write the one of the platform that it is for".to_owned();
            Err(Fault { path, reason, hint: Some(hint) })
        }
    }
}

/// The class of a Coordinator that `generate` adds, where its platforms have several: that of the first by name.
/// Refuses platforms of which none can hold one.
pub(super) fn class_of_coordinator(chosen: &[Chosen]) -> Result<Option<&'static str>, GenerateError> {
    let fits: Vec<&Chosen> = chosen.iter().filter(|chosen| !chosen.gpu && chosen.tee != Tee::Sgx).collect();
    if fits.is_empty() {
        return Err(GenerateError::Platform {
            name: chosen.iter().map(|chosen| chosen.name.as_str()).collect::<Vec<_>>().join(", "),
            reason: "the Coordinator needs a guest of its own, without devices".to_owned(),
            hint: Some(format!(
                "add one with `--reference-values`: {}",
                known(|platform| !platform.gpu && ![Tee::Sgx, Tee::Software].contains(&platform.tee))
            )),
        });
    }
    let classes: Vec<&'static str> = fits.iter().filter_map(|chosen| chosen.class).collect();
    let Some(first) = classes.first().copied() else { return Ok(None) };
    Ok(classes.iter().any(|class| *class != first).then_some(first))
}

/// Whether a class of Contrast, `contrast-cc-PLATFORM-HASH`, is for this platform.
fn of_contrast(class: &str, platform: &str) -> bool {
    let rest = class.strip_prefix("contrast-cc-").unwrap_or_default();
    rest == platform || rest.strip_prefix(platform).is_some_and(|hash| hash.starts_with('-') && !hash.contains("-gpu"))
}

/// Gives a pod the class of its platform and remembers the user's.
pub(super) fn set_class(pod: &mut Value, class: &'static str) -> Option<String> {
    let before = pod["spec"]["runtimeClassName"].as_str().filter(|before| *before != class)?.to_owned();
    pod["spec"]["runtimeClassName"] = json!(class);
    annotate(pod, CLASS_ANNOTATION, &format!("{before}={class}"));
    Some(format!("`runtimeClassName: {before}` became `{class}`, the platform's"))
}

/// Gives a pod the class back that its user wrote, unless somebody wrote another since.
pub(super) fn restore_class(pod: &mut Value) {
    let Some(annotations) = pod["metadata"].get_mut("annotations").and_then(Value::as_object_mut) else { return };
    let Some(mark) = annotations.shift_remove(CLASS_ANNOTATION) else { return };
    if annotations.is_empty()
        && let Some(metadata) = pod["metadata"].as_object_mut()
    {
        metadata.shift_remove("annotations");
    }
    if let Some((before, now)) = mark.as_str().and_then(|mark| mark.split_once('='))
        && pod["spec"]["runtimeClassName"] == json!(now)
    {
        pod["spec"]["runtimeClassName"] = json!(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Vec<Chosen> {
        names
            .iter()
            .map(|name| {
                named(name)
                    .map_or_else(|| Chosen::of(name, Tee::Tdx, false), |known| Chosen::of(name, known.tee, false))
            })
            .collect()
    }

    fn wish(gpus: u32, sgx: bool) -> Wish {
        let gpu = (gpus > 0).then(|| "nvidia.com/pgpu".to_owned());
        Wish { gpus, gpu, sgx, path: None }
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        let all: BTreeSet<_> = PLATFORMS.iter().map(|platform| platform.name).collect();
        assert_eq!(all.len(), PLATFORMS.len());
        assert!(PLATFORMS.iter().all(|platform| platform.name == platform.name.to_lowercase()));
        assert!(PLATFORMS.iter().all(|platform| platform.gpu == platform.name.ends_with("-gpu")));
    }

    #[test]
    fn what_is_no_platform_is_refused_with_what_was_meant() {
        let hint = |names: &[&str]| by_name(names).unwrap_err().hint().unwrap();
        assert_eq!(hint(&["metal-qemu-snpp"]), "did you mean `metal-qemu-snp`?");
        assert_eq!(hint(&["metal-qemu-sgx"]), "did you mean `metal-qemu-snp`?");
        assert!(hint(&["azure"]).contains("reference-values platforms"));
        for refused in ["gke-snp", "gke-tdx", "gke-sev"] {
            assert!(by_name(&[refused]).unwrap_err().to_string().starts_with(&format!("platform `{refused}`: ")));
        }
        assert!(by_name(&["local", "metal-qemu-snp"]).unwrap_err().to_string().contains("P8"));
        let both = by_name(&["metal-qemu-tdx", "Metal-QEMU-SNP", "metal-qemu-tdx"]).unwrap();
        assert_eq!(both.iter().map(|platform| platform.name).collect::<Vec<_>>(), ["metal-qemu-snp", "metal-qemu-tdx"]);
    }

    #[test]
    fn pods_go_where_their_wishes_can_be_met() {
        let all = ["metal-qemu-snp", "metal-qemu-snp-gpu", "metal-sgx"];
        for (class, gpus, sgx, names, becomes) in [
            ("casemate", 0, false, vec!["metal-qemu-snp"], Some(SNP)),
            ("contrast-cc", 0, false, vec!["metal-qemu-snp"], Some(SNP)),
            ("contrast-cc-metal-qemu-snp-0123abcd", 0, false, vec!["metal-qemu-snp"], Some(SNP)),
            ("kata-qemu-snp", 0, false, vec!["metal-qemu-snp"], None),
            ("kata-qemu-snp-runtime-rs", 0, false, vec!["metal-qemu-snp"], None),
            ("casemate-own", 0, false, vec!["metal-qemu-snp"], None),
            ("casemate", 2, false, vec!["metal-qemu-snp-gpu"], Some(SNP_GPU)),
            ("kata-qemu-nvidia-gpu-snp", 1, false, vec!["metal-qemu-snp-gpu"], None),
            ("casemate", 0, true, vec!["metal-sgx"], None),
        ] {
            let assigned = assign(&chosen(&all), class, &wish(gpus, sgx)).unwrap();
            assert_eq!(assigned.platforms.iter().map(String::as_str).collect::<Vec<_>>(), names, "{class}");
            assert_eq!((assigned.class, assigned.enclave), (becomes, sgx), "{class}");
        }
        let local = assign(&chosen(&["local"]), "kata-qemu-snp", &wish(0, false)).unwrap();
        assert_eq!(local, Assigned { local: true, ..Assigned::default() });
        // One class, two platforms; and a name of the user's own.
        let same = assign(&chosen(&["k3s-qemu-snp", "metal-qemu-snp"]), "casemate", &wish(0, false)).unwrap();
        assert_eq!((same.platforms.len(), same.class), (2, Some(SNP)));
        let own = assign(&chosen(&["rack-7"]), "kata-qemu-tdx", &wish(0, false)).unwrap();
        assert_eq!((own.platforms.len(), own.class), (1, None));
        let contrast = chosen(&["metal-qemu-snp", "metal-qemu-tdx"]);
        let named = assign(&contrast, "contrast-cc-metal-qemu-tdx-0123abcd", &wish(0, false)).unwrap();
        assert_eq!(named.class, Some(TDX));
    }

    #[test]
    fn an_added_coordinator_has_one_class_of_several() {
        for (names, class) in [
            (vec!["local"], None),
            (vec!["metal-qemu-snp"], None),
            (vec!["k3s-qemu-snp", "metal-qemu-snp", "metal-qemu-snp-gpu", "metal-sgx"], None),
            (vec!["metal-qemu-snp", "metal-qemu-tdx"], Some(SNP)),
            (vec!["aks-clh-snp", "metal-qemu-tdx"], Some("kata-cc-isolation")),
        ] {
            assert_eq!(class_of_coordinator(&chosen(&names)).unwrap(), class, "{names:?}");
        }
    }

    #[test]
    fn where_no_platform_is_right_the_reason_is_said() {
        for (names, class, gpus, sgx, reason, hint) in [
            (vec!["local"], "casemate", 1, false, "has no GPUs", "`metal-qemu-snp-gpu`"),
            (vec!["local"], "casemate", 0, true, "has no enclaves", "`metal-sgx`"),
            (vec!["metal-qemu-snp"], "casemate", 1, false, "no guest of `metal-qemu-snp` has a GPU", "-gpu`"),
            (vec!["metal-qemu-snp"], "casemate", 0, true, "has no enclaves", "`metal-sgx`"),
            (vec!["metal-qemu-snp-gpu"], "casemate", 0, false, "asks for no device", "`metal-qemu-snp`"),
            (vec!["metal-qemu-snp"], "kata-qemu-tdx", 0, false, "`kata-qemu-snp` of `metal-qemu-snp`", "`casemate`"),
            (vec!["metal-qemu-snp", "metal-qemu-snp-gpu"], SNP_GPU, 0, false, "no limit asks for one", "pgpu"),
            (
                vec!["metal-qemu-snp", "metal-qemu-snp-gpu"],
                SNP,
                1,
                false,
                "`kata-qemu-nvidia-gpu-snp` of",
                "`casemate`",
            ),
            (vec!["metal-qemu-snp", "metal-qemu-tdx"], "casemate", 0, false, "could be any of", "one class"),
        ] {
            let fault = assign(&chosen(&names), class, &wish(gpus, sgx)).unwrap_err();
            assert!(fault.reason.contains(reason), "{names:?} {class}: {}", fault.reason);
            assert!(fault.hint.as_ref().is_some_and(|text| text.contains(hint)), "{fault:?}");
        }
    }

    #[test]
    fn a_class_is_given_and_taken_back() {
        let pod = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"runtimeClassName": "casemate"}});
        let mut changed = pod.clone();
        assert!(set_class(&mut changed, SNP).is_some());
        assert_eq!(changed["spec"]["runtimeClassName"], SNP);
        assert_eq!(set_class(&mut changed, SNP), None);
        let mut edited = changed.clone();
        restore_class(&mut changed);
        assert_eq!(changed, pod);
        edited["spec"]["runtimeClassName"] = json!(TDX);
        restore_class(&mut edited);
        assert_eq!(edited["spec"]["runtimeClassName"], TDX);
    }
}
