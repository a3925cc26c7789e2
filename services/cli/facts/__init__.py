"""Facts against the entries that they come from: compared with them, and made from them anew.

Both walk the sealed records in the order of their ids and turn each chain into rows with the recorder's own function,
:func:`services.recorder.facts.rows_of`.
"""
