use tract_onnx::pb;
use tract_onnx::pb::tensor_shape_proto::Dimension;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::prelude::tract_itertools::Itertools as _;

use super::*;

pub(crate) const DIGITS: &[u8] = include_bytes!("../../../../examples/inference/digits.onnx");

fn load(onnx: &[u8]) -> Result<Model, ModelError> {
    Model::load(onnx, "m", Digest::ZERO)
}

/// A dimension: a number, or free.
type Dim = Option<i64>;

fn value(name: &str, elem_type: i32, dims: &[Dim]) -> pb::ValueInfoProto {
    let dim = |dim: &Dim| Dimension {
        value: Some(dim.map_or_else(|| DimValue::DimParam("n".into()), DimValue::DimValue)),
        ..Dimension::default()
    };
    let tensor =
        pb::type_proto::Tensor { elem_type, shape: Some(pb::TensorShapeProto { dim: dims.iter().map(dim).collect() }) };
    let r#type =
        Some(pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..pb::TypeProto::default() });
    pb::ValueInfoProto { name: name.into(), r#type, ..pb::ValueInfoProto::default() }
}

fn node(op: &str, inputs: &[&str], output: &str) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op.into(),
        name: format!("{op}-{output}"),
        input: inputs.iter().map(ToString::to_string).collect_vec(),
        output: vec![output.into()],
        ..pb::NodeProto::default()
    }
}

fn onnx(nodes: Vec<pb::NodeProto>, inputs: Vec<pb::ValueInfoProto>, outputs: Vec<pb::ValueInfoProto>) -> Vec<u8> {
    let graph =
        pb::GraphProto { name: "g".into(), node: nodes, input: inputs, output: outputs, ..pb::GraphProto::default() };
    let model = pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..pb::ModelProto::default()
    };
    prost::Message::encode_to_vec(&model)
}

const F32: i32 = 1;
const I64: i32 = 7;

/// The sum of inputs `a` and `b`.
fn sum(dims: &[Dim]) -> Vec<u8> {
    let inputs = vec![value("a", F32, dims), value("b", F32, dims)];
    onnx(vec![node("Add", &["a", "b"], "sum")], inputs, vec![value("sum", F32, dims)])
}

#[test]
fn names_and_shapes_come_from_the_file() {
    let model = load(DIGITS).unwrap();
    assert_eq!(model.inputs, [TensorSpec { name: "pixels".into(), row: vec![64] }]);
    assert_eq!(model.outputs, [TensorSpec { name: "probabilities".into(), row: vec![10] }]);
}

#[test]
fn a_batch_gives_what_its_rows_give_one_by_one() {
    let model = load(DIGITS).unwrap();
    for rows in [1, 2, 15, 16, 17, 33] {
        let values: Vec<f32> = (0..rows * 64).map(|i| (i * 37 % 17) as f32).collect();
        let together = model.run(rows, std::slice::from_ref(&values)).unwrap().remove(0);
        let apart: Vec<f32> =
            values.chunks(64).flat_map(|row| model.run(1, &[row.to_vec()]).unwrap().remove(0)).collect();
        assert_eq!(together.len(), rows * 10);
        let far = together.iter().zip(&apart).find(|(a, b)| (*a - *b).abs() > 1e-5);
        assert_eq!(far, None, "{rows} rows");
    }
}

#[test]
fn several_inputs_are_matched_by_name_and_order() {
    let model = load(&sum(&[None, Some(2)])).unwrap();
    let names: Vec<&str> = model.inputs.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let got = model.run(2, &[vec![1.0, 2.0, 3.0, 4.0], vec![10.0, 20.0, 30.0, 40.0]]).unwrap();
    assert_eq!(got, [vec![11.0, 22.0, 33.0, 44.0]]);
}

