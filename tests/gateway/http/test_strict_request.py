"""What a body of a wrong type may cost: it is read once."""

import tracemalloc

import msgspec
import pytest

from gateway.devices.schemas import Verification
from gateway.http.strict_request import _decode
from gateway.responses.schemas import GenerateBody

MESSAGE_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_a_whole_number_may_be_written_with_a_point() -> None:
    body = f'{{"messageId": "{MESSAGE_ID}", "n": 2.0, "context": {{"maxTokens": 40.0}}}}'.encode()

    decoded = _decode(body, GenerateBody)

    assert (decoded.n, decoded.context.max_tokens) == (2, 40)


@pytest.mark.parametrize("number", [b"2.5", b'"2"', b"true"])
def test_nothing_else_passes_for_one(number: bytes) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.n"):
        _decode(b'{"messageId": "' + MESSAGE_ID.encode() + b'", "n": ' + number + b"}", GenerateBody)


@pytest.mark.parametrize("wrong", [b'{"deviceId": 1.5, "x": [', b'{"deviceId": "a", "code": 1.0, "x": ['])
def test_a_large_body_of_a_wrong_type_takes_no_memory(wrong: bytes) -> None:
    body = wrong + b"{}," * (1024 * 1024) + b"{}]}"

    tracemalloc.start()
    with pytest.raises(msgspec.ValidationError):
        _decode(body, Verification)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1024 * 1024
