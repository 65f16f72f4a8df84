// Online SGD, batch size 1, of a deep linear network with square layers on y = M x + sigma xi: sixteen replicas in the
// lanes of a vector, whose weights stay in the first-level cache for all steps. DEPTH and WIDTH are set on compiling.
#include <stdlib.h>
#include "threefry.h"
#include "normal.h"

#define GROUP 6  // drawn at once, to keep the pipelines full
#define DRAWS ((WIDTH + GROUP - 1) / GROUP * GROUP)
#define PARAMETERS (DEPTH * WIDTH * WIDTH)

// x or xi of one example
static inline void draw(pair key, reals *z) {
  for (int i = 0; i < DRAWS; i += GROUP) {
    words a[GROUP], b[GROUP];
    blocks(key, i, GROUP, a, b);
    UNROLL for (int j = 0; j < GROUP; j++) a[j] ^= b[j];
    normals(a, GROUP, z + i);
  }
}

static void step(reals W[DEPTH][WIDTH][WIDTH], const float *teacher, pair key, float lr, float sigma) {
  reals a[DEPTH][DRAWS], error[DRAWS], sum[WIDTH];
  draw(fold(key, 0), a[0]);
  draw(fold(key, 1), error);
  UNROLL for (int i = 0; i < WIDTH; i++) error[i] *= sigma;
  for (int j = 0; j < WIDTH; j++) UNROLL for (int i = 0; i < WIDTH; i++) error[i] += teacher[j * WIDTH + i] * a[0][j];
  for (int l = 0; l < DEPTH; l++) {
    UNROLL for (int i = 0; i < WIDTH; i++) sum[i] = W[l][i][0] * a[l][0];
    for (int j = 1; j < WIDTH; j++) UNROLL for (int i = 0; i < WIDTH; i++) sum[i] += W[l][i][j] * a[l][j];
    if (l < DEPTH - 1) UNROLL for (int i = 0; i < WIDTH; i++) a[l + 1][i] = sum[i];
  }
  UNROLL for (int i = 0; i < WIDTH; i++) error[i] -= sum[i];
  for (int l = DEPTH - 1; l >= 0; l--) {
    reals back[WIDTH] = {0};
    for (int i = 0; i < WIDTH; i++) {
      const reals e = error[i], change = lr * e;
      UNROLL for (int j = 0; j < WIDTH; j++) {
        const reals w = W[l][i][j];
        back[j] += w * e;
        W[l][i][j] = w + change * a[l][j];
      }
    }
    UNROLL for (int j = 0; j < WIDTH; j++) error[j] = back[j];
  }
}

// weights [R][DEPTH][WIDTH][WIDTH], teacher transposed, keys [R][2]
int deep_linear(int threads, int R, int steps, int first_step, float lr, float sigma, float *weights,
                const float *teacher, const uint32_t *keys) {
  #pragma omp parallel for schedule(static) num_threads(threads)
  for (int first = 0; first < R; first += LANES) {
    const int n = R - first < LANES ? R - first : LANES;
    reals (*W)[WIDTH][WIDTH] = aligned_alloc(64, PARAMETERS * sizeof(reals));
    reals *flat = (reals *)W;
    for (int p = 0; p < PARAMETERS; p++)
      for (int j = 0; j < LANES; j++) flat[p][j] = weights[(size_t)(first + (j < n ? j : 0)) * PARAMETERS + p];
    const pair key = load_keys(keys, first, R);
    for (int k = first_step; k < first_step + steps; k++) step(W, teacher, fold(key, k), lr, sigma);
    for (int p = 0; p < PARAMETERS; p++)
      for (int j = 0; j < n; j++) weights[(size_t)(first + j) * PARAMETERS + p] = flat[p][j];
    free(W);
  }
  return 0;
}
