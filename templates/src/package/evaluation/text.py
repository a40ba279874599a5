"""How texts are made comparable, for any language that Unicode writes."""

import unicodedata


def normal(text: str) -> str:
    """``text`` in NFC and with spaces made equal."""
    return " ".join(unicodedata.normalize("NFC", text).split())
