"""Node statuses are read in every form in which the controller stores them."""

import base64
import gzip
import itertools
import json
import sys
import tracemalloc

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdpipe.failures import InputError
from mdpipe.workflows.cluster.nodes import (
    decode_pieces,
    form_of,
    iterate_nodes,
    nodes_of_text,
    parse_nodes,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK = {"gzip": gzip.compress, "zstd": zstd.compress, "brotli": brotli.compress}


def some_nodes(count):
    return {
        f"water-{n}": {"id": f"water-{n}", "name": f'water[{n}].é"nodes":{{', "phase": "Running"}
        for n in range(count)
    }


def packed(nodes, form):
    text = json.dumps(nodes, separators=(",", ":"), ensure_ascii=False).encode()
    return {"compressedNodes": base64.b64encode(PACK[form](text)).decode()}


@pytest.mark.parametrize("form", ["gzip", "zstd", "brotli"])
@pytest.mark.parametrize("count", [1, 2000])
def test_compressed_nodes_come_back_whole_and_in_order(form, count):
    nodes = some_nodes(count)
    status = packed(nodes, form)
    assert form_of(status) == form
    assert list(iterate_nodes(status)) == list(nodes.values())


def test_plain_nodes_are_taken_as_they_are():
    nodes = some_nodes(3)
    assert form_of({"nodes": nodes}) == "plain"
    assert list(iterate_nodes({"nodes": nodes})) == list(nodes.values())


def test_a_workflow_that_nobody_has_looked_at_has_no_nodes():
    assert form_of({}) == "none"
    assert list(iterate_nodes({})) == []


def test_offloaded_nodes_are_not_in_the_object():
    status = {"offloadNodeStatusVersion": "fnv:123"}
    assert form_of(status) == "offloaded"
    assert list(iterate_nodes(status)) == []


@pytest.mark.parametrize("form", ["gzip", "zstd", "brotli"])
def test_nodes_that_end_early_are_told_and_not_counted_as_all(form):
    whole = base64.b64decode(packed(some_nodes(500), form)["compressedNodes"])
    cut = {"compressedNodes": base64.b64encode(whole[: len(whole) // 2]).decode()}
    with pytest.raises(InputError, match=f"compressedNodes \\({form}\\)"):
        list(iterate_nodes(cut))


def test_what_is_not_base64_is_told():
    with pytest.raises(InputError, match="not base64"):
        list(iterate_nodes({"compressedNodes": "H4sI*AAA"}))


@given(
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.none())),
    st.lists(st.integers(1, 40), min_size=1),
    st.sampled_from([None, 1]),
)
def test_a_text_cut_anywhere_gives_the_same_nodes(nodes, lengths, indent):
    text = json.dumps(nodes, ensure_ascii=False, indent=indent).encode()
    pieces, lengths = [], itertools.cycle(lengths)
    while text:
        size = next(lengths)
        pieces.append(text[:size])
        text = text[size:]
    assert list(parse_nodes(decode_pieces(pieces))) == list(nodes.values())


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_nodes_are_found_in_the_text_of_a_whole_workflow(size):
    nodes = some_nodes(20)
    spec = {"arguments": {"parameters": [{"name": "study", "value": 'a "nodes":{ of no worth'}]}}
    whole = {"metadata": {}, "spec": spec, "status": {"nodes": nodes, "progress": "1/2"}}
    text = json.dumps(whole)
    pieces = [text[n : n + size] for n in range(0, len(text), size)]
    assert list(nodes_of_text(pieces)) == list(nodes.values())
    assert list(nodes_of_text([json.dumps({"status": {"progress": "1/2"}})])) == []


@pytest.mark.parametrize("text", ["[1]", "", '{"a": {"b": 1}', '{"a": 1} '[:-2]])
def test_what_is_no_whole_object_is_told(text):
    with pytest.raises(InputError):
        list(parse_nodes([text]))


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_memory_does_not_grow_with_the_number_of_nodes(form):
    def peak(count):
        status = packed(some_nodes(count), form)
        tracemalloc.start()
        assert sum(1 for _ in iterate_nodes(status)) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # what libraries keep for good
    # the compressed bytes themselves are there whole, and are a twentieth of the text
    assert peak(40_000) < peak(10_000) + 1_000_000
