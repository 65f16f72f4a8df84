"""What a step of one replica of linear regression costs in each form: sizes in, nanoseconds out.

With P samples, N inputs, batch size S and k steps from one record to the next, in float32,

    residuals     a S P (k − 1)/k + (2 g P N + b S N)/k      rows of the Gram matrix; to residuals and back once in k
                                                             steps, of which the last is made in the parameters
    counts        c S + 2 g P N                              products of matrices
    parameters    b S N                                      rows, fetched once and read twice

beside drawing, which is the same for all. The coefficients were fitted to times on CPU cores (AMD EPYC, AVX-512; jax
0.10.2). What counts are their ratios, which move less from machine to machine than they do; near a tie either will do.
"""

ROW = 0.05
"""a, of a number of a row that is added up, while the Gram matrix fits a core's cache."""
FAR_ROW = 0.11
"""a, beyond."""
CACHED_SAMPLES = 512
FETCHED_ROW = 0.4
"""b, of a number of a row that is fetched and read twice."""
COUNT = 5.0
"""c, of counting an example."""
PRODUCT = 0.023
"""g, of a multiplication and addition in a product of matrices."""


def nanoseconds(samples: int, inputs: int, batch_size: int, every: int) -> dict[str, float]:
    """The cost of a step of one replica in each form, by name."""
    row = ROW if samples <= CACHED_SAMPLES else FAR_ROW
    products, fetched = 2 * PRODUCT * samples * inputs, FETCHED_ROW * batch_size * inputs
    return {
        "residuals": (row * batch_size * samples * (every - 1) + products + fetched) / every,
        "counts": COUNT * batch_size + products,
        "parameters": fetched,
    }
