"""Metrics of the conversation with HAProxy, and of the agent itself."""

from __future__ import annotations

from collections.abc import Iterator

from spoe_agent import __version__
from spoe_agent.agent.counts import Histogram
from spoe_agent.haproxy.tally import Side
from spoe_agent.metrics.metric import AnyMetric, Counter, Distribution, Gauge, Row
from spoe_agent.metrics.moment import Moment

SIDES: tuple[Side, ...] = ("haproxy", "agent")


def _build(_: Moment) -> Iterator[Row[float]]:
    yield (__version__,), 1


def _frames(moment: Moment) -> Iterator[Row[float]]:
    yield (), moment.contact.tally.frames


def _errors(moment: Moment) -> Iterator[Row[float]]:
    return (((side,), moment.contact.tally.errors[side]) for side in SIDES)


def _answer_s(moment: Moment) -> Iterator[Row[Histogram]]:
    yield (), moment.contact.tally.answer_s


def _questions(moment: Moment) -> Iterator[Row[float]]:
    yield (), moment.contact.questions


def _lines(moment: Moment) -> Iterator[Row[float]]:
    yield (), moment.contact.lines


def _fallbacks(moment: Moment) -> Iterator[Row[float]]:
    yield (), moment.contact.fell_back


def _processes(moment: Moment) -> Iterator[Row[float]]:
    yield (), len(moment.contact.processes.heard)


def _log_rows(moment: Moment) -> Iterator[Row[float]]:
    rows = moment.known.agent.record.rows
    yield ("written",), rows.written
    yield ("lost",), rows.lost


def _mistakes(moment: Moment) -> Iterator[Row[float]]:
    yield (), moment.mistakes


def _spans(moment: Moment) -> Iterator[Row[float]]:
    spans = moment.known.agent.record.spans
    yield ("sent",), spans.sent
    yield ("lost",), spans.lost


METRICS: tuple[AnyMetric, ...] = (
    Gauge("pointsman_build_info", ("version",), _build, "1, for the agent that answers."),
    Counter("pointsman_spop_frames_total", (), _frames, "SPOP frames that HAProxy sent."),
    Counter(
        "pointsman_spop_errors_total",
        ("side",),
        _errors,
        "SPOP that `haproxy` broke, and questions that the `agent` failed at by a fault of its own.",
    ),
    Distribution(
        "pointsman_spop_decision_seconds",
        (),
        _answer_s,
        "From a question to its answer, with what had to be asked or unloaded for it. Those of held requests are not "
        "in it.",
    ),
    Counter("pointsman_questions_total", (), _questions, "Questions that HAProxy asked."),
    Counter("pointsman_log_lines_total", (), _lines, "Lines of finished requests that HAProxy sent."),
    Counter(
        "pointsman_fallbacks_total",
        (),
        _fallbacks,
        "Requests that HAProxy decided alone, because no answer came, or not to all it asked.",
    ),
    Counter(
        "pointsman_decision_log_rows_total",
        ("outcome",),
        _log_rows,
        "Rows of `policies.decision_log`: `written`, or `lost` because the disk was full, too slow or not writable.",
    ),
    Gauge(
        "pointsman_fleet_file_mistakes",
        (),
        _mistakes,
        "Mistakes of the fleet file as it is on disk; while there are any, the fleet before the edit is in force.",
    ),
    Counter(
        "pointsman_trace_spans_total",
        ("outcome",),
        _spans,
        "Spans for `policies.traces`: `sent`, or `lost` because the collector did not take them.",
    ),
    Gauge("pointsman_haproxy_processes", (), _processes, "HAProxy's processes that ask or have requests left."),
)
