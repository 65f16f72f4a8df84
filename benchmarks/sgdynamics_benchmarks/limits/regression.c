// SGD on one-output linear regression in residual space, with replacement: E <- E - (lr/S) sum_s E[i_s] K[i_s],
// E = X w - y of each replica, K = X X^T. Sixteen replicas draw at once; their rows are added one replica after another.
#include <stdlib.h>
#include <string.h>
#include "threefry.h"

#define MOST_EXAMPLES 64
#define GROUP 5  // drawn at once, to keep the pipelines full

// a row of K padded to whole, aligned vectors: half of the loads would cross cache lines otherwise
static reals *padded(const float *K, int P, int width) {
  reals *rows = aligned_alloc(64, (size_t)P * width * sizeof(reals));
  memset(rows, 0, (size_t)P * width * sizeof(reals));
  for (int p = 0; p < P; p++) memcpy(rows + (size_t)p * width, K + (size_t)p * P, P * sizeof(float));
  return rows;
}

#define STEP(WIDTH, S) \
  for (int j = 0; j < n; j++) { \
    reals *e = E16 + j * width; \
    float r[MOST_EXAMPLES]; \
    const reals *row[MOST_EXAMPLES]; \
    for (int s = 0; s < (S); s++) { r[s] = rate * ((float *)e)[index[s][j]]; row[s] = rows + (size_t)index[s][j] * width; } \
    for (int p = 0; p < (WIDTH); p++) { \
      reals sum = e[p]; \
      for (int s = 0; s < (S); s++) sum -= r[s] * row[s][p]; \
      e[p] = sum; \
    } \
  }

int regression(int threads, int R, int P, int S, int steps, int first_step, float lr, float *E, const float *K,
               const uint32_t *keys) {
  if (S > MOST_EXAMPLES || P > 8192) return 1;
  const float rate = lr / S;
  const int width = (P + LANES - 1) / LANES;
  reals *rows = padded(K, P, width);
  #pragma omp parallel for schedule(static) num_threads(threads)
  for (int first = 0; first < R; first += LANES) {
    const int n = R - first < LANES ? R - first : LANES;
    reals *E16 = aligned_alloc(64, (size_t)LANES * width * sizeof(reals));
    uint32_t index[MOST_EXAMPLES + GROUP][LANES];
    for (int j = 0; j < n; j++) memcpy(E16 + j * width, E + (size_t)(first + j) * P, P * sizeof(float));
    const pair key = load_keys(keys, first, R);
    for (int k = first_step; k < first_step + steps; k++) {
      const pair step_key = fold(key, k);
      for (int s = 0; s < S; s += GROUP) {
        words a[GROUP], b[GROUP];
        blocks(step_key, s, GROUP, a, b);
        for (int i = 0; i < GROUP; i++)
          for (int j = 0; j < LANES; j++) index[s + i][j] = (uint64_t)(a[i][j] ^ b[i][j]) * (uint32_t)P >> 32;
      }
      if (S == 10 && width == 13) { STEP(13, 10) } else { STEP(width, S) }
    }
    for (int j = 0; j < n; j++) memcpy(E + (size_t)(first + j) * P, E16 + j * width, P * sizeof(float));
    free(E16);
  }
  free(rows);
  return 0;
}
