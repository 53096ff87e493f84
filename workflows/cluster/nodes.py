"""Node statuses of a Workflow object, in each form in which the controller stores them.

`status.nodes` as it is; `status.compressedNodes`, base64 of gzip, zstd or brotli; or neither, when
`status.offloadNodeStatusVersion` names a row of the controller's database. They are read as a
stream: of a workflow of any size only a few nodes are in memory at once.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from mdpipe.failures import InputError, UsageError

Node = dict[str, Any]
Form = Literal["none", "plain", "gzip", "zstd", "brotli", "offloaded"]

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PIECE = 1 << 18
"""Bytes of a stream, compressed or not, that are looked at together."""

NODES_KEY = '"nodes":'
"""How the nodes begin in the text of an object; inside a JSON string its quotes are escaped."""


def form_of(status: Mapping[str, Any]) -> Form:
    """Say in which form a workflow has its nodes.

    Parameters
    ----------
    status : mapping
        The `status` of a Workflow object.

    Returns
    -------
    str
        `none` before the controller has looked at it.
    """
    if status.get("nodes"):
        return "plain"
    if packed := status.get("compressedNodes"):
        head = _unpack(str(packed)[:8])
        if head.startswith(GZIP_MAGIC):
            return "gzip"
        return "zstd" if head.startswith(ZSTD_MAGIC) else "brotli"
    return "offloaded" if status.get("offloadNodeStatusVersion") else "none"


def iterate_nodes(status: Mapping[str, Any]) -> Iterator[Node]:
    """Yield the nodes that a Workflow object carries, compressed or not.

    Parameters
    ----------
    status : mapping
        The `status` of a Workflow object; not an offloaded one.

    Yields
    ------
    dict
        A node status.

    Raises
    ------
    InputError
        If the compressed nodes are damaged.
    UsageError
        If the library of their compression is not installed.
    """
    if nodes := status.get("nodes"):
        yield from nodes.values()
        return
    form = form_of(status)
    if form in {"none", "offloaded"}:
        return
    packed = _unpack(str(status["compressedNodes"]))
    try:
        yield from parse_nodes(_texts(_DECOMPRESSORS[form](packed)))
    except InputError as error:
        raise InputError(f"status.compressedNodes ({form}): {error}") from error


def parse_nodes(pieces: Iterable[str]) -> Iterator[Node]:
    """Yield the values of a JSON object as they come.

    Parameters
    ----------
    pieces : iterable of str
        The text of `{"id": {…}, …}`, cut anywhere; what follows its end is not read.

    Yields
    ------
    dict
        A value.

    Raises
    ------
    InputError
        If the text is not such an object or ends early.
    """
    decode = json.JSONDecoder().raw_decode
    source = iter(pieces)
    text, at = "", 0
    for piece in source:
        text, at = text + piece, 0
        if text.lstrip():
            break
    text = text.lstrip()
    if not text.startswith("{"):
        raise InputError(f"the nodes must be a JSON object, got {text[:20]!r}")
    at = 1
    while True:
        try:
            at = _skip(text, at, ", \t\r\n")
            if text[at] == "}":
                return
            _, after = decode(text, at)
            value, after = decode(text, _skip(text, after, ": \t\r\n"))
        except (ValueError, IndexError) as error:
            more = next(source, None)
            if more is None:
                raise InputError(f"the nodes end early or are no JSON: {error}") from error
            text, at = text[at:] + more, 0
            continue
        yield value
        at = after


def nodes_of_text(pieces: Iterable[str]) -> Iterator[Node]:
    """Yield the nodes out of the text of a whole Workflow object.

    Parameters
    ----------
    pieces : iterable of str
        The text, cut anywhere.

    Yields
    ------
    dict
        A node status; nothing if the object has no nodes.
    """
    source, text = iter(pieces), ""
    for piece in source:
        text += piece
        if (found := text.find(NODES_KEY)) >= 0:
            yield from parse_nodes(_chain(text[found + len(NODES_KEY) :], source))
            return
        text = text[-len(NODES_KEY) :]


def decode_pieces(pieces: Iterable[bytes]) -> Iterator[str]:
    """Decode UTF-8 that is cut anywhere.

    Parameters
    ----------
    pieces : iterable of bytes
        The bytes.

    Yields
    ------
    str
        The text.
    """
    return _texts(pieces)


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _skip(text: str, at: int, blanks: str) -> int:
    while text[at] in blanks:
        at += 1
    return at


def _unpack(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InputError(f"status.compressedNodes: not base64 ({error})") from error


def _texts(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for piece in pieces:
        yield decoder.decode(piece)


def _gunzip(data: bytes) -> Iterator[bytes]:
    unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    rest = data
    try:
        while rest and not unzip.eof:
            yield unzip.decompress(rest, PIECE)
            rest = unzip.unconsumed_tail
        yield unzip.flush()
    except zlib.error as error:
        raise InputError(str(error)) from error
    if not unzip.eof:
        raise InputError("it ends early")


def _unzstd(data: bytes) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        try:
            from backports import zstd
        except ImportError as error:
            raise _missing(error) from error
    unzip = zstd.ZstdDecompressor()
    rest = data
    try:
        while not unzip.eof:
            piece = unzip.decompress(rest, PIECE)
            if unzip.needs_input and not piece:
                raise InputError("it ends early")
            yield piece
            rest = b""
    except zstd.ZstdError as error:
        raise InputError(str(error)) from error


def _unbrotli(data: bytes) -> Iterator[bytes]:
    try:
        import brotli
    except ImportError as error:
        raise _missing(error) from error
    unzip = brotli.Decompressor()
    try:
        for begin in range(0, len(data), PIECE // 16):
            yield unzip.process(data[begin : begin + PIECE // 16])
    except brotli.error as error:
        raise InputError(str(error)) from error
    if not unzip.is_finished():
        raise InputError("it ends early")


def _missing(error: ImportError) -> UsageError:
    return UsageError(
        f"the nodes of this workflow are compressed; reading them needs {error.name}: "
        "pip install 'mdpipe[cluster]'"
    )


_DECOMPRESSORS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gunzip,
    "zstd": _unzstd,
    "brotli": _unbrotli,
}
