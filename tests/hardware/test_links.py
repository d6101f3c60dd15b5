from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import trainworthy.hardware
from trainworthy.errors import HardwareRowError, UnknownLinkError
from trainworthy.hardware import Interconnect, gpu_rows, link_row, link_rows
from trainworthy.hardware.links import index_links, load_link

FOLDER = Path(trainworthy.hardware.__file__).parent / "links"
NVLINK4 = (FOLDER / "nvlink4.toml").read_text(encoding="utf-8")


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.toml")))
def link(request: pytest.FixtureRequest) -> Interconnect:
    return link_row(request.param)


def test_each_link_has_sources_a_date_and_plausible_rates(link: Interconnect) -> None:
    assert link.sources
    assert link.latency_source
    assert datetime.date.fromisoformat(link.checked) >= datetime.date(2026, 1, 1)
    assert 0.3 * link.gb_per_s_per_direction < link.expected_gb_per_s <= link.gb_per_s_per_direction
    for name in (link.id, *link.names, link.id.upper(), link.id.replace("-", " ")):
        assert link_row(name) is link


def test_links_of_gpus_have_the_rate_of_their_row() -> None:
    compared = 0
    for gpu in gpu_rows().values():
        for own in (gpu.gpu_link, gpu.host_link):
            if own is None or own.name.startswith(("NVLink bridge", "NVLink-C2C")) or "share" in own.name:
                continue  # a bridge is a part of its own; of one package PyTorch sees halves
            compared += 1
            assert own.gb_per_s_per_direction == pytest.approx(link_row(own.name).gb_per_s_per_direction, rel=0.01)
    assert compared > 30


def test_the_links_that_are_asked_for_are_there() -> None:
    wanted = {"nvlink2", "nvlink3", "nvlink4", "nvlink5", "ib-hdr", "ib-ndr", "xgmi-mi300x", "ethernet-100g"}
    assert wanted <= link_rows().keys()
    assert [link_row(name).id for name in ("pcie3", "pcie4", "pcie5")] == ["pcie3-x16", "pcie4-x16", "pcie5-x16"]
    # Goldens: NCCL's constants times the links of a GPU.
    rates = [link_row(f"nvlink{n}").bus_gb_per_s for n in (2, 3, 4, 5)]
    assert rates == pytest.approx([6 * 20, 12 * 20, 18 * 20.6, 18 * 40.1])


@pytest.mark.parametrize(("name", "hint"), [("nvlink", "nvlink"), ("nvlink6", "nvlink"), ("infiniband", ""), ("", "")])
def test_an_unknown_link_lists_the_rows(name: str, hint: str) -> None:
    with pytest.raises(UnknownLinkError) as caught:
        link_row(name)
    assert repr(name) in caught.value.message
    for known in link_rows():
        assert known in caught.value.message
    assert caught.value.fix is not None
    assert hint in caught.value.fix


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gb_per_s_per_direction = 450", "gb_per_s_per_direction = 900", "both directions"),
        ('id = "nvlink4"', 'id = "nvlink5"', "not the name of the file"),
        ("num_links = 18", "num_links = 0", "num_links is 0"),
        ("num_links = 18", 'num_links = "18"', "num_links is '18'"),
        ("num_links = 18\n", "", "num_links"),
        ("num_links = 18", "num_links = 18\ncolour = 1", "colour"),
        ('kind = "gpu"', 'kind = "car"', "kind is 'car'"),
        ("bus_gb_per_s = 370.8", "bus_gb_per_s = 500", "more than the link"),
        ("num_links = 18", "num_links = ", "Cannot be read"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in NVLINK4
    path = tmp_path / "nvlink4.toml"
    path.write_text(NVLINK4.replace(old, new), encoding="utf-8")
    with pytest.raises(HardwareRowError, match=message):
        raise_with_fix(path)


def raise_with_fix(path: Path) -> None:
    try:
        load_link(path)
    except HardwareRowError as error:
        raise HardwareRowError(str(error)) from error  # the fix is part of what a reader sees


def test_two_links_may_not_claim_one_name(tmp_path: Path) -> None:
    path = tmp_path / "nvlink4-copy.toml"
    path.write_text(NVLINK4.replace('id = "nvlink4"', 'id = "nvlink4-copy"'), encoding="utf-8")
    with pytest.raises(HardwareRowError, match="claimed by two links"):
        index_links([link_row("nvlink4"), load_link(path)])
