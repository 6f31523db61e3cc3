//! An ONNX model, compiled and ready to run: FP32 tensors in and out, the batch as first dimension.
//!
//! Tract compiles best for known shapes, so a model is compiled twice: for one row and for [`WIDE`] rows. A batch runs as
//! many wide steps as fit, then row by row. Weights are compiled into the plans; the caller may drop the file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use protocol::Digest;
use tract_onnx::Onnx;
use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid as _;
use tract_onnx::tract_hir::internal::DimLike as _;

/// Rows of the wide plan: where a matrix product of rows is clearly faster than as many single rows.
const WIDE: usize = 16;
/// LIMIT: numbers in one row of one tensor, 256 MiB of them; larger inputs are not sent as JSON.
const MAX_ROW: usize = 64 * 1024 * 1024;
/// LIMIT: inputs or outputs; larger lists come from exporters gone wrong.
const MAX_TENSORS: usize = 64;

/// Why a file is no model that can be served, or why a model gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Not ONNX, or not in a form that is understood.
    #[error("not a usable ONNX model: {0}")]
    Onnx(String),
    /// A tensor of a kind that is not served.
    #[error("{kind} `{name}` {what}")]
    Tensor {
        /// `input` or `output`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The model failed on an input.
    #[error("the model failed: {0}")]
    Run(String),
    /// The model gave an infinity or NaN.
    #[error("output `{0}` holds a number that is not finite")]
    NotFinite(String),
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    /// Lengths of the dimensions after the batch.
    pub(crate) row: Vec<usize>,
}

impl TensorSpec {
    /// Numbers in one row.
    pub(crate) fn row_len(&self) -> usize {
        self.row.iter().product()
    }

    /// The dimensions after the batch, as messages have them.
    pub(crate) fn row_u64(&self) -> Vec<u64> {
        self.row.iter().map(|&length| length as u64).collect()
    }
}

/// A compiled model.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) version: Digest,
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
    single: Arc<TypedRunnableModel>,
    /// Absent when the model's batch is fixed to one row.
    wide: Option<Arc<TypedRunnableModel>>,
}

/// External data lies outside the sealed file, so nobody vouches for it.
struct NoExternalData;

impl ModelDataResolver for NoExternalData {
    fn read_bytes_from_path(&self, _: &mut Vec<u8>, path: &Path, _: usize, _: Option<usize>) -> TractResult<()> {
        Err(TractError::msg(format!("weights lie in another file, `{}`; save the model as one file", path.display())))
    }
}

impl Model {
    /// Compiles an ONNX file.
    pub(crate) fn load(onnx: &[u8], name: &str, version: Digest) -> Result<Self, ModelError> {
        // Tract indexes by names that the file mentions and panics on some that are missing; such a file is wrong, and not a
        // reason to die without a word.
        catch_unwind(AssertUnwindSafe(|| Self::load_trusting(onnx, name, version)))
            .unwrap_or_else(|_| Err(ModelError::Onnx("its graph contradicts itself".into())))
    }

    fn load_trusting(mut onnx: &[u8], name: &str, version: Digest) -> Result<Self, ModelError> {
        let framework = Onnx { provider: Arc::new(NoExternalData), ..tract_onnx::onnx() };
        let proto = framework.proto_model_for_read(&mut onnx).map_err(unusable)?;
        let output_names: Vec<String> =
            proto.graph.iter().flat_map(|graph| &graph.output).map(|output| output.name.clone()).collect();
        let model = framework.model_for_proto_model(&proto).map_err(unusable)?;
        let count = |kind, count| match count {
            1..=MAX_TENSORS => Ok(()),
            _ => Err(ModelError::Onnx(format!("{count} {kind}, from 1 to {MAX_TENSORS} are served"))),
        };
        let outlets = model.input_outlets().map_err(unusable)?.to_vec();
        count("inputs", outlets.len())?;
        count("outputs", output_names.len())?;

        let mut inputs = Vec::with_capacity(outlets.len());
        let mut any_batch = true;
        for (number, outlet) in outlets.iter().enumerate() {
            let input = model.node(outlet.node).name.clone();
            let fact = model.input_fact(number).map_err(unusable)?;
            let (row, free) = input_rows(&input, fact)?;
            any_batch &= free;
            inputs.push(TensorSpec { name: input, row });
        }

        let single = compile(&model, &inputs, 1)?;
        let outputs = output_names
            .into_iter()
            .enumerate()
            .map(|(number, name)| output_rows(&single, number, name, 1))
            .collect::<Result<Vec<_>, _>>()?;
        let wide = any_batch.then(|| compile(&model, &inputs, WIDE)).transpose()?;
        if let Some(wide) = &wide {
            for (number, output) in outputs.iter().enumerate() {
                output_rows(wide, number, output.name.clone(), WIDE)?;
            }
        }
        Ok(Self { name: name.to_owned(), version, inputs, outputs, single, wide })
    }

