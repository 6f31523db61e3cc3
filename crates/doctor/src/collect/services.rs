//! Whether services answer. What they say is not looked at.

use std::time::Duration;

use endorsements::{FetchError, Intel, Limits, Sources, download};
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bundle::{Address, Service};

/// LIMIT: an answer is of no interest beyond that there is one.
const MAX_ANSWER: usize = 1024 * 1024;
/// A service that takes longer is as good as none to somebody who waits for a pod.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks every vendor's service whether it is there, all at once.
pub async fn services(sources: &Sources) -> Vec<Service> {
    let intel = match &sources.intel {
        Intel::Pcs { api, .. } => api.clone(),
        Intel::Pccs { base, .. } => base.clone(),
    };
    let all = [
        ("amd", "AMD's key distribution service (certificates of SEV-SNP)", sources.amd.clone()),
        ("intel", "Intel's provisioning certification service (collateral of TDX and SGX)", intel),
        ("nvidia", "NVIDIA's service of reference measurements (RIM)", sources.nvidia_rim.clone()),
        ("nvidia", "NVIDIA's service of revocations (OCSP)", sources.nvidia_ocsp.clone()),
    ];
    join_all(all.map(|(vendor, about, url)| async move {
        let asked = match &sources.proxy {
            Some(proxy) => format!("{}/{}", proxy.trim_end_matches('/'), bare(&url)),
            None => url.clone(),
        };
        Service { vendor: vendor.to_owned(), about: about.to_owned(), url, fault: reach(&asked).await }
    }))
    .await
}

fn bare(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// Why a service does not answer. Any answer of its own will do, also one that refuses.
async fn reach(url: &str) -> Option<String> {
    let limits = Limits { connect: PATIENCE, request: PATIENCE, total: PATIENCE, attempts: 1, ..Limits::default() };
    let error = download(url, MAX_ANSWER, limits).await.err()?;
    let silent =
        matches!(error, FetchError::Unreachable { .. } | FetchError::NoRoots { .. } | FetchError::TimedOut { .. });
    silent.then(|| error.to_string())
}

/// Connects to the Coordinator's address and closes again.
pub async fn address(address: &str) -> Address {
    let fault = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no connection within {} s", PATIENCE.as_secs())),
    };
    Address { address: address.to_owned(), fault }
}
