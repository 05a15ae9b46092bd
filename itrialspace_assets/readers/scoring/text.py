"""The strict parser of free text: an answer where the text commits to exactly one option, else none.

Made for precision: a text that says two things, only hedges, or declines is no answer, and an option that is merely
repeated from the question is none either. English; single words for yes and no of a few other languages count too. All
words and rules are ours. Everything is polars expressions over the columns ``task`` and ``raw_text``.
"""

import polars as pl

from itrialspace_assets.imaging.anatomy import ANSWER_EDGES, ANSWER_SIZES

VERSION = "1"
#: What a nodule is called, what is said of one that is there, and the words that may stand between.
_NODULE = r"(?:nodules?|nodular (?:lesions?|opacity|opacities|densit(?:y|ies))|lesions?|mass(?:es)?)"
_SEEN = (
    r"(?:present|visible|visuali[sz]ed|seen|detected|identified|found|evident|apparent|appreciated|noted|shown|observed"
    r"|depicted|demonstrated|discernible)"
)
_GAP = r"[a-z0-9 /-]{0,60}?"
_EDGE_L, _EDGE_R = r"(?:^|[.,;:!(/'])\s*", r"\s*(?:$|[.,;:!()/'-])"

#: A text that declines, and one that does so where it says nothing else.
_DECLINES = (
    r"\b(?:cannot|could not|will not|would not|decline to|refuse to|unable to|not able to|not possible to"
    r"|impossible to) (?:[a-z]+ ){0,3}?"
    r"(?:tell|say|determin\w+|assess\w*|answer\w*|see|view|interpret\w*|analy[sz]\w+|provid\w+"
    r"|give|given|diagnos\w+|identif\w+|evaluat\w+|make|help|assist|comment|confirm\w*|judged?|know|known|offer|process"
    r"|locat\w+|measur\w+|classif\w+|estimat\w+|establish\w*|reliably|be (?:sure|certain))\b"
    r"|\b(?:difficult|hard) to (?:tell|say|determine|assess|know|judge)\b"
    r"|\bdo not (?:know|have (?:the ability|access|enough))\b|\bnot (?:sure|certain)\b|\bunsure\b|\bno idea\b"
    r"|\b(?:insufficient|not enough|inadequate) (?:[a-z]+ )?(?:information|context|data|images?|resolution|quality)\b"
    r"|\binsufficient to\b|\bno (?:image|picture|scan|slice) (?:was |is |has been )?"
    r"(?:provided|attached|given|available|visible)\b"
    r"|\bimage (?:was |is |has )?not (?:been )?(?:provided|attached|available|visible|loaded)\b"
)
_DECLINES_ALONE = (
    r"\bsorry\b|\bapolog|\brather not\b|\bas an ai\b|\ban ai\b|\bconsult\b|\bnot a (?:doctor|radiologist|physician)\b"
    r"|\bradiologist should\b|\bmedical (?:advice|professional)|\bplease (?:provide|upload|attach)\b"
)
#: A text that does not commit.
_HEDGES = (
    r"\bpossibl[ey]\b|\bmaybe\b|\bperhaps\b|\bmight\b|\bmay (?:be|represent|have|show|contain|lie)\b"
    r"|\bcould (?:be|represent|have|also|lie)\b|\buncertain\b|\bequivocal\b|\bquestionable\b|\bborderline\b"
    r"|\b(?:cannot|not|never) (?:be )?(?:fully |entirely )?(?:excluded?|rul(?:e|ed) out)\b|\bdepend(?:s|ing) on\b"
    r"|\beither\b|\bindeterminate\b|\b50[ -/]50\b|\bequally likely\b|\b(?:probability|likelihood|chance)\b"
)

#: What a text leaves open.
_OPEN = r"\bwhether\b[^.;:]*"


def _replaced(text: pl.Expr, *pairs: tuple[str, str]) -> pl.Expr:
    for pattern, by in pairs:
        text = text.str.replace_all(pattern, by)
    return text


