//! `cargo xtask bench generate`: how long `casemate generate` takes for one pod and for many, with nothing remembered and
//! with everything, what it costs in CPU and memory, and how large what it writes is. Images come from a real registry on
//! loopback; a plain copy of the largest is the control. The figures in `docs/performance.md` come from here.

pub(crate) mod decision;
mod images;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::demo::report::table;
use crate::packages;
use crate::registry::Registry;
use crate::workspace::{self, Metadata};
use process::Cost;

/// Options of the command.
#[derive(Args, Debug)]
pub(crate) struct GenerateArgs {
    /// How often to measure each row; the median counts
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: usize,
    /// Only rows with this in their name
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Figures as JSON
    #[arg(long)]
    json: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

/// What a row generates.
struct Case {
    name: &'static str,
    image: &'static str,
    /// Deployments, in files of at most [`DOCUMENTS_PER_FILE`].
    workloads: usize,
    /// What an earlier run has left.
    start: Start,
    /// What we aim at.
    aim: Option<Aim>,
}

/// What there is in the work folder.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// Nothing: keys are made, too.
    Empty,
    /// Keys and manifest, and nothing of images.
    Cold,
    /// Everything that an earlier run remembered.
    Warm,
}

enum Aim {
    /// Seconds of wall time.
    Seconds(f64),
    /// A part of the time that a copy of the image takes.
    OfCopy(f64),
}

/// A Helm chart's worth.
const DOCUMENTS_PER_FILE: usize = 100;

/// genpolicy takes 1.43 times what copying the image takes (Kata 4.1.0); a third of that is the aim.
const THIRD_OF_GENPOLICY: f64 = 1.43 / 3.0;

const CASES: [Case; 9] = [
    Case { name: "1 pod, tiny, first run", image: "tiny", workloads: 1, start: Start::Empty, aim: None },
    Case { name: "1 pod, tiny, cold", image: "tiny", workloads: 1, start: Start::Cold, aim: None },
    Case { name: "1 pod, tiny, warm", image: "tiny", workloads: 1, start: Start::Warm, aim: WARM_POD },
    Case { name: "1 pod, 70 MB, cold", image: "mid", workloads: 1, start: Start::Cold, aim: None },
    Case {
        name: "1 pod, 1 GB, cold",
        image: "big",
        workloads: 1,
        start: Start::Cold,
        aim: Some(Aim::OfCopy(THIRD_OF_GENPOLICY)),
    },
    Case { name: "1 pod, 1 GB, warm", image: "big", workloads: 1, start: Start::Warm, aim: WARM_POD },
    Case { name: "100 workloads, cold", image: "mid", workloads: 100, start: Start::Cold, aim: None },
    Case { name: "100 workloads, warm", image: "mid", workloads: 100, start: Start::Warm, aim: None },
    Case {
        name: "1,000 workloads, warm",
        image: "mid",
        workloads: 1_000,
        start: Start::Warm,
        aim: Some(Aim::Seconds(1.0)),
    },
];

const WARM_POD: Option<Aim> = Some(Aim::Seconds(0.020));

/// Everything that was measured.
#[derive(Serialize, Debug)]
struct Figures {
    rounds: usize,
    /// Copying the largest image into a folder, with skopeo.
    copy: Cost,
    rows: Vec<Row>,
    annotation_bytes: usize,
}

#[derive(Serialize, Debug)]
struct Row {
    name: &'static str,
    /// The median of wall and CPU time, the largest memory.
    cost: Cost,
    min_seconds: f64,
    max_seconds: f64,
    aim_seconds: Option<f64>,
}

/// The command.
pub(crate) fn run(args: &GenerateArgs) -> Result<()> {
    packages::ensure(args.yes)?;
    let metadata = Metadata::load()?;
    let binaries = workspace::build(&["cli"], true)?;
    let casemate = workspace::binary(&binaries, "casemate")?;
    let folder = metadata.target_directory.join("bench-generate");
    fs::create_dir_all(&folder).with_context(|| format!("create `{}`", folder.display()))?;
    let registry = Registry::start_on_free_port(&folder)?;
    images::push(&folder, &registry.address(), &[])?;
    let bench = Bench { casemate, folder: &folder, registry: registry.address(), rounds: args.rounds.max(1) };

    let copy = bench.copy()?;
    let mut figures = Figures { rounds: bench.rounds, copy, rows: Vec::new(), annotation_bytes: 0 };
    for case in CASES.iter().filter(|case| args.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))) {
        figures.rows.push(bench.measure(case, copy.seconds)?);
        figures.annotation_bytes = bench.annotation()?;
    }
    if args.json {
        out!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        out!("{}", text(&figures));
    }
    Ok(())
}

struct Bench<'a> {
    casemate: &'a Path,
    folder: &'a Path,
    registry: String,
    rounds: usize,
}

