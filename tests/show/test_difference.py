"""The difference of two worlds, as the page shows it."""

from typing import Any

import pytest

from captep_show import Change, Field, changes


def secret(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return an object with some fields."""
    return {"kind": "Secret", **fields}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"spec": {"a": 1}}, {"spec": {"a": 2}}, [Field("spec.a", 1, 2)]),
        ({"spec": {"a": 1}}, {"spec": {"a": True}}, [Field("spec.a", 1, True)]),
        ({"spec": {}}, {"spec": {"a": {"b": 1}}}, [Field("spec.a", None, {"b": 1})]),
        ({"spec": {"a": [1]}}, {"spec": {}}, [Field("spec.a", [1], None)]),
        ({"spec": {"a": []}}, {"spec": {"a": {}}}, [Field("spec.a", [], {})]),
        ({"a": [1, 2]}, {"a": [2, 1]}, [Field("a", [1, 2], [2, 1])]),
        (
            {"a": [{"type": "Ready", "status": "False"}]},
            {"a": [{"type": "Ready", "status": "True"}]},
            [Field("a.[Ready].status", "False", "True")],
        ),
        (
            {"a": [{"name": "x"}]},
            {"a": [{"name": "x"}, {"name": "y"}]},
            [Field("a.[y]", None, {"name": "y"})],
        ),
    ],
)
def test_a_field_that_differs_is_shown_with_both_values(
    before: dict[str, Any], after: dict[str, Any], expected: list[Field]
) -> None:
    """A part that appears or goes is one field; named entries of a list are compared by name."""
    [found] = changes({"x": secret(**before)}, {"x": secret(**after)})
    assert found == Change("x", "changes", tuple(expected))


def test_an_object_appears_and_goes_with_each_of_its_fields() -> None:
    """The fields of a whole object stand one by one."""
    obj = secret(metadata={"name": "a", "resourceVersion": "7"}, type="Opaque")
    fields = {"kind": "Secret", "metadata": {"name": "a"}, "type": "Opaque"}
    came = tuple(Field(name, None, value) for name, value in fields.items())
    went = tuple(Field(name, value, None) for name, value in fields.items())
    assert changes({}, {"a": obj}) == (Change("a", "appears", came),)
    assert changes({"a": obj}, {}) == (Change("a", "is gone", went),)


def test_what_only_the_server_keeps_is_no_change() -> None:
    """A new resourceVersion alone is not shown."""
    one = secret(metadata={"resourceVersion": "1", "managedFields": [1]})
    other = secret(metadata={"resourceVersion": "2", "managedFields": []})
    assert changes({"a": one, "b": one}, {"a": other, "b": one}) == ()


def test_objects_stand_in_the_order_of_their_names() -> None:
    """The order does not depend on the worlds."""
    found = changes({"b": secret(a=1)}, {"c": secret(), "a": secret()})
    assert [(each.object, each.what) for each in found] == [
        ("a", "appears"),
        ("b", "is gone"),
        ("c", "appears"),
    ]