def said(raw: pl.Expr) -> pl.Expr:
    """What a text says, in plain lower case: the value of a JSON answer, what follows ``Answer:``, else all of it.

    A model's thoughts (``<think>``), questions and Markdown are left out; ``n't`` becomes ``not``, a dash ``-``.
    """
    text = _replaced(
        raw.str.normalize("NFKC").str.to_lowercase(),
        (r"(?s)<think>.*?(?:</think>|$)", " "),
        (r"[‐‑‒–—−]", "-"),
        (r"[‘’´]", "'"),
        (r"[“”„«»]", '"'),
        (r"[_*`#]+", " "),
        (r"\bcan't\b|\bcan not\b", "cannot"),
        (r"\bwon't\b", "will not"),
        (r"n't\b", " not"),
        (r"\b(i|it|there|that)'(m|s|re)\b", "$1 is"),
        (r'"(?:nodule )?(?:present|presence|nodule|nodule present|answer)"\s*:\s*true\b', '"answer": "yes"'),
        (r'"(?:nodule )?(?:present|presence|nodule|nodule present|answer)"\s*:\s*false\b', '"answer": "no"'),
    )
    keys = (
        r'"(?:final answer|answer|label|prediction|response|choice|class|presence|lobe|location|size|diameter'
        r'|malignancy)"'
    )
    values = text.str.extract_all(keys + r'\s*:\s*"[^"]*"')
    value = values.list.first().str.extract(r':\s*"([^"]*)"$')
    is_json = text.str.contains(r"^\s*(?:json)?\s*[\[{]") & (values.list.len() == 1)
    text = pl.when(is_json).then(value).otherwise(text)
    after = text.str.extract(
        r"(?s)^(?:.*[\n.!?])?\s*(?:so,? |thus,? |therefore,? |hence,? )?(?:the |my )?"
        r"(?:final )?answer\s*(?:is\b\s*:?|:)\s*(\S.*)$"
    )
    return _replaced(
        pl.coalesce(after, text),
        (r"[^.!?\n]*\?", " "),
        (r'["{}\[\]\\]', " "),
        (r"\s+", " "),
        (r"\b(?:cannot|could not) (?:see|identify|find|detect|appreciate) (?:a|any|an) " + _GAP + _NODULE, "no nodule"),
    ).str.strip_chars(" .!'")


def presence(text: pl.Expr) -> pl.Expr:
    """Whether a text says that a nodule is there; null where it says neither or both."""
    denied = "|".join(
        (
            r"^(?:no|nope|nein|non|nej|nie|nee)(?:$|[.,;:!-])|^no (?:there|i|the|this|it)\b",
            rf"\b(?:no|without|absence of|lack of|lacks|free of|negative for|neither)\b{_GAP}\b{_NODULE}\b"
            rf"(?:,? (?:or|nor|and) {_GAP}\b{_NODULE}\b)*"
            rf"(?:\s+(?:is|are|was|were|can be|could be|has been|have been))?(?:\s+(?:clearly )?{_SEEN})?",
            rf"\b{_NODULE}\b[a-z0-9 -]{{0,30}}\bnot (?:be )?(?:[a-z]+ly |well )?{_SEEN}",
            r"\bnot (?:[a-z]+ ){0,3}?(?:show|contain|see|have|identify|detect|find|visuali[sz]e|demonstrate|reveal"
            rf"|depict|include|observe|appreciate)\b{_GAP}\b{_NODULE}\b",
            rf"\b(?:is|are) not (?:[a-z]+ ){{0,2}}(?:a|any)\b{_GAP}\b{_NODULE}\b",
            rf"{_EDGE_L}(?:absent|none|negative|not (?:present|visible|seen|detected|identified|found)){_EDGE_R}",
            rf"\b(?:{_NODULE}|is|are|as)\b[: ]*absent\b",
        )
    )
    stated = "|".join(
        (
            rf"{_EDGE_L}(?:yes|yeah|yep|yup|ja|oui|sí|tak|affirmative)(?:$|\W)",
            rf"{_EDGE_L}(?:present|visible|detected|seen|positive){_EDGE_R}",
            r"\b(?:there (?:is|are|appears? to be|seems? to be)|shows?|contains?|has|have|see|demonstrates?|reveals?"
            rf"|depicts?|identify|detect|find|observe|consistent with|compatible with)\b{_GAP}\b{_NODULE}\b",
            rf"\b{_NODULE}\b[a-z0-9 -]{{0,80}}?\b{_SEEN}\b",
            rf"^(?:a|an|one|two|solitary|single|multiple|several|small|tiny|large)\b{_GAP}\b{_NODULE}\b",
            r"\b(?:it is|as|classified) (?:present|visible)\b",
        )
    )
    text = _replaced(
        text,
        (_OPEN, " "),
        (r"\b(?:yes|no|present|absent) ?(?:/|\bor\b) ?(?:yes|no|present|absent)\b", " "),
        (r"\bnot (?:absent|negative)\b", "present."),
        (rf"\b(?:no|without) (?:other|further|additional|associated|calcified)\b{_GAP}\b{_NODULE}\b", " "),
    )
    no = text.str.contains(denied)
    yes = text.str.replace_all(denied, " . ").str.contains(stated)
    return pl.when(yes & ~no).then(pl.lit("present")).when(no & ~yes).then(pl.lit("absent"))


