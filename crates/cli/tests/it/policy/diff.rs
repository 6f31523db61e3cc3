//! `casemate policy diff`: what changed, the dangerous first.

use super::*;

/// The example, changed in everything that a reviewer must see.
fn changed() -> (Value, Settings) {
    let mut values = values();
    let server = &mut values["containers"]["server"];
    let image =
        "localhost:5000/casemate/digits:2@sha256:0000000000000000000000000000000000000000000000000000000000000001";
    set_image(server, image);
    server["args"].as_array_mut().expect("args").push(json!("--trace all"));
    server["env"] = json!(["PATH=/", "LOG_LEVEL=debug"]);
    server["capabilities"] = json!(["NET_RAW"]);
    server["mounts"][1] = json!(["/etc/digits", "copied", "digits", "ro"]);
    let settings = Settings {
        ingress: vec![Ingress { name: "http".into(), port: 8080, client_certificate: true }],
        open_ports: vec![9102],
        ..settings()
    };
    (values, settings)
}

#[test]
fn a_difference_is_sorted_by_danger() {
    let old = initdata(&values(), &settings());
    let (values, settings) = changed();
    let new = initdata(&values, &settings);
    let before = manifest(&old, |entry| entry["callers"] = json!(["web"]));
    let after = manifest(&new, |entry| entry["secrets"] = json!(["digits-model-key", "other-key"]));
    let after = after.replace(r#""lease_seconds":300"#, r#""lease_seconds":60"#);
    let (old, new) = (yaml("inference", &old), yaml("inference", &new));
    let files = [
        ("old/manifest.json", &*before),
        ("old/r/i.yaml", &*old),
        ("new/manifest.json", &*after),
        ("new/r/i.yaml", &*new),
    ];
    on_page(
        &files,
        &["policy", "diff", "old", "new"],
        expect![[r#"
            exit 1
            --- stdout
            10 changes: 5 allow more (+), 3 allow something else (~), 2 allow less (-).

              1. ~ inference, container server: runs another image
                   was  localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b96965
                          0ca76e18186f703bb21214c62baa552ab295
                   now  localhost:5000/casemate/digits:2@sha256:0000000000000000000000000000
                          000000000000000000000000000000000001
              2. ~ inference, container server: runs another command
                   was  /casemate/bin/launch server -- /casemate-serve --model
                          /models/digits.onnx.sealed --key-file
                          /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt
                          --listen 0.0.0.0:8080
                   now  /casemate/bin/launch server -- /casemate-serve --model
                          /models/digits.onnx.sealed --key-file
                          /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt
                          --listen 0.0.0.0:8080 "--trace all"
              3. + inference: may read the secrets other-key
              4. + inference: may be called by every workload of the manifest
                   was  web
                   now  every workload of the manifest
              5. + inference: opens the ports 9102 to everybody, as they are
              6. + inference, container server: gets CAP_NET_RAW: it may send and read raw
                   packets
              7. + inference, container server: mounts `/etc/digits` otherwise
                   was  the initializer, compared with digests; read-only
                   now  THE HOST: nothing vouches for its content; read-only
              8. ~ inference, container server: variable `LOG_LEVEL` is another
                   was  info
                   now  debug
              9. - inference: demands a certificate of the mesh on port 8080
             10. - certificates last for another time without being renewed
                   was  300 s
                   now  60 s
            --- stderr
            error: they differ in 10 points
        "#]],
    );
    // Manifests stand for the files in their folders.
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let dir = folder(&files);
    let folders = casemate(dir.path(), &["policy", "diff", "old", "new"]);
    assert_eq!(casemate(dir.path(), &["policy", "diff", "old/manifest.json", "new/manifest.json"]), folders);
    expect![[r#"
        exit 0
        --- stdout
        Nothing changed.
        --- stderr
    "#]]
    .assert_eq(&casemate(dir.path(), &["policy", "diff", "old", "old"]));
    expect![[r#"
        exit 1
        --- stdout
        {"changes":[{"kind":"image","effect":"changes","workload":"inference","container":"server","what":"runs another image","was":"localhost:5000/casemate/digits:1@sha256:5abfdd9223ccd9cbafdfd5b969650ca76e18186f703bb21214c62baa552ab295","now":"localhost:5000/casemate/digits:2@sha256:0000000000000000000000000000000000000000000000000000000000000001"},{"kind":"command","effect":"changes","workload":"inference","container":"server","what":"runs another command","was":"/casemate/bin/launch server -- /casemate-serve --model /models/digits.onnx.sealed --key-file /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt --listen 0.0.0.0:8080","now":"/casemate/bin/launch server -- /casemate-serve --model /models/digits.onnx.sealed --key-file /casemate/secrets/digits-model-key --labels /etc/digits/labels.txt --listen 0.0.0.0:8080 \"--trace all\""},{"kind":"ports","effect":"opens","workload":"inference","container":null,"what":"opens the ports 9102 to everybody, as they are","was":null,"now":null},{"kind":"capabilities","effect":"opens","workload":"inference","container":"server","what":"gets CAP_NET_RAW: it may send and read raw packets","was":null,"now":null},{"kind":"mounts","effect":"opens","workload":"inference","container":"server","what":"mounts `/etc/digits` otherwise","was":"the initializer, compared with digests; read-only","now":"THE HOST: nothing vouches for its content; read-only"},{"kind":"environment","effect":"changes","workload":"inference","container":"server","what":"variable `LOG_LEVEL` is another","was":"info","now":"debug"},{"kind":"ports","effect":"closes","workload":"inference","container":null,"what":"demands a certificate of the mesh on port 8080","was":null,"now":null}],"untold":[],"notes":["no manifest is at hand: owners, reference values, secrets and callers were not compared"]}
        --- stderr
    "#]].assert_eq(&casemate(dir.path(), &["policy", "diff", "old/r/i.yaml", "new/r/i.yaml", "--json"]));
}

#[test]
fn manifests_without_resources_tell_what_they_can() {
    let old = initdata(&values(), &settings());
    let new = initdata(&changed().0, &settings());
    let (before, after) = (manifest(&old, |_| {}), manifest(&new, |entry| entry["callers"] = json!([])));
    on_page(
        &[("old.json", &before), ("new.json", &after)],
        &["policy", "diff", "old.json", "new.json"],
        expect![[r#"
            exit 2
            --- stdout
            2 changes: 1 allow something else (~), 1 allow less (-).

              1. ~ inference: has another policy
                   was  d0c59b83974d7fdad4240f2b6d14c386f7468ade22456af389bbc3d2c4a63b6c
                   now  bc965c1dfa29fa23575f45611f69ec4f7962569dafa9b48a196dc445bebefea9
              2. - inference: may no longer be called by every workload of the manifest
                   was  every workload of the manifest
                   now  nobody

            What could not be told:
              what changed in the policy of `inference`: neither resource is at hand
            --- stderr
            error: not everything could be compared

            hint: put the generated YAML beside each manifest: a manifest holds identities, not policies
        "#]],
    );
    // The same identities are the same policies, whoever has their files.
    check(
        &[("old.json", &before)],
        &["policy", "diff", "old.json", "old.json"],
        expect![[r#"
        exit 0
        --- stdout
        Nothing changed.
        --- stderr
    "#]],
    );
}
