"""What `sgdynamics --help` says."""

HELP = """\
usage: sgdynamics COMMAND [OPTIONS]

Stochastic gradient descent as a stochastic process. One problem is run three ways, as thousands of replicas of SGD, as
the stochastic differential equation that is said to model it, and as exact theory; whether the three agree is printed
with error bars and verdicts. Every figure and claim of four papers is an experiment that runs by its name.

Try first:
  sgdynamics demo                      real data, compared in one table: two minutes on two cores
  sgdynamics run gross2024/fig5b       one figure of a paper: 20 s

Run experiments
  demo                                 the demonstration
  list                                 all experiments, with source and summary
  run NAME                             one of them; run NAME --help shows all its parameters
  run 'gross2024/*' [NAME...]          all that match or are named, several at a time
  reproduce                            all there are

Look at results
  report [DIR]                         one page of all that is stored: pictures, claims, verdicts
  plot DIR                             draws a stored figure anew, also as svg or pdf

Measure speed
  bench [NAME...]                      against peers and the machine's limit

Complete words in your shell
  completion bash                      > ~/.local/share/bash-completion/completions/sgdynamics
  completion zsh                       > a file called _sgdynamics in a folder of $fpath
  completion tcsh                      > a file, sourced by ~/.tcshrc

Options of run, demo and reproduce: --preset paper, --out DIR, --force, --resume, --quiet, --verbose, --json.
Options of every command: sgdynamics COMMAND --help. Version: sgdynamics --version.

Where results go: results/NAME/, unless --out says otherwise: data.nc (for xarray.open_dataset), claims.json,
config.json (all that is needed to run it again), figure.png. A result that is there already is shown, not computed
again. Networks that experiments continue from are kept in ~/.cache/sgdynamics.

Exit codes: 0 done; 1 a verdict surprises, an experiment failed, or a bug, with its traceback; 2 a bad value, which the
message names; 128 + n stopped by signal n, and --resume goes on.

Read on: the README and docs/ of the source. In Python: import sgdynamics as sgd; help(sgd.simulate).
"""