    /// Runs `rows` rows. `inputs` are in the order of [`Model::inputs`], each with `rows` rows; outputs come likewise.
    pub(crate) fn run(&self, rows: usize, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let mut outputs: Vec<Vec<f32>> =
            self.outputs.iter().map(|output| Vec::with_capacity(rows * output.row_len())).collect();
        let mut done = 0;
        while done < rows {
            let (plan, step) = match &self.wide {
                Some(wide) if rows - done >= WIDE => (wide, WIDE),
                _ => (&self.single, 1),
            };
            self.run_step(plan, step, done, inputs, &mut outputs)?;
            done += step;
        }
        Ok(outputs)
    }

    fn run_step(
        &self,
        plan: &Arc<TypedRunnableModel>,
        step: usize,
        done: usize,
        inputs: &[Vec<f32>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), ModelError> {
        let failed = |error: TractError| ModelError::Run(format!("{error:#}"));
        let mut tensors = tvec!();
        for (spec, values) in self.inputs.iter().zip(inputs) {
            let row = spec.row_len();
            let values = values.get(done * row..(done + step) * row);
            let values = values.ok_or_else(|| ModelError::Run(format!("input `{}` is too short", spec.name)))?;
            let shape: Vec<usize> = std::iter::once(step).chain(spec.row.iter().copied()).collect();
            tensors.push(Tensor::from_shape(&shape, values).map_err(failed)?.into());
        }
        let results = plan.run(tensors).map_err(failed)?;
        for ((spec, out), tensor) in self.outputs.iter().zip(outputs).zip(&results) {
            let view = tensor.try_as_plain_ram().map_err(failed)?;
            let values = view.as_slice::<f32>().map_err(failed)?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(ModelError::NotFinite(spec.name.clone()));
            }
            out.extend_from_slice(values);
        }
        Ok(())
    }
}

fn unusable(error: TractError) -> ModelError {
    ModelError::Onnx(format!("{error:#}"))
}

/// The dimensions of one input after the batch, and whether the batch is free.
fn input_rows(name: &str, fact: &InferenceFact) -> Result<(Vec<usize>, bool), ModelError> {
    let wrong = |what: String| ModelError::Tensor { kind: "input", name: name.to_owned(), what };
    let datum_type = fact.datum_type.concretize();
    if datum_type != Some(f32::datum_type()) {
        let datum_type = datum_type.map_or("no datatype".to_owned(), |datum_type| format!("datatype {datum_type:?}"));
        return Err(wrong(format!("has {datum_type}, only FP32 is served")));
    }
    if fact.shape.is_open() {
        return Err(wrong("has no fixed number of dimensions".into()));
    }
    let mut dimensions = fact.shape.dims().map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok()));
    let free = match dimensions.next() {
        Some(None) => true,
        Some(Some(1)) => false,
        Some(Some(fixed)) => {
            return Err(wrong(format!("takes batches of exactly {fixed}; export it with a free batch")));
        }
        None => return Err(wrong("has no batch dimension".into())),
    };
    let row: Option<Vec<usize>> = dimensions.collect();
    let row = row.ok_or_else(|| wrong("has a free dimension besides the batch".into()))?;
    check_row(&row).map_err(wrong)?;
    Ok((row, free))
}

fn output_rows(plan: &TypedRunnableModel, number: usize, name: String, rows: usize) -> Result<TensorSpec, ModelError> {
    let fact = plan.model().output_fact(number).map_err(unusable)?.clone();
    let wrong = |what: String| ModelError::Tensor { kind: "output", name: name.clone(), what };
    if fact.datum_type != f32::datum_type() {
        return Err(wrong(format!("has datatype {:?}, only FP32 is served", fact.datum_type)));
    }
    let shape = fact.shape.as_concrete().ok_or_else(|| wrong("has a shape that depends on the input".into()))?;
    match shape.split_first() {
        Some((&batch, row)) if batch == rows => {
            check_row(row).map_err(wrong)?;
            Ok(TensorSpec { name, row: row.to_vec() })
        }
        _ => Err(wrong(format!("has shape {shape:?} for {rows} rows of input; its first dimension is not the batch"))),
    }
}

fn check_row(row: &[usize]) -> Result<(), String> {
    match row.iter().try_fold(1_usize, |product, &length| product.checked_mul(length)) {
        Some(1..=MAX_ROW) => Ok(()),
        Some(0) => Err("has a dimension of length 0".into()),
        _ => Err(format!("has more than {MAX_ROW} numbers in a row")),
    }
}

fn compile(model: &InferenceModel, inputs: &[TensorSpec], rows: usize) -> Result<Arc<TypedRunnableModel>, ModelError> {
    let mut model = model.clone();
    for (number, input) in inputs.iter().enumerate() {
        let shape: TVec<usize> = std::iter::once(rows).chain(input.row.iter().copied()).collect();
        model.set_input_fact(number, f32::fact(shape).into()).map_err(unusable)?;
    }
    model.into_optimized().and_then(IntoRunnable::into_runnable).map_err(unusable)
}

#[cfg(test)]
mod tests;
