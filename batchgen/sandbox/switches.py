"""Every fault there is: the request it belongs to, and what becomes of the money."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TABLE = """
# submit: nothing is created and nothing charged
drop_before_accept      connection closed before an answer
reset_before_accept     connection reset before an answer
close_door=N            connection closed; new ones are refused for N seconds (1)
refuse_400              a validation error
refuse_401              the key is not known
refuse_403              the key's role may not; with a textual error_code
refuse_404              the model is not known
refuse_413              the body is too large
refuse_422              a validation error by another number
refuse_429=N            rate limit; Retry-After of N seconds if N is given
refuse_429_date=N       rate limit; Retry-After as a date N seconds ahead (2)
refuse_429_concurrency  concurrency limit, in the vendor's words
no_credit               400, insufficient credits
no_credit_200           the same with HTTP 200 and code 400
no_credit_1407          the same with code 1407
server_500_not_created  500
server_503_not_created  503 of a gateway, HTML
server_504_not_created  504 of a gateway, HTML
html_502_not_created    502 of a gateway, HTML
submit_drift            the schema spells shot_type's second value `intelligence`

# submit: created and charged; the answer is lost or spoilt
drop_after_accept       connection closed before an answer
reset_after_accept      connection reset before an answer
accept_502_html         502 of a gateway, HTML
accept_504_html         504 of a gateway, HTML
accept_500              500
accept_429              429 although it was created
accept_half_json        200 with half of the JSON
accept_cut_short        connection closed in the middle of the body
accept_no_id            200 without an id
accept_empty            200 with an empty body
answer_twice            the answer, and a second one that nobody asked for
slow_answer=N           charged at once, answered after N seconds (5)
late_accept=N           charged and answered only after N seconds (5)
id_reused               the answer names the prediction sold before this one

# submit: created, charged and answered; what comes of it is odd
id_path                 the id holds `../`
charge_more             half as much again as was quoted
charge_twice            charged once more, as long after its end as it took
sync_completed          the answer is completed already
sync_timeout            the answer is the one of a sync mode that timed out, code 5004
stuck                   never ends
result_404_first        its result is not found for the first minute
fail_provider=N         fails with code N (5000) and is paid back after the usual delay
fail_moderation         fails with 1200; nothing is paid back
fail_invalid            fails with 1401; nothing is paid back
fail_media              fails with 1402; nothing is paid back
fail_credit             fails with 1407; nothing is paid back
fail_without_code       fails with neither code nor text; nothing is paid back
refund_late=N           what is paid back comes after N seconds (10800)
refund_never            what should be paid back is not
status_cancelled        ends as `cancelled`, paid back
status_canceled         ends as `canceled`, paid back
status_timeout          ends as `timeout`, paid back
status_deleted          ends as `deleted`
status_odd              ends as `paused`, a word that nobody knows
status_upper            ends as `COMPLETED`
nsfw                    completed, and has_nsfw_contents says true
outputs_empty           completed with []
outputs_null            completed with null
outputs_string          completed with a string for a list
outputs_object          completed with a list of objects
outputs_base64          completed with the data itself in a string
outputs_two             completed with two clips
bare_result             no urls, has_nsfw_contents, timings or error in any answer

# result
result_404              not found
result_429=N            rate limit; Retry-After of N seconds if N is given
result_500              500
result_html             502 of a gateway, HTML
result_drop             connection closed
slow_result=N           answered after N seconds (5)
gone_as_deleted         what was deleted is told as `deleted` and not as 404
old_as_completed        what is older than seven days is told still; its files are gone

# list
list_404                not found
list_429=N              rate limit; Retry-After of N seconds if N is given
list_500                500
list_html               502 of a gateway, HTML
list_drop               connection closed
slow_list=N             answered after N seconds (5)
list_hides_inputs       no inputs, asked for or not
list_fills_inputs       inputs with the defaults in and the unknown keys out
list_drift=N            created_at is N seconds off (30)
list_misses_rows=N      every Nth row is missing (2)
list_forgets=N          nothing older than N seconds (3600)
list_foreign_rows=N     N predictions more, made by hand on the website (1)
list_equal_rows=N       the same with the inputs of the newest row
list_deleted_rows       what was deleted stands there as `deleted`

# price
price_404               not found
price_500               500
price_html              502 of a gateway, HTML
price_more              half as much again as the catalog says

# balance
balance_401             the key is not known
balance_500             500

# models
models_500              500
models_html             502 of a gateway, HTML
models_drift            shot_type's second value is spelled `intelligence`
models_lacks            no model has a negative_prompt any more
models_missing          an empty list

# billing
billing_401             the key is not known
billing_403             the key's role may not
billing_404             not found
billing_500             500

# upload
upload_401              the key is not known
upload_413              too large
upload_500              500
upload_drop             connection closed

# put
put_403                 the ticket is refused
put_412                 somebody stored it before
put_500                 500
put_drop                connection closed

# download
html_200                a page with 200 for a clip
expired_403             the address is taken back; a fresh result holds a new one
expired_other_host      the same, and the new one names another origin
expired_other_file      the same, and there is another file behind it
expires_midway          half of the file, then the address is taken back
expires_after           all of the file, then the address is taken back
download_404            not found
download_416            416 to whoever asks for a part
download_500            500
download_drop           connection closed
truncated               connection closed after half of the file
stalled=N               half of the file, then nothing for N seconds (600)
slow_download=N         N bytes a second (65536)
wrong_length            Content-Length is half, and so is the file
wrong_range             Content-Range says another place than was asked for
ignore_range            200 with all of it for a part
etag_changed            another ETag each time
other_file              another file, with another ETag, from now on
gzip_bomb=N             a small body that says gzip and swells to N MiB (64)
redirect_host           302 to the clip at another origin
redirect_chain=N        N times 302, then the clip (3)
redirect_loop           302 to itself
redirect_loopback       302 to a closed port of this machine
redirect_metadata       302 to the metadata address of a cloud machine
redirect_file           302 to file:///etc/passwd
redirect_tls            302 to https where nobody speaks TLS
"""


class Switch(NamedTuple):
    """One fault.

    Attributes:
        kind: the kind of request it belongs to.
        number: what its number means is told by this letter; empty if it has none.
        group: the heading it stands under.
        says: what happens, in a few words; a default number in parentheses.
    """

    kind: str
    number: str
    group: str
    says: str


def _read(table: str) -> Iterator[tuple[str, Switch]]:
    group = ""
    for line in table.strip().splitlines():
        if line.startswith("# "):
            group = line[2:]
        elif line:
            name, says = line.split(maxsplit=1)
            name, _, number = name.partition("=")
            yield name, Switch(group.partition(":")[0], number, group, says)


SWITCHES: Mapping[str, Switch] = dict(_read(_TABLE))
"""Every fault by its name."""

_HEAD = """\
A fault strikes by a preset (calm, flaky, down), by a plan (--faults FILE) or for one
request by the header X-Sandbox-Fault: name[=N][,name...]. A plan is YAML:

  seed: 7
  rules:
    - {fault: drop_after_accept, probability: 0.05}
    - {fault: slow_answer=30, at: [2, 5], model: kwaivgi/kling-v3.0-4k/text-to-video}

`at` counts the requests of one kind from 1; `model` goes with submissions alone.
POST /__sandbox__/faults with name[=N][,name...] lets the next request of each kind meet
them, whoever makes it: for clients whose headers you cannot set.
"""


def listing() -> str:
    """Every fault under its heading, for a terminal of 88 columns."""
    return _HEAD + _TABLE.rstrip() + "\n"
