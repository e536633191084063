from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from corpus.caption_server import GOOD
from mien.corpus.caption_claims import Claim, read_claims
from mien.corpus.caption_gates import CODES, judge
from mien.corpus.caption_report import report_captions
from mien.errors import DataError
from mien.faces.actions import ACTION_UNITS
from mien.faces.captions import describe
from mien.faces.captions_actions import ACTIONS, DENIALS
from mien.faces.emotions import COMPOUNDS, EMOTIONS, sample_expression

Record = dict[str, Any]


def _with(text: str, region: str = "other", au: list[int] | None = None) -> Record:
    record = copy.deepcopy(GOOD)
    record["locals"].append({"text": text, "region": region, "au": au or [], "intensity": None})
    return record


def test_a_good_caption_passes():
    assert judge(GOOD) == []
    assert judge({**GOOD, "uid": 3, "label": "happiness"}) == []


@pytest.mark.parametrize(
    "record",
    [
        {},
        {**GOOD, "global": None},
        {**GOOD, "summary": ""},
        {**GOOD, "locals": "none"},
        {**GOOD, "locals": [*GOOD["locals"], {"text": "x"}]},
        {**GOOD, "locals": GOOD["locals"] * 3},
        _with("The ear is red.", "ear"),
    ],
)
def test_schema(record):
    assert judge(record) == ["schema"]


def test_few_locals():
    assert judge({**GOOD, "locals": GOOD["locals"][:2]}) == ["few_locals"]


