"""Limits on what a file or an argument may ask of a machine, in one place, each with its reason.

A damaged or malicious file can be small and claim to be huge. Whatever is beyond a limit is refused before memory or
time is spent on it. All are far above honest use; raise one here if your work needs more.
"""

from __future__ import annotations

MIB, GIB = 2**20, 2**30

# ---- files of ours: checkpoints and fitted estimators ---------------------------------------------------------------

HEADER_BYTES = 16 * MIB
"""Header of a safetensors file. 10,000 tensors need about 1 MiB; JSON of this size parses in a second."""

NETWORK_SLACK = 4
"""Numbers that building a network may allocate, as a multiple of what its file holds: several initial values each."""

NETWORK_NUMBERS = 2**24
"""Numbers that building any network may allocate besides: 64 MiB of float32, for tables that no file keeps."""

NETWORK_TENSORS = 5_000
"""Tensors that building a network may make, above 64 for each tensor in its file: some 0.1 s for 5,000."""

# ---- archives of others: .npz and .zip ------------------------------------------------------------------------------

UNPACKED_BYTES = 64 * GIB
"""All arrays of an archive together, after unpacking. Full ImageNet at 84 pixels is 27 GB."""

UNPACKED_RATIO = 200
"""Unpacked bytes for each byte of an archive above `UNPACKED_FREE_BYTES`. Deflate reaches 1,000 on zeros; drawings in
black and white reach some 60."""

UNPACKED_FREE_BYTES = 256 * MIB
"""Unpacked bytes that any archive may have, however well it was packed: no harm on any machine."""

ARRAY_HEADER_BYTES = 10_000
"""Header of one .npy array, as NumPy's own limit; it is parsed as a Python literal."""
