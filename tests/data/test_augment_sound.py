"""Augmentation of sound: each does what its docstring says, with drawn numbers that are spread as they should be."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.augment import (
    SpecAugment,
    SpectrumWarp,
    filtered,
    gain,
    noise,
    shift,
    spec_augment,
    spectrum_warp,
    speed,
)
from jaxnets.data.augment.wave import factors

KEY = jax.random.key(0)


def test_gain_is_within_its_decibels_and_spread_over_them():
    waves = jnp.ones((400, 3))
    found = 20 * np.log10(np.asarray(gain(KEY, waves, decibels=6.0)))
    assert np.ptp(found, axis=1).max() < 1e-4 and np.abs(found).max() <= 6 + 1e-4
    assert abs(found.mean()) < 0.7 and abs(found[:, 0].std() - 12 / 12**0.5) < 0.3  # of a uniform one; 4 deviations


def test_shift_moves_whole_clips_and_fills_with_silence():
    waves = jnp.arange(1.0, 41.0)[None] * jnp.ones((300, 1))
    found = np.asarray(shift(KEY, waves, share=0.25))
    moves = set()
    for clip in found:
        move = 20 - int(np.flatnonzero(clip == 21.0)[0])  # the middle never leaves
        expected = np.zeros(40)
        expected[max(0, -move) : 40 - max(0, move)] = np.arange(1, 41)[max(0, move) : 40 - max(0, -move)]
        np.testing.assert_array_equal(clip, expected)
        moves.add(move)
    assert moves == set(range(-10, 11))


def test_noise_has_the_power_that_was_drawn():
    waves = jnp.sin(jnp.arange(4000.0))[None] * jnp.array([[1.0], [0.01], [0.0]] * 20)
    added = np.asarray(noise(KEY, waves, least_db=10.0, most_db=20.0) - waves)
    assert not added[2::3].any()  # silence stays
    power = np.square(np.asarray(waves)).mean(axis=1)
    ratio = 10 * np.log10(power[0::3] / np.square(added[0::3]).mean(axis=1))
    assert ratio.min() > 9.5 and ratio.max() < 20.5 and np.ptp(ratio) > 6
    soft = 10 * np.log10(power[1::3] / np.square(added[1::3]).mean(axis=1))
    assert soft.min() > 9.5 and soft.max() < 20.5


def tones(hertz, *, rate=4000, seconds=1.0):
    """A sine of each pitch (b t), as loud as 1."""
    time = np.arange(int(rate * seconds)) / rate
    return jnp.asarray(np.sin(2 * np.pi * np.asarray(hertz)[:, None] * time[None]), jnp.float32)


def pitches(waves, rate=4000):
    """(b,) the loudest frequency of each, from the middle half, to a tenth of a hertz."""
    middle = np.asarray(waves)[:, waves.shape[1] // 4 : -waves.shape[1] // 4]
    power = np.abs(np.fft.rfft(middle * np.hanning(middle.shape[1]), 10 * rate, axis=1))
    return power.argmax(axis=1) / 10


def test_speed_raises_pitch_and_tempo_by_one_factor():
    """A sine that begins and ends inside its clip: its pitch goes up as it gets shorter, both by what was drawn."""
    waves = tones([440.0] * 200).at[:, :1000].set(0.0).at[:, 3000:].set(0.0)
    found = speed(KEY, waves, rate_change=0.2)
    factor = pitches(found) / 440
    assert factor.min() >= 0.8 - 0.005 and factor.max() <= 1.25 + 0.005 and np.ptp(np.log(factor)) > 0.4
    heard = (np.abs(np.asarray(found)) > 0.1).sum(axis=1) / (np.abs(np.asarray(waves[0])) > 0.1).sum()
    np.testing.assert_allclose(heard * factor, 1.0, atol=0.02)
    np.testing.assert_allclose(speed(KEY, waves[:1], rate_change=0.0), waves[:1], atol=1e-5)  # a transform and back


def test_speed_is_the_wave_at_other_times_and_folds_nothing_down():
    """Against the closed form, in the middle of clips that fill the whole time; then a pitch that would be too high."""
    found = np.asarray(speed(KEY, tones([300.0] * 50), rate_change=0.2))
    factor = np.asarray(factors(KEY, 50, 0.2))
    time = (np.arange(4000)[None] - 1999.5) * factor + 1999.5
    inside = slice(1000, 3000)
    exact = np.sin(2 * np.pi * 300 * time / 4000)
    np.testing.assert_allclose(found[:, inside], exact[:, inside], atol=0.01)  # (π 300 / 8000)² / 2 between two points
    high = np.asarray(speed(KEY, tones([1900.0] * 50), rate_change=0.2))[:, inside]
    loud = np.sqrt(np.square(high).mean(axis=1))
    assert (loud[factor[:, 0] > 1.06] < 0.01).all() and (loud[factor[:, 0] < 1] > 0.5).all()


def test_a_filter_has_gains_within_its_decibels_that_differ_from_pitch_to_pitch():
    low, high = (np.asarray(filtered(KEY, tones([f] * 300), decibels=6.0, points=5)) for f in (40.0, 1900.0))
    level = [20 * np.log10(np.sqrt(2 * np.square(waves).mean(axis=1))) for waves in (low, high)]
    for found in level:
        assert np.abs(found).max() <= 6.01 and found.std() > 2.5
    assert abs(np.corrcoef(*level)[0, 1]) < 0.35  # the two are points apart
    flat = filtered(KEY, tones([100.0, 900.0]), decibels=0.0, points=3)
    np.testing.assert_allclose(flat, tones([100.0, 900.0]), atol=1e-5)
    odd = filtered(KEY, tones([100.0], seconds=0.33325), decibels=3.0, points=2)
    assert odd.shape == (1, 1333)


def test_masks_are_stretches_no_longer_than_their_share():
    spectra = jnp.ones((300, 20, 30))
    found = np.asarray(spec_augment(KEY, spectra, SpecAugment(time_share=0.25, mel_share=0.2)))
    frames, bands = (found == 0).all(axis=2), (found == 0).all(axis=1)
    np.testing.assert_array_equal(found == 0, frames[:, :, None] | bands[:, None, :])
    for masks, most in ((frames, 5), (bands, 6)):
        widths = masks.sum(axis=1)
        assert set(widths.tolist()) == set(range(most + 1))
        assert (np.abs(np.diff(np.pad(masks.astype(int), ((0, 0), (1, 1))))).sum(axis=1) <= 2).all()  # one stretch
        assert masks.any(axis=0).all()  # anywhere
    more = np.asarray(spec_augment(KEY, spectra, SpecAugment(time_share=0.25, time_masks=3, mel_masks=0)))
    assert (more == 0).all(axis=2).sum(axis=1).max() > 5


def test_a_warp_stretches_each_axis_by_its_factor():
    """On a plane linear interpolation is exact: value = frame + 100 band, so slopes are the factors' inverses."""
    plane = jnp.arange(41.0)[:, None] + 100 * jnp.arange(30.0)[None]
    found = np.asarray(spectrum_warp(KEY, plane[None] * jnp.ones((200, 1, 1)), SpectrumWarp()))
    in_time = found[:, 21, 2] - found[:, 20, 2]
    in_bands = (found[:, 20, 3] - found[:, 20, 2]) / 100
    for slope in (in_time, in_bands):
        assert slope.min() >= 0.9 - 1e-3 and slope.max() <= 1 / 0.9 + 1e-3 and slope.std() > 0.04
    np.testing.assert_allclose(found[:, 20, 0], 20.0, atol=1e-3)  # the middle and the lowest band stay
    same = spectrum_warp(KEY, plane[None], SpectrumWarp(time_change=0.0, mel_change=0.0))
    np.testing.assert_allclose(same[0], plane, rtol=1e-6)
