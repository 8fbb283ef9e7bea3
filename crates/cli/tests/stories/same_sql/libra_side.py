"""A statement's way through Libra's HTTP API, as a caller sees it."""

import http.client
import io
import json
import time
import urllib.parse

import pyarrow as pa

from outcome import Outcome
from spelling import Literal, stored

JOBS = "/api/v1/spark/jobs"
#: Rows on one page: the most that Libra gives.
PAGE = 10_000
ARROW = "application/vnd.apache.arrow.stream"
#: The states in which a job stays.
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED", "TIMEOUT")


class Libra:
    """A caller with one shared session."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=300)

    def run(self, text):
        """Runs a statement in the shared session and fetches its result both ways."""
        began = time.monotonic()
        job = self._run(text)
        path = f"{JOBS}/{job['jobId']}/result"
        if job["status"] != "SUCCEEDED":
            error = job["error"]
            if job["status"] != "FAILED" or error["class"] != "user":
                raise SystemExit(f"it did not end as a user's error: {job}\n{text}")
            _headline(error)
            return Outcome(error=error["detail"].strip(), seconds=time.monotonic() - began)
        schema, rows = self._rows(path)
        seconds = time.monotonic() - began
        reader = pa.ipc.open_stream(io.BytesIO(self._call("GET", path, None, ARROW)))
        batches = list(reader)
        arrow_rows = sum(batch.num_rows for batch in batches)
        if arrow_rows != len(rows):
            raise SystemExit(f"{arrow_rows} rows as Arrow, {len(rows)} as JSON\n{text}")
        table = pa.Table.from_batches(batches, reader.schema)
        return Outcome(
            schema=schema,
            rows=rows,
            arrow=True,
            arrow_fields=[(field.name, field.type, field.nullable) for field in table.schema],
            arrow_columns=[stored(column) for column in table.columns],
            seconds=seconds,
        )

    def _run(self, text):
        body = {"code": text, "kind": "sql", "executionMode": "in-cluster", "sessionMode": "SHARED"}
        body["retryPolicy"] = {"maxRetries": 0}
        job = json.loads(self._call("POST", f"{JOBS}/submit", body))
        while job["status"] not in ENDS:
            job = json.loads(self._call("GET", f"{JOBS}/{job['jobId']}?wait=60s"))
        return job

    def _rows(self, path):
        rows, cursor = [], ""
        while cursor is not None:
            text = self._call("GET", f"{path}?limit={PAGE}{cursor}")
            # The schema as it is, the rows with the order of their fields and the spelling of their numbers.
            page = json.loads(text)
            exact = dict(json.loads(text, object_pairs_hook=tuple, parse_float=Literal))
            rows.extend(dict(exact["result"])["rows"])
            cursor = f"&cursor={page['nextCursor']}" if page["nextCursor"] else None
        if page["result"]["truncated"] or page["rowCount"] != len(rows):
            raise SystemExit(f"{path}: {len(rows)} of {page['rowCount']} rows")
        return page["result"]["schema"], rows

    def _call(self, method, path, body=None, accept="application/json"):
        headers = {"Accept": accept, "Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status not in (200, 202):
            raise SystemExit(f"{method} {path}: {response.status} {answer.decode()}")
        return answer


def _headline(error):
    """The message is the first line of Spark's own text."""
    message = error["message"].removesuffix("…")
    first = error["detail"].strip().splitlines()[0]
    if not first.startswith("[") or not first.startswith(message):
        raise SystemExit(f"`{message}` is not the beginning of `{error['detail']}`")
