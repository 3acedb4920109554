"""MixUp and CutMix, and the distributions that they draw from."""
