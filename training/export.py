"""A run's last state -> the folder that ships: float16 weights, config.json and the tokenizer.

python -m training.export RUN OUT
"""

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console

from training import model

MOST = 60_000_000  # bytes


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("out", type=Path, help="folder to write")
    options = parser.parse_args()
    settings = json.loads((options.run / "options.json").read_text())
    state = torch.load(options.run / "state.pt", weights_only=True)
    size = model.export(state["model"], Path(settings["base"]), settings["layers"], options.out)
    Console().print(f"{options.out}: step {state['step']:,}, {size / 1e6:.1f} MB")
    if size > MOST:
        parser.error(f"{size:,} bytes are more than the {MOST:,} that ship: trim to fewer pieces")


if __name__ == "__main__":
    main()
