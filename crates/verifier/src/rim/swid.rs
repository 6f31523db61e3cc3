//! The contents of a RIM: a SWID tag (ISO/IEC 19770-2:2015) with the attributes of the TCG RIM information model, as
//! NVIDIA fills it. Read from the canonical bytes that the signature covers.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::error::{RimError, cut};
use super::{Golden, MAX_INDEX, xml};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const TCG_RIM: &str =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
/// The namespace of an attribute `HashN` names its algorithm.
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// NVIDIA's number in IANA's registry of private enterprises.
pub(super) const NVIDIA: &str = "5703";

/// LIMIT: NVIDIA's RIMs give at most four digests for a measurement.
const MAX_ALTERNATIVES: usize = 16;
/// LIMIT: names and versions are for people and for comparison with a report's fields of at most 64 bytes.
const MAX_TEXT: usize = 128;

/// What a RIM says.
pub(super) struct Contents {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) product: String,
    pub(super) edition: String,
    pub(super) manufacturer: String,
    pub(super) measurements: Vec<Golden>,
}

/// Reads a canonical document from which the signature is taken away.
pub(super) fn read(canonical: &str) -> Result<Contents, RimError> {
    let document = xml::parse(canonical)?;
    let root = document.root_element();
    if !root.has_tag_name((SWID, "SoftwareIdentity")) {
        return Err(RimError::UnexpectedElement {
            inside: "the document".to_owned(),
            name: cut(root.tag_name().name()),
            at: xml::place(root),
        });
    }
    // A tag that corrects, adds to or announces another one says less than its measurements.
    for field in ["SoftwareIdentity@corpus", "SoftwareIdentity@patch", "SoftwareIdentity@supplemental"] {
        if root.attribute(field.trim_start_matches("SoftwareIdentity@")).is_some() {
            expect(root, None, field, "false")?;
        }
    }
    let id = text(root, None, "SoftwareIdentity@tagId")?;

    let mut metas = Vec::new();
    let mut payloads = Vec::new();
    for child in xml::elements(root)? {
        match (child.tag_name().namespace(), child.tag_name().name()) {
            (Some(SWID), "Meta") => metas.push(child),
            (Some(SWID), "Payload") => payloads.push(child),
            // Who made the tag is said by its signature; a link leads out of it.
            (Some(SWID), "Entity" | "Link") => {}
            _ => return Err(unexpected("SoftwareIdentity", child)),
        }
    }
    let meta = one("Meta", &metas)?;
    let payload = one("Payload", &payloads)?;

    expect(meta, Some(TCG_RIM), "Meta@FirmwareManufacturerId", NVIDIA)?;
    expect(meta, None, "Meta@PayloadType", "direct")?;
    Ok(Contents {
        id,
        version: text(meta, None, "Meta@colloquialVersion")?,
        product: text(meta, None, "Meta@product")?,
        edition: text(meta, None, "Meta@edition")?,
        manufacturer: text(meta, Some(TCG_RIM), "Meta@FirmwareManufacturer")?,
        measurements: measurements(payload)?,
    })
}

fn measurements(payload: Node<'_, '_>) -> Result<Vec<Golden>, RimError> {
    xml::only_attributes(payload, &[])?;
    let mut seen = BTreeSet::new();
    let mut measurements = Vec::new();
    for resource in xml::elements(payload)? {
        if !resource.has_tag_name((SWID, "Resource")) {
            return Err(unexpected("Payload", resource));
        }
        let golden = measurement(resource)?;
        if !seen.insert(golden.index) {
            return Err(RimError::DuplicateIndex { index: golden.index });
        }
        measurements.push(golden);
    }
    if measurements.is_empty() {
        return Err(RimError::NotOne { inside: "Payload", element: "Resource", count: 0 });
    }
    measurements.sort_unstable_by_key(|golden| golden.index);
    Ok(measurements)
}

