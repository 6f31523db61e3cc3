//! The images of a run: each resolved once, many at a time.

use std::collections::BTreeMap;

use protocol::Role;

use super::input::{Inputs, Object};
use super::{memory, pod_of};
use crate::images::{Ask, Registry, RegistryError, ResolvedImage};

/// Images that were resolved in this run.
pub(super) struct Images<'a> {
    registry: &'a Registry,
    known: BTreeMap<String, Result<ResolvedImage, RegistryError>>,
}

impl<'a> Images<'a> {
    pub(super) fn of(registry: &'a Registry) -> Self {
        Self { registry, known: BTreeMap::new() }
    }

    /// Resolves the images of many pods at a time. What fails is said when its container is looked at. `sized` says
    /// whose images' layers are to be weighed.
    pub(super) async fn fetch(
        &mut self,
        inputs: &Inputs,
        pods: &[(Object, Role)],
        sized: impl Fn(&serde_json::Value) -> bool,
    ) {
        let mut wanted: BTreeMap<String, Ask> = BTreeMap::new();
        for pod in pods.iter().filter_map(|(object, _)| pod_of(inputs, object)) {
            let sizes = sized(pod);
            let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
            for container in lists.into_iter().flatten().flatten() {
                let Some(reference) = container["image"].as_str() else { continue };
                let ask = Ask::for_container(&pod["spec"], container);
                let known = wanted.entry(reference.to_owned()).or_insert(ask);
                known.users |= ask.users;
                known.sizes |= sizes;
            }
        }
        let names: Vec<_> = wanted.keys().cloned().collect();
        for (name, image) in names.into_iter().zip(self.registry.resolve_all(wanted).await) {
            if let Ok(image) = &image {
                self.known.insert(image.reference_with_digest.clone(), Ok(image.clone()));
            }
            self.known.insert(name, image);
        }
    }

    /// Resolves an image with the sizes of its layers.
    pub(super) async fn weigh(&mut self, reference: &str) -> Result<(), RegistryError> {
        let ask = Ask { sizes: true, ..Ask::default() };
        let image = self.registry.resolve_with(reference, ask).await?;
        self.known.insert(image.reference_with_digest.clone(), Ok(image.clone()));
        self.known.insert(reference.to_owned(), Ok(image));
        Ok(())
    }

    /// What images need in memory, their layers unpacked and each counted once; `None` where one was not weighed.
    pub(super) fn unpacked<'b>(&self, references: impl IntoIterator<Item = &'b str>) -> Option<u64> {
        let mut layers = Vec::new();
        for reference in references {
            let Some(Ok(image)) = self.known.get(reference) else { return None };
            layers.extend(image.layers.iter().map(|layer| (layer.diff_id.as_str(), layer.unpacked)));
        }
        memory::of_layers(layers)
    }

    /// An image that was fetched.
    pub(super) fn known(&self, reference: &str) -> Result<ResolvedImage, RegistryError> {
        let missing = || Err(RegistryError::NotFound { reference: reference.to_owned() });
        self.known.get(reference).cloned().unwrap_or_else(missing)
    }

    pub(super) async fn resolve(&mut self, reference: &str) -> Result<ResolvedImage, RegistryError> {
        if let Some(image) = self.known.get(reference) {
            return image.clone();
        }
        let image = self.registry.resolve(reference).await?;
        self.known.insert(reference.to_owned(), Ok(image.clone()));
        self.known.insert(image.reference_with_digest.clone(), Ok(image.clone()));
        Ok(image)
    }
}