class _Letters:
    """Counts letters: shows that the gate asks the tokenizer it is given."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())


def test_too_long_by_tokens_not_by_letters():
    at_rest = "The forehead is at rest" + ", and so it is" * 13
    assert judge(_with(at_rest + ".")) == []
    assert judge(_with(at_rest + ", and so it is" * 4 + ".")) == ["too_long"]
    assert judge(_with("The forehead" + " is" * 30 + " at rest."), tokenizer=_Letters()) == ["too_long"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("I'm sorry, I cannot help with that.", ["refusal"]),
        ("As an AI, this area stays open.", ["refusal"]),
        ("No face is visible here.", ["refusal"]),
        ("The face cannot hide its joy.", []),
        ("She looks at the camera.", ["identity"]),
        ("The skin tone is even.", ["identity"]),
        ("A famous actor seems at ease.", ["identity"]),
        ("The whites of the eyes are hidden.", []),
        ("The middle-aged person is at ease.", ["age"]),
        ("This person is in their thirties.", ["age"]),
        ("Lines cross the forehead.", []),
        ("A handsome expression.", ["attractiveness"]),
        ("The person has just received bad news.", ["plot"]),
        ("The scene is dark.", ["plot"]),
        ("The head is turned to the left.", []),
    ],
)
def test_words(text, codes):
    assert judge(_with(text)) == codes


def test_duplicate_locals():
    first = "The corners of the mouth rest in their usual place today."
    assert judge(_with(first, "mouth")) == []
    record = _with(first, "mouth")
    record["locals"].append({**record["locals"][-1], "text": first.replace("today", "here")})
    assert judge(record) == ["duplicate_local"]
    record["locals"][-1]["region"] = "jaw_chin"
    assert judge(record) == []


@pytest.mark.parametrize(
    ("text", "au", "codes"),
    [
        ("The lip corners are not pulled up.", [], ["contradiction"]),
        ("There is no smile at all.", [], ["contradiction"]),
        ("The cheeks aren't raised.", [], ["contradiction"]),
        ("A deep frown pulls the brows together.", [], ["contradiction"]),
        ("The brows keep their place.", [4], ["contradiction"]),
        ("The brows are knit, but the jaw is not dropped.", [], ["contradiction"]),
        ("The lips are not pressed, while the smile grows.", [], []),
        ("The left eyebrow is raised, the right eyebrow is not raised.", [], []),
        ("The eyebrows are raised, and nothing is wrinkled.", [], []),
    ],
)
def test_negation(text, au, codes):
    assert judge(_with(text, "other", au)) == codes


def test_claims_of_free_english():
    def units(text: str) -> list[tuple[list[int], str | None, bool]]:
        return [(sorted(c.units), c.side, c.denied) for c in read_claims(text)]

    assert units("The left eyebrow is slightly raised.") == [([1, 2], "left", False)]
    assert units("Both the left and right eyebrows are raised.") == [([1, 2], None, False)]
    assert units("The jaw isn't lowered.") == [([26, 27], None, True)]
    assert units("The eyebrows are furrowed, while the jaw hangs slack.") == [
        ([4], None, False),
        ([26, 27], None, False),
    ]
    assert units("The light is soft.") == []
    left, right = Claim(frozenset({2}), "left"), Claim(frozenset({2}), "right", True)
    assert not left.contradicts(right)
    assert left.contradicts(Claim(frozenset({1, 2}), None, True))
    assert not Claim(frozenset({1, 2})).contradicts(Claim(frozenset({2}), None, True))


TRUE = {12: (0.5, 0.5), 6: (0.3, 0.3)}


@pytest.mark.parametrize(
    ("text", "units", "codes"),
    [
        ("The left eyebrow is raised.", {2: (0.5, 0.5)}, ["asymmetry_unseen"]),
        ("The left eyebrow is raised.", {2: (0.1, 0.5)}, ["asymmetry_unseen"]),
        ("The left eyebrow is raised.", {2: (0.5, 0.1)}, []),
        ("The eyebrows are raised.", {2: (0.5, 0.1)}, []),
        ("The eyebrows are raised.", {2: (0.02, 0.0)}, ["unit_unseen"]),
        ("The eyebrows are raised.", {1: (0.3, 0.3)}, []),
        ("The lips are pursed.", {}, ["unit_unseen"]),
        ("The nose is not wrinkled.", {9: (0.6, 0.6)}, ["denied_unit_seen"]),
        ("The nose is not wrinkled.", {9: (0.1, 0.1)}, []),
    ],
)
def test_measured_units(text, units, codes):
    assert judge(_with(text), {**TRUE, **units}) == codes
    assert judge(_with(text)) == []


def test_every_code_can_be_earned():
    assert len(set(CODES)) == len(CODES) == 13


@pytest.fixture(scope="module")
def grammar() -> list[tuple[dict[int, tuple[float, float]], Record]]:
    rng = np.random.default_rng(11)
    classes = (*EMOTIONS, *COMPOUNDS)
    made = []
    for index in range(400):
        face = sample_expression(classes[index % len(classes)], rng, asymmetry=float(rng.normal(0, 0.15)))
        pose = tuple(float(v) for v in rng.normal(0, [12, 8, 5]))
        record = describe(face, rng, pose, (float(rng.normal(0, 6)), 0.0)).record()
        units = {
            n: (float(face.actions.left.get(n, 0)), float(face.actions.right.get(n, 0)))
            for n in face.actions.active(0.0)
        }
        made.append((units, record))
    return made


def test_captions_of_the_face_world_pass(grammar):
    failed = [(judge(record, units), record) for units, record in grammar if judge(record, units)]
    assert not failed, failed[0]


def _deny(record: Record, units: Any, rng: np.random.Generator) -> bool:
    """Adds a denial of what a local sentence asserts."""
    present = {unit for local in record["locals"] for unit in local["au"]}
    choices = [d for d in DENIALS if present & {*d.units}]
    if not choices:
        return False
    denial = choices[int(rng.integers(len(choices)))]
    text = denial.clauses[int(rng.integers(len(denial.clauses)))].capitalize() + "."
    record["locals"][-1] = {"text": text, "region": denial.region, "au": [], "intensity": None}
    return any(present & {*denial.units} & {*local["au"]} for local in record["locals"][:-1])


def _invent(record: Record, units: Any, rng: np.random.Generator) -> bool:
    """Adds an action that the face does not show."""
    absent = [e for e in ACTIONS if all(max(units.get(u, (0, 0))) < 0.05 for u in e.units)]
    entry = absent[int(rng.integers(len(absent)))]
    text = entry.seen[int(rng.integers(len(entry.seen)))].format(much="clearly").capitalize() + "."
    record["locals"][-1] = {
        "text": text,
        "region": entry.region,
        "au": [*entry.units],
        "intensity": "moderate",
    }
    return True


def _one_side(record: Record, units: Any, rng: np.random.Generator) -> bool:
    """Says that an even action is one-sided."""
    for local in record["locals"]:
        even = [u for u in local["au"] if abs(units[u][0] - units[u][1]) < 0.09]
        plain = "left" not in local["text"] and "right" not in local["text"]
        if local["au"] and len(even) == len(local["au"]) and plain and ACTION_UNITS[even[0]].lateral:
            side = ("left", "right")[int(rng.integers(2))]
            local["text"] = local["text"].rstrip(".") + f", more so on the {side}."
            return True
    return False


def _word(words: tuple[str, ...]) -> Callable[[Record, Any, np.random.Generator], bool]:
    def change(record: Record, units: Any, rng: np.random.Generator) -> bool:
        word = words[int(rng.integers(len(words)))]
        record["global"] = record["global"].rstrip(".") + f", {word}."
        return True

    return change


def _repeat(record: Record, units: Any, rng: np.random.Generator) -> bool:
    first = record["locals"][0]
    text = first["text"].replace("The ", "the ", 1)
    record["locals"][-1] = {**first, "text": f"Here {text}"}
    return len(record["locals"]) > 3


def _ramble(record: Record, units: Any, rng: np.random.Generator) -> bool:
    record["summary"] = " ".join((record["summary"].split() * 20)[:80])
    return True


CORRUPTIONS: dict[str, tuple[str, Callable[[Record, Any, np.random.Generator], bool]]] = {
    "denies what it asserts": ("contradiction", _deny),
    "invents an action": ("unit_unseen", _invent),
    "names a side of an even action": ("asymmetry_unseen", _one_side),
    "tells the sex": ("identity", _word(("a woman", "which he hides", "as her eyes say"))),
    "tells the age": ("age", _word(("in an elderly person", "of a teenager", "aged 40"))),
    "judges looks": ("attractiveness", _word(("quite handsome", "on a pretty face"))),
    "refuses": ("refusal", _word(("but I cannot identify people", "I'm sorry"))),
    "repeats a sentence": ("duplicate_local", _repeat),
    "rambles": ("too_long", _ramble),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupted_captions_are_caught(grammar, name, record_property):
    code, corrupt = CORRUPTIONS[name]
    rng = np.random.default_rng(3)
    counts: Counter[str] = Counter()
    for units, record in grammar[:150]:
        broken = copy.deepcopy(record)
        if corrupt(broken, units, rng):
            counts["made"] += 1
            counts["caught"] += code in judge(broken, units)
    record_property("recall", counts["caught"] / counts["made"])
    print(f"| {name} | {counts['made']} | {counts['caught']} | {counts['caught'] / counts['made']:.3f} |")
    assert counts["made"] >= 40
    assert counts["caught"] >= 0.95 * counts["made"]


def test_report_of_a_varied_and_of_a_monotonous_corpus(grammar):
    varied = report_captions(record for _, record in grammar)
    assert varied.captions == 400
    assert varied.phrase_bits > 8
    assert varied.template_mass < 0.5
    monotonous = report_captions([GOOD] * 50)
    assert monotonous.template_mass == pytest.approx(1.0)
    assert monotonous.phrase_bits < 6
    assert {len(repeat.images) for repeat in monotonous.repeats} == {50}
    assert monotonous.flagged() == dict.fromkeys(range(50), 5)


def test_near_duplicates_across_images_are_flagged_with_their_images():
    other = copy.deepcopy(GOOD)
    other["global"] = "Something else entirely moves here."
    other["summary"] = "In sum nothing like it was told before."
    for number, local in enumerate(other["locals"]):
        local["text"] = (
            f"Sentence {('one', 'two', 'three')[number]} of {('apples', 'bridges', 'clouds')[number]}."
        )
    close = copy.deepcopy(other)
    close["global"] = "The face shows joy."
    close["summary"] = "Overall, the raised cheeks and the smile point to great joy."
    report = report_captions([GOOD, other, close])
    told = {repeat.text: repeat.images for repeat in report.repeats}
    assert told[GOOD["summary"]] == (0, 2)
    assert told[other["locals"][0]["text"]] == (1, 2)
    assert GOOD["locals"][0]["text"] not in told
    assert report.sentences == 15
    with pytest.raises(DataError, match="no captions"):
        report_captions([])
