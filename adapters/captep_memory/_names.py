"""The forms of names, label values and keys (row A1).

Each function returns the problems of a value.
"""

import re
from functools import lru_cache

__all__ = ["config_key", "dns_label", "dns_subdomain", "label_value", "qualified_name"]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
    "'-' or '.', "
    "and must start and end with an alphanumeric character"
)
_PART_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, "
    "'-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_CONFIG_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"


def _explained(text: str, form: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{form}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


@lru_cache(maxsize=4096)
def dns_label(value: str) -> list[str]:
    """A namespace: DNS-1123 label of at most 63 characters."""
    problems = [_too_long(63)] if len(value) > 63 else []
    if not re.fullmatch(_LABEL, value) and re.fullmatch(_SUBDOMAIN, value):
        problems.append("must not contain dots")
    elif not re.fullmatch(_LABEL, value):
        problems.append(_explained(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return problems


@lru_cache(maxsize=4096)
def dns_subdomain(value: str) -> list[str]:
    """The name of a Secret or a custom resource: DNS-1123 subdomain of at most 253 characters."""
    problems = [_too_long(253)] if len(value) > 253 else []
    if not re.fullmatch(_SUBDOMAIN, value):
        problems.append(_explained(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return problems


@lru_cache(maxsize=4096)
def qualified_name(value: str) -> list[str]:
    """A label key or finalizer: `[prefix/]name`, a DNS subdomain and at most 63 characters."""
    prefix, slash, name = value.rpartition("/")
    shown = _explained(_PART_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc")
    if "/" in prefix:
        return [
            (
                f"a valid label key {shown} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"
            )
        ]
    problems = []
    if slash and not prefix:
        problems = ["prefix part must be non-empty"]
    elif slash:
        problems = [f"prefix part {problem}" for problem in dns_subdomain(prefix)]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append(f"name part {_too_long(63)}")
    if not re.fullmatch(_QUALIFIED, name):
        problems.append(f"name part {shown}")
    return problems


@lru_cache(maxsize=4096)
def label_value(value: str) -> list[str]:
    """A label's value: empty, or at most 63 characters."""
    problems = [_too_long(63)] if len(value) > 63 else []
    if not re.fullmatch(_VALUE, value):
        problems.append(_explained(_VALUE_TEXT, _VALUE, "MyValue", "my_value", "12345"))
    return problems


@lru_cache(maxsize=4096)
def config_key(value: str) -> list[str]:
    """A key of a Secret or a ConfigMap."""
    problems = [_too_long(253)] if len(value) > 253 else []
    if not re.fullmatch(_CONFIG_KEY, value):
        problems.append(_explained(_CONFIG_TEXT, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems
