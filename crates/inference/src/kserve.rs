//! The KServe v2 ("open inference") messages in JSON, as far as they are served: FP32 tensors, and the `classification`
//! extension, by which a client asks for the best classes with their labels instead of the raw numbers.
//!
//! Parsing is strict: a field, parameter or datatype that is not understood is refused, never ignored, since the answer
//! would be one to another question. Numbers must be finite.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The one datatype of input tensors.
pub const FP32: &str = "FP32";
/// The datatype of the `classification` extension's answers.
pub const BYTES: &str = "BYTES";
/// The header that names the pod which answered.
pub const POD_HEADER: &str = "x-casemate-pod";

/// LIMIT: ONNX models of images have rank 4, of video 5.
const MAX_RANK: usize = 6;
/// LIMIT: tensors of one request; a model has a handful.
const MAX_TENSORS: usize = 64;
/// LIMIT: a request id and tensor names are short names made by clients.
const MAX_TEXT: usize = 256;
/// LIMIT: an error message quotes at most this much of what a peer sent.
const MAX_QUOTE: usize = 160;

/// Why a request is not answered. All of these are the caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No JSON of the right shape.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// A parameter that is not understood.
    #[error("parameter `{0}` is not supported")]
    Parameter(String),
    /// Text beyond the limit.
    #[error("{what} is {len} bytes long, at most {MAX_TEXT} are accepted")]
    TextTooLong {
        /// Which.
        what: &'static str,
        /// Its length.
        len: usize,
    },
    /// An input or output that the model lacks.
    #[error("the model has no {kind} `{name}`; it has {known}")]
    UnknownTensor {
        /// `input` or `output`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The model's names.
        known: String,
    },
    /// An input or output named twice.
    #[error("{kind} `{name}` is there twice")]
    RepeatedTensor {
        /// `input` or `output`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// An input that is not there.
    #[error("input `{0}` is missing")]
    MissingInput(String),
    /// Another datatype.
    #[error("input `{name}` has datatype `{datatype}`, the model takes {FP32}")]
    Datatype {
        /// The input.
        name: String,
        /// Its datatype.
        datatype: String,
    },
    /// Another shape.
    #[error("input `{name}` has shape {got}, the model takes {wanted}")]
    Shape {
        /// The input.
        name: String,
        /// Its shape.
        got: String,
        /// The model's shape, -1 for the batch.
        wanted: String,
    },
    /// Inputs with different numbers of rows.
    #[error("inputs have different numbers of rows: {first} and {other}")]
    UnevenBatch {
        /// Rows of the first.
        first: u64,
        /// Rows of another.
        other: u64,
    },
    /// Too many rows.
    #[error("{got} rows, at most {max} are answered at once")]
    BatchTooLarge {
        /// Rows.
        got: u64,
        /// The limit.
        max: u64,
    },
    /// Data that does not fill the shape.
    #[error("data of input `{name}` is {got}, shape {shape} wants {wanted} numbers")]
    Data {
        /// The input.
        name: String,
        /// What the data is.
        got: String,
        /// The shape.
        shape: String,
        /// Numbers that it holds.
        wanted: u64,
    },
    /// A classification of nothing, or of more classes than there are.
    #[error("classification wants {got} classes, output `{name}` has {max}")]
    Classification {
        /// The output.
        name: String,
        /// Classes wanted.
        got: u64,
        /// Classes there are.
        max: u64,
    },
}

/// A request as it was sent; the model's view of it comes later.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferRequest {
    /// The caller's name for it, given back with the answer.
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// The input tensors.
    #[serde(deserialize_with = "objects")]
    pub inputs: Vec<InputTensor>,
    /// The outputs wanted; all of them when absent or empty.
    #[serde(default, deserialize_with = "objects")]
    outputs: Vec<OutputRequest>,
}

/// An input tensor.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputTensor {
    /// Its name.
    pub name: String,
    /// Its shape, batch first.
    pub shape: Vec<u64>,
    /// Its datatype.
    pub datatype: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// Its numbers.
    pub data: TensorData,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputRequest {
    name: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// An output that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedOutput {
    /// Its name.
    pub name: String,
    /// How many of the best classes, when classes are wanted and not the numbers.
    pub classification: Option<u64>,
}