def _mentions(side: str, level: str, *others: str) -> str:
    """Pattern of a lobe's names."""
    return "|".join(
        (
            rf"\b{side}(?:-sided)?(?: lung)?[,:;]? (?:the )?{level}(?: lung)? lobe\b",
            rf"\b{side}(?: lung)? {level}{_EDGE_R}",
            rf"\b{level} (?:pulmonary )?lobe,? (?:of|in|on) (?:the )?{side}(?: lung| side| hemithorax)?\b",
            rf"\b{level} {side}(?: lung)? lobe\b",
            rf"\b{level} lobe[,:;(]? ?{side}\b(?: lung)?",
            *others,
        )
    )


_UPPER, _MIDDLE, _LOWER = "(?:upper|superior)", "(?:middle|mid)", "(?:lower|inferior)"
_LOBE_NAMES = {
    "left_lung_upper_lobe": _mentions("left", _UPPER, r"\blul\b", r"\blingular?\b(?: segment)?"),
    "left_lung_lower_lobe": _mentions("left", _LOWER, r"\blll\b"),
    "right_lung_upper_lobe": _mentions("right", _UPPER, r"\brul\b"),
    "right_lung_middle_lobe": _mentions("right", _MIDDLE, r"\brml\b", r"\bmiddle lobe\b"),
    "right_lung_lower_lobe": _mentions("right", _LOWER, r"\brll\b"),
}
_ANY_LOBE = "|".join(_LOBE_NAMES.values())
#: What is left of a text that names more than one lobe.
_MORE_LOBES = (
    r"\b(?:upper|middle|lower|superior|inferior)\b[a-z /-]{0,12}\blobes?\b|\b(?:right|left) ?(?:/|or\b|and\b)"
    r"|\bbilateral\b|\bboth\b|\bleft middle\b|\b(?:upper|middle|lower)(?: lobe)? ?(?:/|or\b|and\b)"
)


def lobe(text: pl.Expr) -> pl.Expr:
    """The one lobe that a text names; null where it names none or several."""
    text = _replaced(
        text,
        (r"\bleft(?: lung)? (?:middle|mid)(?: lung)? lobe\b", "left middle"),
        (rf"\b(?:not|rather than)(?: in| within)?(?: the)? (?:{_ANY_LOBE})", " "),
    )
    rest = text.str.replace_all(_ANY_LOBE, " . ")
    one = pl.sum_horizontal(text.str.contains(p).cast(pl.Int8) for p in _LOBE_NAMES.values()) == 1
    named = pl.coalesce(pl.when(text.str.contains(p)).then(pl.lit(name)) for name, p in _LOBE_NAMES.items())
    return pl.when(one & ~rest.str.contains(_MORE_LOBES)).then(named)


