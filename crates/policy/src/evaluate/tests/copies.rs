//! What a host may copy into the guest.

use super::*;

fn copied(id: char, rest: &str) -> String {
    format!("/run/kata-containers/shared/containers/{}-0123456789abcdef-{rest}", id.to_string().repeat(64))
}

fn file(path: &str) -> Value {
    copy_file_request(path, 0o100_644, 12, "")
}

fn folder(path: &str, mode: u32) -> Value {
    copy_file_request(path, 0o040_000 | mode, 0, "")
}

fn link(path: &str, target: &str) -> Value {
    copy_file_request(path, 0o120_777, 0, target)
}

fn with(path: &str, fields: &Value) -> Value {
    let mut request = json!({"path": path});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

fn bytes(text: &str) -> Value {
    json!(text.as_bytes())
}

fn check_copies(rig: &Rig, cases: Vec<(Value, Option<&str>)>) {
    check(rig, 4, cases.into_iter().map(|(request, reason)| ("CopyFileRequest", request, reason)).collect());
}

#[test]
fn only_the_listed_files_and_trees_are_copied() {
    let root = format!("/run/kata-containers/{}/rootfs/bin/sh", "c".repeat(64));
    let shared_root = format!("/run/kata-containers/shared/containers/{}/rootfs/bin/sh", "c".repeat(64));
    let local = format!("/run/kata-containers/shared/containers/{}/rootfs/local/scratch/x", "a".repeat(64));
    let short = format!("/run/kata-containers/shared/containers/{}-0123456789abcde-hosts", "c".repeat(64));
    let cases = vec![
        (file(&copied('c', "hosts")), None),
        (file(&copied('c', "hostname")), None),
        (file(&copied('a', "resolv.conf")), None),
        (copy_file_request(&copied('c', "termination-log"), 0o100_666, 0, ""), None),
        // A single file is no directory, and nothing is below it.
        (file(&copied('c', "hosts/x")), Some("path: got")),
        (file(&copied('c', "hosts/x/y")), Some("path: got")),
        (folder(&copied('c', "hosts"), 0o755), Some("path: got")),
        (folder(&copied('c', "hosts/x"), 0o755), Some("Directory in one of podinfo")),
        (link(&copied('c', "hosts"), "x"), Some("path: got")),
        (link(&copied('c', "hosts/x"), "y"), Some("Symlink in one of podinfo")),
        (file(&copied('c', "evil")), Some("policy has <container>-<16 hex digits>- and one of hostname, hosts")),
        (file(&copied('c', "")), Some("path: got")),
        // A tree is a directory.
        (folder(&copied('c', "podinfo"), 0o1777), None),
        (folder(&copied('c', "podinfo/..2026_01_01_00_00_00.1"), 0o755), None),
        (file(&copied('c', "podinfo/..2026_01_01_00_00_00.1/initdata")), None),
        (link(&copied('c', "podinfo/..data"), "..2026_01_01_00_00_00.1"), None),
        (link(&copied('c', "podinfo/initdata"), "..data/initdata"), None),
        (file(&copied('c', "podinfo")), Some("path: got")),
        (link(&copied('c', "podinfo"), "x"), Some("no link at the top")),
        // What is in a claim is in the guest only where the user said so.
        (folder(&copied('c', "store"), 0o755), Some("path: got")),
        (file(&copied('c', "store/x")), Some("Regular in one of podinfo")),
        (file(&copied('c', "podinfo/../../x")), Some("no plain path")),
        (file(&copied('c', "podinfo/./x")), Some("no plain path")),
        (file(&copied('c', "podinfo//x")), Some("no plain path")),
        (file(&copied('g', "hosts")), Some("path: got")),
        (file(&short), Some("path: got")),
        (file("/etc/passwd"), Some("path: got \"/etc/passwd\"")),
        (file("etc/passwd"), Some("path: got")),
        (file(&root), Some("path: got")),
        (file(&shared_root), Some("path: got")),
        (file(&local), Some("path: got")),
        (json!({"path": 7, "file_mode": 0o100_644}), Some("path: got 7")),
        (json!({"file_mode": 0o100_644}), Some("path: got null")),
    ];
    check_copies(&Rig::new(), cases);
}

#[test]
fn a_claim_is_filled_by_the_host_where_the_user_said_so() {
    let openings = Openings { copied_claims: ["store".to_owned()].into(), ..Openings::default() };
    let cases = vec![
        (folder(&copied('c', "store"), 0o755), None),
        (folder(&copied('c', "store/lost+found"), 0o700), None),
        (file(&copied('c', "store/x")), None),
        (file(&copied('c', "store")), Some("path: got")),
        (link(&copied('c', "store"), "x"), Some("path: got")),
        (link(&copied('c', "store/x"), "../y"), Some("own directory")),
        (file(&copied('c', "other/x")), Some("path: got")),
    ];
    check_copies(&Rig::with(openings), cases);
}

/// What newer and older agents say in different words must not be said in two ways.
#[test]
fn a_copied_file_is_of_one_type_with_one_target() {
    let path = copied('c', "podinfo/x");
    let (regular, folder, link, device) = (0o100_644, 0o040_755, 0o120_777, 0o060_644);
    let cases = [
        (json!({"file_mode": regular}), None),
        (json!({"file_type": "Regular", "file_mode": regular, "symlink_src": "", "symlink_target": null}), None),
        (json!({"file_type": "Regular", "file_mode": 0o644}), None),
        (json!({"file_type": "Symlink", "file_mode": link, "symlink_src": "y", "symlink_target": "y"}), None),
        (json!({"file_type": "Symlink", "symlink_target": "y"}), None),
        (json!({"file_mode": link, "symlink_src": "y"}), None),
        (json!({"file_type": "Regular", "file_mode": link}), Some("disagree")),
        (json!({"file_type": "Regular", "file_mode": folder}), Some("disagree")),
        (json!({"file_type": "Regular", "file_mode": device}), Some("disagree")),
        (json!({"file_type": "Symlink", "file_mode": regular, "symlink_target": "y"}), Some("disagree")),
        (json!({"file_type": "Regular", "file_mode": "x"}), Some("file_mode: got \"x\"")),
        (json!({"file_type": "Regular", "file_mode": null}), Some("file_mode: got null")),
        (json!({"file_type": "Unknown"}), Some("not a file")),
        (json!({"file_type": "Unknown", "file_mode": device}), Some("disagree")),
        (json!({"file_mode": device}), Some("not a file")),
        (json!({"file_type": "Regular", "symlink_target": "/etc"}), Some("only a symbolic link")),
        (json!({"file_type": "Regular", "symlink_src": "/etc"}), Some("only a symbolic link")),
        (json!({"file_type": "Directory", "symlink_src": "/etc"}), Some("only a symbolic link")),
        (json!({"file_mode": regular, "symlink_target": "/etc"}), Some("only a symbolic link")),
        (json!({"file_mode": link, "symlink_src": "y", "symlink_target": "/etc"}), Some("disagree")),
        (json!({"file_mode": link, "symlink_src": "/etc", "symlink_target": "y"}), Some("disagree")),
        (json!({"file_mode": link, "symlink_src": "../z"}), Some("own directory")),
        (json!({"file_mode": link, "symlink_src": "/etc"}), Some("own directory")),
        (json!({"file_mode": link, "symlink_target": "a/../../z"}), Some("own directory")),
        (json!({"file_mode": link, "symlink_src": 7}), Some("own directory")),
        (json!({"file_mode": link}), Some("own directory")),
        (json!({"file_type": 7}), Some("not a file")),
        (json!({}), Some("not a file")),
        (json!({"file_mode": regular, "link": "/etc"}), Some("link: got")),
    ];
    check_copies(&Rig::new(), cases.into_iter().map(|(fields, reason)| (with(&path, &fields), reason)).collect());
}

/// Agents of Kata before 3.29 show the message as it is: the content of a file, and the target of a link, as bytes.
#[test]
fn bytes_are_looked_at_where_they_are_the_target_of_a_link() {
    let path = copied('c', "podinfo/x");
    let (regular, folder, link) = (0o100_644, 0o040_755, 0o120_777);
    let cases = [
        (json!({"file_mode": regular, "data": bytes("/etc/passwd \n\0")}), None),
        (json!({"file_mode": regular, "data": []}), None),
        (json!({"file_mode": folder, "data": []}), None),
        (json!({"file_mode": link, "data": bytes("..data/ca.crt")}), None),
        (json!({"file_mode": link, "data": bytes("..2026_05_08_18_00_29.1625327705")}), None),
        (json!({"file_mode": link, "data": bytes("A-Z:[]^_`a\\z")}), None),
        (json!({"file_mode": link, "data": bytes("y"), "symlink_target": "y"}), None),
        (json!({"file_mode": link, "data": [], "symlink_target": "y"}), None),
        (json!({"file_mode": folder, "data": bytes("x")}), Some("data: a directory has none")),
        (json!({"file_mode": regular, "data": "x"}), Some("data: got \"x\"")),
        (json!({"file_mode": regular, "data": null}), Some("data: got null")),
        (json!({"file_mode": link, "data": "y"}), Some("data: got \"y\"")),
        (json!({"file_mode": link, "data": bytes("/etc")}), Some("own directory")),
        (json!({"file_mode": link, "data": bytes("../x")}), Some("own directory")),
        (json!({"file_mode": link, "data": bytes("a/../../x")}), Some("own directory")),
        (json!({"file_mode": link, "data": bytes("a/")}), Some("own directory")),
        (json!({"file_mode": link, "data": bytes(".")}), Some("own directory")),
        (json!({"file_mode": link, "data": []}), Some("own directory")),
        (json!({"file_mode": link, "data": bytes("a\0/etc")}), Some("besides those from `-` to `z`")),
        (json!({"file_mode": link, "data": bytes(",")}), Some("besides those")),
        (json!({"file_mode": link, "data": bytes("{")}), Some("besides those")),
        (json!({"file_mode": link, "data": bytes("ä")}), Some("besides those")),
        (json!({"file_mode": link, "data": [97.5]}), Some("besides those")),
        (json!({"file_mode": link, "data": [-1]}), Some("besides those")),
        (json!({"file_mode": link, "data": [353]}), Some("besides those")),
        (json!({"file_mode": link, "data": ["a"]}), Some("besides those")),
        (json!({"file_mode": link, "data": bytes("y"), "symlink_target": "z"}), Some("disagree")),
        (json!({"file_mode": link, "data": bytes("\n"), "symlink_target": "z"}), Some("besides those")),
        (json!({"file_mode": link, "data": bytes("../x"), "symlink_src": "x"}), Some("disagree")),
    ];
    check_copies(&Rig::new(), cases.into_iter().map(|(fields, reason)| (with(&path, &fields), reason)).collect());
}

#[test]
fn permission_bits_and_numbers_are_bounded() {
    let set = |mut request: Value, field: &str, value: Value| {
        request[field] = value;
        request
    };
    let hosts = || file(&copied('c', "hosts"));
    let mode = |mode: u32| copy_file_request(&copied('c', "podinfo/x"), mode, 0, "");
    let mut cases = vec![
        (mode(0o100_777), None),
        (mode(0o104_755), Some("no set-user-id")),
        (mode(0o102_755), Some("no set-user-id, set-group-id or sticky bit")),
        (mode(0o101_755), Some("sticky")),
        (mode(0o107_777), Some("no set-user-id")),
        // The kubelet's own directories are sticky, and pass on `fsGroup`.
        (mode(0o043_777), None),
        (mode(0o044_755), Some("no set-user-id bit")),
        (mode(0o200_644), Some("not a file")),
        (set(hosts(), "dir_mode", json!(0o040_750)), None),
        (set(hosts(), "dir_mode", json!(0)), None),
        (set(hosts(), "dir_mode", json!(0o4755)), Some("dir_mode: got 2541")),
        (set(hosts(), "dir_mode", json!("x")), Some("dir_mode: got")),
        (set(hosts(), "uid", json!(2000)), None),
    ];
    for field in ["file_size", "offset", "uid", "gid"] {
        for value in [json!(-1), json!(1.5), json!("0"), json!(null), json!([0])] {
            cases.push((set(hosts(), field, value), Some(field)));
        }
    }
    check_copies(&Rig::new(), cases);
}

/// The agent writes a file beside its place, under its name with another ending, and renames it when it is whole. Whoever
/// may write twice could write into what is in its place already.
#[test]
fn a_single_file_is_copied_once_and_whole() {
    let rig = Rig::new();
    let mut engine = rig.engine(4);
    let mut decide = |request: &Value| {
        let decision = engine.decide("CopyFileRequest", request).unwrap();
        (decision.allowed, decision.reasons.join("; "))
    };
    let drawn = |random: &str, rest: &str| copied('c', rest).replace("0123456789abcdef", random);
    let hosts = |random: &str| file(&drawn(random, "hosts"));
    let mut late = hosts("1111111111111111");
    late["offset"] = json!(5);
    let (allowed, reasons) = decide(&late);
    assert!(!allowed && reasons.contains("offset: got 5, policy has single files that come whole"), "{reasons}");
    assert!(decide(&hosts("1111111111111111")).0, "what was refused is not remembered");
    // Not again, not in part, and not by another name or mode under the same digits.
    for again in [
        hosts("1111111111111111"),
        late,
        file(&drawn("1111111111111111", "hostname")),
        copy_file_request(&drawn("1111111111111111", "hosts"), 0o100_444, 0, ""),
    ] {
        let (allowed, reasons) = decide(&again);
        assert!(!allowed && reasons.contains("which was copied already"), "{again}: {reasons}");
    }
    assert!(decide(&hosts("2222222222222222")).0);
    // The files of a tree are the kubelet's to change, and long ones come in parts.
    for offset in [0, 7, 0] {
        let mut part = file(&drawn("1111111111111111", "podinfo/x"));
        part["offset"] = json!(offset);
        assert!(decide(&part).0);
    }
}
