"""The study's page: one HTML file that asks nothing of the network."""

from __future__ import annotations

from ovcore.study.page.render import render
from ovcore.study.page.report import Report, Section

__all__ = ["Report", "Section", "render"]