_NUMBER, _UNIT = r"(\d+(?:\.\d+)?)", r"\s*-?(mm|cm)\b"
_BELOW, _ABOVE = (
    r"(?:<|less than|smaller than|under|below)\s*",
    r"(?:>|greater than|larger than|more than|over|above|exceed(?:s|ing)|bigger than)\s*",
)


def size(text: pl.Expr) -> pl.Expr:
    """The class that every diameter of a text lies in; null where there is none, or where they lie in several.

    Each diameter becomes ``§low:high:unit§``, one without a range ``§value=:unit§``. A range counts if all of it lies
    in one class. An option may lack its unit where it is the whole text; any other number without one is none.
    """
    text = _replaced(
        text,
        (r"(\d),(\d{1,2})\b", "$1.$2"),
        (r"\bmillimet(?:er|re)s?\b|\bmms\b", "mm"),
        (r"\bcentimet(?:er|re)s?\b|\bcms\b", "cm"),
        (r"(\d)(mm|cm)", "$1 $2"),
        (r"\b(?:slice|section) thickness(?: of| is|:)? " + _NUMBER + _UNIT, " "),
        (r"^(< ?5|5 ?(?:-|to|to ) ?10|10 ?(?:-|to|to ) ?20|> ?20)$", "$1 mm"),
        (r"\b(?:not|no) (?:larger|greater|more|bigger|smaller|less|over|above|below|under)\b", "§0:inf:mm§"),
        (r"(?:<=|≤|\bat most\b|\bup to\b)\s*" + _NUMBER + _UNIT, "§0:$1:$2§ §$1=:$2§"),
        (r"(?:>=|≥|\bat least\b)\s*" + _NUMBER + _UNIT, "§$1:inf:$2§"),
        (_BELOW + _NUMBER + _UNIT, "§0:$1:$2§"),
        (_ABOVE + _NUMBER + _UNIT, "§$1:inf:$2§"),
        (
            r"\b(?:between|zwischen|entre) " + _NUMBER + r"(?: mm| cm)? (?:and|und|et|y) " + _NUMBER + _UNIT,
            "§$1:$2:$3§",
        ),
        (_NUMBER + r"(?: mm| cm)?\s*(?:-|to|bis|à)\s*" + _NUMBER + _UNIT, "§$1:$2:$3§"),
        (_NUMBER + r" (?:or|and|oder|und|ou|et|y) " + _NUMBER + _UNIT, "§$1=:$3§ §$2=:$3§"),
        (
            _NUMBER + r"(?: mm| cm)? ?[x×] ?" + _NUMBER + r"(?: mm| cm)? ?[x×] ?" + _NUMBER + _UNIT,
            "§$1=:$4§ §$2=:$4§ §$3=:$4§",
        ),
        (_NUMBER + r"(?: mm| cm)? ?[x×] ?" + _NUMBER + _UNIT, "§$1=:$3§ §$2=:$3§"),
        (_NUMBER + _UNIT, "§$1=:$2§"),
    )
    classes = text.str.extract_all(r"§[^§ ]*§").list.eval(_class_of(pl.element()))
    only = (classes.list.n_unique() == 1) & (classes.list.min() >= 0)
    names = dict(enumerate(ANSWER_SIZES))
    return pl.when(only).then(classes.list.first().replace_strict(names, default=None, return_dtype=pl.String))


