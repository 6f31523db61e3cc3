//! XML as far as a RIM needs it: read by `roxmltree`, and everything refused by name that could make two readers see two
//! documents.
//!
//! Refused, rather than approximated: a DTD and with it every entity but XML's own five; processing instructions; any
//! encoding but UTF-8; XML 1.1; `xml:` attributes (C14N 1.1 inherits some of them into a document subset); a namespace
//! that is taken back, empty, relative or declared twice on an element; a declaration spelled `prefix:xmlns`, which
//! `roxmltree` takes for a default namespace. Line ends are translated before parsing (XML 1.0, 2.11). Comments are
//! let through: C14N drops them, and nothing but canonical bytes is ever read.

use std::borrow::Cow;

use roxmltree::{Document, Node, NodeType, ParsingOptions};

use super::error::{NamespaceProblem, Place, RimError, cut};

/// LIMIT: NVIDIA's RIMs have 20 to 26 KB.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// LIMIT: the largest known RIM has 83 elements, each with a start, perhaps an end, and text around it.
const MAX_NODES: usize = 2_048;
/// LIMIT: the largest known RIM has about 600 attributes; the parser compares those of one element pairwise, so this is
/// counted (as equals signs) before it runs.
const MAX_ATTRIBUTES: usize = 4_096;
/// LIMIT: the known RIMs declare six namespaces; the parser copies a scope for each element that declares one.
const MAX_NAMESPACES: usize = 32;
/// LIMIT: `SoftwareIdentity/Signature/SignedInfo/Reference/Transforms/Transform` is 6 deep.
pub(super) const MAX_DEPTH: usize = 8;

