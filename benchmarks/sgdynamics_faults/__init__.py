"""What happens to runs that are cut off, and to their checkpoints: `make faults`.

kills       `kills`     processes are killed by SIGKILL at random moments, fifty times, and started again until they end
signals     `kills`     SIGTERM and SIGINT, in the same way
disks       `disks`     full, read-only, vanished; two runs on one folder
devices     `devices`   one device, several, several processes; runs that go on with another number of them

What must hold is that the result is the result of a run that nothing happened to, bit for bit: every estimate, every
replica's last state. A `worker` is a process that makes one run, or several; `processes` starts and watches them;
`cases` are the runs.

A kill has lost nothing if the folder afterwards holds the last confirmed checkpoint or a later one; the next process
that comes so far goes on from the last one there is, never from an earlier one or from the start; and the run at the
end has the result of the uninterrupted one on the same number of devices.
"""
