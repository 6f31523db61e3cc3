//! Images as Debian's tools and those who build on them leave them: users that scripts of packages add in later layers,
//! what those scripts rename and delete, links in the place of files and folders, and packages themselves.

use serde_json::{Value, json};

use super::fake::archive::Tar;
use super::fake::{FakeRegistry, GZIP, PLAIN, Packed, ZSTD, pack};
use super::{Registry, RegistryError, ResolvedImage};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nadm:x:4:www-data\nwww-data:x:33:\nssl-cert:x:101:\nnogroup:x:65534:\n";

/// What debootstrap leaves: a merged /usr, and the two files as the script of base-passwd writes them.
fn base() -> Tar {
    Tar::default()
        .dir("./")
        .link("./bin", "usr/bin")
        .link("./lib", "usr/lib")
        .dir("./etc/")
        .file("./etc/passwd", PASSWD)
        .file("./etc/group", GROUP)
        .file("./etc/passwd-", "root:x:7:7:an old copy:/:/bin/sh\n")
        .dir("./usr/")
        .dir("./usr/bin/")
        .dir("./usr/share/base-passwd/")
        .file("./usr/share/base-passwd/passwd.master", "root:*:8:8:root:/root:/bin/bash\n")
}

fn with(extra: &str) -> String {
    format!("{PASSWD}{extra}\n")
}

/// Packs archives in all three ways, one after the other.
fn layers(archives: Vec<Tar>) -> Vec<Packed> {
    let packings = [GZIP, ZSTD, PLAIN].into_iter().cycle();
    archives.into_iter().zip(packings).map(|(archive, packing)| pack(&archive.end(), packing)).collect()
}

async fn resolve(config: &Value, archives: Vec<Tar>) -> Result<ResolvedImage, RegistryError> {
    let registry = FakeRegistry::start();
    registry.image("debian/app", "1", config, &layers(archives));
    Registry::new().resolve(&format!("{}/debian/app:1", registry.host)).await
}

/// User, group and groups of a process that runs as `user`.
type Ids = Option<(u32, u32, Vec<u32>)>;

async fn ids(user: &str, archives: Vec<Tar>) -> Ids {
    let image = resolve(&json!({"User": user, "Cmd": ["bash"]}), archives).await.unwrap();
    // The kubelet hands on the user without its group.
    let user = image.config.user.split(':').next().unwrap();
    let user = if user.is_empty() { "0" } else { user };
    let found = image.config.users.process_user(user, None, &[], true).ok()?;
    Some((found.uid, found.gid, found.groups))
}

#[tokio::test]
async fn users_are_those_of_the_uppermost_files() {
    let app = || Tar::default().dir("etc").file("etc/passwd", &with("app:x:1000:1000::/home/app:/bin/sh"));
    let groups = || Tar::default().file("etc/group", &format!("{GROUP}app:x:1000:\nvideo:x:44:app,www-data\n"));
    let cases: Vec<(&str, &str, Vec<Tar>, Ids)> = vec![
        ("the base alone", "www-data", vec![base()], Some((33, 33, vec![4, 33]))),
        ("nobody said who", "", vec![base()], Some((0, 0, vec![0]))),
        ("a script adds a user", "app", vec![base(), app()], Some((1000, 1000, vec![1000]))),
        ("and groups in a further layer", "app", vec![base(), app(), groups()], Some((1000, 1000, vec![44, 1000]))),
        ("by its number", "1000", vec![base(), app(), groups()], Some((1000, 1000, vec![44, 1000]))),
        ("with a group that Kubernetes ignores", "1000:33", vec![base(), app()], Some((1000, 1000, vec![1000]))),
        ("a number that nobody has", "4711:4711", vec![base(), app()], Some((4711, 0, vec![0]))),
        ("a name that nobody has", "postgres", vec![base(), app()], None),
        (
            "a script takes the user away again",
            "app",
            vec![base(), app(), Tar::default().file("etc/passwd", PASSWD)],
            None,
        ),
        ("passwd is deleted", "www-data", vec![base(), Tar::default().file("etc/.wh.passwd", "")], None),
        (
            "passwd is deleted, and a number asked for",
            "33",
            vec![base(), Tar::default().file("etc/.wh.passwd", "")],
            Some((33, 0, vec![0])),
        ),
        (
            "etc is emptied and filled again",
            "app",
            vec![base(), Tar::default().dir("etc").file("etc/.wh..wh..opq", "").file("etc/passwd", "app:x:5:6::/:\n")],
            Some((5, 6, vec![6])),
        ),
        (
            "etc is emptied below what is kept",
            "app",
            vec![base(), Tar::default().dir("etc").file("etc/.wh..wh..opq", ""), app()],
            Some((1000, 1000, vec![1000])),
        ),
        ("all is deleted", "www-data", vec![base(), Tar::default().file(".wh.etc", "")], None),
        (
            "passwd becomes a hard link to its copy",
            "root",
            vec![base(), Tar::default().hard("etc/passwd", "etc/passwd-")],
            Some((7, 7, vec![7])),
        ),
        (
            "passwd becomes a link to a file of a package",
            "root",
            vec![base(), Tar::default().link("etc/passwd", "/usr/share/base-passwd/passwd.master")],
            Some((8, 8, vec![8])),
        ),
        (
            "etc is a link from the start, as in distributions that update /usr whole",
            "app",
            vec![
                Tar::default().link("etc", "usr/etc").dir("usr/etc").file("usr/etc/passwd", "root:x:0:0::/:\n"),
                Tar::default().file("usr/etc/passwd", "root:x:0:0::/:\napp:x:12:13::/:\n"),
            ],
            Some((12, 13, vec![13])),
        ),
    ];
    for (what, user, archives, expected) in cases {
        assert_eq!(ids(user, archives).await, expected, "{what}");
    }
}

