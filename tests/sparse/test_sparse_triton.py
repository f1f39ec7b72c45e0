"""The Triton backend without a GPU: in the interpreter, and compiled for sm_90; and who refuses the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse import SparseTensor, SubmanifoldConv2d, available_backends
from hepcnn.sparse.backends.registry import get_backend

HERE = Path(__file__).parent
X = SparseTensor(torch.tensor([[0, 1, 1]], dtype=torch.int32), torch.ones(1, 2), (4, 4), 1)


@pytest.mark.slow
def test_kernels_equal_the_oracle_in_the_interpreter():
    pytest.importorskip("triton")
    # The interpreter is chosen when triton is imported: this takes a process of its own.
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    program = [sys.executable, HERE / "triton_program.py"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(("kind", "instruction"), [("bf16", "wgmma"), ("fp16", "wgmma"), ("fp32", "mma")])
def test_kernels_compile_for_sm_90(kind, instruction, tmp_path, monkeypatch):
    pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from hepcnn.sparse.backends.triton_kernels import convolve_kernel, correlate_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {"I": 64, "O": 64, "K": 27, "BM": 64, "BI": 64, "BO": 64, "PRECISION": "tf32", "UPCAST": False}
    pointers = {"features": f"*{kind}", "table": "*i32", "n_out": "i32"}
    sources = {
        convolve_kernel: (
            {"weight": f"*{kind}", "bias": f"*{kind}", "out": f"*{kind}"},
            constants | {"HAS_BIAS": True},
        ),
        correlate_kernel: ({"grad": f"*{kind}", "partial": "*fp32"}, constants | {"ROWS": 1024}),
    }
    for kernel, (more, values) in sources.items():
        signature = {name: (pointers | more).get(name, "constexpr") for name in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=values)
        built = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
        assert instruction in built.asm["ptx"]
        assert "atom" not in built.asm["ptx"]


@pytest.mark.parametrize("name", ["triton", "spconv", "spconv-triton"])
def test_cuda_backends_refuse_what_they_cannot_serve(name):
    if name in available_backends():
        with pytest.raises(ConfigError, match=f"'{name}' cannot compute on the device 'cpu'"):
            SubmanifoldConv2d(2, 3, 3, backend=name)(X)
    else:
        with pytest.raises(ConfigError, match=f"'{name}' needs the package"):
            SubmanifoldConv2d(2, 3, 3, backend=name)


def test_rivals_refuse_the_cpu_themselves():
    import hepcnn.sparse.backends.rivals  # noqa: F401
    from hepcnn.sparse.backends import registry

    for name in ("spconv", "spconv-triton"):
        with pytest.raises(ConfigError, match="cannot compute on the device 'cpu'"):
            registry._loaded[name].convolve(X.features, torch.ones(3, 2, 3, 3), None, None)
        with pytest.raises(ConfigError, match="cannot compute on the device 'cpu'"):
            get_backend(name, torch.device("cpu"))


def test_triton_refuses_double_precision():
    pytest.importorskip("triton")
    from hepcnn.sparse.backends.triton_backend import TritonBackend

    with pytest.raises(InputError, match=r"computes in .*, got torch\.float64: use the backend 'torch'"):
        TritonBackend().convolve(X.features.double(), torch.ones(3, 2, 3, 3), None, None)