impl Bench<'_> {
    fn measure(&self, case: &Case, copy: f64) -> Result<Row> {
        note!("bench: {}", case.name);
        let resources = self.resources(case)?;
        let mut costs = Vec::new();
        // The first run of these makes keys and whatever else is remembered.
        let unmeasured = usize::from(case.start != Start::Empty);
        for round in 0..self.rounds + unmeasured {
            if case.start == Start::Empty || round == 0 {
                fresh(&self.work())?;
            } else if case.start == Start::Cold {
                let cache = self.work().join("layers-cache.json");
                fs::remove_file(&cache).with_context(|| format!("remove `{}`", cache.display()))?;
            }
            let cost = self.generate(&resources)?;
            if round >= unmeasured {
                costs.push(cost);
            }
        }
        let aim_seconds = case.aim.as_ref().map(|aim| match aim {
            Aim::Seconds(seconds) => *seconds,
            Aim::OfCopy(part) => copy * part,
        });
        let (cost, min_seconds, max_seconds) = Cost::summary(&mut costs);
        Ok(Row { name: case.name, cost, min_seconds, max_seconds, aim_seconds })
    }

    fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    fn generate(&self, resources: &Path) -> Result<Cost> {
        let out = self.work().join("out");
        match fs::remove_dir_all(&out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context("remove `out`"),
            _ => {}
        }
        let mut command = Command::new(self.casemate);
        command.arg("generate").args(["--reference-values", "local", "--workspace-dir"]).arg(self.work());
        command.args(["--pod-image", &self.reference("tiny")]).arg("--output").arg(out).arg(resources);
        process::measure(&mut command)
    }

    /// The control: the whole image, fetched and checked, into a folder.
    fn copy(&self) -> Result<Cost> {
        let mut costs = Vec::new();
        for _ in 0..self.rounds {
            let to = self.folder.join("copy");
            fresh(&to)?;
            let mut command = Command::new("skopeo");
            command.args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
            command.arg(format!("docker://{}", self.reference("big"))).arg(format!("dir:{}", to.display()));
            costs.push(process::measure(&mut command)?);
        }
        Ok(Cost::summary(&mut costs).0)
    }

    fn reference(&self, image: &str) -> String {
        format!("{}/bench/{image}:1", self.registry)
    }

    fn resources(&self, case: &Case) -> Result<PathBuf> {
        let folder = self.folder.join("resources");
        fresh(&folder)?;
        let image = self.reference(case.image);
        let names: Vec<String> = (0..case.workloads).map(|number| format!("web-{number:04}")).collect();
        for (number, names) in names.chunks(DOCUMENTS_PER_FILE).enumerate() {
            let documents: Vec<String> = names.iter().map(|name| deployment(name, &image)).collect();
            let path = folder.join(format!("web-{number:02}.yaml"));
            fs::write(&path, documents.join("---\n")).with_context(|| format!("write `{}`", path.display()))?;
        }
        Ok(folder)
    }

    /// How long the annotation with the initdata of the last run's first pod is.
    fn annotation(&self) -> Result<usize> {
        const KEY: &str = "io.katacontainers.config.hypervisor.cc_init_data:";
        let path = self.work().join("out").join("web-00.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("read `{}`", path.display()))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix(KEY));
        Ok(line.with_context(|| format!("there is no initdata in `{}`", path.display()))?.trim().len())
    }
}

/// An empty folder.
fn fresh(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove `{}`", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(folder).with_context(|| format!("create `{}`", folder.display()))
}

/// A workload as people write them.
fn deployment(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: 2\n  selector:\n    \
         matchLabels:\n      app: {name}\n  template:\n    metadata:\n      labels:\n        app: {name}\n    spec:\n      \
         runtimeClassName: casemate\n      containers:\n        - name: web\n          image: {image}\n          args: \
         [--listen, 0.0.0.0:8080]\n          env:\n            - name: LOG_LEVEL\n              value: info\n          \
         ports:\n            - containerPort: 8080\n          resources:\n            limits:\n              memory: \
         64Mi\n              cpu: 100m\n"
    )
}

fn text(figures: &Figures) -> String {
    let ms = |seconds: f64| format!("{:.1} ms", seconds * 1_000.0);
    let row = |name: &str, cost: &Cost, range: Option<(f64, f64)>, aim: Option<f64>| {
        let against = aim.map_or_else(String::new, |aim| {
            let late = if cost.seconds > aim { "!" } else { "" };
            format!("{late}{:.2} of {}", cost.seconds / aim, ms(aim))
        });
        let range = range.map_or_else(String::new, |(min, max)| format!("[{}..{}]", ms(min), ms(max)));
        let memory = format!("{:.1} MiB", cost.peak_kib as f64 / 1_024.0);
        vec![name.to_owned(), ms(cost.seconds), range, ms(cost.cpu_seconds), memory, against]
    };
    let mut rows = vec![row("copy of the 1 GB image (skopeo)", &figures.copy, None, None)];
    let range = |one: &Row| Some((one.min_seconds, one.max_seconds));
    rows.extend(figures.rows.iter().map(|one| row(one.name, &one.cost, range(one), one.aim_seconds)));
    let mut text = format!("median of {}\n", figures.rounds);
    text.push_str(&table(&["WHAT", "WALL", "MIN..MAX", "CPU", "PEAK MEMORY", "RATIO TO AIM"], rows));
    text.push_str(&format!(
        "\nannotation with the initdata of a pod: {} bytes\n! misses its aim",
        figures.annotation_bytes
    ));
    text
}
