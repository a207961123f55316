"""What the checks of every official client share: the list of them, and the run with its report.

CHECK_OVER says what the vendor behind the gateway is asked in: `chats`, `messages` or `responses`.
"""

import asyncio
import base64
import inspect
import os
import struct
import traceback
import zlib

OVER = os.environ.get("CHECK_OVER", "chats")
CHECKS = []
NEEDS = {}


def check(function=None, *, needs=None):
    """Adds a check; its name is the function's. It is skipped where the vendor lacks what it `needs`."""
    if function is None:
        return lambda function: check(function, needs=needs)
    CHECKS.append(function)
    NEEDS[function] = needs
    return function


def user(content):
    return [{"role": "user", "content": content}]


def png():
    """A picture of one dot, in Base64, and the words in which the vendor tells that it has come."""

    def part(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    dot = zlib.compress(b"\0\0")
    image = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", size) + part(b"IDAT", dot) + part(b"IEND", b"")
    return base64.b64encode(image).decode(), f"showed image/png of {len(image)} bytes"


def raises(base, kind, call):
    """The exception of just this kind, one of the client's own, that the call ends in."""
    try:
        answer = call()
    except base as error:
        assert type(error) is kind, f"expected {kind.__name__}, got {error!r}"
        return error
    raise AssertionError(f"expected {kind.__name__}, got {answer!r}")


def run(client, lacks):
    """Runs the checks and prints how each went; the exit status is 0 if all passed that were not to be skipped.

    `lacks` tells for each value of CHECK_OVER what cannot be had there, and why.
    """
    needed = {need for need in NEEDS.values() if need is not None}
    unknown = [need for over in lacks.values() for need in over if need not in needed]
    assert not unknown, f"no check needs {unknown}"
    passed, failed, skipped = 0, 0, 0
    for function in CHECKS:
        missing = lacks[OVER].get(NEEDS[function])
        if missing is not None:
            skipped += 1
            print(f"skipped {function.__name__}: {missing}", flush=True)
            continue
        try:
            asyncio.run(function()) if inspect.iscoroutinefunction(function) else function()
        except Exception:
            failed += 1
            print(f"FAILED {function.__name__}\n{traceback.format_exc()}", flush=True)
        else:
            passed += 1
            print(f"ok {function.__name__}", flush=True)
    version = f"{client.__name__} {client.__version__} over {OVER}"
    print(f"{version}: {passed} of {passed + failed} checks passed, {skipped} skipped", flush=True)
    return 1 if failed else 0
