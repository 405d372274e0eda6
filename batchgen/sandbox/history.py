"""The history: what was bought, once the list has caught up, with its bad days."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from batchgen.models import catalog
from batchgen.sandbox import views
from batchgen.sandbox.answers import refusal, success
from batchgen.sandbox.asked import body_object, paging, read_moment
from batchgen.sandbox.clock import SECOND
from batchgen.sandbox.door import met
from batchgen.sandbox.faults import Drawn
from batchgen.sandbox.predictions import Prediction, share
from batchgen.sandbox.till import Query
from batchgen.sandbox.world import World

_LATE = 2**62
_BY_HAND = '{"prompt": "Made by hand on the website", "duration": 5}'


class History:
    """Lists predictions and forgets them."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def page(self, request: Request) -> Response:
        """Past predictions, newest first."""
        try:
            asked = await body_object(request)
            faults = met(request.scope)
            query = self._query(asked, faults)
        except ValueError as error:
            return refusal(400, str(error))
        world = self._world
        rows = world.till.history(query, world.clock.now())
        if query.page == 1:
            rows = [*self._strangers(rows, query, faults), *rows]
        with_inputs = asked.get("include_inputs") is True
        items = [views.result(row, world, with_inputs=with_inputs) for row in rows]
        return success({"page": query.page, "items": list(_bent(items, rows, faults))})

    def _query(self, asked: Mapping[str, Any], faults: Drawn) -> Query:
        clock = self._world.clock
        visible = clock.now() - clock.lasting(self._world.options.list_delay)
        page, page_size = paging(asked)
        after = read_moment(asked, "created_after", 0)
        if "list_forgets" in faults:
            kept = int((faults["list_forgets"] or 3600.0) * SECOND)
            after = max(after, clock.now() - kept)
        return Query(
            model=str(asked.get("model") or ""),
            status=str(asked.get("status") or ""),
            after=after,
            before=min(read_moment(asked, "created_before", _LATE), visible),
            page=page,
            page_size=page_size,
            deleted="list_deleted_rows" in faults,
        )

    def _strangers(
        self, rows: Sequence[Prediction], query: Query, faults: Drawn
    ) -> list[Prediction]:
        """Predictions that the account made elsewhere; the till is not for them."""
        for name in ("list_foreign_rows", "list_equal_rows"):
            if name in faults and rows:
                count = int(faults[name] or 1)
                text = rows[0].input if name == "list_equal_rows" else _BY_HAND
                break
        else:
            return []
        made = []
        for number in range(count):
            draws = (share(f"{name}/{number}/{n}/{rows[0].id}") for n in range(4))
            identity = "".join(f"{int(draw * 2**32):08x}" for draw in draws)
            twin = rows[0]._replace(id=identity, input=text, marks="")
            made.append(twin)
            self._world.strangers[identity] = twin
        return made[: query.page_size]

    async def delete(self, request: Request) -> Response:
        """Forget predictions; nobody gets money back for it."""
        try:
            identities = (await body_object(request)).get("ids")
        except ValueError as error:
            return refusal(400, str(error))
        if not isinstance(identities, list):
            return refusal(400, 'field "ids" must be an array')
        count = self._world.till.delete([str(identity) for identity in identities])
        return success({"deleted_count": count})


def _bent(
    items: Sequence[dict[str, Any]], rows: Sequence[Prediction], faults: Drawn
) -> list[dict[str, Any]]:
    every = int(faults.get("list_misses_rows") or 2)
    kept = []
    for number, (item, row) in enumerate(zip(items, rows, strict=True), start=1):
        if "list_misses_rows" in faults and number % every == 0:
            continue
        if "list_hides_inputs" in faults:
            item.pop("inputs", None)
        if "list_fills_inputs" in faults and "inputs" in item:
            item["inputs"] = row.kept(catalog()[row.model])
        if "list_drift" in faults:
            item["created_at"] = views.shifted(row, faults["list_drift"] or 30.0)
        kept.append(item)
    return kept
