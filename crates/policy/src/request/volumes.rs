//! What a volume of a pod is to the guest, and what a mount takes of it.

use serde_json::{Value, json};

use super::{RequestError, clean, text};

/// A volume whose files the kubelet writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileVolume {
    /// `configMap`.
    ConfigMap,
    /// `secret`.
    Secret,
    /// `projected` of ConfigMaps and Secrets alone.
    Projected,
    /// `downwardAPI`.
    DownwardApi,
    /// `projected` with a token of a service account or fields of the pod, which change while the pod runs.
    Live,
}

impl FileVolume {
    /// Whether `generate` knows every file of it, so that the initializer can compare them.
    pub fn is_known(self) -> bool {
        matches!(self, Self::ConfigMap | Self::Secret | Self::Projected)
    }
}

/// What a volume of a pod is to the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VolumeKind {
    /// `emptyDir` with `medium: Memory`: a tmpfs in guest memory, shared by the containers of the pod.
    Memory,
    /// `emptyDir`: a directory in the guest, on whatever the guest has.
    Directory,
    /// Files that the host copies in, per container, read-only.
    Files(FileVolume),
    /// `persistentVolumeClaim`, or `ephemeral`, which makes a claim for the pod: the host's directory.
    Claim,
}

/// The API server's own ConfigMap in every namespace, beside the token in the volume that Kubernetes mounts by itself.
const ROOT_CA: &str = "kube-root-ca.crt";

/// Volumes that no policy binds: source, reason, what to do instead.
const REFUSED: [(&str, &str, &str); 16] = [
    ("awsElasticBlockStore", OF_HOST_DISK, CLAIM),
    ("azureDisk", OF_HOST_DISK, CLAIM),
    ("azureFile", OF_HOST_DISK, CLAIM),
    ("cephfs", OF_HOST_DISK, CLAIM),
    ("csi", "the driver on the host makes its content, and a driver of secrets would show them to the host", SECRET),
    ("fc", OF_HOST_DISK, CLAIM),
    ("flexVolume", OF_HOST_DISK, CLAIM),
    ("gcePersistentDisk", OF_HOST_DISK, CLAIM),
    (
        "gitRepo",
        "the host clones it, and may put anything there",
        "clone in an init container, and check what was cloned",
    ),
    ("glusterfs", OF_HOST_DISK, CLAIM),
    ("hostPath", "a path of the host means nothing inside the guest, and its content is the host's", CLAIM),
    (
        "image",
        "the host unpacks it, and no digest of its files is checked in the guest",
        "build the files into the image",
    ),
    ("iscsi", OF_HOST_DISK, CLAIM),
    ("nfs", OF_HOST_DISK, CLAIM),
    ("rbd", OF_HOST_DISK, CLAIM),
    ("vsphereVolume", OF_HOST_DISK, CLAIM),
];
const KNOWN_SOURCES: &str =
    "known are `configMap`, `secret`, `projected`, `downwardAPI`, `emptyDir`, `persistentVolumeClaim` and `ephemeral`";
const OF_HOST_DISK: &str = "the host mounts it, and reads and writes what is in it";
const CLAIM: &str =
    "take an `emptyDir`, or a `persistentVolumeClaim` whose content the program encrypts and checks itself";
const SECRET: &str =
    "secrets of `casemate secret put` are in `/casemate/secrets`; for data take a `persistentVolumeClaim`";

/// The kind of one element of `spec.volumes`.
pub fn volume_kind(volume: &Value) -> Result<VolumeKind, RequestError> {
    let name = text(volume, "name").unwrap_or_default();
    let path = format!("volumes.{name}");
    let mut kinds = volume.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| *key != "name");
    let (kind, more) = (kinds.next(), kinds.next());
    if let Some((kind, more)) = kind.zip(more) {
        let hint = format!("keep one of `{kind}` and `{more}`");
        return Err(RequestError::Refused { path, reason: "a volume has one source".into(), hint });
    }
    match kind.map(String::as_str) {
        // A volume without a source is an emptyDir.
        None => Ok(VolumeKind::Directory),
        Some("emptyDir") => match volume["emptyDir"]["medium"].as_str().unwrap_or_default() {
            "Memory" => Ok(VolumeKind::Memory),
            "" => Ok(VolumeKind::Directory),
            other => Err(RequestError::Refused {
                path: format!("{path}.emptyDir.medium"),
                reason: format!("medium `{other}` is not supported"),
                hint: "write `Memory`, or leave it out".into(),
            }),
        },
        Some("configMap") => Ok(VolumeKind::Files(FileVolume::ConfigMap)),
        Some("secret") => Ok(VolumeKind::Files(FileVolume::Secret)),
        Some("downwardAPI") => Ok(VolumeKind::Files(FileVolume::DownwardApi)),
        Some("projected") => projected(&volume["projected"], &path).map(VolumeKind::Files),
        Some("persistentVolumeClaim" | "ephemeral") => Ok(VolumeKind::Claim),
        Some(other) => match REFUSED.iter().find(|(kind, _, _)| *kind == other) {
            Some((_, reason, hint)) => {
                let reason = format!("`{other}` is not supported: {reason}");
                Err(RequestError::Refused { path, reason, hint: (*hint).to_owned() })
            }
            None => {
                let reason = format!("a volume of type `{other}` is not known");
                Err(RequestError::Refused { path, reason, hint: KNOWN_SOURCES.into() })
            }
        },
    }
}

