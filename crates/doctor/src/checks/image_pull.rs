//! `ErrImagePull` and `ImagePullBackOff`: what the registry, or the way to it, said.

use super::prelude::*;
use crate::image::Image;

const WAITING: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ErrImageNeverPull"];

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    for (pod, events) in troubled(bundle, out)? {
        for container in containers(pod).into_iter().filter(|container| WAITING.contains(&container.waits_for())) {
            let image = container.image();
            // The status says only that it waits; the event of the failed pull says why.
            let pull = events.iter().rev().map(|event| text(event, "/message"));
            let said =
                pull.into_iter().find(|message| message.starts_with("Failed to pull") && message.contains(image));
            let said = said.unwrap_or_else(|| text(container.status, "/state/waiting/message"));
            let what = format!("The image `{}` cannot be pulled: {{}}", quote(image));
            let cause = cause(said);
            let what = what.replace("{}", cause.what());
            let finding = Finding::problem(workload_of(pod), what);
            let finding = finding.why(format!("{}: {}", container.waits_for(), quote(&said.replace(image, "…"))));
            out.push(advise(finding, cause, pod, &Image::split(image)));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    Name,
    Authority,
    Rights,
    Throttled,
    Platform,
    PlainHttp,
    Missing,
    Space,
    Network,
    Never,
    Unknown,
}

impl Cause {
    const fn what(self) -> &'static str {
        match self {
            Self::Name => "the registry's name does not resolve on the node.",
            Self::Authority => "the node does not trust the registry's certificate.",
            Self::Rights => "the registry does not let the node in, or has no such repository.",
            Self::Throttled => "the registry wants fewer requests.",
            Self::Platform => "it is not built for the node's processor.",
            Self::PlainHttp => "the registry speaks plain HTTP.",
            Self::Missing => "the registry has no such tag or digest.",
            Self::Space => "the node's disk is full.",
            Self::Network => "the registry does not answer the node.",
            Self::Never => "it is not on the node, and the pod wants it not pulled.",
            Self::Unknown => "see what was said.",
        }
    }
}

/// What words mean, of containerd, of the kubelet and of registries. The first that fits counts: a name that does not
/// resolve is also an address that does not answer.
fn cause(said: &str) -> Cause {
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["no such host", "server misbehaving", "name resolution"]) {
        Cause::Name
    } else if has(&["x509", "certificate signed by unknown"]) {
        Cause::Authority
    } else if has(&["gave http response to https"]) {
        Cause::PlainHttp
    } else if has(&["toomanyrequests", "429 too many", "rate limit"]) {
        Cause::Throttled
    } else if has(&[
        "403 forbidden",
        "401 unauthorized",
        "forbidden",
        "unauthorized",
        "authorization failed",
        "denied",
        "no basic auth",
    ]) {
        Cause::Rights
    } else if has(&["no match for platform", "no matching manifest", "exec format error"]) {
        Cause::Platform
    } else if has(&["not found", "manifest unknown", "name unknown"]) {
        Cause::Missing
    } else if has(&["no space left"]) {
        Cause::Space
    } else if has(&["timeout", "deadline exceeded", "connection refused", "no route to host", "connection reset"]) {
        Cause::Network
    } else if has(&["imagepullpolicy", "never", "not present with pull policy"]) {
        Cause::Never
    } else {
        Cause::Unknown
    }
}

fn advise(finding: Finding, cause: Cause, pod: &Value, image: &Image<'_>) -> Finding {
    let host = shell(if image.host.is_empty() { "docker.io" } else { image.host });
    let name = format!("{}/{}", if image.host.is_empty() { "docker.io" } else { image.host }, image.path);
    match cause {
        Cause::Rights => rights(finding, pod, image),
        Cause::Missing => match image.artifact_registry() {
            Some(_) => finding
                .mend("push it, or correct the tag; then generate again, which pins the digest")
                .run(format!("gcloud artifacts docker tags list {}", shell(&name))),
            None => finding
                .mend("push it, or correct the tag; then generate again, which pins the digest")
                .run("casemate generate --reference-values PLATFORM resources/"),
        },
        Cause::Name => finding
            .mend(
                "correct the host in the image's name, or the DNS of the nodes (a private zone, Private Google Access)",
            )
            .run(format!("getent hosts {host}   # on the node")),
        Cause::Authority => finding
            .mend("install the registry's authority on the nodes; where guests pull, it must be in the guest image")
            .run(format!("mkdir -p /etc/containerd/certs.d/{host}   # on the node: hosts.toml with `ca`")),
        Cause::PlainHttp => finding
            .mend("give the registry a certificate; guests pull over TLS alone")
            .run(format!("casemate generate --registry-mirror {host}=https://MIRROR resources/")),
        Cause::Throttled => finding.mend("log in, or pull from a mirror of your own").run(secret(pod, &host)),
        Cause::Platform => finding
            .mend("build it for linux/amd64: confidential guests run on nothing else here")
            .run("docker buildx build --platform linux/amd64 --push -t IMAGE ."),
        Cause::Space => finding
            .mend("free space on the node, or give it a larger disk")
            .run(format!("kubectl describe node {}", shell(text(pod, "/spec/nodeName")))),
        Cause::Network => finding
            .mend("let the nodes out to the registry on port 443 (Cloud NAT, firewall, proxy)")
            .run(format!("curl -sS -o /dev/null -w '%{{http_code}}\\n' https://{host}/v2/   # on the node")),
        Cause::Never => finding.mend("set `imagePullPolicy: IfNotPresent`, and generate again"),
        Cause::Unknown => finding.mend("look at the pod's events").run(format!(
            "kubectl describe pod {} -n {}",
            shell(super::prelude::name(pod)),
            shell(namespace(pod))
        )),
    }
}

