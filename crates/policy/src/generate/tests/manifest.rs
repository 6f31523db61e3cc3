//! The manifest and the settings of earlier runs.

use super::*;

#[tokio::test]
async fn what_is_the_owners_in_the_manifest_stays() {
    let rig = Rig::new();
    rig.generate().await.unwrap();
    let mut manifest = Manifest::parse(&rig.read("manifest.json")).unwrap();
    manifest.lease_seconds = 77;
    manifest.owners.keys.push(PublicKey(vec![9]));
    let before = manifest.policies.iter_mut().find(|(_, entry)| entry.role == Role::Workload).unwrap();
    before.1.callers = Some(["client".to_owned()].into());
    let identity = *before.0;
    let mut other = before.1.clone();
    other.names = vec!["elsewhere".into()];
    manifest.policies.insert(Identity(Digest::of(b"elsewhere")), other);
    rig.write("manifest.json", &manifest.to_text());
    rig.write(
        "resources/deployment.yaml",
        &rig.read("resources/deployment.yaml").replace("value: info", "value: debug"),
    );
    let mut options = rig.options();
    options.owner_keys.clear();
    options.holder_keys.clear();
    // Whom the manifest lists as callers means nothing where callers show no certificate.
    let before = rig.snapshot();
    let error = generate(&options).await.unwrap_err();
    assert!(words(&error).contains("`callers` of `inference`") && error.hint().is_some(), "{}", words(&error));
    assert_eq!(rig.snapshot(), before);
    let annotations = "      annotations:\n";
    let text = rig.read("resources/deployment.yaml");
    assert!(text.contains(annotations));
    let demanded = format!("{annotations}        {INGRESS_ANNOTATION}: http#8080#false\n");
    rig.write("resources/deployment.yaml", &text.replace(annotations, &demanded));
    let report = generate(&options).await.unwrap();
    let after = Manifest::parse(&rig.read("manifest.json")).unwrap();
    assert_eq!((after.deployment_id, after.lease_seconds), (manifest.deployment_id, 77));
    assert_eq!((&after.owners, &after.seed_share_holders), (&manifest.owners, &manifest.seed_share_holders));
    let entry = after.policies.iter().find(|(_, entry)| entry.names[0] == "inference").unwrap();
    assert_ne!(*entry.0, identity);
    assert_eq!(entry.1.callers, Some(["client".to_owned()].into()));
    assert!(after.policies.contains_key(&Identity(Digest::of(b"elsewhere"))));
    assert!(report.notices.iter().any(|notice| notice.contains("`elsewhere` stays")), "{:?}", report.notices);
}

type Change = fn(&mut GenerateOptions);

#[tokio::test]
async fn keys_that_are_not_those_of_the_manifest_are_refused_and_not_ignored() {
    let rig = Rig::new();
    let mut options = rig.options();
    options.holder_keys = vec![PublicKey(vec![2]), PublicKey(vec![3]), PublicKey(vec![4])];
    options.holder_threshold = 2;
    generate(&options).await.unwrap();
    // The order of keys says nothing, and no keys say nothing.
    options.holder_keys.reverse();
    assert!(generate(&options).await.unwrap().up_to_date);
    let before = rig.snapshot();
    let changes: [(Change, &str); 5] = [
        (|o| o.owner_keys = vec![PublicKey(vec![9])], "`owners`: 1 of 1 keys ("),
        (|o| o.owner_keys.push(PublicKey(vec![9])), "`owners`: 1 of 2 keys ("),
        (|o| o.owner_threshold = 2, "`owners`: 2 of 1 keys ("),
        (|o| drop(o.holder_keys.pop()), "`seed_share_holders`: 2 of 2 keys ("),
        (|o| o.holder_threshold = 1, "`seed_share_holders`: 1 of 3 keys ("),
    ];
    for (change, expected) in changes {
        let mut options = options.clone();
        change(&mut options);
        let error = generate(&options).await.unwrap_err();
        assert!(words(&error).starts_with(expected) && words(&error).contains("manifest.json` has "), "{error}");
        assert!(error.hint().is_some() && !error.could_not_tell());
    }
    let mut options = options.clone();
    options.owner_keys.clear();
    options.holder_keys.clear();
    assert!(generate(&options).await.unwrap().up_to_date);
    assert_eq!(rig.snapshot(), before);
}

#[tokio::test]
async fn settings_and_manifest_are_read_strictly() {
    for (file, text, expected) in [
        ("settings.json", "{\"pod_imag\": \"x\"}", "settings.json:1: unknown field `pod_imag`"),
        ("settings.json", "{", "settings.json:1:"),
        ("manifest.json", "{}", "missing field `version`"),
        ("manifest.json", "{\n  \"version\": 1,\n  \"x\": 2\n}\n", "manifest line 3"),
    ] {
        let got = words(&error_of(file, text).await);
        assert!(got.contains(expected), "{got}");
    }
}
