//! When certificates end.

use std::path::Path;

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::bundle::{Answer, Certificate};

/// LIMIT: a file of certificates; a kubeconfig's have a few KiB.
const MAX_FILE: u64 = 1024 * 1024;

/// The first certificate of PEM text to end.
pub fn from_pem(pem: &[u8], what: &str, renewal: &str) -> Certificate {
    let ends = Pem::iter_from_buffer(pem).map(|pem| {
        let pem = pem.map_err(|error| error.to_string())?;
        end(&pem.contents)
    });
    let ends: Result<Vec<i64>, String> = ends.collect();
    let ends = match ends.map(|ends| ends.into_iter().min()) {
        Ok(Some(ends)) => Answer::Known(ends),
        Ok(None) => Answer::Unknown("there is no certificate in it".to_owned()),
        Err(why) => Answer::Unknown(why),
    };
    Certificate { what: what.to_owned(), renewal: renewal.to_owned(), ends }
}

/// The end of one certificate, DER.
pub(super) fn end(der: &[u8]) -> Result<i64, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    Ok(certificate.validity().not_after.timestamp())
}

/// `mesh-ca.pem`, which `casemate verify` wrote; `None`: it did not.
pub fn mesh(path: &Path) -> Option<Certificate> {
    let what = format!("The mesh CA in {}", path.display());
    let renewal = "verify again, which fetches the mesh CA of the active manifest: casemate verify -c HOST:1313";
    let length = std::fs::metadata(path).ok()?.len();
    if length > MAX_FILE {
        let ends = Answer::Unknown(format!("it has more than {MAX_FILE} bytes"));
        return Some(Certificate { what, renewal: renewal.to_owned(), ends });
    }
    Some(match std::fs::read(path) {
        Ok(pem) => from_pem(&pem, &what, renewal),
        Err(error) => Certificate { what, renewal: renewal.to_owned(), ends: Answer::Unknown(error.to_string()) },
    })
}
