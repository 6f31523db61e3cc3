//! Initdata: the document whose SHA-256 is a pod's identity (design, section 6).
//!
//! A TOML document with `version`, `algorithm` and a `[data]` table of named texts, as Kata Containers takes it. We use
//! two names: `policy.rego`, which the pod agent enforces, and `casemate.toml`, [`Settings`], which our own code in the
//! pod obeys. The encoding is ours alone and reproducible to the byte; the digest is over those bytes.

// Addresses are data. The sockets beside them in `std` have no place in this crate.
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::binding::Role;
use crate::digest::{DeploymentId, Digest, Identity};
use crate::file::VolumeFile;
use crate::manifest::{Quorum, ReferenceValues, is_dns_name};

/// The annotation in which Kata Containers takes initdata: base64 of gzip of the document.
pub const ANNOTATION: &str = "io.katacontainers.config.hypervisor.cc_init_data";
/// The name of the Rego policy in `[data]`.
pub const POLICY: &str = "policy.rego";
/// The name of our settings in `[data]`.
pub const SETTINGS: &str = "casemate.toml";

/// LIMIT: a Kubernetes object is at most 1.5 MiB in etcd, and annotations at most 256 KiB in all; a document that
/// inflates beyond this was not made by `generate`.
pub const MAX_DOCUMENT: usize = 4 * 1024 * 1024;
/// LIMIT: annotations of one object are at most 256 KiB in all (Kubernetes' `TotalAnnotationSizeLimitB`).
pub const MAX_ANNOTATION: usize = 256 * 1024;

/// LIMIT: Kubernetes takes groups up to this one.
pub const MAX_GROUP: u32 = i32::MAX.unsigned_abs();

/// LIMIT: each entry of egress is a listening socket; a pod with more than this many is a mistake.
pub const MAX_EGRESS: usize = 64;

/// A parsed initdata document together with the exact bytes it was parsed from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initdata {
    document: String,
    data: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: String,
    algorithm: String,
    data: BTreeMap<String, String>,
}

/// What our own code in the pod must know, bound by the pod's identity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The format of this table, 1.
    pub version: u32,
    /// The deployment this pod belongs to.
    pub deployment_id: DeploymentId,
    /// What the pod is.
    pub role: Role,
    /// Whether the mesh sidecar is part of the pod.
    #[serde(default)]
    pub mesh: bool,
    /// For a workload: the identity of its Coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coordinator: Option<Identity>,
    /// TCP ports that the firewall opens as they are: for services that do their own attested TLS, and for probes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_ports: Vec<u16>,
    /// The group of files of ConfigMaps and Secrets (`fsGroup`); root's without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<u32>,
    /// Whose signatures make a manifest.
    pub owners: Quorum,
    /// What Evidence is acceptable from the Coordinator; for a Coordinator, from the peers it recovers from.
    pub reference_values: ReferenceValues,
    /// ConfigMap and Secret volumes: volume name, then file name relative to the volume, then the digest of its content
    /// with its mode.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, BTreeMap<String, VolumeFile>>,
    /// Ingress that the pod's firewall opens; everything else stays closed. Empty for a Coordinator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<Ingress>,
    /// Remotes that the mesh connects to for the pod's programs, with the pod's certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<Egress>,
}

/// One port on which the mesh sidecar ends TLS.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingress {
    /// A name for logs and metrics.
    pub name: String,
    /// The port of the pod, and of the workload on its loopback.
    pub port: u16,
    /// Whether the caller must show a certificate of the mesh.
    pub client_certificate: bool,
}

/// One remote that the mesh sidecar connects to: programs of the pod talk to `listen` in clear, and the mesh talks to the
/// remote over mutual TLS.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// A name for logs.
    pub name: String,
    /// Where the pod's programs connect to: an address of the loopback interface, which is the pod's own.
    pub listen: SocketAddr,
    /// The remote's host name. It only finds somebody: names are resolved by the host.
    pub host: String,
    /// The remote's port.
    pub port: u16,
    /// The DNS name that the remote's certificate must carry, which decides.
    pub certificate_name: String,
}

