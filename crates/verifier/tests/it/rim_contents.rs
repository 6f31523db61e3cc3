//! The XML and the contents of RIMs: what two readers could take differently, and what makes no sense though it is signed.

use testkit::rim::TestRim;
use verifier::Fault;
use verifier::endorsements::Endorsements;
use verifier::rim::{self, RimError};

use crate::rim::{AUTHORITY, NOW, anchors, once, refused, signed, template};

#[test]
fn xml_that_two_readers_could_take_differently_is_refused() {
    let document = signed();
    let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
    let many = |what: &str, count: usize| format!("<a>{}</a>", what.repeat(count));
    let attributes: Vec<_> = (0..4_097).map(|number| format!(" a{number}=''")).collect();
    let attributes = attributes.concat();
    let namespaces: Vec<_> = (0..33).map(|number| format!(" xmlns:a{number}='urn:x'")).collect();
    let namespaces = namespaces.concat();
    for (name, document, code) in [
        ("nothing", String::new(), "rim-not-xml"),
        ("text", "hello".to_owned(), "rim-not-xml"),
        ("JSON", "{\"rim\":1}".to_owned(), "rim-not-xml"),
        ("two roots", format!("{document}<a/>"), "rim-not-xml"),
        ("an open element", "<a>".to_owned(), "rim-not-xml"),
        ("a DTD", format!("<!DOCTYPE a>{document}"), "rim-dtd"),
        ("a DTD with an entity", format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{document}"), "rim-dtd"),
        ("a DTD after the declaration", format!("<?xml version=\"1.0\"?><!DOCTYPE a>{document}"), "rim-dtd"),
        ("an entity in text", once(&document, "</ns0:Payload>", "&b;</ns0:Payload>"), "rim-entity"),
        ("an entity in an attribute", once(&document, "edition=\"GPU\"", "edition=\"&b;\""), "rim-entity"),
        ("an instruction before the root", format!("<?a b?>{document}"), "rim-processing-instruction"),
        ("an instruction after the root", format!("{document}<?a b?>"), "rim-processing-instruction"),
        ("an instruction inside", once(&document, "<ns0:Payload", "<?a b?><ns0:Payload"), "rim-processing-instruction"),
        (
            "an instruction in the signature",
            once(&document, "<ds:KeyInfo>", "<?a?><ds:KeyInfo>"),
            "rim-processing-instruction",
        ),
        ("a declaration with a tab", format!("<?xml\tversion=\"1.0\"?>{document}"), "rim-processing-instruction"),
        (
            "another encoding",
            format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{document}"),
            "rim-xml-declaration",
        ),
        ("another version", format!("<?xml version=\"1.1\"?>{document}"), "rim-xml-declaration"),
        ("no version", format!("<?xml encoding=\"UTF-8\"?>{document}"), "rim-xml-declaration"),
        (
            "an attribute twice",
            once(&document, " edition=\"GPU\"", " edition=\"GPU\" edition=\"CPU\""),
            "rim-duplicate-attribute",
        ),
        (
            "an attribute twice by two prefixes",
            "<a xmlns:b='u:1' xmlns:c='u:1' b:d='' c:d=''/>".to_owned(),
            "rim-duplicate-attribute",
        ),
        (
            "a namespace twice",
            once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"u:1\" xmlns:x=\"u:2\""),
            "rim-namespace",
        ),
        (
            "the default namespace twice",
            once(&document, "<SoftwareIdentity", "<SoftwareIdentity xmlns=\"u:1\""),
            "rim-namespace",
        ),
        ("a namespace taken back", once(&document, "<ns0:Payload", "<ns0:Payload xmlns=\"\""), "rim-namespace"),
        ("a prefix for nothing", once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"\""), "rim-namespace"),
        ("a relative namespace", once(&document, "<ns0:Payload", "<ns0:Payload xmlns:x=\"y\""), "rim-namespace"),
        ("a prefixed xmlns", once(&document, "<ns0:Payload", "<ns0:Payload ns0:xmlns=\"u:1\""), "rim-namespace"),
        ("an xml attribute", once(&document, "<ns0:Payload", "<ns0:Payload xml:lang=\"en\""), "rim-xml-attribute"),
        ("an xml id", once(&document, "<ns0:Payload", "<ns0:Payload xml:id=\"en\""), "rim-xml-attribute"),
        ("an unknown prefix", once(&document, "<ns0:Payload", "<nsx:Payload"), "rim-not-xml"),
        ("a name that begins with a colon", "<:a/>".to_owned(), "rim-not-xml"),
        ("an attribute that begins with a colon", "<a :b=''/>".to_owned(), "rim-not-xml"),
        ("a control character", once(&document, "edition=\"GPU\"", "edition=\"G\u{1}U\""), "rim-not-xml"),
        ("levels", deep, "rim-too-much"),
        ("elements", many("<b/>", 2_048), "rim-too-much"),
        ("attributes", format!("<a{attributes}/>"), "rim-too-much"),
        ("namespaces", format!("<a{namespaces}/>"), "rim-too-much"),
        ("bytes", many(" ", 256 * 1024), "rim-too-much"),
    ] {
        refused(name, &document, code);
    }
    let binary =
        |bytes: &[u8]| rim::verify_alone(bytes, &anchors(&AUTHORITY), &Endorsements::default(), NOW).unwrap_err();
    assert_eq!(binary(b"<a>\xff</a>"), RimError::NotUtf8 { at: 3 });
    // unsigned-corim-map (tag 501), signed-corim (COSE_Sign1, tag 18), a bare map.
    for corim in [&[0xd9, 0x01, 0xf5, 0xa1][..], &[0xd2, 0x84], &[0xa2, 0x00]] {
        assert_eq!((binary(corim).code(), binary(corim).fault()), ("rim-corim", Fault::Unsupported));
        assert_eq!(binary(corim).to_string(), "a CBOR CoRIM; this release reads XML");
    }
}

