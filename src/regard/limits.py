"""Limits on what a file or an argument may ask of a machine, in one place, each with its reason.

A damaged or malicious file can be small and claim to be huge. Whatever is beyond a limit is refused before memory or
time is spent on it. All are far above honest use; raise one here if your work needs more.
"""

from __future__ import annotations

from contextvars import ContextVar

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

UNCOUNTED: ContextVar[bool] = ContextVar("uncounted", default=False)
"""Set while a pretrained body is built: its size is bounded by its own files, not by the checkpoint that names it."""

# ---- fitted estimators -------------------------------------------------------------------------------------------

N_VIEWS = 256
"""Views of one task, n_estimators: each costs as much as the first, and averages gain nothing beyond some dozens."""

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

# ---- pictures of others ---------------------------------------------------------------------------------------------

IMAGE_PIXELS = 2**26
"""Pixels of one picture: 67 megapixels, some 0.8 GiB at worst while it is read. A JPEG of more is reduced while it is
decoded; telephones make them of 108 and 200 megapixels."""

IMAGE_JPEG_PIXELS = 2**28
"""Pixels of a JPEG before it is reduced."""

IMAGE_SIDE = 2**17
"""Longer side of one picture; JPEG ends at 65,535. Time and memory grow with it even where the other side is 1."""

ENCODED_BYTES = 64 * MIB
"""Examples and queries of one question of the page, in base64: some hundred pictures of 640 pixels."""

IMAGE_READ_SIDE = 4096
"""Side of an item that pictures are reduced to: 48 MiB in colour."""

IMAGE_WHOLE_PIXELS = 2**24
"""Pixels up to which a picture is padded and converted whole; a larger one is reduced by a whole factor first."""

FOLDER_DEPTH = 32
"""Folders within each other; links may make more of them than a disk could hold."""

FOLDER_ENTRIES = 2**21
"""Files and folders below one folder, links followed: two million. ImageNet has 1.3 million."""

# ---- recipes --------------------------------------------------------------------------------------------------------

YAML_BYTES = 2**18
"""A recipe as YAML. The longest that ships has 2 kB; 256 KiB take a second to parse."""

YAML_DEPTH = 32
"""Mappings and lists within each other; recipes have five."""

YAML_VALUES = 20_000
"""Values of a recipe, aliases expanded: nine lines of aliases may stand for a billion."""

NETWORK_OF_RECIPE = 2**28
"""Numbers that building the network of a recipe may allocate: 1 GiB in float32, and four of them while Adam trains it.
A ResNet-12 has 12 million; pretrained bodies are not counted."""

TENSORS_OF_RECIPE = 3_000
"""Tensors that building the network of a recipe may make: some 250 layers, built in a second or two."""

PROCESSES_PER_CORE = 4
"""Processes of one training for each core of a machine without a GPU; more than one each only wait for each other."""

# ---- tables of others ------------------------------------------------------------------------------------------------

TABLE_ROWS = 2**20
"""Rows of one CSV file of a table or of demonstrations: a million of twenty cells take 2 GiB as words."""

# ---- texts of others ------------------------------------------------------------------------------------------------

TEXT_BYTES = 2**26
"""A file of texts: 64 MiB, some 600,000 sentences. Read whole, it takes about ten times that."""

TEXT_FIELD = 2**22
"""Characters of one field of a CSV file; Python's own limit of 131,072 is shorter than long documents."""

# ---- molecules of others --------------------------------------------------------------------------------------------

MOLECULES = 2**20
"""Molecules read at once: a million take 2 GiB and half an hour for their descriptors."""

MOLECULE_ATOMS = 1000
"""Heavy atoms of one molecule: descriptors of it take a second, and no assay of small molecules has larger ones."""

# ---- sentences of others --------------------------------------------------------------------------------------------

SENTENCE_CHARACTERS = 1000
"""Characters of one side of a sentence pair, some 200 words: alignment costs the product of both sides.
Tatoeba's longest have 700; a paragraph is to be cut into sentences first."""

# ---- pages with examples inside --------------------------------------------------------------------------------------

PAGE_DRAWINGS = 500
"""Drawings: a page looks at all of them for each answer, some 100 in half a second, and holds 2 kB of each."""

PAGE_PHOTOGRAPHS = 500
"""Photographs: some 60 kB of each are in the page."""

PAGE_SENTENCES = 500
"""Sentences: the page reads some ten a second, each once."""

PAGE_ROWS = 1000
"""Rows of a table that have an answer: the tables model looks at all pairs of them, in one thread."""

PAGE_CLASSES = 10
"""Of a table: those that the tables model tells apart in one pass."""

PAGE_CHARACTERS = 2_000_000
"""Of a table as CSV: a text field of a browser slows down beyond."""
