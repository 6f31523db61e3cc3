//! What is fuzzed of images: documents, layers, references.

use super::document::{self, Packing};
use super::layer::{self, Fact, MAX_USER_FILE};
use super::reference::Reference;
use super::rootfs::{self, Answer};
use crate::fuzzing::assert_printable;

/// What a registry answers for a name: the first byte says what its header calls it.
pub(crate) fn documents(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(value) = document::parse(rest) else { return };
    let types = document::MANIFEST_TYPES;
    let content_type = types.get(usize::from(*first)).copied();
    for said in [None, content_type] {
        if let Err(error) = document::top(&value, content_type, said) {
            assert_printable(&format!("{error} {:?}", error.hint()));
        }
    }
    if let Err(error) = document::configuration(&value) {
        assert_printable(&error.to_string());
    }
}

/// A layer: the first byte says how it is packed. What is known of it is bounded, whatever it holds.
pub(crate) fn layer(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let packing = match first % 3 {
        0 => Packing::Plain,
        1 => Packing::Gzip,
        _ => Packing::Zstd,
    };
    let wanted = rootfs::usual();
    match layer::scan(rest, packing, rest.len() as u64, &wanted) {
        Ok(facts) => {
            assert!(facts.found.keys().all(|path| wanted.contains(path)), "a path that nobody asked for");
            for fact in facts.found.values() {
                if let Fact::File(content) = fact {
                    // Bytes that are no text become three each.
                    assert!(content.len() as u64 <= 3 * MAX_USER_FILE, "a file of {} bytes", content.len());
                }
            }
            for path in [rootfs::PASSWD, rootfs::GROUP] {
                if let Ok(Answer::Known(Some(content))) = rootfs::file(&[Some(&facts)], path) {
                    let _ = super::Users::from_files(Some(&content), Some(&content));
                }
            }
        }
        Err(error) => assert_printable(&error.to_string()),
    }
}

/// A name of an image: what is understood is understood again from its parts.
pub(crate) fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Reference::parse(text) {
        Ok(reference) => {
            let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = reference.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
            let whole = format!("{}/{}{tag}{digest}", reference.registry(), reference.repository());
            assert_eq!(Reference::parse(&whole).ok().as_ref(), Some(&reference), "{whole}");
        }
        Err(error) => assert_printable(&format!("{error} {:?}", error.hint())),
    }
}