impl InferRequest {
    /// Parses a request body and checks everything that can be checked without a model.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        let Object(request): Object<Self> =
            serde_json::from_slice(body).map_err(|error| RequestError::Malformed(quote(&error.to_string())))?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), RequestError> {
        text("the id", self.id.as_deref().unwrap_or_default())?;
        for (name, value) in &self.parameters {
            // What Triton's client libraries always send; `false` is what is served.
            if name != "binary_data_output" || value != &Value::Bool(false) {
                return Err(RequestError::Parameter(quote(name)));
            }
        }
        if self.inputs.len() > MAX_TENSORS || self.outputs.len() > MAX_TENSORS {
            return Err(RequestError::Malformed(format!("more than {MAX_TENSORS} tensors")));
        }
        for input in &self.inputs {
            text("an input's name", &input.name)?;
            text("a datatype", &input.datatype)?;
            if let Some(name) = input.parameters.keys().next() {
                return Err(RequestError::Parameter(quote(name)));
            }
            if input.shape.len() > MAX_RANK {
                return Err(RequestError::Malformed(format!("a shape of more than {MAX_RANK} dimensions")));
            }
        }
        for output in &self.outputs {
            text("an output's name", &output.name)?;
        }
        self.wanted().map(|_| ())
    }

    /// The outputs that are asked for; empty means all.
    pub fn wanted(&self) -> Result<Vec<WantedOutput>, RequestError> {
        let mut wanted: Vec<WantedOutput> = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            if wanted.iter().any(|other| other.name == output.name) {
                return Err(RequestError::RepeatedTensor { kind: "output", name: output.name.clone() });
            }
            let mut classification = None;
            for (name, value) in &output.parameters {
                match (name.as_str(), value) {
                    ("classification", Value::Number(number)) if number.as_u64().is_some() => {
                        classification = number.as_u64();
                    }
                    ("classification", _) => {
                        return Err(RequestError::Malformed("`classification` is not a count".into()));
                    }
                    ("binary_data", Value::Bool(false)) => {}
                    _ => return Err(RequestError::Parameter(quote(name))),
                }
            }
            wanted.push(WantedOutput { name: output.name.clone(), classification });
        }
        Ok(wanted)
    }
}

/// A value that was written as a JSON object. Derived parsers take an array of the fields as well, which is no KServe.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        deserializer.deserialize_map(OnlyMap(PhantomData))
    }
}

fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

fn text(what: &'static str, text: &str) -> Result<(), RequestError> {
    if text.len() > MAX_TEXT { Err(RequestError::TextTooLong { what, len: text.len() }) } else { Ok(()) }
}

fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTE).collect()
}

/// The numbers of a tensor in row-major order, with the nesting in which they came: KServe allows both `[1,2,3,4]` and
/// `[[1,2],[3,4]]` for shape `[2,2]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorData {
    /// The numbers, all finite.
    pub values: Vec<f32>,
    /// Lengths of the nested arrays, outermost first.
    pub nesting: Vec<u64>,
}

impl TensorData {
    /// Whether the numbers fill a shape, flat or nested.
    pub fn fills(&self, shape: &[u64]) -> bool {
        let count = shape.iter().try_fold(1_u64, |product, &length| product.checked_mul(length));
        count == Some(self.values.len() as u64) && (self.nesting.len() <= 1 || self.nesting == shape)
    }
}

impl<'de> Deserialize<'de> for TensorData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut collector = Collector::default();
        Node { collector: &mut collector, depth: 0 }.deserialize(deserializer)?;
        let nesting = collector.lengths.iter().map_while(|length| *length).collect();
        Ok(Self { values: collector.values, nesting })
    }
}

/// What was seen of nested arrays so far.
#[derive(Default)]
struct Collector {
    values: Vec<f32>,
    /// The length of the arrays at each depth, once one has ended there.
    lengths: [Option<u64>; MAX_RANK],
    /// At which depth numbers stand, once one was seen.
    numbers_at: Option<usize>,
}

