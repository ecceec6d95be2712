"""Chemical formulas to amounts of elements: `Fe2O3`, `Ca0.4Ba1.25La1.25Cu3O6.98`, `Ni3(PbSe)2`, `CuSO4·5H2O`.

Read are element symbols with whole or decimal amounts, round, square and curly brackets to any depth, hydrates after a
centred dot or an asterisk, digits written as subscripts, and spaces anywhere. An amount of 0, as at the end of a series
of doping (La2Sr0CuO4), is absence. Refused, each with its reason, are
charges, isotopes, unknown amounts (x, δ), leading coefficients, and a full stop before water, which could be a decimal
point.

Our own few lines: pymatgen-core reads formulas too, and brings 160 MB of crystallography along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from regard.errors import DataError

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn "
    "Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd "
    "Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th "
    "Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og "
)
ELEMENTS: tuple[str, ...] = tuple(_SYMBOLS.split())
_KNOWN = frozenset(ELEMENTS)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_OPEN, _CLOSE = "([{", ")]}"
_TOKEN = re.compile(r"([A-Z][a-z]?|[()\[\]{}])(\d+\.?\d*|\.\d+)?")
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
_MANY = 1e6


def parse_formula(formula: object) -> dict[str, float]:
    """Amounts by element, in the order of the formula.

    Args:
        formula: text, or a mapping of element to amount.

    Raises:
        DataError: something that is no formula; the message says where and why.

    Examples:
        >>> parse_formula("Ni3(PbSe)2")
        {'Ni': 3.0, 'Pb': 2.0, 'Se': 2.0}
        >>> parse_formula("CuSO4·5H2O")
        {'Cu': 1.0, 'S': 1.0, 'O': 9.0, 'H': 10.0}
    """
    if isinstance(formula, Mapping):
        try:
            amounts = {str(element): float(amount) for element, amount in formula.items()}
        except (TypeError, ValueError) as error:
            raise DataError(f"{dict(formula)!r:.80} has an amount that is no number: expected numbers.") from error
        return _checked(amounts, repr(dict(formula)))
    if not isinstance(formula, str):
        raise DataError(f"{formula!r:.60} is a {type(formula).__name__}: expected a formula, such as 'Fe2O3'.")
    text = re.sub(r"\s+", "", formula.translate(_SUBSCRIPTS))
    if not text:
        raise DataError("the formula is empty: expected one such as 'Fe2O3'.")
    if len(text) > 1000:
        raise DataError(f"a formula of {len(text)} characters: expected at most 1000.")
    if re.search(r"\.\d*\(?H2O", text):
        raise DataError(
            f"{formula!r:.80} has a full stop before water: write a hydrate with '·' or '*', as CuSO4·5H2O."
        )
    total: dict[str, float] = {}
    for k, piece in enumerate(re.split(r"[·•∙*]", text)):
        factor = 1.0
        if k and (number := _NUMBER.match(piece)):
            factor, piece = float(number[0]), piece[number.end() :]
        for element, amount in _parse_piece(piece, formula).items():
            total[element] = total.get(element, 0.0) + factor * amount
    return _checked(total, repr(formula))


def _parse_piece(piece: str, formula: str) -> dict[str, float]:
    """One formula without a hydrate."""
    if not piece:
        raise DataError(f"{formula!r:.80} has nothing on one side of its dot: expected a formula, as CuSO4·5H2O.")
    groups: list[dict[str, float]] = [{}]
    opened: list[str] = []
    at = 0
    while at < len(piece):
        token = _TOKEN.match(piece, at)
        if token is None:
            raise DataError(f"{formula!r:.80}: {_reason(piece, at)}")
        symbol, amount = token[1], float(token[2]) if token[2] else 1.0
        if symbol in _OPEN:
            if token[2]:
                raise DataError(f"{formula!r:.80} has a number after {symbol!r}: expected an element there.")
            groups.append({})
            opened.append(symbol)
        elif symbol in _CLOSE:
            if not opened or _OPEN.index(opened.pop()) != _CLOSE.index(symbol):
                raise DataError(f"{formula!r:.80} closes {symbol!r}, which was not opened: check its brackets.")
            for element, inner in groups.pop().items():
                groups[-1][element] = groups[-1].get(element, 0.0) + amount * inner
        else:
            if symbol not in _KNOWN and symbol[:1] in _KNOWN and symbol not in ("D", "T"):
                raise DataError(
                    f"{formula!r:.80} has {symbol!r}, which is no element: check capitals, as in CO and Co."
                )
            if symbol not in _KNOWN:
                hint = "write hydrogen's isotopes as H" if symbol in ("D", "T") else "check its spelling"
                raise DataError(f"{formula!r:.80} has {symbol!r}, which is no element: {hint}.")
            groups[-1][symbol] = groups[-1].get(symbol, 0.0) + amount
        at = token.end()
    if opened:
        raise DataError(f"{formula!r:.80} leaves {opened[-1]!r} open: check its brackets.")
    return groups[0]


def _reason(piece: str, at: int) -> str:
    """Why no token starts here."""
    sign = piece[at]
    if sign in "+-^−⁺⁻":  # noqa: RUF001
        return f"has {sign!r}: charges and unknown amounts are not read; give the neutral formula with numbers."
    if at == 0 and (sign.isdigit() or sign == "."):
        return "begins with a number: leave out coefficients and isotopes."
    if sign in "xyzδ":
        return f"has an amount {sign!r} that is not known: expected numbers."
    return f"has {sign!r} at position {at + 1}: expected an element, an amount or a bracket."


def _checked(amounts: dict[str, float], shown: str) -> dict[str, float]:
    """Without elements whose amount is 0.

    Raises:
        DataError: no element, an unknown one, or an amount that is negative, not finite or enormous.
    """
    for element, amount in amounts.items():
        if element not in _KNOWN:
            raise DataError(f"{shown:.80} has {element!r}, which is no element: check its spelling.")
        if not 0 <= amount <= _MANY:
            raise DataError(f"{shown:.80} has {amount:g} of {element}: expected an amount from 0 to {_MANY:g}.")
    present = {element: amount for element, amount in amounts.items() if amount > 0}
    if not present:
        raise DataError(f"{shown:.80} has no element with an amount above 0: expected a formula, such as 'Fe2O3'.")
    return present


def fractions_do_not_sum(amounts: Mapping[str, float]) -> bool:
    """Whether several amounts, all below 1, were meant to sum to 1 and do not, by more than 2 hundredths."""
    values = amounts.values()
    return len(amounts) > 1 and max(values) < 1 and abs(sum(values) - 1) > 0.02


def chemical_system(amounts: Iterable[str]) -> str:
    """The elements of a composition in alphabetical order, such as "Fe-O"."""
    return "-".join(sorted(amounts))


def find_unreadable(formulas: Iterable[object]) -> dict[int, str]:
    """Rows that hold no formula, with the reason; for leaving them out on purpose.

    Examples:
        >>> find_unreadable(["Fe2O3", "Fe2Qq3"])
        {1: "'Fe2Qq3' has 'Qq', which is no element: check its spelling."}
    """
    found = {}
    for row, formula in enumerate(formulas):
        try:
            parse_formula(formula)
        except DataError as error:
            found[row] = str(error)
    return found
