"""Files as text."""

from gateway.workspace.files.changes import MOST_BYTES
from gateway.workspace.files.project import Place
from gateway.workspace.files.tree import TooLarge, Tree
from gateway.workspace.tools.base import ToolFailed


def read_text(tree: Tree, place: Place) -> str:
    """A file that is to be changed.

    Raises:
        ToolFailed: it is not there, too large, or not text in UTF-8.
    """
    try:
        content, _ = tree.read(place, MOST_BYTES)
        return content.decode()
    except FileNotFoundError:
        raise ToolFailed(f"{place} is not there") from None
    except TooLarge as error:
        raise ToolFailed(str(error)) from None
    except UnicodeDecodeError:
        raise ToolFailed(f"{place} is not text in UTF-8") from None
