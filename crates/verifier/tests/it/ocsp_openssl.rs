//! OCSP responses against a second implementation, the openssl command line: it verifies those that the rig makes, and
//! makes some that are judged here. Where there is none the tests say so aloud.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::Digest;
use testkit::der::{Certificate, Extension, Key, KeyKind, NOT_AFTER, NOT_BEFORE, Name, pem};
use testkit::ocsp::{IssuerHash, TestAnswer, TestOcsp, TestStatus};
use testkit::rim::{NAMES, RimAuthority, TestRim};
use verifier::anchors::danger;
use verifier::endorsements::{EndorsementKind, Endorsements};
use verifier::rim;
use verifier::{Fault, UnixTime};

struct Folder(PathBuf);

impl Folder {
    /// A folder of temporary files, if there is an openssl to use them.
    fn new(name: &str) -> Option<Self> {
        if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            // Past the test harness's capture, so that nobody takes silence for a comparison.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no `openssl` to compare with");
            return None;
        }
        let path = std::env::temp_dir().join(format!("casemate-ocsp-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Some(Self(path))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn openssl(&self, arguments: &str) -> String {
        let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.0).output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority whose signer holds for as long as the rig's certificates do: openssl has the true time.
fn authority() -> RimAuthority {
    let signer = Certificate { not_before: NOT_BEFORE, not_after: NOT_AFTER, ..RimAuthority::signer_certificate() };
    RimAuthority::with_signer(signer, KeyKind::P384)
}

/// The certificates as openssl wants them: the signer, its issuer, and all authorities.
fn lay_out(folder: &Folder, authority: &RimAuthority) {
    let pems: Vec<_> = authority.certificates.iter().map(|der| pem("CERTIFICATE", der)).collect();
    folder.file("signer.pem", &pems[0]);
    folder.file("issuer.pem", &pems[1]);
    folder.file("authorities.pem", pems[1..].concat());
    folder.file("issuer.key", pem("PRIVATE KEY", &authority.keys[0].pkcs8()));
}

#[test]
fn openssl_takes_the_responses_of_the_rig_for_what_they_are() {
    let Some(folder) = Folder::new("theirs") else { return };
    let authority = authority();
    lay_out(&folder, &authority);
    let delegate = Key::generate(KeyKind::P384);
    let certificate = Certificate::new(Name::common("responder"), Name::common(NAMES[1]))
        .serial(9)
        .with(Extension::key_usage(&[0]))
        .with(Extension::extended_key_usage(&["1.3.6.1.5.5.7.3.9"]))
        .sign(&delegate, &authority.keys[0]);
    let stranger = Key::generate(KeyKind::P384);
    for (status, hash, words) in [
        (TestStatus::Good, IssuerHash::Sha1, "signer.pem: good"),
        (TestStatus::Good, IssuerHash::Sha256, "signer.pem: good"),
        (TestStatus::Revoked { at: NOT_BEFORE, reason: Some(1) }, IssuerHash::Sha1, "Reason: keyCompromise"),
        (TestStatus::Unknown, IssuerHash::Sha1, "signer.pem: unknown"),
    ] {
        let mut answer = TestAnswer::good(Name::common(NAMES[1]), &authority.keys[0], 4);
        (answer.status, answer.hash) = (status, hash);
        let by_issuer = TestOcsp::by_issuer(answer.clone());
        let by_delegate = TestOcsp::by_delegate(answer, &delegate, certificate.clone());
        for (response, good) in [
            (by_issuer.sign(&authority.keys[0]), true),
            (by_delegate.sign(&delegate), true),
            (by_issuer.sign(&stranger), false),
        ] {
            folder.file("response.der", response);
            let id = if hash == IssuerHash::Sha256 { "-sha256" } else { "-sha1" };
            let said = folder.openssl(&format!(
                "ocsp -respin response.der -CAfile authorities.pem -issuer issuer.pem {id} -cert signer.pem"
            ));
            assert_eq!(said.contains("Response verify OK"), good, "{said}");
            assert!(!good || said.contains(words), "{words}: {said}");
        }
    }
}

#[test]
fn responses_that_openssl_makes_are_judged_as_it_means_them() {
    let Some(folder) = Folder::new("ours") else { return };
    let authority = authority();
    lay_out(&folder, &authority);
    let document = authority.sign(&TestRim::new("GH100", "GPU", "1.2", &[(0, [1; 48])]));
    let none = Digest::of(b"no root");
    let anchors = danger::anchors([none; 3], none, none, authority.root(), &[]);
    let judge = |now: UnixTime| {
        let mut endorsements = Endorsements::default();
        let response = std::fs::read(folder.0.join("response.der")).unwrap();
        assert_eq!(EndorsementKind::detect(&response), Some(EndorsementKind::OcspResponse));
        endorsements.add(EndorsementKind::OcspResponse, &response).unwrap();
        rim::verify_alone(document.as_bytes(), &anchors, &endorsements, now)
    };
    // openssl's list of certificates: state, expiry, revocation, serial number, file, subject.
    for (line, code) in [
        ("V\t491231235959Z\t\t04\tunknown\t/CN=x\n", None),
        (
            "R\t491231235959Z\t200102000000Z,keyCompromise\t04\tunknown\t/CN=x\n",
            Some(("certificate-revoked", Fault::Revoked)),
        ),
        ("V\t491231235959Z\t\t05\tunknown\t/CN=x\n", Some(("ocsp-unknown", Fault::Missing))),
    ] {
        folder.file("index.txt", line);
        for options in ["", "-resp_key_id", "-resp_no_certs", "-rmd sha256"] {
            for (id, nonce) in [("-sha1", ""), ("-sha1", "-no_nonce"), ("-sha256", "-no_nonce")] {
                folder.openssl(&format!("ocsp -issuer issuer.pem {id} -cert signer.pem {nonce} -reqout request.der"));
                let said = folder.openssl(&format!(
                    "ocsp -index index.txt -CA issuer.pem -rsigner issuer.pem -rkey issuer.key -reqin request.der \
                     -respout response.der -ndays 1 {options}"
                ));
                // After the response was made, whatever time openssl took for those before it.
                let now = UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
                let result = judge(now);
                match (result, code) {
                    (Ok(rim), None) => assert!(rim.standing()[0].1.until().is_some(), "{said}"),
                    (Err(error), Some(code)) => assert_eq!((error.code(), error.fault()), code, "{said}"),
                    (result, code) => panic!("{options} {id}: {result:?}, expected {code:?}: {said}"),
                }
                if code.is_none() {
                    assert_eq!(judge(now.plus(2 * 86_400)).unwrap_err().code(), "ocsp-expired");
                }
                std::fs::remove_file(folder.0.join("response.der")).unwrap();
            }
        }
    }
}
