"""The rounds of a run. Read first, in this order:

loop             one round after another: ask, add, step, evaluate, keep the best
aggregation      what an aggregator is: the one place where single sites' numbers could be seen; the plain sum
secure_sum       the aggregator of every real run: it sees masked vectors, and unmasks their sum alone
exchange         messages of one question to the sites and back
transcripts      what the sites sent in a round, on disk: for audits, and for a process that goes on after a crash
audit_feed       how sites that audit get those transcripts
checkpoint       where a run stands, on disk after every round
"""
