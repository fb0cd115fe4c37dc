"""Scenario of who is let in: clients whose key is replaced."""

import time

import load
from machine import until
from scenario import STREAMS, Installation, say

KEY_SECONDS = 30
# Calls in a row, each on a new connection: more than gateways, several times over.
CALLS_IN_A_ROW = 6
REFUSED = ("UnrecognizedClientException", "InvalidSignatureException")


def key_rotation(installation: Installation) -> None:
    """The writers' key is replaced as an administrator does it: a second one, the clients change over,
    the first is deleted and stops working. No call of theirs is refused, and nothing is restarted."""
    gateways = uids(installation)
    first = installation.make_key("first")
    wait_taken(installation, first)
    with installation.under_load("keys", key=first, shardCount=1) as running:
        second = installation.make_key("second")
        say(f"a new key was taken after {wait_taken(installation, second):.1f} s")
        assert may(installation, first), "the old key stopped working before it was deleted"
        running.kinesis = installation.client(retries=False, key=second)
        installation.target.kubectl("delete", "secret", "first", "-n", STREAMS)
        begin = time.monotonic()
        assert until(lambda: not may(installation, first), KEY_SECONDS, pause=0.3), (
            "a deleted key still works")
        say(f"a deleted key was refused after {time.monotonic() - begin:.1f} s")
    refused = {phase: dict(words) for phase, words in running.phases.failed.items()
               if any(word.removeprefix("read ") in REFUSED for word in words)}
    assert not refused, f"calls of the writers were refused: {refused}"
    assert uids(installation) == gateways, "gateways were replaced"
    installation.target.kubectl("delete", "secret", "second", "-n", STREAMS)


def uids(installation: Installation) -> set:
    return {pod["metadata"]["uid"] for pod in installation.pods("gateway")}


def wait_taken(installation: Installation, key: tuple) -> float:
    """Waits until a key works; the seconds that it took."""
    begin = time.monotonic()
    assert until(lambda: may(installation, key), KEY_SECONDS, pause=0.3), "the new key is refused"
    return time.monotonic() - begin


def may(installation: Installation, key: tuple) -> bool:
    """Whether every gateway takes the key, as far as some calls on new connections tell."""
    for _ in range(CALLS_IN_A_ROW):
        try:
            installation.client(retries=False, key=key).list_streams()
        except load.WRONG as error:
            said = load.why(error)
            assert said in REFUSED, said
            return False
    return True
