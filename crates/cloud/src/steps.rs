//! The steps of `casemate deploy`: from a folder of YAML to a verified answer.
//!
//! A plan is a list of steps, each a list of commands that a person could type. It is worked out here, without running
//! anything, so that `--dry-run` shows exactly what will run. Every step may be run again: what a step made the first
//! time is found and kept the second time. The [`Journal`] says which steps are done, and [`start`] where to go on.

mod journal;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::files::Registry;

pub use journal::{JOURNAL, Journal, JournalError, Start, start};

/// Where generated resources go, below the work folder; the originals stay as they are.
pub const GENERATED: &str = "generated";
/// Where the files of the platform go, below the work folder.
pub const FILES: &str = "files";

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// Programs are installed, and the cluster answers.
    Check,
    /// The cluster and its registry are made.
    Infra,
    /// kubectl and docker may reach them.
    Credentials,
    /// The user's images are built and pushed.
    Images,
    /// Workers are made ready.
    Runtime,
    /// Policy, identities, manifest.
    Generate,
    /// Resources are handed to the cluster or the local engine.
    Apply,
    /// The Coordinator runs.
    Start,
    /// The Coordinator has the manifest.
    Set,
    /// The Coordinator has the secrets.
    Secrets,
    /// Every pod is ready.
    Ready,
    /// The Coordinator is genuine and serves this manifest.
    Verify,
    /// The user's question is answered.
    Ask,
}

impl StepName {
    /// All, in order.
    pub const ALL: [Self; 13] = [
        Self::Check,
        Self::Infra,
        Self::Credentials,
        Self::Images,
        Self::Runtime,
        Self::Generate,
        Self::Apply,
        Self::Start,
        Self::Set,
        Self::Secrets,
        Self::Ready,
        Self::Verify,
        Self::Ask,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Infra => "infra",
            Self::Credentials => "credentials",
            Self::Images => "images",
            Self::Runtime => "runtime",
            Self::Generate => "generate",
            Self::Apply => "apply",
            Self::Start => "start",
            Self::Set => "set",
            Self::Secrets => "secrets",
            Self::Ready => "ready",
            Self::Verify => "verify",
            Self::Ask => "ask",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command: the program, then its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command(pub Vec<String>);

impl Command {
    fn new(words: &[&str]) -> Self {
        Self(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn with(mut self, words: &[&str]) -> Self {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// The program's name. `casemate` is the one that runs this.
    pub fn program(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

/// As a shell would take it.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&shell(word))?;
        }
        Ok(())
    }
}

/// A word as a POSIX shell reads it back.
pub fn shell(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@,+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// What a step does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Which one it is.
    pub name: StepName,
    /// What for, in a few words.
    pub about: String,
    /// Programs that must be on the search path.
    pub needs: Vec<&'static str>,
    /// What runs beside the commands and is ended after them.
    pub beside: Option<Command>,
    /// What runs, one after the other.
    pub commands: Vec<Command>,
    /// Why this step cannot say yes or no, if it cannot: it is then the answer of the whole.
    pub could_not_tell: Option<&'static str>,
}

/// Where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The local engine.
    Local,
    /// A cluster whose pods are guests of their own, as kubectl reaches it.
    Guests {
        /// The platform's name.
        platform: &'static str,
        /// Names that `generate` takes: the platform, and with GPUs the plain one for the Coordinator.
        references: Vec<String>,
    },
    /// A cluster whose nodes are the TEE.
    Nodes {
        /// The platform's name.
        platform: &'static str,
        /// The folder of its Terraform, if it is to be made.
        infra: Option<String>,
    },
}

/// What the user asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Where to.
    pub target: Target,
    /// Files and folders of resources.
    pub resources: Vec<String>,
    /// The namespace.
    pub namespace: String,
    /// Further reference values for `generate`: files.
    pub reference_values: Vec<String>,
    /// Where our images are.
    pub registry: Option<Registry>,
    /// Images to build and push: name and folder.
    pub images: Vec<(String, String)>,
    /// Secrets: name and file.
    pub secrets: Vec<(String, String)>,
    /// Where the Coordinator is reached; forwarded by kubectl without it.
    pub coordinator: Option<String>,
    /// Whether workers are made ready.
    pub runtime: bool,
    /// A command of `casemate` that asks the service something.
    pub question: Vec<String>,
    /// The work folder.
    pub work: String,
    /// What an earlier run left on this machine; of no account elsewhere.
    pub left: Left,
}

/// What the local engine has of an earlier run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// It may be up.
    pub engine: bool,
    /// The Coordinator had a seed, and gets it back from its shares.
    pub seed: bool,
}

/// Who makes the question's answer worth something on a cluster of Confidential GKE Nodes: nobody.
const WHOLE_NODE: &str = "the nodes are the TEE: no Coordinator has an identity there, and whoever administers the cluster \
     decides what runs, so there is nothing that could be verified";
const PORT: &str = "1313";

/// The plan for a wish.
pub fn plan(wish: &Wish) -> Vec<Step> {
    let planner = Planner { wish };
    let mut steps = vec![planner.check()];
    match &wish.target {
        Target::Local => steps.extend(planner.local()),
        Target::Guests { platform, references } => steps.extend(planner.guests(platform, references)),
        Target::Nodes { platform, infra } => steps.extend(planner.nodes(platform, infra.as_deref())),
    }
    steps.retain(|step| step.name == StepName::Check || !step.commands.is_empty() || step.could_not_tell.is_some());
    steps
}

struct Planner<'a> {
    wish: &'a Wish,
}

