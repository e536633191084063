"""Evaluation: protocols with intervals and baselines in one table, and a self-contained report."""

from mien.evaluation.assess import BASELINES, PROTOCOLS, TASKS, assess, evaluate
from mien.evaluation.cnn import CnnConfig
from mien.evaluation.report import Report, Row, print_table

__all__ = [
    "BASELINES",
    "PROTOCOLS",
    "TASKS",
    "CnnConfig",
    "Report",
    "Row",
    "assess",
    "evaluate",
    "print_table",
]
