"""`snapshots`: a folder of the hub comes from this machine's cache, is fetched, or is missed with a reason; no network here."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError
from reg2rg_plugins.decoders.hf import locate

from reg2rg.errors import UserError
from reg2rg.model.hub import run_folder
from reg2rg.snapshots import NotFetched, snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "someone/model"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put(cache: Path, *names: str) -> Path:
    """A copy of `NAME` in the cache, with empty files."""
    root = cache / f"models--{NAME.replace('/', '--')}"
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    for name in names:
        (folder / name).touch()
    return folder


def needs_a(folder: Path) -> bool:
    return (folder / "a.json").is_file()


def test_a_whole_copy_is_taken_by_branch_and_commit(cache: Path) -> None:
    folder = put(cache, "a.json")
    for revision in (None, "main", COMMIT):
        assert snapshot(NAME, revision, ["*.json"], needs_a) == folder


def test_a_part_of_a_copy_is_not_taken(cache: Path) -> None:
    put(cache, "b.json")
    with pytest.raises(NotFetched, match="offline"):
        snapshot(NAME, None, ["*.json"], needs_a)


def test_what_cannot_be_a_name_is_told_apart(cache: Path) -> None:
    with pytest.raises(HFValidationError):
        snapshot("no name", None, ["*.json"], needs_a)


def online(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], None], folder: Path) -> list[Any]:
    """A hub that answers a question with `answer` and gives `folder`; what was asked of it."""
    asked: list[Any] = []

    class Hub:
        def model_info(self, name: str, **given: Any) -> None:
            asked.append((name, given))
            answer()

    def download(name: str, *, local_files_only: bool = False, **given: Any) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        asked.append((name, given))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_it_is_fetched_after_one_quick_question(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = online(monkeypatch, lambda: None, tmp_path)
    assert snapshot(NAME, "v2", ("*.json",), needs_a) == tmp_path
    assert asked == [
        (NAME, {"revision": "v2", "timeout": 10}),
        (NAME, {"revision": "v2", "allow_patterns": ["*.json"]}),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("no route.\nmore"), "no route"),
        (TimeoutError(), "TimeoutError"),
        (http.client.HTTPException("x" * 300), "x" * 200),
    ],
    ids=["first line", "name", "length"],
)
def test_a_hub_out_of_reach_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, reason: str) -> None:
    def fail() -> None:
        raise error

    asked = online(monkeypatch, fail, tmp_path)
    with pytest.raises(NotFetched) as caught:
        snapshot(NAME, None, ["*.json"], needs_a)
    assert str(caught.value) == reason and len(asked) == 1


def test_another_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    online(monkeypatch, lambda: {}["fault"], tmp_path)
    with pytest.raises(KeyError):
        snapshot(NAME, None, ["*.json"], needs_a)


def test_runs_and_decoders_ask_for_their_own_files(cache: Path) -> None:
    folder = put(cache, "config.json")
    assert run_folder(NAME) == folder
    with pytest.raises(UserError, match=r"^the weights of the decoder 'someone/model' are not on this machine"):
        locate(NAME)
    (folder / "model.safetensors").touch()
    assert locate(NAME) == str(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"no run of that name could be fetched from the hub \("):
        run_folder(NAME)


def test_a_decoder_that_is_no_name_is_one_sentence(cache: Path) -> None:
    with pytest.raises(UserError, match="this is no name on the hub"):
        locate("no name")
