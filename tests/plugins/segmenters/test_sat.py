"""Segmenter `sat` on random weights: through program and Python surface, its options, and what is said of bad folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import samples_sat as sample
import torch
from reg2rg_plugins.segmenters import _sat_folder
from reg2rg_plugins.segmenters._sat_classes import finish
from reg2rg_plugins.segmenters._sat_grid import to_model, to_volume
from reg2rg_plugins.segmenters._sat_queries import logits
from reg2rg_plugins.segmenters.sat import SAT
from safetensors.torch import load_file, save_file

from reg2rg.anatomy import REGIONS
from reg2rg.conformance import conform
from reg2rg.conformance.masks import chest
from reg2rg.errors import UserError
from reg2rg.plugins import resolve
from reg2rg.preprocess import preprocess


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample.converted(tmp_path_factory.mktemp("sat"))


@pytest.fixture
def copy(weights: Path, tmp_path: Path) -> Path:
    """The weights' folder, to be spoilt."""
    return Path(shutil.copytree(weights, tmp_path / "weights"))


def fault(**options: object) -> str:
    with pytest.raises(UserError) as caught:
        resolve("segmenter", "sat", options)
    return str(caught.value)


def change(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_it_keeps_the_contract_of_a_segmenter(weights: Path) -> None:
    verdict = conform("segmenter", "sat", {"weights": str(weights), "device": "cpu"})
    assert verdict.passed, str(verdict)


def test_a_phantom_goes_through_the_program(
    weights: Path, tmp_path: Path, reg2rg: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = chest()
    (tmp_path / "scans").mkdir()
    nib.save(nib.Nifti1Image(volume.hu, volume.affine), tmp_path / "scans" / "one.nii.gz")
    turned = volume.affine @ np.diag([-1.0, 1.0, -1.0, 1.0])
    turned[:3, 3] += volume.affine[:3, :3] @ (95, 0, 63)
    nib.save(nib.Nifti1Image(volume.hu[::-1, :, ::-1], turned), tmp_path / "scans" / "two.nii.gz")  # the same, stored as LAI
    words = ("preprocess", tmp_path / "scans", "--out", tmp_path / "store", "--segmenter", "sat", "--workers", "1")
    done = reg2rg(*words, "--set", f"weights={weights}", "--set", "regions=[lung, pleura, bone]")
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    with h5py.File(tmp_path / "store" / "studies" / "one.h5") as file:
        bits, given = file["regions"][:], {str(name) for name in file.attrs["regions_given"]}
    assert given == {"lung", "pleura", "bone"} and bits.shape == volume.shape
    with h5py.File(tmp_path / "store" / "studies" / "two.h5") as file:
        assert (file["regions"][:] == bits).all() and np.allclose(file.attrs["affine"], volume.affine)
    monkeypatch.setenv(_sat_folder.VARIABLE, str(weights))
    mask = SAT(regions=("lungs", "pleura", "bone"), device="cpu").segment(volume)
    assert (mask.bits == bits).all() and mask.bits.any() and any("SAT has no class for it" in note for note in mask.notes)
    monkeypatch.delenv(_sat_folder.VARIABLE)
    with pytest.raises(
        UserError, match=r"needs its weights, and none are named\. Get SAT_Pro\.pth .* reg2rg convert sat FOLDER"
    ):
        preprocess(tmp_path / "scans", tmp_path / "other", segmenter="sat")
    assert not (tmp_path / "other").exists()


def test_a_window_over_the_whole_scan_is_one_plain_pass_of_the_network(weights: Path) -> None:
    part, volume = SAT(str(weights), device="cpu", window=(64, 64, 32)), chest()
    image, frame = to_model(volume.hu, volume.spacing, part.sizes.spacing, part.sizes.clip)
    whole = np.zeros((64, 64, 32), np.float32)
    whole[tuple(slice(n) for n in image.shape)] = image
    votes = logits(*part._run(torch.from_numpy(whole)[None, None]))[0].numpy() > 0
    votes = votes[(slice(None), *(slice(n) for n in image.shape))]
    merged = np.bitwise_or.reduce(np.where(votes, part.plan.bits[:, None, None, None], np.uint16(0)), axis=0)
    wanted = to_volume(finish(merged, part.regions, part.sizes.spacing), frame)
    assert (part.segment(volume).bits != wanted).mean() < 1e-5, "products may be rounded otherwise"
    assert len(set(part.segment(volume).voxels().values())) > 5


def test_only_what_is_asked_is_given_and_its_voxels_are_the_same(weights: Path) -> None:
    whole = SAT(str(weights), device="cpu").segment(chest())
    assert whole.given == set(REGIONS)
    some = SAT(str(weights), device="cpu", regions=("heart", "mediastinum")).segment(chest())
    assert some.given == {"heart", "mediastinum"} and set(some.missing().values()) == {"this segmenter can't give it"}
    assert all((some.mask(region) == whole.mask(region)).all() for region in some.given)


def test_batches_change_nothing_and_the_window_is_part_of_the_fingerprint(weights: Path) -> None:
    one, two = (SAT(str(weights), device="cpu", batch=n, window=(64, 32, 32)) for n in (1, 3))
    assert one.fingerprint == two.fingerprint
    differing = (one.segment(chest()).bits != two.segment(chest()).bits).mean()
    assert differing < 1e-4, "products of batches may round otherwise"
    assert SAT(str(weights), device="cpu", window=(64, 64, 32)).fingerprint != one.fingerprint
    assert SAT(str(weights), device="cpu", regions=("lung",)).fingerprint != one.fingerprint


def test_prompts_of_ones_own_go_through_the_text_encoder(weights: Path, copy: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.yaml"
    table.write_text("lung: [Left  Lung, lung]\nheart: a free prompt\n")
    own = SAT(str(weights), device="cpu", classes=table)
    assert own.regions == {"lung", "heart", "pleura"} and own.plan.prompts == ("left lung", "lung", "a free prompt")
    stored = load_file(weights / "queries.safetensors")
    assert torch.equal(own.queries[0], stored["left lung"]) and own.queries.shape == (3, 24)
    again = _sat_folder._ask(weights, ["left lung", "a free prompt"])  # padded beside another text
    assert torch.allclose(again["left lung"], stored["left lung"], atol=1e-6)
    assert torch.allclose(again["a free prompt"], own.queries[2], atol=1e-6)
    shutil.rmtree(copy / "text")
    assert SAT(str(copy), device="cpu").regions == set(REGIONS), "the table's own prompts need no text encoder"
    assert "the query of 'a free prompt' isn't stored" in fault(weights=str(copy), classes=str(table))


@pytest.mark.parametrize(
    "text, said",
    [
        ("lungs: [lung]\nbrain: [brain]", "unknown region 'brain'"),
        ("lung: []", "aren't texts"),
        ("lung: [3]", "aren't texts"),
        ("[lung]", "isn't a mapping"),
        ("lung: [", "can't be read"),
    ],
)
def test_a_bad_table_is_told(weights: Path, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "table.yaml").write_text(text)
    assert said in fault(weights=str(weights), classes=str(tmp_path / "table.yaml"))


def test_wrong_folders_are_told(weights: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_sat_folder.VARIABLE, raising=False)
    assert "needs its weights" in fault()
    assert "no such folder" in fault(weights=str(tmp_path / "none"))
    published = sample.published(tmp_path / "published")
    text = fault(weights=str(published / "SAT_Nano.pth"))
    assert "not a published file" in text and "reg2rg convert sat" in text
    assert "lacks model.safetensors and queries.safetensors" in (text := fault(weights=str(published))), text
    assert f"reg2rg convert sat {published}" in text
    assert "lacks model.safetensors" in fault(weights=str(tmp_path))
    (copy / "config.json").write_text('{"format": 9}')
    assert "no configuration of the segmenter 'sat'" in fault(weights=str(copy))


def test_wrong_weights_are_told_before_a_scan_is_read(copy: Path) -> None:
    file = copy / "model.safetensors"
    tensors = load_file(file)
    save_file({k: v for k, v in tensors.items() if k != "mask_embed_proj.0.bias"}, file)
    assert "'mask_embed_proj.0.bias' is missing" in fault(weights=str(copy))
    save_file({**tensors, "extra.weight": torch.zeros(1)}, file)
    assert "'extra.weight' is unknown" in fault(weights=str(copy))
    save_file({**tensors, "mask_embed_proj.0.bias": torch.zeros(3)}, file)
    assert "'mask_embed_proj.0.bias' is (3,) instead of (10,)" in fault(weights=str(copy))
    file.write_bytes(b"no weights at all")
    assert "can't be read" in fault(weights=str(copy))
    change(copy, heads=7)
    assert "no configuration of the segmenter 'sat'" in fault(weights=str(copy))


def test_wrong_options_are_told(weights: Path) -> None:
    assert "multiples of 32" in fault(weights=str(weights), window=[48, 32, 32])
    assert "one 64 or more" in fault(weights=str(weights), window=[32, 32, 32])
    assert "no region is called 'lunge'" in fault(weights=str(weights), regions=["lunge"])
    assert "no device 'abacus'" in fault(weights=str(weights), device="abacus")
    assert "batch is 0" in fault(weights=str(weights), batch=0)


@pytest.mark.parametrize(
    "said", ["CUDA out of memory. Tried", "[enforce fail] DefaultCPUAllocator: can't allocate memory: you"]
)
def test_too_little_memory_is_told(weights: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    part = SAT(str(weights), device="cpu")

    def starve(windows: torch.Tensor) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(part, "_run", starve)
    with pytest.raises(UserError, match=r"doesn't hold windows of 64×32×32 voxels\. Take smaller ones"):
        part.segment(chest())
    said = "another fault"  # which is not for us to explain
    with pytest.raises(RuntimeError, match="another fault"):
        part.segment(chest())


def test_facts_of_the_weights_folder_steer_the_network(copy: Path) -> None:
    """What published facts leave open stands in config.json, and a user who knows better may say so there."""
    first = SAT(str(copy), device="cpu")
    before = first.segment(chest())
    change(copy, activation="gelu")
    other = SAT(str(copy), device="cpu")
    assert (other.segment(chest()).bits != before.bits).any() and other.fingerprint != first.fingerprint
    change(copy, activation="relu", attention_norm="norm1")  # the sample's norm1 is the untouched one: another network
    assert (SAT(str(copy), device="cpu").segment(chest()).bits != before.bits).any()
