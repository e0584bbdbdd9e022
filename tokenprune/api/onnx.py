"""A sparsified model as an ONNX file."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tokenprune.api.sparsify import Sparsified
from tokenprune.errors import TokenpruneError


def to_onnx(model: Sparsified, images: Float[Tensor, "b 3 y x"], path: str | Path) -> None:
    """Write the model, at its present `keep`, as ONNX that takes any number of images of that size.

    The file's input is `images`, its output `logits`. Needs the packages onnx and onnxscript.

    Raises TokenpruneError for an adaptive pruner, whose numbers of tokens depend on the image, and for one that does
    its work outside torch (`atc`).
    """
    name = type(model.pruner).__name__
    if model.pruner.adaptive:
        raise TokenpruneError(f"{name} cannot be exported: how many tokens it keeps depends on the image")
    training = model.training
    try:
        program = torch.onnx.export(
            model.eval(),
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("images")}},
            custom_translation_table={torch.ops.aten.sort.stable: _sorted_in_order},
            verbose=False,
        )
    except ImportError as error:
        raise TokenpruneError(f"ONNX needs `pip install onnx onnxscript`: {error}") from None
    except torch.onnx.errors.OnnxExporterError as error:
        raise TokenpruneError(f"{name} cannot be exported to ONNX: {str(error).splitlines()[0]}") from error
    finally:
        model.train(training)
    assert program is not None
    program.save(path)


def _sorted_in_order(x: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
    """aten::sort.stable, which torch has no ONNX for: TopK of all, whose equal values come in order of their index."""
    from onnxscript import opset18

    op: Any = opset18
    count = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
    return op.TopK(x, count, axis=dim, largest=int(descending), sorted=1)