/// One element: an array or a number.
struct Node<'a> {
    collector: &'a mut Collector,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Node<'_> {
    fn number<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the model's own type is what FP32 means")]
        let value = value as f32;
        if !value.is_finite() {
            return Err(E::custom("a number is beyond the range of FP32"));
        }
        let depth = self.depth;
        let array_here = self.collector.lengths.get(depth).is_some_and(Option::is_some);
        if depth == 0 || array_here || self.collector.numbers_at.is_some_and(|at| at != depth) {
            return Err(E::custom("data is not an evenly nested array"));
        }
        self.collector.numbers_at = Some(depth);
        self.collector.values.push(value);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers in arrays")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.number(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.number(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { collector, depth } = self;
        if depth >= MAX_RANK || collector.numbers_at.is_some_and(|at| at <= depth) {
            return Err(A::Error::custom("data is not an evenly nested array"));
        }
        let mut count = 0_u64;
        while elements.next_element_seed(Node { collector: &mut *collector, depth: depth + 1 })?.is_some() {
            count += 1;
        }
        match collector.lengths.get_mut(depth) {
            Some(Some(length)) if *length != count => Err(A::Error::custom("data is not an evenly nested array")),
            Some(length) => {
                *length = Some(count);
                Ok(())
            }
            None => Err(A::Error::custom("data is nested too deeply")),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InferResponse {
    /// The model that answered.
    pub model_name: String,
    /// Its version: the SHA-256 of its ONNX file.
    pub model_version: String,
    /// The request's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The output tensors, in the order asked for.
    pub outputs: Vec<OutputTensor>,
}

/// An output tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputTensor {
    /// Its name.
    pub name: String,
    /// Its shape, batch first.
    pub shape: Vec<u64>,
    /// [`FP32`] or [`BYTES`].
    pub datatype: String,
    /// Its elements in row-major order.
    pub data: OutputData,
}

/// The elements of an output tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OutputData {
    /// Numbers.
    Numbers(Vec<f32>),
    /// `score:index:label`, best first, as the `classification` extension has it.
    Classes(Vec<String>),
}

/// One class of a `classification` answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Class {
    /// Its place in the output tensor.
    pub index: u64,
    /// Its label, where the server has labels.
    pub label: Option<String>,
    /// The output tensor's number.
    pub probability: f32,
}

impl Class {
    /// The class in the extension's text form.
    pub fn encode(&self) -> String {
        match &self.label {
            Some(label) => format!("{}:{}:{label}", self.probability, self.index),
            None => format!("{}:{}", self.probability, self.index),
        }
    }

    /// Reads the extension's text form.
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let probability = parts.next()?.parse().ok().filter(|value: &f32| value.is_finite())?;
        let index = parts.next()?.parse().ok()?;
        Some(Self { index, label: parts.next().map(ToOwned::to_owned), probability })
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Why.
    pub error: String,
}

