//! Names of images, by the grammar of the distribution project's `reference` package, which the kubelet goes by.

/// A name in its parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Image<'a> {
    /// `us-central1-docker.pkg.dev`; empty where the name begins with a repository.
    pub(crate) host: &'a str,
    /// `project/repository/web`.
    pub(crate) path: &'a str,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// Takes a name apart, whether it is right or not.
    pub(crate) fn split(name: &'a str) -> Self {
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (name, None),
        };
        let (host, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("", name),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        Self { host, path, tag, digest }
    }

    /// Whether what is pulled is decided by the name.
    pub(crate) fn is_pinned(&self) -> bool {
        self.digest.is_some()
    }

    /// The location, project and repository of Artifact Registry: `us-central1`, `acme`, `web`.
    pub(crate) fn artifact_registry(&self) -> Option<(&'a str, &'a str, &'a str)> {
        let location = self.host.strip_suffix("-docker.pkg.dev")?;
        let mut parts = self.path.split('/');
        Some((location, parts.next()?, parts.next()?))
    }
}

/// LIMIT: `NameTotalLengthMax` of the grammar.
const MAX_NAME: usize = 255;
/// LIMIT: a tag has at most 128 characters.
const MAX_TAG: usize = 128;

/// Why the kubelet says `InvalidImageName`, and what to do about it. `None`: the name is right.
pub(crate) fn fault(name: &str) -> Option<(&'static str, &'static str)> {
    const FILL: &str = "fill in what the template left open";
    if name.is_empty() {
        return Some(("it is empty", "name an image"));
    }
    if name.contains(['<', '>']) {
        return Some(("angle brackets of a template are left in it", FILL));
    }
    if name.contains("${") || name.contains("$(") || name.contains("{{") || name.contains("}}") {
        return Some(("a variable of a template is left in it, and Kubernetes fills none in here", FILL));
    }
    if name.contains("://") {
        return Some(("it begins with a scheme, which names of images have not", "leave out `https://`"));
    }
    if name.contains("//") {
        return Some(("it has a double slash", "a variable between the slashes was probably empty: fill it in"));
    }
    if name.chars().any(char::is_whitespace) {
        return Some(("it has white space in it", "remove it"));
    }
    let image = Image::split(name);
    if image.path.len() + image.host.len() >= MAX_NAME {
        return Some(("it has more than 255 characters", "shorten it"));
    }
    if image.path.chars().any(char::is_uppercase) {
        return Some(("repositories have no upper-case letters", "write it in lower case"));
    }
    if image.path.split('/').any(|part| !is_component(part)) {
        return Some((
            "its parts are lower-case letters and digits with single `.`, `_`, `__` or hyphens between them",
            "correct it",
        ));
    }
    if image.tag.is_some_and(|tag| !is_tag(tag)) {
        return Some((
            "its tag is empty, too long, or has other characters than letters, digits and `._-`",
            "correct it",
        ));
    }
    if image.digest.is_some_and(|digest| !is_digest(digest)) {
        return Some(("its digest is not `sha256:` and 64 hexadecimal digits", "copy it whole"));
    }
    None
}

fn is_component(part: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separator = String::new();
    let ends = part.starts_with(word) && part.ends_with(word);
    ends && part.chars().all(|c| {
        if word(c) {
            separator.clear();
            return true;
        }
        separator.push(c);
        matches!(separator.as_str(), "." | "_" | "__") || separator.chars().all(|c| c == '-')
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=MAX_TAG).contains(&tag.len()) && tag.starts_with(word) && tag.chars().all(|c| word(c) || ".-".contains(c))
}

fn is_digest(digest: &str) -> bool {
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    digest.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && hex(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let image = Image::split("us-central1-docker.pkg.dev/acme/web/api:1.2@sha256:00");
        assert_eq!(image.host, "us-central1-docker.pkg.dev");
        assert_eq!((image.path, image.tag, image.digest), ("acme/web/api", Some("1.2"), Some("sha256:00")));
        assert_eq!(image.artifact_registry(), Some(("us-central1", "acme", "web")));
        let image = Image::split("localhost:5000/web");
        assert_eq!((image.host, image.path, image.tag), ("localhost:5000", "web", None));
        assert_eq!(Image::split("library/nginx:1").host, "");
        assert_eq!(Image::split("gcr.io/acme/web").artifact_registry(), None);
    }

    #[test]
    fn right_names_have_no_fault() {
        let digest = format!("web@sha256:{}", "0a".repeat(32));
        for name in [
            "nginx",
            "nginx:1.29",
            "localhost:5000/casemate-pod:0",
            "us-central1-docker.pkg.dev/acme-1/web/api:1.2.3-rc.1_x",
            "registry.example:8443/a/b__c/d---e.f_g",
            "ghcr.io/Acme/web".to_lowercase().as_str(),
            &digest,
            "HOST.example/web",
        ] {
            assert_eq!(fault(name), None, "{name}");
        }
    }

    #[test]
    fn wrong_names_have_the_fault_that_helps_most() {
        let short = "web@sha256:00";
        let long = format!("web:{}", "x".repeat(129));
        for (name, said) in [
            ("", "empty"),
            ("gcr.io/<PROJECT_ID>/web:1", "angle brackets"),
            ("us-docker.pkg.dev/${PROJECT}/web", "variable"),
            ("us-docker.pkg.dev/{{ .Project }}/web", "variable"),
            ("https://registry.example/web", "scheme"),
            ("us-docker.pkg.dev//web/api", "double slash"),
            ("registry.example/my web", "white space"),
            (" nginx", "white space"),
            ("registry.example/Web", "upper-case"),
            ("registry.example/web/", "parts"),
            ("registry.example/web..x", "parts"),
            ("registry.example/-web", "parts"),
            ("registry.example/we?b", "parts"),
            ("web:", "tag"),
            ("web:-1", "tag"),
            (&long, "tag"),
            (short, "digest"),
        ] {
            let (why, _) = fault(name).unwrap_or_else(|| panic!("{name}: no fault"));
            assert!(why.contains(said), "{name}: {why}");
        }
    }
}
