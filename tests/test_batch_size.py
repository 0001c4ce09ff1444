"""The largest batch that fits: against what each size was measured to need, and what is refused."""

import dataclasses

import pytest
from small import experiment

from jaxnets.batch_size import batch_sizes, device_bytes, parse_bytes, text
from jaxnets.cli import main
from jaxnets.data import Data, RepeatedAugmentation
from jaxnets.errors import ConfigError, UsageError
from jaxnets.models import MLP
from jaxnets.optim import AdamW

WIDE = experiment(data=Data(source="digits", batch_size=8), model=MLP(widths=(256,)))


def test_the_largest_fits_and_a_little_more_does_not():
    free = batch_sizes(WIDE, limit=1 << 40, largest=100)
    assert free.largest == free.tried[-1].batch_size == 100
    need = {one.batch_size: one.bytes for one in free.tried}
    assert need[64] > need[32] > need[16]
    limit = (need[16] + need[32]) // 2
    found = batch_sizes(WIDE, limit=limit)
    assert 16 <= found.largest < 32
    sizes = {one.batch_size: one.fits for one in found.tried}
    assert sizes[found.largest] and not sizes[min(size for size, fits in sizes.items() if not fits)]
    assert min(size for size, fits in sizes.items() if not fits) <= 1.25 * found.largest
    assert all(one.fits == (one.bytes <= limit) for one in found.tried)
    assert f"--data.batch_size {found.largest}" in text(found)


def test_sizes_are_multiples_of_what_the_step_divides_them_by():
    one = dataclasses.replace(
        WIDE,
        optim=AdamW(accumulate=3),
        data=Data(source="digits", batch_size=12, augment=(RepeatedAugmentation(times=2),)),
    )
    found = batch_sizes(one, limit=1 << 40, largest=50)
    assert found.largest == 48 and all(tried.batch_size % 6 == 0 for tried in found.tried)


def test_nothing_fits_and_bounds_are_told():
    found = batch_sizes(WIDE, limit=1000)
    assert found.largest is None and "not even the smallest batch fits" in text(found)
    with pytest.raises(UsageError, match="at least 1 and 1"):
        batch_sizes(WIDE, largest=0)
    with pytest.raises(ConfigError, match="loop.steps"):
        batch_sizes(dataclasses.replace(WIDE, loop=dataclasses.replace(WIDE.loop, epochs=1.0)))
    assert 1 << 20 < device_bytes() < 1 << 50


@pytest.mark.parametrize("word", ["", "much", "16KiB", "-1GB", "0", "nan", "1e400GB", "GiB"])
def test_a_size_that_is_none_is_refused(word):
    with pytest.raises(UsageError, match="give a"):
        parse_bytes(word)


def test_the_command(capsys):
    assert main(["batch-find", "configs/wine_mlp.py", "--memory", "64MiB", "--largest", "64"]) == 0
    assert "the largest that fits 64.0 MiB: --data.batch_size 64" in capsys.readouterr().out
    for words, told in {
        ("--memory", "much"): "--memory 'much' is not allowed; give a size such as 512MiB",
        ("--memory", "1MB", "--largest", "0"): "give both, at least 1 and 1",
        ("--largest", "x"): "invalid int value: 'x'",
    }.items():
        assert main(["batch-find", "configs/wine_mlp.py", *words]) == 2
        assert told in capsys.readouterr().err
    assert main(["batch-find", "configs/wine_mlp.py", "--memory", "1000"]) == 1
