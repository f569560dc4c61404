"""What the text of a WhatsApp message says beside its words: files, what was left out of the export, edits, deletions.

The export is written in the phone's language. What has a form of its own is known by that (`<…>`, a file's name with a remark in brackets);
for the rest there are lists, of the languages that most phones are set to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from assistant_client.importers.whatsapp_lines import without_marks
from assistant_client.models import Attachment

_LRM = "\u200e"
_ATTACHED_IOS = re.compile(rf"{_LRM}?<[^<>:]{{3,40}}: ?(?P<name>[^<>\n/\\]+\.\w{{1,8}})>")
_ATTACHED_ANDROID = re.compile(rf"^{_LRM}?(?P<name>[^\n/\\<>|]+\.\w{{1,8}}) \([^()\n]{{3,60}}\)(?:\n|$)")
_LEFT_OUT_ANDROID = re.compile(rf"^{_LRM}?<[^<>:\n]{{3,60}}>$")
_PAGES = re.compile(rf"^.+ • {_LRM}?\d+ \S+$")
"""What iOS writes before a document: its name, and how many pages it has."""
_EDITED = re.compile(rf"\s*{_LRM}<[^<>\n]{{5,80}}>$")
_LEFT_OUT_IOS = (
    "omitted", "weggelassen", "ausgeschlossen", "omitido", "omitida", "omitidos", "ommesso", "omesso", "omessa", "absente", "absent",
    "omis", "omise", "ocultado", "ocultada", "oculto", "oculta", "weggelaten", "dışarıda bırakıldı", "пропущено", "pominięto",  # noqa: RUF001
)  # fmt: skip
_DELETED = (
    "this message was deleted", "you deleted this message", "diese nachricht wurde gelöscht", "du hast diese nachricht gelöscht",
    "se eliminó este mensaje", "eliminaste este mensaje", "este mensaje fue eliminado", "ce message a été supprimé",
    "vous avez supprimé ce message", "questo messaggio è stato eliminato", "hai eliminato questo messaggio", "mensagem apagada",
    "esta mensagem foi apagada", "você apagou esta mensagem", "dit bericht is verwijderd", "je hebt dit bericht verwijderd",
    "u hebt dit bericht verwijderd", "bu mesaj silindi",
    "bu mesajı sildiniz", "данное сообщение удалено", "вы удалили данное сообщение",  # noqa: RUF001
)  # fmt: skip
_TYPES = {
    "3gp": "video/3gpp", "aac": "audio/aac", "amr": "audio/amr", "avi": "video/x-msvideo", "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "gif": "image/gif", "heic": "image/heic",
    "jpeg": "image/jpeg", "jpg": "image/jpeg", "m4a": "audio/mp4", "mkv": "video/x-matroska", "mov": "video/quicktime", "mp3": "audio/mpeg",
    "mp4": "video/mp4", "ogg": "audio/ogg", "opus": "audio/ogg", "pdf": "application/pdf", "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint", "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "txt": "text/plain", "vcf": "text/vcard", "wav": "audio/wav", "webm": "video/webm", "webp": "image/webp",
    "xls": "application/vnd.ms-excel", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zip": "application/zip",
}  # fmt: skip
"""By the end of a file's name. Python's own list is each machine's: an import elsewhere would tell the same message otherwise."""
_SEEN_ONCE = "null"
"""What Android writes of a message that could be seen once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A message's text without what WhatsApp wrote about it."""

    text: str | None
    attachment: Attachment | None = None
    is_deleted: bool = False
    is_edited: bool = False
    is_system: bool = False


def content_of(written: str, sizes: Mapping[str, int]) -> Content:
    """Read a message's text as the export has it. `sizes` are those of the files beside it, by name."""
    if without_marks(written).rstrip(".").lower() in _DELETED:
        return Content(text=None, is_deleted=True)
    if without_marks(written) == _SEEN_ONCE:
        return Content(text=None)
    if _LEFT_OUT_ANDROID.match(written) or _is_left_out_on_ios(written):
        return Content(text=None, attachment=Attachment())
    for pattern in (_ATTACHED_IOS, _ATTACHED_ANDROID):
        if match := pattern.search(written):
            rest = without_marks(written[: match.start()] + written[match.end() :]).strip()
            name = without_marks(match["name"])
            if _PAGES.match(rest):
                rest = ""
            return Content(text=rest or None, attachment=_attachment(name, sizes.get(name)))
    if edited := _EDITED.search(written):
        return Content(text=_words(written[: edited.start()]), is_edited=True)
    return Content(text=_words(written), is_system=written.startswith(_LRM))


def _is_left_out_on_ios(written: str) -> bool:
    """`‎image omitted`: a mark, a word or two, and that it was left out."""
    plain = without_marks(written).lower().rstrip(".")
    return written.startswith(_LRM) and "\n" not in written and len(plain) < 40 and plain.endswith(_LEFT_OUT_IOS)


def _attachment(name: str, size: int | None) -> Attachment:
    return Attachment(filename=name[:500], mime_type=_TYPES.get(name.rpartition(".")[2].lower()), byte_size=size)


def _words(text: str) -> str | None:
    plain = text.strip(_LRM + "\u200f").replace("\0", "")
    return plain if plain.strip() else None