fn projected(volume: &Value, path: &str) -> Result<FileVolume, RequestError> {
    let (mut known, mut live) = (None, false);
    for (index, source) in volume["sources"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.projected.sources[{index}]");
        let mut kinds = source.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        match (kinds.next().map(|(kind, _)| kind.as_str()), kinds.next()) {
            (Some("configMap"), None) if source["configMap"]["name"] == json!(ROOT_CA) => live = true,
            (Some("configMap" | "secret"), None) => known = Some(path),
            (Some("serviceAccountToken" | "downwardAPI"), None) => live = true,
            (Some(kind), None) => {
                return Err(RequestError::Refused {
                    path,
                    reason: format!("`{kind}` is not supported: the cluster makes its files, and nothing binds them"),
                    hint: "the mesh's certificates are in `/casemate/tls-config`".into(),
                });
            }
            _ => {
                let hint = "write each kind as an element of its own".into();
                return Err(RequestError::Refused { path, reason: "a source has one kind".into(), hint });
            }
        }
    }
    match known {
        Some(path) if live => Err(RequestError::Refused {
            path,
            reason: "ConfigMaps and Secrets are compared with digests, tokens and fields of the pod change while it \
                     runs, and one volume cannot do both"
                .into(),
            hint: "project them into two volumes".into(),
        }),
        None if live => Ok(FileVolume::Live),
        _ => Ok(FileVolume::Projected),
    }
}

/// The mount of a container at `destination`.
fn mount_at<'a>(container: &'a Value, destination: &str) -> Option<&'a Value> {
    let mounts = container["volumeMounts"].as_array()?;
    mounts.iter().find(|mount| mount["mountPath"].as_str().map(clean) == Some(clean(destination)))
}

/// The volume that a container mounts at `destination`.
pub fn mount_volume<'a>(pod: &'a Value, container: &Value, destination: &str) -> Option<&'a Value> {
    let name = mount_at(container, destination)?["name"].as_str()?;
    pod["spec"]["volumes"].as_array()?.iter().find(|volume| volume["name"].as_str() == Some(name))
}

/// The single file of a volume that a container mounts at `destination`, by its path in the volume.
pub fn mounted_file<'a>(container: &'a Value, destination: &str) -> Option<&'a str> {
    text(mount_at(container, destination)?, "subPath")
}

