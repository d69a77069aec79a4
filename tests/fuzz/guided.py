"""Lets atheris look for inputs of a target, guided by what they reach in dockersave.

python -m tests.fuzz.guided NAME [libFuzzer's options]
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from hypothesis import given


def main() -> None:
    """Fuzz until libFuzzer's options say stop, or something goes wrong."""
    atheris = importlib.import_module("atheris")
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["dockersave"]):
        target = importlib.import_module("tests.fuzz.targets").TARGETS[name]

    @given(target.inputs)
    def check(value: Any) -> None:
        target.check(value)

    atheris.Setup(sys.argv, check.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
