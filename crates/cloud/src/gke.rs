//! The Terraform of a cluster on Google Kubernetes Engine, with its variables filled in.
//!
//! Inputs are checked here as Terraform checks them again: a mistake is told before a folder is written, and one that
//! was made in the folder before anything is asked of Google.

use std::fmt::Write as _;

use crate::place::Entry;

/// The module as it lies under `deploy/terraform/gke`.
const FILES: &[(&str, &str)] = &[
    (".gitignore", include_str!("../../../deploy/terraform/gke/.gitignore")),
    ("README.md", include_str!("../../../deploy/terraform/gke/README.md")),
    ("cluster.tf", include_str!("../../../deploy/terraform/gke/cluster.tf")),
    ("identity.tf", include_str!("../../../deploy/terraform/gke/identity.tf")),
    ("network.tf", include_str!("../../../deploy/terraform/gke/network.tf")),
    ("outputs.tf", include_str!("../../../deploy/terraform/gke/outputs.tf")),
    ("pools.tf", include_str!("../../../deploy/terraform/gke/pools.tf")),
    ("registry.tf", include_str!("../../../deploy/terraform/gke/registry.tf")),
    ("tests/plan.tftest.hcl", include_str!("../../../deploy/terraform/gke/tests/plan.tftest.hcl")),
    ("tests/refused.tftest.hcl", include_str!("../../../deploy/terraform/gke/tests/refused.tftest.hcl")),
    ("variables.tf", include_str!("../../../deploy/terraform/gke/variables.tf")),
    ("versions.tf", include_str!("../../../deploy/terraform/gke/versions.tf")),
];
/// The file with the user's values.
pub const VARIABLES: &str = "terraform.tfvars";

/// What is wrong with an input.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Not the id of a project.
    #[error(
        "`{given}` is no project id: 6 to 30 lower-case letters, digits and hyphens, a letter first and no hyphen last"
    )]
    Project {
        /// What was given.
        given: String,
    },
    /// A zone where a region belongs.
    #[error("`{given}` is a zone, of the region `{region}`")]
    ZoneForRegion {
        /// What was given.
        given: String,
        /// The region that it is in.
        region: String,
    },
    /// Not a region.
    #[error("`{given}` is no region: a region is written as `europe-west4`")]
    Region {
        /// What was given.
        given: String,
    },
    /// A zone of another region, or none.
    #[error("`{given}` is no zone of `{region}`: a zone is the region and a letter, as in `{region}-a`")]
    Zone {
        /// What was given.
        given: String,
        /// The region.
        region: String,
    },
    /// Not the name of a cluster.
    #[error(
        "`{given}` is no name of a cluster: at most 20 lower-case letters, digits and hyphens, a letter first and no hyphen last"
    )]
    Name {
        /// What was given.
        given: String,
    },
}

impl InputError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Project { .. } => {
                Some("`gcloud projects list` shows ids; a project's name and number are not its id".into())
            }
            Self::ZoneForRegion { region, .. } => {
                Some(format!("`--region {region}`; `--zone` limits the nodes to zones"))
            }
            Self::Region { .. } => Some("`gcloud compute regions list` shows them".into()),
            Self::Zone { region, .. } => {
                Some(format!("`gcloud compute zones list --filter=region:{region}` shows them"))
            }
            Self::Name { .. } => None,
        }
    }
}

/// What encrypts the memory of the nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeTee {
    /// AMD SEV: no report, so nobody can check it.
    Sev,
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl NodeTee {
    /// As Google calls it.
    pub const fn google(self) -> &'static str {
        match self {
            Self::Sev => "SEV",
            Self::Snp => "SEV_SNP",
            Self::Tdx => "TDX",
        }
    }

    /// The platform's name.
    pub const fn platform(self) -> &'static str {
        match self {
            Self::Sev => "gke-sev",
            Self::Snp => "gke-snp",
            Self::Tdx => "gke-tdx",
        }
    }
}

/// A cluster that may be asked for: every name in it is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    project: String,
    region: String,
    name: String,
    tee: NodeTee,
    zones: Vec<String>,
    gpu_zones: Vec<String>,
}

