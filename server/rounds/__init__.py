"""The rounds of a run. `loop` is read first; then `aggregation`, `secure_sum`, `exchange`, `checkpoint`."""
