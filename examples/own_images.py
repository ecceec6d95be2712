"""Label your own drawings: one folder per class, one image per class is enough.

    python examples/own_images.py [EXAMPLES NEW]

EXAMPLES is a folder with one sub-folder of images per class, NEW a folder of images. Without them, a few letters are
rendered. For photographs give the folder of a run of `regard train folder` in place of "characters".
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import regard


def render(folder: Path, letters: str, size: int) -> None:
    """Letters as images: folder/LETTER/SIZE.png."""
    for letter in letters:
        image = Image.new("L", (80, 80), 255)
        ImageDraw.Draw(image).text((40, 40), letter, fill=0, font=ImageFont.load_default(size), anchor="mm")
        (folder / letter).mkdir(parents=True, exist_ok=True)
        image.save(folder / letter / f"{size}.png")


if len(sys.argv) == 3:
    examples, new = Path(sys.argv[1]), Path(sys.argv[2])
else:
    examples, new = (Path(tempfile.mkdtemp()) for _ in range(2))
    render(examples, "KOT", size=48)
    render(new, "KOT", size=64)

files = sorted(path for path in examples.rglob("*") if path.is_file())
queries = sorted(path for path in new.rglob("*") if path.is_file())
model = regard.FewShotClassifier("characters", n_estimators=1)  # 8 slightly distorted views by default: slower, better
model.fit(files, [path.parent.name for path in files])

for query, label, weight in zip(queries, model.predict(queries), model.attention(queries), strict=True):
    nearest = files[weight.argmax()]
    print(f"{query.relative_to(new)}: {label}, from {nearest.relative_to(examples)}, attention {weight.max():.0%}")
