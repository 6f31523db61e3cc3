//! The demonstration of `examples/web`: an ordinary web service and its client. What its README says, done.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Demo;
use super::steps::{self, Run};
use crate::images::ImagesArgs;
use crate::proc;

/// The steps, in order, as the report names them.
pub(super) const STEPS: &[(&str, Run)] = &[
    ("images and registry", |demo| steps::publish_images(demo, &ImagesArgs { web: true, ..ImagesArgs::default() })),
    ("generate", |demo| steps::generate_example(demo, EXAMPLE, &[])),
    ("generate again", generate_again),
    ("up", steps::up),
    ("set", set),
    ("verify", steps::verify),
    ("the client's answers", client),
    ("a browser's answer", browser),
    ("down", steps::down),
    ("nothing is left", steps::nothing_left),
];

/// The example, relative to the repository.
const EXAMPLE: &str = "examples/web";
/// What the client prints once it was answered, and what a browser shows.
const RECORD: &str = "blood pressure 120/80";
const PAGE: &str = "attested code alone";
/// LIMIT: the client asks every two seconds, and the service's program may start after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A second run over what the first wrote changes nothing.
fn generate_again(demo: &mut Demo) -> Result<()> {
    let image = format!("{}/casemate-pod:{}", demo.registry_address()?, demo.metadata.version());
    demo.casemate(&["generate", "--check", "--reference-values", "local", "--pod-image", &image, "resources/"])?;
    Ok(())
}

fn set(demo: &mut Demo) -> Result<()> {
    demo.casemate(&["set", "resources/"])?;
    demo.casemate(&["wait"])?;
    Ok(())
}

/// The client speaks plain HTTP to its own mesh, and that attested TLS to the service's.
fn client(demo: &mut Demo) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let logs = demo.casemate(&["logs", "client", "-c", "client"])?;
        if logs.stdout.contains(RECORD) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the client had no answer in {} s", PATIENCE.as_secs());
        proc::check_interrupt()?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Anybody with the mesh CA that `verify` wrote is served the page; the other port wants a certificate of the mesh.
fn browser(demo: &mut Demo) -> Result<()> {
    let Some(curl) = proc::find_program("curl") else {
        demo.ui.line("SKIPPED: there is no `curl`");
        return Ok(());
    };
    let address = service(demo)?;
    let ask = |port: u16, path: &str| {
        let mut command = Command::new(&curl);
        command.args(["--silent", "--show-error", "--max-time", "10", "--cacert", "verify/mesh-ca.pem"]);
        command.arg("--connect-to").arg(format!("web:{port}:{address}:{port}"));
        command.arg(format!("https://web:{port}{path}")).current_dir(&demo.work);
        demo.ui.line(&format!("$ {}", proc::shown("curl", &command.get_args().collect::<Vec<_>>())));
        command.output().context("run curl")
    };
    let page = ask(8080, "/")?;
    let text = String::from_utf8_lossy(&page.stdout).into_owned();
    text.lines().for_each(|line| demo.ui.line(&format!("  {line}")));
    ensure!(page.status.success() && text.contains(PAGE), "curl got `{text}` ({})", page.status);
    if ask(8081, "/record.txt")?.status.success() {
        bail!("the records were given to somebody without a certificate");
    }
    Ok(())
}

/// The service's address in this deployment.
fn service(demo: &Demo) -> Result<IpAddr> {
    let listed = demo.casemate(&["ps", "--json"])?;
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).context("read what `casemate ps` printed")?;
    let services = listed["services"].as_array().context("`casemate ps --json` lists no services")?;
    let web = services.iter().find(|service| service["name"] == "web").context("there is no service `web`")?;
    web["ip"].as_str().context("the service has no address")?.parse().context("read the service's address")
}
