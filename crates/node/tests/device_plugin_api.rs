//! The generated code of the device plugin protocol is what its `.proto` file says.
//!
//! Four files: messages, and what a plugin needs, in the library; what a kubelet needs, among the tests.

use std::fmt::Write as _;
use std::path::Path;

/// Set, the generated files are written instead of compared.
const UPDATE: &str = "UPDATE_GENERATED";

/// The module of the generated code, and where it goes. What comes before the first module are the messages.
const FILES: [(&str, &str, &str); 5] = [
    ("", "src/plugin/api/messages.rs", ""),
    ("registration_client", "src/plugin/api/registration_client.rs", "use super::messages::*;"),
    ("device_plugin_server", "src/plugin/api/device_plugin_server.rs", "use super::messages::*;"),
    ("registration_server", "tests/kubelet/registration_server.rs", "use node::plugin::api::*;"),
    ("device_plugin_client", "tests/kubelet/device_plugin_client.rs", "use node::plugin::api::*;"),
];

#[test]
fn the_generated_code_of_the_device_plugin_protocol_is_current() {
    let krate = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = krate.join("proto");
    let messages = protox::compile(["deviceplugin-v1beta1.proto"], [&folder]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        // The kubelet sends maps in no order, and tests compare.
        .btree_map(".")
        .out_dir(out.path())
        .compile_fds(messages)
        .unwrap();
    let generated = std::fs::read_to_string(out.path().join("v1beta1.rs")).unwrap();
    for (module, path, import) in FILES {
        let path = krate.join(path);
        let text = cut(&generated, module, import);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let now = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(now == text, "{} is not what proto/ says: run this test with {UPDATE}=1", path.display());
    }
}

/// One module of the generated code, or the messages before all of them.
fn cut(generated: &str, module: &str, import: &str) -> String {
    let head =
        "// This file is @generated from proto/deviceplugin-v1beta1.proto; tests/device_plugin_api.rs writes it.\n";
    let mut text = head.to_owned();
    if module.is_empty() {
        let (messages, _) = generated.split_once("/// Generated client implementations.").unwrap();
        text.push_str(messages.split_once('\n').unwrap().1);
        return text;
    }
    let start = generated.find(&format!("pub mod {module} {{\n")).unwrap();
    let length = generated[start..].find("\n}\n").unwrap() + 3;
    // Its items are public for whoever includes it, and here that is one crate.
    let code = generated[start..start + length].replacen(
        "unused_variables,",
        "unreachable_pub,\n        unused_variables,",
        1,
    );
    write!(text, "{import}\n{code}").unwrap();
    text
}
