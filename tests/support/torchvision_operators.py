"""Lets torchvision be imported beside a torch that was built for the CPU alone. For tests; no product code needs it.

torchvision's wheels link CUDA, so its library of operators cannot be loaded there, and its Python stops at operators
that torch does not know. Their signatures are declared when torchvision is first imported; calling one still fails.
``sitecustomize`` beside it imports it in every process that has this folder on PYTHONPATH.
"""

import contextlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

#: Operators that torchvision 0.28 looks up while it is imported.
OPERATORS = ("nms", "qnms")
_KEPT: list[Any] = []


class DeclareFirst(importlib.abc.MetaPathFinder):
    """Finds nothing; declares the operators once, when torchvision is looked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name == "torchvision" and not _KEPT:
            _declare()
        return None


def _declare() -> None:
    import torch

    if torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    _KEPT.append(library)  # operators vanish with it
    for name in OPERATORS:
        with contextlib.suppress(RuntimeError):  # declared already
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, DeclareFirst())
