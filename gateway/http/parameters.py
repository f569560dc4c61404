"""Query parameters that lists share."""

from typing import Annotated

from litestar.params import QueryParameter

PageQuery = Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000, description="Which page, from 1.")]
PageSizeQuery = Annotated[int, QueryParameter(name="pageSize", ge=1, le=100, description="Rows a page.")]
