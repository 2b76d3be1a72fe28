import pytest

from realm_edge.app.numbers import format_ends, format_number
from realm_edge.shares import format_share


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (12345, "12,345"), (12345.6, "12,346"), (0.70912, "0.709"), (3, "3"), (0.0, "0")])
def test_numbers_are_written_for_people(value: float | None, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((12.0, 1234.5), "12 to 1,234"),
        ((12.0, 12.0), "12"),
        ((12.0, None), "12, or does not fit"),
        ((None, None), "–"),
    ],
)
def test_ends_say_where_nothing_fits(ends: tuple[float | None, float | None], text: str) -> None:
    assert format_ends(ends) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0.0, "0 %"), (0.0004, "< 1 %"), (0.5, "50 %"), (0.94, "94 %"), (0.9951, "> 99 %"), (1.0, "100 %")],
)
def test_a_share_is_all_or_nothing_only_where_it_is(share: float | None, text: str) -> None:
    assert format_share(share) == text
