"""What --help says of a command: its docstring, and for each key the sentence that stands in the config file."""

import re
from collections.abc import Callable
from textwrap import fill

from aetransfer.config.plugins import config_directory

WIDTH = 80
# A key with what it is set to, or a group with the option that is chosen; and the sentence behind it.
ENTRY = re.compile(r"(?:  (?:# )?- (?P<group>\w+)|(?P<key>\w+)): (?P<value>.*?)\s+# (?P<sentence>.+)")


def help_of(doc: str, config_name: str, options_of: Callable[[str], list[str]]) -> str:
    """Return the text. doc: how the command is used, with examples. options_of: lists what a group can be set to."""
    lines = (config_directory() / f"{config_name}.yaml").read_text().splitlines()
    entries = [found for line in lines if (found := ENTRY.fullmatch(line))]
    groups = [_entry(f"{each['group']}=NAME", _with_options(each, options_of)) for each in entries if each["group"]]
    keys = [_entry(f"{each['key']}={_shown(each['value'])}", each["sentence"]) for each in entries if each["key"]]
    more = "--cfg job prints the whole config. --hydra-help lists the flags of Hydra, which reads the command line."
    parts = [doc.strip(), ""]
    if groups:
        parts += ["Groups, each a choice of settings:", *groups, ""]
    return "\n".join([*parts, "Keys:", *keys, "", fill(more, WIDTH)])


def _with_options(found: re.Match[str], options_of: Callable[[str], list[str]]) -> str:
    default = "" if found["value"] == "null" else f" Default: {found['value']}."
    return f"{found['sentence']}.{default} One of {', '.join(options_of(found['group']))}."


def _shown(value: str) -> str:
    return "..." if value == "???" else value


def _entry(name: str, sentence: str) -> str:
    first = f"  {name:<20}" if len(name) < 20 else f"  {name}  "
    return fill(sentence, WIDTH, initial_indent=first, subsequent_indent=" " * 22, break_on_hyphens=False)
