"""What a step of one replica of linear regression costs in each form: sizes in, nanoseconds out.

With P samples, N inputs, batch size S and k steps from one record to the next, in float32,

    residuals     (a (S + 2) P (k − 1) + counts + parameters)/k     rows of the Gram matrix, and the residuals, read and
                                                                    written; to residuals and back once in k steps, of
                                                                    which the last is made in the parameters
    counts        2 g P (N + n)                                     products of matrices; vectors of length P
    parameters    b S (N + m)                                       rows, fetched once and read twice

beside drawing, which is the same for all and left out. Rows are read at random: a is the mean of ROW and FAR_ROW over
the parts of the Gram matrix, 4 P² bytes, that are in a core's cache and beyond.

The coefficients were fitted to 28 sizes (P 50…4000, N 10…300, S 1…300, k = 4, 20 and 100, 128 to 512 replicas on a
core): processor time of a core of an Intel Xeon with AVX-512 and 2 MB of second cache a core, jax 0.10.2, CPU devices
of one core each, forms in turn, medians of four. There the form that is chosen takes 2 % longer than the fastest on
average, 28 % at worst, and in 4 of 84 cases over 15 %; at 22 sizes drawn at random and not fitted to, 1 %, 23 % and 3
of 66. What was not measured: forms that seemed four times as slow as the best.

Times themselves are met to some 30 % only. What is left out: rows of a length that is no multiple of the vectors' cost
more; so do minibatches of all replicas together, S N numbers for each, that do not fit the cache. What counts are the
coefficients' ratios, which move less from machine to machine than they do; near a tie either form will do.
"""

ROW = 0.095
"""a, of a number of a row that is added up, from a core's cache."""
FAR_ROW = 0.2
"""a, from beyond."""
CACHE = 2**21
"""Bytes of a core's own (second) cache."""
FETCHED_ROW = 0.48
"""b, of a number of a row that is fetched and read twice."""
ROW_START = 25
"""m: a row costs as much as one of so many numbers more."""
PRODUCT = 0.022
"""g, of a multiplication and addition in a product of matrices."""
VECTORS = 37
"""n: what is done to vectors of length P, the counting among it, costs as much as so many inputs more."""


def nanoseconds(samples: int, inputs: int, batch_size: int, every: int) -> dict[str, float]:
    """The cost of a step of one replica in each form, by name."""
    far = max(0.0, 1 - CACHE / (4 * samples**2))
    rows = (ROW + far * (FAR_ROW - ROW)) * (batch_size + 2) * samples
    counts = 2 * PRODUCT * samples * (inputs + VECTORS)
    parameters = FETCHED_ROW * batch_size * (inputs + ROW_START)
    residuals = (rows * (every - 1) + counts + parameters) / every
    return {"residuals": residuals, "counts": counts, "parameters": parameters}
