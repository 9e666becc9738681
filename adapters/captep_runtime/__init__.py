"""The impure shell around any gateway: passes, the loop, logs, metrics and health."""

from captep_runtime._certificate import Certificate, CertificateError
from captep_runtime._execute import ERROR_INTERVAL, Pass, run_pass
from captep_runtime._health import (
    Access,
    Address,
    Page,
    PageServer,
    Probe,
    metrics_page,
    parse_bind_address,
    probe_page,
)
from captep_runtime._history import Attempt, WriteHistory
from captep_runtime._log import SILENT, JSONFormatter, Logger, Reporter, TextFormatter
from captep_runtime._loop import Loop
from captep_runtime._metrics import NO_METRICS, InMemoryMetrics, Metrics, PrometheusMetrics
from captep_runtime._schedule import Tuning

__all__ = [
    "ERROR_INTERVAL",
    "NO_METRICS",
    "SILENT",
    "Access",
    "Address",
    "Attempt",
    "Certificate",
    "CertificateError",
    "InMemoryMetrics",
    "JSONFormatter",
    "Logger",
    "Loop",
    "Metrics",
    "Page",
    "PageServer",
    "Pass",
    "Probe",
    "PrometheusMetrics",
    "Reporter",
    "TextFormatter",
    "Tuning",
    "WriteHistory",
    "metrics_page",
    "parse_bind_address",
    "probe_page",
    "run_pass",
]
