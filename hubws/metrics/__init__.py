"""Figures for Prometheus; needs the extra `metrics`."""

from .metrics import Metrics

__all__ = ["Metrics"]
