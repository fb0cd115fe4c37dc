"""Makes botocore.jsonl: 1,000 requests to Kinesis, signed by botocore, one JSON text per line.

`$(python3 e2e/bring.py python) data-plane/protocol/tests/vectors/sign.py` writes it again; the
same version of botocore makes the same file. Members: `d` seconds after 2026-01-01T00:00:00Z, `q`
query, `h` headers with single-letter names for the common ones, `b` body, `t` whether the key has a
session token. The clock of botocore is set, nothing is sent.
"""

import datetime
import json
import pathlib
import random
import urllib.parse
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

COUNT = 1000
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "tok/en+=="
SHORT = {
    "host": "o",
    "content-type": "c",
    "x-amz-target": "t",
    "x-amz-date": "x",
    "authorization": "a",
}
OPERATIONS = ("PutRecord", "PutRecords", "GetRecords", "ListShards", "CreateStream")
HOSTS = ("localhost:4567", "127.0.0.1:4566", "kinesis.us-east-1.amazonaws.com", "[::1]:80")
WORDS = "abc ABC 019 -_.~ /+= é漢 %2F %zz & ? # , ; ' \" ( ) * ! $ @ :"


def text(rng, longest):
    return "".join(rng.choice(WORDS) for _ in range(rng.randrange(longest)))


def path(rng):
    if rng.random() < 0.8:
        return "/"
    safe = rng.choice(("", "@:!$&'()*+,;="))
    segments = [urllib.parse.quote(text(rng, 6), safe) for _ in range(rng.randrange(1, 4))]
    return "/" + "/".join(segment for segment in segments if segment.strip("."))


def request(rng):
    query = ""
    if rng.random() < 0.2:
        pairs = [(text(rng, 6) or "k", text(rng, 8)) for _ in range(rng.randrange(1, 4))]
        query = "?" + urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote, safe="-_.~")
    headers = {
        "Host": rng.choice(HOSTS),
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"Kinesis_20131202.{rng.choice(OPERATIONS)}",
    }
    if rng.random() < 0.3:
        headers["X-Custom"] = f"  a  {rng.choice('bcd')}   {rng.randrange(99)} "
    body = json.dumps({"StreamName": "s", "Data": text(rng, 40)}, ensure_ascii=False)
    url = f"http://{headers['Host']}{path(rng)}{query}"
    return AWSRequest(method="POST", url=url, data=body.encode(), headers=headers)


def signed(rng):
    seconds = rng.randrange(300)
    token = rng.random() < 0.3
    made = request(rng)
    credentials = Credentials(KEY, SECRET, TOKEN if token else None)
    kind = botocore.auth.SigV4QueryAuth if rng.random() < 0.3 else botocore.auth.SigV4Auth
    now = START + datetime.timedelta(seconds=seconds)
    with mock.patch("botocore.auth.get_current_datetime", lambda **_: now.replace(tzinfo=None)):
        kind(credentials, "kinesis", "us-east-1").add_auth(made)
    parts = urllib.parse.urlsplit(made.url)
    headers = [[SHORT.get(n.lower(), n.lower()), v] for n, v in made.headers.items()]
    found = {"d": seconds, "q": parts.query, "h": headers, "b": made.body.decode()}
    if parts.path != "/":
        found["p"] = parts.path
    if token:
        found["t"] = 1
    return found


def main():
    rng = random.Random(4)
    lines = [json.dumps(signed(rng), ensure_ascii=False, separators=(",", ":")) for _ in range(COUNT)]
    target = pathlib.Path(__file__).with_name("botocore.jsonl")
    target.write_text("\n".join(lines) + "\n")


main()