fn measurement(resource: Node<'_, '_>) -> Result<Golden, RimError> {
    if let Some(child) = xml::elements(resource)?.first() {
        return Err(unexpected("Resource", *child));
    }
    expect(resource, None, "Resource@type", "Measurement")?;
    expect(resource, None, "Resource@size", "48")?;
    let index = number(&text(resource, None, "Resource@index")?)?;
    let active = match text(resource, None, "Resource@active")?.as_str() {
        "True" => true,
        "False" => false,
        got => {
            return Err(RimError::Field { field: "Resource@active", got: cut(got), expected: "True` or `False" });
        }
    };

    let mut digests: Vec<(usize, [u8; 48])> = Vec::new();
    for attribute in resource.attributes() {
        let name = attribute.name();
        match attribute.namespace() {
            None if ["type", "index", "active", "alternatives", "name", "size"].contains(&name) => {}
            None if !name.starts_with("Hash") => {
                return Err(RimError::UnexpectedAttribute {
                    element: "Resource".to_owned(),
                    name: cut(name),
                    at: xml::place(resource),
                });
            }
            namespace => {
                let alternative = name.strip_prefix("Hash").filter(|_| namespace == Some(SHA384)).and_then(decimal);
                let Some(alternative) = alternative.filter(|number| *number < MAX_ALTERNATIVES) else {
                    return Err(RimError::HashAlgorithm {
                        index,
                        name: cut(name),
                        namespace: cut(namespace.unwrap_or("")),
                    });
                };
                let mut digest = [0; 48];
                hex::decode_to_slice(attribute.value(), &mut digest).map_err(|_| RimError::DigestText {
                    index,
                    alternative: u32::try_from(alternative).unwrap_or(u32::MAX),
                })?;
                digests.push((alternative, digest));
            }
        }
    }
    digests.sort_unstable_by_key(|(alternative, _)| *alternative);
    let stated = text(resource, None, "Resource@alternatives")?;
    // `Hash0` to `Hash(n-1)`, none missing: a gap would be a digest that somebody meant to be there.
    let whole = digests.iter().enumerate().all(|(place, (alternative, _))| place == *alternative);
    if digests.is_empty() || !whole || decimal(&stated) != Some(digests.len()) {
        return Err(RimError::Alternatives { index, stated: cut(&stated), found: digests.len() });
    }
    let name = resource.attribute("name").map(|_| text(resource, None, "Resource@name")).transpose()?;
    Ok(Golden { index, active, digests: digests.into_iter().map(|(_, digest)| digest).collect(), name })
}

fn number(text: &str) -> Result<u32, RimError> {
    decimal(text)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number <= MAX_INDEX)
        .ok_or_else(|| RimError::Index { got: cut(text) })
}

/// A number in the one way to write it: no sign, no space, no leading zero.
fn decimal(text: &str) -> Option<usize> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn unexpected(inside: &str, node: Node<'_, '_>) -> RimError {
    RimError::UnexpectedElement { inside: inside.to_owned(), name: cut(node.tag_name().name()), at: xml::place(node) }
}

fn one<'a, 'i>(element: &'static str, found: &[Node<'a, 'i>]) -> Result<Node<'a, 'i>, RimError> {
    match found {
        [node] => Ok(*node),
        _ => Err(RimError::NotOne { inside: "SoftwareIdentity", element, count: found.len() }),
    }
}

/// The attribute of a field written `element@attribute`.
fn value<'a>(node: Node<'a, '_>, namespace: Option<&str>, field: &'static str) -> Result<&'a str, RimError> {
    let name = field.split_once('@').map_or(field, |(_, name)| name);
    node.attributes()
        .find(|attribute| attribute.namespace() == namespace && attribute.name() == name)
        .map(|attribute| attribute.value())
        .ok_or(RimError::MissingField { field })
}

fn text(node: Node<'_, '_>, namespace: Option<&str>, field: &'static str) -> Result<String, RimError> {
    let text = value(node, namespace, field)?;
    if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(RimError::Field { field, got: cut(text), expected: "1 to 128 bytes of text" });
    }
    Ok(text.to_owned())
}

fn expect(
    node: Node<'_, '_>,
    namespace: Option<&str>,
    field: &'static str,
    expected: &'static str,
) -> Result<(), RimError> {
    let got = value(node, namespace, field)?;
    if got == expected { Ok(()) } else { Err(RimError::Field { field, got: cut(got), expected }) }
}
