"""Exporting facts: per month one Parquet file for each table and each view of rows, and a manifest that names them.

States of a month: open (it has not ended, or a record of it has not) ─▶ closed ─▶ exported ─▶ closed again, when a late
cost or a rebuild changed its rows; the next export then replaces its files. How it fails: files are written beside
their place and moved there when complete, the manifest last. An export that was interrupted begins its month again, and
leaves every month before it alone.
"""