impl Egress {
    /// Why this cannot be served.
    fn fault(&self) -> Option<&'static str> {
        match self {
            _ if !self.listen.ip().is_loopback() => Some("listens outside of the pod"),
            _ if self.listen.port() == 0 || self.port == 0 => Some("has no port"),
            _ if !is_dns_name(&self.host) => Some("leads to no host name"),
            _ if !is_dns_name(&self.certificate_name) => Some("names no certificate"),
            _ => None,
        }
    }
}

/// A document that is no initdata of ours.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitdataError {
    /// Longer than a limit.
    #[error("initdata {what} of more than {limit} bytes")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The annotation is not base64 of gzip.
    #[error("initdata annotation is not {expected}")]
    Encoding {
        /// The encoding that failed.
        expected: &'static str,
    },
    /// Not TOML, or with fields missing or unknown.
    #[error("initdata: {reason}")]
    Malformed {
        /// The TOML parser's words.
        reason: String,
    },
    /// Another version or hash algorithm.
    #[error("initdata {field} is `{got}`, expected `{expected}`")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A name that must be in `[data]` is missing.
    #[error("initdata has no `{name}`")]
    Missing {
        /// The missing name.
        name: &'static str,
    },
}

impl Initdata {
    /// Builds a document from a policy and settings. Equal inputs give equal bytes.
    pub fn build(policy: &str, settings: &Settings) -> Result<Self, InitdataError> {
        let malformed = |error: toml::ser::Error| InitdataError::Malformed { reason: error.to_string() };
        let settings = toml::to_string(settings).map_err(malformed)?;
        let data = BTreeMap::from([(POLICY.to_owned(), policy.to_owned()), (SETTINGS.to_owned(), settings)]);
        let document = Document { version: "0.1.0".to_owned(), algorithm: "sha256".to_owned(), data: data.clone() };
        let document = toml::to_string(&document).map_err(malformed)?;
        Ok(Self { document, data })
    }

    /// Parses a document.
    pub fn parse(document: &str) -> Result<Self, InitdataError> {
        if document.len() > MAX_DOCUMENT {
            return Err(InitdataError::TooLong { what: "document", limit: MAX_DOCUMENT });
        }
        let parsed: Document = toml::from_str(document)
            .map_err(|error| InitdataError::Malformed { reason: error.message().to_owned() })?;
        for (field, got, expected) in
            [("version", &parsed.version, "0.1.0"), ("algorithm", &parsed.algorithm, "sha256")]
        {
            if got != expected {
                return Err(InitdataError::Unsupported { field, got: got.chars().take(80).collect(), expected });
            }
        }
        Ok(Self { document: document.to_owned(), data: parsed.data })
    }

    /// The document's exact text.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// The SHA-256 of the document: the pod's identity.
    pub fn identity(&self) -> Identity {
        Identity(Digest::of(self.document.as_bytes()))
    }

    /// The Rego policy.
    pub fn policy(&self) -> Result<&str, InitdataError> {
        self.data.get(POLICY).map(String::as_str).ok_or(InitdataError::Missing { name: POLICY })
    }

    /// Our settings.
    pub fn settings(&self) -> Result<Settings, InitdataError> {
        let text = self.data.get(SETTINGS).ok_or(InitdataError::Missing { name: SETTINGS })?;
        let settings: Settings = toml::from_str(text)
            .map_err(|error| InitdataError::Malformed { reason: format!("{SETTINGS}: {}", error.message()) })?;
        if settings.version != 1 {
            return Err(InitdataError::Unsupported {
                field: "casemate.toml version",
                got: settings.version.to_string(),
                expected: "1",
            });
        }
        if let Some(group) = settings.fs_group.filter(|group| *group > MAX_GROUP) {
            let reason = format!("{SETTINGS}: fs_group is {group}, and groups go up to {MAX_GROUP}");
            return Err(InitdataError::Malformed { reason });
        }
        let malformed = |reason: String| InitdataError::Malformed { reason: format!("{SETTINGS}: {reason}") };
        if settings.egress.len() > MAX_EGRESS {
            return Err(malformed(format!("more than {MAX_EGRESS} entries of egress")));
        }
        if let Some((egress, fault)) = settings.egress.iter().find_map(|egress| Some((egress, egress.fault()?))) {
            return Err(malformed(format!("egress `{}` {fault}", egress.name)));
        }
        settings
            .reference_values
            .validate()
            .map_err(|error| InitdataError::Malformed { reason: format!("{SETTINGS}: {error}") })?;
        Ok(settings)
    }

