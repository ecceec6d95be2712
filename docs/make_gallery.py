"""Draws the explanations of the gallery from examples that stand below: known drugs, wines, sentences of our own.

    pip install 'regard[molecules,translation]' playwright
    python docs/make_gallery.py [--only molecules table translation next] [--browser /usr/bin/chromium]

Each is the first answer on the page that the command under it in the gallery writes, as Chromium shows it.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright
from sklearn.datasets import load_wine

from regard.commands.explain import explain_files
from regard.commands.next_experiment import plan_experiments, write_plan
from regard.commands.translate import explain_translation_files

DOCS = Path(__file__).parent

DRUGS = [
    ("CC(C)NCC(O)COc1cccc2ccccc12", "beta blocker"),  # propranolol
    ("CC(C)NCC(O)COc1ccc(CC(N)=O)cc1", "beta blocker"),  # atenolol
    ("COCCc1ccc(OCC(O)CNC(C)C)cc1", "beta blocker"),  # metoprolol
    ("CC(C)NCC(O)COc1cccc2[nH]ccc12", "beta blocker"),  # pindolol
    ("CC(C)(C)NCC(O)COc1nsnc1N1CCOCC1", "beta blocker"),  # timolol
    ("C=CCOc1ccccc1OCC(O)CNC(C)C", "beta blocker"),  # oxprenolol
    ("CC(C)Cc1ccc(C(C)C(=O)O)cc1", "other"),  # ibuprofen
    ("CC(=O)Nc1ccc(O)cc1", "other"),  # paracetamol
    ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", "other"),  # caffeine
    ("CC(=O)Oc1ccccc1C(=O)O", "other"),  # aspirin
    ("CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc21", "other"),  # diazepam
    ("CCN(CC)CC(=O)Nc1c(C)cccc1C", "other"),  # lidocaine
]
NEW_DRUGS = ["CC(C)NCC(O)COc1ccc(CCOCC2CC2)cc1", "COc1ccc2cc(C(C)C(=O)O)ccc2c1"]  # betaxolol, naproxen

PAIRS = [
    ("Ek lees 'n boek.", "I am reading a book."),
    ("Sy lees 'n brief.", "She is reading a letter."),
    ("Hy skryf 'n brief.", "He is writing a letter."),
    ("Die hond slaap.", "The dog is sleeping."),
    ("Die kat slaap.", "The cat is sleeping."),
    ("Die hond eet vleis.", "The dog is eating meat."),
    ("Ek eet brood.", "I am eating bread."),
    ("Sy drink water.", "She is drinking water."),
    ("Hy drink koffie.", "He is drinking coffee."),
    ("Die kind speel in die tuin.", "The child is playing in the garden."),
    ("Die kat slaap in die huis.", "The cat is sleeping in the house."),
    ("My broer werk in die stad.", "My brother works in the city."),
    ("My suster woon in die huis.", "My sister lives in the house."),
    ("Waar is die boek?", "Where is the book?"),
    ("Waar woon jou broer?", "Where does your brother live?"),
]
SENTENCES = ["My suster drink koffie in die tuin.", "Die kind eet brood."]

MELTING = [("Li", 454), ("Na", 371), ("K", 337), ("Rb", 312), ("Ti", 1941), ("V", 2183), ("Nb", 2750), ("W", 3695)]
CANDIDATES = ["Mo", "Ta", "Cs", "Cr", "Zr", "Hf", "Re", "Fe", "Os", "Ir"]


def molecules(folder: Path) -> Path:
    """Which drugs, and which atoms, spoke for a beta blocker."""
    write(folder / "support.csv", ["smiles", "label"], DRUGS)
    write(folder / "query.csv", ["smiles"], [[smiles] for smiles in NEW_DRUGS])
    explain_files("molecules", folder / "support.csv", folder / "query.csv", folder / "page.html")
    return folder / "page.html"


def table(folder: Path) -> Path:
    """Which wines, and which of their columns, spoke for a label."""
    wine = load_wine()
    rows = [[*cells, wine.target_names[kind]] for cells, kind in zip(wine.data, wine.target, strict=True)]
    write(folder / "support.csv", [*wine.feature_names, "label"], rows[::6])
    write(folder / "query.csv", wine.feature_names, [row[:-1] for row in rows[1::20]])
    explain_files("tables", folder / "support.csv", folder / "query.csv", folder / "page.html")
    return folder / "page.html"


def translation(folder: Path) -> Path:
    """Which pair taught each word."""
    (folder / "pairs.tsv").write_text("\n".join("\t".join(pair) for pair in PAIRS))
    (folder / "query.txt").write_text("\n".join(SENTENCES))
    explain_translation_files("translation", folder / "pairs.tsv", folder / "query.txt", folder / "page.html")
    return folder / "page.html"


def next_experiment(folder: Path) -> Path:
    """Which element to melt next."""
    write(folder / "measured.csv", ["formula", "target"], MELTING)
    write(folder / "candidates.csv", ["formula"], [[element] for element in CANDIDATES])
    plan = plan_experiments("materials", folder / "measured.csv", folder / "candidates.csv", n=5)
    write_plan(plan, page=folder / "page.html")
    return folder / "page.html"


PICTURES = {
    "molecules": (molecules, "section.why"),
    "table": (table, "section.why"),
    "translation": (translation, "section.why"),
    "next": (next_experiment, "main, body"),
}


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def main() -> None:
    """Make the pages, and draw their first answers."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES))
    made.add_argument("--browser", help="the program of Chromium; playwright's own by default")
    arguments = made.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1000, "height": 500}, color_scheme="light")
        for name in arguments.only:
            make, part = PICTURES[name]
            with tempfile.TemporaryDirectory() as folder:
                view.goto(make(Path(folder)).as_uri())
                view.locator(part).first.screenshot(path=DOCS / f"explained_{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
