//! Where images are pushed: `REGISTRY[/REPO][:TAG]`, and with what.

use std::fmt;
use std::net::IpAddr;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result};

use super::Built;
use crate::failure::unknown;
use crate::proc;

/// A place in a registry for all images: each goes to `REGISTRY/REPO/NAME:TAG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Destination {
    /// `HOST` or `HOST:PORT`.
    registry: String,
    /// What comes before an image's name; often empty.
    repository: String,
    /// Another tag than the version's.
    tag: Option<String>,
}

/// LIMIT: a tag has at most this many characters (OCI distribution specification 1.1, pulling manifests).
const MAX_TAG: usize = 128;

impl Destination {
    /// The root of a registry.
    pub(crate) fn root(registry: impl Into<String>) -> Self {
        Self { registry: registry.into(), repository: String::new(), tag: None }
    }

    /// The reference of an image there.
    pub(crate) fn reference(&self, image: &Built) -> String {
        let slash = if self.repository.is_empty() { "" } else { "/" };
        let tag = self.tag.as_ref().unwrap_or(&image.tag);
        format!("{}/{}{slash}{}:{tag}", self.registry, self.repository, image.name)
    }

    /// Whether it is this very machine's, which is spoken to in plain HTTP.
    pub(crate) fn is_loopback(&self) -> bool {
        let registry = &self.registry;
        let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => registry.rsplit_once(':').map_or(registry.as_str(), |(host, _)| host),
        };
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.repository.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}", self.registry, self.repository)
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (registry, rest) = text.split_once('/').unwrap_or((text, ""));
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if registry.is_empty() || !registry.chars().all(known) {
            return Err(format!("`{registry}` is no registry: HOST or HOST:PORT"));
        }
        let part = |part: &str| {
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(word) && part.ends_with(word) && part.chars().all(|c| word(c) || "._-".contains(c))
        };
        if !repository.is_empty() && !repository.split('/').all(part) {
            return Err(format!(
                "`{repository}` is no repository: lower-case letters, digits and `._-` between slashes"
            ));
        }
        if let Some(tag) = tag {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let fits = tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-');
            if !fits || tag.len() > MAX_TAG {
                return Err(format!("`{tag}` is no tag"));
            }
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag: tag.map(str::to_owned) })
    }
}

/// Pushes images with skopeo, which keeps their digests.
pub(crate) fn push(images: &[Built], to: &Destination) -> Result<()> {
    let Some(skopeo) = proc::find_program("skopeo") else {
        return Err(unknown("there is no `skopeo` to push images with", "`cargo xtask packages` installs it"));
    };
    for image in images {
        let mut command = Command::new(&skopeo);
        // The images carry no signatures; their digests are in the manifest that owners sign.
        command.args(["copy", "--quiet", "--insecure-policy", "--preserve-digests"]);
        if to.is_loopback() {
            command.arg("--dest-tls-verify=false");
        }
        command.arg(format!("oci:{}:{}", image.layout.display(), image.tag));
        command.arg(format!("docker://{}", to.reference(image)));
        proc::run(&mut command).with_context(|| format!("push image `{}` to `{to}`", image.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::oci::{self, Entry, Image, Layer};
    use super::*;

    fn image(name: &str) -> Built {
        Built { name: name.to_owned(), tag: "1.2.3".to_owned(), digest: String::new(), layout: "l".into(), sbom: None }
    }

    #[test]
    fn a_destination_is_a_registry_a_repository_and_a_tag() {
        for (text, expected) in [
            ("127.0.0.1:5000", "127.0.0.1:5000/casemate-pod:1.2.3"),
            ("[::1]:5000", "[::1]:5000/casemate-pod:1.2.3"),
            ("registry.example", "registry.example/casemate-pod:1.2.3"),
            ("registry.example/team/casemate", "registry.example/team/casemate/casemate-pod:1.2.3"),
            ("registry.example/casemate:v2", "registry.example/casemate/casemate-pod:v2"),
            ("registry.example:8443/casemate:v2", "registry.example:8443/casemate/casemate-pod:v2"),
        ] {
            let destination: Destination = text.parse().expect(text);
            assert_eq!(destination.reference(&image("casemate-pod")), expected);
        }
        for text in [
            "",
            "/casemate",
            "https://registry.example/casemate",
            "<REGION>-docker.pkg.dev/p/r",
            "registry.example/Casemate",
            "registry.example//casemate",
            "registry.example/casemate/",
            "registry.example/casemate:",
            "registry.example/casemate:-v",
            "registry.example/casemate@sha256:00",
            "registry example/casemate",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_registries_are_spoken_to_in_plain_http() {
        for here in ["127.0.0.1:5000", "127.9.9.9", "localhost:5000", "localhost", "[::1]:5000", "localhost:5000/a:b"] {
            assert!(here.parse::<Destination>().expect(here).is_loopback(), "{here}");
        }
        for away in
            ["registry.example:5000", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example:80", "[::2]:5000"]
        {
            assert!(!away.parse::<Destination>().expect(away).is_loopback(), "{away}");
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
            layers: vec![Layer::pack(&[Entry::file("/program", program, 0o755)], 1).expect("packed")],
            entrypoint: vec!["/program".to_owned()],
            user: "65532:65532".to_owned(),
            home: "/".to_owned(),
            description: String::new(),
        };
        let layout = dir.path().join("layout");
        let digest = oci::write_layout(&image, &layout).expect("written");
        let registry = crate::registry::Registry::start_on_free_port(dir.path()).expect("started");
        let built = Built { name: image.name, tag: image.tag, digest, layout, sbom: None };
        push(std::slice::from_ref(&built), &Destination::root(registry.address())).expect("pushed");
        let elsewhere: Destination = format!("{}/team/casemate:v2", registry.address()).parse().expect("a place");
        push(std::slice::from_ref(&built), &elsewhere).expect("pushed");

        let inspect = |reference: &str| {
            let text = proc::output(Command::new(&skopeo).args(["inspect", "--tls-verify=false", reference]));
            serde_json::from_str::<serde_json::Value>(&text.expect("inspected")).expect("json")
        };
        let by_tag = inspect(&format!("docker://{}/test:1.2.3", registry.address()));
        assert_eq!(by_tag["Digest"], built.digest.as_str());
        assert_eq!((&by_tag["Architecture"], &by_tag["Os"]), (&"amd64".into(), &"linux".into()));
        let again = inspect(&format!("docker://{}/team/casemate/test:v2", registry.address()));
        assert_eq!(again["Digest"], built.digest.as_str());
        inspect(&format!("docker://{}/test@{}", registry.address(), built.digest));
    }
}
