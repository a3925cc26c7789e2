"""Planted bugs: each breaks one rule of the protocol, as a change of one passage of the code.

A mutant is caught when the suite that it names, or the one test of it, fails because of it. The passage has to stand in
its file exactly once, so that a mutant which no longer says what it means fails too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIMULATION: Final = "simulation"
FENCE: Final = "tests/integration/test_ledger_append.py"
WINDOW: Final = "tests/unit/runtime/test_runtime_sliding.py"
BINDING: Final = "tests/unit/tenancy/test_tenancy_binding.py"
WAKEUP: Final = "tests/unit/runtime/test_runtime_wakeup.py"
PLACES: Final = "tests/integration/test_keyring_places.py::test_who_takes_the_note_back_gets_nothing"
FEEDBACK: Final = "tests/integration/test_recorder_feedback.py::test_another_tenants_record_and_none_are_told_alike"
STORE: Final = "tests/integration/test_executor_side_rows.py"
CHOICE: Final = "tests/unit/policy/test_policy_choice.py"
LAWS: Final = "tests/unit/policy/test_policy_laws.py"
CONTRACT: Final = "tests/simulation/contract/test_contract_record.py"
REDACTION: Final = "tests/unit/detect/test_detect_jobs.py"
GUARD: Final = "tests/unit/executor/test_executor_guard.py"
DETECT_BOUNDS: Final = "tests/unit/detect/test_detect_bounds.py"
DETECT_IDS: Final = "tests/unit/detect/test_detect_identifiers.py"
DETECT_RULES: Final = "tests/unit/detect/test_detect_rules.py"
ERASURE: Final = "tests/integration/test_erasure_steps.py"


@dataclass(frozen=True)
class Mutant:
    """One planted bug."""

    name: str
    file: str
    passage: str
    planted: str
    suite: str = SIMULATION
    shows: str = ""
    """What the suite has to say, so that a mutant is not caught for another reason."""

    def plant(self, tree: Path) -> None:
        """Put it into a copy of the code."""
        file = tree / self.file
        source = file.read_text(encoding="utf-8")
        assert source.count(self.passage) == 1, f"{self.name}: its passage is not in {self.file}, or not once"
        file.write_text(source.replace(self.passage, self.planted), encoding="utf-8")


MUTANTS: Final = (
    Mutant(
        "an offset is committed before its work is done",
        "services/runtime/sliding.py",
        "        await self._work(record)\n        window.finish(slot)\n",
        "        window.finish(slot)\n        await self._work(record)\n",
        suite=WINDOW,
    ),
    Mutant(
        "a failed batch is acknowledged",
        "services/runtime/microbatch.py",
        "            self._failures += 1\n            raise\n",
        "            self._failures += 1\n            return\n",
    ),
    Mutant(
        "another's claim is taken for one's own",
        "services/executor/work.py",
        "        if stored is not None and not (_is_stored(entry, stored) and len(stored) == 1):\n"
        "            return await self._meets(stored)\n",
        "",
        shows="a claim that is not stored",
    ),
    Mutant(
        "a call is made without its intent",
        "services/executor/work.py",
        "        stored = await self.tools.store.append("
        "AppendRequest(ledger.writes(writer, self.head, now), content))\n"
        "        if stored is not None and not (_is",
        "        stored = None\n        if stored is not None and not (_is",
        shows="a claim that is not stored",
    ),
    Mutant(
        "a call that failed is tried again under its claim",
        "services/executor/work.py",
        "            call = await self.tools.routes.call(\n"
        "                request, step.route, claim.entry_id, timeout_s=self.tools.attempt_timeout_s\n"
        "            )\n",
        "            for _ in range(2):\n"
        "                call = await self.tools.routes.call(\n"
        "                    request, step.route, claim.entry_id, timeout_s=self.tools.attempt_timeout_s\n"
        "                )\n"
        "                if not isinstance(call.outcome, Broken):\n"
        "                    break\n",
        shows="was charged 2 times",
    ),
    Mutant(
        "a live worker's claim is taken over",
        "services/executor/work.py",
        "        return claim.worker in await self.tools.store.patiently(lambda: self.tools.lease.alive(",
        "        return None in await self.tools.store.patiently(lambda: self.tools.lease.alive(",
        shows="has two owners",
    ),
    Mutant(
        "a call starts without a lease",
        "services/executor/work.py",
        "        if self.tools.lease.valid and self._lasts(claim):\n",
        "        if True:\n",
        shows="lease has expired",
    ),
    Mutant(
        "a second try is not disclosed",
        "services/executor/work.py",
        "            may_double_pay=step.may_double_pay,\n",
        "            may_double_pay=False,\n",
        shows="in silence",
    ),
    Mutant(
        "a doubt is forgotten",
        "services/runtime/chain.py",
        "        return any(claim.seq >= self._disclosed_until for claim in self.unresolved)\n",
        "        return False\n",
        shows="in silence",
    ),
    Mutant(
        "a late answer is dropped",
        "services/executor/recording.py",
        "        if answer.learned:\n",
        "        if not answer.learned:\n",
        shows="is in no record",
    ),
    Mutant(
        "side rows are written for a redelivery",
        "services/executor/store.py",
        "fresh = [request for request in requests if request.chain.entries[0].record_id not in stored]",
        "fresh = list(requests)",
        suite=STORE,
    ),
    Mutant(
        "a result is published before its seal",
        "services/recorder/stage.py",
        "        async with self._host.pool.acquire() as connection, connection.transaction():\n"
        "            met = await ledger.append(\n",
        "        sealing = {r: [*chains[r], *facts.parse(writer.entries)] for r, writer in writers.items()}\n"
        "        await self._publish(sealing)\n"
        "        async with self._host.pool.acquire() as connection, connection.transaction():\n"
        "            met = await ledger.append(\n",
    ),
    Mutant(
        "who loses a key makes a record all the same",
        "services/classifier/stage.py",
        "        winners = [(first[key], won[key]) for key in keys if key in won]\n",
        "        winners = [(first[key], won.get(key, False)) for key in keys]\n",
    ),
    Mutant(
        "a hold is deleted before its release is stored",
        "services/router/release.py",
        '            chains = await ledger.read_chains(connection, [row["record_id"] for row in rows])\n',
        '            await self._host.pool.execute(_SQL["delete_held"], [row["record_id"] for row in rows])\n'
        '            chains = await ledger.read_chains(connection, [row["record_id"] for row in rows])\n',
    ),
    Mutant(
        "nobody sweeps",
        "services/recorder/sweeper.py",
        '        if not await self._host.pool.fetchval(_SQL["any_silent"]):\n',
        "        if True:\n",
    ),
    Mutant(
        "a verdict counts for whoever's record it names",
        "services/recorder/feedback.py",
        "given.get((item.feedback.tenant, record_id))",
        "next((ids for (_, r), ids in given.items() if r == record_id), None)",
        suite=FEEDBACK,
        shows="test_another_tenants_record_and_none_are_told_alike",
    ),
    Mutant(
        "a verdict is known by where it stood",
        "services/recorder/feedback.py",
        "entry_of(record_id, item.feedback)\n",
        "entry_of(record_id, item.feedback)\n"
        "                entry_id = derive(entry_id, EntryKind.FEEDBACK, item.record.offset)\n",
    ),
    Mutant(
        "an append takes any predecessor",
        "schemas/sql/migrations/0001_record.sql",
        " AND p.entry_hash IS NOT DISTINCT FROM i.prev",
        "",
        suite=FENCE,
    ),
    Mutant(
        "the follower of a conflicting row is inserted",
        "schemas/sql/migrations/0001_record.sql",
        "        WHERE i.place > 1 AND (i.rec IN (SELECT f.record_id FROM first f)) IS TRUE\n",
        "        WHERE i.place > 1\n",
        suite=FENCE,
    ),
    Mutant(
        "any kind may follow any other",
        "schemas/sql/migrations/0001_record.sql",
        "        JOIN record.transition t ON t.after = coalesce(p.kind, '') AND t.kind = i.kind\n",
        "",
        suite=FENCE,
    ),
    Mutant(
        "a rule that caps the output lets a job fit",
        "services/policy/plan.py",
        "        fit_output = meet([defaults, own]).max_output_tokens\n",
        "        fit_output = limits.max_output_tokens\n",
        suite=CHOICE,
    ),
    Mutant(
        "two rules allow what each of them allows",
        "services/policy/restrictions.py",
        '"allow_residency", "allow_hosting"})',
        '"allow_residency"})',
        suite=LAWS,
    ),
    Mutant(
        "a condition that fails does not apply",
        "services/policy/matching.py",
        "        return Fired(rule, str(error))\n",
        "        return None if error else None\n",
        suite=LAWS,
    ),
    Mutant(
        "any signature is a right one",
        "services/tenancy/binding.py",
        "return Bound(tenant, claimed) if hmac.compare_digest(_mac(secret, value), given) else WRONG_SIGNATURE",
        "return Bound(tenant, claimed)",
        suite=BINDING,
    ),
    Mutant(
        "an unsigned message speaks for a tenant with keys",
        "services/tenancy/binding.py",
        "UNSIGNED_BUT_BOUND if tenant is not None and tenant.is_bound else Bound(claimed, claimed)",
        "Bound(claimed, claimed)",
        suite=BINDING,
    ),
    Mutant(
        "the result of a new tenant's job goes to the shared topic",
        "services/runtime/wakeup.py",
        "        own = came_on_own or self._tenants",
        "        own = self._tenants",
        suite=WAKEUP,
    ),
    Mutant(
        "content is handed out in the transaction that notes it",
        "schemas/sql/migrations/0007_erasure.sql",
        "\n        AND l.xid IS DISTINCT FROM pg_current_xact_id_if_assigned()",
        "",
        suite=PLACES,
    ),
    Mutant(
        "content is stored for a claim that did not go in",
        "schemas/sql/queries/ledger.sql",
        "    WHERE c.record_id NOT IN (SELECT s.record_id FROM stored s)\n",
        "",
        suite=f"{CONTRACT}::test_content_goes_in_with_its_chain_or_not_at_all",
    ),
    Mutant(
        "content is stored although its record is being erased",
        "schemas/sql/migrations/0007_erasure.sql",
        "    SELECT r.id FROM unnest(p_records) AS r (id)\n"
        "    WHERE NOT EXISTS (SELECT FROM record.erasure e WHERE e.record_id = r.id)\n",
        "    SELECT r.id FROM unnest(p_records) AS r (id)\n",
        suite=f"{ERASURE}::test_nothing_is_stored_for_a_record_on_the_list",
    ),
    Mutant(
        "an erasure does not wait for transactions in flight",
        "schemas/sql/queries/erasure.sql",
        "WHERE done_at IS NULL AND horizon <= pg_snapshot_xmin(pg_current_snapshot())\n",
        "WHERE done_at IS NULL\n",
        suite=f"{ERASURE}::test_an_erasure_waits_for_whoever_may_still_store_content",
    ),
    Mutant(
        "keys are deleted before the erasure is in the log",
        "services/recorder/erasures.py",
        '            await self._begin([row for row in due if not row["begun"]])\n'
        '            await self._destroy([row["record_id"] for row in due])\n',
        '            await self._destroy([row["record_id"] for row in due])\n'
        '            await self._begin([row for row in due if not row["begun"]])\n',
        suite=f"{ERASURE}::test_nothing_is_destroyed_while_the_log_cannot_be_written",
    ),
    Mutant(
        "a value is replaced only where it gives itself away",
        "services/detect/redactor.py",
        "places = sorted([*found[index], *again.find(text)], key=_by_place)",
        "places = sorted(found[index], key=_by_place)",
        suite=REDACTION,
    ),
    Mutant(
        "a job is sent although not all of it could be redacted",
        "services/executor/guard.py",
        "    if not made.whole:\n        return None\n",
        "",
        suite=GUARD,
    ),
    Mutant(
        "an answer that cannot be looked at passes",
        "services/executor/guard.py",
        'restored, result = answer, "error"',
        'restored, result = answer, "pass"',
        suite=GUARD,
    ),
    Mutant(
        "a number is not held to its check digit",
        "services/detect/patterns.py",
        "                    if not verdict:\n",
        "                    if not verdict and rule.pattern.alone:\n",
        suite=DETECT_IDS,
    ),
    Mutant(
        "the mildest of overlapping findings is kept",
        "services/detect/findings.py",
        "            *(-part for part in severity(found)),\n",
        "            *severity(found),\n",
        suite=DETECT_RULES,
        shows="test_the_gravest_of_overlapping_findings_is_kept",
    ),
    Mutant(
        "an incomplete analysis does not raise the data class",
        "services/detect/classes.py",
        "        yield Cause(len(order) - 1, _TRUNCATED, ",
        "        yield Cause(0, _TRUNCATED, ",
        suite=DETECT_BOUNDS,
        shows="test_work_over_its_limit_is_cut_and_said_so",
    ),
)
