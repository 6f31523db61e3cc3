//! The configuration of a runtime class: what of it makes the guest, and the few lines that a repacked image changes.
//!
//! Facts: kata-containers, `src/runtime/config/configuration-qemu-snp.toml.in` and its siblings, and for the newer runtime
//! `src/runtime-rs/config`.

use toml::{Table, Value};

use crate::verity::{ParseVerityError, Verity};

/// Which program reads a configuration; they write the kernel's command line differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runtime {
    /// The one in Go.
    Go,
    /// The one in Rust.
    Rust,
}

/// What guards the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tee {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl Tee {
    /// The name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snp => "SEV-SNP",
            Self::Tdx => "TDX",
        }
    }
}

/// A configuration that no confidential guest can be made of.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not UTF-8 or no TOML.
    #[error("no TOML: {reason}")]
    Syntax {
        /// What the parser says.
        reason: String,
    },
    /// A setting is missing.
    #[error("`{key}` is missing")]
    Missing {
        /// Which.
        key: &'static str,
    },
    /// A setting has another type.
    #[error("`{key}` is no {expected}")]
    Type {
        /// Which.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A setting whose guest would not be what is measured, or would be open.
    #[error("`{key}` is {value}: {why}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What it is.
        value: String,
        /// Why that cannot be.
        why: &'static str,
    },
    /// The parameters of dm-verity say nothing.
    #[error("`kernel_verity_params`")]
    Verity(#[from] ParseVerityError),
    /// A line could not be changed without changing something else.
    #[error("`{key}` cannot be changed in place: it stands there {times} times")]
    Edit {
        /// Which.
        key: &'static str,
        /// How often.
        times: usize,
    },
}

/// A further image that the guest mounts, measured by its parameters on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Where the host has it.
    pub path: String,
    /// Its dm-verity parameters.
    pub verity: String,
}

/// What of a configuration makes the guest.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    text: String,
    table: Table,
    /// Which program reads it.
    pub runtime: Runtime,
    /// What guards the guest.
    pub tee: Tee,
    /// QEMU.
    pub qemu: String,
    /// The kernel, as the host has it.
    pub kernel: String,
    /// The image.
    pub image: String,
    /// The firmware.
    pub firmware: String,
    /// `ext4` or `erofs`.
    pub rootfs_type: String,
    /// Parameters of the user's, who is here Kata.
    pub kernel_params: String,
    /// How the image is measured; `None` for one that is not.
    pub verity: Option<Verity>,
    /// Further images.
    pub extensions: Vec<Extension>,
}

/// Parameters of the kernel that hand the guest to its host, whatever the policy says.
const OPEN: [&str; 6] =
    ["agent.debug_console", "agent.policy_file", "init", "rdinit", "systemd.debug_shell", "systemd.debug-shell"];

impl Config {
    /// Reads and checks one; `name` is that of its file, which tells TDX.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, ConfigError> {
        let text = std::str::from_utf8(text).map_err(|error| ConfigError::Syntax { reason: error.to_string() })?;
        let table: Table =
            toml::from_str(text).map_err(|error| ConfigError::Syntax { reason: error.message().to_owned() })?;
        let qemu = Section(table.get("hypervisor").and_then(|all| all.get("qemu")).and_then(Value::as_table));
        if qemu.0.is_none() {
            return Err(ConfigError::Missing { key: "[hypervisor.qemu]" });
        }
        if !qemu.flag("confidential_guest")? {
            let why = "the guest is in no TEE";
            return Err(ConfigError::Setting { key: "confidential_guest", value: "false".to_owned(), why });
        }
        let tee = match (qemu.flag("sev_snp_guest")?, name.contains("tdx")) {
            (true, false) => Tee::Snp,
            (false, true) => Tee::Tdx,
            (snp, _) => {
                let why = "SEV-SNP needs it, and for TDX the file's name says so";
                return Err(ConfigError::Setting { key: "sev_snp_guest", value: snp.to_string(), why });
            }
        };
        if let Some(initrd) = qemu.text("initrd")?.filter(|initrd| !initrd.is_empty()) {
            let why = "images are repacked, and an initrd is none";
            return Err(ConfigError::Setting { key: "initrd", value: initrd, why });
        }
        let rootfs_type = qemu.text("rootfs_type")?.unwrap_or_else(|| "ext4".to_owned());
        let kernel_params = qemu.text("kernel_params")?.unwrap_or_default();
        refuse_open(&kernel_params)?;
        let verity = match qemu.text("kernel_verity_params")?.filter(|text| !text.trim().is_empty()) {
            Some(text) => Some(Verity::parse(&text)?),
            None => None,
        };
        let runtime = table.get("runtime").and_then(|runtime| runtime.get("hypervisor_name"));
        let config = Self {
            runtime: if runtime.is_some() { Runtime::Rust } else { Runtime::Go },
            tee,
            qemu: qemu.needed("path")?,
            kernel: qemu.needed("kernel")?,
            image: qemu.needed("image")?,
            firmware: qemu.needed("firmware")?,
            rootfs_type,
            kernel_params,
            verity,
            extensions: extensions(qemu)?,
            text: text.to_owned(),
            table,
        };
        let agent = config.agent();
        if agent.flag("debug_console_enabled")? {
            let why = "it gives the host a shell in the guest";
            return Err(ConfigError::Setting { key: "debug_console_enabled", value: "true".to_owned(), why });
        }
        Ok(config)
    }

    /// The section of the agent.
    pub(crate) fn agent(&self) -> Section<'_> {
        Section(self.table.get("agent").and_then(|all| all.get("kata")).and_then(Value::as_table))
    }

    /// The section of QEMU.
    pub(crate) fn hypervisor(&self) -> Section<'_> {
        Section(self.table.get("hypervisor").and_then(|all| all.get("qemu")).and_then(Value::as_table))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same configuration around another image. Every other line stays as it is, and the result is read again to see that
    /// nothing else has changed.
    pub fn with_image(&self, image: &str, verity: &Verity, kernel_params: &str) -> Result<Self, ConfigError> {
        refuse_open(kernel_params)?;
        let changes: [(&'static str, String); 4] = [
            ("image", image.to_owned()),
            ("rootfs_type", "erofs".to_owned()),
            ("kernel_verity_params", verity.params()),
            ("kernel_params", kernel_params.to_owned()),
        ];
        let mut text = self.text.clone();
        let mut table = self.table.clone();
        for (key, value) in &changes {
            text = replace(&text, key, value)?;
            let qemu = table.get_mut("hypervisor").and_then(|all| all.get_mut("qemu")).and_then(Value::as_table_mut);
            if let Some(qemu) = qemu {
                qemu.insert((*key).to_owned(), Value::String(value.clone()));
            }
        }
        let again: Table =
            toml::from_str(&text).map_err(|error| ConfigError::Syntax { reason: error.message().to_owned() })?;
        if again != table {
            return Err(ConfigError::Edit { key: "kernel_verity_params", times: 0 });
        }
        Ok(Self {
            image: image.to_owned(),
            rootfs_type: "erofs".to_owned(),
            kernel_params: kernel_params.to_owned(),
            verity: Some(verity.clone()),
            text,
            table,
            ..self.clone()
        })
    }
}

