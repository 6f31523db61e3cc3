//! Canonical XML 1.1 (W3C Recommendation, 2 May 2008), without comments, of a whole element with all that it holds, less
//! at most one subtree. That is all that an enveloped signature over a whole document needs: no XPath node-sets, so an
//! element's parent in the output is its parent in the document.
//!
//! What `xml.rs` refuses never gets here: processing instructions, `xml:` attributes, empty and relative namespaces.

use roxmltree::{Node, NodeId, NodeType};

use super::xml;

/// The canonical form of `apex`, without the subtree `without`.
///
/// The apex renders every namespace in scope, also those that its ancestors declare (2.3, "namespace axis" for a document
/// subset): that is how `SignedInfo` gets the prefixes of the root.
pub(super) fn canonical(apex: Node<'_, '_>, without: Option<NodeId>) -> Vec<u8> {
    // The canonical form is seldom larger than the text: an empty element gets an end tag.
    let mut output = Vec::with_capacity(apex.range().len().saturating_mul(2));
    element(apex, None, without, &mut output);
    output
}

/// PANIC-FREE: the recursion is as deep as the document, which `xml::MAX_DEPTH` bounds.
fn element(node: Node<'_, '_>, parent: Option<Node<'_, '_>>, without: Option<NodeId>, output: &mut Vec<u8>) {
    let name = xml::qname(node);
    output.push(b'<');
    output.extend_from_slice(name.as_bytes());
    namespaces(node, parent, output);
    attributes(node, output);
    output.push(b'>');
    for child in node.children().filter(|child| Some(child.id()) != without) {
        match child.node_type() {
            NodeType::Element => element(child, Some(node), without, output),
            NodeType::Text => escape_text(child.text().unwrap_or(""), output),
            NodeType::Comment | NodeType::PI | NodeType::Root => {}
        }
    }
    output.extend_from_slice(b"</");
    output.extend_from_slice(name.as_bytes());
    output.push(b'>');
}

/// The namespaces that the parent in the output does not have just so, the default first, then by prefix.
fn namespaces(node: Node<'_, '_>, parent: Option<Node<'_, '_>>, output: &mut Vec<u8>) {
    let known = |namespace: &roxmltree::Namespace<'_>| {
        parent.is_some_and(|parent| {
            parent.namespaces().any(|other| other.name() == namespace.name() && other.uri() == namespace.uri())
        })
    };
    let mut new: Vec<_> = node
        .namespaces()
        .filter(|namespace| namespace.name() != Some("xml") && !known(namespace))
        .map(|namespace| (namespace.name().unwrap_or(""), namespace.uri()))
        .collect();
    new.sort_unstable();
    for (prefix, uri) in new {
        output.extend_from_slice(if prefix.is_empty() { b" xmlns" } else { b" xmlns:" });
        output.extend_from_slice(prefix.as_bytes());
        value(uri, output);
    }
}

/// By namespace URI, those without one first, then by local name; UTF-8 sorts as code points do.
fn attributes(node: Node<'_, '_>, output: &mut Vec<u8>) {
    let mut attributes: Vec<_> = node.attributes().collect();
    attributes.sort_unstable_by_key(|attribute| (attribute.namespace().unwrap_or(""), attribute.name()));
    for attribute in attributes {
        output.push(b' ');
        output.extend_from_slice(xml::source_name(node, attribute.range().start).as_bytes());
        value(attribute.value(), output);
    }
}

fn value(text: &str, output: &mut Vec<u8>) {
    output.extend_from_slice(b"=\"");
    for byte in text.bytes() {
        match byte {
            b'&' => output.extend_from_slice(b"&amp;"),
            b'<' => output.extend_from_slice(b"&lt;"),
            b'"' => output.extend_from_slice(b"&quot;"),
            b'\t' => output.extend_from_slice(b"&#x9;"),
            b'\n' => output.extend_from_slice(b"&#xA;"),
            b'\r' => output.extend_from_slice(b"&#xD;"),
            other => output.push(other),
        }
    }
    output.push(b'"');
}