/// A shape as messages show it, -1 for the batch.
pub(crate) fn shape_text(shape: &[u64], batch: bool) -> String {
    let lengths = shape.iter().map(ToString::to_string);
    let lengths: Vec<String> = batch.then(|| "-1".to_owned()).into_iter().chain(lengths).collect();
    format!("[{}]", lengths.join(","))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn parse(data: &str) -> Result<TensorData, String> {
        serde_json::from_str(data).map_err(|error| error.to_string())
    }

    #[test]
    fn flat_and_nested_data_give_the_same_numbers() {
        let flat = parse("[1, 2.5, -3, 4e0]").unwrap();
        let nested = parse("[[1, 2.5], [-3, 4e0]]").unwrap();
        assert_eq!(flat.values, [1.0, 2.5, -3.0, 4.0]);
        assert_eq!(flat.values, nested.values);
        assert!(flat.fills(&[2, 2]) && nested.fills(&[2, 2]));
        assert!(flat.fills(&[4, 1]) && !nested.fills(&[4, 1]), "nested data says its shape");
        assert!(!flat.fills(&[3]) && !flat.fills(&[5]) && !flat.fills(&[u64::MAX, 4]));
    }

    #[test]
    fn data_that_is_no_even_array_of_finite_numbers_is_refused() {
        for data in [
            "1",
            "null",
            "{}",
            "\"1\"",
            "[true]",
            "[null]",
            "[\"1\"]",
            "[NaN]",
            "[1e39]",
            "[-1e39]",
            "[1e999]",
            "[[1],2]",
            "[1,[2]]",
            "[[1,2],[3]]",
            "[[],[1]]",
            "[[],1]",
            "[1,[]]",
            "[[1],[[2]]]",
            "[[[1]],[2]]",
            "[[[[[[[1]]]]]]]",
            "[1,]",
            "[1",
        ] {
            assert!(parse(data).is_err(), "{data} gave {:?}", parse(data));
        }
    }

    #[track_caller]
    fn refused(body: &str, expected: Expect) {
        expected.assert_eq(&InferRequest::parse(body.as_bytes()).unwrap_err().to_string());
    }

    #[test]
    fn a_request_that_is_not_understood_is_refused_with_its_reason() {
        refused("", expect!["malformed request: EOF while parsing a value at line 1 column 0"]);
        refused("[]", expect!["malformed request: invalid type: sequence, expected an object at line 1 column 0"]);
        refused(
            r#"{"inputs":[["a",[1],"FP32",{},[1]]]}"#,
            expect!["malformed request: invalid type: sequence, expected an object at line 1 column 11"],
        );
        refused(
            r#"{"inputs":[],"outputs":[["a"]]}"#,
            expect!["malformed request: invalid type: sequence, expected an object at line 1 column 24"],
        );
        refused("{}", expect!["malformed request: missing field `inputs` at line 1 column 2"]);
        refused(
            r#"{"inputs":[],"surprise":1}"#,
            expect![
                "malformed request: unknown field `surprise`, expected one of `id`, `parameters`, `inputs`, `outputs` at line 1 column 23"
            ],
        );
        refused(
            r#"{"inputs":[],"parameters":{"binary_data_output":true}}"#,
            expect!["parameter `binary_data_output` is not supported"],
        );
        refused(r#"{"inputs":[],"parameters":{"priority":1}}"#, expect!["parameter `priority` is not supported"]);
        refused(r#"{"inputs":[],"outputs":[{"name":"a"},{"name":"a"}]}"#, expect!["output `a` is there twice"]);
        refused(
            r#"{"inputs":[],"outputs":[{"name":"a","parameters":{"classification":-1}}]}"#,
            expect!["malformed request: `classification` is not a count"],
        );
        refused(
            r#"{"inputs":[],"outputs":[{"name":"a","parameters":{"shared_memory_region":"x"}}]}"#,
            expect!["parameter `shared_memory_region` is not supported"],
        );
        refused(
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4},"data":[1]}]}"#,
            expect!["parameter `binary_data_size` is not supported"],
        );
        refused(
            r#"{"inputs":[{"name":"a","shape":[-1],"datatype":"FP32","data":[1]}]}"#,
            expect!["malformed request: invalid value: integer `-1`, expected u64 at line 1 column 34"],
        );
        refused(
            r#"{"inputs":[{"name":"a","shape":[1,1,1,1,1,1,1],"datatype":"FP32","data":[1]}]}"#,
            expect!["malformed request: a shape of more than 6 dimensions"],
        );
        refused(
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP32"}]}"#,
            expect!["malformed request: missing field `data` at line 1 column 53"],
        );
        refused(
            r#"{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1],"data":[2]}]}"#,
            expect!["malformed request: duplicate field `data` at line 1 column 70"],
        );
    }

    #[test]
    fn long_text_from_a_peer_is_neither_accepted_nor_repeated() {
        let long = "x".repeat(300);
        let id = format!(r#"{{"id":"{long}","inputs":[]}}"#);
        assert_eq!(InferRequest::parse(id.as_bytes()), Err(RequestError::TextTooLong { what: "the id", len: 300 }));
        let field = format!(r#"{{"{}":1}}"#, "y".repeat(10_000));
        assert!(InferRequest::parse(field.as_bytes()).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn a_class_survives_its_text_form() {
        for label in [None, Some("seven".to_owned()), Some("a:b".to_owned()), Some(String::new())] {
            let class = Class { index: 7, label, probability: 0.1 };
            assert_eq!(Class::decode(&class.encode()), Some(class));
        }
        for text in ["", "0.5", "x:1", "0.5:x", "0.5:-1", "NaN:1", "inf:2:a"] {
            assert_eq!(Class::decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = InferRequest::parse(&body);
        }

        #[test]
        fn no_text_like_a_request_panics(body in r#"(\{|\}|\[|\]|,|:|"inputs"|"data"|"shape"|"name"|1|-2\.5|1e40|null){0,40}"#) {
            let _ = InferRequest::parse(body.as_bytes());
            let _ = parse(&body);
        }

        #[test]
        fn every_finite_number_arrives(values in proptest::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 1..50)) {
            let text = serde_json::to_string(&values).unwrap();
            prop_assert_eq!(parse(&text).unwrap().values, values);
        }

        #[test]
        fn nesting_is_recognised(a in 1..4_usize, b in 1..4_usize, c in 1..4_usize) {
            let text = serde_json::to_string(&vec![vec![vec![1; c]; b]; a]).unwrap();
            let data = parse(&text).unwrap();
            prop_assert_eq!(data.nesting, vec![a as u64, b as u64, c as u64]);
            prop_assert_eq!(data.values.len(), a * b * c);
        }
    }
}