fn rights(finding: Finding, pod: &Value, image: &Image<'_>) -> Finding {
    if let Some((location, project, repository)) = image.artifact_registry() {
        return finding
            .mend("give the nodes' service account the reader role on the repository")
            .run("gcloud container node-pools describe POOL --cluster CLUSTER --region REGION --format 'value(config.serviceAccount)'")
            .run(format!(
                "gcloud artifacts repositories add-iam-policy-binding {} --project {} --location {} --member \
                 serviceAccount:NODE_SERVICE_ACCOUNT --role roles/artifactregistry.reader",
                shell(repository),
                shell(project),
                shell(location)
            ));
    }
    if image.host.ends_with(".azurecr.io") {
        let registry = image.host.trim_end_matches(".azurecr.io");
        return finding
            .mend("let the cluster's identity pull from the registry")
            .run(format!("az aks update --resource-group GROUP --name CLUSTER --attach-acr {}", shell(registry)));
    }
    let host = shell(if image.host.is_empty() { "docker.io" } else { image.host });
    let account = text(pod, "/spec/serviceAccountName");
    let account = if account.is_empty() { "default" } else { account };
    let secrets: Vec<&str> = items(pod, "/spec/imagePullSecrets").iter().map(|secret| text(secret, "/name")).collect();
    let mend = if secrets.is_empty() {
        "the pod has no imagePullSecrets: make a secret, and let the service account carry it".to_owned()
    } else {
        format!("correct the login in secret {}", quote(&secrets.join(", ")))
    };
    finding.mend(mend).run(secret(pod, &host)).run(format!(
        "kubectl patch serviceaccount {} -n {} -p '{{\"imagePullSecrets\":[{{\"name\":\"pull\"}}]}}'",
        shell(account),
        shell(namespace(pod))
    ))
}

fn secret(pod: &Value, host: &str) -> String {
    format!(
        "kubectl create secret docker-registry pull -n {} --docker-server {host} --docker-username USER --docker-password TOKEN",
        shell(namespace(pod))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words that containerd, kubelets and registries really use.
    #[test]
    fn words_of_registries_are_understood() {
        for (said, expected) in [
            (
                "failed to resolve reference: pulling from host us-docker.pkg.dev failed with status code [manifests 1]: 403 Forbidden",
                Cause::Rights,
            ),
            (
                "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
                Cause::Rights,
            ),
            (
                "failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://x/token: 401 Unauthorized",
                Cause::Rights,
            ),
            ("failed to resolve reference \"x:9\": x:9: not found", Cause::Missing),
            ("manifest unknown: Failed to fetch \"9\"", Cause::Missing),
            ("dial tcp: lookup registry.exmaple on 10.0.0.10:53: no such host", Cause::Name),
            ("dial tcp 10.1.1.1:443: i/o timeout", Cause::Network),
            ("tls: failed to verify certificate: x509: certificate signed by unknown authority", Cause::Authority),
            ("http: server gave HTTP response to HTTPS client", Cause::PlainHttp),
            ("toomanyrequests: You have reached your pull rate limit", Cause::Throttled),
            ("no match for platform in manifest: not found", Cause::Platform),
            ("write /var/lib/containerd/x: no space left on device", Cause::Space),
            ("Container image \"x\" is not present with pull policy of Never", Cause::Never),
            ("something else", Cause::Unknown),
            ("", Cause::Unknown),
        ] {
            assert_eq!(cause(said), expected, "{said}");
        }
    }
}
