"""Searches near a documented recipe; `mnistpipe.tune` is its command.

    options.py    the flags that only a sweep has
    settings.py   what a sweep is, kept in its folder and compared
    space.py      recipe → hyperparameters with ranges; a point → its recipe
    trials.py     one trial: the trainer as a process in a folder of its own
    search.py     keras-tuner's oracles and tuner around that
    roles.py      alone, chief, worker, or chief and workers on this machine
    results.py    what the folder says of its trials; the comparison
    report.py     table, CSV, plot, TensorBoard's HParams, best.cfg

Only search.py imports keras-tuner, and with it TensorFlow.
"""
