"""One training on several processes, of one machine or of many, by JAX.

    main ─ launcher ─► a process for each place ─ group.run ─► training

The launcher starts the processes of this machine, waits for them, and ends
all of them when one fails. The processes form a group: every process has the
whole network, computes its own part of each batch, and takes part in the sums
over the whole batch. Process 0 alone writes the run folder and prints.
"""
