"""Which languages are cousins: a table of branches by ISO 639 code.

A branch is the level at which words are recognised across languages (Slavic, Turkic, Semitic), not the whole family:
Hindi says little about Danish, though both are Indo-European.
"""

from __future__ import annotations

from collections.abc import Iterable

_BRANCHES = {
    "Germanic": "afr ang dan deu fao fry gsw isl ltz nds nld nno nob nor non sco swe swg yid bar frr got",
    "Romance": "ast cat cbk fra glg ita lad lat lij lmo mwl oci pms por ron roh scn spa srd vec wln",
    "Slavic": "bel bos bul ces csb dsb hrv hsb mkd orv pol rue rus slk slv srp szl ukr chu",
    "Baltic": "lit lvs lav ltg prg sgs",
    "Celtic": "bre cor cym gla gle glv",
    "Indo-Aryan": "asm awa ben bho guj hin kas kok mai mar nep npi ori pan san sin snd urd rom",
    "Iranian": "fas kmr kur ckb oss pes pus tgk zza",
    "Hellenic": "ell grc",
    "Armenian": "hye",
    "Albanian": "sqi",
    "Constructed": "epo ido ile ina lfn nov vol tzl",
    "Finnic": "est ekk fin krl liv olo vep vro",
    "Ugric": "hun",
    "Permic and Volgaic": "chm kom kpv mhr mrj myv mdf udm",
    "Sami": "sme smn sms",
    "Turkic": "aze azj bak chv crh gag kaa kaz kir ota sah tat tuk tur tyv uig uzb uzn",
    "Mongolic": "khk mon bua xal",
    "Semitic": "acm afb ajp amh apc ara arb arq ary arz heb mlt syc syr tir",
    "Berber": "ber kab rif shi shy tzm zgh",
    "Chadic": "hau",
    "Kartvelian": "kat xmf",
    "Basque": "eus",
    "Dravidian": "kan mal tam tel",
    "Vietic": "vie",
    "Khmer": "khm",
    "Munda": "sat",
    "Tai": "lao tha shn",
    "Burmese": "mya bod dzo",
    "Sinitic": "cmn gan hak lzh nan wuu yue zho",
    "Japonic": "jpn ryu",
    "Koreanic": "kor",
    "Philippine": "bcl ceb fil hil ilo pag pam tgl tsg war",
    "Sabahan": "dtp kzj",
    "Malayic": "ind max min msa zlm zsm",
    "Javanese and Sundanese": "jav sun ban mad",
    "Chamorro": "cha",
    "Polynesian": "haw mri smo tah ton",
    "Malagasic": "mlg plt",
    "Bantu": "kin lin lug nya run sna sot swa swh tsn xho zul",
    "Germanic creoles": "tpi bis pis",
}
_BRANCH_OF = {code: branch for branch, codes in _BRANCHES.items() for code in codes.split()}
_TWO_LETTERS = (
    "af:afr am:amh ar:ara az:aze be:bel bg:bul bn:ben bs:bos ca:cat cs:ces cy:cym da:dan de:deu el:ell eo:epo es:spa "
    "et:est eu:eus fa:fas fi:fin fr:fra ga:gle gl:glg he:heb hi:hin hr:hrv hu:hun hy:hye id:ind is:isl it:ita ja:jpn "
    "ka:kat kk:kaz km:khm ko:kor ku:kur lt:lit lv:lvs mk:mkd ml:mal mn:mon mr:mar ms:zsm nl:nld nn:nno nb:nob no:nor "
    "pl:pol pt:por ro:ron ru:rus sk:slk sl:slv sq:sqi sr:srp sv:swe sw:swh ta:tam te:tel th:tha tl:tgl tr:tur uk:ukr "
    "ur:urd uz:uzb vi:vie zh:cmn"
)
_THREE_LETTERS: dict[str, str] = {pair[:2]: pair[3:] for pair in _TWO_LETTERS.split()}


def branch(language: str) -> str | None:
    """The branch of a language; None where the table does not have it.

    Examples:
        >>> branch("ces"), branch("cs"), branch("???")
        ('Slavic', 'Slavic', None)
    """
    code = language.lower().partition("-")[0].partition("_")[0]
    return _BRANCH_OF.get(_THREE_LETTERS.get(code, code))


def has_cousin(language: str, training: Iterable[str]) -> bool | None:
    """Whether a training language is of the same branch; None where the language is not in the table."""
    own = branch(language)
    return None if own is None else own in {branch(other) for other in training}
