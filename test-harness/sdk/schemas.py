"""Writes the fields of the published request schemas, as the official clients have them as types.

A file has one path a line: `.name` for a member, `[]` for the elements of a list, `<x>` for the alternative of a
union whose `type` (or, in messages of chats, `role`) is x. An alternative is a line, and so is whatever a value can
stand for; objects and lists are there by what is in them. Alternatives without such a name share their members. JSON of
the client's own, such as a schema, has no members here, and a type that is nested in itself is not entered again.

    python schemas.py <folder>            writes chat.txt, messages.txt and responses.txt
    python schemas.py --check <folder>    compares them, and fails where they differ
"""

import collections.abc
import pathlib
import sys
import types
import typing

import anthropic
import anthropic.types.beta.message_create_params as beta_messages
import anthropic.types.message_create_params as messages
import openai
import openai.types.chat.completion_create_params as chat
import openai.types.responses.response_create_params as responses
import typing_extensions

LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)
# Arguments of the client's methods that it sends as headers.
HEADERS = {"betas", "user_profile_id", "workspace_id"}


def kinds(hint):
    """What a value may be: the alternatives of nested unions, and nothing of what only annotates them."""
    origin = typing_extensions.get_origin(hint)
    if origin in (typing_extensions.Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        return kinds(typing_extensions.get_args(hint)[0])
    if isinstance(hint, typing_extensions.TypeAliasType):
        return kinds(hint.__value__)
    if origin in (typing.Union, types.UnionType):
        return [kind for alternative in typing_extensions.get_args(hint) for kind in kinds(alternative)]
    return [] if hint is type(None) else [hint]


def element(kind):
    """What a list is of; None if it is no list."""
    origin = typing_extensions.get_origin(kind)
    if isinstance(origin, type) and (origin in LISTS or origin.__name__ == "SequenceNotStr"):
        return typing_extensions.get_args(kind)[0]
    return None


def members(kind):
    return typing_extensions.get_type_hints(kind, include_extras=True)


def discriminator(kinds_of_object):
    """The member by which these objects are told apart."""
    names = (name for name in ("type", "role") if any(words(kind, name) for kind in kinds_of_object))
    return next(names, None)


def words(kind, name):
    """What a member can be, if only some words."""
    found = kinds(members(kind).get(name, object))
    if not all(typing_extensions.get_origin(one) is typing_extensions.Literal for one in found):
        return []
    return [word for one in found for word in typing_extensions.get_args(one)]


def walk(path, hint, entered, out):
    found = kinds(hint)
    objects = [kind for kind in found if typing_extensions.is_typeddict(kind)]
    for kind in found:
        inner = element(kind)
        if inner is not None:
            walk(f"{path}[]", inner, entered, out)
        elif kind not in objects or kind in entered:
            out.add(path)
    name = discriminator(objects) if len(objects) > 1 else None
    for kind in objects:
        if kind in entered:
            continue
        alternatives = words(kind, name) if name else []
        for place in [f"{path}<{word}>" for word in alternatives] or [path]:
            if alternatives:
                out.add(place)
            for member, inner in members(kind).items():
                if not alternatives or member != name:
                    walk(f"{place}.{member}", inner, entered | {kind}, out)


def fields(*requests):
    """The paths of some requests that are of one API."""
    out = set()
    for request in requests:
        for name, hint in members(request).items():
            if name not in HEADERS:
                walk(name, hint, frozenset(), out)
    return out


def of_beta(known):
    """Members that only requests with a beta header have. What is in them changes too often to be listed."""
    tops = {path.partition(".")[0].partition("[")[0].partition("<")[0] for path in known}
    names = (name for kind in kinds(beta_messages.MessageCreateParams) for name in members(kind))
    return {name for name in names if name not in tops | HEADERS}


def schemas():
    message = fields(*kinds(messages.MessageCreateParams))
    return {
        "chat.txt": (openai, fields(*kinds(chat.CompletionCreateParams))),
        "messages.txt": (anthropic, message | of_beta(message)),
        "responses.txt": (openai, fields(*kinds(responses.ResponseCreateParams))),
    }


def main(arguments):
    checks = arguments[:1] == ["--check"]
    if len(arguments) != 1 + checks:
        sys.exit(__doc__)
    folder = pathlib.Path(arguments[-1])
    stale = []
    for name, (package, paths) in schemas().items():
        lines = [f"# {package.__title__} {package.__version__}", *sorted(paths)]
        text = "".join(f"{line}\n" for line in lines)
        if not checks:
            (folder / name).write_text(text)
        elif not (folder / name).exists() or (folder / name).read_text() != text:
            stale.append(name)
    if stale:
        sys.exit(f"not as the clients have them: {', '.join(stale)}")


if __name__ == "__main__":
    main(sys.argv[1:])
