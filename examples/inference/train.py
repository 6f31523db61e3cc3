#!/usr/bin/env python3
"""Trains the classifier of handwritten digits that the example serves, and writes everything that depends on it.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install -r requirements.txt && /tmp/venv/bin/python train.py

Data: the 8x8 digits that scikit-learn carries (1797 rows, no download). Two runs on one machine write the same bytes.

    digits.onnx          the model: float32 `pixels` [batch,64] from 0 to 16 -> float32 `probabilities` [batch,10]
    accuracy.json        accuracy on rows that the training never saw
    digits/*.png         twenty of those rows, two of each digit, as 8-bit greyscale
    expected.json        what this script's own model says of the twenty pictures
"""

import json
import os
import platform
import struct
import zlib
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # one order of additions, so that two runs agree to the last bit
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import onnx
import sklearn
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 20260101
HIDDEN = (64, 32)
INK = 16.0  # the largest number in the data set
OPSET = 17
HERE = Path(__file__).resolve().parent


def train():
    """The fitted classifier and the held-out rows."""
    data = load_digits()
    rows, held_rows, labels, held_labels = train_test_split(
        data.data, data.target, test_size=0.25, random_state=SEED, stratify=data.target
    )
    model = MLPClassifier(hidden_layer_sizes=HIDDEN, alpha=1e-3, max_iter=2000, tol=1e-5, random_state=SEED)
    model.fit((rows / INK).astype(np.float32), labels)
    return model, len(rows), held_rows, held_labels


def export(model):
    """The classifier as an ONNX graph; scaling is part of it, so callers send the data set's own numbers."""
    weights = [numpy_helper.from_array(np.array(1.0 / INK, np.float32), "scale")]
    nodes = [helper.make_node("Mul", ["pixels", "scale"], ["scaled"])]
    last, layers = "scaled", len(model.coefs_)
    for i, (w, b) in enumerate(zip(model.coefs_, model.intercepts_)):
        weights.append(numpy_helper.from_array(w.astype(np.float32), f"w{i}"))
        weights.append(numpy_helper.from_array(b.astype(np.float32), f"b{i}"))
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"sum{i}"]))
        last = f"sum{i}"
        if i < layers - 1:
            nodes.append(helper.make_node("Relu", [last], [f"act{i}"]))
            last = f"act{i}"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    onnx_model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="casemate example"
    )
    onnx.checker.check_model(onnx_model, full_check=True)
    return onnx_model.SerializeToString(deterministic=True)


def png(grey):
    """An 8-bit greyscale PNG, by hand so that no library's version shows in the bytes."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = grey.shape
    lines = b"".join(b"\0" + line.tobytes() for line in grey)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def write_json(name, value):
    (HERE / name).write_text(json.dumps(value, indent=2) + "\n")


def main():
    model, trained_rows, held_rows, held_labels = train()
    (HERE / "digits.onnx").write_bytes(export(model))

    right = int((model.predict((held_rows / INK).astype(np.float32)) == held_labels).sum())
    write_json("accuracy.json", {
        "accuracy": round(right / len(held_labels), 4),
        "right": right,
        "held_out_rows": len(held_labels),
        "trained_rows": trained_rows,
        "seed": SEED,
        "versions": {"python": platform.python_version(), "numpy": np.__version__,
                     "scikit-learn": sklearn.__version__, "onnx": onnx.__version__},
    })

    # The first two held-out rows of each digit, right or wrong: choosing only the right ones would flatter the model.
    (HERE / "digits").mkdir(exist_ok=True)
    expected = {}
    for digit in range(10):
        for suffix, row in zip(("", "b"), held_rows[held_labels == digit]):
            grey = np.rint(row.reshape(8, 8) * 255 / INK).astype(np.uint8)
            (HERE / "digits" / f"{digit}{suffix}.png").write_bytes(png(grey))
            # From the picture, not from the row: this is what a server that is sent the picture must say.
            pixels = (grey.reshape(1, 64).astype(np.float32) * INK / 255 / INK).astype(np.float32)
            probabilities = model.predict_proba(pixels)[0]
            expected[f"{digit}{suffix}.png"] = {
                "class": int(probabilities.argmax()),
                "probabilities": [round(float(p), 7) for p in probabilities],
            }
    write_json("expected.json", expected)


if __name__ == "__main__":
    main()