#[tokio::test]
async fn layers_of_which_tools_make_different_systems_are_refused() {
    for (what, archive) in [
        ("a file below a link", Tar::default().link("etc", "usr/etc").file("etc/passwd", "root:x:9:9::/:\n")),
        ("deleted after it was made", Tar::default().file("etc/passwd", PASSWD).file("etc/.wh.passwd", "")),
        ("a device", Tar::default().raw("etc/passwd", b'3', "", 0, b"")),
        ("a folder", Tar::default().dir("etc/passwd")),
        ("a link to itself", Tar::default().link("etc/passwd", "passwd")),
        ("a hard link to nothing", Tar::default().hard("etc/passwd", "etc/nothing")),
    ] {
        let error = resolve(&json!({"User": "root"}), vec![base(), archive]).await.expect_err(what);
        assert!(!error.could_not_tell(), "{what}: {error}");
    }
}

#[tokio::test]
async fn volumes_and_scripts_come_from_the_configuration() {
    let config = json!({"User": "www-data:adm", "Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["serve"],
        "Volumes": {"/var/lib/app": {}, "/data": {}}, "WorkingDir": "/srv", "Env": ["PATH=/usr/bin", "LANG=C.UTF-8"]});
    let script = Tar::default().file("usr/local/bin/docker-entrypoint.sh", "#!/bin/sh\nexec \"$@\"\n");
    let image = resolve(&config, vec![base(), script]).await.unwrap();
    assert_eq!(image.config.volumes, ["/data", "/var/lib/app"]);
    assert_eq!(image.config.entrypoint, ["docker-entrypoint.sh"]);
    assert_eq!((image.config.user.as_str(), image.config.working_dir.as_str()), ("www-data:adm", "/srv"));
    assert_eq!(image.layers.len(), 2);
}

/// Debian's own packages, unpacked and packed by Debian's own tools.
#[tokio::test]
#[ignore = "downloads packages of Debian: needs apt-get, dpkg-deb and a network"]
async fn a_root_file_system_of_packages_has_the_users_of_debian() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |program: &str, arguments: &[&str]| {
        let done = std::process::Command::new(program).args(arguments).current_dir(folder.path()).output();
        done.ok().filter(|done| done.status.success()).map(|done| done.stdout)
    };
    if run("apt-get", &["download", "-qq", "base-passwd", "base-files"]).is_none()
        || run("dpkg-deb", &["--version"]).is_none()
    {
        #[expect(clippy::print_stderr, reason = "the runner of the tests collects these lines")]
        {
            eprintln!("SKIPPED: no packages of Debian: `apt-get download` or `dpkg-deb` does not work here");
        }
        return;
    }
    let mut archives = Vec::new();
    for package in ["base-files", "base-passwd"] {
        let found = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let file = found.into_iter().find(|name| name.to_string_lossy().starts_with(package)).unwrap();
        archives.push(run("dpkg-deb", &["--fsys-tarfile", &file.to_string_lossy()]).expect("a package unpacks"));
        run("dpkg-deb", &["--extract", &file.to_string_lossy(), "root"]).expect("a package unpacks");
    }
    // The packages hold no /etc/passwd: the script of base-passwd makes it from this.
    let read = |name: &str| std::fs::read_to_string(path("root/usr/share/base-passwd").join(name)).unwrap();
    let scripts =
        Tar::default().file("etc/passwd", &read("passwd.master")).file("etc/group", &read("group.master")).end();
    let mut layers: Vec<Packed> = archives.iter().map(|archive| pack(archive, ZSTD)).collect();
    let registry = FakeRegistry::start();
    registry.image("debian", "packages", &json!({"User": "www-data", "Cmd": ["sh"]}), &layers);
    let name = |tag: &str| format!("{}/debian:{tag}", registry.host);
    let bare = Registry::new().resolve(&name("packages")).await.unwrap();
    assert!(bare.config.users.process_user("www-data", None, &[], true).is_err(), "no script has run yet");
    layers.push(pack(&scripts, GZIP));
    registry.image("debian", "installed", &json!({"User": "www-data", "Cmd": ["sh"]}), &layers);
    let image = Registry::new().resolve(&name("installed")).await.unwrap();
    let found = image.config.users.process_user("www-data", None, &[], true).unwrap();
    assert_eq!((found.uid, found.gid, found.groups), (33, 33, vec![33]));
    assert_eq!(image.config.users.process_user("backup", None, &[], true).unwrap().uid, 34);
}
