//! A second implementation on the same documents: what the rig makes and how it is judged here, against the openssl
//! command line. Where there is none the tests say so aloud.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use protocol::reference::AmdProduct;
use protocol::reference::snp::SigningKey;
use testkit::der::pem;
use testkit::snp::{ASK_SERIAL, Line, Report, ReportKey};

use super::rig::{ALL_HOLD, endorse, judge, shown};
use crate::x509::Certificate;

fn openssl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

fn is_there() -> bool {
    let there = Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if !there {
        // Past the test harness's capture, so that nobody takes silence for a comparison.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no `openssl` to compare with");
    }
    there
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("casemate-snp-oracle-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        text(&path)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn openssl_agrees_about_chains_and_revocation() {
    if !is_there() {
        return;
    }
    let folder = Folder::new("chains");
    for product in AmdProduct::ALL {
        let line = Line::of(product);
        let root = folder.file("ark.pem", pem("CERTIFICATE", &line.ark));
        for (kind, authority) in [(SigningKey::Vcek, &line.ask), (SigningKey::Vlek, &line.asvk)] {
            let report = Report::new(product, 5, kind);
            let key = ReportKey::of(&report);
            let authority = folder.file("authority.pem", pem("CERTIFICATE", authority));
            let leaf = folder.file("leaf.pem", pem("CERTIFICATE", &key.certificate));
            let at = ["-attime", "1795219200"];
            let verify = ["verify", at[0], at[1], "-CAfile", &root, "-untrusted", &authority, &leaf];
            let (good, said) = openssl(&verify);
            assert!(good, "{product} {kind}: {said}");
            assert_eq!(shown(&judge(&key.sign(&report), &endorse(&key))), ALL_HOLD);

            // One changed byte of the signature: both say no.
            let mut forged = key.certificate.clone();
            *forged.last_mut().unwrap() ^= 1;
            let leaf = folder.file("forged.pem", pem("CERTIFICATE", &forged));
            let (good, said) = openssl(&["verify", at[0], at[1], "-CAfile", &root, "-untrusted", &authority, &leaf]);
            assert!(!good && said.contains("signature failure"), "{said}");
            let forged = ReportKey { certificate: forged, ..key };
            let layers = shown(&judge(&forged.sign(&report), &endorse(&forged)));
            assert!(layers.contains("chain certificate-signature!"), "{layers}");
        }
        // The authority's standing: openssl reads the list that the rig made.
        let ask = folder.file("ask.pem", pem("CERTIFICATE", &line.ask));
        for (crl, revoked) in [(line.crl(), false), (line.crl_revoking(ASK_SERIAL), true)] {
            let crl = folder.file("crl.pem", pem("X509 CRL", &crl));
            let (good, said) =
                openssl(&["verify", "-attime", "1795219200", "-crl_check", "-CRLfile", &crl, "-CAfile", &root, &ask]);
            assert_eq!(good, !revoked, "{said}");
        }
    }
}

#[test]
fn openssl_reads_the_same_names_numbers_and_times() {
    if !is_there() {
        return;
    }
    let folder = Folder::new("fields");
    for der in [&Line::of(AmdProduct::Milan).ask, &Line::of(AmdProduct::Turin).ark] {
        let ours = Certificate::parse(der).unwrap();
        let file = folder.file("certificate.pem", pem("CERTIFICATE", der));
        let (_, said) = openssl(&[
            "x509",
            "-in",
            &file,
            "-noout",
            "-subject",
            "-issuer",
            "-serial",
            "-dates",
            "-fingerprint",
            "-sha256",
            "-dateopt",
            "iso_8601",
        ]);
        assert!(said.contains(&format!("CN = {}\n", ours.subject())), "{said}");
        assert!(said.contains(&format!("CN = {}\n", ours.issuer())), "{said}");
        let serial = hex::encode_upper(ours.serial());
        assert!(said.contains(&format!("serial={serial}")), "{said} {serial}");
        for (which, time) in [("notBefore", ours.not_before()), ("notAfter", ours.not_after())] {
            let time = time.to_string().replace('T', " ");
            assert!(said.contains(&format!("{which}={time}")), "{said} {time}");
        }
        let fingerprint = said.split("ingerprint=").nth(1).unwrap().trim().replace(':', "").to_lowercase();
        assert_eq!(fingerprint, ours.fingerprint().to_string());
    }
}

#[test]
fn openssl_verifies_the_signature_of_a_report() {
    if !is_there() {
        return;
    }
    let folder = Folder::new("report");
    let report = Report::new(AmdProduct::Genoa, 3, SigningKey::Vcek);
    let key = ReportKey::of(&report);
    let body = key.sign(&report);
    let half =
        |from: usize| testkit::der::integer_bytes(&body[from..from + 48].iter().rev().copied().collect::<Vec<_>>());
    let signature = folder.file("signature.der", testkit::der::sequence(&[half(0x2a0), half(0x2e8)]));
    let public = folder.file("key.pem", pem("PUBLIC KEY", &key.key.spki()));
    for (signed, expected) in [(body[..0x2a0].to_vec(), true), ([&body[..0x29f], &[1]].concat(), false)] {
        let signed = folder.file("signed.bin", signed);
        let (good, said) = openssl(&["dgst", "-sha384", "-verify", &public, "-signature", &signature, &signed]);
        assert_eq!(good, expected, "{said}");
    }
}
