"""The launch files of examples/launch: read by the real accelerate, started for real, each with the right recipe key.

The launchers start their processes on a CPU too, but accelerate knows FSDP on GPUs only: the sharding is tried in one process,
with the plugin that the launch file makes.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from samples_llama import around, make_llama, sample

from reg2rg import recipe
from reg2rg.cli.app import load_command

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "launch"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
BIN = Path(sys.executable).parent
# script → the recipe's training.distributed, the configuration, and accelerate's name for what it starts
KINDS = {
    "one-gpu": ("none", "one-gpu.yaml", "NO"),
    "ddp": ("ddp", "ddp.yaml", "MULTI_GPU"),
    "fsdp": ("fsdp", "fsdp.yaml", "FSDP"),
    "deepspeed-zero2": ("deepspeed", "deepspeed-zero2.yaml", "DEEPSPEED"),
}
GIVEN = ["--data", "store", "--out", "runs/a run", "--decoder", "models/llama", "--max-steps", "3"]
SLURM = {"SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "n[1-2]"}
STUB = """#!{python}
import json, os, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
if name == "scontrol":
    print("n1\\nn2")
elif name == "srun":
    import subprocess
    while words[0].startswith("--"):
        words = words[1:]
    for node in "01":
        subprocess.run(words, check=True, env={{**os.environ, "SLURM_NODEID": node}})
else:
    print(json.dumps([name, *words]))
