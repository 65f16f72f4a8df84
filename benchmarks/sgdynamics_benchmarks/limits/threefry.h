// Threefry-2x32, sixteen lanes at once, with JAX's layout of counters (jax_threefry_partitionable):
// block n of a key is threefry(key, (0, n)); 32-bit word n is the xor of its two words; fold_in(key, n) is the block
// itself, and so is key n of a split.
// Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011), Sec. 4.
#include <stdint.h>

#define LANES 16
#define UNROLL _Pragma("GCC unroll 16")
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
typedef float reals __attribute__((vector_size(4 * LANES)));

typedef struct { words a, b; } pair;

#define ROTATE(x, r) (((x) << (r)) | ((x) >> (32 - (r))))
#define ROUND(r) UNROLL for (int i = 0; i < n; i++) x[i] += y[i]; \
                 UNROLL for (int i = 0; i < n; i++) y[i] = ROTATE(y[i], r) ^ x[i];
#define INJECT(k, l, c) UNROLL for (int i = 0; i < n; i++) { x[i] += k; y[i] += l + c; }

// blocks first ... first + n - 1 of a key: several at a time keep the pipelines full
static inline __attribute__((always_inline)) void blocks(pair key, uint32_t first, const int n, words *x, words *y) {
  const words k0 = key.a, k1 = key.b, k2 = k0 ^ k1 ^ 0x1BD11BDAu;
  UNROLL for (int i = 0; i < n; i++) { x[i] = k0; y[i] = first + i + k1; }
  ROUND(13) ROUND(15) ROUND(26) ROUND(6)  INJECT(k1, k2, 1)
  ROUND(17) ROUND(29) ROUND(16) ROUND(24) INJECT(k2, k0, 2)
  ROUND(13) ROUND(15) ROUND(26) ROUND(6)  INJECT(k0, k1, 3)
  ROUND(17) ROUND(29) ROUND(16) ROUND(24) INJECT(k1, k2, 4)
  ROUND(13) ROUND(15) ROUND(26) ROUND(6)  INJECT(k2, k0, 5)
}

static inline pair fold(pair key, uint32_t counter) {
  pair folded;
  blocks(key, counter, 1, &folded.a, &folded.b);
  return folded;
}

// the keys of sixteen replicas; where there are fewer, the last lanes repeat the first
static inline pair load_keys(const uint32_t *keys, int first, int replicas) {
  pair key;
  for (int j = 0; j < LANES; j++) {
    int r = first + j < replicas ? first + j : first;
    key.a[j] = keys[2 * r];
    key.b[j] = keys[2 * r + 1];
  }
  return key;
}