/// Replaces the value of a key in `[hypervisor.qemu]`, or adds the key behind the section's head.
fn replace(text: &str, key: &'static str, value: &str) -> Result<String, ConfigError> {
    let line = format!("{key} = {}", Value::String(value.to_owned()));
    let mut lines: Vec<String> = Vec::new();
    let (mut inside, mut head, mut times) = (false, None, 0);
    for old in text.split('\n') {
        let trimmed = old.trim();
        if trimmed.starts_with('[') {
            inside = trimmed == "[hypervisor.qemu]";
            if inside {
                head = Some(lines.len());
            }
        }
        let named = trimmed.split_once('=').is_some_and(|(name, _)| name.trim() == key);
        if inside && named {
            times += 1;
            lines.push(line.clone());
        } else {
            lines.push(old.to_owned());
        }
    }
    match (times, head) {
        (1, _) => {}
        (0, Some(head)) => lines.insert(head + 1, line),
        _ => return Err(ConfigError::Edit { key, times }),
    }
    Ok(lines.join("\n"))
}

fn refuse_open(params: &str) -> Result<(), ConfigError> {
    for param in params.split_whitespace() {
        let name = param.split('=').next().unwrap_or(param);
        if OPEN.contains(&name) {
            let why = "it hands the guest to its host";
            return Err(ConfigError::Setting { key: "kernel_params", value: format!("`{param}`"), why });
        }
    }
    Ok(())
}

fn extensions(qemu: Section<'_>) -> Result<Vec<Extension>, ConfigError> {
    let wrong = || ConfigError::Type { key: "guest_extension_images", expected: "list of tables" };
    let Some(list) = qemu.0.and_then(|qemu| qemu.get("guest_extension_images")) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for image in list.as_array().ok_or_else(wrong)? {
        let section = Section(Some(image.as_table().ok_or_else(wrong)?));
        let extension = Extension {
            name: section.needed("name")?,
            path: section.needed("path")?,
            verity: section.text("verity_params")?.unwrap_or_default(),
        };
        if extension.verity.trim().is_empty() {
            let why = "what is not measured is the host's to change";
            return Err(ConfigError::Setting { key: "verity_params", value: "empty".to_owned(), why });
        }
        found.push(extension);
    }
    Ok(found)
}

/// A section, perhaps one that is not there.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a>(Option<&'a Table>);

impl<'a> Section<'a> {
    pub(crate) fn text(self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.0.and_then(|table| table.get(key)) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ConfigError::Type { key, expected: "text" }),
        }
    }

    fn needed(self, key: &'static str) -> Result<String, ConfigError> {
        self.text(key)?.filter(|text| !text.is_empty()).ok_or(ConfigError::Missing { key })
    }

    pub(crate) fn flag(self, key: &'static str) -> Result<bool, ConfigError> {
        match self.0.and_then(|table| table.get(key)) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => Ok(*flag),
            Some(_) => Err(ConfigError::Type { key, expected: "true or false" }),
        }
    }

    pub(crate) fn number(self, key: &'static str) -> Result<Option<i64>, ConfigError> {
        match self.0.and_then(|table| table.get(key)) {
            None => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(_) => Err(ConfigError::Type { key, expected: "number" }),
        }
    }

    pub(crate) fn inner(self, key: &str) -> Section<'a> {
        Section(self.0.and_then(|table| table.get(key)).and_then(Value::as_table))
    }
}

#[cfg(test)]
mod tests;
