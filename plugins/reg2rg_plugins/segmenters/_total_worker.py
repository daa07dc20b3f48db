"""TotalSegmentator in its own Python: started by `totalsegmentator.py`, which passes this file's text to `python -c`.

Argument: settings as JSON (weights, device, download). It answers one line of JSON for each line that it reads: first that it
is ready, then {"labels": {"1": "spleen", …}} for {"task", "fast", "input", "output"}, when the label map lies at `output`.
What the package prints goes to stderr. It sends no usage statistics, leaves the user's settings of the package alone, and
reaches no other machine unless `download` is true. It imports nothing of reg2rg and runs on Python 3.9 and later.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = ("127.0.0.1", "::1", "localhost")


def stay_offline(refused: list[str]) -> None:
    """Refuses connections to other machines and looking up their names; `refused` collects them."""
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in HERE:
            refused.append(str(address[0]))
            raise OSError("no connection is made without the option download=true")
        connect(self, address)

    def look_up_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host and host not in HERE:
            refused.append(str(host))
            raise socket.gaierror("no name is looked up without the option download=true")
        return look_up(host, *args, **kwargs)

    socket.socket.connect = connect_here  # type: ignore[assignment,method-assign]
    socket.getaddrinfo = look_up_here


def settle(home: str, settings: dict[str, Any]) -> None:
    """Settings of the package for this process alone: no statistics, no notices, weights from their folder."""
    config = {
        "totalseg_id": "none",
        "send_usage_stats": False,
        "prediction_counter": 0,
        "statistics_disclaimer_shown": True,
    }
    (Path(home) / "config.json").write_text(json.dumps(config), encoding="utf-8")
    os.environ["TOTALSEG_HOME_DIR"] = home
    os.environ["TOTALSEG_WEIGHTS_PATH"] = settings["weights"]


def segment(asked: dict[str, Any], device: str) -> dict[str, Any]:
    """Runs one task on one file."""
    from totalsegmentator.map_to_binary import class_map
    from totalsegmentator.python_api import totalsegmentator

    image = totalsegmentator(
        asked["input"],
        None,
        ml=True,
        task=asked["task"],
        fast=asked["fast"],
        device=device,
        quiet=True,
        nr_thr_resamp=1,
        nr_thr_saving=1,
    )
    image.to_filename(asked["output"])
    return {"labels": {str(label): name for label, name in class_map[asked["task"]].items()}}


def main() -> None:
    """Says that it is ready, and answers until there is no more to read."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    settings, refused = json.loads(sys.argv[1]), []  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory() as home:
        try:
            settle(home, settings)
            if not settings["download"]:
                stay_offline(refused)
            import totalsegmentator.python_api  # noqa: F401 - what is missing is said before the first scan

            answers.write("{}\n")
            answers.flush()
            for line in requests:
                answers.write(json.dumps(segment(json.loads(line), settings["device"])) + "\n")
                answers.flush()
        except (Exception, SystemExit) as error:  # the package ends the program where a licence is missing
            text = type(error).__name__ + ": " + (" ".join(str(error).split()) or "no reason given")[:300]
            if refused:
                text = f"it wanted to fetch weights from {refused[-1]}, which it doesn't find; --set download=true lets it"
            answers.write(json.dumps({"error": text}) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