#[test]
fn a_model_for_one_row_answers_batches_row_by_row() {
    let model = load(&sum(&[Some(1), Some(2)])).unwrap();
    assert!(model.wide.is_none());
    assert_eq!(model.run(2, &[vec![1.0; 4], vec![2.0; 4]]).unwrap(), [vec![3.0; 4]]);
}

#[test]
fn numbers_that_overflow_inside_the_model_are_no_answer() {
    let model = load(&sum(&[None, Some(1)])).unwrap();
    let got = model.run(1, &[vec![f32::MAX], vec![f32::MAX]]);
    assert!(matches!(got, Err(ModelError::NotFinite(ref name)) if name == "sum"), "{got:?}");
}

#[test]
fn too_few_numbers_are_an_error_and_no_panic() {
    let model = load(DIGITS).unwrap();
    assert!(matches!(model.run(2, &[vec![0.0; 64]]), Err(ModelError::Run(_))));
}

#[track_caller]
fn refused(onnx: &[u8], words: &str) {
    match load(onnx) {
        Ok(_) => panic!("loaded, `{words}` expected"),
        Err(error) => assert!(error.to_string().contains(words), "`{error}` lacks `{words}`"),
    }
}

#[test]
fn models_that_cannot_be_served_are_refused_with_the_tensor() {
    refused(&sum(&[Some(4), Some(2)]), "batches of exactly 4");
    refused(&sum(&[None, None]), "free dimension besides the batch");
    refused(&sum(&[]), "no batch dimension");
    refused(&sum(&[None, Some(0)]), "dimension of length 0");
    refused(&sum(&[None, Some(1 << 40)]), "more than");
    let row = [None, Some(2)];
    let id = |elem_type: i32| {
        onnx(vec![node("Identity", &["a"], "b")], vec![value("a", elem_type, &row)], vec![value("b", elem_type, &row)])
    };
    refused(&id(I64), "only FP32 is served");
    let shape = onnx(vec![node("Shape", &["a"], "b")], vec![value("a", F32, &row)], vec![value("b", I64, &[Some(2)])]);
    refused(&shape, "output `b`");
    let transposed = onnx(
        vec![node("Transpose", &["a"], "b")],
        vec![value("a", F32, &row)],
        vec![value("b", F32, &[Some(2), None])],
    );
    refused(&transposed, "first dimension is not the batch");
}

#[test]
fn files_that_are_no_model_are_refused() {
    let row = [None, Some(2)];
    refused(b"", "not a usable ONNX model");
    refused(b"CMSEALED", "not a usable ONNX model");
    refused(b"\x89PNG\r\n\x1a\n", "not a usable ONNX model");
    refused(&DIGITS[..DIGITS.len() / 2], "not a usable ONNX model");
    let unknown = onnx(vec![node("Surprise", &["a"], "b")], vec![value("a", F32, &row)], vec![value("b", F32, &row)]);
    refused(&unknown, "Surprise");
    // An output that no node makes: here the library panics, and the server must not.
    let dangling = onnx(vec![], vec![value("a", F32, &row)], vec![value("nowhere", F32, &row)]);
    refused(&dangling, "not a usable ONNX model");
}

#[test]
fn weights_outside_the_file_are_not_fetched() {
    let row = [None, Some(2)];
    let entry = |key: &str, value: &str| pb::StringStringEntryProto { key: key.into(), value: value.into() };
    let weights = pb::TensorProto {
        dims: vec![2],
        data_type: F32,
        name: "w".into(),
        data_location: Some(1),
        external_data: vec![entry("location", "/etc/passwd"), entry("length", "8")],
        ..pb::TensorProto::default()
    };
    let graph = pb::GraphProto {
        name: "g".into(),
        node: vec![node("Add", &["a", "w"], "b")],
        initializer: vec![weights],
        input: vec![value("a", F32, &row)],
        output: vec![value("b", F32, &row)],
        ..pb::GraphProto::default()
    };
    let model = pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..pb::ModelProto::default()
    };
    refused(&prost::Message::encode_to_vec(&model), "external");
}
