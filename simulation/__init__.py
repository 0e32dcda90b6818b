"""A federation on one machine, and what it is compared with: each site alone, and all images pooled.

Read in this order:

    sweep           several runs that differ in some settings, with one table
    seeds           all repetitions of a run, and the files that it writes
    shared_parts    the repetitions, and what the runs of a sweep have in common
    compare         one seed: train in every way, score everything on the test cases
    together        all sites train together: the federation itself, in memory or over Flower's simulation engine
    train           the rounds of one training, with a checkpoint after each
    baselines       each site alone, and all images pooled
    personalised    what each site makes of the federated model for itself
    scoring         a trained model's figures on cases
    model_file      the trained model on disk
    experiment      what they all need of one seed: data, model, folder
    run_and_show    one run or a sweep, and what people read of it

`simulate.py` is its command line. Nothing else imports this package: a deployed federation does not need it.
"""

from typing import Literal

Engine = Literal["memory", "flower"]
"""What carries the messages of the federation: this process, or Flower's simulation engine."""
