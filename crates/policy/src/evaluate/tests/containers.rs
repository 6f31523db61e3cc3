//! Parts of a container's request that hosts of different ages say differently, and layers that no host may attach.

use super::*;

fn create(rig: &Rig, change: impl Fn(&mut Value)) -> Decision {
    let mut request = rig.workload();
    change(&mut request);
    rig.engine(3).decide("CreateContainerRequest", &request).unwrap()
}

fn has(decision: &Decision, word: &str) -> bool {
    !decision.allowed && decision.reasons.iter().any(|reason| reason.contains(word))
}

/// Sets the image in everything that names it.
fn name_image(request: &mut Value, annotation: &str, source: &str, metadata: &str) {
    let key = "io.kubernetes.cri.image-name";
    request["OCI"]["Annotations"][key] = json!(annotation);
    request["storages"][0]["source"] = json!(source);
    let options = request["storages"][0]["driver_options"][0].as_str().unwrap();
    let text = options.strip_prefix("image_guest_pull=").unwrap();
    let mut pull: Value = serde_json::from_str(text).unwrap();
    pull["metadata"][key] = json!(metadata);
    request["storages"][0]["driver_options"][0] = json!(format!("image_guest_pull={pull}"));
}

#[test]
fn an_image_has_two_spellings_and_no_more() {
    let rig = Rig::new();
    let digest = IMAGE.split_once('@').unwrap().1;
    let untagged = format!("localhost:5000/casemate/digits@{digest}");
    for name in [IMAGE, &untagged] {
        let decision = create(&rig, |request| name_image(request, name, name, name));
        assert!(decision.allowed, "{name}: {decision:?}");
    }
    let key = "OCI.Annotations.io.kubernetes.cri.image-name: got";
    for other in [
        "localhost:5000/casemate/digits:1",
        "localhost:5000/casemate/digits",
        &format!("localhost:5000/casemate/digits:2@{digest}"),
        &format!("localhost:5000/casemate/digits:@{digest}"),
        &format!("localhost/casemate/digits@{digest}"),
        &format!("casemate/digits@{digest}"),
        &format!("{untagged}0"),
        &untagged.replace("0123", "3210"),
        digest,
        "",
    ] {
        let decision = create(&rig, |request| name_image(request, other, other, other));
        assert!(has(&decision, key), "{other}: {decision:?}");
    }
    // Every place names the same one.
    let decision = create(&rig, |request| name_image(request, IMAGE, &untagged, IMAGE));
    assert!(has(&decision, "storages[0].source: got"), "{decision:?}");
    let decision = create(&rig, |request| name_image(request, &untagged, IMAGE, &untagged));
    assert!(has(&decision, "storages[0].source: got"), "{decision:?}");
    let decision = create(&rig, |request| name_image(request, IMAGE, IMAGE, &untagged));
    assert!(has(&decision, "metadata.io.kubernetes.cri.image-name: got"), "{decision:?}");
    let decision = create(&rig, |request| name_image(request, IMAGE, "$(image)", IMAGE));
    assert!(has(&decision, "storages[0].source: got"), "{decision:?}");
    let decision = create(&rig, |request| {
        request["OCI"]["Annotations"].as_object_mut().unwrap().remove("io.kubernetes.cri.image-name");
    });
    assert!(has(&decision, "io.kubernetes.cri.image-name: missing, policy has"), "{decision:?}");
    // The pause container is the agent's own and names none.
    let mut pause = pause_request(&rig.pod, &rig.instance);
    pause["OCI"]["Annotations"]["io.kubernetes.cri.image-name"] = json!(IMAGE);
    let decision = rig.engine(1).decide("CreateContainerRequest", &pause).unwrap();
    assert!(has(&decision, "io.kubernetes.cri.image-name: got"), "{decision:?}");
}

#[test]
fn the_cgroup_file_system_is_read_only_with_its_own_options() {
    let rig = Rig::new();
    let plain = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    let with = |more: &[&str]| json!(plain.iter().chain(more).collect::<Vec<_>>());
    let allowed = [
        with(&[]),
        with(&["nsdelegate"]),
        with(&["memory_recursiveprot"]),
        with(&["nsdelegate", "memory_recursiveprot"]),
        with(&["memory_recursiveprot", "nsdelegate"]),
    ];
    for options in allowed {
        let decision = create(&rig, |request| set_mount(request, "/sys/fs/cgroup", "options", options.clone()));
        assert!(decision.allowed, "{options}: {decision:?}");
    }
    let refused = [
        json!(["nosuid", "noexec", "nodev", "relatime", "rw"]),
        json!(["nosuid", "noexec", "nodev", "relatime", "rw", "nsdelegate"]),
        json!(["nosuid", "noexec", "nodev", "relatime", "nsdelegate"]),
        with(&["rw"]),
        with(&["memory_hugetlb"]),
        with(&["nsdelegate", "nsdelegate"]),
        with(&["ro"]),
        json!(["nsdelegate"]),
        json!([]),
        json!("ro"),
        json!(null),
    ];
    for options in refused {
        let decision = create(&rig, |request| set_mount(request, "/sys/fs/cgroup", "options", options.clone()));
        assert!(has(&decision, "OCI.Mounts./sys/fs/cgroup.options"), "{options}: {decision:?}");
    }
    let decision = create(&rig, |request| {
        set_mount(request, "/sys", "options", json!(["nosuid", "noexec", "nodev", "ro", "nsdelegate"]));
    });
    assert!(has(&decision, "OCI.Mounts./sys.options[4]: got \"nsdelegate\""), "{decision:?}");
}

#[test]
fn layers_of_the_host_are_refused_by_name() {
    let rig = Rig::new();
    let erofs = "an EROFS layer with a dm-verity root hash of the host, which no policy allows yet";
    let layers = [
        (json!({"driver": "erofs.multi-layer", "source": "0/1", "fstype": "erofs", "options": ["ro"]}), erofs),
        (json!({"driver": "blk", "source": "0/1", "fstype": "erofs", "options": []}), erofs),
        (
            json!({"driver": "blk", "source": "0/1", "fstype": "ext4",
                "options": ["X-kata.overlay-upper", "X-kata.multi-layer=true"]}),
            erofs,
        ),
        (
            json!({"driver": "scsi", "source": "0:0", "fstype": "x",
                "options": ["X-kata.dmverity-enabled=true", "X-kata.dmverity.roothash=00"]}),
            erofs,
        ),
        (
            json!({"driver": "blk", "source": "0001:00:01.0", "fstype": "tar",
                "options": ["ro", "io.katacontainers.fs-opt.root-hash=81"]}),
            "a layer with a dm-verity root hash of the host",
        ),
    ];
    for (mut layer, reason) in layers {
        layer["driver_options"] = json!([]);
        layer["mount_point"] = json!(format!("/run/kata-containers/{}/rootfs", "c".repeat(64)));
        let decision = create(&rig, |request| request["storages"][0] = layer.clone());
        assert!(has(&decision, &format!("storages[0]: {reason}")), "{layer}: {decision:?}");
        let decision = create(&rig, |request| request["storages"].as_array_mut().unwrap().push(layer.clone()));
        assert!(has(&decision, reason), "{layer}: {decision:?}");
    }
}
