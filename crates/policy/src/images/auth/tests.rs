use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn source(folder: &Path, config: &str) -> CredentialSource {
    let file = folder.join("config.json");
    std::fs::write(&file, config).unwrap();
    let path = std::env::join_paths([folder, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    CredentialSource { docker_config: Some(file), path: Some(path) }
}

fn helper(folder: &Path, name: &str, script: &str) {
    let program = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what `find` gives")]
fn password(user: &str, password: &str) -> Option<Credential> {
    Some(Credential::Password { user: user.into(), password: password.into() })
}

fn show(credential: Option<&Credential>) -> &'static str {
    match credential {
        None => "none",
        Some(Credential::Password { .. }) => "password",
        Some(Credential::Identity(_)) => "identity",
        Some(Credential::Access(_)) => "access",
    }
}

#[tokio::test]
async fn credentials_are_those_of_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    // The texts are base64 of `user:pass:word` and `a:b` with a NUL.
    let source = source(
        folder.path(),
        r#"{"auths": {
            "one.example": {"auth": "dXNlcjpwYXNzOndvcmQ="},
            "https://two.example/v1/": {"auth": "YTpiAA=="},
            "https://index.docker.io/v1/": {"username": "hub", "password": "secret"},
            "three.example:5000": {"auth": "", "identitytoken": "identity"},
            "four.example": {"registrytoken": "access"},
            "five.example/team": {"auth": "YTpiAA=="},
            "six.example": {}
        }, "HttpHeaders": {"X": "y"}}"#,
    );
    for (registry, expected) in [
        ("one.example", password("user", "pass:word")),
        ("two.example", password("a", "b")),
        ("index.docker.io", password("hub", "secret")),
        ("docker.io", password("hub", "secret")),
        ("three.example:5000", Some(Credential::Identity("identity".into()))),
        ("four.example", Some(Credential::Access("access".into()))),
        // Another port, a part of a name, a path: none of them is the registry.
        ("three.example", None),
        ("one.example.evil.org", None),
        ("example", None),
        ("five.example", None),
        ("six.example", None),
    ] {
        let found = source.find(registry).await.unwrap();
        assert!(found == expected, "{registry}: {}", show(found.as_ref()));
    }
    let nowhere = CredentialSource { docker_config: Some(folder.path().join("nothing")), path: None };
    assert!(nowhere.find("one.example").await.unwrap().is_none());
    assert!(CredentialSource::default().find("one.example").await.unwrap().is_none());
}

#[tokio::test]
async fn helpers_are_asked_as_docker_asks_them() {
    let folder = tempfile::tempdir().unwrap();
    helper(
        folder.path(),
        "good",
        r#"read -r key; test "$1" = get || exit 9
case "$key" in
  one.example) echo '{"ServerURL":"one.example","Username":"u","Secret":"s"}';;
  token.example) echo '{"Username":"<token>","Secret":"t"}';;
  https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"h"}';;
  *) echo "credentials not found in native keychain"; exit 1;;
esac"#,
    );
    helper(folder.path(), "other", r#"echo '{"Username":"other","Secret":"o"}'"#);
    let source = source(
        folder.path(),
        r#"{"credsStore": "good", "credHelpers": {"own.example": "other"},
            "auths": {"own.example": {"auth": "YTpiAA=="}, "none.example": {"auth": "YTpiAA=="}}}"#,
    );
    for (registry, expected) in [
        ("own.example", password("other", "o")),
        ("one.example", password("u", "s")),
        ("token.example", Some(Credential::Identity("t".into()))),
        ("docker.io", password("hub", "h")),
        ("none.example", password("a", "b")),
        ("nothing.example", None),
    ] {
        let found = source.find(registry).await.unwrap();
        assert!(found == expected, "{registry}: {}", show(found.as_ref()));
    }
}

#[tokio::test]
async fn trouble_with_credentials_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    helper(folder.path(), "fails", "echo 'the keychain is locked'; exit 1");
    helper(folder.path(), "babbles", "echo 'topsecret no json'");
    helper(folder.path(), "endless", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    for config in [
        r#"{"credsStore": "fails"}"#,
        r#"{"credsStore": "babbles"}"#,
        r#"{"credsStore": "endless"}"#,
        r#"{"credsStore": "missing"}"#,
        r#"{"credsStore": "../evil"}"#,
        r#"{"credHelpers": {"one.example": ""}}"#,
        r#"{"credHelpers": {"one.example": "good; rm -rf x"}}"#,
        r#"{"auths": {"one.example": {"auth": "no base64!"}}}"#,
        r#"{"auths": {"one.example": {"auth": "dXNlcg=="}}}"#,
        r#"{"auths": []}"#,
        "no json",
    ] {
        let error = source(folder.path(), config).find("one.example").await.map(|_| ()).unwrap_err();
        assert!(!error.could_not_tell() && !error.to_string().contains("topsecret"), "{config}: {error}");
    }
}
