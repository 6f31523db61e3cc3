//! Names of images, as docker and containerd read them.
//!
//! A reader of our own, by hand: compiling the regular expression of the grammar takes longer than all else that a
//! run does whose images are known.

use protocol::text::quoted;

use super::RegistryError;
use super::document::is_sha256;

/// LIMIT: a reference is a name of 255, a tag of 128 and a digest of 71 characters.
const MAX_REFERENCE: usize = 768;
/// LIMIT: registry and repository together.
const MAX_NAME: usize = 255;
/// LIMIT: a tag.
const MAX_TAG: usize = 128;
/// The registry of a name without one.
const DOCKER: &str = "docker.io";

/// `[registry/]repository[:tag][@sha256:…]`, with what docker adds where a part is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self, RegistryError> {
        let refuse = |reason: String| RegistryError::Reference { reference: quoted(text, 80), reason };
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            let reference = text.chars().filter(|c| !c.is_control()).take(80).collect();
            let reason = format!("it holds the control character U+{:04X}", u32::from(c));
            return Err(RegistryError::Reference { reference, reason });
        }
        if text.len() > MAX_REFERENCE {
            return Err(refuse(format!("longer than {MAX_REFERENCE} characters")));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(refuse(format!("it begins with `{scheme}://`; write registry and name alone")));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_sha256(digest) => (rest, Some(digest.to_owned())),
            Some((_, digest)) if digest.starts_with("sha256:") => {
                return Err(refuse("its sha256 digest is not 64 lower-case hex digits".into()));
            }
            Some(_) => return Err(refuse("only sha256 digests are supported".into())),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before belongs to the registry's port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest.split_at(name_end).1.split_once(':') {
            Some((last, tag)) => (rest.split_at(name_end + last.len()).0, Some(tag.to_owned())),
            None => (rest, None),
        };
        if let Some(tag) = &tag {
            let first = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            let known = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
            if !first || !known || tag.len() > MAX_TAG {
                return Err(refuse(format!("its tag is not up to {MAX_TAG} letters, digits, `_`, `.` and `-`")));
            }
        }
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
            Some(_) => (DOCKER, name.to_owned()),
            None => (DOCKER, format!("library/{name}")),
        };
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(refuse(format!("registry and name are longer than {MAX_NAME} characters")));
        }
        if name.is_empty() {
            return Err(refuse("it has no name".into()));
        }
        if !is_registry(registry) {
            return Err(refuse(format!("`{registry}` is no host of a registry")));
        }
        if let Some(part) = repository.split('/').find(|part| !is_component(part)) {
            let upper = part.bytes().any(|byte| byte.is_ascii_uppercase());
            return Err(refuse(if upper {
                format!("`{part}`: names of images are in lower case")
            } else {
                format!("`{part}` is not lower-case letters and digits with single `.`, `_`, `__` or `-` between")
            }));
        }
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        // Docker's hub answers to three names.
        let registry = if registry == "index.docker.io" { DOCKER } else { registry };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// `docker.io`, `localhost:5000`.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that speaks for the registry.
    pub(super) fn host(&self) -> &str {
        if self.registry == DOCKER { "index.docker.io" } else { &self.registry }
    }

    /// `library/debian`.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// `latest` where there is neither tag nor digest.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub(super) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

/// Whether what stands before the first slash is a registry, and not a part of a name on docker's hub.
fn is_host(text: &str) -> bool {
    text == "localhost" || text.contains(['.', ':']) || text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A name or an address, and a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or("?"))),
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return false;
    }
    if text.starts_with('[') {
        return host.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Lower-case letters and digits in runs, with one separator between two runs: `.`, `_`, `__`, or dashes.
fn is_component(text: &str) -> bool {
    let is_run = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().copied().is_some_and(is_run) || !bytes.last().copied().is_some_and(is_run) {
        return false;
    }
    // What is left between the runs.
    let mut separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_docker_reads_them() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let cases = [
            ("debian", "docker.io", "library/debian", Some("latest"), None),
            ("debian:12", "docker.io", "library/debian", Some("12"), None),
            ("me/app", "docker.io", "me/app", Some("latest"), None),
            ("docker.io/library/debian:12", "docker.io", "library/debian", Some("12"), None),
            ("index.docker.io/me/app", "docker.io", "me/app", Some("latest"), None),
            ("localhost/app", "localhost", "app", Some("latest"), None),
            ("localhost:5000/app:1", "localhost:5000", "app", Some("1"), None),
            ("[::1]:5000/a/b__c/d--e.f:V_1.2-x", "[::1]:5000", "a/b__c/d--e.f", Some("V_1.2-x"), None),
            ("Registry/app", "Registry", "app", Some("latest"), None),
            ("ghcr.io/me/app@DIGEST", "ghcr.io", "me/app", None, Some(digest.as_str())),
            ("ghcr.io/me/app:1@DIGEST", "ghcr.io", "me/app", Some("1"), Some(digest.as_str())),
        ];
        for (text, registry, repository, tag, wanted) in cases {
            let reference = Reference::parse(&text.replace("DIGEST", &digest)).unwrap();
            let got = (reference.registry(), reference.repository(), reference.tag(), reference.digest());
            assert_eq!(got, (registry, repository, tag, wanted), "{text}");
        }
        assert_eq!(Reference::parse("debian").unwrap().host(), "index.docker.io");
    }

    #[test]
    fn what_is_none_is_refused_with_the_part_that_is_wrong() {
        let long = format!("a/{}", "b".repeat(300));
        let cases = [
            ("", "no name"),
            (":1", "no name"),
            ("@sha256:00", "64 lower-case hex"),
            ("a b", "`a b`"),
            ("a/", "``"),
            ("/a", "``"),
            ("a//b", "``"),
            ("App", "lower case"),
            ("me/App", "lower case"),
            ("a..b", "`a..b`"),
            ("a___b", "`a___b`"),
            ("a._b", "`a._b`"),
            ("-a", "`-a`"),
            ("a-", "`a-`"),
            ("a\u{e9}", "lower-case letters"),
            ("a:", "tag"),
            ("a:.1", "tag"),
            ("a:1:2", "tag"),
            ("a@md5:00", "only sha256"),
            ("a@", "only sha256"),
            ("a@sha256:00@sha256:00", "64 lower-case hex"),
            ("a.b:port/c", "host of a registry"),
            ("a.b:70000/c", "host of a registry"),
            ("a.b:+1/c", "host of a registry"),
            ("-a.b/c", "host of a registry"),
            ("a..b/c", "host of a registry"),
            ("[::1/c", "host of a registry"),
            ("[::g]:1/c", "host of a registry"),
            ("[::1]x/c.d", "host of a registry"),
            ("https://a.b/c", "`https://`"),
            (long.as_str(), "longer than 255"),
        ];
        for (text, part) in cases {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let tag = format!("a:{}", "t".repeat(MAX_TAG + 1));
        assert!(Reference::parse(&tag).is_err());
        assert!(Reference::parse(&"x".repeat(1000)).unwrap_err().to_string().len() < 200);
    }
}
