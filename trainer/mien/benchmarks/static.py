"""Benchmarks of pictures."""

from __future__ import annotations

from mien.benchmarks.affectnet import AFFECTNET_7, AFFECTNET_8
from mien.benchmarks.base import Benchmark
from mien.benchmarks.bp4d import BP4D
from mien.benchmarks.ckplus import CK_PLUS
from mien.benchmarks.disfa import DISFA
from mien.benchmarks.faba import FABA_AU, FABA_EMOTION
from mien.benchmarks.face_human_bench import FACE_HUMAN_BENCH
from mien.benchmarks.facexbench import FACEXBENCH
from mien.benchmarks.ferplus import FERPLUS
from mien.benchmarks.jaffe import JAFFE
from mien.benchmarks.rafdb import RAF_DB, RAF_DB_COMPOUND
from mien.benchmarks.sfew import SFEW2

STATIC: dict[str, Benchmark] = {
    one.name: one
    for one in (
        RAF_DB, AFFECTNET_7, AFFECTNET_8, FERPLUS, RAF_DB_COMPOUND, FABA_EMOTION, CK_PLUS, JAFFE, SFEW2,
        FABA_AU, DISFA, BP4D, FACE_HUMAN_BENCH, FACEXBENCH,
    )
}  # fmt: skip
"""By name."""
