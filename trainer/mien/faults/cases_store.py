"""Faults of an object store: moto's S3 behind a gateway that answers badly, or not at all."""

from __future__ import annotations

import random
from pathlib import Path

from mien.data.bench_servers import CREDENTIALS
from mien.faults.gateway import Gateway
from mien.faults.lab import STEPS, Case, Lab, Outcome, reached

_SET = "s3://faults/set"
_KEYS = (f"data.train.shards={_SET}", "data.remote.timeout_s=1", "data.workers=0")


def _environment(root: Path, endpoint: str) -> dict[str, str]:
    return {"MIEN_CACHE": str(root / "cache"), "AWS_ENDPOINT_URL": endpoint, **CREDENTIALS}


def _misbehaving(kind: str, shares: dict[str, float]) -> Case:
    """A case of a store that answers a share of requests badly; killed once, so both sessions meet it."""

    def case(lab: Lab, root: Path, chance: random.Random) -> Outcome:
        root.mkdir(parents=True)
        fetch = chance.choice(("shard", "range"))  # ten requests, or hundreds
        keys = (*_KEYS, f"data.remote.fetch={fetch}", "data.remote.attempts=12")
        with Gateway(lab.store(), kind, shares[fetch], chance) as gateway:
            environment = _environment(root, gateway.url)
            (session,) = lab.start(root, *keys, environment=environment)
            session.until(reached(root, chance.randint(2, STEPS // 2)))
            session.kill()
            run = lab.finish(root, *keys, environment=environment)
            if not gateway.hurt["wrong"]:
                return Outcome(False, f"none of {gateway.hurt['all']} requests went wrong")
        return lab.same(run)

    return case


def gone(lab: Lab, root: Path, chance: random.Random) -> Outcome:
    """The store goes in the middle: one line and code 2; when it is back the run goes on."""
    root.mkdir(parents=True)
    keys = (*_KEYS, "data.remote.fetch=range", "data.remote.attempts=3", "data.prefetch=1")
    with Gateway(lab.store(), "500", 0.0, chance) as gateway:
        (session,) = lab.start(root, *keys, environment=_environment(root, gateway.url))
        session.until(reached(root, chance.randint(2, STEPS // 2)))
        session.pause()  # else it may end meanwhile
    session.proceed()
    code = session.wait()
    if code != 2 or "cannot be read after 3 attempts" not in session.said() or "Traceback" in session.said():
        return Outcome(False, f"code {code}: {session.said()[-200:]}")
    run = lab.finish(root, *keys, environment=_environment(root, lab.store()))
    return lab.same(run, said=" after code 2")


CASES: dict[str, Case] = {
    "object store replies 500": _misbehaving("500", {"shard": 0.4, "range": 0.1}),
    "object store drips bytes": _misbehaving("drip", {"shard": 0.3, "range": 0.03}),
    "object store resets": _misbehaving("reset", {"shard": 0.4, "range": 0.1}),
    "object store away": gone,
}
