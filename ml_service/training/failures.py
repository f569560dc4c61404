"""Why a training job failed, as a sentence for people. No sentence and no traceback holds text of a sample."""

import errno
import re
import traceback
from collections.abc import Iterator

_DISK: frozenset[int] = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# torch and safetensors have no error classes of their own for these; the words are from c10/core/CPUAllocator.cpp,
# caffe2/serialize/inline_container.cc and Rust's std::io::Error.
_DISK_WORDS = re.compile(r"No space left on device|File too large|Disk quota exceeded|PytorchStreamWriter failed|file write failed")
_MEMORY_WORDS = re.compile(r"can't allocate memory|not enough memory|Cannot allocate memory|out of memory")

FULL_DISK = "The disk is full: the training's files could not be written. Free some space and start the training again."
OUT_OF_MEMORY = (
    "There was not enough memory to train. Stop other programs, choose a lower rank, or leave out very long conversations, "
    "and start the training again."
)


class TrainingFailed(Exception):
    """Training cannot go on; the message is the sentence that people read."""


def sentence(error: BaseException) -> str:
    """What a person reads about an error."""
    for cause in _causes(error):
        if isinstance(cause, TrainingFailed):
            return str(cause)
        if isinstance(cause, OSError) and cause.errno in _DISK:
            return FULL_DISK
        if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            return OUT_OF_MEMORY
        if _DISK_WORDS.search(str(cause)):
            return FULL_DISK
        if _MEMORY_WORDS.search(str(cause)):
            return OUT_OF_MEMORY
    return f"Training stopped because of an unexpected error ({type(error).__name__}); the training worker's log says where."


def where(error: BaseException) -> str:
    """For the log: the lines of code that an error came through and its kind, without its message, which may quote a sample."""
    parts = ["".join(traceback.format_tb(cause.__traceback__)) + type(cause).__name__ for cause in _causes(error)]
    return "\nbecause of\n".join(parts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
