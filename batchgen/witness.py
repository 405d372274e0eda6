"""A second witness for a prediction whose inputs nobody shows: its bill."""

from batchgen.client import Client
from batchgen.errors import Unavailable
from batchgen.money import Micros
from batchgen.reconcile import Adoption


async def agrees(client: Client, found: Adoption, reserve: Micros) -> bool:
    """Whether a prediction hides its inputs itself and was billed at our price.

    What cannot be read agrees with nothing.
    """
    try:
        shown = await client.result(found.prediction)
        if shown.inputs is not None or shown.model not in ("", found.doubt.model):
            return False
        bills = await client.bills([found.prediction])
    except Unavailable:
        return False
    bill = bills.get(found.prediction)
    return bill is not None and bill.charged == reserve
