"""The side of a patch as configs give it."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError("path", "must be odd: a patch has a pixel in its middle", {})
    return value


PatchSize = Annotated[int, Field(ge=3, le=33), AfterValidator(_odd)]