/// The text of a document: bounded, UTF-8, XML 1.0, with line ends as XML 1.0, 2.11 has them.
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, RimError> {
    limit("bytes", bytes.len(), MAX_BYTES)?;
    if let Some(first) = bytes.first()
        && is_cbor(*first)
    {
        return Err(RimError::Corim);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| RimError::NotUtf8 { at: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    limit("elements", count(text, "<"), MAX_NODES)?;
    limit("attributes", count(text, "="), MAX_ATTRIBUTES)?;
    limit("namespace declarations", count(text, "xmlns"), MAX_NAMESPACES)?;
    if let Some(at) = text.find(":xmlns") {
        return Err(RimError::Namespace { problem: NamespaceProblem::PrefixedXmlns, at: place_in(text, at) });
    }
    declaration(text)?;
    if text.contains('\r') {
        return Ok(Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")));
    }
    Ok(Cow::Borrowed(text))
}

/// Whether a document that begins so is CBOR: a tag, an array or a map (RFC 8949, 3.1: major types 4 to 6). No UTF-8 text
/// begins with a byte from 0x80 to 0xbf, and of 0xc0 to 0xdf only the lead bytes of Latin, Greek, Cyrillic and the like,
/// none of which begin an XML document.
fn is_cbor(first: u8) -> bool {
    (0x80..=0xdf).contains(&first)
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

fn limit(what: &'static str, got: usize, limit: usize) -> Result<(), RimError> {
    if got > limit { Err(RimError::TooMuch { what, got, limit }) } else { Ok(()) }
}

/// `roxmltree` skips the XML declaration unread. What follows from it is checked here.
fn declaration(text: &str) -> Result<(), RimError> {
    let Some(rest) = text.strip_prefix("<?xml") else { return Ok(()) };
    let declaration = rest.split_once("?>").map_or("", |(declaration, _)| declaration);
    let mut version = false;
    for part in declaration.split_ascii_whitespace() {
        let Some((name, value)) = part.split_once('=') else { return Err(RimError::Declaration) };
        match (name, value.trim_matches(['"', '\''])) {
            ("version", "1.0") => version = true,
            ("standalone", "yes" | "no") => {}
            ("encoding", name) if name.eq_ignore_ascii_case("utf-8") || name.eq_ignore_ascii_case("us-ascii") => {}
            _ => return Err(RimError::Declaration),
        }
    }
    if version { Ok(()) } else { Err(RimError::Declaration) }
}

/// Parses a text that [`text`] gave.
pub(super) fn parse(text: &str) -> Result<Document<'_>, RimError> {
    let options =
        ParsingOptions { nodes_limit: u32::try_from(MAX_NODES).unwrap_or(u32::MAX), ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(not_xml)?;
    // Depth first with an explicit level: a node's children follow it, so the level is the number of its ancestors, and
    // the walk stops before it goes too deep.
    let mut level = vec![(document.root(), 0_usize)];
    while let Some((node, depth)) = level.pop() {
        inspect(node, depth)?;
        level.extend(node.children().map(|child| (child, depth.saturating_add(1))));
    }
    Ok(document)
}

fn inspect(node: Node<'_, '_>, depth: usize) -> Result<(), RimError> {
    match node.node_type() {
        NodeType::PI => return Err(RimError::ProcessingInstruction { at: place(node) }),
        NodeType::Element => {}
        NodeType::Root | NodeType::Comment | NodeType::Text => return Ok(()),
    }
    limit("levels", depth, MAX_DEPTH)?;
    if qname(node).starts_with(':') {
        return Err(RimError::NotXml { at: place(node) });
    }
    for attribute in node.attributes() {
        if attribute.namespace() == Some(roxmltree::NS_XML_URI) {
            return Err(RimError::XmlAttribute { name: cut(attribute.name()), at: place(node) });
        }
        if source_name(node, attribute.range().start).starts_with(':') {
            return Err(RimError::NotXml { at: place(node) });
        }
    }
    let mut prefixes: Vec<Option<&str>> = Vec::new();
    for namespace in node.namespaces() {
        let problem = if prefixes.contains(&namespace.name()) {
            NamespaceProblem::Twice
        } else if namespace.uri().is_empty() {
            NamespaceProblem::Empty
        } else if !is_absolute(namespace.uri()) {
            NamespaceProblem::Relative
        } else {
            prefixes.push(namespace.name());
            continue;
        };
        return Err(RimError::Namespace { problem, at: place(node) });
    }
    Ok(())
}

/// Whether a URI has a scheme (RFC 3986, 3.1). C14N 1.1 wants a failure where a namespace is a relative URI.
fn is_absolute(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

fn not_xml(error: roxmltree::Error) -> RimError {
    use roxmltree::Error;
    let position = error.pos();
    let at = Place { line: position.row, column: position.col };
    match error {
        Error::DtdDetected => RimError::Dtd,
        Error::UnknownEntityReference(..) => RimError::Entity { at },
        Error::DuplicatedAttribute(..) => RimError::DuplicateAttribute { at },
        Error::DuplicatedNamespace(..) => RimError::Namespace { problem: NamespaceProblem::Twice, at },
        Error::NodesLimitReached => RimError::TooMuch { what: "elements", got: MAX_NODES, limit: MAX_NODES },
        _ => RimError::NotXml { at },
    }
}

/// Where a node begins.
pub(super) fn place(node: Node<'_, '_>) -> Place {
    place_in(node.document().input_text(), node.range().start)
}

fn place_in(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.chars().rev().take_while(|c| *c != '\n').count().saturating_add(1);
    Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}

/// The name of an element with its prefix, as it stands in the text: the parser keeps only its meaning, and C14N wants
/// its spelling.
pub(super) fn qname<'a>(element: Node<'a, '_>) -> &'a str {
    source_name(element, element.range().start.saturating_add(1))
}

/// The name that begins at `start` of the text.
pub(super) fn source_name<'a>(node: Node<'a, '_>, start: usize) -> &'a str {
    let rest = node.document().input_text().get(start..).unwrap_or("");
    let end = rest.find(['=', '>', '/', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
    rest.get(..end).unwrap_or(rest)
}

/// The children of an element that are elements, where it holds nothing else but white space.
pub(super) fn elements<'a, 'i>(parent: Node<'a, 'i>) -> Result<Vec<Node<'a, 'i>>, RimError> {
    let mut elements = Vec::new();
    for child in parent.children() {
        match child.node_type() {
            NodeType::Element => elements.push(child),
            NodeType::Text if child.text().is_none_or(|text| text.bytes().all(|b| b.is_ascii_whitespace())) => {}
            NodeType::Comment => {}
            NodeType::Text | NodeType::PI | NodeType::Root => {
                return Err(RimError::UnexpectedText { inside: cut(parent.tag_name().name()), at: place(child) });
            }
        }
    }
    Ok(elements)
}

/// The text of an element that has exactly one child, a text: neither an element nor a comment may split it.
pub(super) fn only_text<'a>(element: Node<'a, '_>) -> Result<&'a str, RimError> {
    let mut children = element.children();
    match (children.next(), children.next()) {
        (Some(child), None) if child.is_text() => Ok(child.text().unwrap_or("")),
        _ => Err(RimError::NotPlainText { element: cut(element.tag_name().name()), at: place(element) }),
    }
}

/// Refuses every attribute that is not among `allowed` (name without a namespace).
pub(super) fn only_attributes(element: Node<'_, '_>, allowed: &[&str]) -> Result<(), RimError> {
    match element.attributes().find(|a| a.namespace().is_some() || !allowed.contains(&a.name())) {
        None => Ok(()),
        Some(attribute) => Err(RimError::UnexpectedAttribute {
            element: cut(element.tag_name().name()),
            name: cut(attribute.name()),
            at: place(element),
        }),
    }
}
