"""Classify the rows of a table, with words and missing cells, and no training: a model for tables ships.

python examples/own_table.py
"""

import regard

rows = [  # weight in grams, colour, diameter in centimetres
    [150, "red", 7.5],
    [170, "green", 8.0],
    [160, "red", None],
    [118, "yellow", 3.6],
    [125, "yellow", 3.8],
    [None, "green", 3.5],
]
labels = ["apple", "apple", "apple", "banana", "banana", "banana"]
model = regard.FewShotClassifier("tables").fit(rows, labels)

new = [[155, "red", 7.9], [121, "yellow", None]]
for row, label, probability in zip(new, model.predict(new), model.predict_proba(new).max(1), strict=True):
    print(f"{row}: {label} ({probability:.0%})")
