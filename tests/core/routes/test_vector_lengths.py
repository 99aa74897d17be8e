"""What is known of vector lengths: by this process, and by others as a hint."""

from __future__ import annotations

from azinfer.core.routes.vector_lengths import VectorLengths

SHAPE = ("embeddings", None, False)
BOTH = ("e@a", "e@b")


def test_another_length_of_a_member_is_refused_wherever_it_was_seen() -> None:
    seen, heard = VectorLengths(), VectorLengths()
    assert seen.check("search", SHAPE, "e@a", 1536, BOTH) is None
    heard.learn("search", SHAPE, "e@a", 1536)
    for lengths in (seen, heard):
        reason = lengths.check("search", SHAPE, "e@b", 768, BOTH)
        assert reason is not None
        assert "'e@b' returned vectors of length 768" in reason
    assert heard.known() == {("search", SHAPE): {}}


def test_a_deployment_that_left_the_route_does_not_count() -> None:
    lengths = VectorLengths()
    lengths.learn("search", SHAPE, "e@b", 768)
    assert lengths.check("search", SHAPE, "e@a", 1536, ("e@a",)) is None


def test_hints_are_old_once_one_of_them_is_wrong() -> None:
    lengths = VectorLengths()
    for key in BOTH:
        lengths.learn("search", SHAPE, key, 1536)
    assert lengths.check("search", SHAPE, "e@a", 3072, BOTH) is None
    assert not lengths.learn("search", SHAPE, "e@b", 1536)
    assert lengths.learn("search", SHAPE, "e@b", 3072)
    assert lengths.check("search", SHAPE, "e@b", 3072, BOTH) is None
    # What this process has seen itself still counts.
    assert lengths.check("search", SHAPE, "e@b", 1536, BOTH) is not None


def test_what_this_process_has_seen_refutes_hints() -> None:
    lengths = VectorLengths()
    assert lengths.check("search", SHAPE, "e@a", 3072, BOTH) is None
    assert lengths.learn("search", SHAPE, "e@b", 1536)
    assert not lengths.learn("search", SHAPE, "e@a", 1536)
    assert not lengths.learn("search", SHAPE, "e@b", 1536)
    assert lengths.check("search", SHAPE, "e@b", 3072, BOTH) is None