/// The file that an element of `volumeMounts` takes of its volume, if it takes one and no more. Part of any other volume
/// is refused: the kubelet resolves the path on the host, and hands the runtime whatever it finds there.
pub(super) fn sub_path<'a>(mount: &'a Value, kind: VolumeKind, path: &str) -> Result<Option<&'a str>, RequestError> {
    let refuse = |field: &str, reason: &str, hint: &str| {
        Err(RequestError::Refused { path: format!("{path}.{field}"), reason: reason.to_owned(), hint: hint.to_owned() })
    };
    if text(mount, "subPathExpr").is_some() {
        let hint = "mount the whole volume, and let the program choose a path inside it";
        return refuse("subPathExpr", "not supported: the host chooses what is there", hint);
    }
    let Some(file) = text(mount, "subPath") else { return Ok(None) };
    match kind {
        // The kubelet does not update a single file of the downward API while the pod runs.
        VolumeKind::Files(files) if files.is_known() || files == FileVolume::DownwardApi => {}
        VolumeKind::Files(_) => {
            return refuse("subPath", "not supported: the file changes while the pod runs", "mount the whole volume");
        }
        VolumeKind::Claim => {
            let hint = "mount the whole claim, and let the program use a path inside it";
            return refuse("subPath", "not supported in a claim: the host chooses what is there", hint);
        }
        VolumeKind::Memory | VolumeKind::Directory => {
            let hint = "mount the whole volume, or give each path an `emptyDir` of its own";
            return refuse("subPath", "not supported in an `emptyDir`, which the host does not see", hint);
        }
    }
    if file.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return refuse("subPath", "not a path inside the volume", "write it without `.`, `..` and double slashes");
    }
    // Agents write into a file of this ending and then rename it, so that what was mounted never changes. A file that
    // has the ending itself would be written in place.
    let destination = mount["mountPath"].as_str().unwrap_or_default();
    if clean(destination).strip_suffix(".tmp").is_some() {
        return refuse("mountPath", "a single file must not end in `.tmp`", "mount it under another name");
    }
    if destination.contains(':') {
        return refuse("mountPath", "Kubernetes refuses `:` in a path", "mount it under another name");
    }
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(source: Value) -> Result<VolumeKind, RequestError> {
        let mut volume = source;
        volume["name"] = json!("v");
        volume_kind(&volume)
    }

    #[test]
    fn each_source_is_what_it_is_to_the_guest() {
        use FileVolume::{ConfigMap, DownwardApi, Live, Projected, Secret};
        let token = json!({"serviceAccountToken": {"path": "token"}});
        let (map, secret) = (json!({"configMap": {"name": "m"}}), json!({"secret": {"name": "s"}}));
        let root_ca = json!({"configMap": {"name": "kube-root-ca.crt"}});
        let projected = |sources: Value| json!({"projected": {"sources": sources}});
        for (source, wanted) in [
            (json!({}), VolumeKind::Directory),
            (json!({"emptyDir": {}}), VolumeKind::Directory),
            (json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}), VolumeKind::Memory),
            (json!({"configMap": {"name": "m"}}), VolumeKind::Files(ConfigMap)),
            (json!({"secret": {"secretName": "s"}}), VolumeKind::Files(Secret)),
            (json!({"downwardAPI": {}}), VolumeKind::Files(DownwardApi)),
            (json!({"persistentVolumeClaim": {"claimName": "c"}}), VolumeKind::Claim),
            (json!({"ephemeral": {"volumeClaimTemplate": {}}}), VolumeKind::Claim),
            (projected(json!([map, secret])), VolumeKind::Files(Projected)),
            (projected(json!([])), VolumeKind::Files(Projected)),
            (projected(json!([token])), VolumeKind::Files(Live)),
            (projected(json!([token, root_ca, {"downwardAPI": {}}])), VolumeKind::Files(Live)),
        ] {
            assert_eq!(kind(source.clone()), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn what_no_policy_binds_is_refused_with_its_reason() {
        for (source, path, word) in [
            (json!({"hostPath": {"path": "/"}}), "volumes.v", "`hostPath` is not supported: a path of the host"),
            (json!({"csi": {"driver": "x"}}), "volumes.v", "`csi` is not supported: the driver on the host"),
            (json!({"nfs": {}}), "volumes.v", "`nfs` is not supported: the host mounts it"),
            (json!({"iscsi": {}}), "volumes.v", "the host mounts it"),
            (json!({"image": {}}), "volumes.v", "the host unpacks it"),
            (json!({"somethingNew": {}}), "volumes.v", "`somethingNew`"),
            (json!({"emptyDir": {}, "hostPath": {}}), "volumes.v", "one source"),
            (json!({"emptyDir": {"medium": "HugePages"}}), "volumes.v.emptyDir.medium", "`HugePages`"),
            (
                json!({"projected": {"sources": [{"clusterTrustBundle": {}}]}}),
                "volumes.v.projected.sources[0]",
                "`clusterTrustBundle` is not supported",
            ),
            (
                json!({"projected": {"sources": [{"configMap": {}, "secret": {}}]}}),
                "volumes.v.projected.sources[0]",
                "one kind",
            ),
            (json!({"projected": {"sources": [{}]}}), "volumes.v.projected.sources[0]", "one kind"),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {}}, {"secret": {"name": "s"}}]}}),
                "volumes.v.projected.sources[1]",
                "cannot do both",
            ),
        ] {
            let error = kind(source.clone()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{path}`")) && error.contains(word), "{source}: {error}");
        }
        for (name, _, hint) in REFUSED {
            assert_eq!(kind(json!({name: {}})).unwrap_err().hint().as_deref(), Some(hint));
        }
    }

    #[test]
    fn a_part_of_a_volume_is_a_single_known_file_or_refused() {
        let check = |mount: Value, kind| sub_path(&mount, kind, "m").map(|file| file.map(str::to_owned));
        let known = VolumeKind::Files(FileVolume::ConfigMap);
        let file = |path: &str, file: &str| json!({"mountPath": path, "subPath": file});
        assert_eq!(check(json!({"mountPath": "/x"}), VolumeKind::Claim), Ok(None));
        assert_eq!(check(json!({"mountPath": "/x", "subPath": ""}), VolumeKind::Claim), Ok(None));
        for kind in [FileVolume::ConfigMap, FileVolume::Secret, FileVolume::Projected, FileVolume::DownwardApi] {
            assert_eq!(check(file("/etc/a.conf", "d/a"), VolumeKind::Files(kind)), Ok(Some("d/a".into())));
        }
        for (mount, kind, field) in [
            (file("/x", "a"), VolumeKind::Claim, "subPath"),
            (file("/x", "a"), VolumeKind::Memory, "subPath"),
            (file("/x", "a"), VolumeKind::Directory, "subPath"),
            (file("/x", "a"), VolumeKind::Files(FileVolume::Live), "subPath"),
            (json!({"mountPath": "/x", "subPathExpr": "$(POD)"}), known, "subPathExpr"),
            (file("/x", "../a"), known, "subPath"),
            (file("/x", "/a"), known, "subPath"),
            (file("/x", "a//b"), known, "subPath"),
            (file("/x.tmp", "a"), known, "mountPath"),
            (file("/x/.tmp/", "a"), known, "mountPath"),
            (file("/x:y", "a"), known, "mountPath"),
        ] {
            let error = check(mount.clone(), kind).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`m.{field}`")), "{mount}: {error}");
            assert!(error.hint().is_some());
        }
    }
}
