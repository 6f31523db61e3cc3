//! Where `casemate generate` gets images from, and how it shows that it reads them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{HumanBytes, ProgressBar};
use policy::images::{CACHE_FILE, CredentialSource, LayoutSource, Options, Progress, Registry};

use crate::failure::{Failure, Outcome};

/// Sources of images beside the registries that they name.
#[derive(clap::Args)]
pub(crate) struct ImageArgs {
    /// Ask this mirror first for what a digest names; tags are always resolved by the registry itself. May be repeated
    #[arg(long, value_name = "REGISTRY=URL", value_parser = mirror)]
    registry_mirror: Vec<(String, String)>,
    /// Trust the authorities of this PEM file beside those of the system. May be repeated
    #[arg(long, value_name = "FILE")]
    registry_ca: Vec<PathBuf>,
    /// Take an image from an OCI layout, a folder or a tar file, in place of its registry. May be repeated
    #[arg(long, value_name = "IMAGE=oci:PATH[:TAG]", value_parser = layout)]
    image_layout: Vec<(String, LayoutSource)>,
}

impl ImageArgs {
    /// A client with the user's logins and with what earlier runs in this work folder learned.
    pub(super) fn registry(&self, workspace: &Path, bar: Option<&ProgressBar>) -> Outcome<Registry> {
        let mut options = Options {
            credentials: CredentialSource::from_environment(),
            cache: Some(workspace.join(CACHE_FILE)),
            ca_files: self.registry_ca.clone(),
            ..Options::default()
        };
        for (registry, url) in &self.registry_mirror {
            options.mirrors.entry(registry.clone()).or_default().push(url.clone());
        }
        for (image, source) in &self.image_layout {
            if options.layouts.insert(image.clone(), source.clone()).is_some() {
                return Err(Failure::refuse(format!("`--image-layout {image}=` is given twice"))
                    .hint("an image comes from one place"));
            }
        }
        let registry = Registry::with(options);
        Ok(match bar {
            Some(bar) => registry.with_progress(Arc::new(Drawn { bar: bar.clone(), state: Mutex::default() })),
            None => registry,
        })
    }
}

fn mirror(text: &str) -> Result<(String, String), String> {
    let (registry, url) = text.split_once('=').ok_or("not REGISTRY=URL, as in docker.io=https://mirror.example")?;
    if registry.is_empty() || registry.contains('/') {
        return Err(format!("`{registry}` is not the name of a registry, such as `docker.io` or `localhost:5000`"));
    }
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(format!("`{url}` is not a URL; mirrors are asked over https, or http on loopback"));
    }
    Ok((registry.to_owned(), url.trim_end_matches('/').to_owned()))
}

fn layout(text: &str) -> Result<(String, LayoutSource), String> {
    let (image, source) = text.split_once("=oci:").ok_or("not IMAGE=oci:PATH[:TAG]")?;
    let source = LayoutSource::parse(&format!("oci:{source}")).ok_or("the path of the layout is empty")?;
    if image.is_empty() {
        return Err("the image is empty; write it as it stands in the YAML".into());
    }
    Ok((image.to_owned(), source))
}

/// One line for all images: what is being read, and how much of it has come.
struct Drawn {
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Vec<String>,
    expected: u64,
    received: u64,
}

impl Drawn {
    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let message = match state.running.as_slice() {
            [] => "writing policies".to_owned(),
            [image] => {
                format!("reading {image}, {} of at most {}", HumanBytes(state.received), HumanBytes(state.expected))
            }
            [image, others @ ..] => {
                let (received, expected) = (HumanBytes(state.received), HumanBytes(state.expected));
                format!("reading {image} and {} more, {received} of at most {expected}", others.len())
            }
        };
        self.bar.set_message(message);
    }
}

impl Progress for Drawn {
    fn started(&self, image: &str, _layers: usize, bytes: u64) {
        self.update(|state| {
            state.running.push(image.to_owned());
            state.expected = state.expected.saturating_add(bytes);
        });
    }

    fn received(&self, _image: &str, bytes: u64) {
        self.update(|state| state.received = state.received.saturating_add(bytes));
    }

    fn finished(&self, image: &str) {
        self.update(|state| state.running.retain(|running| running != image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_mirror_or_layout_is_said() {
        assert_eq!(
            mirror("docker.io=https://mirror.example/"),
            Ok(("docker.io".to_owned(), "https://mirror.example".to_owned()))
        );
        for bad in ["docker.io", "=https://a", "docker.io/library=https://a", "docker.io=mirror.example", "docker.io="]
        {
            assert!(mirror(bad).is_err(), "{bad}");
        }
        let (image, source) = layout("ghcr.io/a/b:1=oci:images/b.tar:1").unwrap();
        assert_eq!((image.as_str(), source.tag.as_deref()), ("ghcr.io/a/b:1", Some("1")));
        for bad in ["a", "a=b", "=oci:b", "a=oci:"] {
            assert!(layout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_line_names_what_is_being_read() {
        let drawn = Drawn { bar: ProgressBar::hidden(), state: Mutex::default() };
        drawn.started("a", 3, 2048);
        drawn.started("b", 1, 1024);
        drawn.received("b", 1024);
        assert_eq!(drawn.bar.message(), "reading a and 1 more, 1.00 KiB of at most 3.00 KiB");
        drawn.finished("a");
        assert_eq!(drawn.bar.message(), "reading b, 1.00 KiB of at most 3.00 KiB");
        drawn.finished("b");
        assert_eq!(drawn.bar.message(), "writing policies");
    }
}
