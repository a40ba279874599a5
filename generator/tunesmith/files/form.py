"""How text is stored: signature, line ends, final newline. Editors change these on their own, and none is an edit."""

import re
from typing import NamedTuple

_SIGNATURES = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def plain(content: bytes) -> bytes:
    """The text of a file as Tunesmith stores it: UTF-8 without signature, every line ended by LF.

    What is no text stays as it is.
    """
    body = _form(content).body
    if b"\0" in body:
        return content
    text = body.replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") or not text else text + b"\n"


def formed(text: bytes, like: bytes) -> bytes:
    """Plain `text` stored as the content `like` is, of which `formed(plain(like), like)` makes the same bytes."""
    form = _form(like)
    if b"\0" in form.body:
        return text
    if form.body and not form.body.endswith(b"\n"):
        text = text.removesuffix(b"\n")
    ends = form.body.count(b"\r\n")
    if ends and ends == form.body.count(b"\n"):
        text = text.replace(b"\n", b"\r\n")
    elif ends:
        text = _with_ends_of(form.body, text)
    if form.codec is not None:
        text = text.decode("utf-8").encode(form.codec)
    return form.signature + text


class _Form(NamedTuple):
    """A content without its signature.

    Attributes:
        codec: What it is stored in; None where its bytes are the body's.
        body: In UTF-8, if it is stored in another Unicode.
    """

    signature: bytes
    codec: str | None
    body: bytes


def _form(content: bytes) -> _Form:
    for signature, codec in _SIGNATURES.items():
        if not content.startswith(signature):
            continue
        body = content.removeprefix(signature)
        if codec == "utf-8":
            return _Form(signature, None, body)
        try:
            return _Form(signature, codec, body.decode(codec).encode("utf-8"))
        except UnicodeError:
            break  # those bytes by chance
    return _Form(b"", None, content)


def _with_ends_of(body: bytes, text: bytes) -> bytes:
    """`text` with the line ends of `body`, some of which are CRLF: each line's own, and what most have for new lines."""
    import difflib

    old, new = _lines(body), _lines(text)
    usual = b"\r\n" if body.count(b"\r\n") * 2 > body.count(b"\n") else b"\n"
    ended = [line[:-1] + usual if line.endswith(b"\n") else line for line in new]
    known = [line.replace(b"\r\n", b"\n") for line in old]
    for match in difflib.SequenceMatcher(None, known, new, autojunk=False).get_matching_blocks():
        ended[match.b : match.b + match.size] = old[match.a : match.a + match.size]
    return b"".join(ended)


def _lines(content: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", content)
