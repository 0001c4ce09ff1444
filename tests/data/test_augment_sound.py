"""Augmentation of sound: each does what its docstring says, with drawn numbers that are spread as they should be."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.augment import SpecAugment, SpectrumWarp, gain, noise, shift, spec_augment, spectrum_warp

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