"""


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs that say what they were called with instead of doing it."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("accelerate", "torchrun", "srun", "scontrol"):
        (folder / name).write_text(STUB.format(python=sys.executable))
        (folder / name).chmod(0o755)
    return folder


def told(stubs: Path, script: str, **environment: str) -> list[list[str]]:
    """The commands that a script would run, with GIVEN as the user's options."""
    path = f"{stubs}{os.pathsep}{os.environ['PATH']}"
    own = {**os.environ, "PATH": path, "SLURM_SUBMIT_DIR": str(ROOT), **environment}
    done = subprocess.run([FOLDER / f"{script}.sh", *GIVEN], capture_output=True, text=True, env=own, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def launched(words: list[str]) -> Any:
    """What the real `accelerate launch` makes of a command line, the configuration laid under it."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    assert words[:2] == ["accelerate", "launch"]
    return _validate_launch_command(launch_command_parser().parse_args(words[2:]))[0]


def chosen(arguments: list[str]) -> recipe.Recipe:
    """The recipe that `reg2rg train ARGUMENTS` would train."""
    assert arguments[0] == "train"
    parameters = load_command("train").make_context("train", list(arguments[1:])).params
    assert str(parameters["out"]) == "runs/a run" and parameters["decoder"] == "models/llama"
    return recipe.load(parameters["recipe"], sets=parameters["set_"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_whole_and_executable(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in script.read_text()


def test_every_file_belongs_to_a_kind() -> None:
    assert {p.stem for p in SCRIPTS} == {*KINDS, "cpu", "slurm"}
    assert {p.name for p in FOLDER.glob("*.yaml")} == {config for _, config, _ in KINDS.values()}


@pytest.mark.parametrize("kind", KINDS)
def test_accelerate_reads_each_configuration(kind: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    _, config, distributed = KINDS[kind]
    read = load_config_from_file(str(FOLDER / config))
    assert read.distributed_type.value == distributed and read.use_cpu is False


@pytest.mark.parametrize("kind", KINDS)
def test_each_script_starts_its_kind_and_tells_the_recipe(stubs: Path, kind: str) -> None:
    distributed, _, name = KINDS[kind]
    args = launched(told(stubs, kind, GPUS="3")[0])
    assert (args.multi_gpu, args.use_fsdp, args.use_deepspeed) == tuple(name == n for n in ("MULTI_GPU", "FSDP", "DEEPSPEED"))
    assert args.num_processes == (1 if kind == "one-gpu" else 3) and args.num_machines == 1
    assert args.module and args.training_script == "reg2rg"
    training = chosen(args.training_script_args).training
    assert training.distributed == distributed and training.batch_size * training.accumulation == 16
    assert args.mixed_precision == "no", "the recipe's precision counts, not the launcher's"


def test_the_cpu_script_is_torchruns(stubs: Path) -> None:
    from torch.distributed.run import get_args_parser

    name, *words = told(stubs, "cpu")[0]
    args = get_args_parser().parse_args(words)
    assert name == "torchrun" and args.nproc_per_node == "2" and args.module and args.training_script == "reg2rg"
    assert chosen(args.training_script_args).training.distributed == "ddp"


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "deepspeed-zero2"])
def test_slurm_starts_one_launcher_a_node(stubs: Path, kind: str) -> None:
    commands = told(stubs, "slurm", KIND=kind, **SLURM)
    for rank, words in enumerate(commands):
        args = launched(words)
        assert (args.num_machines, int(args.machine_rank), args.num_processes) == (2, rank, 8)
        assert args.main_process_ip == "n1" and 20000 <= args.main_process_port < 40000 and args.same_network
        training = chosen(args.training_script_args).training
        assert training.distributed == KINDS[kind][0] and "--resume" in args.training_script_args
    assert len(commands) == 2
    if kind == "deepspeed-zero2":
        assert args.deepspeed_multinode_launcher == "standard", "not pdsh: SLURM has started the nodes"
        assert Path(args.deepspeed_config_file).samefile(FOLDER / "deepspeed-zero2.json")


@pytest.mark.parametrize("kind", ["one-gpu", "fsdp", "deepspeed-zero2", "cpu"])  # DDP has the launcher of FSDP
def test_the_real_launchers_start_the_program(kind: str) -> None:
    """Both processes come up and read the options; `--help` ends them before they would join."""
    if kind == "deepspeed-zero2":
        pytest.importorskip("deepspeed", reason="the extra deepspeed isn't installed")
    own = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", "TERM": "dumb"}
    done = subprocess.run([FOLDER / f"{kind}.sh", "--help"], capture_output=True, text=True, env=own, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("Usage: reg2rg train") == (1 if kind == "one-gpu" else 2)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """accelerate's FSDP plugin as the launch file's environment makes it."""
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    words = ["accelerate", "launch", "--config_file", str(FOLDER / "fsdp.yaml"), "--main_process_port", "0", "-m", "reg2rg"]
    for key, value in prepare_multi_gpu_env(launched(words)).items():
        monkeypatch.setenv(key, value)
    made = FullyShardedDataParallelPlugin()
    made.set_mixed_precision("bf16")
    return made


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("full", [False, True], ids=["as the file says", "with reshard_after_forward"])
@pytest.mark.parametrize("extra", [[], ["decoder.quantization=nf4"]], ids=["bf16", "nf4"])
def test_the_model_is_sharded_as_the_file_says(plugin: Any, tmp_path: Path, extra: list[str], full: bool) -> None:
    """SHARD_GRAD_OP by layer: what is trained is shared out, frozen weights are whole; FULL_SHARD shares out all but 4 bits."""
    if extra:
        pytest.importorskip("bitsandbytes", reason="the extra qlora isn't installed")
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    from reg2rg.model.batch import collate
    from reg2rg.model.composite import build_model
    from reg2rg.recipe import Training
    from reg2rg.train.sharding import Sharded

    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is False
    plugin.reshard_after_forward = full
    chosen = around(make_llama(tmp_path / "llama", layers=2), "decoder.dtype=bfloat16", *extra)
    model, _ = build_model(chosen)
    state = types.SimpleNamespace(fsdp_plugin=plugin)
    alone = types.SimpleNamespace(
        state=state, is_main_process=True, process_index=0, num_processes=1, device=torch.device("cpu")
    )
    Sharded(alone, Training()).prepare(model, chosen.training.optimizer)
    units = [n for n, m in model.named_modules() if isinstance(m, FSDPModule)]
    assert units == ["", *(f"decoder.base_model.model.model.layers.{i}" for i in range(2))]
    whole = {n for n, p in model.named_parameters() if not isinstance(p, DTensor)}
    packed = {n for n, p in model.named_parameters() if not p.is_floating_point()}
    assert len(packed) == (14 if extra else 0)
    assert whole == (packed if full else {n for n, p in model.named_parameters() if not p.requires_grad})
    total, _ = model(collate([sample(model, target=True)], model.tokenizer.pad_token_id))
    total.sum().backward()
    assert all(isinstance(p.grad, DTensor) for n, p in model.named_parameters() if "lora_" in n)


def test_the_deepspeed_file_is_zero_2_in_bfloat16(stubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through accelerate's own plugin: stage 2, no accumulation (the loop does that), autocast, not rounded weights."""
    pytest.importorskip("deepspeed", reason="the extra deepspeed isn't installed")
    from accelerate.utils import DeepSpeedPlugin
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    args = launched(
        [*told(stubs, "deepspeed-zero2")[0][:2], "--main_process_port", "0", *told(stubs, "deepspeed-zero2")[0][2:]]
    )
    args.deepspeed_fields_from_accelerate_config = "deepspeed_multinode_launcher"
    for key, value in prepare_deepspeed_cmd_env(args)[1].items():
        monkeypatch.setenv(key, value)
    made = DeepSpeedPlugin()
    made.set_mixed_precision("bf16")
    settings = made.deepspeed_config
    assert (made.zero_stage, settings["gradient_accumulation_steps"], settings["gradient_clipping"]) == (2, 1, 1.0)
    assert settings["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"} and not settings["bf16"]["enabled"]


_ENDED = """
import atexit, sys
import torch
from reg2rg.cli import app

class Left:
    def __del__(self):
        print("the interpreter was ended")

left = Left()
left.itself = left  # freed by nothing but the interpreter's end
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
atexit.register(print, "registered for the end")
app.run(sys.argv[2:])
"""


@pytest.mark.parametrize(("given", "code"), [(["recipes", "list"], 0), (["recipes", "show", "nothing"], 1)])
def test_a_joined_process_leaves_without_ending_its_interpreter(tmp_path: Path, given: list[str], code: int) -> None:
    """The threads of the connection can abort it there. What is registered for the end is done, and the output is whole."""
    command = [sys.executable, "-c", _ENDED, str(tmp_path / "meeting"), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr
    assert ("radfm" in done.stdout) == (code == 0)
    assert "registered for the end" in done.stdout
    assert ("the interpreter was ended" in done.stdout) == (code != 0)
