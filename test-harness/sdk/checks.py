"""What the checks of every official client share: the list of them, and the run with its report."""

import asyncio
import inspect
import traceback

CHECKS = []


def check(function):
    """Adds a check; its name is the function's."""
    CHECKS.append(function)
    return function


def user(text):
    return [{"role": "user", "content": text}]


def raises(base, kind, call):
    """The exception of just this kind, one of the client's own, that the call ends in."""
    try:
        answer = call()
    except base as error:
        assert type(error) is kind, f"expected {kind.__name__}, got {error!r}"
        return error
    raise AssertionError(f"expected {kind.__name__}, got {answer!r}")


def run(client):
    """Runs all checks and prints how each went; the exit status is 0 if all passed."""
    failed = 0
    for function in CHECKS:
        try:
            asyncio.run(function()) if inspect.iscoroutinefunction(function) else function()
        except Exception:
            failed += 1
            print(f"FAILED {function.__name__}\n{traceback.format_exc()}", flush=True)
        else:
            print(f"ok {function.__name__}", flush=True)
    version = f"{client.__name__} {client.__version__}"
    print(f"{version}: {len(CHECKS) - failed} of {len(CHECKS)} checks passed", flush=True)
    return 1 if failed else 0
