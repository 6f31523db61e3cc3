//! VOLUMEs of images: containerd mounts a directory of the host at each, unless the pod mounts something there. So
//! `generate` mounts an `emptyDir`, which is the guest's own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DONE_PATH, array, push};
use crate::images::ImageConfig;
use crate::request::{RequestError, clean, open_volumes};

/// Before the number of a volume that stands for a VOLUME of an image.
pub(super) const IMAGE_VOLUME_PREFIX: &str = "casemate-image-volume-";

/// Where nothing of a user's is mounted: the guest's own file systems, and what initializer and launcher have.
const RESERVED: [&str; 7] = ["/proc", "/sys", "/dev", "/casemate", "/casemate-in", "/casemate-files", DONE_PATH];

/// LIMIT: an image with more than this many VOLUMEs is a mistake, and each costs a mount.
const MAX_VOLUMES: usize = 64;

/// Mounts an `emptyDir` at every VOLUME of an image that the pod leaves open, and says so.
pub(in crate::generate) fn image_volumes(
    pod: &mut Value,
    images: &BTreeMap<String, ImageConfig>,
    notices: &mut Vec<String>,
) -> Result<(), RequestError> {
    let mut made = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in array(&mut pod["spec"], list).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            let Some(image) = images.get(&name) else { continue };
            let open = open_volumes(container, image);
            if made.len() + open.len() > MAX_VOLUMES {
                return Err(RequestError::Refused {
                    path: format!("containers.{name}.image"),
                    reason: format!("the images of the pod have more than {MAX_VOLUMES} VOLUMEs"),
                    hint: "build the image with fewer".into(),
                });
            }
            for path in open {
                check(&path, &name)?;
                let volume = format!("{IMAGE_VOLUME_PREFIX}{}", made.len() + 1);
                push(container, "volumeMounts", json!({"name": volume, "mountPath": path}));
                made.push(volume);
                notices.push(format!(
                    "container `{name}`: at the image's VOLUME `{path}` is an `emptyDir` of the guest, so that the host \
                     mounts nothing there; what the image has there is hidden, and what is written there ends with the \
                     pod; mount a volume there to have another"
                ));
            }
        }
    }
    for volume in made {
        push(&mut pod["spec"], "volumes", json!({"name": volume, "emptyDir": {}}));
    }
    Ok(())
}

fn check(path: &str, container: &str) -> Result<(), RequestError> {
    let inside = |outer: &str| path == outer || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    let refuse = |reason: String| {
        Err(RequestError::Refused {
            path: format!("containers.{container}.image"),
            reason: format!("the image has a VOLUME `{path}`, {reason}"),
            hint: "build the image without it".into(),
        })
    };
    if clean(path).len() < 2 || path.split('/').any(|part| part == "..") || path.contains(':') {
        return refuse("which is no path that can be mounted at".into());
    }
    match RESERVED.into_iter().find(|reserved| inside(reserved)) {
        Some(reserved) => refuse(format!("and `{reserved}` is not the image's")),
        None => Ok(()),
    }
}

/// Takes the volumes off again.
pub(super) fn strip(spec: &mut Value) {
    let ours = |item: &Value| item["name"].as_str().is_some_and(|name| name.starts_with(IMAGE_VOLUME_PREFIX));
    for list in ["initContainers", "containers"] {
        for container in array(spec, list).into_iter().flatten() {
            if let Some(mounts) = array(container, "volumeMounts") {
                mounts.retain(|mount| !ours(mount));
            }
        }
    }
    if let Some(volumes) = array(spec, "volumes") {
        volumes.retain(|volume| !ours(volume));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inject(pod: &mut Value, volumes: &[&str]) -> Result<Vec<String>, RequestError> {
        let volumes = volumes.iter().map(|volume| (*volume).to_owned()).collect();
        let images = [("db".to_owned(), ImageConfig { volumes, ..ImageConfig::default() })].into();
        let mut notices = Vec::new();
        image_volumes(pod, &images, &mut notices).map(|()| notices)
    }

    fn pod(mounts: Value) -> Value {
        json!({"spec": {"containers": [{"name": "other"}, {"name": "db", "volumeMounts": mounts}]}})
    }

    #[test]
    fn an_open_volume_becomes_an_empty_dir_once_and_is_taken_off_again() {
        let before = pod(json!([{"name": "v", "mountPath": "/data"}]));
        let mut made = before.clone();
        let notices = inject(&mut made, &["/data/", "/var/lib/db", "var/lib//db/", "/log"]).unwrap();
        let mounts = json!([
            {"name": "v", "mountPath": "/data"},
            {"name": "casemate-image-volume-1", "mountPath": "/var/lib/db"},
            {"name": "casemate-image-volume-2", "mountPath": "/log"},
        ]);
        assert_eq!(made["spec"]["containers"][1]["volumeMounts"], mounts);
        assert_eq!(made["spec"]["volumes"][1], json!({"name": "casemate-image-volume-2", "emptyDir": {}}));
        assert_eq!(notices.len(), 2);
        assert!(notices[0].contains("container `db`") && notices[0].contains("VOLUME `/var/lib/db`"), "{notices:?}");
        assert!(inject(&mut made.clone(), &["/log"]).unwrap().is_empty(), "what is mounted is not mounted again");
        strip(&mut made["spec"]);
        assert_eq!(made["spec"]["containers"], before["spec"]["containers"]);
        assert_eq!(made["spec"]["volumes"], json!([]));
    }

    #[test]
    fn volumes_where_the_guest_or_we_have_our_own_are_refused() {
        for path in [
            "/",
            "",
            ".",
            "/proc",
            "/proc/x",
            "/sys",
            "/dev/shm",
            "/casemate",
            "/casemate/bin",
            "/casemate-in/x",
            "/casemate-done",
            "/a/../b",
            "/a:b",
        ] {
            let error = inject(&mut pod(json!([])), &[path]).unwrap_err();
            assert!(error.to_string().starts_with("`containers.db.image`: the image has a VOLUME"), "{path}: {error}");
        }
        assert!(inject(&mut pod(json!([])), &["/process", "/casemates", "/system"]).is_ok());
        let many: Vec<_> = (0..65).map(|number| format!("/v{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(inject(&mut pod(json!([])), &many).unwrap_err().to_string().contains("more than 64"));
        assert!(inject(&mut pod(json!([])), &many[1..]).is_ok());
    }
}