/// Signed by the true signer, and still not read: NVIDIA's form, or a name for what is different.
#[test]
fn contents_that_are_signed_and_make_no_sense_are_refused() {
    const RESOURCE: &str = "active=\"True\" alternatives=\"1\" index=\"7\" name=\"Measurement_7\" size=\"48\" type=\"Measurement\" ns2:Hash0=\"";
    let digest = "07".repeat(48);
    let sha512 = format!(
        "<ns0:Resource xmlns:x=\"http://www.w3.org/2001/04/xmlenc#sha512\" {}{digest}",
        RESOURCE.replace("ns2:Hash0", "x:Hash0")
    );
    let cases: &[(&str, &str, &str, &str)] = &[
        ("an index twice", "index=\"9\"", "index=\"8\"", "rim-duplicate-index"),
        ("an index out of range", "index=\"9\"", "index=\"64\"", "rim-index"),
        ("a huge index", "index=\"9\"", "index=\"99999999999999999999\"", "rim-index"),
        ("a negative index", "index=\"9\"", "index=\"-9\"", "rim-index"),
        ("a signed index", "index=\"9\"", "index=\"+9\"", "rim-index"),
        ("an index with a zero before", "index=\"9\"", "index=\"09\"", "rim-index"),
        ("an index in other digits", "index=\"9\"", "index=\"\u{0669}\"", "rim-index"),
        ("an empty index", "index=\"9\"", "index=\"\"", "rim-field"),
        ("no index", " index=\"9\"", "", "rim-missing-field"),
        (
            "neither active nor not",
            "active=\"True\" alternatives=\"1\" index=\"9\"",
            "active=\"true\" alternatives=\"1\" index=\"9\"",
            "rim-field",
        ),
        (
            "active missing",
            "active=\"True\" alternatives=\"1\" index=\"9\"",
            "alternatives=\"1\" index=\"9\"",
            "rim-missing-field",
        ),
        (
            "another type",
            "name=\"Measurement_9\" size=\"48\" type=\"Measurement\"",
            "name=\"Measurement_9\" size=\"48\" type=\"File\"",
            "rim-field",
        ),
        ("another size", "name=\"Measurement_9\" size=\"48\"", "name=\"Measurement_9\" size=\"32\"", "rim-field"),
        (
            "an unknown attribute",
            "name=\"Measurement_9\" ",
            "mask=\"ff\" name=\"Measurement_9\" ",
            "rim-unexpected-attribute",
        ),
        (
            "more alternatives stated",
            RESOURCE,
            &RESOURCE.replace("alternatives=\"1\"", "alternatives=\"2\""),
            "rim-alternatives",
        ),
        (
            "no alternatives stated",
            RESOURCE,
            &RESOURCE.replace("alternatives=\"1\"", "alternatives=\"0\""),
            "rim-alternatives",
        ),
        (
            "alternatives that are no number",
            RESOURCE,
            &RESOURCE.replace("alternatives=\"1\"", "alternatives=\"one\""),
            "rim-alternatives",
        ),
        ("the first alternative missing", RESOURCE, &RESOURCE.replace("Hash0", "Hash1"), "rim-alternatives"),
        ("no digest", &format!(" ns2:Hash0=\"{digest}\""), "", "rim-alternatives"),
        ("a digest too short", &format!("{digest}\""), &format!("{}\"", &digest[2..]), "rim-digest-text"),
        ("half a digit", &format!("{digest}\""), &format!("{}\"", &digest[1..]), "rim-digest-text"),
        ("a digest too long", &format!("{digest}\""), &format!("{digest}00\""), "rim-digest-text"),
        ("a digest that is no hex", &format!("{digest}\""), &format!("g{}\"", &digest[1..]), "rim-digest-text"),
        ("another hash algorithm", &format!("<ns0:Resource {RESOURCE}{digest}"), &sha512, "rim-hash-algorithm"),
        (
            "a hash without an algorithm",
            &format!("{RESOURCE}{digest}\""),
            &format!("Hash0=\"{digest}\" {}", &RESOURCE[..RESOURCE.len() - 12]),
            "rim-hash-algorithm",
        ),
        ("a seventeenth alternative", RESOURCE, &RESOURCE.replace("Hash0", "Hash16"), "rim-hash-algorithm"),
        ("an alternative that is no number", RESOURCE, &RESOURCE.replace("Hash0", "HashX"), "rim-hash-algorithm"),
        (
            "something else of the hashes' namespace",
            RESOURCE,
            &RESOURCE.replace("Hash0", "Mask0"),
            "rim-hash-algorithm",
        ),
        ("another manufacturer", "\"5703\"", "\"5704\"", "rim-field"),
        ("no manufacturer", " ns1:FirmwareManufacturerId=\"5703\"", "", "rim-missing-field"),
        (
            "a manufacturer under another name",
            "ns1:FirmwareManufacturerId",
            "ns1:FirmwareManufacturerIds",
            "rim-missing-field",
        ),
        ("an indirect payload", "PayloadType=\"direct\"", "PayloadType=\"indirect\"", "rim-field"),
        ("no version", "colloquialVersion=\"550.144.03\" ", "", "rim-missing-field"),
        ("an empty version", "colloquialVersion=\"550.144.03\"", "colloquialVersion=\"\"", "rim-field"),
        (
            "a version with a line end",
            "colloquialVersion=\"550.144.03\"",
            "colloquialVersion=\"550&#xA;\"",
            "rim-field",
        ),
        ("no product", " product=\"GH100\"", "", "rim-missing-field"),
        ("no tag id", " tagId=", " tagIe=", "rim-missing-field"),
        ("a supplement", "supplemental=\"false\"", "supplemental=\"true\"", "rim-field"),
        ("a patch", "patch=\"false\"", "patch=\"true\"", "rim-field"),
        ("a corpus tag", "corpus=\"false\"", "corpus=\"true\"", "rim-field"),
        (
            "text among the measurements",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\">",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\">x",
            "rim-unexpected-text",
        ),
        (
            "an attribute at the payload",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\"",
            "<ns0:Payload xmlns:SHA384=\"http://www.w3.org/2001/04/xmlenc#sha384\" x=\"1\"",
            "rim-unexpected-attribute",
        ),
        ("another root", "SoftwareIdentity", "SoftwareIdentities", "rim-unexpected-element"),
        ("two payloads", "</ns0:Payload>", "</ns0:Payload><ns0:Payload></ns0:Payload>", "rim-not-one"),
        ("two metas", "</ns0:Meta>", "</ns0:Meta><ns0:Meta></ns0:Meta>", "rim-not-one"),
        (
            "an element in a measurement",
            "></ns0:Resource>",
            "><ns0:Resource></ns0:Resource></ns0:Resource>",
            "rim-unexpected-element",
        ),
        (
            "a file among the measurements",
            "    </ns0:Payload>",
            "    <ns0:File></ns0:File></ns0:Payload>",
            "rim-unexpected-element",
        ),
        (
            "evidence besides the payload",
            "</ns0:Payload>",
            "</ns0:Payload><ns0:Evidence></ns0:Evidence>",
            "rim-unexpected-element",
        ),
    ];
    let content = template().content();
    for (name, from, to, code) in cases {
        assert!(content.contains(from), "{name}: `{from}` does not stand there");
        // The root's name stands at both its ends.
        let times = if *from == "SoftwareIdentity" { 2 } else { 1 };
        let changed = content.replacen(from, to, times);
        refused(name, &AUTHORITY.sign_content(&changed, &AUTHORITY.signing()), code);
    }
    let no_measurement = TestRim { measurements: vec![], ..template() };
    refused("no measurement", &AUTHORITY.sign(&no_measurement), "rim-not-one");
}
