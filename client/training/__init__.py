"""How a site answers: in the clear (simulation), behind the secure sum, following its run, or evaluating.

`site` is read first; `secure_site`, `auditing_site` and `evaluating_site` each stand around it.
"""
