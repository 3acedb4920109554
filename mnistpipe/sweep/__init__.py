"""Searches near a documented recipe; `mnistpipe.tune` is the command.

    options.py      the options that only a sweep has
    settings.py     the settings of a sweep, which its folder keeps
    space.py        the search space, and the recipe of a point
    records.py      reads and checks trial.json and outcome.json
    trials.py       one trial: the trainer as a process in the trial's folder
    search.py       keras-tuner's oracles, which propose the points
    coordinator.py  hands out trials and takes them back
    port.py         the chief's port for workers of other machines
    roles.py        alone, chief or worker
    results.py      the rows of a sweep; the comparison
    report.py       table, CSV, plot, TensorBoard's HParams, best.cfg

Only search.py imports keras-tuner, and with it TensorFlow.
"""