impl Planner<'_> {
    fn step(name: StepName, about: impl Into<String>, commands: Vec<Command>) -> Step {
        Step { name, about: about.into(), needs: Vec::new(), beside: None, commands, could_not_tell: None }
    }

    /// A command of ours, in the user's work folder.
    fn casemate(&self, words: &[&str]) -> Command {
        let own = Command::new(&["casemate"]);
        let own = if self.wish.work == "." { own } else { own.with(&["--workspace-dir", &self.wish.work]) };
        own.with(words)
    }

    fn kubectl(&self, words: &[&str]) -> Command {
        Command::new(&["kubectl", "--namespace", &self.wish.namespace]).with(words)
    }

    fn below(&self, name: &str) -> String {
        if self.wish.work == "." { name.to_owned() } else { format!("{}/{name}", self.wish.work) }
    }

    fn check(&self) -> Step {
        let mut needs = Vec::new();
        let mut commands = Vec::new();
        match &self.wish.target {
            Target::Local => {}
            Target::Guests { .. } | Target::Nodes { infra: None, .. } => {
                needs.push("kubectl");
                commands.push(Command::new(&["kubectl", "get", "--raw", "/readyz"]));
            }
            // Its cluster is there after a later step.
            Target::Nodes { infra: Some(_), .. } => needs.extend(["kubectl", "terraform", "gcloud", "sh"]),
        }
        if !self.wish.images.is_empty() {
            needs.push("docker");
        }
        let about = match (needs.is_empty(), commands.is_empty()) {
            (true, _) => "nothing is needed beside casemate",
            (false, true) => "the programs that are needed are here",
            (false, false) => "the programs that are needed are here, and the cluster answers",
        };
        let mut step = Self::step(StepName::Check, about, commands);
        step.needs = needs;
        step
    }

    fn images(&self) -> Step {
        let mut commands = Vec::new();
        for (name, folder) in &self.wish.images {
            commands.push(Command::new(&["docker", "build", "--tag", name, folder]));
            commands.push(Command::new(&["docker", "push", name]));
        }
        Self::step(StepName::Images, "your images are built and pushed", commands)
    }

    fn runtime(&self, platform: &str) -> Step {
        let mut commands = Vec::new();
        if self.wish.runtime && platform != "aks-clh-snp" {
            let below = self.below(FILES);
            commands.push(Command::new(&["kubectl", "apply", "-f", &format!("{below}/runtime-{platform}.yml")]));
            if !platform.starts_with("gke-") {
                // Objects of a kind are taken once its definition is served.
                let definition = "crd/nodeconfigurations.casemate.dev";
                commands.push(Command::new(&[
                    "kubectl",
                    "wait",
                    "--for=condition=Established",
                    "--timeout=60s",
                    definition,
                ]));
                let wish = format!("{below}/configuration-{platform}.yml");
                commands.push(Command::new(&["kubectl", "apply", "-f", &wish]));
            }
            let agent = format!("daemonset/casemate-node-{}", VERSION.replace('.', "-"));
            commands.push(Command::new(&[
                "kubectl",
                "--namespace",
                "casemate-system",
                "rollout",
                "status",
                &agent,
                "--timeout=300s",
            ]));
        }
        let about = if platform.ends_with("-gpu") {
            "workers are made ready; THEIR GPUS ARE SWITCHED TO CONFIDENTIAL MODE"
        } else {
            "workers are made ready"
        };
        Self::step(StepName::Runtime, about, commands)
    }

    fn files(&self, platform: &str) -> Command {
        let mut command = self.casemate(&["infra", "files", "--platform", platform, "--replace"]);
        if let Some(registry) = &self.wish.registry {
            command = command.with(&["--registry", registry.as_str()]);
        }
        command.with(&["--output", &self.below(FILES)])
    }

    /// `generate`, into a folder of its own.
    fn generate(&self, references: &[String], also: Option<&str>) -> Step {
        let mut command = self.casemate(&["generate"]);
        for name in references.iter().chain(&self.wish.reference_values) {
            command = command.with(&["--reference-values", name]);
        }
        if self.wish.namespace != "default" {
            command = command.with(&["--namespace", &self.wish.namespace]);
        }
        if let Some(registry) = &self.wish.registry {
            command = command.with(&["--pod-image", &format!("{}/casemate-pod:{VERSION}", registry.as_str())]);
        }
        command = command.with(&["--output", &self.below(GENERATED)]);
        command.0.extend(also.map(str::to_owned));
        command.0.extend(self.wish.resources.iter().cloned());
        Self::step(StepName::Generate, "policy, identities and manifest are made from your YAML", vec![command])
    }

    /// A step that speaks to the Coordinator.
    fn attested(&self, name: StepName, about: &str, commands: Vec<Command>) -> Step {
        let mut step = Self::step(name, about, commands);
        if self.wish.target != Target::Local && self.wish.coordinator.is_none() && !step.commands.is_empty() {
            step.beside = Some(self.kubectl(&["port-forward", "service/coordinator", &format!("{PORT}:{PORT}")]));
        }
        step
    }

    fn with_coordinator(&self, command: Command) -> Command {
        match (&self.wish.target, &self.wish.coordinator) {
            (Target::Local, _) => command,
            (_, Some(address)) => command.with(&["--coordinator", address]),
            (_, None) => command.with(&["--coordinator", &format!("127.0.0.1:{PORT}")]),
        }
    }

    fn set(&self) -> Step {
        let command = self.with_coordinator(self.casemate(&["set"])).with(&[&self.below(GENERATED)]);
        self.attested(
            StepName::Set,
            "the Coordinator is attested and gets the manifest, signed by its owners",
            vec![command],
        )
    }

    fn secrets(&self) -> Step {
        let put = |(name, file): &(String, String)| {
            self.with_coordinator(self.casemate(&["secret", "put", name, "--file", file]))
        };
        self.attested(
            StepName::Secrets,
            "the Coordinator gets your secrets",
            self.wish.secrets.iter().map(put).collect(),
        )
    }

    fn verify(&self) -> Step {
        let command = self.with_coordinator(self.casemate(&["verify"]));
        self.attested(
            StepName::Verify,
            "the Coordinator is genuine and serves this manifest and no other",
            vec![command],
        )
    }

    fn ask(&self) -> Step {
        let words: Vec<&str> = self.wish.question.iter().map(String::as_str).collect();
        let commands = if words.is_empty() { Vec::new() } else { vec![self.casemate(&words)] };
        Self::step(
            StepName::Ask,
            "your question is answered, over TLS under the mesh root that `verify` wrote",
            commands,
        )
    }

    fn ready(&self) -> Step {
        let command = self.kubectl(&[
            "wait",
            "pod",
            "--all",
            "--for=condition=Ready",
            "--field-selector=status.phase!=Succeeded",
            "--timeout=600s",
        ]);
        Self::step(StepName::Ready, "every pod is ready", vec![command])
    }

    fn local(&self) -> Vec<Step> {
        let generated = self.below(GENERATED);
        let up = self.casemate(&["up", &generated]);
        let wait = self.casemate(&["wait", "--timeout", "120"]);
        let mut apply = vec![up];
        if self.wish.left.engine {
            apply.insert(0, self.casemate(&["down"]));
        }
        if self.wish.left.seed {
            apply.push(self.casemate(&["recover"]));
        }
        vec![
            self.images(),
            self.generate(&["local".to_owned()], None),
            Self::step(StepName::Apply, "the local engine starts the pods, INSECURE", apply),
            self.set(),
            self.secrets(),
            Self::step(StepName::Ready, "every pod is ready", vec![wait]),
            self.verify(),
            self.ask(),
        ]
    }

    fn guests(&self, platform: &str, references: &[String]) -> Vec<Step> {
        let coordinator = format!("{}/coordinator-{platform}.yml", self.below(FILES));
        let mut runtime = self.runtime(platform);
        runtime.commands.insert(0, self.files(platform));
        let apply = self.kubectl(&["apply", "--recursive", "-f", &self.below(GENERATED)]);
        let appear = self.kubectl(&["wait", "--for=create", "--timeout=60s", "pod/coordinator-0"]);
        let running =
            self.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "--timeout=300s", "pod/coordinator-0"]);
        vec![
            self.images(),
            runtime,
            self.generate(references, Some(&coordinator)),
            Self::step(StepName::Apply, "the cluster gets the resources", vec![apply]),
            Self::step(StepName::Start, "the Coordinator runs in its guest", vec![appear, running]),
            self.set(),
            self.secrets(),
            self.ready(),
            self.verify(),
            self.ask(),
        ]
    }

    fn nodes(&self, platform: &str, infra: Option<&str>) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(folder) = infra {
            let terraform = |words: &[&str]| Command::new(&["terraform", &format!("-chdir={folder}")]).with(words);
            steps.push(Self::step(
                StepName::Infra,
                "network, cluster and registry are made; THIS COSTS MONEY",
                vec![
                    terraform(&["init", "-input=false"]),
                    terraform(&["plan", "-input=false", "-out=plan.tfplan"]),
                    terraform(&["apply", "-input=false", "plan.tfplan"]),
                ],
            ));
            let output = |name: &str| {
                let line = format!("eval \"$(terraform -chdir={} output -raw {name})\"", shell(folder));
                Command::new(&["sh", "-c", &line])
            };
            steps.push(Self::step(
                StepName::Credentials,
                "kubectl reaches the cluster, and docker the registry",
                vec![output("get_credentials"), output("registry_login")],
            ));
        }
        let mut runtime = self.runtime(platform);
        if !runtime.commands.is_empty() {
            runtime.commands.insert(0, self.files(platform));
        }
        let mut apply = self.kubectl(&["apply", "--recursive"]);
        for path in &self.wish.resources {
            apply = apply.with(&["-f", path]);
        }
        let mut verify = Self::step(StepName::Verify, "what could be verified on such a cluster", Vec::new());
        verify.could_not_tell = Some(WHOLE_NODE);
        steps.extend([
            self.images(),
            runtime,
            Self::step(StepName::Apply, "the cluster gets the resources; no policy binds them", vec![apply]),
            self.ready(),
            verify,
        ]);
        steps
    }
}

#[cfg(test)]
mod tests;
