"""Command lines and config files that are broken by construction, in every way that the program's parts can notice.

That each is broken is decided here and not by the program: a key is misspelt if it is none of the shipped files' keys, a
value is wrong for the kind of its key in the tables below, a text is no YAML if PyYAML says so.
"""

import itertools
import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.commands import ROOT
from tests.security.wrong_values import (
    BASES,
    CONTRADICTIONS,
    COUNTS,
    ELSEWHERE,
    GROUPS,
    LISTS,
    NEEDED,
    NOT_A_COUNT,
    NOT_A_GROUP,
    NOT_A_LIST,
    NOT_A_NAME,
    NOT_A_NUMBER,
    NOT_A_SWITCH,
    NUMBERS,
    POSITIVE,
    REFERENCES,
    SWITCHES,
    TARGETS,
    UNBALANCED,
    WORDS,
)

CONFIGS = ROOT / "configs"

GLOBAL = "# @package _global_\n"


@dataclass(frozen=True)
class Broken:
    """words: a command line of `train`. kind: in which way it is broken."""

    kind: str
    words: tuple[str, ...]


def broken_configs(seed: int, count: int, folder: Path) -> Iterator[Broken]:
    """Yield different broken configs, of each kind in turn; those that need a file find it below `folder`."""
    draw = random.Random(seed)
    files = _Files(folder)
    seen: set[tuple[str, ...]] = set()
    for make in itertools.cycle(KINDS):
        if len(seen) == count:
            return
        words, content = make(draw)
        # A kind of few possibilities leaves the rest of its turns to the others.
        if (key := (*words, content or "")) not in seen:
            seen.add(key)
            yield Broken(make.__name__, (*files.words(content), *words) if content is not None else words)