/// The cluster's name unless another is given; Terraform's default, too.
pub const DEFAULT_NAME: &str = "casemate";

impl Cluster {
    /// Checks what a cluster is to be. `gpu_zones` not empty means: with a pool of confidential GPUs there.
    pub fn new(
        project: &str,
        region: &str,
        name: &str,
        tee: NodeTee,
        zones: &[String],
        gpu_zones: &[String],
    ) -> Result<Self, InputError> {
        if !is_label(project, 6, 30) {
            return Err(InputError::Project { given: project.to_owned() });
        }
        if !is_region(region) {
            // `europe-west4-a` is what people copy.
            return Err(match region.rsplit_once('-') {
                Some((inner, letter)) if is_region(inner) && is_letter(letter) => {
                    InputError::ZoneForRegion { given: region.to_owned(), region: inner.to_owned() }
                }
                _ => InputError::Region { given: region.to_owned() },
            });
        }
        if !is_label(name, 1, 20) {
            return Err(InputError::Name { given: name.to_owned() });
        }
        let of_region =
            |zone: &str| zone.strip_prefix(region).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_letter);
        if let Some(zone) = zones.iter().chain(gpu_zones).find(|zone| !of_region(zone)) {
            return Err(InputError::Zone { given: zone.clone(), region: region.to_owned() });
        }
        let distinct = |zones: &[String]| {
            let mut zones = zones.to_vec();
            zones.sort();
            zones.dedup();
            zones
        };
        Ok(Self {
            project: project.to_owned(),
            region: region.to_owned(),
            name: name.to_owned(),
            tee,
            zones: distinct(zones),
            gpu_zones: distinct(gpu_zones),
        })
    }

    /// What encrypts its nodes' memory.
    pub fn tee(&self) -> NodeTee {
        self.tee
    }

    /// Where its images are.
    pub fn registry(&self) -> String {
        format!("{}-docker.pkg.dev/{}/{}", self.region, self.project, self.name)
    }

    /// The files of its folder.
    pub fn files(&self) -> Vec<Entry> {
        let mut files: Vec<Entry> = FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        files.push((VARIABLES.to_owned(), self.variables()));
        files.sort();
        files
    }

    fn variables(&self) -> String {
        let mut text =
            String::from("# Written by `casemate infra init gke`; `variables.tf` says what else can be set here.\n");
        let mut set = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} = {value}");
        };
        set("project_id", &quoted(&self.project));
        set("region    ", &quoted(&self.region));
        set("name      ", &quoted(&self.name));
        set("tee       ", &quoted(self.tee.google()));
        if !self.zones.is_empty() {
            set("zones     ", &list(&self.zones));
        }
        if !self.gpu_zones.is_empty() {
            set("gpu       ", "true");
            set("gpu_zones ", &list(&self.gpu_zones));
        }
        text
    }

    /// The commands that come next, in the folder `folder`.
    pub fn next(&self, folder: &str) -> Vec<String> {
        vec![
            format!("cd {folder}"),
            "terraform init".into(),
            "terraform plan -out plan.tfplan".into(),
            "terraform apply plan.tfplan".into(),
            "eval \"$(terraform output -raw get_credentials)\"".into(),
            "eval \"$(terraform output -raw registry_login)\"".into(),
            format!(
                "casemate infra files --platform {} --registry {} --output files",
                self.tee.platform(),
                self.registry()
            ),
            "casemate doctor".into(),
        ]
    }
}

/// A name of RFC 1035, as Google has them: a letter, then letters, digits and hyphens, no hyphen last.
fn is_label(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
}

