"""Credentials in texts of others, such as a provider's errors, replaced by `[redacted]`.

Rules of this module:

1. The list of patterns is here and nowhere else; docs/reference.md names the kinds.
2. A pattern needs a name with a value, or a form that only credentials have. Prose about passwords
   and tokens stays as it is.
3. A text is redacted before it is cut, because half a credential has no form any more.
4. No pattern backtracks: each one matches in a single run over the text.
"""

import re
from collections.abc import Iterator
from functools import cache

__all__ = ["REDACTED", "redacted"]

REDACTED = "[redacted]"

_VALUE = r"""(?:\\+"[^"]*"|"(?:\\.|[^"\\])*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s,;"'&\\]+)"""
_NAME = (
    r"(?:pass(?:word|wd|phrase)|(?:secret[_-]?)?access[_-]?key"
    r"|(?:secret|api|private|account)[_-]?key|(?<![a-z])pwd|client[_-]?secret|secret[_-]?string"
    r"|(?:session|security|auth|refresh|id)?[_-]?token)"
)
# Go writes `&` in JSON as an escape that ends with u0026.
_PRESIGNED = (
    r"(?:\bx-(?:amz|goog)-(?:signature|credential)|(?:[?&;]|u0026)(?:signature|sig|awsaccesskeyid))"
)
# How a sentence goes on after `invalid password:`. The list is short, because a word that is not in
# it may be the password.
_PROSE = (
    r"(?:must|should|shall|may|can|cannot|expected|required|it|is|the|this|too|not|does|has"
    r"|contains|value|length|at|only|minimum|missing)[ ][a-z0-9]"
)
_QUOTE = r"""\\*["']?"""


def _kinds() -> Iterator[tuple[str, str]]:
    """Yield each pattern with its replacement; `{}` stands for `[redacted]`."""
    # PEM, to its end or to the end of the text.
    yield r"(?s)-----BEGIN [^-\n]{1,64}-----.*?(?:-----END [^-\n]{1,64}-----|\Z)", "{}"
    # The user info of a URL.
    yield r"(?i)\b([a-z][a-z0-9+.-]{0,31}://)[^\s/?#\"'<>]*@", r"\1{}@"
    # Headers.
    header = r"authorization\\*[\"']?\s*[:=]\s*\\*[\"']?(?:bearer|basic|digest|token|apikey)\s+"
    yield rf"(?i)\b({header})[^\s\"'\\]+", r"\1{}"
    yield r"(?i)\b(bearer\s+)[a-z0-9._~+/=-]{12,}", r"\1{}"
    # The parts of a presigned URL that open it (AWS, Google Cloud, Azure).
    yield rf"(?i)({_PRESIGNED}=){_VALUE}", r"\1{}"
    # A name with `=`, or a quoted name with a colon, and its value.
    yield rf"(?i)({_NAME}{_QUOTE}\s*:?=\s*){_VALUE}", r"\1{}"
    # A flag of a command and its value.
    yield rf"(?i)(\s--[a-z-]{{0,32}}{_NAME}\s+)(?!-){_VALUE}", r"\1{}"
    yield rf"(?i)({_NAME}\\*[\"']\s*:\s*){_VALUE}", r"\1{}"
    # A bare name with a colon; `ExpiredToken: The token ...` is an error code before prose.
    yield rf"(?i)(?<![a-z0-9])(pass(?:word|wd|phrase):\s*)(?!{_PROSE}){_VALUE}", r"\1{}"
    yield rf"(?i)(?<![a-z0-9])({_NAME}:\s*)(?=\S*[0-9])[^\s,;\"']{{8,}}", r"\1{}"
    # Forms that only credentials have: keys of AWS, tokens of GitHub, JSON Web Tokens.
    yield r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", "{}"
    yield r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}", "{}"
    # GitLab, Slack, Google Cloud, Stripe, Vault.
    yield (
        r"\bglpat-[A-Za-z0-9_-]{20,}|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{35}",
        "{}",
    )
    yield r"\b[rs]k_live_[A-Za-z0-9]{16,}|\bhv[bsr]\.[A-Za-z0-9_-]{20,}", "{}"
    yield r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?", "{}"


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    # Compiled at the first error of a provider, because compiling takes longer than a pass.
    return tuple((re.compile(each), put.format(REDACTED)) for each, put in _kinds())


def redacted(text: str) -> str:
    """Return `text` with `[redacted]` in the place of everything that looks like a credential."""
    for pattern, replacement in _patterns():
        text = pattern.sub(replacement, text)
    return text