fn escape_text(text: &str, output: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => output.extend_from_slice(b"&amp;"),
            b'<' => output.extend_from_slice(b"&lt;"),
            b'>' => output.extend_from_slice(b"&gt;"),
            b'\r' => output.extend_from_slice(b"&#xD;"),
            other => output.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::canonical_form;

    fn form(document: &str) -> String {
        String::from_utf8(canonical_form(document.as_bytes()).unwrap()).unwrap()
    }

    /// Name, document, canonical form. The forms follow from sections 1.1, 2.2 and 2.3 of the Recommendation.
    const CASES: &[(&str, &str, &str)] = &[
        ("an empty element gets an end tag", "<a/>", "<a></a>"),
        ("white space in tags goes", "<a  b = \"1\"\n  c='2' ></a >", r#"<a b="1" c="2"></a>"#),
        ("white space in content stays", "<a> <b> </b>\n</a>", "<a> <b> </b>\n</a>"),
        (
            "the declaration, a BOM and text around the root go",
            "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a/>\n",
            "<a></a>",
        ),
        ("comments go, inside and outside", "<!--x--><a>b<!-- c -->d</a><!--y-->", "<a>bd</a>"),
        ("CDATA becomes text", "<a><![CDATA[<&>]]>x</a>", "<a>&lt;&amp;&gt;x</a>"),
        ("character references become characters", "<a b=\"&#65;&#x42;\">&#67;&#xe9;</a>", "<a b=\"AB\">Cé</a>"),
        (
            "special characters in an attribute",
            "<a b='&lt;&amp;&quot;>&apos;&#9;&#10;&#13;'/>",
            "<a b=\"&lt;&amp;&quot;>'&#x9;&#xA;&#xD;\"></a>",
        ),
        ("white space in an attribute becomes a space", "<a b='x\ty\nz'/>", r#"<a b="x y z"></a>"#),
        ("special characters in text", "<a>&lt;&amp;&gt;\"'&#9;&#13;</a>", "<a>&lt;&amp;&gt;\"'\t&#xD;</a>"),
        ("line ends are translated", "<a b='1\r\n2\r3'>x\r\ny\rz&#13;\r</a>", "<a b=\"1 2 3\">x\ny\nz&#xD;\n</a>"),
        ("line ends in CDATA too", "<a><![CDATA[x\r\ny\r]]></a>", "<a>x\ny\n</a>"),
        (
            "attributes are sorted by namespace and then name",
            "<a xmlns:z='u:1' xmlns:y='u:2' y:a='1' z:b='2' z:a='3' b='4' a='5'/>",
            r#"<a xmlns:y="u:2" xmlns:z="u:1" a="5" b="4" z:a="3" z:b="2" y:a="1"></a>"#,
        ),
        (
            "a namespace is written once, where it is first in scope",
            "<a xmlns='u:1' xmlns:b='u:2'><c xmlns='u:1'><b:d xmlns:b='u:2'/></c></a>",
            r#"<a xmlns="u:1" xmlns:b="u:2"><c><b:d></b:d></c></a>"#,
        ),
        (
            "a changed namespace is written again, and changed back",
            "<b:a xmlns:b='u:1'><b:c xmlns:b='u:2'><b:d xmlns:b='u:1'/></b:c></b:a>",
            r#"<b:a xmlns:b="u:1"><b:c xmlns:b="u:2"><b:d xmlns:b="u:1"></b:d></b:c></b:a>"#,
        ),
        (
            "unused namespaces stay",
            "<a xmlns:b='u:1'><c xmlns:d='u:2'/></a>",
            r#"<a xmlns:b="u:1"><c xmlns:d="u:2"></c></a>"#,
        ),
        ("the xml namespace is never written", "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>", "<a></a>"),
        (
            "a namespace is written as an attribute is",
            "<a xmlns='u:&amp;&lt;&quot;'/>",
            "<a xmlns=\"u:&amp;&lt;&quot;\"></a>",
        ),
    ];

    #[test]
    fn documents_have_the_canonical_form_of_the_recommendation() {
        for (name, document, expected) in CASES {
            assert_eq!(form(document), *expected, "{name}");
        }
    }

    #[test]
    fn a_canonical_form_is_its_own() {
        for (name, document, _) in CASES {
            let once = form(document);
            assert_eq!(form(&once), once, "{name}");
        }
    }
}
