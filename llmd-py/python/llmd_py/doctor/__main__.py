"""`python -m llmd_py.doctor URL [URL]`: an engine, or one that prefills and one that decodes.

Exit codes: 0 when nothing is wrong, 1 when something is, 2 when the arguments are.
"""

from __future__ import annotations

import argparse
import os
import sys
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from llmd_py.doctor import report
from llmd_py.doctor.checkup import WITHIN, check_up
from llmd_py.doctor.engine import Engine
from llmd_py.doctor.finding import Finding, Level

__all__ = ["main"]

ALONE = ("engine",)
PAIR = ("prefill", "decode")
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the engines that the arguments name, by default the command line's: the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if len(asked.urls) > len(PAIR):
        parser.error(f"{len(asked.urls)} URLs, expected an engine's, or a prefiller's and a decoder's")
    if not asked.timeout > 0:
        parser.error(f"--timeout {asked.timeout:g}, expected more than 0")
    names = ALONE if len(asked.urls) == 1 else PAIR
    engines = [Engine(name, url, asked.api_key_file) for name, url in zip(names, asked.urls, strict=True)]
    findings: list[Finding] = []
    try:
        for finding in check_up(engines, asked.timeout):
            findings.append(finding)
            if not asked.json:
                print(report.line(finding), flush=True)
        print(report.to_json(findings) if asked.json else report.summary(findings), flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read this has enough; nothing more is to be written when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if any(finding.level is Level.WRONG for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m llmd_py.doctor",
        description="Finds what is set wrong on a vLLM engine, or on one that prefills and one that decodes. It sends a few short prompts.",
        epilog="Exit codes: 0 when nothing is wrong, 1 when something is, 2 when the arguments are.",
    )
    parser.add_argument("urls", metavar="URL", nargs="+", type=_url, help="http://HOST:PORT of an engine; of two, the first prefills")
    parser.add_argument("--json", action="store_true", help="print one object of JSON at the end")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=WITHIN, help="how long each check may take, %(default)g by default")
    parser.add_argument("--api-key-file", metavar="FILE", type=_key, help="holds the key of the engines' API, where they want one")
    return parser


def _url(text: str) -> str:
    try:
        parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL, expected http://HOST:PORT")
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def _key(path: str) -> str:
    try:
        key = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from error
    if not key.isascii() or not key.isprintable() or not key:
        raise argparse.ArgumentTypeError(f"{path} holds no key")
    return key


if __name__ == "__main__":
    sys.exit(main())
