//! GPUs: as many as the container asked for, in the shapes of the shims, and nothing else.

use super::*;

/// The rig with a container that asks for GPUs.
fn rig(gpus: u32) -> Rig {
    let mut resource = resource();
    let containers = &mut resource["spec"]["template"]["spec"]["containers"];
    containers[0]["resources"]["limits"]["nvidia.com/GH100_H100_80GB"] = json!(gpus);
    Rig::of(&resource, Openings::default())
}

/// What a shim that plugs devices adds to a request. The numbers are the host's.
pub(super) fn give_gpus(request: &mut Value, gpus: usize) {
    let numbers = (0..gpus).map(|index| index * 3 + 7);
    let device = |number: usize| {
        json!({"id": format!("vfio{number}"), "type_": "vfio-pci-gk", "vm_path": "",
            "container_path": format!("/dev/vfio/devices/vfio{number}"),
            "options": [format!("0000:{number:02x}:00.0=02/{number:02x}")]})
    };
    request["devices"] = numbers.clone().map(device).collect();
    for (index, number) in numbers.enumerate() {
        request["OCI"]["Annotations"][format!("cdi.k8s.io/vfio{number}")] = json!(format!("nvidia.com/gpu={index}"));
    }
}

fn decide(rig: &Rig, request: &Value) -> Decision {
    rig.engine(3).decide("CreateContainerRequest", request).unwrap()
}

#[test]
fn a_container_gets_the_gpus_that_it_asked_for() {
    for gpus in [1, 2, 8] {
        let rig = rig(gpus);
        let mut request = rig.workload();
        give_gpus(&mut request, usize::try_from(gpus).unwrap());
        assert!(decide(&rig, &request).allowed, "{:?}", decide(&rig, &request));
        // In the guest since before it started.
        request["devices"] = json!([]);
        assert!(decide(&rig, &request).allowed);
        request.as_object_mut().unwrap().remove("devices");
        assert!(decide(&rig, &request).allowed);
    }
}

#[test]
fn every_changed_leaf_of_a_gpu_is_refused_and_named() {
    let rig = rig(2);
    let mut life = rig.life();
    give_gpus(&mut life[3].1, 2);
    // The metadata beside the image repeats annotations, and may leave some out.
    let tried = mutate::every_change_is_refused(&rig.policy, &life);
    assert!(tried > 3000, "only {tried} changes were tried");
}

#[test]
fn gpus_are_exactly_those_of_the_policy() {
    let rig = rig(2);
    let key = |number: u32| format!("cdi.k8s.io/vfio{number}");
    type Change<'a> = (&'a str, Box<dyn Fn(&mut Value)>, &'a str);
    let changes: Vec<Change<'_>> = vec![
        ("none at all", Box::new(|r| *r = Rig::workload(&self::rig(2))), "got 0 GPUs, policy has 2"),
        (
            "one annotation less",
            Box::new(move |r| drop(r["OCI"]["Annotations"].as_object_mut().unwrap().remove(&key(7)))),
            "got 1 GPUs, policy has 2",
        ),
        (
            "one annotation more",
            Box::new(move |r| r["OCI"]["Annotations"][key(8)] = json!("nvidia.com/gpu=1")),
            "got 3 GPUs, policy has 2",
        ),
        (
            "the same GPU twice",
            Box::new(move |r| r["OCI"]["Annotations"][key(10)] = json!("nvidia.com/gpu=0")),
            "cdi.k8s.io/vfio10: \"nvidia.com/gpu=0\" is there twice",
        ),
        (
            "a GPU of nobody",
            Box::new(move |r| r["OCI"]["Annotations"][key(10)] = json!("nvidia.com/gpu=2")),
            "cdi.k8s.io/vfio10: got \"nvidia.com/gpu=2\", policy has nvidia.com/gpu=0 to 1",
        ),
        (
            "another spelling of an index",
            Box::new(move |r| r["OCI"]["Annotations"][key(10)] = json!("nvidia.com/gpu=01")),
            "got \"nvidia.com/gpu=01\"",
        ),
        (
            "all GPUs",
            Box::new(move |r| r["OCI"]["Annotations"][key(10)] = json!("nvidia.com/gpu=all")),
            "got \"nvidia.com/gpu=all\"",
        ),
        (
            "two in one",
            Box::new(move |r| r["OCI"]["Annotations"][key(10)] = json!("nvidia.com/gpu=1,nvidia.com/gpu=0")),
            "got \"nvidia.com/gpu=1,nvidia.com/gpu=0\"",
        ),
        (
            "a device of another vendor",
            Box::new(move |r| r["OCI"]["Annotations"][key(10)] = json!("evil.com/disk=1")),
            "got \"evil.com/disk=1\"",
        ),
        (
            "a CDI device by another key",
            Box::new(|r| r["OCI"]["Annotations"]["cdi.k8s.io/gpu"] = json!("nvidia.com/gpu=0")),
            "OCI.Annotations.cdi.k8s.io/gpu: got",
        ),
        (
            "a key that is no number",
            Box::new(|r| r["OCI"]["Annotations"]["cdi.k8s.io/vfiox"] = json!("nvidia.com/gpu=0")),
            "OCI.Annotations.cdi.k8s.io/vfiox: got",
        ),
        ("one device of two", Box::new(|r| drop(r["devices"].as_array_mut().unwrap().pop())), "devices: got 1, policy"),
        (
            "one device more",
            Box::new(|r| {
                let device = r["devices"][0].clone();
                r["devices"].as_array_mut().unwrap().push(device);
            }),
            "devices: got 3, policy has none or 2",
        ),
        (
            "a device twice",
            Box::new(|r| r["devices"][1] = r["devices"][0].clone()),
            "devices[1].id: \"vfio7\" is there twice",
        ),
        (
            "a device that no annotation names",
            Box::new(|r| {
                r["devices"][0]["id"] = json!("vfio9");
                r["devices"][0]["container_path"] = json!("/dev/vfio/devices/vfio9");
            }),
            "devices[0].id: got \"vfio9\", which no annotation cdi.k8s.io/vfio9 names",
        ),
        ("a disk", Box::new(|r| r["devices"][0]["type_"] = json!("blk")), "devices[0].type_: got \"blk\""),
        (
            "a device for the process itself",
            Box::new(|r| r["devices"][0]["type_"] = json!("vfio-pci")),
            "devices[0].type_: got \"vfio-pci\", policy has \"vfio-pci-gk\"",
        ),
        (
            "another place",
            Box::new(|r| r["devices"][0]["container_path"] = json!("/dev/vfio/devices/vfio8")),
            "devices[0].container_path: got",
        ),
        (
            "a path in the guest",
            Box::new(|r| r["devices"][0]["vm_path"] = json!("/dev/sda")),
            "devices[0].vm_path: got",
        ),
        ("no option", Box::new(|r| r["devices"][0]["options"] = json!([])), "devices[0].options: got []"),
        (
            "two functions in one",
            Box::new(|r| r["devices"][0]["options"].as_array_mut().unwrap().push(json!("0000:01:00.0=02/01"))),
            "devices[0].options: got",
        ),
        (
            "no address",
            Box::new(|r| r["devices"][0]["options"] = json!(["0000:01:00.0"])),
            "devices[0].options: got \"0000:01:00.0\"",
        ),
        ("no list", Box::new(|r| r["devices"] = json!({"a": 1})), "devices: got {\"a\":1}, policy has a list"),
    ];
    for (what, change, word) in changes {
        let mut request = rig.workload();
        give_gpus(&mut request, 2);
        change(&mut request);
        let decision = decide(&rig, &request);
        assert!(!decision.allowed, "{what}");
        assert!(decision.reasons.iter().any(|reason| reason.contains(word)), "{what}: {:#?}", decision.reasons);
    }
}

