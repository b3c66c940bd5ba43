# SPDX-License-Identifier: AGPL-3.0-or-later
"""A verifier that anyone can foretell: the redder a cut-out than it is blue, the surer it is of fire, and the less of smoke."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STEEP = 40.0


def write(path: Path) -> Path:
    """As ONNX, with the metadata that a trained one has."""
    weights = np.array([[STEEP, 0, -STEEP], [-STEEP, 0, STEEP]], np.float32)  # of R, G, B
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["sum"], transB=1),
        helper.make_node("Sigmoid", ["sum"], ["sure"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])
    sure = helper.make_tensor_value_info("sure", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "verifier", [images], [sure], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="names", value="{0: 'fire', 1: 'smoke'}")
    onnx.save(model, str(path))
    return path
