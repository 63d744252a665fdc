"""Pages that SGLang's HiCache gives up are kept within a bound, and come back as they were or not at all.

The store itself is driven by SGLang's own classes where `SGLANG` names a folder that has them, and torch is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest
from llmd_py.errors import InvalidError
from llmd_py.sglang.pages import Pages
from programs import DEADLINE

PAGE = 96


def page(seed: int) -> bytes:
    return Random(seed).randbytes(PAGE)


def put(pages: Pages, key: str, content: bytes) -> bool:
    return pages.set(key, [memoryview(content)[:40], memoryview(content)[40:]])


def took(pages: Pages, key: str, size: int = PAGE) -> bytes | None:
    into = bytearray(size)
    return bytes(into) if pages.get(key, [memoryview(into)[:64], memoryview(into)[64:]]) else None


def test_a_page_comes_back_however_it_is_cut() -> None:
    pages = Pages(10 * PAGE)

    assert put(pages, "a", page(1))
    assert took(pages, "a") == page(1)
    assert took(pages, "b") is None
    assert pages.counts == {"set": 1, "got": 1, "missed": 1}


def test_the_page_that_was_used_longest_ago_makes_room() -> None:
    pages = Pages(3 * PAGE + 1)
    for key in "abc":
        put(pages, key, page(ord(key)))
    took(pages, "a")
    put(pages, "d", page(4))

    assert [key in pages for key in "abcd"] == [True, False, True, True]
    assert (len(pages), pages.counts["dropped"]) == (3, 1)


def test_it_is_as_a_model_has_it() -> None:
    chance, pages, slots = Random(7), Pages(8 * PAGE), 8
    model: dict[str, bytes] = {}
    for step in range(4000):
        key = f"k{chance.randrange(16)}"
        if chance.random() < 0.5:
            content = model.pop(key, None) or page(step)
            assert put(pages, key, page(step))
            if len(model) == slots:
                del model[next(iter(model))]
            model[key] = content
        else:
            expected = model.pop(key, None)
            assert took(pages, key) == expected
            if expected is not None:
                model[key] = expected
        assert len(pages) == len(model)
    assert pages.counts["dropped"] > 100


def test_a_page_that_changed_is_not_given_and_not_kept() -> None:
    pages = Pages(4 * PAGE)
    put(pages, "a", page(1))
    put(pages, "b", page(2))
    pages._memory[PAGE // 2] ^= 1

    assert took(pages, "a") is None
    assert "a" not in pages
    assert took(pages, "b") == page(2)
    assert pages.counts["corrupt"] == 1


def test_a_page_of_another_size_is_refused() -> None:
    pages = Pages(4 * PAGE)
    put(pages, "a", page(1))

    assert not put(pages, "b", page(2) * 2)
    assert took(pages, "a", 2 * PAGE) is None
    assert took(pages, "a") == page(1)
    assert pages.counts["refused"] == 2
    assert not put(Pages(PAGE - 1), "a", page(1))
    with pytest.raises(InvalidError, match="0 bytes"):
        Pages(0)


def test_leading_pages_are_counted_and_forgotten() -> None:
    pages = Pages(4 * PAGE)
    for key in "abd":
        put(pages, key, page(ord(key)))

    assert pages.leading(list("abcd")) == 2
    pages.clear()
    assert pages.leading(list("abcd")) == 0
    assert all(put(pages, key, page(ord(key))) for key in "wxyz")
    assert pages.counts["dropped"] == 0


def test_threads_never_see_half_of_a_page() -> None:
    pages, wrong = Pages(4 * PAGE), []
    expected = {f"k{n}": page(n) for n in range(8)}

    def work(seed: int) -> None:
        chance = Random(seed)
        for _ in range(1500):
            key = f"k{chance.randrange(8)}"
            put(pages, key, expected[key])
            if took(pages, key) not in (None, expected[key]):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)

    assert not wrong
    assert pages.counts["corrupt"] == 0


def test_the_store_is_one_of_sglangs() -> None:
    sglang = os.environ.get("SGLANG")
    if not sglang:
        pytest.skip("SGLANG names no folder with SGLang 0.5.23's sglang/srt/mem_cache")
    driver = Path(__file__).with_name("sglang_store.py")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([sglang, *sys.path]))

    done = subprocess.run([sys.executable, str(driver)], capture_output=True, text=True, timeout=DEADLINE * 3, env=environment, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