#[test]
fn who_asked_for_none_gets_none() {
    // Neither another container of a pod with GPUs, nor the pause container, nor one of a pod without.
    let rig = rig(1);
    let mut initializer = rig.container("initContainers", &"b".repeat(64));
    give_gpus(&mut initializer, 1);
    let mut pause = pause_request(&rig.pod, &rig.instance);
    give_gpus(&mut pause, 1);
    let plain = Rig::new();
    let mut workload = plain.workload();
    give_gpus(&mut workload, 1);
    for (rig, steps, request) in [(&rig, 2, initializer), (&rig, 1, pause), (&plain, 3, workload)] {
        let decision = rig.engine(steps).decide("CreateContainerRequest", &request).unwrap();
        assert!(!decision.allowed);
        for word in ["devices: got", "OCI.Annotations.cdi.k8s.io/vfio7: got"] {
            assert!(decision.reasons.iter().any(|reason| reason.contains(word)), "{:#?}", decision.reasons);
        }
        let mut annotated = request.clone();
        annotated["devices"] = json!([]);
        assert!(!rig.engine(steps).decide("CreateContainerRequest", &annotated).unwrap().allowed);
        let mut plugged = request;
        let annotations = plugged["OCI"]["Annotations"].as_object_mut().unwrap();
        annotations.retain(|key, _| !key.starts_with("cdi.k8s.io/"));
        assert!(!rig.engine(steps).decide("CreateContainerRequest", &plugged).unwrap().allowed);
    }
}

#[test]
fn a_gpu_is_one_live_containers() {
    let mut resource = resource();
    let containers = resource["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
    containers[0]["resources"]["limits"]["nvidia.com/GH100_H100_80GB"] = json!(2);
    let mut second = containers[0].clone();
    second["name"] = json!("second");
    second["resources"]["limits"]["nvidia.com/GH100_H100_80GB"] = json!(1);
    containers.push(second);
    let rig = Rig::of(&resource, Openings::default());
    let mut first = rig.workload();
    give_gpus(&mut first, 2);
    let second = |gpu: u32| {
        let mut request = rig.container_at("containers", 1, &"d".repeat(64));
        request["OCI"]["Annotations"]["cdi.k8s.io/vfio20"] = json!(format!("nvidia.com/gpu={gpu}"));
        request
    };
    let mut engine = rig.engine(3);
    assert!(engine.decide("CreateContainerRequest", &first).unwrap().allowed);
    for taken in [0, 1] {
        let decision = engine.decide("CreateContainerRequest", &second(taken)).unwrap();
        let word = format!("\"nvidia.com/gpu={taken}\" is container inference's, which lives");
        assert!(!decision.allowed && decision.reasons.iter().any(|reason| reason.contains(&word)), "{decision:?}");
    }
    assert!(engine.decide("CreateContainerRequest", &second(2)).unwrap().allowed);
    // What a removed container had is free again, and what a live one has is not.
    let removal = json!({"container_id": "c".repeat(64), "timeout": 0});
    assert!(engine.decide("RemoveContainerRequest", &removal).unwrap().allowed);
    let mut again = rig.container("containers", &"e".repeat(64));
    give_gpus(&mut again, 2);
    let mut greedy = again.clone();
    greedy["OCI"]["Annotations"]["cdi.k8s.io/vfio7"] = json!("nvidia.com/gpu=2");
    assert!(!engine.decide("CreateContainerRequest", &greedy).unwrap().allowed);
    assert!(engine.decide("CreateContainerRequest", &again).unwrap().allowed);
}
