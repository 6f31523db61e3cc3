//! Whether the API server can be asked at all. Nearly everything else rests on that.

use super::prelude::*;

pub(super) fn check(bundle: &Bundle, out: &mut Findings) -> Result<(), Unknown> {
    let cluster = bundle.cluster.as_ref().ok_or(Unknown::NotAsked { what: "a cluster" })?;
    let Some(why) = &cluster.unreachable else { return Ok(()) };
    let subject = Subject::named("Cluster", None, &cluster.context);
    let finding = Finding::problem(subject, format!("The API server {} cannot be asked.", quote(&cluster.server)));
    let finding = finding.why(quote(why));
    out.push(advise(finding, &why.to_lowercase()));
    Ok(())
}

fn advise(finding: Finding, why: &str) -> Finding {
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["401", "unauthorized"]) {
        finding
            .mend("log in again: the credentials of the kubeconfig are not, or no longer, good")
            .run("gcloud container clusters get-credentials CLUSTER --region REGION   # GKE")
            .run("az aks get-credentials --resource-group GROUP --name CLUSTER        # AKS")
    } else if has(&["exec", "auth-plugin", "no such file"]) {
        finding
            .mend("install the program that the kubeconfig asks for credentials")
            .run("gcloud components install gke-gcloud-auth-plugin   # GKE")
            .run("az aks install-cli                                 # AKS: kubelogin")
    } else if has(&["expired", "notvalidyet"]) {
        finding
            .mend("a certificate has ended, or this machine's clock is wrong; on kubeadm's clusters, on a control-plane node")
            .run("timedatectl status")
            .run("kubeadm certs check-expiration")
            .run("kubeadm certs renew all")
    } else if has(&["unknownissuer", "invalid peer certificate", "certificate"]) {
        finding
            .mend("the kubeconfig is of another cluster, or the cluster's CA was replaced: fetch the kubeconfig again")
            .run("kubectl config view --minify")
    } else if has(&["dns", "resolve", "name or service", "lookup"]) {
        finding
            .mend("the server's name does not resolve here: is a private cluster's network or VPN connected?")
            .run("kubectl config current-context")
    } else {
        finding
            .mend("see whether the cluster runs, and whether this machine's address may reach it (authorised networks, VPN)")
            .run("kubectl cluster-info")
    }
}
