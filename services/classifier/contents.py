"""What the texts of a job say: all of them together, and each by itself.

Findings, language and tokens are of the whole. A task is what the prompt asks for, documents are what it asks about.
What raises a label is told text by text, so that a long or harmless document cannot hide another one: domains of the
prompt and of each document, suspicion of every text and of the whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final

from schemas.entries import FindingData
from schemas.job import Job
from services.detect import Analysis, Finding, OwnRules, Suspicion, analyse, suspicion
from services.detect.analysis import HIGH_STAKES, WORST, Attempts
from services.detect.injection import is_looked_at_whole
from services.detect.lexicon import high_stakes_domains, task_family

BETWEEN: Final = "\n\n"
CLEAN: Final = Suspicion(0.0, False, ())


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the texts of a job.

    ``texts`` are those of :meth:`Job.texts`, then what else a model reads of it (:func:`further_texts`); findings and
    ``suspicions`` count them in this order. Without documents, and where nothing is suspected, signs are told of the
    whole only. ``documents_from`` is the number of the first document.
    """

    texts: list[str]
    documents_from: int
    analysis: Analysis
    findings: list[FindingData]
    suspicions: list[Suspicion]
    worst: Suspicion
    """What is suspected of the job: the most of any text and of the whole, with all signs."""
    task: str
    task_confidence: float
    domains: list[str]
    failed: list[str]

    @property
    def truncated(self) -> bool:
        """Whether there may be more than was found."""
        return self.analysis.truncated or bool(self.failed)


def further_texts(job: Job) -> list[str]:
    """Return what else a model reads of a job: arguments of calls, titles of documents, descriptions of tools."""
    texts = [call.function.arguments for message in job.messages or () for call in message.tool_calls or ()]
    texts += [document.title for document in job.documents or () if document.title]
    texts += [tool.function.description for tool in job.tools or () if tool.function.description]
    if job.response_format is not None and job.response_format.json_schema is not None:
        texts += [job.response_format.json_schema.description or ""]
    texts += job.params.stop or [] if job.params else []
    return [text for text in texts if text]


def read(job: Job, own: OwnRules | None = None) -> Contents:
    """Look at everything that a job says. Never raises: a detector that does has said the worst."""
    texts = job.texts()
    prompts = len(texts) - len(job.documents or ())
    documents_until = len(texts)
    texts += further_texts(job)
    whole = texts[0] if len(texts) == 1 else BETWEEN.join(texts)
    analysis = analyse(whole, own)
    attempt = Attempts()
    task, confidence, domains = analysis.task, analysis.task_confidence, list(analysis.domains)
    worst = Suspicion(analysis.injection_score, analysis.injection_suspected, analysis.injection_signals)
    suspicions = [worst if len(texts) == 1 else CLEAN] * len(texts)
    # No part of a text is more suspect than the whole, so hardly any job has to be looked at text by text.
    signs = worst.suspected or (worst.score and job.documents)
    if len(texts) > 1 and (signs or not is_looked_at_whole(whole)):
        suspicions = [attempt("injection", partial(suspicion, text), WORST) for text in texts]
        worst = _worst([worst, *suspicions])
    if len(texts) > prompts:
        asked = BETWEEN.join(texts[:prompts]).encode(errors="replace")
        task, confidence = attempt("tasks", lambda: task_family(asked), ("chat", 0.0))
        parts = [asked, *(text.encode(errors="replace") for text in texts[prompts:documents_until])]
        each = [attempt("domains", partial(high_stakes_domains, part), HIGH_STAKES) for part in parts]
        domains = list(dict.fromkeys(domain for some in each for domain in some))
    return Contents(
        texts=texts,
        documents_from=prompts,
        analysis=analysis,
        findings=_located(analysis.findings, texts),
        suspicions=suspicions,
        worst=worst,
        task=task,
        task_confidence=confidence,
        domains=domains,
        failed=[*analysis.detectors_failed, *dict.fromkeys(attempt.failed)],
    )


def _worst(every: Sequence[Suspicion]) -> Suspicion:
    return Suspicion(
        max([one.score for one in every]),
        any(one.suspected for one in every),
        tuple(sorted({signal for one in every for signal in one.signals})),
    )


def _located(findings: Sequence[Finding], texts: Sequence[str]) -> list[FindingData]:
    """Give each finding the number of its text and its span within it; one that spans several is one of each."""
    if not findings:
        return []
    starts = [0, *accumulate(len(text) + len(BETWEEN) for text in texts)][: len(texts)]
    located: list[FindingData] = []
    for finding in findings:
        first = bisect_right(starts, finding.start) - 1
        for text in range(first, bisect_right(starts, finding.end - 1)):
            start, end = max(0, finding.start - starts[text]), min(len(texts[text]), finding.end - starts[text])
            if start < end:
                located.append(
                    FindingData(
                        type=finding.type,
                        text=text,
                        start=start,
                        end=end,
                        confidence=finding.confidence,
                        detector=finding.detector,
                    )
                )
    return located
