//! Canonical XML 1.1: the `xml-sec` crate, with a parser that is not ours, and the RIM reader agree.
//!
//! Documents are made from a seed. Each is well formed and holds nothing that the RIM reader refuses, so both must take it,
//! and both must give the same bytes.

use std::fmt::Write as _;

use xml_sec::XmlBackend;
use xml_sec::c14n::{C14nAlgorithm, C14nMode, canonicalize_xml_with_backend};

fn theirs(document: &str) -> Result<Vec<u8>, String> {
    let algorithm = C14nAlgorithm::new(C14nMode::Inclusive1_1, false);
    canonicalize_xml_with_backend(document.as_bytes(), &algorithm, XmlBackend::Xmloxide)
        .map_err(|error| error.to_string())
}

#[track_caller]
fn agree(name: &str, document: &str) {
    let ours = verifier::rim::canonical_form(document.as_bytes());
    let ours = ours.unwrap_or_else(|error| panic!("{name}: ours refuses: {error}\n{document}"));
    let theirs = theirs(document).unwrap_or_else(|error| panic!("{name}: theirs refuses: {error}\n{document}"));
    assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{name}:\n{document}");
}

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

const PREFIXES: [&str; 3] = ["a", "b", "ns0"];
const URIS: [&str; 4] = ["urn:1", "urn:2", "http://x/?a=1&amp;b=&quot;2&quot;", "urn:1#é"];
const NAMES: [&str; 6] = ["x", "Resource", "index", "é", "Hash0", "Hash10"];
/// No line end of another system in CDATA: `xml-sec` keeps its carriage return, which XML 1.0 (2.11) takes away before
/// anything is parsed.
const TEXTS: [&str; 12] = [
    "t",
    " ",
    "\n",
    "\r\n",
    "\t",
    "&#13;",
    "&#xD;",
    "&lt;&amp;&gt;",
    "&#x1F600;é",
    "\"'",
    "<![CDATA[<&>\n]]>",
    "&#10;&#9;",
];
const VALUES: [&str; 9] = ["1", "", " a  b ", "\t\n", "\r\n", "&#13;&#10;&#9;", "&lt;&amp;>", "é&#x41;", "&apos;"];

/// Appends an element and what is in it. `scope` are the prefixes that are declared.
fn element(random: &mut Random, depth: usize, scope: &[&'static str], declarations: &mut u32, output: &mut String) {
    let mut scope = scope.to_vec();
    let mut attributes: Vec<String> = Vec::new();
    for prefix in PREFIXES {
        if *declarations > 0 && random.one_in(4) {
            *declarations -= 1;
            attributes.push(format!("xmlns:{prefix}=\"{}\"", random.pick(&URIS)));
            if !scope.contains(&prefix) {
                scope.push(prefix);
            }
        }
    }
    if *declarations > 0 && random.one_in(6) {
        *declarations -= 1;
        attributes.push(format!("xmlns='{}'", random.pick(&URIS)));
    }
    let mut names: Vec<&str> = Vec::new();
    for _ in 0..random.below(5) {
        let name = random.pick(&NAMES);
        // Local names once, so that no two prefixes of one URI make the same attribute.
        if !names.contains(&name) {
            names.push(name);
            let prefix = if !scope.is_empty() && random.one_in(2) { Some(random.pick(&scope)) } else { None };
            let name = prefix.map_or(name.to_owned(), |prefix| format!("{prefix}:{name}"));
            let at = usize::try_from(random.below(attributes.len() as u64 + 1)).unwrap();
            let equals = random.pick(&["=", " = ", "= "]);
            attributes.insert(at, format!("{name}{equals}\"{}\"", random.pick(&VALUES)));
        }
    }
    let prefix = if !scope.is_empty() && random.one_in(2) { Some(random.pick(&scope)) } else { None };
    let name = random.pick(&NAMES);
    let name = prefix.map_or(name.to_owned(), |prefix| format!("{prefix}:{name}"));
    write!(output, "<{name}").unwrap();
    for attribute in attributes {
        let space = random.pick(&[" ", "\n", "\r\n  ", "\t"]);
        write!(output, "{space}{attribute}").unwrap();
    }
    if random.one_in(4) {
        output.push_str(random.pick(&["/>", " />"]));
        return;
    }
    output.push_str(random.pick(&[">", " >", "\n>"]));
    for _ in 0..random.below(5) {
        match random.below(4) {
            0 if depth > 1 => element(random, depth - 1, &scope, declarations, output),
            1 => output.push_str("<!-- a comment & more -->"),
            _ => output.push_str(random.pick(&TEXTS)),
        }
    }
    let space = random.pick(&["", " ", "\n"]);
    write!(output, "</{name}{space}>").unwrap();
}

#[test]
fn documents_from_ten_thousand_seeds_have_one_canonical_form() {
    for seed in 1..=10_000 {
        let mut random = Random(seed);
        for _ in 0..8 {
            random.next();
        }
        let mut document = String::new();
        if random.one_in(2) {
            document.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        }
        if random.one_in(4) {
            document.push_str("<!-- before -->\r\n");
        }
        element(&mut random, 6, &[], &mut 24, &mut document);
        document.push_str(random.pick(&["", "\n", "\n<!-- after -->\n"]));
        agree(&format!("seed {seed}"), &document);
    }
}

/// What is signed and shipped: our own RIMs, and NVIDIA's where the corpus is at hand.
#[test]
fn rims_have_one_canonical_form() {
    let authority = testkit::rim::RimAuthority::new();
    let rim = testkit::rim::TestRim::new("GH100", "GPU", "550.144.03", &[(7, [7; 48])]);
    agree("content", &rim.content());
    agree("signed", &authority.sign(&rim));
}

#[test]
#[ignore = "needs $CASEMATE_EVIDENCE"]
fn corpus_nvidias_rims_have_one_canonical_form() {
    for name in [
        "nvidia/NV_GPU_DRIVER_GH100_550.144.03.xml",
        "nvidia/NV_GPU_VBIOS_1010_0200_882_96005E0001.swidtag",
        "nvidia/NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
    ] {
        agree(name, &String::from_utf8(testkit::corpus::file(name)).unwrap());
    }
}
