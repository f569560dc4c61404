import pytest

from gateway.sync.handles import is_group_identifier, peer_of


@pytest.mark.parametrize(
    ("identifier", "peer"),
    [
        ("iMessage;-;+15550100001", "+15550100001"),
        ("SMS;-;+1 (555) 010-0001", "+15550100001"),
        ("any;-;John@Example.com", "john@example.com"),
        ("SMS;-;72345", "72345"),
        ("iMessage;-;urn:biz:1-2;3", "urn:biz:1-2;3"),
        ("+15550100001", "+15550100001"),
        ("John@Example.com", "john@example.com"),
        ("iMessage;+;chat123456", None),
        ("iMessage;+;+15550100001", None),
        ("iMessage;-;", None),
        ("iMessage;-;  ", None),
        ("iMessage;-;" + "x" * 400, None),
        ("chat123456", None),
        ("15550100001", None),
        ("thread of john@example.com", None),
        ("a;b@c", None),
        (";", None),
    ],
)
def test_an_identifier_may_say_whom_a_chat_is_with(identifier: str, peer: str | None) -> None:
    assert peer_of(identifier) == peer
    assert is_group_identifier(identifier) == (";+;" in identifier)
