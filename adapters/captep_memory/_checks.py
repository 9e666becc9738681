"""Checks that the validations of several built-in kinds share, worded as k8s.io/kubernetes does."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from captep_memory._json import Object, Value, deep_equal
from captep_memory._names import dns_label, label_value, qualified_name
from captep_memory._status import (
    Cause,
    forbidden_field,
    invalid_struct,
    invalid_value,
    not_modelled,
    not_supported,
    required,
)

__all__ = [
    "PROTOCOLS",
    "check_dns_label",
    "check_immutable",
    "check_int_or_percent",
    "check_ip",
    "check_label_name",
    "check_labels",
    "check_non_negative",
    "check_one_of",
    "check_port",
    "check_port_name",
    "check_port_number",
    "check_selector",
    "check_values",
    "is_none_or_zero",
    "not_found_field",
    "require_model",
    "selects",
    "shown_selector",
]

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PORT = "must be between 1 and 65535, inclusive"
_PERCENT = re.compile("[0-9]+%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def require_model(condition: object, what: str) -> None:
    """Refuse with 501 what this server does not word, unless the condition holds."""
    if not condition:
        raise not_modelled(what)


def check_non_negative(path: str, struct: Mapping[str, Any], *names: str) -> Iterator[Cause]:
    """Yield each of the numbers that is below zero."""
    for name in names:
        value = struct.get(name) or 0
        if value < 0:
            detail = "must be greater than or equal to 0"
            yield invalid_value(f"{path}.{name}", value, detail)


def check_one_of(path: str, value: str, supported: Iterable[str]) -> Iterator[Cause]:
    """Yield a value outside of an enumeration."""
    if value not in supported:
        yield not_supported(path, value, supported)


def check_immutable(path: str, name: str, new: Object, old: Object) -> Iterator[Cause]:
    """Yield a field that may not change."""
    if not deep_equal(new.get(name), old.get(name)):
        yield invalid_value(f"{path}.{name}", new.get(name), "field is immutable")


def check_label_name(path: str, name: str) -> Iterator[Cause]:
    """Yield what is wrong with the key of a label."""
    return (invalid_value(path, name, problem) for problem in qualified_name(name))


def check_labels(path: str, labels: Mapping[str, str]) -> Iterator[Cause]:
    """Yield what is wrong with labels."""
    for name, value in labels.items():
        yield from check_label_name(path, name)
        for problem in label_value(value):
            yield invalid_value(path, value, problem)


def check_selector(path: str, selector: Object | None) -> Iterator[Cause]:
    """Yield what is wrong with a label selector."""
    given = selector or {}
    yield from check_labels(f"{path}.matchLabels", given.get("matchLabels", {}))
    for index, each in enumerate(given.get("matchExpressions", ())):
        yield from _check_requirement(f"{path}.matchExpressions[{index}]", each)


def _check_requirement(path: str, requirement: Object) -> Iterator[Cause]:
    yield from check_values(path, requirement)
    yield from check_label_name(f"{path}.key", requirement["key"])


def check_values(path: str, requirement: Object, *others: str) -> Iterator[Cause]:
    """Yield the errors of operator and values of a requirement; `others`: operators that are valid
    next to the four of a selector.
    """
    values = requirement.get("values") or []
    match requirement["operator"]:
        case "In" | "NotIn":
            if not values:
                detail = "must be specified when `operator` is 'In' or 'NotIn'"
                yield required(f"{path}.values", detail)
        case "Exists" | "DoesNotExist":
            if values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield forbidden_field(f"{path}.values", detail)
        case operator:
            if operator not in others:
                yield invalid_value(f"{path}.operator", operator, "not a valid selector operator")


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a sound label selector selects labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    return all(_satisfies(each, labels) for each in selector.get("matchExpressions", ()))


def _satisfies(requirement: Object, labels: Mapping[str, str]) -> bool:
    found = labels.get(requirement["key"])
    match requirement["operator"]:
        case "In":
            return found is not None and found in requirement.get("values", ())
        case "NotIn":
            return found is None or found not in requirement.get("values", ())
        case "Exists":
            return found is not None
        case _:
            return found is None


def check_port_number(path: str, number: int) -> Iterator[Cause]:
    """Yield a number that is no port."""
    if not 0 < number < 65536:
        yield invalid_value(path, number, _PORT)


def check_port_name(path: str, name: str) -> Iterator[Cause]:
    """Yield what is wrong with the name of a port (IANA_SVC_NAME)."""
    return (invalid_value(path, name, problem) for problem in _port_name(name))


@lru_cache(maxsize=1024)
def _port_name(name: str) -> list[str]:
    problems = ["must be no more than 15 characters"] if len(name) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", name):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        problems.append("must contain at least one letter (a-z)")
    if "--" in name:
        problems.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def check_port(path: str, port: int | str) -> Iterator[Cause]:
    """Yield what is wrong with a port by number or by name."""
    if isinstance(port, int):
        return check_port_number(path, port)
    return check_port_name(path, port)


def check_int_or_percent(path: str, value: int | str) -> Iterator[Cause]:
    """Yield what is wrong with a count or a percentage, apart from an upper bound."""
    if isinstance(value, int):
        if value < 0:
            yield invalid_value(path, value, "must be greater than or equal to 0")
    elif not _PERCENT.fullmatch(value):
        yield invalid_value(path, value, _PERCENT_TEXT)


def is_none_or_zero(value: int | str) -> bool:
    """Whether a count or a percentage means nothing at all."""
    return value in (0, "0%") or (isinstance(value, str) and not value.rstrip("%0"))


def check_ip(path: str, address: str) -> Iterator[Cause]:
    """Yield a malformed address; forms that only some parsers take have no model."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        require_model(not re.search(r"\b0\d", address), "IP addresses with leading zeros")
        detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        yield invalid_value(path, address, detail)
        return
    is_special = parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified
    require_model(not is_special and not parsed.is_multicast, "special IP addresses")


def not_found_field(path: str, value: str) -> Cause:
    """A value that refers to nothing."""
    return Cause("FieldValueNotFound", f'Not found: "{value}"', path)


def check_dns_label(path: str, value: str) -> Iterator[Cause]:
    """Yield what is wrong with a DNS label."""
    return (invalid_value(path, value, problem) for problem in dns_label(value))


def shown_selector(path: str, selector: Value, detail: str) -> Cause:
    """A selector as a whole is wrong; Go writes it in the order of its type."""
    given = selector or {}
    ordered = {name: given[name] for name in ("matchLabels", "matchExpressions") if name in given}
    if "matchLabels" in ordered:
        ordered["matchLabels"] = dict(sorted(ordered["matchLabels"].items()))
    if "matchExpressions" in ordered:
        ordered["matchExpressions"] = [
            {name: each[name] for name in ("key", "operator", "values") if name in each}
            for each in ordered["matchExpressions"]
        ]
    return invalid_struct(path, ordered, detail)