class _Files:
    """Writes each broken experiment into a folder of its own, as somebody's --config-dir."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def words(self, content: str) -> tuple[str, ...]:
        self.number += 1
        place = self.folder / f"{self.number}" / "experiment" / "mine.yaml"
        place.parent.mkdir(parents=True)
        place.write_text(content, encoding="utf-8")
        return ("--config-dir", str(place.parents[1]), "experiment=mine")


Made = tuple[tuple[str, ...], str | None]


def _keys_of(node: object, prefix: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _keys_of(value, f"{prefix}{key}.")


def _shipped_keys() -> set[str]:
    """Every key of every shipped file, at the places where its group can stand."""
    keys = set(_keys_of(yaml.safe_load((CONFIGS / "train.yaml").read_text())))
    for path in CONFIGS.glob("*/*.yaml"):
        group = path.parent.name
        places = ["", f"{group}.", f"pretrain.{group}."]
        places += ["trainer.", "pretrain.trainer."] if group == "training" else []
        for place in places:
            keys |= {group, f"pretrain.{group}", *_keys_of(yaml.safe_load(path.read_text()), place)}
    return keys


SHIPPED = _shipped_keys()
# Nodes that are passed on whole to what is built from them: a file may well add a key there.
CLOSED = sorted(
    key
    for key in (*COUNTS, *NUMBERS, *SWITCHES, *LISTS, *WORDS, "data.name", "paths.output_dir", "transfer.control")
    if not key.startswith(("callbacks", "logger"))
)


def _misspelt(draw: random.Random) -> str:
    """Change, leave out, add or swap letters of one part of a key, at any depth."""
    while True:
        parts = draw.choice(CLOSED).split(".")
        place = draw.randrange(len(parts))
        word = parts[place]
        at = draw.randrange(len(word))
        letter = draw.choice(string.ascii_lowercase + "_аé")
        parts[place] = draw.choice(
            [word[:at] + word[at + 1 :], word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :],
             word[:at] + word[at : at + 2][::-1] + word[at + 2 :], word + word, word.upper()]
        )  # fmt: skip
        key = ".".join(parts)
        if all(parts) and key not in SHIPPED and not any(known.startswith(f"{key}.") for known in SHIPPED):
            return key


def _nested(key: str, value: object) -> dict:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _in_file(key: str, text: str) -> str:
    """Write key and value, as text, as an experiment file."""
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(key.split("."))]
    return GLOBAL + "\n".join(lines) + f" {text}\n"


def _base(draw: random.Random) -> tuple[str, ...]:
    return draw.choice(BASES[:4])


def a_misspelt_key(draw: random.Random) -> Made:
    plus = draw.choice(["", "", "+", "++"])
    return (*_base(draw), f"{plus}{_misspelt(draw)}={draw.choice(['1', 'true', 'x', '[8]', 'null'])}"), None


def a_misspelt_key_in_a_file(draw: random.Random) -> Made:
    content = GLOBAL + yaml.safe_dump(_nested(_misspelt(draw), draw.choice([1, True, "x", [8]])), allow_unicode=True)
    return (), content


def _wrong(draw: random.Random) -> tuple[str, str]:
    keys, values = draw.choice(
        [(COUNTS, NOT_A_COUNT), (NUMBERS, NOT_A_NUMBER), (SWITCHES, NOT_A_SWITCH), (LISTS, NOT_A_LIST),
         (WORDS, ("nothing", "3", "[a]", "{a: 1}", "''", "ADAM ", "😀")), (("data.name", "transfer.name"), NOT_A_NAME)]
    )  # fmt: skip
    return draw.choice(keys), draw.choice(values)


def a_wrong_value(draw: random.Random) -> Made:
    key, value = _wrong(draw)
    return (*_base(draw), f"{key}={value}"), None


def a_wrong_value_in_a_file(draw: random.Random) -> Made:
    key, value = _wrong(draw)
    return (), _in_file(key, value)


def a_group_that_is_none(draw: random.Random) -> Made:
    return (), _in_file(draw.choice(GROUPS), draw.choice(NOT_A_GROUP))


def a_number_out_of_range(draw: random.Random) -> Made:
    key = draw.choice(POSITIVE)
    huge = (
        str(2**31 + draw.randrange(10**6)),
        "9" * draw.randrange(25, 6000),
        f"-{draw.randrange(1, 10**9)}",
        "-0",
        "0",
    )
    return (*_base(draw), f"{key}={draw.choice(huge if key != 'optimizer.lr' else huge[2:])}"), None


def a_fraction_out_of_range(draw: random.Random) -> Made:
    value = draw.choice([0, 1, round(draw.uniform(1, 9), 3), round(draw.uniform(-9, 0), 3), "1e300", 10**30])
    return (*_base(draw), f"{draw.choice(['data', 'pretrain.data'])}.val_fraction={value}"), None


def a_bad_reference(draw: random.Random) -> Made:
    key, value = draw.choice([*COUNTS, *NUMBERS, *SWITCHES]), draw.choice(REFERENCES)
    if draw.random() < 0.5:
        return (), _in_file(key, f'"{value}"')
    return (*_base(draw), f"{key}={value}"), None


def a_reference_to_itself(draw: random.Random) -> Made:
    key, other = draw.sample(["data.batch_size", "trainer.max_epochs", "encoder.latent_dim", "seed", "data.pad"], 2)
    return (*_base(draw), f"{key}=${{{other}}}", f"{other}=${{{key}}}"), None


def an_unbalanced_bracket(draw: random.Random) -> Made:
    return (*_base(draw), f"{draw.choice(COUNTS)}={draw.choice(UNBALANCED)}"), None


def a_needed_key_left_out(draw: random.Random) -> Made:
    return (*_base(draw), f"~{draw.choice(NEEDED)}"), None


def a_duplicate_key(draw: random.Random) -> Made:
    key = draw.choice([key for key in CLOSED if key.count(".") == draw.choice([0, 1])] or ["seed"])
    content = _in_file(key, "1")
    last = content.splitlines()[-1]
    return (), f"{content}{last}{draw.randrange(10**6)}\n"


def a_choice_that_is_none(draw: random.Random) -> Made:
    group = draw.choice(
        ["data", "encoder", "model", "head", "transfer", "trainer", "callbacks", "logger", "experiment"]
    )
    own = {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    others = {path.stem for path in CONFIGS.glob("*/*.yaml")} - own
    choice = draw.choice([*sorted(others), *(f"{name}{draw.choice('xyz_')}" for name in sorted(own)), "..", "null"])
    if draw.random() < 0.3:
        # An experiment that overrides the experiment says nothing: the command line has chosen it.
        means_nothing = group == "experiment" or choice in ("null", "..")
        return (), f"{GLOBAL}- 1" if means_nothing else f"{GLOBAL}defaults: [override /{group}: {choice}]\n"
    return (*_base(draw), f"{group}={choice}"), None


def a_group_that_there_is_not(draw: random.Random) -> Made:
    name = draw.choice(["dat", "models", "encoders", "datas", "arm", "optim", "trainers", "heads", "hydra/nothing"])
    return (*_base(draw), f"{name}={draw.choice(['mnist', 'ae', 'cpu', 'x'])}{draw.randrange(99)}"), None


def code_from_elsewhere(draw: random.Random) -> Made:
    key, target = draw.choice(TARGETS), draw.choice(ELSEWHERE)
    if draw.random() < 0.5:
        return (), _in_file(key.lstrip("+"), f'"{target}"')
    return (*_base(draw), f"{key}={target}"), None


def a_file_that_allows_itself_code(draw: random.Random) -> Made:
    package = draw.choice(["os", "subprocess", "builtins", "my_lab", "shutil", "torch"])
    return (
        (),
        f"{GLOBAL}allow: [{package}]\nencoder: {{_target_: {package}.{draw.choice(['system', 'run', 'load'])}}}\n",
    )


def a_text_that_is_no_yaml(draw: random.Random) -> Made:
    path = draw.choice(sorted((CONFIGS / "experiment").glob("*.yaml")))
    whole = path.read_text(encoding="utf-8")
    while True:
        at = draw.randrange(len(GLOBAL), len(whole))
        junk = draw.choice(
            ["\t", "[", "{", '"', "'", ": :", "&", "*", "!", "@", "`", "%", "- ", "\x00", "\x1b", "\n  - x\n y"]
        )
        text = whole[:at] + junk + whole[at:]
        try:
            yaml.safe_load(text)
        except yaml.YAMLError:
            return (), text


def sizes_that_contradict(draw: random.Random) -> Made:
    words = draw.choice(CONTRADICTIONS)
    odd, many = draw.choice([1, 3, 5, 7, 8, 11]), draw.randrange(1, 500)
    return tuple(word.format(odd=odd, many=many) for word in words), None


def a_sweep_with_one_bad_value(draw: random.Random) -> Made:
    key, value = draw.choice(COUNTS), draw.choice(["-1", "abc", "1.5", "true", str(2**40)])
    good = ["1"] * draw.randrange(1, 3)
    good.insert(draw.randrange(len(good) + 1), value)
    return ("-m", *_base(draw), f"{key}={','.join(good)}"), None


def a_flag_that_there_is_not(draw: random.Random) -> Made:
    word = "".join(draw.choices(string.ascii_lowercase, k=draw.randrange(3, 9)))
    return (
        *_base(draw),
        draw.choice([f"--{word}x", f"--config-dir=/no/{word}", f"--config-name={word}", word, f"={word}"]),
    ), None


KINDS: list[Callable[[random.Random], Made]] = [
    a_misspelt_key, a_misspelt_key_in_a_file, a_wrong_value, a_wrong_value_in_a_file, a_group_that_is_none,
    a_number_out_of_range, a_fraction_out_of_range, a_bad_reference, a_reference_to_itself, an_unbalanced_bracket,
    a_needed_key_left_out, a_duplicate_key, a_choice_that_is_none, a_group_that_there_is_not, code_from_elsewhere,
    a_file_that_allows_itself_code, a_text_that_is_no_yaml, sizes_that_contradict, a_sweep_with_one_bad_value,
    a_flag_that_there_is_not,
]  # fmt: skip
