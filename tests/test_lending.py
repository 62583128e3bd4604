"""An array must not be freed while a kernel uses one that is lent from it: it would read what others write there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

import npsubpix
from tests.lending import errors_in

PACKAGE = Path(npsubpix.__file__).parent


def sources() -> dict[str, str]:
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for path in (PACKAGE / "_cpu").rglob("*.py")
    }


def test_kernels_keep_what_they_lend():
    assert errors_in(sources()) == []


def test_no_kernel_keeps_an_array_for_nothing():
    """Without any one of them the check fails, so that it sees every loan that is there."""
    kept = 0
    for module, text in sources().items():
        for found in re.finditer(r"^ +(keep\(\w+\))$", text, re.MULTILINE):
            kept += 1
            assert errors_in({module: text[: found.start(1)] + "pass" + text[found.end(1) :]}), found[1]
    assert kept > 20


RIGHT = {
    "from the loan to the last use": """
        def f(n):
            own = np.empty(n)
            a = lend(own)
            fill(a)
            keep(own)
    """,
    "in each turn of a loop": """
        def f(x, out):
            for k in prange(len(x)):
                own = np.empty(9)
                a, image = lend(own), lend(x)
                for i in range(3):
                    if fill(a, image[k]):
                        continue
                    out[k] = a.sum() + 1
                keep(own)
            keep(x)
    """,
    "by the caller": """
        @device
        def first(x):
            return lend(x)[0]

        def f(x):
            a = first(x)
            fill(a)
            keep(x)
    """,
    "all of a tuple": """
        @device
        def lend_all(x):
            return lend_to_read(x[0]), lend_to_read(x[1])

        def f(images):
            fill(lend_all(images))
            for image in literal_unroll(images):
                keep(image)
    """,
}

WRONG = {
    "not at all": ("does not keep own", """
        def f(n):
            own = np.empty(n)
            a = lend(own)
            fill(a)
    """),
    "another": ("does not keep own", """
        def f(n):
            own, other = np.empty(n), np.empty(n)
            a = lend(own)
            fill(a)
            keep(other)
    """),
    "too early": ("uses a, lent from own, where it is not kept", """
        def f(n):
            own = np.empty(n)
            a = lend(own)
            keep(own)
            fill(a)
    """),
    "too early for a part of it": ("uses line, lent from own, where it is not kept", """
        def f(n):
            own = np.empty((2, n))
            a, b = lend(own), n
            line, other = a.reshape(2 * n)[3:], b
            keep(own)
            fill(line)
    """),
    "too early for what a call may return of it": ("uses best, lent from own, where it is not kept", """
        def f(n):
            own = np.empty(n)
            best = find(lend(own), n)
            keep(own)
            return best
    """),
    "too early for what a list holds": ("uses parts, lent from own, where it is not kept", """
        def f(n):
            own, parts = np.empty(n), []
            parts.append(lend(own))
            keep(own)
            fill(parts)
    """),
    "on one way only": ("does not keep own", """
        def f(n):
            own = np.empty(n)
            a = lend(own)
            fill(a)
            if n > 3:
                keep(own)
    """),
    "not on the way of a return": ("goes on without keeping own", """
        def f(n):
            own = np.empty(n)
            a = lend(own)
            if n > 3:
                return a.sum()
            keep(own)
    """),
    "not on the way of a continue": ("goes on without keeping own", """
        def f(x):
            for k in range(9):
                own = np.empty(k)
                a = lend(own)
                if fill(a):
                    continue
                keep(own)
    """),
    "not in the turn of the loop": ("keeps own outside of the loop that makes it", """
        def f(x):
            for k in prange(9):
                own = np.empty(k)
                fill(lend(own))
            keep(own)
    """),
    "in the next turn of the loop": ("uses a, lent from own, where it is not kept", """
        def f(x):
            a = x
            for k in range(9):
                fill(a)
                own = np.empty(k)
                a = lend(own)
                keep(own)
    """),
    "under a name that is another array's": ("gives the name own away before it is kept", """
        def f(n):
            own = np.empty(n)
            a = lend(own)
            own = np.empty(n)
            fill(a)
            keep(own)
    """),
    "no name": ("lends an array that has no name", """
        def f(n):
            fill(lend(np.empty(n)))
    """),
    "own array of a function that returns it": ("does not keep own", """
        @device
        def f(n):
            own = np.empty(n)
            return lend(own)
    """),
    "argument that is not kept where it comes from": ("g: does not keep own", """
        @device
        def f(x):
            return lend(x)

        def g(n):
            own = np.empty(n)
            fill(f(own))
    """),
    "windows": ("g: does not keep own", """
        def cutter(size):
            window = window_of(size)

            @device
            def cut(x, k):
                return window(x, (k,))

            return cut

        def make(size):
            cut = cutter(size) if size else None

            def g(n):
                own = np.empty(n)
                fill(cut(own, 3))
    """),
    "by its module": ("does not keep own", """
        def f(n):
            own = np.empty(n)
            fill(intrinsics.lend(own))
    """),
}  # fmt: skip

HEAD = "from npsubpix._cpu.compiler.intrinsics import keep, lend, lend_to_read, window_of\n"


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT)
def test_kept(source):
    assert errors_in({"a": HEAD + textwrap.dedent(source)}) == []


@pytest.mark.parametrize(("message", "source"), WRONG.values(), ids=WRONG)
def test_not_kept(message, source):
    errors = errors_in({"a": HEAD + textwrap.dedent(source)})
    assert any(error.endswith(message) for error in errors), errors


def test_functions_that_lend_are_known_where_they_are_imported():
    lender = HEAD + "@device\ndef first(x):\n    return lend(x[0])\n"
    user = "from npsubpix._cpu.lender import first as cut\ndef f(n):\n    own = np.empty(n)\n    fill(cut(own))\n"
    errors = errors_in({"npsubpix._cpu.user": user, "npsubpix._cpu.lender": lender})
    assert errors == ["npsubpix._cpu.user, line 4, f: does not keep own"]