def _class_of(diameter: pl.Expr) -> pl.Expr:
    """Number of the class that ``§low:high:unit§`` or ``§value=:unit§`` lies in, -1 where in several."""
    mm = pl.when(diameter.str.contains("cm")).then(10.0).otherwise(1.0)
    low = diameter.str.extract(r"§([\d.]+)").cast(pl.Float64) * mm
    high = diameter.str.extract(r":([\d.]+|inf):").cast(pl.Float64) * mm
    first = pl.sum_horizontal((low >= edge).cast(pl.Int8) for edge in ANSWER_EDGES)
    last = pl.sum_horizontal((high > edge).cast(pl.Int8) for edge in ANSWER_EDGES)
    one = pl.when(high.is_null()).then(low > 0).otherwise((low < high) & (first == last))
    return pl.when(one).then(first).otherwise(-1)


def malignancy(text: pl.Expr) -> pl.Expr:
    """Whether a text calls a nodule malignant or benign; null where it says neither, both, or a mere risk."""
    text = _replaced(
        text,
        (_OPEN, " "),
        (r"\bmalignant \w+ (?:is|are) (?:absent|not \w+)\b", " "),
        (r"\b(?:rather than|as opposed to|instead of) (?:malignant|benign)\b", " "),
        (r"\b(?:not|unlikely)(?: to be)? (?:[a-z]+ )?benign\b|\bunlikely benign\b", "malignant"),
        (
            r"\b(?:not|non|no|unlikely|without)[\s-]+(?:[a-z]+ ){0,3}?(?:malignan(?:t|cy)|cancer(?:ous)?)(?: \w+)?\b",
            "benign",
        ),
    )
    bad = text.str.contains(
        r"\bmalignant\b|\bcancerous\b|\bconsistent with (?:[a-z]+ )?(?:malignancy|cancer|carcinoma)\b"
    )
    good = text.str.contains(r"\bbenign\b|\bnoncancerous\b")
    of_bad = text.str.contains(r"\b(?:malignan|cancer|carcinoma)")
    risk = text.str.contains(r"\b(?:risk|potential|suspici\w+|concern\w*|worrisome)\b")
    return pl.when(bad & ~good & ~risk).then(pl.lit("malignant")).when(good & ~of_bad & ~risk).then(pl.lit("benign"))


_OF_TASK = {"presence": presence, "lobe": lobe, "size": size, "malignancy": malignancy}


def parsed(rows: pl.DataFrame) -> pl.DataFrame:
    """``answer``, ``status`` and ``reason`` of texts, from ``task`` and ``raw_text``; each text is read once.

    Args:
        rows: with the columns ``task`` and ``raw_text``.

    Returns:
        One row for each, in their order, with the three columns alone.
    """
    asked = rows.select("task", pl.col("raw_text").fill_null(""))
    texts = asked.unique().with_columns(said=said(pl.col("raw_text")))
    texts = texts.with_columns(
        hedged=pl.col("said").str.contains(_HEDGES),
        declines=pl.col("said").str.contains(_DECLINES),
        alone=pl.col("said").str.contains(_DECLINES_ALONE),
        answer=pl.lit(None, pl.String),
    )
    read = pl.concat(
        [
            texts.clear(),
            *(
                part.with_columns(answer=_OF_TASK[task](pl.col("said"))) if task in _OF_TASK else part
                for (task,), part in texts.group_by("task")
            ),
        ]
    ).with_columns(answer=pl.when(~pl.col("hedged") & ~pl.col("declines")).then(pl.col("answer")))
    refused = pl.col("declines") | (pl.col("answer").is_null() & pl.col("alone"))
    read = read.with_columns(
        status=pl.when(refused).then(pl.lit("refused")).otherwise(pl.lit("unparsed")),
        reason=pl.when(refused)
        .then(pl.lit("declined to answer"))
        .when(pl.col("said") == "")
        .then(pl.lit("no text"))
        .when("hedged")
        .then(pl.lit("the text does not commit to an option"))
        .otherwise(pl.lit("the text names no option, or several")),
    )
    return asked.join(read, on=["task", "raw_text"], how="left", maintain_order="left").select(
        "answer", "status", "reason"
    )