/// `europe-west4`: words with hyphens between, the last of them with a number.
fn is_region(text: &str) -> bool {
    let stem = text.trim_end_matches(|last: char| last.is_ascii_digit());
    let words: Vec<&str> = stem.split('-').collect();
    stem.len() < text.len()
        && text.len() <= 63
        && words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn is_letter(text: &str) -> bool {
    matches!(text.as_bytes(), [letter] if letter.is_ascii_lowercase())
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A string as HCL writes it: nothing in it is read as a template, an escape or an end.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '$' | '%' if rest.peek() == Some(&'{') => quoted.extend([c, c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn cluster(project: &str, region: &str, name: &str, zones: &[&str], gpus: &[&str]) -> Result<Cluster, InputError> {
        let owned = |zones: &[&str]| zones.iter().map(|zone| (*zone).to_owned()).collect::<Vec<_>>();
        Cluster::new(project, region, name, NodeTee::Snp, &owned(zones), &owned(gpus))
    }

    #[test]
    fn what_terraform_would_refuse_is_refused_before() {
        let good = ["my-project", "europe-west4", "casemate"];
        assert!(cluster(good[0], good[1], good[2], &["europe-west4-a"], &[]).is_ok());
        for project in
            ["", "short", "My-Project", "<my-project>", "my-project-", "1-project", "my_project", "my project"]
        {
            let error = cluster(project, good[1], good[2], &[], &[]).unwrap_err();
            assert_eq!(error, InputError::Project { given: project.to_owned() });
        }
        for region in ["", "europe", "europe-west", "west4", "Europe-West4", "europe--west4", "europe-west4-", "eu 4"] {
            let error = cluster(good[0], region, good[2], &[], &[]).unwrap_err();
            assert_eq!(error, InputError::Region { given: region.to_owned() });
        }
        let zone = cluster(good[0], "europe-west4-a", good[2], &[], &[]).unwrap_err();
        assert!(zone.hint().unwrap().contains("--region europe-west4`"), "{zone}");
        for name in ["", "Casemate", "a-name-that-leaves-no-room", "a-", "-a", "a/b", "../a"] {
            assert!(matches!(cluster(good[0], good[1], name, &[], &[]), Err(InputError::Name { .. })), "{name}");
        }
        for zone in ["", "a", "europe-west4", "europe-west4-", "europe-west4-aa", "europe-west41-a", "us-central1-a"] {
            for (zones, gpus) in [(&[zone][..], &[][..]), (&[], &[zone])] {
                let error = cluster(good[0], good[1], good[2], zones, gpus).unwrap_err();
                assert!(matches!(error, InputError::Zone { .. }), "{zone}");
            }
        }
    }

    #[test]
    fn the_users_values_are_written_as_terraform_reads_them() {
        let all = cluster("my-project", "us-central1", "prod", &["us-central1-b", "us-central1-a"], &["us-central1-a"]);
        expect![[r#"
            # Written by `casemate infra init gke`; `variables.tf` says what else can be set here.
            project_id = "my-project"
            region     = "us-central1"
            name       = "prod"
            tee        = "SEV_SNP"
            zones      = ["us-central1-a", "us-central1-b"]
            gpu        = true
            gpu_zones  = ["us-central1-a"]
        "#]]
        .assert_eq(&all.unwrap().variables());
    }

    #[test]
    fn no_string_ends_early_or_is_evaluated() {
        for (text, expected) in [
            ("plain", r#""plain""#),
            ("a\"b", r#""a\"b""#),
            ("a\\", r#""a\\""#),
            ("${var.x}", r#""$${var.x}""#),
            ("%{ if true }", r#""%%{ if true }""#),
            ("a\nb\r\t", r#""a\nb\r\t""#),
            ("$ and %", r#""$ and %""#),
            ("\u{1}\u{7f}", r#""\u0001\u007F""#),
            ("\"\nproject_id = \"other", r#""\"\nproject_id = \"other""#),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
            let body = hcl::parse(&format!("x = {expected}\n")).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(body.attributes().count(), 1, "{text:?}");
            let expression = &body.attributes().next().expect("one attribute").expr;
            let evaluated = format!("{expression:?}").contains("Interpolation");
            assert!(!evaluated, "{text:?}: {expression:?}");
        }
    }

    #[test]
    fn every_file_of_the_module_is_in_the_binary() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/terraform/gke");
        let mut there = Vec::new();
        for (prefix, folder) in [("", folder.clone()), ("tests/", folder.join("tests"))] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                // What Terraform leaves behind is in nobody's checkout.
                if entry.file_type().unwrap().is_file() && !name.starts_with(".terraform") {
                    there.push(format!("{prefix}{name}"));
                }
            }
        }
        there.sort();
        assert_eq!(FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>(), there);
    }
}