    /// The value of [`ANNOTATION`].
    pub fn to_annotation(&self) -> String {
        use std::io::Write as _;
        // No file name and no time in the gzip header, so that the annotation is reproducible too.
        let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
        gzip.write_all(self.document.as_bytes()).expect("a Vec takes every byte");
        STANDARD.encode(gzip.finish().expect("a Vec takes every byte"))
    }

    /// Parses the value of [`ANNOTATION`].
    pub fn from_annotation(annotation: &str) -> Result<Self, InitdataError> {
        if annotation.len() > MAX_ANNOTATION {
            return Err(InitdataError::TooLong { what: "annotation", limit: MAX_ANNOTATION });
        }
        let gzip = STANDARD.decode(annotation.trim()).map_err(|_| InitdataError::Encoding { expected: "base64" })?;
        let mut document = String::new();
        let limit = MAX_DOCUMENT as u64 + 1;
        flate2::read::GzDecoder::new(gzip.as_slice())
            .take(limit)
            .read_to_string(&mut document)
            .map_err(|_| InitdataError::Encoding { expected: "gzip of UTF-8 text" })?;
        Self::parse(&document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            version: 1,
            deployment_id: DeploymentId::from_bytes([7; 16]),
            role: Role::Workload,
            mesh: true,
            coordinator: Some(Identity(Digest::of(b"coordinator"))),
            open_ports: vec![9102],
            fs_group: None,
            owners: Quorum { threshold: 1, keys: vec![] },
            reference_values: ReferenceValues::default(),
            files: BTreeMap::from([(
                "config".into(),
                BTreeMap::from([("labels.txt".into(), Digest::of(b"x").into())]),
            )]),
            ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: false }],
            egress: vec![],
        }
    }

    fn egress() -> Egress {
        Egress {
            name: "backend".into(),
            listen: "127.0.0.2:4001".parse().unwrap(),
            host: "backend.default".into(),
            port: 4001,
            certificate_name: "backend".into(),
        }
    }

    #[test]
    fn egress_is_in_the_document_only_where_there_is_some() {
        let plain = Initdata::build("p", &settings()).unwrap();
        assert!(!plain.document().contains("egress"), "{}", plain.document());
        let v6 = Egress { name: "v6".into(), listen: "[::1]:4001".parse().unwrap(), ..egress() };
        let with = Settings { egress: vec![egress(), v6], ..settings() };
        let initdata = Initdata::build("p", &with).unwrap();
        assert_eq!(Initdata::parse(initdata.document()).unwrap().settings().unwrap(), with);
        assert_ne!(initdata.identity(), plain.identity());
    }

    #[test]
    fn egress_that_leaves_the_pod_or_leads_nowhere_is_refused() {
        let listen = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (egress, fault) in [
            (Egress { listen: listen("10.0.0.1:4001"), ..egress() }, "listens outside of the pod"),
            (Egress { listen: listen("0.0.0.0:4001"), ..egress() }, "listens outside of the pod"),
            (Egress { listen: listen("[::]:4001"), ..egress() }, "listens outside of the pod"),
            (Egress { listen: listen("[::ffff:127.0.0.1]:4001"), ..egress() }, "listens outside of the pod"),
            (Egress { listen: listen("127.0.0.2:0"), ..egress() }, "has no port"),
            (Egress { port: 0, ..egress() }, "has no port"),
            (Egress { host: "under_score".into(), ..egress() }, "leads to no host name"),
            (Egress { certificate_name: String::new(), ..egress() }, "names no certificate"),
        ] {
            let document = Initdata::build("p", &Settings { egress: vec![egress], ..settings() }).unwrap();
            let error = document.settings().unwrap_err().to_string();
            assert!(error.contains(&format!("egress `backend` {fault}")), "{error}");
        }
        let many = Initdata::build("p", &Settings { egress: vec![egress(); MAX_EGRESS + 1], ..settings() }).unwrap();
        assert!(many.settings().unwrap_err().to_string().contains("more than 64 entries"));
    }

    #[test]
    fn a_document_survives_annotation_and_parsing() {
        let initdata = Initdata::build("package agent_policy\n", &settings()).unwrap();
        let again = Initdata::from_annotation(&initdata.to_annotation()).unwrap();
        assert_eq!(again, initdata);
        assert_eq!(again.identity(), initdata.identity());
        assert_eq!(again.settings().unwrap(), settings());
        assert_eq!(again.policy().unwrap(), "package agent_policy\n");
    }

    #[test]
    fn modes_and_the_group_of_files_are_settings() {
        let mut modes = settings();
        modes.fs_group = Some(2000);
        let file = VolumeFile::new(Digest::of(b"y"), 0o400).unwrap();
        modes.files.get_mut("config").unwrap().insert("a-key".into(), file);
        modes.files.insert("other".into(), [("x".to_owned(), Digest::of(b"z").into())].into());
        let initdata = Initdata::build("p", &modes).unwrap();
        assert_eq!(Initdata::parse(initdata.document()).unwrap().settings().unwrap(), modes);
        let plain = Initdata::build("p", &settings()).unwrap();
        assert!(!plain.document().contains("fs_group") && !plain.document().contains("mode"));
        for (from, to) in [
            ("fs_group = 2000", "fs_group = 2147483648"),
            ("fs_group = 2000", "fs_group = -1"),
            ("fs_group = 2000", "fs_group = \"2000\""),
            ("mode = \"0400\"", "mode = \"4755\""),
            ("mode = \"0400\"", "mode = 256"),
            ("mode = \"0400\"", "mode = \"0400\"\nuser = 1"),
        ] {
            let document = initdata.document().replace(from, to);
            assert_ne!(document, initdata.document(), "{from}: {document}");
            let error = Initdata::parse(&document).unwrap().settings().unwrap_err();
            assert!(matches!(error, InitdataError::Malformed { .. }), "{to}: {error}");
        }
    }

    #[test]
    fn equal_inputs_give_equal_bytes() {
        let build = || Initdata::build("p", &settings()).unwrap().to_annotation();
        assert_eq!(build(), build());
    }

    #[test]
    fn any_change_changes_the_identity() {
        let base = Initdata::build("p", &settings()).unwrap().identity();
        assert_ne!(Initdata::build("q", &settings()).unwrap().identity(), base);
        let mut other = settings();
        other.deployment_id = DeploymentId::from_bytes([8; 16]);
        assert_ne!(Initdata::build("p", &other).unwrap().identity(), base);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_inflated() {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![b' '; 2 * MAX_DOCUMENT]).unwrap();
        let annotation = STANDARD.encode(gzip.finish().unwrap());
        assert_eq!(
            Initdata::from_annotation(&annotation),
            Err(InitdataError::TooLong { what: "document", limit: MAX_DOCUMENT })
        );
    }

    #[test]
    fn foreign_documents_are_refused_with_the_field() {
        let cases = [
            ("version = \"0.2.0\"\nalgorithm = \"sha256\"\n[data]\n", "initdata version is `0.2.0`, expected `0.1.0`"),
            (
                "version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n",
                "initdata algorithm is `sha384`, expected `sha256`",
            ),
        ];
        for (document, message) in cases {
            assert_eq!(Initdata::parse(document).unwrap_err().to_string(), message);
        }
        assert!(Initdata::parse("version = 1").is_err());
        assert!(Initdata::from_annotation("!!").is_err());
        assert!(Initdata::from_annotation("aGVsbG8=").is_err());
    }
}
