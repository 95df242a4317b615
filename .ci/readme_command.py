"""Prints the n-th shell command of the README's "Set up" section."""

import re
import sys
from pathlib import Path

readme = (Path(__file__).parent.parent / "README.md").read_text()
section = readme.split("## Set up", 1)[1].split("\n## ", 1)[0]
commands = re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)
assert len(commands) == 2, "the README opens with exactly two set-up commands"
print(commands[int(sys.argv[1]) - 1])
