"""Plans that wait for this hospital: fetched, decided on, judged against its rules.

`log_witness` holds the coordinator to the log that it showed before."""
