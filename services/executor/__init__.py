"""The executor: carries out decisions, one attempt at a time in the record.

    `routed.*` ─▶ window ─▶ read job ─▶ plan ─▶ claim ─▶ call ─▶ record ─┬▶ plan again
                                          └▶ held, or `outcomes`         └▶ validated ─▶ `outcomes`

Owns adapters, attempts and claims. The database decides who holds a claim; a claim is committed before its call. How it
fails: a crashed or paused worker's claim is in doubt once its lease has expired, and doubt is never resolved silently;
a fenced worker's answer goes aside with its cost.
"""
