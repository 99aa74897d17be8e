"""The cost of bulk work: requests, estimated tokens, and money by the user's own prices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from azinfer.core import ConfigurationError
from azinfer.core.toml_tables import Table, read

_TOKENS = 1_000_000  # tokens that a price is for


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model.

    Attributes:
        currency: The currency, as the user writes it.
        input: The price of a million tokens of texts.
        output: The price of a million tokens of answers.
    """

    currency: str
    input: float
    output: float

    def cost(self, input_tokens: float, output_tokens: float = 0.0) -> float:
        """Return the price of a number of tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / _TOKENS


def read_price(path: Path, *names: str | None) -> Price:
    """Return the price of a model from a file.

    The file has a table for each deployment or model, with prices for a million tokens:

        currency = "USD"

        [models."text-embedding-3-small"]
        input = 0.02

    Args:
        path: The file.
        *names: The deployment and its model, in any case; the file has one of them.

    Raises:
        ConfigurationError: The file is not valid, or has no such model.
    """
    root = read(path)
    currency = root.get("currency", str) or ""
    prices = {
        name.casefold(): _price_of(table, currency) for name, table in root.tables("models").items()
    }
    root.close()
    known = [name for name in names if name]
    for name in known:
        if price := prices.get(name.casefold()):
            return price
    raise ConfigurationError(
        f"{path} has no price of {' or '.join(map(repr, known))}; it has: "
        f"{', '.join(prices) or 'no models'}"
    )


def _price_of(table: Table, currency: str) -> Price:
    numbers = []
    for name in ("input", "output"):
        number = table.get(name, float) or 0.0
        if number < 0:
            raise table.wrong(f"must not be negative, but is {number:g}", name)
        numbers.append(number)
    table.close()
    return Price(currency, *numbers)
